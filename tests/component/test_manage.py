import base64
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from mypy_boto3_dynamodb import DynamoDBClient
from mypy_boto3_ssm import SSMClient
from standardwebhooks import Webhook

from checkout_recovery import wiring
from checkout_recovery.checkout.event import Event as CheckoutEvent
from checkout_recovery.checkout.event import EventType
from checkout_recovery.checkout.lifecycle import Checkout, Policy, Unchanged
from checkout_recovery.checkout.phone import Phone
from checkout_recovery.checkout.shopper import UNKNOWN, Purchase, Shopper
from checkout_recovery.checkout.snapshot import Address, Client, Consent, Details, Snapshot
from checkout_recovery.delivery.plan import delivery_id
from checkout_recovery.errors import Conflict
from checkout_recovery.secrets import Secret, provider_secret, subscription_secret
from checkout_recovery.signing import key_bytes
from checkout_recovery.subscriptions.circuit import Circuit
from checkout_recovery.subscriptions.keep_stores import StoreKeeper
from checkout_recovery.subscriptions.requests import ProviderRequest
from checkout_recovery.subscriptions.store import Store, StoreSettings
from checkout_recovery.subscriptions.subscription import ConsentRule, Required, Subscription
from checkout_recovery.subscriptions.tokens import token_hash
from checkout_recovery.tables.deliveries import DeliveryRecord, State
from checkout_recovery.tables.turns import Turns
from functions.manage.app import handler
from tests.component.delivering import notices
from tests.component.subscribing import subscribe_known
from tests.subscriptions import subscription as make_subscription

NOW = datetime(2026, 5, 7, 10, 0, tzinfo=UTC)
SUBSCRIPTION_ID = "sub_01KQZK0S0G0000000000000000"
KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="
REQUEST = {
    "topic": "checkout",
    "version": "2026-11",
    "callback_url": "https://receiver.example.com/hooks/path-token",
}
ADMIN = {"scope": "admin", "store_id": ""}
STORE = {"scope": "store", "store_id": "my-store"}
DELIVERIES = f"/v1/stores/my-store/subscriptions/{SUBSCRIPTION_ID}/deliveries"
ANY_CHARACTERS = "gid://shop/Cart/50% caf\u00e9?key=a b"
DETAILS = Details(
    phone=Phone.of("9876543210", "91"),
    email="shopper@example.com",
    name="Asha Rao",
    consent=Consent.GRANTED,
    address=Address(address1="12 Ring Road", zip="380001"),
    stage="PAYMENT_LOADED",
    checkout_url="https://shop.example.com/resume/path-token",
    cart_token="cart-token",
    client=Client(ip="203.0.113.77", fingerprint="device-77"),
)
SHOPPERS = ("9876543210", "shopper@", "Asha", "Rao", "Ring", "380001", "-token", "203.0.113.77", "device-77")
"""Of `DETAILS`, what must not leave."""
OTHER = {"scope": "store", "store_id": "another-store"}

Event = dict[str, Any]
Load = Callable[[str], Event]


class Answer:
    """A handler's answer, read as its caller would."""

    def __init__(self, answer: Event) -> None:
        self.status = answer["statusCode"]
        headers = answer.get("headers", {}) | {
            name: ", ".join(values) for name, values in answer.get("multiValueHeaders", {}).items()
        }
        self.headers = {name.lower(): value for name, value in headers.items()}
        self.text = answer["body"]
        self.body: Any = json.loads(self.text) if self.text else None


Call = Callable[..., Answer]


@pytest.fixture
def call(aws: None, event: Load, context: SimpleNamespace) -> Call:
    """Calls a route as the gateway would."""

    def send(
        method: str,
        path: str,
        body: object = None,
        caller: dict[str, str] | None = STORE,
        query: dict[str, str] | None = None,
    ) -> Answer:
        sent = event("manage-health")
        sent["rawPath"] = sent["requestContext"]["http"]["path"] = path
        sent["requestContext"]["http"]["method"] = method
        sent["requestContext"]["authorizer"] = {"lambda": caller} if caller else None
        sent["queryStringParameters"] = query or {}
        if body is not None:
            sent["body"] = body if isinstance(body, str) else json.dumps(body)
        return Answer(handler(sent, context))

    return send


@pytest.fixture
def store(aws: None) -> Store:
    store = Store(
        store_id="my-store",
        settings=StoreSettings(abandon_after_seconds=1200),
        token_hash=token_hash("test"),
        revision=1,
        created_at=NOW,
        updated_at=NOW,
    )
    wiring.registry().create_store(store)
    return store


@pytest.fixture
def subscription(store: Store) -> Subscription:
    """The subscription that the fixtures name."""
    return subscribed("https://receiver.example.com/hooks/path-token")


def subscribed(url: str, **fields: Any) -> Subscription:
    made = make_subscription(SUBSCRIPTION_ID, callback_url=url, **fields)
    name = subscription_secret("my-store", SUBSCRIPTION_ID)
    wiring.secrets().put(name, Secret((KEY,), 1, headers={"X-Api-Key": "header-secret"}))
    subscribe_known(wiring.registry(), made)
    return made


def kept(checkout: Checkout | Unchanged) -> Checkout:
    assert isinstance(checkout, Checkout)
    wiring.checkouts().save(checkout, NOW + timedelta(days=90))
    return checkout


def begun(checkout_id: str = "c_1001", details: Details = DETAILS) -> Checkout:
    """A checkout that was heard of once, and waits."""
    checkout = Checkout(store_id="my-store", checkout_id=checkout_id)
    told = Snapshot(checkout_id=checkout_id, event_time=NOW - timedelta(seconds=2), details=details)
    return kept(checkout.apply(told, NOW, timedelta(minutes=15)))


def abandoned(checkout: Checkout, shopper: Shopper = UNKNOWN) -> Checkout:
    """The checkout after its wait."""
    return kept(checkout.abandon(shopper, Policy(timedelta(days=1)), NOW + timedelta(minutes=16)))


def recorded(event: CheckoutEvent | None, checkout_id: str = "c_1001", **fields: Any) -> DeliveryRecord:
    """An entry of the delivery log, of the fixtures' subscription."""
    assert event
    known: dict[str, Any] = {
        "subscription_id": SUBSCRIPTION_ID,
        "delivery_id": delivery_id(event, fields.get("subscription_id", SUBSCRIPTION_ID)),
        "store_id": "my-store",
        "checkout_id": checkout_id,
        "event_id": event.id,
        "event_type": event.type.value,
        "sequence": 2,
        "state": State.DELIVERED,
        "attempts": 1,
        "reason": None,
        "status": 200,
        "latency_ms": 12,
        "recorded_at": event.time + timedelta(seconds=1),
        "expires_at": NOW + timedelta(days=400),
    }
    record = DeliveryRecord(**known | fields)
    wiring.deliveries().record([record])
    return record


def happened(number: int) -> CheckoutEvent:
    return CheckoutEvent(id=f"evt_{number}", type=EventType.UPDATED, time=NOW + timedelta(seconds=number))


def is_problem(answer: Answer, status: int) -> bool:
    return bool(
        answer.status == status
        and answer.headers["content-type"] == "application/problem+json"
        and answer.body["status"] == status
        and answer.body["type"].startswith("/problems/")
    )


def fields(answer: Answer) -> list[str]:
    return [error["field"] for error in answer.body["errors"]]


