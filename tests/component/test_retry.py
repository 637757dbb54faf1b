"""The retry function on moto, with a real receiver: what becomes of each message that can be in the queue."""

import json
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mypy_boto3_dynamodb import DynamoDBClient

from checkout_recovery import wiring
from checkout_recovery.checkout.event import EventType
from checkout_recovery.checkout.lifecycle import Checkout, Policy, Suppression
from checkout_recovery.checkout.shopper import Purchase, Shopper
from checkout_recovery.queues import Purpose, RetryMessage
from checkout_recovery.subscriptions.circuit import Circuit
from checkout_recovery.subscriptions.store import StoreSettings
from checkout_recovery.tables.deliveries import DeliveryRecord, State
from functions.retry import app
from local.receiver import Receiver
from local.retry_fixtures import SUBSCRIPTION, retry_fixtures
from local.stream_fixtures import text_of, written
from tests.component.delivering import (
    MINUTE,
    STORE,
    Killed,
    Shop,
    begun,
    bodies,
    bought,
    changed,
    due,
    failed,
    hooked,
    left,
    messages_of,
    waiting_for,
)

HOUR = timedelta(hours=1)
EVENTS = Path(__file__).parents[2] / "events"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def shop(
    dynamodb: DynamoDBClient,
    environment: pytest.MonkeyPatch,
    receiver: Receiver,
    forget: Callable[[], None],
) -> Shop:
    environment.setenv("ALLOW_LOCAL_TARGETS", "true")
    return Shop(dynamodb, receiver, forget)


# ---------------------------------------------------------------- every batch of events/


@pytest.mark.parametrize("name", sorted(retry_fixtures()))
def test_the_fixtures_are_up_to_date(name: str) -> None:
    assert (EVENTS / f"{name}.json").read_text() == text_of(retry_fixtures()[name])
    assert {path.stem for path in EVENTS.glob("retry-*.json")} == set(retry_fixtures())


# What they tell of is months old: it has expired, unless an operator wants it all the same.
OUTCOMES: dict[str, tuple[list[int], list[str], int, int]] = {
    "retry-due": ([], [], 0, 1),
    "retry-early": ([], [], 1, 0),
    "retry-last-attempt": ([], [], 0, 1),
    "retry-replay": ([], ["checkout.abandoned"], 0, 0),
    "retry-recover": ([], ["checkout.abandoned"], 0, 0),
    "retry-twice": ([], [], 0, 1),
    "retry-several": ([], ["checkout.created"], 1, 1),
    "retry-not-a-message": ([0, 2], ["checkout.created"], 0, 0),
}


@pytest.mark.parametrize("name", sorted(retry_fixtures()))
def test_a_batch_of_the_queue_is_dealt_with_message_by_message(
    shop: Shop, event: Callable[[str], dict[str, Any]], context: SimpleNamespace, name: str
) -> None:
    again, heard, waiting, given_up = OUTCOMES[name]
    shop.subscribe(SUBSCRIPTION)
    shop.save(*written("cashfree-abandoned"), *written("flexype-2026-05"))
    batch = event(name)
    assert failed(app.handler(batch, context)) == [batch["Records"][number]["messageId"] for number in again]
    assert [each.event_type for each in shop.receiver.arrivals] == heard
    assert len(bodies("RetryQueue")) == waiting
    assert len(bodies("DeliveryDeadLetterQueue")) == given_up


# ---------------------------------------------------------------- waiting


def test_an_early_message_hops_and_nothing_is_sent(shop: Shop) -> None:
    shop.subscribe("sub_a")
    one = begun()
    shop.save(one)
    message = waiting_for(one, not_before=datetime.now(UTC) + 8 * HOUR)
    assert shop.retry(message) == []
    assert shop.waiting() == [message]
    assert shop.receiver.arrivals == []
    assert shop.records == {}


def test_an_early_message_and_one_that_is_due_do_not_wait_for_each_other(shop: Shop) -> None:
    shop.subscribe("sub_a")
    early, ready = begun("early"), begun("ready")
    shop.save(early, ready)
    message = waiting_for(early, not_before=datetime.now(UTC) + HOUR)
    assert shop.retry(message, waiting_for(ready)) == []
    assert shop.waiting() == [message]
    assert shop.heard == [("sub_a", "checkout.created")]


# ---------------------------------------------------------------- receivers that are started again


def start_again(name: str) -> None:
    assert wiring.registry().reset_circuit(Circuit.untried(STORE, name, datetime.now(UTC)))


def test_no_batch_of_the_stream_waits_for_a_receiver_that_is_started_again_and_hangs(shop: Shop) -> None:
    hanging = socket.create_server(("127.0.0.1", 0))
    hanging.setblocking(False)
    shop.receiver_at(f"http://127.0.0.1:{hanging.getsockname()[1]}", "sub_hanging")
    shop.subscribe("sub_well")
    start_again("sub_hanging")
    one, other = begun("one"), begun("other")
    shop.save(one, other)
    assert shop.fan_out(one) + shop.fan_out(other) == []
    with hanging, pytest.raises(BlockingIOError):
        hanging.accept()
    assert shop.heard == [("sub_well", "checkout.created")] * 2
    assert shop.states["sub_hanging"] == ("pending", "circuit_open")
    assert len(shop.waiting()) == 2


def test_a_receiver_that_is_started_again_and_answers_hears_from_the_stream_itself(shop: Shop) -> None:
    shop.subscribe("sub_a")
    shop.subscribe("sub_well")
    start_again("sub_a")
    first, second = begun("first"), begun("second")
    shop.save(first, second)
    assert shop.fan_out(first) == []
    assert shop.heard == [("sub_well", "checkout.created")]
    assert shop.retry(*shop.take()) == []
    assert shop.states["sub_a"] == ("delivered", None)
    assert wiring.registry().subscriptions(STORE).circuits == {}
    assert shop.fan_out(second) == []
    assert Counter(name for name, _ in shop.heard) == {"sub_a": 2, "sub_well": 2}


