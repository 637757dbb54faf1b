"""Writes `events/retry-*.json`: batches of the retry queue, as Lambda hands them to the retry function.

    python -m local.retry_fixtures

The messages are about the events of the stream's fixtures, made by the code that queues them; a test fails
when the files differ from what this script writes.
"""

import json
import sys
from datetime import datetime, timedelta

from checkout_recovery.checkout.lifecycle import Checkout
from checkout_recovery.delivery.plan import delivery_id
from checkout_recovery.errors import BrokenRecord
from checkout_recovery.queues import Purpose, RetryMessage
from local.fixtures import STORE_ID
from local.samples import Json
from local.stream_fixtures import ARRIVED, write, written

SUBSCRIPTION = "sub_01KQZK0S0G0000000000000000"
QUEUE = "arn:aws:sqs:ap-south-1:000000000000:checkout-recovery-RetryQueue"
DUE = ARRIVED + timedelta(seconds=5)
NEVER = datetime.fromisoformat("2999-01-01T00:00:00+00:00")
"""Always early, whenever the fixture is used."""


def message(
    checkout: Checkout, purpose: Purpose = Purpose.RETRY, not_before: datetime = DUE, attempts: int = 1
) -> RetryMessage:
    """A message about a checkout's last event.

    Raises:
        BrokenRecord: it was never written.
    """
    event = checkout.event
    if event is None:
        raise BrokenRecord("a checkout without an event")
    return RetryMessage(
        purpose=purpose,
        store_id=STORE_ID,
        checkout_id=checkout.checkout_id,
        subscription_id=SUBSCRIPTION,
        delivery_id=delivery_id(event, SUBSCRIPTION),
        event_id=event.id,
        event_type=event.type,
        event_time=event.time,
        sequence=checkout.sequence,
        attempts=attempts,
        reason="http" if purpose is Purpose.RETRY else purpose.value,
        not_before=not_before,
    )


def record(number: int, body: str) -> Json:
    """One record of the queue."""
    return {
        "messageId": f"00000000-0000-4000-8000-{number:012x}",
        "receiptHandle": "handle",
        "body": body,
        "attributes": {
            "ApproximateReceiveCount": "1",
            "SentTimestamp": str(int(ARRIVED.timestamp() * 1000)),
            "SenderId": "AROA00000000000000000:fanout",
            "ApproximateFirstReceiveTimestamp": str(int(DUE.timestamp() * 1000)),
            "MessageGroupId": SUBSCRIPTION,
        },
        "messageAttributes": {},
        "md5OfBody": "",
        "eventSource": "aws:sqs",
        "eventSourceARN": QUEUE,
        "awsRegion": "ap-south-1",
    }


def batch(*bodies: RetryMessage | str) -> Json:
    """A batch of messages, or of what is none."""
    texts = [
        body
        if isinstance(body, str)
        else json.dumps(body.model_dump(mode="json", exclude_none=True), separators=(",", ":"))
        for body in bodies
    ]
    return {"Records": [record(number, text) for number, text in enumerate(texts)]}


def retry_fixtures() -> dict[str, Json]:
    """The batches by their files' names."""
    (left,) = written("cashfree-abandoned")
    *_, bought = written("cashfree-abandoned", "orders-by-phone")
    (begun,) = written("flexype-2026-05")
    return {
        "retry-due": batch(message(left)),
        "retry-early": batch(message(bought, not_before=NEVER)),
        "retry-last-attempt": batch(message(bought, attempts=10)),
        "retry-replay": batch(message(left, Purpose.REPLAY, attempts=0)),
        "retry-recover": batch(message(left, Purpose.RECOVER, attempts=0)),
        "retry-twice": batch(message(begun), message(begun)),
        "retry-several": batch(
            message(left), message(bought, not_before=NEVER), message(begun, Purpose.RECOVER, attempts=0)
        ),
        "retry-not-a-message": batch("{}", message(begun, Purpose.REPLAY, attempts=0), "not json"),
    }


def main() -> int:
    write("retry", retry_fixtures())
    return 0


if __name__ == "__main__":
    sys.exit(main())
