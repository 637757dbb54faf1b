"""How tellings of one checkout become one: part by part, the newest telling that says anything wins.

A *stamp* orders tellings. It sorts as a string: the time, then the place in the funnel (for events of
one second), then the content, so that any two different tellings have an order that does not depend on
which arrived first. Because each part remembers its own stamp, merging is commutative: tellings may come
late, repeated or in any order and end in the same details.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from checkout_recovery.checkout.snapshot import FUNNEL, Address, Cart, Details, Part, Snapshot

CLOCK_SKEW = timedelta(minutes=5)
"""How far ahead of ours a provider's clock may be before its time is not believed."""

_RANK = {stage: rank for rank, stage in enumerate(FUNNEL, start=1)}
_PHONE, _WHOLE_PHONE, _ADDRESS, _CART = "phone", "whole_phone", "address.", "cart."
_SAYS_NOTHING: tuple[Any, ...] = (None, {}, [])


class Merged(NamedTuple):
    details: Details
    sources: dict[str, str]
    """The stamp of each part that a telling older than the newest gave."""


def time_told(snapshot: Snapshot, now: datetime, newest: str) -> datetime:
    """When what a snapshot tells was, UTC.

    Without an event time that can be believed, arrival decides: it is newer than all before it.
    """
    time = snapshot.event_time
    if time is None or is_from_the_future(time, now):
        time = max(now, time_of(newest) + timedelta(microseconds=1)) if newest else now
    return time.astimezone(UTC)


def stamp_of(time: datetime, snapshot: Snapshot, digest: str) -> str:
    """Places a snapshot among the tellings of its checkout; the time is `time_told`, UTC."""
    rank = _RANK.get(snapshot.details.stage or "", 0)
    moment = time.isoformat(timespec="microseconds").removesuffix("+00:00")
    return f"{moment}Z|{rank}|{digest}"


def is_from_the_future(time: datetime, now: datetime) -> bool:
    """Whether a time is further ahead than any provider's clock may be."""
    return time > now + CLOCK_SKEW


def time_of(stamp: str) -> datetime:
    """The time in a stamp."""
    return datetime.fromisoformat(stamp.partition("|")[0])


def digest_of(stamp: str) -> str:
    """The content digest in a stamp; empty for the stamp of nothing."""
    return stamp.rpartition("|")[2]


def merge(held: Details, sources: Mapping[str, str], newest: str, told: Details, stamp: str) -> Merged:
    """Merges a telling into what is held, whose parts have the stamp `newest` unless `sources` names one."""
    if not newest and _is_whole(told):
        return Merged(told, {})  # the first telling
    values = _flatten(held) if newest else {}
    tells = _flatten(told)
    if stamp > newest and values.keys() <= tells.keys() and _is_whole(told):
        return Merged(told, {})  # the usual case: a newer telling that leaves nothing out
    stamps = {part: sources.get(part, newest) for part in values}
    for part, value in tells.items():
        if part not in values or stamp > stamps[part]:
            values[part], stamps[part] = value, stamp
    newest = max(newest, stamp)
    return Merged(_unflatten(values), {part: s for part, s in stamps.items() if s != newest})


def _is_whole(told: Details) -> bool:
    """Whether a telling can stand as it is: no part in it is empty, and its phone lacks no country."""
    if _is_empty(told.address) or _is_empty(told.cart):
        return False
    return told.phone is None or told.phone.is_whole


def _is_empty(part: Part | None) -> bool:
    return part is not None and all(value in _SAYS_NOTHING for value in vars(part).values())


def _flatten(details: Details) -> dict[str, Any]:
    """Every part that is told. A cart with lines tells also what it leaves out; a phone, also its country."""
    parts = _told_in(details)
    if _WHOLE_PHONE in parts:
        parts[_PHONE] = parts[_PHONE].bare()  # its country is that of the whole one
    elif _PHONE in parts and parts[_PHONE].is_whole:
        parts[_WHOLE_PHONE] = parts[_PHONE]
    address, cart = parts.pop("address", None), parts.pop("cart", None)
    if address is not None:
        parts |= {_ADDRESS + name: value for name, value in _told_in(address).items()}
    if cart is not None:
        whole = cart.items is not None
        parts |= {
            _CART + name: value for name, value in vars(cart).items() if whole or value not in _SAYS_NOTHING
        }
    return parts


def _told_in(part: Part) -> dict[str, Any]:
    """The fields of a part that say anything."""
    told = {name: value for name, value in vars(part).items() if value is not None}
    if not part.extra:
        del told["extra"]
    return told


def _unflatten(parts: Mapping[str, Any]) -> Details:
    """Puts parts together again; each was validated when its snapshot was made."""
    plain: dict[str, Any] = {}
    nested: dict[str, dict[str, Any]] = {_ADDRESS: {}, _CART: {}}
    for part, value in parts.items():
        prefix, dot, name = part.partition(".")
        if dot:
            nested[prefix + dot][name] = value
        else:
            plain[part] = value
    if _PHONE in plain and plain[_PHONE].is_whole:
        plain.pop(_WHOLE_PHONE)  # the newest phone is the newest whole one
    elif _WHOLE_PHONE in plain:
        plain[_PHONE] = plain[_PHONE].completed_by(plain[_WHOLE_PHONE])
    if nested[_ADDRESS]:
        plain["address"] = Address.model_construct(**nested[_ADDRESS])
    if nested[_CART]:
        plain["cart"] = Cart.model_construct(**nested[_CART])
    return Details.model_construct(**plain)
