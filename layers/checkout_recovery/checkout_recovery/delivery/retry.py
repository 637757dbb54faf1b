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

from checkout_recovery.checkout.lifecycle import Checkout, Suppression
from checkout_recovery.delivery.attempts import CLAIM, UNRECORDED, Attempts, Due, Left, count_deliveries
from checkout_recovery.delivery.plan import Delivery, plan
from checkout_recovery.delivery.relevance import NEWER_EVENT, TOO_OLD, Later, relevance
from checkout_recovery.delivery.retry_policy import Ended, expires_at
from checkout_recovery.observability import logger
from checkout_recovery.queues import Purpose, RetryMessage, RetryQueue
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
"""So long a new event is left to fan-out before it is sent because an operator wants its checkout sent."""
_UNTIL_RECORDED = timedelta(seconds=5)
"""So long a delivery waits that somebody else may be about to record: who claimed it; or, once, fan-out,
which queues what it does not attempt before it writes the log."""
_MILLISECOND = timedelta(milliseconds=1)
"""How exactly an event's time is known to who has only its delivery's id."""
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
    def delivery_id(self) -> str:
        """The delivery that is to be made, or else the message's own."""
        return (self.verdict if isinstance(self.verdict, Delivery) else self.waiting.message).delivery_id

    @property
    def is_replaced(self) -> bool:
        """Whether another delivery is to be made in the place of the message's own."""
        return self.delivery_id != self.waiting.message.delivery_id

    @property
    def newest(self) -> Delivery | None:
        """The delivery that took this one's place."""
        if self.verdict != _OVERTAKEN or self.checkout is None or self.subscription is None:
            return None
        return next(plan(self.checkout, [self.subscription]), None)


@dataclass(frozen=True, slots=True)
class _Ending:
    """A delivery that is to end."""

    one: _Judged
    verdict: Ended
    seen: DeliveryRecord | None
    """Its entry in the log."""
    stands: DeliveryRecord
    """The same, or what it would be."""

    def record(self, now: datetime) -> DeliveryRecord:
        """Its entry afterwards."""
        return replace(self.stands, state=self.verdict.state, reason=self.verdict.reason, recorded_at=now)

    def letter(self, now: datetime) -> RetryMessage:
        """What the dead-letter queue is told of it."""
        changes = {"reason": self.verdict.reason, "not_before": now}
        return self.one.waiting.message.model_copy(update=changes)


_OVERTAKEN = Ended(State.SUPERSEDED, NEWER_EVENT)
_REPLACED = Ended(State.SUPERSEDED, "replayed")
"""By the checkout's newest event."""


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
        wanted = {one.delivery_id for one in judged if isinstance(one.verdict, Delivery)}
        ended = [
            (one, one.verdict)
            for one in judged
            if isinstance(one.verdict, Ended) and one.delivery_id not in wanted
        ]
        left = self._end(ended, registered, records, now)
        dues: dict[str, Due] = {}
        # An operator's first: where a retry asks for the same, it is still theirs and has all its attempts.
        for one in sorted(judged, key=lambda one: one.waiting.message.purpose is Purpose.RETRY):
            if isinstance(one.verdict, Delivery):
                due = self._due(one.waiting.message, one.verdict, records, registered, now)
                dues.setdefault(one.verdict.delivery_id, due)
        if dues:
            circuits = {id_: each for store in registered.values() for id_, each in store.circuits.items()}
            made = self._attempts(list(dues.values()), circuits, budget_seconds)
            left = Left(left.unknown | made.unknown, left.taken | made.taken)
            # Only now: cut off in between, the message comes again, and has to stand for both still.
            concluded = dues.keys() - left.unknown - left.taken
            replaced = [
                (one, _REPLACED) for one in judged if one.is_replaced and one.delivery_id in concluded
            ]
            self._end(replaced, registered, records, now)
        again = unreadable | {one.waiting.record_id for one in judged if one.delivery_id in left.unknown}
        return again, [later for one in judged if (later := self._waiting_on(one, left.taken))]

    def _waiting_on(self, one: _Judged, taken: Collection[str]) -> Waiting | None:
        """The message of what has to wait on."""
        if isinstance(one.verdict, Later):
            changes = {"not_before": one.verdict.not_before, "reason": one.verdict.reason}
        elif one.delivery_id in taken:
            changes = {"not_before": self._now() + _UNTIL_RECORDED}
        else:
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
            is_shared=True,
            logged=record,
            has_slot=message.has_slot,
            purpose=message.purpose,
            asked_at=message.asked_at or (None if is_retry else now),
            quiet_until=delivery.quiet_until(store.settings.quiet_hours, now),
        )

    def _end(
        self,
        ending: Sequence[tuple[_Judged, Ended]],
        registered: Mapping[str, Subscriptions],
        records: Mapping[str, DeliveryRecord],
        now: datetime,
    ) -> Left:
        """Ends what does not matter any more, but for what somebody else has written of since.

        What is given up is claimed first: the dead-letter queue must not have what is being delivered.
        """
        endings: dict[str, _Ending] = {}
        for one, verdict in ending:
            expires_at = self._expires_at(registered[one.waiting.message.store_id], now)
            seen = records.get(one.waiting.message.delivery_id)
            stands = seen or _first_record(one.waiting.message, now, expires_at)
            if stands.state in _OPEN:
                endings[stands.delivery_id] = _Ending(one, verdict, seen, stands)
        failed = {id_: each for id_, each in endings.items() if each.verdict.state in FAILED}
        claims = [(each.seen, each.stands) for each in failed.values()]
        claimed = self._deliveries.claim(claims, now, now + CLAIM)
        letters = [failed[id_].letter(now) for id_ in claimed]
        refused = self._dead_letters.send(letters, now) if letters else frozenset()
        if refused:
            logger.error("a queue refused messages", extra={"refused": len(refused)})
        given_up = claimed.keys() - refused
        self._deliveries.record([failed[id_].record(now) for id_ in given_up])
        others = [(each.seen, each.record(now)) for id_, each in endings.items() if id_ not in failed]
        amended = self._deliveries.amend(others, now)
        written = amended.written | given_up
        count_deliveries(
            Counter(
                (_contract(endings[id_].one.subscription), endings[id_].verdict.state.value)
                for id_ in written
            )
        )
        return Left(refused, amended.unknown | (failed.keys() - claimed.keys()))

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
        if own is None and not message.attempts and message.reason != UNRECORDED:
            return replace(one, verdict=Later(now + _UNTIL_RECORDED, UNRECORDED))
        # A later attempt is recorded only once a message of its own is queued: that one goes on.
        is_last = own is None or message.earlier + message.attempts >= own.attempts
        is_open = is_last and (own is None or own.state is State.PENDING)
        return _unless_untold(one, records, now) if is_open else None
    if isinstance(one.verdict, Delivery):
        if newest and _is_done(newest, message):
            return None if newest == own else replace(one, verdict=_OVERTAKEN)
        left_to_fan_out = one.verdict.event.time + _BEING_SENT_WITHIN
        if newest is None and own and now < left_to_fan_out:
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
    is_planned = (  # what was only claimed has no message
        record is not None and record.state is not State.SUPPRESSED and record.reason != UNRECORDED
    )
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
