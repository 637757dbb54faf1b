"""Turns under a subscription's rate limit, shared by all functions: who takes one knows when it is.

RegistryTable has one item a limited subscription, the time of the next free turn, in a partition of its own.
A turn that is not used is lost; that is what makes a turn a single small write.
"""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from checkout_recovery.errors import Unavailable
from checkout_recovery.tables.driver import driver_errors

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_EPOCH, _MICROSECOND = datetime.fromisoformat("1970-01-01T00:00:00+00:00"), timedelta(microseconds=1)
_TRIES = 5


def turns_key(subscription_id: str) -> dict[str, Any]:
    """The typed key of a subscription's item, in a partition that no store can be called."""
    return {"store_id": {"S": f"#turns#{subscription_id}"}, "kind_id": {"S": "turns"}}


class Turns:
    def __init__(self, client: "DynamoDBClient", table_name: str) -> None:
        self._client = client
        self._table_name = table_name

    def take(self, subscription_id: str, count: int, per_second: float, now: datetime) -> list[datetime]:
        """Takes the next turns of a subscription, none before now.

        Args:
            subscription_id: whose.
            count: how many.
            per_second: how many a second it may have.
            now: UTC.

        Raises:
            Unavailable: DynamoDB is throttled or down, or too many take turns at once.
        """
        interval = timedelta(seconds=1 / per_second)
        first = self._move(subscription_id, (now - _EPOCH) // _MICROSECOND, count * interval // _MICROSECOND)
        return [_EPOCH + first * _MICROSECOND + index * interval for index in range(count)]

    def _move(self, subscription_id: str, now: int, length: int) -> int:
        """Moves the next free turn on, in microseconds since 1970; returns where it was, or now."""
        for _ in range(_TRIES):
            # Most turns are free now; where there is a queue, the second call finds its end.
            if (
                self._update(
                    subscription_id,
                    "SET next_at = :end",
                    "attribute_not_exists(next_at) OR next_at <= :now",
                    now,
                    now + length,
                )
                is not None
            ):
                return now
            end = self._update(subscription_id, "SET next_at = next_at + :end", "next_at > :now", now, length)
            if end is not None:
                return end - length
        raise Unavailable("Too many take turns at once.")

    def _update(self, subscription_id: str, update: str, condition: str, now: int, end: int) -> int | None:
        values = {":now": {"N": str(now)}, ":end": {"N": str(end)}}
        try:
            with driver_errors():
                answer = self._client.update_item(
                    TableName=self._table_name,
                    Key=turns_key(subscription_id),
                    UpdateExpression=update,
                    ConditionExpression=condition,
                    ExpressionAttributeValues=values,
                    ReturnValues="UPDATED_NEW",
                )
        except ClientError as error:
            if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                return None
            raise
        return int(answer["Attributes"]["next_at"]["N"])
