"""CheckoutTable against moto, and against Amazon's DynamoDB Local where Java is found."""

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from mypy_boto3_dynamodb import DynamoDBClient

from checkout_recovery.checkout.event import EventType
from checkout_recovery.checkout.lifecycle import Checkout, Unchanged
from checkout_recovery.checkout.phone import Phone
from checkout_recovery.checkout.snapshot import Cart, Details, Item, Snapshot
from checkout_recovery.errors import BrokenRecord, MalformedRequest, Unavailable
from checkout_recovery.tables.checkouts import (
    TOLD_AGAIN,
    CheckoutTable,
    Contended,
    Due,
    Outdated,
    decode,
    encode,
)
from checkout_recovery.tables.shoppers import ShopperTable

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
EXPIRES = NOW + timedelta(days=90)
AFTER = timedelta(minutes=15)
SHARDS = 8


@pytest.fixture
def table(table_client: DynamoDBClient, new_table: Callable[[str], str]) -> CheckoutTable:
    return CheckoutTable(table_client, new_table("CheckoutTable"), due_shards=SHARDS)


def snapshot(seconds: int = 0, **details: object) -> Snapshot:
    return Snapshot(
        checkout_id="c1",
        alias="4711",
        event_id=f"evt-{seconds}",
        event_time=NOW + timedelta(seconds=seconds),
        details=Details.model_validate(details),
    )


def applied(checkout: Checkout, told: Snapshot) -> Checkout:
    changed = checkout.apply(told, NOW, AFTER)
    assert not isinstance(changed, Unchanged)
    return changed


def test_a_checkout_comes_back_as_it_was_saved(table: CheckoutTable) -> None:
    item = Item(
        product_id="9007199254740993",
        title="Café ☕ टी-शर्ट",
        price=Decimal("170.00"),
        properties=[{"weight": Decimal("1.50")}],
        extra={"number": 12345678901234567890, "exact": Decimal("0.10"), "nothing": None},
    )
    checkout = applied(
        table.load("my-store", "c1"),
        snapshot(phone=Phone.of("9876543210", "91"), cart=Cart(items=(item,), total=Decimal("170.00"))),
    )
    table.save(checkout, EXPIRES)
    loaded = table.load("my-store", "c1")
    assert loaded == checkout
    assert loaded.details.cart is not None
    assert str(loaded.details.cart.lines[0].price) == "170.00"
    assert str(loaded.details.cart.lines[0].extra["exact"]) == "0.10"


def test_what_was_never_written_is_at_sequence_0(table: CheckoutTable) -> None:
    assert table.load("my-store", "c1") == Checkout(store_id="my-store", checkout_id="c1")


def test_a_save_on_an_older_version_is_refused_and_brings_the_newer_one(table: CheckoutTable) -> None:
    start = table.load("my-store", "c1")
    first, second = applied(start, snapshot(1, email="a@x.example")), applied(start, snapshot(2))
    table.save(first, EXPIRES)
    with pytest.raises(Outdated) as outdated:
        table.save(second, EXPIRES)
    assert outdated.value.current == first


def test_of_many_at_once_each_snapshot_is_applied_exactly_once(
    table: CheckoutTable, request: pytest.FixtureRequest
) -> None:
    # moto does not make a conditional write atomic between threads; Amazon's own does.
    workers = 8 if request.node.callspec.params["table_client"] == "dynamodb-local" else 1

    def write(number: int) -> None:
        told = Snapshot(checkout_id="c1", event_id=f"evt-{number}")
        checkout = table.load("my-store", "c1")
        while True:
            try:
                return table.save(applied(checkout, told), EXPIRES)
            except Outdated as outdated:
                checkout = outdated.current

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(write, range(24)))
    assert table.load("my-store", "c1").sequence == 24


def test_only_a_checkout_that_waits_is_in_the_due_index(
    table: CheckoutTable, table_client: DynamoDBClient
) -> None:
    waiting = applied(table.load("my-store", "c1"), snapshot())
    table.save(waiting, EXPIRES)
    (item,) = table_client.scan(TableName=table.table_name, IndexName="due")["Items"]
    assert int(item["due_at"]["N"]) == int((NOW + AFTER).timestamp() * 1000)
    bought = applied(waiting, Snapshot(checkout_id="c1", event_id="b", completed=True))
    table.save(bought, EXPIRES)
    assert table_client.scan(TableName=table.table_name, IndexName="due")["Items"] == []


