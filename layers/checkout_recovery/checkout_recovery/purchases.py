"""A purchase ends all open checkouts of its shopper, also those that are heard of only after it.

It is remembered under every handle of the shopper before their checkouts are looked for, and a checkout is
linked to its handles before purchases are looked for (`recognise`). So whichever comes second finds the
first.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from checkout_recovery.checkout.lifecycle import Checkout, Unchanged
from checkout_recovery.checkout.shopper import (
    Purchase,
    handle,
    identities,
    is_one_shopper,
    looked_up_by,
    phones_of,
    written_under,
)
from checkout_recovery.checkout.snapshot import Details
from checkout_recovery.errors import Unavailable
from checkout_recovery.tables.checkouts import CheckoutTable, Contended, Outdated
from checkout_recovery.tables.shoppers import ShopperTable

_ATTEMPTS = 16
_MAX_HANDLES = 16
"""Of one checkout, the newest; a shopper who corrects a phone twice has five."""
_MAX_SHOPPER_HANDLES = 32
"""By which one purchase looks for checkouts: a shop's own till number must not connect all its customers."""
_MAX_SETTLED = 100
"""By one purchase: more is no shopper."""


class Settled(NamedTuple):
    """What a purchase has ended."""

    ended: list[Checkout]
    """Now."""
    before: list[Checkout]
    """When it was told before."""


class Purchases:
    """Collaborators are arguments."""

    def __init__(
        self, checkouts: CheckoutTable, shoppers: ShopperTable, index_key: Callable[[], bytes]
    ) -> None:
        self._checkouts = checkouts
        self._shoppers = shoppers
        self._index_key = index_key

    def handles(self, store_id: str, details: Details) -> tuple[str, ...]:
        """By what a shopper of these details is known, from the surest handle on."""
        known = list(identities(details))
        if not known:
            return ()
        key = self._index_key()
        return tuple(handle(key, store_id, kind, identity) for kind, identity in known)

    def recognise(self, before: Checkout, after: Checkout, now: datetime, expires_at: datetime) -> Checkout:
        """Connects a checkout that is about to be written with its shopper, where it tells new handles.

        Returns:
            The checkout with its handles; bought, if its shopper bought after the last activity in it.

        Raises:
            Unavailable: a part of AWS is throttled or down.
        """
        if _contact(before.details) == _contact(after.details):
            return after
        told = self.handles(after.store_id, after.details)
        new = [one for one in told if one not in before.handles]
        if not new:
            return after
        known_by = (*before.handles, *new)[-_MAX_HANDLES:]
        after = after.model_copy(update={"handles": known_by})
        linked = written_under(before.handles)
        links = [one for one in written_under(known_by) if one not in linked]
        self._shoppers.link(links, after.checkout_id, now, expires_at)
        if len(phones := phones_of(known_by)) > 1:
            self._shoppers.connect(phones, now)
        shopper = self._shoppers.known(known_by).shopper
        if messaged := [at for at in (after.told_at, shopper.told_at) if at]:
            self._shoppers.told(known_by, max(messaged))
        bought = shopper.purchase
        if bought and not after.is_complete and after.ended_with(bought):
            return after.joined(bought.told_of(after.checkout_id), now)
        return after

    def remember(self, handles: Iterable[str], purchase: Purchase, now: datetime) -> None:
        """Remembers a purchase under its shopper's handles; from then on no abandonment of theirs is told.

        Raises:
            Unavailable: DynamoDB is throttled or down.
        """
        self._shoppers.remember(handles, purchase, now)

    def first_told(self, handles: Collection[str], purchase: Purchase) -> Purchase:
        """The same purchase as it was told first, where it names its order: told again, it is no later."""
        if purchase.order_id is None:
            return purchase
        return self._shoppers.known(handles).orders.get(purchase.order_id, purchase)

    def settle(
        self, store_id: str, handles: Iterable[str], purchase: Purchase, now: datetime, retention: timedelta
    ) -> Settled:
        """Ends every open checkout of a shopper whose purchase has been remembered.

        A checkout found by one handle leads to those that share another with it.

        Args:
            store_id: where it was bought.
            handles: of the shopper, from the surest on.
            purchase: what was bought.
            now: UTC.
            retention: how long a checkout is kept after its last change.

        Returns:
            The checkouts of this purchase, those found by the surest handle first.

        Raises:
            Unavailable: a part of AWS is throttled or down; repeated, it goes on where it was.
        """
        settled = Settled([], [])
        told = tuple(dict.fromkeys(handles))
        shopper = list(told)
        remembered, looked_at = set(written_under(told)), set[str]()
        found: dict[str, Checkout] = {}
        while len(found) < _MAX_SETTLED:
            one = next((each for each in looked_up_by(shopper) if each not in looked_at), None)
            if one is None:
                break
            looked_at.add(one)
            for checkout in self._linked(store_id, one, found):
                if not (is_one_shopper(told, checkout.handles) or is_one_shopper(shopper, checkout.handles)):
                    continue
                ended = self._end(checkout, purchase, now, retention)
                found[checkout.checkout_id] = ended or checkout
                if ended:
                    settled.ended.append(ended)
                elif _is_of(checkout, purchase):
                    settled.before.append(checkout)
                more = [each for each in checkout.handles if each not in shopper]
                if more and len(shopper) < _MAX_SHOPPER_HANDLES:
                    shopper += more
                    self._shoppers.remember(shopper, purchase, now, but=remembered)
                    remembered.update(written_under(shopper))
        self._spread_told(found.values(), shopper)
        return settled

    def _linked(self, store_id: str, handle: str, but: Collection[str]) -> list[Checkout]:
        """The checkouts that have a handle, the newest link first, but those of these ids."""
        ids = [one for one in dict.fromkeys(self._shoppers.checkouts_of(handle)) if one not in but]
        loaded = self._checkouts.load_all([(store_id, one) for one in ids])
        return [checkout for one in ids if (checkout := loaded.get((store_id, one)))]

    def _spread_told(self, checkouts: Collection[Checkout], shopper: Sequence[str]) -> None:
        """A purchase connects handles of which only some have heard that the shopper was told of."""
        told = [(one.told_at, one.handles) for one in checkouts if one.told_at]
        if told:
            last, knew = max(told)
            self._shoppers.told(shopper, last, but=written_under(knew))

    def _end(
        self, checkout: Checkout, purchase: Purchase, now: datetime, retention: timedelta
    ) -> Checkout | None:
        for _ in range(_ATTEMPTS):
            ended = checkout.buy(purchase, now)
            if isinstance(ended, Unchanged):
                return None
            try:
                self._checkouts.save(ended, now + retention)
            except Outdated as outdated:
                checkout = outdated.current
            except Contended:
                continue
            else:
                return ended
        raise Unavailable("The checkout is being written by many at once.")


def _is_of(checkout: Checkout, purchase: Purchase) -> bool:
    """Whether this very purchase has ended a checkout."""
    ended = checkout.purchase
    if ended is None:
        return False
    return ended.time == purchase.time or (ended.order_id is not None and ended.order_id == purchase.order_id)


def _contact(details: Details) -> tuple[object, ...]:
    return details.cart_token, details.phone, details.whole_phone, details.email
