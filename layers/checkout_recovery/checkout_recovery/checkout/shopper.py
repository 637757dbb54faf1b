"""A shopper, as far as several checkouts of one store can be told to be theirs.

Nobody signs in to a checkout. Two checkouts are one shopper's if they share a cart or a phone; by an e-mail
address only where one of them has no phone, because two phones with one e-mail address are two people who
would each have to be messaged.

Each of these data is a *handle*: its kind and a keyed hash, so that the datum itself is no table's key.
"""

from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import blake2b
from typing import Self

from pydantic import BaseModel, ConfigDict

from checkout_recovery.checkout.merge import is_from_the_future
from checkout_recovery.checkout.phone import Phone
from checkout_recovery.checkout.snapshot import Details, Snapshot

_MIN_PHONE_DIGITS, _MAX_PHONE_DIGITS = 10, 15
"""Of a number that no numbering plan knows: with fewer digits it is half typed, and half of many numbers."""
SAME_PURCHASE = timedelta(days=7)
"""How old a checkout's last activity may be for a purchase by the same shopper to be taken for its end."""


class Kind(StrEnum):
    """What a handle is made of, from the strongest proof that two checkouts are one shopper's."""

    CART = "cart"
    PHONE = "phone"
    EMAIL = "email"
    ONLY_EMAIL = "only_email"
    """The e-mail address of who has no phone: known by it to those who have one."""


class Purchase(BaseModel):
    """That a shopper has bought."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")

    time: datetime
    """When, UTC: by the teller's clock, or else when we heard of it."""
    heard_at: datetime
    """When we heard of it, UTC."""
    order_id: str | None = None

    @property
    def is_dated(self) -> bool:
        """Whether its teller said when it was."""
        return self.time != self.heard_at

    @classmethod
    def told(
        cls,
        time: datetime | None,
        heard_at: datetime,
        order_id: str | None,
        within: timedelta = SAME_PURCHASE,
    ) -> Self:
        """A purchase as it is told. A time in the future is not believed, nor one too long ago.

        Args:
            time: when it was, by its teller.
            heard_at: when we heard of it, UTC; it counts from then where the time is not believed.
            order_id: the shop's.
            within: how long ago it may have been. Shops tell of orders within hours.
        """
        is_believed = (
            time is not None and not is_from_the_future(time, heard_at) and heard_at - time <= within
        )
        return cls(time=time if time and is_believed else heard_at, heard_at=heard_at, order_id=order_id)

    def told_of(self, checkout_id: str) -> Snapshot:
        """The purchase as a telling of one of the shopper's checkouts."""
        return Snapshot(
            checkout_id=checkout_id,
            event_id=f"order {self.order_id}" if self.order_id else None,
            event_time=self.time,
            completed=True,
            details=Details(order_id=self.order_id, completed_at=self.time if self.is_dated else None),
        )


class Shopper(BaseModel):
    """What is known of a shopper over all their checkouts."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")

    told_at: datetime | None = None
    """When an abandonment of theirs was last told to anybody."""
    purchase: Purchase | None = None
    """Their latest."""

    def joined(self, other: "Shopper") -> Self:
        """The same shopper by another handle."""
        told = [at for at in (self.told_at, other.told_at) if at]
        bought = [purchase for purchase in (self.purchase, other.purchase) if purchase]
        return self.model_copy(
            update={
                "told_at": max(told, default=None),
                "purchase": max(bought, key=lambda purchase: purchase.time, default=None),
            }
        )


UNKNOWN = Shopper()


def identities(details: Details) -> Iterator[tuple[Kind, str]]:
    """Yields what tells a shopper apart, in the form in which it is compared."""
    if details.cart_token:
        yield Kind.CART, details.cart_token
    for number in dict.fromkeys(phone_identities(details.phone) + phone_identities(details.whole_phone)):
        yield Kind.PHONE, number
    if email := email_identity(details.email):
        yield Kind.EMAIL, email


def has_contact(details: Details) -> bool:
    """Whether there is a phone or an e-mail address that a message could reach.

    The phone is the one that is sent: half typed, it reaches nobody, whatever was known before.
    """
    return bool(phone_identities(details.phone)) or email_identity(details.email) is not None


def phone_identities(phone: Phone | None) -> list[str]:
    """A number's national digits: the same for one number told with and without its country.

    Two countries can share a number. That one shop has both shoppers within a day is so rare that one
    message too few is the better mistake.
    """
    if phone is None:
        return []
    numbers = phone.national_numbers()
    if phone.e164:
        return list(numbers)
    return [digits for digits in numbers if _MIN_PHONE_DIGITS <= len(digits) <= _MAX_PHONE_DIGITS]


def email_identity(email: str | None) -> str | None:
    """An e-mail address without the letters' case; None for one half typed."""
    address = (email or "").strip().casefold()
    name, _, domain = address.rpartition("@")
    return address if name and "." in domain.strip(".") else None


def handle(key: bytes, store_id: str, kind: Kind, identity: str) -> str:
    """Hashes an identity: its kind and 32 hex digits that nobody without the key can connect with the datum.

    Args:
        key: the stack's secret, up to 64 bytes.
        store_id: shoppers of two stores are never connected.
        kind: what `identity` is.
        identity: from `identities`.
    """
    digest = blake2b(f"{store_id}\n{kind}\n{identity}".encode(), digest_size=16, key=key).hexdigest()
    return f"{kind}:{digest}"


def written_under(handles: Collection[str]) -> tuple[str, ...]:
    """The handles under which what happens to a shopper is written down."""
    if phones_of(handles):
        return tuple(handles)
    return (*handles, *(_only(each) for each in handles if _kind(each) == Kind.EMAIL))


def looked_up_by(handles: Collection[str]) -> tuple[str, ...]:
    """The handles under which is found what happened to the same shopper, wherever it was written down."""
    if not phones_of(handles):
        return tuple(handles)
    return tuple(_only(each) if _kind(each) == Kind.EMAIL else each for each in handles)


def is_one_shopper(handles: Collection[str], others: Collection[str]) -> bool:
    """Whether two checkouts, or a checkout and a purchase, are one shopper's."""
    shared = {_kind(each) for each in set(handles) & set(others)}
    if shared & {Kind.CART, Kind.PHONE}:
        return True
    return Kind.EMAIL in shared and not (phones_of(handles) and phones_of(others))


def emails_of(handles: Collection[str]) -> tuple[str, ...]:
    """Those of the handles that are e-mail addresses."""
    return tuple(each for each in handles if _kind(each) == Kind.EMAIL)


def phones_of(handles: Collection[str]) -> tuple[str, ...]:
    """Those of the handles that are phones."""
    return tuple(each for each in handles if _kind(each) == Kind.PHONE)


def _kind(one: str) -> str:
    return one.partition(":")[0]


def _only(email_handle: str) -> str:
    return f"{Kind.ONLY_EMAIL}:{email_handle.partition(':')[2]}"
