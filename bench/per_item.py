"""What one snapshot, one abandonment and one purchase take of DynamoDB and of the processor.

The deployed code, its handlers and its sweep, on Amazon's DynamoDB Local; SSM is moto's. Units are those that
DynamoDB Local says it consumed, put right where AWS counts otherwise (see `Meter`).
"""

import json
import logging
import os
import platform
import time
import uuid
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from threading import get_ident
from typing import TYPE_CHECKING, Any

import boto3
from moto import mock_aws
from samcli.yamlhelper import yaml_parse

from bench.capacity import (
    BOUGHT,
    CONTACT,
    COOLDOWN,
    DELIVERY,
    EMPTY,
    FIRST,
    FIRST_WITH_CONTACT,
    ITEM_OVERHEAD,
    LATER,
    NO_CONTACT,
    RESUMED,
    TOLD,
    Measured,
    Work,
    item_bytes,
    write_units,
)
from bench.machine import processor
from bench.stub import SECRET, STORE_ID, store, subscription
from bench.world import Context, line
from checkout_recovery import wiring
from checkout_recovery.abandonment import Abandonments
from checkout_recovery.checkout.event import EventType
from checkout_recovery.checkout.lifecycle import Checkout, Suppression
from checkout_recovery.delivery.plan import delivery_id
from checkout_recovery.observability import logger
from checkout_recovery.secrets import provider_secret
from checkout_recovery.sweep import Sweep
from checkout_recovery.tables.checkouts import CheckoutTable, encode
from checkout_recovery.tables.deliveries import DeliveryRecord, State
from checkout_recovery.tables.deliveries import _encode as delivery_item
from checkout_recovery.tables.registry import RegistryTable
from functions.ingest.app import handler as ingest
from local.dynamodb_local import dynamodb_local
from local.fixtures import flexype
from local.samples import FLEXYPE_2026_05

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

TEMPLATE = yaml_parse((Path(__file__).parents[1] / "template.yaml").read_text())
TABLES = ("CheckoutTable", "RegistryTable", "DeliveryTable", "ShopperTable")
STACK = "bench"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "ap-south-1",
    "STACK_NAME": STACK,
    "CHECKOUT_TABLE": "CheckoutTable",
    "REGISTRY_TABLE": "RegistryTable",
    "DELIVERY_TABLE": "DeliveryTable",
    "SHOPPER_TABLE": "ShopperTable",
    "RETRY_QUEUE_URL": "http://127.0.0.1/retry",
    "REJECTED_EVENTS_QUEUE_URL": "http://127.0.0.1/rejected",
    "ALLOW_LOCAL_TARGETS": "true",
    "DUE_SHARDS": "1",  # so that a page of the sweep is full
    "POWERTOOLS_SERVICE_NAME": "bench",
    "POWERTOOLS_METRICS_NAMESPACE": "bench",
}
LINES = 3
"""Of the cart that is measured with; `sizes` has others."""
PAGE = 100
"""How many checkouts the sweep reads at once."""
SHARDS = 16
DUE = 160
"""How many checkouts a sweep finds due where its CPU is measured."""
ROUNDS = 21
"""Short and many, so that one is undisturbed."""

_AFTER = timedelta(minutes=16)
"""Longer than the default wait, counted from any arrival of the last seconds."""


@dataclass(frozen=True, slots=True)
class Size:
    """Bytes of a checkout's item."""

    first: int
    """After its first snapshot."""
    last: int
    """After its fourth, with a contact."""
    compressed: int
    """The last, if `data` were compressed with zlib."""


@dataclass(frozen=True, slots=True)
class Cpu:
    """Microseconds of this process for one checkout, user and system."""

    ours: float
    """In the quickest round: other work on the machine only adds."""
    bare: float
    """The same calls alone, by the same client and on as many threads."""
    ratios: tuple[float, ...]
    """Of the rounds, sorted."""


@dataclass(frozen=True, slots=True)
class Findings:
    """All that was measured, and where."""

    measured: Measured
    sizes: dict[int, Size]
    told: Cpu
    held_back: Cpu
    date: date
    processor: str


# ---------------------------------------------------------------- units


