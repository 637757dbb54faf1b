"""Writes `events/ingest-*.json`: one request for each thing that can arrive at the ingest function.

    python -m local.fixtures

They are HTTP API events (payload 2.0) as API Gateway sends them, for a store `my-store` whose shop is
`my-store.com`, with one test secret for every provider. Tests replay them, `sam local invoke` takes them,
and a test fails when the files differ from what this script writes. Bodies beyond 256 KiB are made in tests.
"""

import base64
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from decimal import Decimal
from hashlib import blake2b
from http import HTTPStatus
from pathlib import Path
from typing import Any

from checkout_recovery.json_codec import dumps
from checkout_recovery.signing import Recipe, sign
from local.samples import FLEXYPE_2025_09, FLEXYPE_2026_05, Json

EVENTS = Path(__file__).parent.parent / "events"
SECRET = "test_secret_do_not_use"  # noqa: S105  # it says so itself
STORE_ID = "my-store"
DOMAINS = ("my-store.com", "my-store.myshopify.com")
"""What the store's settings name as its domains."""


@dataclass(frozen=True, slots=True)
class Fixture:
    """A request, and the status with which a store set up as above answers it."""

    name: str
    status: int
    event: Json

    @property
    def path(self) -> Path:
        return EVENTS / f"ingest-{self.name}.json"


# ---------------------------------------------------------------- the bodies

FLEXYPE_2025_09_FULL: Json = FLEXYPE_2025_09 | {
    "webhook_id": "wh_124",
    "checkout_url": "https://checkout.flexype.io/c/def456uvw",
    "cart_items": [
        {
            "image": "https://cdn.shopify.com/products/kurta.jpg",
            "title": "Block-print Kurta",
            "discount": 150,
            "price": Decimal("1049.50"),
            "quantity": 2,
            "variant": {
                "title": "M / Indigo",
                "price": Decimal("1199.50"),
                "variant_id": 43211234567890,
                "compare_at_price": "1499.00",
            },
            "product_id": 7781234567890,
            "variant_id": 43211234567890,
            "grams": 350,
            "handle": "block-print-kurta",
            "total_price": Decimal("2099.00"),
            "sub_total_price": Decimal("2399.00"),
            "total_discount": 300,
            "single_variant": False,
        }
    ],
    "discount": 300,
    "total_payable": Decimal("2099.00"),
    "session_state": "ADDRESS_SHIPPING_SELECTED",
    "user": {
        "phone_no": 9876543210,
        "dial_code": 91,
        "name": "Asha Patel",
        "email": "asha.patel@example.com",
        "address": {
            "address1": "12 MG Road",
            "address2": "Near the lake",
            "city": "Ahmedabad",
            "province": "Gujarat",
            "country": "India",
            "province_code": "GJ",
            "country_code": "IN",
            "zip": "380001",
            "landmark": "Clock tower",
        },
    },
    "coupons": [{"code": "DIWALI300", "amount": 300}],
    "client_meta": {
        "client_ip": "203.0.113.7",
        "http_referer": "https://my-store.com/cart",
        "user_agent": "Mozilla/5.0 (Linux; Android 15)",
        "browser_fingerprint": "fp_9c1d",
    },
    "analytics": {"fbc": "fb.1.1778148000.IwAR0", "fbp": "fb.1.1778148000.1234"},
    "metadata": {
        "utm": [{"key": "utm_source", "value": "instagram"}, {"key": "fbclid", "value": "IwAR0"}],
        "orig_referer": "https://instagram.com/",
        "referer_host": "instagram.com",
        "landing_page": "/products/block-print-kurta",
    },
}

CASHFREE: Json = {
    "event_id": "cf_evt_1001",
    "event_time": "2026-05-07T10:15:00Z",
    "checkout_id": "occ_5f2d9a",
    "checkout_url": "https://my-store.com/occ/checkout/occ_5f2d9a",
    "store": {"shopify_domain": "my-store.myshopify.com", "link": "https://my-store.com"},
    "customer": {
        "phone": "9876543210",
        "dial_code": "91",
        "phone_e164": "+919876543210",
        "email": "john.doe@example.com",
        "name": "John Doe",
    },
    "marketing_opt_in": True,
    "address": {
        "address1": "12 MG Road",
        "city": "Ahmedabad",
        "zip": "380001",
        "province": "Gujarat",
        "province_code": "GJ",
        "country": "India",
        "country_code": "IN",
    },
    "cart": {
        "currency": "INR",
        "discount": 0,
        "total": Decimal("999.00"),
        "coupons": [],
        "items": [
            {
                "product_id": "12345",
                "variant_id": "67890",
                "title": "Cool T-Shirt",
                "quantity": 1,
                "price": Decimal("999.00"),
                "total_price": Decimal("999.00"),
            }
        ],
    },
}

