"""Attempts: what is held back, what is queued and recorded of each, and what is measured."""

import json
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from checkout_recovery.checkout.event import Event, EventType
from checkout_recovery.checkout.lifecycle import Checkout
from checkout_recovery.delivery.attempts import Due, Left
from checkout_recovery.delivery.plan import delivery_of
from checkout_recovery.delivery.retry_policy import EXPIRES_AFTER
from checkout_recovery.delivery.send import Failure, Outcome, Post
from checkout_recovery.subscriptions.circuit import Circuit
from checkout_recovery.subscriptions.subscription import Subscription
from checkout_recovery.tables.deliveries import State
from tests.subscriptions import subscription
from tests.unit.delivery.world import NOW, World

SECOND = timedelta(seconds=1)
SUBSCRIPTION = subscription()
LIMITED = subscription(rate_limit_per_second=1)
OPEN = {"sub_1": Circuit.opened("my-store", "sub_1", NOW - timedelta(minutes=5))}

NOTHING_LEFT = Left(frozenset(), frozenset())

Measured = Callable[[], set[str]]


@pytest.fixture
def measured(capsys: pytest.CaptureFixture[str]) -> Measured:
    """The names of the metrics that were emitted since the last time it was asked for."""

    def names() -> set[str]:
        lines = (json.loads(line) for line in capsys.readouterr().out.splitlines() if "_aws" in line)
        return {each["Name"] for line in lines for each in line["_aws"]["CloudWatchMetrics"][0]["Metrics"]}

    return names


def due(
    number: int,
    subscription: Subscription = SUBSCRIPTION,
    told_at: datetime = NOW - 10 * SECOND,
    **standing: int | bool,
) -> Due:
    event = Event(id=f"evt_{number}", type=EventType.COMPLETED, time=told_at)
    checkout = Checkout(
        store_id=subscription.store_id, checkout_id=f"c{number}", sequence=1, event=event, created_at=NOW
    )
    return Due(
        delivery_of(checkout, event, subscription),
        NOW + timedelta(days=30),
        attempts=int(standing.get("attempts", 0)),
        earlier=int(standing.get("earlier", 0)),
        has_slot=bool(standing.get("has_slot", False)),
    )


def logged(one: Due, reason: str, **changes: Any) -> Due:
    """With its entry in the log, as it waits for a probe."""
    before = World(SUBSCRIPTION)
    before.attempts(probes=False)([one], OPEN, 5.0)
    (record,) = before.log.records.values()
    return replace(one, logged=replace(record, reason=reason, **changes))


def attempted(world: World) -> list[str]:
    return [post.lane for post in world.receivers.posts]


def test_what_has_no_turn_yet_waits_until_it_has_and_keeps_it() -> None:
    world = World(LIMITED)
    world.attempts(probes=True)([due(number, LIMITED) for number in range(4)], {}, 5.0)
    assert attempted(world) == ["c0", "c1"]
    assert [(each.not_before, each.has_slot) for each in world.queue.messages] == [
        (NOW + 2 * SECOND, True),
        (NOW + 3 * SECOND, True),
    ]


def test_what_has_its_turn_takes_no_other() -> None:
    world = World(LIMITED)
    world.attempts(probes=True)([due(number, LIMITED, has_slot=True) for number in range(4)], {}, 5.0)
    assert attempted(world) == ["c0", "c1", "c2", "c3"]
    assert world.turns.free_at is None


def test_a_delivery_that_failed_has_used_its_turn() -> None:
    world = World(LIMITED)
    world.receivers.failures["sub_1"] = Failure.HTTP
    world.attempts(probes=True)([due(1, LIMITED, has_slot=True)], {}, 5.0)
    (message,) = world.queue.messages
    assert not message.has_slot


def test_a_probe_that_is_granted_is_made_whoever_has_the_next_turns() -> None:
    world = World(LIMITED)
    world.registry.circuits = dict(OPEN)
    world.turns.free_at = NOW + timedelta(hours=1)
    world.attempts(probes=True)([due(number, LIMITED) for number in range(3)], OPEN, 5.0)
    assert attempted(world) == ["c0"]
    assert world.registry.circuits == {}


def test_while_a_circuit_is_open_nobody_takes_turns() -> None:
    world = World(LIMITED)
    world.attempts(probes=False)([due(number, LIMITED) for number in range(3)], OPEN, 5.0)
    assert attempted(world) == []
    assert world.turns.free_at is None
    assert {(each.reason, each.has_slot) for each in world.queue.messages} == {("circuit_open", False)}


