"""Attempts: deliveries that are due, sent now, and what follows from how each ended.

    hold back ─► claim ─► probe ─► sign and send ─► queue what is to come later ─► record ─► circuits

All that follows an attempt does so for each wave of them that has ended: who hangs keeps nobody else waiting.
Fan-out's first attempts and the later ones of `retry` go the same way; but for what was queued several
messages may ask at once. So whoever attempts it claims its entry in the log first, and who only puts it off
writes the entry only where nobody else has. An attempt that failed goes to the RetryQueue, a delivery that
is given up to the dead-letter queue, and both before the log says so: what is queued and not recorded is at
worst sent twice, what is recorded and not queued would be lost.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from checkout_recovery.checkout.lifecycle import Suppression
from checkout_recovery.delivery.circuits import Circuits
from checkout_recovery.delivery.plan import Delivery
from checkout_recovery.delivery.retry_policy import (
    LAST_CALL,
    SCHEDULE,
    Ended,
    after_failure,
    expires_at,
    failure_of,
)
from checkout_recovery.delivery.send import Failure, Outcome, Post, Sender
from checkout_recovery.delivery.signed import signed_headers
from checkout_recovery.errors import Unavailable
from checkout_recovery.observability import logger, measure
from checkout_recovery.queues import Purpose, RetryMessage, RetryQueue
from checkout_recovery.secrets import Secret, Secrets, subscription_secret
from checkout_recovery.subscriptions.circuit import UNTRIED_WAIT, Circuit
from checkout_recovery.tables.deliveries import Attempt, DeliveryRecord, DeliveryTable, State
from checkout_recovery.tables.turns import Turns

_SOON = timedelta(seconds=1)
"""Turns that come within it are taken at once."""
_SECRET_WAIT = timedelta(seconds=30)
_RENEWED_AFTER = timedelta(hours=12)
"""Before it may be deleted, after a day at the earliest, the entry of what still waits is written anew."""

CLAIM = timedelta(seconds=60)
"""No attempt lasts longer: by then Lambda has ended its function."""

UNRECORDED = "unrecorded"
CIRCUIT_OPEN = "circuit_open"
RATE_LIMITED = "rate_limited"
SECRET_UNAVAILABLE = "secret_unavailable"  # noqa: S105 - a reason, no secret

Bodies = Mapping[tuple[str, str, str], bytes]
"""Rendered bodies by event id, topic and version: one for all subscriptions of a contract."""


@dataclass(frozen=True, slots=True)
class Due:
    """A delivery whose time has come."""

    delivery: Delivery
    expires_at: datetime
    """When its entry in the log may be deleted."""
    attempts: int = 0
    """How many have been made; since a replay, where there was one."""
    earlier: int = 0
    """How many were made before the replay."""
    is_shared: bool = False
    """Whether several messages may ask for it at once."""
    is_claimed: bool = False
    """Whether it is claimed here."""
    purpose: Purpose = Purpose.RETRY
    """What its message is for; once an attempt has been made of it, the next is a retry."""
    logged: DeliveryRecord | None = None
    """Its entry in the log, as it was read or claimed."""
    has_slot: bool = False
    """Whether it has its turn under the subscription's rate limit already."""
    asked_at: datetime | None = None
    """When an operator asked for it."""
    quiet_until: datetime | None = None
    """It asks for a message, and the store's quiet hours have begun: until when."""

    @property
    def is_guarded(self) -> bool:
        """Whether its entry may only be written as it was read."""
        return self.is_shared and not self.is_claimed

    @property
    def made(self) -> int:
        """How many attempts have been made in all."""
        return self.earlier + self.attempts

    @property
    def history(self) -> tuple[Attempt, ...]:
        return self.logged.history if self.logged else ()

    @property
    def matters_until(self) -> datetime:
        return expires_at(self.delivery.event, self.asked_at)


