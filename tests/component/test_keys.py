"""Webhook keys: no verification fails while they rotate, and what has ended leaves SSM.

The oracle is the `standardwebhooks` library. Receivers verify with the key that they were given last or,
within the overlap, with the one before.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mypy_boto3_dynamodb import DynamoDBClient
from mypy_boto3_ssm import SSMClient
from standardwebhooks import Webhook

from checkout_recovery import wiring
from checkout_recovery.errors import Conflict, Unavailable
from checkout_recovery.secrets import Secret, Secrets, subscription_secret
from checkout_recovery.signing import new_webhook_key, sign_standard
from checkout_recovery.subscriptions.end_keys import EndKeys
from checkout_recovery.subscriptions.keep_subscriptions import SubscriptionKeeper
from checkout_recovery.subscriptions.store import Store, StoreSettings
from checkout_recovery.subscriptions.subscription import Subscription
from checkout_recovery.tables.overlaps import Overlaps
from checkout_recovery.tables.registry import RegistryTable
from functions.manage.app import handler as manage
from tests.subscriptions import subscription

STORE = "my-store"
SUBSCRIPTION = "sub_01KQZK0S0G0000000000000000"
NAME = subscription_secret(STORE, SUBSCRIPTION)
START = datetime(2026, 11, 22, 10, tzinfo=UTC)
OVERLAP = timedelta(minutes=10)
HOUR = timedelta(hours=1)
BODY = b'{"event":"checkout.abandoned"}'

Act = Callable[[], object]


class Clock:
    def __init__(self, now: datetime = START) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def seconds(self) -> float:
        return self.now.timestamp()


@dataclass
class Receiver:
    """A receiver that was given keys, and switches to each the moment that it has it."""

    clock: Clock
    given: list[tuple[str, datetime]] = field(default_factory=list)
    """Each with the end of the one before it, newest first."""

    def accepted(self) -> list[str]:
        """The keys that it may hold now."""
        (newest, previous_ends), *older = self.given
        return [newest, *(key for key, _ in older[:1] if self.clock.now < previous_ends)]

    def verify(self, headers: dict[str, str]) -> int:
        """Verifies with each key that it may hold; returns with how many. One that does not fit raises."""
        keys = self.accepted()
        for key in keys:
            Webhook(key).verify(BODY, headers)
        return len(keys)


class Stack:
    """Several warm functions that sign, the management API and the hourly schedule, with one clock."""

    def __init__(self, functions: int = 3) -> None:
        self.clock = Clock()
        self.registry = RegistryTable(boto3.client("dynamodb"), "RegistryTable")
        self.overlaps = Overlaps(boto3.client("dynamodb"), "RegistryTable")
        self.ssm = boto3.client("ssm")
        self.receiver = Receiver(self.clock)
        self.signers = [self.secrets() for _ in range(functions)]
        self.held = self.secrets()
        """The management API's."""
        self.keeper = SubscriptionKeeper(
            self.registry, self.held, wiring.notifications, self.clock, local_targets=False
        )
        self.end_keys = EndKeys(self.registry, self.overlaps, self.held, self.clock)

    def secrets(self, ssm: SSMClient | None = None) -> Secrets:
        return Secrets(ssm or self.ssm, "stack", self.clock.seconds, Random(1).random)  # noqa: S311 - jitter

    def open(self) -> "Stack":
        key = new_webhook_key()
        self.registry.create_store(
            Store(
                store_id=STORE,
                settings=StoreSettings(),
                token_hash="0" * 64,
                revision=1,
                created_at=START,
                updated_at=START,
            )
        )
        self.held.put(NAME, Secret((key,), 1, headers={"X-Api-Key": "value"}))
        self.registry.create_subscription(
            subscription(SUBSCRIPTION, store_id=STORE, created_at=START, updated_at=START)
        )
        self.receiver.given.append((key, START))
        return self

    def subscription(self) -> Subscription:
        known = self.registry.subscription(STORE, SUBSCRIPTION)
        assert known
        return known

    def deliver(self, function: int = 0) -> int:
        """Signs as a warm function does, with what it has cached, and lets the receiver verify."""
        wanted = {NAME: self.subscription().key_version}
        secret = self.signers[function].get_many(wanted)[NAME]
        keys = secret.valid_keys(self.clock.now)
        sent_at = int(time.time())  # the oracle has a clock of its own
        headers = {
            "webhook-id": "msg_1",
            "webhook-timestamp": str(sent_at),
            "webhook-signature": sign_standard(keys, "msg_1", sent_at, BODY),
        }
        return self.receiver.verify(headers)

    def deliver_all(self) -> list[int]:
        """Has every warm function deliver; returns with how many keys each delivery verified."""
        return [self.deliver(function) for function in range(len(self.signers))]

    def rotate(self, overlap: timedelta = OVERLAP) -> str:
        keyed = self.keeper.rotate(STORE, SUBSCRIPTION, overlap)
        self.receiver.given.insert(0, (keyed.key, self.clock.now + overlap))
        return keyed.key

    def parameter(self) -> Secret:
        """What SSM holds."""
        held = self.secrets().read(NAME)
        assert held
        return held

    def clean(self) -> tuple[int, int]:
        run = self.end_keys(lambda: True)
        return run.removed, run.failed


