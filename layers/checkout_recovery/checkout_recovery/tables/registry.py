"""RegistryTable: the stores and their subscriptions.

One partition a store: its own item under ``store``, each subscription under ``subscription#{id}``. Every
change of a subscription also moves the store's `revision`, in one transaction, so who has cached a store's
subscriptions checks the cache by reading one small item.
"""

import random
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from checkout_recovery.checkout.event import EventType
from checkout_recovery.errors import Conflict, NotFound, Unavailable
from checkout_recovery.signing import Recipe
from checkout_recovery.subscriptions.circuit import Circuit
from checkout_recovery.subscriptions.store import STORE_ID, ProviderSettings, Store, StoreSettings
from checkout_recovery.subscriptions.subscription import ConsentRule, Required, Subscription
from checkout_recovery.tables.batch import read_batch
from checkout_recovery.tables.codec import decode, decode_item, encode, encode_item
from checkout_recovery.tables.driver import driver_errors
from checkout_recovery.tables.token_hashes import STORE as _STORE
from checkout_recovery.tables.turns import turns_key

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

MAX_SUBSCRIPTIONS = 100
"""A store's; SSM holds 10,000 standard parameters for the whole account and region."""


_SUBSCRIPTION = "subscription#"
_CIRCUIT = "circuit#"
_OPEN_CIRCUITS = "#circuits"
"""A partition that names every open circuit of the stack: no store can be called so."""
OVERLAPS = "#overlaps"
"""A partition of when keys end, by time (see `tables.overlaps`)."""
_EPOCH, _MILLISECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)
_TRIES = 5
_TRANSACTION_ACTIONS = 100  # DynamoDB's limit
_CLOSED_AT_ONCE = (_TRANSACTION_ACTIONS - 1) // 2


@dataclass(frozen=True, slots=True)
class Subscriptions:
    """A store's subscriptions as they were at `revision`."""

    revision: int
    items: tuple[Subscription, ...]
    settings: StoreSettings = field(default_factory=StoreSettings)
    circuits: Mapping[str, Circuit] = field(default_factory=dict)
    """The circuits that are open, by subscription."""


@dataclass(frozen=True, slots=True)
class StoresPage:
    """A part of the stores, by their ids."""

    items: tuple[Store, ...]
    next_cursor: str | None


