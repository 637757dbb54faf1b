"""Faults of our own parts: whatever breaks, nothing is lost, and a receiver that keeps ids sees each once.

Each fault is brought about by the AWS client's own hooks. Afterwards what has to come again comes again, the
queue is worked off, and the receivers are asked what they heard. How many deliveries came twice is asserted
too: at least once is promised, but not much more than once.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from mypy_boto3_dynamodb import DynamoDBClient
from mypy_boto3_ssm import SSMClient

from checkout_recovery import wiring
from checkout_recovery.checkout.lifecycle import Checkout
from checkout_recovery.errors import Unavailable
from checkout_recovery.secrets import subscription_secret
from checkout_recovery.subscriptions.circuit import Circuit
from functions.fanout import app as fanout
from functions.retry import app as retry
from local.receiver import Receiver
from tests.component.conftest import STACK
from tests.component.delivering import (
    CONTEXT,
    MINUTE,
    STORE,
    Killed,
    Shop,
    batch,
    begun,
    bodies,
    bought,
    changed,
    dies_after,
    event_of,
    failed,
    hooked,
    left,
    messages_in,
    messages_of,
    waiting_for,
)

THROTTLED = ("ThrottlingException", 400)
DOWN = ("InternalServerError", 500)


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
    environment.setenv("AWS_MAX_ATTEMPTS", "1")
    return Shop(dynamodb, receiver, forget)


def fails(code: str, status: int, operation: str, times: int | None = None) -> Callable[..., Any]:
    """Answers calls of an operation with an error, so many times or always."""
    left_ = [times]

    def act(model: Any, **_: Any) -> None:
        if model.name != operation or left_[0] == 0:
            return
        left_[0] = left_[0] and left_[0] - 1
        error: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
        raise ClientError(error, operation)

    return act


def several() -> list[Checkout]:
    """Checkouts whose events are all still of interest; one fewer than failures open a circuit."""
    return [begun("c1"), left("c2"), bought(begun("c3")), bought(left("c4"))]


def ids(checkouts: list[Checkout]) -> set[str]:
    return {event_of(one).id for one in checkouts}


def comes_again(shop: Shop, checkouts: list[Checkout]) -> None:
    """The stream shows a batch until it is taken, and the queue is worked off."""
    for _ in range(5):
        with suppress(Unavailable):
            if not shop.fan_out(*checkouts):
                break
    else:
        raise AssertionError("the batch is never taken")
    shop.deliver_all()


def duplicates(shop: Shop) -> int:
    return sum(len(heard) - len(set(heard)) for heard in shop.ids_heard.values())


def assert_each_heard(shop: Shop, checkouts: list[Checkout], *names: str) -> None:
    """Every subscription heard of every event, and the log says so."""
    assert {name: set(heard) for name, heard in shop.ids_heard.items()} == dict.fromkeys(
        names, ids(checkouts)
    )
    items = shop.dynamodb.scan(TableName="DeliveryTable")["Items"]
    assert [item["state"]["S"] for item in items] == ["delivered"] * len(names) * len(checkouts)
    assert bodies("DeliveryDeadLetterQueue") == []


# ---------------------------------------------------------------- the function is killed


def test_a_fan_out_that_is_killed_after_any_call_loses_nothing(shop: Shop) -> None:
    shop.subscribe("sub_a")
    shop.subscribe("sub_b")
    twice: list[int] = []
    for number in count(1):
        checkouts = [begun(f"{number}-{n}") for n in range(3)]
        shop.save(*checkouts)
        made: list[str] = []
        before = duplicates(shop)
        with hooked(shop.forget, "after-call", dies_after(number, made)), suppress(Killed):
            fanout.handler(batch(*checkouts), CONTEXT)
        comes_again(shop, checkouts)
        assert all(ids(checkouts) <= set(heard) for heard in shop.ids_heard.values())
        twice.append(duplicates(shop) - before)
        if len(made) < number:
            break
    assert len(twice) > 3
    # The log's look-up and the secrets come before anything is sent; only its write comes after.
    assert [each for each in twice if each] == []


def test_a_fan_out_that_is_killed_before_the_log_is_written_sends_its_batch_once_more(shop: Shop) -> None:
    shop.subscribe("sub_a")
    checkouts = several()
    shop.save(*checkouts)

    def die(model: Any, **_: Any) -> None:
        if model.name == "BatchWriteItem":
            raise Killed

    with hooked(shop.forget, "before-call", die), pytest.raises(Killed):
        fanout.handler(batch(*checkouts), CONTEXT)
    comes_again(shop, checkouts)
    assert_each_heard(shop, checkouts, "sub_a")
    assert duplicates(shop) == len(checkouts)


def test_a_fan_out_whose_receivers_fail_and_that_is_killed_after_any_call_loses_nothing(shop: Shop) -> None:
    endpoints = [shop.subscribe("sub_a"), shop.subscribe("sub_b")]
    for number in count(1):
        checkouts = [begun(f"{number}-{n}") for n in range(3)]
        shop.save(*checkouts)
        made: list[str] = []
        for endpoint in endpoints:
            endpoint.status = 503
        with hooked(shop.forget, "after-call", dies_after(number, made)), suppress(Killed):
            fanout.handler(batch(*checkouts), CONTEXT)
        for endpoint in endpoints:
            endpoint.status = 200
        comes_again(shop, checkouts)
        assert all(ids(checkouts) <= set(heard) for heard in shop.ids_heard.values())
        if len(made) < number:
            break
    assert number > 4
    assert duplicates(shop) == 0
    assert bodies("DeliveryDeadLetterQueue") == []


@pytest.mark.parametrize("status", [200, 500])
def test_a_retry_that_is_killed_after_any_call_loses_nothing(shop: Shop, status: int) -> None:
    endpoint = shop.subscribe("sub_a")
    for number in count(1):
        checkouts = [begun(f"{number}-{n}") for n in range(3)]
        shop.save(*checkouts)
        messages = [waiting_for(one) for one in checkouts]
        made: list[str] = []
        endpoint.status = status
        with hooked(shop.forget, "after-call", dies_after(number, made)), suppress(Killed):
            retry.handler(messages_of(*messages), CONTEXT)
        endpoint.status = 200
        shop.end_claims()
        assert shop.retry(*messages) == []
        shop.deliver_all()
        assert ids(checkouts) <= set(shop.ids_heard["sub_a"])
        if len(made) < number:
            break
    assert number > 4
    assert duplicates(shop) == 0


def test_a_retry_that_is_killed_before_the_log_is_written_sends_once_more(shop: Shop) -> None:
    shop.subscribe("sub_a")
    checkouts = several()
    shop.save(*checkouts)
    messages = [waiting_for(one) for one in checkouts]

    def die(model: Any, **_: Any) -> None:
        if model.name == "BatchWriteItem":
            raise Killed

    with hooked(shop.forget, "before-call", die), pytest.raises(Killed):
        retry.handler(messages_of(*messages), CONTEXT)
    shop.end_claims()
    shop.retry(*messages)
    assert_each_heard(shop, checkouts, "sub_a")
    assert duplicates(shop) == len(checkouts)


@pytest.mark.parametrize("fault", ["throttled", "killed before the claim", "killed after it", "refused"])
def test_a_retry_that_makes_a_newer_event_and_is_cut_off_still_stands_for_both(
    shop: Shop, fault: str
) -> None:
    """Nobody has planned the newer event: the older one's message is all that there is of it."""
    endpoint = shop.subscribe("sub_a")
    first = begun(at=datetime.now(UTC) - 10 * MINUTE)
    endpoint.status = 503
    shop.save(first)
    shop.fan_out(first)
    (waiting,) = shop.take()
    endpoint.status = 503 if fault == "refused" else 200
    newest = changed(first, datetime.now(UTC) - 6 * MINUTE, name="Asha")
    shop.save(newest)

    def die(**_: Any) -> None:
        raise Killed

    brought_about: dict[str, Callable[[], Any]] = {
        "throttled": lambda: hooked(shop.forget, "before-call", fails(*THROTTLED, "PutItem")),
        "killed before the claim": lambda: hooked(shop.forget, "before-call.dynamodb.PutItem", die),
        "killed after it": lambda: hooked(shop.forget, "after-call.dynamodb.PutItem", die),
        "refused": lambda: refuses_all(shop, "/RetryQueue"),
    }
    with brought_about[fault](), suppress(Killed):
        retry.handler(messages_of(waiting), CONTEXT)
    endpoint.status = 200
    shop.end_claims()
    shop.retry(waiting)
    shop.deliver_all()
    assert shop.ids_heard == {"sub_a": [event_of(newest).id]}


