"""Cashfree Ecom360: one topic, sent when a shopper has already left.

Cashfree publishes what its webhook carries but no field names; the layout read here is our own, described
in ``docs/contracts.md``. What is signed, and how it is written, is configuration (`Credentials.recipe`).
"""

from checkout_recovery.checkout.snapshot import Cart, Consent, Details, Shop, Snapshot
from checkout_recovery.providers.address import read_address
from checkout_recovery.providers.cart import read_items
from checkout_recovery.providers.fields import Fields, is_key, refusal
from checkout_recovery.providers.phone import read_phone
from checkout_recovery.providers.provider import Credentials, Notice, Request
from checkout_recovery.providers.shop import host_of, names_of
from checkout_recovery.signing import is_signed

TOPIC = "abandonedCheckout"
VERSION = "v1"
_CONSENT = {True: Consent.GRANTED, False: Consent.DENIED, None: None}
_NO_SHOP = Shop()


def is_authentic(request: Request, credentials: Credentials) -> bool:
    signature = request.header("x-webhook-signature") or ""
    timestamp = request.header("x-webhook-timestamp") or ""
    if credentials.recipe.covers_timestamp and not timestamp:
        return False
    return is_signed(credentials.recipe, credentials.secrets, request.body, signature, timestamp)


def read(request: Request) -> Notice:
    _check_header(request, "x-webhook-topic", TOPIC)
    _check_header(request, "x-webhook-version", VERSION)
    store_url = request.header("x-store-url")
    body = Fields.of_body(request.body)
    checkout_id = body.identifier("checkout_id")
    if checkout_id is None or not is_key(checkout_id):
        raise refusal("checkout_id", "must be the id of the checkout")
    shop = _shop(body.object("store"), store_url)
    snapshot = Snapshot(
        checkout_id=checkout_id,
        event_id=body.identifier("event_id") or request.header("x-request-id"),
        event_time=body.time("event_time", "abandoned_at"),
        abandoned=True,
        details=_details(body, shop),
    )
    return Notice(names_of(shop) | {host_of(store_url)} - {""}, (snapshot,))


def _check_header(request: Request, name: str, expected: str) -> None:
    if request.header(name) != expected:
        raise refusal(name, f"must be {expected}")


def _details(body: Fields, shop: Shop) -> Details:
    customer = body.object("customer")
    opt_in = body.flag("marketing_opt_in")
    return Details(
        phone=read_phone(customer, number=("phone",), international="phone_e164"),
        email=customer.text("email"),
        name=customer.text("name"),
        first_name=customer.text("first_name"),
        last_name=customer.text("last_name"),
        consent=_CONSENT[opt_in],
        address=read_address(body.object("address")),
        cart=_cart(body.object("cart")),
        checkout_url=body.text("checkout_url"),
        shop=shop if shop != _NO_SHOP else None,
        extra=body.rest(customer=customer),
    )


def _shop(store: Fields, store_url: str | None) -> Shop:
    return Shop(
        id=store.identifier("id"),
        name=store.text("name"),
        shopify_domain=store.text("shopify_domain"),
        link=store.text("link") or store_url,
        extra=store.left,
    )


def _cart(fields: Fields) -> Cart | None:
    cart = {
        "items": read_items(fields, "items"),
        "coupons": fields.array("coupons") or [],
        "currency": fields.text("currency"),
        "discount": fields.amount("discount"),
        "total": fields.amount("total"),
        "extra": fields.left,
    }
    return None if fields.says_nothing else Cart.model_validate(cart)
