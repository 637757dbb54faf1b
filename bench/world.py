"""What the benchmarks share: the functions' environment, with a stub for AWS, and what arrives there."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from bench.receivers import Receiver, receiver
from bench.stub import INDEX_KEY, SECRET, STORE_ID, Account, Item, stub
from checkout_recovery import wiring
from checkout_recovery.checkout.lifecycle import Checkout
from checkout_recovery.checkout.shopper import handle, identities
from checkout_recovery.checkout.snapshot import Snapshot
from checkout_recovery.providers import PROVIDERS
from checkout_recovery.providers.provider import Request
from checkout_recovery.tables.checkouts import encode
from local.fixtures import flexype
from local.samples import FLEXYPE_2026_05

WAIT = timedelta(minutes=15)
"""Until a quiet checkout counts as abandoned."""

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "ap-south-1",
    "STACK_NAME": "bench",
    "DIRECT_AWS": os.environ.get("DIRECT_AWS", "true"),
    "CHECKOUT_TABLE": "CheckoutTable",
    "REGISTRY_TABLE": "RegistryTable",
    "DELIVERY_TABLE": "DeliveryTable",
    "SHOPPER_TABLE": "ShopperTable",
    "RETRY_QUEUE_URL": "http://127.0.0.1/retry",
    "DEAD_LETTER_QUEUE_URL": "http://127.0.0.1/dead-letters",
    "REJECTED_EVENTS_QUEUE_URL": "http://127.0.0.1/rejected",
    "NOTIFICATION_TOPIC_ARN": "arn:aws:sns:ap-south-1:000000000000:topic",
    "ALLOW_LOCAL_TARGETS": "true",
    "POWERTOOLS_SERVICE_NAME": "bench",
    "POWERTOOLS_METRICS_NAMESPACE": "bench",
}


class Context:
    """What Lambda tells a handler of its invocation."""

    aws_request_id = "00000000-0000-4000-8000-000000000000"

    def get_remaining_time_in_millis(self) -> int:
        return 60_000


@dataclass(frozen=True, slots=True)
class World:
    """What surrounds the functions while they are measured."""

    receiver: Receiver
    aws_url: str


@contextlib.contextmanager
def world(subscribers: Mapping[str, int], **account: Any) -> Iterator[World]:
    """Runs the stub and the receiver on the last core, and this process on the first.

    Args:
        subscribers: how many subscriptions each store has.
        account: the rest of what the stub has (see `Account`).
    """
    cores = sorted(os.sched_getaffinity(0))
    with contextlib.ExitStack() as stack:
        stack.callback(os.sched_setaffinity, 0, cores)
        os.sched_setaffinity(0, cores[-1:])
        there = stack.enter_context(receiver())
        url = stack.enter_context(stub(Account(subscribers, there.port, **account)))
        os.sched_setaffinity(0, cores[:1])
        os.environ |= ENVIRONMENT | {"AWS_ENDPOINT_URL": url}
        forget()
        yield World(there, url)


def forget() -> None:
    """Lets the functions build all that they keep between invocations anew, as a fresh environment would."""
    for member in vars(wiring).values():
        if hasattr(member, "cache_clear"):
            member.cache_clear()


# ---------------------------------------------------------------- what arrives


def line(like: Mapping[str, Any], number: int) -> dict[str, Any]:
    """Another product of a cart, as long in every field."""
    ids = {name: like[name] + number for name in ("product_id", "variant_id")}
    title = f"{like['title'][:-1]}{number}"
    return {**like, **ids, "title": title, "handle": title.lower().replace(" ", "-")}


def ingest_event(checkout: str = "c-new", lines: int = 1) -> dict[str, Any]:
    """FlexyPe's sample as a telling of a checkout; of `c-held` there was one before, of the others none."""
    payload: dict[str, Any] = FLEXYPE_2026_05["payload"]
    changed = {
        "checkout_url": f"https://checkout.flexype.com/c/{checkout}",
        "cart_items": [line(payload["cart_items"][0], number) for number in range(lines)],
    }
    event = flexype("bench", FLEXYPE_2026_05 | {"payload": payload | changed}).event
    assert event["pathParameters"]["store_id"] == STORE_ID
    assert event["headers"]["x-flexype-authorization"] == SECRET
    return event


def request_of(event: Mapping[str, Any]) -> Request:
    return Request(event["headers"], event["body"].encode())


def snapshot_of(request: Request) -> Snapshot:
    (snapshot,) = PROVIDERS["flexype"].read(request).snapshots
    return snapshot


def applied(snapshot: Snapshot, now: datetime, store_id: str = STORE_ID) -> Checkout:
    """The checkout of which this is the first telling."""
    checkout = Checkout(store_id=store_id, checkout_id=snapshot.checkout_id).apply(snapshot, now, WAIT)
    assert isinstance(checkout, Checkout)
    return checkout


def known(checkout: Checkout) -> Checkout:
    """With the handles of its shopper, as ingest writes it."""
    key, store_id = bytes.fromhex(INDEX_KEY), checkout.store_id
    handles = tuple(handle(key, store_id, *identity) for identity in identities(checkout.details))
    return checkout.model_copy(update={"handles": handles})


def item_of(checkout: Checkout, now: datetime) -> Item:
    """As the table has it, and the stream brings it."""
    return encode(checkout, now + timedelta(days=90), due_shards=8)


def held_item() -> Item:
    """The item of a checkout that was told of before, an hour ago and with the same contact."""
    event = ingest_event("c-held")
    event["headers"]["x-event-id"] = "evt_before"
    event["body"] = event["body"].replace("2026-05-07T10:00:00Z", "2026-05-07T09:00:00Z")
    then = datetime.now(UTC) - timedelta(hours=1)
    return item_of(known(applied(snapshot_of(request_of(event)), then)), then)


def stream_event(checkouts: Mapping[str, str]) -> dict[str, Any]:
    """A batch of the stream: each of these checkouts, by id, newly written, with its store's id."""
    now, sample = datetime.now(UTC), snapshot_of(request_of(ingest_event()))
    records = []
    for number, (checkout_id, store_id) in enumerate(checkouts.items()):
        snapshot = sample.model_copy(update={"checkout_id": checkout_id})
        image = item_of(known(applied(snapshot, now, store_id)), now)
        written = {"SequenceNumber": str(number), "NewImage": image}
        records.append({"eventName": "INSERT", "dynamodb": written})
    return {"Records": records}
