"""Fan-out with collaborators that remember what they were asked, and checkouts to hand it."""

from collections.abc import Generator, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from checkout_recovery.checkout.lifecycle import Checkout
from checkout_recovery.delivery.attempts import Attempts
from checkout_recovery.delivery.circuits import Circuits
from checkout_recovery.delivery.fan_out import Arrival, FanOut
from checkout_recovery.delivery.send import Failure, Outcome, Post
from checkout_recovery.errors import Conflict, Unavailable
from checkout_recovery.notifications import Notice
from checkout_recovery.queues import RetryMessage
from checkout_recovery.secrets import Secret
from checkout_recovery.signing import new_webhook_key
from checkout_recovery.subscriptions.circuit import Circuit
from checkout_recovery.subscriptions.subscription import Subscription
from checkout_recovery.tables.deliveries import DeliveryRecord, LogRead
from checkout_recovery.tables.registry import Subscriptions

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)


class Clock:
    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


class Registry:
    """Holds subscriptions and open circuits, and counts how often they were read."""

    def __init__(self, *subscriptions: Subscription) -> None:
        self.held = Subscriptions(1, subscriptions)
        self.circuits: dict[str, Circuit] = {}
        self.disabled: list[Subscription] = []
        self.closings: list[int] = []
        """How many were closed together, each time."""
        self.reads = 0
        self.is_down = False
        self.has_changed = False
        """Whether somebody else has changed the subscription meanwhile."""

    def subscriptions(self, store_id: str) -> Subscriptions:
        self._answer()
        self.reads += 1
        return self.held

    def put_circuit(self, before: Circuit | None, after: Circuit) -> bool:
        self._answer()
        held = self.circuits.get(after.subscription_id)
        if (held and held.probe_at) != (before and before.probe_at):
            return False
        self.circuits[after.subscription_id] = after
        return True

    def close_circuit(self, circuit: Circuit) -> bool:
        self._answer()
        return self.circuits.pop(circuit.subscription_id, None) is not None

    def close_untried(self, circuits: Sequence[Circuit]) -> None:
        self._answer()
        self.closings.append(len(circuits))
        for circuit in circuits:
            self.circuits.pop(circuit.subscription_id, None)

    def update_subscription(self, before: Subscription, after: Subscription) -> None:
        self._answer()
        if self.has_changed:
            raise Conflict("It has changed in the meantime")
        self.disabled.append(after)

    def _answer(self) -> None:
        if self.is_down:
            raise Unavailable("AWS is throttling")


class Checkouts:
    """Knows which checkouts are bought by now."""

    def __init__(self) -> None:
        self.bought: set[tuple[str, str]] = set()


