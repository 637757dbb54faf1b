"""The fan-out handler on moto, with a real receiver: every batch in events/, and what becomes of it."""

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mypy_boto3_dynamodb import DynamoDBClient
from mypy_boto3_sqs import SQSClient

from checkout_recovery import wiring
from checkout_recovery.checkout.event import EventType
from checkout_recovery.contracts import CONTRACTS
from checkout_recovery.secrets import Secret, subscription_secret
from checkout_recovery.signing import new_webhook_key
from checkout_recovery.subscriptions.store import Store, StoreSettings
from checkout_recovery.subscriptions.subscription import ConsentRule, Required, Subscription
from functions.fanout import app
from local.receiver import Receiver
from local.stream_fixtures import stream_fixtures, text_of
from tests.component.subscribing import subscribe_known
from tests.subscriptions import subscription

NOW = datetime(2026, 5, 7, 10, tzinfo=UTC)
EVENTS = Path(__file__).parents[2] / "events"
ALL_CONTRACTS = tuple(CONTRACTS)
OURS = ("checkout", "2026-11")

Event = dict[str, Any]
Subscribe = Callable[..., Subscription]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def subscribe(aws: None, environment: pytest.MonkeyPatch, receiver: Receiver) -> Subscribe:
    """Makes a subscription whose receiver knows its key."""
    environment.setenv("ALLOW_LOCAL_TARGETS", "true")
    wiring.registry().create_store(
        Store(
            store_id="my-store",
            settings=StoreSettings(),
            token_hash="0" * 64,
            revision=1,
            created_at=NOW,
            updated_at=NOW,
        )
    )

    def make(
        name: str, topic: str = OURS[0], version: str = OURS[1], url: str = "", **rules: Any
    ) -> Subscription:
        key = new_webhook_key()
        receiver.trust(f"/{name}", key)
        made = subscription(name, topic, version, callback_url=url or f"{receiver.url}/{name}", **rules)
        wiring.secrets().put(subscription_secret("my-store", name), Secret((key,), version=1))
        subscribe_known(wiring.registry(), made)
        return made

    return make


@pytest.fixture
def handle(subscribe: Subscribe, context: SimpleNamespace) -> Callable[[Event], list[str]]:
    def run(event: Event) -> list[str]:
        answer = app.handler(copy.deepcopy(event), context)
        return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]

    return run


def just_now(batch: Event) -> Event:
    """The batch as if its events had just happened, so that there is time to deliver them."""
    for record in batch["Records"]:
        record["dynamodb"]["NewImage"]["event"]["M"]["time"]["S"] = datetime.now(UTC).isoformat()
    return batch


def logged(dynamodb: DynamoDBClient) -> dict[str, tuple[str, str]]:
    items = dynamodb.scan(TableName="DeliveryTable")["Items"]
    return {
        item["subscription_id"]["S"]: (item["state"]["S"], item.get("reason", {}).get("S", ""))
        for item in items
    }


@pytest.mark.parametrize("name", sorted(stream_fixtures()))
def test_the_fixtures_are_up_to_date(name: str) -> None:
    assert (EVENTS / f"{name}.json").read_text() == text_of(stream_fixtures()[name])


def test_each_contract_gets_the_events_that_it_carries_and_all_verify(
    handle: Callable[[Event], list[str]], subscribe: Subscribe, receiver: Receiver, event: Any
) -> None:
    for number, (topic, version) in enumerate(ALL_CONTRACTS):
        subscribe(f"sub_{number}", topic, version)
    assert handle(event("fanout-several")) == []
    arrivals = receiver.arrivals
    assert [arrival.problem for arrival in arrivals if arrival.problem] == []
    heard = {
        contract: sum(f"/sub_{n}" == a.path for a in arrivals) for n, contract in enumerate(ALL_CONTRACTS)
    }
    assert heard == {
        ("abandonedCheckout", "v1"): 1,
        ("ACR_CHECKOUT", "2025-09"): 5,
        ("ACR_CHECKOUT", "2026-05"): 5,
        ("checkout", "2026-11"): 6,
    }


