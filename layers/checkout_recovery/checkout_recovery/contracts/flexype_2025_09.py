"""Topic `ACR_CHECKOUT`, version `2025-09`: FlexyPe's flat body, by its published sample and descriptions."""

from collections.abc import Mapping

from checkout_recovery.checkout.lifecycle import Checkout
from checkout_recovery.checkout.snapshot import Attribution, Client, Details, Item
from checkout_recovery.contracts import flexype_parts as parts
from checkout_recovery.contracts.contract import Attempt, Contract
from checkout_recovery.contracts.wire import Body, encode, event_of, full_name, known, put_back

VERSION = "2025-09"


def render(checkout: Checkout) -> bytes:
    details = checkout.details
    shop, cart = details.shop or parts.NO_SHOP, details.cart or parts.NO_CART
    attribution = details.attribution or parts.NO_ATTRIBUTION
    body = {
        "webhook_id": event_of(checkout).id,
        "shopify_domain": shop.shopify_domain,
        "cart_items": [_item(line) for line in cart.lines],
        "checkout_url": details.checkout_url,
        "discount": cart.discount,
        "total_payable": cart.total,
        "session_state": parts.session_state(checkout),
        "user": _user(details),
        "store_link": _url(shop.link),
        "coupons": cart.coupons,
        "client_meta": _client_meta(details.client or parts.NO_CLIENT),
        "analytics": _analytics(attribution),
        "metadata": parts.metadata(attribution) if details.attribution else {},
        **known(store_id=shop.id, store_name=shop.name),
        **parts.additional(checkout, details, cart),
    }
    parts.put_back_attribution(body, attribution)
    for extra in (shop.extra, cart.extra, *_levels(details.extra)):
        put_back(body, extra)
    return encode(body)


def _levels(extra: Body) -> tuple[Body, ...]:
    """What came in the payload of FlexyPe's envelope and what came around it: here they are one level."""
    payload = extra.get("payload")
    if not isinstance(payload, dict):
        return (extra,)
    return payload, {name: value for name, value in extra.items() if name != "payload"}


def _item(line: Item) -> Body:
    body = parts.item(line)
    if not line.properties:
        del body["properties"]  # not in this version; additional where there are any
    return body


def _user(details: Details) -> Body:
    number, code = parts.phone_parts(details.phone)
    return {
        "phone_no": number,
        "dial_code": code,
        "name": full_name(details.name, details.first_name, details.last_name),
        "email": details.email,
        "address": parts.address(details.address) if details.address else {},
        **known(first_name=details.first_name, last_name=details.last_name),
    }


def _url(link: str | None) -> str | None:
    return f"https://{link}" if link and "://" not in link else link


def _client_meta(client: Client) -> Body:
    body = {**parts.client_meta(client), "browser_fingerprint": client.fingerprint}
    return put_back(body, client.extra)


def _analytics(attribution: Attribution) -> Body:
    if attribution.fbc is None and attribution.fbp is None:
        return {}
    return {"fbc": attribution.fbc, "fbp": attribution.fbp}


def own_headers(attempt: Attempt, _: bytes) -> Mapping[str, str]:
    """FlexyPe's headers: the authorization is the key itself, the newest one during a rotation."""
    return {
        "X-Flexype-Authorization": attempt.keys[0],
        "X-Webhook-Version": VERSION,
        "X-Event-Id": attempt.event_id,
    }


CONTRACT = Contract(
    topic=parts.TOPIC,
    version=VERSION,
    events=parts.EVENTS,
    render=render,
    own_headers=own_headers,
)
