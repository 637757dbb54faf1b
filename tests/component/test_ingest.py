"""The ingest handler on moto: everything in events/ that can arrive, and what becomes of it."""

import base64
import copy
import json
import zlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from mypy_boto3_dynamodb import DynamoDBClient
from mypy_boto3_sqs import SQSClient

from checkout_recovery import wiring
from checkout_recovery.checkout.lifecycle import Checkout
from checkout_recovery.secrets import Secret, Secrets, provider_secret
from checkout_recovery.subscriptions.store import ProviderSettings, Store, StoreSettings
from checkout_recovery.subscriptions.version import next_version
from functions.ingest import app
from local.fixtures import (
    DOMAINS,
    SECRET,
    SHOPIFY_NEW,
    SHOPIFY_ORDER,
    STORE_ID,
    Fixture,
    fixtures,
    shopify,
)

NOW = datetime(2026, 5, 7, 10, tzinfo=UTC)
MAX_BODY = 256 * 1024

Event = dict[str, Any]
Handle = Callable[[Event], dict[str, Any]]


@pytest.fixture
def store(aws: None) -> None:
    """A store that has agreed a secret with every provider."""
    register(STORE_ID, SECRET)


def register(store_id: str, secret: str, **settings: Any) -> None:
    agreed = ProviderSettings(configured_at=NOW, secret_version=1)
    names = ("flexype", "cashfree", "shopify")
    wiring.registry().create_store(
        Store(
            store_id=store_id,
            settings=StoreSettings(**{"domains": list(DOMAINS)} | settings),
            token_hash="0" * 64,
            providers=dict.fromkeys(names, agreed),
            revision=1,
            created_at=NOW,
            updated_at=NOW,
        )
    )
    for name in names:
        wiring.secrets().put(provider_secret(store_id, name), Secret((secret,), version=1))


@pytest.fixture
def handle(store: None, context: SimpleNamespace) -> Handle:
    return lambda event: app.handler(copy.deepcopy(event), context)


def results(answer: dict[str, Any]) -> list[dict[str, Any]]:
    assert answer["statusCode"] == 200, answer["body"]
    return list(json.loads(answer["body"])["results"])


def body_of(event: Event) -> Any:
    return json.loads(event["body"])


def with_body(event: Event, body: Any) -> Event:
    return event | {"body": body if isinstance(body, str) else json.dumps(body), "isBase64Encoded": False}


def stored(checkout_id: str) -> Checkout:
    return wiring.checkouts().load(STORE_ID, checkout_id)


# ---------------------------------------------------------------- every fixture


@pytest.mark.parametrize("fixture", list(fixtures()), ids=lambda fixture: fixture.name)
def test_every_fixture_is_answered_as_it_says(handle: Handle, fixture: Fixture) -> None:
    answer = handle(fixture.event)
    assert answer["statusCode"] == fixture.status, answer["body"]
    if fixture.status == 200:
        assert {result["status"] for result in results(answer)} <= {"applied", "stale"}
    else:
        assert answer["headers"]["content-type"] == "application/problem+json"
        problem = json.loads(answer["body"])
        assert problem["status"] == fixture.status
        assert problem["type"].startswith("/problems/")


@pytest.mark.parametrize("fixture", list(fixtures()), ids=lambda fixture: fixture.name)
def test_no_log_line_holds_what_a_fixture_brought(handle: Handle, fixture: Fixture, log: list[str]) -> None:
    handle(fixture.event)
    written = "\n".join(log)
    assert log
    for secret in (SECRET, "9876543210", "doe", "abc123xyz", "1.1.1.1", "380015", "https://"):
        assert secret not in written.lower()


@pytest.mark.parametrize("fixture", [f for f in fixtures() if f.status == 422], ids=lambda f: f.name)
def test_what_is_authentic_but_not_understood_is_kept_whole_without_its_proof(
    handle: Handle, fixture: Fixture, sqs: SQSClient
) -> None:
    handle(fixture.event)
    (message,) = sqs.receive_message(QueueUrl=wiring.settings().rejected_events_queue_url)["Messages"]
    kept = json.loads(message["Body"])
    body = fixture.event.get("body", "")
    raw = base64.b64decode(body) if fixture.event["isBase64Encoded"] else body.encode()
    assert zlib.decompress(base64.b64decode(kept["body"])) == raw
    assert kept["store_id"] == STORE_ID
    assert SECRET not in message["Body"]
    assert not {"authorization", "x-webhook-signature", "x-shopify-hmac-sha256"} & kept["headers"].keys()