def test_a_checkout_is_found_by_its_second_id_within_its_store(table: CheckoutTable) -> None:
    table.save(applied(table.load("my-store", "c1"), snapshot()), EXPIRES)
    assert table.find_by_alias("my-store", "4711") == "c1"
    assert table.find_by_alias("other-store", "4711") is None


def test_the_item_says_when_it_may_be_deleted(table: CheckoutTable, table_client: DynamoDBClient) -> None:
    table.save(applied(table.load("my-store", "c1"), snapshot()), EXPIRES)
    (item,) = table_client.scan(TableName=table.table_name)["Items"]
    assert int(item["expires_at"]["N"]) == int(EXPIRES.timestamp())


def test_a_checkout_too_large_for_an_item_is_refused_with_a_clear_error(table: CheckoutTable) -> None:
    large = applied(table.load("my-store", "c1"), snapshot(extra={"x": "é" * 200_000}))
    with pytest.raises(MalformedRequest, match="larger than can be kept"):
        table.save(large, EXPIRES)


def test_an_item_that_this_package_did_not_write_is_a_broken_record() -> None:
    for item in ({}, {"data": {"S": "{}"}}, {"data": {"S": "["}}, {"data": {"N": "1"}}):
        with pytest.raises(BrokenRecord):
            decode(item)


def test_a_field_that_only_a_later_version_knows_is_passed_over() -> None:
    cart = Cart(items=(Item(title="Shirt"),), total=Decimal("9.90"))
    known = applied(Checkout(store_id="my-store", checkout_id="c1"), snapshot(cart=cart))
    item = encode(known, EXPIRES, due_shards=8)
    data = json.loads(item["data"]["S"])
    data["details"]["loyalty"] = "gold"
    data["details"]["cart"]["items"][0]["colour"] = "red"
    assert decode(item | {"data": {"S": json.dumps(data)}}) == known


def test_a_table_that_cannot_be_reached_is_unavailable(environment: pytest.MonkeyPatch) -> None:
    nowhere = boto3.client(
        "dynamodb",
        endpoint_url="http://127.0.0.1:9",
        config=Config(connect_timeout=1, retries={"total_max_attempts": 1}),
    )
    with pytest.raises(Unavailable):
        CheckoutTable(nowhere, "CheckoutTable", 8).load("my-store", "c1")


# ---------------------------------------------------------------- many at once


def arrived(checkout_id: str, at: datetime = NOW, store_id: str = "my-store") -> Checkout:
    """A checkout that was told once; its time comes `AFTER` that."""
    first = Checkout(store_id=store_id, checkout_id=checkout_id)
    changed = first.apply(Snapshot(checkout_id=checkout_id), at, AFTER)
    assert not isinstance(changed, Unchanged)
    return changed


def spoil(client: DynamoDBClient, table_name: str, checkout: Checkout) -> None:
    """Puts an item in a checkout's place that this package cannot read."""
    item = encode(checkout, EXPIRES, SHARDS) | {"data": {"S": "{"}}
    client.put_item(TableName=table_name, Item=item)


def test_of_many_asked_for_those_that_there_are_come_as_they_stand(table: CheckoutTable) -> None:
    first, second = arrived("c1"), arrived("c1", store_id="other-store")
    for each in (first, second):
        table.save(each, EXPIRES)
    keys = [("my-store", "c1"), ("other-store", "c1"), ("my-store", "c2")]
    assert table.load_all(keys) == {("my-store", "c1"): first, ("other-store", "c1"): second}


def test_a_checkout_asked_for_twice_is_read_once(table: CheckoutTable) -> None:
    table.save(arrived("c1"), EXPIRES)
    assert table.load_all([("my-store", "c1"), ("my-store", "c1")]) == {("my-store", "c1"): arrived("c1")}


def test_nobody_asked_for_is_nobody_found(table: CheckoutTable) -> None:
    assert table.load_all([]) == {}


def test_one_that_cannot_be_read_does_not_keep_the_others_from_being_found(
    table: CheckoutTable, table_client: DynamoDBClient
) -> None:
    spoil(table_client, table.table_name, arrived("broken"))
    table.save(arrived("c1"), EXPIRES)
    found = table.load_all([("my-store", "broken"), ("my-store", "c1")])
    assert found == {("my-store", "broken"): None, ("my-store", "c1"): arrived("c1")}


def test_more_than_one_call_holds_are_all_found(table: CheckoutTable) -> None:
    ids = [f"c{number}" for number in range(230)]
    for each in ids:
        table.save(arrived(each), EXPIRES)
    found = table.load_all([("my-store", each) for each in ids])
    assert found == {("my-store", each): arrived(each) for each in ids}


