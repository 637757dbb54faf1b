"""The operator's repair calls on moto: replay, recover, and the queues of what could not be done."""

import base64
import io
import json
import re
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError, EndpointConnectionError
from mypy_boto3_dynamodb import DynamoDBClient
from mypy_boto3_sqs import SQSClient

from checkout_recovery import wiring
from checkout_recovery.checkout.event import Event as CheckoutEvent
from checkout_recovery.checkout.event import EventType
from checkout_recovery.checkout.lifecycle import Checkout
from checkout_recovery.checkout.snapshot import Details, Snapshot
from checkout_recovery.delivery.plan import delivery_id
from checkout_recovery.errors import Unauthenticated
from checkout_recovery.queues import Purpose, RejectedEvents, RetryMessage
from checkout_recovery.subscriptions.circuit import Circuit
from checkout_recovery.subscriptions.store import ProviderSettings, Store, StoreSettings
from checkout_recovery.tables.deliveries import DeliveryRecord, State
from functions.ingest import app as ingest
from functions.manage.app import handler
from local.fixtures import OWN
from local.retake_fixtures import kept, retake_fixtures
from local.stream_fixtures import text_of
from tests.component.subscribing import subscribe_known
from tests.subscriptions import subscription

EVENTS = Path(__file__).parents[2] / "events"
NOW = datetime(2026, 5, 7, 10, tzinfo=UTC)
SUBSCRIPTION_ID, PAUSED_ID = "sub_01KQZK0S0G0000000000000000", "sub_01KQZK0S0G0000000000000001"
DELIVERY_ID = "dlv_019e01c6e9c0" + "0" * 20
SUBSCRIPTION = f"/v1/stores/my-store/subscriptions/{SUBSCRIPTION_ID}"
PAUSED = f"/v1/stores/my-store/subscriptions/{PAUSED_ID}"
SINCE = {"since": NOW.isoformat()}
ADMIN = {"scope": "admin", "store_id": ""}
STORE = {"scope": "store", "store_id": "my-store"}
OTHER = {"scope": "store", "store_id": "another-store"}
INGEST = "arn:aws:lambda:ap-south-1:000000000000:function:ingest:live"
LONG = "x" * 10_000
PHONE = "+919876543210"
CASHFREE_HEADERS = {"x-webhook-signature": "c2lnbmF0dXJl", "x-webhook-timestamp": "1778148001000"}
RUNBOOK = Path(__file__).parents[2] / "docs/runbook.md"

Event = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def body(self) -> Any:
        return json.loads(self.text)

    @property
    def fields(self) -> list[str]:
        """What a refusal names."""
        return [error["field"] for error in self.body.get("errors", ())]


Call = Callable[..., Answer]


def read(answer: Event) -> Answer:
    headers = answer.get("headers", {}) | {
        name: ", ".join(values) for name, values in answer.get("multiValueHeaders", {}).items()
    }
    return Answer(
        answer["statusCode"], {name.lower(): value for name, value in headers.items()}, answer["body"]
    )


@pytest.fixture
def call(aws: None, event: Callable[[str], Event], context: SimpleNamespace) -> Call:
    """Calls a route of the management API as the gateway would; as the operator unless said otherwise."""

    def send(
        method: str,
        path: str,
        body: object = None,
        caller: dict[str, str] | None = ADMIN,
        query: dict[str, str] | None = None,
    ) -> Answer:
        sent = event("manage-health")
        sent["rawPath"] = sent["requestContext"]["http"]["path"] = path
        sent["requestContext"]["http"]["method"] = method
        sent["requestContext"]["authorizer"] = {"lambda": caller} if caller else None
        sent["queryStringParameters"] = query or {}
        if body is not None:
            sent["body"] = json.dumps(body)
        return read(handler(sent, context))

    return send


@pytest.fixture
def store(aws: None) -> None:
    register("my-store")
    subscribe(SUBSCRIPTION_ID)


def register(store_id: str) -> None:
    wiring.registry().create_store(
        Store(
            store_id=store_id,
            settings=StoreSettings(),
            token_hash="0" * 64,
            providers={"flexype": ProviderSettings(configured_at=NOW, secret_version=1)},
            revision=1,
            created_at=NOW,
            updated_at=NOW,
        )
    )


def subscribe(subscription_id: str, store_id: str = "my-store", **fields: Any) -> None:
    subscribe_known(wiring.registry(), subscription(subscription_id, store_id=store_id, **fields))


def recorded(number: int, checkout_id: str = "", **fields: Any) -> str:
    """Writes an entry of the log, of an event `number` seconds after NOW, and returns its delivery's id."""
    event = CheckoutEvent(id=f"evt_{number}", type=EventType.CREATED, time=NOW + timedelta(seconds=number))
    known: dict[str, Any] = {
        "subscription_id": SUBSCRIPTION_ID,
        "delivery_id": delivery_id(event, SUBSCRIPTION_ID),
        "store_id": "my-store",
        "checkout_id": checkout_id or f"c_{number}",
        "event_id": event.id,
        "event_type": event.type.value,
        "sequence": 1,
        "state": State.EXHAUSTED,
        "attempts": 10,
        "reason": "http",
        "status": 500,
        "latency_ms": 20,
        "recorded_at": NOW,
        "expires_at": NOW + timedelta(days=400),
    }
    record = DeliveryRecord(**known | fields)
    wiring.deliveries().record([record])
    return record.delivery_id


class Queue:
    """A queue as a test sees it: whatever is in it, however late it is due."""

    def __init__(self, sqs: SQSClient, url: str) -> None:
        self._sqs = sqs
        self.url = url

    def put(self, body: object) -> None:
        text = body if isinstance(body, str) else json.dumps(body)
        self._sqs.send_message(QueueUrl=self.url, MessageBody=text)

    @property
    def bodies(self) -> list[str]:
        """What can be received at this moment; it can be again."""
        found = self._sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10, VisibilityTimeout=0)
        return [message["Body"] for message in found.get("Messages", [])]


@pytest.fixture
def sent(aws: None) -> Iterator[list[tuple[RetryMessage, int]]]:
    """Every message that is put into the RetryQueue from here on, with its delay in seconds."""
    made: list[tuple[RetryMessage, int]] = []

    def note(params: Any, **_: Any) -> None:
        made.extend(
            (RetryMessage.read(each["MessageBody"]), each["DelaySeconds"]) for each in params["Entries"]
        )

    boto3.setup_default_session()
    assert boto3.DEFAULT_SESSION
    boto3.DEFAULT_SESSION.events.register("provide-client-params.sqs.SendMessageBatch", note)
    yield made
    boto3.setup_default_session()


class Faults:
    """Has calls to AWS fail."""

    def __init__(self) -> None:
        self.errors: dict[str, Exception] = {}
        self.refused = 0

    def __call__(self, model: Any, **_: Any) -> None:
        if error := self.errors.get(model.name):
            raise error

    def refuse(self, parsed: Any, **_: Any) -> None:
        """Reports the last entries of a batch as refused."""
        entries = parsed.get("Successful", [])
        for _entry in range(min(self.refused, len(entries))):
            parsed.setdefault("Failed", []).append({"Id": entries.pop()["Id"], "SenderFault": False})


@pytest.fixture
def faults(sent: list[Any]) -> Faults:
    """Has to be asked for before what makes clients."""
    faults = Faults()
    assert boto3.DEFAULT_SESSION
    boto3.DEFAULT_SESSION.events.register("before-call", faults)
    boto3.DEFAULT_SESSION.events.register("after-call.sqs.SendMessageBatch", faults.refuse)
    return faults


def failure(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "moto says no"}}, "Any")


@pytest.fixture
def reads(sent: list[Any]) -> list[str]:
    """The stores whose part of the registry is read from here on, as often as it is."""
    stores: list[str] = []

    def note(params: Any, **_: Any) -> None:
        stores.extend(each["S"] for each in params["ExpressionAttributeValues"].values())

    assert boto3.DEFAULT_SESSION
    boto3.DEFAULT_SESSION.events.register("provide-client-params.dynamodb.Query", note)
    return stores


