"""Stores as ingest knows them: remembered for a minute, and never refused from memory.

A hit costs no call. Where what is remembered would refuse a request, the caller reads afresh first, so a
store, a secret or a domain registered a moment ago works at once.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime

from checkout_recovery.errors import MalformedRequest, Unauthenticated
from checkout_recovery.providers.provider import Credentials
from checkout_recovery.secrets import Secrets, provider_secret
from checkout_recovery.subscriptions.store import STORE_ID, Store
from checkout_recovery.tables.registry import RegistryTable

_TTL_SECONDS = 60.0
_MAX_STORES = 4096


class StoreDirectory:
    """Remembers stores; only those that exist, so strangers' guesses take no room."""

    def __init__(
        self, registry: RegistryTable, secrets: Secrets, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._registry = registry
        self._secrets = secrets
        self._clock = clock
        self._remembered: OrderedDict[str, tuple[Store, float]] = OrderedDict()

    def get(self, store_id: str) -> Store | None:
        """Returns a store as remembered; None where it is not, whether or not there is one."""
        store, until = self._remembered.get(store_id, (None, 0.0))
        return store if self._clock() < until else None

    def refresh(self, store_id: str) -> Store | None:
        """Reads a store; None where there is none.

        Raises:
            Unavailable: DynamoDB is throttled or down.
        """
        store = self._registry.store(store_id) if STORE_ID.fullmatch(store_id) else None
        if store is None:
            self._remembered.pop(store_id, None)
            return None
        self._remembered[store_id] = (store, self._clock() + _TTL_SECONDS)
        self._remembered.move_to_end(store_id)
        while len(self._remembered) > _MAX_STORES:
            self._remembered.popitem(last=False)
        return store

    def credentials(self, store: Store, provider: str, now: datetime) -> Credentials | None:
        """What proves a provider's requests to this store; None where nothing was agreed.

        Raises:
            Unavailable: SSM does not answer and nothing is cached.
        """
        agreed = store.providers.get(provider)
        if agreed is None:
            return None
        secret = self._secrets.get(provider_secret(store.store_id, provider), agreed.secret_version)
        return Credentials(secret.valid_keys(now), agreed.recipe) if secret else None

    def check_shop(self, store: Store, provider: str, shops: frozenset[str]) -> None:
        """Checks that the shop in an authentic request is the one that the path names.

        Raises:
            MalformedRequest: it is another.
            Unauthenticated: the store is gone by now, or it is another that agreed nothing with the provider.
        """
        if store.is_named_by(provider, shops, self._registry.bind_shop):
            return
        current = self.refresh(store.store_id)
        if current is None or provider not in current.providers:
            raise Unauthenticated
        if not current.is_named_by(provider, shops, self._registry.bind_shop):
            raise MalformedRequest("The shop that the body names is not the store that the path names.")
