"""A simulated webhook as the request that its sender would make."""

import json
from typing import Any

from checkout_recovery.providers.provider import Request
from local import senders
from local.simulation.day import Shop, Source, Webhook

PROVIDER = "flexype"
FLEXYPE_SECRET = "test_secret_do_not_use"  # noqa: S105 - as made up as the shoppers
_DIAL_CODE = "91"


def request_of(shop: Shop, webhook: Webhook) -> tuple[str, Request]:
    """Returns by which way a webhook comes in, ``orders``, ``checkouts`` or `PROVIDER`, and its request."""
    if webhook.is_order:
        return "orders", _own(_order(webhook))
    match shop.source:
        case Source.OWN:
            return "checkouts", _own(_snapshot(webhook))
        case Source.ENVELOPE:
            call = senders.flexype_envelope(FLEXYPE_SECRET, _envelope(shop, webhook))
        case Source.FLAT:
            call = senders.flexype_flat(FLEXYPE_SECRET, _flat(shop, webhook), str(webhook.event_id))
    return PROVIDER, Request({name.lower(): value for name, value in call.headers.items()}, call.body)


def _own(body: dict[str, Any]) -> Request:
    told = {name: value for name, value in body.items() if value is not None}
    return Request({"content-type": "application/json"}, json.dumps(told).encode())


def _order(webhook: Webhook) -> dict[str, Any]:
    named = "checkout_token" if webhook.names_token else "checkout_id"
    return {
        "order_id": webhook.order_id,
        named: webhook.checkout_id,
        "cart_token": webhook.cart_token,
        "phone": _phone(webhook),
        "email": _email(webhook),
        "completed_at": webhook.said,
    }


def _snapshot(webhook: Webhook) -> dict[str, Any]:
    return {
        "checkout_id": webhook.checkout_id,
        "event_id": webhook.event_id,
        "event_time": webhook.said,
        "completed": webhook.bought or None,
        "order_id": webhook.order_id,
        "phone": _phone(webhook),
        "email": _email(webhook),
        "name": _name(webhook),
        "consent": webhook.consent,
        "cart_token": webhook.cart_token,
        "stage": webhook.stage,
        "checkout_url": _url(webhook, "https://shop.example/cart") if webhook.has_url else None,
        "cart": {"items": [{"title": "Cup", "quantity": 1}], "total": webhook.total, "currency": "INR"},
    }


def _envelope(shop: Shop, webhook: Webhook) -> dict[str, Any]:
    user = {"email": _email(webhook), "full_name": _name(webhook)}
    if webhook.phone:
        user |= {"dial_code": _DIAL_CODE, "phone": webhook.phone}
        if webhook.spelling % 2:
            user["phone_with_dial_code"] = f"+{_DIAL_CODE}{webhook.phone}"
    return {
        "event_time": webhook.said,
        "event_type": "ACR_CHECKOUT",
        "event_id": webhook.event_id,
        "store": {"id": shop.store_id, "main_domain": f"{shop.store_id}.example"},
        "payload": {
            "user": user,
            "checkout_url": _url(webhook, "https://checkout.flexype.com/c"),
            "cart_items": [{"title": "Cup", "quantity": 1, "price": webhook.total}],
            "session_state": webhook.stage,
        },
    }


def _flat(shop: Shop, webhook: Webhook) -> dict[str, Any]:
    user = {"email": _email(webhook), "name": _name(webhook)}
    if webhook.phone:
        user |= {"dial_code": f"+{_DIAL_CODE}", "phone_no": webhook.phone}
    return {
        "shopify_domain": f"{shop.store_id}.myshopify.com",
        "store_link": f"https://{shop.store_id}.example",
        "checkout_url": _url(webhook, "https://checkout.flexype.io/c"),
        "session_state": webhook.stage,
        "total_payable": webhook.total,
        "user": user,
        "cart_items": [{"title": "Cup", "quantity": 1, "price": webhook.total}],
    }


def _url(webhook: Webhook, root: str) -> str:
    return f"{root}/{webhook.checkout_id}"


def _name(webhook: Webhook) -> str | None:
    return "Asha Rao" if webhook.has_name else None


def _email(webhook: Webhook) -> str | None:
    """Letters' case is nobody's identity."""
    if webhook.email is None:
        return None
    return webhook.email.title() if webhook.spelling == 1 else webhook.email


def _phone(webhook: Webhook) -> str | dict[str, str] | None:
    """One number in the ways in which senders write it."""
    number = webhook.phone
    if number is None:
        return None
    spellings: tuple[str | dict[str, str], ...] = (
        number,
        {"number": number, "dial_code": _DIAL_CODE},
        f"+{_DIAL_CODE} {number[:5]} {number[5:]}",
        f"0{number}",
    )
    return spellings[webhook.spelling]