class Log:
    """A delivery log in memory."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.records: dict[str, DeliveryRecord] = {}
        self.look_ups = 0
        self.writes = 0
        self.asked: list[tuple[str, str]] = []

    def look_up(
        self,
        keys: Iterable[tuple[str, str]],
        registry: Registry,
        store_ids: Iterable[str],
        checkouts: Checkouts,
        abandoned: Iterable[tuple[str, str]],
    ) -> LogRead:
        self.look_ups += 1
        self.asked += abandoned
        recorded = frozenset(delivery for _, delivery in keys if delivery in self.records)
        revisions = dict.fromkeys(store_ids, self.registry.held.revision)
        return LogRead(recorded, revisions, frozenset(checkouts.bought & set(abandoned)))

    def record(self, records: Iterable[DeliveryRecord]) -> None:
        written = {record.delivery_id: record for record in records}
        self.writes += len(written)
        self.records |= written


class Keys:
    """Secrets of all subscriptions but those named."""

    def __init__(self) -> None:
        self.missing: set[str] = set()
        self.secret = Secret(keys=(new_webhook_key(),), version=1)

    def available(self, wanted: Mapping[str, int]) -> dict[str, Secret]:
        return {name: self.secret for name in wanted if name.rpartition("/")[2] not in self.missing}


class Receivers:
    """Sends nothing; answers 200 unless a subscription has another outcome."""

    def __init__(self) -> None:
        self.failures: dict[str, Failure] = {}
        self.posts: list[Post] = []
        self.bodies: list[bytes] = []

    def waves(
        self, posts: Sequence[Post], budget_seconds: float
    ) -> Generator[Mapping[int, Outcome], None, None]:
        self.posts += posts
        self.bodies += [post.prepare()[1] for post in posts]
        yield {index: self.outcome(post) for index, post in enumerate(posts)}

    def outcome(self, post: Post) -> Outcome:
        failure = self.failures.get(post.subscription_id)
        status = {None: 200, Failure.HTTP: 500}.get(failure)
        return Outcome(post.delivery_id, status, failure, 12)


class Queue:
    """Keeps messages; refuses deliveries of the subscriptions named."""

    def __init__(self) -> None:
        self.messages: list[RetryMessage] = []
        self.refused: set[str] = set()

    def send(self, messages: Sequence[RetryMessage], now: datetime) -> frozenset[str]:
        refused = frozenset(m.delivery_id for m in messages if m.subscription_id in self.refused)
        self.messages += [message for message in messages if message.delivery_id not in refused]
        return refused


class Operator:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[Notice, str]] = []

    def send(self, notice: Notice, store_id: str, subscription_id: str) -> None:
        self.told.append((notice, subscription_id))


class Turns:
    """One turn after the other, a second apart for each that a subscription may have in a second."""

    def __init__(self) -> None:
        self.free_at: datetime | None = None
        self.is_down = False

    def take(self, subscription_id: str, count: int, per_second: float, now: datetime) -> list[datetime]:
        if self.is_down:
            raise Unavailable("AWS is throttling")
        first = max(self.free_at or now, now)
        interval = timedelta(seconds=1 / per_second)
        self.free_at = first + count * interval
        return [first + index * interval for index in range(count)]


class World:
    """A fan-out with all that it works with."""

    def __init__(self, *subscriptions: Subscription) -> None:
        self.clock = Clock()
        self.chance = 0.0
        """What `random` gives."""
        self.registry = Registry(*subscriptions)
        self.checkouts = Checkouts()
        self.log = Log(self.registry)
        self.keys = Keys()
        self.receivers = Receivers()
        self.queue = Queue()
        self.dead_letters = Queue()
        self.turns = Turns()
        self.operator = Operator()
        self.fan_out = FanOut(
            registry=self.registry,  # type: ignore[arg-type] # a fake with what fan-out uses
            checkouts=self.checkouts,  # type: ignore[arg-type] # the same
            deliveries=self.log,  # type: ignore[arg-type] # the same
            attempts=self.attempts(probes=False),
            retention_days=30,
            now=self.clock,
        )

    def attempts(self, *, probes: bool) -> Attempts:
        return Attempts(
            deliveries=self.log,  # type: ignore[arg-type] # the same
            secrets=self.keys,  # type: ignore[arg-type] # the same
            sender=self.receivers,  # type: ignore[arg-type] # the same
            turns=self.turns,  # type: ignore[arg-type] # the same
            circuits=self.circuits(probes=probes),
            retry_queue=self.queue,  # type: ignore[arg-type] # the same
            dead_letters=self.dead_letters,  # type: ignore[arg-type] # the same
            deferral=timedelta(seconds=1),
            now=self.clock,
            random=lambda: self.chance,
        )

    def circuits(self, *, probes: bool) -> Circuits:
        return Circuits(
            self.registry,  # type: ignore[arg-type] # the same
            lambda: self.operator,  # type: ignore[arg-type, return-value] # the same
            self.clock,
            probes=probes,
            is_silent=lambda subscription_id, url: False,
        )

    def __call__(self, *checkouts: Checkout) -> frozenset[str]:
        arrivals = [Arrival(f"record-{index}", checkout) for index, checkout in enumerate(checkouts)]
        return self.fan_out(arrivals, 5.0)

    @property
    def logged(self) -> dict[str, tuple[str, str | None]]:
        """Of each subscription the state and reason."""
        return {each.subscription_id: (each.state, each.reason) for each in self.log.records.values()}

    @property
    def sent_to(self) -> list[str]:
        return [post.subscription_id for post in self.receivers.posts]