@dataclass(frozen=True, slots=True)
class Settled:
    """How a delivery stands after this run."""

    due: Due
    state: State
    reason: str | None = None
    not_before: datetime | None = None
    """When it is tried again; None where it is not, and where that is now."""
    has_slot: bool = False
    last: Attempt | None = None
    """The attempt of this run; None where none was made."""

    @property
    def is_news(self) -> bool:
        """Whether the log does not say it already, or might forget it."""
        log = self.due.logged
        if log is None or log.claimed_until or self.last:
            return True
        if self.due.expires_at - log.expires_at >= _RENEWED_AFTER:
            return True
        return (self.state, self.reason, self.due.made) != (log.state, log.reason, log.attempts)


@dataclass(frozen=True, slots=True)
class Left:
    """The ids of the deliveries of which nothing was concluded here."""

    unknown: frozenset[str]
    """They have to come again."""
    taken: frozenset[str]
    """Somebody else is attempting them, or may be."""


class Attempts:
    def __init__(
        self,
        *,
        deliveries: DeliveryTable,
        secrets: Secrets,
        sender: Sender,
        turns: Turns,
        circuits: Circuits,
        retry_queue: RetryQueue,
        dead_letters: RetryQueue,
        deferral: timedelta,
        now: Callable[[], datetime],
        random: Callable[[], float],
    ) -> None:
        """Takes its collaborators.

        Args:
            deliveries: the log.
            secrets: of the subscriptions.
            sender: makes the attempts.
            turns: under rate limits.
            circuits: of the subscriptions.
            retry_queue: for what is to come later.
            dead_letters: for what is given up.
            deferral: how long a delivery waits that the sender had no time for, or no patience.
            now: UTC.
            random: gives numbers in [0, 1).
        """
        self._deferral = deferral
        self._deliveries = deliveries
        self._secrets = secrets
        self._sender = sender
        self._turns = turns
        self._circuits = circuits
        self._retry_queue = retry_queue
        self._dead_letters = dead_letters
        self._now = now
        self._random = random

    def __call__(
        self,
        dues: Sequence[Due],
        open_circuits: Mapping[str, Circuit],
        budget_seconds: float,
    ) -> Left:
        """Makes an attempt of each delivery, or says when the next is made.

        Args:
            dues: each delivery once.
            open_circuits: of their subscriptions.
            budget_seconds: how long all until the last is sent may take; what is not sent by then goes to the
                queue.

        Returns:
            What was not concluded.

        Raises:
            Unavailable: the log is throttled or down; all of them have to come again.
        """
        started = self._now()
        bodies, broken = _render(dues)
        able = [due for due in dues if due.delivery.event.id not in broken]
        able, probed, held = self._hold_back(able, open_circuits)
        posts, unsigned = self._posts(able, bodies)
        by_id = {due.delivery.delivery_id: due for due in able}
        ours, taken = self._claim([by_id[post.delivery_id] for post in posts])
        ours, late = self._probe(ours, probed)
        by_id = {due.delivery.delivery_id: due for due in ours}
        posts = [post for post in posts if post.delivery_id in by_id]
        settled = held + unsigned + late
        unknown = {due.delivery.delivery_id for due in dues if due.delivery.event.id in broken}
        left = budget_seconds - (self._now() - started).total_seconds()
        with closing(self._sender.waves(posts, max(0.0, left))) as waves:
            for wave in waves:
                settled += [self._settle(by_id[outcome.delivery_id], outcome) for outcome in wave.values()]
                unknown |= self._conclude(settled, open_circuits)
                settled = []
        return Left(frozenset(unknown), taken)

    # ------------------------------------------------------------ before the attempt

    def _hold_back(
        self, dues: Sequence[Due], open_circuits: Mapping[str, Circuit]
    ) -> tuple[list[Due], dict[str, Circuit], list[Settled]]:
        """Parts what may be sent now from what has to wait; returns also the circuits that it would probe."""
        by_subscription: dict[str, list[Due]] = {}
        held = [
            Settled(due, State.PENDING, Suppression.QUIET_HOURS.value, due.quiet_until)
            for due in dues
            if due.quiet_until
        ]
        for due in (due for due in dues if not due.quiet_until):
            by_subscription.setdefault(due.delivery.subscription.subscription_id, []).append(due)
        able: list[Due] = []
        probed: dict[str, Circuit] = {}
        may_meet = self._circuits.are_probed_elsewhere
        kept_waiting = {
            theirs[0].delivery.checkout.store_id
            for subscription_id, theirs in by_subscription.items()
            if subscription_id not in open_circuits
        }
        for subscription_id, theirs in by_subscription.items():
            circuit = open_circuits.get(subscription_id)
            if circuit and not (may_meet and circuit.is_untried and circuit.store_id not in kept_waiting):
                probes = int(self._circuits.may_probe(circuit))  # it needs no turn: nothing else is sent
                if probes:
                    probed[subscription_id] = circuit
                now_able = theirs[:probes]
                waiting = [self._after_probe(due, circuit) for due in theirs[probes:]]
            else:
                now_able, waiting = self._take_turns(theirs)
            able += now_able
            held += waiting
        return able, probed, held

    def _claim(self, dues: Sequence[Due]) -> tuple[list[Due], frozenset[str]]:
        """Returns those that are ours to make now, and the ids of those that somebody else may be making."""
        shared = [due for due in dues if due.is_shared]
        if not shared:
            return list(dues), frozenset()
        now = self._now()
        wanted = [
            (due.logged, due.logged or entry(Settled(due, State.PENDING, UNRECORDED), now)) for due in shared
        ]
        claimed = self._deliveries.claim(wanted, now, now + CLAIM)
        taken = frozenset(record.delivery_id for _, record in wanted) - claimed.keys()
        ours = [due for due in dues if due.delivery.delivery_id not in taken]
        return [
            replace(due, logged=claimed[due.delivery.delivery_id], is_claimed=True) if due.is_shared else due
            for due in ours
        ], taken

    def _probe(self, dues: Sequence[Due], probed: Mapping[str, Circuit]) -> tuple[list[Due], list[Settled]]:
        """Claims the probes, last of all: one that is claimed and not made keeps its receiver waiting."""
        able: list[Due] = []
        late: list[Settled] = []
        for due in dues:
            circuit = probed.get(due.delivery.subscription.subscription_id)
            if circuit is None or self._circuits.claim_probe(circuit):
                able.append(due)
            else:
                late.append(self._after_probe(due, circuit))
        return able, late

    def _take_turns(self, dues: Sequence[Due]) -> tuple[list[Due], list[Settled]]:
        limit = dues[0].delivery.subscription.rate_limit_per_second if dues else None
        waiting = [due for due in dues if limit and not due.has_slot]
        if not (limit and waiting):
            return list(dues), []
        now = self._now()
        subscription_id = dues[0].delivery.subscription.subscription_id
        try:
            turns = self._turns.take(subscription_id, len(waiting), limit, now)
        except Unavailable:
            turns = [now + SCHEDULE[0]] * len(waiting)
        soon = [due for due, turn in zip(waiting, turns, strict=True) if turn <= now + _SOON]
        later = [
            replace(_postponed(due, RATE_LIMITED, turn), has_slot=True)
            for due, turn in zip(waiting, turns, strict=True)
            if turn > now + _SOON
        ]
        return [due for due in dues if due.has_slot] + soon, later

    def _after_probe(self, due: Due, circuit: Circuit) -> Settled:
        """Postpones until the receiver has been probed; where it is untried, to be the probe itself.

        What waited long comes over half as long again: all that has gathered must not come at once, neither
        to a receiver that is back nor to the tables while it is not.
        """
        now = self._now()
        if circuit.is_untried:
            is_its_probe = self._circuits.are_probed_elsewhere and now >= circuit.probe_at
            wait = spread = timedelta() if is_its_probe else UNTRIED_WAIT
        else:
            wait = max(circuit.probe_at - now, SCHEDULE[0])
            spread = max(wait / 2, SCHEDULE[0])
        later = now + wait + spread * self._random()
        return _postponed(due, CIRCUIT_OPEN, min(later, max(now + wait, due.matters_until - LAST_CALL)))

    # ------------------------------------------------------------ the attempt

    def _posts(self, dues: Sequence[Due], bodies: Bodies) -> tuple[list[Post], list[Settled]]:
        """Makes the posts; returns also what has to wait for its secret."""
        secrets = self._secrets.available(
            {_secret_name(due.delivery): due.delivery.subscription.key_version for due in dues}
        )
        posts: list[Post] = []
        waiting: list[Settled] = []
        for due in dues:
            secret = secrets.get(_secret_name(due.delivery))
            if secret is None:
                later = self._now() + _SECRET_WAIT + SCHEDULE[0] * self._random()
                waiting.append(_postponed(due, SECRET_UNAVAILABLE, later))
            else:
                posts.append(self._post(due.delivery, secret, bodies[_body_key(due.delivery)]))
        return posts, waiting

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

    def _settle(self, due: Due, outcome: Outcome) -> Settled:
        now = self._now()
        if outcome.failure is Failure.DEFERRED:
            return _postponed(due, Failure.DEFERRED.value, now + self._deferral)
        if outcome.delivered:
            last = Attempt(now, None, outcome.status, outcome.latency_ms)
            return Settled(due, State.DELIVERED, last=last)
        reason = failure_of(outcome)
        last = Attempt(now, reason, outcome.status, outcome.latency_ms)
        step = after_failure(outcome, due.attempts + 1, due.matters_until, now, self._random)
        if isinstance(step, Ended):
            return Settled(due, step.state, step.reason, last=last)
        return Settled(due, State.PENDING, reason, step, last=last)

    # ------------------------------------------------------------ after the attempt

    def _conclude(self, settled: Sequence[Settled], open_circuits: Mapping[str, Circuit]) -> frozenset[str]:
        """Queues, records and tells how deliveries stand; returns the ids of those that SQS refused."""
        refused = self._queue(settled)
        self.record([one for one in settled if one.due.delivery.delivery_id not in refused])
        attempts = [(one.due.delivery.subscription, one.last) for one in settled if one.last]
        self._circuits.heard(attempts, open_circuits)
        return refused

    def _queue(self, settled: Sequence[Settled]) -> frozenset[str]:
        """Queues what is to come later and what is given up; returns the delivery ids that SQS refused."""
        later = [_message(one, one.not_before) for one in settled if one.not_before]
        given_up = [_message(one, self._now()) for one in settled if one.state in _GIVEN_UP]
        refused = self._retry_queue.send(later, self._now()) if later else frozenset()
        if given_up:
            refused |= self._dead_letters.send(given_up, self._now())
        if refused:
            logger.error("a queue refused messages", extra={"refused": len(refused)})
        return refused

    def record(self, settled: Sequence[Settled]) -> None:
        """Writes to the log and to the metrics how deliveries stand.

        Raises:
            Unavailable: the log is throttled or down.
        """
        now = self._now()
        news = [one for one in settled if one.is_news]
        self._deliveries.record([entry(one, now) for one in news if not one.due.is_guarded])
        if guarded := [(one.due.logged, entry(one, now)) for one in news if one.due.is_guarded]:
            self._deliveries.amend(guarded, now)
        _log_failures(settled)
        _count(settled, now)


