"""What a snapshot, and a batch of events, take of the processor, of the log and of the network.

The deployed handlers against a stub of AWS and a receiver in processes of their own, as in the benchmarks.
"""

import io
import json
import os
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from aws_lambda_powertools import Logger
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from bench.capacity import item_bytes
from bench.per_item import _processor
from bench.spending import LINE_OVERHEAD, Batch, Findings, Handling, Requests
from bench.stub import KEY, STORE_ID
from bench.world import Context, applied, ingest_event, item_of, request_of, snapshot_of, world
from checkout_recovery.checkout.event import EventType
from checkout_recovery.checkout.lifecycle import Checkout
from checkout_recovery.contracts import CONTRACTS
from checkout_recovery.delivery.plan import delivery_id
from checkout_recovery.delivery.signed import signed_headers
from checkout_recovery.json_codec import parse_own
from checkout_recovery.secrets import Secret
from checkout_recovery.subscriptions.subscription import Subscription
from checkout_recovery.tables.deliveries import Attempt, DeliveryRecord, State
from checkout_recovery.tables.deliveries import _encode as entry_of
from functions.authorize.app import handler as authorize
from functions.fanout.app import handler as fan_out
from functions.ingest.app import handler as ingest

CARTS = (1, 3, 10, 100)
MANY = 100
BATCHES = {1: (1, 10, MANY), 3: (1,), 10: (1, 10), 30: (1,), MANY: (1,)}
"""Events of the batches that are measured, by the subscribers."""
ROUNDS = 5
DELIVERIES_A_ROUND = 40
REQUEST_LINE_BYTES = 120
"""Of a delivery, beside the headers that the contract has: the request line, Host, Content-Length, Accept."""
_AN_HOUR = timedelta(hours=1)

Task = Callable[[], object]


def measure() -> Findings:
    """Measures everything; takes about a minute."""
    batches: dict[int, list[Batch]] = {cart: [] for cart in CARTS}
    for subscribers, numbers in BATCHES.items():
        with world({STORE_ID: subscribers}):
            for cart in CARTS:
                batches[cart] += [_batch(events, subscribers, cart) for events in numbers]
    requests = {cart: _requests(cart, tuple(batches[cart])) for cart in CARTS}
    with world({STORE_ID: 1}):
        token = json.loads(Path("events/authorize-store.json").read_text())
        authorized, _ = _quickest(lambda: authorize(token, Context()))
    line = Logger(service="bench", stream=io.StringIO())
    logging, _ = _quickest(lambda: _tell(line), 1)
    return Findings(
        requests=requests,
        authorize_microseconds=authorized,
        log_line_microseconds=logging,
        log_line_bytes=_line_bytes(_tell),
        failure_line_bytes=_line_bytes(_tell_failure),
        delivery_bytes=_entry_bytes(),
        memory_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024,
        date=datetime.now(UTC).date(),
        processor=_processor(),
    )


# ---------------------------------------------------------------- snapshots


def _requests(cart: int, batches: tuple[Batch, ...]) -> Requests:
    told, first = ingest_event("c-held", cart), ingest_event("c-new", cart)
    with world({STORE_ID: 1}, held=_held(cart)):
        assert '"sequence":2}' in ingest(told, Context())["body"]
        assert '"sequence":1}' in ingest(first, Context())["body"]
        snapshot, _ = _quickest(lambda: ingest(told, Context()))
        contact, _ = _quickest(lambda: ingest(first, Context()))
    item = item_of(_checkout("c-new", cart), datetime.now(UTC))
    data = item["data"]["S"]
    string, tree = (_quickest(partial(run, data))[0] for run in (_as_string, _as_tree))
    by_size = {(one.events, one.events * one.subscribers): one for one in batches}
    return Requests(
        body_bytes=len(told["body"].encode()),
        snapshot_microseconds=snapshot,
        contact_microseconds=contact,
        fan_out_microseconds=Handling.fitted({size: one.microseconds for size, one in by_size.items()}),
        fan_out_log_bytes=Handling.fitted({size: one.log_bytes for size, one in by_size.items()}),
        sent_bytes=_sent_bytes(cart),
        item_bytes=item_bytes(item),
        typed_item_bytes=item_bytes(item) - len(data.encode()) + _typed_bytes(_as_tree(data)),
        string_microseconds=string,
        tree_microseconds=tree,
        batches=batches,
    )


def _held(cart: int) -> Any:
    """The item of a checkout that was told of an hour ago, with the same contact."""
    event = ingest_event("c-held", cart)
    event["headers"]["x-event-id"] = "evt_before"
    event["body"] = event["body"].replace("2026-05-07T10:00:00Z", "2026-05-07T09:00:00Z")
    then = datetime.now(UTC) - _AN_HOUR
    return item_of(applied(snapshot_of(request_of(event)), then), then)


def _checkout(checkout_id: str, cart: int) -> Checkout:
    return applied(snapshot_of(request_of(ingest_event(checkout_id, cart))), datetime.now(UTC))


# ---------------------------------------------------------------- batches


def _batch(events: int, subscribers: int, cart: int) -> Batch:
    task = _fan_out(events, cart)
    log_bytes = _logged(task)
    return Batch(events, subscribers, *_quickest(task, events * subscribers), log_bytes)


