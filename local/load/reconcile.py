"""The accounts of a load run: every event that was written against every one that came, by receiver."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from local.load.receivers import Subscriber
from local.load.shoppers import Written
from local.receiver import Arrival

_GIVEN_UP = frozenset({"suppressed", "expired", "exhausted"})


@dataclass(slots=True)
class Account:
    """What one subscriber was owed, and what it has."""

    subscriber: Subscriber
    owed: int = 0
    received: int = 0
    """Events, each counted once."""
    duplicates: int = 0
    """Deliveries beyond the first of an event that was answered with 200."""
    out_of_order: int = 0
    """Deliveries that came after one of a later state of the same checkout."""
    unverified: int = 0
    behind: int = 0
    """Not delivered, and the queue has them."""
    superseded: int = 0
    """Not delivered, because a newer event of its checkout took its place."""
    given_up: int = 0
    """Not delivered, and the log says why."""
    lost: list[str] = field(default_factory=list)
    """Events that nobody knows anything of."""
    latencies: list[float] = field(default_factory=list)
    """Seconds from the snapshot's request to the receiver, of each event's first delivery."""


def account(
    subscriber: Subscriber,
    written: Iterable[Written],
    arrivals: Sequence[Arrival],
    log: Mapping[str, str],
    *,
    is_disabled: bool,
) -> Account:
    """Draws up one subscriber's account.

    Args:
        subscriber: whose.
        written: all events of its store.
        arrivals: all that came to it.
        log: the state of each of its deliveries in the delivery log, by event.
        is_disabled: whether the system has stopped sending to it, and says so: later events are not for it.
    """
    owed = {one.event_id: one for one in written}
    taken = [arrival for arrival in arrivals if arrival.status == 200 and arrival.event_id in owed]  # noqa: PLR2004
    first: dict[str, float] = {}
    for arrival in taken:
        first.setdefault(str(arrival.event_id), arrival.at)
    result = Account(subscriber, owed=len(owed), received=len(first))
    result.unverified = sum(arrival.problem is not None for arrival in arrivals)
    result.duplicates = len(taken) - len(first)
    result.out_of_order = _out_of_order(taken, owed)
    result.latencies = [at - owed[event].posted_at for event, at in first.items()]
    for event in owed.keys() - first.keys():
        state = log.get(event)
        if state == "superseded":
            result.superseded += 1
        elif state in _GIVEN_UP or (state is None and is_disabled):
            result.given_up += 1
        elif state == "pending":
            result.behind += 1
        else:  # also what the log takes for delivered, and never came
            result.lost.append(event)
    return result


def _out_of_order(taken: Iterable[Arrival], owed: Mapping[str, Written]) -> int:
    latest: Counter[str] = Counter()
    late = 0
    for arrival in taken:
        event = owed[str(arrival.event_id)]
        late += event.sequence < latest[event.checkout_id]
        latest[event.checkout_id] = max(latest[event.checkout_id], event.sequence)
    return late


def percentile(values: Sequence[float], percent: float) -> float | None:
    """The smallest value that is not below so many per cent of them; None of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else None
