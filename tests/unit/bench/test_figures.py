"""How measurements become figures, and figures verdicts."""

import pytest

from bench.figures import (
    Comparison,
    Effort,
    Figure,
    Rounds,
    Spread,
    Target,
    Verdict,
    figure,
    headroom,
    in_turns,
)
from bench.report import met

RATE, COST = Target(must=0.5, aim=0.8), Target(must=1.4, aim=1.1)


def of(rounds: Rounds, **others: object) -> Figure:
    return figure("group", "name", "µs", "baseline", rounds, **others)  # type: ignore[arg-type]


def flat(value: float, target: Target) -> Figure:
    return of([(value, 1.0)] * 3, target=target)


# ---------------------------------------------------------------- comparing


def test_a_figure_is_the_median_of_the_rounds_own_ratios() -> None:
    one = of([(2, 1), (40, 10), (9, 3)])
    assert (one.value, one.baseline_value, one.spread.median) == (9, 3, 3)


def test_a_difference_is_taken_round_by_round_too() -> None:
    assert of([(50, 30), (55, 30), (60, 30)], comparison=Comparison.DIFFERENCE).spread.median == 25


def test_the_spread_is_the_quartiles_of_the_rounds() -> None:
    assert Spread.of([1, 2, 3, 4, 5]) == Spread(2, 3, 4)


def test_one_round_has_no_spread() -> None:
    assert Spread.of([2.0]) == Spread(2.0, 2.0, 2.0)


def test_both_are_measured_in_turns_and_the_first_round_is_thrown_away() -> None:
    asked: list[str] = []

    def ours() -> float:
        asked.append("ours")
        return float(len(asked))

    def bare() -> float:
        asked.append("bare")
        return float(len(asked))

    found = in_turns(ours, bare, Effort(rounds=2, seconds=60))
    assert asked == ["bare", "ours", "ours", "bare", "bare", "ours"]
    assert found == [(3, 4), (6, 5)]


def test_there_are_few_rounds_where_there_is_no_time() -> None:
    assert len(in_turns(lambda: 1.0, lambda: 1.0, Effort(rounds=50, seconds=0))) == 3


# ---------------------------------------------------------------- judging


@pytest.mark.parametrize(
    ("ratio", "target", "told"),
    [
        (0.9, RATE, "aim"),
        (0.8, RATE, "aim"),
        (0.6, RATE, "must"),
        (0.4, RATE, "no"),
        (1.0, COST, "aim"),
        (1.4, COST, "must"),
        (1.5, COST, "no"),
    ],
)
def test_a_bound_is_met_from_its_better_side(ratio: float, target: Target, told: str) -> None:
    assert met(flat(ratio, target)) == told


def test_a_bound_between_the_quartiles_is_not_said_to_be_met() -> None:
    one = of([(0.4, 1), (0.6, 1), (0.7, 1)], target=Target(must=0.55, aim=0.9))
    assert one.must is Verdict.UNSURE
    assert met(one) == "unsure"


def test_what_has_no_target_is_not_judged() -> None:
    assert met(of([(1, 1)])) == ""


def test_headroom_is_above_one_where_a_figure_is_better_than_it_must_be() -> None:
    rate, cost = headroom(flat(1.0, RATE)), headroom(flat(2.8, COST))
    assert (rate and rate.median, cost and cost.median) == (2.0, 0.5)
