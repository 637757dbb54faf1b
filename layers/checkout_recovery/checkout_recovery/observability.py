"""Logs and metrics.

A log line is a constant message with ids and lengths as fields; the dimensions of a metric are a reason, an
outcome or a contract, and no id, because CloudWatch bills each combination. Never a shopper's datum, a
secret, a signature or a URL.
"""

import logging

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

logger = Logger()
"""Level and service come from the function's environment."""

# At DEBUG they log requests with their bodies, and Lambda gives the root logger our level.
for _name in ("boto3", "botocore", "urllib3"):
    logging.getLogger(_name).setLevel(logging.INFO)

METRICS = {
    # the sweep
    "Abandoned": MetricUnit.Count,  # checkouts that the sweep found abandoned, told or not
    "OldestDueSeconds": MetricUnit.Seconds,  # how long the longest due checkout had waited when it was found
    "SweepFailures": MetricUnit.Count,  # checkouts that a sweep could not decide, and that are still due
    "CircuitsOpen": MetricUnit.Count,  # subscriptions whose circuit is open
    # deliveries
    "Events": MetricUnit.Count,  # what happened to checkouts, by event
    "Deliveries": MetricUnit.Count,  # how deliveries stood after a run, by contract and outcome
    "FirstAttemptMilliseconds": MetricUnit.Milliseconds,  # from an event to the end of its first attempt
    "RetryAgeSeconds": MetricUnit.Seconds,  # from an event to the end of a later attempt
    "ReceiverLatencyMilliseconds": MetricUnit.Milliseconds,  # of attempts that were answered
    "Postponed": MetricUnit.Count,  # deliveries put off without an attempt, by reason
    "Suppressed": MetricUnit.Count,  # deliveries of abandonments that were held back, by reason
    # subscriptions
    "CircuitsOpened": MetricUnit.Count,
    "CircuitsClosed": MetricUnit.Count,
    "SubscriptionsDisabled": MetricUnit.Count,  # by reason
}
"""Every metric that is emitted, with its unit. Each has the dimension ``service``: the function."""

_VALUES_A_LINE = 99
"""EMF takes 100; with those Powertools writes the line by itself, and then warns that none is left."""

TOTALS = {"Deliveries": "outcome", "Postponed": "reason", "SubscriptionsDisabled": "reason"}
"""Metrics that are emitted once more with this dimension alone, for all functions: an alarm cannot search for
what it has to add up."""


def measure(metric: str, *values: float, **dimensions: str) -> None:
    """Emits values of a metric, in the namespace that the environment names (EMF, to the log).

    Args:
        metric: one of `METRICS`.
        values: any number.
        dimensions: each combination of them is billed as a metric of its own.
    """
    for start in range(0, len(values), _VALUES_A_LINE):
        metrics = EphemeralMetrics()
        for name, text in dimensions.items():
            metrics.add_dimension(name=name, value=text)
        if total := TOTALS.get(metric):
            metrics.add_dimensions(**{total: dimensions[total]})
        for value in values[start : start + _VALUES_A_LINE]:
            metrics.add_metric(name=metric, unit=METRICS[metric], value=value)
        metrics.flush_metrics()
