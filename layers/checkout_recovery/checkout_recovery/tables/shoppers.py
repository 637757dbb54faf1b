"""ShopperTable: what is known by a shopper's handles, over all their checkouts at a store.

Under each handle (see `checkout.shopper`) there is one record, ``shopper``, of when an abandonment was last
told and what was last bought, and one link ``checkout#…`` to each checkout that has it. Whoever adds a link
reads the record after it, and whoever records a purchase reads the links after it, so of a purchase and a
checkout that come at the same moment at least one finds the other. Keyed hashes, ids and times; no datum.
"""

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import ClientError

from checkout_recovery.checkout.shopper import UNKNOWN, Purchase, Shopper
from checkout_recovery.errors import Unavailable
from checkout_recovery.tables.driver import driver_errors

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

KEPT = timedelta(days=31)
"""How long a record is kept after its last change: longer than any cooldown."""

_Name = TypeVar("_Name")

_RECORD = "shopper"
_LINK = "checkout#"
_LINKS_A_HANDLE = 25
"""How many of a handle's checkouts are looked at, newest first; a shopper has one or two open."""
_KEYS_A_READ = 100
_ITEMS_A_WRITE = 25
_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Known:
    """What the records of one shopper's handles say, and the versions by which to see that they still do."""

    shopper: Shopper
    versions: Mapping[str, int]
    """By handle; 0 where there is no record."""
    told: Mapping[str, datetime | None]
    """By handle: when an abandonment was last told."""


