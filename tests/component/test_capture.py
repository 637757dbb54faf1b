"""Refused requests captured: a few, of one store, for an hour, so that a provider's recipe can be settled."""

import base64
import json
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from mypy_boto3_dynamodb import DynamoDBClient
from mypy_boto3_sqs import SQSClient

from checkout_recovery import wiring
from checkout_recovery.errors import BrokenRecord, NotFound
from checkout_recovery.queues import MAX_REFUSED_BYTES, RejectedRequest, form_of
from checkout_recovery.secrets import Secret, provider_secret
from checkout_recovery.signing import Recipe, sign
from checkout_recovery.subscriptions.store import ProviderSettings, Store, StoreSettings
from checkout_recovery.tables.captures import LENGTH, OFF, REQUESTS, Captures
from functions.ingest.app import handler as ingest
from functions.manage.app import handler as manage
from local.fixtures import CASHFREE, DOMAINS, SECRET, STORE_ID, Fixture, cashfree, flexype
from local.samples import FLEXYPE_2026_05

ANOTHER = "test_secret_of_another"
SIGNED_AT = "1746427759733"
NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)

Event = dict[str, Any]
Call = Callable[..., Event]


@pytest.fixture
def store(aws: None) -> None:
    register(STORE_ID)


def register(store_id: str) -> None:
    agreed = ProviderSettings(configured_at=NOW, secret_version=1)
    wiring.registry().create_store(
        Store(
            store_id=store_id,
            settings=StoreSettings(domains=list(DOMAINS)),
            token_hash="0" * 64,
            providers={"cashfree": agreed, "flexype": agreed},
            revision=1,
            created_at=NOW,
            updated_at=NOW,
        )
    )
    for provider in ("cashfree", "flexype"):
        wiring.secrets().put(provider_secret(store_id, provider), Secret((SECRET,), version=1))


@pytest.fixture
def call(store: None, event: Callable[[str], Event], context: SimpleNamespace) -> Call:
    """Calls manage about the store's capture, and reads its answer."""

    def send(method: str, scope: str = "admin", store_id: str = STORE_ID) -> Event:
        sent = event("manage-get-checkout")
        sent["rawPath"] = sent["requestContext"]["http"]["path"] = f"/v1/stores/{store_id}/capture"
        sent["requestContext"]["http"]["method"] = method
        sent["requestContext"]["authorizer"] = {"lambda": {"scope": scope, "store_id": store_id}}
        answer = manage(sent, context)
        return {"status": answer["statusCode"], "body": json.loads(answer["body"])}

    return send


@pytest.fixture
def deliver(store: None, context: SimpleNamespace) -> Callable[[Fixture], int]:
    """Sends a provider's request, and returns the status of its answer."""
    return lambda fixture: int(ingest(fixture.event, context)["statusCode"])


def kept(sqs: SQSClient) -> list[Event]:
    url = sqs.get_queue_url(QueueName="RejectedEventsQueue")["QueueUrl"]
    found: list[Event] = []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        found += [json.loads(message["Body"]) for message in messages]
    return found


def body_of(message: Event) -> bytes:
    return zlib.decompress(base64.b64decode(message["body"]))


def signed_otherwise() -> Fixture:
    """Cashfree's request, signed by another recipe than was agreed."""
    body = json.dumps(CASHFREE, default=str).encode()
    return cashfree(
        "any",
        body,
        x_webhook_signature=sign(Recipe.HEX_TIMESTAMP_BODY, SECRET, body, SIGNED_AT),
        x_webhook_timestamp=SIGNED_AT,
    )


# ---------------------------------------------------------------- what is kept


def test_the_recipe_can_be_settled_by_what_was_captured(
    call: Call, deliver: Callable[[Fixture], int], sqs: SQSClient
) -> None:
    call("PUT")
    assert deliver(signed_otherwise()) == 401
    (message,) = kept(sqs)
    headers, body = message["headers"], body_of(message)
    fitting = [
        recipe
        for recipe in Recipe
        if sign(recipe, SECRET, body, headers["x-webhook-timestamp"]) == headers["x-webhook-signature"]
    ]
    assert fitting == [Recipe.HEX_TIMESTAMP_BODY]
    assert message["credential_forms"] == {"x-webhook-signature": "hex, 64 characters"}


