"""Shopify: the webhooks of checkouts, and those of orders, which tell that a checkout was bought.

Shopify has no topic for abandonment. ``checkouts/update`` also fires on completion; a deletion names the
checkout by its number only, and an order by its token, its number or, where it came from elsewhere, not at
all. A retry, up to 4 hours later, sends the original payload: its time is ``updated_at``.

``customers/redact``, which every app has to take, asks for a customer to be erased. It comes ten days after
the merchant asked, or once the customer has not ordered for six months. The customer may have an address only
(https://shopify.dev/docs/apps/build/privacy-law-compliance).

``buyer_accepts_marketing`` is consent to e-mail, not to WhatsApp, so consent is unknown and the flag kept.
"""

from datetime import datetime

from checkout_recovery.checkout.order import Order
from checkout_recovery.checkout.phone import Phone
from checkout_recovery.checkout.snapshot import (
    Attribution,
    Cart,
    Client,
    Details,
    Item,
    Shop,
    Snapshot,
    Variant,
)
from checkout_recovery.providers.address import read_address
from checkout_recovery.providers.cart import lines_of
from checkout_recovery.providers.fields import Fields, is_key, read_time, refusal
from checkout_recovery.providers.provider import Credentials, Notice, Request
from checkout_recovery.providers.shop import names_of
from checkout_recovery.signing import Recipe, is_signed

_NO_ATTRIBUTION, _NO_CART, _NO_CLIENT, _NO_VARIANT = Attribution(), Cart(), Client(), Variant()


def is_authentic(request: Request, credentials: Credentials) -> bool:
    """Shopify signs the raw body with the app's secret; for an hour after a rotation, with either."""
    signature = request.header("x-shopify-hmac-sha256") or ""
    return is_signed(Recipe.BASE64_BODY, credentials.secrets, request.body, signature)


def read(request: Request) -> Notice:
    topic = request.header("x-shopify-topic") or ""
    if topic not in _TOPICS:
        raise refusal("X-Shopify-Topic", f"must be one of {', '.join(_TOPICS)}")
    shop = Shop(shopify_domain=request.header("x-shopify-shop-domain"))
    body = Fields.of_body(request.body)
    if topic == ORDERS_CREATE:
        return Notice(names_of(shop), orders=(_read_order(body, request, shop),))
    if topic == CUSTOMERS_REDACT:
        return Notice(names_of(shop), redactions=(_read_redaction(body),))
    return Notice(names_of(shop), (_READERS[topic](body, request, shop),))


def _read_checkout(body: Fields, request: Request, shop: Shop) -> Snapshot:
    token, number = body.identifier("token"), body.identifier("id")
    checkout_id = token or number
    if checkout_id is None or not is_key(checkout_id):
        raise refusal("token", "must be the token of the checkout")
    completed_at = body.time("completed_at")
    return Snapshot(
        checkout_id=checkout_id,
        alias=_alias(body, "id", number),
        event_id=request.header("x-shopify-event-id"),
        event_time=_event_time(body, request),
        completed=completed_at is not None or bool(body.left.get("completed_at")),
        details=_details(body, shop, completed_at),
    )


def _read_deletion(body: Fields, request: Request, shop: Shop) -> Snapshot:
    number = body.identifier("id")
    if number is None or not is_key(number):
        raise refusal("id", "must be the number of the checkout")
    return Snapshot(
        checkout_id=number,
        alias=number,
        event_id=request.header("x-shopify-event-id"),
        event_time=_event_time(body, request),
        discarded=True,
        details=Details(shop=shop if shop.shopify_domain else None, extra=body.left),
    )


def _read_order(body: Fields, request: Request, shop: Shop) -> Order:
    """Reads an order. One from a draft, a till or another channel names no checkout, only its shopper."""
    token, number = body.identifier("checkout_token"), body.identifier("checkout_id")
    if token is not None and not is_key(token):
        body.put_back("checkout_token")
        token = None
    checkout_id = token or number
    event_time = _event_time(body, request)
    completed_at = body.time("processed_at", "created_at")
    return Order(
        checkout_token=checkout_id if is_key(checkout_id) else None,
        alias=_alias(body, "checkout_id", number),
        event_id=request.header("x-shopify-event-id"),
        event_time=event_time,
        details=_details(body, shop, completed_at, body.identifier("id")),
    )


