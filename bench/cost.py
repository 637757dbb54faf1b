"""What the stack costs on AWS, for each million events and thousand checkouts: the tables of docs/cost.md.

make cost                  calculate from what was measured last, show, and write down
make cost ARGS=--measure   measure anew first: requests and batches, one to three minutes
"""

import argparse
import math
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from rich.console import Console
from rich.markdown import Markdown

from bench import handling, scale
from bench.capacity import CHECKOUTS, DUE, KB, MILLION, together, write_units
from bench.document import filled
from bench.measured import read, write
from bench.per_item import TEMPLATE
from bench.prices import PRICES, dollars
from bench.spending import (
    ITEMS_A_WRITE,
    KEYS_A_READ,
    LINE_OVERHEAD,
    RETRY_CALLS,
    SERVICES,
    VIRTUAL_CPU_MB,
    Assumed,
    Deployed,
    Findings,
    Requests,
    Spending,
)
from checkout_recovery import secrets
from checkout_recovery.checkout.event import EventType
from checkout_recovery.checkout.lifecycle import Suppression
from checkout_recovery.contracts import CONTRACTS
from checkout_recovery.delivery.send import Limits
from checkout_recovery.observability import TOTALS
from checkout_recovery.tables.deliveries import State
from functions.fanout.app import _SENDING_SECONDS

DOCUMENT = Path(__file__).parents[1] / "docs" / "cost.md"
RESOURCES: dict[str, Any] = TEMPLATE["Resources"]
SUBSCRIBERS = (1, 3, 10, 30, 100)
BATCHES = (1, 3, 10, 30, 100)
MEMORIES = (256, 512, 768, 1_024, 1_536, VIRTUAL_CPU_MB)
ANSWERS = (0.05, 0.2, 1.0)
MESSAGES = {"1 M": 1e6, "10 M": 1e7, "100 M": 1e8}
CART, HEARERS = 3, 1
"""Of the base case: lines in the cart, as in docs/scale.md, and subscribers."""
_FINDINGS = TypeAdapter(Findings)

# ---------------------------------------------------------------- what is deployed

_REQUEST = '"requestId":"00000000-0000-4000-8000-000000000000"'
_START = (
    '{"time":"2026-11-22T10:00:00.000Z","type":"platform.start","record":{' + _REQUEST + ',"functionArn":'
    '"arn:aws:lambda:ap-south-1:000000000000:function:checkout-recovery-FanoutFunction-abcdefghijkl:live",'
    '"version":"12"}}'
)
_REPORT = (
    '{"time":"2026-11-22T10:00:00.000Z","type":"platform.report","record":{' + _REQUEST + ',"metrics":'
    '{"durationMs":240.123,"billedDurationMs":241,"memorySizeMB":512,"maxMemoryUsedMB":120},'
    '"status":"success"}}'
)
PLATFORM_LINES = (_START, _REPORT)
"""What Lambda writes of an invocation at its default system log level, after its documentation's examples."""
ACCESS_VALUES = {
    "requestTimeEpoch": "1795341600000",
    "requestId": "AbCdEfGhIjKlMnO=",
    "routeKey": "POST /v1/webhooks/{provider}/{store_id}",
    "status": "200",
    "responseLength": "90",
    "responseLatency": "40",
    "integrationLatency": "38",
    "integrationStatus": "200",
    "authorizer.status": "-",
    "error.responseType": "-",
}
"""What stands in the access log's format for each variable."""

ROUTE_METRICS = 6
"""4xx, 5xx, Count, IntegrationLatency, Latency, DataProcessed."""
OUTCOMES = 2 + len(State) - 1
"""`failed` and `postponed` in the place of `pending`, and the states."""
_WAYS = 2
"""fanout and retry: the dimension `service`."""
_REASONS = {"Postponed": 5, "Suppressed": len(Suppression), "SubscriptionsDisabled": 2}

