from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from pydantic import TypeAdapter

from checkout_recovery.checkout.phone import Phone
from checkout_recovery.checkout.snapshot import Address, Cart, Consent, Details, Item, Snapshot
from checkout_recovery.errors import FieldError, MalformedRequest
from checkout_recovery.json_codec import dumps
from checkout_recovery.providers.own import CheckoutSnapshot, read_own
from local.fixtures import OWN


def snapshot_of(**members: Any) -> Snapshot:
    (snapshot,) = read_own(dumps({"checkout_id": "cart-42"} | members).encode()).snapshots
    return snapshot


def errors_of(**members: Any) -> tuple[FieldError, ...]:
    with pytest.raises(MalformedRequest) as refused:
        snapshot_of(**members)
    return refused.value.errors


def test_a_whole_snapshot_is_taken_as_it_is() -> None:
    assert snapshot_of(**OWN) == Snapshot(
        checkout_id="cart-42",
        event_id="storefront-1",
        event_time=datetime(2026, 5, 7, 10, tzinfo=UTC),
        details=Details(
            phone=Phone(number="+919876543210", e164="+919876543210"),
            email="john.doe@example.com",
            name="John Doe",
            consent=Consent.GRANTED,
            address=Address(zip="380001"),
            cart=Cart(
                items=(Item(product_id="12345", title="Cool T-Shirt", quantity=1, price=Decimal("999.00")),),
                currency="INR",
                total=Decimal("999.00"),
            ),
            stage="PHONE_ENTERED",
            checkout_url="https://my-store.com/cart/42",
            extra={"loyalty": {"points": 120}},
        ),
    )


def test_an_id_is_enough() -> None:
    assert snapshot_of() == Snapshot(checkout_id="cart-42")


def test_null_and_empty_text_say_nothing() -> None:
    members = set(CheckoutSnapshot.model_fields) - {"checkout_id"}
    assert snapshot_of(**dict.fromkeys(members)) == Snapshot(checkout_id="cart-42")
    assert snapshot_of(email="", phone="", event_time="", address={"zip": ""}).details.email is None


def test_blank_text_says_nothing() -> None:
    assert snapshot_of(email=" ", name="\t", phone="  ") == Snapshot(checkout_id="cart-42")
    assert snapshot_of(phone={"number": " ", "dial_code": "91"}) == Snapshot(checkout_id="cart-42")


def test_a_cart_may_not_have_endless_lines() -> None:
    (error,) = errors_of(cart={"items": [{}] * 1001})
    assert error.field == "cart.items"


def test_only_so_many_failing_fields_are_named() -> None:
    assert len(errors_of(cart={"items": [1] * 500})) == 20


def test_an_empty_object_says_nothing_and_an_empty_list_of_items_does() -> None:
    assert snapshot_of(cart={}, address={}, shop={"name": ""}) == Snapshot(checkout_id="cart-42")
    assert snapshot_of(cart={"items": []}).details.cart == Cart(items=())


def test_no_shop_is_compared_because_the_token_names_the_store() -> None:
    assert read_own(dumps({"checkout_id": 1, "shop": {"link": "x.com"}}).encode()).shops == frozenset()


def test_a_phone_that_is_none_is_refused_in_our_words() -> None:
    message = "must be a string, or an object with a number"
    assert errors_of(phone=5) == (FieldError("phone", message),)


def test_a_phone_may_be_split() -> None:
    phone = snapshot_of(phone={"number": "9876543210", "dial_code": "91"}).details.phone
    assert phone == Phone(number="9876543210", dial_code="91", e164="+919876543210")


@pytest.mark.parametrize("price", ["170.00", Decimal("170.00")])
def test_money_keeps_its_digits(price: object) -> None:
    cart = snapshot_of(cart={"total": price}).details.cart
    assert cart is not None
    assert str(cart.total) == "170.00"


def test_ids_may_be_numbers_of_any_size() -> None:
    assert snapshot_of(checkout_id=2**63 + 1).checkout_id == "9223372036854775809"


@pytest.mark.parametrize(
    ("consent", "known"),
    [("granted", Consent.GRANTED), ("denied", Consent.DENIED), ("unknown", None), (None, None)],
)
def test_unknown_consent_is_none(consent: str | None, known: Consent | None) -> None:
    assert snapshot_of(consent=consent).details.consent is known


def test_a_time_of_completion_says_that_it_is_complete() -> None:
    assert snapshot_of(completed_at="2026-05-07T10:00:00Z").completed
    assert not snapshot_of(completed=False).completed


SECRET_VALUE = "9876543210-secret"


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"checkout_id": None}, "checkout_id"),
        ({"checkout_id": " "}, "checkout_id"),
        ({"checkout_id": "क" * 200}, "checkout_id"),
        ({"email": [SECRET_VALUE]}, "email"),
        ({"phone": {"no": SECRET_VALUE, "number": "1"}}, "phone.no"),
        ({"phone": [SECRET_VALUE]}, "phone"),
        ({"consent": SECRET_VALUE}, "consent"),
        ({"completed": SECRET_VALUE}, "completed"),
        ({"event_time": SECRET_VALUE}, "event_time"),
        ({"event_time": "2026-05-07T10:00:00"}, "event_time"),
        ({"event_time": 1778148000}, "event_time"),
        ({"cart": {"items": [{}, {"price": SECRET_VALUE}]}}, "cart.items.1.price"),
        ({"cart": {"items": [{"quantity": SECRET_VALUE}]}}, "cart.items.0.quantity"),
        ({"cart": {"total": "1_000"}}, "cart.total"),
        ({"extra": SECRET_VALUE}, "extra"),
        ({"address": []}, "address"),
        ({"total_payable": SECRET_VALUE}, "total_payable"),
        ({SECRET_VALUE: 1}, "?"),
    ],
)
def test_what_does_not_fit_is_refused_by_name_and_never_quoted(members: dict[str, Any], field: str) -> None:
    (error,) = errors_of(**members)
    assert error.field == field
    assert SECRET_VALUE not in error.message


@pytest.mark.parametrize("body", [b"", b"[]", b"1", b'{"a":1,"a":2}', b"\xff", b'{"checkout_id":NaN}'])
def test_what_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedRequest):
        read_own(body)


def test_the_schema_says_what_is_taken() -> None:
    schema = TypeAdapter(CheckoutSnapshot).json_schema()
    assert schema["required"] == ["checkout_id"]
    assert schema["additionalProperties"] is False
    assert {"type": "string"} in schema["properties"]["phone"]["anyOf"]
    kinds = [kind.get("type") for kind in schema["$defs"]["CartBody"]["properties"]["total"]["anyOf"]]
    assert kinds == ["number", "string", "null"]
