"""Retry: deliveries whose time has come are made, if they still matter.

    hop ─► look up ─► judge (see `relevance`) ─► spare the shopper ─► claim ─► attempt (see `attempts`)

A message holds ids only. The checkout is read when its delivery is due, so what is sent is what stands, and
whatever stopped mattering meanwhile ends here. An abandonment is held against the shopper's records once
more: who has bought, or was told of another checkout since, is not messaged late, and nobody at night.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from checkout_recovery.checkout.lifecycle import Checkout, Suppression
from checkout_recovery.delivery.attempts import Attempts, Due, Settled, count_deliveries, entry
from checkout_recovery.delivery.plan import Delivery, plan
from checkout_recovery.delivery.relevance import NEWER_EVENT, TOO_OLD, Later, relevance
from checkout_recovery.delivery.retry_policy import Ended, expires_at
from checkout_recovery.observability import logger
from checkout_recovery.queues import Purpose, RetryMessage, RetryQueue
from checkout_recovery.subscriptions.circuit import Circuit
from checkout_recovery.subscriptions.subscription import Subscription
from checkout_recovery.tables.checkouts import CheckoutTable
from checkout_recovery.tables.deliveries import FAILED, DeliveryRecord, DeliveryTable, State
from checkout_recovery.tables.registry import RegistryTable, Subscriptions
from checkout_recovery.tables.shoppers import Known, ShopperTable

_EARLY = timedelta(seconds=2)
"""So much before its time a message counts as due: it is not worth another hop."""
_PLANNED_WITHIN = timedelta(minutes=5)
"""So long fan-out may take to get to an event; what has no entry in the log by then was never planned."""
_BEING_SENT_WITHIN = timedelta(seconds=30)
"""So long a new event is left to fan-out before an operator's recovery of an older one tells it."""
_UNTIL_RECORDED = timedelta(seconds=5)
"""So long a delivery waits that somebody else may be about to record: who claimed it; or, once, fan-out,
which queues what it does not attempt before it writes the log."""
_UNRECORDED = "unrecorded"
CLAIM = timedelta(seconds=60)
"""No attempt lasts longer: by then Lambda has ended its function."""
_MILLISECOND = timedelta(milliseconds=1)
"""How exactly an event's time is known to who has only its delivery's id."""
_REPLAYED = "replayed"
_OPEN = (State.PENDING, *FAILED)
"""What the end of a message may still change: a delivery that was delivered stays so whatever comes after."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message of the queue."""

    record_id: str
    message: RetryMessage


@dataclass(frozen=True, slots=True)
class _Judged:
    waiting: Waiting
    subscription: Subscription | None
    checkout: Checkout | None
    verdict: Delivery | Ended | Later

    @property
    def newest(self) -> Delivery | None:
        """The delivery that took this one's place."""
        if self.verdict != _OVERTAKEN or self.checkout is None or self.subscription is None:
            return None
        return next(plan(self.checkout, [self.subscription]), None)


_OVERTAKEN = Ended(State.SUPERSEDED, NEWER_EVENT)


