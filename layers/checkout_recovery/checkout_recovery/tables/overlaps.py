"""The overlaps of rotations, in RegistryTable: when which subscription has a key that has ended.

One partition of the stack's, by time, so that what has ended is read without a look at anything else. An
entry is written with the rotation, in one transaction, and stays until its key has left SSM.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from checkout_recovery.tables.driver import driver_errors
from checkout_recovery.tables.registry import OVERLAPS, overlap_moment

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_PARTITION = {"S": OVERLAPS}
_PAGE = 100


@dataclass(frozen=True, slots=True)
class Overlap:
    """That a key of a subscription ends."""

    entry: str
    """Its key in the partition."""
    store_id: str
    subscription_id: str


class Overlaps:
    def __init__(self, client: "DynamoDBClient", table_name: str) -> None:
        self._client = client
        self._table_name = table_name

    def ended(self, now: datetime) -> Iterator[list[Overlap]]:
        """Yields those that have ended, by pages, the longest ago first.

        Raises:
            Unavailable: DynamoDB is throttled or down.
        """
        query: dict[str, Any] = {
            "TableName": self._table_name,
            "ConsistentRead": True,
            "KeyConditionExpression": "store_id = :overlaps AND kind_id < :now",
            "ExpressionAttributeValues": {":overlaps": _PARTITION, ":now": {"S": overlap_moment(now)}},
            "Limit": _PAGE,
        }
        while True:
            with driver_errors():
                answer = self._client.query(**query)
            yield [_overlap(item["kind_id"]["S"]) for item in answer["Items"]]
            if "LastEvaluatedKey" not in answer:
                return
            query["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def forget(self, overlap: Overlap) -> None:
        """Takes an entry away; one that is gone is no error.

        Raises:
            Unavailable: DynamoDB is throttled or down.
        """
        key: Any = {"store_id": _PARTITION, "kind_id": {"S": overlap.entry}}
        with driver_errors():
            self._client.delete_item(TableName=self._table_name, Key=key)


def _overlap(entry: str) -> Overlap:
    _, store_id, subscription_id = entry.split("#", 2)
    return Overlap(entry, store_id, subscription_id)
