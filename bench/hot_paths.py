"""What a request and an event cost in CPU, as ratios to the bare AWS calls that they make.

    make bench

Each figure and its baseline are measured in turns, in one run; the median of the rounds and their spread are
shown. It is the deployed code: the handlers with real boto3 and libcurl, against a stub of AWS in a process
of its own.
"""

import io
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
from aws_lambda_powertools import Logger

from bench.stub import SECRET, STORE_ID, stub
from checkout_recovery import json_codec, wiring
from checkout_recovery.checkout.lifecycle import Checkout
from checkout_recovery.providers import PROVIDERS
from checkout_recovery.providers.provider import Request
from checkout_recovery.tables.checkouts import encode
from functions.fanout.app import handler as fanout
from functions.ingest.app import handler as ingest
from local.fixtures import flexype
from local.samples import FLEXYPE_2026_05

SUBSCRIBERS = 10
ROUNDS = 15
CALLS = 40

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "ap-south-1",
    "STACK_NAME": "bench",
    "CHECKOUT_TABLE": "CheckoutTable",
    "REGISTRY_TABLE": "RegistryTable",
    "DELIVERY_TABLE": "DeliveryTable",
    "SHOPPER_TABLE": "ShopperTable",
    "RETRY_QUEUE_URL": "http://127.0.0.1/retry",
    "REJECTED_EVENTS_QUEUE_URL": "http://127.0.0.1/rejected",
    "ALLOW_LOCAL_TARGETS": "true",
    "POWERTOOLS_SERVICE_NAME": "bench",
    "POWERTOOLS_METRICS_NAMESPACE": "bench",
}

Task = Callable[[], Any]

_quiet = Logger(service="bench", stream=io.StringIO())


class Context:
    """What Lambda tells a handler of its invocation."""

    aws_request_id = "00000000-0000-4000-8000-000000000000"

    def get_remaining_time_in_millis(self) -> int:
        return 60_000


def microseconds(task: Task) -> float:
    """CPU of this process for one call, user and system."""
    before = time.process_time()
    for _ in range(CALLS):
        task()
    return (time.process_time() - before) / CALLS * 1e6


def compare(name: str, measured: Task, baseline_name: str, baseline: Task) -> str:
    """Measures both in turns; returns a line of the table."""
    for task in (measured, baseline):
        task()
    rounds = [(microseconds(baseline), microseconds(measured)) for _ in range(ROUNDS)]
    ratios = sorted(ours / bare for bare, ours in rounds)
    base, ours = (statistics.median(column) for column in zip(*rounds, strict=True))
    spread = f"{ratios[ROUNDS // 4]:.2f} to {ratios[-ROUNDS // 4]:.2f}"
    ratio = f"x {statistics.median(ratios):.2f} ({spread})"
    return f"{name:26} {ours:6.0f} µs   {baseline_name:49} {base:6.0f} µs   {ratio}"


def recorded(client: Any, run: Task) -> list[tuple[str, dict[str, Any]]]:
    """The calls that `run` makes of a client, with their parameters."""
    calls: list[tuple[str, dict[str, Any]]] = []
    make = client._make_api_call

    def record(name: str, parameters: dict[str, Any]) -> Any:
        calls.append((name, parameters))
        return make(name, parameters)

    client._make_api_call = record
    run()
    del client._make_api_call
    return calls


def bare(client: Any, calls: list[tuple[str, dict[str, Any]]]) -> Task:
    return lambda: [client._make_api_call(name, parameters) for name, parameters in calls]


def ingest_event(checkout: str = "c-new") -> dict[str, Any]:
    """FlexyPe's sample as a telling of a checkout; of `c-held` there was one before, of the others none."""
    url = f"https://checkout.flexype.com/c/{checkout}"
    event = flexype(
        "bench", FLEXYPE_2026_05 | {"payload": FLEXYPE_2026_05["payload"] | {"checkout_url": url}}
    )
    assert event.event["pathParameters"]["store_id"] == STORE_ID
    assert event.event["headers"]["x-flexype-authorization"] == SECRET
    return event.event


def checkout_of(event: dict[str, Any], now: datetime) -> Checkout:
    """Reads and applies the snapshot in a request: ingest without its AWS calls."""
    request = Request(event["headers"], event["body"].encode())
    (snapshot,) = PROVIDERS["flexype"].read(request).snapshots
    empty = Checkout(store_id=STORE_ID, checkout_id=snapshot.checkout_id)
    checkout = empty.apply(snapshot, now, timedelta(minutes=15))
    assert isinstance(checkout, Checkout)
    return checkout


def held_item() -> dict[str, Any]:
    """The item of a checkout that was told of before, an hour ago and with the same contact."""
    event = ingest_event("c-held")
    event["headers"]["x-event-id"] = "evt_before"
    event["body"] = event["body"].replace("2026-05-07T10:00:00Z", "2026-05-07T09:00:00Z")
    return image_of(event, datetime.now(UTC) - timedelta(hours=1))


def image_of(event: dict[str, Any], now: datetime) -> dict[str, Any]:
    return encode(checkout_of(event, now), now + timedelta(days=90), due_shards=8)


def fanout_event() -> dict[str, Any]:
    image = image_of(ingest_event(), datetime.now(UTC))
    return {"Records": [{"eventName": "INSERT", "dynamodb": {"SequenceNumber": "1", "NewImage": image}}]}


def measure() -> list[str]:
    context, event = Context(), fanout_event()
    snapshot, later = ingest_event(), ingest_event("c-held")
    assert '"sequence":1}' in ingest(snapshot, context)["body"]
    assert '"sequence":2}' in ingest(later, context)["body"]
    assert fanout(event, context) == {"batchItemFailures": []}
    ours = wiring._dynamodb()
    plain = boto3.client("dynamodb")
    take_in, take_first, fan_out = (
        lambda: ingest(later, context),
        lambda: ingest(snapshot, context),
        lambda: fanout(event, context),
    )
    taken_in, taken_first, fanned_out = (recorded(ours, run) for run in (take_in, take_first, fan_out))
    reads, links, looks = (
        " + ".join(name for name, _ in calls) for calls in (taken_in, taken_first, fanned_out)
    )
    text, now = snapshot["body"], datetime.now(UTC)
    return [
        compare("ingest, 1 snapshot", take_in, reads, bare(plain, taken_in)),
        compare("the same", take_in, "the same, as configured", bare(ours, taken_in)),
        compare("ingest, a first contact", take_first, links, bare(plain, taken_first)),
        compare("the same", take_first, "the same, as configured", bare(ours, taken_first)),
        compare("fanout, 1 event to 10", fan_out, looks, bare(plain, fanned_out)),
        compare("the same", fan_out, "the same, as configured", bare(ours, fanned_out)),
        compare("a log line", _log, "read and apply a snapshot", lambda: checkout_of(snapshot, now)),
        compare(
            "simplejson, exact numbers",
            lambda: json_codec.parse_own(text),
            "json, exact numbers",
            lambda: json.loads(text, parse_float=Decimal),
        ),
    ]


def _log() -> None:
    _quiet.info("snapshots taken in", extra={"request_id": Context.aws_request_id, "results": ["applied"]})


def main() -> int:
    with stub(SUBSCRIBERS, held_item()) as url:
        os.environ |= ENVIRONMENT | {"AWS_ENDPOINT_URL": url}
        with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
            lines = measure()
    print(*lines, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
