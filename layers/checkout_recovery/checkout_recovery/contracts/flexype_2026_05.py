"""Topic `ACR_CHECKOUT`, version `2026-05`: FlexyPe's envelope, by its published sample."""

from collections.abc import Mapping

from checkout_recovery.checkout.lifecycle import Checkout
from checkout_recovery.checkout.phone import Phone
from checkout_recovery.checkout.snapshot import Attribution, Client, Details, Shop
from checkout_recovery.contracts import flexype_parts as parts
from checkout_recovery.contracts.contract import Attempt, Contract
from checkout_recovery.contracts.wire import Body, encode, event_of, full_name, instant, known, put_back

VERSION = "2026-05"


def render(checkout: Checkout) -> bytes:
    event, details = event_of(checkout), checkout.details
    payload = _payload(checkout, details)
    body = {
        "event_time": instant(event.time),
        "event_type": parts.TOPIC,
        "event_id": event.id,
        "store": _store(details.shop or parts.NO_SHOP, checkout.store_id),
        "payload": payload,
    }
    for name, value in details.extra.items():
        put_back(payload if name in payload else body, {name: value})  # the flat version has one level less
    return encode(body)


def _store(shop: Shop, store_id: str) -> Body:
    body = {
        "id": shop.id or store_id,
        "name": shop.name,
        "shopify_domain": shop.shopify_domain,
        "main_domain": _domain(shop.link),
    }
    return put_back(body, shop.extra)


def _domain(link: str | None) -> str | None:
    return link.partition("://")[2].partition("/")[0] if link and "://" in link else link


def _payload(checkout: Checkout, details: Details) -> Body:
    cart = details.cart or parts.NO_CART
    attribution = details.attribution or parts.NO_ATTRIBUTION
    body = {
        "user": _user(details),
        "checkout_url": details.checkout_url,
        "cart_items": [parts.item(line) for line in cart.lines],
        "session_state": parts.session_state(checkout),
        "coupons": cart.coupons,
        "client_meta": _client_meta(details.client or parts.NO_CLIENT),
        "metadata": parts.metadata(attribution),
        "analytics": _analytics(attribution),
        **known(discount=cart.discount, total_payable=cart.total),
        **parts.additional(checkout, details, cart),
    }
    parts.put_back_attribution(body, attribution)
    return put_back(body, cart.extra)


def _user(details: Details) -> Body:
    number, code = parts.phone_parts(details.phone)
    return {
        "email": details.email,
        "full_name": full_name(details.name, details.first_name, details.last_name),
        "first_name": details.first_name,
        "last_name": details.last_name,
        "dial_code": code,
        "phone": number,
        "phone_with_dial_code": _with_dial_code(details.phone),
        **known(address=parts.address(details.address) if details.address else None),
    }


def _with_dial_code(phone: Phone | None) -> str | None:
    """The E.164 form, or for a number that is none yet what was typed after its dial code."""
    if phone is None or phone.e164:
        return phone.e164 if phone else None
    code = phone.country_code
    return f"+{code}{phone.number}" if code and not phone.number.startswith("+") else None


def _client_meta(client: Client) -> Body:
    body = {**parts.client_meta(client), **known(browser_fingerprint=client.fingerprint)}
    return put_back(body, client.extra)


def _analytics(attribution: Attribution) -> Body:
    return {"fb": {"fbp": attribution.fbp, **known(fbc=attribution.fbc)}}


def own_headers(attempt: Attempt, _: bytes) -> Mapping[str, str]:
    """FlexyPe's headers: `X-Webhook-Id` names the subscription, `X-Event-Id` the event."""
    return {
        "X-Flexype-Authorization": attempt.keys[0],
        "X-Webhook-Version": VERSION,
        "X-Webhook-Id": attempt.subscription_id,
        "X-Event-Id": attempt.event_id,
    }


CONTRACT = Contract(
    topic=parts.TOPIC,
    version=VERSION,
    events=parts.EVENTS,
    render=render,
    own_headers=own_headers,
)