class Retry:
    """The use behind the RetryQueue. Collaborators are arguments."""

    def __init__(
        self,
        *,
        registry: RegistryTable,
        checkouts: CheckoutTable,
        shoppers: ShopperTable,
        deliveries: DeliveryTable,
        attempts: Attempts,
        retry_queue: RetryQueue,
        dead_letters: RetryQueue,
        retention_days: int,
        now: Callable[[], datetime],
    ) -> None:
        self._registry = registry
        self._checkouts = checkouts
        self._shoppers = shoppers
        self._deliveries = deliveries
        self._attempts = attempts
        self._retry_queue = retry_queue
        self._dead_letters = dead_letters
        self._retention_days = retention_days
        self._now = now

    def __call__(self, waiting: Sequence[Waiting], budget_seconds: float) -> frozenset[str]:
        """Makes the deliveries that are due, and lets the others wait on.

        Args:
            waiting: the queue's messages; a delivery that is there twice is made once.
            budget_seconds: how long sending may take.

        Returns:
            The ids of the records that have to come again.

        Raises:
            Unavailable: a table is throttled or down: all of them have to come again.
        """
        now = self._now()
        early = [one for one in waiting if one.message.not_before > now + _EARLY]
        ready = [one for one in waiting if one.message.not_before <= now + _EARLY]
        again: frozenset[str] = frozenset()
        if ready:
            again, later = self._make(ready, budget_seconds, now)
            early += later
        # Last: if it were followed by an error, the queue would have each of these twice.
        if early:
            refused = self._retry_queue.send([one.message for one in early], self._now())
            again |= {one.record_id for one in early if one.message.delivery_id in refused}
        return again

    def _make(
        self, ready: Sequence[Waiting], budget_seconds: float, now: datetime
    ) -> tuple[frozenset[str], list[Waiting]]:
        """Makes what is due; returns the records that have to come again, and what has to wait on."""
        named = ((one.message.store_id, one.message.subscription_id) for one in ready)
        registered = self._registry.subscriptions_named(named)
        judged, unreadable = self._judge(ready, registered, now)
        records = self._records(judged)
        judged = [one for each in judged if (one := _unless_done(each, records, now))]
        judged = self._spare(judged)
        again = unreadable | self._end(judged, registered, records, now)
        dues: dict[str, Due] = {}
        owners: dict[str, list[str]] = {}
        for one in judged:
            if isinstance(one.verdict, Delivery):
                due = self._due(one.waiting.message, one.verdict, records, registered, now)
                dues.setdefault(one.verdict.delivery_id, due)
                owners.setdefault(one.verdict.delivery_id, []).append(one.waiting.record_id)
        circuits: dict[str, Circuit] = {}
        for store in registered.values():
            circuits |= store.circuits
        taken: set[str] = set()
        claim = partial(self._claim, taken)
        if dues:
            refused = self._attempts(list(dues.values()), circuits, budget_seconds, claim)
            again |= {record_id for delivery_id in refused for record_id in owners[delivery_id]}
        return again, [later for one in judged if (later := self._waiting_on(one, taken))]

    def _claim(self, taken: set[str], dues: Sequence[Due]) -> list[Due]:
        """Returns those that are ours to make now; adds to `taken` those that somebody else is making."""
        now = self._now()
        entries = [due.logged or entry(Settled(due, State.PENDING, _UNRECORDED), now) for due in dues]
        claimed = self._deliveries.claim(entries, now, now + CLAIM)
        taken.update(each.delivery_id for each in entries if each.delivery_id not in claimed)
        return [
            replace(due, logged=claimed[due.delivery.delivery_id])
            for due in dues
            if due.delivery.delivery_id in claimed
        ]

    def _waiting_on(self, one: _Judged, taken: Collection[str]) -> Waiting | None:
        """The message of what has to wait on."""
        match one.verdict:
            case Later(not_before, reason):
                changes = {"not_before": not_before, "reason": reason}
            case Delivery(delivery_id=id_) if id_ in taken:
                changes = {"not_before": self._now() + _UNTIL_RECORDED}
            case _:
                return None
        return replace(one.waiting, message=one.waiting.message.model_copy(update=changes))

    def _judge(
        self, ready: Sequence[Waiting], registered: Mapping[str, Subscriptions], now: datetime
    ) -> tuple[list[_Judged], frozenset[str]]:
        """Judges each; returns also the records whose checkouts this version cannot read."""
        keys = [(one.message.store_id, one.message.checkout_id) for one in ready]
        checkouts = self._checkouts.load_all(keys)
        judged: list[_Judged] = []
        unreadable: set[str] = set()
        for one, key in zip(ready, keys, strict=True):
            checkout = checkouts.get(key)
            if checkout is None and key in checkouts:
                logger.error("a checkout cannot be read", extra={"store_id": key[0], "checkout_id": key[1]})
                unreadable.add(one.record_id)
                continue
            theirs = (
                each
                for each in registered[one.message.store_id].items
                if each.subscription_id == one.message.subscription_id
            )
            subscription = next(theirs, None)
            verdict = relevance(one.message, checkout, subscription, now)
            judged.append(_Judged(one, subscription, checkout, verdict))
        return judged, frozenset(unreadable)

    def _spare(self, judged: Sequence[_Judged]) -> list[_Judged]:
        """Holds abandonments back from shoppers who have bought, or have been told since."""
        abandoned = {
            one.verdict.checkout_key: one.verdict.checkout.handles
            for one in judged
            if isinstance(one.verdict, Delivery) and one.verdict.is_abandonment
        }
        shoppers = self._shoppers.known_of(abandoned) if abandoned else {}
        return [_spared(one, shoppers) for one in judged]

    def _records(self, judged: Iterable[_Judged]) -> dict[str, DeliveryRecord]:
        keys: dict[tuple[str, str], None] = {}
        for one in judged:
            message = one.waiting.message
            keys[message.subscription_id, message.delivery_id] = None
            for delivery in (one.verdict, one.newest):
                if isinstance(delivery, Delivery):
                    keys[delivery.key] = None
        return {record.delivery_id: record for record in self._deliveries.load_all(list(keys))}

    def _due(
        self,
        message: RetryMessage,
        delivery: Delivery,
        records: Mapping[str, DeliveryRecord],
        registered: Mapping[str, Subscriptions],
        now: datetime,
    ) -> Due:
        record = records.get(delivery.delivery_id)
        is_retry = message.purpose is Purpose.RETRY
        made = record.attempts if record else 0
        store = registered[message.store_id]
        return Due(
            delivery,
            self._expires_at(store, now),
            attempts=message.attempts if is_retry else 0,  # a replay has all its attempts
            earlier=message.earlier if is_retry else made,
            logged=record,
            has_slot=message.has_slot,
            asked_at=message.asked_at if is_retry else now,
            quiet_until=delivery.quiet_until(store.settings.quiet_hours, now),
        )

    def _end(
        self,
        judged: Sequence[_Judged],
        registered: Mapping[str, Subscriptions],
        records: Mapping[str, DeliveryRecord],
        now: datetime,
    ) -> frozenset[str]:
        """Ends what does not matter any more; returns the records of what could not be kept."""
        ended: dict[str, DeliveryRecord] = {}
        given_up: dict[str, RetryMessage] = {}
        contracts: dict[str, str] = {}
        for one in judged:
            message, verdict = one.waiting.message, one.verdict
            if isinstance(verdict, Later):
                continue
            if isinstance(verdict, Delivery):
                if verdict.delivery_id == message.delivery_id:
                    continue
                verdict = Ended(State.SUPERSEDED, _REPLAYED)  # by the checkout's newest event
            expires_at = self._expires_at(registered[message.store_id], now)
            record = records.get(message.delivery_id) or _first_record(message, now, expires_at)
            if record.state not in _OPEN:
                continue
            id_ = message.delivery_id
            ended[id_] = replace(record, state=verdict.state, reason=verdict.reason, recorded_at=now)
            contracts[id_] = _contract(one.subscription)
            if verdict.state in FAILED:
                given_up[id_] = message.model_copy(update={"reason": verdict.reason, "not_before": now})
        refused = self._dead_letters.send([*given_up.values()], now) if given_up else frozenset()
        kept = [record for id_, record in ended.items() if id_ not in refused]
        self._deliveries.record(kept)
        count_deliveries(Counter((contracts[record.delivery_id], record.state.value) for record in kept))
        if refused:
            logger.error("a queue refused messages", extra={"refused": len(refused)})
        return frozenset(
            one.waiting.record_id for one in judged if one.waiting.message.delivery_id in refused
        )

    def _expires_at(self, store: Subscriptions, now: datetime) -> datetime:
        return now + timedelta(days=store.settings.delivery_retention_days or self._retention_days)


