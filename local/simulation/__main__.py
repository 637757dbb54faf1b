"""`make simulate`: plays a day, prints its table and draws its picture; ends with 1 if anything was wrong."""

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from local.dynamodb_local import dynamodb_local
from local.simulation.day import Day
from local.simulation.oracle import judge
from local.simulation.parts import play
from local.simulation.report import plot, story, table
from local.simulation.shoppers import simulated_day
from local.simulation.world import Run

_PLOT = Path(__file__).parents[2] / "docs" / "simulation.png"
_WIDTH = 110
_STORIES = 5


def main(arguments: Sequence[str]) -> int:
    options = _options(arguments)
    os.environ.setdefault("POWERTOOLS_METRICS_NAMESPACE", "simulation")
    day = simulated_day(options.shoppers, options.seed)
    started = time.monotonic()
    run, database = _played(day, options.seed, only_moto=options.moto)
    findings = judge(day, run.told)
    seconds = time.monotonic() - started
    console = Console(width=_WIDTH, highlight=False)
    console.print(f"simulate: {options.shoppers} shoppers, seed {options.seed}, on {database}")
    console.print(table(day, run, findings, seconds))
    if options.plot:
        plot(day, run, options.plot)
        console.print(f"picture: {options.plot}")
    for violation in findings.violations[:_STORIES]:
        console.print("\n".join(story(violation, run.told)), markup=False, soft_wrap=True)
    verdict = f"simulate: {len(findings.violations)} violations"
    console.print(verdict, style="bold red" if findings.violations else "bold green")
    return 1 if findings.violations else 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make simulate", description=__doc__)
    parser.add_argument("--shoppers", type=int, default=20_000, help="how many come (%(default)s)")
    parser.add_argument("--seed", type=int, default=7, help="the same gives the same day (%(default)s)")
    parser.add_argument("--plot", type=Path, default=_PLOT, help="where the picture goes (%(default)s)")
    parser.add_argument("--moto", action="store_true", help="not on DynamoDB Local, even where Java is")
    return parser.parse_args(arguments)


def _played(day: Day, seed: int, *, only_moto: bool) -> tuple[Run, str]:
    """Lets the day happen, and shows on a terminal how far it is; returns on which DynamoDB, too."""
    webhooks = sum(len(webhook.arrivals) for person in day.people for webhook in person.webhooks)
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn()
    with contextlib.ExitStack() as stack:
        url = None if only_moto else stack.enter_context(dynamodb_local())
        console = Console(stderr=True)
        progress = stack.enter_context(Progress(*columns, console=console, disable=not console.is_terminal))
        task = progress.add_task(f"{webhooks:,} webhooks", total=webhooks)
        run = play(day, seed, url, lambda came: progress.update(task, advance=came))
    return run, "DynamoDB Local" if url else "moto"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