EMITTED: dict[str, tuple[tuple[str, ...], int, int]] = {
    "Events": (("event",), len(EventType), len(EventType)),
    "Deliveries": (("contract", "outcome"), 2, _WAYS * len(CONTRACTS) * OUTCOMES),
    "FirstAttemptMilliseconds": ((), 1, _WAYS),
    "RetryAgeSeconds": ((), 0, _WAYS),
    "ReceiverLatencyMilliseconds": ((), 1, _WAYS),
    "Postponed": (("reason",), 0, _WAYS * _REASONS["Postponed"]),
    "Suppressed": (("reason",), 2, _WAYS * _REASONS["Suppressed"]),
    "CircuitsOpened": ((), 0, _WAYS),
    "CircuitsClosed": ((), 0, _WAYS),
    "SubscriptionsDisabled": (("reason",), 0, _WAYS * _REASONS["SubscriptionsDisabled"]),
    "OldestDueSeconds": ((), 1, 1),
    "Abandoned": ((), 1, 1),
    "SweepFailures": ((), 1, 1),
    "CircuitsOpen": ((), 1, 1),
}
"""Of each metric that `measure` emits: its dimensions beside `service`, how many combinations a well stack
with one contract has (delivered and suppressed; `cooldown` and `no_contact`), and how many there can be."""


def totals(well: bool) -> int:
    """Combinations of the metrics that are emitted once more with one dimension alone."""
    if well:
        return EMITTED["Deliveries"][1]
    by_dimension = {"outcome": lambda _: OUTCOMES, "reason": _REASONS.__getitem__}
    return sum(by_dimension[dimension](metric) for metric, dimension in TOTALS.items())


def deployed() -> Deployed:
    """The stack as the template and the code have it."""
    functions = {name: one for name, one in RESOURCES.items() if one["Type"] == "AWS::Serverless::Function"}
    stream = functions["FanoutFunction"]["Properties"]["Events"]["CheckoutChanged"]["Properties"]
    log = RESOURCES["HttpApi"]["Properties"]["AccessLogSettings"]["Format"]
    routes = sum(
        event["Type"] == "HttpApi"
        for one in functions.values()
        for event in one["Properties"].get("Events", {}).values()
    )
    detailed = RESOURCES["HttpApi"]["Properties"]["DefaultRouteSettings"]["DetailedMetricsEnabled"]
    return Deployed(
        memory_mb={name: one["Properties"]["MemorySize"] for name, one in functions.items()},
        batch_size=stream["BatchSize"],
        parallelization=stream["ParallelizationFactor"],
        connections=Limits().max_connections,
        connections_a_subscription=Limits().per_subscription,
        sending_seconds=_SENDING_SECONDS,
        access_log_bytes=len(access_line(log)) + LINE_OVERHEAD,
        platform_log_bytes=sum(len(line) + LINE_OVERHEAD for line in PLATFORM_LINES),
        secret_seconds=secrets._TTL,
        alarm_metrics=sum(map(alarm_metrics, RESOURCES.values())),
        dashboards=sum(one["Type"] == "AWS::CloudWatch::Dashboard" for one in RESOURCES.values()),
        custom_metrics=sum(well for _, well, _ in EMITTED.values()) + totals(well=True),
        custom_metrics_at_most=sum(most for _, _, most in EMITTED.values()) + totals(well=False),
        route_metrics=ROUTE_METRICS * detailed,
        route_metrics_at_most=ROUTE_METRICS * routes * detailed,
    )


def access_line(log_format: str) -> str:
    """A line of the access log; a variable that `ACCESS_VALUES` has not is an error."""
    return re.sub(
        r"\$context\.([A-Za-z]+(?:\.[A-Za-z]+)?)", lambda found: ACCESS_VALUES[found[1]], log_format
    )


def alarm_metrics(resource: dict[str, Any]) -> int:
    """How many metrics a resource watches, if it is an alarm: each is billed, an expression is not."""
    if resource["Type"] != "AWS::CloudWatch::Alarm":
        return 0
    metrics = resource["Properties"].get("Metrics")
    return sum("MetricStat" in one for one in metrics) if metrics else 1


def base() -> Spending:
    """The case that the others differ from in one thing."""
    return Spending(
        findings=load(),
        items=CART,
        written=scale.load().measured,
        sweeping=scale.sweeping(),
        deployed=deployed(),
        subscribers=HEARERS,
    )


# ---------------------------------------------------------------- the tables