class Meter:
    """Counts what a client's calls consume.

    Plain writes and reads come as AWS documents them: a write unit for each KB begun, two for an index entry
    that moves and none for one that does not, a read unit for each 4 KB begun, half of it if eventually
    consistent. DynamoDB Local differs from AWS in four things, which are put right here (see `check`):

    - Of a transaction it counts one item for each table, four times. AWS counts two units for each KB of
      each item, those that are only checked included. How AWS counts an index's writes is not documented:
      they are taken as doubled too, the dearer reading.
    - A condition that fails says nothing. AWS counts the item that stands; those met here are under 1 KB.
    - A key that BatchGetItem does not find is free. AWS counts it as an item of up to 4 KB
      (awslabs/amazon-dynamodb-local-samples, issue 7).
    - So is a query that finds nothing. AWS counts the least that a read can be.
    """

    def __init__(self, client: "DynamoDBClient") -> None:
        self.calls = 0
        self.reads: dict[str, float] = defaultdict(float)
        self.writes: dict[str, float] = defaultdict(float)
        client.meta.events.register("provide-client-params.dynamodb", self._ask)
        client.meta.events.register("after-call.dynamodb", self._count)

    def of(self, run: Callable[[], object], items: int = 1) -> Work:
        """What a run consumes, for each of so many items."""
        self.calls = 0
        self.reads.clear()
        self.writes.clear()
        run()
        reads, writes = (
            {part: count / items for part, count in units.items() if count}
            for units in (self.reads, self.writes)
        )
        return Work(self.calls / items, reads, writes)

    def check(self, client: "DynamoDBClient") -> None:
        """Holds DynamoDB Local to what is put right here, on items of 1.5 KB."""
        item = {"store_id": {"S": "s"}, "checkout_id": {"S": "c"}, "data": {"S": "x" * 1_500}}
        due = {"due_shard": {"S": "0"}, "due_at": {"N": "1"}}
        moved = due | {"due_at": {"N": "2"}}
        plain = self.of(lambda: client.put_item(TableName="CheckoutTable", Item={**item, **due}))
        assert plain.writes == {"CheckoutTable": 2, "index `due`": 1}
        again = self.of(lambda: client.put_item(TableName="CheckoutTable", Item={**item, **moved}))
        assert again.writes == {"CheckoutTable": 2, "index `due`": 2}, "a moved entry is two writes"
        shopper = {"TableName": "ShopperTable", "Key": {"handle": {"S": "h"}, "item": {"S": "shopper"}}}
        actions: Any = [
            {"Put": {"TableName": "CheckoutTable", "Item": item}},
            {"ConditionCheck": shopper | {"ConditionExpression": "attribute_not_exists(version)"}},
        ]
        transacted = self.of(lambda: client.transact_write_items(TransactItems=actions))
        assert transacted.writes == {"CheckoutTable": 4, "index `due`": 2, "ShopperTable": 2}
        keys: Any = {"CheckoutTable": {"Keys": [{"store_id": {"S": "s"}, "checkout_id": {"S": "none"}}]}}
        assert self.of(lambda: client.batch_get_item(RequestItems=keys)).reads == {"CheckoutTable": 0.5}
        client.delete_item(TableName="CheckoutTable", Key={"store_id": {"S": "s"}, "checkout_id": {"S": "c"}})

    def _ask(self, params: dict[str, Any], model: Any, context: dict[str, Any], **_: object) -> None:
        if "ReturnConsumedCapacity" in model.input_shape.members:
            params["ReturnConsumedCapacity"] = "INDEXES"
        context["asked"] = params

    def _count(self, parsed: dict[str, Any], model: Any, context: dict[str, Any], **_: object) -> None:
        self.calls += 1
        asked, consumed = context["asked"], parsed.get("ConsumedCapacity", [])
        if parsed.get("Error", {}).get("Code") == "ConditionalCheckFailedException":
            self.writes[asked["TableName"]] += 1
        found: dict[str, float] = defaultdict(float)
        for one in consumed if isinstance(consumed, list) else [consumed]:
            found[one["TableName"]] += one.get("Table", {}).get("CapacityUnits", 0)
            for name, units in one.get("GlobalSecondaryIndexes", {}).items():
                found[f"index `{name}`"] += units["CapacityUnits"]
        match model.name:
            case "GetItem":
                _add(self.reads, found)
            case "Query":
                part = f"index `{asked['IndexName']}`" if "IndexName" in asked else asked["TableName"]
                self.reads[part] += max(found[part], _least(asked))
            case "BatchGetItem":
                for table, request in asked["RequestItems"].items():
                    missing = len(request["Keys"]) - len(parsed["Responses"].get(table, ()))
                    self.reads[table] += found[table] + missing * _least(request)
            case "TransactWriteItems":
                indexes = {part: units / 2 for part, units in found.items() if part.startswith("index")}
                _add(self.writes, indexes)
                for action in asked["TransactItems"]:
                    ((_, one),) = action.items()
                    self.writes[one["TableName"]] += 2 * write_units(item_bytes(one.get("Item", {})))
            case _:
                _add(self.writes, found)