def test_one_claim_that_is_throttled_keeps_no_other_delivery_waiting(shop: Shop) -> None:
    names = [f"sub_{number}" for number in range(10)]
    one = begun()
    shop.save(one)
    for name in names:
        shop.subscribe(name)
        assert wiring.registry().put_circuit(None, Circuit.untried(STORE, name, datetime.now(UTC)))
    error: Any = {"Error": {"Code": "ThrottlingException"}, "ResponseMetadata": {"HTTPStatusCode": 400}}

    def throttle(params: Any, **_: Any) -> None:
        if "sub_0" in str(params["body"]):
            raise ClientError(error, "PutItem")

    with hooked(shop.forget, "before-call.dynamodb.PutItem", throttle):
        assert shop.retry(*(waiting_for(one, name) for name in names)) == []
    assert shop.ids_heard.keys() == set(names[1:])
    (throttled,) = wiring.registry().subscriptions(STORE).circuits.values()
    assert throttled.probe_at <= datetime.now(UTC)  # nobody has used its probe up
    shop.deliver_all()
    assert_each_heard(shop, [one], *names)
    assert duplicates(shop) == 0


def test_one_entry_that_is_throttled_keeps_no_other_delivery_waiting(shop: Shop) -> None:
    """Of a delivery that has been overtaken; it comes again and is ended then."""
    shop.subscribe("sub_old")
    shop.subscribe("sub_a")
    old = begun("old")
    newest = bought(old)
    others = [begun(f"c{number}") for number in range(9)]
    shop.save(newest, *others)
    shop.fan_out(newest)
    error: Any = {"Error": {"Code": "ThrottlingException"}, "ResponseMetadata": {"HTTPStatusCode": 400}}

    def throttle(params: Any, **_: Any) -> None:
        if "sub_old" in str(params["body"]):
            raise ClientError(error, "PutItem")

    with hooked(shop.forget, "before-call.dynamodb.PutItem", throttle):
        assert shop.retry(waiting_for(old, "sub_old"), *(waiting_for(one) for one in others)) == []
    assert set(shop.ids_heard["sub_a"]) == ids([newest, *others])
    assert [message.subscription_id for message in shop.waiting()] == ["sub_old"]
    shop.deliver_all()
    found = shop.dynamodb.scan(TableName="DeliveryTable")["Items"]
    assert sorted(item["state"]["S"] for item in found) == ["delivered"] * 11 + ["superseded"]