def test_a_batch_that_comes_again_sends_nothing_again(
    handle: Callable[[Event], list[str]], subscribe: Subscribe, receiver: Receiver, event: Any
) -> None:
    subscribe("sub_a")
    for _ in range(3):
        assert handle(event("fanout-several")) == []
    assert len(receiver.arrivals) == 6


def test_a_warm_batch_costs_one_read_and_one_write_however_many_subscriptions(
    calls: list[str], handle: Callable[[Event], list[str]], subscribe: Subscribe, event: Any
) -> None:
    for number in range(10):
        subscribe(f"sub_{number}")
    handle(event("fanout-created"))
    calls.clear()
    handle(event("fanout-updated"))
    assert calls == ["BatchGetItem", "BatchWriteItem"]


@pytest.mark.parametrize("name", ["fanout-abandoned", "fanout-abandoned-suppressed"])
def test_an_abandonment_costs_no_call_more(
    calls: list[str], handle: Callable[[Event], list[str]], subscribe: Subscribe, event: Any, name: str
) -> None:
    subscribe("sub_a")
    handle(event("fanout-created"))
    calls.clear()
    handle(event(name))
    assert calls == ["BatchGetItem", "BatchWriteItem"]


def test_a_dead_receiver_costs_the_others_nothing_and_waits_in_the_queue(
    handle: Callable[[Event], list[str]],
    subscribe: Subscribe,
    receiver: Receiver,
    dynamodb: DynamoDBClient,
    sqs: SQSClient,
    event: Any,
) -> None:
    subscribe("sub_dead", url="http://127.0.0.1:9/nobody")
    subscribe("sub_alive")
    assert handle(just_now(event("fanout-created"))) == []
    assert [arrival.path for arrival in receiver.arrivals] == ["/sub_alive"]
    assert logged(dynamodb) == {"sub_dead": ("pending", "connection"), "sub_alive": ("delivered", "")}
    queue = sqs.get_queue_attributes(
        QueueUrl=wiring.settings().retry_queue_url, AttributeNames=["ApproximateNumberOfMessagesDelayed"]
    )
    assert queue["Attributes"]["ApproximateNumberOfMessagesDelayed"] == "1"


def test_a_retry_message_holds_ids_only(
    handle: Callable[[Event], list[str]],
    subscribe: Subscribe,
    event: Any,
) -> None:
    sent: list[str] = []
    subscribe("sub_dead", url="http://127.0.0.1:9/nobody")
    wiring.retry_queue()._client.meta.events.register(
        "before-send.sqs.SendMessageBatch", lambda request, **_: sent.append(request.body.decode())
    )
    handle(just_now(event("fanout-created")))
    (body,) = sent
    message = json.loads(json.loads(body)["Entries"][0]["MessageBody"])
    assert message.keys() == {
        "version",
        "store_id",
        "checkout_id",
        "subscription_id",
        "delivery_id",
        "event_id",
        "event_type",
        "event_time",
        "sequence",
        "attempts",
        "earlier",
        "reason",
        "not_before",
        "has_slot",
        "purpose",
    }


def test_a_poisoned_record_comes_again_and_its_mates_are_sent(
    handle: Callable[[Event], list[str]], subscribe: Subscribe, receiver: Receiver, event: Any
) -> None:
    subscribe("sub_a")
    batch = event("fanout-not-a-checkout")
    assert handle(batch) == [batch["Records"][1]["dynamodb"]["SequenceNumber"]]
    assert len(receiver.arrivals) == 1


def test_a_subscription_takes_effect_with_the_next_event_and_its_end_too(
    handle: Callable[[Event], list[str]], subscribe: Subscribe, receiver: Receiver, event: Any
) -> None:
    handle(event("fanout-created"))
    subscribe("sub_a")
    handle(event("fanout-abandoned"))
    wiring.registry().delete_subscription("my-store", "sub_a")
    handle(event("fanout-updated"))
    assert [arrival.event_type for arrival in receiver.arrivals] == [EventType.ABANDONED]


