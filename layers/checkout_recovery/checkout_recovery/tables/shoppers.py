"""ShopperTable: what is known by a shopper's handles, over all their checkouts at a store.

Under a handle (see `checkout.shopper`) there is one record, ``shopper``, of when an abandonment was last
told and what was last bought, and one link ``checkout#…`` to each checkout that has it. Whoever adds a link
reads the record after it, and whoever records a purchase reads the links after it, so of a purchase and a
checkout that come at the same moment at least one finds the other. Keyed hashes, ids and times; no datum.
"""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import ClientError

from checkout_recovery.checkout.shopper import UNKNOWN, Purchase, Shopper, looked_up_by, written_under
from checkout_recovery.errors import Unavailable
from checkout_recovery.tables.batch import delete_batch, read_batch, write_batch
from checkout_recovery.tables.driver import driver_errors

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

KEPT = timedelta(days=31)
"""How long a record is kept after its last change: longer than any cooldown."""

_Name = TypeVar("_Name")

_RECORD = "shopper"
_LINK = "checkout#"
_LINKS_A_HANDLE = 100
"""How many of a handle's checkouts are read at once, newest first; a shopper has one or two open."""
_ROUNDS = 5
_MAX_OTHERS = 16
"""With how many phones one is connected: a shop's own till number must not connect all its customers."""
_MAX_HANDLES = 32
"""Of one shopper, so that a transaction can hold a claim on each."""
_EPOCH, _MILLISECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)
_NOTHING: Mapping[str, Any] = {}
_ZERO = {"N": "0"}
_NO_STRINGS: Mapping[str, Any] = {"SS": ()}
_MAX_ORDERS = 16
"""A shopper's, to know one that is told again; a shop's own till number must not fill an item."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the records of one shopper say, and the versions by which to see that they still do."""

    handles: tuple[str, ...]
    """By which the shopper is known."""
    shopper: Shopper
    versions: Mapping[str, int]
    """Of the records that were looked up, by handle; 0 where there is none."""
    orders: Mapping[str, Purchase] = field(default_factory=dict)
    """The purchases that named their order, by its id, as each was told first."""


NOBODY = Known((), UNKNOWN, {})
"""Whoever has told nothing of themselves."""


@dataclass(frozen=True, slots=True)
class Link:
    """That a checkout is known by a handle."""

    item: str
    """Its key below the handle."""
    checkout_id: str
    linked_at: datetime


