"""Topic `checkout`, version `2026-11`: our own contract, by Standard Webhooks, with all that is known.

Every value that a JavaScript receiver could alter is a string: ids, and amounts with their digits.
"""

from collections.abc import Mapping

from checkout_recovery.checkout.event import EventType
from checkout_recovery.checkout.lifecycle import Checkout
from checkout_recovery.checkout.phone import Phone
from checkout_recovery.checkout.snapshot import (
    Address,
    Attribution,
    Cart,
    Client,
    Details,
    Item,
    Shop,
    Variant,
)
from checkout_recovery.contracts.contract import Attempt, Contract
from checkout_recovery.contracts.wire import Body, decimal_string, encode, event_of, instant, whole_seconds

TOPIC, VERSION = "checkout", "2026-11"

_NO_CART = Cart()


def render(checkout: Checkout) -> bytes:
    event = event_of(checkout)
    body = {
        "id": event.id,
        "type": event.type.value,
        "timestamp": instant(event.time),
        "sequence": checkout.sequence,
        "data": _data(checkout),
    }
    return encode(body)


def _data(checkout: Checkout) -> Body:
    details = checkout.details
    return {
        "store_id": checkout.store_id,
        "checkout_id": checkout.checkout_id,
        "alias": checkout.alias,
        "status": checkout.status.value,
        "stage": details.stage,
        "discarded": checkout.discarded,
        "created_at": instant(checkout.created_at),
        "updated_at": instant(checkout.updated_at),
        "abandoned_at": instant(checkout.abandoned_at),
        "completed_at": instant(details.completed_at or checkout.purchased_at),
        "order_id": details.order_id,
        "recovered_after_seconds": whole_seconds(checkout.recovered_after),
        "checkout_url": details.checkout_url,
        "cart_token": details.cart_token,
        "customer": _customer(details),
        "address": _address(details.address) if details.address else None,
        "cart": _cart(details.cart or _NO_CART),
        "shop": _shop(details.shop) if details.shop else None,
        "client": _client(details.client) if details.client else None,
        "attribution": _attribution(details.attribution) if details.attribution else None,
        "extra": details.extra,
    }


def _customer(details: Details) -> Body:
    return {
        "phone": _phone(details.phone) if details.phone else None,
        "email": details.email,
        "name": details.name,
        "first_name": details.first_name,
        "last_name": details.last_name,
        "consent": details.consent.value if details.consent else "unknown",
    }


def _phone(phone: Phone) -> Body:
    return {"number": phone.number, "dial_code": phone.dial_code, "e164": phone.e164}


def _address(address: Address) -> Body:
    return {
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
        "extra": address.extra,
    }


def _cart(cart: Cart) -> Body:
    return {
        "currency": cart.currency,
        "discount": decimal_string(cart.discount),
        "total": decimal_string(cart.total),
        "coupons": cart.coupons,
        "items": [_item(item) for item in cart.lines],
        "extra": cart.extra,
    }


def _item(item: Item) -> Body:
    return {
        "product_id": item.product_id,
        "variant_id": item.variant_id,
        "title": item.title,
        "handle": item.handle,
        "image_url": item.image_url,
        "quantity": item.quantity,
        "grams": decimal_string(item.grams),
        "price": decimal_string(item.price),
        "discount": decimal_string(item.discount),
        "total_discount": decimal_string(item.total_discount),
        "sub_total_price": decimal_string(item.sub_total_price),
        "total_price": decimal_string(item.total_price),
        "single_variant": item.single_variant,
        "variant": _variant(item.variant) if item.variant else None,
        "properties": item.properties,
        "extra": item.extra,
    }


def _variant(variant: Variant) -> Body:
    return {
        "variant_id": variant.variant_id,
        "title": variant.title,
        "price": decimal_string(variant.price),
        "compare_at_price": decimal_string(variant.compare_at_price),
        "extra": variant.extra,
    }


def _shop(shop: Shop) -> Body:
    return {
        "id": shop.id,
        "name": shop.name,
        "shopify_domain": shop.shopify_domain,
        "link": shop.link,
        "extra": shop.extra,
    }


def _client(client: Client) -> Body:
    return {
        "ip": client.ip,
        "referer": client.referer,
        "user_agent": client.user_agent,
        "fingerprint": client.fingerprint,
        "extra": client.extra,
    }


def _attribution(attribution: Attribution) -> Body:
    return {
        "original_referer": attribution.original_referer,
        "referer_host": attribution.referer_host,
        "landing_page": attribution.landing_page,
        "utm": attribution.utm,
        "fbc": attribution.fbc,
        "fbp": attribution.fbp,
        "extra": attribution.extra,
    }


def own_headers(_attempt: Attempt, _body: bytes) -> Mapping[str, str]:
    """None: the Standard Webhooks headers that every contract sends are all of it."""
    return {}


CONTRACT = Contract(
    topic=TOPIC,
    version=VERSION,
    events=tuple(EventType),
    render=render,
    own_headers=own_headers,
)
