"""Captures of refused requests, in RegistryTable: of which store, until when, and how many more are kept.

The store's own item says until when, so that ingest, which reads it before it refuses anybody, makes no
further call while nothing is captured. How many are left is counted in an item of its own, in one conditional
write a request: a flood takes what is left and no more.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from checkout_recovery.errors import NotFound, Unavailable
from checkout_recovery.tables.codec import decode_item, encode, encode_item
from checkout_recovery.tables.driver import driver_errors
from checkout_recovery.tables.token_hashes import STORE

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

LENGTH = timedelta(hours=1)
REQUESTS = 10


@dataclass(frozen=True, slots=True)
class Capture:
    """How a store's capture stands."""

    until: datetime | None
    """None where nothing is captured."""
    left: int
    """How many refused requests will be kept yet."""


OFF = Capture(None, 0)


class Captures:
    def __init__(self, client: "DynamoDBClient", table_name: str) -> None:
        self._client = client
        self._table_name = table_name

    def start(self, store_id: str, now: datetime) -> Capture:
        """Captures a store's next refused requests; started again, it begins anew.

        Raises:
            NotFound: there is no such store.
            Unavailable: DynamoDB is throttled, down or busy.
        """
        until = now + LENGTH
        counter = {**_key(store_id), **encode_item({"until": until.isoformat(), "left": REQUESTS})}
        mark = self._mark("SET captured_until = :until", store_id)
        mark["ExpressionAttributeValues"] = {":until": encode(until.isoformat())}
        self._transact(
            [{"Put": {"TableName": self._table_name, "Item": counter}}, {"Update": mark}],
        )
        return Capture(until, REQUESTS)

    def stop(self, store_id: str) -> None:
        """Captures nothing more of a store.

        Raises:
            NotFound: there is no such store.
            Unavailable: DynamoDB is throttled, down or busy.
        """
        counter = {"TableName": self._table_name, "Key": _key(store_id)}
        self._transact([{"Delete": counter}, {"Update": self._mark("REMOVE captured_until", store_id)}])

    def get(self, store_id: str, now: datetime) -> Capture:
        """Reads how a store's capture stands.

        Raises:
            Unavailable: DynamoDB is throttled or down.
        """
        with driver_errors():
            answer = self._client.get_item(
                TableName=self._table_name, Key=_key(store_id), ConsistentRead=True
            )
        if "Item" not in answer:
            return OFF
        fields = decode_item(answer["Item"])
        until = datetime.fromisoformat(fields["until"])
        return Capture(until, fields["left"]) if now < until else OFF

    def take(self, store_id: str, now: datetime) -> bool:
        """Takes one of the requests that are left; returns whether there was one.

        Raises:
            Unavailable: DynamoDB is throttled or down.
        """
        try:
            with driver_errors():
                self._client.update_item(
                    TableName=self._table_name,
                    Key=_key(store_id),
                    UpdateExpression="SET #left = #left - :one",
                    ConditionExpression="#left > :none AND #until > :now",
                    ExpressionAttributeNames={"#left": "left", "#until": "until"},
                    ExpressionAttributeValues=encode_item({":one": 1, ":none": 0, ":now": now.isoformat()}),
                )
        except ClientError as error:
            match error.response["Error"]["Code"]:
                case "ConditionalCheckFailedException":
                    return False
                case "TransactionConflictException":
                    raise Unavailable("The capture is being changed.") from None
            raise
        return True

    def _mark(self, update: str, store_id: str) -> dict[str, Any]:
        return {
            "TableName": self._table_name,
            "Key": {"store_id": {"S": store_id}, "kind_id": {"S": STORE}},
            "UpdateExpression": update,
            "ConditionExpression": "attribute_exists(store_id)",
        }

    def _transact(self, actions: list[dict[str, Any]]) -> None:
        try:
            with driver_errors():
                self._client.transact_write_items(TransactItems=actions)  # type: ignore[arg-type] # built as dicts
        except ClientError as error:
            answer: Mapping[str, Any] = error.response
            reasons = {reason.get("Code") for reason in answer.get("CancellationReasons", ())}
            if "ConditionalCheckFailed" in reasons:
                raise NotFound("There is no such store") from None
            if answer["Error"]["Code"] in ("TransactionCanceledException", "TransactionConflictException"):
                raise Unavailable("The store is being changed at this moment.") from None
            raise


def _key(store_id: str) -> dict[str, Any]:
    """In a partition that no store can be called by."""
    return {"store_id": {"S": f"#capture#{store_id}"}, "kind_id": {"S": "capture"}}
