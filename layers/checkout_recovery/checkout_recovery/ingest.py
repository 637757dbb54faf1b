"""A request of a checkout provider in: proven, read, applied to its checkouts, answered.

An answer of 200 means that every snapshot in the request is durable. A request that is authentic but not
understood is kept before it is refused, so nothing that a provider really sent is lost. One that is not
authentic is kept only while an operator captures a few, to see how a provider signs.
"""

import random
import secrets as randomness
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import TypeVar

from checkout_recovery.abandonment import Abandonments
from checkout_recovery.checkout.event import EventType
from checkout_recovery.checkout.lifecycle import Checkout, Unchanged
from checkout_recovery.checkout.order import Order
from checkout_recovery.checkout.shopper import Purchase, emails_of
from checkout_recovery.checkout.snapshot import Details, Snapshot
from checkout_recovery.erasure import Erasures
from checkout_recovery.errors import BrokenRecord, MalformedRequest, NotFound, Unauthenticated, Unavailable
from checkout_recovery.http_api import MAX_BODY_BYTES
from checkout_recovery.observability import logger
from checkout_recovery.providers import PROVIDERS, own_reader
from checkout_recovery.providers.provider import Credentials, Notice, Provider, Request
from checkout_recovery.purchases import Purchases
from checkout_recovery.queues import RejectedEvents, RejectedRequest
from checkout_recovery.subscriptions.directory import StoreDirectory
from checkout_recovery.subscriptions.store import Store
from checkout_recovery.tables.captures import Captures
from checkout_recovery.tables.checkouts import CheckoutTable, Contended, Outdated
from checkout_recovery.tables.erasures import By
from checkout_recovery.tables.registry import RegistryTable

_ATTEMPTS = 16
"""How often a snapshot is applied anew because its checkout moved on meanwhile."""
_PAUSE_SECONDS = 0.005
"""Spreads those who write one checkout at once; grows with each attempt."""


_Told = TypeVar("_Told", Snapshot, Order)