@pytest.fixture
def given_up(sqs: SQSClient) -> Queue:
    return Queue(sqs, wiring.settings().dead_letter_queue_url)


@pytest.fixture
def failed_batches(sqs: SQSClient) -> Queue:
    return Queue(sqs, wiring.settings().stream_dead_letter_queue_url)


@pytest.fixture
def rejected(sqs: SQSClient) -> Queue:
    return Queue(sqs, wiring.settings().rejected_events_queue_url)


@pytest.fixture
def ingesting(environment: pytest.MonkeyPatch, aws: None, context: SimpleNamespace) -> list[Event]:
    """Has what manage invokes run ingest's real handler; returns the payloads."""
    environment.setenv("INGEST_FUNCTION", INGEST)
    payloads: list[Event] = []

    def run(request: Any, **_: Any) -> AWSResponse:
        payloads.append(json.loads(request.body))
        told = json.dumps(ingest.handler(payloads[-1], context)).encode()
        return said(request.url, told)

    wiring.ingest_caller().meta.events.register_first("before-send.lambda.Invoke", run)  # type: ignore[arg-type] # it may answer
    return payloads


class Raw(io.BytesIO):
    """What botocore reads of a connection."""

    def stream(self, *_: Any, **__: Any) -> Iterator[bytes]:
        yield self.read()


def said(url: str, body: bytes, headers: dict[str, str] | None = None) -> AWSResponse:
    return AWSResponse(url, 200, headers or {}, Raw(body))  # type: ignore[arg-type] # what is read of it


def is_problem(answer: Answer) -> bool:
    return (
        answer.headers["content-type"] == "application/problem+json"
        and answer.body["status"] == answer.status
    )


# ---------------------------------------------------------------- every fixture


FIXTURES = {
    "replay": 202,
    "replay-unknown": 404,
    "replay-no-delivery-id": 404,
    "replay-paused": 409,
    "replay-other-store": 403,
    "recover": 202,
    "recover-all-given": 202,
    "recover-in-the-future": 202,
    "recover-no-since": 422,
    "recover-no-offset": 422,
    "recover-until-before-since": 422,
    "recover-delivered": 422,
    "recover-too-slowly": 422,
    "recover-foreign-cursor": 422,
    "recover-paused": 409,
    "recover-unknown-subscription": 404,
    "recover-other-store": 403,
    "list-stores": 200,
    "list-stores-as-store": 403,
    "list-stores-foreign-cursor": 422,
    "list-circuits": 200,
    "list-circuits-as-store": 403,
    "count-dead-letters": 200,
    "count-dead-letters-as-store": 403,
    "look-at-deliveries": 200,
    "look-at-stream": 200,
    "look-at-rejected": 200,
    "look-at-retry": 404,
    "look-at-rejected-as-store": 403,
    "look-at-deliveries-no-limit": 422,
    "requeue-deliveries": 200,
    "requeue-deliveries-of-store": 200,
    "requeue-stream": 200,
    "requeue-stream-of-store": 422,
    "requeue-rejected": 200,
    "requeue-rejected-discard": 200,
    "requeue-deliveries-discard": 422,
    "requeue-unknown": 404,
    "requeue-retry": 404,
    "requeue-too-many": 422,
    "requeue-as-store": 403,
}


@pytest.mark.parametrize(("name", "status"), FIXTURES.items())
def test_every_fixture_is_answered(
    store: None,
    given_up: Queue,
    failed_batches: Queue,
    rejected: Queue,
    event: Callable[[str], Event],
    context: SimpleNamespace,
    name: str,
    status: int,
) -> None:
    subscribe(PAUSED_ID, paused=True)
    recorded(0, delivery_id=DELIVERY_ID)
    recorded(0, subscription_id=PAUSED_ID, delivery_id=DELIVERY_ID)
    for queue in (given_up, failed_batches, rejected):
        queue.put("not a message")
    answer = read(handler(event("manage-" + name), context))
    assert answer.status == status, answer.text
    assert status < 400 or is_problem(answer)
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("name", sorted(retake_fixtures()))
def test_the_retake_fixtures_are_up_to_date(name: str) -> None:
    assert (EVENTS / f"{name}.json").read_text() == text_of(retake_fixtures()[name]), "run `make events`"
    assert {path.stem for path in EVENTS.glob("retake-*.json")} == set(retake_fixtures())


# ---------------------------------------------------------------- who may


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/stores"),
        ("GET", "/v1/circuits"),
        ("GET", "/v1/dead-letters"),
        ("GET", "/v1/dead-letters/rejected"),
        ("POST", "/v1/dead-letters/deliveries/requeue"),
    ],
)
@pytest.mark.parametrize(("caller", "status"), [(STORE, 403), (None, 401)])
def test_what_is_about_all_stores_is_the_operator_s(
    call: Call, store: None, method: str, path: str, caller: dict[str, str] | None, status: int
) -> None:
    assert call(method, path, caller=caller).status == status


@pytest.mark.parametrize(
    "path", [f"{SUBSCRIPTION}/recover", f"{SUBSCRIPTION}/deliveries/{DELIVERY_ID}/replay"]
)
@pytest.mark.parametrize(("caller", "status"), [(OTHER, 403), (None, 401), (STORE, 202), (ADMIN, 202)])
def test_a_store_repairs_its_own_deliveries_only(
    call: Call, store: None, path: str, caller: dict[str, str] | None, status: int
) -> None:
    recorded(0, delivery_id=DELIVERY_ID)
    assert call("POST", path, SINCE, caller).status == status


# ---------------------------------------------------------------- replay


def test_a_replay_is_queued_with_the_ids_of_the_log(
    call: Call, sent: list[tuple[RetryMessage, int]], store: None
) -> None:
    replayed = recorded(7, "gid://shop/Cart/50% café", state=State.DELIVERED)
    answer = call("POST", f"{SUBSCRIPTION}/deliveries/{replayed}/replay", caller=STORE)
    assert (answer.status, answer.body) == (202, {"delivery_id": replayed})
    ((message, delay),) = sent
    assert (message.purpose, message.attempts, message.reason) == (Purpose.REPLAY, 0, "replay")
    assert message.asked_at == message.not_before
    assert (message.delivery_id, message.checkout_id) == (replayed, "gid://shop/Cart/50% café")
    assert message.event_time == NOW + timedelta(seconds=7)
    assert delay == 0


@pytest.mark.parametrize("fields", [{"paused": True}, {"disabled_reason": "gone"}])
def test_nothing_is_sent_again_to_a_subscription_that_is_stopped(
    call: Call, sent: list[Any], store: None, fields: dict[str, Any]
) -> None:
    subscribe(PAUSED_ID, **fields)
    recorded(0, subscription_id=PAUSED_ID, delivery_id=DELIVERY_ID)
    assert call("POST", f"{PAUSED}/deliveries/{DELIVERY_ID}/replay").status == 409
    assert call("POST", f"{PAUSED}/recover", SINCE).status == 409
    assert sent == []


@pytest.mark.parametrize("name", ["dlv_1", LONG, "dlv_" + "f" * 32, "%2e%2e", "dlv_019E01C6E9C0" + "0" * 20])
def test_a_delivery_that_the_log_does_not_have_is_not_replayed(call: Call, store: None, name: str) -> None:
    assert call("POST", f"{SUBSCRIPTION}/deliveries/{name}/replay").status == 404


def test_a_delivery_of_another_subscription_is_not_replayed(call: Call, store: None) -> None:
    recorded(0, subscription_id=PAUSED_ID, delivery_id=DELIVERY_ID)
    assert call("POST", f"{SUBSCRIPTION}/deliveries/{DELIVERY_ID}/replay").status == 404


