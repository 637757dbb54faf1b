from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from checkout_recovery.checkout.phone import Phone
from checkout_recovery.checkout.snapshot import Address, Client, Item, Shop, Variant
from checkout_recovery.errors import MalformedRequest
from checkout_recovery.json_codec import dumps
from checkout_recovery.providers import shopify
from checkout_recovery.providers.provider import Credentials, Request
from checkout_recovery.signing import Recipe, sign
from local.fixtures import SECRET, SHOPIFY_NEW, SHOPIFY_ORDER, SHOPIFY_UPDATED
from local.fixtures import shopify as fixture
from tests.unit.providers.requests import CREDENTIALS, order_of, read, request_of, snapshot_of


def update(**members: Any) -> dict[str, Any]:
    return SHOPIFY_UPDATED | members


def order(**members: Any) -> dict[str, Any]:
    return SHOPIFY_ORDER | members


class TestAuthentication:
    @pytest.mark.parametrize("secrets", [(SECRET,), ("new", SECRET)])
    def test_the_new_and_the_old_secret_are_proof(self, secrets: tuple[str, ...]) -> None:
        request = request_of(fixture("key", "checkouts/create", SHOPIFY_NEW))
        assert shopify.is_authentic(request, Credentials(secrets))

    def test_hex_is_not_how_shopify_signs_whatever_is_configured(self) -> None:
        body = dumps(SHOPIFY_NEW).encode()
        request = Request({"x-shopify-hmac-sha256": sign(Recipe.HEX_BODY, SECRET, body)}, body)
        assert not shopify.is_authentic(request, Credentials((SECRET,), Recipe.HEX_BODY))

    @pytest.mark.parametrize("signature", ["", "AAAA", "é", "\udcff"])
    def test_a_damaged_signature_proves_nothing(self, signature: str) -> None:
        request = Request({"x-shopify-hmac-sha256": signature}, dumps(SHOPIFY_NEW).encode())
        assert not shopify.is_authentic(request, CREDENTIALS)

    def test_a_body_written_again_is_not_the_body_that_was_signed(self) -> None:
        request = request_of(fixture("key", "checkouts/create", SHOPIFY_NEW))
        assert not shopify.is_authentic(Request(request.headers, request.body + b"\n"), CREDENTIALS)


class TestCheckouts:
    def test_a_new_checkout_knows_its_cart_and_nobody(self) -> None:
        snapshot = snapshot_of(fixture("new", "checkouts/create", SHOPIFY_NEW))
        details = snapshot.details
        assert (snapshot.checkout_id, snapshot.alias) == ("123123123", "981820079255243537")
        assert (snapshot.event_id, snapshot.completed) == ("shopify_evt_new", False)
        assert snapshot.event_time == datetime(2026, 5, 7, 9, 55, tzinfo=UTC)
        assert (details.phone, details.email, details.name, details.address) == (None, None, None, None)
        assert details.cart_token == "eeafa272cebfd4b22385bc4b645e762c"
        assert details.shop == Shop(shopify_domain="my-store.myshopify.com")
        assert details.cart is not None
        assert details.cart.currency == "INR"
        assert (details.cart.total, details.cart.discount) == (Decimal(999), Decimal(0))
        (item,) = details.cart.lines
        assert item.model_copy(update={"extra": {}}) == Item(
            product_id="788032119674292922",
            variant_id="788032119674292923",
            title="Cool T-Shirt",
            quantity=1,
            grams=Decimal(200),
            price=Decimal("999.00"),
            total_price=Decimal("999.00"),
            variant=Variant(
                title="Large / Red", price=Decimal("999.00"), compare_at_price=Decimal("1200.00")
            ),
        )
        assert item.extra["sku"] == "CTS-L-R"

    def test_an_empty_array_is_no_address(self) -> None:
        details = snapshot_of(fixture("new", "checkouts/create", SHOPIFY_NEW)).details
        assert details.extra["shipping_address"] == []

    def test_an_update_knows_the_shopper(self) -> None:
        details = snapshot_of(fixture("update", "checkouts/update", SHOPIFY_UPDATED)).details
        assert details.phone == Phone(number="+919876543210", e164="+919876543210")
        assert details.email == "john.doe@example.com"
        assert (details.name, details.first_name, details.last_name) == ("John Doe", "John", "Doe")
        assert details.checkout_url is not None
        assert details.checkout_url.endswith("/recover?key=example")
        assert details.address is not None
        assert details.address.zip == "380001"
        assert details.address.extra["latitude"] == Decimal("23.0225")

    def test_the_customer_serves_where_the_checkout_has_no_contact(self) -> None:
        details = snapshot_of(fixture("c", "checkouts/update", update(email=None, phone=None))).details
        assert (details.email, details.phone) == (
            "john.doe@example.com",
            Phone(number="+919876543210", e164="+919876543210"),
        )
        assert details.extra["customer"] == SHOPIFY_UPDATED["customer"]

    def test_the_parcels_phone_and_name_serve_last(self) -> None:
        details = snapshot_of(fixture("c", "checkouts/update", update(phone=None, customer=None))).details
        assert details.phone == Phone(number="9876543210")
        assert (details.name, details.first_name) == ("John Doe", "John")

    def test_marketing_flags_are_no_consent_to_messages(self) -> None:
        details = snapshot_of(fixture("m", "checkouts/update", SHOPIFY_UPDATED)).details
        assert details.consent is None
        assert details.extra["buyer_accepts_marketing"] is True

    @pytest.mark.parametrize("completed_at", ["2026-05-07T15:40:00+05:30", "just now"])
    def test_a_completed_checkout_is_bought_even_at_a_garbled_time(self, completed_at: str) -> None:
        assert snapshot_of(fixture("done", "checkouts/update", update(completed_at=completed_at))).completed

    def test_a_retry_tells_its_time_by_when_the_checkout_changed(self) -> None:
        body = fixture(
            "t", "checkouts/update", SHOPIFY_UPDATED, x_shopify_triggered_at="2026-05-07T14:00:00Z"
        )
        assert snapshot_of(body).event_time == datetime(2026, 5, 7, 10, tzinfo=UTC)

    def test_without_that_the_trigger_tells_it(self) -> None:
        snapshot = snapshot_of(fixture("t", "checkouts/update", update(updated_at="soon")))
        assert snapshot.event_time == datetime(2026, 5, 7, 10, 0, 0, 123456, tzinfo=UTC)
        assert snapshot.details.extra["updated_at"] == "soon"

    def test_the_id_of_a_delivery_is_not_that_of_an_event(self) -> None:
        body = fixture("e", "checkouts/update", SHOPIFY_UPDATED, x_shopify_event_id="")
        assert snapshot_of(body).event_id is None

    def test_a_checkout_without_a_token_goes_by_its_number(self) -> None:
        snapshot = snapshot_of(fixture("id", "checkouts/update", update(token=None)))
        assert snapshot.checkout_id == snapshot.alias == "981820079255243537"

    def test_a_deletion_names_the_number_only(self) -> None:
        snapshot = snapshot_of(fixture("gone", "checkouts/delete", {"id": 981820079255243537}))
        assert snapshot.checkout_id == snapshot.alias == "981820079255243537"
        assert snapshot.discarded
        assert snapshot.event_time == datetime(2026, 5, 7, 10, 0, 0, 123456, tzinfo=UTC)

    @pytest.mark.parametrize("topic", ["checkouts/create", "checkouts/update", "checkouts/delete"])
    def test_a_checkout_without_any_id_is_refused(self, topic: str) -> None:
        with pytest.raises(MalformedRequest):
            read(fixture("id", topic, {"email": "john.doe@example.com"}))


