"""The whole way on the deployed template: requests in, verified webhooks out, and nothing told in between.

The last tests read every log line and queue message of the run, so all payloads here carry data that appear
nowhere else.
"""

import json
import re
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import httpx
import pytest

from local import senders
from local.client import Client, StoreClient, Subscribed
from local.cloud import Stack
from local.receiver import Arrival, Endpoint, Receiver, verify
from local.senders import Call, Payload, with_changes

Found = TypeVar("Found")

WAIT_SECONDS = 30.0
CONTRACTS = (
    "abandonedCheckout v1",
    "ACR_CHECKOUT 2025-09",
    "ACR_CHECKOUT 2026-05",
    "checkout 2026-11",
)

# ---------------------------------------------------------------- what must never be told

PHONE, E164 = "9812345670", "+919812345670"
FIRST_NAME, LAST_NAME = "Kanarienne", "Vögelsang"
EMAIL = "kanarienne@canary-shopper.example"
STREET, CITY, ZIP = "77 Canary Wharf Lane", "Canaryabad", "CNRY380077"
IP, BROWSER = "203.0.113.77", "CanaryBrowser/7.7"
RESUME = "resume-canary-token"
PATH_TOKEN = "path-canary-token"
IN_SAMPLES = ("9876543210", "john.doe@example.com", "John Doe", "recover?key=", "/c/abc123xyz")
SHOPPER_DATA = (FIRST_NAME, LAST_NAME, EMAIL, STREET, CITY, ZIP, IP, BROWSER, RESUME, PATH_TOKEN, *IN_SAMPLES)
PHONE_IN_ANY_FORM = re.compile(r"[^0-9]{0,2}".join(PHONE))

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

    def __init__(self, world: World) -> None:
        self.world = world
        self.flexype, self.cashfree, self.shopify = (secrets.token_urlsafe(24) for _ in range(3))
        name = f"canary-{secrets.token_hex(4)}"
        self.api: StoreClient = world.client.register(name, domains=[SHOP, "canary-shop.example"])
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
        response = self.post(call)
        assert response.status_code == 200, response.text
        (result,) = response.json()["results"]
        assert result["status"] == "applied"
        return dict(result)

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

    def envelope(self, checkout_id: str, minute: int = 0, **changes: Any) -> Call:
        payload = with_changes(
            senders.FLEXYPE_2026_05,
            event_id=f"evt_{secrets.token_hex(8)}",
            event_time=f"2026-05-07T10:{minute:02}:00Z",
            store={"id": "store_01", "shopify_domain": SHOP, "main_domain": "canary-shop.example"},
            payload__user=USER | {"address": ADDRESS},
            payload__client_meta=CLIENT,
            payload__checkout_url=_resume_url(checkout_id),
        )
        return senders.flexype_envelope(self.flexype, with_changes(payload, **changes))

    def flat(self, checkout_id: str, **changes: Any) -> Call:
        payload = with_changes(
            senders.FLEXYPE_2025_09,
            shopify_domain=SHOP,
            store_link=LINK,
            checkout_url=_resume_url(checkout_id),
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

    def left_behind(self, checkout_id: str) -> Call:
        payload = with_changes(
            senders.CASHFREE_V1,
            event_id=f"evt_{secrets.token_hex(8)}",
            checkout_id=checkout_id,
            checkout_url=_resume_url(checkout_id),
            store={"shopify_domain": SHOP, "link": LINK},
            customer={"phone": PHONE, "dial_code": "91", "email": EMAIL, "name": USER["full_name"]},
            address={"zip": ZIP},
        )
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

    def own(self, checkout_id: str, **changes: Any) -> Call:
        payload = {
            "checkout_id": checkout_id,
            "event_id": secrets.token_hex(8),
            "event_time": "2026-05-07T13:00:00Z",
            "phone": {"number": PHONE, "dial_code": "91"},
            "email": EMAIL,
            "name": USER["full_name"],
            "checkout_url": _resume_url(checkout_id),
            "client": {"ip": IP, "user_agent": BROWSER},
            **changes,
        }
        return senders.own(payload)


def _resume_url(checkout_id: str) -> str:
    return f"https://checkout.flexype.com/c/{checkout_id}?key={RESUME}"


def within(seconds: float, look: Callable[[], Found | None], what: str) -> Found:
    """Looks until there is something, but not for ever."""
    deadline = time.monotonic() + seconds
    while (found := look()) is None:
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.1)
    return found


