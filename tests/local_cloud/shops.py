"""Stores of the tests' own on the deployed template, and what nobody may ever be told of their shoppers.

All payloads carry data that appear nowhere else, so that a test can look for them in whatever was told.
"""

import json
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx

from local import senders
from local.client import Client, StoreClient, Subscribed
from local.receiver import Arrival, Endpoint, Receiver
from local.senders import Call, Payload, with_changes

Found = TypeVar("Found")

WAIT_SECONDS = 30.0

PHONE, E164 = "9812345670", "+919812345670"
FIRST_NAME, LAST_NAME = "Kanarienne", "Vögelsang"
EMAIL_DOMAIN = "canary-shopper.example"
EMAIL = f"kanarienne@{EMAIL_DOMAIN}"
STREET, CITY, ZIP = "77 Canary Wharf Lane", "Canaryabad", "CNRY380077"
IP, BROWSER = "203.0.113.77", "CanaryBrowser/7.7"
RESUME, CART = "resume-canary-token", "cart-canary-token"
PATH_TOKEN = "path-canary-token"
IN_SAMPLES = ("9876543210", "john.doe@example.com", "John Doe", "recover?key=", "/c/abc123xyz")
SHOPPER_DATA = (
    *(FIRST_NAME, LAST_NAME, EMAIL_DOMAIN, STREET, CITY, ZIP, IP, BROWSER, RESUME, CART, PATH_TOKEN),
    *IN_SAMPLES,
)
PHONES_IN_ANY_FORM = re.compile(r"[^0-9A-Za-z]{0,2}".join([*PHONE[:-2], "[0-9]", "[0-9]"]))
"""Of all shoppers here: only the last two digits differ."""

SHOP, LINK = "canary-shop.myshopify.com", "https://canary-shop.example"

USER = {
    "email": EMAIL,
    "full_name": f"{FIRST_NAME} {LAST_NAME}",
    "first_name": FIRST_NAME,
    "last_name": LAST_NAME,
    "dial_code": "91",
    "phone": PHONE,
    "phone_with_dial_code": E164,
}


@dataclass(frozen=True, slots=True)
class Shopper:
    """By what a shopper is known elsewhere."""

    phone: str = PHONE
    email: str = EMAIL

    @property
    def own(self) -> Payload:
        """As our own schemas tell it."""
        return {"phone": {"number": self.phone, "dial_code": "91"}, "email": self.email}

    @property
    def user(self) -> Payload:
        """As FlexyPe's envelope tells it."""
        phone = {"phone": self.phone, "phone_with_dial_code": f"+91{self.phone}"}
        return USER | phone | {"email": self.email}


KANARIENNE = Shopper()

ADDRESS = {"address1": STREET, "city": CITY, "zip": ZIP, "province": "Gujarat", "country_code": "IN"}
CLIENT = {"client_ip": IP, "http_referer": "https://canary-referer.example", "user_agent": BROWSER}


class World:
    """One receiver and one client for all tests, and what of their secrets no log may hold."""

    def __init__(self, client: Client, receiver: Receiver, admin_token: str) -> None:
        self.client = client
        self.receiver = receiver
        self._said = {admin_token}

    def keep_secret(self, *values: str) -> None:
        self._said.update(values)

    @property
    def secrets(self) -> set[str]:
        """Every token, key, secret and signature that went in or came out."""
        came_out = (
            part
            for arrival in self.receiver.arrivals
            for name in ("webhook-signature", "x-webhook-signature", "x-flexype-authorization")
            for part in re.split("[ ,]", arrival.headers.get(name, ""))
        )
        return {value for value in (*self._said, *came_out) if len(value) >= 8}


