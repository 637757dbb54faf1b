"""A request of a checkout provider in: proven, read, applied to its checkouts, answered.

An answer of 200 means that every snapshot in the request is durable. A request that is authentic but not
understood is kept before it is refused, so nothing that a provider really sent is lost.
"""

import random
import secrets as randomness
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from checkout_recovery.checkout.lifecycle import Checkout, Unchanged
from checkout_recovery.checkout.snapshot import Snapshot
from checkout_recovery.errors import MalformedRequest, NotFound, Unauthenticated, Unavailable
from checkout_recovery.providers import PROVIDERS
from checkout_recovery.providers.own import read_own
from checkout_recovery.providers.provider import Credentials, Notice, Provider, Request
from checkout_recovery.queues import RejectedEvents
from checkout_recovery.subscriptions.directory import StoreDirectory
from checkout_recovery.subscriptions.store import Store
from checkout_recovery.tables.checkouts import CheckoutTable, Outdated

_ATTEMPTS = 16
"""How often a snapshot is applied anew because its checkout moved on meanwhile."""
_PAUSE_SECONDS = 0.005
"""Spreads those who write one checkout at once; grows with each attempt."""

_NO_CREDENTIALS = Credentials(secrets=(randomness.token_hex(32),))
"""Compared against where there is no store, so that an unknown store takes as long as a wrong signature."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one snapshot."""

    status: str
    """``applied``, ``duplicate`` or ``stale``."""
    checkout_id: str
    sequence: int
    """The version of the checkout that now stands."""


class Ingest:
    """The use behind both inbound calls. Collaborators are arguments."""

    def __init__(
        self,
        *,
        directory: StoreDirectory,
        checkouts: CheckoutTable,
        rejected: RejectedEvents,
        retention_days: int,
    ) -> None:
        self._directory = directory
        self._checkouts = checkouts
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

        def read() -> Notice:
            notice = provider.read(request)
            self._directory.check_shop(store, provider_name, notice.shops)
            return notice

        return self._take_in(store, provider_name, request, now, read)

    def from_store(self, store_id: str, request: Request, now: datetime) -> list[Result]:
        """Takes a snapshot in our own schema in, from a caller whom the authorizer let through."""
        store = self._directory.get(store_id) or self._directory.refresh(store_id)
        if store is None:
            raise Unauthenticated
        return self._take_in(store, "checkouts", request, now, lambda: read_own(request.body))

    def _sender(
        self, provider: Provider, provider_name: str, store_id: str, request: Request, now: datetime
    ) -> Store:
        """Finds the store whose provider signed the request. A refusal is never decided from memory."""
        for look_up in (self._directory.get, self._directory.refresh):
            store = look_up(store_id)
            credentials = self._directory.credentials(store, provider_name, now) if store else None
            if provider.is_authentic(request, credentials or _NO_CREDENTIALS) and store and credentials:
                return store
        raise Unauthenticated

    def _take_in(
        self, store: Store, source: str, request: Request, now: datetime, read: Callable[[], Notice]
    ) -> list[Result]:
        try:
            return [self._apply(store, snapshot, now) for snapshot in read().snapshots]
        except MalformedRequest as problem:
            self._rejected.keep(source, store.store_id, request.headers, request.body, problem, now)
            raise

    def _apply(self, store: Store, snapshot: Snapshot, now: datetime) -> Result:
        if snapshot.checkout_id == snapshot.alias:
            snapshot = self._renamed(store.store_id, snapshot)
        snapshot = _priced(snapshot, store.settings.currency)
        abandon_after = timedelta(seconds=store.settings.abandon_after_seconds)
        retention = timedelta(days=store.settings.checkout_retention_days or self._retention_days)
        checkout = self._checkouts.load(store.store_id, snapshot.checkout_id)
        earlier = self._under_its_second_id(checkout, snapshot)
        for attempt in range(_ATTEMPTS):
            changed = checkout.apply(snapshot, now, abandon_after)
            if isinstance(changed, Unchanged):
                return Result(changed.value, checkout.checkout_id, checkout.sequence)
            if earlier:
                joined = changed.apply(earlier.retold(snapshot.checkout_id), now, abandon_after)
                changed = changed if isinstance(joined, Unchanged) else joined
            try:
                self._checkouts.save(changed, now + retention)
            except Outdated as outdated:
                checkout = outdated.current
                time.sleep(random.uniform(0, _PAUSE_SECONDS * attempt))  # noqa: S311 - hides nothing
                continue
            return Result("applied", changed.checkout_id, changed.sequence)
        raise Unavailable("The checkout is being written by many at once.")

    def _under_its_second_id(self, checkout: Checkout, snapshot: Snapshot) -> Checkout | None:
        """An order or a deletion that came before the first telling of its checkout, by its second id."""
        if checkout.sequence or snapshot.alias in (None, snapshot.checkout_id):
            return None
        earlier = self._checkouts.load(checkout.store_id, str(snapshot.alias))
        return earlier if earlier.sequence else None

    def _renamed(self, store_id: str, snapshot: Snapshot) -> Snapshot:
        """Some of a provider's events name a checkout by its second id only."""
        found = self._checkouts.find_by_alias(store_id, snapshot.checkout_id)
        return snapshot.model_copy(update={"checkout_id": found}) if found else snapshot


def _priced(snapshot: Snapshot, currency: str | None) -> Snapshot:
    """Says the store's currency where the provider says none; what neither says stays unknown."""
    cart = snapshot.details.cart
    if currency is None or cart is None or cart.currency is not None:
        return snapshot
    details = snapshot.details.model_copy(update={"cart": cart.model_copy(update={"currency": currency})})
    return snapshot.model_copy(update={"details": details})
