"""docs/dashboard.png: the dashboard, with the metrics of one run on the local cloud.

CloudWatch's own look is not imitated, its layout and its arithmetic are. What only AWS measures is drawn
empty, and says so.
"""

import math
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from local.dashboard.definition import Widget, log_links, metric_of
from local.dashboard.emitted import Points, Sample, Window, lines_of

COLUMNS = 24
_WIDE, _HIGH = 0.8, 0.42
"""Inches of a column and of a row of the dashboard's grid."""
_TITLE = 1.1
"""Inches above it."""
_COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f")
_GREY, _LINK = "#8a8f98", "#0b57d0"
_HEADROOM = 1.05
"""So that what is at its highest all the time is not on the edge."""
_LETTERS = 11
"""How many of a legend's letters a column of the grid has room for."""
_LEGEND_ROWS = 4

LogLines = Sequence[Mapping[str, Any]]


def draw(
    dashboard: Mapping[str, Any], told: Sequence[Sample], log: LogLines, window: Window, path: Path
) -> None:
    """Draws a dashboard.

    Args:
        dashboard: its body, as it is deployed.
        told: what the functions emitted.
        log: what else they logged.
        window: the time that is drawn.
        path: where the picture goes.
    """
    rows = max(widget["y"] + widget["height"] for widget in dashboard["widgets"])
    width, height = COLUMNS * _WIDE, rows * _HIGH + _TITLE
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    _caption(figure, window, height)
    for widget in dashboard["widgets"]:
        axes = figure.add_axes(_place(widget, width, height))
        match widget["type"]:
            case "text":
                _text(axes, widget)
            case "metric":
                _metric(axes, widget, told, window)
            case "alarm":
                _alarms(axes, widget)
            case "log":
                _log(axes, widget, log)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80, metadata={"Software": None})


def _caption(figure: Figure, window: Window, height: float) -> None:
    minutes = window.bins * window.seconds / 60
    figure.text(0.012, 1 - 0.35 / height, "Checkout recovery", fontsize=19, weight="bold", va="center")
    note = (
        f"{minutes:.0f} minutes of trouble on the local cloud (make dashboard); "
        f"a point is {window.seconds:.0f} s. Grey: only AWS measures it, and the local cloud does not."
    )
    figure.text(0.012, 1 - 0.75 / height, note, fontsize=11, color=_GREY, va="center")


def _place(widget: Widget, width: float, height: float) -> tuple[float, float, float, float]:
    """Of the widget's axes in the figure, with room for its title, scale and legend."""
    left, right, top, bottom = (0.5, 0.12, 0.4, 0.8) if widget["type"] == "metric" else (0.12, 0.12, 0.1, 0.1)
    x, y = widget["x"] * _WIDE + left, widget["y"] * _HIGH + top + _TITLE
    wide, high = widget["width"] * _WIDE - left - right, widget["height"] * _HIGH - top - bottom
    return x / width, 1 - (y + high) / height, wide / width, high / height


# ---------------------------------------------------------------- widgets


def _text(axes: Axes, widget: Widget) -> None:
    axes.axis("off")
    axes.axhline(1, color="#333333", linewidth=1.5)
    heading, *rest = widget["properties"]["markdown"].split("\n")
    prose = [line.replace("*", "") for line in rest if not line.startswith("[")]
    inches = axes.get_position().height * axes.figure.get_figheight()  # type: ignore[union-attr] # it is a Figure
    y = 1 - 0.2 / inches
    axes.text(0, y, heading.removeprefix("## "), fontsize=15, weight="bold", va="top")
    y -= 0.38 / inches
    for text, colour in [(each, "#333333") for each in prose] + [
        (f"{link.text} ↗", _LINK) for link in log_links(widget)
    ]:
        lines = textwrap.wrap(text, 38)
        axes.text(0, y, "\n".join(lines), fontsize=10, color=colour, va="top", linespacing=1.25)
        y -= (0.19 * len(lines) + 0.1) / inches


def _metric(axes: Axes, widget: Widget, told: Sequence[Sample], window: Window) -> None:
    axes.set_title(widget["properties"]["title"], loc="left", fontsize=10.5, weight="bold", pad=5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8, length=2)
    axes.set_xlim(0, window.bins * window.seconds / 60)
    lines = [(label, points) for label, points in lines_of(widget, told, window) if _has_any(points)]
    if not lines:
        _empty(axes, widget)
        return
    if widget["properties"].get("stacked"):
        filled = [[0.0 if math.isnan(value) else value for value in points] for _, points in lines]
        labels = [label for label, _ in lines]
        colours = [_COLOURS[number % len(_COLOURS)] for number in range(len(lines))]
        axes.stackplot(window.minutes, filled, labels=labels, colors=colours, alpha=0.8)
    else:
        for number, (label, points) in enumerate(lines):
            style = {"marker": "o", "markersize": 2.5, "linewidth": 1.3}
            xs = [x for x, value in zip(window.minutes, points, strict=True) if not math.isnan(value)]
            ys = [value for value in points if not math.isnan(value)]
            axes.plot(xs, ys, label=label, color=_COLOURS[number % len(_COLOURS)], **style)  # type: ignore[arg-type] # each is what it takes
    axes.set_ylim(0, axes.get_ylim()[1] * _HEADROOM or 1)
    _legend(axes, widget, [label for label, _ in lines])


