"""Stores: registered, set, given their providers' secrets, and removed."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from zoneinfo import available_timezones

from checkout_recovery.errors import Conflict, FieldError, MalformedRequest, NotFound
from checkout_recovery.providers import PROVIDERS
from checkout_recovery.secrets import (
    WRITING,
    Secret,
    Secrets,
    parameter_value,
    provider_secret,
    subscription_secret,
)
from checkout_recovery.signing import Recipe, equal
from checkout_recovery.subscriptions.requests import ProviderRequest
from checkout_recovery.subscriptions.store import STORE_ID, ProviderSettings, Store, StoreSettings
from checkout_recovery.subscriptions.tokens import new_store_token, token_hash
from checkout_recovery.subscriptions.version import next_version
from checkout_recovery.tables.registry import RegistryTable

PROVIDER_OVERLAP = timedelta(hours=1)
"""How long a secret that was replaced is accepted; Shopify's own rotation takes up to an hour."""

_SIGNS_BY_RECIPE = "cashfree"
_NOT_A_PLACE = {"Factory", "localtime"}


@dataclass(frozen=True, slots=True)
class Put:
    """What a `put` did."""

    store: Store
    created: bool
    token: str | None
    """The store's new token, if it got one."""


class StoreKeeper:
    """Collaborators are arguments."""

    def __init__(self, registry: RegistryTable, secrets: Secrets, now: Callable[[], datetime]) -> None:
        self._registry = registry
        self._secrets = secrets
        self._now = now

    def put(self, store_id: str, settings: StoreSettings, *, new_token: bool = False) -> Put:
        """Registers a store, or replaces the settings of one; what `settings` leaves out has its default.

        Args:
            store_id: what it is called.
            settings: all of them.
            new_token: gives a store that is there a new token in place of its old one.

        Raises:
            MalformedRequest: no store can be called that, or its quiet hours can not be.
            Conflict: somebody else is registering it at this moment.
        """
        if not STORE_ID.fullmatch(store_id):
            raise MalformedRequest(
                errors=[FieldError("store_id", "1 to 64 letters, digits, dots, dashes or underscores")]
            )
        if faults := quiet_hours_faults(settings, available_timezones() - _NOT_A_PLACE):
            raise MalformedRequest(errors=faults)
        store = self._registry.store(store_id)
        return self._replace(store, settings, new_token) if store else self._create(store_id, settings)

    def get(self, store_id: str) -> Store:
        """Reads a store.

        Raises:
            NotFound: there is none.
        """
        store = self._registry.store(store_id)
        if store is None:
            raise NotFound("There is no such store")
        return store

    def delete(self, store_id: str) -> None:
        """Removes a store with its secrets and subscriptions; what a failed try left, the next clears away.

        The store's own item goes first: from then on no token works and nothing can be added.
        """
        if STORE_ID.fullmatch(store_id):
            self._registry.delete_store(store_id)
            self._clear(store_id)

    def set_provider(self, store_id: str, provider: str, request: ProviderRequest) -> None:
        """Gives a store the secret that it shares with a provider; what it replaces is valid for an hour yet.

        Raises:
            NotFound: there is no such store or provider.
            MalformedRequest: a recipe for a provider that has none, or a secret that SSM cannot hold.
            Conflict: somebody else is changing it at this moment.
        """
        store = self.get(store_id)
        if provider not in PROVIDERS:
            raise NotFound("There is no such provider")
        if request.recipe and provider != _SIGNS_BY_RECIPE:
            raise MalformedRequest(errors=[FieldError("recipe", "Only Cashfree leaves a choice")])
        known, name = store.providers.get(provider), provider_secret(store_id, provider)
        held = self._secrets.get(name, known.secret_version) if known else None
        now = self._now()
        if known and _is_being_written(known, held, now):
            raise Conflict("The secret is being set at this moment")
        agreed = ProviderSettings(
            configured_at=now,
            secret_version=next_version(known.secret_version if known else 0, now),
            recipe=request.recipe or Recipe.BASE64_BODY,
        )
        secret = _renewed(held, request.secret, agreed.secret_version, now)
        parameter_value(secret)  # refuses before the registry promises what SSM will not hold
        # The registry first: of two at once it lets one through, which SSM would not.
        self._registry.put_provider(store_id, provider, known, agreed)
        self._secrets.put(name, secret)

    def _create(self, store_id: str, settings: StoreSettings) -> Put:
        self._clear(store_id)  # what an interrupted delete of a namesake left
        token, now = new_store_token(store_id), self._now()
        store = Store(
            store_id=store_id,
            settings=settings,
            token_hash=token_hash(token),
            revision=next_version(0, now),
            created_at=now,
            updated_at=now,
        )
        self._registry.create_store(store)
        return Put(store, created=True, token=token)

    def _replace(self, store: Store, settings: StoreSettings, new_token: bool) -> Put:
        token, now = new_store_token(store.store_id) if new_token else None, self._now()
        self._registry.update_store(store.store_id, settings, now, token_hash(token) if token else None)
        return Put(replace(store, settings=settings, updated_at=now), created=False, token=token)

    def _clear(self, store_id: str) -> None:
        subscription_ids = self._registry.subscription_ids(store_id)
        # Secrets first: an item without secrets can be found and cleared again, the reverse cannot.
        self._secrets.delete(
            [provider_secret(store_id, provider) for provider in PROVIDERS]
            + [subscription_secret(store_id, subscription_id) for subscription_id in subscription_ids]
        )
        self._registry.delete_subscriptions(store_id, subscription_ids)


def quiet_hours_faults(settings: StoreSettings, zones: Collection[str]) -> list[FieldError]:
    """Checks quiet hours beyond their form.

    Not rules of `StoreSettings`: what is stored must stay readable, also by a machine that knows fewer zones.
    """
    quiet = settings.quiet_hours
    if quiet is None:
        return []
    faults = []
    if quiet.end == quiet.start:  # nobody can tell whether none or all of the day is meant
        faults.append(FieldError("quiet_hours.end", "must differ from start"))
    if quiet.timezone not in zones:
        faults.append(FieldError("quiet_hours.timezone", "No such IANA time zone; one is Asia/Kolkata"))
    return faults


def _is_being_written(known: ProviderSettings, held: Secret | None, now: datetime) -> bool:
    """Whether another call may be about to write what the registry knows already."""
    return (held is None or held.version < known.secret_version) and now - known.configured_at < WRITING


def _renewed(held: Secret | None, key: str, version: int, now: datetime) -> Secret:
    if held is None:
        return Secret((key,), version)
    if equal(held.keys[0], key):  # told again: nothing is replaced, and a running overlap runs on
        return replace(held, version=version)
    return held.rotated(key, version, now, PROVIDER_OVERLAP)