class RegistryTable:
    def __init__(self, client: "DynamoDBClient", table_name: str) -> None:
        self._client = client
        self.table_name = table_name

    def store(self, store_id: str) -> Store | None:
        """Reads a store; None where there is no such store."""
        item = self._get(store_id, _STORE) if STORE_ID.fullmatch(store_id) else None
        return _store(item) if item else None

    def stores(self, limit: int, cursor: str = "") -> StoresPage:
        """Lists the stack's stores by their ids; one made in the last second may not be in it yet.

        Args:
            limit: how many at most, up to 100.
            cursor: `next_cursor` of the page before.

        Raises:
            Unavailable: the table is throttled or down.
        """
        query: dict[str, Any] = {
            "TableName": self.table_name,
            "IndexName": "kind",
            "KeyConditionExpression": "kind_id = :store",
            "ExpressionAttributeValues": {":store": {"S": _STORE}},
            "Limit": limit,
        }
        if cursor:
            query["ExclusiveStartKey"] = self.store_key(cursor)
        with _driver_errors():
            answer = self._client.query(**query)
        ids = [item["store_id"]["S"] for item in answer["Items"]]
        wanted = ((self.table_name, self.store_key(store_id)) for store_id in ids)
        found = {item["store_id"]["S"]: _store(item) for _, item in self._read_batch(wanted)}
        stores = tuple(found[store_id] for store_id in ids if store_id in found)
        return StoresPage(stores, ids[-1] if "LastEvaluatedKey" in answer else None)

    def create_store(self, store: Store) -> None:
        """Registers a store.

        Raises:
            Conflict: it is there already.
        """
        item = _store_item(store) | encode_item({"subscription_count": 0})
        with _driver_errors("The store exists already"):
            self._client.put_item(
                TableName=self.table_name, Item=item, ConditionExpression="attribute_not_exists(store_id)"
            )

    def update_store(
        self, store_id: str, settings: StoreSettings, now: datetime, token_hash: str | None = None
    ) -> None:
        """Replaces a store's settings and, if one is given, the hash of its token.

        Raises:
            Conflict: the store is gone.
        """
        token = ", token_hash = :token_hash" if token_hash else ""
        self._update_store(
            store_id,
            f"SET settings = :settings, updated_at = :now{token} ADD revision :one",
            {
                "settings": _settings_item(settings),
                "now": now.isoformat(),
                "token_hash": token_hash,
                "one": 1,
            },
        )

    def put_provider(
        self, store_id: str, provider: str, before: ProviderSettings | None, after: ProviderSettings
    ) -> None:
        """Replaces what is agreed with one provider, but for the shop: once bound it stays bound.

        Raises:
            Conflict: the store is gone, or the secret is no longer as it was in `before`.
        """
        fields = _provider_item(after)
        if before is None:
            self._update_store(
                store_id,
                "SET providers.#provider = :provider",
                {"provider": fields},
                provider,
                " AND attribute_not_exists(providers.#provider)",
            )
        else:
            fields.pop("shops", None)
            self._update_store(
                store_id,
                "SET " + ", ".join(f"providers.#provider.{name} = :{name}" for name in fields),
                fields | {"before": before.secret_version},
                provider,
                " AND providers.#provider.secret_version = :before",
            )

    def bind_shop(self, store_id: str, provider: str, shops: tuple[str, ...]) -> bool:
        """Remembers the names of the first shop that a provider speaks of; returns whether they are now."""
        try:
            self._update_store(
                store_id,
                "SET providers.#provider.shops = :shops",
                {"shops": list(shops)},
                provider,
                " AND attribute_exists(providers.#provider)"
                " AND (attribute_not_exists(providers.#provider.shops)"
                " OR providers.#provider.shops = :shops)",
            )
        except Conflict:
            return False
        return True

    def delete_store(self, store_id: str) -> None:
        """Closes the door: no token works any more and no subscription can be added. Repeats harmlessly.

        Its subscriptions are still there for `subscription_ids` and `delete_subscriptions` to clear away.
        """
        with _driver_errors():
            self._client.delete_item(TableName=self.table_name, Key=self.store_key(store_id))

    def subscriptions(self, store_id: str) -> Subscriptions:
        """Reads a store's subscriptions, oldest first; none, at revision 0, where there is no such store."""
        return _subscriptions(list(self._query(store_id)))

    def subscriptions_named(self, names: Iterable[tuple[str, str]]) -> dict[str, Subscriptions]:
        """Reads some subscriptions of each store, by the ids of both; those that are gone are absent.

        Raises:
            Unavailable: the table is throttled or down.
        """
        keys: dict[tuple[str, str], None] = {}
        for store_id, subscription_id in names:
            kinds = (_STORE, _SUBSCRIPTION + subscription_id, _CIRCUIT + subscription_id)
            keys |= dict.fromkeys((store_id, kind) for kind in kinds)
        items: dict[str, list[Mapping[str, Any]]] = {store_id: [] for store_id, _ in keys}
        for _, item in self._read_batch((self.table_name, self._key(*key)) for key in keys):
            items[item["store_id"]["S"]].append(item)
        return {store_id: _subscriptions(theirs) for store_id, theirs in items.items()}

    def subscription_ids(self, store_id: str) -> list[str]:
        """Names a store's subscriptions even where the store itself is gone."""
        kinds = [item["kind_id"]["S"] for item in self._query(store_id)]
        return [kind.removeprefix(_SUBSCRIPTION) for kind in kinds if kind.startswith(_SUBSCRIPTION)]

    def subscription(self, store_id: str, subscription_id: str) -> Subscription | None:
        """Reads a subscription; None where there is no such one."""
        item = self._get(store_id, _SUBSCRIPTION + subscription_id)
        return _subscription(item) if item else None

    def create_subscription(self, subscription: Subscription) -> None:
        """Adds a subscription; its receiver is untried.

        Raises:
            NotFound: there is no such store.
            Conflict: the store has as many subscriptions as it may have.
        """
        ids = subscription.store_id, subscription.subscription_id
        untried = Circuit.untried(*ids, subscription.created_at)
        put = {
            "Put": {
                "TableName": self.table_name,
                "Item": _subscription_item(subscription),
                "ConditionExpression": "attribute_not_exists(store_id)",
            }
        }
        try:
            self._transact([self._revise(subscription.store_id, 1), put, {"Put": self._put_circuit(untried)}])
        except Conflict:
            if self.store(subscription.store_id) is None:
                raise NotFound("There is no such store") from None
            raise Conflict(f"A store has at most {MAX_SUBSCRIPTIONS} subscriptions") from None

    def update_subscription(self, before: Subscription, after: Subscription) -> None:
        """Replaces a subscription; where its key was rotated, the end of the overlap is noted with it.

        Raises:
            Conflict: it is no longer as it was in `before`.
        """
        put = {
            "Put": {
                "TableName": self.table_name,
                "Item": _subscription_item(after),
                "ConditionExpression": "updated_at = :before AND key_version = :key_version",
                "ExpressionAttributeValues": {
                    ":before": encode(before.updated_at.isoformat()),
                    ":key_version": encode(before.key_version),
                },
            }
        }
        overlap = []
        if (end := after.previous_key_expires_at) and end != before.previous_key_expires_at:
            entry = f"{overlap_moment(end)}{after.store_id}#{after.subscription_id}"
            noted = {"store_id": OVERLAPS, "kind_id": entry}
            overlap = [{"Put": {"TableName": self.table_name, "Item": encode_item(noted)}}]
        self._transact([self._revise(before.store_id, 0), put, *overlap])

    def delete_subscription(self, store_id: str, subscription_id: str) -> bool:
        """Removes a subscription; returns whether it was there."""
        delete = {
            "Delete": {
                "TableName": self.table_name,
                "Key": self._key(store_id, _SUBSCRIPTION + subscription_id),
                "ConditionExpression": "attribute_exists(store_id)",
            }
        }
        beside = self._deletes_beside(store_id, subscription_id)
        return self._changes([self._revise(store_id, -1), delete, *beside])

    def delete_subscriptions(self, store_id: str, subscription_ids: Sequence[str]) -> None:
        """Clears away the subscriptions of a store that is gone."""
        deletes = [
            delete
            for subscription_id in subscription_ids
            for delete in (
                {
                    "Delete": {
                        "TableName": self.table_name,
                        "Key": self._key(store_id, _SUBSCRIPTION + subscription_id),
                    }
                },
                *self._deletes_beside(store_id, subscription_id),
            )
        ]
        for start in range(0, len(deletes), _TRANSACTION_ACTIONS):
            self._transact(deletes[start : start + _TRANSACTION_ACTIONS])

    def put_circuit(self, before: Circuit | None, after: Circuit) -> bool:
        """Opens a circuit, or claims a probe of one.

        Returns:
            Whether it did: somebody else may have done it first, or the subscription may be gone.

        Raises:
            Unavailable: the table is throttled, down or too busy.
        """
        put = self._put_circuit(after)
        if before is None:
            put["ConditionExpression"] = "attribute_not_exists(store_id)"
        else:
            put["ConditionExpression"] = "probe_at = :before"
            put["ExpressionAttributeValues"] = {":before": encode(before.probe_at.isoformat())}
        named = {"store_id": _OPEN_CIRCUITS, "kind_id": after.subscription_id, "of_store": after.store_id}
        name = {"Put": {"TableName": self.table_name, "Item": encode_item(named)}}
        return self._changes(
            [
                self._revise(after.store_id, 0),
                self._while_subscribed(after),
                {"Put": put},
                *([] if after.is_untried else [name]),
            ]
        )

    def reset_circuit(self, untried: Circuit) -> bool:
        """Replaces whatever circuit a subscription has; returns whether the subscription is there.

        Raises:
            Unavailable: the table is throttled, down or too busy.
        """
        _, unnamed = self._circuit_deletes(untried.store_id, untried.subscription_id)
        put = {"Put": self._put_circuit(untried)}
        return self._changes(
            [self._revise(untried.store_id, 0), self._while_subscribed(untried), put, unnamed]
        )

    def close_circuit(self, circuit: Circuit) -> bool:
        """Closes a circuit; returns whether it was open: another may have taken its place.

        Raises:
            Unavailable: the table is throttled, down or too busy.
        """
        return self._changes([self._revise(circuit.store_id, 0), *self._closes(circuit)])

    def close_untried(self, circuits: Iterable[Circuit]) -> None:
        """Closes circuits of which nobody has to be told, in a write or two for each store.

        Raises:
            Unavailable: the table is throttled, down or too busy.
        """
        by_store: dict[str, list[Circuit]] = {}
        for circuit in circuits:
            by_store.setdefault(circuit.store_id, []).append(circuit)
        for store_id, theirs in by_store.items():
            for start in range(0, len(theirs), _CLOSED_AT_ONCE):
                together = theirs[start : start + _CLOSED_AT_ONCE]
                actions = [
                    action for circuit in together for action in self._closes(circuit, or_is_closed=True)
                ]
                if not self._changes([self._revise(store_id, 0), *actions]):
                    for circuit in together:  # another has taken the place of one
                        self.close_circuit(circuit)

    def open_circuits(self) -> list[tuple[str, str]]:
        """Names the stack's open circuits: (store_id, subscription_id) of each.

        Raises:
            Unavailable: the table is throttled or down.
        """
        return [(item["of_store"]["S"], item["kind_id"]["S"]) for item in self._query(_OPEN_CIRCUITS)]

    def circuits(self, keys: Collection[tuple[str, str]]) -> dict[str, Circuit]:
        """Reads those circuits of these (store_id, subscription_id) that are open, by subscription.

        Raises:
            Unavailable: the table is throttled or down.
        """
        wanted = ((self.table_name, self._key(store_id, _CIRCUIT + each)) for store_id, each in keys)
        circuits = (_circuit(item) for _, item in self._read_batch(wanted))
        return {circuit.subscription_id: circuit for circuit in circuits}

    def _read_batch(
        self, keys: Iterator[tuple[str, dict[str, Any]]]
    ) -> Iterator[tuple[str, Mapping[str, Any]]]:
        return read_batch(self._client, keys, time.sleep)

    def _changes(self, actions: list[dict[str, Any]]) -> bool:
        try:
            self._transact(actions)
        except Conflict:
            return False
        return True

    def reset_turns(self, subscription_id: str) -> None:
        """Forgets the turns that were taken under a rate limit: the next one is free now.

        Raises:
            Unavailable: the table is throttled or down.
        """
        with _driver_errors():
            self._client.delete_item(TableName=self.table_name, Key=turns_key(subscription_id))

    def _deletes_beside(self, store_id: str, subscription_id: str) -> list[dict[str, Any]]:
        """What there may be of a subscription besides itself."""
        turns = {"Delete": {"TableName": self.table_name, "Key": turns_key(subscription_id)}}
        return [*self._circuit_deletes(store_id, subscription_id), turns]

    def _put_circuit(self, circuit: Circuit) -> dict[str, Any]:
        return {"TableName": self.table_name, "Item": _circuit_item(circuit)}

    def _while_subscribed(self, circuit: Circuit) -> dict[str, Any]:
        """Only while there is its subscription: of one that is gone nobody would ever close the circuit."""
        check = {
            "TableName": self.table_name,
            "Key": self._key(circuit.store_id, _SUBSCRIPTION + circuit.subscription_id),
            "ConditionExpression": "attribute_exists(store_id)",
        }
        return {"ConditionCheck": check}

    def _closes(self, circuit: Circuit, *, or_is_closed: bool = False) -> list[dict[str, Any]]:
        """Closes it, also if it has been opened meanwhile; but not that of another, untried receiver."""
        own, named = self._circuit_deletes(circuit.store_id, circuit.subscription_id)
        is_closed = "attribute_not_exists(store_id) OR " if or_is_closed else ""
        own["Delete"] |= {
            "ConditionExpression": f"{is_closed}failing_since = :since "
            "OR (attribute_exists(store_id) AND NOT is_untried = :untried)",
            "ExpressionAttributeValues": {
                ":since": encode(circuit.failing_since.isoformat()),
                ":untried": encode(True),
            },
        }
        return [own, named]

    def _circuit_deletes(self, store_id: str, subscription_id: str) -> list[dict[str, Any]]:
        keys = (self._key(store_id, _CIRCUIT + subscription_id), self._key(_OPEN_CIRCUITS, subscription_id))
        return [{"Delete": {"TableName": self.table_name, "Key": key}} for key in keys]

    def store_key(self, store_id: str) -> dict[str, Any]:
        """The typed key of a store's item, to read its revision together with other items."""
        return self._key(store_id, _STORE)

    @staticmethod
    def revision_of(item: Mapping[str, Any] | None) -> int:
        """The revision in a typed store item; 0 where there is no such store."""
        return int(decode(item["revision"])) if item else 0

    def _key(self, store_id: str, kind_id: str) -> dict[str, Any]:
        return {"store_id": {"S": store_id}, "kind_id": {"S": kind_id}}

    def _get(self, store_id: str, kind_id: str) -> dict[str, Any] | None:
        with _driver_errors():
            answer = self._client.get_item(
                TableName=self.table_name, Key=self._key(store_id, kind_id), ConsistentRead=True
            )
        return answer.get("Item")

    def _query(self, store_id: str) -> Iterator[dict[str, Any]]:
        query: dict[str, Any] = {
            "TableName": self.table_name,
            "ConsistentRead": True,
            "KeyConditionExpression": "store_id = :store_id",
            "ExpressionAttributeValues": {":store_id": {"S": store_id}},
        }
        while True:
            with _driver_errors():
                page = self._client.query(**query)
            yield from page["Items"]
            if "LastEvaluatedKey" not in page:
                return
            query["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def _update_store(
        self,
        store_id: str,
        expression: str,
        values: Mapping[str, Any],
        provider: str | None = None,
        condition: str = "",
    ) -> None:
        names: dict[str, Any] = {"ExpressionAttributeNames": {"#provider": provider}} if provider else {}
        with _driver_errors("The store has changed in the meantime"):
            self._client.update_item(
                TableName=self.table_name,
                Key=self.store_key(store_id),
                UpdateExpression=expression,
                ConditionExpression="attribute_exists(store_id)" + condition,
                ExpressionAttributeValues=encode_item({f":{name}": value for name, value in values.items()}),
                **names,
            )

    def _revise(self, store_id: str, added: int) -> dict[str, Any]:
        """Moves the store's revision; `added` says how many subscriptions it has more."""
        values = encode_item({":one": 1, ":added": added})
        condition = "attribute_exists(store_id)"
        if added > 0:
            values[":max"] = encode(MAX_SUBSCRIPTIONS)
            condition += " AND subscription_count < :max"
        return {
            "Update": {
                "TableName": self.table_name,
                "Key": self.store_key(store_id),
                "UpdateExpression": "ADD revision :one, subscription_count :added",
                "ConditionExpression": condition,
                "ExpressionAttributeValues": values,
            }
        }

    def _transact(self, actions: list[dict[str, Any]]) -> None:
        """Writes all or nothing; two at once on one store are a conflict that passes by itself.

        Raises:
            Conflict: a condition does not hold.
            Unavailable: the table is throttled, down or too busy.
        """
        for attempt in range(_TRIES):
            try:
                with _driver_errors():
                    self._client.transact_write_items(TransactItems=actions)  # type: ignore[arg-type] # built as dicts
            except _Busy:
                time.sleep(random.uniform(0.01, 0.05) * 2**attempt)  # noqa: S311 - spreads retries, hides nothing
            else:
                return
        raise Unavailable("The registry is busy")


