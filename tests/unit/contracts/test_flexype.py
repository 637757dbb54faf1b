import json
from decimal import Decimal
from typing import Any

import pytest

from checkout_recovery.checkout.event import EventType
from checkout_recovery.checkout.lifecycle import Checkout, Status
from checkout_recovery.checkout.phone import Phone
from checkout_recovery.checkout.snapshot import Attribution, Cart, Client, Details, Item, Shop, Variant
from checkout_recovery.contracts import CONTRACTS
from local.samples import FLEXYPE_2026_05
from tests.unit.contracts.examples import DECIDED, EXAMPLES, checkout

FLAT = CONTRACTS["ACR_CHECKOUT", "2025-09"]
ENVELOPE = CONTRACTS["ACR_CHECKOUT", "2026-05"]


def flat(told: Checkout) -> Any:
    return json.loads(FLAT.render(told))


def envelope(told: Checkout) -> Any:
    return json.loads(ENVELOPE.render(told))


def test_what_flexypes_2025_09_sample_says_is_written_as_the_sample() -> None:
    told = checkout(
        Details(
            phone=Phone.of("9876543210", "91"),
            name="John Doe",
            email="[email protected] ",
            cart=Cart(discount=Decimal(0), total=Decimal(999)),
            stage="INITIATED",
            checkout_url="https://checkout.flexype.io/...",
            shop=Shop(shopify_domain="my-store.myshopify.com", link="https://my-store.com"),
            client=Client(ip="1.1.1.1"),
        )
    )
    assert told.event
    assert flat(told) == {
        "webhook_id": told.event.id,
        "shopify_domain": "my-store.myshopify.com",
        "cart_items": [],
        "checkout_url": "https://checkout.flexype.io/...",
        "discount": 0,
        "total_payable": 999,
        "session_state": "INITIATED",
        "user": {
            "phone_no": "9876543210",
            "dial_code": "91",
            "name": "John Doe",
            "email": "[email protected] ",
            "address": {},
        },
        "store_link": "https://my-store.com",
        "coupons": [],
        # The sample shows "" where nothing is known; here unknown is null everywhere.
        "client_meta": {
            "client_ip": "1.1.1.1",
            "http_referer": None,
            "user_agent": None,
            "browser_fingerprint": None,
        },
        "analytics": {},
        "metadata": {},
    }


def test_what_flexypes_2026_05_sample_says_is_written_as_the_sample() -> None:
    shirt = Item(
        product_id="12345",
        variant_id="67890",
        title="Cool T-Shirt",
        handle="cool-t-shirt",
        image_url="https://cdn.shopify.com/products/item.jpg",
        quantity=1,
        grams=Decimal(200),
        price=Decimal(999),
        discount=Decimal(0),
        total_discount=Decimal(0),
        sub_total_price=Decimal(999),
        total_price=Decimal(999),
        single_variant=True,
        variant=Variant(
            variant_id="67890",
            title="Large / Red",
            price=Decimal(999),
            compare_at_price=Decimal(1200),
        ),
    )
    told = checkout(
        Details(
            phone=Phone.of("9876543210", "91", "+919876543210"),
            email="john.doe@example.com",
            name="John Doe",
            first_name="John",
            last_name="Doe",
            cart=Cart(items=(shirt,)),
            stage="PHONE_ENTERED",
            checkout_url="https://checkout.flexype.com/c/abc123xyz",
            shop=Shop(
                id="store_01",
                name="My Awesome Store",
                shopify_domain="my-store.myshopify.com",
                link="my-store.com",
            ),
            client=Client(ip="1.1.1.1", referer="https://google.com", user_agent="Mozilla/5.0..."),
            attribution=Attribution(
                original_referer="https://google.com",
                referer_host="google.com",
                landing_page="/products/cool-t-shirt",
                fbp="fb.1.12345.6789",
            ),
        )
    )
    assert told.event
    ours = {"event_time": "2026-05-07T10:15:00Z", "event_id": told.event.id}
    assert envelope(told) == FLEXYPE_2026_05 | ours


@pytest.mark.parametrize(
    ("details", "state"),
    [
        (Details(), "INITIATED"),
        (Details(phone=Phone(number="98")), "PHONE_ENTERED"),
        (Details(stage="OTP_VERIFIED"), "OTP_VERIFIED"),
        (Details(stage="A_STAGE_OF_TOMORROW"), "A_STAGE_OF_TOMORROW"),
    ],
)
def test_a_stage_passes_through_and_a_missing_one_is_the_furthest_that_is_certain(
    details: Details, state: str
) -> None:
    assert flat(checkout(details))["session_state"] == state
    assert envelope(checkout(details))["payload"]["session_state"] == state