# ---------------------------------------------------------------- every fixture


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("health", 200),
        ("put-store", 200),
        ("put-store-new-token", 200),
        ("put-store-out-of-bounds", 422),
        ("put-store-unknown-field", 422),
        ("put-store-quiet-hours", 200),
        ("put-store-quiet-hours-without-length", 422),
        ("put-store-as-store", 403),
        ("get-store", 200),
        ("get-store-unknown", 404),
        ("delete-store", 204),
        ("put-provider-flexype", 204),
        ("put-provider-cashfree", 204),
        ("put-provider-recipe-for-flexype", 422),
        ("put-provider-unknown", 404),
        ("put-provider-other-store", 403),
        ("create-subscription", 201),
        ("create-subscription-cashfree", 201),
        ("create-subscription-flexype-2025-09", 201),
        ("create-subscription-flexype-2026-05", 201),
        ("create-subscription-requirements", 201),
        ("create-subscription-foreign-requirements", 422),
        ("create-subscription-unknown-version", 422),
        ("create-subscription-unknown-event", 422),
        ("create-subscription-foreign-event", 422),
        ("create-subscription-private-address", 422),
        ("create-subscription-plain-http", 422),
        ("create-subscription-header-smuggled", 422),
        ("create-subscription-header-reserved", 422),
        ("create-subscription-repeated-key", 422),
        ("create-subscription-not-json", 422),
        ("create-subscription-other-store", 403),
        ("create-subscription-no-caller", 401),
        ("list-subscriptions", 200),
        ("get-subscription", 200),
        ("get-subscription-unknown", 404),
        ("change-subscription", 200),
        ("change-subscription-requirements", 200),
        ("change-subscription-null", 422),
        ("delete-subscription", 204),
        ("rotate-key", 200),
        ("rotate-key-too-short", 422),
        ("send-sample", 200),
        ("list-deliveries", 200),
        ("list-deliveries-suppressed", 200),
        ("list-deliveries-no-offset", 422),
        ("list-deliveries-foreign-cursor", 422),
        ("list-deliveries-unknown-filter", 422),
        ("list-deliveries-other-store", 403),
        ("get-checkout", 200),
        ("get-checkout-any-characters", 200),
        ("get-checkout-unknown", 404),
        ("get-checkout-other-store", 403),
        ("unknown-route", 404),
        ("wrong-method", 405),
    ],
)
def test_every_fixture_is_answered(
    subscription: Subscription, event: Load, context: SimpleNamespace, name: str, status: int
) -> None:
    begun()
    begun(ANY_CHARACTERS)
    answer = Answer(handler(event("manage-" + name), context))
    assert answer.status == status
    assert status < 400 or is_problem(answer, status)
    assert answer.headers["cache-control"] == "no-store"


# ---------------------------------------------------------------- stores


def test_a_new_store_gets_a_token_that_is_shown_once_and_kept_as_a_hash(
    call: Call, dynamodb: DynamoDBClient
) -> None:
    made = call("PUT", "/v1/stores/my-store", {"currency": "INR"}, ADMIN)
    token = made.body["store_token"]
    assert made.status == 201
    assert token.startswith("crs_my-store.")
    assert len(token.rpartition(".")[2]) == 43
    assert made.body["settings"]["currency"] == "INR"
    shown = call("GET", "/v1/stores/my-store", caller=ADMIN)
    assert "store_token" not in shown.body
    items = str(dynamodb.scan(TableName="RegistryTable")["Items"])
    assert token not in items
    assert token_hash(token) in items
    assert token_hash(token) not in made.text + shown.text


def test_a_second_put_replaces_all_settings(call: Call, store: Store) -> None:
    changed = call("PUT", "/v1/stores/my-store", {"currency": "INR"}, ADMIN)
    assert changed.status == 200
    assert changed.body["settings"]["currency"] == "INR"
    assert changed.body["settings"]["abandon_after_seconds"] == 900
    assert "store_token" not in changed.body
    assert call("GET", "/v1/stores/my-store", caller=ADMIN).body == changed.body


def test_a_lost_token_can_be_replaced(call: Call) -> None:
    first = call("PUT", "/v1/stores/my-store", {}, ADMIN).body["store_token"]
    second = call("PUT", "/v1/stores/my-store", {}, ADMIN, {"rotate_token": "true"}).body["store_token"]
    held = wiring.registry().store("my-store")
    assert held
    assert held.token_hash == token_hash(second) != token_hash(first)


def test_a_token_is_not_replaced_by_a_slip(call: Call, store: Store) -> None:
    assert is_problem(call("PUT", "/v1/stores/my-store", {}, ADMIN, {"rotate_token": "yes"}), 422)


@pytest.mark.parametrize("store_id", ["-a", ".a", "a b", "a" * 65, "caf\u00e9", "a:b"])
def test_a_store_may_not_be_called_everything(call: Call, store_id: str) -> None:
    answer = call("PUT", f"/v1/stores/{store_id}", {}, ADMIN)
    assert is_problem(answer, 422)
    assert fields(answer) == ["store_id"]


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"abandon_after_seconds": 59}, "abandon_after_seconds"),
        ({"abandon_after_seconds": 86_401}, "abandon_after_seconds"),
        ({"abandon_after_seconds": "900"}, "abandon_after_seconds"),
        ({"abandon_after_seconds": True}, "abandon_after_seconds"),
        ({"currency": "inr"}, "currency"),
        (
            {"quiet_hours": {"start": "24:00", "end": "09:00", "timezone": "Asia/Kolkata"}},
            "quiet_hours.start",
        ),
        (
            {"quiet_hours": {"start": "21:00", "end": "09:00", "timezone": "Asia/Atlantis"}},
            "quiet_hours.timezone",
        ),
        (
            {"quiet_hours": {"start": "09:00", "end": "09:00", "timezone": "Asia/Kolkata"}},
            "quiet_hours.end",
        ),
        ({"checkout_retention_days": 0}, "checkout_retention_days"),
        ({"domains": ["https://my-store.com"]}, "domains.0"),
        ({"abandon_after": 900}, "abandon_after"),
    ],
)
def test_settings_out_of_bounds_are_named(call: Call, settings: object, field: str) -> None:
    answer = call("PUT", "/v1/stores/my-store", settings, ADMIN)
    assert is_problem(answer, 422)
    assert fields(answer) == [field]
    assert wiring.registry().store("my-store") is None


def test_a_deleted_store_leaves_nothing_behind(
    call: Call, subscription: Subscription, dynamodb: DynamoDBClient, ssm: SSMClient
) -> None:
    call("PUT", "/v1/stores/my-store/providers/flexype", {"secret": "s"})
    assert call("DELETE", "/v1/stores/my-store", caller=ADMIN).status == 204
    assert dynamodb.scan(TableName="RegistryTable")["Items"] == []
    assert ssm.describe_parameters()["Parameters"] == []
    assert call("DELETE", "/v1/stores/my-store", caller=ADMIN).status == 204
    assert is_problem(call("GET", "/v1/stores/my-store", caller=ADMIN), 404)
    assert is_problem(call("GET", "/v1/stores/my-store/subscriptions"), 404)


def test_a_namesake_does_not_inherit_what_an_interrupted_delete_left(
    call: Call, subscription: Subscription
) -> None:
    before = wiring.registry().subscriptions("my-store").revision
    wiring.registry().delete_store("my-store")
    call("PUT", "/v1/stores/my-store", {}, ADMIN)
    known = wiring.registry().subscriptions("my-store")
    assert known.items == ()
    assert known.revision > before, "or a cache of the old store's subscriptions would look current"


# ---------------------------------------------------------------- who may


@pytest.mark.parametrize("method", ["PUT", "GET", "DELETE"])
@pytest.mark.parametrize("caller", [STORE, OTHER])
def test_stores_are_the_operators(call: Call, store: Store, method: str, caller: dict[str, str]) -> None:
    assert is_problem(call(method, "/v1/stores/my-store", {} if method == "PUT" else None, caller), 403)
    assert wiring.registry().store("my-store") == store


