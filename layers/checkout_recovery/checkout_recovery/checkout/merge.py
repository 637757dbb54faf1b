"""How tellings of one checkout become one: part by part, the newest telling that says anything wins.

A *stamp* orders tellings. It sorts as a string: the time, then the place in the funnel (for events of
one second), then the content, so that any two different tellings have an order that does not depend on
which arrived first. Because each part remembers its own stamp, merging is commutative: tellings may come
late, repeated or in any order and end in the same details.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from checkout_recovery.checkout.snapshot import FUNNEL, Address, Details, Snapshot

CLOCK_SKEW = timedelta(minutes=5)
"""How far ahead of ours a provider's clock may be before its time is not believed."""

_RANK = {stage: rank for rank, stage in enumerate(FUNNEL, start=1)}
_ADDRESS = "address."
_NO_ADDRESS = Address()
"""An address that says nothing is none."""


class Merged(NamedTuple):
    details: Details
    sources: dict[str, str]
    """The stamp of each part that a telling older than the newest gave."""


def stamp_of(snapshot: Snapshot, digest: str, now: datetime, newest: str) -> str:
    """Places a snapshot among the tellings of its checkout.

    Without an event time that can be believed, arrival decides: it is newer than all before it.
    """
    time, rank = snapshot.event_time, _RANK.get(snapshot.details.stage or "", 0)
    if time is None or time > now + CLOCK_SKEW:
        time = max(now, time_of(newest) + timedelta(microseconds=1)) if newest else now
    moment = time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
    return f"{moment}Z|{rank}|{digest}"


def time_of(stamp: str) -> datetime:
    """The time in a stamp."""
    return datetime.fromisoformat(stamp.partition("|")[0])


def digest_of(stamp: str) -> str:
    """The content digest in a stamp; empty for the stamp of nothing."""
    return stamp.rpartition("|")[2]


def merge(held: Details, sources: Mapping[str, str], newest: str, told: Details, stamp: str) -> Merged:
    """Merges a telling into what is held, whose parts have the stamp `newest` unless `sources` names one."""
    values, tells = _flatten(held), _flatten(told)
    if stamp > newest and values.keys() <= tells.keys() and told.address != _NO_ADDRESS:
        return Merged(told, {})  # the usual case: a newer telling that leaves nothing out
    stamps = {part: sources.get(part, newest) for part in values}
    for part, value in tells.items():
        if part not in values or stamp > stamps[part]:
            values[part], stamps[part] = value, stamp
    newest = max(newest, stamp)
    return Merged(_unflatten(values), {part: s for part, s in stamps.items() if s != newest})


def _flatten(details: Details) -> dict[str, Any]:
    parts = {name: value for name, value in details if value is not None and value != {}}
    address = parts.pop("address", ())
    return parts | {_ADDRESS + name: value for name, value in address if value is not None and value != {}}


def _unflatten(parts: Mapping[str, Any]) -> Details:
    plain = {name: value for name, value in parts.items() if not name.startswith(_ADDRESS)}
    typed = {name.removeprefix(_ADDRESS): value for name, value in parts.items() if name not in plain}
    if typed:
        plain["address"] = Address.model_construct(**typed)
    return Details.model_construct(**plain)  # each part was validated when its snapshot was made