def _unless_done(one: _Judged, records: Mapping[str, DeliveryRecord], now: datetime) -> _Judged | None:
    """None where nothing is left to do: a message may come twice, or after somebody else has done it."""
    message = one.waiting.message
    own = records.get(message.delivery_id)
    newest = records.get(one.verdict.delivery_id) if isinstance(one.verdict, Delivery) else own
    if any(each and each.claimed_until and each.claimed_until > now for each in (own, newest)):
        return replace(one, verdict=Later(now + _UNTIL_RECORDED, message.reason))
    if message.purpose is Purpose.RETRY:
        if own is None and not message.attempts and message.reason != _UNRECORDED:
            return replace(one, verdict=Later(now + _UNTIL_RECORDED, _UNRECORDED))
        # A later attempt is recorded only once a message of its own is queued: that one goes on.
        is_last = own is None or message.earlier + message.attempts >= own.attempts
        is_open = is_last and (own is None or own.state is State.PENDING)
        return _unless_untold(one, records, now) if is_open else None
    if isinstance(one.verdict, Delivery):
        if newest and _is_done(newest, message):
            return None if newest == own else replace(one, verdict=_OVERTAKEN)
        left_to_fan_out = one.verdict.event.time + _BEING_SENT_WITHIN
        if message.purpose is Purpose.RECOVER and newest is None and own and now < left_to_fan_out:
            return replace(one, verdict=Later(left_to_fan_out, message.reason))
    return one


