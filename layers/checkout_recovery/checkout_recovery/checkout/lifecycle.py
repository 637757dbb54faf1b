"""The life of a checkout: what a snapshot does to it, and which event that is.

    active ──► abandoned ──► active …        the shopper left, and came back
       │           │
       ▼           ▼
    completed   recovered                    bought; recovered if the checkout had been abandoned before

Completion is final. What arrives after it may still fill in details, but changes neither the status's
meaning nor the event: the write keeps the completion's event, so nobody is told anything new about a
shopper who has paid.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import blake2b
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

from checkout_recovery.checkout.event import Event, EventType, event_id
from checkout_recovery.checkout.merge import digest_of, merge, stamp_of, time_of
from checkout_recovery.checkout.snapshot import NOTHING, Details, Snapshot

REMEMBERED_EVENTS = 128
"""How many provider event ids a checkout remembers; senders retry for at most 48 h (BigCommerce)."""
_MARK_CHARS = 12


class Status(StrEnum):
    ACTIVE = "active"
    ABANDONED = "abandoned"
    COMPLETED = "completed"
    RECOVERED = "recovered"


class Unchanged(StrEnum):
    """Why a snapshot changes nothing."""

    DUPLICATE = "duplicate"
    STALE = "stale"


class Checkout(BaseModel):
    """One checkout of one store as it stands, with the event that its last write was."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    store_id: str
    checkout_id: str
    alias: str | None = None
    sequence: int = 0
    """The item's version: one more with every write. 0 has never been written."""
    status: Status = Status.ACTIVE
    event: Event | None = None
    details: Details = Field(default_factory=lambda: NOTHING)
    newest: str = ""
    """The stamp of the newest telling (see `merge`)."""
    sources: dict[str, str] = {}
    seen: str = ""
    """Marks of the events already applied, newest last."""
    discarded: bool = False
    """The provider deleted the checkout: it is never found abandoned."""
    created_at: datetime | None = None
    """When this system first heard of it."""
    updated_at: datetime | None = None
    """The newest time that any telling names."""
    first_abandoned_at: datetime | None = None
    abandoned_at: datetime | None = None
    """When it was last found abandoned."""
    purchased_at: datetime | None = None
    """The earliest telling of the purchase."""
    due_at: datetime | None = None
    """When it counts as abandoned if nothing else happens; None while nothing is waited for."""

    @property
    def is_complete(self) -> bool:
        """Whether the shopper has bought."""
        return self.purchased_at is not None

    @property
    def was_recovered(self) -> bool:
        """Whether the shopper left before buying; one who is said to have left after it did not."""
        left, bought = self.first_abandoned_at, self.purchased_at
        return left is not None and bought is not None and left <= bought

    def apply(self, snapshot: Snapshot, now: datetime, abandon_after: timedelta) -> Self | Unchanged:
        """Returns the checkout after a snapshot, or why nothing changes.

        Args:
            snapshot: one telling of this checkout, however late.
            now: the time of arrival, UTC.
            abandon_after: how long this checkout may be quiet before it counts as abandoned.
        """
        digest = snapshot.digest()
        stamp = stamp_of(snapshot, digest, now, self.newest)
        mark = _mark(snapshot.event_id, digest)
        if self._has_seen(mark) or stamp == self.newest or self._repeats(snapshot, digest):
            return Unchanged.DUPLICATE
        told = self._told(snapshot, stamp)
        newer = stamp > self.newest
        if not newer and told == self:
            return Unchanged.STALE
        status = _status(told, snapshot, newer)
        changes: dict[str, Any] = {
            "sequence": self.sequence + 1,
            "status": status,
            "created_at": self.created_at or now,
            "seen": (self.seen + mark)[-REMEMBERED_EVENTS * _MARK_CHARS :],
        }
        if newer:
            changes |= {"newest": stamp, "updated_at": time_of(stamp), "discarded": snapshot.discarded}
            waits = status is Status.ACTIVE and not snapshot.discarded
            changes["due_at"] = now + abandon_after if waits else None
        if told.is_complete:
            changes["due_at"] = None
        if not self.is_complete:
            changes["event"] = Event(
                id=event_id(self.store_id, self.checkout_id, self.sequence + 1),
                type=_event_type(self, told, snapshot, newer),
                time=now,
            )
        return told.model_copy(update=changes)

    def retold(self, checkout_id: str) -> Snapshot:
        """All that is known of this checkout, as one telling of the same checkout under another id."""
        return Snapshot(
            checkout_id=checkout_id,
            event_time=self.updated_at,
            completed=self.is_complete,
            discarded=self.discarded,
            details=self.details,
        )

    def _has_seen(self, mark: str) -> bool:
        marks = (self.seen[at : at + _MARK_CHARS] for at in range(0, len(self.seen), _MARK_CHARS))
        return mark in marks

    def _repeats(self, snapshot: Snapshot, digest: str) -> bool:
        """Whether a telling without a time says only what the newest said.

        Under another event id that is a sign of life, unless it says that the shopper has left: a sender
        that names requests and not events would have it told twice.
        """
        anonymous = snapshot.event_id is None or snapshot.abandoned
        return anonymous and snapshot.event_time is None and digest == digest_of(self.newest)

    def _told(self, snapshot: Snapshot, stamp: str) -> Self:
        """Merges what a snapshot says, wherever in time it belongs; the write that it makes comes after."""
        details, sources = merge(self.details, self.sources, self.newest, snapshot.details, stamp)
        time = time_of(stamp)
        facts: dict[str, Any] = {
            "details": details,
            "sources": sources,
            "alias": self.alias or (snapshot.alias if snapshot.alias != self.checkout_id else None),
        }
        if snapshot.completed:
            facts["purchased_at"] = _earliest(self.purchased_at, time)
        if snapshot.abandoned:
            facts["first_abandoned_at"] = _earliest(self.first_abandoned_at, time)
            facts["abandoned_at"] = max(self.abandoned_at or time, time)
        return self.model_copy(update=facts)


def _status(told: Checkout, snapshot: Snapshot, newer: bool) -> Status:
    if told.is_complete:
        return Status.RECOVERED if told.was_recovered else Status.COMPLETED
    if not newer:
        return told.status
    return Status.ABANDONED if snapshot.abandoned else Status.ACTIVE


def _event_type(before: Checkout, told: Checkout, snapshot: Snapshot, newer: bool) -> EventType:
    if told.is_complete:
        return EventType.RECOVERED if told.was_recovered else EventType.COMPLETED
    if newer and snapshot.abandoned:
        return EventType.ABANDONED
    if not before.sequence:
        return EventType.CREATED
    if newer and before.status is Status.ABANDONED and not snapshot.discarded:
        return EventType.RESUMED
    return EventType.UPDATED


def _mark(event: str | None, digest: str) -> str:
    """What is remembered of an applied event: its id with its content, so a reused id hides no news."""
    if event is None:
        return ""
    return blake2b(f"{event}\n{digest}".encode(), digest_size=_MARK_CHARS // 2).hexdigest()


def _earliest(held: datetime | None, told: datetime) -> datetime:
    return min(held, told) if held else told
