"""What a contract is: the body that a version of a topic promises, and the headers that prove it.

A published contract is frozen. Its body bytes are a pure function of the checkout, so a retry sends the same.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from checkout_recovery.checkout.event import EventType
from checkout_recovery.checkout.lifecycle import Checkout
from checkout_recovery.signing import Recipe, sign_standard


@dataclass(frozen=True, slots=True)
class Attempt:
    """What the headers of one attempt are made from."""

    delivery_id: str
    subscription_id: str
    event_id: str
    shop_url: str
    keys: tuple[str, ...]
    """The webhook keys that are valid now, newest first."""
    recipe: Recipe
    sent_at: datetime


@dataclass(frozen=True, slots=True)
class Contract:
    """One version of one topic."""

    topic: str
    version: str
    events: tuple[EventType, ...]
    """The events that it can carry; a subscription gets all of them unless it names some."""
    render: Callable[[Checkout], bytes]
    own_headers: Callable[[Attempt, bytes], Mapping[str, str]]

    def headers(self, attempt: Attempt, body: bytes) -> dict[str, str]:
        """The contract's own headers and, with every contract, those of Standard Webhooks."""
        timestamp = int(attempt.sent_at.timestamp())
        return {
            "Content-Type": "application/json",
            "webhook-id": attempt.event_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": sign_standard(attempt.keys, attempt.event_id, timestamp, body),
            **self.own_headers(attempt, body),
        }