def test_a_new_receiver_that_nobody_waits_for_hears_at_once(shop: Shop) -> None:
    shop.subscribe("sub_a")
    start_again("sub_a")
    one = begun()
    assert shop.fan_out(one) == []
    assert shop.states == {"sub_a": ("delivered", None)}
    assert wiring.registry().subscriptions(STORE).circuits == {}


@pytest.mark.parametrize("age", [timedelta(), 90 * timedelta(seconds=1), 3 * HOUR])
def test_what_fan_out_is_about_to_record_waits_until_it_has(shop: Shop, age: timedelta) -> None:
    shop.subscribe("sub_a")
    shop.subscribe("sub_well")
    start_again("sub_a")
    one = begun(at=datetime.now(UTC) - age)
    shop.save(one)
    early: list[RetryMessage] = []

    def overtake(**_: Any) -> None:
        if not early:
            early.extend(shop.take())
            assert shop.retry(*early) == []

    with hooked(shop.forget, "before-call.dynamodb.BatchWriteItem", overtake):
        assert shop.fan_out(one) == []
    assert [message.subscription_id for message in early] == ["sub_a"]
    assert shop.records["sub_a"].state is State.PENDING
    shop.deliver_all()
    assert shop.states == dict.fromkeys(("sub_a", "sub_well"), ("delivered", None))
    assert Counter(shop.heard) == {(name, "checkout.created"): 1 for name in ("sub_a", "sub_well")}


def test_what_nobody_records_is_sent_all_the_same(shop: Shop) -> None:
    shop.subscribe("sub_a")
    one = begun()
    shop.save(one)
    assert shop.retry(waiting_for(one, attempts=0)) == []
    assert shop.heard == []
    assert shop.retry(*shop.take()) == []
    assert shop.states == {"sub_a": ("delivered", None)}


def test_nobody_s_log_and_circuit_wait_for_another_that_hangs(shop: Shop) -> None:
    recorded = threading.Event()
    waited: list[bool] = []
    with Receiver(tell=lambda _: waited.append(recorded.wait(10))) as slow:
        key = shop.receiver_at(slow.url, "sub_slow")
        slow.trust("/sub_slow", key)
        shop.subscribe("sub_well")
        start_again("sub_well")
        one = begun()
        shop.save(one)
        messages = [waiting_for(one, subscription_id=name) for name in ("sub_slow", "sub_well")]
        with hooked(shop.forget, "before-call.dynamodb.TransactWriteItems", closes("sub_well", recorded)):
            assert shop.retry(*messages) == []
    assert waited == [True]
    assert shop.states == {"sub_slow": ("delivered", None), "sub_well": ("delivered", None)}


def closes(name: str, event: threading.Event) -> Callable[..., None]:
    """Tells of the write that closes a circuit."""

    def act(params: Any, **_: Any) -> None:
        actions = json.loads(params["body"])["TransactItems"]
        if any("Delete" in each and name in str(each) for each in actions):
            event.set()

    return act


# ---------------------------------------------------------------- delivering


def test_a_delivery_that_failed_is_made_and_the_log_has_its_history(shop: Shop) -> None:
    endpoint = shop.subscribe("sub_a")
    endpoint.status = 503
    one = begun()
    shop.save(one)
    assert shop.fan_out(one) == []
    assert shop.states == {"sub_a": ("pending", "http")}
    endpoint.status = 200
    assert shop.retry(*shop.take()) == []
    record = shop.records["sub_a"]
    assert (record.state, record.reason, record.attempts, record.status) == (State.DELIVERED, None, 2, 200)
    assert [(each.failure, each.status) for each in record.history] == [("http", 503), (None, 200)]
    assert shop.waiting() == []


def test_every_attempt_has_the_ids_and_the_body_of_the_first(shop: Shop) -> None:
    endpoint = shop.subscribe("sub_a")
    endpoint.status = 500
    one = begun()
    shop.save(one)
    shop.fan_out(one)
    shop.retry(*shop.take())
    first, second = shop.receiver.arrivals
    assert second.body == first.body
    assert second.headers["webhook-id"] == first.headers["webhook-id"]
    assert second.problem is None


def test_a_delivery_that_fails_again_waits_longer(shop: Shop) -> None:
    shop.subscribe("sub_a").status = 500
    one = begun()
    shop.save(one)
    before = datetime.now(UTC)
    shop.retry(waiting_for(one))
    (message,) = shop.waiting()
    assert message.attempts == 2
    assert timedelta(seconds=60) <= message.not_before - before < timedelta(seconds=80)
    assert shop.records["sub_a"].attempts == 2


def test_an_abandonment_is_made_although_a_detail_came_late(shop: Shop) -> None:
    shop.subscribe("sub_a", "abandonedCheckout", "v1")
    quiet = left()
    late = changed(quiet, datetime.now(UTC) - HOUR, email="a@shopper.example")
    assert late.event
    assert late.event.type is EventType.UPDATED
    shop.save(late)
    shop.retry(waiting_for(quiet))
    assert shop.heard == [("sub_a", "abandonedCheckout")]


# ---------------------------------------------------------------- what ends


def test_what_has_been_bought_meanwhile_is_not_sent(shop: Shop) -> None:
    shop.subscribe("sub_a")
    quiet = left()
    shop.save(bought(quiet))
    assert shop.retry(waiting_for(quiet)) == []
    assert shop.receiver.arrivals == []
    assert shop.states == {"sub_a": ("superseded", "no_longer_abandoned")}
    assert (bodies("RetryQueue"), bodies("DeliveryDeadLetterQueue")) == ([], [])


def test_what_has_expired_lies_in_the_dead_letter_queue(shop: Shop) -> None:
    shop.subscribe("sub_a")
    one = begun(at=datetime.now(UTC) - 7 * HOUR)
    shop.save(one)
    assert shop.retry(waiting_for(one)) == []
    assert shop.receiver.arrivals == []
    assert shop.states == {"sub_a": ("expired", "http")}
    (message,) = shop.waiting("DeliveryDeadLetterQueue")
    assert (message.checkout_id, message.reason) == ("c1", "http")