def test_entries_that_cannot_be_written_double_no_message(shop: Shop) -> None:
    shop.subscribe("sub_a")
    checkouts = [begun(f"c{number}") for number in range(10)]
    shop.save(*checkouts)
    circuit = Circuit.opened(STORE, "sub_a", datetime.now(UTC) + MINUTE)
    assert wiring.registry().put_circuit(None, circuit)
    messages = [waiting_for(one) for one in checkouts]
    with hooked(shop.forget, "before-call", fails(*THROTTLED, "PutItem")):
        for _ in range(3):
            assert shop.retry(*messages) == []
            messages = shop.take()
            assert len(messages) == len(checkouts)
    wiring.registry().close_circuit(circuit)
    assert shop.retry(*messages) == []
    assert_each_heard(shop, checkouts, "sub_a")
    assert duplicates(shop) == 0


def test_a_probe_whose_key_cannot_be_had_is_not_used_up(shop: Shop) -> None:
    shop.subscribe("sub_a")
    one = begun()
    shop.save(one)
    circuit = Circuit.opened(STORE, "sub_a", datetime.now(UTC) - MINUTE)
    assert wiring.registry().put_circuit(None, circuit)
    with hooked(shop.forget, "before-call", fails(*THROTTLED, "GetParameters")):
        assert shop.retry(waiting_for(one)) == []
    assert wiring.registry().subscriptions(STORE).circuits["sub_a"].probe_at == circuit.probe_at
    shop.deliver_all()
    assert_each_heard(shop, [one], "sub_a")


# ---------------------------------------------------------------- SSM


def test_while_ssm_is_throttled_the_keys_that_are_known_sign_on(shop: Shop) -> None:
    shop.subscribe("sub_a")
    first, second = begun("c1"), begun("c2")
    shop.save(first, second)
    throttled: list[Callable[..., Any]] = []

    def throttle(**call: Any) -> None:
        for each in throttled:
            each(**call)

    with hooked(shop.forget, "before-call", throttle):
        shop.fan_out(first)
        throttled.append(fails(*THROTTLED, "GetParameters"))
        (before,) = wiring.registry().subscriptions(STORE).items
        wiring.registry().update_subscription(
            before, replace(before, key_version=2)
        )  # it has to be read again
        assert shop.fan_out(second) == []
    assert_each_heard(shop, [first, second], "sub_a")