SHOPIFY_NEW: Json = {
    "id": 981820079255243537,
    "token": "123123123",
    "cart_token": "eeafa272cebfd4b22385bc4b645e762c",
    "email": None,
    "gateway": None,
    "buyer_accepts_marketing": False,
    "buyer_accepts_sms_marketing": False,
    "sms_marketing_phone": None,
    "created_at": "2026-05-07T15:25:00+05:30",
    "updated_at": "2026-05-07T15:25:00+05:30",
    "landing_site": "/products/cool-t-shirt",
    "note": None,
    "note_attributes": [],
    "referring_site": "https://google.com/",
    "shipping_lines": [],
    "shipping_address": [],
    "taxes_included": True,
    "total_weight": 200,
    "currency": "INR",
    "completed_at": None,
    "phone": None,
    "customer_locale": "en",
    "line_items": [
        {
            "key": "c1f5ba20",
            "fulfillment_service": "manual",
            "gift_card": False,
            "grams": 200,
            "presentment_title": "Cool T-Shirt",
            "presentment_variant_title": "Large / Red",
            "product_id": 788032119674292922,
            "quantity": 1,
            "requires_shipping": True,
            "sku": "CTS-L-R",
            "tax_lines": [],
            "taxable": True,
            "title": "Cool T-Shirt",
            "variant_id": 788032119674292923,
            "variant_title": "Large / Red",
            "variant_price": "999.00",
            "vendor": "My Awesome Store",
            "unit_price_measurement": {"measured_type": None, "quantity_value": None},
            "compare_at_price": "1200.00",
            "line_price": "999.00",
            "price": "999.00",
            "applied_discounts": [],
            "properties": None,
        }
    ],
    "name": "#981820079255243537",
    "abandoned_checkout_url": "https://my-store.com/548380009/checkouts/123123123/recover?key=example",
    "discount_codes": [],
    "tax_lines": [],
    "presentment_currency": "INR",
    "source_name": "web",
    "total_line_items_price": "999.00",
    "total_tax": "0.00",
    "total_discounts": "0.00",
    "subtotal_price": "999.00",
    "total_price": "999.00",
    "total_duties": None,
    "customer": None,
}

SHOPIFY_CUSTOMER: Json = {
    "id": 603851970716743426,
    "email": "john.doe@example.com",
    "first_name": "John",
    "last_name": "Doe",
    "phone": "+919876543210",
    "tags": "",
}

SHOPIFY_UPDATED: Json = SHOPIFY_NEW | {
    "email": "john.doe@example.com",
    "phone": "+919876543210",
    "updated_at": "2026-05-07T15:30:00+05:30",
    "buyer_accepts_marketing": True,
    "shipping_address": {
        "first_name": "John",
        "last_name": "Doe",
        "name": "John Doe",
        "address1": "12 MG Road",
        "address2": None,
        "phone": "9876543210",
        "city": "Ahmedabad",
        "zip": "380001",
        "province": "Gujarat",
        "province_code": "GJ",
        "country": "India",
        "country_code": "IN",
        "company": None,
        "latitude": Decimal("23.0225"),
        "longitude": Decimal("72.5714"),
    },
    "customer": SHOPIFY_CUSTOMER,
}

