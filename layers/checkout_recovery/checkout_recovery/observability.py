"""Logs and metrics.

A log line is a constant message with ids and lengths as fields; the dimensions of a metric are a reason, an
outcome or a contract, and no id, because CloudWatch bills each combination. Never a shopper's datum, a
secret, a signature or a URL.
"""

import json
import logging
import os
import time

from aws_lambda_powertools import Logger

logger = Logger()
"""Level and service come from the function's environment."""

# At DEBUG they log requests with their bodies, and Lambda gives the root logger our level.
for _name in ("boto3", "botocore", "urllib3"):
    logging.getLogger(_name).setLevel(logging.INFO)

METRICS = {
    # the sweep
    "Abandoned": "Count",  # checkouts that the sweep found abandoned, told or not
    "OldestDueSeconds": "Seconds",  # how long the longest due checkout had waited when it was found
    "SweepFailures": "Count",  # checkouts that a sweep could not decide, and that are still due
    "CircuitsOpen": "Count",  # subscriptions whose circuit is open
    # deliveries
    "Events": "Count",  # what happened to checkouts, by event
    "Deliveries": "Count",  # how deliveries stood after a run, by contract and outcome
    "FirstAttemptMilliseconds": "Milliseconds",  # from an event to the end of its first attempt
    "RetryAgeSeconds": "Seconds",  # from an event to the end of a later attempt
    "ReceiverLatencyMilliseconds": "Milliseconds",  # of attempts that were answered
    "Postponed": "Count",  # deliveries put off without an attempt, by reason
    "Suppressed": "Count",  # deliveries of abandonments that were held back, by reason
    # subscriptions
    "CircuitsOpened": "Count",
    "CircuitsClosed": "Count",
    "SubscriptionsDisabled": "Count",  # by reason
}
"""Every metric that is emitted, with its unit. Each has the dimension ``service``: the function."""

_VALUES_A_LINE = 100
"""The format's own limit."""

TOTALS = {"Deliveries": "outcome", "Postponed": "reason", "SubscriptionsDisabled": "reason"}
"""Metrics that are emitted once more with this dimension alone, for all functions: an alarm cannot search for
what it has to add up."""


def measure(metric: str, *values: float, **dimensions: str) -> None:
    """Emits values of a metric, in the namespace that the environment names.

    As CloudWatch's embedded metric format, on a log line of its own:
    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html

    Args:
        metric: one of `METRICS`.
        values: any number.
        dimensions: each combination of them is billed as a metric of its own.
    """
    fields = {**dimensions, "service": os.environ.get("POWERTOOLS_SERVICE_NAME", "service_undefined")}
    combinations = [[*fields], *([[TOTALS[metric]]] if metric in TOTALS else [])]
    directive = {
        "Namespace": os.environ.get("POWERTOOLS_METRICS_NAMESPACE", "CheckoutRecovery"),
        "Dimensions": combinations,
        "Metrics": [{"Name": metric, "Unit": METRICS[metric]}],
    }
    meta = {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [directive]}
    for start in range(0, len(values), _VALUES_A_LINE):
        line = {"_aws": meta, **fields, metric: values[start : start + _VALUES_A_LINE]}
        print(json.dumps(line, separators=(",", ":")))  # noqa: T201 - this is how Lambda takes metrics