ROUTES_OF_A_STORE = [
    ("PUT", "/providers/flexype"),
    ("POST", "/subscriptions"),
    ("GET", "/subscriptions"),
    ("GET", f"/subscriptions/{SUBSCRIPTION_ID}"),
    ("PATCH", f"/subscriptions/{SUBSCRIPTION_ID}"),
    ("DELETE", f"/subscriptions/{SUBSCRIPTION_ID}"),
    ("POST", f"/subscriptions/{SUBSCRIPTION_ID}/rotate"),
    ("POST", f"/subscriptions/{SUBSCRIPTION_ID}/test"),
    ("GET", f"/subscriptions/{SUBSCRIPTION_ID}/deliveries"),
    ("GET", "/checkouts/c_1001"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES_OF_A_STORE)
def test_another_store_is_told_the_same_whether_or_not_there_is_such_a_store(
    call: Call, subscription: Subscription, method: str, path: str
) -> None:
    begun()
    there = call(method, "/v1/stores/my-store" + path, caller=OTHER)
    not_there = call(method, "/v1/stores/no-such-store" + path, caller=OTHER)
    assert is_problem(there, 403)
    assert (there.status, there.text) == (not_there.status, not_there.text)
    assert wiring.registry().subscription("my-store", SUBSCRIPTION_ID) == subscription


@pytest.mark.parametrize(("method", "path"), [*ROUTES_OF_A_STORE, ("GET", ""), ("PUT", ""), ("DELETE", "")])
def test_nobody_may_do_nothing(call: Call, subscription: Subscription, method: str, path: str) -> None:
    assert is_problem(call(method, "/v1/stores/my-store" + path, caller=None), 401)
    nameless = {"scope": "store", "store_id": ""}
    assert is_problem(call(method, "/v1/stores/my-store" + path, caller=nameless), 403)


def test_the_operator_may_do_what_a_store_may(call: Call, store: Store) -> None:
    assert call("POST", "/v1/stores/my-store/subscriptions", REQUEST, ADMIN).status == 201
    assert call("GET", "/v1/stores/my-store/subscriptions", caller=ADMIN).status == 200
    assert is_problem(call("POST", "/v1/stores/no-such-store/subscriptions", REQUEST, ADMIN), 404)


# ---------------------------------------------------------------- providers' secrets


def provider_keys(name: str = "flexype") -> Secret:
    held = wiring.registry().store("my-store")
    assert held
    secret = wiring.secrets().get(provider_secret("my-store", name), held.providers[name].secret_version)
    assert secret
    return secret


def test_a_providers_secret_is_kept_in_ssm_alone(
    call: Call, store: Store, dynamodb: DynamoDBClient, ssm: SSMClient
) -> None:
    assert call("PUT", "/v1/stores/my-store/providers/shopify", {"secret": "shared-secret"}).text == ""
    assert provider_keys("shopify").keys == ("shared-secret",)
    (parameter,) = ssm.describe_parameters()["Parameters"]
    assert parameter["Name"] == "/checkout-recovery-test/stores/my-store/providers/shopify"
    assert parameter["Type"] == "SecureString"
    assert "shared-secret" not in str(dynamodb.scan(TableName="RegistryTable")["Items"])
    assert "shared-secret" not in call("GET", "/v1/stores/my-store", caller=ADMIN).text


def test_secrets_that_were_replaced_stay_valid_for_an_hour(call: Call, store: Store) -> None:
    for secret in ("first", "second", "third"):
        call("PUT", "/v1/stores/my-store/providers/flexype", {"secret": secret})
    now = datetime.now(UTC)
    assert provider_keys().valid_keys(now + timedelta(minutes=59)) == ("third", "second", "first")
    assert provider_keys().valid_keys(now + timedelta(minutes=61)) == ("third",)


def test_the_same_secret_again_drops_nothing(call: Call, store: Store) -> None:
    for secret in ("first", "second", "second"):
        assert call("PUT", "/v1/stores/my-store/providers/flexype", {"secret": secret}).status == 204
    assert provider_keys().valid_keys(datetime.now(UTC)) == ("second", "first")


@pytest.mark.parametrize("before", [[], ["first"]])
def test_of_two_secrets_set_at_once_one_is_refused_and_not_kept(
    call: Call, store: Store, before: list[str]
) -> None:
    for secret in before:
        call("PUT", "/v1/stores/my-store/providers/flexype", {"secret": secret})

    def overtaken() -> datetime:
        """The clock is read after the store; by then another call has been and gone."""
        assert call("PUT", "/v1/stores/my-store/providers/flexype", {"secret": "winner"}).status == 204
        return datetime.now(UTC)

    slow = StoreKeeper(wiring.registry(), wiring.secrets(), overtaken)
    with pytest.raises(Conflict):
        slow.set_provider("my-store", "flexype", ProviderRequest(secret="loser"))
    assert list(provider_keys().keys) == ["winner", *before]


def test_a_secret_that_has_not_reached_ssm_yet_is_not_overtaken(call: Call, store: Store) -> None:
    path = "/v1/stores/my-store/providers/flexype"
    assert call("PUT", path, {"secret": "first"}).status == 204
    wiring.secrets().put(provider_secret("my-store", "flexype"), Secret(("before",), 1))
    assert is_problem(call("PUT", path, {"secret": "second"}), 409)


def test_a_store_shows_which_shop_its_providers_speak_of(call: Call, store: Store) -> None:
    call("PUT", "/v1/stores/my-store/providers/flexype", {"secret": "s"})
    assert call("GET", "/v1/stores/my-store", caller=ADMIN).body["providers"]["flexype"]["shops"] == []
    wiring.registry().bind_shop("my-store", "flexype", ("12345", "my-store.com"))
    shown = call("GET", "/v1/stores/my-store", caller=ADMIN).body["providers"]["flexype"]
    assert shown["shops"] == ["12345", "my-store.com"]


def test_cashfree_may_sign_by_another_recipe(call: Call, store: Store) -> None:
    call("PUT", "/v1/stores/my-store/providers/cashfree", {"secret": "s", "recipe": "hex_body"})
    shown = call("GET", "/v1/stores/my-store", caller=ADMIN).body["providers"]
    assert shown["cashfree"]["recipe"] == "hex_body"


@pytest.mark.parametrize(
    "body", [{}, {"secret": ""}, {"secret": "a\nb"}, {"secret": 1}, {"secret": " s"}, {"secret": "s" * 1025}]
)
def test_what_is_no_secret_is_refused(call: Call, store: Store, body: object) -> None:
    answer = call("PUT", "/v1/stores/my-store/providers/flexype", body)
    assert is_problem(answer, 422)
    assert fields(answer) == ["secret"]


def test_a_secret_that_ssm_cannot_hold_changes_nothing(
    call: Call, store: Store, dynamodb: DynamoDBClient, ssm: SSMClient
) -> None:
    before = dynamodb.scan(TableName="RegistryTable")["Items"]
    answer = call("PUT", "/v1/stores/my-store/providers/flexype", {"secret": "a{{b}}"})
    assert is_problem(answer, 422)
    assert "{{" not in answer.text
    assert dynamodb.scan(TableName="RegistryTable")["Items"] == before
    assert ssm.describe_parameters()["Parameters"] == []


# ---------------------------------------------------------------- subscriptions


def test_a_new_subscription_gets_a_key_that_is_shown_once(
    call: Call, store: Store, dynamodb: DynamoDBClient
) -> None:
    made = call("POST", "/v1/stores/my-store/subscriptions", REQUEST | {"headers": {"X-Api-Key": "v\u00e9"}})
    key, subscription_id = made.body["webhook_key"], made.body["subscription_id"]
    assert made.status == 201
    assert len(key_bytes(key)) == 32
    assert made.body["events"] == [event.value for event in EventType]
    assert made.body["header_names"] == ["X-Api-Key"]
    assert made.body["untried"]
    shown = call("GET", f"/v1/stores/my-store/subscriptions/{subscription_id}")
    assert shown.body == {name: value for name, value in made.body.items() if name != "webhook_key"}
    assert key not in str(dynamodb.scan(TableName="RegistryTable")["Items"])
    held = wiring.registry().subscription("my-store", subscription_id)
    assert held
    secret = wiring.secrets().get(subscription_secret("my-store", subscription_id), held.key_version)
    assert secret
    assert secret.keys == (key,)
    assert secret.headers == {"X-Api-Key": "v\u00e9"}


def test_once_it_is_made_a_key_is_told_without_another_call(
    calls: list[str], call: Call, store: Store
) -> None:
    assert call("POST", "/v1/stores/my-store/subscriptions", REQUEST).status == 201
    assert calls[-1] == "TransactWriteItems", "what could fail after it would lose the key"


def test_events_are_listed_once_and_in_the_contracts_order(call: Call, store: Store) -> None:
    wanted = ["checkout.recovered", "checkout.created", "checkout.recovered"]
    made = call("POST", "/v1/stores/my-store/subscriptions", REQUEST | {"events": wanted})
    assert made.body["events"] == ["checkout.created", "checkout.recovered"]


def test_a_subscription_says_whose_abandonments_it_is_told_of(call: Call, store: Store) -> None:
    rules = {"consent": "granted", "requires": ["name", "phone", "checkout_url", "phone"]}
    made = call("POST", "/v1/stores/my-store/subscriptions", REQUEST | rules)
    assert made.status == 201
    assert made.body["consent"] == "granted"
    assert made.body["requires"] == ["phone", "checkout_url", "name"], "each once, in one order"
    listed = call("GET", "/v1/stores/my-store/subscriptions").body["subscriptions"]
    assert [each["requires"] for each in listed] == [["phone", "checkout_url", "name"]]


def test_a_subscription_that_says_nothing_is_told_of_all_who_have_not_refused(
    call: Call, store: Store
) -> None:
    made = call("POST", "/v1/stores/my-store/subscriptions", REQUEST).body
    assert (made["consent"], made["requires"]) == ("not_denied", [])


def test_what_holds_nothing_back_may_be_said_to_a_topic_without_abandonments(
    call: Call, store: Store
) -> None:
    request = {
        "topic": "ACR_CHECKOUT",
        "version": "2026-05",
        "callback_url": "https://receiver.example.com/",
        "consent": "not_denied",
        "requires": [],
    }
    assert call("POST", "/v1/stores/my-store/subscriptions", request).status == 201


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"topic": "carts"}, "version"),
        ({"version": None}, "version"),
        ({"events": []}, "events"),
        ({"events": ["checkout.lost"]}, "events.0"),
        ({"recipe": "hex_body"}, "recipe"),
        ({"recipe": "rot13"}, "recipe"),
        ({"consent": "denied"}, "consent"),
        ({"consent": None}, "consent"),
        ({"requires": "phone"}, "requires"),
        ({"requires": None}, "requires"),
        ({"requires": ["phone", "fax"]}, "requires.1"),
        ({"topic": "ACR_CHECKOUT", "version": "2026-05", "consent": "granted"}, "consent"),
        ({"topic": "ACR_CHECKOUT", "version": "2025-09", "requires": ["email"]}, "requires"),
        ({"secret": "mine"}, "secret"),
        ({"callback_url": ""}, "callback_url"),
        ({"callback_url": "https://user:pw@receiver.example.com/"}, "callback_url"),
        ({"callback_url": "https://127.0.0.1/"}, "callback_url"),
        ({"callback_url": "https://localhost/"}, "callback_url"),
        ({"callback_url": "https://[::ffff:10.0.0.1]/"}, "callback_url"),
        ({"callback_url": "https://0x7f.1/"}, "callback_url"),
        ({"callback_url": "https://receiver.example.com/a\r\nb"}, "callback_url"),
        ({"callback_url": "ftp://receiver.example.com/"}, "callback_url"),
        ({"callback_url": "https://receiver.example.com/" + "a" * 2048}, "callback_url"),
        ({"headers": {f"X-{number}": "v" for number in range(11)}}, "headers"),
        ({"headers": {"X-Key": 1}}, "headers.X-Key"),
        ({"headers": {"X-Key": "a", "x-key": "b"}}, "headers"),
        *(({"headers": {name: "v"}}, "headers") for name in ("Host", "content-length", "Transfer-Encoding")),
        *(
            ({"headers": {name: "v"}}, "headers")
            for name in ("Connection", "User-Agent", "Content-Type", "TE")
        ),
        *(({"headers": {name: "v"}}, "headers") for name in ("webhook-id", "X-Webhook-Id", "x-store-url")),
        *(({"headers": {name: "v"}}, "headers") for name in ("X-Flexype-Authorization", "x-event-id")),
        *(({"headers": {name: "v"}}, "headers") for name in ("", "a b", "a:b", "a\nb", "caf\u00e9")),
        *(({"headers": {"X-Key": value}}, "headers") for value in ("a\nb", "a\rb", "a\x00b")),
    ],
)
def test_what_cannot_be_subscribed_is_named_and_nothing_is_kept(
    call: Call, store: Store, ssm: SSMClient, change: dict[str, Any], field: str
) -> None:
    answer = call("POST", "/v1/stores/my-store/subscriptions", REQUEST | change)
    assert is_problem(answer, 422)
    assert fields(answer) == [field]
    assert wiring.registry().subscription_ids("my-store") == []
    assert ssm.describe_parameters()["Parameters"] == []