SHOPIFY_ORDER: Json = {
    "id": 820982911946154508,
    "admin_graphql_api_id": "gid://shopify/Order/820982911946154508",
    "browser_ip": "203.0.113.7",
    "buyer_accepts_marketing": True,
    "cart_token": "eeafa272cebfd4b22385bc4b645e762c",
    "checkout_id": 981820079255243537,
    "checkout_token": "123123123",
    "client_details": {"accept_language": "en-IN", "browser_ip": "203.0.113.7", "user_agent": "Mozilla/5.0"},
    "contact_email": "john.doe@example.com",
    "created_at": "2026-05-07T15:40:00+05:30",
    "currency": "INR",
    "customer": SHOPIFY_CUSTOMER,
    "discount_codes": [],
    "email": "john.doe@example.com",
    "financial_status": "paid",
    "landing_site": "/products/cool-t-shirt",
    "line_items": [
        {
            "id": 866550311766439020,
            "grams": 200,
            "price": "999.00",
            "product_id": 788032119674292922,
            "properties": [],
            "quantity": 1,
            "title": "Cool T-Shirt",
            "total_discount": "0.00",
            "variant_id": 788032119674292923,
            "variant_title": "Large / Red",
        }
    ],
    "name": "#1001",
    "order_number": 1001,
    "phone": None,
    "processed_at": "2026-05-07T15:40:00+05:30",
    "referring_site": "https://google.com/",
    "shipping_address": SHOPIFY_UPDATED["shipping_address"],
    "source_name": "web",
    "token": "123456abcd",
    "total_discounts": "0.00",
    "total_price": "999.00",
    "updated_at": "2026-05-07T15:40:01+05:30",
}

SHOPIFY_REDACTION: Json = {
    "shop_id": 548380009,
    "shop_domain": "my-store.myshopify.com",
    "customer": {"id": 603851970716743426, "email": "john.doe@example.com", "phone": "+919876543210"},
    "orders_to_redact": [820982911946154508],
}

OWN: Json = {
    "checkout_id": "cart-42",
    "event_id": "storefront-1",
    "event_time": "2026-05-07T10:00:00Z",
    "phone": "+919876543210",
    "email": "john.doe@example.com",
    "name": "John Doe",
    "consent": "granted",
    "address": {"zip": "380001"},
    "cart": {
        "items": [{"product_id": 12345, "title": "Cool T-Shirt", "quantity": 1, "price": "999.00"}],
        "currency": "INR",
        "total": Decimal("999.00"),
    },
    "stage": "PHONE_ENTERED",
    "checkout_url": "https://my-store.com/cart/42",
    "extra": {"loyalty": {"points": 120}},
}

ORDER: Json = {
    "order_id": 1001,
    "checkout_id": "cart-42",
    "completed_at": "2026-05-07T10:20:00Z",
}


# ---------------------------------------------------------------- the requests


def _event(name: str, route: str, parameters: Mapping[str, str], headers: Json, body: bytes) -> Json:
    path = route
    for parameter, value in parameters.items():
        path = path.replace("{" + parameter + "}", value)
    api = "a1b2c3d4e5"
    host = f"{api}.execute-api.ap-south-1.amazonaws.com"
    sender = headers.get("user-agent", "Amazon CloudFront")
    try:
        text, encoded = body.decode(), False
    except UnicodeDecodeError:
        text, encoded = base64.b64encode(body).decode(), True
    event: Json = {
        "version": "2.0",
        "routeKey": f"POST {route}",
        "rawPath": path,
        "rawQueryString": "",
        "headers": dict(
            sorted(
                {
                    "accept": "*/*",
                    "content-length": str(len(body)),
                    "content-type": "application/json",
                    "host": host,
                    "user-agent": sender,
                    "x-amzn-trace-id": "Root=1-69fc6521-000000000000000000000000",
                    "x-forwarded-for": "203.0.113.10",
                    "x-forwarded-port": "443",
                    "x-forwarded-proto": "https",
                    **headers,
                }.items()
            )
        ),
        "requestContext": {
            "accountId": "123456789012",
            "apiId": api,
            "domainName": host,
            "domainPrefix": api,
            "http": {
                "method": "POST",
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "203.0.113.10",
                "userAgent": sender,
            },
            "requestId": base64.b64encode(blake2b(name.encode(), digest_size=11).digest()).decode(),
            "routeKey": f"POST {route}",
            "stage": "$default",
            "time": "07/May/2026:10:00:01 +0000",
            "timeEpoch": 1778148001000,
        },
        "pathParameters": dict(parameters),
        "isBase64Encoded": encoded,
    }
    return event | {"body": text} if body else event


def _webhook(
    name: str, provider: str, headers: Json, body: bytes, status: int, store_id: str = STORE_ID
) -> Fixture:
    parameters = {"provider": provider, "store_id": store_id}
    event = _event(name, "/v1/webhooks/{provider}/{store_id}", parameters, headers, body)
    return Fixture(name, status, event)


