"""What is measured: figures, each beside a baseline that was measured in turns with it.

Other work on the machine comes and goes: it hits both alike, so the ratio of each round stands where the
figures themselves move. The median of the rounds counts, and their quartiles tell how far it can be trusted.
"""

import gc
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from statistics import median, quantiles
from typing import TypeVar

_Found = TypeVar("_Found")
Task = Callable[[], object]
Rounds = Sequence[tuple[float, float]]
"""Each round's figure and its baseline."""

FEW = 3
"""Rounds that there are in any case."""
WIDE = 0.2
"""From this spread on, of the median, a figure says little."""


class Comparison(StrEnum):
    """How a figure stands beside its baseline."""

    RATIO = "x"
    DIFFERENCE = "+"


class Verdict(StrEnum):
    """Whether a bound is met; unsure where it lies between the quartiles."""

    YES = "yes"
    NO = "no"
    UNSURE = "unsure"


@dataclass(frozen=True, slots=True)
class Spread:
    """The quartiles of the rounds."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        return cls(*quantiles(values, n=4, method="inclusive"))

    @property
    def is_wide(self) -> bool:
        return self.high - self.low > WIDE * abs(self.median)


@dataclass(frozen=True, slots=True)
class Target:
    """What a comparison has to reach, and what it should."""

    must: float
    aim: float

    @property
    def more_is_better(self) -> bool:
        return self.aim > self.must

    def judge(self, bound: float, spread: Spread) -> Verdict:
        """Whether a bound is met by what was measured."""
        good = [
            value >= bound if self.more_is_better else value <= bound for value in (spread.low, spread.high)
        ]
        if all(good):
            return Verdict.YES
        return Verdict.UNSURE if any(good) else Verdict.NO


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One row of the table."""

    group: str
    name: str
    unit: str
    value: float
    """The median of the rounds."""
    baseline: str
    """What it stands beside."""
    baseline_value: float
    spread: Spread
    """Of the comparison, over the rounds."""
    rounds: int
    comparison: Comparison = Comparison.RATIO
    target: Target | None = None
    """None where the row is only there to explain another."""

    @property
    def must(self) -> Verdict | None:
        return self.target.judge(self.target.must, self.spread) if self.target else None

    @property
    def aim(self) -> Verdict | None:
        return self.target.judge(self.target.aim, self.spread) if self.target else None


def figure(
    group: str,
    name: str,
    unit: str,
    baseline: str,
    rounds: Rounds,
    *,
    target: Target | None = None,
    comparison: Comparison = Comparison.RATIO,
) -> Figure:
    """Draws up what rounds have shown."""
    ours, bare = zip(*rounds, strict=True)
    against = [one - other if comparison is Comparison.DIFFERENCE else one / other for one, other in rounds]
    return Figure(
        group=group,
        name=name,
        unit=unit,
        value=median(ours),
        baseline=baseline,
        baseline_value=median(bare),
        spread=Spread.of(against),
        rounds=len(rounds),
        comparison=comparison,
        target=target,
    )


@dataclass(frozen=True, slots=True)
class Effort:
    """How much may be spent on measuring."""

    rounds: int
    seconds: float
    """For all rounds; where they are slow there are fewer of them."""

    def shared(self, by: int) -> "Effort":
        """The part of one of so many that are measured after each other."""
        return replace(self, seconds=self.seconds / by)


def in_turns(
    ours: Callable[[], _Found], bare: Callable[[], _Found], effort: Effort
) -> list[tuple[_Found, _Found]]:
    """Measures both once a round, in changing order; a first round is thrown away."""
    found: list[tuple[_Found, _Found]] = []
    until = time.monotonic() + effort.seconds
    for number in range(effort.rounds + 1):
        if len(found) > FEW and time.monotonic() > until:
            break
        gc.collect()
        if number % 2:
            one = ours()
            found.append((one, bare()))
        else:
            other = bare()
            found.append((ours(), other))
    return found[1:]


def cpu_microseconds(task: Task, calls: int) -> float:
    """CPU of this process for one call, user and system."""
    before = time.process_time()
    for _ in range(calls):
        task()
    return (time.process_time() - before) / calls * 1e6


@dataclass(frozen=True, slots=True)
class Speed:
    """How many items a task gets done."""

    a_second: float
    a_cpu_second: float
    """Of this process, user and system."""

    @classmethod
    def of(cls, task: Task, items: int) -> "Speed":
        wall, cpu = time.perf_counter(), time.process_time()
        task()
        return cls(items / (time.perf_counter() - wall), items / (time.process_time() - cpu))


def headroom(one: Figure) -> Spread | None:
    """How many times better than it must be a figure is; below 1 it is worse. None without a target."""
    if one.target is None:
        return None
    must, spread = one.target.must, one.spread
    if one.target.more_is_better:
        return Spread(spread.low / must, spread.median / must, spread.high / must)
    return Spread(
        *(must / value if value > 0 else math.inf for value in (spread.high, spread.median, spread.low))
    )
