"""How the system grows from ten thousand to a hundred million checkouts a day: the tables of docs/scale.md.

make scale                    measure, calculate, and write both down
make scale ARGS=--calculate   calculate anew from what was measured last
"""

import argparse
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from statistics import quantiles

from pydantic import TypeAdapter
from rich.console import Console
from rich.markdown import Markdown

from bench.capacity import (
    CHECKOUTS,
    CONTACT,
    DELIVERIES,
    DUE,
    LATER,
    REGISTRY,
    SHOPPERS,
    Day,
    Limits,
    Measured,
    Prices,
    Sweeping,
    Volume,
    together,
    write_units,
)
from bench.document import filled
from bench.measured import read, write
from bench.per_item import LINES, TEMPLATE, Cpu, Findings, measure
from bench.prices import PRICES
from functions.sweep.app import _RESERVE_MILLISECONDS, _SHARDS_A_RUN

DOCUMENT = Path(__file__).parents[1] / "docs" / "scale.md"
VOLUMES = {"10 k": 1e4, "100 k": 1e5, "1 M": 1e6, "10 M": 1e7, "100 M": 1e8}
_FINDINGS = TypeAdapter(Findings)


def sweeping() -> Sweeping:
    """The sweep as the template deploys it."""
    function = TEMPLATE["Resources"]["SweepFunction"]["Properties"]
    seconds = function["Timeout"] - _RESERVE_MILLISECONDS / 1_000
    return Sweeping(
        default_shards=TEMPLATE["Parameters"]["DueShards"]["Default"],
        shards_a_run=_SHARDS_A_RUN,
        memory_mb=function["MemorySize"],
        seconds=seconds,
    )


def tables(findings: Findings, sweeping: Sweeping) -> dict[str, str]:
    """Every table of the document, by the name of its place."""
    measured = findings.measured
    volumes = [
        Volume(checkouts_a_day=many, measured=measured, sweeping=sweeping) for many in VOLUMES.values()
    ]
    return {
        "operations": _operations(measured),
        "sizes": _sizes(findings),
        "cpu": _cpu(findings),
        "assumptions": _assumptions(Day(), sweeping),
        "prices": _prices(Prices()),
        "checkout": _checkout(measured),
        "scale": _scale(volumes),
        "shards": _shards(volumes),
        "limits": _limits(volumes),
        "weighed": _weighed(findings, Day(), Prices()),
    }


