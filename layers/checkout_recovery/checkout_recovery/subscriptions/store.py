"""A store: whose checkouts they are, how it is set, and which shop its providers speak of."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from checkout_recovery.checkout.quiet_hours import QuietHours
from checkout_recovery.signing import Recipe

STORE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
"""What a store may be called: it is part of a path, of a table's key and of a parameter's name."""

_MAX_NAME_CHARS = 253
"""Of a domain name. A shop's name that is longer is none."""

Domain = Annotated[
    str,
    StringConstraints(
        to_lower=True,
        max_length=_MAX_NAME_CHARS,
        pattern=r"^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9-]+)+$",
    ),
]


class StoreSettings(BaseModel):
    """How a store is set. A field that is left out has its default."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid", strict=True)

    abandon_after_seconds: int = Field(default=900, ge=60, le=86_400)
    """How long a checkout is quiet before it counts as abandoned."""
    cooldown_seconds: int = Field(default=86_400, ge=0, le=2_592_000)
    """How long after one abandonment the same shopper's next is not told."""
    quiet_hours: QuietHours | None = None
    """When nobody is told of an abandonment. It is decided again when they end."""
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] | None = None
    """ISO 4217; what amounts are in when the provider does not say."""
    checkout_retention_days: int | None = Field(default=None, ge=1, le=3650)
    """How long a checkout is kept after its last change; the stack's parameter by default."""
    delivery_retention_days: int | None = Field(default=None, ge=1, le=3650)
    """How long the delivery log is kept; the stack's parameter by default."""
    domains: list[Domain] = Field(default=[], max_length=20)
    """The shop's domains that a provider's body may name; empty to trust the first that it names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSettings:
    """What a store has agreed with one provider; the secret itself is in SSM."""

    configured_at: datetime
    secret_version: int
    """The version that a cached secret must have to be current (see `secrets`)."""
    recipe: Recipe = Recipe.BASE64_BODY
    shops: tuple[str, ...] = ()
    """The names of the shop that the provider's first authentic request named, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """A store as it is registered."""

    store_id: str
    settings: StoreSettings
    token_hash: str = field(repr=False)
    """Of the store's token, which nobody keeps (see `tokens`)."""
    providers: Mapping[str, ProviderSettings] = field(default_factory=dict)
    revision: int
    """Grows with every change of the store's settings or subscriptions."""
    created_at: datetime
    updated_at: datetime
    captured_until: datetime | None = None
    """Until when requests in its name that prove nothing are kept, a few of them (see `tables.captures`)."""

    def is_captured(self, now: datetime) -> bool:
        """Whether refused requests in its name may be kept now."""
        return self.captured_until is not None and now < self.captured_until

    def is_named_by(
        self, provider: str, shops: Collection[str], bind: Callable[[str, str, tuple[str, ...]], bool]
    ) -> bool:
        """Whether an authentic request that names `shops` may be about this store.

        Where the store's domains are known, it must name one of them. Otherwise the first shop that a
        provider names is trusted and bound by all its names, and every later request of that provider must
        name one of these. Names that are too long count for nothing.

        Args:
            provider: whose request it is.
            shops: ids, and domains in lower case; a request that names none passes.
            bind: `RegistryTable.bind_shop`.
        """
        if not shops:
            return True
        names = {_bare(shop) for shop in shops if len(shop) <= _MAX_NAME_CHARS}
        agreed = self.providers.get(provider)
        if known := self._domains() or (agreed.shops if agreed else ()):
            return not names.isdisjoint(known)
        return bool(names) and bind(self.store_id, provider, tuple(sorted(names)))

    def _domains(self) -> frozenset[str]:
        if self.settings.domains:
            return frozenset(map(_bare, self.settings.domains))
        return frozenset({_bare(self.store_id.lower())}) if "." in self.store_id else frozenset()


def _bare(shop: str) -> str:
    return shop.removeprefix("www.")
