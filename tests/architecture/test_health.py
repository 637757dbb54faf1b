"""What whoever is on call has: alarms, the runbook and the dashboard, which must agree with each other.

That each metric here is also emitted, `tests/local_cloud/test_health.py` shows on the running stack.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from samcli.yamlhelper import yaml_parse
from typer.main import get_command

from checkout_recovery.observability import METRICS, TOTALS
from local.dashboard.definition import Metric, alarm_metrics, body, dashboard_metrics, log_links, rows
from recovery.main import app as recovery

ROOT = Path(__file__).parents[2]
OURS = "CheckoutRecovery/stack"
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text()
TEMPLATE: dict[str, Any] = dict(yaml_parse((ROOT / "template.yaml").read_text()))


def of_type(type_: str) -> dict[str, dict[str, Any]]:
    return {
        name: resource.get("Properties", {})
        for name, resource in TEMPLATE["Resources"].items()
        if resource["Type"] == type_
    }


ALARMS = of_type("AWS::CloudWatch::Alarm")
FUNCTIONS = sorted(of_type("AWS::Serverless::Function"))


def watched(name: str) -> list[Metric]:
    return alarm_metrics(TEMPLATE, "stack", ALARMS[name])


def watching(metric: str, dimension: str) -> list[str]:
    """The alarms that watch a metric of one function, queue or table."""
    return [
        name for name in ALARMS if (metric, dimension) in {(m.name, "".join(m.values)) for m in watched(name)}
    ]


# ---------------------------------------------------------------- alarms


def test_every_alarm_has_a_heading_in_the_runbook_and_every_heading_an_alarm() -> None:
    headings = re.findall(r"^### `(\w+)`$", RUNBOOK, re.MULTILINE)
    assert sorted(headings) == sorted(ALARMS)


@pytest.mark.parametrize("name", sorted(ALARMS))
def test_an_alarm_says_in_one_sentence_what_is_wrong_and_its_heading_says_the_same(name: str) -> None:
    description = ALARMS[name]["AlarmDescription"]
    assert re.fullmatch(r"[A-Z][^.]+\.", description)
    section = RUNBOOK.split(f"### `{name}`\n")[1].split("\n#")[0]
    assert section.strip().startswith(description)


@pytest.mark.parametrize("name", sorted(ALARMS))
def test_the_runbook_says_what_it_is_about_and_what_repairs_it(name: str) -> None:
    section = RUNBOOK.split(f"### `{name}`\n")[1].split("\n#")[0]
    assert "- **Which:**" in section
    assert "- **Repair:**" in section


@pytest.mark.parametrize("written", sorted(set(re.findall(r"`recovery ([^`]+)`", RUNBOOK))))
def test_each_command_of_the_runbook_is_one_that_there_is(written: str) -> None:
    """With these options; what its arguments are called says nothing."""
    found: Any = get_command(recovery)
    words = written.split()
    while words and words[0] in getattr(found, "commands", {}):
        found = found.commands[words.pop(0)]
    options = {option for parameter in found.params for option in parameter.opts} | {"--help"}
    assert not getattr(found, "commands", {}) or words == ["--help"]
    assert {word for word in words if word.startswith("-")} <= options


@pytest.mark.parametrize("name", sorted(ALARMS))
def test_an_alarm_notifies_the_topic(name: str) -> None:
    topic = {"Fn::If": ["HasNoTopic", {"Ref": "NotificationTopic"}, {"Ref": "AlarmTopicArn"}]}
    assert ALARMS[name]["AlarmActions"] == [topic]


@pytest.mark.parametrize("name", sorted(ALARMS))
def test_only_the_sweep_s_silence_is_an_alarm(name: str) -> None:
    """Elsewhere no data is no trouble: nothing happens at night."""
    expected = "breaching" if name == "SweepLagAlarm" else "notBreaching"
    assert ALARMS[name]["TreatMissingData"] == expected


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("metric", ["Errors", "Throttles"])
def test_every_function_s_errors_and_throttles_raise_an_alarm(function: str, metric: str) -> None:
    assert len(watching(metric, f"{{{function}}}")) == 1


@pytest.mark.parametrize("table", sorted(of_type("AWS::DynamoDB::Table")))
@pytest.mark.parametrize("metric", ["ReadThrottleEvents", "WriteThrottleEvents"])
def test_every_table_s_throttles_raise_an_alarm(table: str, metric: str) -> None:
    assert watching(metric, f"{{{table}}}") == ["TablesThrottledAlarm"]


def test_every_queue_that_nobody_reads_raises_an_alarm_when_something_lies_in_it() -> None:
    read = {
        event["Properties"]["Queue"]["Fn::GetAtt"][0]
        for function in of_type("AWS::Serverless::Function").values()
        for event in function.get("Events", {}).values()
        if event["Type"] == "SQS"
    }
    dead_ends = of_type("AWS::SQS::Queue").keys() - read
    assert len(dead_ends) == 3
    for queue in dead_ends:
        assert len(watching("ApproximateNumberOfMessagesVisible", f"{{{queue}.QueueName}}")) == 1


@pytest.mark.parametrize("name", sorted(ALARMS))
def test_an_alarm_adds_up_no_more_metrics_than_cloudwatch_can_and_searches_for_none(name: str) -> None:
    assert 1 <= len(watched(name)) <= 10
    assert "SEARCH" not in json.dumps(ALARMS[name])


# ---------------------------------------------------------------- metrics


def every_metric() -> Iterator[Metric]:
    yield from dashboard_metrics(body(TEMPLATE, "stack", "ap-south-1"))
    for name in ALARMS:
        yield from watched(name)


def ours() -> set[Metric]:
    return {metric for metric in every_metric() if metric.namespace == OURS}


DIMENSIONS = {
    "Events": {"event"},
    "Deliveries": {"contract", "outcome"},
    "Postponed": {"reason"},
    "Suppressed": {"reason"},
    "SubscriptionsDisabled": {"reason"},
}
"""What the code measures by, besides the function. The local cloud's test holds it to what is emitted."""


