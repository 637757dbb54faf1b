"""What the demo's shoppers and providers do: the requests that it posts, and what is to be answered.

Each journey is another shopper's, for one who buys ends all their open checkouts.
"""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field

from local import senders
from local.senders import Call, Payload, with_changes

SHOP, SHOP_LINK = "my-store.myshopify.com", "https://my-store.com"
TOLD = "told"
ABANDONED, RECOVERED = "checkout.abandoned", "checkout.recovered"

FLAT, CASHFREE, SHOPIFY, OWN, COMES_BACK, BUYS, BUYS_IN_TIME = range(1, 8)
"""The shoppers. The envelope's is FlexyPe's own John Doe."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """What the store shares with its providers, made anew for each run."""

    flexype: str = field(default_factory=secrets.token_urlsafe, repr=False)
    cashfree: str = field(default_factory=secrets.token_urlsafe, repr=False)
    shopify: str = field(default_factory=secrets.token_urlsafe, repr=False)


@dataclass(frozen=True, slots=True)
class Step:
    """One request, and what is to be answered."""

    title: str
    call: Call
    answer: str
    """``applied``, ``duplicate``, ``stale``, or the status of a refusal."""
    event: str | None = None
    """Which event it is, where it is applied."""
    left: str | None = None
    """Where no more is told of its checkout: `TOLD`, or why nobody is told that it is abandoned."""


def script(keys: Secrets) -> Iterator[Step]:
    """What the providers post: shoppers' journeys, and what goes wrong between them and us."""
    yield from _envelope_journey(keys.flexype)
    yield from _finished_abandonment(keys.cashfree)
    yield from _shopify_purchase(keys.shopify)
    yield from _own_schema()
    yield from _refused(keys)


def leaving(keys: Secrets) -> Iterator[Step]:
    """Those of whom no more is told; all that they need afterwards is a minute."""
    yield from _flat_journey(keys.flexype)
    for shopper, title, left in (
        (COMES_BACK, "will come back", TOLD),
        (BUYS, "will buy", TOLD),
        (CASHFREE, "cashfree's shopper again", "cooldown"),
        (BUYS_IN_TIME, "buys in time", None),
    ):
        call = _own_checkout(shopper)
        yield Step(f"our own schema, {title}", call, "applied", "checkout.created", left)
    ordered = senders.order(senders.OWN_ORDER | {"order_id": "1002"} | _own_shopper(BUYS_IN_TIME))
    yield Step("order 1002, found by phone", ordered, "applied", "checkout.completed")


def returning() -> Iterator[Step]:
    """What those do who had left."""
    yield Step("our own schema, is back", _own_checkout(COMES_BACK, 2), "applied", "checkout.resumed")
    ordered = senders.order(senders.OWN_ORDER | _own_shopper(BUYS))
    yield Step("order 1001, found by phone", ordered, "applied", RECOVERED)


def _phone(shopper: int) -> str:
    return f"98765432{shopper:02}"


def _email(shopper: int) -> str:
    return f"john.doe.{shopper}@example.com"


def _own_shopper(shopper: int) -> Payload:
    return {"phone": {"number": _phone(shopper), "dial_code": "91"}, "email": _email(shopper)}


def _own_checkout(shopper: int, telling: int = 1) -> Call:
    """A telling of a checkout in our own schema, without a time: it is taken for what is now."""
    payload = with_changes(
        senders.OWN,
        checkout_id=f"own-{shopper}",
        event_id=f"own-{shopper}-evt-{telling}",
        event_time=None,
        checkout_url=f"https://my-store.com/checkout/own-{shopper}",
    )
    return senders.own(payload | _own_shopper(shopper))