def _bytes(body: Json | bytes) -> bytes:
    return body if isinstance(body, bytes) else dumps(body).encode()


def flexype(
    name: str, body: Json | bytes, status: int = HTTPStatus.OK, *, store_id: str = STORE_ID, **headers: str
) -> Fixture:
    """A request of FlexyPe; `headers` replace or add to the usual ones."""
    version = "2026-05" if isinstance(body, bytes) or "payload" in body else "2025-09"
    event_id = body.get("event_id") if isinstance(body, dict) else None
    usual = {
        "x-flexype-authorization": SECRET,
        "x-webhook-version": version,
        "x-webhook-id": "wh_cfg_1",
        "x-event-id": event_id or f"evt_{name}",
    }
    sent = usual | _named(headers)
    return _webhook(f"flexype-{name}", "flexype", sent, _bytes(body), status, store_id)


def cashfree(name: str, body: Json | bytes, status: int = HTTPStatus.OK, **headers: str) -> Fixture:
    """A request of Cashfree, signed by the default recipe unless `headers` say otherwise."""
    raw = _bytes(body)
    usual = {
        "x-store-url": "https://my-store.com",
        "x-webhook-topic": "abandonedCheckout",
        "x-webhook-version": "v1",
        "x-webhook-signature": sign(Recipe.BASE64_BODY, SECRET, raw),
        "x-request-id": f"req_{name}",
        "user-agent": "Ecom360-v1",
    }
    return _webhook(f"cashfree-{name}", "cashfree", usual | _named(headers), raw, status)


def shopify(
    name: str, topic: str, body: Json | bytes, status: int = HTTPStatus.OK, **headers: str
) -> Fixture:
    """A request of Shopify, signed unless `headers` say otherwise."""
    raw = _bytes(body)
    usual = {
        "user-agent": "Shopify-Captain-Hook",
        "x-shopify-api-version": "2026-04",
        "x-shopify-event-id": f"shopify_evt_{name}",
        "x-shopify-hmac-sha256": sign(Recipe.BASE64_BODY, SECRET, raw),
        "x-shopify-shop-domain": "my-store.myshopify.com",
        "x-shopify-topic": topic,
        "x-shopify-triggered-at": "2026-05-07T10:00:00.123456789Z",
        "x-shopify-webhook-id": f"shopify_delivery_{name}",
    }
    return _webhook(f"shopify-{name}", "shopify", usual | _named(headers), raw, status)


def own(name: str, body: Json | bytes, status: int = HTTPStatus.OK) -> Fixture:
    """A snapshot in our own schema, from a caller whom the authorizer let through."""
    return _call(f"checkouts-{name}", "/v1/checkouts", body, status)


def order(name: str, body: Json | bytes, status: int = HTTPStatus.OK) -> Fixture:
    """An order in our own schema, from such a caller."""
    return _call(f"orders-{name}", "/v1/orders", body, status)


def _call(name: str, route: str, body: Json | bytes, status: int) -> Fixture:
    event = _event(name, route, {}, {"authorization": f"Bearer {SECRET}"}, _bytes(body))
    del event["pathParameters"]
    event["requestContext"]["authorizer"] = {"lambda": {"scope": "store", "store_id": STORE_ID}}
    return Fixture(name, status, event)


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def _changed(body: Json, change: Callable[[Json], object]) -> Json:
    copy = deepcopy(body)
    change(copy)
    return copy


def _payload(**members: Any) -> Json:
    """The sample of 2026-05 with other members in its payload; None takes one away."""

    def change(body: Json) -> None:
        body["payload"] |= members
        for name in [name for name, value in members.items() if value is None]:
            del body["payload"][name]
        body["event_id"] = f"evt_{'_'.join(members)}"

    return _changed(FLEXYPE_2026_05, change)


# ---------------------------------------------------------------- what can arrive


def fixtures() -> Iterator[Fixture]:
    """Every request, good ones first."""
    yield from _flexype_good()
    yield from _flexype_odd()
    yield from _flexype_bad()
    yield from _cashfree()
    yield from _shopify()
    yield from _own()
    yield from _orders()


