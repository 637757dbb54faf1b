"""The life of a checkout: what may happen to it, and which event that is.

    active ──► abandoned ──► active …        the shopper left, and came back
       │           │
       ▼           ▼
    completed   recovered                    bought; recovered if the shopper had left before

Three things happen to a checkout. Each gives the checkout after it, with its event, or says why nothing
changes.

    apply     a snapshot: one telling of the checkout, however late
    abandon   nothing newer was heard of it until `due_at`: the sweep asks
    buy       its shopper has bought, by whatever way we know

*Newer* is a telling whose time is after all others told (see `merge`), or of the last minutes and after we
heard of the others, one of which a fast clock has stamped. A newer telling is activity: it makes an abandoned
checkout active again, and the wait for `due_at` starts again with its arrival. A late one only fills in
details. A snapshot may itself say that the shopper has left: that is an abandonment at once, judged as the
sweep's are. A checkout that its provider has deleted is not waited for until somebody comes back to it.

A purchase is final. What arrives after it may still fill in details, but the write keeps the purchase's
event, so nobody is told anything new about a shopper who has paid. A purchase that was told of the shopper
ends every checkout of theirs whose last activity came before it (`ended_with`).

An abandonment is an event whether or not anybody is told of it. `Suppression` lists why nobody is, in the
order in which the reasons are looked for. What quiet hours postpone is decided again when they end, what
lacks a contact when one is told late; nothing else that is held back is told later. The cooldown counts from
the last abandonment of any checkout of the shopper that was told, this one's included; one that nobody would
be sent starts none.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import blake2b
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

from checkout_recovery.checkout.event import Event, EventType, event_id
from checkout_recovery.checkout.merge import (
    CLOCK_SKEW,
    digest_of,
    is_from_the_future,
    merge,
    stamp_of,
    time_told,
)
from checkout_recovery.checkout.quiet_hours import QuietHours
from checkout_recovery.checkout.shopper import SAME_PURCHASE, Purchase, Shopper, has_contact
from checkout_recovery.checkout.snapshot import NOTHING, Details, Snapshot

REMEMBERED_EVENTS = 128
"""How many provider event ids a checkout remembers; senders retry for at most 48 h (BigCommerce)."""
_MARK_CHARS = 12

TOLD_AFTER_LEAVING = timedelta(hours=1)
"""How long after a shopper has left a provider may say so; systems that publish it wait 10 to 60 minutes."""


class Status(StrEnum):
    ACTIVE = "active"
    ABANDONED = "abandoned"
    COMPLETED = "completed"
    RECOVERED = "recovered"


class Unchanged(StrEnum):
    """Why nothing changes."""

    DUPLICATE = "duplicate"
    """The snapshot has been applied already."""
    STALE = "stale"
    """The snapshot is late and tells nothing new."""
    NOT_DUE = "not_due"
    """Something has happened since the checkout was due, or it is waited for no longer."""


class Suppression(StrEnum):
    """Why an abandonment is not told. The last four depend on the subscription, the others hold for all."""

    COMPLETED = "completed"
    """The shopper has bought."""
    NO_CONTACT = "no_contact"
    """Neither a phone nor an e-mail address is known."""
    COOLDOWN = "cooldown"
    """An abandonment of the same shopper has just been told."""
    QUIET_HOURS = "quiet_hours"
    """It is night at the store."""
    CONSENT = "consent"
    """The shopper has not agreed, or has refused, to be messaged."""
    MISSING_FIELD = "missing_field"
    """The subscription requires a detail that is not known."""
    PAUSED = "paused"
    """The subscription was paused when the event came: it holds for every event."""
    DISABLED = "disabled"
    """We had stopped sending to the subscription: the same."""


@dataclass(frozen=True, slots=True)
class Policy:
    """When a store's abandonments are told."""

    cooldown: timedelta
    """How long after one abandonment the same shopper's next is not told."""
    quiet_hours: QuietHours | None = None