def _is_done(record: DeliveryRecord, message: RetryMessage) -> bool:
    """Whether what an operator wants has been delivered: ever, or, for a replay, since it was asked for."""
    if record.state is not State.DELIVERED:
        return False
    if message.purpose is Purpose.RECOVER:
        return True
    return bool(message.asked_at and record.history and record.history[-1].at >= message.asked_at)


def _unless_untold(one: _Judged, records: Mapping[str, DeliveryRecord], now: datetime) -> _Judged:
    """What was overtaken gives way; but where nobody has made the newer delivery, it is made here.

    The subscription was paused when the event came, or has changed what it wants since.
    """
    newest = one.newest
    if newest is None:
        return one
    record = records.get(newest.delivery_id)
    is_planned = record is not None and record.state is not State.SUPPRESSED
    is_fresh = record is None and now - newest.event.time < _PLANNED_WITHIN
    if is_planned or is_fresh:
        return one
    is_too_old = now >= expires_at(newest.event)
    return replace(one, verdict=Ended(State.EXPIRED, TOO_OLD) if is_too_old else newest)


def _spared(one: _Judged, shoppers: Mapping[tuple[str, str], Known]) -> _Judged:
    verdict = one.verdict
    if not isinstance(verdict, Delivery) or not verdict.is_abandonment:
        return one
    shopper = shoppers[verdict.checkout_key].shopper
    if shopper.purchase and verdict.checkout.is_over_with(shopper.purchase):
        return replace(one, verdict=Ended(State.SUPPRESSED, Suppression.COMPLETED))
    if shopper.told_at and shopper.told_at - verdict.event.time >= _MILLISECOND:
        return replace(one, verdict=Ended(State.SUPPRESSED, Suppression.COOLDOWN))
    return one


def _first_record(message: RetryMessage, now: datetime, expires_at: datetime) -> DeliveryRecord:
    """The log's entry of a delivery whose first attempt was never recorded."""
    return DeliveryRecord(
        subscription_id=message.subscription_id,
        delivery_id=message.delivery_id,
        store_id=message.store_id,
        checkout_id=message.checkout_id,
        event_id=message.event_id,
        event_type=message.event_type.value,
        sequence=message.sequence,
        state=State.PENDING,
        attempts=message.earlier + message.attempts,
        reason=message.reason,
        status=None,
        latency_ms=None,
        recorded_at=now,
        expires_at=expires_at,
    )


def _contract(subscription: Subscription | None) -> str:
    return f"{subscription.topic} {subscription.version}" if subscription else "none"
