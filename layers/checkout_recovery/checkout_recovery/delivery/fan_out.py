"""Fan-out: events from the stream to every subscription that wants them.

    plan ─► look up ─► attempt (see `attempts`)

What is held back is only recorded. An abandonment is looked up once more: one that has been bought since it
was written, however late the stream brings it, is told to nobody, and one that comes in quiet hours waits.

Nothing is written before the send. What the log has already is not sent again, so a batch that the stream
repeats sends only what it had not got to. A receiver's failure goes to the RetryQueue; only a fault of our
own makes a record come again.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from checkout_recovery.checkout.lifecycle import Checkout, Suppression
from checkout_recovery.delivery.attempts import Attempts, Due, Settled
from checkout_recovery.delivery.plan import Delivery, plan
from checkout_recovery.observability import measure
from checkout_recovery.subscriptions.circuit import Circuit
from checkout_recovery.tables.checkouts import CheckoutTable
from checkout_recovery.tables.deliveries import DeliveryTable, LogRead, State
from checkout_recovery.tables.registry import RegistryTable, Subscriptions

_MAX_STORES = 1024


@dataclass(frozen=True, slots=True)
class Arrival:
    """A checkout as a stream record brought it."""

    record_id: str
    checkout: Checkout


class FanOut:
    """The use behind the stream's trigger. Collaborators are arguments."""

    def __init__(
        self,
        *,
        registry: RegistryTable,
        checkouts: CheckoutTable,
        deliveries: DeliveryTable,
        attempts: Attempts,
        retention_days: int,
        now: Callable[[], datetime],
    ) -> None:
        self._registry = registry
        self._checkouts = checkouts
        self._deliveries = deliveries
        self._attempts = attempts
        self._retention_days = retention_days
        self._now = now
        self._known: OrderedDict[str, Subscriptions] = OrderedDict()

    def __call__(self, arrivals: Sequence[Arrival], budget_seconds: float) -> frozenset[str]:
        """Sends what the arrivals call for.

        Args:
            arrivals: in the stream's order.
            budget_seconds: how long sending may take; what is not sent by then goes to the queue.

        Returns:
            The ids of the records that have to come again.

        Raises:
            Unavailable: DynamoDB is throttled or down: every record has to come again.
        """
        planned = self._due(arrivals)
        now = self._now()
        suppressed = [
            Settled(self._entry(delivery, now), State.SUPPRESSED, delivery.suppressed)
            for delivery in planned
            if delivery.suppressed
        ]
        due = [self._entry(delivery, now) for delivery in planned if not delivery.suppressed]
        left = self._attempts(due, self._open_circuits(arrivals), budget_seconds)
        self._attempts.record(suppressed)
        _count(arrivals)
        self._forget()
        return _lost(arrivals, planned, left.unknown)

    def _open_circuits(self, arrivals: Iterable[Arrival]) -> dict[str, Circuit]:
        stores = {arrival.checkout.store_id for arrival in arrivals}
        return {key: circuit for store in stores for key, circuit in self._known[store].circuits.items()}

    def _due(self, arrivals: Sequence[Arrival]) -> list[Delivery]:
        """Plans with the subscriptions as remembered, and again where the look-up shows them changed."""
        stores = {arrival.checkout.store_id for arrival in arrivals}
        for store_id in stores - self._known.keys():
            self._learn(store_id)
        planned = self._plan(arrivals)
        look = self._look_up(planned, stores)
        changed = [s for s in stores if look.revisions.get(s, 0) != self._known[s].revision]
        if changed:
            for store_id in changed:
                self._learn(store_id)
            planned = self._plan(arrivals)
            look = self._look_up(planned, stores)
        return [
            _unless_bought(delivery, look.bought)
            for delivery in planned
            if delivery.delivery_id not in look.recorded
        ]

    def _look_up(self, planned: Sequence[Delivery], stores: Iterable[str]) -> LogRead:
        abandoned = {d.checkout_key for d in planned if d.is_abandonment and not d.suppressed}
        keys = [delivery.key for delivery in planned]
        return self._deliveries.look_up(keys, self._registry, stores, self._checkouts, abandoned)

    def _learn(self, store_id: str) -> None:
        self._known[store_id] = self._registry.subscriptions(store_id)

    def _forget(self) -> None:
        """Keeps the stores that had events last; only after a batch, which needs all of its own."""
        while len(self._known) > _MAX_STORES:
            self._known.popitem(last=False)

    def _plan(self, arrivals: Iterable[Arrival]) -> list[Delivery]:
        """Each delivery once: a write that keeps its event takes the place of the one before it."""
        planned: dict[str, Delivery] = {}
        for arrival in arrivals:
            self._known.move_to_end(arrival.checkout.store_id)
            for delivery in plan(arrival.checkout, self._known[arrival.checkout.store_id].items):
                planned[delivery.delivery_id] = delivery
        return list(planned.values())

    def _entry(self, delivery: Delivery, now: datetime) -> Due:
        settings = self._known[delivery.checkout.store_id].settings
        days = settings.delivery_retention_days or self._retention_days
        quiet_until = delivery.quiet_until(settings.quiet_hours, now)
        return Due(delivery, now + timedelta(days=days), quiet_until=quiet_until)


def _unless_bought(delivery: Delivery, bought: frozenset[tuple[str, str]]) -> Delivery:
    if delivery.is_abandonment and delivery.checkout_key in bought and not delivery.suppressed:
        return replace(delivery, suppressed=Suppression.COMPLETED)
    return delivery


def _lost(
    arrivals: Iterable[Arrival], planned: Iterable[Delivery], refused: Collection[str]
) -> frozenset[str]:
    """The records of deliveries that nothing is known of."""
    events = {delivery.event.id for delivery in planned if delivery.delivery_id in refused}
    return frozenset(
        arrival.record_id
        for arrival in arrivals
        if arrival.checkout.event and arrival.checkout.event.id in events
    )


def _count(arrivals: Iterable[Arrival]) -> None:
    events = Counter(arrival.checkout.event.type for arrival in arrivals if arrival.checkout.event)
    for event, count in events.items():
        measure("Events", count, event=event.value)
