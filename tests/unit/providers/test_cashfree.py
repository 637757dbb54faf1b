from datetime import UTC, datetime
from decimal import Decimal
from http import HTTPStatus
from typing import Any

import pytest

from checkout_recovery.checkout.phone import Phone
from checkout_recovery.checkout.snapshot import Address, Consent
from checkout_recovery.errors import FieldError, MalformedRequest
from checkout_recovery.providers import cashfree
from checkout_recovery.providers.provider import Credentials, Request
from checkout_recovery.signing import Recipe
from local.fixtures import CASHFREE, SECRET
from local.fixtures import cashfree as fixture
from tests.unit.providers.requests import CREDENTIALS, read, request_of, snapshot_of

# From Cashfree's recipes as written down in docs, with the key `test_secret_do_not_use`.
BODY = '{"amount":170.00,"name":"Él"}'.encode()
TIMESTAMP = "1746427759733"
VECTORS = {
    Recipe.BASE64_BODY: "CGkRQWYK4xLn6H6eUoirAb7hONeHtd9fIbKeYGJZ48I=",
    Recipe.HEX_BODY: "08691141660ae312e7e87e9e5288ab01bee138d787b5df5f21b29e606259e3c2",
    Recipe.BASE64_TIMESTAMP_BODY: "oKa/Tftw+H9FdHPWJ6f7PAHcBAGnzDV/5Y4hE4vFmqE=",
}


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in CASHFREE.items() if key != name}


class TestAuthentication:
    @pytest.mark.parametrize("recipe", VECTORS)
    def test_each_recipe_proves_its_own_vector_and_no_other(self, recipe: Recipe) -> None:
        for made_by, signature in VECTORS.items():
            headers = {"x-webhook-signature": signature, "x-webhook-timestamp": TIMESTAMP}
            proven = cashfree.is_authentic(Request(headers, BODY), Credentials((SECRET,), recipe))
            assert proven == (made_by is recipe)

    def test_a_recipe_over_the_timestamp_needs_one(self) -> None:
        headers = {"x-webhook-signature": VECTORS[Recipe.BASE64_BODY]}
        credentials = Credentials((SECRET,), Recipe.BASE64_TIMESTAMP_BODY)
        assert not cashfree.is_authentic(Request(headers, BODY), credentials)

    @pytest.mark.parametrize("signature", ["", VECTORS[Recipe.BASE64_BODY][:-1], "é", "\udcff"])
    def test_a_damaged_signature_proves_nothing(self, signature: str) -> None:
        request = Request({"x-webhook-signature": signature}, BODY)
        assert not cashfree.is_authentic(request, CREDENTIALS)

    def test_the_raw_bytes_are_signed_not_what_they_mean(self) -> None:
        request = Request({"x-webhook-signature": VECTORS[Recipe.BASE64_BODY]}, BODY.replace(b":", b": "))
        assert not cashfree.is_authentic(request, CREDENTIALS)

    def test_another_stores_key_proves_nothing(self) -> None:
        assert not cashfree.is_authentic(request_of(fixture("key", CASHFREE)), Credentials(("another",)))


def test_our_layout_is_understood_to_the_last_field() -> None:
    notice = read(fixture("full", CASHFREE))
    (snapshot,) = notice.snapshots
    details = snapshot.details
    assert notice.shops == {"my-store.com", "my-store.myshopify.com"}
    assert (snapshot.checkout_id, snapshot.event_id) == ("occ_5f2d9a", "cf_evt_1001")
    assert snapshot.event_time == datetime(2026, 5, 7, 10, 15, tzinfo=UTC)
    assert snapshot.abandoned
    assert not snapshot.completed
    assert details.phone == Phone(number="9876543210", dial_code="91", e164="+919876543210")
    assert (details.email, details.name) == ("john.doe@example.com", "John Doe")
    assert details.checkout_url == "https://my-store.com/occ/checkout/occ_5f2d9a"
    assert details.address == Address(
        address1="12 MG Road",
        city="Ahmedabad",
        zip="380001",
        province="Gujarat",
        province_code="GJ",
        country="India",
        country_code="IN",
    )
    assert details.cart is not None
    assert (details.cart.currency, str(details.cart.total)) == ("INR", "999.00")
    assert details.cart.lines[0].price == Decimal("999.00")
    assert details.extra == {}


