"""The peak memory of a process: idle with boto3, or after batches of fan-out. `bench.memory` runs it.

Its arguments are how many batches, and a file with one; without any it only imports boto3.
"""

import importlib
import json
import os
import sys
from pathlib import Path


class _Context:
    aws_request_id = "00000000-0000-4000-8000-000000000000"

    def get_remaining_time_in_millis(self) -> int:
        return 60_000


def peak_megabytes() -> float:
    """The most that this process has had resident; unlike getrusage's it is not the parent's."""
    status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def main() -> int:
    output = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # where metrics go
    told: dict[str, object] = {}
    if len(sys.argv) == 1:
        import boto3  # noqa: F401, PLC0415 - all that the idle process does
    else:
        app = importlib.import_module("app")  # what the baseline does not have

        from checkout_recovery import wiring  # noqa: PLC0415

        batch = json.loads(Path(sys.argv[2]).read_text())
        told["failures"] = [app.handler(batch, _Context()) for _ in range(int(sys.argv[1]))]
        told["in_flight"] = len(wiring.sender()._idle)
    told["megabytes"] = peak_megabytes()
    os.write(output, json.dumps(told).encode() + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