def test_while_no_key_can_be_had_deliveries_wait_and_are_not_dropped(shop: Shop) -> None:
    shop.subscribe("sub_a")
    checkouts = several()
    shop.save(*checkouts)
    with hooked(shop.forget, "before-call", fails(*THROTTLED, "GetParameters")):
        assert shop.fan_out(*checkouts) == []
        assert shop.ids_heard == {}
        assert shop.retry(*shop.take()) == []
    assert {(each.reason, each.attempts) for each in shop.waiting()} == {("secret_unavailable", 0)}
    assert {each.state.value for each in shop.records.values()} == {"pending"}
    shop.deliver_all()
    assert_each_heard(shop, checkouts, "sub_a")
    assert duplicates(shop) == 0


def test_a_subscription_whose_key_is_missing_waits_and_the_others_do_not(shop: Shop, ssm: SSMClient) -> None:
    shop.subscribe("sub_a")
    shop.subscribe("sub_b")
    name = f"/{STACK}/{subscription_secret(STORE, 'sub_a')}"
    value = ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"]
    ssm.delete_parameter(Name=name)
    shop.forget()
    checkouts = several()
    shop.save(*checkouts)
    assert shop.fan_out(*checkouts) == []
    assert shop.ids_heard.keys() == {"sub_b"}
    assert {(each.subscription_id, each.reason) for each in shop.waiting()} == {
        ("sub_a", "secret_unavailable")
    }
    ssm.put_parameter(Name=name, Value=value, Type="SecureString")
    shop.deliver_all()
    assert_each_heard(shop, checkouts, "sub_a", "sub_b")
    assert duplicates(shop) == 0


# ---------------------------------------------------------------- SQS


def refuses_one(shop: Shop, queue: str, checkout: Checkout) -> Any:
    """Of the next call SQS takes all entries but the one about a checkout."""
    done: list[str] = []

    def refuse(parsed: dict[str, Any], **_: Any) -> None:
        if not done:
            lie = messages_in(queue)
            (refused,) = (message for message in lie if event_of(checkout).id in message.body)
            (entry,) = (entry for entry in parsed["Successful"] if entry["MessageId"] == refused.id)
            parsed["Successful"].remove(entry)
            parsed["Failed"] = [{"Id": entry["Id"], "Code": "InternalError", "SenderFault": False}]
            lie.remove(refused)
            done.append(refused.id)

    return hooked(shop.forget, "after-call.sqs.SendMessageBatch", refuse)


def refuses_all(shop: Shop, queue: str, code: str = "AccessDenied") -> Any:
    def refuse(params: dict[str, Any], **_: Any) -> None:
        if params["QueueUrl"].endswith(queue):
            error: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": 400}}
            raise ClientError(error, "SendMessageBatch")

    return hooked(shop.forget, "provide-client-params.sqs.SendMessageBatch", refuse)


def unreachable(shop: Shop, queue: str) -> Any:
    def refuse(params: dict[str, Any], **_: Any) -> None:
        if params["QueueUrl"].endswith(queue):
            raise EndpointConnectionError(endpoint_url=params["QueueUrl"])

    return hooked(shop.forget, "provide-client-params.sqs.SendMessageBatch", refuse)


SQS_FAULTS = {"refuses all": refuses_all, "unreachable": unreachable}


def test_one_entry_that_sqs_refuses_of_a_fan_out_is_brought_again_by_the_stream_and_no_other(
    shop: Shop,
) -> None:
    endpoint = shop.subscribe("sub_a")
    endpoint.status = 503
    checkouts = several()
    shop.save(*checkouts)
    with refuses_one(shop, "RetryQueue", checkouts[0]):
        assert shop.fan_out(*checkouts) == ["0"]
    assert len(shop.waiting()) == 3
    endpoint.status = 200
    comes_again(shop, checkouts)
    assert_each_heard(shop, checkouts, "sub_a")
    assert duplicates(shop) == 0


def test_one_entry_that_sqs_refuses_of_a_retry_comes_again_and_no_other(shop: Shop) -> None:
    endpoint = shop.subscribe("sub_a")
    endpoint.status = 503
    checkouts = several()
    shop.save(*checkouts)
    messages = [waiting_for(one) for one in checkouts]
    with refuses_one(shop, "RetryQueue", checkouts[0]):
        assert shop.retry(*messages) == ["0"]
    assert len(shop.waiting()) == 3
    endpoint.status = 200
    shop.end_claims()
    assert shop.retry(messages[0]) == []
    shop.deliver_all()
    assert_each_heard(shop, checkouts, "sub_a")
    assert duplicates(shop) == 0