def test_what_is_exhausted_lies_in_the_dead_letter_queue_with_its_reason(shop: Shop) -> None:
    shop.subscribe("sub_a").status = 500
    gone = bought(begun())
    shop.save(gone)
    assert shop.retry(waiting_for(gone, attempts=10)) == []
    record = shop.records["sub_a"]
    assert (record.state, record.reason, record.attempts) == (State.EXHAUSTED, "http", 11)
    (message,) = shop.waiting("DeliveryDeadLetterQueue")
    assert (message.reason, message.attempts) == ("http", 11)
    assert shop.waiting() == []


def test_a_receiver_that_is_gone_is_disabled_and_what_waits_for_it_given_up(shop: Shop) -> None:
    shop.subscribe("sub_a").status = 410
    one, other = begun("c1"), begun("c2")
    shop.save(one, other)
    shop.retry(waiting_for(one))
    shop.retry(waiting_for(other))
    assert len(shop.receiver.arrivals) == 1
    assert [message.reason for message in shop.waiting("DeliveryDeadLetterQueue")] == ["gone", "gone"]
    (subscription,) = wiring.registry().subscriptions(STORE).items
    assert subscription.disabled_reason == "gone"


def test_what_nobody_subscribes_any_more_is_suppressed(shop: Shop) -> None:
    one = begun()
    shop.save(one)
    shop.retry(waiting_for(one))
    assert shop.states == {"sub_a": ("suppressed", "no_subscription")}


# ---------------------------------------------------------------- what comes twice


def test_a_message_that_comes_again_does_nothing(shop: Shop) -> None:
    shop.subscribe("sub_a")
    one = begun()
    shop.save(one)
    for _ in range(3):
        assert shop.retry(waiting_for(one)) == []
    assert len(shop.receiver.arrivals) == 1
    assert shop.records["sub_a"].attempts == 2


def test_a_message_that_is_twice_in_a_batch_is_delivered_once(shop: Shop) -> None:
    shop.subscribe("sub_a")
    one = begun()
    shop.save(one)
    assert shop.retry(waiting_for(one), waiting_for(one)) == []
    assert len(shop.receiver.arrivals) == 1


def test_a_message_that_is_twice_in_a_batch_is_given_up_once(shop: Shop) -> None:
    shop.subscribe("sub_a")
    one = begun(at=datetime.now(UTC) - 7 * HOUR)
    shop.save(one)
    shop.retry(waiting_for(one), waiting_for(one))
    assert len(bodies("DeliveryDeadLetterQueue")) == 1


def test_a_message_that_was_doubled_goes_on_as_one(shop: Shop) -> None:
    shop.subscribe("sub_a").status = 500
    one = begun()
    shop.save(one)
    shop.retry(waiting_for(one))
    shop.retry(waiting_for(one))  # SQS shows it again
    assert len(shop.receiver.arrivals) == 1
    assert [message.attempts for message in shop.waiting()] == [2]


def test_messages_that_a_crash_doubled_come_together_again(shop: Shop) -> None:
    """The successor was queued and not recorded, so the message came again and queued another."""
    shop.subscribe("sub_a").status = 500
    one = begun()
    shop.save(one)
    shop.retry(waiting_for(one, attempts=2))
    shop.dynamodb.delete_item(
        TableName="DeliveryTable",
        Key={
            "subscription_id": {"S": "sub_a"},
            "delivery_id": {"S": waiting_for(one).delivery_id},
        },
    )
    shop.retry(waiting_for(one, attempts=2))
    assert [message.attempts for message in shop.waiting()] == [3, 3]
    for message in shop.take():
        shop.retry(message)
    assert [message.attempts for message in shop.waiting()] == [4]


# ---------------------------------------------------------------- two messages for one delivery

BEFORE_THE_CLAIM, BEFORE_THE_ENTRY = "before-call.dynamodb.PutItem", "before-call.dynamodb.BatchWriteItem"
BOTH = (Purpose.RETRY, Purpose.RECOVER)


def of_purpose(checkout: Checkout, purpose: Purpose) -> RetryMessage:
    """A message for the second attempt: the retry that waits, or what an operator asks for."""
    return waiting_for(checkout, purpose=purpose, attempts=int(purpose is Purpose.RETRY))


@pytest.mark.parametrize("status", [200, 503])
@pytest.mark.parametrize("is_logged", [True, False])
@pytest.mark.parametrize("moment", [BEFORE_THE_CLAIM, BEFORE_THE_ENTRY])
@pytest.mark.parametrize("second", BOTH)
@pytest.mark.parametrize("first", BOTH)
def test_of_two_messages_that_are_taken_up_at_once_one_makes_the_attempt(
    shop: Shop, first: Purpose, second: Purpose, moment: str, *, is_logged: bool, status: int
) -> None:
    endpoint = shop.subscribe("sub_a")
    one = begun()
    shop.save(one)
    made = 0
    if is_logged:
        endpoint.status = 503
        shop.fan_out(one)
        shop.take()
        made = 1
    endpoint.status = status
    met: list[RetryMessage] = []

    def meet(**_: Any) -> None:
        if not met:
            met.append(of_purpose(one, second))
            assert shop.retry(*met) == []

    with hooked(shop.forget, moment, meet):
        assert shop.retry(of_purpose(one, first)) == []
    assert len(met) == 1
    assert len(shop.receiver.arrivals) == made + 1
    endpoint.status = 200
    shop.deliver_all()
    assert shop.states == {"sub_a": ("delivered", None)}
    assert {name: len(heard) for name, heard in shop.ids_heard.items()} == {"sub_a": 1}


