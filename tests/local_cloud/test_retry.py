"""What follows a failure, on the deployed template: receivers that fail in every way, and repair."""

import secrets
import socketserver
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from local.client import Client, Subscribed
from local.cloud import Stack
from local.receiver import LOOPBACK, Receiver
from tests.local_cloud.shops import Shop, Shopper, World, within

RETRY_SECONDS = 60.0
"""The first retry is due after five seconds; the local cloud is slow at times."""
ALL_EVENTS = ["checkout.created", "checkout.updated", "checkout.resumed", "checkout.completed"]
OURS = "checkout 2026-11"


@pytest.fixture(scope="module")
def world(stack: Stack) -> Iterator[World]:
    with Client(stack.api_url, stack.admin_token) as client, Receiver() as receiver:
        yield World(client, receiver, stack.admin_token)


@pytest.fixture
def shop(world: World) -> Shop:
    return Shop(world)


def shopper() -> Shopper:
    return Shopper(f"98123456{secrets.randbelow(100):02}", f"{secrets.token_hex(4)}@canary-shopper.example")


def logged(
    shop: Shop, subscribed: Subscribed, is_it: Callable[[dict[str, Any]], bool], what: str
) -> dict[str, Any]:
    """The first entry of a subscription's log that is what is looked for, once it is there."""

    def look() -> dict[str, Any] | None:
        return next(filter(is_it, shop.api.deliveries(subscribed.subscription_id)), None)

    return within(RETRY_SECONDS, look, what)


def is_in(state: str) -> Callable[[dict[str, Any]], bool]:
    return lambda entry: bool(entry["state"] == state)


def test_a_receiver_that_failed_once_has_it_at_the_next_attempt(shop: Shop) -> None:
    subscribed, endpoint = shop.subscribe(OURS)
    endpoint.status = 503
    shop.applied(shop.own("c1", shopper()))
    refused = shop.arrival(subscribed)
    endpoint.status = 200
    taken = shop.arrival(subscribed, 2)
    assert (refused.status, taken.status) == (503, 200)
    assert (taken.event_id, taken.body) == (refused.event_id, refused.body)
    entry = logged(shop, subscribed, is_in("delivered"), "the retry in the log")
    assert [one["status"] for one in entry["history"]] == [503, 200]
    assert entry["attempts"] == 2


def test_what_a_newer_event_has_overtaken_is_not_sent_late(shop: Shop) -> None:
    subscribed, endpoint = shop.subscribe(OURS)
    endpoint.status = 503
    shop.applied(shop.own("c1", shopper(), stage="INITIATED"))
    shop.arrival(subscribed)
    endpoint.status = 200
    shop.applied(shop.own("c1", shopper(), stage="PAYMENT_LOADED", event_time="2026-05-07T13:05:00Z"))
    newer = shop.arrival(subscribed, 2)
    entry = logged(shop, subscribed, is_in("superseded"), "the old delivery's end")
    assert (newer.sequence, entry["sequence"], entry["reason"]) == (2, 1, "newer_event")
    assert len([one for one in shop.arrivals(subscribed) if one.status == 200]) == 1


def test_an_abandonment_that_could_not_be_told_is_not_told_after_the_purchase(shop: Shop) -> None:
    subscribed, endpoint = shop.subscribe("abandonedCheckout v1")
    endpoint.status = 503
    who = shopper()
    shop.applied(shop.left_behind("c1", who))
    shop.arrival(subscribed)
    bought = shop.own("c1", who, completed=True, event_time="2026-05-07T14:00:00Z")
    shop.applied(bought)
    endpoint.status = 200
    entry = logged(shop, subscribed, is_in("superseded"), "the abandonment's end")
    assert entry["reason"] == "no_longer_abandoned"
    assert {one.status for one in shop.arrivals(subscribed)} == {503}


