"""Writes `events/fanout-*.json`: batches of the checkout table's stream, as Lambda hands them to fan-out.

    python -m local.stream_fixtures

The images are what ingest writes for the ingest fixtures, made by the same code, so they hold whatever an
item holds today; a test fails when the files differ from what this script writes.
"""

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from checkout_recovery.checkout.event import EventType
from checkout_recovery.checkout.lifecycle import Checkout, Policy, Unchanged
from checkout_recovery.checkout.order import Order
from checkout_recovery.checkout.shopper import UNKNOWN, Shopper, handle, identities
from checkout_recovery.http_api import body_of, headers_of
from checkout_recovery.providers import PROVIDERS
from checkout_recovery.providers.own import read_order
from checkout_recovery.providers.provider import Notice, Request
from checkout_recovery.tables.checkouts import encode
from local.fixtures import EVENTS, STORE_ID, fixtures
from local.samples import Json

ARRIVED = datetime(2026, 5, 7, 10, 20, 5, tzinfo=UTC)
KEPT = timedelta(days=90)
WAIT = timedelta(minutes=15)
POLICY = Policy(cooldown=timedelta(days=1))
TOLD_BEFORE = Shopper(told_at=ARRIVED - timedelta(hours=3))
DUE_SHARDS = 8
INDEX_KEY = b"test_key_do_not_use"
STREAM = "arn:aws:dynamodb:ap-south-1:000000000000:table/CheckoutTable/stream/2026-05-07T00:00:00.000"


def written(*names: str, shopper: Shopper = UNKNOWN) -> Iterator[Checkout]:
    """Applies ingest fixtures in order, and yields the checkout after each write.

    Args:
        names: of the fixtures; they are all one shopper's.
        shopper: what is known of them beforehand.
    """
    events = {fixture.name: fixture.event for fixture in fixtures()}
    checkouts: dict[str, Checkout] = {}
    for name in names:
        notice = _read(events[name])
        for snapshot in notice.snapshots:
            checkout_id = snapshot.checkout_id
            held = checkouts.get(checkout_id) or Checkout(store_id=STORE_ID, checkout_id=checkout_id)
            for checkout in _changed(held, held.apply(snapshot, ARRIVED, WAIT), shopper):
                checkouts[checkout_id] = checkout
                yield checkout
        for order in notice.orders:
            for checkout in [*checkouts.values()]:
                for bought in _changed(checkout, _ended(checkout, order), shopper):
                    checkouts[checkout.checkout_id] = bought
                    yield bought


def _read(event: Json) -> Notice:
    request = Request(headers_of(event), body_of(event))
    if event["routeKey"] == "POST /v1/orders":
        return read_order(request.body)
    return PROVIDERS[event["pathParameters"]["provider"]].read(request)


def _ended(checkout: Checkout, order: Order) -> Checkout | Unchanged:
    if checkout.checkout_id in (order.checkout_id, order.checkout_token):
        return checkout.apply(order.told_of(checkout.checkout_id), ARRIVED, WAIT)
    return checkout.buy(order.purchase(ARRIVED), ARRIVED)


def _changed(before: Checkout, after: Checkout | Unchanged, shopper: Shopper) -> Iterator[Checkout]:
    """Yields a change as it is written: connected with its shopper; if it is an abandonment, judged."""
    if isinstance(after, Unchanged):
        return
    told = [handle(INDEX_KEY, STORE_ID, *identity) for identity in identities(after.details)]
    handles = tuple(dict.fromkeys((*before.handles, *told)))
    after = after.model_copy(update={"handles": handles})
    is_abandonment = after.event is not None and after.event.type is EventType.ABANDONED
    yield after.judged(shopper, POLICY, ARRIVED) if is_abandonment else after


def record(number: int, image: Json, name: str = "INSERT") -> Json:
    """One record of the stream."""
    keys = {key: image[key] for key in ("store_id", "checkout_id") if key in image}
    return {
        "eventID": f"{number:032x}",
        "eventName": name,
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "ap-south-1",
        "dynamodb": {
            "ApproximateCreationDateTime": int(ARRIVED.timestamp()),
            "Keys": keys,
            "NewImage": image,
            "SequenceNumber": f"{100000000000000000000 + number}",
            "SizeBytes": len(json.dumps(image)),
            "StreamViewType": "NEW_IMAGE",
        },
        "eventSourceARN": STREAM,
    }


def batch(*names: str, shopper: Shopper = UNKNOWN) -> Json:
    """The records that the writes of ingest fixtures make."""
    images = [encode(checkout, ARRIVED + KEPT, DUE_SHARDS) for checkout in written(*names, shopper=shopper)]
    kinds = ["INSERT" if image["sequence"]["N"] == "1" else "MODIFY" for image in images]
    return {"Records": [record(number, *pair) for number, pair in enumerate(zip(images, kinds, strict=True))]}


def stream_fixtures() -> dict[str, Json]:
    """The batches by their files' names."""
    foreign: dict[str, Any] = {"store_id": {"S": STORE_ID}, "checkout_id": {"S": "c1"}, "event": {"S": "?"}}
    poisoned = batch("flexype-2026-05")
    poisoned["Records"].append(record(1, foreign, "MODIFY"))
    return {
        "fanout-created": batch("flexype-2026-05"),
        "fanout-updated": {
            "Records": batch("shopify-checkouts-create", "shopify-checkouts-update")["Records"][1:]
        },
        "fanout-abandoned": batch("cashfree-abandoned"),
        "fanout-abandoned-suppressed": batch("cashfree-abandoned", shopper=TOLD_BEFORE),
        "fanout-recovered": {"Records": batch("cashfree-abandoned", "orders-by-phone")["Records"][1:]},
        "fanout-completed": batch("flexype-2026-05", "flexype-2026-05-completed"),
        "fanout-several": batch(
            "flexype-2026-05", "cashfree-abandoned", "shopify-checkouts-create", "shopify-orders-create"
        ),
        "fanout-non-ascii": batch("flexype-non-ascii"),
        "fanout-not-a-checkout": poisoned,
    }


def text_of(event: Json) -> str:
    """The file that a batch is."""
    return json.dumps(event, indent=2) + "\n"


def write(prefix: str, wanted: dict[str, Json]) -> None:
    """Writes the events whose names begin with a prefix, and removes those that there are no more."""
    for path in EVENTS.glob(f"{prefix}-*.json"):
        path.unlink()
    for name, event in wanted.items():
        (EVENTS / f"{name}.json").write_text(text_of(event), encoding="utf-8")
    print(f"{len(wanted)} fixtures in {EVENTS}")


def main() -> int:
    write("fanout", stream_fixtures())
    return 0


if __name__ == "__main__":
    sys.exit(main())