def _subscriptions(items: Sequence[Mapping[str, Any]]) -> Subscriptions:
    """Puts a store's items together; none, at revision 0, without the store's own."""
    kinds = [item["kind_id"]["S"] for item in items]
    if _STORE not in kinds:
        return Subscriptions(0, ())
    store = _store(items[kinds.index(_STORE)])
    named = list(zip(kinds, items, strict=True))
    circuits = (_circuit(item) for kind, item in named if kind.startswith(_CIRCUIT))
    return Subscriptions(
        store.revision,
        tuple(_subscription(item) for kind, item in named if kind.startswith(_SUBSCRIPTION)),
        store.settings,
        {circuit.subscription_id: circuit for circuit in circuits},
    )


def overlap_moment(moment: datetime) -> str:
    """A time as the beginning of an entry in `OVERLAPS`: of two, the earlier sorts first."""
    return f"{(moment - _EPOCH) // _MILLISECOND:013}#"


class _Busy(Exception):
    """Another transaction was at work on the same items."""


@contextmanager
def _driver_errors(conflict: str = "It has changed in the meantime") -> Iterator[None]:
    """Adds to `driver_errors` what a condition that does not hold means here."""
    try:
        with driver_errors():
            yield
    except ClientError as error:
        match error.response["Error"]["Code"]:
            case "ConditionalCheckFailedException":
                raise Conflict(conflict) from None
            case "TransactionCanceledException":
                if "ConditionalCheckFailed" in _reasons(error):
                    raise Conflict(conflict) from None
                raise _Busy from error
            case "TransactionConflictException":
                raise Unavailable("The registry is busy") from error
        raise


