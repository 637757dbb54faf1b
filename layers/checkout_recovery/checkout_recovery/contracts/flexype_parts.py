"""What FlexyPe's two versions have in common: the topic, its events, and how parts of a checkout are written.

Where FlexyPe publishes no place for something that was captured, it becomes an additional member, and only
where it is known: a checkout that says no more than FlexyPe's own sample is written as the sample is.
"""

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
from checkout_recovery.contracts.wire import OPT_IN, Body, instant, known, put_back, whole_seconds

TOPIC = "ACR_CHECKOUT"
EVENTS = (
    EventType.CREATED,
    EventType.UPDATED,
    EventType.RESUMED,
    EventType.COMPLETED,
    EventType.RECOVERED,
)
NO_CART, NO_SHOP, NO_CLIENT, NO_ATTRIBUTION = Cart(), Shop(), Client(), Attribution()

_LARGEST_EXACT = 2**53 - 1
_LARGEST_EXACT_DIGITS = 16
_NO_VARIANT = Variant()


def shopify_id(value: str | None) -> int | str | None:
    """Writes an id as the number that FlexyPe shows, unless a JavaScript receiver would alter it."""
    if value is None or len(value) > _LARGEST_EXACT_DIGITS or not (value.isascii() and value.isdigit()):
        return value
    number = int(value)
    return number if number <= _LARGEST_EXACT and str(number) == value else value


def session_state(checkout: Checkout) -> str:
    """The stage in FlexyPe's words; where nobody named one, the furthest that is certainly passed."""
    if checkout.is_complete:
        return "COMPLETED"
    details = checkout.details
    return details.stage or ("PHONE_ENTERED" if details.phone else "INITIATED")


def phone_parts(phone: Phone | None) -> tuple[str | None, str | None]:
    """The number and its dial code: as they were given, or split where only the whole was."""
    if phone is None:
        return None, None
    code = phone.country_code
    if phone.dial_code or not phone.e164:
        return phone.number, code
    return phone.e164.removeprefix(f"+{code}"), code


def item(line: Item) -> Body:
    variant = line.variant or _NO_VARIANT
    body = {
        "image": line.image_url,
        "title": line.title,
        "discount": line.discount,
        "price": line.price,
        "quantity": line.quantity,
        "product_id": shopify_id(line.product_id),
        # FlexyPe says that these two are the same, the second for convenience.
        "variant_id": shopify_id(line.variant_id or variant.variant_id),
        "grams": line.grams,
        "handle": line.handle,
        "total_price": line.total_price,
        "sub_total_price": line.sub_total_price,
        "total_discount": line.total_discount,
        "single_variant": line.single_variant,
        "properties": line.properties,
        "variant": put_back(
            {
                "title": variant.title,
                "price": variant.price,
                "variant_id": shopify_id(variant.variant_id or line.variant_id),
                "compare_at_price": variant.compare_at_price,
            },
            variant.extra,
        ),
    }
    return put_back(body, line.extra)


def address(place: Address) -> Body:
    body = {
        "address1": place.address1,
        "address2": place.address2,
        "city": place.city,
        "province": place.province,
        "country": place.country,
        "province_code": place.province_code,
        "country_code": place.country_code,
        "zip": place.zip,
        **known(name=place.name, phone=place.phone),
    }
    return put_back(body, place.extra)


def client_meta(client: Client) -> Body:
    return {
        "client_ip": client.ip,
        "http_referer": client.referer,
        "user_agent": client.user_agent,
    }


def metadata(attribution: Attribution) -> Body:
    return {
        "orig_referer": attribution.original_referer,
        "referer_host": attribution.referer_host,
        "landing_page": attribution.landing_page,
        "utm": attribution.utm,
    }


def put_back_attribution(body: Body, attribution: Attribution) -> None:
    """Adds the undescribed to `analytics` where it names that, and else to `metadata`."""
    for name, value in attribution.extra.items():
        into = body if name in ("analytics", "metadata") else body["metadata"]
        put_back(into, {name: value})


def additional(checkout: Checkout, details: Details, cart: Cart) -> Body:
    """What neither version has a place for."""
    return known(
        currency=cart.currency,
        marketing_opt_in=OPT_IN[details.consent],
        cart_token=details.cart_token,
        order_id=details.order_id,
        recovered_after_seconds=whole_seconds(checkout.recovered_after),
        completed_at=instant(details.completed_at or checkout.purchased_at),
    )