@cache
def _no_credentials() -> Credentials:
    """Compared against where there is no store: an unknown store takes as long as a wrong signature."""
    return Credentials(secrets=(randomness.token_hex(32),))


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one snapshot, or of one checkout that an order ended or a redaction erased."""

    status: str
    """``applied``, ``duplicate``, ``stale`` or ``erased``."""
    checkout_id: str
    sequence: int
    """The version of the checkout that now stands; of one that was erased, the last."""


class Ingest:
    """The use behind both inbound calls. Collaborators are arguments."""

    def __init__(
        self,
        *,
        directory: StoreDirectory,
        registry: RegistryTable,
        checkouts: CheckoutTable,
        purchases: Purchases,
        abandonments: Abandonments,
        erasures: Erasures,
        captures: Captures,
        rejected: RejectedEvents,
        retention_days: int,
    ) -> None:
        self._directory = directory
        self._registry = registry
        self._checkouts = checkouts
        self._purchases = purchases
        self._abandonments = abandonments
        self._erasures = erasures
        self._captures = captures
        self._rejected = rejected
        self._retention_days = retention_days

    def from_provider(
        self, provider_name: str, store_id: str, request: Request, now: datetime
    ) -> list[Result]:
        """Takes a provider's webhook in.

        Raises:
            NotFound: no such provider.
            Unauthenticated: no such store, no secret for the provider, or a wrong signature.
            MalformedRequest: authentic, not understood, and kept.
            Unavailable: not taken in; the provider should send it again.
        """
        provider = PROVIDERS.get(provider_name)
        if provider is None:
            raise NotFound("There is no such provider.")
        store = self._sender(provider, provider_name, store_id, request, now)

        return self._take_in(store, provider_name, request, now)

    def from_store(self, source: str, store_id: str, request: Request, now: datetime) -> list[Result]:
        """Takes ``checkouts`` or ``orders`` in, from a caller whom the authorizer let through."""
        store = self._directory.get(store_id) or self._directory.refresh(store_id)
        if store is None:
            raise Unauthenticated
        return self._take_in(store, source, request, now)

    def from_kept(self, kept: RejectedRequest, now: datetime) -> list[Result]:
        """Takes in a request that was authentic when it came, and was not understood.

        It counts from now, but what it says without a date it said when it came. It is not kept once more.

        Raises:
            BrokenRecord: it must never be applied, or is not what was kept.
            NotFound: its store is gone, or nothing reads its kind any more.
            MalformedRequest: it is still not understood.
            Unavailable: not taken in.
        """
        if kept.is_refused:
            raise BrokenRecord("a request that was not authentic")
        request = Request(kept.headers, kept.content(MAX_BODY_BYTES))
        store = self._directory.get(kept.store_id) or self._directory.refresh(kept.store_id)
        if store is None:
            raise NotFound("There is no such store.")
        notice = _dated(self._read(store, kept.source, request), min(kept.received_at, now))
        return self._apply_all(store, notice, now)

    def _sender(
        self, provider: Provider, provider_name: str, store_id: str, request: Request, now: datetime
    ) -> Store:
        """Finds the store whose provider signed the request. A refusal is never decided from memory."""
        for look_up in (self._directory.get, self._directory.refresh):
            store = look_up(store_id)
            credentials = self._directory.credentials(store, provider_name, now) if store else None
            if provider.is_authentic(request, credentials or _no_credentials()) and store and credentials:
                return store
        refused = Unauthenticated()
        if store and store.is_captured(now):
            self._capture(store, provider_name, request, refused, now)
        raise refused

    def _capture(
        self, store: Store, source: str, request: Request, refused: Unauthenticated, now: datetime
    ) -> None:
        """Keeps a refused request, if it is among the few. However that goes, it stays refused."""
        try:
            if self._captures.take(store.store_id, now):
                self._rejected.capture(source, store.store_id, request.headers, request.body, refused, now)
        except Unavailable:
            logger.warning("A refused request could not be captured", extra={"store_id": store.store_id})

    def _take_in(self, store: Store, source: str, request: Request, now: datetime) -> list[Result]:
        try:
            return self._apply_all(store, self._read(store, source, request), now)
        except MalformedRequest as problem:
            self._rejected.keep(source, store.store_id, request.headers, request.body, problem, now)
            raise

    def _read(self, store: Store, source: str, request: Request) -> Notice:
        if reader := own_reader(source):
            return reader(request.body)
        provider = PROVIDERS.get(source)
        if provider is None:
            raise NotFound("There is no such provider.")
        notice = provider.read(request)
        self._directory.check_shop(store, source, notice.shops)
        return notice

    def _apply_all(self, store: Store, notice: Notice, now: datetime) -> list[Result]:
        results = [self._apply(store, snapshot, now) for snapshot in notice.snapshots]
        for order in notice.orders:
            results += self._settle(store, order, now)
        for contact in notice.redactions:
            results += self._erase(store, contact, now)
        return results

    def _apply(self, store: Store, snapshot: Snapshot, now: datetime) -> Result:
        if snapshot.checkout_id == snapshot.alias:
            snapshot = self._renamed(store.store_id, snapshot)
        snapshot = _priced(snapshot, store.settings.currency)
        abandon_after = timedelta(seconds=store.settings.abandon_after_seconds)
        checkout = self._checkouts.load(store.store_id, snapshot.checkout_id)
        earlier = self._under_its_second_id(checkout, snapshot)
        for attempt in range(_ATTEMPTS):
            changed = checkout.apply(snapshot, now, abandon_after)
            if isinstance(changed, Unchanged):
                if checkout.is_complete:  # the first time it may have been cut off
                    self._settle_others(store, checkout, checkout.purchase, now)
                return Result(changed.value, checkout.checkout_id, checkout.sequence)
            if earlier:
                changed = changed.joined(earlier.retold(snapshot.checkout_id), now)
            told = _purchase(checkout, snapshot, now)
            try:
                written = self._write(store, checkout, changed, told, now)
            except Outdated as outdated:
                checkout = outdated.current
                _pause(attempt)
            except Contended:  # over the shopper: the checkout is as it was
                _pause(attempt)
            else:
                self._settle_others(store, written, told or written.purchase, now)
                return Result("applied", written.checkout_id, written.sequence)
        raise Unavailable("The checkout is being written by many at once.")

    def _write(
        self, store: Store, before: Checkout, after: Checkout, told: Purchase | None, now: datetime
    ) -> Checkout:
        """Writes a checkout, and what has to be known of its shopper before it is; returns it as written."""
        expires_at = now + self._retention(store)
        after = self._purchases.recognise(before, after, now, expires_at)
        if purchase := told or after.purchase:
            self._purchases.remember(after.handles, purchase, now)
        elif after.event and after.event.type is EventType.ABANDONED:
            return self._abandonments.told(after, self._registry.subscriptions(store.store_id), now)
        self._checkouts.save(after, expires_at)
        return after

    def _settle_others(
        self, store: Store, checkout: Checkout, purchase: Purchase | None, now: datetime
    ) -> None:
        """A purchase in one checkout ends the same shopper's others."""
        if purchase:
            handles = checkout.handles
            self._purchases.settle(store.store_id, handles, purchase, now, self._retention(store))

    def _settle(self, store: Store, order: Order, now: datetime) -> list[Result]:
        """Ends the checkout that an order names, or those that it is found to be of."""
        store_id, retention = store.store_id, self._retention(store)
        handles = self._purchases.handles(store_id, order.details)
        named = self._named_by(store_id, order)
        purchase = self._first_told(store_id, named, order) or self._purchases.first_told(
            handles, order.purchase(now)
        )
        self._purchases.remember(handles, purchase, now)
        results = [self._apply(store, order.told_of(named), now)] if named else []
        settled = self._purchases.settle(store_id, handles, purchase, now, retention)
        if not (results or settled.ended or settled.before) and (address := emails_of(handles)):
            # The parcel's phone, it may be: whoever has the address, whatever their phone.
            self._purchases.remember(address, purchase, now)
            settled = self._purchases.settle(store_id, address, purchase, now, retention)
        results += [Result("applied", one.checkout_id, one.sequence) for one in settled.ended]
        results += [Result("duplicate", one.checkout_id, one.sequence) for one in settled.before if not named]
        if not named and order.checkout_token:  # it may come before its checkout
            first = order.told_of(order.checkout_token)
            if results:  # then it was told of another one, and nobody has to hear of it twice
                self._apply(store, first.model_copy(update={"discarded": True}), now)
            else:
                results.append(self._apply(store, first, now))
        return results

    def _erase(self, store: Store, contact: Details, now: datetime) -> list[Result]:
        """Erases a shopper because Shopify says so, the one provider that does."""
        erased = self._erasures.erase(store.store_id, contact, By.SHOPIFY, now).checkouts
        return [Result("erased", one.checkout_id, one.sequence) for one in erased]

    def _first_told(self, store_id: str, named: str | None, order: Order) -> Purchase | None:
        """The purchase that an order tells of, where the checkout that it names has told of it before."""
        checkout = self._checkouts.load(store_id, named) if named else None
        return checkout.purchase if checkout and _tells_again(checkout, order.details.order_id) else None

    def _named_by(self, store_id: str, order: Order) -> str | None:
        """The checkout that an order names for sure: by our id, or by a token that a checkout has."""
        if order.checkout_id or not order.checkout_token:
            return order.checkout_id
        if self._checkouts.load(store_id, order.checkout_token).is_known:
            return order.checkout_token
        for second_id in filter(None, (order.alias, order.checkout_token)):
            if found := self._checkouts.find_by_alias(store_id, second_id):
                return found
        return None

    def _retention(self, store: Store) -> timedelta:
        return timedelta(days=store.settings.checkout_retention_days or self._retention_days)

    def _under_its_second_id(self, checkout: Checkout, snapshot: Snapshot) -> Checkout | None:
        """An order or a deletion that came before the first telling of its checkout, by its second id."""
        if checkout.is_known or snapshot.alias in (None, snapshot.checkout_id):
            return None
        earlier = self._checkouts.load(checkout.store_id, str(snapshot.alias))
        return earlier if earlier.is_known else None

    def _renamed(self, store_id: str, snapshot: Snapshot) -> Snapshot:
        """Some of a provider's events name a checkout by its second id only."""
        found = self._checkouts.find_by_alias(store_id, snapshot.checkout_id)
        return snapshot.model_copy(update={"checkout_id": found}) if found else snapshot