class TestOrders:
    def test_an_order_says_that_its_shopper_has_bought(self) -> None:
        order = order_of(fixture("order", "orders/create", SHOPIFY_ORDER))
        details = order.details
        assert (order.checkout_id, order.checkout_token) == (None, "123123123")
        assert order.alias == "981820079255243537"
        assert order.event_id == "shopify_evt_order"
        assert order.event_time == datetime(2026, 5, 7, 10, 10, 1, tzinfo=UTC)
        assert details.order_id == "820982911946154508"
        assert details.completed_at == datetime(2026, 5, 7, 10, 10, tzinfo=UTC)
        assert details.phone == Phone(number="+919876543210", e164="+919876543210")
        assert details.cart_token == "eeafa272cebfd4b22385bc4b645e762c"
        assert isinstance(details.address, Address)
        assert details.cart is not None
        assert details.cart.lines[0].total_discount == 0
        assert details.client == Client(
            ip="203.0.113.7",
            user_agent="Mozilla/5.0",
            extra={"accept_language": "en-IN", "browser_ip": "203.0.113.7"},
        )

    def test_told_of_the_checkout_that_it_is_of_it_completes_it(self) -> None:
        order = order_of(fixture("order", "orders/create", SHOPIFY_ORDER))
        snapshot = order.told_of("found-by-phone")
        assert (snapshot.checkout_id, snapshot.completed) == ("found-by-phone", True)
        assert (snapshot.event_id, snapshot.event_time) == (order.event_id, order.event_time)
        assert snapshot.details == order.details

    def test_an_orders_name_is_not_the_shoppers(self) -> None:
        body = order(customer=None, shipping_address=[])
        details = order_of(fixture("order", "orders/create", body)).details
        assert details.name is None
        assert details.extra["name"] == "#1001"

    def test_an_orders_token_is_not_the_checkouts(self) -> None:
        details = order_of(fixture("order", "orders/create", SHOPIFY_ORDER)).details
        assert details.extra["token"] == "123456abcd"

    def test_an_order_may_name_its_checkout_by_number_only(self) -> None:
        told = order_of(fixture("order", "orders/create", order(checkout_token=None)))
        assert told.checkout_token == told.alias == "981820079255243537"

    def test_an_order_that_came_from_elsewhere_still_names_its_shopper(self) -> None:
        body = order(checkout_token=None, checkout_id=None)
        told = order_of(fixture("pos", "orders/create", body))
        assert (told.checkout_token, told.alias) == (None, None)
        assert told.details.email == "john.doe@example.com"
        assert read(fixture("pos", "orders/create", body)).shops == {"my-store.myshopify.com"}

    def test_an_order_whose_token_can_be_no_key_still_names_its_shopper(self) -> None:
        told = order_of(fixture("long", "orders/create", order(checkout_token="t" * 600)))
        assert told.checkout_token == told.alias
        assert told.details.extra["checkout_token"] == "t" * 600
        assert told.details.email == "john.doe@example.com"


@pytest.mark.parametrize("topic", ["", "products/update", "orders/paid"])
def test_another_topic_is_refused(topic: str) -> None:
    with pytest.raises(MalformedRequest) as refused:
        read(fixture("topic", topic, SHOPIFY_NEW))
    assert refused.value.errors[0].field == "X-Shopify-Topic"