@pytest.fixture(scope="module")
def world(stack: Stack) -> Iterator[World]:
    with Client(stack.api_url, stack.admin_token) as client, Receiver() as receiver:
        yield World(client, receiver, stack.admin_token)


@pytest.fixture
def shop(world: World) -> Shop:
    return Shop(world)


@pytest.fixture(scope="module")
def queues(stack: Stack) -> "Queues":
    return Queues(stack)


class Queues:
    """Reads queues and remembers every message; one that was read stays hidden from the next reading."""

    def __init__(self, stack: Stack) -> None:
        self._sqs = stack.aws.client("sqs", endpoint_url=stack.endpoint_url)
        self._urls = stack.outputs
        self._read: dict[str, list[dict[str, Any]]] = {}

    def messages(self, queue: str) -> list[dict[str, Any]]:
        """All messages of a queue that could be received so far."""
        read = self._read.setdefault(queue, [])
        while batch := self._sqs.receive_message(
            QueueUrl=self._urls[queue], MaxNumberOfMessages=10, VisibilityTimeout=600
        ).get("Messages", []):
            read += [json.loads(message["Body"]) for message in batch]
        return read

    def message(self, queue: str, seconds: float = WAIT_SECONDS, **wanted: str) -> dict[str, Any]:
        """The first message with these members, once it is there."""

        def look() -> dict[str, Any] | None:
            return next((m for m in self.messages(queue) if wanted.items() <= m.items()), None)

        return within(seconds, look, f"{queue} {sorted(wanted)}")


# ---------------------------------------------------------------- in, through, out


def test_every_provider_reaches_every_contract_that_carries_its_event(shop: Shop) -> None:
    subscriptions = {contract: shop.subscribe(contract)[0] for contract in CONTRACTS}
    bought = with_changes(senders.SHOPIFY_ORDER, email=EMAIL, phone=E164, browser_ip=IP)
    calls = [
        (shop.envelope("c-envelope"), "checkout.created"),
        (shop.flat("c-flat"), "checkout.created"),
        (shop.left_behind("c-cashfree"), "checkout.abandoned"),
        (shop.shopify_call("checkouts/create", senders.SHOPIFY_CHECKOUT), "checkout.created"),
        (shop.shopify_call("orders/create", bought, 5), "checkout.completed"),
        (shop.own("c-own"), "checkout.created"),
    ]
    results = [(shop.applied(call), event) for call, event in calls]

    everything = [shop.arrival(subscriptions["checkout 2026-11"], n + 1) for n in range(len(calls))]
    told = {(a.json["data"]["checkout_id"], a.sequence, a.event_type): a.event_id for a in everything}
    assert told.keys() == {(r["checkout_id"], r["sequence"], event) for r, event in results}
    abandoned = {id_ for (_, _, event), id_ in told.items() if event == "checkout.abandoned"}
    for contract in ("ACR_CHECKOUT 2025-09", "ACR_CHECKOUT 2026-05"):
        ids = {shop.arrival(subscriptions[contract], n + 1).event_id for n in range(len(calls) - 1)}
        assert ids == set(told.values()) - abandoned
    assert {shop.arrival(subscriptions["abandonedCheckout v1"]).event_id} == abandoned


