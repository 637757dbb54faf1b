"""Writes `events/sweep-*.json`: what the sweep function is invoked with.

    python -m local.sweep_fixtures

From the schedule comes EventBridge's event; a run that shares its work invokes further ones with the first
shard of each share. A test fails when the files differ from what this script writes.
"""

import sys

from local.samples import Json
from local.stream_fixtures import write

SCHEDULED: Json = {
    "version": "0",
    "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa",
    "detail-type": "Scheduled Event",
    "source": "aws.events",
    "account": "000000000000",
    "time": "2026-05-07T10:00:00Z",
    "region": "ap-south-1",
    "resources": ["arn:aws:events:ap-south-1:000000000000:rule/checkout-recovery-SweepFunctionEveryMinute"],
    "detail": {},
}


def sweep_fixtures() -> dict[str, Json]:
    """The events by their files' names."""
    return {"sweep-scheduled": SCHEDULED, "sweep-share": {"first_shard": 8}}


def main() -> int:
    write("sweep", sweep_fixtures())
    return 0


if __name__ == "__main__":
    sys.exit(main())
