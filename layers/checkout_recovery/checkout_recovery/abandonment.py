"""An abandonment about to be written: whether it is told is decided and written in one transaction.

Used where the sweep finds a checkout quiet, and where a provider says that the shopper has left. The
shopper's records are read before the decision and their versions are conditions of the write, so of two
abandonments of one shopper in the same moment, or an abandonment and a purchase, the second sees the first.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from checkout_recovery.checkout.lifecycle import Checkout, Policy, Suppression, Unchanged
from checkout_recovery.tables.checkouts import CheckoutTable
from checkout_recovery.tables.registry import Subscriptions
from checkout_recovery.tables.shoppers import Known, ShopperTable


class Abandonments:
    """Collaborators are arguments."""

    def __init__(self, checkouts: CheckoutTable, shoppers: ShopperTable, retention_days: int) -> None:
        self._checkouts = checkouts
        self._shoppers = shoppers
        self._retention_days = retention_days

    def find(
        self, checkout: Checkout, store: Subscriptions, known: Known, now: datetime
    ) -> Checkout | Unchanged:
        """Abandons a checkout whose time has come, and returns it as written.

        Raises:
            Outdated: the checkout has moved on.
            Contended: its shopper has.
            Unavailable: DynamoDB is throttled or down.
        """
        found = checkout.abandon(known.shopper, policy_of(store), now, wanted=_is_wanted(checkout, store))
        if isinstance(found, Unchanged):
            return found
        self._save(found, store, known, now)
        return found

    def told(self, abandoned: Checkout, store: Subscriptions, now: datetime) -> Checkout:
        """Judges and writes an abandonment that a provider told; raises what `find` does."""
        known = self._shoppers.known(abandoned.handles)
        judged = abandoned.judged(known.shopper, policy_of(store), now, wanted=_is_wanted(abandoned, store))
        self._save(judged, store, known, now)
        return judged

    def _save(self, found: Checkout, store: Subscriptions, known: Known, now: datetime) -> None:
        days = store.settings.checkout_retention_days or self._retention_days
        claims: Sequence[Mapping[str, Any]] = ()
        if found.told_at == now:
            claims = self._shoppers.claims(known, now)
        elif found.suppressed is Suppression.COOLDOWN:
            # A phone that was corrected, or an e-mail address that came along, is the same shopper's too.
            told_at = max(at for at in (found.told_at, known.shopper.told_at) if at)
            self._shoppers.told(found.handles, told_at)
        self._checkouts.save(found, now + timedelta(days=days), claims)


def policy_of(store: Subscriptions) -> Policy:
    """When a store's abandonments are told."""
    return Policy(timedelta(seconds=store.settings.cooldown_seconds), store.settings.quiet_hours)


def _is_wanted(checkout: Checkout, store: Subscriptions) -> bool:
    """Whether anybody would be sent it: what nobody hears must not silence the shopper's next checkout."""
    return any(subscription.is_told_of_abandonment(checkout) for subscription in store.items)
