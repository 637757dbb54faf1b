"""A day in parts, one a processor: shoppers do not meet, so each part has tables and sweeps of its own."""

import multiprocessing
import os
import queue
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import replace

from local.simulation.day import Day
from local.simulation.world import Run, World, create_tables, dynamodb

_SECONDS = 0.5
"""Between two looks at how far the parts are."""


def play(
    day: Day, seed: int, dynamodb_url: str | None, progress: Callable[[int], None], parts: int | None = None
) -> Run:
    """Lets a day happen, as many parts at once as there are processors.

    Args:
        day: with all its shoppers.
        seed: of the sweeps' mishaps.
        dynamodb_url: of DynamoDB Local; None for moto, in each process its own.
        progress: is told now and then how many more webhooks have come.
        parts: how many, if not one a processor.
    """
    count = parts or os.cpu_count() or 1
    whole = Run()
    with multiprocessing.Manager() as manager, ProcessPoolExecutor(count) as pool:
        came: queue.Queue[int] = manager.Queue()
        days = [replace(day, people=day.people[part::count]) for part in range(count)]
        runs = [pool.submit(_play, one, f"{seed}/{n}", dynamodb_url, came) for n, one in enumerate(days)]
        _watch(runs, came, progress)
        for run in runs:
            whole.add(run.result())
    return whole


def _watch(runs: list[Future[Run]], came: "queue.Queue[int]", progress: Callable[[int], None]) -> None:
    while not all(run.done() for run in runs):
        try:
            progress(came.get(timeout=_SECONDS))
        except queue.Empty:
            continue


def _play(day: Day, seed: str, dynamodb_url: str | None, came: "queue.Queue[int]") -> Run:
    account = f"part{seed.rpartition('/')[2]}"
    with dynamodb(dynamodb_url, account) as client:
        return World(client, create_tables(client), day, seed).run(came.put)