def _dated(notice: Notice, received_at: datetime) -> Notice:
    """Gives what names no time of its own the time of its arrival."""

    def dated(told: _Told) -> _Told:
        return told if told.event_time else told.model_copy(update={"event_time": received_at})

    return notice._replace(
        snapshots=tuple(map(dated, notice.snapshots)), orders=tuple(map(dated, notice.orders))
    )


def _purchase(before: Checkout, snapshot: Snapshot, now: datetime) -> Purchase | None:
    """The purchase that a snapshot is the first to tell, as it counts for the shopper's other checkouts."""
    details = snapshot.details
    if not snapshot.completed or _tells_again(before, details.order_id):
        return None
    told_at = details.completed_at or snapshot.event_time
    # However old: it has the clock of the provider's other snapshots.
    return Purchase.told(told_at, now, details.order_id, within=timedelta.max)


def _tells_again(before: Checkout, order_id: str | None) -> bool:
    """Whether a purchase is the one that a checkout told before: it has one, unless two orders are named."""
    return before.is_complete and (
        None in (order_id, before.details.order_id) or order_id == before.details.order_id
    )


def _pause(attempt: int) -> None:
    time.sleep(random.uniform(0, _PAUSE_SECONDS * attempt))  # noqa: S311 - hides nothing


def _priced(snapshot: Snapshot, currency: str | None) -> Snapshot:
    """Says the store's currency where the provider says none; what neither says stays unknown."""
    cart = snapshot.details.cart
    if currency is None or cart is None or cart.currency is not None:
        return snapshot
    details = snapshot.details.model_copy(update={"cart": cart.model_copy(update={"currency": currency})})
    return snapshot.model_copy(update={"details": details})
