"""A batch of the stream that fan-out gave up, read again: on moto, and on Amazon's own DynamoDB Local."""

from collections.abc import Callable, Iterable
from typing import Any

import boto3
import pytest
from mypy_boto3_dynamodb import DynamoDBClient
from mypy_boto3_dynamodbstreams import DynamoDBStreamsClient

from checkout_recovery.errors import Unavailable
from checkout_recovery.tables.checkout_stream import CheckoutStream, StreamFailure, Trimmed


class Written:
    """A table with some writes, and its stream."""

    def __init__(self, client: DynamoDBClient, name: str) -> None:
        self._client = client
        self._arn = client.describe_table(TableName=name)["Table"]["LatestStreamArn"]
        endpoint = client.meta.endpoint_url
        self.streams: DynamoDBStreamsClient = boto3.client(
            "dynamodbstreams", endpoint_url=None if "amazonaws" in endpoint else endpoint
        )
        self.name = name

    def write(self, *checkout_ids: str) -> None:
        for checkout_id in checkout_ids:
            item = {"store_id": {"S": "my-store"}, "checkout_id": {"S": checkout_id}}
            self._client.put_item(TableName=self.name, Item=item | {"sequence": {"N": "1"}})

    def delete(self, checkout_id: str) -> None:
        key = {"store_id": {"S": "my-store"}, "checkout_id": {"S": checkout_id}}
        self._client.delete_item(TableName=self.name, Key=key)

    def batch(self, first: int, last: int, **fields: Any) -> StreamFailure:
        """What Lambda says of these writes, counted from 0."""
        (shard,) = self.streams.describe_stream(StreamArn=self._arn)["StreamDescription"]["Shards"]
        start = self.streams.get_shard_iterator(
            StreamArn=self._arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )
        records = self.streams.get_records(ShardIterator=start["ShardIterator"])["Records"]
        numbers = [record["dynamodb"]["SequenceNumber"] for record in records]
        batch = {
            "shardId": shard["ShardId"],
            "startSequenceNumber": numbers[first],
            "endSequenceNumber": numbers[last],
            "batchSize": last - first + 1,
            "streamArn": self._arn,
        }
        return StreamFailure.model_validate({"DDBStreamBatchInfo": batch | fields})

    @property
    def stream(self) -> CheckoutStream:
        return CheckoutStream(self.streams, self.name)


@pytest.fixture
def table(table_client: DynamoDBClient, new_table: Callable[[str], str]) -> Written:
    return Written(table_client, new_table("CheckoutTable"))


def ids(keys: Iterable[tuple[str, str]]) -> list[str]:
    keys = list(keys)
    assert {store_id for store_id, _ in keys} == {"my-store"}
    return [checkout_id for _, checkout_id in keys]


def test_the_checkouts_of_a_batch_are_those_between_its_first_write_and_its_last(table: Written) -> None:
    table.write("a", "b", "c", "d")
    assert ids(table.stream.writes(table.batch(1, 2))) == ["b", "c"]
    assert ids(table.stream.writes(table.batch(3, 3))) == ["d"]


def test_a_checkout_that_was_deleted_is_named_once(table: Written) -> None:
    table.write("a", "b")
    table.delete("a")
    assert ids(table.stream.writes(table.batch(0, 2))) == ["a", "b"]


def test_a_batch_whose_end_does_not_come_is_read_again_later(table: Written) -> None:
    table.write("a")
    failure = table.batch(0, 0)
    never = str(int(failure.batch.end) + 10**6)
    with pytest.raises(Unavailable):
        table.stream.writes(table.batch(0, 0, endSequenceNumber=never))


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:dynamodb:ap-south-1:000000000000:table/Another/stream/2026-05-07T10:00:00.000",
        "CheckoutTable",
        "",
    ],
)
def test_a_stream_of_another_table_is_not_asked(table: Written, arn: str) -> None:
    table.write("a")
    with pytest.raises(Trimmed):
        table.stream.writes(table.batch(0, 0, streamArn=arn))