@pytest.mark.parametrize(("asked", "heard"), [(-MINUTE, 1), (MINUTE, 2)])
def test_what_somebody_else_is_attempting_waits_as_it_was_asked_for(
    shop: Shop, asked: timedelta, heard: int
) -> None:
    """A replay that was asked for before that attempt is done by it."""
    shop.subscribe("sub_a")
    one = begun()
    shop.save(one)
    message = waiting_for(one, purpose=Purpose.REPLAY, asked_at=datetime.now(UTC) + asked)

    def meet(**_: Any) -> None:
        if not shop.waiting():
            shop.retry(message)

    with hooked(shop.forget, BEFORE_THE_ENTRY, meet):
        shop.retry(waiting_for(one))
    (waiting,) = shop.waiting()
    assert waiting == message.model_copy(update={"not_before": waiting.not_before})
    assert timedelta(seconds=3) < waiting.not_before - datetime.now(UTC) <= timedelta(seconds=5)
    shop.deliver_all()
    assert len(shop.ids_heard["sub_a"]) == heard


def test_what_somebody_else_is_attempting_is_not_ended(shop: Shop) -> None:
    shop.subscribe("sub_a")
    one = begun(at=datetime.now(UTC) - 30 * HOUR)
    shop.save(one)
    outdated = waiting_for(one)

    def meet(**_: Any) -> None:
        if not shop.waiting():
            shop.retry(outdated)

    with hooked(shop.forget, BEFORE_THE_ENTRY, meet):
        shop.retry(waiting_for(one, purpose=Purpose.RECOVER))
    shop.deliver_all()
    assert shop.states == {"sub_a": ("delivered", None)}
    assert bodies("DeliveryDeadLetterQueue") == []


@pytest.mark.parametrize("second", BOTH)
@pytest.mark.parametrize("held_by", ["turns", "circuit", "untried"])
def test_who_is_held_back_writes_nothing_over_what_another_has_delivered(
    shop: Shop, held_by: str, second: Purpose
) -> None:
    endpoint = shop.subscribe("sub_a", rate_limit_per_second=1 if held_by == "turns" else None)
    one = begun()
    shop.save(one)
    endpoint.status = 503
    shop.fan_out(one)
    shop.take()
    endpoint.status = 200
    wiring.registry().reset_turns("sub_a")
    moment = "before-call.dynamodb.UpdateItem"
    if held_by != "turns":
        moment = "before-call.dynamodb.TransactWriteItems"
        begin = Circuit.opened if held_by == "circuit" else Circuit.untried
        assert wiring.registry().put_circuit(None, begin(STORE, "sub_a", datetime.now(UTC) - MINUTE))
    with hooked(shop.forget, moment, retries_once(shop, waiting_for(one))):
        assert shop.retry(of_purpose(one, second)) == []
    assert len(shop.receiver.arrivals) == 2
    shop.deliver_all()
    assert shop.states == {"sub_a": ("delivered", None)}
    assert len(shop.ids_heard["sub_a"]) == 1


def retries_once(shop: Shop, message: RetryMessage) -> Callable[..., None]:
    """Another copy of the function meets the same delivery, from start to end."""
    done: list[bool] = []

    def act(**_: Any) -> None:
        if not done:
            done.append(True)
            assert shop.retry(message) == []

    return act


def test_what_another_has_delivered_is_not_given_up(shop: Shop) -> None:
    shop.subscribe("sub_a")
    one = begun(at=datetime.now(UTC) - 30 * HOUR)
    shop.save(one)
    recovering = retries_once(shop, waiting_for(one, purpose=Purpose.RECOVER))
    with hooked(shop.forget, BEFORE_THE_CLAIM, recovering):
        assert shop.retry(waiting_for(one)) == []  # too old, where nobody asks for it
    shop.deliver_all()
    assert shop.states == {"sub_a": ("delivered", None)}
    assert bodies("DeliveryDeadLetterQueue") == []


def test_what_another_has_delivered_is_not_superseded(shop: Shop) -> None:
    endpoint = shop.subscribe("sub_a")
    first = begun()
    newest = bought(first)
    endpoint.status = 503
    shop.fan_out(first)
    shop.take()
    delivered = replace(shop.records["sub_a"], state=State.DELIVERED, recorded_at=datetime.now(UTC))
    endpoint.status = 200
    shop.save(newest)
    shop.fan_out(newest)

    def deliver(**_: Any) -> None:
        wiring.deliveries().record([delivered])

    with hooked(shop.forget, BEFORE_THE_CLAIM, deliver):
        assert shop.retry(waiting_for(first)) == []
    assert delivered in entries(shop)


def test_a_claim_that_was_over_when_it_was_read_is_nobody_s_leave_to_write(shop: Shop) -> None:
    endpoint = shop.subscribe("sub_a")
    one = begun()
    shop.save(one)
    endpoint.status = 503
    shop.fan_out(one)
    shop.take()
    endpoint.status = 200
    left_over = datetime.now(UTC) - MINUTE  # by a function that died
    wiring.deliveries().record([replace(shop.records["sub_a"], claimed_until=left_over)])
    circuit = Circuit.opened(STORE, "sub_a", datetime.now(UTC))
    assert wiring.registry().put_circuit(None, circuit)

    def deliver(**_: Any) -> None:
        if wiring.registry().close_circuit(circuit):
            assert shop.retry(waiting_for(one)) == []

    with hooked(shop.forget, "before-call.sqs.SendMessageBatch", deliver):
        assert shop.retry(waiting_for(one)) == []
    shop.deliver_all()
    assert shop.states == {"sub_a": ("delivered", None)}
    assert len(shop.ids_heard["sub_a"]) == 1


@pytest.mark.parametrize("order", [1, -1])
def test_what_the_same_batch_recovers_is_not_given_up(shop: Shop, order: int) -> None:
    shop.subscribe("sub_a")
    one = begun(at=datetime.now(UTC) - 7 * HOUR)
    shop.save(one)
    assert shop.retry(*[waiting_for(one), waiting_for(one, purpose=Purpose.RECOVER)][::order]) == []
    assert shop.states == {"sub_a": ("delivered", None)}
    assert bodies("DeliveryDeadLetterQueue") == []
    assert shop.waiting() == []


