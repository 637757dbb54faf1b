"""DeliveryTable against moto, and against Amazon's DynamoDB Local where Java is found."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from mypy_boto3_dynamodb import DynamoDBClient

from checkout_recovery.errors import Unavailable
from checkout_recovery.subscriptions.store import Store, StoreSettings
from checkout_recovery.tables.deliveries import DeliveryRecord, DeliveryTable, State
from checkout_recovery.tables.registry import RegistryTable

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)


@pytest.fixture
def table(table_client: DynamoDBClient, new_table: Callable[[str], str]) -> DeliveryTable:
    return DeliveryTable(table_client, new_table("DeliveryTable"), sleep=lambda _: None)


@pytest.fixture
def registry(table_client: DynamoDBClient, new_table: Callable[[str], str]) -> RegistryTable:
    registry = RegistryTable(table_client, new_table("RegistryTable"))
    registry.create_store(
        Store(
            store_id="my-store",
            settings=StoreSettings(),
            token_hash="0" * 64,
            revision=7,
            created_at=NOW,
            updated_at=NOW,
        )
    )
    return registry


def record(delivery_id: str = "dlv_1", subscription_id: str = "sub_1") -> DeliveryRecord:
    return DeliveryRecord(
        subscription_id=subscription_id,
        delivery_id=delivery_id,
        store_id="my-store",
        checkout_id="c1",
        event_id="evt_1",
        event_type="checkout.created",
        sequence=1,
        state=State.DELIVERED,
        attempts=1,
        reason=None,
        status=200,
        latency_ms=12,
        recorded_at=NOW,
        expires_at=NOW + timedelta(days=30),
    )


def test_what_is_recorded_is_found_and_the_revision_comes_along(
    table: DeliveryTable, registry: RegistryTable
) -> None:
    table.record([record("dlv_1"), record("dlv_2")])
    look = table.look_up([("sub_1", "dlv_1"), ("sub_1", "dlv_3")], registry, ["my-store", "gone"])
    assert look.recorded == {"dlv_1"}
    assert look.revisions == {"my-store": 7}


def test_more_than_one_call_holds_is_written_and_found(table: DeliveryTable, registry: RegistryTable) -> None:
    records = [record(f"dlv_{number}") for number in range(130)]
    table.record(records)
    keys = [(one.subscription_id, one.delivery_id) for one in records]
    assert len(table.look_up(keys, registry, ["my-store"]).recorded) == 130


def test_nothing_to_look_up_or_record_asks_nothing(table: DeliveryTable, registry: RegistryTable) -> None:
    table.record([])
    assert table.look_up([], registry, []).recorded == frozenset()


def test_a_later_record_of_a_delivery_replaces_the_earlier(
    table: DeliveryTable, table_client: DynamoDBClient
) -> None:
    table.record([replace(record(), state=State.PENDING, reason="http", status=500)])
    table.record([record()])
    (item,) = table_client.scan(TableName=table.table_name)["Items"]
    assert item["state"] == {"S": "delivered"}
    assert "reason" not in item


class Throttled:
    """A client that leaves the first of each batch unprocessed, some times or for ever."""

    def __init__(self, times: int) -> None:
        self.left = times
        self.written: list[Any] = []

    def batch_write_item(self, RequestItems: dict[str, Any]) -> dict[str, Any]:  # noqa: N803 - boto3's name
        ((table, puts),) = RequestItems.items()
        if self.left <= 0:
            self.written += puts
            return {"UnprocessedItems": {}}
        self.left -= 1
        self.written += puts[1:]
        return {"UnprocessedItems": {table: puts[:1]}}

    def batch_get_item(self, RequestItems: dict[str, Any]) -> dict[str, Any]:  # noqa: N803 - boto3's name
        self.left -= 1
        return {"Responses": {}, "UnprocessedKeys": RequestItems if self.left >= 0 else {}}


def test_what_dynamodb_leaves_unprocessed_is_written_again() -> None:
    client = Throttled(2)
    DeliveryTable(client, "DeliveryTable", sleep=lambda _: None).record([record("dlv_1"), record("dlv_2")])  # type: ignore[arg-type] # a fake
    assert len(client.written) == 2


def test_a_table_that_stays_throttled_is_unavailable() -> None:
    table = DeliveryTable(Throttled(99), "DeliveryTable", sleep=lambda _: None)  # type: ignore[arg-type] # a fake
    registry = RegistryTable(Throttled(99), "RegistryTable")  # type: ignore[arg-type] # the same
    with pytest.raises(Unavailable):
        table.record([record()])
    with pytest.raises(Unavailable):
        table.look_up([("sub_1", "dlv_1")], registry, [])