def test_a_replay_that_the_queue_refuses_is_asked_for_again(call: Call, faults: Faults, store: None) -> None:
    replayed = recorded(7)
    faults.refused = 1
    answer = call("POST", f"{SUBSCRIPTION}/deliveries/{replayed}/replay")
    assert answer.status == 503
    assert answer.headers["retry-after"] == "5"


# ---------------------------------------------------------------- recover


def test_what_failed_is_recovered_the_newest_first_and_at_its_rate(
    call: Call, sent: list[tuple[RetryMessage, int]], store: None
) -> None:
    failed = [recorded(number) for number in range(5)]
    recorded(5, state=State.DELIVERED)
    recorded(6, state=State.PENDING)
    recorded(-1)
    answer = call("POST", f"{SUBSCRIPTION}/recover", SINCE | {"per_second": 1}, STORE)
    assert (answer.status, answer.body) == (202, {"looked_at": 5, "queued": 5, "next_cursor": None})
    assert [message.delivery_id for message, _ in sent] == failed[::-1]
    assert {message.purpose for message, _ in sent} == {Purpose.RECOVER}
    assert {message.reason for message, _ in sent} == {"recover"}
    first = sent[0][0].not_before
    assert [(message.not_before - first).total_seconds() for message, _ in sent] == [0, 1, 2, 3, 4]
    assert [delay for _, delay in sent] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, [3, 2, 1]),
        ({"states": ["pending"]}, [4]),
        ({"states": ["expired", "expired"]}, [2]),
        ({"states": ["expired", "pending", "exhausted"]}, [4, 3, 2, 1]),
        ({"until": (NOW + timedelta(seconds=2)).isoformat()}, [2, 1]),
        ({"until": NOW.isoformat()}, []),
        ({"since": "2026-05-07T15:30:03+05:30"}, [3]),
        ({"since": "0001-01-01T00:00:00+14:00"}, [3, 2, 1]),
        ({"since": "9999-12-31T23:59:59-14:00"}, []),
        ({"cursor": f"dlv_{'f' * 32}.999999999999999", "until": "2026-05-07T10:00:02Z"}, [2, 1]),
        ({"cursor": f"dlv_{'0' * 32}"}, []),
    ],
)
def test_what_is_asked_for_is_recovered(
    call: Call, sent: list[tuple[RetryMessage, int]], store: None, asked: dict[str, Any], found: list[int]
) -> None:
    recorded(1)
    recorded(2, state=State.EXPIRED)
    recorded(3)
    recorded(4, state=State.PENDING)
    answer = call("POST", f"{SUBSCRIPTION}/recover", SINCE | asked)
    assert answer.status == 202, answer.text
    assert [message.event_id for message, _ in sent] == [f"evt_{number}" for number in found]


def test_what_came_while_the_subscription_was_stopped_is_recovered_and_what_was_held_back_is_not(
    call: Call, sent: list[tuple[RetryMessage, int]], store: None
) -> None:
    for number, reason in enumerate(("paused", "cooldown", "disabled", "consent", "no_checkout")):
        recorded(number, state=State.SUPPRESSED, reason=reason, attempts=0)
    answer = call("POST", f"{SUBSCRIPTION}/recover", SINCE)
    assert answer.body == {"looked_at": 2, "queued": 2, "next_cursor": None}
    assert [message.event_id for message, _ in sent] == ["evt_2", "evt_0"]


def test_a_checkout_is_recovered_once_however_many_of_its_events_failed(
    call: Call, sent: list[tuple[RetryMessage, int]], store: None
) -> None:
    for number in range(3):
        recorded(number, "c_1")
    newest = recorded(3, "c_1")
    recorded(4, "c_2")
    answer = call("POST", f"{SUBSCRIPTION}/recover", SINCE)
    assert (answer.body["looked_at"], answer.body["queued"]) == (5, 2)
    assert [message.checkout_id for message, _ in sent] == ["c_2", "c_1"]
    assert sent[1][0].delivery_id == newest


def test_calls_that_hand_on_the_cursor_recover_all_and_keep_to_the_rate_together(
    call: Call, sent: list[tuple[RetryMessage, int]], store: None
) -> None:
    failed = [recorded(number) for number in range(250)]
    asked: dict[str, Any] = SINCE | {"per_second": 2}
    calls = 0
    while calls == 0 or asked["cursor"]:
        answer = call("POST", f"{SUBSCRIPTION}/recover", asked).body
        asked |= {"cursor": answer["next_cursor"]}
        calls += 1
    assert calls == 3
    assert [message.delivery_id for message, _ in sent] == failed[::-1]
    times = [message.not_before for message, _ in sent]
    gaps = [(after - before).total_seconds() for before, after in pairwise(times)]
    assert all(0.49 <= gap <= 0.51 for gap in gaps)


def test_what_is_due_later_than_a_quarter_of_an_hour_hops(
    call: Call, sent: list[tuple[RetryMessage, int]], store: None
) -> None:
    recorded(1)
    ahead = int((datetime.now(UTC) + timedelta(hours=5)).timestamp() * 1000)
    call("POST", f"{SUBSCRIPTION}/recover", SINCE | {"cursor": f"dlv_{'f' * 32}.{ahead}"})
    ((message, delay),) = sent
    assert delay == 900
    assert message.not_before - datetime.now(UTC) > timedelta(hours=4, minutes=59)


def test_a_cursor_does_not_put_anything_off_for_more_than_a_week(
    call: Call, sent: list[tuple[RetryMessage, int]], store: None
) -> None:
    recorded(1)
    answer = call("POST", f"{SUBSCRIPTION}/recover", SINCE | {"cursor": f"dlv_{'f' * 32}.{'9' * 15}"})
    assert answer.status == 202
    assert sent[0][0].not_before - datetime.now(UTC) <= timedelta(days=7)


def test_the_cursor_stays_before_what_the_queue_refuses(
    call: Call, sent: list[tuple[RetryMessage, int]], faults: Faults, store: None
) -> None:
    failed = [recorded(number) for number in range(5)]
    faults.refused = 2
    first = call("POST", f"{SUBSCRIPTION}/recover", SINCE).body
    assert (first["looked_at"], first["queued"]) == (3, 3)
    faults.refused = 0
    sent.clear()
    second = call("POST", f"{SUBSCRIPTION}/recover", SINCE | {"cursor": first["next_cursor"]}).body
    assert second == {"looked_at": 2, "queued": 2, "next_cursor": None}
    assert [message.delivery_id for message, _ in sent] == [failed[1], failed[0]]


@pytest.mark.parametrize("operation", ["SendMessageBatch", "Query"])
def test_where_nothing_can_be_queued_the_same_call_is_to_be_made_again(
    call: Call, faults: Faults, store: None, operation: str
) -> None:
    recorded(1)
    faults.errors = {operation: EndpointConnectionError(endpoint_url="x")}
    assert call("POST", f"{SUBSCRIPTION}/recover", SINCE).status == 503


def test_recovering_twice_asks_for_the_same(
    call: Call, sent: list[tuple[RetryMessage, int]], store: None
) -> None:
    recorded(1)
    first, second = (call("POST", f"{SUBSCRIPTION}/recover", SINCE).body for _ in range(2))
    assert first == second
    assert sent[0][0].delivery_id == sent[1][0].delivery_id


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"since": None}, "since"),
        ({"since": 1778148000}, "since"),
        ({"since": "yesterday"}, "since"),
        ({"since": LONG}, "since"),
        ({"since": "2026-05-07"}, "since"),
        ({"until": "2026-05-07T09:59:59Z"}, "until"),
        ({"per_second": 0}, "per_second"),
        ({"per_second": 101}, "per_second"),
        ({"per_second": 1.5}, "per_second"),
        ({"per_second": True}, "per_second"),
        ({"states": []}, "states"),
        ({"states": ["delivered"]}, "states.0"),
        ({"states": "expired"}, "states"),
        ({"cursor": ""}, "cursor"),
        ({"cursor": "dlv_1"}, "cursor"),
        ({"cursor": f"dlv_{'0' * 32}."}, "cursor"),
        ({"cursor": f"dlv_{'0' * 32}.1\n"}, "cursor"),
        ({"cursor": f"dlv_{'0' * 32}.{'9' * 16}"}, "cursor"),
        ({"cursor": LONG}, "cursor"),
        ({"checkout_id": "c_1"}, "checkout_id"),
    ],
)
def test_what_cannot_be_recovered_is_named(
    call: Call, store: None, asked: dict[str, Any], field: str
) -> None:
    answer = call("POST", f"{SUBSCRIPTION}/recover", SINCE | asked)
    assert answer.status == 422
    assert answer.fields == [field]
    assert "yesterday" not in answer.text
    assert len(answer.text) < 1000