class Shop:
    """A store of a test's own, with its providers' secrets."""

    def __init__(self, world: World, **settings: Any) -> None:
        self.world = world
        self.flexype, self.cashfree, self.shopify = (secrets.token_urlsafe(24) for _ in range(3))
        name, domains = f"canary-{secrets.token_hex(4)}", [SHOP, "canary-shop.example"]
        self.api: StoreClient = world.client.register(name, domains=domains, **settings)
        world.keep_secret(self.flexype, self.cashfree, self.shopify, self.api.token)
        for provider in ("flexype", "cashfree", "shopify"):
            self.api.set_secret(provider, getattr(self, provider))

    def endpoint(self, name: str) -> tuple[str, str]:
        """A new path of the receiver and its URL; the path holds a token."""
        path = f"/{PATH_TOKEN}/{name}/{secrets.token_hex(4)}"
        return path, self.world.receiver.url + path

    def subscribe(self, contract: str, **more: Any) -> tuple[Subscribed, Endpoint]:
        path, url = self.endpoint("hook")
        topic, version = contract.split()
        subscribed = self.api.subscribe(topic, version, url, **more)
        self.world.keep_secret(subscribed.key)
        endpoint = self.world.receiver.trust(
            path, subscribed.key, contract=contract, name=subscribed.subscription_id
        )
        return subscribed, endpoint

    def post(self, call: Call) -> httpx.Response:
        self.world.keep_secret(
            *(
                value
                for name, value in call.headers.items()
                if re.search("hmac|signature|authorization", name, re.IGNORECASE)
            )
        )
        return self.api.send(call)

    def applied(self, call: Call) -> Mapping[str, Any]:
        """Posts what must be applied; returns its result."""
        (result,) = self.all_applied(call)
        return result

    def all_applied(self, call: Call) -> list[Mapping[str, Any]]:
        """Posts what must be applied to each of the checkouts that it is about."""
        response = self.post(call)
        assert response.status_code == 200, response.text
        results: list[Mapping[str, Any]] = response.json()["results"]
        assert {result["status"] for result in results} <= {"applied"}
        return results

    def arrivals(self, subscribed: Subscribed) -> list[Arrival]:
        return [a for a in self.world.receiver.arrivals if a.name == subscribed.subscription_id]

    def arrival(self, subscribed: Subscribed, count: int = 1) -> Arrival:
        """The delivery that is the count-th at a subscription, once it is there; it must verify."""
        name = subscribed.subscription_id
        came = self.world.receiver.wait_for(
            lambda arrivals: sum(a.name == name for a in arrivals) >= count, WAIT_SECONDS
        )
        assert came, f"{subscribed.contract}: {len(self.arrivals(subscribed))} of {count} arrived"
        arrival = self.arrivals(subscribed)[count - 1]
        assert arrival.problem is None
        return arrival

    # What the providers post about this shop.

    def envelope(
        self, checkout_id: str, minute: int = 0, shopper: Shopper = KANARIENNE, **changes: Any
    ) -> Call:
        payload = with_changes(
            senders.FLEXYPE_2026_05,
            event_id=f"evt_{secrets.token_hex(8)}",
            event_time=f"2026-05-07T10:{minute:02}:00Z",
            store={"id": "store_01", "shopify_domain": SHOP, "main_domain": "canary-shop.example"},
            payload__user=shopper.user | {"address": ADDRESS},
            payload__client_meta=CLIENT,
            payload__checkout_url=resume_url(checkout_id),
        )
        return senders.flexype_envelope(self.flexype, with_changes(payload, **changes))

    def flat(self, checkout_id: str, **changes: Any) -> Call:
        payload = with_changes(
            senders.FLEXYPE_2025_09,
            shopify_domain=SHOP,
            store_link=LINK,
            checkout_url=resume_url(checkout_id),
            client_meta=CLIENT,
            user={
                "phone_no": PHONE,
                "dial_code": "91",
                "name": USER["full_name"],
                "email": EMAIL,
                "address": ADDRESS,
            },
        )
        return senders.flexype_flat(
            self.flexype, with_changes(payload, **changes), f"evt_{secrets.token_hex(8)}"
        )

    def left_behind(self, checkout_id: str, shopper: Shopper = KANARIENNE, **changes: Any) -> Call:
        payload = with_changes(
            senders.CASHFREE_V1,
            event_id=f"evt_{secrets.token_hex(8)}",
            checkout_id=checkout_id,
            checkout_url=resume_url(checkout_id),
            store={"shopify_domain": SHOP, "link": LINK},
            customer={
                "phone": shopper.phone,
                "dial_code": "91",
                "email": shopper.email,
                "name": USER["full_name"],
            },
            address={"zip": ZIP},
        )
        payload = with_changes(payload, **changes)
        return senders.cashfree(self.cashfree, payload, request_id=secrets.token_hex(8), store_url=LINK)

    def shopify_call(self, topic: str, payload: Payload | bytes, minute: int = 0) -> Call:
        return senders.shopify(
            self.shopify,
            topic,
            payload,
            shop=SHOP,
            event_id=secrets.token_hex(8),
            triggered_at=f"2026-05-07T12:{minute:02}:00Z",
        )

    def own(self, checkout_id: str, shopper: Shopper = KANARIENNE, **changes: Any) -> Call:
        payload = {
            "checkout_id": checkout_id,
            "event_id": secrets.token_hex(8),
            "event_time": "2026-05-07T13:00:00Z",
            **shopper.own,
            "name": USER["full_name"],
            "checkout_url": resume_url(checkout_id),
            "client": {"ip": IP, "user_agent": BROWSER},
            **changes,
        }
        return senders.own(payload)


def resume_url(checkout_id: str) -> str:
    return f"https://checkout.flexype.com/c/{checkout_id}?key={RESUME}"


def within(seconds: float, look: Callable[[], Found | None], what: str) -> Found:
    """Looks until there is something, but not for ever."""
    deadline = time.monotonic() + seconds
    while (found := look()) is None:
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.1)
    return found


def leaks(world: World, text: str) -> list[str]:
    """Which kinds of secret or shopper's data stand in a text; never the text itself."""
    found = [datum for datum in SHOPPER_DATA if datum.lower() in text.lower()]
    found += ["a phone"] if PHONES_IN_ANY_FORM.search(text) else []
    found += ["a secret or signature" for value in world.secrets if value in text]
    return found


def escaped_too(line: str) -> str:
    """The line, and what it says where it is JSON: escapes would hide a name."""
    try:
        return line + "\n" + json.dumps(json.loads(line), ensure_ascii=False)
    except ValueError:
        return line