@pytest.mark.parametrize(
    ("wait", "first", "last"), [(1, 5, 10), (8, 8, 13), (60, 60, 90), (600, 600, 900)]
)  # seconds; 900 is what a message of SQS may wait in one go
def test_what_waits_for_a_probe_comes_over_half_as_long_again(wait: int, first: int, last: int) -> None:
    world = World(SUBSCRIPTION)
    circuit = {"sub_1": replace(OPEN["sub_1"], probe_at=NOW + wait * SECOND)}
    for number in (0, 1):
        world.chance = float(number)
        world.attempts(probes=False)([due(number)], circuit, 5.0)
    assert [each.not_before for each in world.queue.messages] == [NOW + first * SECOND, NOW + last * SECOND]


KNOWN = subscription("sub_2")


@pytest.mark.parametrize(
    ("claimed", "first", "last"), [(False, 0, 0), (True, 1, 2)], ids=["as its probe", "after its probe"]
)
def test_where_others_would_wait_for_an_untried_receiver_the_retry_function_has_it(
    claimed: bool, first: int, last: int
) -> None:
    world = World(SUBSCRIPTION, KNOWN)
    circuit = Circuit.untried("my-store", "sub_1", NOW)
    untried = {"sub_1": circuit.claimed(NOW) if claimed else circuit}
    for number in (0, 1):
        world.chance = float(number)
        world.attempts(probes=False)([due(number), due(number + 2, KNOWN)], untried, 5.0)
    assert attempted(world) == ["c2", "c3"]
    assert [each.not_before for each in world.queue.messages] == [NOW + first * SECOND, NOW + last * SECOND]


def test_an_untried_receiver_is_met_at_once_whoever_of_other_stores_is_in_its_batch() -> None:
    elsewhere = replace(KNOWN, store_id="my-store-2")
    world = World(SUBSCRIPTION, elsewhere)
    world.registry.circuits = {"sub_1": Circuit.untried("my-store", "sub_1", NOW)}
    world.attempts(probes=False)([due(1), due(2, elsewhere)], dict(world.registry.circuits), 5.0)
    assert attempted(world) == ["c1", "c2"]
    assert world.registry.circuits == {}


def test_where_all_are_untried_or_left_alone_nobody_waits_and_they_are_met_at_once() -> None:
    others = [subscription(name) for name in ("sub_2", "sub_3", "sub_4")]
    world = World(SUBSCRIPTION, *others)
    world.receivers.failures["sub_3"] = Failure.TIMEOUT
    world.registry.circuits = {
        name: Circuit.untried("my-store", name, NOW) for name in ("sub_1", "sub_2", "sub_3")
    }
    world.registry.circuits["sub_4"] = replace(OPEN["sub_1"], subscription_id="sub_4")
    dues = [due(1), due(2), *(due(number, other) for number, other in enumerate(others, start=3))]
    world.attempts(probes=False)(dues, dict(world.registry.circuits), 5.0)
    assert attempted(world) == ["c1", "c2", "c3", "c4"]
    assert world.registry.circuits == {
        "sub_3": Circuit.opened("my-store", "sub_3", NOW),
        "sub_4": replace(OPEN["sub_1"], subscription_id="sub_4"),
    }


def test_of_what_is_for_an_untried_receiver_one_is_its_first_attempt_and_the_others_wait_for_it() -> None:
    world = World(SUBSCRIPTION)
    world.chance = 1.0
    world.registry.circuits = {"sub_1": Circuit.untried("my-store", "sub_1", NOW)}
    world.attempts(probes=True)([due(1), due(2)], dict(world.registry.circuits), 5.0)
    assert attempted(world) == ["c1"]
    assert world.registry.circuits == {}
    assert [each.not_before for each in world.queue.messages] == [NOW + 2 * SECOND]


def test_while_no_probe_can_be_claimed_what_waits_for_it_does_not_come_at_once() -> None:
    world = World(SUBSCRIPTION)
    circuits = {"sub_1": Circuit.untried("my-store", "sub_1", NOW)}
    world.registry.circuits = dict(circuits)
    world.registry.is_down = True
    world.attempts(probes=True)([due(1)], circuits, 5.0)
    assert attempted(world) == []
    assert [each.not_before for each in world.queue.messages] == [NOW + 1 * SECOND]


def test_what_has_ended_is_settled_before_what_is_still_waited_for() -> None:
    hanging = subscription("sub_2")
    world = World(SUBSCRIPTION, hanging)
    world.receivers.failures["sub_2"] = Failure.TIMEOUT
    known: list[tuple[dict[str, Any], set[str], int]] = []

    def one_by_one(
        posts: Sequence[Post], budget_seconds: float
    ) -> Generator[Mapping[int, Outcome], None, None]:
        for index, post in enumerate(posts):
            yield {index: world.receivers.outcome(post)}
            known.append((world.logged, set(world.registry.circuits), len(world.queue.messages)))

    world.receivers.waves = one_by_one  # type: ignore[method-assign] # a run in waves
    world.registry.circuits = {
        name: replace(OPEN["sub_1"], subscription_id=name) for name in ("sub_1", "sub_2")
    }
    dues = [due(1), due(2, hanging), due(3, hanging)]
    assert world.attempts(probes=True)(dues, dict(world.registry.circuits), 5.0) == NOTHING_LEFT
    assert known == [
        ({"sub_1": (State.DELIVERED, None), "sub_2": (State.PENDING, "circuit_open")}, {"sub_2"}, 1),
        ({"sub_1": (State.DELIVERED, None), "sub_2": (State.PENDING, "timeout")}, {"sub_2"}, 2),
    ]