# ---------------------------------------------------------------- stores and circuits


def test_stores_come_in_pages_by_their_ids(call: Call, aws: None) -> None:
    names = [f"store-{number}" for number in range(5)]
    for name in names[::-1]:
        register(name)
        subscribe(f"sub_{name}", name)
    query = {"limit": "2"}
    listed: list[str] = []
    for _ in range(4):
        page = call("GET", "/v1/stores", query=query).body
        listed += [each["store_id"] for each in page["stores"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert listed == names


def test_the_list_of_stores_shows_what_one_store_s_call_shows(call: Call, store: None) -> None:
    (listed,) = call("GET", "/v1/stores").body["stores"]
    assert listed == call("GET", "/v1/stores/my-store").body


@pytest.mark.parametrize("cursor", ["#circuits", "../x", LONG, "a b"])
def test_a_cursor_that_is_no_store_is_refused(call: Call, store: None, cursor: str) -> None:
    assert call("GET", "/v1/stores", query={"cursor": cursor}).fields == ["cursor"]


def test_circuits_are_listed_the_longest_failing_first(call: Call, store: None) -> None:
    subscribe(PAUSED_ID)
    for subscription_id, minutes in ((SUBSCRIPTION_ID, 1), (PAUSED_ID, 5)):
        opened = Circuit.opened("my-store", subscription_id, NOW - timedelta(minutes=minutes))
        assert wiring.registry().put_circuit(None, opened)
    assert call("GET", "/v1/circuits").body == {
        "circuits": [
            {
                "store_id": "my-store",
                "subscription_id": PAUSED_ID,
                "failing_since": "2026-05-07T09:55:00Z",
                "probe_at": "2026-05-07T09:55:05Z",
            },
            {
                "store_id": "my-store",
                "subscription_id": SUBSCRIPTION_ID,
                "failing_since": "2026-05-07T09:59:00Z",
                "probe_at": "2026-05-07T09:59:05Z",
            },
        ]
    }


def test_a_subscription_says_since_when_its_receiver_fails(call: Call, store: None) -> None:
    subscribe(PAUSED_ID)
    opened = Circuit.opened("my-store", SUBSCRIPTION_ID, NOW)
    wiring.registry().put_circuit(None, opened)
    listed = call("GET", "/v1/stores/my-store/subscriptions").body["subscriptions"]
    assert [each["failing_since"] for each in listed] == ["2026-05-07T10:00:00Z", None]
    assert call("GET", SUBSCRIPTION).body["failing_since"] == "2026-05-07T10:00:00Z"
    assert call("PATCH", SUBSCRIPTION, {"paused": True}).body["failing_since"] == "2026-05-07T10:00:00Z"
    wiring.registry().close_circuit(opened)
    assert call("GET", SUBSCRIPTION).body["failing_since"] is None


# ---------------------------------------------------------------- dead letters: a look


def message(number: int = 0, **fields: Any) -> str:
    known: dict[str, Any] = {
        "store_id": "my-store",
        "checkout_id": f"c_{number}",
        "subscription_id": SUBSCRIPTION_ID,
        "delivery_id": f"dlv_{number:032x}",
        "event_id": f"evt_{number}",
        "event_type": EventType.ABANDONED,
        "event_time": NOW,
        "sequence": 2,
        "attempts": 10,
        "earlier": 1,
        "reason": "too_old",
        "not_before": NOW,
        "has_slot": True,
    }
    return RetryMessage(**known | fields).model_dump_json()


def test_each_queue_says_how_full_it_is(
    call: Call, given_up: Queue, rejected: Queue, sqs: SQSClient, aws: None
) -> None:
    for _ in range(3):
        given_up.put(message())
    sqs.receive_message(QueueUrl=given_up.url, MaxNumberOfMessages=1)
    rejected.put("{}")
    sqs.send_message(QueueUrl=wiring.settings().retry_queue_url, MessageBody="{}", DelaySeconds=600)
    assert call("GET", "/v1/dead-letters").body == {
        "queues": [
            {"name": "deliveries", "messages": 2, "in_flight": 1, "delayed": 0},
            {"name": "stream", "messages": 0, "in_flight": 0, "delayed": 0},
            {"name": "rejected", "messages": 1, "in_flight": 0, "delayed": 0},
            {"name": "retry", "messages": 0, "in_flight": 0, "delayed": 1},
        ]
    }


def shown(answer: Answer) -> list[dict[str, Any]]:
    """What a look shows, less what SQS made up."""
    assert answer.status == 200, answer.text
    return [
        {
            name: value
            for name, value in each.items()
            if value is not None and name not in ("message_id", "sent_at", "receives")
        }
        for each in answer.body["messages"]
    ]


def test_a_look_tells_what_a_delivery_that_was_given_up_is_about(call: Call, given_up: Queue) -> None:
    given_up.put(message(1))
    assert shown(call("GET", "/v1/dead-letters/deliveries")) == [
        {
            "readable": True,
            "reason": "too_old",
            "store_id": "my-store",
            "subscription_id": SUBSCRIPTION_ID,
            "delivery_id": f"dlv_{1:032x}",
            "checkout_id": "c_1",
            "event_type": "checkout.abandoned",
            "event_time": "2026-05-07T10:00:00Z",
            "attempts": 11,
        }
    ]


def test_a_look_tells_why_a_request_was_not_understood_and_nothing_that_it_said(
    call: Call, rejected: Queue, log: list[str]
) -> None:
    told = kept("checkouts", json.dumps({"phone": PHONE}).encode(), headers={"x-token": "sesame"})
    rejected.put(told)
    rejected.put(told | {"refused": "unauthenticated"})
    answer = call("GET", "/v1/dead-letters/rejected")
    first, second = sorted(shown(answer), key=lambda each: bool(each["refused"]))
    assert first == {
        "readable": True,
        "reason": "/problems/malformed-request",
        "store_id": "my-store",
        "source": "checkouts",
        "received_at": "2026-05-07T10:00:01Z",
        "fields": ["total_payable"],
        "refused": False,
    }
    assert second == first | {"refused": True}
    for secret in (PHONE, "sesame", told["body"], "x-token"):
        assert secret not in answer.text + "".join(log)


def test_a_look_tells_what_lambda_gave_up(call: Call, failed_batches: Queue) -> None:
    failed_batches.put(batch_failure("1", "2"))
    assert shown(call("GET", "/v1/dead-letters/stream")) == [
        {
            "readable": True,
            "reason": "RetryAttemptsExhausted",
            "writes": 1,
            "first_write_at": "2026-05-07T10:00:00Z",
        }
    ]


@pytest.mark.parametrize("queue", ["deliveries", "stream", "rejected"])
@pytest.mark.parametrize("body", ["", "{}", "[]", "null", "{" * 10_000, f'"{PHONE}"', '{"version": 2}'])
def test_of_a_message_that_is_none_of_ours_nothing_is_told(
    call: Call, given_up: Queue, failed_batches: Queue, rejected: Queue, queue: str, body: str
) -> None:
    queues = {"deliveries": given_up, "stream": failed_batches, "rejected": rejected}
    queues[queue].put(body or " ")
    answer = call("GET", f"/v1/dead-letters/{queue}")
    assert shown(answer) == [{"readable": False}]
    assert PHONE not in answer.text


def test_a_look_leaves_the_messages_where_they_are(call: Call, given_up: Queue) -> None:
    for number in range(25):
        given_up.put(message(number))
    looks = [call("GET", "/v1/dead-letters/deliveries", query={"limit": "20"}).body for _ in range(2)]
    assert [len(look["messages"]) for look in looks] == [20, 20]
    assert len({each["message_id"] for each in looks[0]["messages"]}) == 20
    assert call("GET", "/v1/dead-letters").body["queues"][0]["messages"] == 25


@pytest.mark.parametrize("name", ["retry", "letters", "Deliveries", LONG, "..", "deliveries "])
def test_there_are_no_other_queues_of_dead_letters(call: Call, aws: None, name: str) -> None:
    assert call("GET", f"/v1/dead-letters/{name}").status == 404
    assert call("POST", f"/v1/dead-letters/{name}/requeue").status == 404


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 101}, "limit"),
        ({"limit": "5"}, "limit"),
        ({"store_id": LONG}, "store_id"),
        ({"store_id": ""}, "store_id"),
        ({"store": "my-store"}, "store"),
        ({"discard_refused": 1}, "discard_refused"),
        ({"discard_refused": None}, "discard_refused"),
        ({"discard_refused": True}, "discard_refused"),
    ],
)
def test_what_cannot_be_requeued_is_named(call: Call, aws: None, asked: dict[str, Any], field: str) -> None:
    answer = call("POST", "/v1/dead-letters/deliveries/requeue", asked)
    assert (answer.status, answer.fields) == (422, [field])