def _add(to: dict[str, float], units: Mapping[str, float]) -> None:
    for part, count in units.items():
        to[part] += count


def _least(read: Mapping[str, Any]) -> float:
    return 1 if read.get("ConsistentRead") else 0.5


# ---------------------------------------------------------------- the world


@contextmanager
def world() -> Iterator["DynamoDBClient"]:
    """DynamoDB Local with the template's tables, a store that has agreed a secret, and a subscription."""
    with dynamodb_local() as url:
        if url is None:
            raise SystemExit("This needs DynamoDB Local, which needs java and npm.")
        os.environ |= ENVIRONMENT | {"AWS_ENDPOINT_URL_DYNAMODB": url}
        logger.setLevel(logging.ERROR)
        patient = boto3.client("dynamodb")  # the functions' own has no time for a start
        for table in TABLES:
            _create(patient, table)
        client = wiring._dynamodb()
        told = subscription(0, 1) | {"events": {"L": [{"S": event.value} for event in EventType]}}
        for item in (store(), told):
            client.put_item(TableName="RegistryTable", Item=item)
        yield client


def _create(client: "DynamoDBClient", table: str) -> None:
    properties = TEMPLATE["Resources"][table]["Properties"]
    wanted = ("AttributeDefinitions", "KeySchema", "BillingMode", "GlobalSecondaryIndexes")
    client.create_table(TableName=table, **{name: properties[name] for name in wanted if name in properties})


@dataclass(frozen=True, slots=True)
class Visit:
    """A shopper at a checkout: what FlexyPe would tell of them."""

    checkout_id: str
    phone: str

    def tell(self, stage: str, *, contact: bool, lines: int = LINES) -> None:
        """Sends a snapshot to the ingest function."""
        payload: dict[str, Any] = FLEXYPE_2026_05["payload"]
        user = {
            "phone": self.phone,
            "phone_with_dial_code": f"+91{self.phone}",
            "email": f"shopper{self.phone}@example.com",
        }
        body = FLEXYPE_2026_05 | {
            "event_id": f"evt_{uuid.uuid4().hex}",
            "event_time": datetime.now(UTC).isoformat(),
            "payload": payload
            | {
                "user": payload["user"] | user if contact else {},
                "checkout_url": f"https://checkout.flexype.com/c/{self.checkout_id}",
                "cart_items": [line(payload["cart_items"][0], number) for number in range(lines)],
                "session_state": stage,
            },
        }
        answer = ingest(flexype("bench", body).event, Context())
        assert answer["statusCode"] == 200, answer
        assert [one["status"] for one in json.loads(answer["body"])["results"]] == ["applied"]

    def checkout(self) -> Checkout:
        """The checkout as it stands."""
        return wiring.checkouts().load(STORE_ID, self.checkout_id)


# ---------------------------------------------------------------- of DynamoDB


def operations(meter: Meter) -> dict[str, Work]:
    """What each thing that can happen to a checkout consumes."""
    visits = map(_visit, range(1_000_000))
    plain, known, other, passing = (next(visits) for _ in range(4))
    told, silent = ([next(visits) for _ in range(PAGE)] for _ in range(2))
    again = [Visit(next(visits).checkout_id, shopper.phone) for shopper in told]
    passing.tell("INITIATED", contact=False)  # what a worker remembers of the store is read here
    work = {
        FIRST: meter.of(lambda: plain.tell("INITIATED", contact=False)),
        CONTACT: meter.of(lambda: plain.tell("PHONE_ENTERED", contact=True)),
        LATER: meter.of(lambda: plain.tell("ADDRESS_LOADED", contact=True)),
        FIRST_WITH_CONTACT: meter.of(lambda: known.tell("PHONE_ENTERED", contact=True)),
    }
    for one in (known, passing):
        one.tell("COMPLETED", contact=True)
    other.tell("PHONE_ENTERED", contact=True)
    work[BOUGHT] = meter.of(lambda: other.tell("COMPLETED", contact=True))
    plain.tell("COMPLETED", contact=True)
    for name, found, contact in ((TOLD, told, True), (COOLDOWN, again, True), (NO_CONTACT, silent, False)):
        for one in found:
            one.tell("PHONE_ENTERED", contact=contact)
        work[name] = meter.of(lambda: _sweep(wiring.checkouts())(range(1), lambda: True), PAGE)
        assert {one.checkout().suppressed for one in found} == {_SUPPRESSED[name]}
    work[RESUMED] = meter.of(lambda: told[0].tell("PAYMENT_LOADED", contact=True))
    told[0].tell("COMPLETED", contact=True)
    work[EMPTY] = meter.of(lambda: _sweep(wiring.checkouts())(range(1), lambda: True))
    abandoned = told[1].checkout()
    work[DELIVERY] = meter.of(lambda: _deliver(abandoned))
    return work


