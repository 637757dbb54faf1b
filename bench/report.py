"""A run's figures as a table, as JSON, and as a plot."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import TypeAdapter
from rich.table import Table

from bench.figures import Comparison, Figure, Verdict, headroom
from bench.machine import BUSY, Machine

COLUMNS = ("figure", "", "baseline", "", "compared, median (quartiles)", "must", "aim", "met")
_MINUS_INFINITY = -10.0


@dataclass(frozen=True, slots=True)
class Run:
    """All that a run has found."""

    machine: Machine
    figures: tuple[Figure, ...]
    missing: Mapping[str, str] = field(default_factory=dict)
    """The groups that could not be measured, and why."""
    later: Mapping[str, Machine] = field(default_factory=dict)
    """The groups that were measured again by themselves, and when."""

    def with_groups(self, other: "Run") -> "Run":
        """This run with another's groups in the place of its own."""
        groups = {one.group.replace(" ", "_"): None for one in other.figures} | dict(other.missing)
        kept = (one for one in self.figures if one.group.replace(" ", "_") not in groups)
        missing = {group: why for group, why in self.missing.items() if group not in groups}
        return replace(
            self,
            figures=(*kept, *other.figures),
            missing=missing | dict(other.missing),
            later=dict(self.later) | dict.fromkeys(groups, other.machine),
        )


RUN = TypeAdapter(Run)


# ---------------------------------------------------------------- the table


def rows(figures: Iterable[Figure]) -> list[tuple[str, ...]]:
    """One row a figure, under `COLUMNS`."""
    return [
        (
            f"{one.group}: {one.name}",
            f"{_number(one.value)} {one.unit}",
            one.baseline,
            f"{_number(one.baseline_value)} {one.unit}",
            _compared(one),
            _bound(one, one.target.must) if one.target else "",
            _bound(one, one.target.aim) if one.target else "",
            met(one),
        )
        for one in figures
    ]


def met(one: Figure) -> str:
    """What of its target a figure reaches; empty where it has none."""
    match one.must, one.aim:
        case None, _:
            return ""
        case _, Verdict.YES:
            return "aim"
        case Verdict.YES, Verdict.UNSURE:
            return "must, aim unsure"
        case Verdict.YES, _:
            return "must"
        case Verdict.UNSURE, _:
            return "unsure"
    return "no"


def remarks(run: Run) -> list[str]:
    """How far the run can be trusted, in sentences."""
    told = []
    if run.machine.was_busy:
        told.append(
            f"A bad day: the load before the run was {run.machine.load_before:.1f}, more than {BUSY}, so"
            " others were at work on the machine. Figures by the clock suffer most, ratios least."
        )
    wide = [f"{one.group}: {one.name}" for one in run.figures if one.target and _is_wide(one)]
    if wide:
        told.append(f"Their rounds differ widely, so they say little: {'; '.join(wide)}.")
    told += [
        f"{group.replace('_', ' ').capitalize()} was measured by itself: {_description(machine)}"
        for group, machine in run.later.items()
    ]
    told += [f"Not measured: {group} ({why})." for group, why in run.missing.items()]
    return told


def markdown(run: Run) -> str:
    """The table for a document."""
    lines = [_description(run.machine), "", *_pipes([COLUMNS, _RULE, *rows(run.figures)])]
    for remark in remarks(run):
        lines += ["", remark]
    return "\n".join(lines) + "\n"


def table(run: Run) -> Table:
    """The table for a terminal."""
    shown = Table(
        *COLUMNS, caption="\n".join([_description(run.machine), *remarks(run)]), caption_justify="left"
    )
    for row in rows(run.figures):
        shown.add_row(*row, style=_STYLES.get(row[-1], ""))
    return shown


_RULE = ("---", "---:", "---", "---:", "---:", "---:", "---:", "---")
_STYLES = {"no": "red", "unsure": "yellow", "": "dim"}


def _pipes(lines: Iterable[Iterable[str]]) -> list[str]:
    return [f"| {' | '.join(line)} |" for line in lines]


def _description(machine: Machine) -> str:
    return (
        f"{machine.began:%Y-%m-%d %H:%M} UTC, commit {machine.commit}: {machine.cores} cores of"
        f" {machine.processor}, Python {machine.python}, receiver {machine.receiver},"
        f" load {machine.load_before:.1f} before and {machine.load_after:.1f} after, {machine.seconds:.0f} s."
    )


def _is_wide(one: Figure) -> bool:
    """A difference is wide beside what it may be, a ratio beside itself."""
    if one.comparison is Comparison.DIFFERENCE and one.target:
        return one.spread.high - one.spread.low > one.target.must / 5
    return one.spread.is_wide


def _compared(one: Figure) -> str:
    spread = one.spread
    low, middle, high = (_number(value) for value in (spread.low, spread.median, spread.high))
    return f"{one.comparison} {middle} ({low} to {high})"


def _bound(one: Figure, bound: float) -> str:
    return f"{one.comparison} {bound:g}"


def _number(value: float) -> str:
    """Three digits that count, and no exponent."""
    digits = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:,.{digits}f}"


# ---------------------------------------------------------------- files


def save(run: Run, folder: Path) -> None:
    """Writes the run down as JSON and as a plot."""
    folder.mkdir(exist_ok=True)
    (folder / "bench.json").write_bytes(RUN.dump_json(run, indent=2) + b"\n")
    plot(run, folder / "bench.png")


def load(folder: Path) -> Run:
    """The run that was saved last."""
    return RUN.validate_json((folder / "bench.json").read_bytes())


def plot(run: Run, path: Path) -> None:
    """Draws how many times better than it must be each figure is, with quartiles, and where its aim lies."""
    import matplotlib as mpl  # noqa: PLC0415 - slow to import, and only here

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    shown = [(one, spread) for one in run.figures if (spread := headroom(one))]
    figure, axes = plt.subplots(figsize=(11, 1.2 + 0.34 * len(shown)), layout="constrained")
    for place, (one, spread) in enumerate(reversed(shown)):
        low, middle, high = (_log(value) for value in (spread.low, spread.median, spread.high))
        color = _COLORS.get(met(one), "tab:orange")
        axes.plot([low, high], [place, place], color=color, linewidth=3, alpha=0.5)
        axes.plot(middle, place, "o", color=color)
        axes.plot(_log(_aim(one)), place, "|", color="black", markersize=12)
    axes.axvline(0, color="black", linewidth=1)
    axes.set_yticks(range(len(shown)), [f"{one.group}: {one.name}" for one, _ in reversed(shown)])
    ticks = range(-4, 6)
    axes.set_xticks(ticks, [f"{2.0**tick:g} x" for tick in ticks])
    axes.set_xlabel("times better than it must be (1 x is the must, | the aim; bars are quartiles)")
    axes.set_title(_description(run.machine), fontsize=8)
    axes.grid(axis="x", alpha=0.3)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


_COLORS = {"aim": "tab:green", "must": "tab:blue", "must, aim unsure": "tab:blue", "no": "tab:red"}


def _aim(one: Figure) -> float:
    assert one.target
    must, aim = one.target.must, one.target.aim
    return aim / must if one.target.more_is_better else must / aim


def _log(value: float) -> float:
    return math.log2(value) if value > 0 else _MINUS_INFINITY
