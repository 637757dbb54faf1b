"""A subscription: one receiver that wants the events of one store in one contract's words."""

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from checkout_recovery.checkout.event import EventType
from checkout_recovery.checkout.lifecycle import Checkout, Suppression
from checkout_recovery.checkout.shopper import email_identity, phone_identities
from checkout_recovery.checkout.snapshot import Consent, Details
from checkout_recovery.signing import Recipe

SUBSCRIPTION_ID = re.compile(r"sub_[0-9A-HJKMNP-TV-Z]{26}", re.ASCII)

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32: it sorts as its numbers do
_ID_CHARS = 26
_RANDOM_BITS = 80


class ConsentRule(StrEnum):
    """Whose abandonments a subscription is told of."""

    NOT_DENIED = "not_denied"
    """Of all shoppers but those who have refused to be messaged."""
    GRANTED = "granted"
    """Only of those who have agreed. Unknown is not agreed."""


class Required(StrEnum):
    """A detail without which a subscription is not told of an abandonment."""

    PHONE = "phone"
    EMAIL = "email"
    CHECKOUT_URL = "checkout_url"
    NAME = "name"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A subscription as it is registered; its keys and the values of its headers are in SSM."""

    subscription_id: str
    store_id: str
    topic: str
    version: str
    callback_url: str = field(repr=False)
    """May hold a credential in its path: never in a log."""
    events: tuple[EventType, ...]
    consent: ConsentRule = ConsentRule.NOT_DENIED
    requires: tuple[Required, ...] = ()
    rate_limit_per_second: int | None = None
    """How many events a second it is sent at most; None without a limit."""
    paused: bool = False
    recipe: Recipe | None = None
    """How the contract's own signature is made, where it leaves a choice."""
    header_names: tuple[str, ...] = ()
    """The headers that the subscriber asked for; the values are secrets."""
    key_version: int
    """The version that a cached secret must have to be current (see `secrets`)."""
    previous_key_expires_at: datetime | None = None
    """Until when the key before the last rotation signs along."""
    disabled_reason: str | None = None
    """Why the system stopped sending; None while it sends."""
    created_at: datetime
    updated_at: datetime

    def wants(self, event: EventType) -> bool:
        """Whether this event is to be sent to the subscriber."""
        return event in self.events and self.stopped is None

    @property
    def stopped(self) -> Suppression | None:
        """Why nothing is sent to the subscriber for now; None where it is."""
        if self.disabled_reason is not None:
            return Suppression.DISABLED
        return Suppression.PAUSED if self.paused else None

    def suppresses(self, details: Details) -> Suppression | None:
        """Why the subscriber is not told of an abandonment that others may be told of; None where it is."""
        refused = details.consent is Consent.DENIED
        if refused or (self.consent is ConsentRule.GRANTED and details.consent is not Consent.GRANTED):
            return Suppression.CONSENT
        if any(not _IS_KNOWN[required](details) for required in self.requires):
            return Suppression.MISSING_FIELD
        return None

    def is_told_of_abandonment(self, checkout: Checkout) -> bool:
        """Whether the subscriber is sent this checkout's abandonment, unless it is held back from all."""
        return self.wants(EventType.ABANDONED) and self.suppresses(checkout.details) is None


_IS_KNOWN: dict[Required, Callable[[Details], bool]] = {
    Required.PHONE: lambda details: bool(phone_identities(details.phone)),
    Required.EMAIL: lambda details: email_identity(details.email) is not None,
    Required.CHECKOUT_URL: lambda details: bool(details.checkout_url),
    Required.NAME: lambda details: bool(details.name or details.first_name or details.last_name),
}


def new_subscription_id(now: datetime, random_bits: Callable[[int], int] = secrets.randbits) -> str:
    """Makes an id that sorts by its time: ``sub_`` and a ULID."""
    return sortable_id("sub_", now, random_bits)


def sortable_id(prefix: str, now: datetime, random_bits: Callable[[int], int] = secrets.randbits) -> str:
    """Makes an id that sorts by its time: a ULID (48 bits of milliseconds, 80 random bits) after a prefix."""
    number = int(now.timestamp() * 1000) << _RANDOM_BITS | random_bits(_RANDOM_BITS)
    digits = (_ALPHABET[number >> 5 * place & 31] for place in reversed(range(_ID_CHARS)))
    return prefix + "".join(digits)