_GIVEN_UP = (State.EXPIRED, State.EXHAUSTED)


def _postponed(due: Due, reason: str, later: datetime) -> Settled:
    return Settled(due, State.PENDING, reason, later)


def _render(dues: Iterable[Due]) -> tuple[Bodies, frozenset[str]]:
    """Renders each event once a contract; returns the bodies, and the events that cannot be rendered."""
    bodies: dict[tuple[str, str, str], bytes] = {}
    broken: set[str] = set()
    for delivery in (due.delivery for due in dues):
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


def _message(one: Settled, not_before: datetime) -> RetryMessage:
    delivery = one.due.delivery
    return RetryMessage(
        purpose=Purpose.RETRY if one.last else one.due.purpose,
        store_id=delivery.checkout.store_id,
        checkout_id=delivery.checkout.checkout_id,
        subscription_id=delivery.subscription.subscription_id,
        delivery_id=delivery.delivery_id,
        event_id=delivery.event.id,
        event_type=delivery.event.type,
        event_time=delivery.event.time,
        sequence=delivery.checkout.sequence,
        attempts=one.due.attempts + (one.last is not None),
        earlier=one.due.earlier,
        reason=one.reason or "",
        not_before=not_before,
        has_slot=one.has_slot,
        asked_at=one.due.asked_at,
    )