@pytest.mark.parametrize("value", ["v" * 5000, "{{ssm:/another}}"])
def test_headers_that_no_parameter_can_hold_are_refused(
    call: Call, store: Store, ssm: SSMClient, value: str
) -> None:
    headers = {"X-Key": value}
    assert is_problem(call("POST", "/v1/stores/my-store/subscriptions", REQUEST | {"headers": headers}), 422)
    assert ssm.describe_parameters()["Parameters"] == []


def test_a_refusal_never_repeats_what_it_refuses(call: Call, store: Store, log: list[str]) -> None:
    secret = "do-not-repeat"
    bodies: list[dict[str, Any]] = [
        {"callback_url": f"http://receiver.example.com/{secret}"},
        {"headers": {"X-Key": f"{secret}\n"}},
        {"topic": secret},
        {"events": [secret]},
        {"recipe": secret},
    ]
    answers = [call("POST", "/v1/stores/my-store/subscriptions", REQUEST | body) for body in bodies]
    answers.append(call("POST", "/v1/stores/my-store/subscriptions", '{"callback_url": "' + secret))
    answers.append(call("PUT", "/v1/stores/my-store/providers/flexype", {"secret": secret + "\n"}))
    assert [answer.status for answer in answers] == [422] * 7
    assert secret not in "".join(answer.text for answer in answers) + "".join(log)


def test_a_store_that_is_not_there_takes_no_subscription_and_no_secret(call: Call, ssm: SSMClient) -> None:
    assert is_problem(call("POST", "/v1/stores/my-store/subscriptions", REQUEST), 404)
    assert is_problem(call("PUT", "/v1/stores/my-store/providers/flexype", {"secret": "s"}), 404)
    assert ssm.describe_parameters()["Parameters"] == []