# ---------------------------------------------------------------- dead letters: deliveries


def test_deliveries_are_requeued_to_be_sent_as_their_checkouts_stand(
    call: Call, sent: list[tuple[RetryMessage, int]], given_up: Queue
) -> None:
    for number in range(12):
        given_up.put(message(number))
    answer = call("POST", "/v1/dead-letters/deliveries/requeue")
    assert answer.body == {"requeued": 12, "kept": 0, "failed": 0, "discarded": 0, "left": 0, "detail": None}
    assert {message.checkout_id for message, _ in sent} == {f"c_{number}" for number in range(12)}
    assert {(each.purpose, each.attempts, each.earlier, each.has_slot) for each, _ in sent} == {
        (Purpose.RECOVER, 0, 11, False)
    }
    assert given_up.bodies == []


def test_no_more_than_the_limit_is_requeued(call: Call, sent: list[Any], given_up: Queue) -> None:
    for number in range(15):
        given_up.put(message(number))
    answer = call("POST", "/v1/dead-letters/deliveries/requeue", {"limit": 3})
    assert (answer.body["requeued"], answer.body["left"]) == (3, 12)
    assert len(sent) == 3
    assert len(given_up.bodies) == 10  # a receive's worth: they are not held


def test_a_broken_message_stays_and_is_counted(call: Call, sent: list[Any], given_up: Queue) -> None:
    given_up.put(f"no message, {PHONE}")
    given_up.put(message(1))
    answer = call("POST", "/v1/dead-letters/deliveries/requeue")
    assert answer.body == {
        "requeued": 1,
        "kept": 0,
        "failed": 1,
        "discarded": 0,
        "left": 1,
        "detail": "1: no message of this system",
    }
    assert given_up.bodies == [f"no message, {PHONE}"]


def test_messages_that_stay_are_in_no_other_s_way(call: Call, sent: list[Any], given_up: Queue) -> None:
    for _ in range(30):
        given_up.put("broken")
    given_up.put(message(1))
    answer = call("POST", "/v1/dead-letters/deliveries/requeue", {"limit": 1}).body
    assert (answer["requeued"], answer["failed"], answer["left"]) == (1, 30, 30)


def test_only_a_store_s_deliveries_are_requeued_where_one_is_named(
    call: Call, sent: list[tuple[RetryMessage, int]], given_up: Queue
) -> None:
    for number in range(15):
        given_up.put(message(number, store_id="another-store"))
    given_up.put(message(99))
    given_up.put("broken")
    answer = call("POST", "/v1/dead-letters/deliveries/requeue", {"store_id": "my-store", "limit": 5})
    assert answer.body == {"requeued": 1, "kept": 0, "failed": 0, "discarded": 0, "left": 16, "detail": None}
    assert [message.checkout_id for message, _ in sent] == ["c_99"]
    assert len(given_up.bodies) == 10  # the others' are not held


@pytest.mark.parametrize(
    ("stopped", "detail"),
    [
        ({"paused": True}, "2: its subscription is paused: it has to be resumed first"),
        ({"disabled_reason": "gone"}, "2: its subscription is disabled: it has to be resumed first"),
        (
            {"disabled_reason": "gone", "paused": True},
            "2: its subscription is disabled: it has to be resumed first",
        ),
    ],
)
def test_a_delivery_stays_while_its_subscription_is_stopped(
    call: Call,
    sent: list[tuple[RetryMessage, int]],
    given_up: Queue,
    store: None,
    stopped: dict[str, Any],
    detail: str,
) -> None:
    subscribe(PAUSED_ID, **stopped)
    kept_ones = [message(number, subscription_id=PAUSED_ID) for number in range(2)]
    for body in (*kept_ones, message(2)):
        given_up.put(body)
    answer = call("POST", "/v1/dead-letters/deliveries/requeue").body
    assert answer == {"requeued": 1, "kept": 2, "failed": 0, "discarded": 0, "left": 2, "detail": detail}
    assert [message.checkout_id for message, _ in sent] == ["c_2"]
    assert sorted(given_up.bodies) == kept_ones


def test_a_delivery_that_stayed_is_requeued_once_its_subscription_is_resumed(
    call: Call, sent: list[tuple[RetryMessage, int]], given_up: Queue, store: None
) -> None:
    subscribe(PAUSED_ID, disabled_reason="gone")
    given_up.put(message(1, subscription_id=PAUSED_ID))
    assert call("POST", "/v1/dead-letters/deliveries/requeue").body["kept"] == 1
    call("PATCH", PAUSED, {"paused": False})
    assert call("POST", "/v1/dead-letters/deliveries/requeue").body["requeued"] == 1
    assert len(sent) == 1


def test_a_requeue_reads_the_subscriptions_of_each_store_once(
    call: Call, reads: list[str], given_up: Queue, store: None
) -> None:
    for number in range(25):
        given_up.put(message(number, store_id=("my-store", "another-store")[number % 2]))
    assert call("POST", "/v1/dead-letters/deliveries/requeue").body["requeued"] == 25
    assert sorted(reads) == ["another-store", "my-store"]


def test_deliveries_stay_where_nobody_can_say_whether_their_subscription_is_stopped(
    call: Call, faults: Faults, sent: list[Any], given_up: Queue, store: None
) -> None:
    for number in range(3):
        given_up.put(message(number, store_id=f"store-{number}"))
    faults.errors = {"Query": failure("ThrottlingException")}
    answer = call("POST", "/v1/dead-letters/deliveries/requeue").body
    assert (answer["requeued"], answer["failed"], answer["left"]) == (0, 3, 3)
    assert answer["detail"] == "3: a part of AWS that is needed did not answer"
    assert sent == []


def test_what_the_queue_refuses_stays(call: Call, faults: Faults, given_up: Queue, store: None) -> None:
    for number in range(3):
        given_up.put(message(number))
    faults.refused = 2
    answer = call("POST", "/v1/dead-letters/deliveries/requeue").body
    assert (answer["requeued"], answer["failed"], answer["left"]) == (1, 2, 2)
    assert answer["detail"] == "2: the queue of deliveries did not take it"
    assert len(given_up.bodies) == 2