def entry(one: Settled, now: datetime) -> DeliveryRecord:
    """What the log says of a delivery that stands so."""
    due, delivery = one.due, one.due.delivery
    history = (*due.history, one.last) if one.last else due.history
    last = history[-1] if history else None
    return DeliveryRecord(
        subscription_id=delivery.subscription.subscription_id,
        delivery_id=delivery.delivery_id,
        store_id=delivery.checkout.store_id,
        checkout_id=delivery.checkout.checkout_id,
        event_id=delivery.event.id,
        event_type=delivery.event.type.value,
        sequence=delivery.checkout.sequence,
        state=one.state,
        attempts=due.made + (one.last is not None),
        reason=one.reason,
        status=last.status if last else None,
        latency_ms=last.latency_ms if last else None,
        history=history,
        recorded_at=now,
        expires_at=due.expires_at,
    )


def _log_failures(settled: Iterable[Settled]) -> None:
    for one in settled:
        if one.last is None or one.last.failure is None:
            continue
        delivery = one.due.delivery
        logger.warning(
            "delivery failed",
            extra={
                "store_id": delivery.checkout.store_id,
                "subscription_id": delivery.subscription.subscription_id,
                "delivery_id": delivery.delivery_id,
                "failure": one.last.failure,
                "status": one.last.status,
                "latency_ms": one.last.latency_ms,
                "attempts": one.due.made + 1,
                "state": one.state.value,
            },
        )