def test_lists_come_in_pages_oldest_first(call: Call, store: Store) -> None:
    made = [
        call("POST", "/v1/stores/my-store/subscriptions", REQUEST).body["subscription_id"] for _ in range(5)
    ]
    listed: list[str] = []
    query = {"limit": "2"}
    while True:
        page = call("GET", "/v1/stores/my-store/subscriptions", query=query).body
        assert len(page["subscriptions"]) <= 2
        listed += [each["subscription_id"] for each in page["subscriptions"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert sorted(listed) == sorted(made)
    assert listed == sorted(listed)


@pytest.mark.parametrize("limit", ["0", "101", "-1", "x", "", "1e1", "\u0661"])
def test_a_page_has_bounds(call: Call, store: Store, limit: str) -> None:
    assert is_problem(call("GET", "/v1/stores/my-store/subscriptions", query={"limit": limit}), 422)


def test_a_change_changes_what_it_names_and_nothing_else(call: Call, subscription: Subscription) -> None:
    path = f"/v1/stores/my-store/subscriptions/{SUBSCRIPTION_ID}"
    before = call("GET", path).body
    revision = wiring.registry().subscriptions("my-store").revision
    changed = call("PATCH", path, {"paused": True})
    assert changed.status == 200
    assert changed.body == before | {"paused": True, "updated_at": changed.body["updated_at"]}
    assert call("GET", path).body == changed.body
    assert wiring.registry().subscriptions("my-store").revision == revision + 1
    assert call("PATCH", path, {}).body == changed.body
    assert call("PATCH", path, {"paused": True}).body == changed.body
    assert wiring.registry().subscriptions("my-store").revision == revision + 1, "nothing has changed"


def failing(*, is_told: bool = False) -> Circuit:
    """The subscription's circuit, which is open."""
    opened = Circuit.opened("my-store", SUBSCRIPTION_ID, datetime.now(UTC))
    circuit = replace(opened, is_told=is_told)
    assert wiring.registry().put_circuit(None, circuit)
    return circuit


@pytest.mark.parametrize(
    ("change", "untried"),
    [
        ({"callback_url": "https://another.example.com/h"}, True),
        ({"paused": False}, False),
        ({"callback_url": REQUEST["callback_url"]}, True),
    ],
    ids=["another receiver", "started again", "the receiver that it has"],
)
def test_a_receiver_that_is_named_or_started_again_is_failing_no_longer(
    call: Call, subscription: Subscription, change: dict[str, Any], untried: bool
) -> None:
    failing()
    path = f"/v1/stores/my-store/subscriptions/{SUBSCRIPTION_ID}"
    assert call("GET", path).body["failing_since"]
    revision = wiring.registry().subscriptions("my-store").revision
    assert call("PATCH", path, change).body["failing_since"] is None
    known = call("GET", path).body
    assert (known["failing_since"], known["untried"]) == (None, untried)
    assert wiring.registry().open_circuits() == []
    assert wiring.registry().subscriptions("my-store").revision > revision, "or warm functions go on waiting"


@pytest.mark.parametrize("change", [{"paused": True}, {"rate_limit_per_second": 5}, {"consent": "granted"}])
def test_any_other_change_leaves_a_failing_receiver_failing(
    call: Call, subscription: Subscription, change: dict[str, Any]
) -> None:
    circuit = failing()
    call("PATCH", f"/v1/stores/my-store/subscriptions/{SUBSCRIPTION_ID}", change)
    assert wiring.registry().subscriptions("my-store").circuits == {SUBSCRIPTION_ID: circuit}


def test_a_change_that_is_refused_leaves_a_failing_receiver_failing(
    call: Call, subscription: Subscription
) -> None:
    circuit = failing()
    change = {"callback_url": "https://10.0.0.1/", "paused": False}
    assert is_problem(call("PATCH", f"/v1/stores/my-store/subscriptions/{SUBSCRIPTION_ID}", change), 422)
    assert wiring.registry().subscriptions("my-store").circuits == {SUBSCRIPTION_ID: circuit}


@pytest.mark.parametrize(
    ("change", "waits"), [({"rate_limit_per_second": 10}, False), ({"paused": True}, True)]
)
def test_a_rate_that_is_named_counts_from_now(
    call: Call, subscription: Subscription, change: dict[str, Any], waits: bool
) -> None:
    turns, now = Turns(boto3.client("dynamodb"), "RegistryTable"), datetime.now(UTC)
    turns.take(SUBSCRIPTION_ID, 60, 1 / 60, now)
    call("PATCH", f"/v1/stores/my-store/subscriptions/{SUBSCRIPTION_ID}", change)
    (turn,) = turns.take(SUBSCRIPTION_ID, 1, 10, now)
    assert (turn > now + timedelta(minutes=59)) == waits


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"paused": None}, "paused"),
        ({"paused": "true"}, "paused"),
        ({"events": None}, "events"),
        ({"events": []}, "events"),
        ({"callback_url": None}, "callback_url"),
        ({"callback_url": "https://10.0.0.1/"}, "callback_url"),
        ({"consent": None}, "consent"),
        ({"consent": "unknown"}, "consent"),
        ({"requires": None}, "requires"),
        ({"requires": ["address"]}, "requires.0"),
        ({"topic": "checkout"}, "topic"),
        ({"headers": {}}, "headers"),
    ],
)
def test_what_cannot_be_changed_is_named(
    call: Call, subscription: Subscription, change: object, field: str
) -> None:
    answer = call("PATCH", f"/v1/stores/my-store/subscriptions/{SUBSCRIPTION_ID}", change)
    assert is_problem(answer, 422)
    assert fields(answer) == [field]
    assert wiring.registry().subscription("my-store", SUBSCRIPTION_ID) == subscription


def test_a_subscription_keeps_to_its_contracts_events(call: Call, store: Store) -> None:
    subscribed(
        "https://r.example.com/", topic="abandonedCheckout", version="v1", events=(EventType.ABANDONED,)
    )
    path = f"/v1/stores/my-store/subscriptions/{SUBSCRIPTION_ID}"
    answer = call("PATCH", path, {"events": ["checkout.abandoned", "checkout.created"]})
    assert fields(answer) == ["events.1"]


def test_whose_abandonments_a_subscription_is_told_of_can_be_changed(
    call: Call, subscription: Subscription
) -> None:
    path = f"/v1/stores/my-store/subscriptions/{SUBSCRIPTION_ID}"
    call("PATCH", path, {"consent": "granted", "requires": ["email", "phone", "email"]})
    shown = call("GET", path).body
    assert (shown["consent"], shown["requires"]) == ("granted", ["phone", "email"])
    same = call("PATCH", path, {"requires": ["email", "phone"]}).body
    assert same == shown, "nothing has changed"
    assert call("PATCH", path, {"requires": []}).body["requires"] == []
    assert call("GET", path).body["consent"] == "granted", "what a change leaves out stays"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"consent": "granted"}, ["consent"]),
        ({"requires": ["phone"]}, ["requires"]),
        ({"consent": "granted", "requires": ["phone"]}, ["consent", "requires"]),
        ({"consent": "not_denied", "requires": []}, []),
    ],
)
def test_a_topic_without_abandonments_has_nobody_to_spare(
    call: Call, store: Store, change: object, named: list[str]
) -> None:
    events = (EventType.CREATED, EventType.RECOVERED)
    subscribed("https://r.example.com/", topic="ACR_CHECKOUT", version="2026-05", events=events)
    answer = call("PATCH", f"/v1/stores/my-store/subscriptions/{SUBSCRIPTION_ID}", change)
    assert answer.status == (422 if named else 200)
    assert fields(answer) == named if named else answer.body["requires"] == []


def test_starting_again_forgives_why_a_subscription_was_disabled(call: Call, store: Store) -> None:
    subscribed("https://r.example.com/", disabled_reason="gone")
    path = f"/v1/stores/my-store/subscriptions/{SUBSCRIPTION_ID}"
    assert call("GET", path).body["disabled_reason"] == "gone"
    assert call("PATCH", path, {"paused": False}).body["disabled_reason"] is None


def test_a_deleted_subscription_leaves_nothing_behind_and_may_be_deleted_again(
    call: Call, subscription: Subscription, ssm: SSMClient
) -> None:
    path = f"/v1/stores/my-store/subscriptions/{SUBSCRIPTION_ID}"
    assert [call("DELETE", path).status for _ in range(2)] == [204, 204]
    assert is_problem(call("GET", path), 404)
    assert ssm.describe_parameters()["Parameters"] == []


