"""What holds whatever happens: a day with one shopper, three checkouts and a store's clock.

Steps are drawn at random: the shopper visits, leaves, buys, deletes; providers tell it at once or late, with
a time or without; the sweep looks. The world below writes what comes of it as the tables do, and notes what
*really* happened, by which every message is judged.

Providers are honest here: a time that they tell is right, what they tell without one is at most
`CLOCK_SKEW` late, nothing is more than two days late, and they say within an hour that a shopper has left.
"""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from checkout_recovery.checkout.event import EventType, event_id
from checkout_recovery.checkout.lifecycle import (
    TOLD_AFTER_LEAVING,
    Checkout,
    Policy,
    Status,
    Suppression,
    Unchanged,
)
from checkout_recovery.checkout.merge import CLOCK_SKEW
from checkout_recovery.checkout.phone import Phone
from checkout_recovery.checkout.quiet_hours import QuietHours
from checkout_recovery.checkout.shopper import (
    UNKNOWN,
    Purchase,
    Shopper,
    handle,
    has_contact,
    identities,
    is_one_shopper,
    looked_up_by,
    written_under,
)
from checkout_recovery.checkout.snapshot import Details, Snapshot
from tests.unit.checkout.tellings import ABANDON_AFTER, START

COOLDOWN = timedelta(days=1)
QUIET = QuietHours(start="22:00", end="06:00", timezone="UTC")
POLICY = Policy(COOLDOWN, QUIET)
LATEST = timedelta(days=2)
IDS = ("one", "two", "three")
CONTACTS: tuple[dict[str, Any], ...] = (
    {},
    {"phone": Phone.of("9876543210", "91")},
    {"phone": Phone.of("9876543210", "91"), "email": "asha@example.com"},
    {"phone": Phone.of("9123456780", "91")},
    {"email": "asha@example.com"},
    {"cart_token": "cart-1"},
)


@dataclass(frozen=True)
class Happening:
    """What happened, and how it is told."""

    at: datetime
    active_at: datetime
    """When the shopper last did something: before a provider said that they had left."""
    snapshot: Snapshot


@dataclass(frozen=True)
class Bought:
    """A purchase that we have heard of."""

    at: datetime
    heard_at: datetime
    handles: tuple[str, ...]


def handles_of(details: Details) -> tuple[str, ...]:
    return tuple(handle(b"key", "my-store", kind, identity) for kind, identity in identities(details))


class Tables:
    """The checkouts and the shoppers' records as the tables hold them."""

    def __init__(self) -> None:
        self.checkouts: dict[str, Checkout] = {}
        self.records: defaultdict[str, Shopper] = defaultdict(lambda: UNKNOWN)

    def load(self, checkout_id: str) -> Checkout:
        return self.checkouts.get(checkout_id) or Checkout(store_id="my-store", checkout_id=checkout_id)

    def known(self, handles: tuple[str, ...]) -> Shopper:
        shopper = UNKNOWN
        for one in looked_up_by(handles):
            shopper = shopper.joined(self.records[one])
        return shopper

    def note(self, handles: tuple[str, ...], news: Shopper) -> None:
        for one in written_under(handles):
            self.records[one] = self.records[one].joined(news)

    def recognise(self, before: Checkout, after: Checkout, now: datetime) -> Checkout:
        """Connects a checkout with its shopper, and with what they have bought."""
        new = [one for one in handles_of(after.details) if one not in before.handles]
        if not new:
            return after
        after = after.model_copy(update={"handles": (*before.handles, *new)})
        shopper = self.known(after.handles)
        self.note(after.handles, Shopper(told_at=shopper.joined(Shopper(told_at=after.told_at)).told_at))
        if shopper.purchase and not after.is_complete and after.ended_with(shopper.purchase):
            return after.joined(shopper.purchase.told_of(after.checkout_id), now)
        return after


