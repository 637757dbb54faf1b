"""What became of deliveries, and of one checkout: for whoever asks why somebody was, or was not, told."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter

from checkout_recovery.checkout.lifecycle import Checkout
from checkout_recovery.delivery.plan import delivery_id
from checkout_recovery.errors import NotFound
from checkout_recovery.providers.fields import is_key
from checkout_recovery.subscriptions.subscription import Subscription
from checkout_recovery.tables.checkouts import CheckoutTable
from checkout_recovery.tables.deliveries import (
    EVERYTHING,
    Choice,
    DeliveryRecord,
    DeliveryTable,
    LogPage,
    least_id,
)
from checkout_recovery.tables.registry import RegistryTable


@dataclass(frozen=True, slots=True)
class Found:
    """A checkout as it stands, and who was told of its last event."""

    checkout: Checkout
    deliveries: tuple[DeliveryRecord, ...]
    """One a subscription that the store has now, newest first."""


class LookUp:
    """Collaborators are arguments."""

    def __init__(self, registry: RegistryTable, checkouts: CheckoutTable, deliveries: DeliveryTable) -> None:
        self._registry = registry
        self._checkouts = checkouts
        self._deliveries = deliveries

    def deliveries(
        self,
        subscription: Subscription,
        limit: int,
        choice: Choice = EVERYTHING,
        *,
        since: datetime | None = None,
        cursor: str | None = None,
    ) -> LogPage:
        """Lists a subscription's deliveries, newest first.

        Args:
            subscription: whose.
            limit: how many at most; where few fit the choice, a page may have fewer and still a cursor.
            choice: which.
            since: of events from this time on.
            cursor: `next_cursor` of the page before.

        Raises:
            Unavailable: DynamoDB is throttled or down.
        """
        least = least_id(since) if since else ""
        return self._deliveries.page(subscription.subscription_id, limit, choice, since=least, cursor=cursor)

    def checkout(self, store_id: str, ids: Iterable[str]) -> Found:
        """Finds a checkout by the first of these ids that is one.

        Raises:
            NotFound: the store has none of them.
            Unavailable: DynamoDB is throttled or down.
        """
        for checkout_id in filter(is_key, ids):
            checkout = self._checkouts.load(store_id, checkout_id)
            if checkout.is_known:
                return Found(checkout, self._told_of(checkout))
        raise NotFound("The store has no such checkout")

    def _told_of(self, checkout: Checkout) -> tuple[DeliveryRecord, ...]:
        """The deliveries of its last event. Their ids follow from the event's, so nothing is searched for."""
        if checkout.event is None:
            return ()
        ids = (each.subscription_id for each in self._registry.subscriptions(checkout.store_id).items)
        records = self._deliveries.load_all([(each, delivery_id(checkout.event, each)) for each in ids])
        return tuple(sorted(records, key=attrgetter("recorded_at", "delivery_id"), reverse=True))