def test_a_captured_request_is_marked_so_that_nobody_applies_it(
    call: Call, deliver: Callable[[Fixture], int], sqs: SQSClient
) -> None:
    call("PUT")
    deliver(signed_otherwise())
    (message,) = kept(sqs)
    assert message["refused"] is True
    assert (message["source"], message["store_id"]) == ("cashfree", STORE_ID)
    assert message["problem"]["type"] == "/problems/unauthenticated"
    with pytest.raises(BrokenRecord):
        wiring.ingest().from_kept(RejectedRequest.read(message), NOW)


def test_a_secret_that_is_sent_as_it_is_is_not_kept(
    call: Call, deliver: Callable[[Fixture], int], sqs: SQSClient
) -> None:
    call("PUT")
    sent = flexype(
        "any",
        FLEXYPE_2026_05,
        x_flexype_authorization=ANOTHER,
        authorization="Bearer abc",
        cookie="session=def",
        proxy_authorization="Basic ghi",
    )
    assert deliver(sent) == 401
    (message,) = kept(sqs)
    assert message["credential_forms"] == {
        "authorization": "scheme and value, 10 characters",
        "cookie": "scheme and value, 11 characters",
        "x-flexype-authorization": f"base64url, {len(ANOTHER)} characters",
    }
    assert not {"authorization", "cookie", "proxy-authorization"} & message["headers"].keys()
    assert not [secret for secret in (ANOTHER, "abc", "def", "ghi") if secret in json.dumps(message)]


def test_a_body_too_large_for_a_message_is_left_out_and_the_rest_kept(
    call: Call, deliver: Callable[[Fixture], int], sqs: SQSClient
) -> None:
    call("PUT")
    noise = b"".join(
        sign(Recipe.BASE64_BODY, SECRET, str(number).encode()).encode() for number in range(5900)
    )
    assert deliver(cashfree("any", noise, x_webhook_signature="x")) == 401
    (message,) = kept(sqs)
    assert (message["body"], message["body_bytes"]) == ("", len(noise))
    assert len(json.dumps(message)) < MAX_REFUSED_BYTES


# ---------------------------------------------------------------- how many, how long, whose


def test_nothing_is_kept_unless_it_is_asked_for(
    deliver: Callable[[Fixture], int], sqs: SQSClient, forget: Callable[[], None], calls: list[str]
) -> None:
    forget()
    deliver(signed_otherwise())
    calls.clear()
    assert deliver(signed_otherwise()) == 401
    assert calls == ["GetItem"], "the store's own, as ever before a refusal"
    assert kept(sqs) == []


def test_ten_are_kept_of_a_flood(call: Call, deliver: Callable[[Fixture], int], sqs: SQSClient) -> None:
    call("PUT")
    assert {deliver(signed_otherwise()) for _ in range(REQUESTS + 5)} == {401}
    assert call("GET")["body"]["left"] == 0
    assert len(kept(sqs)) == REQUESTS


def test_a_capture_that_is_started_again_begins_anew(
    call: Call, deliver: Callable[[Fixture], int], sqs: SQSClient
) -> None:
    call("PUT")
    deliver(signed_otherwise())
    assert call("GET")["body"]["left"] == REQUESTS - 1
    assert call("PUT")["body"]["left"] == REQUESTS


def test_a_capture_that_is_stopped_keeps_nothing_more(
    call: Call, deliver: Callable[[Fixture], int], sqs: SQSClient
) -> None:
    call("PUT")
    assert call("DELETE")["body"] == {"until": None, "left": 0}
    deliver(signed_otherwise())
    assert kept(sqs) == []
    assert call("GET")["body"] == {"until": None, "left": 0}


def test_a_capture_ends_by_itself(dynamodb: DynamoDBClient, store: None) -> None:
    captures = Captures(dynamodb, "RegistryTable")
    captures.start(STORE_ID, NOW)
    assert captures.get(STORE_ID, NOW + LENGTH - timedelta(seconds=1)).left == REQUESTS
    assert captures.get(STORE_ID, NOW + LENGTH) == OFF
    assert not captures.take(STORE_ID, NOW + LENGTH)
    known = wiring.registry().store(STORE_ID)
    assert known
    assert [known.is_captured(NOW + LENGTH - timedelta(seconds=1)), known.is_captured(NOW + LENGTH)] == [
        True,
        False,
    ]