def _envelope_journey(secret: str) -> Iterator[Step]:
    """FlexyPe 2026-05: the documented sample is its second step."""
    sample = senders.FLEXYPE_2026_05
    nobody = dict.fromkeys(sample["payload"]["user"])

    def at(minute: int, stage: str, **more: object) -> Call:
        changes = {"event_time": f"2026-05-07T10:{minute:02}:00Z", "event_id": f"evt_12345678{minute}"}
        return senders.flexype_envelope(
            secret, with_changes(sample, payload__session_state=stage, **changes, **more)
        )

    documented = senders.flexype_envelope(secret, sample)
    started = with_changes(
        sample,
        event_time="2026-05-07T09:58:00Z",
        event_id="evt_123456780",
        payload__session_state="INITIATED",
        payload__user=nobody,
    )
    title = "flexype 2026-05"
    yield Step(
        f"{title}, cart opened", senders.flexype_envelope(secret, started), "applied", "checkout.created"
    )
    yield Step(f"{title}, phone (sample)", documented, "applied", "checkout.updated")
    yield Step(f"{title}, the sample once more", documented, "duplicate")
    late = with_changes(started, event_time="2026-05-07T09:59:00Z", event_id="evt_123456785")
    yield Step(f"{title}, an older one, late", senders.flexype_envelope(secret, late), "stale")
    yield Step(f"{title}, payment", at(4, "PAYMENT_INITIATED"), "applied", "checkout.updated")
    yield Step(f"{title}, bought", at(6, "COMPLETED"), "applied", "checkout.completed")


def _flat_journey(secret: str) -> Iterator[Step]:
    """FlexyPe 2025-09: it names no time, so the order of arrival is the order of events."""
    sample = with_changes(senders.FLEXYPE_2025_09, user__phone_no=_phone(FLAT), user__email=_email(FLAT))
    address = {"address1": "12 MG Road", "city": "Ahmedabad", "zip": "380001", "country_code": "IN"}
    shipped = with_changes(sample, session_state="ADDRESS_SHIPPING_SELECTED", user__address=address)
    title = "flexype 2025-09"
    yield Step(
        f"{title}, the sample",
        senders.flexype_flat(secret, sample, "evt_flat_1"),
        "applied",
        "checkout.created",
    )
    yield Step(
        f"{title}, address",
        senders.flexype_flat(secret, with_changes(shipped, webhook_id="wh_124"), "evt_flat_2"),
        "applied",
        "checkout.updated",
        left=TOLD,
    )


def _finished_abandonment(secret: str) -> Iterator[Step]:
    title = "cashfree v1"
    sample = with_changes(
        senders.CASHFREE_V1, customer__phone=_phone(CASHFREE), customer__email=_email(CASHFREE)
    )
    call = senders.cashfree(secret, sample, request_id="cf_req_1", store_url=SHOP_LINK)
    yield Step(f"{title}, left behind", call, "applied", ABANDONED)
    yield Step(f"{title}, the same once more", call, "duplicate")


def _shopify_purchase(secret: str) -> Iterator[Step]:
    created = senders.SHOPIFY_CHECKOUT
    shopper = {"email": _email(SHOPIFY), "phone": f"+91{_phone(SHOPIFY)}"}
    posts = (
        ("checkouts/create", created, "checkout.created"),
        ("checkouts/update", created | {"updated_at": "2026-05-07T12:02:00Z"} | shopper, "checkout.updated"),
        ("orders/create", senders.SHOPIFY_ORDER | shopper, "checkout.completed"),
    )
    for topic, payload, event in posts:
        call = senders.shopify(
            secret,
            topic,
            payload,
            shop=SHOP,
            event_id=f"shopify-{topic.replace('/', '-')}",
            triggered_at=payload["updated_at"],
        )
        yield Step(f"shopify {topic}", call, "applied", event)


def _own_schema() -> Iterator[Step]:
    started = senders.OWN | _own_shopper(OWN)
    yield Step("our own schema", senders.own(started), "applied", "checkout.created")
    bought = with_changes(started, event_id="own-evt-2", event_time="2026-05-07T13:05:00Z", completed=True)
    yield Step("our own schema, bought", senders.own(bought), "applied", "checkout.completed")


def _refused(keys: Secrets) -> Iterator[Step]:
    forged = senders.cashfree(
        "not the secret", senders.CASHFREE_V1, request_id="cf_req_2", store_url=SHOP_LINK
    )
    yield Step("cashfree v1, signed by somebody else", forged, "401")
    unreadable = with_changes(senders.FLEXYPE_2026_05, event_id="evt_unreadable", payload__checkout_url=None)
    yield Step(
        "flexype 2026-05, names no checkout", senders.flexype_envelope(keys.flexype, unreadable), "422"
    )