def test_a_zip_and_half_a_number_are_something() -> None:
    body = {"checkout_id": 17, "customer": {"phone": "98765"}, "address": {"zip": 380001}}
    snapshot = snapshot_of(fixture("partial", body))
    assert snapshot.checkout_id == "17"
    assert snapshot.details.phone == Phone(number="98765")
    assert snapshot.details.address == Address(zip="380001")
    assert snapshot.details.cart is None


@pytest.mark.parametrize(
    ("opt_in", "consent"),
    [(True, Consent.GRANTED), (False, Consent.DENIED), ("false", Consent.DENIED), (None, None), ("", None)],
)
def test_the_opt_in_is_the_consent(opt_in: object, consent: Consent | None) -> None:
    details = snapshot_of(fixture("consent", CASHFREE | {"marketing_opt_in": opt_in})).details
    assert details.consent is consent


def test_an_opt_in_that_says_neither_is_unknown_and_kept() -> None:
    details = snapshot_of(fixture("consent", CASHFREE | {"marketing_opt_in": "maybe"})).details
    assert details.consent is None
    assert details.extra == {"marketing_opt_in": "maybe"}


def test_without_an_event_id_the_request_id_serves() -> None:
    assert snapshot_of(fixture("id", without("event_id"))).event_id == "req_id"


def test_without_an_event_time_the_abandonments_serves() -> None:
    body = without("event_time") | {"abandoned_at": "2026-05-07T10:14:00Z"}
    assert snapshot_of(fixture("time", body)).event_time == datetime(2026, 5, 7, 10, 14, tzinfo=UTC)


def test_the_header_names_the_shop_where_the_body_does_not() -> None:
    notice = read(fixture("shop", without("store"), x_store_url="https://My-Store.com/"))
    assert notice.shops == {"my-store.com"}
    assert notice.snapshots[0].details.shop is not None
    assert notice.snapshots[0].details.shop.link == "https://My-Store.com/"


def test_fields_that_nobody_described_stay_where_they_came() -> None:
    customer = CASHFREE["customer"] | {"tier": "gold"}
    body = CASHFREE | {"sequence": 4, "customer": customer, "cart": CASHFREE["cart"] | {"weight": 2}}
    details = snapshot_of(fixture("extra", body)).details
    assert details.extra == {"sequence": 4, "customer": {"tier": "gold"}}
    assert details.cart is not None
    assert details.cart.extra == {"weight": 2}


@pytest.mark.parametrize(
    ("cart", "kept"),
    [({"note": None}, {"note": None}), ({"items": []}, {}), ({"items": None, "total": ""}, None), ({}, None)],
)
def test_a_cart_that_says_nothing_is_none(cart: dict[str, Any], kept: dict[str, Any] | None) -> None:
    told = snapshot_of(fixture("cart", CASHFREE | {"cart": cart})).details.cart
    assert (told and told.extra) == kept


@pytest.mark.parametrize(
    ("header", "expected"), [("x_webhook_topic", "abandonedCheckout"), ("x_webhook_version", "v1")]
)
def test_another_topic_or_version_is_refused(header: str, expected: str) -> None:
    with pytest.raises(MalformedRequest) as refused:
        read(fixture("header", CASHFREE, HTTPStatus.OK, **{header: "other"}))
    assert refused.value.errors == (FieldError(header.replace("_", "-"), f"must be {expected}"),)


@pytest.mark.parametrize("checkout_id", [None, "", " ", [], True, Decimal("1.5"), "x" * 513])
def test_a_checkout_without_an_id_is_refused(checkout_id: object) -> None:
    with pytest.raises(MalformedRequest) as refused:
        read(fixture("id", CASHFREE | {"checkout_id": checkout_id}))
    assert refused.value.errors[0].field == "checkout_id"
