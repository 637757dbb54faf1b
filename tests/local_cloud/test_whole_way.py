"""The whole way on the deployed template: requests in, verified webhooks out, and nothing told in between.

The last tests read every log line and queue message of the run, so all payloads here carry data that appear
nowhere else.
"""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from local import senders
from local.client import Client, Subscribed
from local.cloud import Stack
from local.receiver import Receiver, verify
from local.senders import Call
from tests.local_cloud.shops import (
    CITY,
    E164,
    EMAIL,
    IP,
    LINK,
    PATH_TOKEN,
    PHONE,
    SHOPPER_DATA,
    STREET,
    USER,
    WAIT_SECONDS,
    ZIP,
    Shop,
    Shopper,
    World,
    escaped_too,
    leaks,
    resume_url,
    within,
)

CONTRACTS = (
    "abandonedCheckout v1",
    "ACR_CHECKOUT 2025-09",
    "ACR_CHECKOUT 2026-05",
    "checkout 2026-11",
)


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
        self._stack = stack
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

    @contextmanager
    def left_alone(self) -> Iterator[None]:
        """Keeps the retry function from the RetryQueue meanwhile: it would be faster than any reader."""
        functions = self._stack.aws.client("lambda", endpoint_url=self._stack.endpoint_url)
        mappings = functions.list_event_source_mappings()["EventSourceMappings"]
        (retry,) = (each["UUID"] for each in mappings if ":sqs:" in each["EventSourceArn"])
        functions.update_event_source_mapping(UUID=retry, Enabled=False)
        try:
            yield
        finally:
            functions.update_event_source_mapping(UUID=retry, Enabled=True)


# ---------------------------------------------------------------- in, through, out


def test_every_provider_reaches_every_contract_that_carries_its_event(shop: Shop) -> None:
    subscriptions = {contract: shop.subscribe(contract)[0] for contract in CONTRACTS}
    other = Shopper("9812345671", f"other.{EMAIL}")  # or the purchase would be this one's in all five
    bought = senders.SHOPIFY_ORDER | {"email": other.email, "phone": other.phone, "browser_ip": IP}
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
    assert cashfree["checkout_url"] == resume_url("c-words")
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
    shop.applied(shop.envelope("c-other", 9))  # begun after it, so it is not what was bought
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

    with queues.left_alone():
        result = shop.applied(shop.envelope("c-dead"))
        event_id = shop.arrival(alive).event_id
        assert _logged(stack, alive, event_id)["state"] == {"S": "delivered"}
        for subscribed, failure, status in (
            (dead, "connection", None),
            (failing, "http", {"N": "503"}),
        ):
            entry = _logged(stack, subscribed, event_id)
            assert entry["state"] == {"S": "pending"}
            assert entry["reason"] == {"S": failure}
            assert entry.get("status") == status
            message = queues.message("RetryQueueUrl", subscription_id=subscribed.subscription_id)
            told = {
                "version": 2,
                "purpose": "retry",
                "store_id": shop.api.store_id,
                "checkout_id": "c-dead",
                "subscription_id": subscribed.subscription_id,
                "delivery_id": entry["delivery_id"]["S"],
                "event_id": event_id,
                "event_type": "checkout.created",
                "sequence": result["sequence"],
                "attempts": 1,
            }
            counted = {"earlier", "event_time", "has_slot", "not_before", "reason"}
            assert message.keys() == told.keys() | counted  # ids, times and counts: nothing of the shopper's
            assert {name: message[name] for name in told} == told


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
        assert leaks(world, escaped_too(json.dumps({"message": f"seen {told} here"})))
    assert len(some) > 100


def test_no_log_line_of_the_run_holds_shopper_data_or_secrets(stack: Stack, world: World) -> None:
    lines = within(WAIT_SECONDS, lambda: _lines_of_every_function(stack), "log lines of every function")
    told = [(leak, line[:80]) for line in lines for leak in leaks(world, escaped_too(line))]
    assert told == []


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
            assert leaks(world, json.dumps(message, ensure_ascii=False)) == []
    assert queues.messages("StreamDeadLetterQueueUrl") == []


def test_no_metric_is_named_after_a_shopper(stack: Stack, world: World) -> None:
    cloudwatch = stack.aws.client("cloudwatch", endpoint_url=stack.endpoint_url)
    metrics = [m for page in cloudwatch.get_paginator("list_metrics").paginate() for m in page["Metrics"]]
    assert leaks(world, json.dumps(metrics, default=str, ensure_ascii=False)) == []