def count_deliveries(outcomes: Mapping[tuple[str, str], int]) -> None:
    """Measures deliveries by contract and outcome: few dimensions, because each combination is billed."""
    for (contract, outcome), count in outcomes.items():
        measure("Deliveries", count, contract=contract, outcome=outcome)


def _count(settled: Sequence[Settled], now: datetime) -> None:
    count_deliveries(Counter((_contract(one.due.delivery), _outcome(one)) for one in settled))
    held = Counter(one.reason for one in settled if one.last is None and one.state is State.PENDING)
    for reason, count in held.items():
        measure("Postponed", count, reason=reason or "")
    suppressed = Counter(one.reason for one in settled if one.state is State.SUPPRESSED)
    for reason, count in suppressed.items():
        measure("Suppressed", count, reason=reason or "")
    attempted = [one for one in settled if one.last]
    ages = [(one.due, now - one.due.delivery.event.time) for one in attempted]
    first = [  # but for what was told in the morning: nobody was slow
        _milliseconds(age)
        for due, age in ages
        if not due.made and not (due.logged and due.logged.reason == Suppression.QUIET_HOURS)
    ]
    later = [age.total_seconds() for due, age in ages if due.made]
    if first:
        measure("FirstAttemptMilliseconds", *first)
    if later:
        measure("RetryAgeSeconds", *later)
    latencies = [one.last.latency_ms for one in attempted if one.last and one.last.status is not None]
    if latencies:
        measure("ReceiverLatencyMilliseconds", *latencies)


def _contract(delivery: Delivery) -> str:
    return f"{delivery.contract.topic} {delivery.contract.version}"


def _outcome(one: Settled) -> str:
    if one.state is State.PENDING:
        return "failed" if one.last else "postponed"
    return one.state.value


def _milliseconds(duration: timedelta) -> float:
    return max(0.0, duration / timedelta(milliseconds=1))
