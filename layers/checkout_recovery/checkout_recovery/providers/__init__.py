"""Checkout providers, an adapter each: what proves a request, and how it reads as snapshots."""

from collections.abc import Mapping

from checkout_recovery.providers import cashfree, flexype, shopify
from checkout_recovery.providers.provider import Provider

PROVIDERS: Mapping[str, Provider] = {"flexype": flexype, "cashfree": cashfree, "shopify": shopify}
"""By the name in the path of the webhook's URL."""
