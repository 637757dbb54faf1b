"""Topic `abandonedCheckout`, version `v1`: Cashfree Ecom360's headers, with a body layout of our own.

Cashfree publishes what the body carries and no field names; `docs/contracts.md` states ours. The adapter
`providers.cashfree` reads the same layout.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from checkout_recovery.checkout.event import EventType
from checkout_recovery.checkout.lifecycle import Checkout
from checkout_recovery.checkout.snapshot import Address, Cart, Details, Item, Shop, Variant
from checkout_recovery.contracts.contract import Attempt, Contract
from checkout_recovery.contracts.wire import OPT_IN, Body, encode, event_of, full_name, instant, put_back
from checkout_recovery.signing import sign

TOPIC, VERSION = "abandonedCheckout", "v1"
USER_AGENT = "Ecom360-v1"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_URL_CHARS = "%/:?#[]@!$&'()*+,;=~"
_NO_CART, _NO_SHOP = Cart(), Shop()


def render(checkout: Checkout) -> bytes:
    event, details = event_of(checkout), checkout.details
    body = {
        "event_id": event.id,
        "event_time": instant(event.time),
        "sequence": checkout.sequence,
        "checkout_id": checkout.checkout_id,
        "checkout_url": details.checkout_url,
        "created_at": instant(checkout.created_at),
        "abandoned_at": instant(checkout.abandoned_at),
        "store": _store(details.shop or _NO_SHOP),
        "customer": _customer(details),
        "marketing_opt_in": OPT_IN[details.consent],
        "address": _address(details.address) if details.address else None,
        "cart": _cart(details.cart or _NO_CART),
    }
    return encode(put_back(body, details.extra))


def _store(shop: Shop) -> Body:
    store = {
        "id": shop.id,
        "name": shop.name,
        "shopify_domain": shop.shopify_domain,
        "link": shop.link,
    }
    return put_back(store, shop.extra)


def _customer(details: Details) -> Body:
    phone = details.phone
    return {
        "phone": phone.number if phone else None,
        "dial_code": phone.dial_code if phone else None,
        "phone_e164": phone.e164 if phone else None,
        "email": details.email,
        "name": full_name(details.name, details.first_name, details.last_name),
        "first_name": details.first_name,
        "last_name": details.last_name,
    }


def _address(address: Address) -> Body:
    body = {
        "name": address.name,
        "phone": address.phone,
        "address1": address.address1,
        "address2": address.address2,
        "city": address.city,
        "zip": address.zip,
        "province": address.province,
        "province_code": address.province_code,
        "country": address.country,
        "country_code": address.country_code,
    }
    return put_back(body, address.extra)


def _cart(cart: Cart) -> Body:
    body = {
        "currency": cart.currency,
        "discount": cart.discount,
        "total": cart.total,
        "coupons": cart.coupons,
        "items": [_item(item) for item in cart.lines],
    }
    return put_back(body, cart.extra)


def _item(item: Item) -> Body:
    body = {
        "product_id": item.product_id,
        "variant_id": item.variant_id,
        "title": item.title,
        "handle": item.handle,
        "image_url": item.image_url,
        "quantity": item.quantity,
        "grams": item.grams,
        "price": item.price,
        "discount": item.discount,
        "total_discount": item.total_discount,
        "sub_total_price": item.sub_total_price,
        "total_price": item.total_price,
        "single_variant": item.single_variant,
        "variant": _variant(item.variant) if item.variant else None,
        "properties": item.properties,
    }
    return put_back(body, item.extra)


def _variant(variant: Variant) -> Body:
    body = {
        "variant_id": variant.variant_id,
        "title": variant.title,
        "price": variant.price,
        "compare_at_price": variant.compare_at_price,
    }
    return put_back(body, variant.extra)


def own_headers(attempt: Attempt, body: bytes) -> Mapping[str, str]:
    """Cashfree's headers; `x-request-id` is the delivery, so it stays the same over retries."""
    timestamp = str((attempt.sent_at - _EPOCH) // timedelta(milliseconds=1))
    headers = {
        "User-Agent": USER_AGENT,
        "x-store-url": quote(attempt.shop_url, safe=_URL_CHARS),  # a header cannot be broken out of
        "x-webhook-topic": TOPIC,
        "x-webhook-version": VERSION,
        "x-webhook-signature": sign(attempt.recipe, attempt.keys[0], body, timestamp),
        "x-request-id": attempt.delivery_id,
    }
    if attempt.recipe.covers_timestamp:
        headers["x-webhook-timestamp"] = timestamp
    return headers


CONTRACT = Contract(
    topic=TOPIC,
    version=VERSION,
    events=(EventType.ABANDONED,),
    render=render,
    own_headers=own_headers,
)