def test_a_message_that_cannot_be_deleted_is_only_done_again(
    call: Call, sent: list[Any], faults: Faults, given_up: Queue
) -> None:
    given_up.put(message(1))
    faults.errors = {"DeleteMessageBatch": EndpointConnectionError(endpoint_url="x")}
    assert call("POST", "/v1/dead-letters/deliveries/requeue").body["requeued"] == 1
    assert len(sent) == 1


@pytest.mark.parametrize("operation", ["GetQueueAttributes", "ReceiveMessage"])
@pytest.mark.parametrize("method", ["look", "requeue"])
def test_a_queue_that_does_not_answer_is_asked_again_later(
    call: Call, faults: Faults, aws: None, operation: str, method: str
) -> None:
    faults.errors = {operation: failure("ServiceUnavailable")}
    path = "/v1/dead-letters/deliveries"
    answer = call("GET", path) if method == "look" else call("POST", f"{path}/requeue")
    assert answer.status == 503


def test_near_its_end_a_call_begins_nothing_more(
    call: Call, sent: list[Any], given_up: Queue, context: SimpleNamespace
) -> None:
    given_up.put(message(1))
    context.get_remaining_time_in_millis = lambda: 10_000
    answer = call("POST", "/v1/dead-letters/deliveries/requeue").body
    assert (answer["requeued"], answer["left"]) == (0, 1)
    assert sent == []


# ---------------------------------------------------------------- dead letters: the stream


def batch_failure(start: str, end: str, **fields: Any) -> Event:
    """What Lambda sends to the destination of a batch that it gave up."""
    return {
        "requestContext": {
            "requestId": "c9b8fa9f-5a7f-xmpl-af9c-0c604cde93a5",
            "functionArn": "arn:aws:lambda:ap-south-1:000000000000:function:fanout:live",
            "condition": "RetryAttemptsExhausted",
            "approximateInvokeCount": 21,
        },
        "responseContext": {"statusCode": 200, "executedVersion": "1", "functionError": "Unhandled"},
        "version": "1.0",
        "timestamp": "2026-05-07T11:38:06.021Z",
        "DDBStreamBatchInfo": {
            "shardId": "shardId-00000001541626099285-f35f62ef",
            "startSequenceNumber": start,
            "endSequenceNumber": end,
            "approximateArrivalOfFirstRecord": "2026-05-07T10:00:00Z",
            "approximateArrivalOfLastRecord": "2026-05-07T10:00:00Z",
            "batchSize": 1,
            "streamArn": "arn:aws:dynamodb:ap-south-1:123456789012:table/CheckoutTable/stream/x",
        }
        | fields,
    }


def written(checkout_id: str, store_id: str = "my-store") -> Checkout:
    checkout = Checkout(store_id=store_id, checkout_id=checkout_id)
    told = checkout.apply(Snapshot(checkout_id=checkout_id), NOW, timedelta(minutes=15))
    assert isinstance(told, Checkout)
    wiring.checkouts().save(told, NOW + timedelta(days=90))
    return told


def last_batch(dynamodb: DynamoDBClient, writes: int, skipped: int = 0) -> Event:
    """A failed batch of the stream's last writes but for some."""
    arn = dynamodb.describe_table(TableName="CheckoutTable")["Table"]["LatestStreamArn"]
    streams = boto3.client("dynamodbstreams")
    (shard,) = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
    start = streams.get_shard_iterator(
        StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
    )
    records = streams.get_records(ShardIterator=start["ShardIterator"])["Records"]
    numbers = [record["dynamodb"]["SequenceNumber"] for record in records]
    batch = numbers[len(numbers) - writes - skipped : len(numbers) - skipped]
    return batch_failure(batch[0], batch[-1], shardId=shard["ShardId"], streamArn=arn, batchSize=len(batch))


def test_each_checkout_of_a_batch_is_sent_again_to_every_subscription_that_wants_it(
    call: Call,
    sent: list[tuple[RetryMessage, int]],
    store: None,
    failed_batches: Queue,
    dynamodb: DynamoDBClient,
) -> None:
    register("another-store")
    subscribe("sub_another", "another-store")
    subscribe(PAUSED_ID, events=(EventType.ABANDONED,))
    written("before")
    first, second = written("c_1"), written("c_2", "another-store")
    written("after")
    failed_batches.put(last_batch(dynamodb, writes=2, skipped=1))
    answer = call("POST", "/v1/dead-letters/stream/requeue")
    assert answer.body == {"requeued": 1, "kept": 0, "failed": 0, "discarded": 0, "left": 0, "detail": None}
    wanted = [(each.checkout_id, each.subscription_id, each.purpose, each.sequence) for each, _ in sent]
    assert sorted(wanted) == [
        ("c_1", SUBSCRIPTION_ID, Purpose.RECOVER, 1),
        ("c_2", "sub_another", Purpose.RECOVER, 1),
    ]
    assert first.event
    assert second.event
    assert {each.delivery_id for each, _ in sent} == {
        delivery_id(first.event, SUBSCRIPTION_ID),
        delivery_id(second.event, "sub_another"),
    }


def abandoned(before: Checkout) -> Checkout:
    """Told by a provider, and by us to whoever wants it."""
    told = Snapshot(checkout_id=before.checkout_id, details=before.details, abandoned=True)
    after = before.apply(told, NOW, timedelta(1))
    assert isinstance(after, Checkout)
    return after.model_copy(update={"told_at": NOW})


def test_a_checkout_is_sent_as_it_stands_and_one_that_is_gone_is_not(
    call: Call,
    sent: list[tuple[RetryMessage, int]],
    store: None,
    failed_batches: Queue,
    dynamodb: DynamoDBClient,
) -> None:
    first = written("c_1")
    written("c_2")
    failed_batches.put(last_batch(dynamodb, writes=2))
    later = abandoned(first)
    wiring.checkouts().save(later, NOW + timedelta(days=90))
    dynamodb.delete_item(TableName="CheckoutTable", Key=wiring.checkouts().key("my-store", "c_2"))
    assert call("POST", "/v1/dead-letters/stream/requeue").body["requeued"] == 1
    assert [(each.checkout_id, each.event_type) for each, _ in sent] == [("c_1", EventType.ABANDONED)]


def test_an_abandonment_that_only_late_details_followed_is_sent_to_who_hears_nothing_else(
    call: Call,
    sent: list[tuple[RetryMessage, int]],
    store: None,
    failed_batches: Queue,
    dynamodb: DynamoDBClient,
) -> None:
    subscribe(PAUSED_ID, events=(EventType.ABANDONED,))
    first = written("c_1")
    left = abandoned(first)
    wiring.checkouts().save(left, NOW + timedelta(days=90))
    late = Snapshot(checkout_id="c_1", event_time=NOW - timedelta(days=1), details=Details(name="Asha"))
    filled_in = left.apply(late, NOW, timedelta(1))
    assert isinstance(filled_in, Checkout)
    assert filled_in.event
    assert filled_in.event.type is EventType.UPDATED
    wiring.checkouts().save(filled_in, NOW + timedelta(days=90))
    failed_batches.put(last_batch(dynamodb, writes=2))
    assert call("POST", "/v1/dead-letters/stream/requeue").body["requeued"] == 1
    assert {(each.subscription_id, each.event_type) for each, _ in sent} == {
        (SUBSCRIPTION_ID, EventType.UPDATED),
        (PAUSED_ID, EventType.ABANDONED),
    }


