"""DynamoDB's batches: what is done at once, and what becomes of the others where one fails."""

from collections.abc import Callable, Iterator
from threading import Barrier
from typing import Any

import pytest

from checkout_recovery.errors import Unavailable
from checkout_recovery.tables.batch import KEYS_A_READ, read_batch, write_batch

WAIT_SECONDS = 10.0
"""How long one call waits for the others to be under way."""


class Table:
    """A client of which each call is told to `meet` before it is answered."""

    def __init__(self, meet: Callable[[], object]) -> None:
        self.meet = meet
        self.throttled: frozenset[int] = frozenset()
        """What is never processed."""
        self.written: list[int] = []

    def batch_get_item(self, RequestItems: dict[str, Any]) -> dict[str, Any]:  # noqa: N803 - boto3's
        self.meet()
        keys = RequestItems["table"]["Keys"]
        left = [key for key in keys if key["id"] in self.throttled]
        found = [key for key in keys if key["id"] not in self.throttled]
        again = {"UnprocessedKeys": {"table": {"Keys": left}}} if left else {}
        return {"Responses": {"table": found}} | again

    def batch_write_item(self, RequestItems: dict[str, Any]) -> dict[str, Any]:  # noqa: N803 - boto3's
        self.meet()
        puts = RequestItems["table"]
        left = [put for put in puts if put["PutRequest"]["Item"]["id"] in self.throttled]
        self.written += [put["PutRequest"]["Item"]["id"] for put in puts if put not in left]
        return {"UnprocessedItems": {"table": left}} if left else {}


def keys(count: int) -> Iterator[tuple[str, dict[str, Any]]]:
    return (("table", {"id": number}) for number in range(count))


def items(count: int) -> Iterator[dict[str, Any]]:
    return ({"id": number} for number in range(count))


def read(table: Table, count: int) -> list[int]:
    client: Any = table
    return sorted(item["id"] for _, item in read_batch(client, keys(count), lambda seconds: None))


def write(table: Table, count: int) -> None:
    client: Any = table
    write_batch(client, "table", items(count), lambda seconds: None)


def test_more_keys_than_a_call_takes_are_read_at_once() -> None:
    together = Barrier(2, timeout=WAIT_SECONDS)
    assert read(Table(together.wait), KEYS_A_READ + 1) == [*range(KEYS_A_READ + 1)]


def test_more_items_than_a_call_takes_are_written_at_once() -> None:
    table = Table(Barrier(4, timeout=WAIT_SECONDS).wait)
    write(table, 100)
    assert sorted(table.written) == [*range(100)]


@pytest.mark.parametrize("count", [0, 1, 25, 26, 1000])
def test_each_is_read_and_written_once(count: int) -> None:
    table = Table(lambda: None)
    write(table, count)
    assert sorted(table.written) == read(table, count) == [*range(count)]


@pytest.mark.parametrize("throttled", [0, 99])
def test_where_one_call_is_throttled_the_others_are_written_all_the_same(throttled: int) -> None:
    table = Table(lambda: None)
    table.throttled = frozenset({throttled})
    with pytest.raises(Unavailable):
        write(table, 100)
    assert sorted(table.written) == [number for number in range(100) if number != throttled]


def test_where_one_call_is_throttled_nothing_is_taken_for_read() -> None:
    table = Table(lambda: None)
    table.throttled = frozenset({150})
    with pytest.raises(Unavailable):
        read(table, 300)
