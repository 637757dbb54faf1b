"""Deliveries sent again: one that an operator names, or all of a subscription that failed since a time.

Nothing is sent here. What is asked for is put into the RetryQueue, where each checkout is read again when its
time has come: a shopper who has bought meanwhile is not messaged, and what has been delivered meanwhile is
not recovered. So asking twice does no harm.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile

from checkout_recovery.checkout.event import EventType
from checkout_recovery.checkout.lifecycle import Suppression
from checkout_recovery.errors import Conflict, FieldError, MalformedRequest, NotFound, Unavailable
from checkout_recovery.queues import Purpose, RetryMessage, RetryQueue
from checkout_recovery.subscriptions.subscription import Subscription
from checkout_recovery.tables.deliveries import (
    DELIVERY_ID,
    FAILED,
    Choice,
    DeliveryRecord,
    DeliveryTable,
    State,
    event_time,
    greatest_id,
    least_id,
)

PAGE = 100
"""Of so many deliveries one call takes care."""
_FURTHEST = timedelta(days=7)
"""So far ahead of now a cursor may put the rest."""
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be recovered."""

    since: datetime
    """Of events from this time on."""
    until: datetime | None = None
    """And up to this time."""
    states: tuple[State, ...] = (*FAILED, State.SUPPRESSED)
    """How they stand; of the suppressed only those that came while the subscription was stopped."""
    per_second: int = 10
    """How fast, over all calls that hand on the cursor."""
    cursor: str | None = None
    """`next_cursor` of the call before."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """What one call did."""

    looked_at: int
    """Deliveries."""
    queued: int
    """Checkouts of these, each once."""
    next_cursor: str | None
    """Where to go on; None where all has been looked at."""


class Replay:
    """Collaborators are arguments."""

    def __init__(
        self, deliveries: DeliveryTable, retry_queue: RetryQueue, now: Callable[[], datetime]
    ) -> None:
        self._deliveries = deliveries
        self._retry_queue = retry_queue
        self._now = now

    def one(self, subscription: Subscription, delivery_id: str) -> None:
        """Has the checkout of a delivery sent as it stands, whether or not it was delivered.

        Raises:
            NotFound: the subscription has no such delivery.
            Conflict: the subscription is paused or disabled.
            Unavailable: DynamoDB or SQS is throttled or down.
        """
        known = DELIVERY_ID.fullmatch(delivery_id)
        records = self._deliveries.load_all([(subscription.subscription_id, delivery_id)]) if known else []
        if not records:
            raise NotFound("The subscription has no such delivery")
        _refuse_if_stopped(subscription)
        now = self._now()
        if self._retry_queue.send([_message(records[0], Purpose.REPLAY, now)], now):
            raise Unavailable("The queue of deliveries does not take it.")

    def failed(self, subscription: Subscription, wanted: Wanted) -> Recovered:
        """Has the checkouts of one page of failed deliveries sent as they stand, the newest first.

        Where SQS refuses some, the cursor stays before the first of them.

        Raises:
            MalformedRequest: the time ends before it begins.
            Conflict: the subscription is paused or disabled.
            Unavailable: DynamoDB or SQS is throttled or down, and nothing is done.
        """
        if wanted.until and wanted.until < wanted.since:
            raise MalformedRequest(errors=[FieldError("until", "must not be before since")])
        _refuse_if_stopped(subscription)
        now = self._now()
        position, starts_at = _read_cursor(wanted.cursor, now)
        page = self._deliveries.page(
            subscription.subscription_id,
            PAGE,
            Choice(states=wanted.states),
            since=least_id(wanted.since),
            until=greatest_id(wanted.until) if wanted.until else "",
            cursor=position,
        )
        records = [one for one in page.records if _can_be_recovered(one)]
        gap = timedelta(seconds=1) / wanted.per_second
        messages = [
            _message(record, Purpose.RECOVER, starts_at + at * gap)
            for at, record in enumerate(_newest_of_each_checkout(records))
        ]
        refused = self._retry_queue.send(messages, now) if messages else frozenset()
        done = list(takewhile(lambda record: record.delivery_id not in refused, page.records))
        if refused and not done:
            raise Unavailable("The queue of deliveries takes nothing.")
        ids = {record.delivery_id for record in done}
        queued = sum(message.delivery_id in ids for message in messages)
        ended_at = done[-1].delivery_id if refused else page.next_cursor
        looked_at = sum(map(_can_be_recovered, done))
        return Recovered(looked_at, queued, _write_cursor(ended_at, starts_at + queued * gap))


def _can_be_recovered(record: DeliveryRecord) -> bool:
    return record.state is not State.SUPPRESSED or record.reason in (
        Suppression.PAUSED,
        Suppression.DISABLED,
    )


def _refuse_if_stopped(subscription: Subscription) -> None:
    if subscription.disabled_reason:
        raise Conflict('The subscription is disabled: PATCH {"paused": false} starts it again')
    if subscription.paused:
        raise Conflict("The subscription is paused")


def _newest_of_each_checkout(records: Sequence[DeliveryRecord]) -> list[DeliveryRecord]:
    newest: dict[str, DeliveryRecord] = {}
    for record in records:
        newest.setdefault(record.checkout_id, record)
    return list(newest.values())


def _message(record: DeliveryRecord, purpose: Purpose, not_before: datetime) -> RetryMessage:
    return RetryMessage(
        purpose=purpose,
        store_id=record.store_id,
        checkout_id=record.checkout_id,
        subscription_id=record.subscription_id,
        delivery_id=record.delivery_id,
        event_id=record.event_id,
        event_type=EventType(record.event_type),
        event_time=event_time(record.delivery_id),
        sequence=record.sequence,
        attempts=0,
        reason=purpose.value,
        not_before=not_before,
        asked_at=not_before,
    )


def _write_cursor(delivery_id: str | None, due_at: datetime) -> str | None:
    """The place in the log, and when the next message is due: calls in a row keep to the rate together."""
    return f"{delivery_id}.{int(due_at.timestamp() * 1000)}" if delivery_id else None


def _read_cursor(cursor: str | None, now: datetime) -> tuple[str | None, datetime]:
    position, _, milliseconds = (cursor or "").partition(".")
    ahead = int(milliseconds or 0) - int(now.timestamp() * 1000)
    return position or None, now + max(0, min(ahead, _FURTHEST // _MILLISECOND)) * _MILLISECOND
