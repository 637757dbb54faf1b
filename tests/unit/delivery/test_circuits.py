"""When a failing subscription is left alone, probed, disabled and taken up again, and what is said of it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from checkout_recovery.delivery import circuits
from checkout_recovery.delivery.circuits import Circuits
from checkout_recovery.notifications import Notice
from checkout_recovery.subscriptions.circuit import FAILURES, Circuit
from checkout_recovery.subscriptions.subscription import Subscription
from checkout_recovery.tables.deliveries import Attempt
from tests.subscriptions import subscription
from tests.unit.delivery.world import NOW, Clock, Operator, Registry

SUBSCRIPTION = subscription()
SECOND = timedelta(seconds=1)


def probes(circuits: Circuits, circuit: Circuit) -> bool:
    return circuits.may_probe(circuit) and circuits.claim_probe(circuit)


class World:
    """The circuits as several functions see them: each has its own memory, all have one registry."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.registry = Registry(SUBSCRIPTION)
        self.operator = Operator()
        self.silent: set[tuple[str, str]] = set()
        self.retry = self.another(probes=True)
        self.fan_out = self.another(probes=False)

    def another(self, *, probes: bool) -> Circuits:
        return Circuits(
            self.registry,  # type: ignore[arg-type] # a fake with what circuits use
            lambda: self.operator,  # type: ignore[arg-type, return-value] # the same
            self.clock,
            probes=probes,
            is_silent=lambda *receiver: receiver in self.silent,
        )

    @property
    def circuit(self) -> Circuit | None:
        return self.registry.circuits.get("sub_1")

    @property
    def told(self) -> list[Notice]:
        return [notice for notice, _ in self.operator.told]

    def hear(
        self, *failures: str | None, by: Circuits | None = None, subscription: Subscription = SUBSCRIPTION
    ) -> None:
        """Attempts end, None as delivered."""
        attempts = [(subscription, attempt(failure, self.clock.now)) for failure in failures]
        (by or self.fan_out).heard(attempts, dict(self.registry.circuits))

    def open(self) -> Circuit:
        self.hear(*["http"] * FAILURES)
        assert self.circuit
        return self.circuit

    def untried(self) -> Circuit:
        circuit = self.registry.circuits["sub_1"] = Circuit.untried("my-store", "sub_1", self.clock.now)
        return circuit

    def probe(self, failure: str | None, by: Circuits | None = None) -> bool:
        """Waits until a probe is due, and makes it if it is granted."""
        assert self.circuit
        self.clock.now = max(self.clock.now, self.circuit.probe_at)
        before = dict(self.registry.circuits)
        by = by or self.retry
        granted = probes(by, self.circuit)
        if granted:
            by.heard([(SUBSCRIPTION, attempt(failure, self.clock.now))], before)
        return granted

    def waits(self, count: int) -> list[int]:
        """How many seconds it is from each of so many probes that fail to the next."""
        found = []
        for _ in range(count):
            assert self.probe("timeout")
            assert self.circuit
            found.append((self.circuit.probe_at - self.clock.now) // SECOND)
        return found


def attempt(failure: str | None, at: datetime) -> Attempt:
    return Attempt(at, failure, None if failure else 200, 12)


# ---------------------------------------------------------------- opening


def test_a_circuit_opens_after_five_failures_in_a_row() -> None:
    world = World()
    for _ in range(4):
        world.hear("http")
    assert world.circuit is None
    world.hear("timeout")
    assert world.circuit == Circuit.opened("my-store", "sub_1", NOW)


def test_a_circuit_opens_at_once_where_the_sender_hears_nothing() -> None:
    world = World()
    world.silent = {("sub_2", SUBSCRIPTION.callback_url), ("sub_1", "https://receiver.example/former")}
    world.hear("timeout")
    assert world.circuit is None
    world.silent = {("sub_1", SUBSCRIPTION.callback_url)}
    world.hear("timeout")
    assert world.circuit == Circuit.opened("my-store", "sub_1", NOW)


@pytest.mark.parametrize("closed_by", ["retry", "operator"])
def test_failures_before_a_circuit_was_closed_do_not_open_it_again(closed_by: str) -> None:
    world = World()
    circuit = world.open()
    world.hear("http", by=world.retry)
    if closed_by == "retry":
        assert world.probe(None)
    else:
        world.registry.close_circuit(circuit)
    for one in (world.fan_out, world.retry):
        world.hear(*["http"] * (FAILURES - 1), by=one)
        assert world.circuit is None
    world.hear("http")
    assert world.circuit


def test_five_failures_of_one_batch_open_a_circuit_too() -> None:
    world = World()
    world.hear(*["dns"] * 5)
    assert world.circuit


@pytest.mark.parametrize(
    "ends",
    [
        ["http"] * 4 + [None] + ["http"] * 4,
        ["http"] * 9 + [None],
        [None, "http"] * 20,
    ],
)
@pytest.mark.parametrize("in_one_batch", [True, False])
def test_a_success_between_failures_keeps_a_circuit_closed(
    ends: Sequence[str | None], in_one_batch: bool
) -> None:
    world = World()
    for batch in [ends] if in_one_batch else [[end] for end in ends[-9:]]:
        world.hear(*batch)
    assert world.circuit is None


def test_one_subscriptions_failures_are_not_anothers() -> None:
    world = World()
    other = subscription("sub_2")
    for _ in range(4):
        world.hear("http")
        world.hear("http", subscription=other)
    assert world.registry.circuits == {}


def test_a_subscription_that_has_moved_starts_afresh() -> None:
    world = World()
    world.hear(*["http"] * 4)
    world.hear("http", subscription=replace(SUBSCRIPTION, callback_url="https://receiver.example/new"))
    assert world.circuit is None


def test_of_two_that_open_a_circuit_the_second_changes_nothing() -> None:
    world = World()
    opened = world.open()
    world.clock.now += SECOND
    other = world.another(probes=False)
    other.heard([(SUBSCRIPTION, attempt("http", world.clock.now))] * FAILURES, {})
    assert world.circuit == opened


# ---------------------------------------------------------------- probing


def test_no_probe_is_granted_before_its_time_and_one_then() -> None:
    world = World()
    circuit = world.open()
    world.clock.now = circuit.probe_at - timedelta(microseconds=1)
    assert not probes(world.retry, circuit)
    world.clock.now = circuit.probe_at
    assert probes(world.retry, circuit)


def test_only_one_of_two_that_claim_a_probe_gets_it() -> None:
    world = World()
    circuit = world.open()
    world.clock.now = circuit.probe_at
    others = [world.another(probes=True) for _ in range(5)]
    assert sum(probes(each, circuit) for each in others) == 1


def test_who_may_not_probe_claims_nothing() -> None:
    world = World()
    circuit = world.open()
    world.clock.now += timedelta(days=1)
    assert not probes(world.fan_out, circuit)
    assert world.circuit == circuit


def test_each_probe_that_fails_doubles_the_wait_up_to_ten_minutes() -> None:
    world = World()
    circuit = world.open()
    assert circuit.probe_at - world.clock.now == timedelta(seconds=5)
    assert world.waits(8) == [30, 60, 120, 240, 480, 600, 600, 600]


def test_a_probe_that_succeeds_closes_the_circuit_and_forgets_the_failures() -> None:
    world = World()
    world.open()
    assert world.probe(None)
    assert world.circuit is None
    world.hear(*["http"] * 4, by=world.retry)
    assert world.circuit is None


# ---------------------------------------------------------------- started again


def test_what_is_started_again_is_probed_at_once_by_one() -> None:
    world = World()
    circuit = world.untried()
    assert not probes(world.fan_out, circuit)
    assert [probes(each, circuit) for each in (world.retry, world.another(probes=True))] == [True, False]
    assert world.circuit == replace(circuit, probe_at=NOW + 30 * SECOND)


@pytest.mark.parametrize(
    ("ends", "measured"),
    [
        ([None], {}),
        (["http"], {"CircuitsOpened": 1}),
        (["http", None], {"CircuitsOpened": 1, "CircuitsClosed": 1}),
    ],
)
def test_what_is_started_again_fails_once_a_probe_has_failed(
    monkeypatch: pytest.MonkeyPatch, ends: list[str | None], measured: dict[str, int]
) -> None:
    counted: Counter[str] = Counter()
    monkeypatch.setattr(circuits, "measure", lambda name, count: counted.update({name: count}))
    world = World()
    world.untried()
    for end in ends:
        assert world.probe(end)
    assert counted == measured
    assert world.circuit == (None if ends[-1] is None else Circuit.opened("my-store", "sub_1", NOW))
    assert world.told == []


def test_who_was_told_of_an_untried_receiver_is_told_that_it_answers() -> None:
    world = World()
    world.registry.circuits["sub_1"] = replace(world.untried(), is_told=True)
    world.hear(None)
    assert world.circuit is None
    assert world.told == [Notice.RECOVERED]


@pytest.mark.parametrize("ends", [[None, "http"], ["http", None], [None, None, "timeout"]])
def test_who_was_told_of_an_untried_receiver_is_told_that_it_answers_whatever_followed(
    ends: list[str | None],
) -> None:
    world = World()
    world.registry.circuits["sub_1"] = replace(world.untried(), is_told=True)
    world.hear(*ends)
    assert world.circuit is None
    assert world.told == [Notice.RECOVERED]


def test_who_was_told_of_an_untried_receiver_is_told_that_it_answers_also_after_it_failed() -> None:
    world = World()
    world.registry.circuits["sub_1"] = replace(world.untried(), is_told=True)
    world.hear("http")
    assert world.circuit
    assert not world.circuit.is_untried
    world.probe(None)
    assert world.told == [Notice.RECOVERED]


def test_new_receivers_that_have_answered_are_known_by_one_write() -> None:
    world = World()
    others = [subscription(f"sub_{number}") for number in range(3)]
    world.registry.circuits = {
        each.subscription_id: Circuit.untried("my-store", each.subscription_id, NOW) for each in others
    }
    ends = zip(others, [None, "timeout", None], strict=True)
    attempts = [(each, attempt(failure, NOW)) for each, failure in ends]
    world.fan_out.heard(attempts, dict(world.registry.circuits))
    assert world.registry.circuits == {"sub_1": Circuit.opened("my-store", "sub_1", NOW)}
    assert world.registry.closings == [2]


@pytest.mark.parametrize("ends", [[None, "http"], ["timeout", None], [None, None, "http"]])
def test_a_new_receiver_that_has_answered_is_known_whatever_followed(ends: list[str | None]) -> None:
    world = World()
    world.untried()
    world.hear(*ends)
    assert world.circuit is None


def test_a_new_receiver_that_has_answered_and_then_is_gone_is_disabled() -> None:
    world = World()
    world.untried()
    world.hear(None, "gone")
    assert world.circuit is None
    assert [each.disabled_reason for each in world.registry.disabled] == ["gone"]


def test_while_the_registry_is_down_a_new_receiver_stays_untried_and_nothing_breaks() -> None:
    world = World()
    circuit = world.untried()
    world.registry.is_down = True
    world.hear(None)
    assert world.circuit == circuit
    world.registry.is_down = False
    world.hear(None)
    assert world.circuit is None


def test_a_probe_that_was_claimed_and_not_made_is_no_failure() -> None:
    world = World()
    world.untried()
    for _ in range(9):
        assert world.circuit
        world.clock.now = world.circuit.probe_at
        assert probes(world.retry, world.circuit)
    assert world.circuit
    assert world.circuit.is_untried
    assert world.told == []


def test_what_was_reset_while_it_was_probed_stays_untried() -> None:
    world = World()
    before = dict(world.registry.circuits) | {"sub_1": world.untried()}
    assert probes(world.retry, before["sub_1"])
    world.clock.now += SECOND
    again = world.untried()
    world.retry.heard([(SUBSCRIPTION, attempt("http", world.clock.now))], before)
    assert world.circuit == again


def test_what_is_started_again_and_only_fails_is_told_of_and_disabled_like_any_other() -> None:
    world = World()
    world.untried()
    world.clock.now = NOW + timedelta(days=6)  # there was nothing to send before
    assert world.waits(6) == [5, 30, 60, 120, 240, 480]
    assert world.told == [Notice.FAILING]
    assert world.registry.disabled == []
    world.clock.now += timedelta(days=5)
    world.probe("timeout")
    assert world.told == [Notice.FAILING, Notice.DISABLED]


# ---------------------------------------------------------------- what the operator is told


def test_a_circuit_that_the_first_probe_closes_is_told_to_nobody() -> None:
    world = World()
    world.open()
    world.probe(None)
    assert world.told == []


def test_the_operator_is_told_of_a_failing_subscription_once() -> None:
    world = World()
    world.open()
    for _ in range(20):
        world.probe("http", by=world.another(probes=True))
    assert world.operator.told == [(Notice.FAILING, "sub_1")]


@pytest.mark.parametrize("failed", [1, 2, 7])
def test_the_operator_who_was_told_of_the_failure_is_told_of_the_recovery(failed: int) -> None:
    world = World()
    world.open()
    world.waits(failed)
    world.probe(None, by=world.another(probes=True))
    assert world.told == [Notice.FAILING, Notice.RECOVERED]


def test_the_next_failure_is_news_again() -> None:
    world = World()
    for _ in range(2):
        world.open()
        world.waits(2)
        world.probe(None)
    assert world.told == [Notice.FAILING, Notice.RECOVERED] * 2


# ---------------------------------------------------------------- disabling


def test_a_receiver_that_is_gone_is_disabled_at_once_and_the_operator_told() -> None:
    world = World()
    world.hear("gone")
    (disabled,) = world.registry.disabled
    assert (disabled.disabled_reason, disabled.updated_at) == ("gone", NOW)
    assert world.told == [Notice.DISABLED]


def test_a_probe_that_finds_the_receiver_gone_closes_the_circuit() -> None:
    world = World()
    world.open()
    world.probe("gone")
    assert world.circuit is None
    assert [each.disabled_reason for each in world.registry.disabled] == ["gone"]


def test_a_subscription_that_has_only_failed_for_five_days_is_disabled() -> None:
    world = World()
    world.open()
    world.waits(4)
    world.clock.now = NOW + timedelta(days=5) - SECOND
    world.probe("http")
    assert world.registry.disabled == []
    world.probe("http")
    assert [each.disabled_reason for each in world.registry.disabled] == ["failing"]
    assert world.told == [Notice.FAILING, Notice.DISABLED]
    assert world.circuit is None


def test_a_subscription_that_had_next_to_nothing_to_send_for_five_days_is_not_disabled() -> None:
    world = World()
    world.open()
    for _ in range(4):
        world.clock.now += timedelta(days=5)
        assert world.probe("http")
    assert world.registry.disabled == []
    world.probe("http")
    assert [each.disabled_reason for each in world.registry.disabled] == ["failing"]


def test_a_success_on_the_fifth_day_starts_the_count_anew() -> None:
    world = World()
    world.open()
    world.clock.now = NOW + timedelta(days=4)
    world.probe(None)
    world.open()
    world.clock.now = NOW + timedelta(days=6)
    world.probe("http")
    assert world.registry.disabled == []


def test_a_subscription_that_somebody_changes_meanwhile_is_not_disabled_under_them() -> None:
    world = World()
    world.registry.has_changed = True
    world.hear("gone")
    assert world.registry.disabled == []
    assert world.told == []


# ---------------------------------------------------------------- a registry that is down


@pytest.mark.parametrize("ends", [["http"] * FAILURES, ["gone"]])
def test_what_a_registry_that_is_down_does_not_take_is_found_by_the_next_attempt(ends: list[str]) -> None:
    world = World()
    world.registry.is_down = True
    world.hear(*ends)
    assert (world.registry.circuits, world.registry.disabled, world.told) == ({}, [], [])
    world.registry.is_down = False
    world.hear(ends[0])
    assert world.registry.circuits or world.registry.disabled


def test_while_the_registry_is_down_no_probe_is_granted() -> None:
    world = World()
    circuit = world.open()
    world.clock.now = circuit.probe_at
    world.registry.is_down = True
    assert not probes(world.retry, circuit)


def test_a_probe_that_succeeds_while_the_registry_is_down_is_made_again_later() -> None:
    world = World()
    circuit = world.open()
    world.clock.now = circuit.probe_at
    before = dict(world.registry.circuits)
    assert probes(world.retry, circuit)
    world.registry.is_down = True
    world.retry.heard([(SUBSCRIPTION, attempt(None, world.clock.now))], before)
    world.registry.is_down = False
    assert world.probe(None)
    assert world.circuit is None
