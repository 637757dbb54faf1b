"""Subscriptions of receivers that are known: what is new is untried, and fails with its first attempt."""

from checkout_recovery.subscriptions.circuit import Circuit
from checkout_recovery.subscriptions.subscription import Subscription
from checkout_recovery.tables.registry import RegistryTable


def subscribe_known(registry: RegistryTable, subscription: Subscription) -> None:
    """Makes a subscription whose receiver has answered before."""
    registry.create_subscription(subscription)
    ids = subscription.store_id, subscription.subscription_id
    assert registry.close_circuit(Circuit.untried(*ids, subscription.created_at))
