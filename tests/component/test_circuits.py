"""Open circuits in RegistryTable, on moto and on Amazon's DynamoDB Local."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from mypy_boto3_dynamodb import DynamoDBClient

from checkout_recovery.subscriptions.circuit import Circuit
from checkout_recovery.subscriptions.store import Store, StoreSettings
from checkout_recovery.tables.registry import RegistryTable
from tests.component.subscribing import subscribe_known
from tests.subscriptions import subscription

NOW = datetime(2026, 11, 22, 10, 0, 0, 123456, tzinfo=UTC)
OPENED = Circuit.opened("my-store", "sub_1", NOW)
DUE = OPENED.probe_at
SUBSCRIPTION = subscription(created_at=NOW, updated_at=NOW)
UNTRIED = Circuit.untried("my-store", "sub_1", NOW + timedelta(hours=1))


@pytest.fixture
def registry(table_client: DynamoDBClient, new_table: Callable[[str], str]) -> RegistryTable:
    registry = RegistryTable(table_client, new_table("RegistryTable"))
    registry.create_store(
        Store(
            store_id="my-store",
            settings=StoreSettings(),
            token_hash="0" * 64,
            revision=1,
            created_at=NOW,
            updated_at=NOW,
        )
    )
    subscribe_known(registry, SUBSCRIPTION)
    return registry


def kept(registry: RegistryTable) -> Circuit | None:
    return registry.subscriptions("my-store").circuits.get("sub_1")


def test_an_open_circuit_is_read_as_it_was_written(registry: RegistryTable) -> None:
    circuit = replace(OPENED, is_told=True)
    assert registry.put_circuit(None, circuit)
    assert kept(registry) == circuit
    assert registry.open_circuits() == [("my-store", "sub_1")]


@pytest.mark.parametrize("before", [None, OPENED], ids=["closed", "open"])
def test_a_circuit_is_reset_whatever_it_was(registry: RegistryTable, before: Circuit | None) -> None:
    if before:
        registry.put_circuit(None, before)
    revision = registry.subscriptions("my-store").revision
    assert registry.reset_circuit(UNTRIED)
    assert kept(registry) == UNTRIED
    assert registry.open_circuits() == []
    assert registry.subscriptions("my-store").revision > revision
    claimed = UNTRIED.claimed(NOW)
    assert registry.put_circuit(UNTRIED, claimed)
    assert registry.open_circuits() == []
    assert registry.put_circuit(claimed, OPENED)
    assert registry.open_circuits() == [("my-store", "sub_1")]


def test_a_subscription_that_is_gone_has_no_circuit_to_reset(registry: RegistryTable) -> None:
    registry.delete_subscription("my-store", "sub_1")
    assert not registry.reset_circuit(UNTRIED)
    assert kept(registry) is None


def test_a_circuit_that_an_older_version_wrote_can_be_read(
    registry: RegistryTable, table_client: DynamoDBClient
) -> None:
    registry.put_circuit(None, OPENED)
    key = {"store_id": {"S": "my-store"}, "kind_id": {"S": "circuit#sub_1"}}
    table_client.update_item(TableName=registry.table_name, Key=key, UpdateExpression="REMOVE is_untried")
    assert kept(registry) == OPENED


def test_a_circuit_opens_once(registry: RegistryTable) -> None:
    assert registry.put_circuit(None, OPENED)
    assert not registry.put_circuit(None, replace(OPENED, failing_since=NOW + timedelta(seconds=1)))
    assert kept(registry) == OPENED


def test_a_probe_is_claimed_once(registry: RegistryTable) -> None:
    registry.put_circuit(None, OPENED)
    assert registry.put_circuit(OPENED, OPENED.claimed(DUE))
    assert not registry.put_circuit(OPENED, OPENED.claimed(DUE + timedelta(microseconds=1)))
    assert kept(registry) == OPENED.claimed(DUE)


def test_of_many_that_claim_a_probe_at_once_one_gets_it(registry: RegistryTable, atomic: None) -> None:
    registry.put_circuit(None, OPENED)

    def claim(number: int) -> bool:
        return registry.put_circuit(OPENED, OPENED.claimed(DUE + timedelta(microseconds=number)))

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(claim, range(8))) == 1


def test_a_circuit_closes_once(registry: RegistryTable) -> None:
    registry.put_circuit(None, OPENED)
    assert registry.close_circuit(OPENED)
    assert not registry.close_circuit(OPENED)
    assert kept(registry) is None
    assert registry.open_circuits() == []


def test_a_new_subscription_s_receiver_is_untried(registry: RegistryTable) -> None:
    registry.create_subscription(replace(SUBSCRIPTION, subscription_id="sub_2"))
    assert registry.subscriptions("my-store").circuits == {"sub_2": Circuit.untried("my-store", "sub_2", NOW)}
    assert registry.open_circuits() == []


def test_many_that_were_untried_are_closed_by_few_writes(
    registry: RegistryTable, table_client: DynamoDBClient
) -> None:
    names = [f"sub_{number}" for number in range(2, 54)]
    for name in names:
        registry.create_subscription(replace(SUBSCRIPTION, subscription_id=name))
    registry.put_circuit(None, OPENED)
    revision = registry.subscriptions("my-store").revision
    made: list[str] = []
    note = lambda model, **_: made.append(model.name)  # noqa: E731 - botocore keeps it by itself
    table_client.meta.events.register("before-call", note)
    registry.close_untried(Circuit.untried("my-store", name, NOW) for name in names)
    table_client.meta.events.unregister("before-call", note)
    assert made == ["TransactWriteItems"] * 2
    left = registry.subscriptions("my-store")
    assert left.circuits == {"sub_1": OPENED}
    assert left.revision == revision + 2


def test_what_failed_meanwhile_and_answered_is_open_no_longer(registry: RegistryTable) -> None:
    registry.put_circuit(None, OPENED)
    registry.close_untried([UNTRIED])
    assert kept(registry) is None
    assert registry.open_circuits() == []


def test_another_receiver_that_is_untried_is_not_known_by_what_the_former_answered(
    registry: RegistryTable,
) -> None:
    moved = replace(UNTRIED, failing_since=UNTRIED.failing_since + timedelta(seconds=1))
    assert registry.reset_circuit(moved)
    registry.close_untried([UNTRIED])
    assert not registry.close_circuit(UNTRIED)
    assert kept(registry) == moved


def test_what_is_gone_can_be_closed(registry: RegistryTable) -> None:
    registry.delete_store("my-store")
    registry.close_untried([UNTRIED])
    assert kept(registry) is None


def test_a_probe_of_a_circuit_that_somebody_closed_is_claimed_by_nobody(registry: RegistryTable) -> None:
    registry.put_circuit(None, OPENED)
    registry.close_circuit(OPENED)
    assert not registry.put_circuit(OPENED, OPENED.claimed(DUE))
    assert kept(registry) is None


def test_each_change_moves_the_revision_that_caches_are_checked_by(registry: RegistryTable) -> None:
    revisions = [registry.subscriptions("my-store").revision]
    registry.put_circuit(None, OPENED)
    revisions.append(registry.subscriptions("my-store").revision)
    registry.put_circuit(OPENED, OPENED.claimed(DUE))
    revisions.append(registry.subscriptions("my-store").revision)
    registry.close_circuit(OPENED)
    revisions.append(registry.subscriptions("my-store").revision)
    assert revisions == sorted(set(revisions))


def test_no_circuit_is_opened_in_a_store_that_is_gone(registry: RegistryTable) -> None:
    registry.delete_store("my-store")
    assert not registry.put_circuit(None, OPENED)
    assert registry.open_circuits() == []


def test_a_subscription_that_is_deleted_leaves_no_circuit_behind(registry: RegistryTable) -> None:
    registry.put_circuit(None, OPENED)
    registry.delete_subscription("my-store", "sub_1")
    assert kept(registry) is None
    assert registry.open_circuits() == []


def test_a_circuit_is_no_subscription(registry: RegistryTable) -> None:
    registry.put_circuit(None, OPENED)
    assert registry.subscription_ids("my-store") == ["sub_1"]
    assert [each.subscription_id for each in registry.subscriptions("my-store").items] == ["sub_1"]