@pytest.mark.parametrize("fault", SQS_FAULTS)
def test_what_the_queue_does_not_take_of_a_fan_out_the_stream_brings_again(shop: Shop, fault: str) -> None:
    endpoint = shop.subscribe("sub_a")
    shop.subscribe("sub_b")
    endpoint.status = 503
    checkouts = several()
    shop.save(*checkouts)
    with SQS_FAULTS[fault](shop, "/RetryQueue"):
        assert sorted(shop.fan_out(*checkouts)) == ["0", "1", "2", "3"]
    assert shop.records.keys() == {"sub_b"}
    endpoint.status = 200
    comes_again(shop, checkouts)
    assert_each_heard(shop, checkouts, "sub_a", "sub_b")
    assert duplicates(shop) == 0


@pytest.mark.parametrize("fault", SQS_FAULTS)
def test_what_the_queue_does_not_take_of_a_retry_comes_again(shop: Shop, fault: str) -> None:
    endpoint = shop.subscribe("sub_a")
    endpoint.status = 503
    checkouts = several()
    shop.save(*checkouts)
    messages = [waiting_for(one) for one in checkouts]
    with SQS_FAULTS[fault](shop, "/RetryQueue"):
        assert sorted(shop.retry(*messages)) == ["0", "1", "2", "3"]
    assert shop.states == {"sub_a": ("pending", "unrecorded")}
    endpoint.status = 200
    shop.end_claims()
    assert shop.retry(*messages) == []
    assert_each_heard(shop, checkouts, "sub_a")
    assert duplicates(shop) == 0


@pytest.mark.parametrize("fault", SQS_FAULTS)
def test_an_early_message_that_the_queue_does_not_take_again_stays_where_it_is(
    shop: Shop, fault: str
) -> None:
    shop.subscribe("sub_a")
    early, ready = begun("early"), begun("ready")
    shop.save(early, ready)
    later = waiting_for(early).not_before.replace(year=2090)
    with SQS_FAULTS[fault](shop, "/RetryQueue"):
        assert shop.retry(waiting_for(early, not_before=later), waiting_for(ready)) == ["0"]
    assert shop.ids_heard == {"sub_a": [event_of(ready).id]}


@pytest.mark.parametrize("fault", SQS_FAULTS)
@pytest.mark.parametrize("attempts", [10, 1])
def test_what_the_dead_letter_queue_does_not_take_is_not_given_up_yet(
    shop: Shop, fault: str, attempts: int
) -> None:
    """With the last attempt, and with a subscription that was disabled."""
    shop.subscribe("sub_a", disabled_reason=None if attempts == 10 else "gone").status = 500
    one = bought(begun())
    shop.save(one)
    message = waiting_for(one, attempts=attempts)
    with SQS_FAULTS[fault](shop, "/DeliveryDeadLetterQueue"):
        assert shop.retry(message) == ["0"]
    assert all(each.state.value == "pending" for each in shop.records.values())
    shop.end_claims()
    assert shop.retry(message) == []
    assert shop.records["sub_a"].state.value == "exhausted"
    assert len(bodies("DeliveryDeadLetterQueue")) == 1


# ---------------------------------------------------------------- DynamoDB


@pytest.mark.parametrize("fault", [THROTTLED, DOWN])
@pytest.mark.parametrize("operation", ["BatchGetItem", "Query", "BatchWriteItem"])
def test_a_fan_out_whose_tables_fail_comes_again_whole(
    shop: Shop, operation: str, fault: tuple[str, int]
) -> None:
    shop.subscribe("sub_a")
    checkouts = several()
    shop.save(*checkouts)
    with hooked(shop.forget, "before-call", fails(*fault, operation)), pytest.raises(Unavailable):
        shop.fan_out(*checkouts)
    comes_again(shop, checkouts)
    assert_each_heard(shop, checkouts, "sub_a")
    assert duplicates(shop) == (len(checkouts) if operation == "BatchWriteItem" else 0)


