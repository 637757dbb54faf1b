"""What a purchase ends that was told of a shopper and not of the checkout itself."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkout_recovery.checkout.event import EventType, event_id
from checkout_recovery.checkout.lifecycle import Checkout, Policy, Status, Suppression, Unchanged
from checkout_recovery.checkout.phone import Phone
from checkout_recovery.checkout.shopper import UNKNOWN, Purchase, Shopper
from checkout_recovery.checkout.snapshot import Snapshot
from tests.unit.checkout.tellings import ABANDON_AFTER, NEW, NOW, applied, minute, snapshots, telling

INSTANT = timedelta(microseconds=1)
SKEW = timedelta(minutes=5)
WEEK = timedelta(days=7)
POLICY = Policy(cooldown=timedelta(days=1))
PHONE = Phone.of("9876543210", "91")


def begun(at: datetime | None, heard_at: datetime = NOW, **members: Any) -> Checkout:
    return applied(NEW, telling(at, phone=PHONE, **members), now=heard_at)


def purchase(at: datetime, heard_at: datetime | None = None, order_id: str | None = "1001") -> Purchase:
    return Purchase(time=at, heard_at=heard_at or at, order_id=order_id)


def bought(checkout: Checkout, one: Purchase, now: datetime | None = None) -> Checkout:
    ended = checkout.buy(one, now or one.heard_at)
    assert isinstance(ended, Checkout)
    return ended


def abandoned(checkout: Checkout, shopper: Shopper = UNKNOWN) -> Checkout:
    assert checkout.due_at
    found = checkout.abandon(shopper, POLICY, checkout.due_at)
    assert isinstance(found, Checkout)
    return found


def kind_of(checkout: Checkout) -> EventType:
    assert checkout.event
    return checkout.event.type


class TestWhatAPurchaseEnds:
    """The checkout is heard of at minute 60, the purchase before or after that."""

    @pytest.mark.parametrize(
        ("told_at", "placed_at", "ends"),
        [
            (minute(50), minute(55), True),
            (minute(55), minute(55), True),
            (minute(55) + SKEW, minute(55), True),
            (minute(55) + SKEW + INSTANT, minute(55), False),
            (minute(60), minute(0), False),
        ],
    )
    def test_of_what_was_heard_before_it_clocks_may_differ_by_five_minutes(
        self, told_at: datetime, placed_at: datetime, ends: bool
    ) -> None:
        assert begun(told_at).ended_with(purchase(placed_at, heard_at=minute(60))) is ends

    @pytest.mark.parametrize(
        ("told_at", "ends"), [(minute(54), True), (minute(55), True), (minute(55) + INSTANT, False)]
    )
    def test_what_is_heard_after_it_was_before_it_only_if_it_says_so(
        self, told_at: datetime, ends: bool
    ) -> None:
        assert begun(told_at).ended_with(purchase(minute(55), heard_at=minute(59))) is ends

    @pytest.mark.parametrize(("heard_at", "ends"), [(minute(60), True), (minute(60) - INSTANT, False)])
    def test_what_named_no_time_was_when_it_was_heard(self, heard_at: datetime, ends: bool) -> None:
        assert begun(None).ended_with(purchase(heard_at)) is ends

    def test_a_time_in_the_future_is_none(self) -> None:
        checkout = begun(NOW + timedelta(days=1))
        assert checkout.ended_with(purchase(minute(60)))
        assert not checkout.ended_with(purchase(minute(60) - INSTANT))

    @pytest.mark.parametrize(("later", "ends"), [(WEEK, True), (WEEK + INSTANT, False)])
    @pytest.mark.parametrize("told_at", [None, minute(60)])
    def test_it_ends_nothing_that_has_been_quiet_for_more_than_a_week(
        self, told_at: datetime | None, later: timedelta, ends: bool
    ) -> None:
        assert begun(told_at).ended_with(purchase(NOW + later)) is ends

    def test_the_newest_telling_counts_and_none_that_came_late(self) -> None:
        checkout = applied(begun(minute(58)), telling(minute(1), name="Asha"), now=minute(90))
        assert checkout.ended_with(purchase(minute(59), heard_at=minute(70)))
        assert not checkout.ended_with(purchase(minute(40), heard_at=minute(70)))

    @pytest.mark.parametrize(("ago", "time"), [(WEEK, NOW - WEEK), (WEEK + INSTANT, NOW)])
    def test_an_order_counts_from_its_own_time_for_a_week_and_then_from_when_it_is_told(
        self, ago: timedelta, time: datetime
    ) -> None:
        assert Purchase.told(NOW - ago, NOW, "1001").time == time

    def test_it_ends_nothing_that_was_never_heard_of(self) -> None:
        assert not NEW.ended_with(purchase(NOW))


class TestBuying:
    def test_an_open_checkout_is_completed(self) -> None:
        before = begun(minute(50))
        checkout = bought(before, purchase(minute(61)))
        assert (checkout.status, kind_of(checkout)) == (Status.COMPLETED, EventType.COMPLETED)
        assert (checkout.purchased_at, checkout.details.order_id) == (minute(61), "1001")
        assert checkout.due_at is None
        assert checkout.recovered_after is None
        assert checkout.details.phone == PHONE

    def test_that_is_one_write_and_its_event(self) -> None:
        checkout = bought(begun(minute(50)), purchase(minute(61)))
        assert checkout.sequence == 2
        assert checkout.event
        assert (checkout.event.id, checkout.event.time) == (event_id("my-store", "abc123", 2), minute(61))

    def test_an_abandoned_one_is_recovered(self) -> None:
        left = abandoned(begun(minute(50)))
        checkout = bought(left, purchase(minute(85)))
        assert (checkout.status, kind_of(checkout)) == (Status.RECOVERED, EventType.RECOVERED)
        assert checkout.recovered_after == timedelta(minutes=10)

    def test_one_that_was_abandoned_and_told_to_nobody_is_recovered_too(self) -> None:
        left = abandoned(begun(minute(50)), Shopper(told_at=minute(40)))
        checkout = bought(left, purchase(minute(85)))
        assert checkout.status is Status.RECOVERED
        assert checkout.suppressed is None

    def test_a_purchase_told_late_ends_what_was_heard_of_since_but_is_older(self) -> None:
        checkout = bought(begun(minute(50)), purchase(minute(55), heard_at=minute(59)), now=minute(61))
        assert (checkout.status, checkout.purchased_at) == (Status.COMPLETED, minute(55))

    def test_a_purchase_before_the_last_activity_within_the_clocks_difference_ends_it(self) -> None:
        checkout = bought(begun(minute(58)), purchase(minute(55), heard_at=minute(61)))
        assert (checkout.status, checkout.purchased_at, checkout.due_at) == (
            Status.COMPLETED,
            minute(55),
            None,
        )

    @pytest.mark.parametrize(("placed_at", "known"), [(minute(55), minute(55)), (minute(61), None)])
    def test_when_the_order_was_placed_is_known_only_if_its_teller_said_so(
        self, placed_at: datetime, known: datetime | None
    ) -> None:
        checkout = bought(begun(minute(50)), purchase(placed_at, heard_at=minute(61)))
        assert checkout.details.completed_at == known

    def test_what_was_begun_later_stays_open(self) -> None:
        begun_later = begun(minute(60))
        assert begun_later.buy(purchase(minute(30), heard_at=minute(61)), minute(61)) is Unchanged.STALE

    def test_what_its_provider_has_deleted_was_not_bought(self) -> None:
        deleted = applied(begun(minute(50)), telling(minute(51), discarded=True))
        assert deleted.buy(purchase(minute(61)), minute(61)) is Unchanged.STALE

    def test_what_was_never_heard_of_is_not_made(self) -> None:
        assert NEW.buy(purchase(NOW), NOW) is Unchanged.STALE

    @pytest.mark.parametrize("order_id", ["1001", "1002", None])
    def test_what_was_bought_is_not_bought_again(self, order_id: str | None) -> None:
        checkout = bought(begun(minute(50)), purchase(minute(61)))
        assert checkout.buy(purchase(minute(62), order_id=order_id), minute(62)) is Unchanged.STALE


class TestTheOrderComesFirst:
    """A snapshot of a checkout whose shopper is known to have bought is joined with the purchase."""

    def joined(self, snapshot: Snapshot, one: Purchase, now: datetime = NOW) -> Checkout:
        heard = NEW.apply(snapshot, now, ABANDON_AFTER)
        assert isinstance(heard, Checkout)
        assert heard.ended_with(one)
        return heard.joined(one.told_of("abc123"), now)

    def test_a_late_snapshot_opens_nothing(self) -> None:
        checkout = self.joined(telling(minute(50), phone=PHONE), purchase(minute(55)))
        assert (checkout.status, kind_of(checkout)) == (Status.COMPLETED, EventType.COMPLETED)
        assert checkout.due_at is None
        assert (checkout.details.phone, checkout.details.order_id) == (PHONE, "1001")

    def test_both_are_one_write_and_one_event(self) -> None:
        checkout = self.joined(telling(minute(50), phone=PHONE), purchase(minute(55)))
        assert checkout.sequence == 1
        assert checkout.event
        assert (checkout.event.id, checkout.event.time) == (event_id("my-store", "abc123", 1), NOW)

    def test_one_that_says_that_the_shopper_had_left_before_is_recovered(self) -> None:
        left = telling(minute(50), phone=PHONE, abandoned=True)
        checkout = self.joined(left, purchase(minute(55)))
        assert (checkout.status, kind_of(checkout)) == (Status.RECOVERED, EventType.RECOVERED)
        assert checkout.recovered_after == timedelta(minutes=5)

    def test_a_snapshot_that_is_itself_the_purchase_stays_it(self) -> None:
        checkout = self.joined(telling(minute(50), completed=True, order_id="web-1"), purchase(minute(55)))
        assert checkout.sequence == 1
        assert kind_of(checkout) is EventType.COMPLETED
        assert checkout.purchased_at == minute(50)

    def test_joined_once_more_nothing_changes(self) -> None:
        checkout = self.joined(telling(minute(50), phone=PHONE), purchase(minute(55)))
        assert checkout.joined(purchase(minute(55)).told_of("abc123"), minute(70)) == checkout

    def test_one_without_a_time_waits_and_is_held_back_when_it_is_due(self) -> None:
        one = purchase(minute(57))
        checkout = begun(None)
        assert not checkout.ended_with(one)
        assert checkout.due_at == NOW + ABANDON_AFTER
        assert abandoned(checkout, Shopper(purchase=one)).suppressed is Suppression.COMPLETED

    def test_nor_is_it_recovered_when_it_tells_of_the_purchase_itself(self) -> None:
        held_back = abandoned(begun(None), Shopper(purchase=purchase(minute(57))))
        checkout = applied(held_back, telling(None, completed=True, order_id="1001"), now=minute(90))
        assert checkout.status is Status.COMPLETED

    def test_a_shopper_who_comes_again_after_the_purchase_is_not_taken_for_late(self) -> None:
        one = purchase(minute(50))
        checkout = begun(minute(58))
        assert not checkout.ended_with(one)
        assert abandoned(checkout, Shopper(purchase=one)).told_at == NOW + ABANDON_AFTER


class TestJoining:
    def test_another_telling_adds_to_the_write_and_leaves_its_event_and_its_wait(self) -> None:
        heard = begun(minute(50))
        joined = heard.joined(telling(minute(40), email="a@example.com"), NOW)
        assert joined.details.email == "a@example.com"
        assert (joined.sequence, joined.event, joined.due_at) == (1, heard.event, heard.due_at)

    def test_a_newer_one_starts_no_wait_of_its_own(self) -> None:
        heard = begun(minute(50))
        assert heard.joined(telling(minute(51), email="a@example.com"), NOW).due_at == heard.due_at

    def test_a_deletion_ends_the_wait(self) -> None:
        joined = begun(minute(50)).joined(telling(minute(51), discarded=True), NOW)
        assert (joined.discarded, joined.due_at) == (True, None)

    def test_one_that_tells_nothing_new_changes_nothing(self) -> None:
        heard = begun(minute(50))
        assert heard.joined(telling(minute(40), phone=PHONE), NOW) == heard

    def test_what_was_told_under_another_id_is_told_again_under_this_one(self) -> None:
        under_its_number = bought(begun(minute(50), email="a@example.com"), purchase(minute(55), NOW))
        joined = NEW.joined(under_its_number.retold("abc123"), NOW)
        assert joined.is_complete
        assert joined.details == under_its_number.details


class TestRecoveredAfter:
    def recovered(self, at: datetime | None, heard_at: datetime) -> Checkout:
        """The purchase of a checkout that was found abandoned at minute 75."""
        return applied(abandoned(begun(minute(50))), telling(at, completed=True), now=heard_at)

    def test_it_counts_from_the_abandonment_to_the_purchase(self) -> None:
        assert self.recovered(minute(85), heard_at=minute(90)).recovered_after == timedelta(minutes=10)

    def test_without_a_time_of_the_purchase_it_counts_to_when_it_was_heard_of(self) -> None:
        assert self.recovered(None, heard_at=minute(90)).recovered_after == timedelta(minutes=15)

    def test_so_it_does_where_the_tellers_clock_is_behind_ours(self) -> None:
        checkout = self.recovered(minute(74), heard_at=minute(90))
        assert checkout.status is Status.RECOVERED
        assert checkout.recovered_after == timedelta(minutes=15)

    def test_it_is_never_less_than_nothing(self) -> None:
        # The provider's clock is four minutes ahead of ours.
        left = applied(abandoned(begun(minute(50))), telling(minute(79), abandoned=True), now=minute(75))
        checkout = applied(left, telling(minute(78), completed=True), now=minute(76))
        assert checkout.status is Status.RECOVERED
        assert checkout.recovered_after == timedelta()

    def test_of_several_abandonments_the_last_counts(self) -> None:
        back = applied(abandoned(begun(minute(50))), telling(minute(100)), now=minute(100))
        again = abandoned(back)
        checkout = bought(again, purchase(minute(120)))
        assert again.abandoned_at == minute(115)
        assert checkout.recovered_after == timedelta(minutes=5)

    def test_a_provider_that_says_when_the_shopper_left_is_taken_at_its_word(self) -> None:
        left, done = telling(minute(50), abandoned=True), telling(minute(58), completed=True)
        assert applied(NEW, left, done).recovered_after == timedelta(minutes=8)
        assert applied(NEW, done, left).recovered_after == timedelta(minutes=8)

    def test_who_left_after_the_purchase_is_not_recovered(self) -> None:
        checkout = applied(NEW, telling(minute(50), completed=True), telling(minute(58), abandoned=True))
        assert checkout.recovered_after is None

    def test_who_never_left_is_not_recovered(self) -> None:
        assert applied(NEW, telling(minute(50), completed=True)).recovered_after is None
        assert begun(minute(50)).recovered_after is None
        assert abandoned(begun(minute(50))).recovered_after is None

    def test_what_is_told_after_the_purchase_does_not_change_it(self) -> None:
        checkout = applied(NEW, telling(minute(50), abandoned=True), telling(minute(55), completed=True))
        after = applied(checkout, telling(minute(58), abandoned=True))
        assert after.recovered_after == checkout.recovered_after


class TestThePurchase:
    def test_one_checkouts_purchase_is_its_shoppers(self) -> None:
        checkout = applied(NEW, telling(minute(55), completed=True, order_id="1001"))
        assert checkout.purchase == Purchase(time=minute(55), heard_at=NOW, order_id="1001")

    def test_an_open_checkout_has_none(self) -> None:
        assert begun(minute(50)).purchase is None

    def test_it_was_heard_of_when_it_was_first_heard_of(self) -> None:
        checkout = bought(begun(minute(50)), purchase(minute(61)))
        later = applied(checkout, telling(minute(70), name="Asha"), now=minute(90))
        assert later.purchase == purchase(minute(61))


class TestFinality:
    @given(told=st.lists(snapshots, max_size=5))
    @settings(max_examples=50)
    def test_nothing_that_is_told_after_a_purchase_changes_the_event(self, told: list[Snapshot]) -> None:
        before = bought(abandoned(begun(minute(50))), purchase(minute(80)))
        checkout = applied(before, *told, now=minute(90))
        assert checkout.event == before.event
        assert checkout.status is Status.RECOVERED
        assert checkout.due_at is None
        assert (checkout.told_at, checkout.suppressed) == (before.told_at, None)

    @given(told=st.lists(snapshots, max_size=5))
    @settings(max_examples=50)
    def test_nothing_that_is_told_after_a_purchase_makes_it_due(self, told: list[Snapshot]) -> None:
        checkout = applied(bought(begun(minute(50)), purchase(minute(61))), *told, now=minute(90))
        assert checkout.abandon(UNKNOWN, POLICY, minute(10_000)) is Unchanged.NOT_DUE
        assert checkout.buy(purchase(minute(10_000)), minute(10_000)) is Unchanged.STALE
