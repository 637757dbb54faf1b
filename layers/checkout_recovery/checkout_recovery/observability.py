"""Logs and metrics.

A log line is a constant message with ids and lengths as fields; a metric has a reason as its only dimension,
because CloudWatch bills each combination. Never a shopper's datum, a secret, a signature or a URL.
"""

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import MetricUnit, single_metric

logger = Logger()
"""Level and service come from the function's environment."""

METRICS = {
    "Abandoned": MetricUnit.Count,  # checkouts that the sweep found abandoned, told or not
    "OldestDueSeconds": MetricUnit.Seconds,  # how long the longest due checkout had waited when it was found
    "SweepFailures": MetricUnit.Count,  # checkouts that a sweep could not decide, and that are still due
    "Suppressed": MetricUnit.Count,  # deliveries of abandonments that were held back, by reason
}
"""Every metric that is emitted, with its unit."""


def measure(metric: str, value: float, reason: str | None = None) -> None:
    """Emits one value of a metric, in the namespace that the environment names (EMF, to the log)."""
    with single_metric(name=metric, unit=METRICS[metric], value=value) as one:
        if reason:
            one.add_dimension(name="reason", value=reason)