def test_a_2026_05_checkout_leaves_in_the_words_of_every_other_contract(shop: Shop) -> None:
    subscriptions = {contract: shop.subscribe(contract)[0] for contract in CONTRACTS}
    shop.applied(shop.envelope("c-words", payload__session_state="ADDRESS_SHIPPING_SELECTED"))
    left = shop.own("c-words", abandoned=True)
    shop.applied(left)

    flat = shop.arrival(subscriptions["ACR_CHECKOUT 2025-09"]).json
    assert flat["session_state"] == "ADDRESS_SHIPPING_SELECTED"
    assert flat["user"] == flat["user"] | {
        "phone_no": PHONE,
        "dial_code": "91",
        "email": EMAIL,
        "name": USER["full_name"],
    }
    assert flat["user"]["address"]["zip"] == ZIP
    assert flat["cart_items"][0]["variant"]["compare_at_price"] == 1200
    assert flat["total_payable"] == 999
    assert flat["client_meta"]["client_ip"] == IP

    again = shop.arrival(subscriptions["ACR_CHECKOUT 2026-05"]).json["payload"]
    sent = senders.FLEXYPE_2026_05["payload"]
    assert again["cart_items"] == sent["cart_items"]
    assert again["user"] == again["user"] | USER
    assert again["metadata"] == sent["metadata"]

    cashfree = shop.arrival(subscriptions["abandonedCheckout v1"]).json
    assert cashfree["customer"]["phone_e164"] == E164
    assert cashfree["address"]["address1"] == STREET
    assert cashfree["checkout_url"] == _resume_url("c-words")
    assert cashfree["cart"]["items"][0]["title"] == "Cool T-Shirt"
    assert cashfree["cart"]["currency"] is None

    data = shop.arrival(subscriptions["checkout 2026-11"], 2).json["data"]
    assert data["status"] == "abandoned"
    assert data["customer"]["phone"] == {"number": PHONE, "dial_code": "91", "e164": E164}
    assert data["attribution"]["fbp"] == "fb.1.12345.6789"
    assert data["cart"]["items"][0]["product_id"] == "12345"


def test_what_was_captured_is_kept_and_what_nobody_described_is_passed_on(shop: Shop) -> None:
    everything, _ = shop.subscribe("checkout 2026-11")
    shop.applied(shop.envelope("c-kept", payload__loyalty={"points": 70}))
    shop.applied(
        shop.envelope(
            "c-kept", 2, payload__user={"email": None, "address": {}}, payload__session_state="NEW_STATE"
        )
    )
    data = shop.arrival(everything, 2).json["data"]
    assert data["customer"]["email"] == EMAIL
    assert data["customer"]["phone"]["e164"] == E164
    assert data["address"]["city"] == CITY
    assert data["stage"] == "NEW_STATE"
    first = shop.arrival(everything).json["data"]
    assert {"points": 70} in (first["extra"].get("loyalty"), first["extra"].get("payload", {}).get("loyalty"))


def test_a_repeated_request_is_delivered_once(shop: Shop) -> None:
    everything, _ = shop.subscribe("checkout 2026-11")
    call = shop.envelope("c-repeated")
    shop.applied(call)
    answers = [shop.post(call).json()["results"] for _ in range(3)]
    assert answers == [[{"status": "duplicate", "checkout_id": "c-repeated", "sequence": 1}]] * 3
    shop.applied(shop.envelope("c-repeated", 3, payload__session_state="PAYMENT_LOADED"))
    assert shop.arrival(everything, 2).sequence == 2
    assert [arrival.sequence for arrival in shop.arrivals(everything)] == [1, 2]


def test_a_purchase_is_told_once_and_a_late_snapshot_does_not_reopen_it(shop: Shop) -> None:
    everything, _ = shop.subscribe("checkout 2026-11")
    shop.applied(shop.envelope("c-bought"))
    shop.applied(shop.envelope("c-bought", 5, payload__session_state="COMPLETED"))
    assert shop.post(shop.envelope("c-bought", 9)).status_code == 200
    shop.applied(shop.envelope("c-other"))
    shop.arrival(everything, 3)
    types = [(a.json["data"]["checkout_id"], a.event_type) for a in shop.arrivals(everything)]
    assert types == [
        ("c-bought", "checkout.created"),
        ("c-bought", "checkout.completed"),
        ("c-other", "checkout.created"),
    ]


# ---------------------------------------------------------------- proofs and bodies