def _reasons(error: ClientError) -> list[str]:
    reasons: list[dict[str, Any]] = error.response.get("CancellationReasons", [])  # type: ignore[assignment] # untyped
    return [reason.get("Code", "") for reason in reasons]


def _store_item(store: Store) -> dict[str, Any]:
    return encode_item(
        {
            "store_id": store.store_id,
            "kind_id": _STORE,
            "settings": _settings_item(store.settings),
            "token_hash": store.token_hash,
            "providers": {name: _provider_item(provider) for name, provider in store.providers.items()},
            "revision": store.revision,
            "created_at": store.created_at.isoformat(),
            "updated_at": store.updated_at.isoformat(),
        }
    )


def _settings_item(settings: StoreSettings) -> dict[str, Any]:
    # What nobody set stays out, so a default that changes later changes for every store that left it.
    return settings.model_dump(exclude_defaults=True)


def _provider_item(provider: ProviderSettings) -> dict[str, Any]:
    bound = {"shops": list(provider.shops)} if provider.shops else {}
    return {
        "configured_at": provider.configured_at.isoformat(),
        "secret_version": provider.secret_version,
        "recipe": provider.recipe.value,
        **bound,
    }


def _store(item: Mapping[str, Any]) -> Store:
    fields = decode_item(item)
    captured = fields.get("captured_until")  # see `tables.captures`
    return Store(
        store_id=fields["store_id"],
        # A version of this code that is gone back to does not stumble over what a later one wrote.
        settings=StoreSettings.model_validate(fields["settings"], extra="ignore"),
        token_hash=fields["token_hash"],
        providers={name: _provider(provider) for name, provider in fields["providers"].items()},
        revision=fields["revision"],
        created_at=datetime.fromisoformat(fields["created_at"]),
        updated_at=datetime.fromisoformat(fields["updated_at"]),
        captured_until=datetime.fromisoformat(captured) if captured else None,
    )


