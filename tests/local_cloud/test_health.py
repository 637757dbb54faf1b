"""Each metric of the dashboard and the alarms is emitted by the deployed functions, with these dimensions.

CloudWatch takes the same name with other dimensions for another metric, which never has data.
"""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from local.cloud import Stack
from local.dashboard.__main__ import deployed
from local.dashboard.definition import Metric, alarm_metrics, dashboard_metrics, template
from local.dashboard.emitted import matches, samples
from local.dashboard.trouble import Trouble
from tests.local_cloud.shops import within

TROUBLE_SECONDS = 170.0
WAIT_SECONDS = 90.0
TEMPLATE = template()
ALARMS = {
    name: resource["Properties"]
    for name, resource in TEMPLATE["Resources"].items()
    if resource["Type"] == "AWS::CloudWatch::Alarm"
}
OURS = "CheckoutRecovery/"


@pytest.fixture(scope="module")
def troubled(stack: Stack) -> Iterator[Stack]:
    """The stack after some minutes of deliveries with every kind of trouble."""
    with Trouble.on(stack) as trouble:
        trouble.run(TROUBLE_SECONDS)
        yield stack


def emitted(stack: Stack) -> set[Metric]:
    return {sample.metric for sample in samples(stack.logs())}


def missing(stack: Stack, wanted: set[Metric]) -> list[tuple[str, list[tuple[str, str]]]]:
    told = emitted(stack)
    return sorted(
        (one.name, sorted(one.dimensions)) for one in wanted if not any(matches(one, each) for each in told)
    )


def on_dashboard(stack: Stack) -> set[Metric]:
    return {metric for metric in dashboard_metrics(deployed(stack)) if metric.namespace.startswith(OURS)}


def in_alarms(stack: Stack) -> set[Metric]:
    watched = (
        metric for alarm in ALARMS.values() for metric in alarm_metrics(TEMPLATE, stack.stack_name, alarm)
    )
    return {metric for metric in watched if metric.namespace.startswith(OURS)}


def test_the_whole_dashboard_is_deployed_with_every_reference_resolved(stack: Stack) -> None:
    body = deployed(stack)
    written = TEMPLATE["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"][0]
    assert len(body["widgets"]) == written.count('"type":')
    named = {value for metric in dashboard_metrics(body) for value in metric.values}
    assert not [value for value in named if "{" in value]
    assert {metric.namespace for metric in on_dashboard(stack)} == {OURS + stack.stack_name}


def test_every_alarm_is_deployed(stack: Stack) -> None:
    cloudwatch = stack.aws.client("cloudwatch", endpoint_url=stack.endpoint_url)
    described = {alarm["AlarmDescription"] for alarm in cloudwatch.describe_alarms()["MetricAlarms"]}
    assert described == {alarm["AlarmDescription"] for alarm in ALARMS.values()}


def test_each_metric_of_the_dashboard_is_emitted_with_its_dimensions(troubled: Stack) -> None:
    wanted = on_dashboard(troubled)
    assert len(wanted) > 20
    within(WAIT_SECONDS, lambda: True if not missing(troubled, wanted) else None, "every metric")
    assert missing(troubled, wanted) == []


def test_each_metric_of_an_alarm_is_emitted_with_its_dimensions(troubled: Stack) -> None:
    wanted = in_alarms(troubled)
    assert len(wanted) > 8
    within(WAIT_SECONDS, lambda: True if not missing(troubled, wanted) else None, "every metric")
    assert missing(troubled, wanted) == []


def test_a_metric_with_another_dimension_would_be_missed(troubled: Stack) -> None:
    """Otherwise the tests above would find whatever they are asked for."""
    wanted = on_dashboard(troubled)
    others = {replace(metric, dimensions=metric.dimensions | {("store_id", "*")}) for metric in wanted}
    assert len(missing(troubled, others)) == len(others)


def test_no_metric_has_an_id_for_a_dimension(troubled: Stack) -> None:
    values = {value for metric in emitted(troubled) for value in metric.values}
    assert values
    assert not [
        value for value in values if value.startswith(("sub_", "dlv_", "evt_", "health-", "trouble-"))
    ]
