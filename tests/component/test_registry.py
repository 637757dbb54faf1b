from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError
from mypy_boto3_dynamodb import DynamoDBClient

from checkout_recovery.checkout.event import EventType
from checkout_recovery.checkout.quiet_hours import QuietHours
from checkout_recovery.errors import Conflict, NotFound, Unavailable
from checkout_recovery.signing import Recipe
from checkout_recovery.subscriptions.circuit import Circuit
from checkout_recovery.subscriptions.store import ProviderSettings, Store, StoreSettings
from checkout_recovery.subscriptions.subscription import ConsentRule, Required, Subscription
from checkout_recovery.tables.registry import MAX_SUBSCRIPTIONS, RegistryTable
from checkout_recovery.tables.turns import Turns
from tests.component.subscribing import subscribe_known

NOW = datetime(2026, 5, 7, 10, 0, 0, 123456, tzinfo=UTC)
SETTINGS = StoreSettings(
    abandon_after_seconds=1800,
    quiet_hours=QuietHours(start="21:00", end="09:00", timezone="Asia/Kolkata"),
    currency="INR",
    domains=["my-store.com"],
)
STORE = Store(
    store_id="my-store",
    settings=SETTINGS,
    token_hash="0" * 64,
    revision=1000,
    created_at=NOW,
    updated_at=NOW,
)
SHOPS = ("12345", "a.myshopify.com")
FLEXYPE = ProviderSettings(configured_at=NOW, secret_version=7)
SUBSCRIPTION = Subscription(
    subscription_id="sub_1",
    store_id="my-store",
    topic="abandonedCheckout",
    version="v1",
    callback_url="https://receiver.example.com/h",
    events=(EventType.ABANDONED,),
    consent=ConsentRule.GRANTED,
    requires=(Required.PHONE, Required.CHECKOUT_URL),
    paused=True,
    recipe=Recipe.HEX_BODY,
    header_names=("Authorization",),
    key_version=5,
    previous_key_expires_at=NOW + timedelta(days=1),
    disabled_reason="gone",
    created_at=NOW,
    updated_at=NOW,
)


@pytest.fixture
def name(new_table: Callable[[str], str]) -> str:
    return new_table("RegistryTable")


@pytest.fixture
def registry(table_client: DynamoDBClient, name: str) -> RegistryTable:
    return RegistryTable(table_client, name)


@pytest.fixture
def store(registry: RegistryTable) -> Store:
    registry.create_store(STORE)
    return STORE


def revision(registry: RegistryTable) -> int:
    return registry.subscriptions("my-store").revision


def test_a_store_is_read_as_it_was_written(registry: RegistryTable, store: Store) -> None:
    assert registry.store("my-store") == store


@pytest.mark.parametrize("store_id", ["no-such-store", "", "a/b", "x" * 65, "\u00fc"])
def test_there_is_no_other_store(registry: RegistryTable, store: Store, store_id: str) -> None:
    assert registry.store(store_id) is None


def test_a_store_is_registered_once(registry: RegistryTable, store: Store) -> None:
    with pytest.raises(Conflict):
        registry.create_store(replace(store, token_hash="1" * 64))
    assert registry.store("my-store") == store


def test_new_settings_replace_the_old_and_move_the_revision(registry: RegistryTable, store: Store) -> None:
    registry.update_store("my-store", StoreSettings(), NOW + timedelta(hours=1))
    changed = replace(store, settings=StoreSettings(), updated_at=NOW + timedelta(hours=1), revision=1001)
    assert registry.store("my-store") == changed


def test_a_new_token_replaces_the_old(registry: RegistryTable, store: Store) -> None:
    registry.update_store("my-store", SETTINGS, NOW, "f" * 64)
    held = registry.store("my-store")
    assert held
    assert held.token_hash == "f" * 64


def test_a_store_that_is_gone_is_not_brought_back_by_a_change(registry: RegistryTable) -> None:
    with pytest.raises(Conflict):
        registry.update_store("my-store", SETTINGS, NOW)
    with pytest.raises(Conflict):
        registry.put_provider("my-store", "flexype", None, FLEXYPE)
    with pytest.raises(Conflict):
        registry.put_provider("my-store", "flexype", FLEXYPE, replace(FLEXYPE, secret_version=8))
    assert not registry.bind_shop("my-store", "flexype", ("my-store.com",))
    assert registry.store("my-store") is None