@pytest.mark.parametrize("purpose", [Purpose.RECOVER, Purpose.REPLAY])
@pytest.mark.parametrize("end", ["expired", "exhausted"])
def test_what_an_operator_asks_for_outlives_the_older_message_of_the_same_delivery(
    shop: Shop, end: str, purpose: Purpose
) -> None:
    endpoint = shop.subscribe("sub_a")
    one = begun(at=datetime.now(UTC) - 7 * HOUR) if end == "expired" else bought(begun())
    shop.save(one)
    circuit = Circuit.opened(STORE, "sub_a", datetime.now(UTC))
    assert wiring.registry().put_circuit(None, circuit)
    assert shop.retry(waiting_for(one, purpose=purpose, asked_at=datetime.now(UTC))) == []
    (asked,) = shop.take()
    assert (asked.purpose, asked.reason) == (purpose, "circuit_open")
    wiring.registry().close_circuit(circuit)
    endpoint.status = 500
    assert shop.retry(waiting_for(one, attempts=10)) == []
    assert shop.states["sub_a"][0] == end
    endpoint.status = 200
    assert shop.retry(asked) == []
    assert shop.states == {"sub_a": ("delivered", None)}


@pytest.mark.parametrize("purpose", [Purpose.RECOVER, Purpose.REPLAY])
def test_what_an_operator_asked_for_expires_like_a_new_event(shop: Shop, purpose: Purpose) -> None:
    shop.subscribe("sub_a")
    one = begun(at=datetime.now(UTC) - 30 * HOUR)
    shop.save(one)
    for hours, heard in ((7, 0), (5, 1)):
        asked_at = datetime.now(UTC) - hours * HOUR
        assert shop.retry(waiting_for(one, purpose=purpose, asked_at=asked_at)) == []
        assert len(shop.receiver.arrivals) == heard
    assert len(bodies("DeliveryDeadLetterQueue")) == 1


def test_an_operator_s_new_attempts_are_not_lost_beside_the_last_retry(shop: Shop) -> None:
    endpoint = shop.subscribe("sub_a")
    endpoint.status = 500
    one = bought(begun())
    shop.save(one)
    assert shop.retry(waiting_for(one, attempts=10), waiting_for(one, purpose=Purpose.RECOVER)) == []
    (message,) = shop.waiting()
    assert message.attempts == 1
    assert shop.records["sub_a"].state is State.PENDING


def test_a_delivery_whose_function_died_waits_until_its_claim_is_over(shop: Shop) -> None:
    shop.subscribe("sub_a")
    one = begun()
    shop.save(one)

    def die(**_: Any) -> None:
        raise Killed

    with hooked(shop.forget, BEFORE_THE_ENTRY, die), pytest.raises(Killed):
        shop.retry(waiting_for(one))
    assert shop.retry(waiting_for(one)) == []
    assert len(shop.receiver.arrivals) == 1
    shop.end_claims()
    shop.deliver_all()
    assert shop.states == {"sub_a": ("delivered", None)}


def test_what_was_claimed_and_not_attempted_is_nobody_s_again(shop: Shop) -> None:
    shop.subscribe("sub_a")
    one = begun()
    shop.save(one)
    no_time = SimpleNamespace(get_remaining_time_in_millis=lambda: 0)
    app.handler(messages_of(waiting_for(one)), no_time)
    for _ in range(2):  # the second time the log says already what became of it
        (waiting,) = shop.take()
        assert (waiting.reason, waiting.attempts) == ("deferred", 1)
        assert shop.records["sub_a"].claimed_until is None
        app.handler(messages_of(waiting), no_time)
    assert shop.receiver.arrivals == []


@pytest.mark.parametrize("purpose", [Purpose.RECOVER, Purpose.REPLAY])
def test_nothing_is_sent_in_an_old_delivery_s_place_while_fan_out_may_be_sending_it(
    shop: Shop, purpose: Purpose
) -> None:
    endpoint = shop.subscribe("sub_a")
    first = begun(at=datetime.now(UTC) - HOUR)
    endpoint.status = 503
    shop.save(first)
    shop.fan_out(first)
    shop.take()
    endpoint.status = 200
    newest = changed(first, datetime.now(UTC), name="Asha")
    shop.save(newest)
    asked = waiting_for(first, purpose=purpose, asked_at=shop.started)
    with hooked(shop.forget, BEFORE_THE_ENTRY, retries_once(shop, asked)):
        assert shop.fan_out(newest) == []
    (waiting,) = shop.waiting()
    assert waiting.purpose is purpose
    shop.deliver_all()
    assert shop.ids_heard == {"sub_a": [waiting_for(newest).event_id]}


def told_and_changed(shop: Shop) -> tuple[Checkout, Checkout]:
    """A checkout whose first event was sent an hour ago, and as it stands, which nobody has told."""
    first = begun(at=datetime.now(UTC) - HOUR)
    newest = changed(first, datetime.now(UTC) - MINUTE, name="Asha")
    shop.save(first)
    shop.fan_out(first)
    shop.save(newest)
    return first, newest


def test_a_newer_event_that_nobody_tells_is_recovered_in_the_place_of_an_older(shop: Shop) -> None:
    shop.subscribe("sub_a")
    first, newest = told_and_changed(shop)
    assert shop.retry(waiting_for(first, purpose=Purpose.RECOVER)) == []
    assert shop.ids_heard["sub_a"][1:] == [waiting_for(newest).event_id]


# ---------------------------------------------------------------- what is no message


@pytest.mark.parametrize(
    "poison",
    [
        "",
        "{}",
        "[]",
        '{"version":2}',
        json.dumps({"version": 2, "store_id": ""}),
        "not json",
    ],
)
def test_a_poisoned_message_fails_alone(shop: Shop, poison: str) -> None:
    shop.subscribe("sub_a")
    one = begun()
    shop.save(one)
    assert shop.retry(poison, waiting_for(one), poison) == ["0", "2"]
    assert len(shop.receiver.arrivals) == 1