class Throttled:
    """A client that leaves all but the first key of a read unprocessed, some times or for ever."""

    def __init__(self, times: int) -> None:
        self.left = times

    def batch_get_item(self, RequestItems: dict[str, Any]) -> dict[str, Any]:  # noqa: N803 - boto3's name
        ((table, request),) = RequestItems.items()
        keys = request["Keys"]
        self.left -= 1
        done = keys if self.left < 0 else keys[:1]
        left = {table: request | {"Keys": keys[1:]}} if len(done) < len(keys) else {}
        items = [encode(arrived(key["checkout_id"]["S"]), EXPIRES, SHARDS) for key in done]
        return {"Responses": {table: items}, "UnprocessedKeys": left}


def throttled(times: int, slept: list[float]) -> CheckoutTable:
    return CheckoutTable(Throttled(times), "CheckoutTable", SHARDS, sleep=slept.append)  # type: ignore[arg-type] # a fake


def test_what_dynamodb_left_unread_is_read_again_after_ever_longer_pauses() -> None:
    slept: list[float] = []
    keys = [("my-store", f"c{number}") for number in range(5)]
    assert throttled(2, slept).load_all(keys).keys() == set(keys)
    assert slept == sorted(slept)
    assert len(slept) == 2


def test_a_table_that_stays_throttled_is_unavailable() -> None:
    slept: list[float] = []
    with pytest.raises(Unavailable):
        throttled(99, slept).load_all([("my-store", f"c{number}") for number in range(9)])
    assert len(slept) == 5


# ---------------------------------------------------------------- the due index


def due(table: CheckoutTable, now: datetime, page: int = 100) -> list[Due]:
    """All that is due, shard by shard."""
    return [one for shard in range(SHARDS) for each in table.due(shard, now, page) for one in each]


def test_only_what_has_waited_long_enough_is_due(table: CheckoutTable) -> None:
    table.save(arrived("earlier", NOW - timedelta(seconds=1)), EXPIRES)
    table.save(arrived("later", NOW + timedelta(seconds=1)), EXPIRES)
    table.save(arrived("now"), EXPIRES)
    found = {one.checkout_id: one.due_at for one in due(table, NOW + AFTER)}
    assert found == {"earlier": NOW + AFTER - timedelta(seconds=1), "now": NOW + AFTER}


def test_nothing_is_due_a_millisecond_early(table: CheckoutTable) -> None:
    table.save(arrived("c1"), EXPIRES)
    assert due(table, NOW + AFTER - timedelta(milliseconds=1)) == []
    assert [one.key for one in due(table, NOW + AFTER)] == [("my-store", "c1")]


@pytest.mark.parametrize("microseconds", [1, 500, 999])
def test_a_part_of_a_millisecond_makes_nothing_due_early(table: CheckoutTable, microseconds: int) -> None:
    """The index counts milliseconds; written again and again, the time stays what it was."""
    table.save(arrived("c1", NOW + timedelta(microseconds=microseconds)), EXPIRES)
    due_at = NOW + AFTER + timedelta(milliseconds=1)
    for _ in range(3):
        read = table.load("my-store", "c1")
        assert read.due_at == due_at
        table.save(read.model_copy(update={"sequence": read.sequence + 1}), EXPIRES)


def test_a_shard_is_read_by_pages_the_longest_due_first(table: CheckoutTable) -> None:
    arrivals = {f"c{number}": NOW - timedelta(seconds=number * 37 % 100) for number in range(60)}
    for checkout_id, at in arrivals.items():
        table.save(arrived(checkout_id, at), EXPIRES)
    seen = list[Due]()
    for shard in range(SHARDS):
        pages = list(table.due(shard, NOW + AFTER, page=3))
        assert all(len(page) <= 3 for page in pages)
        found = [one for page in pages for one in page]
        assert [one.due_at for one in found] == sorted(one.due_at for one in found)
        seen += found
    assert {one.checkout_id: one.due_at - AFTER for one in seen} == arrivals
    assert len(seen) == len(arrivals)


def test_the_checkouts_of_one_store_are_spread_over_all_shards(table: CheckoutTable) -> None:
    for number in range(60):
        table.save(arrived(f"c{number}"), EXPIRES)
    found = [sum(map(len, table.due(shard, NOW + AFTER))) for shard in range(SHARDS)]
    assert sum(found) == 60
    assert all(found)


