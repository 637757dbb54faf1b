"""The body of ``POST /v1/orders``: what is read from it, what is refused, and what an error says."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import TypeAdapter

from checkout_recovery.checkout.order import Order
from checkout_recovery.checkout.phone import Phone
from checkout_recovery.checkout.snapshot import Details
from checkout_recovery.errors import FieldError, MalformedRequest
from checkout_recovery.json_codec import dumps
from checkout_recovery.providers.own import OrderBody, read_order

NOW = datetime(2026, 5, 7, 10, 20, tzinfo=UTC)
PLACED_AT = datetime(2026, 5, 7, 10, 10, tzinfo=UTC)


def order_of(**members: Any) -> Order:
    notice = read_order(dumps({"order_id": "1001", "checkout_id": "cart-42"} | members).encode())
    assert (notice.shops, notice.snapshots) == (frozenset(), ())
    (order,) = notice.orders
    return order


def errors_of(**members: Any) -> tuple[FieldError, ...]:
    with pytest.raises(MalformedRequest) as refused:
        order_of(**members)
    return refused.value.errors


class TestReading:
    def test_a_whole_order_is_taken_as_it_is(self) -> None:
        order = order_of(
            checkout_token="t-42",
            cart_token="c-42",
            phone="+919876543210",
            email="john.doe@example.com",
            completed_at="2026-05-07T15:40:00+05:30",
        )
        assert order == Order(
            checkout_id="cart-42",
            checkout_token="t-42",
            event_id="order 1001",
            event_time=PLACED_AT,
            details=Details(
                phone=Phone(number="+919876543210", e164="+919876543210"),
                email="john.doe@example.com",
                cart_token="c-42",
                order_id="1001",
                completed_at=PLACED_AT,
            ),
        )

    def test_ids_may_be_numbers_of_any_size(self) -> None:
        order = order_of(order_id=2**63 + 1, checkout_id=7, checkout_token=8, cart_token=9)
        assert order.details.order_id == "9223372036854775809"
        assert (order.checkout_id, order.checkout_token, order.details.cart_token) == ("7", "8", "9")

    def test_a_phone_may_be_split(self) -> None:
        phone = order_of(phone={"number": "98765 43210", "dial_code": "91"}).details.phone
        assert phone == Phone(number="98765 43210", dial_code="91", e164="+919876543210")

    def test_null_and_blank_text_say_nothing(self) -> None:
        blank = order_of(checkout_token="", cart_token=" ", phone=" ", email="\t", completed_at=None)
        assert blank == order_of()

    @pytest.mark.parametrize("name", ["checkout_id", "checkout_token", "cart_token", "phone", "email"])
    def test_one_name_of_the_shopper_or_checkout_is_enough(self, name: str) -> None:
        order = order_of(**{"checkout_id": None, name: "9876543210"})
        held = (order.checkout_id, order.checkout_token, order.details.cart_token, order.details.email)
        phone = order.details.phone.number if order.details.phone else None
        assert [one for one in (*held, phone) if one] == ["9876543210"]

    def test_one_order_sent_twice_is_one_event(self) -> None:
        assert order_of().event_id == order_of(completed_at="2026-05-07T10:10:00Z").event_id

    def test_the_schema_says_what_is_taken(self) -> None:
        schema = TypeAdapter(OrderBody).json_schema()
        assert schema["required"] == ["order_id"]
        assert schema["additionalProperties"] is False
        assert {"type": "string"} in schema["properties"]["phone"]["anyOf"]


SECRET_VALUE = "9876543210-secret"


class TestRefusals:
    @pytest.mark.parametrize(
        ("members", "field"),
        [
            ({"order_id": None}, "order_id"),
            ({"order_id": " "}, "order_id"),
            ({"order_id": True}, "order_id"),
            ({"order_id": SECRET_VALUE * 40}, "order_id"),
            ({"checkout_id": [SECRET_VALUE]}, "checkout_id"),
            ({"checkout_token": SECRET_VALUE * 40}, "checkout_token"),
            ({"cart_token": {"token": SECRET_VALUE}}, "cart_token"),
            ({"phone": [SECRET_VALUE]}, "phone"),
            ({"phone": 9876543210}, "phone"),
            ({"phone": {"number": "1", "no": SECRET_VALUE}}, "phone.no"),
            ({"email": [SECRET_VALUE]}, "email"),
            ({"completed_at": SECRET_VALUE}, "completed_at"),
            ({"completed_at": "2026-05-07T10:10:00"}, "completed_at"),
            ({"completed_at": 1778148600}, "completed_at"),
            ({"completed_at": "2026-05-07T10:10:00.1234567Z"}, "completed_at"),
            ({"total": SECRET_VALUE}, "total"),
            ({SECRET_VALUE: 1}, "?"),
        ],
    )
    def test_what_does_not_fit_is_refused_by_name_and_never_quoted(
        self, members: dict[str, Any], field: str
    ) -> None:
        (error,) = errors_of(**members)
        assert error.field == field
        assert SECRET_VALUE not in error.message

    def test_an_order_of_nobody_is_refused_and_told_what_would_do(self) -> None:
        (error,) = errors_of(checkout_id="", phone=" ")
        assert error.field == "body"
        assert "checkout_id, checkout_token, cart_token, phone or email" in error.message

    @pytest.mark.parametrize("body", [b"", b"[]", b"1", b'{"order_id":1,"order_id":2}', b"\xff"])
    def test_what_is_no_object_is_refused(self, body: bytes) -> None:
        with pytest.raises(MalformedRequest):
            read_order(body)


class TestTime:
    def test_an_order_counts_from_when_it_was_placed(self) -> None:
        purchase = order_of(completed_at="2026-05-07T10:10:00Z").purchase(NOW)
        assert (purchase.time, purchase.heard_at, purchase.order_id) == (PLACED_AT, NOW, "1001")
        assert purchase.is_dated

    def test_without_a_time_it_counts_from_when_it_was_heard_of(self) -> None:
        purchase = order_of().purchase(NOW)
        assert (purchase.time, purchase.heard_at) == (NOW, NOW)
        assert not purchase.is_dated

    @pytest.mark.parametrize(("ahead", "is_believed"), [(300, True), (301, False)])
    def test_a_time_in_the_future_is_not_believed(self, ahead: int, is_believed: bool) -> None:
        told = NOW + timedelta(seconds=ahead)
        purchase = order_of(completed_at=told.isoformat()).purchase(NOW)
        assert purchase.time == (told if is_believed else NOW)

    def test_a_provider_that_dates_only_the_telling_is_taken_at_that(self) -> None:
        assert Order(checkout_id="abc", event_time=PLACED_AT).purchase(NOW).time == PLACED_AT