def _flexype_good() -> Iterator[Fixture]:
    yield flexype("2025-09", FLEXYPE_2025_09)
    yield flexype("2025-09-full", FLEXYPE_2025_09_FULL)
    yield flexype("2026-05", FLEXYPE_2026_05)
    yield flexype("2026-05-completed", _payload(session_state="COMPLETED"))
    yield flexype("2026-05-partial", _payload(user={}, cart_items=[], analytics={}))
    yield flexype("2026-05-no-phone", _payload(user={"email": "john.doe@example.com"}))


def _flexype_odd() -> Iterator[Fixture]:
    yield flexype("unknown-state", _payload(session_state="UPSELL_SHOWN"))
    yield flexype("malformed-time", FLEXYPE_2026_05 | {"event_id": "evt_time", "event_time": "yesterday"})
    item = FLEXYPE_2026_05["payload"]["cart_items"][0]
    yield flexype("malformed-price", _payload(cart_items=[item | {"price": "₹ 999/-", "quantity": "two"}]))
    big = {"product_id": 92233720368547758079, "variant_id": "92233720368547758080"}
    yield flexype("big-ids", _payload(cart_items=[item | big]))
    yield flexype("non-ascii", _payload(user={"full_name": "Zoë Ünal-देसाई 🛒", "phone": "9876543210"}))
    user = FLEXYPE_2025_09["user"] | {"address": []}
    yield flexype("array-for-address", FLEXYPE_2025_09 | {"webhook_id": "wh_125", "user": user})
    yield flexype("arrays-for-objects", _payload(user=[], client_meta=[], metadata=[], analytics=[]))
    yield flexype("undescribed-fields", _payload(gift_wrap=True, delivery={"slot": Decimal("9.50")}))


def _flexype_bad() -> Iterator[Fixture]:
    unauthenticated, malformed = HTTPStatus.UNAUTHORIZED, HTTPStatus.UNPROCESSABLE_ENTITY
    sample = FLEXYPE_2026_05
    yield flexype("wrong-secret", sample, unauthenticated, x_flexype_authorization="test_secret_of_another")
    yield flexype("empty-secret", sample, unauthenticated, x_flexype_authorization="")
    yield flexype("non-ascii-secret", sample, unauthenticated, x_flexype_authorization="sécrét")
    yield flexype("unknown-store", sample, unauthenticated, store_id="no-such-store")
    another = {"id": "store_02", "shopify_domain": "another.myshopify.com", "main_domain": "another.com"}
    yield flexype("another-store", sample | {"store": another}, malformed)
    yield flexype("unknown-version", sample, malformed, x_webhook_version="2031-01")
    yield flexype("unknown-event-type", sample | {"event_type": "ORDER_PAID"}, malformed)
    yield flexype("no-checkout-url", _payload(checkout_url=None), malformed)
    yield flexype("payload-not-an-object", sample | {"payload": []}, malformed)
    yield flexype("not-json", b"cart=1&phone=9876543210", malformed)
    yield flexype("not-an-object", b'["ACR_CHECKOUT"]', malformed)
    yield flexype("empty", b"", malformed)
    yield flexype("not-utf-8", dumps(sample).replace("John", "J\xf6hn").encode("latin-1"), malformed)
    yield flexype("nested-deeply", b'{"payload":' * 1000 + b"1" + b"}" * 1000, malformed)
    yield flexype("repeated-key", b'{"event_id":"evt_a",' + dumps(sample).encode()[1:], malformed)
    yield flexype("nan", dumps(sample).replace('"price":999', '"price":NaN').encode(), malformed)
    yield flexype("absurd-number", dumps(sample).replace('"price":999', '"price":1e999').encode(), malformed)
    provider = _webhook("unknown-provider", "nobody", {}, dumps(sample).encode(), HTTPStatus.NOT_FOUND)
    yield provider


def _cashfree() -> Iterator[Fixture]:
    unauthenticated, malformed = HTTPStatus.UNAUTHORIZED, HTTPStatus.UNPROCESSABLE_ENTITY
    yield cashfree("abandoned", CASHFREE)
    partial = {"checkout_id": "occ_5f2d9b", "customer": {"phone": "98765"}, "address": {"zip": "380001"}}
    yield cashfree("partial", partial)
    yield cashfree("opted-out", CASHFREE | {"event_id": "cf_evt_1002", "marketing_opt_in": False})
    tidied = json.dumps(json.loads(dumps(CASHFREE)), indent=2).encode()
    signature = sign(Recipe.BASE64_BODY, SECRET, dumps(CASHFREE).encode())
    yield cashfree("re-serialised", tidied, unauthenticated, x_webhook_signature=signature)
    yield cashfree("truncated-signature", CASHFREE, unauthenticated, x_webhook_signature=signature[:20])
    yield cashfree("no-signature", CASHFREE, unauthenticated, x_webhook_signature="")
    yield cashfree("unknown-topic", CASHFREE, malformed, x_webhook_topic="orderPlaced")
    yield cashfree("unknown-version", CASHFREE, malformed, x_webhook_version="v9")
    yield cashfree("no-checkout-id", _changed(CASHFREE, lambda body: body.pop("checkout_id")), malformed)


