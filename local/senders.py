"""Requests as each checkout provider makes them: its headers, its proof, and the payload that it documents.

Signs by itself, from what the providers publish: nothing of `checkout_recovery` is imported here.
"""

import base64
import copy
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from local import samples

Payload = samples.Json


@dataclass(frozen=True, slots=True)
class Call:
    """One request to the API."""

    provider: str | None
    """None for our own schemas, which a store posts with its token."""
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    own_schema: str = "checkouts"
    """Which of ours it is, where it is one."""


# ---------------------------------------------------------------- FlexyPe


def flexype_flat(secret: str, payload: Payload | bytes, event_id: str) -> Call:
    """Version 2025-09. The secret is sent as it is."""
    return Call("flexype", _flexype_headers(secret, "2025-09", event_id), _bytes(payload))


def flexype_envelope(secret: str, payload: Payload | bytes, event_id: str | None = None) -> Call:
    """Version 2026-05; the event's id stands in the envelope too."""
    event_id = event_id or (payload["event_id"] if isinstance(payload, dict) else "evt_unnamed")
    headers = _flexype_headers(secret, "2026-05", event_id) | {"X-Webhook-Id": "whk_of_the_store"}
    return Call("flexype", headers, _bytes(payload))


def _flexype_headers(secret: str, version: str, event_id: str) -> dict[str, str]:
    return {
        "Content-Type": "application/json",
        "X-Flexype-Authorization": secret,
        "X-Webhook-Version": version,
        "X-Event-Id": event_id,
    }


# ---------------------------------------------------------------- Cashfree and Shopify


def cashfree(secret: str, payload: Payload | bytes, *, request_id: str, store_url: str) -> Call:
    """Ecom360 v1, signed by the recipe that is the default: base64 of the HMAC of the raw body."""
    body = _bytes(payload)
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Ecom360-v1",
        "x-store-url": store_url,
        "x-webhook-topic": "abandonedCheckout",
        "x-webhook-version": "v1",
        "x-webhook-signature": _hmac(secret, body),
        "x-request-id": request_id,
    }
    return Call("cashfree", headers, body)


def shopify(
    secret: str, topic: str, payload: Payload | bytes, *, shop: str, event_id: str, triggered_at: str
) -> Call:
    body = _bytes(payload)
    headers = {
        "Content-Type": "application/json",
        "X-Shopify-Topic": topic,
        "X-Shopify-Hmac-Sha256": _hmac(secret, body),
        "X-Shopify-Shop-Domain": shop,
        "X-Shopify-API-Version": "2026-10",
        "X-Shopify-Webhook-Id": f"{event_id}-delivery",
        "X-Shopify-Event-Id": event_id,
        "X-Shopify-Triggered-At": triggered_at,
    }
    return Call("shopify", headers, body)


def own(payload: Payload | bytes) -> Call:
    """Our own schema; the client adds the store's token."""
    return Call(None, {"Content-Type": "application/json"}, _bytes(payload))


def order(payload: Payload | bytes) -> Call:
    """An order of any platform, in our own schema."""
    return Call(None, {"Content-Type": "application/json"}, _bytes(payload), own_schema="orders")


def _hmac(secret: str, body: bytes) -> str:
    return base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()


def _bytes(payload: Payload | bytes) -> bytes:
    return payload if isinstance(payload, bytes) else json.dumps(payload, ensure_ascii=False).encode()


# ---------------------------------------------------------------- payloads


def with_changes(payload: Payload, **changes: Any) -> Payload:
    """A copy of a payload with some members changed; a path's parts are joined by ``__``."""
    changed = copy.deepcopy(payload)
    for path, value in changes.items():
        *parents, name = path.split("__")
        place = changed
        for parent in parents:
            place = place[parent]
        place[name] = value
    return changed


FLEXYPE_2025_09 = with_changes(
    samples.FLEXYPE_2025_09,
    checkout_url="https://checkout.flexype.io/c/flat0900",
    user__email="john.doe@example.com",
)
"""FlexyPe's published sample, with the URL and the address that it leaves out."""

FLEXYPE_2026_05 = samples.FLEXYPE_2026_05

CASHFREE_V1: Payload = {
    "event_id": "cf_evt_0001",
    "event_time": "2026-05-07T11:15:00Z",
    "checkout_id": "occ_7f3a",
    "checkout_url": "https://checkout.example.com/occ/occ_7f3a",
    "created_at": "2026-05-07T11:00:00Z",
    "abandoned_at": "2026-05-07T11:15:00Z",
    "store": {"shopify_domain": "my-store.myshopify.com", "link": "https://my-store.com"},
    "customer": {
        "phone": "9876543210",
        "dial_code": "91",
        "email": "john.doe@example.com",
        "name": "John Doe",
    },
    "marketing_opt_in": True,
    "address": {"zip": "380001"},
    "cart": {
        "currency": "INR",
        "discount": 0,
        "total": 999.00,
        "coupons": [],
        "items": [{"product_id": "12345", "title": "Cool T-Shirt", "quantity": 1, "price": 999.00}],
    },
}
"""What Cashfree says that it sends, in the layout of `docs/contracts.md`."""

SHOPIFY_CHECKOUT: Payload = {
    "id": 981820079255243537,
    "token": "shpfy123123",
    "cart_token": "eeafa272cebfd4b22385bc4b645e762c",
    "email": None,
    "phone": None,
    "created_at": "2026-05-07T12:00:00Z",
    "updated_at": "2026-05-07T12:00:00Z",
    "completed_at": None,
    "currency": "INR",
    "total_price": "999.00",
    "total_discounts": "0.00",
    "buyer_accepts_marketing": False,
    "abandoned_checkout_url": "https://my-store.myshopify.com/checkouts/ac/shpfy123123/recover?key=example",
    "line_items": [
        {
            "product_id": 12345,
            "variant_id": 67890,
            "title": "Cool T-Shirt",
            "variant_title": "Large / Red",
            "quantity": 1,
            "grams": 200,
            "price": "999.00",
            "line_price": "999.00",
        }
    ],
    "shipping_address": [],
    "customer": None,
    "discount_codes": [],
}
"""A checkout at its creation, as Shopify's webhooks have it: nothing is known of the shopper yet."""

SHOPIFY_ORDER: Payload = {
    "id": 820982911946154508,
    "checkout_id": 981820079255243537,
    "checkout_token": "shpfy123123",
    "cart_token": "eeafa272cebfd4b22385bc4b645e762c",
    "email": "john.doe@example.com",
    "phone": "+919876543210",
    "created_at": "2026-05-07T12:05:00Z",
    "updated_at": "2026-05-07T12:05:00Z",
    "processed_at": "2026-05-07T12:05:00Z",
    "currency": "INR",
    "total_price": "999.00",
}

OWN: Payload = {
    "checkout_id": "own-1",
    "event_id": "own-evt-1",
    "event_time": "2026-05-07T13:00:00Z",
    "phone": {"number": "9876543210", "dial_code": "91"},
    "email": "john.doe@example.com",
    "consent": "granted",
    "stage": "PHONE_ENTERED",
    "checkout_url": "https://my-store.com/checkout/own-1",
    "cart": {
        "currency": "INR",
        "total": "999.00",
        "items": [{"product_id": "12345", "title": "Cool T-Shirt", "quantity": 1, "price": "999.00"}],
    },
}

OWN_ORDER: Payload = {"order_id": "1001", "phone": {"number": "9876543210", "dial_code": "91"}}
"""The least that says which shopper has bought."""