def test_410_disables_the_subscription_and_keeps_its_delivery_for_the_operator(
    shop: Shop, world: World, stack: Stack
) -> None:
    subscribed, endpoint = shop.subscribe(OURS)
    endpoint.status = 410
    shop.applied(shop.own("c1", shopper()))
    entry = logged(shop, subscribed, is_in("exhausted"), "the delivery's end")
    assert (entry["reason"], entry["attempts"]) == ("gone", 1)
    disabled = within(
        RETRY_SECONDS,
        lambda: shop.api.subscription(subscribed.subscription_id)["disabled_reason"],
        "the subscription disabled",
    )
    assert disabled == "gone"
    shop.applied(shop.own("c2", shopper()))
    queue = stack.outputs["DeliveryDeadLetterQueueUrl"]
    assert subscribed.subscription_id in kept_in(stack, queue, subscribed.subscription_id)
    assert len(shop.arrivals(subscribed)) == 1


def kept_in(stack: Stack, queue_url: str, part: str) -> str:
    """The message of a queue that names something; each is shown again after a moment."""
    sqs = stack.aws.client("sqs", endpoint_url=stack.endpoint_url)

    def look() -> str | None:
        answer = sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10, VisibilityTimeout=5)
        return next((one["Body"] for one in answer.get("Messages", []) if part in one["Body"]), None)

    return within(RETRY_SECONDS, look, "the dead letter")


def test_a_replay_sends_the_checkout_as_it_stands(shop: Shop, world: World) -> None:
    subscribed, _ = shop.subscribe(OURS, events=ALL_EVENTS)
    who = shopper()
    shop.applied(shop.own("c1", who, stage="INITIATED"))
    first = shop.arrival(subscribed)
    shop.applied(shop.own("c1", who, completed=True, event_time="2026-05-07T14:00:00Z"))
    shop.arrival(subscribed, 2)
    (created,) = (
        one
        for one in shop.api.deliveries(subscribed.subscription_id)
        if one["event_type"] == first.event_type
    )
    answer = world.client.request(
        "POST",
        f"/v1/stores/{shop.api.store_id}/subscriptions/{subscribed.subscription_id}"
        f"/deliveries/{created['delivery_id']}/replay",
        token=shop.api.token,
    )
    assert answer.status_code == 202, answer.text
    replayed = shop.arrival(subscribed, 3)
    assert (replayed.event_type, replayed.sequence) == ("checkout.completed", 2)


def test_all_that_failed_is_recovered_by_one_call_and_once(shop: Shop, world: World) -> None:
    subscribed, endpoint = shop.subscribe(OURS)
    endpoint.status = 410
    for number in range(3):
        shop.applied(shop.own(f"c{number}", shopper()))
    logged(shop, subscribed, is_in("exhausted"), "the first failure")
    within(
        RETRY_SECONDS,
        lambda: shop.api.subscription(subscribed.subscription_id)["disabled_reason"],
        "the subscription disabled",
    )
    endpoint.status = 200
    shop.api.change(subscribed.subscription_id, paused=False)
    failed = {
        one["checkout_id"]
        for one in shop.api.deliveries(subscribed.subscription_id)
        if one["state"] in ("exhausted", "expired")
    }
    path = f"/v1/stores/{shop.api.store_id}/subscriptions/{subscribed.subscription_id}/recover"
    for _ in range(2):  # repeated, it does nothing more
        answer = world.client.request(
            "POST", path, token=shop.api.token, json={"since": "2026-01-01T00:00:00Z"}
        )
        assert answer.status_code == 202, answer.text
        within(
            RETRY_SECONDS,
            lambda: True if delivered(shop, subscribed) >= failed else None,
            "what was recovered",
        )
    taken = [one.event_id for one in shop.arrivals(subscribed) if one.status == 200]
    assert len(taken) == len(set(taken)) >= len(failed) > 0


def delivered(shop: Shop, subscribed: Subscribed) -> set[str]:
    log = shop.api.deliveries(subscribed.subscription_id, state="delivered")
    return {entry["checkout_id"] for entry in log}


# ---------------------------------------------------------------- receivers that mean harm