@pytest.mark.parametrize("subscription_id", ["sub_1", "..", "sub_" + "0" * 27, "SUB_" + "0" * 26])
def test_what_is_no_subscription_is_not_found(call: Call, store: Store, subscription_id: str) -> None:
    assert is_problem(call("GET", f"/v1/stores/my-store/subscriptions/{subscription_id}"), 404)


# ---------------------------------------------------------------- rotation


def test_after_a_rotation_both_keys_sign_until_the_overlap_ends(
    call: Call, subscription: Subscription
) -> None:
    path = f"/v1/stores/my-store/subscriptions/{SUBSCRIPTION_ID}"
    rotated = call("POST", path + "/rotate", {"overlap_seconds": 600})
    assert rotated.status == 200
    new = rotated.body["webhook_key"]
    expires = datetime.fromisoformat(rotated.body["previous_key_expires_at"])
    assert abs(expires - datetime.now(UTC) - timedelta(seconds=600)) < timedelta(seconds=30)
    held = wiring.registry().subscription("my-store", SUBSCRIPTION_ID)
    assert held
    assert held.key_version > subscription.key_version
    secret = wiring.secrets().get(subscription_secret("my-store", SUBSCRIPTION_ID), held.key_version)
    assert secret
    assert secret.valid_keys(expires - timedelta(seconds=1)) == (new, KEY)
    assert secret.valid_keys(expires) == (new,)
    assert secret.headers == {"X-Api-Key": "header-secret"}, "headers outlive a rotation"
    assert "webhook_key" not in call("GET", path).body


def test_a_second_rotation_takes_nothing_from_the_first_ones_overlap(
    call: Call, subscription: Subscription
) -> None:
    path = f"/v1/stores/my-store/subscriptions/{SUBSCRIPTION_ID}"
    first = call("POST", path + "/rotate").body
    second = call("POST", path + "/rotate", {"overlap_seconds": 600}).body
    held = wiring.registry().subscription("my-store", SUBSCRIPTION_ID)
    assert held
    secret = wiring.secrets().get(subscription_secret("my-store", SUBSCRIPTION_ID), held.key_version)
    assert secret
    end = datetime.fromisoformat(first["previous_key_expires_at"])
    assert secret.valid_keys(datetime.now(UTC)) == (second["webhook_key"], first["webhook_key"], KEY)
    assert secret.valid_keys(end - timedelta(seconds=1)) == (second["webhook_key"], KEY)


def test_a_key_signs_along_for_a_day_unless_told_otherwise(call: Call, subscription: Subscription) -> None:
    rotated = call("POST", f"/v1/stores/my-store/subscriptions/{SUBSCRIPTION_ID}/rotate")
    expires = datetime.fromisoformat(rotated.body["previous_key_expires_at"])
    assert abs(expires - datetime.now(UTC) - timedelta(days=1)) < timedelta(seconds=30)


def test_keys_that_are_lost_cannot_be_rotated(call: Call, subscription: Subscription, ssm: SSMClient) -> None:
    name = subscription_secret("my-store", SUBSCRIPTION_ID)
    wiring.secrets().delete([name])
    path = f"/v1/stores/my-store/subscriptions/{SUBSCRIPTION_ID}"
    assert is_problem(call("POST", path + "/rotate"), 409)
    assert is_problem(call("POST", path + "/test"), 409)


def test_a_rotation_that_has_not_reached_ssm_yet_is_not_overtaken(
    call: Call, subscription: Subscription
) -> None:
    path = f"/v1/stores/my-store/subscriptions/{SUBSCRIPTION_ID}/rotate"
    call("POST", path)
    wiring.secrets().put(subscription_secret("my-store", SUBSCRIPTION_ID), Secret((KEY,), 1))
    assert is_problem(call("POST", path), 409)


# ---------------------------------------------------------------- sample


