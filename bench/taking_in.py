"""The way in: the CPU of a snapshot beside its bare AWS calls, and how fast payloads are read and applied."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from io import StringIO
from typing import Any

import boto3
from aws_lambda_powertools import Logger

from bench.figures import Effort, Figure, Speed, Target, Task, cpu_microseconds, figure, in_turns
from bench.stub import STORE_ID, Call, heard
from bench.world import (
    Context,
    applied,
    held_item,
    ingest_event,
    request_of,
    snapshot_of,
    stream_event,
    world,
)
from checkout_recovery import wiring
from checkout_recovery.providers.provider import Request
from functions.fanout.app import handler as fanout
from functions.ingest.app import handler as ingest

GROUP = "taking in"
SUBSCRIBERS = 10
CALLS = 40
READS = 500
LINES = (1, 10, 100)
COMPARISONS = 11

INGEST, READ = Target(must=1.5, aim=1.2), Target(must=0.1, aim=0.25)


def measure(effort: Effort) -> list[Figure]:
    each = effort.shared(COMPARISONS)
    with world({STORE_ID: SUBSCRIBERS}, held=held_item()) as here:
        return _handlers(here.aws_url, each) + _reading(each) + _parts(each)


def _handlers(aws_url: str, effort: Effort) -> list[Figure]:
    """Handlers beside the calls that they make, by a client as boto3 makes it and by the one deployed."""
    found = []
    for name, task, target in _tasks():
        heard(aws_url)
        task()
        calls = heard(aws_url)
        operations = " + ".join(operation for operation, _ in calls)
        for client, kind, bound in (
            (boto3.client("dynamodb"), "bare boto3", target),
            (boto3.client("dynamodb", config=wiring.client_config()), "boto3 as configured", None),
        ):
            ratios = in_turns(
                partial(cpu_microseconds, task, CALLS),
                partial(cpu_microseconds, partial(_replay, client, calls), CALLS),
                effort,
            )
            found.append(figure(GROUP, name, "CPU µs", f"{kind}: {operations}", ratios, target=bound))
    return found


def _tasks() -> list[tuple[str, Task, Target | None]]:
    context = Context()
    first, later, batch = ingest_event(), ingest_event("c-held"), stream_event({"c-new": STORE_ID})
    assert '"sequence":1}' in ingest(first, context)["body"]
    assert '"sequence":2}' in ingest(later, context)["body"]
    assert fanout(batch, context) == {"batchItemFailures": []}
    return [
        ("ingest, a snapshot", lambda: ingest(later, context), INGEST),
        ("ingest, the first with a contact", lambda: ingest(first, context), INGEST),
        (f"fan-out, 1 event x {SUBSCRIBERS}", lambda: fanout(batch, context), None),
    ]


def _reading(effort: Effort) -> list[Figure]:
    """Reading and applying payloads, small and large, beside the standard library's JSON alone."""
    return [_read(request_of(ingest_event(lines=lines)), lines, effort) for lines in LINES]


def _read(request: Request, lines: int, effort: Effort) -> Figure:
    now, times = datetime.now(UTC), READS // lines + 10

    def ours() -> None:
        for _ in range(times):
            applied(snapshot_of(request), now)

    def bare() -> None:
        for _ in range(times * 10):
            json.loads(request.body)

    pairs = in_turns(partial(Speed.of, ours, times), partial(Speed.of, bare, times * 10), effort)
    ratios = [(one.a_cpu_second, other.a_cpu_second) for one, other in pairs]
    name = f"read and apply, {lines} line{'s' * (lines > 1)}, {len(request.body):,} B"
    return figure(GROUP, name, "/CPU s", "json.loads of the body", ratios, target=READ)


def _parts(effort: Effort) -> list[Figure]:
    """What decisions rest on: the price of a log line."""
    now, request = datetime.now(UTC), request_of(ingest_event())
    quiet = Logger(service="bench", stream=StringIO())
    fields = {"request_id": Context.aws_request_id, "results": ["applied"]}
    found = in_turns(
        partial(cpu_microseconds, lambda: quiet.info("snapshots taken in", extra=fields), 10 * CALLS),
        partial(cpu_microseconds, lambda: applied(snapshot_of(request), now), 10 * CALLS),
        effort,
    )
    return [figure(GROUP, "a log line", "CPU µs", "read and apply a snapshot", found)]


def _replay(client: Any, calls: Sequence[Call]) -> None:
    for name, parameters in calls:
        client._make_api_call(name, parameters)