def test_a_wrong_signature_and_an_unknown_store_are_refused_alike(shop: Shop, world: World) -> None:
    forged = senders.cashfree("another secret", senders.CASHFREE_V1, request_id="r", store_url=LINK)
    truncated = shop.left_behind("c-truncated")
    signature = truncated.headers["x-webhook-signature"]
    refusals = [
        shop.post(forged),
        shop.post(
            Call("cashfree", {**truncated.headers, "x-webhook-signature": signature[:-2]}, truncated.body)
        ),
        shop.post(Call("cashfree", {**truncated.headers, "x-webhook-signature": ""}, truncated.body)),
        shop.post(Call("cashfree", truncated.headers, truncated.body + b" ")),
        shop.post(senders.flexype_envelope("another secret", senders.FLEXYPE_2026_05)),
        shop.post(senders.flexype_envelope(Shop(world).flexype, senders.FLEXYPE_2026_05)),
        world.client.post("/v1/webhooks/cashfree/no-such-store", truncated.body, truncated.headers),
        world.client.post("/v1/webhooks/cashfree/%00%22", truncated.body, truncated.headers),
    ]
    assert [response.status_code for response in refusals] == [401] * len(refusals)
    assert len({response.text for response in refusals}) == 1
    assert {response.headers["content-type"] for response in refusals} == {"application/problem+json"}


def test_a_body_that_names_another_shop_is_refused_and_kept(shop: Shop, queues: Queues) -> None:
    response = shop.post(
        shop.envelope("c-elsewhere", store={"id": "other", "shopify_domain": "somebody-else.myshopify.com"})
    )
    assert response.status_code == 422
    kept = queues.message("RejectedEventsQueueUrl", store_id=shop.api.store_id)
    assert kept["source"] == "flexype"
    assert kept["problem"]["type"] == response.json()["type"]
    assert "x-flexype-authorization" not in kept["headers"]


@pytest.mark.parametrize(
    ("body", "statuses"),
    [
        pytest.param(b"\xff\xfe\x80 not UTF-8", {422}, id="not UTF-8"),
        pytest.param(b"", {422}, id="empty"),
        pytest.param(b"not json", {422}, id="not JSON"),
        pytest.param(b"[]", {422}, id="an array"),
        pytest.param(b"null", {422}, id="null"),
        pytest.param(b'{"token": NaN}', {422}, id="NaN"),
        pytest.param(b'{"token": "t", "token": "u"}', {422}, id="repeated key"),
        pytest.param(b'{"token": "t", "id": 1e999999999}', {422}, id="absurd number"),
        pytest.param(b'{"token": "\\ud800"}', {422}, id="half a surrogate pair"),
        pytest.param(b'{"a":' * 5000 + b"1" + b"}" * 5000, {422}, id="deeply nested"),
        pytest.param(b'{"token": "' + b"x" * 300_000 + b'"}', {413}, id="too large"),
    ],
)
def test_an_authentic_body_that_is_no_checkout_is_the_senders_fault(
    shop: Shop, body: bytes, statuses: set[int]
) -> None:
    response = shop.post(shop.shopify_call("checkouts/create", body))
    assert response.status_code in statuses, response.text
    assert response.headers["content-type"] == "application/problem+json"


def test_a_signature_covers_the_bytes_as_they_came(shop: Shop) -> None:
    everything, _ = shop.subscribe("checkout 2026-11")
    body = (
        b'\r\n{ "id" : 9007199254740993 ,\t"token":"odd-bytes",\n  "email" : "' + EMAIL.encode() + b'",'
        b'"note":"caf\\u00e9 \\ud83d\\ude00 \xf0\x9f\x98\x80 a\\/b \xe2\x80\xa8", "total_price":"170.00",'
        b'"total_weight":1.50, "line_items":[{"title":"\xc3\x89l","price":"170.00", "quantity":1}] }\n\n  '
    )
    shop.applied(shop.shopify_call("checkouts/create", body))
    data = shop.arrival(everything).json["data"]
    assert data["alias"] == "9007199254740993"
    assert data["extra"]["note"] == "café 😀 😀 a/b \u2028"
    assert data["extra"]["total_weight"] == "1.50"
    assert data["cart"]["items"][0] == data["cart"]["items"][0] | {"title": "Él", "price": "170.00"}


# ---------------------------------------------------------------- receivers that fail, and changes