# ---------------------------------------------------------------- the tables


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    names = list(head)
    lines = [names, ["---", *["---:"] * (len(names) - 1)], *map(list, rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _operations(measured: Measured) -> str:
    parts = (CHECKOUTS, DUE, SHOPPERS, DELIVERIES)
    rows = (
        [name, _units(work.calls), _units(sum(work.reads.values()))]
        + [_units(work.writes.get(part, 0)) for part in parts]
        for name, work in measured.work.items()
    )
    return _table(["one of each", "calls", "read units", *(f"{part}, write units" for part in parts)], rows)


def _sizes(findings: Findings) -> str:
    rows = (
        [f"{lines}", *(f"{size:,} B, {write_units(size)}" for size in (one.first, one.last, one.compressed))]
        for lines, one in findings.sizes.items()
    )
    return _table(["lines in the cart", "first snapshot", "fourth", "fourth, if compressed"], rows)


def _cpu(findings: Findings) -> str:
    measured = findings.measured
    rows = [
        ["an abandonment, told", *_against(findings.told)],
        ["an abandonment, held back", *_against(findings.held_back)],
        ["a store's subscriptions", f"{measured.store_microseconds:,.0f} µs", "", ""],
        ["a shard with nothing due", f"{measured.shard_microseconds:,.0f} µs", "", ""],
    ]
    here = f"{findings.processor}, {findings.date}"
    return _table([f"the sweep's CPU ({here})", "", "its calls alone", "ratio, median and quartiles"], rows)


def _against(cpu: Cpu) -> list[str]:
    low, middle, high = quantiles(cpu.ratios, n=4)
    ratio = f"x {middle:.2f} ({low:.2f} to {high:.2f})"
    return [f"{cpu.ours:,.0f} µs", f"{cpu.bare:,.0f} µs", ratio]


def _assumptions(day: Day, sweeping: Sweeping) -> str:
    rows = [
        ["snapshots of a checkout", f"{day.snapshots:g}"],
        ["a phone and an e-mail address are told, by the second snapshot", f"{day.with_contact:.0%}"],
        ["bought", f"{day.bought:.0%}"],
        ["held back by the cooldown", f"{day.in_cooldown:.0%}"],
        ["told of, came back, and left again within the cooldown", f"{day.returned:.0%}"],
        ["the busiest minute over the average", f"{day.peak:g}"],
        ["checkouts a day of one store", f"{day.checkouts_a_store:,.0f}"],
        ["subscriptions of a store, to every event", f"{day.subscriptions:g}"],
        ["within quiet hours, if every store had them", f"{day.at_night:.0%}"],
        ["kept: checkouts, deliveries", f"{day.retention_days:g}, {day.delivery_retention_days:g} days"],
        ["CPU time of Lambda's arm64 for that of the processor here", f"{sweeping.slower:g}"],
        [
            "a call of DynamoDB, a transaction",
            f"{sweeping.call_seconds * 1e3:g}, {sweeping.transaction_seconds * 1e3:g} ms",
        ],
        ["planned with, of the writes that one key of an index takes", f"{Limits().planned:.0%}"],
        ["a snapshot's time in ingest", f"{Limits().ingest_seconds * 1e3:g} ms"],
    ]
    return _table(["assumed (shares are of all checkouts)", ""], rows)


def _prices(prices: Prices) -> str:
    named = {
        "DynamoDB, a million write request units": ("dynamodb_million_writes", f"{prices.million_writes:g}"),
        "DynamoDB, a million read request units": ("dynamodb_million_reads", f"{prices.million_reads:g}"),
        "DynamoDB, a GB for a month": ("dynamodb_gigabyte_month", f"{prices.gigabyte_month:g}"),
        "Lambda on arm64, a GB-second": ("lambda_arm_gigabyte_second", f"{prices.gigabyte_second:.10f}"),
        "Lambda, a million requests": ("lambda_million_requests", f"{prices.million_requests:.2f}"),
    }
    rows = ([what, f"`{PRICES.aws[name].usage_type}`", price] for what, (name, price) in named.items())
    return _table([PRICES.region, "usage type", "US$"], rows)


def _checkout(measured: Measured) -> str:
    work, prices = together(measured.work, Day().times), Prices()
    rows = []
    for part in (CHECKOUTS, DUE, SHOPPERS, DELIVERIES, REGISTRY):
        writes, reads = work.writes.get(part, 0), work.reads.get(part, 0)
        dollars = (writes * prices.million_writes + reads * prices.million_reads) / 1e3
        rows.append([part, f"{writes:.2f}", f"{reads:.2f}", f"{dollars:.4f}"])
    return _table(["one checkout", "write units", "read units", "US$ for a thousand"], rows)


def _scale(volumes: list[Volume]) -> str:
    day, seconds = volumes[0].day, volumes[0].sweeping.seconds
    written = (CHECKOUTS, DUE, SHOPPERS, DELIVERIES)
    rows = [
        _row("snapshots a second, average", volumes, lambda v: _number(v.snapshots)),
        _row("snapshots a second, at peak", volumes, lambda v: _number(v.snapshots * day.peak)),
        *(_row(f"{part}, write units a second at peak", volumes, _peak_writes(part)) for part in written),
        _row("due in the busiest minute", volumes, lambda v: _number(v.due_at_peak)),
        _row("shards that the index needs", volumes, lambda v: f"{v.index_shards}"),
        _row(
            "**`DueShards`, with what the sweep needs; by default 8**", volumes, lambda v: f"**{v.shards}**"
        ),
        _row("runs of the sweep a minute", volumes, lambda v: f"{v.runs(v.shards)}"),
        _row("CPU of all runs in the busiest minute, s", volumes, _peak_cpu),
        _row(f"the busiest run then, s of its {seconds:g}", volumes, _peak_run),
        _row("until all that the night put off is told, min", volumes, _morning),
        *(_row(f"{part}, US$ a month", volumes, _dollars(part)) for part in (*written, REGISTRY)),
        _row("the sweep's Lambda, US$ a month", volumes, lambda v: _money(v.sweep_dollars)),
        _row("storage once it is full, US$ a month", volumes, lambda v: _money(v.storage_dollars)),
        _row("**all of these, US$ a month**", volumes, lambda v: f"**{_money(v.total_dollars)}**"),
        _row("US$ for a thousand checkouts", volumes, lambda v: f"{v.dollars_a_thousand:.3f}"),
    ]
    return _table(["checkouts a day", *VOLUMES], rows)


def _peak_writes(part: str) -> Callable[[Volume], str]:
    return lambda volume: _number(volume.writes(part) * volume.day.peak)


def _dollars(part: str) -> Callable[[Volume], str]:
    return lambda volume: _money(volume.dollars(part))


def _peak_cpu(volume: Volume) -> str:
    return _number(volume.cpu_seconds(volume.shards, volume.due_at_peak))


def _peak_run(volume: Volume) -> str:
    return _number(volume.run_seconds(volume.shards, volume.due_at_peak))


def _morning(volume: Volume) -> str:
    return _number(volume.morning_minutes(volume.shards))


def _shards(volumes: list[Volume]) -> str:
    """What other numbers of shards a run would ask for."""
    rows = []
    for each in (16, 8, 4, 2):
        others = [replace(one, sweeping=replace(one.sweeping, shards_a_run=each)) for one in volumes]
        rows.append(_row(f"{each} shards a run", others, lambda v: f"{v.shards} in {v.runs(v.shards)}"))
    return _table(["`DueShards`, and runs a minute", *VOLUMES], rows)


def _limits(volumes: list[Volume]) -> str:
    rate_limit = TEMPLATE["Parameters"]["ThrottlingRateLimit"]["Default"]
    used = [one.used(rate_limit) for one in volumes]
    rows = ([name, *(_share(one[name]) for one in used)] for name in used[0])
    return _table(["of the limit, at peak", *VOLUMES], rows)


def _weighed(findings: Findings, day: Day, prices: Prices) -> str:
    """What other designs would write for a checkout."""
    work = together(findings.measured.work, day.times)
    item = write_units(findings.measured.checkout_bytes)
    compressed = write_units(findings.sizes[LINES].compressed)
    moved = 2 * (day.times[CONTACT] + day.times[LATER])
    put_back = (1 - day.bought) * (2 + item)
    now = sum(work.writes.values())
    writes = {
        "as it is": now,
        "`due` with all attributes": now + work.writes[DUE] * (item - 1),
        "`due_at` rounded to the minute, if all of a checkout were in one": now - moved,
        "lazy timers": now - moved + put_back,
        "`data` compressed": now - work.writes[CHECKOUTS] * (1 - compressed / item),
    }
    rows = (
        [name, f"{units:.1f}", f"{units * prices.million_writes / 1e3:.4f}"] for name, units in writes.items()
    )
    return _table(["", "write units for a checkout", "US$ for a thousand"], rows)


def _row(name: str, volumes: list[Volume], cell: Callable[[Volume], str]) -> list[str]:
    return [name, *map(cell, volumes)]


def _units(count: float) -> str:
    return f"{count:.2f}".rstrip("0").rstrip(".") if count else ""


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _money(dollars: float) -> str:
    return f"{dollars:,.0f}" if dollars >= 10 else f"{dollars:.2f}"


def _share(share: float) -> str:
    text = f"{share:,.0%}" if share >= 0.01 else "< 1%"
    return f"**{text}**" if share > 1 else text


# ---------------------------------------------------------------- the command


def load() -> Findings:
    """What was measured last."""
    return _FINDINGS.validate_python(read("items"))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calculate", action="store_true", help="do not measure anew")
    if not parser.parse_args().calculate:
        write("items", _FINDINGS.dump_python(measure(), mode="json"))
    made = tables(load(), sweeping())
    DOCUMENT.write_text(filled(DOCUMENT.read_text(), made))
    console = Console(width=160)
    for table in made.values():
        console.print(Markdown(table))
    return 0


if __name__ == "__main__":
    sys.exit(main())
