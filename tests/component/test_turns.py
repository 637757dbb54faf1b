"""Turns under a rate limit, on moto and on Amazon's DynamoDB Local."""

import itertools
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from mypy_boto3_dynamodb import DynamoDBClient

from checkout_recovery.errors import Unavailable
from checkout_recovery.tables.registry import RegistryTable
from checkout_recovery.tables.turns import Turns

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.fixture
def table(new_table: Callable[[str], str]) -> str:
    return new_table("RegistryTable")


@pytest.fixture
def turns(table_client: DynamoDBClient, table: str) -> Turns:
    return Turns(table_client, table)


def seconds(turns: list[datetime]) -> list[float]:
    return [(turn - NOW) / SECOND for turn in turns]


def test_the_first_turn_is_now_and_the_next_follow_at_the_limits_pace(turns: Turns) -> None:
    assert seconds(turns.take("sub_1", 5, 2, NOW)) == [0, 0.5, 1, 1.5, 2]


def test_who_comes_next_gets_the_next_turns(turns: Turns) -> None:
    turns.take("sub_1", 3, 1, NOW)
    assert seconds(turns.take("sub_1", 2, 1, NOW + SECOND)) == [3, 4]
    assert seconds(turns.take("sub_1", 1, 1, NOW + 2 * SECOND)) == [5]


def test_turns_that_nobody_took_are_lost(turns: Turns) -> None:
    turns.take("sub_1", 1, 1, NOW)
    assert seconds(turns.take("sub_1", 2, 1, NOW + timedelta(hours=1))) == [3600, 3601]


def test_a_clock_that_is_behind_gets_no_turn_that_is_taken(turns: Turns) -> None:
    turns.take("sub_1", 2, 1, NOW)
    assert seconds(turns.take("sub_1", 1, 1, NOW - timedelta(minutes=1))) == [2]


def test_one_subscriptions_turns_are_not_anothers(turns: Turns) -> None:
    turns.take("sub_1", 100, 1, NOW)
    assert seconds(turns.take("sub_2", 1, 1, NOW)) == [0]


def test_turns_are_no_part_of_a_store(turns: Turns, table_client: DynamoDBClient, table: str) -> None:
    turns.take("sub_1", 1, 1, NOW)
    assert RegistryTable(table_client, table).subscription_ids("my-store") == []


def test_however_many_take_turns_at_once_no_slot_has_two(turns: Turns, atomic: None) -> None:
    limit = 7

    def take(number: int) -> list[datetime]:
        return turns.take("sub_1", 1 + number % 3, limit, NOW + number * timedelta(milliseconds=1))

    with ThreadPoolExecutor(4) as pool:
        taken = sorted(turn for each in pool.map(take, range(40)) for turn in each)
    gaps = [after - before for before, after in itertools.pairwise(taken)]
    assert len(taken) == 79
    assert min(gaps) >= SECOND / limit - timedelta(microseconds=1)


def test_one_thread_after_the_other_finds_no_slot_twice(turns: Turns) -> None:
    taken = [turn for number in range(20) for turn in turns.take("sub_1", 1 + number % 3, 5, NOW)]
    assert Counter(taken).most_common(1)[0][1] == 1
    assert taken == sorted(taken)


def refuse(client: DynamoDBClient, code: str) -> None:
    error: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": 400}}

    def fail(**_: Any) -> None:
        raise ClientError(error, "UpdateItem")

    client.meta.events.register("before-call.dynamodb.UpdateItem", fail)


def test_a_table_that_is_throttled_is_unavailable(turns: Turns, table_client: DynamoDBClient) -> None:
    refuse(table_client, "ProvisionedThroughputExceededException")
    with pytest.raises(Unavailable):
        turns.take("sub_1", 1, 1, NOW)


def test_who_loses_every_race_is_told_so(turns: Turns, table_client: DynamoDBClient) -> None:
    refuse(table_client, "ConditionalCheckFailedException")
    with pytest.raises(Unavailable, match="Too many"):
        turns.take("sub_1", 1, 1, NOW)
