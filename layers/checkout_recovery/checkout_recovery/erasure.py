"""A shopper is erased: every checkout that is theirs, and what is known by their handles.

    the datum's handles ─► checkouts ─► their other handles ─► …   found as `purchases.settle` finds them,
    erased in the reverse order                                    what led to a checkout after it

So whatever is left when an erasure dies half-way is still found from the datum itself, and the repeat
finishes it. Each checkout is erased in the version that was read; where a snapshot was first, all is looked
for again. That is no event of the stream, so nobody is told. What stays of a checkout is a tombstone, its ids
and a number without any datum: told again, it goes on from there, and no receiver drops it as known or late.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from checkout_recovery.checkout.lifecycle import Checkout
from checkout_recovery.checkout.phone import Phone
from checkout_recovery.checkout.shopper import (
    email_identity,
    emails_of,
    identities,
    is_one_shopper,
    looked_up_by,
    written_under,
)
from checkout_recovery.checkout.snapshot import Details
from checkout_recovery.errors import MalformedRequest, Unavailable
from checkout_recovery.purchases import Purchases
from checkout_recovery.tables.checkouts import CheckoutTable, Contended, Outdated
from checkout_recovery.tables.erasures import By, Erasure, ErasureLog, new_erasure_id
from checkout_recovery.tables.shoppers import Link, ShopperTable

_MAX_CHECKOUTS = 100
"""In one round: more is no shopper, and a caller waits."""
_MAX_HANDLES = 32
"""By which one shopper is looked for: a shop's own till number must not connect all its customers."""
_ROUNDS = 16
_BEING_WRITTEN = timedelta(minutes=1)
"""A link is written just before its checkout: one this young may lead to a checkout that is not there yet."""
_PHONE_MARKS = frozenset("+-. ()/")


class Erased(NamedTuple):
    """What an erasure did."""

    erasure: Erasure
    checkouts: list[Checkout]
    """As they were when they were erased."""
    handles: int
    """By how many phones, e-mail addresses and carts the shopper was known."""


@dataclass
class _Trail:
    """How a shopper's checkouts were found, in that order, and the links that were seen.

    Only what was seen before its checkout is deleted is deleted with it: a link that is written later is
    that of a checkout told anew.
    """

    shopper: list[str]
    found: dict[str, Checkout] = field(default_factory=dict)
    opened: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """The handles that were first known by a checkout."""
    links: dict[str, list[Link]] = field(default_factory=dict)
    """By handle, as it is written under."""
    dead: set[str] = field(default_factory=set)
    """Checkouts that have a link still, and are gone."""
    is_cut: bool = False
    """Whether there may be more."""

    def take(self, handle: str, gone: Collection[str]) -> list[Link]:
        """Takes the links of a handle to checkouts that are gone."""
        links = self.links.get(handle, [])
        self.links[handle] = [link for link in links if link.checkout_id not in gone]
        return [link for link in links if link.checkout_id in gone]