@contextmanager
def harmful(behave: Callable[[socketserver.StreamRequestHandler], None]) -> Iterator[str]:
    """A receiver on loopback that does with each connection what it is told; its URL."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            behave(self)

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

    with Server((LOOPBACK, 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
        yield f"http://{LOOPBACK}:{server.server_address[1]}/hook"
        server.shutdown()


def redirects(handler: socketserver.StreamRequestHandler) -> None:
    handler.rfile.readline()
    handler.wfile.write(
        f"HTTP/1.1 302 Found\r\nLocation: http://{LOOPBACK}:1/inner\r\nContent-Length: 0\r\n\r\n".encode()
    )


def drips(handler: socketserver.StreamRequestHandler) -> None:
    handler.rfile.readline()
    for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"a" * 400:
        handler.wfile.write(bytes([byte]))
        if threading.Event().wait(0.1):
            return


def raves(handler: socketserver.StreamRequestHandler) -> None:
    handler.rfile.readline()
    handler.wfile.write(b"\x00\xffGARBAGE\r\n" * 50)


def is_no_http(handler: socketserver.StreamRequestHandler) -> None:
    handler.rfile.readline()


@pytest.mark.parametrize(
    ("behave", "failures"),
    [
        (redirects, {"http"}),
        (drips, {"timeout"}),
        (raves, {"protocol", "connection"}),
        (is_no_http, {"connection"}),
    ],
)
def test_a_receiver_that_means_harm_delays_nobody_and_is_named_in_the_log(
    shop: Shop, behave: Callable[[socketserver.StreamRequestHandler], None], failures: set[str]
) -> None:
    well, _ = shop.subscribe(OURS)
    with harmful(behave) as url:
        topic, version = OURS.split()
        bad = shop.api.subscribe(topic, version, url)
        shop.world.keep_secret(bad.key)
        shop.applied(shop.own("c1", shopper()))
        assert shop.arrival(well).problem is None
        entry = logged(shop, bad, lambda one: one["attempts"] > 0, "the failed attempt")
    assert entry["state"] == "pending"
    assert {one["failure"] for one in entry["history"]} <= failures


def test_200_with_garbage_is_a_delivery(shop: Shop) -> None:
    def answer(handler: socketserver.StreamRequestHandler) -> None:
        handler.rfile.readline()
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n\x00\xff<html>\x00")

    with harmful(answer) as url:
        subscribed = shop.api.subscribe("checkout", "2026-11", url)
        shop.world.keep_secret(subscribed.key)
        shop.applied(shop.own("c1", shopper()))
        entry = logged(shop, subscribed, is_in("delivered"), "the delivery")
    assert entry["status"] == 200


# ---------------------------------------------------------------- circuits, notices, rotation


def test_a_receiver_that_keeps_failing_is_left_alone_until_a_probe(
    shop: Shop, world: World, stack: Stack
) -> None:
    subscribed, endpoint = shop.subscribe(OURS)
    endpoint.status = 500

    def fails() -> str | None:
        shop.applied(shop.own(f"c-{secrets.token_hex(4)}", shopper()))
        since = shop.api.subscription(subscribed.subscription_id)["failing_since"]
        return str(since) if since else None

    within(RETRY_SECONDS, fails, "the circuit open")
    listed = world.client.request("GET", "/v1/circuits", token=stack.admin_token).json()["circuits"]
    assert subscribed.subscription_id in {one["subscription_id"] for one in listed}
    came = len(shop.arrivals(subscribed))
    shop.applied(shop.own("held-back", shopper()))
    held = logged(shop, subscribed, lambda one: one["checkout_id"] == "held-back", "the held delivery")
    assert (held["state"], held["reason"], held["attempts"]) == ("pending", "circuit_open", 0)
    assert len(shop.arrivals(subscribed)) <= came + 1  # the probe's, at most
    endpoint.status = 200
    logged(
        shop,
        subscribed,
        lambda one: one["checkout_id"] == "held-back" and one["state"] == "delivered",
        "the delivery after the probe",
    )
    assert shop.api.subscription(subscribed.subscription_id)["failing_since"] is None


def test_keys_that_rotate_while_deliveries_go_on_fail_no_verification(shop: Shop) -> None:
    subscribed, endpoint = shop.subscribe(OURS)

    def deliver(number: int) -> None:
        shop.applied(shop.own(f"c{number}", shopper()))

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(deliver, number) for number in range(24)]
        for _ in range(3):
            key = shop.api.rotate(subscribed.subscription_id)
            shop.world.keep_secret(key)
            endpoint.keys = (key, *endpoint.keys)[:2]  # the last it was given, or the one before
        for one in running:
            one.result()
    shop.arrival(subscribed, 24)
    assert {one.problem for one in shop.arrivals(subscribed)} == {None}
