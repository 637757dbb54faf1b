"""What a snapshot, an event and a start may take. Counts, not times: they are the same on every machine.

What is over a budget is a regression, or worth its price: then the budget is raised in the same commit, and
the commit says why.
"""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

CALLS = {
    "first snapshot": ["GetItem", "PutItem"],
    "first contact": ["GetItem", "BatchWriteItem", "BatchGetItem", "PutItem"],
    "later snapshot": ["GetItem", "PutItem"],
    "purchase": ["GetItem", "UpdateItem", "UpdateItem", "PutItem", "Query", "Query"],
    "event": ["BatchGetItem", "BatchWriteItem"],
    "retry": ["BatchGetItem", "BatchGetItem", "BatchGetItem", "PutItem", "BatchWriteItem"],
}
"""Of a shopper with a phone and an e-mail address; the event goes to 10 subscribers, and to one again."""
MODULES = {"authorize": 185, "fanout": 375, "ingest": 430, "manage": 480, "retry": 380, "sweep": 360}
"""Once a function has answered, Python's own too."""
ITEM_BYTES = {"checkout": 1_600, "delivery": 400}
"""FlexyPe's sample of 2026-05, and a first attempt that was answered."""
PEAK_BYTES = {"later snapshot": 75_000, "event": 160_000}
"""A third more than was measured: Python's versions differ."""
KEPT_BLOCKS = 1.0
"""After each call of a warm handler: one that grew would keep at least one."""


@functools.cache
def counted() -> Any:
    result = subprocess.run(
        [sys.executable, "-m", "bench.counts"],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join((str(ROOT / "layers" / "checkout_recovery"), str(ROOT))),
            "BOTO_DISABLE_CRT": "true",  # as in Lambda
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize("happening", CALLS)
def test_what_happens_costs_no_more_calls_of_aws(happening: str) -> None:
    assert counted()["calls"][happening] == CALLS[happening]


@pytest.mark.parametrize("function", sorted(path.parent.name for path in ROOT.glob("functions/*/app.py")))
def test_a_function_that_has_answered_has_imported_no_more_than_its_budget(function: str) -> None:
    assert counted()["modules"][function] <= MODULES[function]


def test_a_function_that_has_answered_has_not_needed_boto3() -> None:
    assert counted()["boto3"] == []


@pytest.mark.parametrize("item", ITEM_BYTES)
def test_an_item_stays_within_its_size(item: str) -> None:
    assert 0 < counted()["bytes"][item] <= ITEM_BYTES[item]


@pytest.mark.parametrize("happening", PEAK_BYTES)
def test_a_warm_handler_holds_no_more_at_once_than_its_budget(happening: str) -> None:
    assert 0 < counted()["peak_bytes"][happening] <= PEAK_BYTES[happening]


@pytest.mark.parametrize("happening", PEAK_BYTES)
def test_a_warm_handler_keeps_nothing_of_what_it_has_handled(happening: str) -> None:
    assert counted()["kept_blocks"][happening] < KEPT_BLOCKS