def _provider(fields: Mapping[str, Any]) -> ProviderSettings:
    return ProviderSettings(
        configured_at=datetime.fromisoformat(fields["configured_at"]),
        secret_version=fields["secret_version"],
        recipe=Recipe(fields["recipe"]),
        shops=tuple(fields.get("shops", ())),
    )


def _subscription_item(subscription: Subscription) -> dict[str, Any]:
    expires = subscription.previous_key_expires_at
    return encode_item(
        {
            "store_id": subscription.store_id,
            "kind_id": _SUBSCRIPTION + subscription.subscription_id,
            "topic": subscription.topic,
            "version": subscription.version,
            "callback_url": subscription.callback_url,
            "events": [event.value for event in subscription.events],
            "consent": subscription.consent.value,
            "requires": [required.value for required in subscription.requires],
            "rate_limit_per_second": subscription.rate_limit_per_second,
            "paused": subscription.paused,
            "recipe": subscription.recipe.value if subscription.recipe else None,
            "header_names": list(subscription.header_names),
            "key_version": subscription.key_version,
            "previous_key_expires_at": expires.isoformat() if expires else None,
            "disabled_reason": subscription.disabled_reason,
            "created_at": subscription.created_at.isoformat(),
            "updated_at": subscription.updated_at.isoformat(),
        }
    )