@pytest.mark.parametrize("operation", ["GetShardIterator", "GetRecords"])
@pytest.mark.parametrize("code", ["TrimmedDataAccessException", "ResourceNotFoundException"])
def test_a_batch_that_the_stream_no_longer_has_stays_and_the_answer_says_so(
    call: Call,
    sent: list[Any],
    faults: Faults,
    store: None,
    failed_batches: Queue,
    dynamodb: DynamoDBClient,
    operation: str,
    code: str,
) -> None:
    written("c_1")
    failed_batches.put(last_batch(dynamodb, writes=1))
    faults.errors = {operation: failure(code)}
    answer = call("POST", "/v1/dead-letters/stream/requeue").body
    assert (answer["requeued"], answer["failed"], answer["left"]) == (0, 1, 1)
    assert "24 hours" in answer["detail"]
    assert sent == []
    assert len(failed_batches.bodies) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"startSequenceNumber": "x"},
        {"endSequenceNumber": ""},
        {"shardId": "../x"},
        {"shardId": None},
        {"batchSize": 0},
        {"streamArn": 5},
    ],
)
def test_a_failed_batch_that_lambda_did_not_write_stays(
    call: Call, sent: list[Any], failed_batches: Queue, fields: dict[str, Any]
) -> None:
    failed_batches.put(batch_failure("1", "2", **fields))
    answer = call("POST", "/v1/dead-letters/stream/requeue").body
    assert (answer["failed"], answer["detail"]) == (1, "1: no message of this system")


def test_a_batch_of_another_table_s_stream_is_not_read(
    call: Call, calls: list[str], failed_batches: Queue
) -> None:
    other = "arn:aws:dynamodb:ap-south-1:123456789012:table/AnotherTable/stream/x"
    failed_batches.put(batch_failure("1", "2", streamArn=other))
    assert call("POST", "/v1/dead-letters/stream/requeue").body["failed"] == 1
    assert not {"GetShardIterator", "GetRecords"} & set(calls)


def test_a_batch_whose_end_does_not_come_stays(
    call: Call, sent: list[Any], store: None, failed_batches: Queue, dynamodb: DynamoDBClient
) -> None:
    written("c_1")
    batch = last_batch(dynamodb, writes=1)
    batch["DDBStreamBatchInfo"]["endSequenceNumber"] += "0"
    failed_batches.put(batch)
    answer = call("POST", "/v1/dead-letters/stream/requeue").body
    assert (answer["failed"], answer["left"]) == (1, 1)


def test_a_batch_stays_where_not_all_of_it_is_queued(
    call: Call, faults: Faults, store: None, failed_batches: Queue, dynamodb: DynamoDBClient
) -> None:
    written("c_1")
    written("c_2")
    failed_batches.put(last_batch(dynamodb, writes=2))
    faults.refused = 1
    answer = call("POST", "/v1/dead-letters/stream/requeue").body
    assert (answer["requeued"], answer["failed"], answer["left"]) == (0, 1, 1)


def test_a_batch_with_a_checkout_that_cannot_be_read_stays(
    call: Call,
    sent: list[tuple[RetryMessage, int]],
    store: None,
    failed_batches: Queue,
    dynamodb: DynamoDBClient,
) -> None:
    written("c_1")
    written("c_2")
    failed_batches.put(last_batch(dynamodb, writes=2))
    key = wiring.checkouts().key("my-store", "c_2")
    dynamodb.put_item(TableName="CheckoutTable", Item=key | {"data": {"S": "{"}})
    answer = call("POST", "/v1/dead-letters/stream/requeue").body
    assert (answer["failed"], answer["detail"]) == (1, "1: a checkout of the batch cannot be read")
    assert [each.checkout_id for each, _ in sent] == ["c_1"]


# ---------------------------------------------------------------- dead letters: rejected requests


def stored(checkout_id: str) -> Checkout:
    return wiring.checkouts().load("my-store", checkout_id)


def own(checkout_id: str, **fields: Any) -> bytes:
    return json.dumps({"checkout_id": checkout_id} | fields).encode()


def test_a_request_that_is_understood_by_now_is_taken_in(
    call: Call, ingesting: list[Event], store: None, rejected: Queue, log: list[str]
) -> None:
    rejected.put(kept("checkouts", own("c_1", phone=PHONE)))
    answer = call("POST", "/v1/dead-letters/rejected/requeue")
    assert answer.body == {"requeued": 1, "kept": 0, "failed": 0, "discarded": 0, "left": 0, "detail": None}
    assert stored("c_1").sequence == 1
    assert [payload.keys() for payload in ingesting] == [{"rejected"}]
    assert PHONE.removeprefix("+91") not in "".join(log)


def test_a_request_that_is_still_not_understood_is_kept_and_not_kept_twice(
    call: Call, ingesting: list[Event], store: None, rejected: Queue
) -> None:
    rejected.put(kept("checkouts", own("c_1", total_payable=1)))
    answer = call("POST", "/v1/dead-letters/rejected/requeue").body
    assert answer == {
        "requeued": 0,
        "kept": 1,
        "failed": 0,
        "discarded": 0,
        "left": 1,
        "detail": "1: still not understood",
    }
    assert len(rejected.bodies) == 1
    assert stored("c_1").sequence == 0


@pytest.mark.parametrize("mark", ["unauthenticated", True, False, None, {}])
def test_a_request_that_was_refused_is_never_taken_in(
    call: Call, ingesting: list[Event], store: None, rejected: Queue, mark: object
) -> None:
    rejected.put(kept("checkouts", own("c_1"), refused=mark))
    answer = call("POST", "/v1/dead-letters/rejected/requeue").body
    assert (answer["requeued"], answer["kept"], answer["left"]) == (0, 1, 1)
    assert ingesting == []
    assert stored("c_1").sequence == 0


def test_only_a_store_s_requests_are_taken_in_where_one_is_named(
    call: Call, ingesting: list[Event], store: None, rejected: Queue
) -> None:
    register("another-store")
    rejected.put(kept("checkouts", own("c_1")))
    rejected.put(kept("checkouts", own("c_2"), store_id="another-store"))
    answer = call("POST", "/v1/dead-letters/rejected/requeue", {"store_id": "another-store"}).body
    assert (answer["requeued"], answer["left"]) == (1, 1)
    assert wiring.checkouts().load("another-store", "c_2").sequence == 1
    assert stored("c_1").sequence == 0


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b'{"errorMessage": "Task timed out"}', {"X-Amz-Function-Error": "Unhandled"}),
        (b'{"understood": false, "problem": "/problems/unavailable"}', {}),
        (b"null", {}),
    ],
)
def test_a_request_stays_where_ingest_fails(
    environment: pytest.MonkeyPatch, call: Call, rejected: Queue, body: bytes, headers: dict[str, str]
) -> None:
    environment.setenv("INGEST_FUNCTION", INGEST)
    wiring.ingest_caller().meta.events.register_first(
        "before-send.lambda.Invoke",
        lambda request, **_: said(request.url, body, headers),  # type: ignore[arg-type] # it may answer
    )
    rejected.put(kept("checkouts", own("c_1")))
    answer = call("POST", "/v1/dead-letters/rejected/requeue").body
    assert (answer["requeued"], answer["failed"], answer["left"]) == (0, 1, 1)
    assert answer["detail"] == "1: a part of AWS that is needed did not answer"


@pytest.mark.parametrize("code", ["TooManyRequestsException", "ServiceUnavailable"])
def test_a_request_stays_where_ingest_cannot_be_invoked(
    environment: pytest.MonkeyPatch, call: Call, faults: Faults, rejected: Queue, code: str
) -> None:
    environment.setenv("INGEST_FUNCTION", INGEST)
    faults.errors = {"Invoke": failure(code)}
    rejected.put(kept("checkouts", own("c_1")))
    answer = call("POST", "/v1/dead-letters/rejected/requeue").body
    assert (answer["requeued"], answer["failed"], answer["left"]) == (0, 1, 1)


# ---------------------------------------------------------------- captured requests


Capture = Callable[..., None]


@pytest.fixture
def capture(sqs: SQSClient) -> Capture:
    """Has a request captured, of `my-store` unless said otherwise."""
    kept_requests = RejectedEvents(sqs, wiring.settings().rejected_events_queue_url)

    def keep(checkout_id: str, store_id: str = "my-store") -> None:
        body = own(checkout_id, phone=PHONE)
        kept_requests.capture("cashfree", store_id, CASHFREE_HEADERS, body, Unauthenticated(), NOW)

    return keep