def test_what_still_waits_for_the_same_is_not_told_to_the_log_again() -> None:
    world = World(SUBSCRIPTION)
    known, other = logged(due(1), "circuit_open"), logged(due(2), "timeout")
    world.attempts(probes=False)([known, other], OPEN, 5.0)
    assert len(world.queue.messages) == 2
    assert [record.reason for record in world.log.records.values()] == ["circuit_open"]
    assert world.log.records.keys() == {other.delivery.delivery_id}


@pytest.mark.parametrize(
    "behind",
    [
        {"attempts": 1},  # an attempt was made whose entry could not be written
        {"expires_at": NOW + timedelta(days=29)},
        {"state": State.EXHAUSTED},
    ],
    ids=["attempts", "expiry", "state"],
)
def test_a_log_that_is_behind_is_told_though_the_reason_is_the_same(behind: dict[str, Any]) -> None:
    world = World(SUBSCRIPTION)
    one = logged(due(1, attempts=2), "circuit_open", **behind)
    world.attempts(probes=False)([one], OPEN, 5.0)
    (record,) = world.log.records.values()
    assert (record.state, record.attempts) == (State.PENDING, 2)
    assert record.expires_at == NOW + timedelta(days=30)


@pytest.mark.parametrize(("left", "latest"), [(900, 840), (700, 640), (630, 600), (60, 600)])
def test_what_waits_for_a_probe_does_not_expire_by_the_spread(left: int, latest: int) -> None:
    world = World(SUBSCRIPTION)
    world.chance = 1.0
    circuit = {"sub_1": replace(OPEN["sub_1"], probe_at=NOW + 600 * SECOND)}
    told = NOW - EXPIRES_AFTER[EventType.COMPLETED] + left * SECOND
    world.attempts(probes=False)([due(1, told_at=told)], circuit, 5.0)
    assert [each.not_before for each in world.queue.messages] == [NOW + latest * SECOND]


def test_the_log_counts_attempts_before_a_replay_and_the_schedule_does_not() -> None:
    world = World(SUBSCRIPTION)
    world.receivers.failures["sub_1"] = Failure.TIMEOUT
    world.attempts(probes=True)([due(1, earlier=11)], {}, 5.0)
    (message,) = world.queue.messages
    (record,) = world.log.records.values()
    assert (message.attempts, message.earlier, record.attempts) == (1, 11, 12)
    assert message.not_before == NOW + 5 * SECOND


def test_what_was_tried_before_is_no_first_attempt_to_the_metrics(measured: Measured) -> None:
    world = World(SUBSCRIPTION)
    attempts = world.attempts(probes=True)
    attempts([due(1)], {}, 5.0)
    assert {"FirstAttemptMilliseconds", "RetryAgeSeconds"} & measured() == {"FirstAttemptMilliseconds"}
    attempts([due(2, attempts=1)], {}, 5.0)
    assert {"FirstAttemptMilliseconds", "RetryAgeSeconds"} & measured() == {"RetryAgeSeconds"}
    attempts([due(3, earlier=4)], {}, 5.0)
    assert {"FirstAttemptMilliseconds", "RetryAgeSeconds"} & measured() == {"RetryAgeSeconds"}


def test_what_waited_for_the_morning_was_not_slow(measured: Measured) -> None:
    world = World(SUBSCRIPTION)
    world.attempts(probes=True)([logged(due(1), "quiet_hours")], {}, 5.0)
    assert attempted(world) == ["c1"]
    assert "FirstAttemptMilliseconds" not in measured()


def test_what_is_given_up_is_in_the_dead_letter_queue_before_the_log_says_so() -> None:
    world = World(SUBSCRIPTION)
    world.receivers.failures["sub_1"] = Failure.HTTP
    world.dead_letters.refused = {"sub_1"}
    last = due(1, attempts=10)
    assert world.attempts(probes=True)([last], {}, 5.0).unknown == {last.delivery.delivery_id}
    assert world.log.records == {}
    world.dead_letters.refused = set()
    assert world.attempts(probes=True)([last], {}, 5.0) == NOTHING_LEFT
    assert [record.state for record in world.log.records.values()] == [State.EXHAUSTED]
    assert [message.attempts for message in world.dead_letters.messages] == [11]


def test_nothing_of_one_subscription_waits_for_another() -> None:
    other = subscription("sub_2")
    world = World(SUBSCRIPTION, other)
    world.attempts(probes=False)([due(1), due(1, other)], OPEN, 5.0)
    assert world.sent_to == ["sub_2"]