def _subscription(item: Mapping[str, Any]) -> Subscription:
    fields = decode_item(item)
    expires = fields.get("previous_key_expires_at")
    recipe = fields.get("recipe")
    return Subscription(
        subscription_id=fields["kind_id"].removeprefix(_SUBSCRIPTION),
        store_id=fields["store_id"],
        topic=fields["topic"],
        version=fields["version"],
        callback_url=fields["callback_url"],
        events=tuple(map(EventType, fields["events"])),
        consent=ConsentRule(fields.get("consent", ConsentRule.NOT_DENIED)),
        requires=tuple(map(Required, fields.get("requires", ()))),
        rate_limit_per_second=fields.get("rate_limit_per_second"),
        paused=fields["paused"],
        recipe=Recipe(recipe) if recipe else None,
        header_names=tuple(fields["header_names"]),
        key_version=fields["key_version"],
        previous_key_expires_at=datetime.fromisoformat(expires) if expires else None,
        disabled_reason=fields.get("disabled_reason"),
        created_at=datetime.fromisoformat(fields["created_at"]),
        updated_at=datetime.fromisoformat(fields["updated_at"]),
    )


def _circuit_item(circuit: Circuit) -> dict[str, Any]:
    return encode_item(
        {
            "store_id": circuit.store_id,
            "kind_id": _CIRCUIT + circuit.subscription_id,
            "failing_since": circuit.failing_since.isoformat(),
            "probe_at": circuit.probe_at.isoformat(),
            "wait_seconds": int(circuit.wait.total_seconds()),
            "is_told": circuit.is_told,
            "is_untried": circuit.is_untried,
        }
    )


def _circuit(item: Mapping[str, Any]) -> Circuit:
    fields = decode_item(item)
    return Circuit(
        store_id=fields["store_id"],
        subscription_id=fields["kind_id"].removeprefix(_CIRCUIT),
        failing_since=datetime.fromisoformat(fields["failing_since"]),
        probe_at=datetime.fromisoformat(fields["probe_at"]),
        wait=timedelta(seconds=fields["wait_seconds"]),
        is_told=fields["is_told"],
        is_untried=fields.get("is_untried", False),
    )