_SUPPRESSED = {TOLD: None, COOLDOWN: Suppression.COOLDOWN, NO_CONTACT: Suppression.NO_CONTACT}


def _visit(number: int) -> Visit:
    return Visit(f"{number:09x}", f"9{number:09}")


def _sweep(checkouts: CheckoutTable) -> Sweep:
    """The sweep, later than any default wait."""
    return Sweep(
        registry=wiring.registry(),
        checkouts=checkouts,
        shoppers=wiring.shoppers(),
        abandonments=Abandonments(checkouts, wiring.shoppers(), retention_days=90),
        now=lambda: datetime.now(UTC) + _AFTER,
    )


def _record(checkout: Checkout) -> DeliveryRecord:
    """An entry of the delivery log, delivered."""
    assert checkout.event
    now = datetime.now(UTC)
    return DeliveryRecord(
        subscription_id=f"sub_{0:026d}",
        delivery_id=delivery_id(checkout.event, f"sub_{0:026d}"),
        store_id=checkout.store_id,
        checkout_id=checkout.checkout_id,
        event_id=checkout.event.id,
        event_type=checkout.event.type.value,
        sequence=checkout.sequence,
        state=State.DELIVERED,
        attempts=1,
        reason=None,
        status=200,
        latency_ms=100,
        recorded_at=now,
        expires_at=now + timedelta(days=400),
    )


def _deliver(checkout: Checkout) -> None:
    """What fan-out asks and writes for one abandonment by itself; in a batch the store is asked for once."""
    record = _record(checkout)
    keys = [(record.subscription_id, record.delivery_id)]
    about = [(checkout.store_id, checkout.checkout_id)]
    wiring.deliveries().look_up(keys, wiring.registry(), [STORE_ID], wiring.checkouts(), about)
    wiring.deliveries().record([record])


def sizes(numbers: Sequence[int]) -> dict[int, Size]:
    """How large a checkout's item is, by the lines of its cart."""
    found = {}
    for number in numbers:
        visit = Visit(f"lines{number:04}", f"8{number:09}")
        visit.tell("INITIATED", contact=False, lines=number)
        first = item_bytes(_item(visit))
        for stage in ("PHONE_ENTERED", "ADDRESS_LOADED", "PAYMENT_LOADED"):
            visit.tell(stage, contact=True, lines=number)
        last = _item(visit)
        data = last["data"]["S"].encode()
        size = item_bytes(last)
        found[number] = Size(first, size, size - len(data) + len(zlib.compress(data)))
        visit.tell("COMPLETED", contact=True, lines=number)
    return found


def _item(visit: Visit) -> Any:
    key = CheckoutTable.key(STORE_ID, visit.checkout_id)
    return wiring._dynamodb().get_item(TableName="CheckoutTable", Key=key, ConsistentRead=True)["Item"]


# ---------------------------------------------------------------- of the processor


def swept(client: "DynamoDBClient", told: Checkout) -> Cpu:
    """What a sweep takes for each checkout like this one that is due."""
    checkouts = CheckoutTable(client, "CheckoutTable", SHARDS)
    due = [_due_like(told, number) for number in range(DUE)]
    items = [encode(one, datetime.now(UTC) + timedelta(days=90), SHARDS) for one in due]
    handles = [handle for one in due for handle in one.handles]

    def run() -> None:
        done = _sweep(checkouts)(range(SHARDS), lambda: True)
        assert (done.abandoned, done.failed) == (DUE, 0)

    _reset(client, items, handles)
    with _unheard():
        calls = _recorded(client, run)
    rounds = []
    for _ in range(ROUNDS):
        _reset(client, items, handles)
        bare = _microseconds(lambda: _replay(client, calls), DUE)
        _reset(client, items, handles)
        rounds.append((_microseconds(run, DUE), bare))
    ours, bare = (min(column) for column in zip(*rounds, strict=True))
    return Cpu(ours, bare, tuple(sorted(one / other for one, other in rounds)))


def _due_like(checkout: Checkout, number: int) -> Checkout:
    """Another shopper's checkout that has been due for a while."""
    handles = tuple(f"{one.partition(':')[0]}:{uuid.uuid4().hex}" for one in checkout.handles)
    due_at = datetime.now(UTC) - timedelta(minutes=1)
    changes = {"checkout_id": f"due{number:06x}", "handles": handles, "due_at": due_at}
    return checkout.model_copy(update=changes)