def _shopify() -> Iterator[Fixture]:
    unauthenticated, malformed = HTTPStatus.UNAUTHORIZED, HTTPStatus.UNPROCESSABLE_ENTITY
    yield shopify("checkouts-create", "checkouts/create", SHOPIFY_NEW)
    yield shopify("checkouts-update", "checkouts/update", SHOPIFY_UPDATED)
    completed = SHOPIFY_UPDATED | {
        "completed_at": "2026-05-07T15:40:00+05:30",
        "updated_at": "2026-05-07T15:40:00+05:30",
    }
    yield shopify("checkouts-update-completed", "checkouts/update", completed)
    deleted = {"id": 981820079255243537, "presentment_currency": "INR", "buyer_accepts_sms_marketing": False}
    yield shopify("checkouts-delete", "checkouts/delete", deleted)
    yield shopify("orders-create", "orders/create", SHOPIFY_ORDER)
    nameless = {"checkout_id": None, "checkout_token": None, "cart_token": None}
    till = SHOPIFY_ORDER | nameless | {"id": 820982911946154509, "source_name": "pos"}
    yield shopify("orders-create-no-checkout", "orders/create", till)
    yield shopify("customers-redact", "customers/redact", SHOPIFY_REDACTION)
    nobody = SHOPIFY_REDACTION | {"customer": {"id": 603851970716743426, "email": None, "phone": None}}
    yield shopify("customers-redact-no-contact", "customers/redact", nobody)
    yield shopify("customers-redact-no-customer", "customers/redact", {"shop_id": 548380009}, malformed)
    wrong = sign(Recipe.BASE64_BODY, "test_secret_of_another", dumps(SHOPIFY_NEW).encode())
    yield shopify(
        "wrong-signature", "checkouts/create", SHOPIFY_NEW, unauthenticated, x_shopify_hmac_sha256=wrong
    )
    yield shopify("unknown-topic", "products/update", SHOPIFY_NEW, malformed)


def _own() -> Iterator[Fixture]:
    malformed = HTTPStatus.UNPROCESSABLE_ENTITY
    yield own("full", OWN)
    yield own("minimal", {"checkout_id": "cart-43"})
    yield own("completed", {"checkout_id": "cart-42", "completed": True, "order_id": 1001})
    yield own("unknown-field", OWN | {"total_payable": 999}, malformed)
    yield own("no-checkout-id", {"email": "john.doe@example.com"}, malformed)
    yield own("malformed-price", OWN | {"cart": {"total": "₹ 999/-"}}, malformed)


def _orders() -> Iterator[Fixture]:
    malformed = HTTPStatus.UNPROCESSABLE_ENTITY
    when = {"completed_at": ORDER["completed_at"]}
    yield order("by-checkout-id", ORDER)
    yield order("by-phone", when | {"order_id": 1002, "phone": "+919876543210"})
    yield order("by-email", when | {"order_id": "1003", "email": "John.Doe@Example.com"})
    yield order("undated", {"order_id": 1004, "phone": {"number": "98765 43210", "dial_code": "91"}})
    yield order("nobody", when | {"order_id": 1005}, malformed)
    yield order("unknown-field", ORDER | {"total": 999}, malformed)


def text_of(fixture: Fixture) -> str:
    """The file that a fixture is."""
    return json.dumps(fixture.event, indent=2) + "\n"


def main() -> int:
    EVENTS.mkdir(exist_ok=True)
    wanted = {fixture.path: text_of(fixture) for fixture in fixtures()}
    for path in set(EVENTS.glob("ingest-*.json")) - set(wanted):
        path.unlink()
    for path, text in wanted.items():
        path.write_text(text, encoding="utf-8")
    print(f"{len(wanted)} fixtures in {EVENTS}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
