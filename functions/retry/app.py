"""The RetryQueue's trigger: deliveries that waited in, the messages that have to come again out."""

from typing import Any

from checkout_recovery import wiring
from checkout_recovery.delivery.retry import Waiting
from checkout_recovery.errors import BrokenRecord
from checkout_recovery.observability import logger
from checkout_recovery.queues import RetryMessage

_SENDING_SECONDS = 40.0
_RESERVE_SECONDS = 15.0
"""What queueing, recording and a slow table may take after sending, before Lambda ends the function."""


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Returns a partial batch response. What is in it, SQS shows again, and at last gives up."""
    waiting: list[Waiting] = []
    again: list[str] = []
    for record in event["Records"]:
        try:
            waiting.append(Waiting(record["messageId"], RetryMessage.read(record["body"])))
        except BrokenRecord:
            logger.error("message is not a delivery", extra={"message_id": record["messageId"]})
            again.append(record["messageId"])
    if waiting:
        left = context.get_remaining_time_in_millis() / 1000 - _RESERVE_SECONDS
        again += wiring.retry()(waiting, max(0.0, min(left, _SENDING_SECONDS)))
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in again]}
