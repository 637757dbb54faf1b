"""What `measure` writes, read as CloudWatch reads it."""

import json
import warnings

import pytest

from checkout_recovery.observability import METRICS, TOTALS, measure


@pytest.fixture(autouse=True)
def namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "CheckoutRecovery/test")
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "fanout")


@pytest.mark.parametrize("count", [1, 98, 99, 100, 101, 198, 200, 250])
def test_every_value_is_written_once_and_no_line_has_too_many(
    capsys: pytest.CaptureFixture[str], count: int
) -> None:
    values = [float(number) for number in range(count)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        measure("FirstAttemptMilliseconds", *values)
    lines = [json.loads(line)["FirstAttemptMilliseconds"] for line in capsys.readouterr().out.splitlines()]
    assert [value for line in lines for value in line] == values
    assert max(map(len, lines)) <= 100


def test_nothing_measured_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    measure("FirstAttemptMilliseconds")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("metric", sorted(TOTALS))
def test_a_total_has_its_one_dimension_alone(capsys: pytest.CaptureFixture[str], metric: str) -> None:
    dimension = TOTALS[metric]
    measure(metric, 1, **{"contract": "checkout 2026-11", dimension: "delivered"})
    told = json.loads(capsys.readouterr().out)["_aws"]["CloudWatchMetrics"][0]
    assert [dimension] in told["Dimensions"]
    assert told["Metrics"] == [{"Name": metric, "Unit": METRICS[metric]}]
