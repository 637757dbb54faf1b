"""What the hot paths take that can be counted, and so is the same on every machine: `python -m bench.counts`.

A test holds it to budgets. It is a process of its own, so that what is allocated is the functions' alone.
"""

import gc
import json
import os
import sys
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.capacity import item_bytes
from bench.cold_start import FIXTURES, check, starts, waiting_for
from bench.deployed import ROOT, run_program
from bench.figures import Task
from bench.stub import STORE_ID, Call, Item, heard
from bench.world import Context, held_item, ingest_event, stream_event, world
from functions.fanout.app import handler as fanout
from functions.ingest.app import handler as ingest
from functions.retry.app import handler as retry

SUBSCRIBERS = 10
WARM = 200
"""Calls until all that is remembered is remembered, by Python itself too."""
REPEATED = 200


@dataclass(frozen=True, slots=True)
class Counts:
    """What was counted, by what happens."""

    calls: Mapping[str, Sequence[str]]
    """The AWS operations, in order."""
    modules: Mapping[str, int]
    """What each function has imported once it has answered, Python's own modules too."""
    boto3: Sequence[str]
    """The functions that have imported boto3 by then."""
    bytes: Mapping[str, int]
    """Of the items that are written, as DynamoDB counts them."""
    peak_bytes: Mapping[str, int]
    """What a warm handler holds at most at once."""
    kept_blocks: Mapping[str, float]
    """What a warm handler still holds after each call."""


def count() -> Counts:
    held = held_item()
    with world({STORE_ID: SUBSCRIBERS}, held=held) as here:
        tasks = _tasks(held)
        for task in tasks.values():
            task()  # what is remembered of the store is read here
        made = {name: _made(here.aws_url, task) for name, task in tasks.items()}
        hot = {name: tasks[name] for name in ("later snapshot", "event")}
        peaks = {name: _peak(task) for name, task in hot.items()}
        kept = {name: _kept(task) for name, task in hot.items()}
    sizes = {
        "checkout": _item(made["first contact"], "PutItem"),
        "delivery": _item(made["event"], "BatchWriteItem"),
    }
    operations = {name: [operation for operation, _ in told] for name, told in made.items()}
    modules = _modules()
    with_boto3 = [function for function, names in modules.items() if "boto3" in names]
    numbers = {function: len(names) for function, names in modules.items()}
    return Counts(operations, numbers, with_boto3, sizes, peaks, kept)


def _tasks(held: Item) -> Mapping[str, Task]:
    batch, waiting = stream_event({"c-new": STORE_ID}), waiting_for(held)
    told = {
        "first snapshot": _without_contact(ingest_event("c-silent")),
        "first contact": ingest_event("c-new"),
        "later snapshot": ingest_event("c-held"),
        "purchase": _completed(ingest_event("c-held")),
    }
    tasks: dict[str, Task] = {name: lambda event=event: _taken_in(event) for name, event in told.items()}  # type: ignore[misc]
    return tasks | {"event": lambda: _done(fanout, batch), "retry": lambda: _done(retry, waiting)}


def _taken_in(event: Mapping[str, Any]) -> None:
    answer = ingest(dict(event), Context())
    assert [one["status"] for one in json.loads(answer["body"])["results"]] == ["applied"], answer


def _done(handler: Callable[[dict[str, Any], Any], Any], batch: Mapping[str, Any]) -> None:
    assert handler(dict(batch), Context()) == {"batchItemFailures": []}


def _without_contact(event: dict[str, Any]) -> dict[str, Any]:
    body = json.loads(event["body"])
    body["payload"]["user"] = {}
    return event | {"body": json.dumps(body)}


def _completed(event: dict[str, Any]) -> dict[str, Any]:
    body = json.loads(event["body"])
    body["payload"]["session_state"] = "COMPLETED"
    return event | {"body": json.dumps(body)}


def _made(aws_url: str, task: Task) -> Sequence[Call]:
    heard(aws_url)
    task()
    return heard(aws_url)


def _item(calls: Sequence[Call], operation: str) -> int:
    """Bytes of the item that is written; of the largest where there are several."""
    written = next(body for name, body in calls if name == operation)
    if "Item" in written:
        return item_bytes(written["Item"])
    (requests,) = written["RequestItems"].values()
    return max(item_bytes(request["PutRequest"]["Item"]) for request in requests)


def _peak(task: Task) -> int:
    _warm(task)
    gc.disable()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    task()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    gc.enable()
    return peak - before


def _kept(task: Task) -> float:
    _warm(task)
    before = sys.getallocatedblocks()
    for _ in range(REPEATED):
        task()
    gc.collect()
    return (sys.getallocatedblocks() - before) / REPEATED


def _warm(task: Task) -> None:
    for _ in range(WARM):
        task()
    gc.collect()


def _modules() -> Mapping[str, frozenset[str]]:
    with starts() as (aws_url, events):
        return {
            function: _imported(ROOT / "functions" / function, function, aws_url, events[function])
            for function in FIXTURES
        }


def _imported(folder: Path, function: str, aws_url: str, event: Path) -> frozenset[str]:
    path = (folder, ROOT / "layers" / "checkout_recovery")
    told = run_program("first_answer", path, aws_url, [str(event)])
    check(function, told["answer"])
    return frozenset(told["modules"])


def main() -> int:
    output = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # metrics are lines on stdout
    os.write(output, json.dumps(asdict(count()), indent=2).encode() + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