def test_the_first_shop_is_bound_and_stays(registry: RegistryTable, store: Store) -> None:
    registry.put_provider("my-store", "flexype", None, FLEXYPE)
    assert registry.bind_shop("my-store", "flexype", SHOPS)
    assert registry.bind_shop("my-store", "flexype", SHOPS)
    assert not registry.bind_shop("my-store", "flexype", ("b.myshopify.com",))
    assert not registry.bind_shop("my-store", "flexype", SHOPS[:1])
    registry.put_provider("my-store", "flexype", FLEXYPE, replace(FLEXYPE, secret_version=8))
    held = registry.store("my-store")
    assert held
    assert held.providers == {"flexype": replace(FLEXYPE, secret_version=8, shops=SHOPS)}


def test_no_shop_is_bound_for_a_provider_that_is_not_configured(
    registry: RegistryTable, store: Store
) -> None:
    assert not registry.bind_shop("my-store", "shopify", SHOPS)


def test_of_two_changes_of_a_secret_at_once_one_is_refused(registry: RegistryTable, store: Store) -> None:
    later = replace(FLEXYPE, secret_version=9)
    registry.put_provider("my-store", "flexype", None, FLEXYPE)
    with pytest.raises(Conflict):
        registry.put_provider("my-store", "flexype", None, later)
    registry.put_provider("my-store", "flexype", FLEXYPE, replace(FLEXYPE, secret_version=8))
    with pytest.raises(Conflict):
        registry.put_provider("my-store", "flexype", FLEXYPE, later)
    held = registry.store("my-store")
    assert held
    assert held.providers["flexype"].secret_version == 8


def test_a_subscription_is_read_as_it_was_written(registry: RegistryTable, store: Store) -> None:
    registry.create_subscription(SUBSCRIPTION)
    plain = replace(SUBSCRIPTION, subscription_id="sub_2", recipe=None, previous_key_expires_at=None)
    registry.create_subscription(plain)
    assert registry.subscription("my-store", "sub_1") == SUBSCRIPTION
    assert registry.subscriptions("my-store").items == (SUBSCRIPTION, plain)
    assert registry.subscriptions("my-store").settings == SETTINGS


def test_a_subscription_of_an_earlier_version_is_told_of_all_who_have_not_refused(
    registry: RegistryTable, store: Store, table_client: DynamoDBClient, name: str
) -> None:
    registry.create_subscription(SUBSCRIPTION)
    table_client.update_item(
        TableName=name,
        Key={"store_id": {"S": "my-store"}, "kind_id": {"S": "subscription#sub_1"}},
        UpdateExpression="REMOVE consent, requires",
    )
    plain = replace(SUBSCRIPTION, consent=ConsentRule.NOT_DENIED, requires=())
    assert registry.subscription("my-store", "sub_1") == plain


def test_every_change_of_a_subscription_moves_the_revision(registry: RegistryTable, store: Store) -> None:
    assert revision(registry) == 1000
    registry.create_subscription(SUBSCRIPTION)
    assert revision(registry) == 1001
    registry.update_subscription(SUBSCRIPTION, replace(SUBSCRIPTION, paused=False))
    assert revision(registry) == 1002
    assert registry.delete_subscription("my-store", "sub_1")
    assert revision(registry) == 1003
    assert not registry.delete_subscription("my-store", "sub_1")
    assert revision(registry) == 1003


def test_the_revision_is_read_from_the_stores_item_alone(
    registry: RegistryTable, store: Store, table_client: DynamoDBClient, name: str
) -> None:
    keys = [registry.store_key("my-store"), registry.store_key("no-such-store")]
    items = table_client.batch_get_item(RequestItems={name: {"Keys": keys}})["Responses"][name]
    assert [registry.revision_of(item) for item in items] == [1000]
    assert registry.revision_of(None) == 0


