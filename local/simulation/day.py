"""What happened on a simulated day, and when word of it came: the truth, which model, world and oracle share.

The system is told only what a webhook says. `happened_at`, who a person is and what they bought are for the
oracle alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

TIMEZONE = "Asia/Kolkata"
KOLKATA = ZoneInfo(TIMEZONE)


class Source(StrEnum):
    """By which call a store's checkouts are told."""

    OWN = "POST /v1/checkouts"
    ENVELOPE = "FlexyPe 2026-05"
    FLAT = "FlexyPe 2025-09"
    """It never says when anything happened."""


@dataclass(frozen=True, slots=True)
class Receiver:
    """A subscription, as its owner would describe it."""

    subscription_id: str
    topic: str
    version: str
    events: frozenset[str]
    wants_agreement: bool = False
    """Only shoppers who have agreed; else all but those who have refused."""
    requires: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Shop:
    """A store: how it is set, who listens, and how well its provider behaves."""

    store_id: str
    source: Source
    share: float
    """Of all shoppers."""
    abandon_after: timedelta
    cooldown: timedelta
    receivers: tuple[Receiver, ...]
    """The first of them hears everything."""
    quiet_hours: tuple[str, str] | None = None
    """Start and end by the clock of `TIMEZONE`."""
    clock_ahead: timedelta = timedelta()
    """How far the provider's clock is ahead of ours; negative where it is behind."""
    outages: tuple[tuple[datetime, datetime], ...] = ()
    """When the provider sent nothing; all of it came afterwards."""

    def awake(self, moment: datetime) -> datetime:
        """Returns the first moment from this one on that is not in the quiet hours."""
        if self.quiet_hours is None:
            return moment
        start, end = map(time.fromisoformat, self.quiet_hours)
        local = moment.astimezone(KOLKATA)
        for day in (-1, 0):
            date = local.date() + timedelta(days=day)
            begins = datetime.combine(date, start, KOLKATA)
            ends = datetime.combine(date + timedelta(days=end < start), end, KOLKATA)
            if begins <= local < ends:
                return ends.astimezone(UTC)
        return moment


@dataclass(frozen=True, slots=True)
class Webhook:
    """One request: a telling of a checkout, or an order."""

    name: str
    happened_at: datetime
    said: str | None
    """The time that it names, as it is written; None where it names none."""
    said_at: datetime | None
    """The same, where it can be read."""
    checkout_id: str | None
    """None where an order names none."""
    event_id: str | None = None
    phone: str | None = None
    """Its ten digits, or fewer where it is half typed. How they are written is `spelling`."""
    spelling: int = 0
    email: str | None = None
    cart_token: str | None = None
    consent: str | None = None
    has_name: bool = False
    has_url: bool = False
    stage: str = ""
    total: int = 0
    bought: bool = False
    order_id: str | None = None
    is_order: bool = False
    names_token: bool = False
    """The order calls the checkout by its token."""
    arrivals: tuple[datetime, ...] = ()
    """When it came, and came again."""


@dataclass(frozen=True, slots=True)
class Person:
    """One shopper, who is one however many phones, addresses and devices they use."""

    name: str
    shop: Shop
    webhooks: tuple[Webhook, ...]
    purchases: tuple[datetime, ...]
    """When they really bought."""


@dataclass(frozen=True, slots=True)
class Day:
    """Everything that happens."""

    start: datetime
    shops: tuple[Shop, ...]
    people: Sequence[Person]

    @property
    def end(self) -> datetime:
        """When the last word has come and the last decision is made."""
        last = dict.fromkeys((shop.store_id for shop in self.shops), self.start)
        for person in self.people:
            came = [webhook.arrivals[-1] for webhook in person.webhooks]
            last[person.shop.store_id] = max(last[person.shop.store_id], *came)
        decided = [shop.awake(last[shop.store_id] + shop.abandon_after) for shop in self.shops]
        return max(decided) + timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Told:
    """One delivery of one event to one receiver: what left the system, or why it did not."""

    at: datetime
    store_id: str
    checkout_id: str
    sequence: int
    event_id: str
    event: str
    """``checkout.abandoned`` and the like."""
    subscription_id: str
    suppressed: str | None
    """Why it was not sent."""

    @property
    def is_message(self) -> bool:
        """Whether a shopper is messaged for it."""
        return self.event == ABANDONED and self.suppressed is None


CREATED, UPDATED = "checkout.created", "checkout.updated"
ABANDONED, RESUMED = "checkout.abandoned", "checkout.resumed"
COMPLETED, RECOVERED = "checkout.completed", "checkout.recovered"