def _reset(client: "DynamoDBClient", items: Sequence[Any], handles: Sequence[str]) -> None:
    """Lets all be due as before, and nobody be told of."""
    puts = [("CheckoutTable", {"PutRequest": {"Item": item}}) for item in items]
    keys = [{"handle": {"S": handle}, "item": {"S": "shopper"}} for handle in handles]
    puts += [("ShopperTable", {"DeleteRequest": {"Key": key}}) for key in keys]
    for start in range(0, len(puts), 25):
        requests: dict[str, Any] = defaultdict(list)
        for table, request in puts[start : start + 25]:
            requests[table].append(request)
        assert not client.batch_write_item(RequestItems=dict(requests))["UnprocessedItems"]


def _recorded(client: Any, run: Callable[[], None]) -> list[list[tuple[str, dict[str, Any]]]]:
    """The calls that a run makes of a client, by thread."""
    calls: dict[int, list[tuple[str, dict[str, Any]]]] = defaultdict(list)
    make = client._make_api_call

    def record(name: str, parameters: dict[str, Any]) -> Any:
        calls[get_ident()].append((name, dict(parameters)))
        return make(name, parameters)

    client._make_api_call = record
    run()
    del client._make_api_call
    return list(calls.values())


def _replay(client: Any, calls: Sequence[Sequence[tuple[str, dict[str, Any]]]]) -> None:
    def make(own: Sequence[tuple[str, dict[str, Any]]]) -> None:
        for name, parameters in own:
            client._make_api_call(name, parameters)

    with ThreadPoolExecutor(max_workers=len(calls)) as pool:
        list(pool.map(make, calls))


def _microseconds(run: Callable[[], object], items: int) -> float:
    """CPU of this process for one item, with what it prints thrown away."""
    with _unheard():
        before = time.process_time()
        run()
        return (time.process_time() - before) / items * 1e6


def _quickest(run: Callable[[], object], items: int = 5) -> float:
    return min(_microseconds(lambda: [run() for _ in range(items)], items) for _ in range(ROUNDS))


# ---------------------------------------------------------------- together


def measure() -> Findings:
    """Measures everything; takes a minute or two."""
    with world() as client:
        meter = Meter(client)
        with _unheard(), mock_aws():
            secret = json.dumps({"keys": [SECRET], "version": 1})
            name = f"/{STACK}/{provider_secret(STORE_ID, 'flexype')}"
            boto3.client("ssm").put_parameter(Name=name, Value=secret, Type="SecureString")
            meter.check(client)
            work = operations(meter)
            by_lines = sizes((1, LINES, 10))
            known, silent = _visit(1_000_001), _visit(1_000_002)
            known.tell("PHONE_ENTERED", contact=True)
            silent.tell("INITIATED", contact=False)
            checkouts = [one.checkout() for one in (known, silent)]
            link_bytes = sum(item_bytes(link) + ITEM_OVERHEAD for link in _links(client, checkouts[0]))
            for one in (known, silent):
                one.tell("COMPLETED", contact=True)
        unmetered = boto3.client("dynamodb", config=wiring.client_config())
        told, held_back = (swept(unmetered, one) for one in checkouts)
        idle = _sweep(CheckoutTable(unmetered, "CheckoutTable", SHARDS))
        registry = RegistryTable(unmetered, "RegistryTable")
        measured = Measured(
            work=work,
            told_microseconds=told.ours,
            held_back_microseconds=held_back.ours,
            store_microseconds=_quickest(lambda: registry.subscriptions(STORE_ID)),
            shard_microseconds=_quickest(lambda: idle(range(SHARDS), lambda: True)) / SHARDS,
            checkout_bytes=by_lines[LINES].last,
            link_bytes=link_bytes,
            delivery_bytes=item_bytes(delivery_item(_record(checkouts[0]))),
        )
    return Findings(measured, by_lines, told, held_back, datetime.now(UTC).date(), _processor())


def _links(client: "DynamoDBClient", checkout: Checkout) -> Iterator[Any]:
    for handle in checkout.handles:
        yield from client.query(
            TableName="ShopperTable",
            KeyConditionExpression="handle = :handle",
            ExpressionAttributeValues={":handle": {"S": handle}},
        )["Items"]


def _processor() -> str:
    return f"{processor()}, Python {platform.python_version()}"


@contextmanager
def _unheard() -> Iterator[None]:
    """Throws away what is printed: metrics, which are log lines."""
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        yield