class Receiver(BaseHTTPRequestHandler):
    """Answers with the status that the path names, and keeps what it was sent."""

    seen: list[tuple[dict[str, str], bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append(({name.lower(): value for name, value in self.headers.items()}, body))
        self.send_response(int(self.path.strip("/")))
        self.end_headers()
        self.wfile.write(b"the receiver's own words")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver(environment: pytest.MonkeyPatch) -> Iterator[str]:
    environment.setenv("ALLOW_LOCAL_TARGETS", "true")
    Receiver.seen = []
    server = HTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    wiring.sender().close()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(
    ("topic", "version", "kind"),
    [
        ("checkout", "2026-11", EventType.COMPLETED),
        ("ACR_CHECKOUT", "2026-05", EventType.CREATED),
        ("ACR_CHECKOUT", "2025-09", EventType.RECOVERED),
        ("abandonedCheckout", "v1", EventType.ABANDONED),
    ],
)
def test_a_sample_is_signed_like_a_delivery(
    receiver: str, call: Call, store: Store, topic: str, version: str, kind: EventType
) -> None:
    subscribed(f"{receiver}/200", topic=topic, version=version, events=(kind,), paused=True)
    answer = call("POST", f"/v1/stores/my-store/subscriptions/{SUBSCRIPTION_ID}/test")
    assert answer.status == 200
    assert answer.body == {
        "delivered": True,
        "status": 200,
        "failure": None,
        "latency_ms": answer.body["latency_ms"],
    }
    ((headers, body),) = Receiver.seen
    assert Webhook(KEY).verify(body, headers)
    assert headers["x-api-key"] == "header-secret"


def test_a_sample_is_sent_whatever_a_subscription_asks_of_its_shoppers(
    receiver: str, call: Call, store: Store
) -> None:
    rules = {"consent": ConsentRule.GRANTED, "requires": tuple(Required)}
    subscribed(f"{receiver}/200", events=(EventType.ABANDONED,), **rules)
    answer = call("POST", f"/v1/stores/my-store/subscriptions/{SUBSCRIPTION_ID}/test")
    assert answer.body["delivered"]
    assert len(Receiver.seen) == 1


@pytest.mark.parametrize(("status", "is_failing"), [(200, False), (500, True)])
def test_a_sample_that_is_delivered_ends_the_wait_for_a_probe(
    receiver: str, call: Call, store: Store, status: int, is_failing: bool
) -> None:
    subscribed(f"{receiver}/{status}")
    failing()
    call("POST", f"/v1/stores/my-store/subscriptions/{SUBSCRIPTION_ID}/test")
    assert bool(wiring.registry().subscriptions("my-store").circuits) is is_failing


@pytest.mark.parametrize(
    ("stopped", "change", "untried"),
    [
        ({"paused": True}, {"paused": False}, True),
        ({"disabled_reason": "gone"}, {"paused": False}, True),
        ({}, {"paused": False}, False),
        ({"paused": True}, {"rate_limit_per_second": 5}, False),
    ],
    ids=["paused", "disabled", "running", "still paused"],
)
def test_only_what_was_stopped_and_is_started_again_is_untried(
    call: Call, store: Store, stopped: dict[str, Any], change: dict[str, Any], untried: bool
) -> None:
    subscribed("https://receiver.example.com/h", **stopped)
    changed = call("PATCH", f"/v1/stores/my-store/subscriptions/{SUBSCRIPTION_ID}", change)
    assert (changed.body["untried"], changed.body["failing_since"]) == (untried, None)
    assert bool(wiring.registry().subscriptions("my-store").circuits) is untried


def test_a_receiver_that_is_started_again_is_untried_until_a_sample_is_delivered(
    receiver: str, call: Call, store: Store
) -> None:
    subscribed(f"{receiver}/200", disabled_reason="failing")
    path = f"/v1/stores/my-store/subscriptions/{SUBSCRIPTION_ID}"
    assert not call("GET", path).body["untried"]
    assert call("PATCH", path, {"paused": False}).body["untried"]
    assert call("POST", f"{path}/test").body["delivered"]
    assert not call("GET", path).body["untried"]


@pytest.mark.parametrize("is_told", [True, False])
@pytest.mark.parametrize(
    ("method", "path", "change"),
    [
        ("PATCH", "", {"paused": False}),
        ("POST", "/test", None),
    ],
    ids=["started again", "a sample that is delivered"],
)
def test_who_was_told_that_a_receiver_fails_is_told_that_it_does_no_more(
    receiver: str,
    call: Call,
    store: Store,
    method: str,
    path: str,
    change: dict[str, Any] | None,
    is_told: bool,
) -> None:
    subscribed(f"{receiver}/200")
    failing(is_told=is_told)
    call(method, f"/v1/stores/my-store/subscriptions/{SUBSCRIPTION_ID}{path}", change)
    assert notices() == ["subscription.recovered"] * is_told


@pytest.mark.parametrize(
    ("stopped", "was_told", "told"),
    [
        ({"disabled_reason": "failing"}, False, ["subscription.recovered"]),
        ({"paused": True}, True, ["subscription.recovered"]),
        ({"paused": True}, False, []),
        ({}, True, ["subscription.recovered"]),
        ({}, False, []),
    ],
    ids=["disabled", "paused while it failed", "paused", "moved while it failed", "moved"],
)
def test_who_was_told_of_a_receiver_is_told_once_it_answers_again(
    receiver: str, call: Call, store: Store, stopped: dict[str, Any], was_told: bool, told: list[str]
) -> None:
    subscribed(f"{receiver}/200", **stopped)
    if was_told:
        failing(is_told=True)
    path = f"/v1/stores/my-store/subscriptions/{SUBSCRIPTION_ID}"
    call("PATCH", path, {"paused": False} if stopped else {"callback_url": f"{receiver}/201"})
    assert notices() == [], "it has answered nothing yet"
    call("POST", f"{path}/test")
    assert notices() == told


@pytest.mark.parametrize("status", [302, 404, 410, 500])
def test_a_receivers_refusal_is_told_without_its_words(
    receiver: str, call: Call, store: Store, status: int
) -> None:
    subscribed(f"{receiver}/{status}")
    answer = call("POST", f"/v1/stores/my-store/subscriptions/{SUBSCRIPTION_ID}/test")
    assert (answer.status, answer.body["delivered"], answer.body["status"]) == (200, False, status)
    assert answer.body["failure"] == "http"
    assert "words" not in answer.text


# ---------------------------------------------------------------- deliveries


def test_a_delivery_says_who_was_not_told_and_why(call: Call, subscription: Subscription) -> None:
    told = abandoned(begun(details=Details(cart_token="t")))
    record = recorded(
        told.event,
        state=State.SUPPRESSED,
        reason="no_contact",
        attempts=0,
        status=None,
        latency_ms=None,
    )
    assert told.event
    assert call("GET", DELIVERIES).body == {
        "deliveries": [
            {
                "delivery_id": record.delivery_id,
                "subscription_id": SUBSCRIPTION_ID,
                "event_id": told.event.id,
                "event_type": "checkout.abandoned",
                "checkout_id": "c_1001",
                "sequence": 2,
                "state": "suppressed",
                "reason": "no_contact",
                "attempts": 0,
                "status": None,
                "latency_ms": None,
                "history": [],
                "recorded_at": "2026-05-07T10:16:01Z",
            }
        ],
        "next_cursor": None,
    }


def test_deliveries_come_in_pages_newest_first(call: Call, subscription: Subscription) -> None:
    made = [recorded(happened(number)).delivery_id for number in range(5)]
    query = {"limit": "2"}
    listed: list[str] = []
    for _ in range(4):
        page = call("GET", DELIVERIES, query=query).body
        listed += [each["delivery_id"] for each in page["deliveries"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert listed == made[::-1]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, [4, 3, 2, 1]),
        ({"state": "delivered"}, [1]),
        ({"state": "suppressed"}, [4, 3]),
        ({"reason": "consent"}, [3]),
        ({"reason": "quiet_hours"}, []),
        ({"checkout_id": ANY_CHARACTERS}, [4]),
        ({"since": "2026-05-07T10:00:03Z"}, [4, 3]),
        ({"since": "2026-05-07T15:30:03+05:30", "state": "suppressed", "reason": "consent"}, [3]),
    ],
)
def test_deliveries_are_found_by_what_became_of_them(
    call: Call, subscription: Subscription, query: dict[str, str], found: list[int]
) -> None:
    recorded(happened(1))
    recorded(happened(2), state=State.PENDING, reason="timeout", status=None)
    recorded(happened(3), state=State.SUPPRESSED, reason="consent")
    recorded(happened(4), ANY_CHARACTERS, state=State.SUPPRESSED, reason="cooldown")
    listed = call("GET", DELIVERIES, query=query).body["deliveries"]
    assert [each["event_id"] for each in listed] == [f"evt_{number}" for number in found]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"state": "lost"}, "state"),
        ({"reason": "Not at home"}, "reason"),
        ({"checkout_id": ""}, "checkout_id"),
        ({"since": "2026-05-07T10:00:00"}, "since"),
        ({"since": "1778148000"}, "since"),
        ({"cursor": "dlv_1"}, "cursor"),
        ({"limit": "101"}, "limit"),
        ({"sate": "suppressed"}, "sate"),
    ],
)
def test_what_deliveries_cannot_be_found_by_is_named(
    call: Call, subscription: Subscription, query: dict[str, str], field: str
) -> None:
    answer = call("GET", DELIVERIES, query=query)
    assert is_problem(answer, 422)
    assert fields(answer) == [field]


def test_a_cursor_of_another_store_opens_nothing_of_it(call: Call, subscription: Subscription) -> None:
    mine = recorded(happened(1))
    theirs = recorded(happened(2), subscription_id="sub_" + "0" * 26, store_id="another-store")
    page = call("GET", DELIVERIES, query={"cursor": theirs.delivery_id}).body
    assert [each["delivery_id"] for each in page["deliveries"]] == [mine.delivery_id]


def test_deliveries_of_another_stores_subscription_are_not_found(
    call: Call, subscription: Subscription
) -> None:
    recorded(happened(1))
    path = f"/v1/stores/another-store/subscriptions/{SUBSCRIPTION_ID}/deliveries"
    assert is_problem(call("GET", path, caller=OTHER), 404)
    assert is_problem(call("GET", path, caller=ADMIN), 404)


# ---------------------------------------------------------------- checkouts


def test_a_checkout_is_shown_as_it_stands_and_nothing_of_its_shopper(
    call: Call, subscription: Subscription, log: list[str]
) -> None:
    told = abandoned(begun())
    record = recorded(told.event)
    answer = call("GET", "/v1/stores/my-store/checkouts/c_1001")
    assert told.event
    assert answer.body == {
        "store_id": "my-store",
        "checkout_id": "c_1001",
        "status": "abandoned",
        "event": {"id": told.event.id, "type": "checkout.abandoned", "time": "2026-05-07T10:16:00Z"},
        "sequence": 2,
        "stage": "PAYMENT_LOADED",
        "discarded": False,
        "created_at": "2026-05-07T10:00:00Z",
        "active_at": "2026-05-07T10:00:00Z",
        "updated_at": "2026-05-07T09:59:58Z",
        "due_at": None,
        "abandoned_at": "2026-05-07T10:16:00Z",
        "told_at": "2026-05-07T10:16:00Z",
        "suppressed": None,
        "purchased_at": None,
        "completed_at": None,
        "order_id": None,
        "recovered_after_seconds": None,
        "has_phone": True,
        "has_email": True,
        "consent": "granted",
        "deliveries": [call("GET", DELIVERIES).body["deliveries"][0]],
    }
    assert answer.body["deliveries"][0]["delivery_id"] == record.delivery_id
    assert [datum for datum in SHOPPERS if datum in answer.text + "".join(log)] == []


