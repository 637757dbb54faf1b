"""CheckoutTable's stream, read again where fan-out could not get through it; it has a write for 24 hours."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

from botocore.exceptions import ClientError
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from checkout_recovery.errors import BrokenRecord, CheckoutRecoveryError, Unavailable
from checkout_recovery.tables.driver import driver_errors

if TYPE_CHECKING:
    from mypy_boto3_dynamodbstreams import DynamoDBStreamsClient

_RECORDS_A_CALL = 1000
"""DynamoDB's own limit."""
_PAGES = 20
"""Of a batch of 100 writes; a page has a megabyte at most, and may be empty."""
_GONE = frozenset(
    {
        "ExpiredIteratorException",
        "ResourceNotFoundException",
        "TrimmedDataAccessException",
        "ValidationException",  # no position of this shard
    }
)


class Trimmed(CheckoutRecoveryError):
    """The stream no longer has the writes."""


class _Batch(BaseModel):
    """`DDBStreamBatchInfo` of what Lambda sends to a mapping's destination on failure.

    https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html
    """

    model_config = ConfigDict(defer_build=True, frozen=True, extra="ignore", hide_input_in_errors=True)

    shard_id: str = Field(alias="shardId", pattern=r"^[A-Za-z0-9-]{1,128}$")
    start: str = Field(alias="startSequenceNumber", pattern=r"^[0-9]{1,64}$")
    end: str = Field(alias="endSequenceNumber", pattern=r"^[0-9]{1,64}$")
    first_at: AwareDatetime | None = Field(alias="approximateArrivalOfFirstRecord", default=None)
    size: int = Field(alias="batchSize", ge=1, le=10_000)
    stream_arn: str = Field(alias="streamArn", max_length=1024)


class _Context(BaseModel):
    model_config = ConfigDict(defer_build=True, frozen=True, extra="ignore", hide_input_in_errors=True)

    condition: str | None = Field(default=None, pattern=r"^\w{1,64}$")


class StreamFailure(BaseModel):
    """A batch of the stream that Lambda gave up. It names the writes, and holds none of them."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="ignore", hide_input_in_errors=True)

    batch: _Batch = Field(alias="DDBStreamBatchInfo")
    context: _Context = Field(alias="requestContext", default_factory=_Context)

    @classmethod
    def read(cls, body: str) -> Self:
        """Reads a message.

        Raises:
            BrokenRecord: Lambda did not write it.
        """
        try:
            return cls.model_validate_json(body)
        except ValidationError as error:
            raise BrokenRecord(f"not a failed batch: {error.error_count()} faults") from None


class CheckoutStream:
    """Collaborators are arguments."""

    def __init__(self, client: "DynamoDBStreamsClient", table_name: str) -> None:
        self._client = client
        self._table_name = table_name

    def writes(self, failure: StreamFailure) -> dict[tuple[str, str], list[Mapping[str, Any]]]:
        """Reads what a batch wrote: of each checkout, by (store_id, checkout_id), its images in their order.

        Raises:
            Trimmed: the stream does not have the writes any more, or never had.
            Unavailable: DynamoDB is throttled or down, or the batch's end does not come.
        """
        batch = failure.batch
        if f":table/{self._table_name}/stream/" not in batch.stream_arn:
            raise Trimmed
        written: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
        try:
            for record in self._records(batch):
                at = int(record["SequenceNumber"])
                if at <= int(batch.end):
                    keys = record["Keys"]
                    images = written.setdefault((keys["store_id"]["S"], keys["checkout_id"]["S"]), [])
                    images += [record["NewImage"]] if "NewImage" in record else []
                if at >= int(batch.end):
                    return written
        except ClientError as error:
            if error.response["Error"]["Code"] in _GONE:
                raise Trimmed from None
            raise
        raise Unavailable("The end of a batch of the stream does not come.")

    def _records(self, batch: _Batch) -> Iterator[dict[str, Any]]:
        with driver_errors():
            answer = self._client.get_shard_iterator(
                StreamArn=batch.stream_arn,
                ShardId=batch.shard_id,
                ShardIteratorType="AT_SEQUENCE_NUMBER",
                SequenceNumber=batch.start,
            )
        iterator: str | None = answer["ShardIterator"]
        for _ in range(_PAGES):
            if not iterator:
                return
            with driver_errors():
                page = self._client.get_records(ShardIterator=iterator, Limit=_RECORDS_A_CALL)
            for record in page["Records"]:
                yield dict(record["dynamodb"])
            iterator = page.get("NextShardIterator")
