"""Checkouts to render, and the golden files that say which bytes they become.

`python -m tests.unit.contracts.examples` writes golden files that are missing. It never changes one that is
there: a published contract is frozen, and whoever means to change one deletes the file by hand.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from checkout_recovery.checkout.event import Event, EventType, event_id
from checkout_recovery.checkout.lifecycle import Checkout, Status
from checkout_recovery.checkout.phone import Phone
from checkout_recovery.checkout.snapshot import (
    Address,
    Attribution,
    Cart,
    Client,
    Consent,
    Details,
    Item,
    Shop,
    Variant,
)
from checkout_recovery.contracts import CONTRACTS
from checkout_recovery.contracts.contract import Attempt, Contract
from checkout_recovery.signing import Recipe

GOLDEN = Path(__file__).parent / "golden"
CREATED = datetime(2026, 5, 7, 10, 0, tzinfo=UTC)
DECIDED = CREATED + timedelta(minutes=15)
NEW_KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="
OLD_KEY = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDC2FVsBQIhrs="
ATTEMPT = Attempt(
    delivery_id="dlv_0196a9d1b2c3",
    subscription_id="sub_1",
    event_id="evt_1",
    shop_url="https://my-store.com",
    keys=(NEW_KEY, OLD_KEY),
    recipe=Recipe.BASE64_BODY,
    sent_at=datetime(2026, 5, 7, 10, 15, 1, 999_999, tzinfo=UTC),
)


def checkout(details: Details, kind: EventType = EventType.UPDATED, **facts: object) -> Checkout:
    """A checkout whose fourth write was an event of this kind."""
    written: dict[str, object] = {
        "store_id": "store-7",
        "checkout_id": "abc123xyz",
        "sequence": 4,
        "event": Event(id=event_id("store-7", "abc123xyz", 4), type=kind, time=DECIDED),
        "details": details,
        "created_at": CREATED,
        "updated_at": CREATED + timedelta(minutes=1, microseconds=250_000),
    }
    return Checkout.model_validate(written | facts)


def left(told: Checkout) -> Checkout:
    """The same checkout, abandoned."""
    assert told.event
    event = told.event.model_copy(update={"type": EventType.ABANDONED})
    return told.model_copy(update={"event": event, "status": Status.ABANDONED, "abandoned_at": DECIDED})


SHIRT = Item(
    product_id="12345",
    variant_id="67890",
    title="Cool T-Shirt",
    handle="cool-t-shirt",
    image_url="https://cdn.shopify.com/products/item.jpg",
    quantity=2,
    grams=Decimal(200),
    price=Decimal("999.00"),
    discount=Decimal("201.00"),
    total_discount=Decimal("402.00"),
    sub_total_price=Decimal("2400.00"),
    total_price=Decimal("1998.00"),
    single_variant=False,
    variant=Variant(
        variant_id="67890",
        title="Large / Red",
        price=Decimal("999.00"),
        compare_at_price=Decimal(1200),
        extra={"barcode": "8901234567894"},
    ),
    properties=[{"name": "engraving", "value": "For Ann"}],
    extra={"vendor": "Acme", "price": "was not a number"},
)
FULL = Details(
    phone=Phone.of("9876543210", "91"),
    email="john.doe@example.com",
    name="John Doe",
    first_name="John",
    last_name="Doe",
    consent=Consent.GRANTED,
    address=Address(
        name="Jane Roe",
        phone="9123456780",
        address1="12 MG Road",
        address2="Floor 3",
        city="Ahmedabad",
        zip="380001",
        province="Gujarat",
        province_code="GJ",
        country="India",
        country_code="IN",
        extra={"landmark": "Opposite the mill"},
    ),
    cart=Cart(
        items=(SHIRT,),
        coupons=[{"code": "SAVE10", "amount": Decimal("10.00")}],
        currency="INR",
        discount=Decimal("412.00"),
        total=Decimal("1988.00"),
        extra={"cart_note": "gift wrap"},
    ),
    stage="ADDRESS_SHIPPING_SELECTED",
    checkout_url="https://checkout.flexype.com/c/abc123xyz",
    cart_token="cart-token-1",
    shop=Shop(
        id="store_01",
        name="My Awesome Store",
        shopify_domain="my-store.myshopify.com",
        link="https://my-store.com",
        extra={"plan": "plus"},
    ),
    client=Client(
        ip="1.1.1.1",
        referer="https://google.com/search",
        user_agent="Mozilla/5.0",
        fingerprint="fingerprint-1",
        extra={"screen": "390x844"},
    ),
    attribution=Attribution(
        original_referer="https://google.com",
        referer_host="google.com",
        landing_page="/products/cool-t-shirt",
        utm=[{"key": "utm_source", "value": "newsletter"}],
        fbc="fb.1.554.AbC",
        fbp="fb.1.12345.6789",
        extra={"analytics": {"ga": "GA1.1"}, "metadata": {"gad_source": "1"}},
    ),
    order_id="order-9",
    extra={"event_origin": "kiosk", "payload": {"locale": "en-IN", "user": {"loyalty": "gold"}}},
)
LARGE = "9007199254740993"  # 2**53 + 1: a JavaScript receiver reads 9007199254740992
EXAMPLES = {
    "full": checkout(FULL, alias="alias-5"),
    "partial-contact": checkout(
        Details(
            phone=Phone.of("98765", "91"),
            email="john.doe@",
            address=Address(zip="3800"),
            stage="PHONE_ENTERED",
            checkout_url="https://checkout.flexype.io/c/abc123xyz",
        )
    ),
    "nothing-known": checkout(Details(), EventType.CREATED, created_at=None, updated_at=None),
    "non-ascii": checkout(
        Details(
            name="Élodie नमस्ते 😀",
            address=Address(city="मुंबई", address1='"12\\", line\u2028two\u0001'),
            cart=Cart(items=(Item(title="कुर्ता «L»"),)),
            stage="नया",
        )
    ),
    "large-ids": checkout(
        Details(
            cart=Cart(
                items=(
                    Item(product_id=str(2**53 - 1), variant_id=str(2**53), extra={"sku_id": int(LARGE)}),
                    Item(product_id=LARGE, variant_id="gid://shopify/ProductVariant/1"),
                    Item(product_id="007", variant_id="1e5", variant=Variant(variant_id="١٢")),
                )
            ),
            order_id=LARGE,
        )
    ),
    "digits-kept": checkout(
        Details(
            cart=Cart(
                items=(
                    Item(price=Decimal("170.00"), grams=Decimal("0.50"), quantity=0),
                    Item(price=Decimal(0), discount=Decimal("0.00"), total_price=Decimal("-5.10")),
                    Item(price=Decimal("1E+3"), total_price=Decimal("123456789012345.12345678901234567890")),
                ),
                total=Decimal("0.10"),
                discount=Decimal("0.3000"),
            )
        )
    ),
    "completed": checkout(
        FULL.model_copy(update={"stage": "PAYMENT_LOADED", "completed_at": DECIDED}),
        EventType.RECOVERED,
        status=Status.RECOVERED,
        abandoned_at=CREATED + timedelta(minutes=5),
        left_at=CREATED + timedelta(minutes=5),
        purchased_at=DECIDED,
    ),
    "from-shopify": checkout(
        Details(
            phone=Phone.of("+919876543210"),
            email="bob.norman@example.com",
            first_name="Bob",
            last_name="Norman",
            address=Address(name="Bob Norman", zip="110001", country_code="IN"),
            cart=Cart(
                items=(Item(product_id="632910392", variant_id="39072856", title="iPod", quantity=1),),
                currency="USD",
                total=Decimal("421.88"),
            ),
            checkout_url="https://checkout.local/548380009/checkouts/123123123/recover?key=k",
            cart_token="68778783ad298f1c80c3bafcddeea02f",
            shop=Shop(shopify_domain="jsmith.myshopify.com", link="jsmith.myshopify.com"),
            extra={
                "name": "#981820079255243537",
                "user": "a name that FlexyPe's contracts use",
                "gateway": None,
            },
        )
    ),
}


def cases() -> Iterator[tuple[Contract, str, Checkout]]:
    """Each contract with each example that it can carry."""
    for contract in CONTRACTS.values():
        for name, example in EXAMPLES.items():
            if EventType.UPDATED in contract.events:
                yield contract, name, example
            elif not example.is_complete:
                yield contract, name, left(example)


def golden_file(contract: Contract, name: str) -> Path:
    return GOLDEN / f"{contract.topic}-{contract.version}-{name}.json"


def headers_file(contract: Contract) -> Path:
    return GOLDEN / f"{contract.topic}-{contract.version}.headers.json"


def golden_headers(contract: Contract) -> str:
    """The headers of the example "full", as the headers file holds them."""
    body = golden_file(contract, "full").read_bytes()
    return json.dumps(contract.headers(ATTEMPT, body), indent=2) + "\n"


def write_missing() -> None:
    for contract, name, example in cases():
        path = golden_file(contract, name)
        if not path.exists():
            path.write_bytes(contract.render(example))
    for contract in CONTRACTS.values():
        if not headers_file(contract).exists():
            headers_file(contract).write_text(golden_headers(contract))


if __name__ == "__main__":
    write_missing()
