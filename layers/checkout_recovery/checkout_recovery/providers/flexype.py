"""FlexyPe: a snapshot whenever a checkout is created or updated, in two versions told apart by a header.

2025-09 is flat. 2026-05 puts the same in the ``payload`` of an envelope that also has the event's id and
time. Neither names the checkout: it is the last path segment of the URL that resumes it. Neither names a
currency, and neither says anything about consent.
"""

from datetime import datetime

from checkout_recovery.checkout.money import parse_amount
from checkout_recovery.checkout.snapshot import Snapshot
from checkout_recovery.providers.address import read_address
from checkout_recovery.providers.cart import line_total, read_items, sum_of
from checkout_recovery.providers.fields import (
    Fields,
    Layout,
    Told,
    is_key,
    read_identifier,
    read_list,
    read_text,
    refusal,
)
from checkout_recovery.providers.phone import read_phone
from checkout_recovery.providers.provider import Credentials, Notice, Request
from checkout_recovery.providers.shop import names_of
from checkout_recovery.signing import equal

EVENT_TYPE = "ACR_CHECKOUT"
COMPLETED = "COMPLETED"

_SHOP: Layout = (
    ("id", "id", read_identifier),
    ("name", "name", read_text),
    ("shopify_domain", "shopify_domain", read_text),
    ("main_domain", "link", read_text),
)
_SHOP_2025_09: Layout = (("shopify_domain", "shopify_domain", read_text), ("store_link", "link", read_text))
_USER: Layout = (
    ("email", "email", read_text),
    ("name", "name", read_text),
    ("full_name", "name", read_text),
    ("first_name", "first_name", read_text),
    ("last_name", "last_name", read_text),
)
_PAYLOAD: Layout = (
    ("session_state", "stage", read_text),
    ("checkout_url", "checkout_url", read_text),
)
_CLIENT: Layout = (
    ("client_ip", "ip", read_text),
    ("http_referer", "referer", read_text),
    ("user_agent", "user_agent", read_text),
    ("browser_fingerprint", "fingerprint", read_text),
)
_VISIT: Layout = (
    ("orig_referer", "original_referer", read_text),
    ("referer_host", "referer_host", read_text),
    ("landing_page", "landing_page", read_text),
    ("utm", "utm", read_list),
)
_FACEBOOK: Layout = (("fbc", "fbc", read_text), ("fbp", "fbp", read_text))
_CART: Layout = (
    ("coupons", "coupons", read_list),
    ("discount", "discount", parse_amount),
    ("total_payable", "total", parse_amount),
)


def is_authentic(request: Request, credentials: Credentials) -> bool:
    """Whether the header is the merchant's secret itself. Compares all secrets, whichever is right."""
    given = request.header("x-flexype-authorization") or ""
    matches = [equal(secret, given) for secret in credentials.secrets]
    return any(matches)


def read(request: Request) -> Notice:
    version = request.header("x-webhook-version") or ""
    if version not in _READERS:
        raise refusal("X-Webhook-Version", f"must be one of {', '.join(_READERS)}")
    return _READERS[version](request, Fields.of_body(request.body))


def _read_2025_09(request: Request, body: Fields) -> Notice:
    shop = body.all(_SHOP_2025_09)
    event_id = _event_id(request, body, "webhook_id")
    cart = _cart(body)
    return _notice(_snapshot(request, body, "checkout_url", shop, cart, event_id))


def _read_2026_05(request: Request, body: Fields) -> Notice:
    if body.text("event_type") != EVENT_TYPE:
        raise refusal("event_type", f"must be {EVENT_TYPE}")
    payload = body.object("payload")
    if payload.says_nothing:
        raise refusal("payload", "must be an object with members")
    shop = body.object("store").part(_SHOP)
    event_id = _event_id(request, body, "event_id")
    event_time = body.time("event_time")
    payload.keep(_free_name(payload, "envelope"), body)
    cart = _cart(payload, adds_up=True)
    return _notice(_snapshot(request, payload, "payload.checkout_url", shop, cart, event_id, event_time))


_READERS = {"2025-09": _read_2025_09, "2026-05": _read_2026_05}


def _notice(snapshot: Snapshot) -> Notice:
    return Notice(names_of(snapshot.details.shop), (snapshot,))


def _snapshot(
    request: Request,
    payload: Fields,
    url_field: str,
    shop: Told | None,
    cart: Told | None,
    event_id: str | None,
    event_time: datetime | None = None,
) -> Snapshot:
    """Reads what both versions call the same."""
    told = payload.all(_PAYLOAD)
    checkout_id = _last_segment(told.get("checkout_url", ""))
    if not is_key(checkout_id):
        raise refusal(url_field, "must be an http(s) URL whose path ends in the id of the checkout")
    user = payload.object("user")
    address = user.object("address")
    user.add(_USER, told)
    told |= {
        "phone": read_phone(user, number=("phone", "phone_no"), international="phone_with_dial_code"),
        "address": read_address(address),
        "cart": cart,
        "shop": shop or None,
        "client": payload.object("client_meta").part(_CLIENT),
        "attribution": _attribution(payload),
        "extra": payload.rest(user=user),
    }
    return Snapshot.model_validate(
        {
            "checkout_id": checkout_id,
            "event_id": event_id,
            "event_time": event_time,
            "completed": told.get("stage", "").strip().upper() == COMPLETED,
            "details": told,
            "told_by": request.digest(),
        }
    )


def _event_id(request: Request, body: Fields, name: str) -> str | None:
    """The header is the event's id in both versions, so it wins; a body that disagrees keeps its own.

    2025-09 has none in its body but ``webhook_id``, which FlexyPe describes as the event's.
    """
    header, told = request.header("x-event-id"), body.identifier(name)
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
    path = rest.partition("?")[0].partition("#")[0].partition("/")[2]
    return path.rstrip("/").rpartition("/")[2]


def _cart(payload: Fields, *, adds_up: bool = False) -> Told | None:
    """Reads the cart. Where it has no totals its lines may be added up: 2026-05 documents none."""
    items = read_items(payload, "cart_items")
    told = payload.all(_CART)
    if items is None:
        return told if any(value != [] for value in told.values()) else None
    told["items"] = items
    if adds_up:
        told.setdefault("discount", sum_of([item.get("total_discount") for item in items]))
        told.setdefault("total", sum_of([line_total(item) for item in items]))
    return told


def _attribution(payload: Fields) -> Told | None:
    """Reads ``metadata`` and ``analytics``; Facebook's ids stand in ``analytics`` or in its ``fb``."""
    metadata, analytics = payload.object("metadata"), payload.object("analytics")
    facebook = analytics.object("fb")
    told = metadata.all(_VISIT)
    facebook.add(_FACEBOOK, told)
    analytics.add(_FACEBOOK, told)
    analytics.keep("fb", facebook)
    if analytics.left or metadata.left:
        told["extra"] = Fields().rest(analytics=analytics, metadata=metadata)
    return told if any(told.values()) else None