@pytest.mark.parametrize("fixture", [f for f in fixtures() if f.status == 401], ids=lambda f: f.name)
def test_a_refused_stranger_leaves_nothing_behind(
    handle: Handle, fixture: Fixture, sqs: SQSClient, dynamodb: DynamoDBClient
) -> None:
    handle(fixture.event)
    assert "Messages" not in sqs.receive_message(QueueUrl=wiring.settings().rejected_events_queue_url)
    assert dynamodb.scan(TableName="CheckoutTable")["Items"] == []


# ---------------------------------------------------------------- authentication


def test_a_wrong_signature_and_an_unknown_store_cannot_be_told_apart(handle: Handle, event: Any) -> None:
    wrong, unknown = (
        handle(event("ingest-flexype-wrong-secret")),
        handle(event("ingest-flexype-unknown-store")),
    )
    assert wrong == unknown


def test_another_stores_secret_opens_nothing(handle: Handle, event: Any) -> None:
    register("other-store", "another-secret")
    theirs = event("ingest-flexype-2026-05")
    theirs["headers"]["x-flexype-authorization"] = "another-secret"
    assert handle(theirs)["statusCode"] == 401


def test_a_store_and_its_secret_work_as_soon_as_they_are_there(
    aws: None, context: SimpleNamespace, event: Any
) -> None:
    request = event("ingest-flexype-2026-05")
    assert app.handler(request, context)["statusCode"] == 401
    register(STORE_ID, SECRET)
    assert app.handler(request, context)["statusCode"] == 200


@pytest.mark.parametrize("before", [None, SECRET])
def test_a_worker_that_looked_while_a_secret_was_being_set_takes_it_once_it_is_set(
    handle: Handle, event: Any, before: str | None
) -> None:
    elsewhere = Secrets(boto3.client("ssm"), wiring.settings().stack_name)
    name = provider_secret(STORE_ID, "flexype")
    request = event("ingest-flexype-2026-05")
    request["headers"]["x-flexype-authorization"] = "new-secret"
    if before is None:
        wiring.secrets().delete([name])
    agreed = ProviderSettings(configured_at=NOW, secret_version=1)
    version = next_version(1, datetime.now(UTC))
    wiring.registry().put_provider(STORE_ID, "flexype", agreed, replace(agreed, secret_version=version))
    assert handle(request)["statusCode"] == 401
    elsewhere.put(name, Secret(("new-secret",), version))
    assert handle(request)["statusCode"] == 200


def test_the_raw_bytes_are_what_is_verified(handle: Handle, event: Any) -> None:
    spaced = event("ingest-shopify-checkouts-create")
    spaced["body"] = spaced["body"].replace(":", ": ", 1)
    assert handle(spaced)["statusCode"] == 401


def test_a_body_in_base64_is_verified_by_its_bytes(handle: Handle, event: Any) -> None:
    request = event("ingest-shopify-checkouts-create")
    encoded = base64.b64encode(request["body"].encode()).decode()
    assert handle(request | {"body": encoded, "isBase64Encoded": True})["statusCode"] == 200


# ---------------------------------------------------------------- limits


@pytest.mark.parametrize("surplus", [1, 1024 * 1024])
def test_a_body_over_the_limit_is_too_large(handle: Handle, event: Any, surplus: int) -> None:
    request = with_body(event("ingest-flexype-2026-05"), "x" * (MAX_BODY + surplus))
    assert handle(request)["statusCode"] == 413


def test_a_body_at_the_limit_is_taken(handle: Handle, event: Any) -> None:
    request = event("ingest-flexype-2026-05")
    body = body_of(request)
    body["payload"]["note"] = ""
    body["payload"]["note"] = "x" * (MAX_BODY - len(json.dumps(body)))
    assert results(handle(with_body(request, body)))[0]["status"] == "applied"


# ---------------------------------------------------------------- what it costs


def test_a_warm_request_costs_a_read_and_a_write(
    calls: list[str], handle: Handle, event: Any, context: SimpleNamespace
) -> None:
    handle(event("ingest-flexype-2026-05"))
    calls.clear()
    handle(event("ingest-flexype-2026-05-completed"))
    assert calls == ["GetItem", "PutItem"]


def test_a_duplicate_costs_a_read(calls: list[str], handle: Handle, event: Any) -> None:
    handle(event("ingest-flexype-2026-05"))
    calls.clear()
    handle(event("ingest-flexype-2026-05"))
    assert calls == ["GetItem"]


def test_a_strangers_request_costs_a_read_and_no_secret(calls: list[str], handle: Handle, event: Any) -> None:
    calls.clear()
    handle(event("ingest-flexype-unknown-store"))
    assert calls == ["GetItem"]