def test_the_pages_go_on_though_what_they_named_is_due_no_longer(table: CheckoutTable) -> None:
    """A sweep writes while it reads: what leaves the index must not shift the pages after it."""
    for number in range(40):
        table.save(arrived(f"c{number}", NOW - timedelta(seconds=number)), EXPIRES)
    seen = 0
    for shard in range(SHARDS):
        for page in table.due(shard, NOW + AFTER, page=2):
            for one in page:
                gone = applied(table.load(*one.key), Snapshot(checkout_id=one.checkout_id, completed=True))
                table.save(gone, EXPIRES)
                seen += 1
    assert seen == 40
    assert due(table, NOW + AFTER) == []


def test_an_index_that_cannot_be_reached_is_unavailable(environment: pytest.MonkeyPatch) -> None:
    nowhere = boto3.client(
        "dynamodb",
        endpoint_url="http://127.0.0.1:9",
        config=Config(connect_timeout=1, retries={"total_max_attempts": 1}),
    )
    with pytest.raises(Unavailable):
        list(CheckoutTable(nowhere, "CheckoutTable", SHARDS).due(0, NOW))


# ---------------------------------------------------------------- a save with claims

HANDLES = ("phone:1", "email:2")


@pytest.fixture
def shoppers(table_client: DynamoDBClient, new_table: Callable[[str], str]) -> ShopperTable:
    return ShopperTable(table_client, new_table("ShopperTable"))


def test_a_save_with_claims_writes_both(table: CheckoutTable, shoppers: ShopperTable) -> None:
    table.save(arrived("c1"), EXPIRES, shoppers.claims(shoppers.known(HANDLES), NOW))
    assert table.load("my-store", "c1") == arrived("c1")
    assert shoppers.known(HANDLES).shopper.told_at == NOW


def test_a_checkout_that_has_moved_on_is_brought_and_its_claims_are_not_made(
    table: CheckoutTable, shoppers: ShopperTable
) -> None:
    current = applied(arrived("c1"), snapshot(1, email="a@x.example"))
    table.save(arrived("c1"), EXPIRES)
    table.save(current, EXPIRES)
    with pytest.raises(Outdated) as outdated:
        table.save(
            applied(arrived("c1"), snapshot(2)), EXPIRES, shoppers.claims(shoppers.known(HANDLES), NOW)
        )
    assert outdated.value.current == current
    assert table.load("my-store", "c1") == current
    assert shoppers.known(HANDLES).shopper.told_at is None


def test_where_both_have_moved_on_the_checkout_is_brought(
    table: CheckoutTable, shoppers: ShopperTable
) -> None:
    claims = shoppers.claims(shoppers.known(HANDLES), NOW)
    table.save(arrived("c1"), EXPIRES, claims)
    with pytest.raises(Outdated) as outdated:
        table.save(applied(Checkout(store_id="my-store", checkout_id="c1"), snapshot(2)), EXPIRES, claims)
    assert outdated.value.current == arrived("c1")


def test_a_claim_that_fails_is_contention_and_nothing_is_written(
    table: CheckoutTable, shoppers: ShopperTable
) -> None:
    claims = shoppers.claims(shoppers.known(HANDLES), NOW)
    table.save(arrived("other"), EXPIRES, shoppers.claims(shoppers.known(HANDLES[:1]), NOW - AFTER))
    with pytest.raises(Contended):
        table.save(arrived("c1"), EXPIRES, claims)
    assert table.load("my-store", "c1").sequence == 0
    assert shoppers.known(HANDLES).shopper.told_at == NOW - AFTER
    assert shoppers.known(HANDLES[1:]).shopper.told_at is None


def cancelled(operation: str, *reasons: str, code: str = "TransactionCanceledException") -> ClientError:
    answer: Any = {
        "Error": {"Code": code, "Message": ""},
        "CancellationReasons": [{"Code": reason} for reason in reasons],
        "ResponseMetadata": {"HTTPStatusCode": 400},
    }
    return ClientError(answer, operation)


@pytest.fixture
def fail(table_client: DynamoDBClient) -> Callable[[str, ClientError], None]:
    """Lets every call of an operation fail from here on."""

    def fails(operation: str, error: ClientError) -> None:
        def refuse(**_: Any) -> None:
            raise error

        table_client.meta.events.register(f"before-call.dynamodb.{operation}", refuse)

    return fails


@pytest.mark.parametrize(
    "reasons",
    [
        ("TransactionConflict", "None", "None"),
        ("None", "None", "TransactionConflict"),
        ("None", "ConditionalCheckFailed", "TransactionConflict"),
    ],
)
def test_another_transaction_at_work_is_contention(
    table: CheckoutTable, shoppers: ShopperTable, fail: Any, reasons: Sequence[str]
) -> None:
    fail("TransactWriteItems", cancelled("TransactWriteItems", *reasons))
    with pytest.raises(Contended):
        table.save(arrived("c1"), EXPIRES, shoppers.claims(shoppers.known(HANDLES), NOW))