@pytest.fixture
def stack(aws: None) -> Stack:
    return Stack().open()


def before_call(client: Any, operation: str, act: Act) -> Act:
    """Lets something happen before a client's next call of an operation; returns what takes that back."""
    done: list[bool] = []

    def run(**_: Any) -> None:
        if not done:
            done.append(True)
            act()

    client.meta.events.register(f"before-call.*.{operation}", run)
    return lambda: client.meta.events.unregister(f"before-call.*.{operation}", run)


# ---------------------------------------------------------------- rotation under load

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("deliver"), st.integers(0, 2)),
        st.tuples(st.just("rotate"), st.sampled_from([600, 3600, 604_800])),
        st.tuples(st.just("wait"), st.sampled_from([1, 20, 31, 299, 601, 3601])),
        st.tuples(st.just("clean"), st.just(0)),
    ),
    max_size=25,
)


@given(steps=STEPS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_verification_fails_whatever_the_order_of_rotations_and_deliveries(
    aws: None, moto: Any, steps: list[tuple[str, int]]
) -> None:
    stack = Stack()
    for client in (boto3.client("dynamodb"),):
        for item in client.scan(TableName="RegistryTable")["Items"]:
            key = {name: item[name] for name in ("store_id", "kind_id")}
            client.delete_item(TableName="RegistryTable", Key=key)
    stack.open()
    for step, number in steps:
        match step:
            case "deliver":
                stack.deliver(number)
            case "rotate":
                stack.rotate(timedelta(seconds=number))
            case "wait":
                stack.clock.now += timedelta(seconds=number)
            case "clean":
                stack.clean()
    assert all(stack.deliver_all())


def test_deliveries_go_on_in_the_midst_of_a_rotation(stack: Stack) -> None:
    """Between the registry's write and SSM's: the caller has no new key yet."""
    seen: list[int] = []

    def deliver() -> None:
        stack.deliver_all()
        seen.append(stack.subscription().key_version)

    stop = before_call(stack.ssm, "PutParameter", deliver)
    before = stack.subscription().key_version
    stack.rotate()
    stop()
    assert seen
    assert seen[0] > before, "the registry had it already"
    stack.deliver_all()


def test_deliveries_go_on_in_the_midst_of_a_removal(stack: Stack) -> None:
    stack.deliver_all()
    stack.rotate()
    stack.clock.now += HOUR
    happened: list[bool] = []

    def deliver() -> None:
        stack.deliver_all()
        happened.append(True)

    stop = before_call(stack.ssm, "PutParameter", deliver)
    assert stack.clean() == (1, 0)
    stop()
    assert happened
    stack.deliver_all()


def test_a_removal_whose_write_failed_leaves_deliveries_alone_and_is_repeated(stack: Stack) -> None:
    stack.rotate()
    stack.clock.now += HOUR

    def fail() -> None:
        raise Unavailable

    stop = before_call(stack.ssm, "PutParameter", fail)
    assert stack.clean() == (0, 1)
    stop()
    stack.deliver_all()
    stack.clock.now += HOUR
    stack.deliver_all()
    assert stack.clean() == (1, 0)
    assert len(stack.parameter().keys) == 1
    stack.deliver_all()


def test_several_rotations_within_one_overlap_keep_each_receivers_key(stack: Stack) -> None:
    for _ in range(5):
        stack.rotate()
        assert all(stack.deliver_all())
        stack.clock.now += timedelta(minutes=1)
        assert all(stack.deliver_all())


# ---------------------------------------------------------------- what has ended


def test_an_ended_key_leaves_ssm_and_the_subscription_says_so(stack: Stack) -> None:
    (old, _), *_ = stack.receiver.given
    new = stack.rotate()
    stack.clock.now += HOUR
    assert stack.clean() == (1, 0)
    held = stack.parameter()
    assert held.keys == (new,)
    assert old not in held.keys
    assert held.ends == ()
    assert held.headers == {"X-Api-Key": "value"}
    assert stack.subscription().previous_key_expires_at is None
    assert held.version == stack.subscription().key_version


def test_a_key_stays_until_its_overlap_ends(stack: Stack) -> None:
    stack.rotate()
    stack.clock.now += OVERLAP - timedelta(seconds=1)
    assert stack.clean() == (0, 0)
    assert len(stack.parameter().keys) == 2
    assert stack.subscription().previous_key_expires_at == START + OVERLAP


def test_of_several_keys_only_those_that_have_ended_leave(stack: Stack) -> None:
    (first, _), *_ = stack.receiver.given
    second = stack.rotate(timedelta(days=7))
    third = stack.rotate(OVERLAP)
    stack.clock.now += HOUR
    assert stack.clean() == (1, 0)
    assert stack.parameter().keys == (third, first)
    assert second not in stack.parameter().keys
    stack.clock.now += timedelta(days=7)
    assert stack.clean() == (1, 0)
    assert stack.parameter().keys == (third,)


def test_a_longer_overlap_that_still_runs_stays_said(stack: Stack) -> None:
    stack.rotate(OVERLAP)
    stack.rotate(timedelta(days=7))
    stack.clock.now += HOUR
    stack.clean()
    assert stack.subscription().previous_key_expires_at == START + timedelta(days=7)
    assert len(stack.parameter().keys) == 2


def test_what_was_removed_is_not_looked_at_again(stack: Stack) -> None:
    stack.rotate()
    stack.clock.now += HOUR
    stack.clean()
    version = stack.subscription().key_version
    stack.clock.now += HOUR
    assert stack.clean() == (0, 0)
    assert stack.subscription().key_version == version


def test_a_subscription_that_is_gone_is_forgotten(stack: Stack) -> None:
    stack.rotate()
    stack.keeper.remove(STORE, SUBSCRIPTION)
    stack.clock.now += HOUR
    assert stack.clean() == (1, 0)
    assert [page for page in stack.overlaps.ended(stack.clock.now) if page] == []
    assert stack.secrets().read(NAME) is None


def test_a_run_stops_when_its_time_is_over_and_the_next_goes_on(stack: Stack) -> None:
    stack.rotate()
    stack.clock.now += HOUR
    run = stack.end_keys(lambda: False)
    assert (run.removed, run.finished) == (0, False)
    assert stack.clean() == (1, 0)


def test_the_stores_subscriptions_are_read_without_the_overlaps(stack: Stack) -> None:
    stack.rotate()
    known = stack.registry.subscriptions(STORE)
    assert known.items == (stack.subscription(),)


# ---------------------------------------------------------------- a rotation at the same moment


def other_keeper(stack: Stack) -> SubscriptionKeeper:
    """The management API in another process: its clients have none of this one's hooks."""
    registry = RegistryTable(boto3.client("dynamodb"), "RegistryTable")
    secrets = stack.secrets(boto3.client("ssm"))
    return SubscriptionKeeper(registry, secrets, wiring.notifications, stack.clock, local_targets=False)


@pytest.mark.parametrize("operation", ["GetItem", "GetParameters", "TransactWriteItems", "PutParameter"])
def test_a_rotation_in_the_midst_of_a_removal_is_refused_or_its_key_stays(
    stack: Stack, operation: str
) -> None:
    stack.rotate()
    stack.clock.now += HOUR
    rotated: list[str] = []
    keeper = other_keeper(stack)

    def rotate() -> None:
        try:
            rotated.append(keeper.rotate(STORE, SUBSCRIPTION, OVERLAP).key)
        except Conflict:
            rotated.append("")

    client = stack.ssm if "Parameter" in operation else stack.registry._client
    stop = before_call(client, operation, rotate)
    stack.clean()
    stop()
    assert len(rotated) == 1, "or nothing happened in the midst"
    held, current = stack.parameter(), stack.receiver.given[0][0]
    assert held.keys[0] == (rotated[0] or current)
    assert current in held.valid_keys(stack.clock.now)
    assert held.version == stack.subscription().key_version
    stack.clock.now += HOUR
    stack.clean()
    assert stack.parameter().keys == (rotated[0] or current,)


@pytest.mark.parametrize("operation", ["GetItem", "GetParameters", "TransactWriteItems", "PutParameter"])
def test_a_removal_in_the_midst_of_a_rotation_never_costs_the_new_key(stack: Stack, operation: str) -> None:
    stack.rotate()
    stack.clock.now += HOUR
    ssm = boto3.client("ssm")
    cleaner = EndKeys(
        RegistryTable(boto3.client("dynamodb"), "RegistryTable"),
        Overlaps(boto3.client("dynamodb"), "RegistryTable"),
        stack.secrets(ssm),
        stack.clock,
    )
    happened: list[object] = []
    client = stack.ssm if "Parameter" in operation else stack.registry._client
    stack.held.delete([])
    stop = before_call(client, operation, lambda: happened.append(cleaner(lambda: True)))
    before = stack.receiver.given[0][0]
    try:
        new = stack.rotate()
    except Conflict:
        new = before
    stop()
    assert stack.parameter().keys[0] == new
    assert stack.parameter().version == stack.subscription().key_version
    stack.deliver_all()
    assert happened or operation == "GetParameters", "what is cached and current is not asked for"


def test_a_rotation_that_is_still_being_written_is_left_alone(stack: Stack) -> None:
    stack.rotate()
    stack.clock.now += HOUR

    def fail() -> None:
        raise Unavailable

    stop = before_call(stack.ssm, "PutParameter", fail)
    with pytest.raises(Unavailable):
        stack.rotate()
    stop()
    assert stack.clean() == (0, 1), "it may be written yet"
    stack.clock.now += timedelta(seconds=31)
    assert stack.clean() == (1, 0)
    assert stack.parameter().keys == (stack.receiver.given[0][0],)
    stack.deliver_all()


# ---------------------------------------------------------------- the schedule


def test_the_schedule_removes_what_has_ended(
    aws: None, event: Callable[[str], dict[str, Any]], context: SimpleNamespace, ssm: SSMClient
) -> None:
    now = datetime.now(UTC)
    wiring.registry().create_store(
        Store(
            store_id=STORE,
            settings=StoreSettings(),
            token_hash="0" * 64,
            revision=1,
            created_at=now,
            updated_at=now,
        )
    )
    wiring.registry().create_subscription(subscription(SUBSCRIPTION, store_id=STORE))
    keeper = SubscriptionKeeper(
        wiring.registry(), wiring.secrets(), wiring.notifications, lambda: now - HOUR, local_targets=False
    )
    wiring.secrets().put(NAME, Secret(("old",), 1))
    new = keeper.rotate(STORE, SUBSCRIPTION, OVERLAP).key
    assert manage(event("manage-scheduled"), context) == {"removed": 1, "failed": 0, "finished": True}
    held = wiring.secrets().read(NAME)
    assert held
    assert held.keys == (new,)


def test_nobody_can_play_the_schedule_over_http(
    aws: None, event: Callable[[str], dict[str, Any]], context: SimpleNamespace
) -> None:
    scheduled = event("manage-scheduled")
    forged = event("manage-get-checkout") | scheduled
    answer = manage(forged, context)
    assert "removed" not in answer
    assert answer["statusCode"] in (401, 403, 404)


def test_no_key_is_logged_when_it_ends(stack: Stack, log: list[str], dynamodb: DynamoDBClient) -> None:
    stack.rotate()
    stack.clock.now += HOUR

    def fail() -> None:
        raise Unavailable

    stop = before_call(stack.ssm, "PutParameter", fail)
    stack.clean()
    stop()
    lines = "\n".join(log)
    assert "could not be removed" in lines
    assert not [key for key, _ in stack.receiver.given if key in lines]