# ---------------------------------------------------------------- what becomes of it


def test_a_repeated_request_is_a_duplicate_and_writes_nothing(handle: Handle, event: Any) -> None:
    first = results(handle(event("ingest-flexype-2026-05")))
    again = results(handle(event("ingest-flexype-2026-05")))
    assert first == [{"status": "applied", "checkout_id": "abc123xyz", "sequence": 1}]
    assert again == [{"status": "duplicate", "checkout_id": "abc123xyz", "sequence": 1}]


def test_a_late_snapshot_that_tells_nothing_new_is_stale(handle: Handle, event: Any) -> None:
    handle(event("ingest-flexype-2026-05"))
    late = event("ingest-flexype-2026-05")
    body = body_of(late) | {"event_time": "2026-05-07T09:00:00Z", "event_id": "evt_before"}
    late["headers"]["x-event-id"] = "evt_before"
    assert results(handle(with_body(late, body)))[0]["status"] == "stale"


def test_a_purchase_is_final(handle: Handle, event: Any) -> None:
    handle(event("ingest-flexype-2026-05-completed"))
    before = stored("abc123xyz")
    later = event("ingest-flexype-2026-05")
    body = body_of(later) | {"event_time": "2026-05-07T23:00:00Z", "event_id": "evt_after"}
    later["headers"]["x-event-id"] = "evt_after"
    handle(with_body(later, body))
    after = stored("abc123xyz")
    assert (before.status, after.status) == ("completed", "completed")
    assert after.event == before.event
    assert after.due_at is None


def test_cashfree_says_that_a_checkout_is_abandoned_at_once(handle: Handle, event: Any) -> None:
    (result,) = results(handle(event("ingest-cashfree-abandoned")))
    checkout = stored(result["checkout_id"])
    assert checkout.status == "abandoned"
    assert checkout.event is not None
    assert checkout.event.type == "checkout.abandoned"


def test_an_order_completes_the_checkout_that_it_names_whichever_comes_first(
    handle: Handle, event: Any
) -> None:
    for names in (("checkouts-update", "orders-create"), ("orders-create", "checkouts-create")):
        for name in names:
            (result,) = results(handle(event(f"ingest-shopify-{name}")))
        assert stored(result["checkout_id"]).status == "completed"


def test_a_deleted_checkout_is_found_by_its_number_and_waits_no_longer(handle: Handle, event: Any) -> None:
    (made,) = results(handle(event("ingest-shopify-checkouts-create")))
    assert stored(made["checkout_id"]).due_at is not None
    (gone,) = results(handle(event("ingest-shopify-checkouts-delete")))
    assert gone == {"status": "applied", "checkout_id": made["checkout_id"], "sequence": 2}
    assert stored(made["checkout_id"]).due_at is None


def test_a_deletion_that_comes_first_counts_as_one_that_comes_after(handle: Handle, event: Any) -> None:
    handle(event("ingest-shopify-checkouts-delete"))
    (made,) = results(handle(event("ingest-shopify-checkouts-create")))
    checkout = stored(made["checkout_id"])
    assert (checkout.discarded, checkout.due_at) == (True, None)


def test_an_order_that_names_only_a_number_comes_before_its_checkout(handle: Handle, event: Any) -> None:
    order = SHOPIFY_ORDER | {"checkout_token": None, "checkout_id": SHOPIFY_NEW["id"]}
    handle(shopify("order-by-number", "orders/create", order).event)
    (made,) = results(handle(event("ingest-shopify-checkouts-create")))
    checkout = stored(made["checkout_id"])
    assert (checkout.status, checkout.due_at) == ("completed", None)
    assert checkout.details.order_id == str(SHOPIFY_ORDER["id"])


def test_an_order_without_a_checkout_is_taken_and_changes_nothing(handle: Handle, event: Any) -> None:
    assert results(handle(event("ingest-shopify-orders-create-no-checkout"))) == []


def test_a_stores_currency_fills_in_only_where_the_provider_says_none(
    aws: None, context: SimpleNamespace, event: Any
) -> None:
    register(STORE_ID, SECRET, currency="INR")
    app.handler(event("ingest-flexype-2026-05"), context)
    cart = stored("abc123xyz").details.cart
    assert cart is not None
    assert cart.currency == "INR"


def test_without_a_stores_currency_it_stays_unknown(handle: Handle, event: Any) -> None:
    handle(event("ingest-flexype-2026-05"))
    cart = stored("abc123xyz").details.cart
    assert cart is not None
    assert cart.currency is None


# ---------------------------------------------------------------- the store in the body