def test_a_dead_receiver_costs_the_others_nothing_and_loses_nothing(
    shop: Shop, stack: Stack, queues: Queues
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    url = f"http://127.0.0.1:{port}/{PATH_TOKEN}"
    dead = shop.api.subscribe("checkout", "2026-11", url, headers={"x-api-key": "header-canary"})
    shop.world.keep_secret(dead.key, "header-canary")
    failing, endpoint = shop.subscribe("checkout 2026-11")
    endpoint.status = 503
    alive, _ = shop.subscribe("ACR_CHECKOUT 2026-05")

    result = shop.applied(shop.envelope("c-dead"))
    event_id = shop.arrival(alive).event_id
    assert _logged(stack, alive, event_id)["state"] == {"S": "delivered"}
    for subscribed, failure, status in ((dead, "connection", None), (failing, "http", {"N": "503"})):
        entry = _logged(stack, subscribed, event_id)
        assert entry["state"] == {"S": "pending"}
        assert entry["reason"] == {"S": failure}
        assert entry.get("status") == status
        message = queues.message("RetryQueueUrl", subscription_id=subscribed.subscription_id)
        assert message == {
            "version": 1,
            "store_id": shop.api.store_id,
            "checkout_id": "c-dead",
            "subscription_id": subscribed.subscription_id,
            "delivery_id": entry["delivery_id"]["S"],
            "event_id": event_id,
            "event_type": "checkout.created",
            "sequence": result["sequence"],
            "attempts": 1,
            "reason": failure,
        }


def _logged(stack: Stack, subscribed: Subscribed, event_id: str | None) -> dict[str, Any]:
    """The delivery log's entry of an event, once it is there."""
    dynamodb = stack.aws.client("dynamodb", endpoint_url=stack.endpoint_url)

    def look() -> dict[str, Any] | None:
        items = dynamodb.query(
            TableName=stack.outputs["DeliveryTableName"],
            KeyConditionExpression="subscription_id = :id",
            ExpressionAttributeValues={":id": {"S": subscribed.subscription_id}},
        )["Items"]
        return next((dict(item) for item in items if item["event_id"]["S"] == event_id), None)

    return within(WAIT_SECONDS, look, f"the delivery log's entry for {subscribed.contract}")


def test_a_slow_receiver_does_not_delay_the_others(shop: Shop) -> None:
    slow, endpoint = shop.subscribe("checkout 2026-11")
    endpoint.delay_seconds = 3.0
    fast, _ = shop.subscribe("checkout 2026-11")
    shop.applied(shop.envelope("c-slow"))
    assert shop.arrival(fast).at - shop.arrival(slow).at < endpoint.delay_seconds / 2


def test_a_paused_subscription_is_sent_nothing_and_the_others_all(shop: Shop) -> None:
    paused, _ = shop.subscribe("checkout 2026-11")
    other, _ = shop.subscribe("checkout 2026-11")
    assert shop.api.change(paused.subscription_id, paused=True)["paused"] is True
    shop.applied(shop.envelope("c-paused"))
    shop.arrival(other)
    shop.api.change(paused.subscription_id, paused=False)
    shop.applied(shop.envelope("c-paused", 2, payload__session_state="OTP_VERIFIED"))
    assert shop.arrival(paused).sequence == 2
    assert [arrival.sequence for arrival in shop.arrivals(paused)] == [2]
    assert shop.arrival(other, 2).sequence == 2


def test_during_a_rotation_both_keys_verify(shop: Shop) -> None:
    everything, endpoint = shop.subscribe("checkout 2026-11")
    shop.applied(shop.envelope("c-rotated"))
    shop.arrival(everything)
    new_key = shop.api.rotate(everything.subscription_id)
    shop.world.keep_secret(new_key)
    shop.applied(shop.envelope("c-rotated", 2, payload__session_state="OTP_VERIFIED"))
    arrival = shop.arrival(everything, 2)
    assert len(arrival.headers["webhook-signature"].split()) == 2
    assert endpoint.keys == (everything.key,)
    for key in (everything.key, new_key):
        verify("checkout 2026-11", [key], arrival.headers, arrival.body)


def test_a_changed_callback_is_where_deliveries_go(shop: Shop) -> None:
    everything, _ = shop.subscribe("checkout 2026-11")
    shop.applied(shop.envelope("c-moved"))
    old_path = shop.arrival(everything).path
    path, url = shop.endpoint("moved")
    shop.world.receiver.trust(path, everything.key, name=everything.subscription_id)
    shop.api.change(everything.subscription_id, callback_url=url)
    shop.applied(shop.envelope("c-moved", 2, payload__session_state="OTP_VERIFIED"))
    shop.arrival(everything, 2)
    assert [arrival.path for arrival in shop.arrivals(everything)] == [old_path, path]


@pytest.mark.parametrize("contract", CONTRACTS)
def test_a_sample_is_signed_as_deliveries_are(shop: Shop, contract: str) -> None:
    subscribed, _ = shop.subscribe(contract)
    answer = shop.api.test(subscribed.subscription_id)
    assert answer == answer | {"delivered": True, "status": 200}
    shop.arrival(subscribed)


def test_a_store_token_is_good_for_its_store_alone(shop: Shop, world: World) -> None:
    other = Shop(world)
    path = f"/v1/stores/{other.api.store_id}/subscriptions"
    assert world.client.request("GET", path, token=other.api.token).status_code == 200
    assert world.client.request("GET", path, token=shop.api.token).status_code == 403
    assert world.client.request("GET", path, token="crs_x.y").status_code in (401, 403)
    assert world.client.request("GET", path).status_code == 401


# ---------------------------------------------------------------- what was told on the way: run last


def test_the_search_finds_what_it_is_for(world: World) -> None:
    """Otherwise the tests below would pass on logs that tell everything."""
    (_, *some) = sorted(world.secrets)
    for told in (*SHOPPER_DATA, PHONE, E164, "+91 98123 45670", "98123-45670", *some):
        assert _leaks(world, _escaped_too(json.dumps({"message": f"seen {told} here"})))
    assert len(some) > 100


def _leaks(world: World, text: str) -> list[str]:
    """Which kinds of secret or shopper's data stand in a text; never the text itself."""
    leaks = [datum for datum in SHOPPER_DATA if datum.lower() in text.lower()]
    leaks += ["the phone"] if PHONE_IN_ANY_FORM.search(text) else []
    leaks += ["a secret or signature" for value in world.secrets if value in text]
    return leaks


def _escaped_too(line: str) -> str:
    """The line, and what it says where it is JSON: escapes would hide a name."""
    try:
        return line + "\n" + json.dumps(json.loads(line), ensure_ascii=False)
    except ValueError:
        return line


def test_no_log_line_of_the_run_holds_shopper_data_or_secrets(stack: Stack, world: World) -> None:
    lines = within(WAIT_SECONDS, lambda: _lines_of_every_function(stack), "log lines of every function")
    leaks = [(leak, line[:80]) for line in lines for leak in _leaks(world, _escaped_too(line))]
    assert leaks == []


def _lines_of_every_function(stack: Stack) -> list[str] | None:
    """All lines, once each function has told something: of the authorizer, only the platform does."""
    logs = stack.aws.client("logs", endpoint_url=stack.endpoint_url)
    for function in ("authorize", "ingest", "fanout", "manage"):
        group = f"/aws/lambda/{stack.stack_name}/{function}"
        told = [event["message"] for event in logs.filter_log_events(logGroupName=group)["events"]]
        own = [line for line in told if f'"service":"{function}"' in line]
        if not (told if function == "authorize" else own):
            return None
    return stack.logs()


def test_no_queue_but_the_rejected_events_holds_shopper_data(world: World, queues: Queues) -> None:
    assert queues.messages("RetryQueueUrl")
    for queue in ("RetryQueueUrl", "DeliveryDeadLetterQueueUrl", "StreamDeadLetterQueueUrl"):
        for message in queues.messages(queue):
            assert _leaks(world, json.dumps(message, ensure_ascii=False)) == []
    assert queues.messages("StreamDeadLetterQueueUrl") == []


def test_no_metric_is_named_after_a_shopper(stack: Stack, world: World) -> None:
    cloudwatch = stack.aws.client("cloudwatch", endpoint_url=stack.endpoint_url)
    metrics = [m for page in cloudwatch.get_paginator("list_metrics").paginate() for m in page["Metrics"]]
    assert _leaks(world, json.dumps(metrics, default=str, ensure_ascii=False)) == []