@pytest.mark.parametrize(
    "field", [{"store_id": ""}, {"checkout_id": ""}, {"checkout_id": "x" * 3000}, {"subscription_id": ""}]
)
def test_a_message_with_a_key_that_no_table_takes_fails_alone(shop: Shop, field: dict[str, Any]) -> None:
    shop.subscribe("sub_a")
    one = begun()
    shop.save(one)
    poison = json.dumps(waiting_for(one).model_dump(mode="json") | field)
    assert shop.retry(poison, waiting_for(one)) == ["0"]
    assert len(shop.receiver.arrivals) == 1


def test_a_checkout_that_cannot_be_read_keeps_no_other_back(shop: Shop) -> None:
    shop.subscribe("sub_a")
    good, bad = begun("good"), begun("bad")
    shop.save(good)
    shop.dynamodb.put_item(
        TableName="CheckoutTable", Item={"store_id": {"S": STORE}, "checkout_id": {"S": "bad"}}
    )
    shop.retry(waiting_for(bad), waiting_for(good))
    assert [each.json["data"]["checkout_id"] for each in shop.receiver.arrivals] == ["good"]


# ---------------------------------------------------------------- replays


def test_a_replay_after_a_purchase_tells_the_purchase_and_no_abandonment(shop: Shop) -> None:
    shop.subscribe("sub_a")
    quiet = left()
    shop.save(bought(quiet))
    shop.retry(waiting_for(quiet, purpose=Purpose.REPLAY))
    assert shop.heard == [("sub_a", "checkout.recovered")]


def test_a_replay_of_an_abandonment_that_only_its_subscriber_hears_of_ends_with_the_purchase(
    shop: Shop,
) -> None:
    shop.subscribe("sub_a", "abandonedCheckout", "v1")
    quiet = left()
    shop.save(bought(quiet))
    shop.retry(waiting_for(quiet, purpose=Purpose.REPLAY))
    assert shop.receiver.arrivals == []
    assert shop.states == {"sub_a": ("superseded", "not_wanted")}


def test_what_was_delivered_stays_so_when_a_replay_sends_a_newer_event(shop: Shop) -> None:
    shop.subscribe("sub_a")
    one = begun(at=datetime.now(UTC) - HOUR)
    shop.save(one)
    shop.fan_out(one)
    newer = changed(one, datetime.now(UTC) - MINUTE, name="Asha")
    shop.save(newer)
    shop.retry(waiting_for(one, purpose=Purpose.REPLAY))
    key = ("sub_a", waiting_for(one).delivery_id)
    (record,) = wiring.deliveries().load_all([key])
    assert record.state is State.DELIVERED
    assert shop.heard == [("sub_a", "checkout.created"), ("sub_a", "checkout.updated")]


def test_a_replay_sends_what_was_delivered_and_counts_all_attempts(shop: Shop) -> None:
    shop.subscribe("sub_a")
    one = begun()
    shop.save(one)
    shop.fan_out(one)
    shop.retry(waiting_for(one, purpose=Purpose.REPLAY))
    record = shop.records["sub_a"]
    assert (record.state, record.attempts, len(record.history)) == (State.DELIVERED, 2, 2)
    assert len(shop.receiver.arrivals) == 2


def test_a_replay_has_all_its_attempts_and_the_log_counts_those_before_too(shop: Shop) -> None:
    endpoint = shop.subscribe("sub_a")
    endpoint.status = 500
    one = bought(begun())
    shop.save(one)
    shop.retry(waiting_for(one, attempts=10))
    assert shop.records["sub_a"].state is State.EXHAUSTED
    shop.retry(waiting_for(one, purpose=Purpose.REPLAY, attempts=11))
    (message,) = shop.waiting()
    assert (message.purpose, message.attempts, message.earlier) == (Purpose.RETRY, 1, 11)
    assert shop.records["sub_a"].attempts == 12
    endpoint.status = 200
    shop.deliver_all()
    record = shop.records["sub_a"]
    assert (record.state, record.attempts, len(record.history)) == (State.DELIVERED, 13, 3)


def test_a_message_that_waited_before_a_replay_ends_when_its_turn_comes(shop: Shop) -> None:
    endpoint = shop.subscribe("sub_a")
    endpoint.status = 500
    one = begun()
    shop.save(one)
    shop.fan_out(one)
    (before,) = shop.take()
    shop.retry(waiting_for(one, purpose=Purpose.REPLAY))
    (after,) = shop.take()
    endpoint.status = 200
    shop.retry(before)
    assert shop.ids_heard == {}
    shop.retry(after)
    assert len(shop.ids_heard["sub_a"]) == 1


def test_a_replay_that_comes_again_after_it_was_made_is_not_made_again(shop: Shop) -> None:
    shop.subscribe("sub_a")
    first, newest = told_and_changed(shop)
    for _ in range(3):
        shop.retry(waiting_for(first, purpose=Purpose.REPLAY, asked_at=shop.started))
    assert shop.ids_heard["sub_a"][1:] == [waiting_for(newest).event_id]


def test_what_is_recovered_twice_is_sent_once(shop: Shop) -> None:
    endpoint = shop.subscribe("sub_a")
    endpoint.status = 500
    one = bought(begun())
    shop.save(one)
    shop.retry(waiting_for(one, attempts=10))
    endpoint.status = 200
    for _ in range(2):
        shop.retry(waiting_for(one, purpose=Purpose.RECOVER))
    assert len(shop.ids_heard["sub_a"]) == 1
    assert shop.records["sub_a"].state is State.DELIVERED