class ShopperTable:
    def __init__(
        self, client: "DynamoDBClient", table_name: str, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._client = client
        self.table_name = table_name
        self._sleep = sleep

    def link(self, handles: Iterable[str], checkout_id: str, now: datetime, expires_at: datetime) -> None:
        """Says that a checkout is known by these handles too.

        Raises:
            Unavailable: DynamoDB is throttled or down.
        """
        puts: Any = [
            {
                "PutRequest": {
                    "Item": {
                        "handle": {"S": handle},
                        "item": {"S": f"{_LINK}{_milliseconds(now):013}#{checkout_id}"},
                        "expires_at": {"N": str(int(expires_at.timestamp()))},
                    }
                }
            }
            for handle in handles
        ]
        for start in range(0, len(puts), _ITEMS_A_WRITE):
            left = puts[start : start + _ITEMS_A_WRITE]
            for round_ in range(_ROUNDS):
                with driver_errors():
                    answer = self._client.batch_write_item(RequestItems={self.table_name: left})
                left = (answer.get("UnprocessedItems") or {}).get(self.table_name, [])
                if not left:
                    break
                self._sleep(0.05 * 2**round_)
            else:
                raise Unavailable("The shoppers' table is throttled.")

    def checkouts_of(self, handle: str) -> list[str]:
        """Returns the ids of the checkouts that have a handle, the newest link first.

        Raises:
            Unavailable: DynamoDB is throttled or down.
        """
        with driver_errors():
            answer = self._client.query(
                TableName=self.table_name,
                ConsistentRead=True,
                KeyConditionExpression="handle = :handle AND begins_with(#item, :link)",
                ExpressionAttributeNames={"#item": "item"},
                ExpressionAttributeValues={":handle": {"S": handle}, ":link": {"S": _LINK}},
                ScanIndexForward=False,
                Limit=_LINKS_A_HANDLE,
            )
        return [item["item"]["S"].split("#", 2)[2] for item in answer["Items"]]

    def known(self, handles: Collection[str]) -> Known:
        """Reads one shopper's records.

        Raises:
            Unavailable: DynamoDB is throttled or down.
        """
        return self.known_of({"": handles})[""]

    def known_of(self, shoppers: Mapping[_Name, Collection[str]]) -> dict[_Name, Known]:
        """Reads the records of several shoppers, each under a name, in as few calls as can be.

        Raises:
            Unavailable: DynamoDB is throttled or down.
        """
        wanted = list(dict.fromkeys(handle for handles in shoppers.values() for handle in handles))
        items: dict[str, Mapping[str, Any]] = {}
        for start in range(0, len(wanted), _KEYS_A_READ):
            items |= self._read(wanted[start : start + _KEYS_A_READ])
        return {name: _known(handles, items) for name, handles in shoppers.items()}

    def remember(self, handles: Iterable[str], purchase: Purchase) -> None:
        """Remembers that a shopper has bought, unless a later purchase of theirs is known.

        Raises:
            Unavailable: DynamoDB is throttled or down.
        """
        expires_at = max(purchase.heard_at, purchase.time) + KEPT
        for handle in handles:
            try:
                with driver_errors():
                    self._client.update_item(
                        TableName=self.table_name,
                        Key=_key(handle),
                        UpdateExpression="SET purchase = :purchase, bought_at = :at, expires_at = :expires"
                        " ADD version :one",
                        ConditionExpression="attribute_not_exists(bought_at) OR bought_at <= :at",
                        ExpressionAttributeValues={
                            ":purchase": {"S": purchase.model_dump_json()},
                            ":at": {"N": str(_milliseconds(purchase.time))},
                            ":expires": {"N": str(int(expires_at.timestamp()))},
                            ":one": {"N": "1"},
                        },
                    )
            except ClientError as error:
                if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                    raise

    def claims(self, known: Known, told_at: datetime) -> list[dict[str, Any]]:
        """The actions, of a transaction, that record an abandonment as told under every handle.

        They fail if a record has changed since it was read.
        """
        return [
            self._claim(handle, version, told_at)
            for handle, version in known.versions.items()
            if known.told[handle] != told_at
        ]

    def told(self, known: Known, told_at: datetime) -> None:
        """Records an abandonment as told also under the handles that a checkout came by later.

        Raises:
            Unavailable: DynamoDB is throttled or down.
        """
        for handle, before in known.told.items():
            if before and before >= told_at:
                continue
            with driver_errors():
                self._client.update_item(
                    TableName=self.table_name,
                    Key=_key(handle),
                    UpdateExpression=_TOLD,
                    ExpressionAttributeValues=_told_values(told_at),
                )

    def _claim(self, handle: str, version: int, told_at: datetime) -> dict[str, Any]:
        values = _told_values(told_at)
        condition = "attribute_not_exists(version)"
        if version:
            condition = "version = :version"
            values[":version"] = {"N": str(version)}
        return {
            "Update": {
                "TableName": self.table_name,
                "Key": _key(handle),
                "UpdateExpression": _TOLD,
                "ConditionExpression": condition,
                "ExpressionAttributeValues": values,
            }
        }

    def _read(self, handles: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        requests: Any = {
            self.table_name: {"Keys": [_key(handle) for handle in handles], "ConsistentRead": True}
        }
        found: dict[str, Mapping[str, Any]] = {}
        for round_ in range(_ROUNDS):
            with driver_errors():
                answer = self._client.batch_get_item(RequestItems=requests)
            found |= {item["handle"]["S"]: item for item in answer["Responses"].get(self.table_name, ())}
            requests = answer.get("UnprocessedKeys") or {}
            if not requests:
                return found
            self._sleep(0.05 * 2**round_)
        raise Unavailable("The shoppers' table is throttled.")


_TOLD = "SET told_at = :told, expires_at = :expires ADD version :one"


def _told_values(told_at: datetime) -> dict[str, Any]:
    return {
        ":told": {"S": told_at.isoformat()},
        ":expires": {"N": str(int((told_at + KEPT).timestamp()))},
        ":one": {"N": "1"},
    }


def _key(handle: str) -> dict[str, Any]:
    return {"handle": {"S": handle}, "item": {"S": _RECORD}}


def _known(handles: Collection[str], items: Mapping[str, Mapping[str, Any]]) -> Known:
    shoppers = {handle: _shopper(items[handle]) for handle in handles if handle in items}
    return Known(
        shopper=reduce(Shopper.joined, shoppers.values(), UNKNOWN),
        versions={handle: int(items[handle]["version"]["N"]) if handle in items else 0 for handle in handles},
        told={handle: shoppers.get(handle, UNKNOWN).told_at for handle in handles},
    )


def _shopper(item: Mapping[str, Any]) -> Shopper:
    return Shopper(
        told_at=datetime.fromisoformat(item["told_at"]["S"]) if "told_at" in item else None,
        purchase=Purchase.model_validate_json(item["purchase"]["S"]) if "purchase" in item else None,
    )


def _milliseconds(moment: datetime) -> int:
    return max(0, int(moment.astimezone(UTC).timestamp() * 1000))
