"""Fan-out: events from the stream to every subscription that wants them.

    plan ─► look up ─► render ─► sign and send ─► queue what failed ─► record

What is held back is only recorded. An abandonment is looked up once more: one that has been bought since it
was written, however late the stream brings it, is told to nobody.

Nothing is written before the send. What the log has already is not sent again, so a batch that the stream
repeats sends only what it had not got to. A receiver's failure goes to the RetryQueue; only a fault of our
own makes a record come again.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from checkout_recovery.checkout.lifecycle import Checkout, Suppression
from checkout_recovery.delivery.plan import Delivery, plan
from checkout_recovery.delivery.retry_policy import first_retry_delay
from checkout_recovery.delivery.send import Failure, Outcome, Post, Sender
from checkout_recovery.delivery.signed import signed_headers
from checkout_recovery.observability import logger, measure
from checkout_recovery.queues import RetryMessage, RetryQueue
from checkout_recovery.secrets import Secret, Secrets, subscription_secret
from checkout_recovery.tables.checkouts import CheckoutTable
from checkout_recovery.tables.deliveries import DeliveryRecord, DeliveryTable, LogRead, State
from checkout_recovery.tables.registry import RegistryTable, Subscriptions

_MAX_STORES = 1024

Bodies = Mapping[tuple[str, str, str], bytes]
"""Rendered bodies by event id, topic and version: one for all subscriptions of a contract."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A checkout as a stream record brought it."""

    record_id: str
    checkout: Checkout


@dataclass(frozen=True, slots=True)
class Attempted:
    """How a delivery stands after fan-out."""

    delivery: Delivery
    failure: str | None
    """Its class; None where it is delivered."""
    attempts: int = 0
    status: int | None = None
    latency_ms: int | None = None


class FanOut:
    """The use behind the stream's trigger. Collaborators are arguments."""

    def __init__(
        self,
        *,
        registry: RegistryTable,
        checkouts: CheckoutTable,
        deliveries: DeliveryTable,
        secrets: Secrets,
        sender: Sender,
        retry_queue: RetryQueue,
        retention_days: int,
        now: Callable[[], datetime],
        random: Callable[[], float],
    ) -> None:
        self._registry = registry
        self._checkouts = checkouts
        self._deliveries = deliveries
        self._secrets = secrets
        self._sender = sender
        self._retry_queue = retry_queue
        self._retention_days = retention_days
        self._now = now
        self._random = random
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
        suppressed = [delivery for delivery in planned if delivery.suppressed]
        due = [delivery for delivery in planned if not delivery.suppressed]
        bodies, broken_events = _render(due)
        attempted = self._send([d for d in due if d.event.id not in broken_events], bodies, budget_seconds)
        refused = self._queue([one for one in attempted if one.failure])
        kept = [one for one in attempted if one.delivery.delivery_id not in refused]
        self._record(kept + [Attempted(delivery, None) for delivery in suppressed])
        _count(suppressed)
        self._forget()
        lost = broken_events | {
            one.delivery.event.id for one in attempted if one.delivery.delivery_id in refused
        }
        return frozenset(
            arrival.record_id
            for arrival in arrivals
            if arrival.checkout.event and arrival.checkout.event.id in lost
        )

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

    def _send(self, due: Sequence[Delivery], bodies: Bodies, budget_seconds: float) -> list[Attempted]:
        names = {d.subscription.subscription_id: _secret_name(d) for d in due}
        versions = {_secret_name(d): d.subscription.key_version for d in due}
        secrets = self._secrets.available(versions)
        posts, attempted = [], []
        for delivery in due:
            secret = secrets.get(names[delivery.subscription.subscription_id])
            if secret is None:
                attempted.append(Attempted(delivery, "secret_unavailable"))
            else:
                body = bodies[_body_key(delivery)]
                posts.append(self._post(delivery, secret, body))
        by_id = {delivery.delivery_id: delivery for delivery in due}
        outcomes = self._sender.send(posts, budget_seconds) if posts else []
        return attempted + [_attempted(by_id[outcome.delivery_id], outcome) for outcome in outcomes]

    def _post(self, delivery: Delivery, secret: Secret, body: bytes) -> Post:
        return Post(
            delivery.delivery_id,
            delivery.subscription.subscription_id,
            delivery.checkout.checkout_id,
            delivery.subscription.callback_url,
            partial(self._prepare, delivery, secret, body),
        )

    def _prepare(self, delivery: Delivery, secret: Secret, body: bytes) -> tuple[Mapping[str, str], bytes]:
        headers = signed_headers(
            delivery.contract,
            delivery.subscription,
            secret,
            event_id=delivery.event.id,
            delivery_id=delivery.delivery_id,
            shop_url=delivery.shop_url,
            sent_at=self._now(),
            body=body,
        )
        return headers, body

    def _queue(self, failed: Sequence[Attempted]) -> frozenset[str]:
        """Queues failures; returns the delivery ids that SQS refused."""
        for one in failed:
            logger.warning(
                "delivery failed",
                extra={
                    "store_id": one.delivery.checkout.store_id,
                    "subscription_id": one.delivery.subscription.subscription_id,
                    "delivery_id": one.delivery.delivery_id,
                    "failure": one.failure,
                    "status": one.status,
                    "latency_ms": one.latency_ms,
                },
            )
        refused = self._retry_queue.send([(_message(one), first_retry_delay(self._random)) for one in failed])
        if refused:
            logger.error("retry queue refused messages", extra={"refused": len(refused)})
        return refused

    def _record(self, attempted: Sequence[Attempted]) -> None:
        now = self._now()
        self._deliveries.record([self._entry(one, now) for one in attempted])
        delivered = sum(one.failure is None and not one.delivery.suppressed for one in attempted)
        logger.debug("events fanned out", extra={"deliveries": len(attempted), "delivered": delivered})

    def _entry(self, one: Attempted, now: datetime) -> DeliveryRecord:
        delivery = one.delivery
        settings = self._known[delivery.checkout.store_id].settings
        days = settings.delivery_retention_days or self._retention_days
        return DeliveryRecord(
            subscription_id=delivery.subscription.subscription_id,
            delivery_id=delivery.delivery_id,
            store_id=delivery.checkout.store_id,
            checkout_id=delivery.checkout.checkout_id,
            event_id=delivery.event.id,
            event_type=delivery.event.type.value,
            sequence=delivery.checkout.sequence,
            state=_state(one),
            attempts=one.attempts,
            reason=one.failure or delivery.suppressed,
            status=one.status,
            latency_ms=one.latency_ms,
            recorded_at=now,
            expires_at=now + timedelta(days=days),
        )


