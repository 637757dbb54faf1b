"""CheckoutTable against moto, and against Amazon's DynamoDB Local where Java is found."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import boto3
import pytest
from botocore.config import Config
from mypy_boto3_dynamodb import DynamoDBClient

from checkout_recovery.checkout.lifecycle import Checkout, Unchanged
from checkout_recovery.checkout.phone import Phone
from checkout_recovery.checkout.snapshot import Cart, Details, Item, Snapshot
from checkout_recovery.errors import BrokenRecord, MalformedRequest, Unavailable
from checkout_recovery.tables.checkouts import CheckoutTable, Outdated, decode

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
EXPIRES = NOW + timedelta(days=90)
AFTER = timedelta(minutes=15)


@pytest.fixture
def table(table_client: DynamoDBClient, new_table: Callable[[str], str]) -> CheckoutTable:
    return CheckoutTable(table_client, new_table("CheckoutTable"), due_shards=8)


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


def test_a_table_that_cannot_be_reached_is_unavailable(environment: pytest.MonkeyPatch) -> None:
    nowhere = boto3.client(
        "dynamodb",
        endpoint_url="http://127.0.0.1:9",
        config=Config(connect_timeout=1, retries={"total_max_attempts": 1}),
    )
    with pytest.raises(Unavailable):
        CheckoutTable(nowhere, "CheckoutTable", 8).load("my-store", "c1")
