"""What the dashboard and the alarms watch, from template.yaml.

A template refers to resources; where no stack runs, ``{its name}`` stands for what one would be called.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samcli.yamlhelper import yaml_parse

ROOT = Path(__file__).parents[2]

Template = dict[str, Any]
Widget = dict[str, Any]
ANY = "*"

_SEARCH = re.compile(
    r"SEARCH\('\{(?P<schema>[^}]+)\}(?P<filters>[^']*)', '(?P<stat>[^']+)', (?P<period>\d+)\)"
)
_FILTER = re.compile(r'(\w+)=\(?"([^"]+)"\)?')
_LINK = re.compile(r"\[(?P<text>[^\]]+)\]\((?P<url>https://\S+?\)+)\)(?=\n|$)")


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric as CloudWatch tells it from others: by its name and all its dimensions."""

    namespace: str
    name: str
    dimensions: frozenset[tuple[str, str]]
    """`ANY` where a search takes each value."""

    @property
    def values(self) -> list[str]:
        """Of its dimensions, by their names."""
        return [value for _, value in sorted(self.dimensions, reverse=True)]


@dataclass(frozen=True, slots=True)
class LogLink:
    """A link to Logs Insights in the console."""

    text: str
    query: str
    log_groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Search:
    """An expression that finds metrics."""

    metric: Metric
    stat: str


def template() -> Template:
    return dict(yaml_parse((ROOT / "template.yaml").read_text()))


def body(of: Template, stack: str, region: str) -> dict[str, Any]:
    """The dashboard's body as CloudFormation would make it of a stack."""
    text = _resolved(of["Resources"]["Dashboard"]["Properties"]["DashboardBody"], of, stack, region)
    read: dict[str, Any] = json.loads(text)
    return read


def _resolved(value: Any, of: Template, stack: str, region: str) -> str:
    """The text of a value: of ``Fn::Sub``, of a reference, or of itself."""
    match value:
        case {"Fn::Sub": [str(text), dict(variables)]}:
            known = {name: _resolved(each, of, stack, region) for name, each in variables.items()}
        case {"Fn::Sub": str(text)}:
            known = {}
        case {"Ref": str(name)}:
            return f"{{{name}}}"
        case {"Fn::GetAtt": [str(name), str(attribute)]}:
            return f"{{{name}.{attribute}}}"
        case str():
            return value
        case _:
            return json.dumps(value)
    known |= {"AWS::StackName": stack, "AWS::Region": region}

    def put(match: re.Match[str]) -> str:
        name = match[1]
        if name.startswith("!"):
            return f"${{{name[1:]}}}"
        if name not in known and of["Resources"].get(name, {}).get("Type") == "AWS::Logs::LogGroup":
            return _resolved(of["Resources"][name]["Properties"]["LogGroupName"], of, stack, region)
        return known.get(name, f"{{{name}}}")

    return re.sub(r"\$\{([^}]+)\}", put, text)


# ---------------------------------------------------------------- what is watched


def alarm_metrics(of: Template, stack: str, alarm: Mapping[str, Any]) -> list[Metric]:
    """The metrics that an alarm adds up, or its only one."""
    described = [query["MetricStat"]["Metric"] for query in alarm.get("Metrics", ()) if "MetricStat" in query]
    return [
        Metric(
            _resolved(one["Namespace"], of, stack, ""),
            one["MetricName"],
            frozenset(
                (each["Name"], _resolved(each["Value"], of, stack, "")) for each in one.get("Dimensions", ())
            ),
        )
        for one in described or [alarm]
    ]


def metric_of(entry: list[Any]) -> Metric | None:
    """The metric of a line of a widget; None where it is an expression."""
    texts = [each for each in entry if isinstance(each, str)]
    if not texts:
        return None
    namespace, name, *dimensions = texts
    return Metric(namespace, name, frozenset(zip(dimensions[::2], dimensions[1::2], strict=True)))


def options_of(entry: list[Any]) -> dict[str, Any]:
    """A line's label, id, statistic."""
    return entry[-1] if isinstance(entry[-1], dict) else {}


def search_of(expression: str) -> Search | None:
    """What an expression searches for; None where it does not."""
    if not (match := _SEARCH.fullmatch(expression)):
        return None
    namespace, *names = (name.strip('"') for name in match["schema"].split(","))
    filters = dict(_FILTER.findall(match["filters"]))
    name = filters.pop("MetricName")
    dimensions = frozenset((each, filters.get(each, ANY)) for each in names)
    return Search(Metric(namespace, name, dimensions), match["stat"])


def dashboard_metrics(dashboard: Mapping[str, Any]) -> Iterator[Metric]:
    """Every metric of every widget, and what searches look for."""
    for widget in dashboard["widgets"]:
        for entry in widget["properties"].get("metrics", ()):
            if metric := metric_of(entry):
                yield metric
            elif search := search_of(options_of(entry)["expression"]):
                yield search.metric


# ---------------------------------------------------------------- rows and links


def rows(dashboard: Mapping[str, Any]) -> list[list[Widget]]:
    """The dashboard's rows, each with the text that begins it in front."""
    texts = [widget for widget in dashboard["widgets"] if widget["type"] == "text"]
    return [
        [
            text,
            *(
                widget
                for widget in dashboard["widgets"]
                if widget is not text and text["y"] <= widget["y"] < text["y"] + text["height"]
            ),
        ]
        for text in texts
    ]


def log_links(text: Widget) -> list[LogLink]:
    """The links of a text to Logs Insights, as the console reads them."""
    return [
        LogLink(match["text"], _decoded(query), tuple(_decoded(each) for each in groups.split("~'")[1:]))
        for match in _LINK.finditer(text["properties"]["markdown"])
        if "#logsV2:logs-insights$3FqueryDetail$3D~(" in match["url"]
        for query, groups in re.findall(r"~editorString~'([^~]+)~source~\(([^)]+)\)\)", match["url"])
    ]


def _decoded(text: str) -> str:
    """The console writes ``*`` and two digits for a character that is no letter."""
    return re.sub(r"\*([0-9a-f]{2})", lambda match: chr(int(match[1], 16)), text)