class Erasures:
    """Collaborators are arguments."""

    def __init__(
        self, checkouts: CheckoutTable, shoppers: ShopperTable, purchases: Purchases, log: ErasureLog
    ) -> None:
        self._checkouts = checkouts
        self._shoppers = shoppers
        self._purchases = purchases
        self._log = log

    def erase(self, store_id: str, contact: Details, by: By, now: datetime) -> Erased:
        """Erases whoever is known by a phone or an e-mail address at a store.

        An address takes every checkout with it that holds it, whoever's.

        Args:
            store_id: where.
            contact: the phone, the e-mail address, or both.
            by: who asks.
            now: UTC.

        Raises:
            Unavailable: not finished; repeated, it goes on.
        """
        told = self._purchases.handles(store_id, contact)
        erased: list[Checkout] = []
        handles = set(told)
        is_finished = self._erase(store_id, told, now, erased, handles)
        erasure = Erasure(erasure_id=new_erasure_id(now), at=now, by=by, checkouts=len(erased))
        if is_finished or erased:
            self._log.record(store_id, erasure)
        if not is_finished:
            raise Unavailable("There is more to erase.")
        return Erased(erasure, erased, len(handles))

    def _erase(
        self, store_id: str, told: Sequence[str], now: datetime, erased: list[Checkout], handles: set[str]
    ) -> bool:
        """Goes on until nothing is found; adds what it erased, and returns whether that is all."""
        for _ in range(_ROUNDS):
            trail = self._find(store_id, told, now)
            handles.update(trail.shopper)
            if not trail.found:
                self._forget(trail, told, trail.dead, wholly=True)
                return True
            erased += self._delete(trail, now)
            if trail.is_cut:
                return False
        return False

    def _find(self, store_id: str, told: Sequence[str], now: datetime) -> _Trail:
        trail = _Trail(list(told))
        while one := _next((*looked_up_by(trail.shopper), *emails_of(told)), trail.links):
            trail.links[one] = []
            for page in self._shoppers.links(one):
                trail.links[one] += page
                for checkout in self._linked(store_id, page, trail, now):
                    self._follow(trail, checkout, told)
                if trail.is_cut:
                    break
            if trail.is_cut:
                break
        known = (*told, *(each for checkout in trail.found.values() for each in checkout.handles))
        for one in {written for each in known for written in written_under((each,))} - trail.links.keys():
            trail.links[one] = [link for page in self._shoppers.links(one) for link in page]
        return trail

    def _linked(self, store_id: str, links: Iterable[Link], trail: _Trail, now: datetime) -> list[Checkout]:
        """The checkouts to which these links lead, the newest link first, but those that were found."""
        newest: dict[str, datetime] = {}
        for link in links:
            newest.setdefault(link.checkout_id, link.linked_at)
        ids = [one for one in newest if one not in trail.found]
        loaded = self._checkouts.load_all([(store_id, one) for one in ids])
        absent = [one for one in ids if (store_id, one) not in loaded]
        trail.dead.update(one for one in absent if now - newest[one] > _BEING_WRITTEN)
        return [checkout for one in ids if (checkout := loaded.get((store_id, one)))]

    def _follow(self, trail: _Trail, checkout: Checkout, told: Sequence[str]) -> None:
        """Takes a checkout for the shopper's, if it is, and its other handles for theirs."""
        if trail.is_cut:
            return
        is_theirs = is_one_shopper(told, checkout.handles) or is_one_shopper(trail.shopper, checkout.handles)
        if not is_theirs and not self._holds(checkout, emails_of(told)):
            return
        more = [each for each in checkout.handles if each not in trail.shopper] if is_theirs else []
        if more and len(trail.shopper) < _MAX_HANDLES:
            trail.shopper += more
            trail.opened[checkout.checkout_id] = tuple(more)
        trail.found[checkout.checkout_id] = checkout
        trail.is_cut = len(trail.found) >= _MAX_CHECKOUTS

    def _holds(self, checkout: Checkout, addresses: Collection[str]) -> bool:
        """Whether another shopper's checkout holds one of the addresses."""
        if not addresses:
            return False
        return not set(addresses).isdisjoint(self._purchases.handles(checkout.store_id, checkout.details))

    def _delete(self, trail: _Trail, now: datetime) -> Iterator[Checkout]:
        """Erases what was found, the last first, and yields it; stops where one has moved on meanwhile."""
        for checkout in reversed(trail.found.values()):
            checkout_id = checkout.checkout_id
            opened = trail.opened.get(checkout_id, ())
            if opened and trail.is_cut:
                continue  # it leads to what is yet to be found
            self._forget(trail, opened, {*trail.dead, checkout_id})
            try:
                self._checkouts.erase(checkout, now)
            except (Outdated, Contended):
                return
            yield checkout
            for one in reversed(trail.links.keys()):  # the link that led here is the last
                self._shoppers.unlink(one, trail.take(one, {checkout_id}))

    def _forget(
        self, trail: _Trail, handles: Iterable[str], gone: Collection[str], *, wholly: bool = False
    ) -> None:
        """Deletes what is known by handles; what others are known by too stays, unless it is `wholly`."""
        for one in (written for each in handles for written in written_under((each,))):
            self._shoppers.unlink(one, trail.take(one, gone))
            if wholly or not trail.links[one]:
                self._shoppers.forget(one)


def _next(handles: Iterable[str], looked_at: Collection[str]) -> str | None:
    return next((each for each in handles if each not in looked_at), None)


def contact_of(spelled: Sequence[str]) -> Details:
    """Reads the phone or the e-mail address that somebody is to be erased by.

    Args:
        spelled: what may be meant, as it arrived and as that decodes; the last that is one counts.

    Raises:
        MalformedRequest: it is neither; the error does not quote it.
    """
    for text in reversed(spelled):
        details = _read(text.strip())
        if any(True for _ in identities(details)):
            return details
    raise MalformedRequest("The path must end in a phone number or an e-mail address.")


def _read(text: str) -> Details:
    if email_identity(text):
        return Details(email=text)
    # Letters or a stray `%2B` are no part of a number; their digits could be another's.
    is_number = all(each in _PHONE_MARKS or (each.isascii() and each.isdigit()) for each in text)
    return Details(phone=Phone.of(text)) if text and is_number else Details()