def test_a_completed_checkout_says_so_whatever_stage_came_last() -> None:
    told = checkout(
        Details(stage="PAYMENT_LOADED"),
        EventType.COMPLETED,
        status=Status.COMPLETED,
        purchased_at=DECIDED,
    )
    assert flat(told)["session_state"] == "COMPLETED"
    assert envelope(told)["payload"]["session_state"] == "COMPLETED"
    assert flat(told)["completed_at"] == "2026-05-07T10:15:00Z"


@pytest.mark.parametrize(
    ("phone", "number", "dial_code", "whole"),
    [
        (Phone.of("9876543210", "91"), "9876543210", "91", "+919876543210"),
        (Phone.of("098765 43210", "+91"), "098765 43210", "91", "+919876543210"),
        (Phone.of("+919876543210"), "9876543210", "91", "+919876543210"),
        (Phone.of("+390612345678"), "0612345678", "39", "+390612345678"),
        (Phone.of("98765", "91"), "98765", "91", "+9198765"),
        (Phone.of("98765"), "98765", None, None),
        (Phone.of("+9198765"), "+9198765", None, None),
    ],
)
def test_a_phone_is_written_as_given_or_split_where_only_the_whole_was(
    phone: Phone, number: str, dial_code: str | None, whole: str | None
) -> None:
    told = checkout(Details(phone=phone))
    user = envelope(told)["payload"]["user"]
    assert (user["phone"], user["dial_code"], user["phone_with_dial_code"]) == (number, dial_code, whole)
    assert (flat(told)["user"]["phone_no"], flat(told)["user"]["dial_code"]) == (number, dial_code)


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("12345", 12345),
        ("0", 0),
        ("9007199254740991", 9007199254740991),
        ("9007199254740992", "9007199254740992"),
        ("9" * 60, "9" * 60),
        ("007", "007"),
        ("-5", "-5"),
        ("", ""),
        ("١٢", "١٢"),
        ("²", "²"),
        ("gid://shopify/Product/1", "gid://shopify/Product/1"),
    ],
)
def test_an_id_is_a_number_only_where_every_receiver_reads_the_same_digits(
    given: str, written: int | str
) -> None:
    (item,) = flat(checkout(Details(cart=Cart(items=(Item(product_id=given),)))))["cart_items"]
    assert item["product_id"] == written
    assert type(item["product_id"]) is type(written)


def test_the_two_places_of_the_variants_id_say_the_same() -> None:
    lines = (Item(variant_id="5"), Item(variant=Variant(variant_id="6")))
    items = flat(checkout(Details(cart=Cart(items=lines))))["cart_items"]
    assert [(item["variant_id"], item["variant"]["variant_id"]) for item in items] == [(5, 5), (6, 6)]


def test_a_shops_address_takes_the_form_of_each_version() -> None:
    for link in ("https://my-store.com", "my-store.com"):
        told = checkout(Details(shop=Shop(link=link)))
        assert flat(told)["store_link"] == "https://my-store.com"
        assert envelope(told)["store"]["main_domain"] == "my-store.com"


def test_what_one_version_has_no_place_for_is_an_additional_member() -> None:
    body, payload = flat(EXAMPLES["full"]), envelope(EXAMPLES["full"])["payload"]
    assert (payload["discount"], payload["total_payable"]) == (412.00, 1988.00)
    assert payload["user"]["address"] == body["user"]["address"]
    assert payload["client_meta"]["browser_fingerprint"] == "fingerprint-1"
    assert payload["analytics"]["fb"]["fbc"] == "fb.1.554.AbC"
    assert body["cart_items"][0]["properties"] == [{"name": "engraving", "value": "For Ann"}]
    assert (body["store_id"], body["user"]["first_name"]) == ("store_01", "John")


def test_undescribed_members_return_to_where_they_came_from() -> None:
    body, event = flat(EXAMPLES["full"]), envelope(EXAMPLES["full"])
    assert event["event_origin"] == body["event_origin"] == "kiosk"
    assert event["payload"]["locale"] == body["locale"] == "en-IN"
    assert event["payload"]["user"]["loyalty"] == body["user"]["loyalty"] == "gold"
    assert event["payload"]["analytics"]["ga"] == body["analytics"]["ga"] == "GA1.1"
    assert event["payload"]["metadata"]["gad_source"] == body["metadata"]["gad_source"] == "1"


def test_an_undescribed_member_of_the_flat_versions_user_stays_with_the_user_in_the_envelope() -> None:
    told = checkout(Details(extra={"user": {"loyalty": "gold"}}))
    assert envelope(told)["payload"]["user"]["loyalty"] == "gold"
