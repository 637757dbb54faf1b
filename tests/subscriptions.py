"""Subscriptions for tests, which name only what matters to them."""

from datetime import UTC, datetime
from typing import Any

from checkout_recovery.contracts import CONTRACTS
from checkout_recovery.subscriptions.subscription import Subscription

CREATED_AT = datetime(2026, 5, 7, 10, tzinfo=UTC)


def subscription(
    subscription_id: str = "sub_1", topic: str = "checkout", version: str = "2026-11", **changes: Any
) -> Subscription:
    """Makes a subscription to all events of its contract, but for the changes."""
    known: dict[str, Any] = {
        "store_id": "my-store",
        "callback_url": "https://receiver.example.com/hook",
        "events": CONTRACTS[topic, version].events,
        "key_version": 1,
        "created_at": CREATED_AT,
        "updated_at": CREATED_AT,
    }
    return Subscription(subscription_id=subscription_id, topic=topic, version=version, **known | changes)