def test_two_events_of_a_checkout_that_are_recovered_send_it_once(shop: Shop) -> None:
    shop.subscribe("sub_a")
    one = begun()
    newer = bought(one)
    shop.save(newer)
    messages = [waiting_for(each, purpose=Purpose.RECOVER) for each in (one, newer)]
    assert shop.retry(*messages) == []
    assert shop.heard == [("sub_a", "checkout.completed")]


# ---------------------------------------------------------------- circuits and limits


def open_circuit(probe_at: datetime, **changes: Any) -> None:
    circuit = Circuit(
        store_id=STORE,
        subscription_id="sub_a",
        failing_since=datetime.now(UTC) - HOUR,
        probe_at=probe_at,
        wait=timedelta(seconds=60),
        **changes,
    )
    assert wiring.registry().put_circuit(None, circuit)


def test_while_a_circuit_is_open_deliveries_wait_without_an_attempt(shop: Shop) -> None:
    shop.subscribe("sub_a")
    one = begun()
    shop.save(one)
    probe_at = datetime.now(UTC) + timedelta(minutes=5)
    open_circuit(probe_at)
    shop.retry(waiting_for(one))
    (message,) = shop.waiting()
    assert (message.reason, message.attempts) == ("circuit_open", 1)
    assert message.not_before >= probe_at
    assert shop.receiver.arrivals == []


def test_a_probe_that_succeeds_lets_the_others_follow(shop: Shop) -> None:
    shop.subscribe("sub_a")
    checkouts = [begun(f"c{number}") for number in range(4)]
    shop.save(*checkouts)
    open_circuit(datetime.now(UTC))
    shop.retry(*map(waiting_for, checkouts))
    assert len(shop.receiver.arrivals) == 1
    assert wiring.registry().open_circuits() == []
    shop.retry(*shop.take())
    assert len(shop.receiver.arrivals) == 4


def test_a_probe_is_made_whatever_this_function_has_seen_of_the_receiver(shop: Shop) -> None:
    """The sender remembers by itself who did not answer, and would wait on."""
    shop.subscribe("sub_a")
    (subscription,) = wiring.registry().subscriptions(STORE).items
    nowhere = replace(subscription, callback_url="http://127.0.0.1:9/", updated_at=datetime.now(UTC))
    wiring.registry().update_subscription(subscription, nowhere)
    checkouts = [begun(f"c{number}") for number in range(8)]
    shop.save(*checkouts)
    for one in checkouts[:7]:
        shop.retry(waiting_for(one))
    ((store_id, subscription_id),) = wiring.registry().open_circuits()
    circuit = wiring.registry().subscriptions(store_id).circuits[subscription_id]
    shop.take()
    assert wiring.registry().put_circuit(circuit, replace(circuit, probe_at=datetime.now(UTC)))
    shop.retry(waiting_for(checkouts[7]))
    (message,) = shop.waiting()
    assert (message.reason, message.attempts) == ("connection", 2)


def test_under_a_rate_limit_the_rest_wait_for_their_turns(shop: Shop) -> None:
    shop.subscribe("sub_a", rate_limit_per_second=1)
    checkouts = [begun(f"c{number}") for number in range(5)]
    shop.save(*checkouts)
    shop.retry(*map(waiting_for, checkouts))
    waiting = shop.waiting()
    assert len(shop.receiver.arrivals) + len(waiting) == 5
    assert {(each.reason, each.has_slot, each.attempts) for each in waiting} == {("rate_limited", True, 1)}
    assert len({each.not_before for each in waiting}) == len(waiting) >= 3
    shop.retry(*map(due, shop.take()))
    assert len(shop.receiver.arrivals) == 5


# ---------------------------------------------------------------- what is written


def test_no_log_line_record_or_message_holds_the_shoppers_data(shop: Shop, log: list[str]) -> None:
    shop.subscribe("sub_a").status = 500
    shop.subscribe("sub_b")
    quiet = left()
    shop.save(quiet)
    shop.retry(waiting_for(quiet), waiting_for(quiet, "sub_b"), waiting_for(quiet, attempts=10), "9876543210")
    records = json.dumps(shop.dynamodb.scan(TableName="DeliveryTable")["Items"])
    written = "\n".join([*log, records, *bodies("RetryQueue"), *bodies("DeliveryDeadLetterQueue")])
    assert "sub_a" in written
    for datum in ("9876543210", "https://", "http://", "whsec_"):
        assert datum not in written


# ---------------------------------------------------------------- the shopper, once more

HANDLE = "phone:0123456789abcdef0123456789abcdef"


def entries(shop: Shop) -> list[DeliveryRecord]:
    """All of the log."""
    items = shop.dynamodb.scan(TableName="DeliveryTable")["Items"]
    keys = [(item["subscription_id"]["S"], item["delivery_id"]["S"]) for item in items]
    return wiring.deliveries().load_all(keys)


def abandonment(checkout_id: str = "c1") -> Checkout:
    """As the sweep wrote it, told, with the handle of its shopper."""
    return left(checkout_id).model_copy(update={"handles": (HANDLE,)})


PURPOSES = list(Purpose)


@pytest.mark.parametrize("purpose", PURPOSES)
def test_an_abandonment_is_not_told_after_a_purchase_that_ended_only_other_checkouts(
    shop: Shop, purpose: Purpose
) -> None:
    shop.subscribe("sub_a")
    one = abandonment()
    shop.save(one)
    now = datetime.now(UTC)
    wiring.shoppers().remember([HANDLE], Purchase(time=now, heard_at=now, order_id="o-1"), now)
    assert shop.retry(waiting_for(one, purpose=purpose)) == []
    assert shop.receiver.arrivals == []
    (record,) = entries(shop)
    assert (record.state, record.reason) == (State.SUPPRESSED, "completed")


@pytest.mark.parametrize("purpose", PURPOSES)
def test_an_abandonment_is_not_told_after_another_of_the_same_shopper(shop: Shop, purpose: Purpose) -> None:
    shop.subscribe("sub_a")
    one = abandonment()
    shop.save(one)
    wiring.shoppers().told([HANDLE], datetime.now(UTC) + timedelta(seconds=1))
    assert shop.retry(waiting_for(one, purpose=purpose)) == []
    assert shop.receiver.arrivals == []
    (record,) = entries(shop)
    assert (record.state, record.reason) == (State.SUPPRESSED, "cooldown")


