"""What the system costs, beside what it could cost at least: `make bench`, or `python -m bench`.

It takes ten minutes at most, prints a table, and writes it to bench/results and to docs/performance.md.
"""

import argparse
import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from bench import machine
from bench.document import filled
from bench.figures import FEW, Effort, Figure
from bench.groups import measured
from bench.machine import Machine
from bench.report import Run, load, markdown, save, table

RESULTS = Path(__file__).parent / "results"
DOCUMENT = Path(__file__).parents[1] / "docs" / "performance.md"
LIMIT_SECONDS = 600.0
ROUNDS = 15
_FOR_ROUNDS = 0.8
"""Of a group's time; the rest is for its start and its end."""

GROUPS: Mapping[str, float] = {
    "sending": 60,
    "taking_in": 90,
    "cold_start": 130,
    "memory": 50,
    "latency": 400,
    "growth": 90,
}
"""The modules that measure, and how many seconds each may take."""


def run(groups: Sequence[str], *, quick: bool, say: Console) -> Run:
    """Measures groups, each in a process of its own: none inherits another's memory, caches or settings."""
    began, load_before, clock = machine.now(), machine.load(), time.monotonic()
    figures: list[Figure] = []
    missing: dict[str, str] = {}
    for place, group in enumerate(groups):
        left = LIMIT_SECONDS - (time.monotonic() - clock)
        share = GROUPS[group] / sum(GROUPS[name] for name in groups[place:])
        effort = Effort(FEW if quick else ROUNDS, min(GROUPS[group], left * share) * _FOR_ROUNDS)
        say.print(f"bench: {group}, {effort.seconds:.0f} s", highlight=False)
        told = measured(group, effort, left)
        figures += told.figures
        if told.problem:
            missing[group] = told.problem
    where = Machine(
        processor=machine.processor(),
        cores=len(os.sched_getaffinity(0)),
        python=platform.python_version(),
        receiver=_receiver(figures),
        commit=machine.commit(),
        began=began,
        seconds=round(time.monotonic() - clock, 1),
        load_before=load_before,
        load_after=machine.load(),
    )
    return Run(where, tuple(figures), missing)


def _receiver(figures: Sequence[Figure]) -> str:
    names = (one.baseline.removeprefix("raw socket to ") for one in figures if one.group == "sending")
    return next(names, "none")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="make bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("groups", nargs="*", metavar="group", help=f"only these of {', '.join(GROUPS)}")
    parser.add_argument("--quick", action="store_true", help="few rounds, and nothing is written")
    parser.add_argument("--add", action="store_true", help="put these groups into the run that was saved")
    parser.add_argument("--draw", action="store_true", help="only write document and plot anew")
    options = parser.parse_args(arguments)
    if unknown := set(options.groups) - GROUPS.keys():
        parser.error(f"there is no group {', '.join(sorted(unknown))}")
    # Lambda's boto3 has no awscrt, and signs in Python.
    os.environ["BOTO_DISABLE_CRT"] = "true"
    console = Console(width=None if sys.stdout.isatty() else 200)
    found = (
        load(RESULTS)
        if options.draw
        else run(options.groups or list(GROUPS), quick=options.quick, say=console)
    )
    if options.add:
        found = load(RESULTS).with_groups(found)
    console.print(table(found))
    if options.add or not (options.groups or options.quick):
        save(found, RESULTS)
        DOCUMENT.write_text(filled(DOCUMENT.read_text(), {"figures": markdown(found)}))
    return 1 if found.missing else 0


if __name__ == "__main__":
    sys.exit(main())
