"""What a widget makes of metrics, by figures small enough to check by hand."""

import json
import math
from typing import Any

import pytest

from local.dashboard.definition import Metric
from local.dashboard.emitted import Window, evaluate, lines_of, samples, statistic
from local.dashboard.picture import table_of

WINDOW = Window(begin=1_000.0, bins=3, seconds=10.0)


def line(at: float, name: str, *values: float, **dimensions: str) -> str:
    """As a function writes it."""
    described = {
        "Namespace": "ours",
        "Dimensions": [list(dimensions), ["outcome"]] if "outcome" in dimensions else [list(dimensions)],
        "Metrics": [{"Name": name, "Unit": "Count"}],
    }
    emf = {"Timestamp": int(at * 1000), "CloudWatchMetrics": [described]}
    return json.dumps({"_aws": emf, **dimensions, name: list(values)}, separators=(",", ":"))


TOLD = list(
    samples(
        [
            line(1_001, "Deliveries", 2, outcome="delivered", service="fanout"),
            line(1_002, "Deliveries", 1, outcome="delivered", service="retry"),
            line(1_012, "Deliveries", 5, outcome="failed", service="fanout"),
            line(1_021, "Latency", 10, 20, 30, service="retry"),
            "START RequestId: 1",
        ]
    )
)


def test_a_line_of_a_log_is_a_sample_of_each_of_its_sets_of_dimensions() -> None:
    assert {sample.metric for sample in TOLD if sample.at == 1_001} == {
        Metric("ours", "Deliveries", frozenset({("outcome", "delivered"), ("service", "fanout")})),
        Metric("ours", "Deliveries", frozenset({("outcome", "delivered")})),
    }


def widget(*metrics: object) -> dict[str, object]:
    return {"properties": {"stat": "Sum", "metrics": metrics}}


def test_a_metric_is_drawn_with_its_statistic_and_not_with_that_of_other_dimensions() -> None:
    total = ["ours", "Deliveries", "outcome", "delivered", {"label": "delivered"}]
    ((label, points),) = lines_of(widget(total), TOLD, WINDOW)
    assert label == "delivered"
    assert points[0] == 3
    assert [math.isnan(point) for point in points] == [False, True, True]


def test_a_search_draws_each_metric_that_it_finds_under_its_own_name() -> None:
    wanted = '{"ours",outcome,service} MetricName="Deliveries" outcome="delivered"'
    found = {
        "expression": f"SEARCH('{wanted}', 'Sum', 60)",
        "label": "${PROP('Dim.outcome')} by ${PROP('Dim.service')}",
    }
    drawn = {label: points[0] for label, points in lines_of(widget([found]), TOLD, WINDOW)}
    assert drawn == {"delivered by fanout": 2, "delivered by retry": 1}


@pytest.mark.parametrize(
    ("stat", "expected"),
    [("Sum", 60), ("Maximum", 30), ("p50", 20), ("p99", 30), ("TC(0:20)", 2), ("TC(20:)", 1)],
)
def test_a_statistic_of_ten_twenty_and_thirty(stat: str, expected: float) -> None:
    assert statistic(stat, [10, 20, 30]) == expected


def test_an_expression_is_computed_point_by_point_and_fills_where_it_says_so() -> None:
    nan = math.nan
    by_id = {"delivered": [9.0, nan, 4.0], "failed": [1.0, 2.0, nan]}
    points = evaluate("100 * delivered / (delivered + FILL(failed, 0))", by_id, 3)
    assert points[0] == 90
    assert math.isnan(points[1])
    assert points[2] == 100


def test_an_expression_that_is_not_understood_is_not_drawn_wrong() -> None:
    with pytest.raises(ValueError, match="no such expression"):
        evaluate("RATE(delivered)", {"delivered": [1.0]}, 1)


def test_the_table_counts_by_subscription_the_worst_first() -> None:
    query = (
        "SOURCE 'a' | filter message = \"delivery failed\" | "
        "stats count(*) as failures, latest(status) as last_status by store_id, subscription_id | "
        "sort failures desc | limit 1"
    )
    log: list[dict[str, Any]] = [
        {"message": "delivery failed", "store_id": "s", "subscription_id": "one", "status": 500},
        {"message": "delivery failed", "store_id": "s", "subscription_id": "two", "status": 500},
        {"message": "delivery failed", "store_id": "s", "subscription_id": "two", "status": 503},
        {"message": "swept"},
    ]
    names, rows = table_of(query, log)
    assert names == ["store_id", "subscription_id", "failures", "last_status"]
    assert rows == [["s", "two", "2", "503"]]