def test_captured_requests_and_own_calls_are_discarded_and_all_others_stay(
    call: Call, capture: Capture, ingesting: list[Event], store: None, rejected: Queue
) -> None:
    for number in range(3):
        capture(f"c_{number}")
    others = [json.dumps(kept("flexype", own("c_9"))), f"no message, {PHONE}"]
    for body in (*others, json.dumps(kept("orders", own("c_8")))):
        rejected.put(body)
    answer = call("POST", "/v1/dead-letters/rejected/requeue", {"discard_refused": True})
    assert answer.body == {
        "requeued": 0,
        "kept": 2,
        "failed": 0,
        "discarded": 4,
        "left": 2,
        "detail": "2: a provider's request, or one that cannot be read",
    }
    assert sorted(rejected.bodies) == sorted(others)
    assert ingesting == []


@pytest.mark.parametrize("mark", ["unauthenticated", True, False, None, {}])
def test_whatever_is_marked_refused_can_be_discarded(
    call: Call, store: None, rejected: Queue, mark: object
) -> None:
    rejected.put(kept("flexype", own("c_1"), refused=mark))
    answer = call("POST", "/v1/dead-letters/rejected/requeue", {"discard_refused": True}).body
    assert (answer["discarded"], answer["left"]) == (1, 0)
    assert rejected.bodies == []


def test_no_more_captured_requests_are_discarded_than_asked_and_only_those_of_the_store(
    call: Call, capture: Capture, store: None, rejected: Queue
) -> None:
    for number in range(3):
        capture(f"c_{number}")
        capture(f"c_{number}", "another-store")
    asked = {"discard_refused": True, "store_id": "another-store"}
    answer = call("POST", "/v1/dead-letters/rejected/requeue", asked | {"limit": 2}).body
    assert (answer["discarded"], answer["kept"], answer["left"]) == (2, 0, 4)
    answer = call("POST", "/v1/dead-letters/rejected/requeue", asked).body
    assert (answer["discarded"], answer["kept"], answer["left"]) == (1, 0, 3)
    assert {json.loads(body)["store_id"] for body in rejected.bodies} == {"my-store"}


def test_a_captured_request_that_cannot_be_deleted_does_not_count_as_discarded(
    call: Call, faults: Faults, capture: Capture, store: None, rejected: Queue
) -> None:
    capture("c_1")
    faults.errors = {"DeleteMessageBatch": EndpointConnectionError(endpoint_url="x")}
    answer = call("POST", "/v1/dead-letters/rejected/requeue", {"discard_refused": True}).body
    assert (answer["discarded"], answer["failed"], answer["left"]) == (0, 1, 1)
    assert answer["detail"] == "1: the queue did not delete it"


def test_a_requeue_that_does_not_say_so_discards_nothing(
    call: Call, capture: Capture, ingesting: list[Event], store: None, rejected: Queue
) -> None:
    capture("c_1")
    answer = call("POST", "/v1/dead-letters/rejected/requeue", {"discard_refused": False}).body
    assert (answer["discarded"], answer["kept"], answer["left"]) == (0, 1, 1)


def test_the_runbook_s_lines_write_a_captured_request_to_files(
    capture: Capture, store: None, rejected: Queue, sqs: SQSClient, tmp_path: Path
) -> None:
    rejected.put(kept("checkouts", own("c_9")))
    capture("c_1")
    received = sqs.receive_message(QueueUrl=rejected.url, MaxNumberOfMessages=10, VisibilityTimeout=0)
    (tmp_path / "captured.json").write_text(json.dumps({"Messages": received["Messages"]}))
    (lines,) = re.findall(r"```python\n(.*?)```", RUNBOOK.read_text(), re.DOTALL)
    run = [sys.executable, "-c", lines]
    told = subprocess.run(run, cwd=tmp_path, check=True, capture_output=True)  # noqa: S603 - our own runbook's
    assert (tmp_path / "body.bin").read_bytes() == own("c_1", phone=PHONE)
    assert json.loads((tmp_path / "headers.json").read_text()) == CASHFREE_HEADERS
    assert told.stdout.decode().split() == ["my-store", NOW.isoformat()]


# ---------------------------------------------------------------- a kept request, in ingest


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("retake-checkouts", None),
        ("retake-orders", None),
        ("retake-flexype", None),
        ("retake-not-understood", "/problems/malformed-request"),
        ("retake-refused", "broken"),
        ("retake-unknown-store", "/problems/not-found"),
        ("retake-unknown-source", "/problems/not-found"),
        ("retake-body-not-packed", "broken"),
    ],
)
def test_ingest_says_whether_a_kept_request_is_understood(
    store: None,
    rejected: Queue,
    event: Callable[[str], Event],
    context: SimpleNamespace,
    name: str,
    problem: str | None,
) -> None:
    told = ingest.handler(event(name), context)
    assert told == {"understood": problem is None, "problem": problem}
    assert rejected.bodies == []


@pytest.mark.parametrize(
    "message",
    [
        None,
        [],
        "text",
        {},
        kept("checkouts", own("c_1")) | {"version": 2},
        kept("checkouts", own("c_1")) | {"received_at": "2026-05-07T10:00:00"},
        kept("checkouts", own("c_1")) | {"headers": None},
        kept("checkouts", own("c_1")) | {"body": "é"},
        kept("checkouts", own("c_1")) | {"body_encoding": "plain"},
        kept("checkouts", own("c_1"), refused=None),
        kept("checkouts", b" " * 300_000),
        kept("checkouts", b"") | {"body": base64.b64encode(zlib.compress(b"{}")[:-1]).decode()},
    ],
)
def test_ingest_takes_nothing_in_that_was_not_kept_so(
    store: None, context: SimpleNamespace, message: object
) -> None:
    told = ingest.handler({"rejected": message}, context)
    assert told == {"understood": False, "problem": "broken"}
    assert stored("c_1").sequence == 0


def test_what_a_kept_request_says_without_a_date_it_said_when_it_came(
    store: None, context: SimpleNamespace
) -> None:
    later = NOW + timedelta(hours=1)
    newer = Snapshot(checkout_id="c_1", event_time=later, details=Details(name="Newer", email="a@b.example"))
    checkout = stored("c_1").apply(newer, later, timedelta(minutes=15))
    assert isinstance(checkout, Checkout)
    wiring.checkouts().save(checkout, NOW + timedelta(days=90))
    message = kept("checkouts", own("c_1", name="Older", phone=PHONE))
    assert ingest.handler({"rejected": message}, context)["understood"]
    assert stored("c_1").details.name == "Newer"
    assert stored("c_1").details.phone is not None


@pytest.mark.parametrize("where", ["body", "query", "headers", "path", "context", "beside"])
def test_no_request_through_the_gateway_is_taken_for_a_kept_one(
    store: None, rejected: Queue, event: Callable[[str], Event], context: SimpleNamespace, where: str
) -> None:
    request = event("ingest-checkouts-full")
    request["requestContext"]["authorizer"] = {"lambda": OTHER}
    message = event("retake-checkouts")["rejected"]
    text = json.dumps({"rejected": message})
    match where:
        case "body":
            request |= {"body": text, "isBase64Encoded": False}
        case "query":
            request |= {"queryStringParameters": {"rejected": text}, "rawQueryString": f"rejected={text}"}
        case "headers":
            request["headers"]["rejected"] = text
        case "path":
            request["pathParameters"] = {"rejected": text}
        case "context":
            request["requestContext"]["rejected"] = message
        case "beside":
            request["rejected"] = message
    answer = ingest.handler(request, context)
    assert answer["statusCode"] == 401
    assert stored(OWN["checkout_id"]).sequence == 0