def _fan_out(events: int, cart: int) -> Task:
    """Fan-out of so many checkouts' first events."""
    now, like = datetime.now(UTC), snapshot_of(request_of(ingest_event(lines=cart)))
    checkouts = (
        applied(like.model_copy(update={"checkout_id": f"c{number:08}"}), now) for number in range(events)
    )
    records = [
        {"eventName": "INSERT", "dynamodb": {"SequenceNumber": str(at), "NewImage": item_of(one, now)}}
        for at, one in enumerate(checkouts)
    ]

    def run() -> None:
        assert fan_out({"Records": records}, Context()) == {"batchItemFailures": []}

    return run


def _sent_bytes(cart: int) -> float:
    """Of one delivery, in the mean of all contracts."""
    checkout = _checkout("c-new", cart)
    assert checkout.event
    sizes = []
    for contract in CONTRACTS.values():
        body = contract.render(checkout)
        headers = signed_headers(
            contract,
            _subscription(contract.topic, contract.version),
            Secret((KEY,), version=1),
            event_id=checkout.event.id,
            delivery_id=delivery_id(checkout.event, f"sub_{0:026d}"),
            shop_url="https://my-store.com",
            sent_at=datetime.now(UTC),
            body=body,
        )
        lines = sum(len(name) + len(value) + len(": \r\n") for name, value in headers.items())
        sizes.append(REQUEST_LINE_BYTES + lines + len(body))
    return sum(sizes) / len(sizes)


def _subscription(topic: str, version: str) -> Subscription:
    now = datetime.now(UTC)
    return Subscription(
        store_id=STORE_ID,
        subscription_id=f"sub_{0:026d}",
        topic=topic,
        version=version,
        callback_url="https://receiver.example/hook",
        events=tuple(EventType),
        key_version=1,
        created_at=now,
        updated_at=now,
    )


# ---------------------------------------------------------------- logs and entries


def _tell(logger: Logger) -> None:
    """As ingest does at DEBUG, for each request."""
    logger.info(
        "snapshots taken in",
        extra={
            "request_id": Context.aws_request_id,
            "route": "POST /v1/webhooks/{provider}/{store_id}",
            "body_chars": 1_000,
            "results": ["applied"],
        },
    )


def _tell_failure(logger: Logger) -> None:
    """As an attempt that failed does."""
    logger.warning(
        "delivery failed",
        extra={
            "store_id": STORE_ID,
            "subscription_id": f"sub_{0:026d}",
            "delivery_id": f"dlv_{0:032d}",
            "failure": "http",
            "status": 503,
            "latency_ms": 200,
            "attempts": 1,
            "state": "pending",
        },
    )


def _line_bytes(tell: Callable[[Logger], None]) -> float:
    stream = io.StringIO()
    tell(Logger(service=tell.__name__, stream=stream))  # loggers of one service share their first stream
    return _counted(stream.getvalue())


def _counted(printed: str) -> float:
    """As CloudWatch counts lines."""
    return sum(len(line.encode()) + LINE_OVERHEAD for line in printed.splitlines())


def _logged(task: Task) -> float:
    """What one run prints, once it is warm."""
    with _unheard():
        task()
    with redirect_stdout(io.StringIO()) as printed:
        task()
    return _counted(printed.getvalue())


def _entry_bytes() -> float:
    """An entry of the delivery log, delivered at the first attempt."""
    now, checkout = datetime.now(UTC), _checkout("000000000", 1)
    assert checkout.event
    record = DeliveryRecord(
        subscription_id=f"sub_{0:026d}",
        delivery_id=delivery_id(checkout.event, f"sub_{0:026d}"),
        store_id=checkout.store_id,
        checkout_id=checkout.checkout_id,
        event_id=checkout.event.id,
        event_type=checkout.event.type.value,
        sequence=1,
        state=State.DELIVERED,
        attempts=1,
        reason=None,
        status=200,
        latency_ms=100,
        history=(Attempt(now, None, 200, 100),),
        recorded_at=now,
        expires_at=now,
    )
    return item_bytes(entry_of(record))


def _as_string(data: str) -> object:
    """Reads `data` and writes it, as the table does."""
    return json.dumps(parse_own(data), default=str)


def _as_tree(data: str) -> Any:
    """Writes what it tells as typed attributes, and reads them."""
    typed = TypeSerializer().serialize(json.loads(data, parse_float=Decimal))
    TypeDeserializer().deserialize(typed)
    return typed


def _typed_bytes(value: Mapping[str, Any]) -> float:
    ((kind, content),) = value.items()
    match kind:
        case "M":
            return 3 + sum(1 + len(name.encode()) + _typed_bytes(one) for name, one in content.items())
        case "L":
            return 3 + sum(1 + _typed_bytes(one) for one in content)
        case "N":
            return len(content) // 2 + 2
        case "S":
            return len(content.encode())
    return 1


# ---------------------------------------------------------------- the clocks


def _quickest(task: Task, deliveries: int = 1) -> tuple[float, float]:
    """Microseconds of CPU and milliseconds by the clock, each of the quickest round: other work only adds."""
    times = max(1, DELIVERIES_A_ROUND // deliveries)
    with _unheard():
        task()
        rounds = [_round(task, times) for _ in range(ROUNDS)]
    cpu, clock = zip(*rounds, strict=True)
    return min(cpu) * 1e6, min(clock) * 1e3


def _round(task: Task, times: int) -> tuple[float, float]:
    cpu, clock = time.process_time(), time.perf_counter()
    for _ in range(times):
        task()
    return (time.process_time() - cpu) / times, (time.perf_counter() - clock) / times


@contextmanager
def _unheard() -> Iterator[None]:
    """Throws away what is printed: metrics, which are log lines."""
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        yield
