"""DeliveryTable: what happened to each delivery. Ids, states and figures; nothing of the shopper's."""

import json
import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from checkout_recovery.errors import Unavailable
from checkout_recovery.observability import logger
from checkout_recovery.tables.batch import of_each, read_batch, write_batch
from checkout_recovery.tables.driver import driver_errors

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from checkout_recovery.tables.checkouts import CheckoutTable
    from checkout_recovery.tables.registry import RegistryTable

DELIVERY_ID = re.compile(r"dlv_[0-9a-f]{32}", re.ASCII)
"""Its first 12 digits are the event's time in milliseconds (see `delivery.plan`), so that ids sort by it."""

_TIME_DIGITS = 12
_HASH_DIGITS = 20

MAX_HISTORY = 16

_PAGES = 4
_ITEMS_A_PAGE = 500
"""Of how many entries, page by page, one call picks those that are asked for: some 450 bytes each."""


class State(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"
    """Not delivered yet; the RetryQueue has it."""
    DELIVERED = "delivered"
    SUPERSEDED = "superseded"
    """Not sent any more: the checkout has moved on, and what matters now is another delivery's."""
    SUPPRESSED = "suppressed"
    """Not sent, and never will be; the reason says why."""
    EXPIRED = "expired"
    """Not delivered while it mattered; the dead-letter queue has it."""
    EXHAUSTED = "exhausted"
    """Given up after the last attempt; the dead-letter queue has it."""


FAILED = (State.EXPIRED, State.EXHAUSTED)
"""What an operator may want sent after all."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt: nothing of what was sent or answered but the status."""

    at: datetime
    """When it ended, UTC."""
    failure: str | None
    """Its class; None where it was delivered."""
    status: int | None
    """The receiver's HTTP status; None where it did not answer."""
    latency_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRecord:
    """One entry of the delivery log."""

    subscription_id: str
    delivery_id: str
    store_id: str
    checkout_id: str
    event_id: str
    event_type: str
    sequence: int
    state: State
    attempts: int
    """How many were made; 0 where it went to the queue untried."""
    reason: str | None
    """Why it is not delivered: a failure's class, never the receiver's words."""
    status: int | None
    """The receiver's last HTTP status."""
    latency_ms: int | None
    """How long the last attempt took."""
    history: tuple[Attempt, ...] = ()
    """The last attempts, newest last: `MAX_HISTORY` at most."""
    recorded_at: datetime
    expires_at: datetime
    claimed_until: datetime | None = None
    """Until when somebody may be making an attempt; what is recorded afterwards ends it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which entries of the log are asked for; None, and no state, is any."""

    states: tuple[State, ...] = ()
    reason: str | None = None
    checkout_id: str | None = None


EVERYTHING = Choice()


@dataclass(frozen=True, slots=True)
class LogPage:
    """A part of a subscription's log, newest first."""

    records: tuple[DeliveryRecord, ...]
    next_cursor: str | None
    """Where to go on; None at the log's end."""


@dataclass(frozen=True, slots=True)
class LogRead:
    """What one look at the tables before sending told."""

    recorded: frozenset[str]
    """The ids of the deliveries that the log has already."""
    revisions: Mapping[str, int]
    """The revision of each store's subscriptions; a store that is gone is not in it."""
    bought: frozenset[tuple[str, str]]
    """Which of the checkouts that were asked for are bought by now."""


@dataclass(frozen=True, slots=True)
class Amended:
    """The ids of deliveries by what became of their change; of the others somebody else has written since."""

    written: frozenset[str]
    unknown: frozenset[str]
    """DynamoDB was throttled or down."""


class DeliveryTable:
    """Reads and writes the delivery log in batches."""

    def __init__(
        self, client: "DynamoDBClient", table_name: str, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._client = client
        self.table_name = table_name
        self._sleep = sleep

    def look_up(
        self,
        keys: Collection[tuple[str, str]],
        registry: "RegistryTable",
        store_ids: Iterable[str],
        checkouts: "CheckoutTable",
        abandoned: Iterable[tuple[str, str]] = (),
    ) -> LogRead:
        """Reads which of the deliveries are recorded, and in the same call what else decides on sending.

        Args:
            keys: (subscription_id, delivery_id) of each.
            registry: has the stores' revisions.
            store_ids: whose.
            checkouts: has the checkouts as they stand.
            abandoned: (store_id, checkout_id) of those whose abandonment is about to be told.

        Raises:
            Unavailable: DynamoDB is throttled or down.
        """
        wanted = [(registry.table_name, registry.store_key(store_id)) for store_id in store_ids]
        wanted += [(self.table_name, _key(*key)) for key in keys]
        wanted += [(checkouts.table_name, checkouts.key(*key)) for key in abandoned]
        projections = {
            self.table_name: "delivery_id",
            registry.table_name: "store_id, revision",
            checkouts.table_name: checkouts.OUTCOME,
        }
        recorded: set[str] = set()
        revisions: dict[str, int] = {}
        bought: set[tuple[str, str]] = set()
        for table, item in read_batch(self._client, wanted, self._sleep, projections):
            if table == self.table_name:
                recorded.add(item["delivery_id"]["S"])
            elif table == registry.table_name:
                revisions[item["store_id"]["S"]] = registry.revision_of(item)
            elif checkouts.is_bought(item):
                bought.add((item["store_id"]["S"], item["checkout_id"]["S"]))
        return LogRead(frozenset(recorded), revisions, frozenset(bought))

    def load_all(self, keys: Sequence[tuple[str, str]]) -> list[DeliveryRecord]:
        """Returns those that there are of these (subscription_id, delivery_id), in no order.

        Raises:
            Unavailable: DynamoDB is throttled or down.
        """
        wanted = ((self.table_name, _key(*key)) for key in keys)
        return [_decode(item) for _, item in read_batch(self._client, wanted, self._sleep)]

    def page(
        self,
        subscription_id: str,
        limit: int,
        choice: Choice = EVERYTHING,
        *,
        since: str = "",
        until: str = "",
        cursor: str | None = None,
    ) -> LogPage:
        """Lists a subscription's deliveries, newest first.

        What few entries fit is looked for only so far back: a page may have fewer than asked for, or none,
        and still a cursor.

        Args:
            subscription_id: whose.
            limit: how many at most.
            choice: which.
            since: the least id that is asked for.
            until: the greatest; all where it is empty.
            cursor: `next_cursor` of the page before; a position and no more, whoever made it.

        Raises:
            Unavailable: DynamoDB is throttled or down.
        """
        # DynamoDB refuses to start outside of what is asked for, and to look between bounds that are crossed.
        if (cursor and cursor < since) or (until and until < since):
            return LogPage((), None)
        query = self._query(subscription_id, choice, since, until, limit)
        found: list[DeliveryRecord] = []
        position = None if until and cursor and cursor > until else cursor
        for _ in range(_PAGES):
            if position:
                query["ExclusiveStartKey"] = _key(subscription_id, position)
            with driver_errors():
                answer = self._client.query(**query)
            found += map(_decode, answer["Items"])
            last = answer.get("LastEvaluatedKey")
            position = last["delivery_id"]["S"] if last else None
            if position is None or len(found) >= limit:
                break
        if len(found) > limit:
            position = found[limit - 1].delivery_id
        return LogPage(tuple(found[:limit]), position)

    def _query(
        self, subscription_id: str, choice: Choice, since: str, until: str, limit: int
    ) -> dict[str, Any]:
        sought = _sought(choice)
        query: dict[str, Any] = {
            "TableName": self.table_name,
            "KeyConditionExpression": "subscription_id = :subscription",
            "ExpressionAttributeValues": {":subscription": {"S": subscription_id}},
            "ScanIndexForward": False,
            "Limit": _ITEMS_A_PAGE if sought else limit,
        }
        if until:
            query["KeyConditionExpression"] += " AND delivery_id BETWEEN :since AND :until"
            query["ExpressionAttributeValues"] |= {":since": {"S": since or "-"}, ":until": {"S": until}}
        elif since:
            query["KeyConditionExpression"] += " AND delivery_id >= :since"
            query["ExpressionAttributeValues"][":since"] = {"S": since}
        if sought:
            values = {
                f":{name}{at}": {"S": value} for name, each in sought.items() for at, value in enumerate(each)
            }
            query["FilterExpression"] = " AND ".join(
                f"#{name} IN ({', '.join(f':{name}{at}' for at in range(len(each)))})"
                for name, each in sought.items()
            )
            query["ExpressionAttributeNames"] = {f"#{name}": name for name in sought}
            query["ExpressionAttributeValues"] |= values
        return query

    def record(self, records: Iterable[DeliveryRecord]) -> None:
        """Writes what happened; a later entry of a delivery replaces the earlier.

        Raises:
            Unavailable: DynamoDB is throttled or down; some of the records may be written.
        """
        write_batch(self._client, self.table_name, map(_encode, records), self._sleep)

    def claim(
        self, wanted: Collection[tuple[DeliveryRecord | None, DeliveryRecord]], now: datetime, until: datetime
    ) -> dict[str, DeliveryRecord]:
        """Claims deliveries, so that of several who would make an attempt, or end it, one does.

        Args:
            wanted: each entry as it was read, and as it is to stand; None where there was none.
            now: UTC; a claim that ended before it is over.
            until: when these end.

        Returns:
            The claimed entries by delivery id. The others have changed since, are somebody else's, or could
            not be written: they are to be looked at again.
        """
        claims = [(seen, replace(record, claimed_until=until)) for seen, record in wanted]
        written = self.amend(claims, now).written
        return {claim.delivery_id: claim for _, claim in claims if claim.delivery_id in written}

    def amend(
        self, changes: Collection[tuple[DeliveryRecord | None, DeliveryRecord]], now: datetime
    ) -> Amended:
        """Writes what became of deliveries that nobody else has written of since, and that nobody claims.

        Args:
            changes: each entry as it was read, and as it is to stand; None where there was none.
            now: UTC; a claim that ended before it is over.

        Returns:
            What was written. Where a table is throttled, one delivery must not keep the others waiting.
        """

        def amend(change: tuple[DeliveryRecord | None, DeliveryRecord]) -> bool | None:
            try:
                return self._put_unless_changed(*change, now)
            except Unavailable:
                logger.warning("delivery not recorded", extra={"delivery_id": change[1].delivery_id})
                return None

        done = dict(zip((record.delivery_id for _, record in changes), of_each(amend, changes), strict=True))
        return Amended(
            frozenset(id_ for id_, is_written in done.items() if is_written),
            frozenset(id_ for id_, is_written in done.items() if is_written is None),
        )

    def _put_unless_changed(self, seen: DeliveryRecord | None, record: DeliveryRecord, now: datetime) -> bool:
        item = _encode(record)
        condition: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(delivery_id)"}
        if seen:
            condition = {
                "ConditionExpression": "recorded_at = :seen AND "
                "(attribute_not_exists(claimed_until) OR claimed_until <= :now)",
                "ExpressionAttributeValues": {
                    ":seen": {"S": seen.recorded_at.isoformat()},
                    ":now": {"S": now.isoformat()},
                },
            }
        try:
            with driver_errors():
                self._client.put_item(
                    TableName=self.table_name,
                    Item=item,
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                    **condition,
                )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            # A call whose answer is lost is made again, and then finds what it has written itself.
            return bool(error.response.get("Item") == item)
        return True


def least_id(moment: datetime) -> str:
    """No id of an event of this millisecond, or of a later one, is less."""
    return f"dlv_{max(0, _milliseconds(moment)):0{_TIME_DIGITS}x}"


def greatest_id(moment: datetime) -> str:
    """No id of an event of this millisecond, or of an earlier one, is greater."""
    return least_id(moment) + "f" * _HASH_DIGITS


def event_time(delivery_id: str) -> datetime:
    """When the event of a delivery was, to the millisecond; `delivery_id` has to match `DELIVERY_ID`."""
    milliseconds = int(delivery_id.removeprefix("dlv_")[:_TIME_DIGITS], 16)
    return _EPOCH + min(milliseconds, _LATEST) * timedelta(milliseconds=1)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1)


def _milliseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def _sought(choice: Choice) -> dict[str, tuple[str, ...]]:
    """The values that each attribute may have."""
    sought = {
        "state": tuple(state.value for state in choice.states),
        "reason": (choice.reason,) if choice.reason is not None else (),
        "checkout_id": (choice.checkout_id,) if choice.checkout_id is not None else (),
    }
    return {name: values for name, values in sought.items() if values}


def _key(subscription_id: str, delivery_id: str) -> dict[str, Any]:
    return {"subscription_id": {"S": subscription_id}, "delivery_id": {"S": delivery_id}}


def _encode(record: DeliveryRecord) -> dict[str, Any]:
    item: dict[str, Any] = {
        "subscription_id": {"S": record.subscription_id},
        "delivery_id": {"S": record.delivery_id},
        "store_id": {"S": record.store_id},
        "checkout_id": {"S": record.checkout_id},
        "event_id": {"S": record.event_id},
        "event_type": {"S": record.event_type},
        "sequence": {"N": str(record.sequence)},
        "state": {"S": record.state.value},
        "attempts": {"N": str(record.attempts)},
        "recorded_at": {"S": record.recorded_at.isoformat()},
        "expires_at": {"N": str(int(record.expires_at.timestamp()))},
    }
    if record.reason is not None:
        item["reason"] = {"S": record.reason}
    if record.status is not None:
        item["status"] = {"N": str(record.status)}
    if record.latency_ms is not None:
        item["latency_ms"] = {"N": str(record.latency_ms)}
    if record.history:
        item["history"] = {"S": _encode_history(record.history[-MAX_HISTORY:])}
    if record.claimed_until is not None:
        item["claimed_until"] = {"S": record.claimed_until.isoformat()}
    return item


def _encode_history(history: Iterable[Attempt]) -> str:
    return json.dumps([(one.at.isoformat(), one.failure, one.status, one.latency_ms) for one in history])


def _decode_history(text: str) -> tuple[Attempt, ...]:
    return tuple(
        Attempt(datetime.fromisoformat(at), failure, status, latency_ms)
        for at, failure, status, latency_ms in json.loads(text)
    )


def _decode(item: Mapping[str, Any]) -> DeliveryRecord:
    return DeliveryRecord(
        subscription_id=item["subscription_id"]["S"],
        delivery_id=item["delivery_id"]["S"],
        store_id=item["store_id"]["S"],
        checkout_id=item["checkout_id"]["S"],
        event_id=item["event_id"]["S"],
        event_type=item["event_type"]["S"],
        sequence=int(item["sequence"]["N"]),
        state=State(item["state"]["S"]),
        attempts=int(item["attempts"]["N"]),
        reason=item["reason"]["S"] if "reason" in item else None,
        status=int(item["status"]["N"]) if "status" in item else None,
        latency_ms=int(item["latency_ms"]["N"]) if "latency_ms" in item else None,
        history=_decode_history(item["history"]["S"]) if "history" in item else (),
        recorded_at=datetime.fromisoformat(item["recorded_at"]["S"]),
        expires_at=datetime.fromtimestamp(int(item["expires_at"]["N"]), UTC),
        claimed_until=datetime.fromisoformat(item["claimed_until"]["S"]) if "claimed_until" in item else None,
    )
