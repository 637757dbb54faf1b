"""CheckoutTable: each checkout as it stands. Its stream is the bus: the new image of a write is the event.

An item holds only what DynamoDB itself needs as attributes of its own (keys, version, indexes, expiry)
and the event for the stream's filter. All else is one JSON string, ``data``: a DynamoDB number would drop
the zeros of ``170.00``, and one string costs a fraction of the CPU of a tree of typed attributes.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from zlib import crc32

from botocore.exceptions import ClientError

from checkout_recovery.checkout.lifecycle import Checkout
from checkout_recovery.errors import BrokenRecord, CheckoutRecoveryError, MalformedRequest
from checkout_recovery.json_codec import parse_own
from checkout_recovery.tables.driver import driver_errors

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

MAX_DATA_BYTES = 380_000
"""DynamoDB takes 400 KB an item; the rest is for keys, event and indexes."""

_ATTRIBUTES = {"store_id", "checkout_id", "alias", "sequence", "event", "due_at"}


class Outdated(CheckoutRecoveryError):
    """Somebody else wrote the checkout first; `current` is what stands now."""

    def __init__(self, current: Checkout) -> None:
        super().__init__("the checkout has moved on")
        self.current = current


class CheckoutTable:
    """Loads and saves checkouts; a save succeeds only on the version that was loaded."""

    def __init__(self, client: "DynamoDBClient", table_name: str, due_shards: int) -> None:
        self._client = client
        self.table_name = table_name
        self._due_shards = due_shards

    def load(self, store_id: str, checkout_id: str) -> Checkout:
        """Returns the checkout as it stands, at sequence 0 where there is none yet.

        Raises:
            Unavailable: DynamoDB is throttled or down.
        """
        with driver_errors():
            answer = self._client.get_item(
                TableName=self.table_name,
                Key={"store_id": {"S": store_id}, "checkout_id": {"S": checkout_id}},
                ConsistentRead=True,
            )
        if item := answer.get("Item"):
            return decode(item)
        return Checkout(store_id=store_id, checkout_id=checkout_id)

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

    def save(self, checkout: Checkout, expires_at: datetime) -> None:
        """Writes the next version of a checkout.

        Args:
            checkout: the checkout with its sequence one above the version that it was made from.
            expires_at: when DynamoDB may delete it; it does so hours to days later.

        Raises:
            Outdated: another version was written meanwhile.
            MalformedRequest: the checkout has grown beyond what an item can hold.
            Unavailable: DynamoDB is throttled or down.
        """
        item = encode(checkout, expires_at, self._due_shards)
        try:
            with driver_errors():
                self._client.put_item(
                    TableName=self.table_name,
                    Item=item,
                    ConditionExpression="attribute_not_exists(#sequence) OR #sequence = :before",
                    ExpressionAttributeNames={"#sequence": "sequence"},
                    ExpressionAttributeValues={":before": {"N": str(checkout.sequence - 1)}},
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            raise Outdated(self._current(checkout, error)) from None

    def _current(self, checkout: Checkout, error: ClientError) -> Checkout:
        answer: Mapping[str, Any] = error.response
        if item := answer.get("Item"):
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
        item["due_at"] = {"N": _milliseconds(checkout.due_at)}
    return item


def decode(item: Mapping[str, Any]) -> Checkout:
    """Reads a checkout from a table's item or a stream's image.

    Raises:
        BrokenRecord: this module did not write the item.
    """
    try:
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


def _milliseconds(time: datetime) -> str:
    return str(int(time.timestamp() * 1000))


def _time(milliseconds: str) -> datetime:
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC)


def _shard(checkout: Checkout, shards: int) -> str:
    return str(crc32(f"{checkout.store_id}\n{checkout.checkout_id}".encode()) % shards)
