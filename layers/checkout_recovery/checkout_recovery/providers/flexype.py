"""FlexyPe: a snapshot whenever a checkout is created or updated, in two versions told apart by a header.

2025-09 is flat. 2026-05 puts the same in the ``payload`` of an envelope that also has the event's id and
time. Neither names the checkout: it is the last path segment of the URL that resumes it. Neither names a
currency, and neither says anything about consent.
"""

from datetime import datetime

from checkout_recovery.checkout.snapshot import Attribution, Cart, Client, Details, Item, Shop, Snapshot
from checkout_recovery.providers.address import read_address
from checkout_recovery.providers.cart import line_total, read_items, sum_of
from checkout_recovery.providers.fields import Fields, is_key, refusal
from checkout_recovery.providers.phone import read_phone
from checkout_recovery.providers.provider import Credentials, Notice, Request
from checkout_recovery.providers.shop import names_of
from checkout_recovery.signing import equal

EVENT_TYPE = "ACR_CHECKOUT"
COMPLETED = "COMPLETED"
_NO_SHOP, _NO_ATTRIBUTION = Shop(), Attribution()


def is_authentic(request: Request, credentials: Credentials) -> bool:
    """Whether the header is the merchant's secret itself. Compares all secrets, whichever is right."""
    given = request.header("x-flexype-authorization") or ""
    matches = [equal(secret, given) for secret in credentials.secrets]
    return any(matches)


def read(request: Request) -> Notice:
    version = request.header("x-webhook-version") or ""
    if version not in _READERS:
        raise refusal("X-Webhook-Version", f"must be one of {', '.join(_READERS)}")
    return _READERS[version](Fields.of_body(request.body), request.header("x-event-id"))


def _read_2025_09(body: Fields, event_id: str | None) -> Notice:
    shop = Shop(shopify_domain=body.text("shopify_domain"), link=body.text("store_link"))
    event_id = _event_id(body, "webhook_id", event_id)
    cart = _cart(body, read_items(body, "cart_items"))
    return Notice(names_of(shop), (_snapshot(body, "checkout_url", shop, cart, event_id),))


def _read_2026_05(body: Fields, event_id: str | None) -> Notice:
    if body.text("event_type") != EVENT_TYPE:
        raise refusal("event_type", f"must be {EVENT_TYPE}")
    payload = body.object("payload")
    if payload.says_nothing:
        raise refusal("payload", "must be an object with members")
    shop = _shop(body.object("store"))
    event_id = _event_id(body, "event_id", event_id)
    event_time = body.time("event_time")
    payload.keep(_free_name(payload, "envelope"), body)
    cart = _with_sums(_cart(payload, read_items(payload, "cart_items")))
    snapshot = _snapshot(payload, "payload.checkout_url", shop, cart, event_id, event_time)
    return Notice(names_of(shop), (snapshot,))


_READERS = {"2025-09": _read_2025_09, "2026-05": _read_2026_05}


def _snapshot(
    payload: Fields,
    url_field: str,
    shop: Shop,
    cart: Cart | None,
    event_id: str | None,
    event_time: datetime | None = None,
) -> Snapshot:
    """Reads what both versions call the same."""
    stage, checkout_url = payload.text("session_state"), payload.text("checkout_url")
    checkout_id = _last_segment(checkout_url or "")
    if not is_key(checkout_id):
        raise refusal(url_field, "must be an http(s) URL whose path ends in the id of the checkout")
    return Snapshot(
        checkout_id=checkout_id,
        event_id=event_id,
        event_time=event_time,
        completed=(stage or "").strip().upper() == COMPLETED,
        details=_details(payload, shop, cart, stage, checkout_url),
    )


def _details(
    payload: Fields, shop: Shop, cart: Cart | None, stage: str | None, checkout_url: str | None
) -> Details:
    user = payload.object("user")
    address = user.object("address")
    return Details(
        phone=read_phone(user, number=("phone", "phone_no"), international="phone_with_dial_code"),
        email=user.text("email"),
        name=user.text("name", "full_name"),
        first_name=user.text("first_name"),
        last_name=user.text("last_name"),
        address=read_address(address),
        cart=cart,
        stage=stage,
        checkout_url=checkout_url,
        shop=shop if shop != _NO_SHOP else None,
        client=_client(payload.object("client_meta")),
        attribution=_attribution(payload),
        extra=payload.rest(user=user),
    )


def _event_id(body: Fields, name: str, header: str | None) -> str | None:
    """The header is the event's id in both versions, so it wins; a body that disagrees keeps its own.

    2025-09 has none in its body but ``webhook_id``, which FlexyPe describes as the event's.
    """
    told = body.identifier(name)
    if header and told != header:
        body.put_back(name)
    return header or told


def _free_name(fields: Fields, name: str) -> str:
    """A name that no member has, for what is left of the envelope around a payload."""
    while name in fields.left:
        name = "_" + name
    return name


def _last_segment(url: str) -> str:
    """Returns the last part of a URL's path that is not empty, spelled as it is; empty where there is none.

    A bare domain or path has none: taken for an id, a host would make one checkout of everybody's.
    """
    scheme, _, rest = url.strip().partition("://")
    if scheme.lower() not in ("http", "https"):
        return ""
    path = rest.partition("?")[0].partition("#")[0]
    return next((segment for segment in reversed(path.split("/")[1:]) if segment), "")


def _cart(payload: Fields, items: tuple[Item, ...] | None) -> Cart | None:
    coupons = payload.array("coupons")
    discount, total = payload.amount("discount"), payload.amount("total_payable")
    if items is None and not coupons and discount is None and total is None:
        return None
    return Cart(items=items, coupons=coupons or [], discount=discount, total=total)


def _with_sums(cart: Cart | None) -> Cart | None:
    """Adds the lines up where the cart has no totals: 2026-05 documents none."""
    if cart is None or cart.items is None:
        return cart
    sums = {
        "discount": sum_of([item.total_discount for item in cart.items]),
        "total": sum_of([line_total(item) for item in cart.items]),
    }
    return cart.model_copy(update={name: sums[name] for name in sums if getattr(cart, name) is None})


def _shop(store: Fields) -> Shop:
    return Shop(
        id=store.identifier("id"),
        name=store.text("name"),
        shopify_domain=store.text("shopify_domain"),
        link=store.text("main_domain"),
        extra=store.left,
    )


def _client(meta: Fields) -> Client | None:
    client = Client(
        ip=meta.text("client_ip"),
        referer=meta.text("http_referer"),
        user_agent=meta.text("user_agent"),
        fingerprint=meta.text("browser_fingerprint"),
        extra=meta.left,
    )
    return None if meta.says_nothing else client


def _attribution(payload: Fields) -> Attribution | None:
    """Reads ``metadata`` and ``analytics``; Facebook's ids stand in ``analytics`` or in its ``fb``."""
    metadata, analytics = payload.object("metadata"), payload.object("analytics")
    facebook = analytics.object("fb")
    attribution = Attribution(
        original_referer=metadata.text("orig_referer"),
        referer_host=metadata.text("referer_host"),
        landing_page=metadata.text("landing_page"),
        utm=metadata.array("utm") or [],
        fbc=facebook.text("fbc") or analytics.text("fbc"),
        fbp=facebook.text("fbp") or analytics.text("fbp"),
        extra=Fields().rest(analytics=Fields(analytics.rest(fb=facebook)), metadata=metadata),
    )
    return attribution if attribution != _NO_ATTRIBUTION else None