class Checkout(BaseModel):
    """One checkout of one store as it stands, with the event that its last write was."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")

    store_id: str
    checkout_id: str
    alias: str | None = None
    sequence: int = 0
    """The item's version: one more with every write. 0 has never been written."""
    erased_at: int = 0
    """The version with which an earlier one of this id was erased: from there on no event id comes twice."""
    status: Status = Status.ACTIVE
    event: Event | None = None
    details: Details = Field(default_factory=lambda: NOTHING)
    newest: str = ""
    """The stamp of the newest telling (see `merge`)."""
    sources: dict[str, str] = Field(default_factory=dict)
    seen: str = ""
    """Marks of the events already applied, newest last."""
    discarded: bool = False
    """The provider deleted the checkout: it is never found abandoned."""
    handles: tuple[str, ...] = ()
    """By what its shopper is known elsewhere (see `shopper`), also from details that were corrected since."""
    created_at: datetime | None = None
    """When this system first heard of it."""
    active_at: datetime | None = None
    """When this system heard the newest telling."""
    updated_at: datetime | None = None
    """The newest time that any telling names."""
    is_dated: bool = False
    """Whether the newest telling said when it was; else `updated_at` is when it arrived."""
    left_at: datetime | None = None
    """The earliest time at which a provider said that the shopper had left."""
    found_at: datetime | None = None
    """When the sweep first found it quiet."""
    abandoned_at: datetime | None = None
    """When it was last found abandoned."""
    told_at: datetime | None = None
    """When an abandonment of it was last told to anybody."""
    suppressed: Suppression | None = None
    """Why nobody is told of its last abandonment."""
    purchased_at: datetime | None = None
    """The earliest telling of the purchase."""
    due_at: datetime | None = None
    """When an abandonment is decided if nothing newer is heard; None while nothing is waited for."""

    # ------------------------------------------------------------ what happens

    def apply(self, snapshot: Snapshot, now: datetime, abandon_after: timedelta) -> Self | Unchanged:
        """Returns the checkout after a snapshot, or why nothing changes.

        An abandonment that the snapshot itself tells is still to be judged.

        Args:
            snapshot: one telling of this checkout, however late.
            now: the time of arrival, UTC.
            abandon_after: how long this checkout may be quiet before it counts as abandoned.
        """
        digest = snapshot.digest()
        time = time_told(snapshot, now, self.newest)
        stamp = stamp_of(time, snapshot, digest)
        mark = _mark(snapshot.event_id, digest)
        if self._has_seen(mark) or stamp == self.newest or self._repeats(snapshot, digest):
            return Unchanged.DUPLICATE
        told = self._told(snapshot, time, stamp)
        newer = stamp > self.newest
        active = newer or self._is_alive(snapshot, now)
        if not active and all(getattr(self, fact) == value for fact, value in told.items()):
            return Unchanged.STALE
        end = _end(told["purchased_at"], told["left_at"], self.found_at)
        status = end or _status(self, snapshot, active)
        changes = told | {
            "sequence": self.sequence + 1,
            "status": status,
            "created_at": self.created_at or now,
        }
        if _is_remembered(snapshot, now):
            changes["seen"] = (self.seen + mark)[-REMEMBERED_EVENTS * _MARK_CHARS :]
        if newer:
            changes |= {
                "newest": stamp,
                "updated_at": time,
                "is_dated": time == snapshot.event_time,
                "discarded": snapshot.discarded,
            }
        if active:
            changes["active_at"] = now
        gone = snapshot.discarded or changes.get("discarded", self.discarded)
        waits = status is Status.ACTIVE and not gone
        if active and not self.has_left_already(snapshot, now):
            changes |= {"suppressed": None, "due_at": now + abandon_after if waits else None}
        elif self.suppressed is Suppression.NO_CONTACT and has_contact(told["details"]):
            changes["due_at"] = now
        if end:
            changes |= {"due_at": None, "suppressed": None}
        if not self.is_complete:
            changes["event"] = self._event(_event_type(self, snapshot, end, active, now), now)
        return self.model_copy(update=changes)

    def abandon(
        self, shopper: Shopper, policy: Policy, now: datetime, *, wanted: bool = True
    ) -> Self | Unchanged:
        """Returns the checkout once its time has come: abandoned, or bought elsewhere.

        Args:
            shopper: what is known of its shopper over all their checkouts.
            policy: the store's.
            now: UTC.
            wanted: whether there is anybody to tell.
        """
        if self.is_complete or self.due_at is None or now < self.due_at:
            return Unchanged.NOT_DUE
        if shopper.purchase and self.ended_with(shopper.purchase):
            return self.buy(shopper.purchase, now)
        changes: dict[str, Any] = {"sequence": self.sequence + 1, "status": Status.ABANDONED}
        changes["event"] = self._event(EventType.ABANDONED, now)
        if self.status is Status.ACTIVE:
            changes |= {"abandoned_at": now, "found_at": self.found_at or now}
        found = self.model_copy(update=changes).judged(shopper, policy, now, wanted=wanted)
        if found.suppressed is Suppression.COMPLETED:
            return found.model_copy(update={"found_at": self.found_at})
        return found

    def judged(self, shopper: Shopper, policy: Policy, now: datetime, *, wanted: bool = True) -> Self:
        """Decides, of an abandonment that is about to be written, whether it is told.

        The arguments are those of `abandon`.
        """
        if shopper.purchase and self.ended_with(shopper.purchase):
            return self.joined(shopper.purchase.told_of(self.checkout_id), now)
        quiet_until = policy.quiet_hours.until(now) if policy.quiet_hours else None
        why = self._why_suppressed(shopper, policy, now, quiet_until)
        told = why is None and wanted
        return self.model_copy(
            update={
                "suppressed": why,
                "told_at": now if told else self.told_at,
                "due_at": quiet_until if why is Suppression.QUIET_HOURS else None,
            }
        )

    def buy(self, purchase: Purchase, now: datetime) -> Self | Unchanged:
        """Returns the checkout after a purchase that was not told of it but of its shopper."""
        if self.is_complete or self.discarded or not self.is_known or not self.ended_with(purchase):
            return Unchanged.STALE
        return self.apply(purchase.told_of(self.checkout_id), now, timedelta())

    def joined(self, snapshot: Snapshot, now: datetime) -> Self:
        """The checkout after another telling that belongs to the write that is about to be made."""
        after = self.apply(snapshot, now, timedelta())
        if isinstance(after, Unchanged):
            return self
        changes: dict[str, Any] = {"sequence": self.sequence, "event": self.event}
        if not after.is_complete and after.due_at:
            changes["due_at"] = self.due_at
        if after.is_complete and not self.is_complete and after.event:
            own = event_id(self.store_id, self.checkout_id, self.sequence)
            changes["event"] = after.event.model_copy(update={"id": own})
        return after.model_copy(update=changes)

    def retold(self, checkout_id: str) -> Snapshot:
        """All that is known of this checkout, as one telling of the same checkout under another id."""
        return Snapshot(
            checkout_id=checkout_id,
            event_time=self.updated_at,
            completed=self.is_complete,
            discarded=self.discarded,
            details=self.details,
        )

    # ------------------------------------------------------------ what is true

    @property
    def is_known(self) -> bool:
        """Whether anything was told of it, since it was erased if it was."""
        return self.sequence > self.erased_at

    @property
    def is_new(self) -> bool:
        """Whether its last write was the first that there is of it."""
        return self.sequence == self.erased_at + 1

    @property
    def is_complete(self) -> bool:
        """Whether the shopper has bought."""
        return self.purchased_at is not None

    @property
    def was_recovered(self) -> bool:
        """Whether the shopper left before buying.

        What the sweep found counts by itself: we had not heard of a purchase then. What a provider says to
        have happened after the purchase does not count.
        """
        return _end(self.purchased_at, self.left_at, self.found_at) is Status.RECOVERED

    @property
    def recovered_after(self) -> timedelta | None:
        """From when it was last found abandoned to the purchase; None where it was not recovered.

        A purchase that by its teller's clock came before the sweep is taken for when we heard of it; a
        provider's word that the shopper left after buying does not count.
        """
        if not (self.was_recovered and self.abandoned_at and self.purchased_at and self.event):
            return None
        left, bought = self.abandoned_at, self.purchased_at
        if bought < left:
            if self.found_at:
                bought = self.event.time
            else:
                left = self.left_at or left
        return max(bought - left, timedelta())

    @property
    def purchase(self) -> Purchase | None:
        """Its purchase, as it counts for the shopper's other checkouts."""
        if self.purchased_at is None or self.event is None:
            return None
        told = self.details.completed_at
        time = min(told, self.purchased_at) if told else self.purchased_at
        return Purchase(time=time, heard_at=self.event.time, order_id=self.details.order_id)

    def ended_with(self, purchase: Purchase) -> bool:
        """Whether a purchase by the same shopper ends this too: it came after the last activity here.

        It must have come soon enough to be of it.
        """
        if self.active_at is None or purchase.heard_at - self.active_at > SAME_PURCHASE:
            return False
        return self._came_before(purchase)

    def is_over_with(self, purchase: Purchase) -> bool:
        """Whether what was last told here is not to be told as abandoned any more, after a purchase."""
        return self._came_before(purchase) or self._may_be_late(purchase)

    # ------------------------------------------------------------ how

    def _why_suppressed(
        self, shopper: Shopper, policy: Policy, now: datetime, quiet_until: datetime | None
    ) -> Suppression | None:
        bought = shopper.purchase
        if bought and self.is_over_with(bought):
            return Suppression.COMPLETED
        if not has_contact(self.details):
            return Suppression.NO_CONTACT
        told = [at for at in (self.told_at, shopper.told_at) if at]
        if told and now < max(told) + policy.cooldown:
            return Suppression.COOLDOWN
        return Suppression.QUIET_HOURS if quiet_until else None

    def _came_before(self, purchase: Purchase) -> bool:
        """Whether the last activity here came before a purchase.

        Of what was heard before the purchase was, clocks may differ. What was heard after it began later,
        unless it says that it did not.
        """
        if self.active_at is None or self.updated_at is None:
            return False
        heard_before = self.active_at <= purchase.heard_at
        if not self.is_dated:
            return heard_before
        return self.updated_at <= purchase.time + (CLOCK_SKEW if heard_before else timedelta())

    def _may_be_late(self, purchase: Purchase) -> bool:
        """Whether what was last told, though it came after a purchase, may have happened before it.

        It may if it came soon after: clocks differ, and tellings without a time are late at times. Or if it
        is a provider's word that the shopper has left: some wait an hour before they say so.
        """
        if self.active_at is None or self.updated_at is None:
            return False
        doubt = TOLD_AFTER_LEAVING if self._left_is_told else CLOCK_SKEW
        if self.is_dated:
            return self.updated_at <= purchase.time + doubt
        return self.active_at <= purchase.heard_at + doubt

    @property
    def _left_is_told(self) -> bool:
        """Whether the newest telling is a provider's word that the shopper has left."""
        return self.abandoned_at is not None and self.abandoned_at == self.updated_at

    def _event(self, kind: EventType, now: datetime) -> Event:
        return Event(id=event_id(self.store_id, self.checkout_id, self.sequence + 1), type=kind, time=now)

    def has_left_already(self, snapshot: Snapshot, now: datetime) -> bool:
        """Whether a provider's word that the shopper has left is no news: nobody has come back since.

        A provider that only tells of those who left never says that one came back: its next word, of much
        later, is of another time.
        """
        if not snapshot.abandoned or self.status is not Status.ABANDONED:
            return False
        since = (snapshot.event_time or now) - self.abandoned_at if self.abandoned_at else timedelta()
        return not self._left_is_told or since <= TOLD_AFTER_LEAVING

    def _is_alive(self, snapshot: Snapshot, now: datetime) -> bool:
        """Whether a telling that sorts before the newest is of something that happens now.

        The clock that stamped the newest was fast: it is of minutes ago at most, and of after we heard that.
        """
        at, heard = snapshot.event_time, self.active_at
        return at is not None and heard is not None and max(heard, now - CLOCK_SKEW) < at

    def _has_seen(self, mark: str) -> bool:
        if mark not in self.seen:
            return False
        marks = (self.seen[at : at + _MARK_CHARS] for at in range(0, len(self.seen), _MARK_CHARS))
        return mark in marks

    def _repeats(self, snapshot: Snapshot, digest: str) -> bool:
        """Whether a telling without a time says only what the newest said.

        Under another event id that is a sign of life, unless it says that the shopper has left: a sender
        that names requests and not events would have it told twice.
        """
        anonymous = snapshot.event_id is None or snapshot.abandoned
        return anonymous and snapshot.event_time is None and digest == digest_of(self.newest)

    def _told(self, snapshot: Snapshot, time: datetime, stamp: str) -> dict[str, Any]:
        """Merges what a snapshot says, wherever in time it belongs: the fields that may change with it."""
        details, sources = merge(self.details, self.sources, self.newest, snapshot.details, stamp)
        completed, abandoned = snapshot.completed, snapshot.abandoned
        return {
            "details": details,
            "sources": sources,
            "alias": self.alias or (snapshot.alias if snapshot.alias != self.checkout_id else None),
            "purchased_at": _earliest(self.purchased_at, time) if completed else self.purchased_at,
            "left_at": _earliest(self.left_at, time) if abandoned else self.left_at,
            "abandoned_at": max(self.abandoned_at or time, time) if abandoned else self.abandoned_at,
        }