def _unless_bought(delivery: Delivery, bought: frozenset[tuple[str, str]]) -> Delivery:
    if delivery.is_abandonment and delivery.checkout_key in bought and not delivery.suppressed:
        return replace(delivery, suppressed=Suppression.COMPLETED)
    return delivery


def _state(one: Attempted) -> State:
    if one.delivery.suppressed:
        return State.SUPPRESSED
    return State.PENDING if one.failure else State.DELIVERED


def _count(suppressed: Iterable[Delivery]) -> None:
    for reason, count in Counter(delivery.suppressed for delivery in suppressed).items():
        measure("Suppressed", count, reason)


def _render(due: Iterable[Delivery]) -> tuple[Bodies, frozenset[str]]:
    """Renders each event once a contract; returns the bodies, and the events that cannot be rendered."""
    bodies: dict[tuple[str, str, str], bytes] = {}
    broken: set[str] = set()
    for delivery in due:
        key = _body_key(delivery)
        if key in bodies or delivery.event.id in broken:
            continue
        try:
            bodies[key] = delivery.contract.render(delivery.checkout)
        except Exception:  # noqa: BLE001 - one event that trips a contract must not keep the batch's others from leaving
            logger.error(  # without the traceback, which could quote the shopper's data
                "event cannot be rendered",
                extra={"event_id": delivery.event.id, "topic": delivery.contract.topic},
            )
            broken.add(delivery.event.id)
    return bodies, frozenset(broken)


def _body_key(delivery: Delivery) -> tuple[str, str, str]:
    return delivery.event.id, delivery.contract.topic, delivery.contract.version


def _secret_name(delivery: Delivery) -> str:
    return subscription_secret(delivery.checkout.store_id, delivery.subscription.subscription_id)


def _attempted(delivery: Delivery, outcome: Outcome) -> Attempted:
    if outcome.failure is Failure.DEFERRED:
        return Attempted(delivery, outcome.failure.value)
    failure = outcome.failure.value if outcome.failure else None
    return Attempted(delivery, failure, 1, outcome.status, outcome.latency_ms)


def _message(one: Attempted) -> RetryMessage:
    delivery = one.delivery
    return RetryMessage(
        store_id=delivery.checkout.store_id,
        checkout_id=delivery.checkout.checkout_id,
        subscription_id=delivery.subscription.subscription_id,
        delivery_id=delivery.delivery_id,
        event_id=delivery.event.id,
        event_type=delivery.event.type.value,
        sequence=delivery.checkout.sequence,
        attempts=one.attempts,
        reason=one.failure or "",
    )