@pytest.mark.parametrize("fault", [THROTTLED, DOWN])
@pytest.mark.parametrize("operation", ["BatchGetItem", "BatchWriteItem"])
def test_a_retry_whose_tables_fail_comes_again_whole(
    shop: Shop, operation: str, fault: tuple[str, int]
) -> None:
    shop.subscribe("sub_a")
    checkouts = several()
    early = begun("early")
    shop.save(*checkouts)
    messages = [waiting_for(one) for one in checkouts]
    later = waiting_for(early, not_before=messages[0].not_before.replace(year=2090))
    with hooked(shop.forget, "before-call", fails(*fault, operation)), pytest.raises(Unavailable):
        shop.retry(later, *messages)
    assert bodies("RetryQueue") == []  # what was early would be there twice
    shop.end_claims()
    assert shop.retry(*messages) == []
    assert_each_heard(shop, checkouts, "sub_a")
    assert duplicates(shop) == (len(checkouts) if operation == "BatchWriteItem" else 0)


def test_turns_that_cannot_be_taken_delay_and_drop_nothing(shop: Shop) -> None:
    shop.subscribe("sub_a", rate_limit_per_second=100)
    checkouts = several()
    shop.save(*checkouts)
    with hooked(shop.forget, "before-call", fails(*THROTTLED, "UpdateItem")):
        assert shop.fan_out(*checkouts) == []
    assert {each.reason for each in shop.waiting()} == {"rate_limited"}
    shop.deliver_all()
    assert_each_heard(shop, checkouts, "sub_a")
    assert duplicates(shop) == 0


def test_circuits_that_cannot_be_written_keep_no_delivery_from_the_log(shop: Shop) -> None:
    endpoint = shop.subscribe("sub_a")
    endpoint.status = 500
    checkouts = [begun(f"c{number}") for number in range(6)]
    shop.save(*checkouts)
    with hooked(shop.forget, "before-call", fails(*THROTTLED, "TransactWriteItems")):
        assert shop.fan_out(*checkouts) == []
    assert len(shop.dynamodb.scan(TableName="DeliveryTable")["Items"]) == 6
    assert wiring.registry().open_circuits() == []
    endpoint.status = 200
    shop.deliver_all()
    assert_each_heard(shop, checkouts, "sub_a")


def test_notices_that_cannot_be_sent_keep_no_delivery_from_the_log(shop: Shop) -> None:
    shop.subscribe("sub_a").status = 410
    one = begun()
    shop.save(one)
    with hooked(shop.forget, "before-call", fails("AuthorizationError", 403, "Publish")):
        assert shop.fan_out(one) == []
    assert shop.states == {"sub_a": ("exhausted", "gone")}
    (subscription,) = wiring.registry().subscriptions(STORE).items
    assert subscription.disabled_reason == "gone"


# ---------------------------------------------------------------- what comes twice, and what is poison


def test_a_batch_that_the_stream_repeats_is_delivered_once(shop: Shop) -> None:
    shop.subscribe("sub_a")
    shop.subscribe("sub_b").status = 503
    checkouts = several()
    shop.save(*checkouts)
    for _ in range(3):
        assert shop.fan_out(*checkouts) == []
    assert len(shop.waiting()) == len(checkouts)
    assert shop.ids_heard.keys() == {"sub_a"}
    assert duplicates(shop) == 0


def test_a_batch_that_is_repeated_after_its_retries_were_made_is_not_sent_again(shop: Shop) -> None:
    """The stream came again because the log had not been written; by then the retries had been made."""
    endpoint = shop.subscribe("sub_a")
    endpoint.status = 503
    checkouts = several()
    shop.save(*checkouts)
    with hooked(shop.forget, "before-call", fails(*THROTTLED, "BatchWriteItem")), pytest.raises(Unavailable):
        shop.fan_out(*checkouts)
    endpoint.status = 200
    shop.deliver_all()
    assert shop.fan_out(*checkouts) == []
    assert_each_heard(shop, checkouts, "sub_a")
    assert duplicates(shop) == 0


def test_a_poisoned_record_keeps_none_of_its_mates_back_however_often_it_comes(shop: Shop) -> None:
    shop.subscribe("sub_a")
    checkouts = several()
    shop.save(*checkouts)
    poisoned = batch(*checkouts)
    poisoned["Records"].insert(2, {"dynamodb": {"SequenceNumber": "poison", "NewImage": {"x": {"S": "y"}}}})
    for _ in range(3):
        assert failed(fanout.handler(poisoned, CONTEXT)) == ["poison"]
    assert_each_heard(shop, checkouts, "sub_a")
    assert duplicates(shop) == 0
