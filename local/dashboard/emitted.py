"""The metrics that functions wrote to their logs (EMF), and what a widget makes of them."""

import ast
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from local.dashboard.definition import ANY, Metric, metric_of, options_of, search_of


@dataclass(frozen=True, slots=True)
class Sample:
    """What one line said of one metric."""

    metric: Metric
    at: float
    """Seconds since the epoch."""
    values: tuple[float, ...]


def samples(lines: Iterable[str]) -> Iterator[Sample]:
    """Reads what a log has of metrics: one sample for each of a line's sets of dimensions."""
    for line in lines:
        if not line.startswith('{"_aws"'):
            continue
        entry = json.loads(line)
        for group in entry["_aws"]["CloudWatchMetrics"]:
            for described in group["Metrics"]:
                for names in group["Dimensions"]:
                    dimensions = frozenset((name, entry[name]) for name in names)
                    metric = Metric(group["Namespace"], described["Name"], dimensions)
                    at = entry["_aws"]["Timestamp"] / 1000
                    yield Sample(metric, at, tuple(map(float, entry[described["Name"]])))


def matches(wanted: Metric, metric: Metric) -> bool:
    """Whether a metric is the one that is wanted, or one of those that a search wants."""
    if (wanted.namespace, wanted.name) != (metric.namespace, metric.name):
        return False
    has = dict(metric.dimensions)
    asked = dict(wanted.dimensions)
    return has.keys() == asked.keys() and all(value in (ANY, has[name]) for name, value in asked.items())


# ---------------------------------------------------------------- lines of a widget


@dataclass(frozen=True, slots=True)
class Window:
    """The time that is drawn, in bins of equal length."""

    begin: float
    bins: int
    seconds: float
    """How long a bin is."""

    def place(self, at: float) -> int:
        return int((at - self.begin) // self.seconds)

    @property
    def minutes(self) -> list[float]:
        """The middle of each bin, in minutes since the beginning."""
        return [(number + 0.5) * self.seconds / 60 for number in range(self.bins)]


Points = list[float]
"""A value for each bin; NaN where there is none."""


def lines_of(widget: Mapping[str, Any], told: Sequence[Sample], window: Window) -> list[tuple[str, Points]]:
    """The lines that a widget draws, each with its label."""
    properties = widget["properties"]
    drawn: list[tuple[str, Points]] = []
    by_id: dict[str, Points] = {}
    for entry in properties["metrics"]:
        options = options_of(entry)
        if (metric := metric_of(entry)) is None:
            continue
        points = _points(metric, told, window, options.get("stat", properties["stat"]))
        if "id" in options:
            by_id[options["id"]] = points
        if options.get("visible", True):
            drawn.append((options.get("label", metric.name), points))
    for entry in properties["metrics"]:
        expression = options_of(entry).get("expression")
        if expression and (search := search_of(expression)):
            drawn += _found(search.metric, search.stat, options_of(entry)["label"], told, window)
        elif expression:
            drawn.append((options_of(entry)["label"], evaluate(expression, by_id, window.bins)))
    return drawn


def _found(
    wanted: Metric, stat: str, label: str, told: Sequence[Sample], window: Window
) -> Iterator[tuple[str, Points]]:
    found = {sample.metric for sample in told if matches(wanted, sample.metric)}
    for metric in sorted(found, key=lambda one: sorted(one.dimensions)):
        named = label
        for name, value in metric.dimensions:
            named = named.replace(f"${{PROP('Dim.{name}')}}", value)
        yield named, _points(metric, told, window, stat)


def _points(metric: Metric, told: Iterable[Sample], window: Window, stat: str) -> Points:
    bins: list[list[float]] = [[] for _ in range(window.bins)]
    for sample in told:
        place = window.place(sample.at)
        if sample.metric == metric and 0 <= place < window.bins:
            bins[place] += sample.values
    return [statistic(stat, values) for values in bins]


def statistic(stat: str, values: Sequence[float]) -> float:
    """One of CloudWatch's statistics of the values of a bin; NaN where there are none."""
    if not values:
        return math.nan
    if stat == "Sum":
        return sum(values)
    if stat == "Maximum":
        return max(values)
    if percentile := re.fullmatch(r"p(\d+)", stat):
        ordered = sorted(values)
        return ordered[max(0, math.ceil(len(ordered) * int(percentile[1]) / 100) - 1)]
    if counted := re.fullmatch(r"TC\((\d+):(\d*)\)", stat):
        low, high = float(counted[1]), float(counted[2] or math.inf)
        return sum(low < value <= high or value == low == 0 for value in values)
    raise ValueError(f"no such statistic here: {stat}")


def evaluate(expression: str, by_id: Mapping[str, Points], bins: int) -> Points:
    """An expression of metric math: the four operations, and FILL with a number."""
    tree = ast.parse(expression, mode="eval").body
    return [_value(tree, by_id, place) for place in range(bins)]


def _value(node: ast.expr, by_id: Mapping[str, Points], place: int) -> float:
    match node:
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.Name(id=name):
            return by_id[name][place]
        case ast.Call(func=ast.Name(id="FILL"), args=[filled, ast.Constant(value=int() as number)]):
            value = _value(filled, by_id, place)
            return float(number) if math.isnan(value) else value
        case ast.BinOp(left=left, op=operation, right=right):
            return _computed(operation, _value(left, by_id, place), _value(right, by_id, place))
    raise ValueError(f"no such expression here: {ast.dump(node)}")


def _computed(operation: ast.operator, left: float, right: float) -> float:
    match operation:
        case ast.Add():
            return left + right
        case ast.Mult():
            return left * right
        case ast.Div():
            return left / right if right else math.nan
    raise ValueError(f"no such operation here: {operation}")