class ShopperTable:
    def __init__(
        self, client: "DynamoDBClient", table_name: str, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._client = client
        self.table_name = table_name
        self._sleep = sleep

    def link(self, handles: Iterable[str], checkout_id: str, now: datetime, expires_at: datetime) -> None:
        """Says that a checkout is known by these handles.

        Args:
            handles: all or the new ones, as `written_under` has them.
            checkout_id: of the handles' store.
            now: UTC; the newest link of a handle is found first.
            expires_at: when the checkout may be deleted.

        Raises:
            Unavailable: DynamoDB is throttled or down.
        """
        item = {
            "item": {"S": f"{_LINK}{_milliseconds(now):013}#{checkout_id}"},
            "expires_at": {"N": str(int(expires_at.timestamp()))},
        }
        links = ({"handle": {"S": handle}, **item} for handle in handles)
        write_batch(self._client, self.table_name, links, self._sleep)

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

    def links(self, handle: str) -> Iterator[list[Link]]:
        """Yields all links of a handle, the newest first, by pages; `checkouts_of` looks at the newest alone.

        Raises:
            Unavailable: DynamoDB is throttled or down.
        """
        query: dict[str, Any] = {
            "TableName": self.table_name,
            "ConsistentRead": True,
            "KeyConditionExpression": "handle = :handle AND begins_with(#item, :link)",
            "ExpressionAttributeNames": {"#item": "item"},
            "ExpressionAttributeValues": {":handle": {"S": handle}, ":link": {"S": _LINK}},
            "ScanIndexForward": False,
            "Limit": _LINKS_A_HANDLE,
        }
        while True:
            with driver_errors():
                answer = self._client.query(**query)
            yield [_link(item["item"]["S"]) for item in answer["Items"]]
            if "LastEvaluatedKey" not in answer:
                return
            query["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def unlink(self, handle: str, links: Iterable[Link]) -> None:
        """Deletes links of a handle.

        Raises:
            Unavailable: DynamoDB is throttled or down; repeated, it goes on.
        """
        keys = ({"handle": {"S": handle}, "item": {"S": link.item}} for link in links)
        delete_batch(self._client, self.table_name, keys, self._sleep)

    def forget(self, handle: str) -> None:
        """Deletes the record of a handle; its links stay.

        Raises:
            Unavailable: DynamoDB is throttled or down.
        """
        delete_batch(self._client, self.table_name, [_key(handle)], self._sleep)

    def known(self, handles: Collection[str]) -> Known:
        """Reads the records of whoever is known by these handles.

        Raises:
            Unavailable: DynamoDB is throttled or down.
        """
        return self.known_of({"": handles})[""]

    def known_of(self, shoppers: Mapping[_Name, Collection[str]]) -> dict[_Name, Known]:
        """Reads the records of several shoppers, each by their handles under a name, in few calls.

        Raises:
            Unavailable: DynamoDB is throttled or down.
        """
        known_by = {name: tuple(handles) for name, handles in shoppers.items()}
        items: dict[str, Mapping[str, Any]] = {}
        while unread := {one for each in known_by.values() for one in looked_up_by(each)} - items.keys():
            keys = ((self.table_name, _key(handle)) for handle in unread)
            items |= dict.fromkeys(unread, _NOTHING)
            items |= {item["handle"]["S"]: item for _, item in read_batch(self._client, keys, self._sleep)}
            known_by = {name: _with_others(handles, items) for name, handles in known_by.items()}
        return {name: _known(handles, items) for name, handles in known_by.items()}

    def connect(self, phones: Collection[str], now: datetime) -> None:
        """Says that one checkout has had these phones: whoever has one of them is known by the others too.

        Raises:
            Unavailable: DynamoDB is throttled or down.
        """
        values = {
            ":phones": {"SS": sorted(phones)},
            ":expires": {"N": str(int((now + KEPT).timestamp()))},
            ":most": {"N": str(_MAX_OTHERS)},
            ":one": {"N": "1"},
        }
        for phone in phones:
            self._update(phone, _CONNECTED, "attribute_not_exists(phones) OR size(phones) < :most", values)

    def remember(
        self, handles: Iterable[str], purchase: Purchase, now: datetime, but: Collection[str] = ()
    ) -> None:
        """Remembers that whoever is known by these handles has bought, unless a later purchase is known.

        Args:
            handles: all of the shopper's.
            purchase: what was bought.
            now: UTC.
            but: under which it is remembered already.

        Raises:
            Unavailable: DynamoDB is throttled or down.
        """
        expires_at = max(now, purchase.time) + KEPT  # not by when it was heard of: it may be told again
        values = {
            ":purchase": {"S": purchase.model_dump_json()},
            ":at": {"N": str(_milliseconds(purchase.time))},
            ":expires": {"N": str(int(expires_at.timestamp()))},
            ":one": {"N": "1"},
        }
        order = {":order": {"SS": [purchase.model_dump_json()]}, ":most": {"N": str(_MAX_ORDERS)}}
        for handle in (each for each in written_under(tuple(handles)) if each not in but):
            is_noted = purchase.order_id and self._update(
                handle, f"{_BOUGHT}, orders :order", f"{_IS_LATER} AND {_HAS_ROOM}", values | order
            )
            if not is_noted:
                self._update(handle, _BOUGHT, _IS_LATER, values)

    def told(self, handles: Iterable[str], told_at: datetime, but: Collection[str] = ()) -> None:
        """Records under these handles that their shopper was told of, unless they were later.

        Args:
            handles: all of the shopper's.
            told_at: when, UTC.
            but: under which it is recorded already.

        Raises:
            Unavailable: DynamoDB is throttled or down.
        """
        for handle in (each for each in written_under(tuple(handles)) if each not in but):
            self._update(
                handle, _TOLD, "attribute_not_exists(told_at) OR told_at < :told", _told_values(told_at)
            )

    def claims(self, known: Known, told_at: datetime) -> list[dict[str, Any]]:
        """The actions, of a transaction, that record an abandonment as told now.

        They fail if a record that was looked up has changed since.
        """
        written = written_under(known.handles)
        updates = [self._claim(handle, known.versions.get(handle), told_at) for handle in written]
        checks = [
            {"ConditionCheck": {"TableName": self.table_name, "Key": _key(handle), **_unchanged(version)}}
            for handle, version in known.versions.items()
            if handle not in written
        ]
        return updates + checks

    def _claim(self, handle: str, version: int | None, told_at: datetime) -> dict[str, Any]:
        update: dict[str, Any] = {
            "TableName": self.table_name,
            "Key": _key(handle),
            "UpdateExpression": _TOLD,
            "ExpressionAttributeValues": _told_values(told_at),
        }
        if version is not None:
            condition = _unchanged(version)
            update["ConditionExpression"] = condition["ConditionExpression"]
            update["ExpressionAttributeValues"] |= condition.get("ExpressionAttributeValues", {})
        return {"Update": update}

    def _update(self, handle: str, update: str, condition: str, values: Mapping[str, Any]) -> bool:
        """Updates a record where the condition holds; returns whether it did."""
        for round_ in range(_ROUNDS):
            try:
                with driver_errors():
                    self._client.update_item(
                        TableName=self.table_name,
                        Key=_key(handle),
                        UpdateExpression=update,
                        ConditionExpression=condition,
                        ExpressionAttributeValues=values,
                    )
            except ClientError as error:
                code = error.response["Error"]["Code"]
                if code == "ConditionalCheckFailedException":
                    return False
                if code != "TransactionConflictException":
                    raise
                self._sleep(0.02 * 2**round_)  # an abandonment of the same shopper is being written
            else:
                return True
        raise Unavailable("The shopper is being written by many at once.")


_TOLD = "SET told_at = :told, expires_at = :expires ADD version :one"
_CONNECTED = "SET expires_at = :expires ADD phones :phones, version :one"
_BOUGHT = "SET purchase = :purchase, bought_at = :at, expires_at = :expires ADD version :one"

_IS_LATER = "(attribute_not_exists(bought_at) OR bought_at <= :at)"
_HAS_ROOM = "(attribute_not_exists(orders) OR size(orders) < :most)"


def _unchanged(version: int) -> dict[str, Any]:
    if not version:
        return {"ConditionExpression": "attribute_not_exists(version)"}
    values = {":version": {"N": str(version)}}
    return {"ConditionExpression": "version = :version", "ExpressionAttributeValues": values}


def _told_values(told_at: datetime) -> dict[str, Any]:
    return {
        ":told": {"S": told_at.isoformat()},
        ":expires": {"N": str(int((told_at + KEPT).timestamp()))},
        ":one": {"N": "1"},
    }


def _key(handle: str) -> dict[str, Any]:
    return {"handle": {"S": handle}, "item": {"S": _RECORD}}


def _link(item: str) -> Link:
    _, milliseconds, checkout_id = item.split("#", 2)
    return Link(item, checkout_id, _EPOCH + int(milliseconds) * _MILLISECOND)


def _with_others(handles: tuple[str, ...], items: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """The handles, and the phones that their records connect them with."""
    records = (items[handle] for handle in looked_up_by(handles) if handle in items)
    others = (phone for record in records if "phones" in record for phone in sorted(record["phones"]["SS"]))
    return tuple(dict.fromkeys((*handles, *others)))[: max(_MAX_HANDLES, len(handles))]


def _known(handles: tuple[str, ...], items: Mapping[str, Mapping[str, Any]]) -> Known:
    records = {handle: items[handle] for handle in looked_up_by(handles)}
    return Known(
        handles=handles,
        shopper=reduce(Shopper.joined, map(_shopper, records.values()), UNKNOWN),
        versions={handle: int(record.get("version", _ZERO)["N"]) for handle, record in records.items()},
        orders=_orders(records.values()),
    )


def _orders(records: Iterable[Mapping[str, Any]]) -> dict[str, Purchase]:
    noted = (text for record in records for text in record.get("orders", _NO_STRINGS)["SS"])
    latest_first = sorted(map(Purchase.model_validate_json, noted), key=_heard_at, reverse=True)
    return {purchase.order_id: purchase for purchase in latest_first if purchase.order_id}


def _heard_at(purchase: Purchase) -> datetime:
    return purchase.heard_at


def _shopper(item: Mapping[str, Any]) -> Shopper:
    return Shopper(
        told_at=datetime.fromisoformat(item["told_at"]["S"]) if "told_at" in item else None,
        purchase=Purchase.model_validate_json(item["purchase"]["S"]) if "purchase" in item else None,
    )


def _milliseconds(moment: datetime) -> int:
    return max(0, int(moment.astimezone(UTC).timestamp() * 1000))