def test_a_capture_is_one_stores(call: Call, deliver: Callable[[Fixture], int], sqs: SQSClient) -> None:
    register("another-store")
    call("PUT", store_id="another-store")
    deliver(signed_otherwise())
    assert kept(sqs) == []
    assert call("GET", store_id="another-store")["body"]["left"] == REQUESTS


def test_an_unknown_store_is_refused_as_ever_and_not_captured(
    call: Call, deliver: Callable[[Fixture], int], sqs: SQSClient
) -> None:
    assert call("PUT", store_id="no-such-store")["status"] == 404
    assert deliver(flexype("any", FLEXYPE_2026_05, store_id="no-such-store")) == 401
    assert kept(sqs) == []


def test_what_is_authentic_is_taken_in_and_not_captured(
    call: Call, deliver: Callable[[Fixture], int], sqs: SQSClient
) -> None:
    call("PUT")
    assert deliver(cashfree("any", CASHFREE)) == 200
    assert kept(sqs) == []
    assert call("GET")["body"]["left"] == REQUESTS


@pytest.mark.parametrize(
    ("name", "status"),
    [("start-capture", 200), ("get-capture", 200), ("stop-capture", 200), ("start-capture-as-store", 403)],
)
def test_every_fixture_is_answered(
    store: None, event: Callable[[str], Event], context: SimpleNamespace, name: str, status: int
) -> None:
    assert manage(event("manage-" + name), context)["statusCode"] == status


@pytest.mark.parametrize("method", ["PUT", "GET", "DELETE"])
def test_only_the_operator_captures(call: Call, method: str) -> None:
    assert call(method, scope="store")["status"] == 403


@pytest.mark.parametrize("method", ["PUT", "GET", "DELETE"])
def test_there_is_no_capture_of_a_store_that_is_not_there(call: Call, method: str) -> None:
    assert call(method, store_id="no-such-store")["status"] == 404


def test_a_queue_that_does_not_answer_leaves_the_request_refused(
    call: Call,
    deliver: Callable[[Fixture], int],
    environment: pytest.MonkeyPatch,
    forget: Callable[[], None],
    log: list[str],
) -> None:
    call("PUT")
    environment.setenv("AWS_ENDPOINT_URL_SQS", "http://127.0.0.1:9")
    environment.setenv("REJECTED_EVENTS_QUEUE_URL", "http://127.0.0.1:9/queue")
    forget()
    assert deliver(signed_otherwise()) == 401
    assert any("could not be captured" in line for line in log)


def test_settings_that_are_put_meanwhile_do_not_end_a_capture(call: Call) -> None:
    call("PUT")
    wiring.registry().update_store(STORE_ID, StoreSettings(), NOW)
    known = wiring.registry().store(STORE_ID)
    assert known
    assert known.captured_until is not None


def test_no_capture_starts_for_a_store_that_is_gone(dynamodb: DynamoDBClient) -> None:
    with pytest.raises(NotFound):
        Captures(dynamodb, "RegistryTable").start("gone", NOW)


def test_nothing_that_was_captured_is_logged(
    call: Call, deliver: Callable[[Fixture], int], log: list[str]
) -> None:
    call("PUT")
    deliver(signed_otherwise())
    deliver(flexype("any", FLEXYPE_2026_05, x_flexype_authorization=ANOTHER))
    lines = "\n".join(log)
    assert log
    assert not [
        datum for datum in (ANOTHER, "9876543210", "x-webhook-signature", SIGNED_AT) if datum in lines
    ]


@pytest.mark.parametrize(
    ("credential", "form"),
    [
        ("", "empty, 0 characters"),
        ("08691141660ae312e7e87e9e5288ab01bee138d787b5df5f21b29e606259e3c2", "hex, 64 characters"),
        ("CGkRQWYK4xLn6H6eUoirAb7hONeHtd9fIbKeYGJZ48I=", "base64, 44 characters"),
        ("CGkRQWYK4xLn6H6eUoirAb7hONeHtd9fIbKeYGJZ48I", "base64url, 43 characters"),
        ("sha256=08691141", "scheme and value, 15 characters"),
        ("a b c", "other, 5 characters"),
    ],
)
def test_a_credential_is_told_by_its_form(credential: str, form: str) -> None:
    assert form_of(credential) == form
