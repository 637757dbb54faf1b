"""How contracts write what JSON has no word for: times, amounts as strings, and members nobody described."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from checkout_recovery import json_codec
from checkout_recovery.checkout.event import Event
from checkout_recovery.checkout.lifecycle import Checkout
from checkout_recovery.checkout.snapshot import Consent

Body = dict[str, Any]
OPT_IN = {Consent.GRANTED: True, Consent.DENIED: False, None: None}
"""Consent as the providers' contracts write it."""
EXTRA = "extra"


def event_of(checkout: Checkout) -> Event:
    """Returns the event that the checkout's last write was.

    Raises:
        ValueError: the checkout has never been written, so there is nothing to tell.
    """
    if checkout.event is None:
        raise ValueError("a checkout without an event has nothing to tell")
    return checkout.event


def encode(body: Body) -> bytes:
    """Writes a body; the same members in the same order are the same bytes."""
    return json_codec.dumps(body).encode()


def instant(time: datetime | None) -> str | None:
    """Writes a time as ISO 8601 in UTC: ``2026-05-07T10:00:00Z``, with a fraction where there is one."""
    return time.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z" if time else None


def whole_seconds(span: timedelta | None) -> int | None:
    """Writes how long something took, without the fraction of a second."""
    return span // timedelta(seconds=1) if span is not None else None


def decimal_string(amount: Decimal | None) -> str | None:
    """Writes an amount with the digits that it has, never with an exponent."""
    return format(amount, "f") if amount is not None else None


def full_name(name: str | None, first: str | None, last: str | None) -> str | None:
    """The whole name: as given, or else put together from its parts."""
    return name or " ".join(filter(None, (first, last))) or None


def put_back(members: Body, extra: Mapping[str, Any]) -> Body:
    """Adds what a provider sent and nobody described to the object that it came in.

    A described member is never overwritten, not even where it is null, so its type holds: what claims its
    name stands in the object's ``extra``. Objects meet member by member.
    """
    taken = {}
    for name, value in extra.items():
        if name not in members:
            members[name] = value
        elif isinstance(members[name], dict) and isinstance(value, dict):
            members[name] = put_back(dict(members[name]), value)
        elif members[name] != value:
            taken[name] = value
    if taken:
        held = members.get(EXTRA, {})
        members[EXTRA] = put_back(taken, held if isinstance(held, dict) else {EXTRA: held})
    return members


def known(**members: Any) -> Body:
    """The members that somebody told: for what a contract's publisher has no place."""
    return {name: value for name, value in members.items() if value is not None}