def _legend(axes: Axes, widget: Widget, labels: Sequence[str]) -> None:
    """Below the scale, in as many columns as fit, and smaller where they are many rows."""
    columns = max(1, widget["width"] * _LETTERS // (max(map(len, labels)) + 4))
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(-0.02, -0.14),
        ncols=columns,
        frameon=False,
        fontsize=7.5 if len(labels) <= _LEGEND_ROWS * columns else 6,
        borderaxespad=0,
        handlelength=1.2,
        columnspacing=1,
        labelspacing=0.2,
    )


def _has_any(points: Points) -> bool:
    return any(not math.isnan(value) for value in points)


def _empty(axes: Axes, widget: Widget) -> None:
    namespaces = {
        metric.namespace for entry in widget["properties"]["metrics"] if (metric := metric_of(entry))
    }
    namespaces |= set(re.findall(r"AWS/\w+", str(widget["properties"]["metrics"])))
    ours = any(not name.startswith("AWS/") for name in namespaces)
    note = "none in this run" if ours else f"{', '.join(sorted(namespaces))}\nnot on the local cloud"
    axes.set_facecolor("#f4f5f7")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.text(0.5, 0.5, note, ha="center", va="center", fontsize=9, color=_GREY, transform=axes.transAxes)


def _alarms(axes: Axes, widget: Widget) -> None:
    axes.axis("off")
    names = re.findall(r"\w+Alarm", " ".join(widget["properties"]["alarms"]))
    columns = 5
    axes.text(0, 1, "Alarms (none is judged on the local cloud)", fontsize=10.5, weight="bold", va="top")
    for number, name in enumerate(names):
        column, row = number % columns, number // columns
        height = (1 - (row + 0.6) / math.ceil(len(names) / columns)) * 0.8
        axes.text(column / columns, height, f"■ {name}", fontsize=9.5, color=_GREY, va="center")


def _log(axes: Axes, widget: Widget, log: LogLines) -> None:
    axes.axis("off")
    columns, cells = table_of(widget["properties"]["query"], log)
    axes.text(0, 1, widget["properties"]["title"], fontsize=10.5, weight="bold", va="top")
    if not cells:
        axes.text(0, 0.6, "none in this run", fontsize=9, color=_GREY)
        return
    widths = [0.26, 0.34, 0.12, 0.14, 0.12]
    table = axes.table(
        cellText=cells,
        colLabels=columns,
        colWidths=widths,
        cellLoc="left",
        loc="upper left",
        bbox=Bbox.from_bounds(0, 0, 1, 0.88),
    )
    table.auto_set_font_size(False)
    table.set_fontsize(9)
    for cell in table.get_celld().values():
        cell.set_edgecolor("#dddddd")


_KNOWN: Mapping[str, Callable[[Sequence[Mapping[str, Any]], str], object]] = {
    "count": lambda lines, _: len(lines),
    "latest": lambda lines, field: lines[-1].get(field),
}
"""What `stats` can compute here."""
_STATS = re.compile(r"(?P<function>\w+)\((?P<field>[^)]+)\) as (?P<name>\w+)")


def table_of(query: str, log: LogLines) -> tuple[list[str], list[list[str]]]:
    """What Logs Insights answers to ``filter message = … | stats … by … | sort … desc | limit …``."""
    parts = dict(part.strip().split(" ", 1) for part in query.split("|"))
    (message,) = re.findall(r'^message = "([^"]+)"$', parts["filter"])
    measures, by = parts["stats"].split(" by ")
    keys = [key.strip() for key in by.split(",")]
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for line in log:
        if line.get("message") == message:
            groups.setdefault(tuple(str(line.get(key)) for key in keys), []).append(line)
    stats = [match.groupdict() for match in _STATS.finditer(measures)]
    rows = [
        [*key, *(_KNOWN[one["function"]](lines, one["field"]) for one in stats)]
        for key, lines in groups.items()
    ]
    names = [*keys, *(one["name"] for one in stats)]
    ordered = names.index(parts["sort"].split()[0])
    rows.sort(key=lambda row: row[ordered], reverse=True)  # type: ignore[arg-type, return-value] # counts
    return names, [["" if cell is None else str(cell) for cell in row] for row in rows[: int(parts["limit"])]]
