"""The ingest handler on moto: everything in events/ that can arrive, and what becomes of it."""

import base64
import copy
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError
from mypy_boto3_dynamodb import DynamoDBClient
from mypy_boto3_sqs import SQSClient

from checkout_recovery import wiring
from checkout_recovery.checkout.event import EventType
from checkout_recovery.checkout.lifecycle import Checkout
from checkout_recovery.providers.provider import Request
from checkout_recovery.secrets import Secret, Secrets, provider_secret
from checkout_recovery.subscriptions.store import ProviderSettings, Store, StoreSettings
from checkout_recovery.subscriptions.subscription import ConsentRule
from checkout_recovery.subscriptions.version import next_version
from checkout_recovery.sweep import Sweep
from functions.ingest import app
from local.fixtures import (
    CASHFREE,
    DOMAINS,
    SECRET,
    SHOPIFY_NEW,
    SHOPIFY_ORDER,
    STORE_ID,
    Fixture,
    cashfree,
    fixtures,
    flexype,
    order,
    own,
    shopify,
)
from local.samples import FLEXYPE_2025_09, FLEXYPE_2026_05
from tests.subscriptions import subscription

NOW = datetime(2026, 5, 7, 10, tzinfo=UTC)
MAX_BODY = 256 * 1024
PHONE, OTHER_PHONE = "+919876543210", "+919876500000"
EMAIL = "john.doe@example.com"

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


def statuses(*checkout_ids: str) -> list[str]:
    return [stored(checkout_id).status.value for checkout_id in checkout_ids]


def ago(minutes: float) -> str:
    """A time by the clock of the machine, which the handler goes by."""
    return (datetime.now(UTC) - timedelta(minutes=minutes)).isoformat()


