"""Writes `events/retake-*.json`: kept requests, as manage has the ingest function take them in again.

    python -m local.retake_fixtures

Each is a message of the RejectedEventsQueue as `queues.RejectedEvents` writes it. A test fails when the files
differ from what this script writes.
"""

import base64
import sys
import zlib
from http import HTTPStatus

from checkout_recovery.json_codec import dumps
from local.fixtures import ORDER, OWN, STORE_ID
from local.samples import FLEXYPE_2026_05, Json
from local.stream_fixtures import write

PROBLEM: Json = {
    "type": "/problems/malformed-request",
    "title": "The request was not understood",
    "status": HTTPStatus.UNPROCESSABLE_ENTITY,
    "errors": [{"field": "total_payable", "message": "Extra inputs are not permitted"}],
}


def kept(source: str, body: bytes, **fields: object) -> Json:
    """A message about a request that was kept."""
    return {
        "version": 1,
        "source": source,
        "store_id": STORE_ID,
        "received_at": "2026-05-07T10:00:01+00:00",
        "problem": PROBLEM,
        "headers": {"content-type": "application/json", "x-webhook-version": "2026-05"},
        "body": base64.b64encode(zlib.compress(body)).decode(),
        "body_encoding": "zlib+base64",
    } | fields


def retake_fixtures() -> dict[str, Json]:
    """The events by their files' names."""
    own, order, flexype = (dumps(body).encode() for body in (OWN, ORDER, FLEXYPE_2026_05))
    messages = {
        "retake-checkouts": kept("checkouts", own),
        "retake-orders": kept("orders", order),
        "retake-flexype": kept("flexype", flexype),
        "retake-not-understood": kept("checkouts", dumps(OWN | {"total_payable": 999}).encode()),
        "retake-refused": kept("checkouts", own, refused="unauthenticated"),
        "retake-unknown-store": kept("checkouts", own, store_id="nobody"),
        "retake-unknown-source": kept("telegraph", own),
        "retake-body-not-packed": kept("checkouts", own) | {"body": "e30="},
    }
    return {name: {"rejected": message} for name, message in messages.items()}


def main() -> int:
    write("retake", retake_fixtures())
    return 0


if __name__ == "__main__":
    sys.exit(main())