def test_every_metric_of_ours_is_one_that_the_code_emits_with_these_dimensions() -> None:
    for metric in ours():
        dimensions = {name for name, _ in metric.dimensions}
        totals = [{TOTALS[metric.name]}] if metric.name in TOTALS else []
        assert metric.name in METRICS
        assert dimensions in ({"service", *DIMENSIONS.get(metric.name, ())}, *totals)


def test_every_metric_that_the_code_emits_is_on_the_dashboard() -> None:
    drawn = {m.name for m in dashboard_metrics(body(TEMPLATE, "stack", "ap-south-1")) if m.namespace == OURS}
    assert drawn == METRICS.keys()


# ---------------------------------------------------------------- the dashboard

DASHBOARD = body(TEMPLATE, "stack", "ap-south-1")
LOG_GROUPS = {
    group["LogGroupName"]["Fn::Sub"].replace("${AWS::StackName}", "stack")
    for group in of_type("AWS::Logs::LogGroup").values()
}


def test_the_dashboard_s_rows_are_these() -> None:
    titles = [row[0]["properties"]["markdown"].splitlines()[0] for row in rows(DASHBOARD)]
    assert titles == ["## Now", "## Business", "## Delivery", "## Functions", "## Data", "## Who fails"]


def test_every_row_has_a_link_to_the_logs_and_something_to_look_at() -> None:
    for text, *widgets in rows(DASHBOARD):
        assert log_links(text)
        assert widgets


def test_the_links_ask_of_log_groups_that_there_are() -> None:
    links = [link for text, *_ in rows(DASHBOARD) for link in log_links(text)]
    assert links
    for link in links:
        assert link.log_groups
        assert set(link.log_groups) <= LOG_GROUPS
        assert re.match(r"filter .+ \| (stats|fields|sort) ", link.query)


def test_the_links_ask_for_messages_that_the_code_logs() -> None:
    sources = (*(ROOT / "layers").rglob("*.py"), *(ROOT / "functions").rglob("*.py"))
    code = "".join(source.read_text() for source in sources)
    queries = {link.query for text, *_ in rows(DASHBOARD) for link in log_links(text)}
    messages = {text for query in queries for text in re.findall(r'"([a-z][^"]+)"', query)}
    assert len(messages) > 5
    assert not [message for message in messages if f'"{message}"' not in code]


def test_the_log_widget_asks_of_log_groups_that_there_are() -> None:
    (widget,) = (each for each in DASHBOARD["widgets"] if each["type"] == "log")
    sources = re.findall(r"SOURCE '([^']+)'", widget["properties"]["query"])
    assert sources == ["/aws/lambda/stack/fanout", "/aws/lambda/stack/retry"]


def test_the_dashboard_shows_every_alarm() -> None:
    (widget,) = (each for each in DASHBOARD["widgets"] if each["type"] == "alarm")
    assert sorted(widget["properties"]["alarms"]) == sorted(f"{{{name}.Arn}}" for name in ALARMS)


def test_no_widget_covers_another_or_leaves_the_page() -> None:
    taken = [
        (x, y)
        for widget in DASHBOARD["widgets"]
        for x in range(widget["x"], widget["x"] + widget["width"])
        for y in range(widget["y"], widget["y"] + widget["height"])
    ]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) == 23


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("metric", ["Invocations", "Errors", "Duration", "Throttles", "ConcurrentExecutions"])
def test_every_function_is_on_the_dashboard(function: str, metric: str) -> None:
    drawn = {(m.name, "".join(m.values)) for m in dashboard_metrics(DASHBOARD)}
    assert (metric, f"{{{function}}}") in drawn