class Shop:
    """What a store's own calls tell of its shoppers."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    def tells(self, checkout_id: str, **told: Any) -> str:
        """Sends a snapshot, and returns what became of it."""
        (result,) = results(self._handle(own("any", {"checkout_id": checkout_id} | told).event))
        return str(result["status"])

    def sells(self, order_id: str = "1001", **told: Any) -> list[tuple[str, str]]:
        """Sends an order, and returns what became of which checkout."""
        found = results(self._handle(order("any", {"order_id": order_id} | told).event))
        return [(result["status"], result["checkout_id"]) for result in found]


@pytest.fixture
def shop(handle: Handle) -> Shop:
    return Shop(handle)


def subscribe(**rules: Any) -> None:
    """Gives the store a receiver of its abandonments."""
    wiring.registry().create_subscription(subscription(store_id=STORE_ID, **rules))


class Outage:
    """Breaks one AWS call off, as a worker's end or DynamoDB's would."""

    def __init__(self) -> None:
        self._left = {"": 0}

    def of(self, operation: str, after: int = 0) -> None:
        """Breaks the next call of an operation, or the one after so many more."""
        self._left = {operation: after}

    def __call__(self, model: Any, **_: Any) -> None:
        left = self._left.get(model.name)
        if left is None:
            return
        self._left = {model.name: left - 1} if left else {}
        if not left:
            raise EndpointConnectionError(endpoint_url="dynamodb")


@pytest.fixture
def outage(aws: None) -> Iterator[Outage]:
    """Has to be asked for before what makes clients."""
    outage = Outage()
    boto3.setup_default_session()
    assert boto3.DEFAULT_SESSION
    boto3.DEFAULT_SESSION.events.register("before-call", outage)
    yield outage
    boto3.setup_default_session()


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


def test_a_snapshot_of_a_shopper_who_has_told_no_contact_costs_a_read_and_a_write(
    calls: list[str], shop: Shop
) -> None:
    shop.tells("c1")
    calls.clear()
    shop.tells("c2", stage="INITIATED")
    assert calls == ["GetItem", "PutItem"]


def test_the_first_contact_also_costs_its_links_and_a_look_at_its_shopper(
    calls: list[str], shop: Shop
) -> None:
    shop.tells("c1", phone=PHONE)  # the key for hashing is read once
    calls.clear()
    shop.tells("c2", phone=PHONE, email=EMAIL)
    assert calls == ["GetItem", "BatchWriteItem", "BatchGetItem", "PutItem"]


def test_later_snapshots_with_the_same_contact_cost_a_read_and_a_write(calls: list[str], shop: Shop) -> None:
    contact = {"phone": PHONE, "email": EMAIL, "cart_token": "cart-1"}
    shop.tells("c1", event_time=ago(9), **contact)
    calls.clear()
    shop.tells("c1", event_time=ago(8), stage="ADDRESS_LOADED", **contact)
    shop.tells("c1", event_time=ago(7), stage="PAYMENT_LOADED")
    assert calls == ["GetItem", "PutItem"] * 2


def test_a_purchase_is_remembered_before_it_is_written_and_then_looks_for_other_checkouts(
    calls: list[str], shop: Shop
) -> None:
    shop.tells("c1", phone=PHONE, event_time=ago(9))
    calls.clear()
    shop.tells("c1", completed=True, event_time=ago(8))
    assert calls == ["GetItem", "UpdateItem", "PutItem", "Query", "BatchGetItem"]


def test_an_abandonment_that_a_provider_tells_is_decided_and_written_at_once(
    calls: list[str], handle: Handle
) -> None:
    subscribe()
    handle(cashfree("first", CASHFREE | {"customer": {"phone": OTHER_PHONE}}).event)
    calls.clear()
    handle(cashfree("second", CASHFREE | {"checkout_id": "occ_2", "event_id": "cf_2"}).event)
    linked = ["GetItem", "BatchWriteItem", "BatchGetItem"]
    assert calls == [*linked, "Query", "BatchGetItem", "TransactWriteItems"]


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


def test_a_repeated_event_id_with_other_content_is_applied(handle: Handle, event: Any) -> None:
    handle(event("ingest-flexype-2026-05"))
    changed = event("ingest-flexype-2026-05")
    body = body_of(changed)
    changed["body"] = json.dumps(body | {"payload": body["payload"] | {"session_state": "PAYMENT_INITIATED"}})
    assert results(handle(changed)) == [{"status": "applied", "checkout_id": "abc123xyz", "sequence": 2}]


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


# ---------------------------------------------------------------- orders: whose they are


@pytest.mark.parametrize(
    "named",
    [
        {"checkout_id": "c1"},
        {"checkout_token": "c1"},
        {"cart_token": "cart-1"},
        {"phone": PHONE},
        {"phone": "98765 43210"},
        {"phone": "919876543210"},
        {"phone": {"number": "098765-43210", "dial_code": "+91"}},
        {"email": EMAIL},
        {"email": " John.Doe@EXAMPLE.com"},
    ],
    ids=str,
)
def test_an_order_ends_the_checkout_that_it_names_or_whose_shopper_it_names(
    shop: Shop, named: dict[str, Any]
) -> None:
    shop.tells("c1", phone=PHONE, email=EMAIL, cart_token="cart-1", event_time=ago(5))
    shop.tells("c2", phone=OTHER_PHONE, email="jane.roe@example.com", cart_token="cart-2", event_time=ago(5))
    assert shop.sells(completed_at=ago(1), **named) == [("applied", "c1")]
    assert statuses("c1", "c2") == ["completed", "active"]
    assert stored("c1").details.order_id == "1001"


def test_a_phone_that_was_told_without_its_country_is_found_with_it(shop: Shop) -> None:
    shop.tells("c1", phone="9876543210")
    assert shop.sells(phone=PHONE) == [("applied", "c1")]


def test_an_order_finds_a_checkout_by_its_second_id(handle: Handle, shop: Shop, event: Any) -> None:
    handle(event("ingest-shopify-checkouts-create"))
    assert shop.sells(checkout_token=str(SHOPIFY_NEW["id"])) == [("applied", SHOPIFY_NEW["token"])]
    assert statuses(SHOPIFY_NEW["token"]) == ["completed"]


def test_an_order_with_an_unknown_token_comes_before_its_checkout(shop: Shop) -> None:
    assert shop.sells(checkout_token="c1") == [("applied", "c1")]
    shop.tells("c1", phone=PHONE)
    assert statuses("c1") == ["completed"]


def test_an_order_with_an_unknown_token_ends_the_checkouts_of_its_shopper_and_its_own(shop: Shop) -> None:
    shop.tells("c1", phone=PHONE)
    assert shop.sells(checkout_token="of-the-shop", phone=PHONE) == [("applied", "c1")]
    shop.tells("of-the-shop", email="jane.roe@example.com", event_time=ago(5))
    assert statuses("of-the-shop") == ["completed"]


def test_of_a_checkout_that_only_its_order_has_named_nobody_hears(shop: Shop) -> None:
    shop.tells("c1", phone=PHONE)
    shop.sells(checkout_token="of-the-shop", phone=PHONE)
    assert stored("of-the-shop").discarded
    assert stored("of-the-shop").sequence == 1


def test_an_order_of_shopify_with_an_unknown_token_ends_the_checkouts_of_its_phone(
    handle: Handle, shop: Shop, event: Any
) -> None:
    shop.tells("c1", phone=SHOPIFY_ORDER["customer"]["phone"], event_time="2026-05-07T10:00:00Z")
    assert [each["checkout_id"] for each in results(handle(event("ingest-shopify-orders-create")))] == ["c1"]
    assert statuses("c1", SHOPIFY_ORDER["checkout_token"]) == ["completed", "completed"]


def test_an_order_of_shopifys_that_names_no_checkout_ends_those_of_its_phone(
    handle: Handle, shop: Shop, event: Any
) -> None:
    shop.tells("c1", phone=SHOPIFY_ORDER["customer"]["phone"], event_time="2026-05-07T10:00:00Z")
    handle(event("ingest-shopify-orders-create-no-checkout"))
    assert statuses("c1") == ["completed"]


def test_the_surest_name_leads_and_all_open_checkouts_of_the_shopper_follow(shop: Shop) -> None:
    shop.tells("by-email", email=EMAIL)
    shop.tells("by-phone", phone=PHONE)
    shop.tells("by-cart", cart_token="cart-1")
    ended = shop.sells(cart_token="cart-1", phone=PHONE, email=EMAIL)
    assert ended == [("applied", name) for name in ("by-cart", "by-phone", "by-email")]
    assert statuses("by-cart", "by-phone", "by-email") == ["completed"] * 3


def test_the_checkout_that_an_order_names_leads_whatever_else_it_says(shop: Shop) -> None:
    shop.tells("by-phone", phone=PHONE)
    shop.tells("named", email=EMAIL)
    assert shop.sells(checkout_id="named", phone=PHONE)[0] == ("applied", "named")
    assert statuses("named", "by-phone") == ["completed", "completed"]


def test_an_order_that_names_only_a_checkout_ends_the_same_shoppers_others(shop: Shop) -> None:
    for checkout_id in ("c1", "c2", "c3"):
        shop.tells(checkout_id, phone=PHONE)
    shop.sells(checkout_id="c2")
    assert statuses("c1", "c2", "c3") == ["completed"] * 3


def test_each_checkout_that_a_purchase_ends_says_so_by_an_event_with_the_order(shop: Shop) -> None:
    shop.tells("c1", phone=PHONE)
    shop.tells("c2", phone=PHONE)
    shop.sells(phone=PHONE)
    events = [stored(checkout_id).event for checkout_id in ("c1", "c2")]
    assert [each.type for each in events if each] == [EventType.COMPLETED] * 2
    assert len({each.id for each in events if each}) == 2
    assert {stored(checkout_id).details.order_id for checkout_id in ("c1", "c2")} == {"1001"}


def test_an_order_ends_nothing_at_another_store(handle: Handle, shop: Shop, context: SimpleNamespace) -> None:
    register("other-store", "another-secret")
    theirs = own("any", {"checkout_id": "c1", "phone": PHONE}).event
    theirs["requestContext"]["authorizer"]["lambda"]["store_id"] = "other-store"
    handle(theirs)
    assert shop.sells(phone=PHONE) == []
    assert wiring.checkouts().load("other-store", "c1").status == "active"


def test_an_order_of_nobody_who_is_known_is_taken_and_remembered(shop: Shop) -> None:
    assert shop.sells(phone=PHONE, completed_at=ago(1)) == []
    shop.tells("c1", phone=PHONE, event_time=ago(5))
    assert statuses("c1") == ["completed"]
    assert stored("c1").details.order_id == "1001"


def test_an_order_that_is_repeated_changes_nothing(shop: Shop) -> None:
    shop.tells("c1", phone=PHONE)
    told = {"checkout_id": "c1", "completed_at": ago(0)}
    assert shop.sells(**told) == [("applied", "c1")]
    assert shop.sells(**told) == [("duplicate", "c1")]
    assert stored("c1").sequence == 2


def test_an_order_by_phone_that_is_repeated_changes_nothing(shop: Shop) -> None:
    shop.tells("c1", phone=PHONE)
    shop.sells(phone=PHONE)
    shop.sells(phone=PHONE)
    assert stored("c1").sequence == 2


def test_an_order_with_an_unknown_token_that_is_repeated_ends_nothing_more(shop: Shop) -> None:
    shop.tells("c1", phone=PHONE)
    told = {"checkout_token": "of-the-shop", "phone": PHONE, "completed_at": ago(0)}
    assert shop.sells(**told) == [("applied", "c1")]
    before = stored("c1")
    shop.sells(**told)
    assert stored("c1") == before


@pytest.mark.parametrize("named", [{}, {"checkout_id": "c1"}], ids=["by phone", "by id"])
def test_an_order_that_is_repeated_does_not_end_what_the_shopper_has_begun_since(
    store: None, named: dict[str, str]
) -> None:
    request = order("any", {"order_id": "1001", "phone": PHONE} | named).event
    arrive(own("any", {"checkout_id": "c1", "phone": PHONE}).event, NOW - timedelta(minutes=5))
    arrive(request, NOW)
    arrive(own("any", {"checkout_id": "c2", "phone": PHONE}).event, NOW + timedelta(minutes=60))
    arrive(request, NOW + timedelta(minutes=65))
    assert statuses("c1", "c2") == ["completed", "active"]


def test_a_purchase_of_long_ago_does_not_end_what_the_shopper_began_since(shop: Shop) -> None:
    shop.tells("c1", phone=PHONE, event_time=ago(10))
    assert shop.sells(phone=PHONE, completed_at=ago(20)) == []
    assert statuses("c1") == ["active"]


def test_an_order_of_the_future_is_one_of_now(shop: Shop) -> None:
    shop.tells("c1", phone=PHONE, event_time=ago(10))
    shop.sells(phone=PHONE, completed_at=ago(-600))
    assert statuses("c1") == ["completed"]
    bought = stored("c1").purchased_at
    assert bought is not None
    assert bought <= datetime.now(UTC)


# ---------------------------------------------------------------- orders: before their checkout


@pytest.mark.parametrize("minutes", [60.0, -4.0], ids=["before", "after"])
def test_no_snapshot_reopens_a_checkout_whose_order_came_first(shop: Shop, minutes: float) -> None:
    shop.sells(checkout_id="c1", completed_at=ago(1))
    first = stored("c1")
    shop.tells("c1", phone=PHONE, event_time=ago(minutes))
    shop.tells("c1", phone=PHONE, stage="PAYMENT_LOADED")
    after = stored("c1")
    assert (after.status, after.due_at, after.event) == (first.status, None, first.event)
    assert after.details.phone is not None


def test_a_late_snapshot_that_says_so_belongs_to_the_purchase_before_it(shop: Shop) -> None:
    shop.sells(email=EMAIL, completed_at=ago(5))
    shop.tells("late", email=EMAIL, event_time=ago(6))
    shop.tells("new", email=EMAIL, event_time=ago(1))
    assert statuses("late", "new") == ["completed", "active"]
    assert stored("late").due_at is None


def test_a_late_snapshot_that_tells_the_contact_only_now_belongs_to_the_purchase_too(shop: Shop) -> None:
    shop.tells("c1", event_time=ago(9))
    shop.sells(phone=PHONE, completed_at=ago(5))
    shop.tells("c1", event_time=ago(6), phone=PHONE)
    assert statuses("c1") == ["completed"]


def arrive(request: Event, now: datetime) -> None:
    """Takes a call of the store in at another time: the handler has the time from the machine."""
    source = request["routeKey"].rpartition("/")[2]
    wiring.ingest().from_store(source, STORE_ID, Request(request["headers"], request["body"].encode()), now)


def sweep(now: datetime) -> None:
    Sweep(
        registry=wiring.registry(),
        checkouts=wiring.checkouts(),
        shoppers=wiring.shoppers(),
        abandonments=wiring._abandonments(),
        now=lambda: now,
    )(range(wiring.settings().due_shards), lambda: True)


@pytest.mark.parametrize(("minutes", "suppressed"), [(4, "completed"), (6, None)])
def test_what_names_no_time_soon_after_a_purchase_may_be_late_and_is_told_to_nobody(
    handle: Handle, minutes: int, suppressed: str | None
) -> None:
    subscribe()
    arrive(order("any", {"order_id": "1001", "phone": PHONE}).event, NOW)
    told_at = NOW + timedelta(minutes=minutes)
    arrive(own("any", {"checkout_id": "c1", "phone": PHONE}).event, told_at)
    sweep(told_at + timedelta(minutes=15))
    checkout = stored("c1")
    assert (checkout.status, checkout.suppressed) == ("abandoned", suppressed)
    assert (checkout.told_at is None) == (suppressed is not None)


def test_a_checkout_without_contact_is_told_of_to_nobody_until_the_order_names_it(shop: Shop) -> None:
    subscribe()
    shop.tells("c1", abandoned=True, event_time=ago(9))
    assert stored("c1").suppressed == "no_contact"
    shop.sells(checkout_id="c1", completed_at=ago(1))
    assert (stored("c1").status, stored("c1").suppressed) == ("recovered", None)


# ---------------------------------------------------------------- orders: who, how long, what is kept


@pytest.mark.parametrize("fixture", ["ingest-checkouts-minimal", "ingest-orders-by-phone"])
def test_our_own_calls_need_what_the_authorizer_says(handle: Handle, event: Any, fixture: str) -> None:
    request = event(fixture)
    request["requestContext"]["authorizer"] = {"lambda": {"scope": "store", "store_id": "no-such-store"}}
    assert handle(request)["statusCode"] == 401


@pytest.mark.parametrize("fixture", ["ingest-checkouts-minimal", "ingest-orders-by-phone"])
def test_the_operators_token_speaks_for_no_store(handle: Handle, event: Any, fixture: str) -> None:
    request = event(fixture)
    request["requestContext"]["authorizer"] = {"lambda": {"scope": "admin"}}
    assert handle(request)["statusCode"] == 403


def test_an_order_that_is_not_understood_is_kept_as_an_order(
    handle: Handle, event: Any, sqs: SQSClient
) -> None:
    handle(event("ingest-orders-nobody"))
    (message,) = sqs.receive_message(QueueUrl=wiring.settings().rejected_events_queue_url)["Messages"]
    assert json.loads(message["Body"])["source"] == "orders"


def test_what_an_order_writes_is_kept_for_as_long_as_the_store_says(
    aws: None, context: SimpleNamespace, dynamodb: DynamoDBClient
) -> None:
    register(STORE_ID, SECRET, checkout_retention_days=2)
    shop = Shop(lambda event: app.handler(event, context))
    before = int((datetime.now(UTC) + timedelta(days=2)).timestamp())
    shop.tells("by-phone", phone=PHONE)
    shop.sells(checkout_id="named", phone=PHONE)
    after = int((datetime.now(UTC) + timedelta(days=2)).timestamp())
    items = dynamodb.scan(TableName="CheckoutTable")["Items"]
    assert len(items) == 2
    assert all(before <= int(item["expires_at"]["N"]) <= after for item in items)


def test_the_shoppers_table_holds_no_datum(handle: Handle, shop: Shop, dynamodb: DynamoDBClient) -> None:
    subscribe()
    shop.tells("of-another-name", phone=PHONE, email=EMAIL, cart_token="cart-token-1")
    handle(left("occ_1", 2))
    shop.sells(phone=PHONE, email=EMAIL, cart_token="cart-token-1", completed_at=ago(1))
    written = json.dumps(dynamodb.scan(TableName="ShopperTable")["Items"]).lower()
    for known in ("told_at", "purchase", "of-another-name", "1001"):
        assert known in written
    for datum in ("9876543210", "doe", "example.com", "cart-token-1"):
        assert datum not in written


# ---------------------------------------------------------------- purchases that providers tell


def bought_at_flexype(body: dict[str, Any], **user: Any) -> Fixture:
    payload = body["payload"] | {"session_state": "COMPLETED", "user": body["payload"]["user"] | user}
    return flexype("bought", body | {"event_id": "evt_bought", "event_time": ago(1), "payload": payload})


def test_a_completed_snapshot_ends_the_same_shoppers_other_checkouts(handle: Handle, shop: Shop) -> None:
    shop.tells("by-phone", phone="9876543210", event_time=ago(9))
    shop.tells("by-email", email=EMAIL, event_time=ago(9))
    shop.tells("other", phone=OTHER_PHONE, email=EMAIL, event_time=ago(9))
    (result,) = results(handle(bought_at_flexype(FLEXYPE_2026_05).event))
    assert result["checkout_id"] == "abc123xyz"
    assert statuses("abc123xyz", "by-phone", "by-email") == ["completed"] * 3
    assert statuses("other") == ["active"]


def test_a_checkout_that_shopify_says_is_completed_ends_the_same_shoppers_others(
    handle: Handle, shop: Shop, event: Any
) -> None:
    shop.tells("c1", phone=PHONE, event_time="2026-05-07T10:00:00Z")
    handle(event("ingest-shopify-checkouts-update-completed"))
    assert statuses("c1", SHOPIFY_NEW["token"]) == ["completed", "completed"]


def test_a_flat_snapshot_without_a_time_ends_what_was_open_when_it_came(handle: Handle, shop: Shop) -> None:
    shop.tells("before", phone=PHONE, event_time=ago(1))
    handle(flexype("flat", FLEXYPE_2025_09 | {"session_state": "COMPLETED"}).event)
    shop.tells("after", phone=PHONE)
    assert statuses("before", "after") == ["completed", "active"]


@pytest.mark.parametrize(
    "operation",
    [
        pytest.param(("PutItem", 1), id="before another checkout is written"),
        pytest.param(("Query", 0), id="before other checkouts are looked for"),
        pytest.param(("BatchGetItem", 1), id="before they are read"),
    ],
)
def test_a_purchase_that_is_cut_off_is_finished_when_the_provider_comes_again(
    outage: Outage, handle: Handle, shop: Shop, operation: tuple[str, int]
) -> None:
    request = bought_at_flexype(FLEXYPE_2026_05).event
    shop.tells("c1", phone=PHONE, event_time=ago(9))
    shop.tells("abc123xyz", phone=PHONE, event_time=ago(8))
    outage.of(*operation)
    assert handle(request)["statusCode"] == 503
    assert statuses("abc123xyz", "c1") == ["completed", "active"]
    assert results(handle(request))[0]["status"] == "duplicate"
    assert statuses("c1") == ["completed"]


def test_a_purchase_that_could_not_be_remembered_is_not_taken_in(
    outage: Outage, handle: Handle, shop: Shop
) -> None:
    request = own("any", {"checkout_id": "c1", "completed": True, "event_time": ago(8)}).event
    shop.tells("c1", phone=PHONE, event_time=ago(9))
    outage.of("UpdateItem")
    assert handle(request)["statusCode"] == 503
    assert statuses("c1") == ["active"]
    assert results(handle(request))[0]["status"] == "applied"


@pytest.mark.parametrize(
    ("operation", "after"),
    [
        (operation, after)
        for operation, calls in {"UpdateItem": 3, "Query": 3, "BatchGetItem": 3, "PutItem": 3}.items()
        for after in range(calls)
    ],
)
def test_wherever_an_order_is_cut_off_it_ends_all_that_one_checkout_leads_to_when_it_comes_again(
    outage: Outage, handle: Handle, shop: Shop, operation: str, after: int
) -> None:
    shop.tells("c1", phone=PHONE, email=EMAIL)
    shop.tells("c2", email=EMAIL, cart_token="cart-1")
    shop.tells("c3", cart_token="cart-1")
    request = order("any", {"order_id": "1001", "phone": PHONE, "completed_at": ago(0)}).event
    outage.of(operation, after)
    assert handle(request)["statusCode"] == 503
    results(handle(request))
    assert statuses("c1", "c2", "c3") == ["completed"] * 3


@pytest.mark.parametrize("after", [0, 1], ids=["the named", "another"])
def test_an_order_that_is_cut_off_is_finished_when_it_comes_again(
    outage: Outage, handle: Handle, shop: Shop, after: int
) -> None:
    shop.tells("c1", phone=PHONE)
    shop.tells("c2", phone=PHONE)
    request = order("any", {"order_id": "1001", "checkout_id": "c1", "completed_at": ago(0)}).event
    outage.of("PutItem", after)
    assert handle(request)["statusCode"] == 503
    results(handle(request))
    assert statuses("c1", "c2") == ["completed", "completed"]


def test_a_shopper_whose_order_was_cut_off_is_told_of_to_nobody(
    outage: Outage, handle: Handle, shop: Shop
) -> None:
    subscribe()
    shop.tells("c1", phone=PHONE)
    outage.of("Query")
    assert handle(order("any", {"order_id": "1001", "phone": PHONE}).event)["statusCode"] == 503
    sweep(datetime.now(UTC) + timedelta(minutes=20))
    assert (stored("c1").status, stored("c1").told_at) == ("completed", None)


# ---------------------------------------------------------------- abandonments that providers tell


def left(checkout_id: str = "occ_1", minutes: float = 1, **told: Any) -> Event:
    """Cashfree says that the shopper left a checkout so many minutes ago."""
    body = CASHFREE | {"checkout_id": checkout_id, "event_id": f"cf_{checkout_id}_{minutes}"}
    return cashfree(checkout_id, body | {"event_time": ago(minutes)} | told).event


def test_an_abandonment_that_a_provider_tells_is_told_and_starts_the_cooldown(handle: Handle) -> None:
    subscribe()
    handle(left("occ_1", 2))
    handle(left("occ_2", 1))
    first, second = stored("occ_1"), stored("occ_2")
    assert (first.suppressed, first.told_at is not None) == (None, True)
    assert (second.status, second.suppressed, second.told_at) == ("abandoned", "cooldown", None)
    assert second.event is not None
    assert second.event.type == EventType.ABANDONED


def test_an_abandonment_of_another_shopper_is_told(handle: Handle) -> None:
    subscribe()
    handle(left("occ_1"))
    handle(left("occ_2", customer={"phone": OTHER_PHONE}))
    assert [stored(checkout_id).suppressed for checkout_id in ("occ_1", "occ_2")] == [None, None]


@pytest.mark.parametrize(("minutes", "suppressed"), [(59, "completed"), (62, None)])
def test_a_provider_may_say_up_to_an_hour_later_that_who_has_bought_had_left(
    handle: Handle, shop: Shop, minutes: int, suppressed: str | None
) -> None:
    subscribe()
    shop.sells(phone=PHONE, completed_at=ago(minutes))
    handle(left(minutes=0.5))
    checkout = stored("occ_1")
    assert (checkout.status, checkout.suppressed) == ("abandoned", suppressed)
    assert (checkout.told_at is None) == (suppressed is not None)


@pytest.mark.parametrize(
    "rules",
    [
        {"events": (EventType.COMPLETED,)},
        {"paused": True},
        {"consent": ConsentRule.GRANTED},
    ],
    ids=["of other events", "paused", "with consent only"],
)
def test_an_abandonment_that_nobody_is_told_of_starts_no_cooldown(
    handle: Handle, rules: dict[str, Any]
) -> None:
    subscribe(**rules)
    handle(left("occ_1", 2, marketing_opt_in=None))
    handle(left("occ_2", 1, marketing_opt_in=None))
    for checkout in (stored("occ_1"), stored("occ_2")):
        assert (checkout.status, checkout.suppressed, checkout.told_at) == ("abandoned", None, None)


def test_an_abandonment_in_quiet_hours_waits_for_their_end(aws: None, context: SimpleNamespace) -> None:
    now = datetime.now(UTC)
    start, end = ((now + timedelta(hours=hours)).strftime("%H:%M") for hours in (-1, 2))
    register(STORE_ID, SECRET, quiet_hours={"start": start, "end": end, "timezone": "UTC"})
    subscribe()
    app.handler(left(), context)
    checkout = stored("occ_1")
    assert (checkout.suppressed, checkout.told_at) == ("quiet_hours", None)
    assert checkout.due_at is not None
    assert checkout.due_at.strftime("%H:%M") == end
    assert now < checkout.due_at < now + timedelta(hours=2, minutes=1)


def test_an_abandonment_without_contact_waits_for_a_late_telling_of_one(handle: Handle, shop: Shop) -> None:
    subscribe()
    handle(left(minutes=2, customer={}))
    assert (stored("occ_1").suppressed, stored("occ_1").due_at) == ("no_contact", None)
    shop.tells("occ_1", email=EMAIL, event_time=ago(5))
    checkout = stored("occ_1")
    assert checkout.status == "abandoned"
    assert checkout.due_at is not None
    assert checkout.due_at <= datetime.now(UTC)


def test_an_abandonment_from_before_a_purchase_is_that_purchase(handle: Handle, shop: Shop) -> None:
    subscribe()
    shop.sells(phone=PHONE, completed_at=ago(5))
    handle(left(minutes=6))
    checkout = stored("occ_1")
    assert (checkout.is_complete, checkout.told_at, checkout.due_at) == (True, None, None)
    assert checkout.details.order_id == "1001"


def test_an_abandonment_without_a_time_soon_after_a_purchase_is_told_to_nobody(
    handle: Handle, shop: Shop
) -> None:
    subscribe()
    shop.sells(phone=PHONE)
    handle(left(event_time=None))
    assert (stored("occ_1").suppressed, stored("occ_1").told_at) == ("completed", None)


def test_an_abandonment_that_a_provider_repeats_is_told_once(handle: Handle) -> None:
    subscribe()
    request = left()
    handle(request)
    before = stored("occ_1")
    assert results(handle(request))[0]["status"] == "duplicate"
    assert stored("occ_1") == before


def test_a_purchase_of_what_was_told_is_a_recovery(handle: Handle, shop: Shop) -> None:
    subscribe()
    handle(left(minutes=3))
    shop.sells(phone=PHONE, completed_at=ago(1))
    checkout = stored("occ_1")
    assert checkout.status == "recovered"
    assert checkout.recovered_after is not None
    assert timedelta(seconds=119) < checkout.recovered_after < timedelta(seconds=121)


def test_an_abandonment_whose_write_is_cut_off_claims_nothing(outage: Outage, handle: Handle) -> None:
    subscribe()
    outage.of("TransactWriteItems")
    assert handle(left("occ_1", 2))["statusCode"] == 503
    assert stored("occ_1").sequence == 0
    handle(left("occ_2"))
    assert stored("occ_2").told_at is not None


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
