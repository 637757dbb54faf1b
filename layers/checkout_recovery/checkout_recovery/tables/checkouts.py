"""CheckoutTable: each checkout as it stands. Its stream is the bus: the new image of a write is the event.

An item holds only what DynamoDB itself needs as attributes of its own (keys, version, indexes, expiry)
and the event for the stream's filter. All else is one JSON string, ``data``: a DynamoDB number would drop
the zeros of ``170.00``, and one string costs a fraction of the CPU of a tree of typed attributes.

Where a checkout was erased a tombstone stays: its ids and its number, from which the next one's go on. It has
no event, so the stream's filter lets it out to nobody, and no ``data``.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zlib import crc32

from botocore.exceptions import ClientError

from checkout_recovery.checkout.event import EventType
from checkout_recovery.checkout.lifecycle import Checkout
from checkout_recovery.errors import BrokenRecord, CheckoutRecoveryError, MalformedRequest, Unavailable
from checkout_recovery.json_codec import parse_own
from checkout_recovery.tables.batch import KEYS_A_READ, read_batch
from checkout_recovery.tables.driver import driver_errors

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

MAX_DATA_BYTES = 380_000
"""DynamoDB takes 400 KB an item; the rest is for keys, event and indexes."""

_EPOCH, _MILLISECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)

TOLD_AGAIN = timedelta(days=400)
"""For how long a tombstone stays: as long as receivers and the delivery log know events by their ids."""

_ATTRIBUTES = {"store_id", "checkout_id", "alias", "sequence", "event", "due_at"}


class Outdated(CheckoutRecoveryError):
    """Somebody else wrote the checkout first; `current` is what stands now."""

    def __init__(self, current: Checkout) -> None:
        super().__init__("the checkout has moved on")
        self.current = current


class Contended(CheckoutRecoveryError):
    """What was read beside the checkout has changed: the decision has to be made anew."""


@dataclass(frozen=True, slots=True)
class Due:
    """A checkout of the `due` index: its time may have come."""

    store_id: str
    checkout_id: str
    due_at: datetime

    @property
    def key(self) -> tuple[str, str]:
        return self.store_id, self.checkout_id


class CheckoutTable:
    """Loads and saves checkouts; a save succeeds only on the version that was loaded."""

    def __init__(
        self,
        client: "DynamoDBClient",
        table_name: str,
        due_shards: int,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self.table_name = table_name
        self._due_shards = due_shards
        self._sleep = sleep

    OUTCOME = "store_id, checkout_id, event"
    """What of an item `is_bought` needs."""

    @staticmethod
    def key(store_id: str, checkout_id: str) -> dict[str, Any]:
        """The typed key of a checkout's item, to read it together with other items."""
        return {"store_id": {"S": store_id}, "checkout_id": {"S": checkout_id}}

    @staticmethod
    def is_bought(item: Mapping[str, Any]) -> bool:
        """Whether a typed item's checkout is not to be told as abandoned: it is bought, or was erased.

        A write after the purchase keeps its event; only a tombstone has none.
        """
        if "event" not in item:
            return True
        return item["event"]["M"]["type"]["S"] in (EventType.COMPLETED, EventType.RECOVERED)

    def load(self, store_id: str, checkout_id: str) -> Checkout:
        """Returns the checkout as it stands; where there is none, one that `is_known` not, to begin from.

        Raises:
            Unavailable: DynamoDB is throttled or down.
        """
        with driver_errors():
            answer = self._client.get_item(
                TableName=self.table_name,
                Key=self.key(store_id, checkout_id),
                ConsistentRead=True,
            )
        if item := answer.get("Item"):
            return decode(item)
        return Checkout(store_id=store_id, checkout_id=checkout_id)

    def load_all(self, keys: Collection[tuple[str, str]]) -> dict[tuple[str, str], Checkout | None]:
        """Returns those that there are of these (store_id, checkout_id), as they stand; none that was erased.

        One that cannot be read is None: it must not keep the others from being found.

        Raises:
            Unavailable: DynamoDB is throttled or down.
        """
        wanted = ((self.table_name, self.key(*key)) for key in dict.fromkeys(keys))
        found: dict[tuple[str, str], Checkout | None] = {}
        for _, item in read_batch(self._client, wanted, self._sleep):
            key = item["store_id"]["S"], item["checkout_id"]["S"]
            if _is_tombstone(item):
                continue
            try:
                found[key] = decode(item)
            except BrokenRecord:
                found[key] = None
        return found

    def due(self, shard: int, now: datetime, page: int = KEYS_A_READ) -> Iterator[list[Due]]:
        """Yields the checkouts of one shard whose time has come, by pages, the longest due first.

        The index follows the table: what it names may have moved on, and what was written in the last second
        may not be in it yet.

        Raises:
            Unavailable: DynamoDB is throttled or down.
        """
        query: dict[str, Any] = {
            "TableName": self.table_name,
            "IndexName": "due",
            "KeyConditionExpression": "due_shard = :shard AND due_at <= :now",
            "ExpressionAttributeValues": {
                ":shard": {"S": str(shard)},
                ":now": {"N": str((now - _EPOCH) // _MILLISECOND)},
            },
            "Limit": page,
        }
        while True:
            with driver_errors():
                answer = self._client.query(**query)
            yield [
                Due(item["store_id"]["S"], item["checkout_id"]["S"], _time(item["due_at"]["N"]))
                for item in answer["Items"]
            ]
            if "LastEvaluatedKey" not in answer:
                return
            query["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def find_by_alias(self, store_id: str, alias: str) -> str | None:
        """Returns the id of the checkout that has this second id.

        The index follows the table within a second or so: a checkout made just now may not be found.
        """
        with driver_errors():
            answer = self._client.query(
                TableName=self.table_name,
                IndexName="alias",
                KeyConditionExpression="store_id = :store AND alias = :alias",
                ExpressionAttributeValues={":store": {"S": store_id}, ":alias": {"S": alias}},
                Limit=1,
            )
        items = answer["Items"]
        return items[0]["checkout_id"]["S"] if items else None

    def save(
        self, checkout: Checkout, expires_at: datetime, claims: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        """Writes the next version of a checkout.

        Args:
            checkout: the checkout with its sequence one above the version that it was made from.
            expires_at: when DynamoDB may delete it; it does so hours to days later.
            claims: actions that have to succeed with it, all or none (see `ShopperTable.claims`).

        Raises:
            Outdated: another version was written meanwhile.
            Contended: a claim failed, or another transaction was at work on the same items.
            MalformedRequest: the checkout has grown beyond what an item can hold.
            Unavailable: DynamoDB is throttled or down.
        """
        put: dict[str, Any] = {
            "TableName": self.table_name,
            "Item": encode(checkout, expires_at, self._due_shards),
            "ConditionExpression": "attribute_not_exists(#sequence)",
            "ExpressionAttributeNames": {"#sequence": "sequence"},
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        if before := checkout.sequence - 1:
            # Nothing else will do: one that was erased or has expired meanwhile must not come back.
            put["ConditionExpression"] = "#sequence = :before"
            put["ExpressionAttributeValues"] = {":before": {"N": str(before)}}
        try:
            with driver_errors():
                if claims:
                    actions: Any = [{"Put": put}, *claims]
                    self._client.transact_write_items(TransactItems=actions)
                else:
                    self._client.put_item(**put)
        except ClientError as error:
            match error.response["Error"]["Code"]:
                case "ConditionalCheckFailedException":
                    raise Outdated(self._current(checkout, error.response)) from None
                case "TransactionCanceledException" | "TransactionConflictException":
                    raise self._cancelled(checkout, error) from None
            raise

    def erase(self, checkout: Checkout, now: datetime) -> None:
        """Leaves of a checkout, in the version that was loaded, a tombstone; that is no event to tell.

        The tombstone is a version of its own, so that no write from before the erasure brings it back.

        Args:
            checkout: as it was loaded.
            now: UTC; the tombstone stays for `TOLD_AGAIN` from now.

        Raises:
            Outdated: another version was written meanwhile, or it is gone already.
            Contended: a transaction is at work on it.
            Unavailable: DynamoDB is throttled or down.
        """
        try:
            with driver_errors():
                self._client.put_item(
                    TableName=self.table_name,
                    Item=_tombstone(checkout, now + TOLD_AGAIN),
                    ConditionExpression="#sequence = :seen",
                    ExpressionAttributeNames={"#sequence": "sequence"},
                    ExpressionAttributeValues={":seen": {"N": str(checkout.sequence)}},
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
        except ClientError as error:
            match error.response["Error"]["Code"]:
                case "ConditionalCheckFailedException":
                    raise Outdated(self._current(checkout, error.response)) from None
                case "TransactionConflictException":
                    raise Contended("the checkout is being written") from None
            raise

    def _cancelled(self, checkout: Checkout, error: ClientError) -> CheckoutRecoveryError:
        answer: Mapping[str, Any] = error.response
        reasons = answer.get("CancellationReasons") or [{}]
        if reasons[0].get("Code") == "ConditionalCheckFailed":
            return Outdated(self._current(checkout, reasons[0]))
        codes = {reason.get("Code", "None") for reason in reasons}
        if codes <= {"None", "ConditionalCheckFailed", "TransactionConflict"}:
            return Contended("the shopper has moved on")
        return Unavailable("The checkouts' table is throttled.")

    def _current(self, checkout: Checkout, failure: Mapping[str, Any]) -> Checkout:
        if item := failure.get("Item"):
            return decode(item)
        return self.load(checkout.store_id, checkout.checkout_id)


def encode(checkout: Checkout, expires_at: datetime, due_shards: int) -> dict[str, Any]:
    """Writes a checkout as a table's item.

    Raises:
        MalformedRequest: it has grown beyond what an item can hold.
        BrokenRecord: it has no event, so it is not a write.
    """
    data = checkout.model_dump_json(exclude=_ATTRIBUTES, exclude_defaults=True)
    if len(data.encode()) > MAX_DATA_BYTES:
        raise MalformedRequest("The checkout would be larger than can be kept.")
    if checkout.event is None:
        raise BrokenRecord("a write without an event")
    item: dict[str, Any] = {
        "store_id": {"S": checkout.store_id},
        "checkout_id": {"S": checkout.checkout_id},
        "sequence": {"N": str(checkout.sequence)},
        "event": {
            "M": {
                "id": {"S": checkout.event.id},
                "type": {"S": checkout.event.type.value},
                "time": {"S": checkout.event.time.isoformat()},
            }
        },
        "expires_at": {"N": str(int(expires_at.timestamp()))},
        "data": {"S": data},
    }
    if checkout.alias:
        item["alias"] = {"S": checkout.alias}
    if checkout.due_at:
        item["due_shard"] = {"S": _shard(checkout, due_shards)}
        item["due_at"] = {"N": str(-((_EPOCH - checkout.due_at) // _MILLISECOND))}  # rounded up
    return item


def _tombstone(checkout: Checkout, expires_at: datetime) -> dict[str, Any]:
    return {
        **CheckoutTable.key(checkout.store_id, checkout.checkout_id),
        "sequence": {"N": str(checkout.sequence + 1)},
        "expires_at": {"N": str(int(expires_at.timestamp()))},
    }


def _is_tombstone(item: Mapping[str, Any]) -> bool:
    return item.keys() == {"store_id", "checkout_id", "sequence", "expires_at"}


def decode(item: Mapping[str, Any]) -> Checkout:
    """Reads a checkout from a table's item or a stream's image; a tombstone is one that `is_known` not.

    Raises:
        BrokenRecord: this module did not write the item.
    """
    try:
        if _is_tombstone(item):
            version = int(item["sequence"]["N"])
            return Checkout(
                store_id=item["store_id"]["S"],
                checkout_id=item["checkout_id"]["S"],
                sequence=version,
                erased_at=version,
            )
        return Checkout.model_validate(
            {
                **parse_own(item["data"]["S"]),
                "store_id": item["store_id"]["S"],
                "checkout_id": item["checkout_id"]["S"],
                "alias": item["alias"]["S"] if "alias" in item else None,
                "sequence": int(item["sequence"]["N"]),
                "event": {name: value["S"] for name, value in item["event"]["M"].items()},
                "due_at": _time(item["due_at"]["N"]) if "due_at" in item else None,
            }
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BrokenRecord(f"not a checkout: {type(error).__name__}") from None


def _time(milliseconds: str) -> datetime:
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC)


def _shard(checkout: Checkout, shards: int) -> str:
    return str(crc32(f"{checkout.store_id}\n{checkout.checkout_id}".encode()) % shards)