def other_shop(event: Event) -> Event:
    body = body_of(event)
    body["store"] = {"id": "store_02", "shopify_domain": "other.myshopify.com", "main_domain": "other.com"}
    body["event_id"] = "evt_other"
    changed = with_body(event, body)
    changed["headers"] = event["headers"] | {"x-event-id": "evt_other"}
    return changed


def test_the_first_shop_that_a_provider_names_is_the_stores_from_then_on(
    aws: None, context: SimpleNamespace, event: Any
) -> None:
    register(STORE_ID, SECRET, domains=[])
    request = event("ingest-flexype-2026-05")
    assert app.handler(request, context)["statusCode"] == 200
    assert app.handler(other_shop(request), context)["statusCode"] == 422


def with_shop(event: Event, **shop: str) -> Event:
    return with_body(event, body_of(event) | {"store": shop})


def test_one_of_the_names_that_a_provider_first_told_is_enough(
    aws: None, context: SimpleNamespace, event: Any
) -> None:
    register(STORE_ID, SECRET, domains=[])
    first = event("ingest-flexype-2026-05")
    told = body_of(first)["store"]
    app.handler(first, context)
    for name in ("id", "shopify_domain", "main_domain"):
        assert app.handler(with_shop(first, **{name: told[name]}), context)["statusCode"] == 200
        assert app.handler(with_shop(first, **{name: "other.com"}), context)["statusCode"] == 422


@pytest.mark.parametrize("domains", [[], list(DOMAINS)])
def test_a_name_that_no_shop_can_have_is_refused_and_bound_to_nothing(
    aws: None, context: SimpleNamespace, event: Any, domains: list[str]
) -> None:
    register(STORE_ID, SECRET, domains=domains)
    request = event("ingest-flexype-2026-05")
    assert app.handler(with_shop(request, main_domain="x" * 240_000), context)["statusCode"] == 422
    assert app.handler(request, context)["statusCode"] == 200


def test_a_store_that_is_removed_between_proof_and_body_is_an_unknown_store(
    handle: Handle, event: Any
) -> None:
    handle(event("ingest-flexype-2026-05"))  # it is remembered from here on
    wiring.registry().delete_store(STORE_ID)
    assert handle(other_shop(event("ingest-flexype-2026-05")))["statusCode"] == 401


def test_a_domain_added_a_moment_ago_is_known(handle: Handle, event: Any) -> None:
    request = event("ingest-flexype-2026-05")
    assert handle(other_shop(request))["statusCode"] == 422
    wiring.registry().update_store(STORE_ID, StoreSettings(domains=["other.com"]), NOW)
    assert handle(other_shop(request))["statusCode"] == 200


# ---------------------------------------------------------------- our own call


def test_our_own_call_needs_what_the_authorizer_says(
    handle: Handle, event: Any, context: SimpleNamespace
) -> None:
    request = event("ingest-checkouts-minimal")
    request["requestContext"]["authorizer"] = {"lambda": {"scope": "store", "store_id": "no-such-store"}}
    assert handle(request)["statusCode"] == 401


def test_the_operators_token_speaks_for_no_store(handle: Handle, event: Any) -> None:
    request = event("ingest-checkouts-minimal")
    request["requestContext"]["authorizer"] = {"lambda": {"scope": "admin"}}
    assert handle(request)["statusCode"] == 403


# ---------------------------------------------------------------- faults of our own parts


def test_while_dynamodb_is_down_the_provider_is_asked_to_come_again(
    handle: Handle, event: Any, environment: pytest.MonkeyPatch, forget: Callable[[], None]
) -> None:
    handle(event("ingest-flexype-2026-05"))
    environment.setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:9")
    environment.setenv("AWS_MAX_ATTEMPTS", "1")
    forget()
    answer = handle(event("ingest-flexype-2026-05"))
    assert answer["statusCode"] == 503
    assert answer["headers"]["retry-after"]


def test_what_cannot_be_kept_is_not_refused_for_good(
    handle: Handle, event: Any, sqs: SQSClient, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("AWS_ENDPOINT_URL_SQS", "http://127.0.0.1:9")
    assert handle(event("ingest-flexype-not-json"))["statusCode"] == 503


@pytest.mark.parametrize("store_id", ["x" * 5000, "a b", "my-store/../other", "é", ""])
def test_a_path_that_can_name_no_store_is_an_unknown_store(handle: Handle, event: Any, store_id: str) -> None:
    request = event("ingest-flexype-2026-05")
    request["pathParameters"]["store_id"] = store_id
    assert handle(request)["statusCode"] == 401