def test_a_transaction_at_work_on_a_checkout_is_contention_for_a_write_without_claims(
    table: CheckoutTable, fail: Any
) -> None:
    fail("PutItem", cancelled("PutItem", code="TransactionConflictException"))
    with pytest.raises(Contended):
        table.save(arrived("c1"), EXPIRES)


@pytest.mark.parametrize("reason", ["ThrottlingError", "ProvisionedThroughputExceeded"])
def test_a_transaction_that_is_throttled_is_unavailable(
    table: CheckoutTable, shoppers: ShopperTable, fail: Any, reason: str
) -> None:
    fail("TransactWriteItems", cancelled("TransactWriteItems", "None", reason, "None"))
    with pytest.raises(Unavailable):
        table.save(arrived("c1"), EXPIRES, shoppers.claims(shoppers.known(HANDLES), NOW))


# ---------------------------------------------------------------- bought or not


@pytest.mark.parametrize("kind", EventType)
def test_an_item_says_whether_its_checkout_is_bought(
    table: CheckoutTable, table_client: DynamoDBClient, kind: EventType
) -> None:
    written = arrived("c1")
    assert written.event
    table.save(written.model_copy(update={"event": written.event.model_copy(update={"type": kind})}), EXPIRES)
    item = table_client.get_item(
        TableName=table.table_name,
        Key=CheckoutTable.key("my-store", "c1"),
        ProjectionExpression=CheckoutTable.OUTCOME,
    )["Item"]
    assert CheckoutTable.is_bought(item) == (kind in (EventType.COMPLETED, EventType.RECOVERED))


# ---------------------------------------------------------------- erased


def test_an_erased_checkout_is_not_known_and_no_datum_of_it_is_left(
    table: CheckoutTable, table_client: DynamoDBClient
) -> None:
    written = applied(table.load("my-store", "c1"), snapshot(email="asha@example.com"))
    table.save(written, EXPIRES)
    table.erase(written, NOW)
    left = table.load("my-store", "c1")
    assert left == Checkout(store_id="my-store", checkout_id="c1", sequence=2, erased_at=2)
    assert not left.is_known
    (item,) = table_client.scan(TableName=table.table_name)["Items"]
    assert item.keys() == {"store_id", "checkout_id", "sequence", "expires_at"}
    assert int(item["expires_at"]["N"]) == int((NOW + TOLD_AGAIN).timestamp())


def test_an_erased_checkout_is_in_no_index_and_among_no_others(
    table: CheckoutTable, table_client: DynamoDBClient
) -> None:
    written = applied(table.load("my-store", "c1"), snapshot())
    table.save(written, EXPIRES)
    table.erase(written, NOW)
    assert table.find_by_alias("my-store", "4711") is None
    assert table_client.scan(TableName=table.table_name, IndexName="due")["Items"] == []
    assert table.load_all([("my-store", "c1")]) == {}


def test_a_write_from_before_the_erasure_brings_nothing_back(table: CheckoutTable) -> None:
    written = applied(table.load("my-store", "c1"), snapshot())
    table.save(written, EXPIRES)
    table.erase(written, NOW)
    for late in (written, applied(written, snapshot(1, email="asha@example.com"))):
        with pytest.raises(Outdated) as outdated:
            table.save(late, EXPIRES)
        assert not outdated.value.current.is_known


def test_what_is_told_after_the_erasure_is_written_and_read_as_it_is(table: CheckoutTable) -> None:
    written = applied(table.load("my-store", "c1"), snapshot())
    table.save(written, EXPIRES)
    table.erase(written, NOW)
    again = applied(table.load("my-store", "c1"), snapshot())
    table.save(again, EXPIRES)
    assert table.load("my-store", "c1") == again
    assert again.is_new


def test_a_checkout_that_has_moved_on_is_not_erased(table: CheckoutTable) -> None:
    written = applied(table.load("my-store", "c1"), snapshot())
    table.save(written, EXPIRES)
    moved = applied(written, snapshot(1, email="asha@example.com"))
    table.save(moved, EXPIRES)
    with pytest.raises(Outdated):
        table.erase(written, NOW)
    assert table.load("my-store", "c1") == moved


def test_of_what_was_erased_no_abandonment_is_to_be_told() -> None:
    assert CheckoutTable.is_bought(CheckoutTable.key("my-store", "c1"))