def _end(bought: datetime | None, left: datetime | None, found: datetime | None) -> Status | None:
    """What a purchase makes of a checkout (see `Checkout.was_recovered`); None as long as there is none."""
    if bought is None:
        return None
    recovered = found is not None or (left is not None and left <= bought)
    return Status.RECOVERED if recovered else Status.COMPLETED


def _status(before: Checkout, snapshot: Snapshot, active: bool) -> Status:
    if not active:
        return before.status
    return Status.ABANDONED if snapshot.abandoned else Status.ACTIVE


def _event_type(
    before: Checkout, snapshot: Snapshot, end: Status | None, active: bool, now: datetime
) -> EventType:
    if end:
        return EventType.RECOVERED if end is Status.RECOVERED else EventType.COMPLETED
    if active and snapshot.abandoned and not before.has_left_already(snapshot, now):
        return EventType.ABANDONED
    if not before.is_known:
        return EventType.CREATED
    if active and before.status is Status.ABANDONED and not (snapshot.discarded or snapshot.abandoned):
        return EventType.RESUMED
    return EventType.UPDATED


def _mark(event: str | None, digest: str) -> str:
    """What is remembered of an applied event: its id with its content, so a reused id hides no news."""
    return blake2b(f"{event}\n{digest}".encode(), digest_size=_MARK_CHARS // 2).hexdigest()


def _is_remembered(snapshot: Snapshot, now: datetime) -> bool:
    """Whether a snapshot told again is known by its mark.

    By its stamp it is where it says when it was; but a time from the future is not in the stamp.
    """
    time = snapshot.event_time
    return snapshot.event_id is not None or (time is not None and is_from_the_future(time, now))


def _earliest(held: datetime | None, told: datetime) -> datetime:
    return min(held, told) if held else told