def _read_redaction(body: Fields) -> Details:
    """Reads whom to erase. A customer's number and those of orders are no key here: their contacts are."""
    if not isinstance(body.left.get("customer"), dict):
        raise refusal("customer", "must be the customer to erase")
    customer = body.object("customer")
    number = customer.text("phone")
    return Details(phone=Phone.of(number) if number else None, email=customer.text("email"))


_READERS = {
    "checkouts/create": _read_checkout,
    "checkouts/update": _read_checkout,
    "checkouts/delete": _read_deletion,
}
ORDERS_CREATE = "orders/create"
CUSTOMERS_REDACT = "customers/redact"
_TOPICS = (*_READERS, ORDERS_CREATE, CUSTOMERS_REDACT)


def _alias(body: Fields, name: str, number: str | None) -> str | None:
    if number is not None and not is_key(number):
        body.put_back(name)
        return None
    return number


def _event_time(body: Fields, request: Request) -> datetime | None:
    return body.time("updated_at") or read_time(request.header("x-shopify-triggered-at"))


def _details(body: Fields, shop: Shop, completed_at: datetime | None, order_id: str | None = None) -> Details:
    customer, parcel = body.peek("customer"), body.peek("shipping_address")
    first_name, last_name = _names(customer)
    if first_name is None and last_name is None:
        first_name, last_name = _names(parcel)
    return Details(
        phone=_phone(body, customer, parcel),
        email=body.text("email", "contact_email") or customer.text("email"),
        name=" ".join(filter(None, (first_name, last_name))) or parcel.text("name"),
        first_name=first_name,
        last_name=last_name,
        address=read_address(body.object("shipping_address")),
        cart=_cart(body),
        checkout_url=body.text("abandoned_checkout_url"),
        cart_token=body.identifier("cart_token"),
        shop=shop if shop.shopify_domain else None,
        client=_client(body),
        attribution=_attribution(body),
        order_id=order_id,
        completed_at=completed_at,
        extra=body.left,
    )


def _names(person: Fields) -> tuple[str | None, str | None]:
    return person.text("first_name"), person.text("last_name")


def _phone(body: Fields, customer: Fields, parcel: Fields) -> Phone | None:
    """The contact's number; shops that do not ask for one often have the parcel's."""
    number = body.text("phone") or customer.text("phone") or parcel.text("phone")
    return Phone.of(number) if number else None


def _cart(body: Fields) -> Cart | None:
    """Reads the lines and what they come to, in the shop's currency."""
    lines = lines_of(body, "line_items")
    cart = Cart(
        items=None if lines is None else tuple(_item(line) for line in lines),
        coupons=body.array("discount_codes") or [],
        currency=body.text("currency"),
        discount=body.amount("total_discounts"),
        total=body.amount("total_price"),
    )
    return None if cart == _NO_CART else cart


def _item(line: Fields) -> Item:
    variant = Variant(
        title=line.text("variant_title"),
        price=line.amount("variant_price"),
        compare_at_price=line.amount("compare_at_price"),
    )
    return Item(
        product_id=line.identifier("product_id"),
        variant_id=line.identifier("variant_id"),
        title=line.text("title"),
        quantity=line.count("quantity"),
        grams=line.amount("grams"),
        price=line.amount("price"),
        total_discount=line.amount("total_discount"),
        total_price=line.amount("line_price"),
        variant=variant if variant != _NO_VARIANT else None,
        properties=line.array("properties") or [],
        extra=line.left,
    )


def _client(body: Fields) -> Client | None:
    """Orders tell of the device; checkouts do not."""
    details = body.object("client_details")
    client = Client(
        ip=body.text("browser_ip") or details.text("browser_ip"),
        user_agent=details.text("user_agent"),
        extra=details.left,
    )
    return client if client != _NO_CLIENT else None


def _attribution(body: Fields) -> Attribution | None:
    attribution = Attribution(
        original_referer=body.text("referring_site"), landing_page=body.text("landing_site")
    )
    return attribution if attribution != _NO_ATTRIBUTION else None