class World(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.tables = Tables()
        self.numbers = count()
        self.on_its_way: list[Happening] = []
        self.arrived: list[Happening] = []
        self.activity: defaultdict[str, list[datetime]] = defaultdict(list)
        """When what was heard of each checkout really happened."""
        self.purchases: list[Bought] = []
        self.told: list[tuple[str, datetime]] = []
        self.left: set[str] = set()
        """The checkouts that somebody, or the sweep, has said to be left."""
        self.told_by_provider: set[str] = set()
        """Those of which it was their provider."""

    # ------------------------------------------------------------ what happens

    @rule(minutes=st.sampled_from([1, 4, 5, 14, 15, 16, 60, 8 * 60, 24 * 60, 8 * 24 * 60]))
    def time_passes(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    @rule(
        checkout_id=st.sampled_from(IDS),
        contact=st.sampled_from(CONTACTS),
        what=st.sampled_from(["visited"] * 5 + ["abandoned", "completed", "discarded"]),
        is_dated=st.booleans(),
        is_late=st.sampled_from([False, False, True]),
        left_ago=st.sampled_from([0, 20, 55]),
    )
    def something_happens(
        self,
        checkout_id: str,
        contact: dict[str, Any],
        what: str,
        is_dated: bool,
        is_late: bool,
        left_ago: int,
    ) -> None:
        number = next(self.numbers)
        snapshot = Snapshot(
            checkout_id=checkout_id,
            event_id=f"evt_{number}",
            event_time=self.now if is_dated else None,
            completed=what == "completed",
            abandoned=what == "abandoned",
            discarded=what == "discarded",
            details=Details(name=f"Asha {number}", **contact),
        )
        left_at = self.now - timedelta(minutes=left_ago)
        happening = Happening(self.now, left_at if snapshot.abandoned else self.now, snapshot)
        if is_late:
            self.on_its_way.append(happening)
        else:
            self.arrive(happening)

    @precondition(lambda self: self.on_its_way)
    @rule(data=st.data())
    def something_late_arrives(self, data: st.DataObject) -> None:
        happening = self.on_its_way.pop(data.draw(st.integers(0, len(self.on_its_way) - 1)))
        if self.now - happening.at <= (LATEST if happening.snapshot.event_time else CLOCK_SKEW):
            self.arrive(happening)

    @precondition(lambda self: self.arrived)
    @rule(data=st.data())
    def something_is_told_again(self, data: st.DataObject) -> None:
        snapshot = data.draw(st.sampled_from(self.arrived)).snapshot
        checkout = self.tables.load(snapshot.checkout_id)
        assert isinstance(checkout.apply(snapshot, self.now, ABANDON_AFTER), Unchanged)

    @rule(
        contact=st.sampled_from([contact for contact in CONTACTS if contact]),
        is_dated=st.booleans(),
        placed_ago=st.sampled_from([0, 0, 3, 20, 600]),
    )
    def an_order_is_told(self, contact: dict[str, Any], is_dated: bool, placed_ago: int) -> None:
        at = self.now - timedelta(minutes=placed_ago) if is_dated else self.now
        purchase = Purchase(time=at, heard_at=self.now, order_id=f"order-{next(self.numbers)}")
        self.hear_of(purchase, handles_of(Details(**contact)), at)

    @rule(order=st.permutations(IDS), wanted=st.sampled_from([True, True, True, False]))
    def the_sweep_looks(self, order: list[str], wanted: bool) -> None:
        for checkout_id in order:
            before = self.tables.load(checkout_id)
            found = before.abandon(self.tables.known(before.handles), POLICY, self.now, wanted=wanted)
            if isinstance(found, Unchanged):
                assert before.due_at is None or self.now < before.due_at
                continue
            self.judge(before, found, wanted)
            self.save(before, found)

    # ------------------------------------------------------------ how it is written

    def arrive(self, happening: Happening) -> None:
        snapshot = happening.snapshot
        self.arrived.append(happening)
        self.activity[snapshot.checkout_id].append(happening.active_at)
        if snapshot.abandoned:
            self.left.add(snapshot.checkout_id)
            self.told_by_provider.add(snapshot.checkout_id)
        before = self.tables.load(snapshot.checkout_id)
        after = before.apply(snapshot, self.now, ABANDON_AFTER)
        if isinstance(after, Unchanged):
            return
        after = self.tables.recognise(before, after, self.now)
        if not after.is_complete and after.event and after.event.type is EventType.ABANDONED:
            after = after.judged(self.tables.known(after.handles), POLICY, self.now)
            self.judge(before, after, wanted=True)
        self.save(before, after)
        if after.purchase and not before.is_complete:
            self.hear_of(after.purchase, after.handles, happening.at)

    def hear_of(self, purchase: Purchase, handles: tuple[str, ...], at: datetime) -> None:
        """Remembers a purchase and ends the shopper's open checkouts."""
        self.purchases.append(Bought(at, self.now, handles))
        self.tables.note(handles, Shopper(purchase=purchase))
        ends = True
        while ends:
            ends = False
            for before in list(self.tables.checkouts.values()):
                ended = before.buy(purchase, self.now) if is_one_shopper(handles, before.handles) else None
                if isinstance(ended, Checkout):
                    self.save(before, ended)
                    handles = tuple(dict.fromkeys((*handles, *ended.handles)))
                    self.tables.note(handles, Shopper(purchase=purchase))
                    ends = True

    def save(self, before: Checkout, after: Checkout) -> None:
        assert after.sequence == before.sequence + 1
        assert after.event
        if before.is_complete:
            assert after.event == before.event
            assert (after.due_at, after.told_at) == (None, before.told_at)
        else:
            assert after.event.id == event_id("my-store", after.checkout_id, after.sequence)
            assert after.event.time == self.now
        if after.event.type is EventType.ABANDONED:
            self.left.add(after.checkout_id)
        if after.event.type is EventType.RECOVERED:
            assert after.checkout_id in self.left
        self.tables.checkouts[after.checkout_id] = after

    # ------------------------------------------------------------ what has to be true

    def judge(self, before: Checkout, after: Checkout, wanted: bool) -> None:
        """Compares whether an abandonment is told with whether it may be, and has to be."""
        if after.is_complete:
            assert after.told_at == before.told_at
        elif after.suppressed is None and wanted:
            assert after.told_at == self.now
            assert self.may_be_told(after)
            self.told.append((after.checkout_id, self.now))
            self.tables.note(after.handles, Shopper(told_at=self.now))
        else:
            assert after.told_at == before.told_at
            assert not (wanted and self.has_to_be_told(after))
            if after.suppressed is Suppression.COOLDOWN:
                told_at = self.tables.known(after.handles).joined(Shopper(told_at=after.told_at)).told_at
                self.tables.note(after.handles, Shopper(told_at=told_at))

    def may_be_told(self, checkout: Checkout) -> bool:
        """Whether no shopper is messaged at night, twice, or after the purchase."""
        last = max(self.activity[checkout.checkout_id])
        bought = [
            one for one in self.purchases if is_one_shopper(checkout.handles, one.handles) and one.at >= last
        ]
        lately = [
            id_
            for id_, at in self.told
            if self.now < at + COOLDOWN
            and (
                id_ == checkout.checkout_id or is_one_shopper(checkout.handles, self.tables.load(id_).handles)
            )
        ]
        return has_contact(checkout.details) and not (self.is_night or bought or lately)

    def has_to_be_told(self, checkout: Checkout) -> bool:
        """Whether nothing speaks against it: neither anything told lately, nor a purchase that may be its."""
        begun_at, began_at = checkout.created_at, min(self.activity[checkout.checkout_id])
        assert begun_at
        doubt = TOLD_AFTER_LEAVING if checkout.checkout_id in self.told_by_provider else CLOCK_SKEW
        is_new = all(one.heard_at + doubt < begun_at and one.at < began_at for one in self.purchases)
        is_first = all(self.now >= at + COOLDOWN for _, at in self.told)
        return has_contact(checkout.details) and is_new and is_first and not self.is_night

    @property
    def is_night(self) -> bool:
        return self.now.hour >= 22 or self.now.hour < 6

    @invariant()
    def a_checkout_waits_exactly_while_there_is_something_to_wait_for(self) -> None:
        for checkout in self.tables.checkouts.values():
            is_postponed = checkout.suppressed is Suppression.QUIET_HOURS
            has_got_contact = checkout.suppressed is Suppression.NO_CONTACT and has_contact(checkout.details)
            is_open = checkout.status is Status.ACTIVE and not checkout.discarded
            assert (checkout.due_at is not None) == (is_open or is_postponed or has_got_contact)
            if is_open and checkout.active_at:
                assert checkout.due_at == checkout.active_at + ABANDON_AFTER

    @invariant()
    def what_is_bought_stays_so(self) -> None:
        for checkout in self.tables.checkouts.values():
            is_bought = checkout.status in (Status.COMPLETED, Status.RECOVERED)
            assert checkout.is_complete is is_bought
            if is_bought:
                assert checkout.suppressed is None
                assert checkout.event
                assert checkout.event.type in (EventType.COMPLETED, EventType.RECOVERED)


World.TestCase.settings = settings(max_examples=150, stateful_step_count=40)
TestWorld = World.TestCase
