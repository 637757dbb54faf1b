"""DynamoDB's batches: as many calls as their limits ask for, and again for what was left unprocessed.

Several calls are made at once: an event for a hundred subscriptions is two reads and four writes.

Limits: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from checkout_recovery.errors import Unavailable
from checkout_recovery.tables.driver import driver_errors

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_Value = TypeVar("_Value")
_Answer = TypeVar("_Answer")

KEYS_A_READ = 100
_ITEMS_A_WRITE = 25
_AT_ONCE = 4
"""Calls, each on a connection of its own."""
_ROUNDS = 5
"""How often what DynamoDB left unprocessed is asked again before a table counts as throttled."""


def read_batch(
    client: "DynamoDBClient",
    keys: Iterable[tuple[str, Mapping[str, Any]]],
    sleep: Callable[[float], None],
    projections: Mapping[str, str] | None = None,
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields the items that there are of these keys, in no order, each with its table's name.

    Args:
        client: DynamoDB's.
        keys: a table's name and a typed key each; none twice.
        sleep: waits these seconds before what was left is asked again.
        projections: which attributes are read of a table; all where it names none.

    Raises:
        Unavailable: DynamoDB is throttled or down.
    """

    def read(chunk: Sequence[tuple[str, Mapping[str, Any]]]) -> list[tuple[str, Mapping[str, Any]]]:
        requests: dict[str, Any] = {}
        for table, key in chunk:
            request: dict[str, Any] = {"Keys": [], "ConsistentRead": True}
            if projections and table in projections:
                request["ProjectionExpression"] = projections[table]
            requests.setdefault(table, request)["Keys"].append(key)
        found: list[tuple[str, Mapping[str, Any]]] = []
        for round_ in range(_ROUNDS):
            with driver_errors():
                answer = client.batch_get_item(RequestItems=requests)
            found += [(table, item) for table, items in answer["Responses"].items() for item in items]
            requests = answer.get("UnprocessedKeys") or {}
            if not requests:
                return found
            sleep(0.05 * 2**round_)
        raise Unavailable("A table is throttled.")

    for found in of_each(read, _chunks(keys, KEYS_A_READ)):
        yield from found


def write_batch(
    client: "DynamoDBClient",
    table_name: str,
    items: Iterable[Mapping[str, Any]],
    sleep: Callable[[float], None],
) -> None:
    """Puts typed items; none may be there twice.

    Raises:
        Unavailable: DynamoDB is throttled or down; some of the items may be written.
    """
    _write(client, table_name, ({"PutRequest": {"Item": item}} for item in items), sleep)


def delete_batch(
    client: "DynamoDBClient",
    table_name: str,
    keys: Iterable[Mapping[str, Any]],
    sleep: Callable[[float], None],
) -> None:
    """Deletes the items of these typed keys; none may be there twice, and one that is gone is no error.

    Raises:
        Unavailable: DynamoDB is throttled or down; some of the items may be deleted.
    """
    _write(client, table_name, ({"DeleteRequest": {"Key": key}} for key in keys), sleep)


def _write(
    client: "DynamoDBClient",
    table_name: str,
    requests: Iterable[Mapping[str, Any]],
    sleep: Callable[[float], None],
) -> None:
    def write(chunk: Sequence[Mapping[str, Any]]) -> None:
        left: Any = chunk
        for round_ in range(_ROUNDS):
            with driver_errors():
                answer = client.batch_write_item(RequestItems={table_name: left})
            left = (answer.get("UnprocessedItems") or {}).get(table_name, [])
            if not left:
                return
            sleep(0.05 * 2**round_)
        raise Unavailable("A table is throttled.")

    of_each(write, _chunks(requests, _ITEMS_A_WRITE))


def of_each(call: Callable[[_Value], _Answer], values: Iterable[_Value]) -> list[_Answer]:
    """Makes a call of each value, several at once; where one fails, the others are made all the same."""
    rest = iter(values)
    first, second = next(rest, None), next(rest, None)
    if first is None:
        return []
    if second is None:
        return [call(first)]
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - few have so much to read or write

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        made = [pool.submit(call, value) for value in (first, second, *rest)]
    return [one.result() for one in made]


def _chunks(values: Iterable[_Value], size: int) -> Iterator[list[_Value]]:
    rest = iter(values)
    while chunk := list(islice(rest, size)):
        yield chunk