@pytest.mark.parametrize("purpose", PURPOSES)
def test_an_abandonment_waits_for_the_morning_and_a_purchase_does_not(shop: Shop, purpose: Purpose) -> None:
    now = datetime.now(UTC)
    night = {
        "start": f"{now - HOUR:%H:%M}",
        "end": f"{now + HOUR:%H:%M}",
        "timezone": "UTC",
    }
    shop.subscribe("sub_a")
    wiring.registry().update_store(STORE, StoreSettings.model_validate({"quiet_hours": night}), now)
    one, other = abandonment(), bought(left("c2"))
    shop.save(one, other)
    assert shop.retry(waiting_for(one, purpose=purpose), waiting_for(other, purpose=purpose)) == []
    assert [each.event_type for each in shop.receiver.arrivals] == ["checkout.recovered"]
    (waits,) = shop.waiting()
    assert waits.checkout_id == "c1"
    assert now + timedelta(minutes=58) < waits.not_before <= now + HOUR
    assert (waits.asked_at is None) is (purpose is Purpose.RETRY)
    noted = {record.event_type: (record.state, record.reason) for record in entries(shop)}
    assert noted["checkout.abandoned"] == (State.PENDING, "quiet_hours")


def test_an_abandonment_that_nobody_has_heard_outlives_a_shopper_who_comes_back_for_a_while(
    shop: Shop,
) -> None:
    """It has started the cooldown, which holds the next abandonment back: one of them has to be told."""
    shop.subscribe("sub_a", "abandonedCheckout", "v1")
    one = abandonment()
    told_at = one.told_at
    assert told_at
    back = changed(one, told_at + timedelta(seconds=30), email="a@shopper.example")
    shop.save(back)
    wiring.shoppers().told([HANDLE], told_at)
    assert shop.retry(waiting_for(one)) == []
    (waits,) = shop.waiting()
    assert (waits.reason, waits.attempts) == ("shopper_is_back", 1)
    assert back.due_at
    assert abs(waits.not_before - back.due_at - timedelta(minutes=1)) <= timedelta(milliseconds=1)
    policy = Policy(cooldown=timedelta(days=1))
    again = back.abandon(Shopper(told_at=told_at), policy, back.due_at + timedelta(seconds=20))
    assert isinstance(again, Checkout)
    assert again.suppressed is Suppression.COOLDOWN
    shop.save(again)
    assert shop.retry(due(waits)) == []
    assert [each.event_id for each in shop.receiver.arrivals] == [one.event.id if one.event else ""]
    assert shop.states == {"sub_a": ("delivered", None)}


def test_an_abandonment_that_is_still_right_is_told(shop: Shop) -> None:
    shop.subscribe("sub_a")
    one = abandonment()
    shop.save(one)
    wiring.shoppers().told([HANDLE], one.told_at or datetime.now(UTC))
    assert shop.retry(waiting_for(one)) == []
    assert [each.event_type for each in shop.receiver.arrivals] == ["checkout.abandoned"]


# ---------------------------------------------------------------- what nobody planned, or cannot read


def test_an_event_that_came_while_the_subscription_was_paused_is_told_in_the_place_of_the_last(
    shop: Shop,
) -> None:
    """It was planned for nobody, so what it overtook must not end unheard."""
    shop.subscribe("sub_a")
    first = begun(at=datetime.now(UTC) - HOUR)
    newest = changed(first, datetime.now(UTC) - timedelta(minutes=30), name="Asha")
    shop.save(first, newest)
    assert shop.retry(waiting_for(first)) == []
    assert [each.event_type for each in shop.receiver.arrivals] == ["checkout.updated"]
    states = {(record.event_type, record.state) for record in entries(shop)}
    assert states == {
        ("checkout.created", State.SUPERSEDED),
        ("checkout.updated", State.DELIVERED),
    }


def test_an_event_that_fan_out_may_yet_get_to_is_left_to_it(shop: Shop) -> None:
    shop.subscribe("sub_a")
    first = begun(at=datetime.now(UTC) - HOUR)
    newest = changed(first, datetime.now(UTC), name="Asha")
    shop.save(first, newest)
    assert shop.retry(waiting_for(first)) == []
    assert shop.receiver.arrivals == []
    assert [record.state for record in entries(shop)] == [State.SUPERSEDED]


def test_a_checkout_that_this_version_cannot_read_comes_again(shop: Shop, dynamodb: DynamoDBClient) -> None:
    shop.subscribe("sub_a")
    one, other = begun("later"), begun("fine")
    shop.save(one, other)
    dynamodb.update_item(
        TableName="CheckoutTable",
        Key={"store_id": {"S": STORE}, "checkout_id": {"S": "later"}},
        UpdateExpression="SET #data = :data",
        ExpressionAttributeNames={"#data": "data"},
        ExpressionAttributeValues={":data": {"S": '{"of_a_later_version": 1}'}},
    )
    assert shop.retry(waiting_for(one), waiting_for(other)) == ["0"]
    assert [each.checkout_id for each in entries(shop)] == ["fine"]


def test_a_replay_of_what_is_long_past_has_all_its_attempts(shop: Shop) -> None:
    endpoint = shop.subscribe("sub_a")
    endpoint.status = 503
    one = begun(at=datetime.now(UTC) - 30 * HOUR)
    shop.save(one)
    assert shop.retry(waiting_for(one, purpose=Purpose.RECOVER)) == []
    (again,) = shop.waiting()
    endpoint.status = 200
    assert shop.retry(again.model_copy(update={"not_before": datetime.now(UTC)})) == []
    assert [each.status for each in shop.receiver.arrivals] == [503, 200]
    assert [record.state for record in entries(shop)] == [State.DELIVERED]