def test_a_change_of_what_has_changed_since_is_refused(registry: RegistryTable, store: Store) -> None:
    registry.create_subscription(SUBSCRIPTION)
    newer = replace(SUBSCRIPTION, paused=False, updated_at=NOW + timedelta(seconds=1))
    registry.update_subscription(SUBSCRIPTION, newer)
    with pytest.raises(Conflict):
        registry.update_subscription(SUBSCRIPTION, replace(SUBSCRIPTION, paused=True))
    assert registry.subscription("my-store", "sub_1") == newer
    assert revision(registry) == 1002


def test_a_subscription_that_is_gone_is_not_brought_back_by_a_change(
    registry: RegistryTable, store: Store
) -> None:
    with pytest.raises(Conflict):
        registry.update_subscription(SUBSCRIPTION, SUBSCRIPTION)
    assert registry.subscription("my-store", "sub_1") is None


def test_a_store_that_is_not_there_takes_no_subscription(registry: RegistryTable) -> None:
    with pytest.raises(NotFound):
        registry.create_subscription(SUBSCRIPTION)
    assert registry.subscription_ids("my-store") == []


def test_a_store_has_a_limit_of_subscriptions(registry: RegistryTable, store: Store) -> None:
    for number in range(MAX_SUBSCRIPTIONS):
        registry.create_subscription(replace(SUBSCRIPTION, subscription_id=f"sub_{number:03}"))
    with pytest.raises(Conflict, match="at most"):
        registry.create_subscription(SUBSCRIPTION)
    assert len(registry.subscriptions("my-store").items) == MAX_SUBSCRIPTIONS
    registry.delete_subscription("my-store", "sub_000")
    registry.create_subscription(SUBSCRIPTION)


def test_a_deleted_store_has_no_subscriptions_until_they_are_cleared_away(
    registry: RegistryTable, store: Store
) -> None:
    registry.create_subscription(SUBSCRIPTION)
    registry.delete_store("my-store")
    registry.delete_store("my-store")
    assert registry.subscriptions("my-store").items == ()
    assert revision(registry) == 0
    assert registry.subscription_ids("my-store") == ["sub_1"]
    registry.delete_subscriptions("my-store", ["sub_1"])
    assert registry.subscription_ids("my-store") == []


def test_a_store_sees_only_its_own_subscriptions(registry: RegistryTable, store: Store) -> None:
    registry.create_store(replace(store, store_id="my-store-2"))
    registry.create_subscription(replace(SUBSCRIPTION, store_id="my-store-2"))
    assert registry.subscriptions("my-store").items == ()
    assert registry.subscription("my-store", "sub_1") is None


def test_settings_of_a_later_version_are_read_without_what_is_unknown(
    registry: RegistryTable, store: Store, table_client: DynamoDBClient, name: str
) -> None:
    table_client.update_item(
        TableName=name,
        Key=registry.store_key("my-store"),
        UpdateExpression="SET settings.later = :later",
        ExpressionAttributeValues={":later": {"S": "?"}},
    )
    assert registry.store("my-store") == store


class Failing:
    """A DynamoDB whose calls fail with these errors, one after the other, and then succeed."""

    def __init__(self, *errors: ClientError) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self, **_: Any) -> dict[str, Any]:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return {}


def failing_registry(call: Failing) -> RegistryTable:
    client = SimpleNamespace(transact_write_items=call, update_item=call, get_item=call, query=call)
    return RegistryTable(cast("DynamoDBClient", client), "RegistryTable")


def client_error(code: str, *reasons: str) -> ClientError:
    response: Any = {
        "Error": {"Code": code, "Message": ""},
        "CancellationReasons": [{"Code": reason} for reason in reasons],
    }
    return ClientError(response, "TransactWriteItems")


BUSY = ("TransactionCanceledException", "TransactionConflict", "None")


def test_two_changes_at_once_both_succeed() -> None:
    call = Failing(client_error(*BUSY), client_error(*BUSY))
    failing_registry(call).create_subscription(SUBSCRIPTION)
    assert call.calls == 3


def test_a_store_that_stays_busy_is_unavailable() -> None:
    call = Failing(*(client_error(*BUSY) for _ in range(9)))
    with pytest.raises(Unavailable):
        failing_registry(call).create_subscription(SUBSCRIPTION)
    assert call.calls == 5