def test_a_checkout_that_waits_says_until_when(call: Call, store: Store) -> None:
    begun(details=Details(phone=Phone.of("98", None), email="half@typed", consent=Consent.DENIED))
    shown = call("GET", "/v1/stores/my-store/checkouts/c_1001", caller=ADMIN).body
    assert (shown["status"], shown["due_at"]) == ("active", "2026-05-07T10:15:00Z")
    assert (shown["has_phone"], shown["has_email"], shown["consent"]) == (False, False, "denied")
    assert shown["deliveries"] == []


def test_a_checkout_says_why_nobody_was_told_of_it(call: Call, store: Store) -> None:
    abandoned(begun(), Shopper(told_at=NOW - timedelta(hours=1)))
    shown = call("GET", "/v1/stores/my-store/checkouts/c_1001").body
    assert (shown["status"], shown["suppressed"], shown["told_at"]) == ("abandoned", "cooldown", None)


def test_a_checkout_that_was_recovered_says_by_which_order_and_how_soon(call: Call, store: Store) -> None:
    bought_at = NOW + timedelta(minutes=21)
    purchase = Purchase(time=bought_at, heard_at=bought_at + timedelta(seconds=1), order_id="1001")
    kept(abandoned(begun()).buy(purchase, purchase.heard_at))
    shown = call("GET", "/v1/stores/my-store/checkouts/c_1001").body
    assert (shown["status"], shown["order_id"]) == ("recovered", "1001")
    assert shown["recovered_after_seconds"] == 300
    assert shown["purchased_at"] == shown["completed_at"] == "2026-05-07T10:21:00Z"
    assert shown["event"]["type"] == "checkout.recovered"


@pytest.mark.parametrize(
    ("checkout_id", "arrives"),
    [
        ("c 1", "c 1"),
        ("c 1", "c%201"),
        ("a/b", "a/b"),
        ("a/b", "a%2Fb"),
        ("a/b", "a%252Fb"),
        ("50%", "50%"),
        ("50%", "50%25"),
        ("50%", "50%2525"),
        ("50%25", "50%25"),
        ("50%20off", "50%20off"),
        ("caf\u00e9", "caf\u00e9"),
        ("caf\u00e9", "caf%C3%A9"),
        ("a+b", "a+b"),
        ("a\nb\n", "a\nb\n"),
        ("a/checkouts/b", "a/checkouts/b"),
        (ANY_CHARACTERS, "gid:%2F%2Fshop%2FCart%2F50%25%20caf%C3%A9%3Fkey=a%20b"),
    ],
)
def test_a_checkout_is_found_by_any_id_however_far_the_gateway_has_decoded_it(
    call: Call, store: Store, checkout_id: str, arrives: str
) -> None:
    begun(checkout_id)
    answer = call("GET", f"/v1/stores/my-store/checkouts/{arrives}")
    assert answer.status == 200
    assert answer.body["checkout_id"] == checkout_id


@pytest.mark.parametrize("checkout_id", ["c_1002", "c_1001/", "C_1001", "%", "x" * 513, "\u0939" * 400])
def test_an_unknown_checkout_is_not_found(call: Call, store: Store, checkout_id: str) -> None:
    begun()
    assert is_problem(call("GET", f"/v1/stores/my-store/checkouts/{checkout_id}"), 404)


def test_a_checkout_of_another_store_is_not_found(call: Call, store: Store) -> None:
    begun()
    assert is_problem(call("GET", "/v1/stores/another-store/checkouts/c_1001", caller=OTHER), 404)


# ---------------------------------------------------------------- requests that are none


def test_a_body_of_more_than_256_kib_is_refused(call: Call, store: Store) -> None:
    path = "/v1/stores/my-store/subscriptions"
    assert is_problem(call("POST", path, " " * (256 * 1024 + 1)), 413)
    assert is_problem(call("POST", path, "\u00e9" * (128 * 1024 + 1)), 413)
    assert is_problem(call("POST", path, " " * 256 * 1024), 422), "just not too large"
    assert is_problem(call("POST", path, "x" * 6_000_000), 413)


@pytest.mark.parametrize(
    "body",
    [
        "{",
        "[]",
        "null",
        "1",
        '{"topic":"a","topic":"b"}',
        '{"topic": NaN}',
        '{"topic": 1e999}',
        '{"a":' * 100 + "1" + "}" * 100,
        '{"topic": "\\ud800"}',
    ],
)
def test_what_is_not_a_json_object_is_malformed(call: Call, store: Store, body: str) -> None:
    assert is_problem(call("POST", "/v1/stores/my-store/subscriptions", body), 422)


@pytest.mark.parametrize("body", [b"\xff\xfe", b'{"topic":"\xff"}'])
def test_what_is_not_utf_8_is_malformed(
    store: Store, event: Load, context: SimpleNamespace, body: bytes
) -> None:
    sent = event("manage-create-subscription")
    sent |= {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}
    assert is_problem(Answer(handler(sent, context)), 422)
    assert is_problem(Answer(handler(sent | {"body": "a"}, context)), 422)


def test_a_body_in_base64_is_read(store: Store, event: Load, context: SimpleNamespace) -> None:
    sent = event("manage-create-subscription")
    sent |= {"body": base64.b64encode(sent["body"].encode()).decode(), "isBase64Encoded": True}
    assert Answer(handler(sent, context)).status == 201


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/stores/my-store/x", "/v1/stores/my-store/"])
def test_an_unknown_route_is_not_found(call: Call, path: str) -> None:
    assert is_problem(call("GET", path, caller=ADMIN), 404)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/v1/stores/my-store", "DELETE, GET, PUT"),
        ("OPTIONS", "/v1/stores/my-store/subscriptions", "GET, POST"),
        ("PUT", f"/v1/stores/my-store/subscriptions/{SUBSCRIPTION_ID}", "DELETE, GET, PATCH"),
        ("POST", "/v1/health", "GET"),
        ("DELETE", "/v1/stores/my-store/checkouts/a/b", "GET"),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(call: Call, method: str, path: str, allowed: str) -> None:
    answer = call(method, path, caller=ADMIN)
    assert is_problem(answer, 405)
    assert answer.headers["allow"] == allowed


def test_health_needs_no_token_and_no_aws(event: Load, context: SimpleNamespace) -> None:
    answer = Answer(handler(event("manage-health"), context))
    assert (answer.status, answer.body) == (200, {"status": "ok"})


def test_nothing_secret_is_logged(receiver: str, call: Call, log: list[str]) -> None:
    made = call("PUT", "/v1/stores/my-store", {}, ADMIN)
    call("PUT", "/v1/stores/my-store/providers/flexype", {"secret": "provider-secret"})
    url = f"{receiver}/200?path-token"
    request = REQUEST | {"callback_url": url, "headers": {"X-Api-Key": "header-secret"}}
    subscription = call("POST", "/v1/stores/my-store/subscriptions", request)
    path = f"/v1/stores/my-store/subscriptions/{subscription.body['subscription_id']}"
    rotated = call("POST", path + "/rotate")
    for method, end in (("GET", ""), ("POST", "/test"), ("PATCH", ""), ("DELETE", ""), ("GET", "")):
        call(method, path + end, {"callback_url": url + "2"} if method == "PATCH" else None)
    secrets = [
        made.body["store_token"],
        token_hash(made.body["store_token"]),
        "provider-secret",
        "header-secret",
        "path-token",
        subscription.body["webhook_key"],
        rotated.body["webhook_key"],
    ]
    lines = "\n".join(log)
    assert len(log) > 8, "or nothing was watched"
    assert [secret for secret in secrets if secret in lines] == []
