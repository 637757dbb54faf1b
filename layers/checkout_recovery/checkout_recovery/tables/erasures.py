"""The log of erasures, in RegistryTable: that, when and by whom one was done, and nothing of whom it was.

Each store has a partition for it, apart from its subscriptions', which is read whole on the way of every
event.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from checkout_recovery.subscriptions.subscription import sortable_id
from checkout_recovery.tables.codec import decode_item, encode_item
from checkout_recovery.tables.driver import driver_errors

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

ERASURE_ID = re.compile(r"era_[0-9A-HJKMNP-TV-Z]{26}", re.ASCII)


class By(StrEnum):
    """Who asked for an erasure."""

    STORE = "store"
    ADMIN = "admin"
    SHOPIFY = "shopify"


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """That a shopper was erased."""

    erasure_id: str
    """Sorts by its time."""
    at: datetime
    by: By
    checkouts: int
    """How many were deleted."""


@dataclass(frozen=True, slots=True)
class ErasurePage:
    items: tuple[Erasure, ...]
    next_cursor: str | None


def new_erasure_id(now: datetime) -> str:
    return sortable_id("era_", now)


class ErasureLog:
    def __init__(self, client: "DynamoDBClient", table_name: str) -> None:
        self._client = client
        self._table_name = table_name

    def record(self, store_id: str, erasure: Erasure) -> None:
        """Writes an erasure down.

        Raises:
            Unavailable: DynamoDB is throttled or down.
        """
        item = {
            "store_id": _partition(store_id),
            "kind_id": erasure.erasure_id,
            "at": erasure.at.isoformat(),
            "by": erasure.by.value,
            "checkouts": erasure.checkouts,
        }
        with driver_errors():
            self._client.put_item(TableName=self._table_name, Item=encode_item(item))

    def page(self, store_id: str, limit: int, cursor: str | None = None) -> ErasurePage:
        """Lists a store's erasures, the newest first.

        Args:
            store_id: whose.
            limit: how many at most.
            cursor: `next_cursor` of the page before.

        Raises:
            Unavailable: DynamoDB is throttled or down.
        """
        query: dict[str, Any] = {
            "TableName": self._table_name,
            "ConsistentRead": True,
            "KeyConditionExpression": "store_id = :store_id",
            "ExpressionAttributeValues": {":store_id": {"S": _partition(store_id)}},
            "ScanIndexForward": False,
            "Limit": limit,
        }
        if cursor:
            query["KeyConditionExpression"] += " AND kind_id < :cursor"
            query["ExpressionAttributeValues"][":cursor"] = {"S": cursor}
        with driver_errors():
            answer = self._client.query(**query)
        items = tuple(map(_erasure, answer["Items"]))
        return ErasurePage(items, items[-1].erasure_id if "LastEvaluatedKey" in answer else None)


def _partition(store_id: str) -> str:
    """No store can be called so."""
    return f"#erasures#{store_id}"


def _erasure(item: Any) -> Erasure:
    fields = decode_item(item)
    return Erasure(
        erasure_id=fields["kind_id"],
        at=datetime.fromisoformat(fields["at"]),
        by=By(fields["by"]),
        checkouts=fields["checkouts"],
    )