@pytest.mark.parametrize(
    "code", ["ThrottlingException", "TransactionConflictException", "InternalServerError"]
)
def test_a_table_that_does_not_answer_is_unavailable(code: str) -> None:
    with pytest.raises(Unavailable):
        failing_registry(Failing(client_error(code))).bind_shop("my-store", "flexype", SHOPS)


def test_a_fault_of_ours_is_not_taken_for_an_outage() -> None:
    with pytest.raises(ClientError):
        failing_registry(Failing(client_error("ValidationException"))).store("my-store")


# ---------------------------------------------------------------- what the operator lists


def test_stores_are_listed_by_their_ids_and_nothing_else_is(registry: RegistryTable) -> None:
    names = [f"store-{number}" for number in range(5)]
    for name in names[::-1]:
        registry.create_store(replace(STORE, store_id=name))
        registry.create_subscription(replace(SUBSCRIPTION, store_id=name, subscription_id=f"sub_{name}"))
    listed: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = registry.stores(2, cursor)
        listed += [store.store_id for store in page.items]
        cursor = page.next_cursor
    assert listed == names


def test_a_listed_store_is_as_it_stands(registry: RegistryTable, store: Store) -> None:
    registry.update_store("my-store", StoreSettings(currency="USD"), NOW)
    assert registry.stores(100).items == (registry.store("my-store"),)


def test_a_store_that_is_gone_is_not_listed(registry: RegistryTable, store: Store) -> None:
    registry.delete_store("my-store")
    assert registry.stores(100).items == ()
    assert registry.stores(100, "my-store").items == ()


def test_circuits_are_read_of_those_that_are_named_and_open(registry: RegistryTable, store: Store) -> None:
    subscribe_known(registry, replace(SUBSCRIPTION, subscription_id="sub_1"))
    opened = Circuit.opened("my-store", "sub_1", NOW)
    registry.put_circuit(None, opened)
    keys = [("my-store", "sub_1"), ("my-store", "sub_2"), ("nobody", "sub_1")]
    assert registry.circuits(keys) == {"sub_1": opened}
    assert registry.circuits([]) == {}


def test_some_subscriptions_are_read_as_all_are(registry: RegistryTable, store: Store) -> None:
    for name in ("sub_1", "sub_2", "sub_3"):
        subscribe_known(registry, replace(SUBSCRIPTION, subscription_id=name))
    for name in ("sub_1", "sub_3"):
        registry.put_circuit(None, Circuit.opened("my-store", name, NOW))
    whole = registry.subscriptions("my-store")
    wanted = [("my-store", "sub_1"), ("my-store", "sub_2"), ("my-store", "sub_9"), ("nobody", "sub_1")]
    found = registry.subscriptions_named(wanted)
    assert found.keys() == {"my-store", "nobody"}
    some, nobody = found["my-store"], found["nobody"]
    assert {each.subscription_id: each for each in some.items} == {
        each.subscription_id: each for each in whole.items if each.subscription_id != "sub_3"
    }
    assert (some.revision, some.settings) == (whole.revision, whole.settings)
    assert some.circuits == {"sub_1": whole.circuits["sub_1"]}
    assert (nobody.revision, nobody.items) == (0, ())


def test_a_subscription_that_is_gone_opens_no_circuit(registry: RegistryTable, store: Store) -> None:
    assert registry.put_circuit(None, Circuit.opened("my-store", "sub_1", NOW)) is False
    assert registry.open_circuits() == []


def test_a_deleted_subscription_leaves_nothing_beside_it(
    registry: RegistryTable, store: Store, table_client: DynamoDBClient
) -> None:
    subscribe_known(registry, replace(SUBSCRIPTION, subscription_id="sub_1"))
    registry.put_circuit(None, Circuit.opened("my-store", "sub_1", NOW))
    Turns(table_client, registry.table_name).take("sub_1", 1, 5, NOW)
    registry.delete_subscription("my-store", "sub_1")
    left = table_client.scan(TableName=registry.table_name)["Items"]
    assert [item["kind_id"]["S"] for item in left] == ["store"]
