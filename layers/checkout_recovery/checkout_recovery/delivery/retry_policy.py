"""What follows an attempt that failed. Pure: a function of the attempt, the event, the time and chance."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from checkout_recovery.checkout.event import Event, EventType
from checkout_recovery.delivery.send import Failure, Outcome
from checkout_recovery.tables.deliveries import State

SCHEDULE = tuple(
    timedelta(seconds=seconds) for seconds in (5, 60, 300, 900, 1_800, 3_600, 7_200, 14_400, 28_800, 28_800)
)
"""How long after each failed attempt the next one is made, at least."""
JITTER = 0.25
"""How much of a wait is added to it at most."""
MAX_RETRY_AFTER = timedelta(hours=6)
"""How long a receiver may ask us to wait."""
EXPIRES_AFTER: Mapping[EventType, timedelta] = {
    EventType.CREATED: timedelta(hours=6),
    EventType.UPDATED: timedelta(hours=6),
    EventType.RESUMED: timedelta(hours=6),
    EventType.ABANDONED: timedelta(hours=24),
    EventType.COMPLETED: timedelta(hours=72),
    EventType.RECOVERED: timedelta(hours=72),
}
"""How long after an event it may still be told: an old snapshot helps nobody, a purchase always matters."""

LAST_CALL = timedelta(minutes=1)
"""So long before it expires, a delivery that would have come later has an attempt yet."""

GONE = "gone"
"""The receiver answered 410: it wants no more of this subscription."""
_GONE_STATUS = 410


@dataclass(frozen=True, slots=True)
class Ended:
    """A delivery that is not tried again by itself."""

    state: State
    reason: str


def after_failure(
    outcome: Outcome, attempts: int, expires: datetime, now: datetime, random: Callable[[], float]
) -> datetime | Ended:
    """Says when the next attempt is due, or why there is none.

    Args:
        outcome: of the attempt that failed; not of one that was deferred.
        attempts: how many have been made, this one included.
        expires: until when the delivery matters.
        now: UTC.
        random: gives numbers in [0, 1).
    """
    reason = failure_of(outcome)
    if reason == GONE:
        return Ended(State.EXHAUSTED, GONE)
    if attempts > len(SCHEDULE):
        return Ended(State.EXHAUSTED, reason)
    due = now + SCHEDULE[attempts - 1] * (1 + JITTER * random())
    if due > expires:
        return Ended(State.EXPIRED, reason)
    asked = timedelta(seconds=max(0, min(outcome.retry_after or 0, MAX_RETRY_AFTER.total_seconds())))
    # Who asks for more time than is left has it, but for a last attempt.
    return max(due, min(now + asked * (1 + JITTER * random()), expires - LAST_CALL))


def expires_at(event: Event, asked_at: datetime | None = None) -> datetime:
    """Until when an event may be told: from when it happened, or from when somebody asked for it."""
    return (asked_at or event.time) + EXPIRES_AFTER[event.type]


def failure_of(outcome: Outcome) -> str:
    """A failure's class, as the delivery log has it."""
    if outcome.status == _GONE_STATUS:
        return GONE
    return (outcome.failure or Failure.HTTP).value