def test_a_rotated_key_signs_the_next_event(
    handle: Callable[[Event], list[str]], subscribe: Subscribe, receiver: Receiver, event: Any
) -> None:
    before = subscribe("sub_a")
    handle(event("fanout-created"))
    key = new_webhook_key()
    wiring.secrets().put(subscription_secret("my-store", "sub_a"), Secret((key,), version=2))
    wiring.registry().update_subscription(before, replace(before, key_version=2))
    receiver.trust("/sub_a", key)
    handle(event("fanout-abandoned"))
    assert [arrival.problem for arrival in receiver.arrivals] == [None, None]


# ---------------------------------------------------------------- what is held back


def suppressed(output: str) -> dict[str, float]:
    """The metric `Suppressed` by its reason, from the lines on standard output."""
    emitted = [json.loads(line) for line in output.splitlines()]
    return {each["reason"]: sum(each["Suppressed"]) for each in emitted if "Suppressed" in each}


def save_image(dynamodb: DynamoDBClient, batch: Event) -> None:
    """Lets the table hold what the last record of a batch says."""
    dynamodb.put_item(TableName="CheckoutTable", Item=batch["Records"][-1]["dynamodb"]["NewImage"])


def test_an_abandonment_that_is_held_back_is_recorded_and_counted_and_sent_to_nobody(
    handle: Callable[[Event], list[str]],
    subscribe: Subscribe,
    receiver: Receiver,
    dynamodb: DynamoDBClient,
    event: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    subscribe("sub_a")
    subscribe("sub_b", "abandonedCheckout", "v1")
    assert handle(event("fanout-abandoned-suppressed")) == []
    assert receiver.arrivals == []
    assert logged(dynamodb) == {"sub_a": ("suppressed", "cooldown"), "sub_b": ("suppressed", "cooldown")}
    assert suppressed(capsys.readouterr().out) == {"cooldown": 2}


def test_the_metric_has_the_reason_as_its_only_dimension_of_our_own(
    handle: Callable[[Event], list[str]],
    subscribe: Subscribe,
    event: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    subscribe("sub_a")
    handle(event("fanout-abandoned-suppressed"))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (emitted,) = (each for each in lines if "Suppressed" in each)
    (metric,) = emitted["_aws"]["CloudWatchMetrics"]
    assert metric["Namespace"] == "CheckoutRecovery/checkout-recovery-test"
    assert metric["Metrics"] == [{"Name": "Suppressed", "Unit": "Count"}]
    assert [set(dimensions) - {"service"} for dimensions in metric["Dimensions"]] == [{"reason"}]


def test_each_subscription_is_held_back_from_by_its_own_rules(
    handle: Callable[[Event], list[str]],
    subscribe: Subscribe,
    receiver: Receiver,
    dynamodb: DynamoDBClient,
    event: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    subscribe("sub_agreed", consent=ConsentRule.GRANTED, requires=tuple(Required))
    subscribe("sub_any")
    batch = event("fanout-abandoned")
    image = batch["Records"][0]["dynamodb"]["NewImage"]
    image["data"]["S"] = image["data"]["S"].replace('"consent":"granted"', '"consent":null')
    assert handle(batch) == []
    assert [arrival.path for arrival in receiver.arrivals] == ["/sub_any"]
    assert logged(dynamodb) == {"sub_agreed": ("suppressed", "consent"), "sub_any": ("delivered", "")}
    assert suppressed(capsys.readouterr().out) == {"consent": 1}


def test_a_shopper_who_agreed_and_told_everything_is_told_of_to_the_strictest(
    handle: Callable[[Event], list[str]], subscribe: Subscribe, receiver: Receiver, event: Any
) -> None:
    subscribe("sub_strict", consent=ConsentRule.GRANTED, requires=tuple(Required))
    handle(event("fanout-abandoned"))
    assert [arrival.path for arrival in receiver.arrivals] == ["/sub_strict"]


def test_what_is_bought_by_the_time_that_its_abandonment_is_fanned_out_is_told_to_nobody(
    handle: Callable[[Event], list[str]],
    subscribe: Subscribe,
    receiver: Receiver,
    dynamodb: DynamoDBClient,
    event: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    subscribe("sub_a")
    save_image(dynamodb, event("fanout-recovered"))
    handle(event("fanout-abandoned"))
    assert receiver.arrivals == []
    assert logged(dynamodb) == {"sub_a": ("suppressed", "completed")}
    assert suppressed(capsys.readouterr().out) == {"completed": 1}


def test_what_has_only_been_written_again_since_is_told(
    handle: Callable[[Event], list[str]],
    subscribe: Subscribe,
    receiver: Receiver,
    dynamodb: DynamoDBClient,
    event: Any,
) -> None:
    subscribe("sub_a")
    save_image(dynamodb, event("fanout-abandoned"))
    handle(event("fanout-abandoned"))
    assert [arrival.event_type for arrival in receiver.arrivals] == [EventType.ABANDONED]


def test_of_an_abandonment_and_its_purchase_in_one_batch_only_the_purchase_is_told(
    handle: Callable[[Event], list[str]],
    subscribe: Subscribe,
    receiver: Receiver,
    dynamodb: DynamoDBClient,
    event: Any,
) -> None:
    subscribe("sub_a")
    left, bought = event("fanout-abandoned"), event("fanout-recovered")
    save_image(dynamodb, bought)
    handle({"Records": left["Records"] + bought["Records"]})
    (arrival,) = receiver.arrivals
    assert arrival.event_type == EventType.RECOVERED
    assert json.loads(arrival.body)["data"]["recovered_after_seconds"] == 300


def test_a_batch_that_comes_again_holds_nothing_back_twice(
    handle: Callable[[Event], list[str]],
    subscribe: Subscribe,
    dynamodb: DynamoDBClient,
    event: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    subscribe("sub_a")
    handle(event("fanout-abandoned-suppressed"))
    before = dynamodb.scan(TableName="DeliveryTable")["Items"]
    capsys.readouterr()
    handle(event("fanout-abandoned-suppressed"))
    assert dynamodb.scan(TableName="DeliveryTable")["Items"] == before
    assert suppressed(capsys.readouterr().out) == {}


@pytest.mark.parametrize("name", sorted(stream_fixtures()))
def test_no_log_line_or_delivery_record_holds_the_shoppers_data(
    handle: Callable[[Event], list[str]],
    subscribe: Subscribe,
    dynamodb: DynamoDBClient,
    event: Any,
    log: list[str],
    name: str,
) -> None:
    subscribe("sub_dead", url="http://127.0.0.1:9/token-in-path")
    subscribe("sub_alive")
    handle(event(name))
    records = json.dumps(dynamodb.scan(TableName="DeliveryTable")["Items"])
    written = "\n".join(log) + records
    assert "sub_dead" in written
    for datum in ("9876543210", "doe", "1.1.1.1", "https://", "http://", "token-in-path", "whsec_"):
        assert datum not in written.lower()


def test_without_subscriptions_nothing_happens(
    handle: Callable[[Event], list[str]], dynamodb: DynamoDBClient, event: Any
) -> None:
    assert handle(event("fanout-several")) == []
    assert logged(dynamodb) == {}


def test_while_the_registry_is_down_the_whole_batch_comes_again(
    handle: Callable[[Event], list[str]],
    environment: pytest.MonkeyPatch,
    forget: Callable[[], None],
    event: Any,
) -> None:
    environment.setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:9")
    environment.setenv("AWS_MAX_ATTEMPTS", "1")
    forget()
    with pytest.raises(Exception, match="AWS"):
        handle(event("fanout-created"))
