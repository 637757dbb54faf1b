"""How much memory a warm fan-out takes at full concurrency, beyond an idle interpreter with boto3."""

import json
import tempfile
from functools import partial
from pathlib import Path

from bench.deployed import BARE, Deployed, deployed
from bench.figures import Comparison, Effort, Figure, Target, figure, in_turns
from bench.stub import STORE_ID
from bench.world import stream_event, world

SUBSCRIBERS, RECORDS, BATCHES = 16, 100, 3
IN_FLIGHT = 64
TARGET = Target(must=40, aim=20)


def measure(effort: Effort) -> list[Figure]:
    with (
        tempfile.TemporaryDirectory() as folder,
        deployed() as there,
        world({STORE_ID: SUBSCRIBERS}) as here,
    ):
        batch = Path(folder) / "batch.json"
        batch.write_text(json.dumps(stream_event({f"c-{n}": STORE_ID for n in range(RECORDS)})))
        found = in_turns(
            partial(_warm, there, here.aws_url, batch),
            partial(_idle, there, here.aws_url),
            effort,
        )
    name = f"fan-out, {IN_FLIGHT} posts in flight, {RECORDS} records x {SUBSCRIBERS}"
    return [
        figure(
            "memory",
            name,
            "MB",
            "idle, boto3 imported",
            found,
            target=TARGET,
            comparison=Comparison.DIFFERENCE,
        )
    ]


def _warm(there: Deployed, aws_url: str, batch: Path) -> float:
    told = there.run("warm_fan_out", "fanout", aws_url, [str(BATCHES), str(batch)])
    assert told["failures"] == [{"batchItemFailures": []}] * BATCHES
    assert told["in_flight"] == IN_FLIGHT, "as many connections as ever carried a post at once"
    return float(told["megabytes"])


def _idle(there: Deployed, aws_url: str) -> float:
    return float(there.run("warm_fan_out", BARE, aws_url)["megabytes"])
