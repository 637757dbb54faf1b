"""The stream's trigger: writes of checkouts in, the records that have to come again out."""

from typing import Any

from checkout_recovery import wiring
from checkout_recovery.delivery.fan_out import Arrival
from checkout_recovery.errors import BrokenRecord
from checkout_recovery.observability import logger
from checkout_recovery.tables.checkouts import decode

_SENDING_SECONDS = 20.0
_RESERVE_SECONDS = 15.0
"""What queueing, recording and a slow table may take after sending, before Lambda ends the function."""


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Returns a partial batch response: a subscriber's failure is never in it."""
    arrivals: list[Arrival] = []
    again: list[str] = []
    for record in event["Records"]:
        record_id = record["dynamodb"]["SequenceNumber"]
        try:
            arrivals.append(Arrival(record_id, decode(record["dynamodb"]["NewImage"])))
        except (BrokenRecord, KeyError):
            logger.error("record is not a checkout", extra={"record_id": record_id})
            again.append(record_id)
    if arrivals:
        left = context.get_remaining_time_in_millis() / 1000 - _RESERVE_SECONDS
        again += wiring.fan_out()(arrivals, max(0.0, min(left, _SENDING_SECONDS)))
    return {"batchItemFailures": [{"itemIdentifier": record_id} for record_id in again]}
