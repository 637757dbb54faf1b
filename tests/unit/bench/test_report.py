"""What a run is told as: the document's table, and what is said of a bad day."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from bench.__main__ import DOCUMENT, GROUPS, RESULTS
from bench.document import filled
from bench.figures import Figure, Spread, Target
from bench.machine import Machine
from bench.report import Run, load, markdown, remarks, save

MACHINE = Machine(
    processor="a processor",
    cores=2,
    python="3.13.0",
    receiver="nginx",
    commit="abc1234",
    began=datetime(2026, 11, 22, 10, tzinfo=UTC),
    seconds=500.0,
    load_before=0.1,
    load_after=1.2,
)
FIGURE = Figure(
    group="sending",
    name="POSTs",
    unit="/s",
    value=1234.5,
    baseline="raw socket",
    baseline_value=2000.0,
    spread=Spread(0.6, 0.62, 0.63),
    rounds=15,
    target=Target(must=0.5, aim=0.8),
)


def test_the_documents_table_is_of_the_run_that_was_saved() -> None:
    document = DOCUMENT.read_text()
    assert filled(document, {"figures": markdown(load(RESULTS))}) == document, (
        'docs/performance.md is out of date: make bench ARGS="--draw"'
    )


def test_the_run_that_was_saved_has_all_groups() -> None:
    run = load(RESULTS)
    assert not run.missing
    assert {one.group.replace(" ", "_") for one in run.figures} == set(GROUPS)


def test_a_row_tells_both_values_the_quartiles_and_what_is_met() -> None:
    values = "| sending: POSTs | 1,234 /s | raw socket | 2,000 /s |"
    judged = " x 0.620 (0.600 to 0.630) | x 0.5 | x 0.8 | must |"
    assert values + judged in markdown(Run(MACHINE, (FIGURE,)))


def test_a_quiet_run_needs_no_remark() -> None:
    assert remarks(Run(MACHINE, (FIGURE,))) == []


def test_a_load_before_the_run_makes_a_bad_day() -> None:
    (remark,) = remarks(Run(replace(MACHINE, load_before=1.5), (FIGURE,)))
    assert remark.startswith("A bad day: the load before the run was 1.5")


def test_a_wide_spread_is_told() -> None:
    (remark,) = remarks(Run(MACHINE, (replace(FIGURE, spread=Spread(0.5, 0.62, 0.7)),)))
    assert "say little: sending: POSTs" in remark


def test_what_could_not_be_measured_is_told() -> None:
    (remark,) = remarks(Run(MACHINE, (FIGURE,), {"latency": "LocalCloudError: no port"}))
    assert remark == "Not measured: latency (LocalCloudError: no port)."


def test_a_saved_run_is_read_as_it_was(tmp_path: Path) -> None:
    run = Run(MACHINE, (FIGURE,), {"latency": "why"})
    save(run, tmp_path)
    assert load(tmp_path) == run
    assert (tmp_path / "bench.png").stat().st_size > 1_000


def test_a_group_that_is_measured_again_takes_the_place_of_what_was_there() -> None:
    before = Run(MACHINE, (FIGURE, replace(FIGURE, group="cold start")), {"latency": "why"})
    again = Run(replace(MACHINE, load_before=0.2), (replace(FIGURE, group="latency"),))
    after = before.with_groups(again)
    assert [one.group for one in after.figures] == ["sending", "cold start", "latency"]
    assert after.missing == {}
    (remark,) = remarks(after)
    assert remark.startswith("Latency was measured by itself: 2026-11-22 10:00 UTC")