def tables(one: Spending) -> dict[str, str]:
    """Every table of the document, by the name of its place."""
    return {
        "cost-measured": _measured(one.findings),
        "cost-line": _line(one.findings),
        "cost-assumed": _assumed(one),
        "cost-prices": _prices(),
        "cost-subscribers": _subscribers(one),
        "cost-batches": _batches(one),
        "cost-memory": _memory(one),
        "cost-carts": _carts(one),
        "cost-answers": _answers(one),
        "cost-services": _services(one),
        "cost-lines": _lines(one),
        "cost-fixed": _fixed(one),
        "cost-done": _done(one),
        "cost-managed": _managed(one),
        "cost-sizes": _sizes(one),
        "cost-size-batches": _size_batches(one),
        "cost-throughput": _throughput(one),
        "cost-waiting": _window(one),
        "cost-could": _could(one),
    }


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    names = list(head)
    lines = [names, ["---", *["---:"] * (len(names) - 1)], *map(list, rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _measured(findings: Findings) -> str:
    carts = findings.requests
    rows: dict[str, Callable[[int], str]] = {
        "the provider's request, B": lambda n: f"{carts[n].body_bytes:,.0f}",
        "ingest, a snapshot, CPU µs": lambda n: f"{carts[n].snapshot_microseconds:,.0f}",
        "ingest, the first with a contact, CPU µs": lambda n: f"{carts[n].contact_microseconds:,.0f}",
        "fan-out, a batch by itself, CPU µs": lambda n: f"{carts[n].fan_out_microseconds.batch:,.0f}",
        "and for each event": lambda n: f"{carts[n].fan_out_microseconds.event:,.0f}",
        "and for each delivery": lambda n: f"{carts[n].fan_out_microseconds.delivery:,.0f}",
        "fan-out by the clock, 1 to 1, and 100 to 1, ms": lambda n: (
            f"{_clock(carts[n], 1):,.0f}, {_clock(carts[n], handling.MANY):,.0f}"
        ),
        "fan-out's log, a batch by itself, B": lambda n: f"{carts[n].fan_out_log_bytes.batch:,.0f}",
        "and for each event, and each delivery": lambda n: (
            f"{carts[n].fan_out_log_bytes.event:,.0f}, {carts[n].fan_out_log_bytes.delivery:,.0f}"
        ),
        "a delivery, headers and body, B": lambda n: f"{carts[n].sent_bytes:,.0f}",
        "the checkout's item, B": lambda n: f"{carts[n].item_bytes:,.0f}",
    }
    head = [f"measured ({findings.processor}, {findings.date})", *(_lines_in_cart(n) for n in carts)]
    return _table(head, ([name, *map(cell, carts)] for name, cell in rows.items()))


def _clock(requests: Requests, events: int) -> float:
    """Milliseconds of a batch to one subscriber."""
    (found,) = (one for one in requests.batches if (one.events, one.subscribers) == (events, 1))
    return found.milliseconds


def _lines_in_cart(number: int) -> str:
    return f"{number} line{'s' * (number > 1)}"


def _line(findings: Findings) -> str:
    """How well three measured batches tell of the others."""
    handling_of = {n: one.fan_out_microseconds for n, one in findings.requests.items()}
    rows = []
    for at, batch in enumerate(findings.requests[CART].batches):
        row = [f"{batch.events} to {batch.subscribers}"]
        for n, one in findings.requests.items():
            measured = one.batches[at].microseconds
            told = handling_of[n].of(batch.events, batch.events * batch.subscribers)
            row.append(f"{measured / 1e3:,.1f} ({told / measured - 1:+.0%})")
        rows.append(row)
    head = "events to subscribers: CPU ms of a batch, and how far the line is off"
    return _table([head, *map(_lines_in_cart, findings.requests)], rows)


def _assumed(one: Spending) -> str:
    assumed, day = one.assumed, one.day
    rows = [
        ["CPU time of Lambda's arm64 for that of the processor here", f"{assumed.slower:g}"],
        [f"CPU, of one virtual CPU: its memory over {VIRTUAL_CPU_MB:,} MB", "at most 1"],
        ["a call of DynamoDB", f"{assumed.call_seconds * 1e3:g} ms"],
        ["a receiver's answer, connecting included", f"{assumed.answer_seconds * 1e3:g} ms"],
        ["a TLS handshake, for each connection that a batch uses: CPU, and bytes out", _handshake(assumed)],
        ["deliveries that fail, once each", f"{assumed.failed:.0%}"],
        ["our answer to a snapshot", f"{assumed.answered_bytes:g} B"],
        ["warm environments of a function, each with its own memory of secrets", f"{assumed.environments:g}"],
        ["snapshots that a store sends itself, by token", f"{assumed.by_token:.0%}"],
        ["events of a checkout, and snapshots among them", f"{one.events:.2f}, {one.snapshots:.2f}"],
        ["checkouts a day of one store", f"{day.checkouts_a_store:,.0f}"],
        ["kept: checkouts, deliveries", f"{day.retention_days:g}, {day.delivery_retention_days:g} days"],
        ["Lambda's own lines about an invocation", f"{one.deployed.platform_log_bytes:,.0f} B"],
        ["a line of the access log", f"{one.deployed.access_log_bytes:,.0f} B"],
    ]
    return _table(["assumed", ""], rows)


def _handshake(assumed: Assumed) -> str:
    return f"{assumed.handshake_microseconds / 1e3:g} ms, {assumed.handshake_bytes:,.0f} B"


def _prices() -> str:
    rows = [
        [
            f"[{_short(name)}]({price.source}), {price.unit}",
            f"`{price.usage_type}`",
            f"{price.value:.10f}".rstrip("0").rstrip("."),
            price.region or PRICES.region,
            f"{price.date}",
        ]
        for name, price in PRICES.aws.items()
    ]
    return _table(["", "usage type", "US$", "region", "read"], rows)


def _short(name: str) -> str:
    names = {"dynamodb": "DynamoDB", "lambda": "Lambda", "http": "HTTP API", "sqs": "SQS", "kms": "KMS"}
    return names.get(name.partition("_")[0], "CloudWatch" if "transfer" not in name else "Data transfer")


def _subscribers(one: Spending) -> str:
    cases = [replace(one, subscribers=many) for many in SUBSCRIBERS]
    rows = [
        _row("**a million events, US$**", cases, lambda c: f"**{c.million_events:.2f}**"),
        _row("**a thousand checkouts, US$**", cases, lambda c: f"**{c.thousand_checkouts:.3f}**"),
        _row("a million deliveries, US$", cases, lambda c: f"{c.million_events / c.subscribers:.2f}"),
        _row("of it for sending alone, US$", cases, lambda c: f"{c.million_sent:.2f}"),
        _row("a batch of one event, ms", cases, lambda c: f"{c.batch_seconds() * 1e3:,.0f}"),
    ]
    return _table(["subscribers, to every event", *map(str, SUBSCRIBERS)], rows)


def _batches(one: Spending) -> str:
    """A million events, by events a batch and subscribers."""
    rows = [
        [
            f"{events} event{'s' * (events > 1)} a batch",
            *(
                f"{replace(one, subscribers=many, events_a_batch=events).million_events:.2f}"
                for many in SUBSCRIBERS
            ),
        ]
        for events in BATCHES
    ]
    return _table(["a million events, US$; subscribers:", *map(str, SUBSCRIBERS)], rows)


def _memory(one: Spending) -> str:
    """A million events, by fan-out's memory and subscribers."""
    rows = [
        [
            f"fan-out with {memory:,} MB",
            *(
                f"{_with(one, 'FanoutFunction', memory, subscribers=n).million_events:.2f}"
                for n in SUBSCRIBERS
            ),
        ]
        for memory in MEMORIES
    ]
    return _table(["a million events, US$; subscribers:", *map(str, SUBSCRIBERS)], rows)


def _with(one: Spending, function: str, memory: int, **others: Any) -> Spending:
    sizes = {**one.deployed.memory_mb, function: memory}
    return replace(one, deployed=replace(one.deployed, memory_mb=sizes), **others)


def _carts(one: Spending) -> str:
    carts = tuple(one.findings.requests)
    rows = [
        [
            f"{many} subscriber{'s' * (many > 1)}",
            *(_both(replace(one, items=n, subscribers=many)) for n in carts),
        ]
        for many in SUBSCRIBERS
    ]
    return _table(
        ["a million events, and a thousand checkouts, US$; cart of", *map(_lines_in_cart, carts)], rows
    )


def _both(one: Spending) -> str:
    return f"{one.million_events:.2f}, {one.thousand_checkouts:.3f}"


def _answers(one: Spending) -> str:
    rows = []
    for answer in ANSWERS:
        assumed = replace(one.assumed, answer_seconds=answer)
        cases = [replace(one, assumed=assumed, subscribers=many) for many in SUBSCRIBERS]
        rows.append([f"answers after {answer * 1e3:g} ms", *(f"{case.million_events:.2f}" for case in cases)])
    return _table(["a million events, US$; subscribers:", *map(str, SUBSCRIBERS)], rows)


def _services(one: Spending) -> str:
    cases = [replace(one, subscribers=many) for many in SUBSCRIBERS]
    rows = [
        _row(service, cases, lambda c, s=service: _share(c.services()[s], c.million_events))  # type: ignore[misc]
        for service in SERVICES
    ]
    return _table(["of a million events; subscribers:", *map(str, SUBSCRIBERS)], rows)


def _share(part: float, whole: float) -> str:
    return f"{part:.2f}, {part / whole:.0%}"


def _lines(one: Spending) -> str:
    each = MILLION / one.events
    lines = sorted(one.lines, key=lambda line: -line.dollars)
    rows = [
        [f"{line.service}: {line.what}", f"{line.dollars * each:.2f}", f"{line.dollars / one.checkout:.1%}"]
        for line in lines
        if line.dollars * each >= 0.005
    ]
    by_token = replace(one, assumed=replace(one.assumed, by_token=1)).checkout - one.checkout
    rows.append(["Lambda: authorize, if all came by a store's token", f"{by_token * each:.2f}", "+"])
    return _table(["base case", "US$ for a million events", "share"], rows)


def _fixed(one: Spending) -> str:
    lines = one.fixed()
    rows = [[f"{line.service}: {line.what}", f"{line.dollars:.2f}"] for line in lines]
    total = sum(line.dollars for line in lines)
    metric = one.prices.metric_month
    return _table(
        ["whatever comes", "US$ a month"],
        [
            *rows,
            ["**all of these**", f"**{total:.2f}**"],
            [
                f"our own metrics if all {one.deployed.custom_metrics_at_most} combinations came",
                f"{one.deployed.custom_metrics_at_most * metric:.2f}",
            ],
            [
                f"metrics of routes if all {one.deployed.route_metrics_at_most // ROUTE_METRICS} were called",
                f"{one.deployed.route_metrics_at_most * metric:.2f}",
            ],
        ],
    )


# ---------------------------------------------------------------- what was done, and what could be


def _done(one: Spending) -> str:
    """What each choice saves, by what the other would cost."""
    each = MILLION / one.events
    longer = replace(one, day=replace(one.day, delivery_retention_days=400))
    added = {
        "`due` holds keys only, not all attributes": _all_attributes(one) * each,
        "one JSON string an item, not a tree of attributes": _tree(one) * each,
        "no line of our own about each request": _request_lines(one) * each,
        "the log's look-up and entries in batches of calls, at 10 subscribers": _single_calls(one),
        "the table's stream, not a queue of events": 3 * dollars("sqs_million_requests"),
        "arm64, not x86_64": _on_x86(one) * each,
        f"the delivery log kept for {one.day.delivery_retention_days:g} days, not 400": -_less(one, longer),
        "fan-out with 512 MB, not 1,024": -_less(one, _with(one, "FanoutFunction", 1_024)),
    }
    rows = [[name, f"{more:.2f}", f"{more / one.million_events:+.0%}"] for name, more in added.items()]
    return _table(["the choice", "the other, US$ more for a million events", "of the base case"], rows)


def _all_attributes(one: Spending) -> float:
    work = together(
        one.written.work, {name: n for name, n in one.day.times.items() if "delivery" not in name}
    )
    more = write_units(one.requests.item_bytes) - 1
    return work.writes[DUE] * more * one.prices.million_writes / MILLION


def _tree(one: Spending) -> float:
    """The units of a write, and the CPU where an item is read and written."""
    requests = one.requests
    units = write_units(requests.typed_item_bytes) / write_units(requests.item_bytes) - 1
    table = next(line.dollars for line in one.lines if line.what == CHECKOUTS)
    more = requests.tree_microseconds - requests.string_microseconds
    ingest, fan_out = (
        one.invocation(name, more, 0) - one.invocation(name, 0, 0)
        for name in ("IngestFunction", "FanoutFunction")
    )
    return units * table + one.snapshots * ingest + one.events * fan_out / 2


def _request_lines(one: Spending) -> float:
    findings = one.findings
    bare = one.invocation("IngestFunction", 0, 0)
    cpu = one.invocation("IngestFunction", findings.log_line_microseconds, 0) - bare
    logged = findings.log_line_bytes / 1e9 * one.prices.log_gigabyte
    return one.snapshots * (cpu + logged)


def _single_calls(one: Spending) -> float:
    """A read and a write by themselves for each delivery, the time alone: units are the same."""
    subscribers = 10
    memory = one.deployed.memory_mb["FanoutFunction"] / KB
    calls = 2 * subscribers + 1 - 2
    return calls * one.assumed.call_seconds * memory * one.prices.gigabyte_second * MILLION


def _on_x86(one: Spending) -> float:
    prices = replace(one.prices, gigabyte_second=dollars("lambda_x86_gigabyte_second"))
    return replace(one, prices=prices).checkout - one.checkout


def _could(one: Spending) -> str:
    """What a change would save, of a million events and of a month."""
    kept = one.deployed.platform_log_bytes
    quiet = replace(one, deployed=replace(one.deployed, platform_log_bytes=0))
    longer = replace(one, deployed=replace(one.deployed, secret_seconds=3_600))
    smaller = _with(one, "FanoutFunction", 256)
    ingest = _with(one, "IngestFunction", 256)
    compressed = replace(one, findings=_compressed(one))
    routes = one.deployed.route_metrics * one.prices.metric_month
    rows = [
        ["`data` compressed (docs/scale.md)", _saved(one, compressed)],
        [f"`SystemLogLevel: WARN`: without Lambda's own {kept:,.0f} B an invocation", _saved(one, quiet)],
        ["secrets remembered for an hour, not five minutes", _saved(one, longer)],
        ["fan-out with 256 MB", _saved(one, smaller)],
        ["ingest with 256 MB", _saved(one, ingest)],
        ["`DetailedMetricsEnabled: false`", f"{routes:.2f} a month for each route"],
    ]
    return _table(["the change", "saves, US$ for a million events"], rows)


def _saved(one: Spending, other: Spending) -> str:
    saved = _less(one, other)
    return f"{saved:.2f}, {saved / one.million_events:.0%}"


def _less(one: Spending, other: Spending) -> float:
    """What the other saves of a million events."""
    return one.million_events - other.million_events


def _compressed(one: Spending) -> Findings:
    sizes = scale.load().sizes
    changed = {n: replace(r, item_bytes=sizes[n].compressed) if n in sizes else r for n, r in _requests(one)}
    return replace(one.findings, requests=changed)


def _requests(one: Spending) -> Iterable[tuple[int, Requests]]:
    return one.findings.requests.items()


def _managed(one: Spending) -> str:
    """A month with so many messages, each to one subscriber."""
    messages = MESSAGES.values()
    signs = {"USD": "$", "EUR": "€"}
    rows = [
        ["this stack, sending alone", *(f"${one.month(many, sends=True):,.0f}" for many in messages)],
        ["this stack, all that it does", *(f"${one.month(many):,.0f}" for many in messages)],
        *(
            [
                f"[{plan.name}]({plan.source})",
                *(f"{signs[plan.currency]}{plan.month(n):,.0f}" for n in messages),
            ]
            for plan in PRICES.managed.values()
        ),
    ]
    return _table(["messages a month", *MESSAGES], rows)


# ---------------------------------------------------------------- right sizes


def _sizes(one: Spending) -> str:
    """Each function by its memory: a million runs, and one by the clock."""
    rows = []
    for name, (function, cpu, calls, waiting) in _runs(one).items():
        cells = [_run(_with(one, function, memory), function, cpu, calls, waiting) for memory in MEMORIES]
        own = one.deployed.memory_mb[function]
        marked = (
            f"**{cell}**" if memory == own else cell for cell, memory in zip(cells, MEMORIES, strict=True)
        )
        rows.append([name, *marked])
    return _table(
        ["US$ for a million runs, and ms of one; as deployed: bold", *(f"{m:,} MB" for m in MEMORIES)], rows
    )


def _runs(one: Spending) -> dict[str, tuple[str, float, float, float]]:
    """What functions do, with the CPU, the calls and the waiting that each takes."""
    requests, answer, shake = one.requests, one.assumed.answer_seconds, one.assumed.handshake_microseconds
    fan_out, full = requests.fan_out_microseconds, one.deployed.batch_size
    alone, at_once = fan_out.of(1, 1) + shake, one.deployed.connections_a_subscription
    calls = math.ceil(3 * full / KEYS_A_READ) + math.ceil(full / ITEMS_A_WRITE)
    return {
        "ingest, a snapshot": ("IngestFunction", requests.snapshot_microseconds, 2, 0),
        "authorize": ("AuthorizeFunction", one.findings.authorize_microseconds, 1, 0),
        "fan-out, 1 event to 1": ("FanoutFunction", alone, 2, answer),
        f"fan-out, {full} events to 1": (
            "FanoutFunction",
            fan_out.of(full, full) + at_once * shake,
            calls,
            math.ceil(full / at_once) * answer,
        ),
        "retry, 1 message": ("RetryFunction", alone, RETRY_CALLS, answer),
    }


def _run(one: Spending, function: str, cpu: float, calls: float, waiting: float) -> str:
    money = one.invocation(function, cpu, calls, waiting) * MILLION
    share = min(1.0, one.deployed.memory_mb[function] / VIRTUAL_CPU_MB)
    seconds = cpu * one.assumed.slower / MILLION / share + calls * one.assumed.call_seconds + waiting
    return f"{money:,.2f}, {seconds * 1e3:,.0f}"


def _size_batches(one: Spending) -> str:
    """One batch by the clock, and what of it has to wait for the retry function."""
    rows = []
    for answer in ANSWERS:
        assumed = replace(one.assumed, answer_seconds=answer)
        for many in (1, 10, 30):
            cases = [replace(one, assumed=assumed, subscribers=many, events_a_batch=n) for n in BATCHES]
            rows.append([_to(answer, many), *map(_batch_cell, cases)])
    return _table(
        ["s of a batch, and the share put off; answers after, to; events a batch:", *map(str, BATCHES)], rows
    )


def _throughput(one: Spending) -> str:
    """Events a second of one shard, while its stream is never empty."""
    rows = []
    for answer in ANSWERS:
        assumed = replace(one.assumed, answer_seconds=answer)
        for many in (1, 10, 30):
            cases = [replace(one, assumed=assumed, subscribers=many, events_a_batch=n) for n in BATCHES]
            rows.append(_row(_to(answer, many), cases, lambda c: f"{c.events_a_second():,.0f}"))
    return _table(
        ["events a second of a shard; answers after, to; events a batch:", *map(str, BATCHES)], rows
    )


def _to(answer: float, many: int) -> str:
    return f"{answer * 1e3:g} ms, {many} subscriber{'s' * (many > 1)}"


def _batch_cell(one: Spending) -> str:
    deferred = f", {one.deferred:.0%}" if one.deferred else ""
    return f"{one.batch_seconds():,.1f}{deferred}"


def _window(one: Spending) -> str:
    """What a second of waiting for more events would bring, if one shard had them all."""
    rows = []
    for name, messages in MESSAGES.items():
        a_second = messages / one.subscribers / (30 * 86_400)
        gathered = max(1, round(a_second))
        fuller = replace(one, events_a_batch=min(gathered, one.deployed.batch_size))
        saved = one.million_events - fuller.million_events
        rows.append([name, f"{a_second:.1f}", f"{gathered}", f"{saved * messages / MILLION:,.0f}"])
    return _table(
        ["events a month", "a second", "a batch, with a window of 1 s", "US$ a month less, at most"], rows
    )


def _row(name: str, cases: Iterable[Spending], cell: Callable[[Spending], str]) -> list[str]:
    return [name, *map(cell, cases)]


# ---------------------------------------------------------------- the command


def load() -> Findings:
    """What was measured last."""
    return _FINDINGS.validate_python(read("requests"))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--measure", action="store_true", help="measure requests and batches anew")
    if parser.parse_args().measure:
        write("requests", _FINDINGS.dump_python(handling.measure(), mode="json"))
    made = tables(base())
    DOCUMENT.write_text(filled(DOCUMENT.read_text(), made))
    console = Console(width=160)
    for table in made.values():
        console.print(Markdown(table))
    return 0


if __name__ == "__main__":
    sys.exit(main())
