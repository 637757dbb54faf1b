"""When a checkout is found abandoned, and whether anybody is told."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from checkout_recovery.checkout.event import EventType, event_id
from checkout_recovery.checkout.lifecycle import Checkout, Policy, Status, Suppression, Unchanged
from checkout_recovery.checkout.phone import Phone
from checkout_recovery.checkout.quiet_hours import QuietHours
from checkout_recovery.checkout.shopper import UNKNOWN, Purchase, Shopper
from tests.unit.checkout.tellings import ABANDON_AFTER, NEW, NOW, applied, minute, telling

INSTANT = timedelta(microseconds=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
DUE = NOW + ABANDON_AFTER
POLICY = Policy(cooldown=DAY)
AT_NIGHT = Policy(cooldown=DAY, quiet_hours=QuietHours(start="11:00", end="12:30", timezone="UTC"))
"""It is night when the checkout is due, at 11:15."""
MORNING = NOW.replace(hour=12, minute=30)
PHONE, OTHER_PHONE = Phone.of("9876543210", "91"), Phone.of("9123456780", "91")


def begun(at: datetime | None = None, **members: Any) -> Checkout:
    """A checkout that was told of once, at NOW, and waits."""
    return applied(NEW, telling(at, **({"phone": PHONE} | members)))


def abandoned(
    checkout: Checkout,
    shopper: Shopper = UNKNOWN,
    policy: Policy = POLICY,
    now: datetime = DUE,
    *,
    wanted: bool = True,
) -> Checkout:
    found = checkout.abandon(shopper, policy, now, wanted=wanted)
    assert isinstance(found, Checkout)
    return found


def is_not_due(checkout: Checkout, now: datetime) -> bool:
    return checkout.abandon(UNKNOWN, POLICY, now) is Unchanged.NOT_DUE


def kind_of(checkout: Checkout) -> EventType:
    assert checkout.event
    return checkout.event.type


class TestTime:
    def test_a_checkout_is_not_due_before_its_time(self) -> None:
        assert is_not_due(begun(), DUE - INSTANT)

    def test_when_its_time_has_come_it_is_abandoned(self) -> None:
        checkout = abandoned(begun())
        assert checkout.status is Status.ABANDONED
        assert checkout.abandoned_at == checkout.found_at == checkout.told_at == DUE
        assert (checkout.suppressed, checkout.due_at) == (None, None)

    def test_that_is_one_write_and_its_event(self) -> None:
        before = begun()
        checkout = abandoned(before)
        assert checkout.sequence == before.sequence + 1
        assert checkout.event
        assert checkout.event.type is EventType.ABANDONED
        assert checkout.event.time == DUE
        assert checkout.event.id == event_id("my-store", "abc123", checkout.sequence)

    def test_nothing_that_was_told_of_it_changes(self) -> None:
        decided = {
            "sequence",
            "status",
            "event",
            "abandoned_at",
            "found_at",
            "told_at",
            "suppressed",
            "due_at",
        }
        before = begun(minute(1), email="a@example.com")
        assert abandoned(before).model_dump(exclude=decided) == before.model_dump(exclude=decided)

    def test_what_nobody_looked_at_in_time_is_abandoned_when_somebody_does(self) -> None:
        checkout = abandoned(begun(), now=DUE + timedelta(hours=7))
        assert checkout.abandoned_at == checkout.told_at == DUE + timedelta(hours=7)

    def test_it_is_abandoned_once(self) -> None:
        assert is_not_due(abandoned(begun()), DUE + 10 * DAY)

    def test_what_was_never_heard_of_is_never_due(self) -> None:
        assert is_not_due(NEW, DUE + 10 * DAY)

    def test_activity_restarts_the_wait(self) -> None:
        checkout = applied(begun(), telling(None, name="Asha"), now=DUE - INSTANT)
        assert is_not_due(checkout, DUE)
        assert is_not_due(checkout, DUE + ABANDON_AFTER - INSTANT - INSTANT)
        assert abandoned(checkout, now=DUE + ABANDON_AFTER - INSTANT).told_at

    def test_the_wait_counts_from_when_activity_was_heard_of_however_old_it_is(self) -> None:
        checkout = applied(begun(minute(1)), telling(minute(2), name="Asha"), now=DUE - INSTANT)
        assert checkout.due_at == DUE - INSTANT + ABANDON_AFTER

    def test_what_is_told_late_is_no_activity(self) -> None:
        checkout = applied(begun(minute(2)), telling(minute(1), name="Asha"), now=DUE - INSTANT)
        assert checkout.details.name == "Asha"
        assert abandoned(checkout, now=DUE).told_at == DUE

    def test_a_clock_that_is_fast_once_does_not_stop_the_wait_from_being_restarted(self) -> None:
        fast = applied(NEW, telling(NOW + timedelta(minutes=4), phone=PHONE))
        later = NOW + timedelta(minutes=2)
        assert applied(fast, telling(later, name="Asha"), now=later).due_at == later + ABANDON_AFTER

    def test_who_comes_back_by_a_right_clock_comes_back(self) -> None:
        fast = applied(NEW, telling(NOW + timedelta(minutes=4), phone=PHONE, abandoned=True))
        later = NOW + timedelta(minutes=2)
        back = applied(fast, telling(later, name="Asha"), now=later)
        assert (kind_of(back), back.status) == (EventType.RESUMED, Status.ACTIVE)

    @pytest.mark.parametrize("at", [NOW, NOW - INSTANT])
    def test_what_is_not_after_the_newest_was_heard_of_is_late_by_any_clock(self, at: datetime) -> None:
        fast = applied(NEW, telling(NOW + timedelta(minutes=4), phone=PHONE))
        later = NOW + timedelta(minutes=2)
        assert applied(fast, telling(at, name="Asha"), now=later).due_at == fast.due_at


class TestNever:
    def test_what_its_provider_has_deleted(self) -> None:
        deleted = applied(begun(minute(1)), telling(minute(2), discarded=True))
        assert is_not_due(deleted, DUE + 10 * DAY)

    def test_what_was_deleted_while_it_was_postponed(self) -> None:
        postponed = abandoned(begun(minute(1)), policy=AT_NIGHT)
        deleted = applied(postponed, telling(minute(2), discarded=True), now=DUE)
        assert is_not_due(deleted, MORNING)

    def test_but_what_comes_back_after_a_deletion_is_waited_for_again(self) -> None:
        back = applied(begun(minute(1)), telling(minute(2), discarded=True), telling(minute(3), name="Asha"))
        assert abandoned(back).told_at == DUE

    def test_what_was_bought(self) -> None:
        bought = applied(begun(minute(1)), telling(minute(2), completed=True))
        assert is_not_due(bought, DUE + 10 * DAY)

    def test_what_was_bought_first_and_is_told_of_late(self) -> None:
        bought = applied(NEW, telling(minute(2), completed=True), telling(minute(1), phone=PHONE))
        assert is_not_due(bought, DUE + 10 * DAY)

    def test_what_is_told_of_after_the_purchase(self) -> None:
        bought = applied(begun(minute(1)), telling(minute(2), completed=True), telling(None, name="Asha"))
        assert is_not_due(bought, DUE + 10 * DAY)

    def test_what_was_recovered(self) -> None:
        recovered = applied(abandoned(begun(minute(1))), telling(minute(80), completed=True), now=minute(80))
        assert recovered.status is Status.RECOVERED
        assert is_not_due(recovered, DUE + 10 * DAY)


JUST_BOUGHT = Purchase(time=NOW - INSTANT, heard_at=NOW - INSTANT)
JUST_TOLD = NOW - timedelta(hours=1)


class TestWhyNobodyIsTold:
    @pytest.mark.parametrize(
        ("shopper", "policy", "members", "why"),
        [
            (Shopper(purchase=JUST_BOUGHT, told_at=JUST_TOLD), AT_NIGHT, {"phone": None}, "completed"),
            (Shopper(told_at=JUST_TOLD), AT_NIGHT, {"phone": None}, "no_contact"),
            (Shopper(told_at=JUST_TOLD), AT_NIGHT, {}, "cooldown"),
            (UNKNOWN, AT_NIGHT, {}, "quiet_hours"),
            (UNKNOWN, POLICY, {}, None),
        ],
    )
    def test_of_several_reasons_the_first_is_named(
        self, shopper: Shopper, policy: Policy, members: dict[str, Any], why: str | None
    ) -> None:
        assert abandoned(begun(**members), shopper, policy).suppressed == why

    @pytest.mark.parametrize(
        ("shopper", "policy", "members"),
        [
            (Shopper(purchase=JUST_BOUGHT), POLICY, {}),
            (UNKNOWN, POLICY, {"phone": None}),
            (Shopper(told_at=JUST_TOLD), POLICY, {}),
            (UNKNOWN, AT_NIGHT, {}),
        ],
    )
    def test_an_abandonment_that_is_held_back_is_one(
        self, shopper: Shopper, policy: Policy, members: dict[str, Any]
    ) -> None:
        checkout = abandoned(begun(**members), shopper, policy)
        assert checkout.suppressed
        assert (checkout.status, kind_of(checkout)) == (Status.ABANDONED, EventType.ABANDONED)
        assert checkout.abandoned_at == DUE
        assert checkout.told_at is None

    @pytest.mark.parametrize(
        ("shopper", "members"),
        [(Shopper(purchase=JUST_BOUGHT), {}), (UNKNOWN, {"phone": None}), (Shopper(told_at=JUST_TOLD), {})],
    )
    def test_only_quiet_hours_postpone_it(self, shopper: Shopper, members: dict[str, Any]) -> None:
        assert is_not_due(abandoned(begun(**members), shopper, AT_NIGHT), DUE + 10 * DAY)

    def test_where_nobody_would_be_sent_it_nothing_holds_it_back_and_nobody_was_told(self) -> None:
        checkout = abandoned(begun(), wanted=False)
        assert (checkout.status, checkout.suppressed) == (Status.ABANDONED, None)
        assert checkout.told_at is None

    def test_what_nobody_was_sent_does_not_forget_what_somebody_was(self) -> None:
        told = abandoned(begun(minute(1)))
        back = applied(told, telling(minute(2)), now=DUE + DAY)
        again = abandoned(back, now=DUE + DAY + ABANDON_AFTER, wanted=False)
        assert again.told_at == DUE

    def test_the_next_telling_forgets_why(self) -> None:
        held = abandoned(begun(minute(1)), Shopper(told_at=JUST_TOLD))
        assert applied(held, telling(minute(2)), now=DUE).suppressed is None


class TestPurchases:
    """Of a purchase that ended before it was heard of, see `test_buy`."""

    def test_a_checkout_that_was_bought_meanwhile_is_not_abandoned(self) -> None:
        purchase = Purchase(time=minute(62), heard_at=minute(62), order_id="1001")
        checkout = abandoned(begun(), Shopper(purchase=purchase))
        assert checkout.is_complete
        assert (checkout.due_at, checkout.told_at, checkout.suppressed) == (None, None, None)
        assert checkout.purchased_at == minute(62)
        assert checkout.details.order_id == "1001"
        assert checkout.details.phone == PHONE

    def test_nor_was_it_recovered(self) -> None:
        purchase = Purchase(time=minute(62), heard_at=minute(62))
        checkout = abandoned(begun(), Shopper(purchase=purchase))
        assert (checkout.status, kind_of(checkout)) == (Status.COMPLETED, EventType.COMPLETED)
        assert checkout.recovered_after is None

    def test_that_is_one_write_and_its_event_too(self) -> None:
        before = begun()
        checkout = abandoned(before, Shopper(purchase=Purchase(time=minute(62), heard_at=minute(62))))
        assert checkout.sequence == before.sequence + 1
        assert checkout.event
        assert checkout.event.id == event_id("my-store", "abc123", checkout.sequence)

    def test_a_purchase_before_it_began_does_not_matter(self) -> None:
        before = Purchase(time=minute(30), heard_at=minute(30))
        assert abandoned(begun(minute(59)), Shopper(purchase=before)).told_at == DUE

    @pytest.mark.parametrize(("after", "why"), [(5 * 60, "completed"), (5 * 60 + 1, None)])
    def test_what_named_no_time_right_after_a_purchase_may_be_older(
        self, after: int, why: str | None
    ) -> None:
        heard_at = NOW - timedelta(seconds=after)
        shopper = Shopper(purchase=Purchase(time=heard_at, heard_at=heard_at))
        checkout = abandoned(begun(None), shopper)
        assert checkout.suppressed == why
        assert checkout.status is Status.ABANDONED

    def test_what_is_decided_again_after_more_than_a_week_may_have_been_bought_since(self) -> None:
        held = abandoned(begun(minute(2), phone=None))
        since = DUE + 8 * DAY
        late = applied(held, telling(minute(1), phone=PHONE), now=since + HOUR)
        shopper = Shopper(purchase=Purchase(time=since, heard_at=since))
        assert abandoned(late, shopper, now=since + HOUR).told_at is None

    def test_an_order_that_says_to_be_of_last_year_counts_from_when_it_is_told(self) -> None:
        told = Purchase.told(NOW - 365 * DAY, minute(61), "1001")
        assert abandoned(begun(minute(59)), Shopper(purchase=told)).is_complete

    def test_what_says_that_it_came_after_the_purchase_is_told(self) -> None:
        shopper = Shopper(purchase=Purchase(time=minute(50), heard_at=minute(50)))
        assert abandoned(begun(minute(59)), shopper).told_at == DUE

    def test_unless_it_came_so_soon_that_clocks_may_differ(self) -> None:
        shopper = Shopper(purchase=Purchase(time=minute(57), heard_at=minute(57)))
        assert abandoned(begun(minute(59)), shopper).suppressed is Suppression.COMPLETED


class TestCooldown:
    @pytest.mark.parametrize(("ago", "why"), [(DAY - INSTANT, "cooldown"), (DAY, None)])
    def test_the_same_shopper_is_not_told_twice_in_it(self, ago: timedelta, why: str | None) -> None:
        assert abandoned(begun(), Shopper(told_at=DUE - ago)).suppressed == why

    def test_of_what_was_told_of_this_checkout_and_of_others_the_later_counts(self) -> None:
        told = abandoned(begun(minute(1)))
        back = applied(told, telling(minute(2)), now=DUE + DAY)
        now = DUE + DAY + ABANDON_AFTER
        assert abandoned(back, Shopper(told_at=DUE - DAY), now=now).suppressed is None
        assert abandoned(back, Shopper(told_at=DUE + DAY), now=now).suppressed is Suppression.COOLDOWN

    def test_a_corrected_phone_is_not_told_too(self) -> None:
        told = abandoned(begun(minute(1), phone=OTHER_PHONE))
        corrected = applied(told, telling(minute(2), phone=PHONE), now=DUE)
        again = abandoned(corrected, UNKNOWN, now=DUE + ABANDON_AFTER)
        assert again.suppressed is Suppression.COOLDOWN
        assert again.told_at == DUE

    def test_without_one_every_abandonment_is_told(self) -> None:
        none = Policy(cooldown=timedelta())
        told = abandoned(begun(minute(1)), policy=none)
        back = applied(told, telling(minute(2)), now=DUE)
        again = abandoned(back, Shopper(told_at=DUE), none, DUE + ABANDON_AFTER)
        assert (again.suppressed, again.told_at) == (None, DUE + ABANDON_AFTER)

    def test_without_one_even_two_checkouts_of_one_moment_are_told(self) -> None:
        none = Policy(cooldown=timedelta())
        assert abandoned(begun(), Shopper(told_at=DUE), none).told_at == DUE

    def test_what_it_holds_back_is_not_told_when_it_is_over(self) -> None:
        held = abandoned(begun(), Shopper(told_at=DUE - timedelta(hours=23)))
        assert is_not_due(held, DUE + 2 * DAY)

    def test_who_comes_back_and_leaves_when_it_is_over_is_told_of_again(self) -> None:
        told = abandoned(begun(minute(1)))
        back = applied(told, telling(minute(2)), now=DUE + DAY)
        assert abandoned(back, Shopper(told_at=DUE), now=DUE + DAY + ABANDON_AFTER).told_at

    def test_a_reason_that_holds_it_back_does_not_start_it(self) -> None:
        held = abandoned(begun(minute(1), phone=None))
        back = applied(held, telling(minute(2), phone=PHONE), now=DUE)
        assert abandoned(back, now=DUE + ABANDON_AFTER).suppressed is None


class TestQuietHours:
    def test_they_postpone_it_to_their_end(self) -> None:
        checkout = abandoned(begun(), policy=AT_NIGHT)
        assert checkout.due_at == MORNING
        assert is_not_due(checkout, MORNING - INSTANT)

    def test_at_their_end_it_is_told(self) -> None:
        postponed = abandoned(begun(), policy=AT_NIGHT)
        told = abandoned(postponed, policy=AT_NIGHT, now=MORNING)
        assert (told.suppressed, told.told_at, told.due_at) == (None, MORNING, None)

    def test_that_is_another_event_of_the_same_abandonment(self) -> None:
        postponed = abandoned(begun(), policy=AT_NIGHT)
        told = abandoned(postponed, policy=AT_NIGHT, now=MORNING)
        assert kind_of(told) is EventType.ABANDONED
        assert told.event != postponed.event
        assert told.sequence == postponed.sequence + 1
        assert told.abandoned_at == told.found_at == DUE

    def test_they_postpone_also_what_nobody_would_be_sent_now(self) -> None:
        assert abandoned(begun(), policy=AT_NIGHT, wanted=False).due_at == MORNING

    def test_what_began_at_night_is_postponed_when_it_is_due(self) -> None:
        night = Policy(cooldown=DAY, quiet_hours=QuietHours(start="10:50", end="11:15", timezone="UTC"))
        assert abandoned(begun(), policy=night).told_at == DUE

    def test_another_checkout_that_was_told_of_first_holds_it_back(self) -> None:
        postponed = abandoned(begun(), policy=AT_NIGHT)
        decided = abandoned(postponed, Shopper(told_at=MORNING), AT_NIGHT, MORNING)
        assert (decided.suppressed, decided.due_at) == (Suppression.COOLDOWN, None)

    def test_who_comes_back_is_not_told_of_at_their_end(self) -> None:
        postponed = abandoned(begun(minute(1)), policy=AT_NIGHT)
        back = applied(postponed, telling(minute(2)), now=MORNING - INSTANT)
        assert kind_of(back) is EventType.RESUMED
        assert is_not_due(back, MORNING)

    def test_who_has_bought_by_then_is_not_told_of(self) -> None:
        postponed = abandoned(begun(), policy=AT_NIGHT)
        purchase = Purchase(time=minute(100), heard_at=minute(100))
        bought = abandoned(postponed, Shopper(purchase=purchase), AT_NIGHT, MORNING)
        assert (bought.status, kind_of(bought)) == (Status.RECOVERED, EventType.RECOVERED)
        assert bought.told_at is None
        assert bought.recovered_after == minute(100) - DUE

    def test_what_is_told_late_meanwhile_does_not_end_the_postponement(self) -> None:
        postponed = abandoned(begun(minute(2)), policy=AT_NIGHT)
        late = applied(postponed, telling(minute(1), name="Asha"), now=DUE)
        assert (late.due_at, late.suppressed) == (MORNING, Suppression.QUIET_HOURS)

    def test_where_they_have_been_prolonged_meanwhile_it_is_postponed_again(self) -> None:
        postponed = abandoned(begun(), policy=AT_NIGHT)
        longer = Policy(cooldown=DAY, quiet_hours=QuietHours(start="11:00", end="14:00", timezone="UTC"))
        again = abandoned(postponed, policy=longer, now=MORNING)
        assert (again.due_at, again.told_at) == (NOW.replace(hour=14), None)


class TestContact:
    def test_a_cart_is_no_contact(self) -> None:
        assert abandoned(begun(phone=None, cart_token="c-1")).suppressed is Suppression.NO_CONTACT

    def test_a_half_typed_one_is_none(self) -> None:
        typed = begun(phone=Phone.of("98765"), email="asha@")
        assert abandoned(typed).suppressed is Suppression.NO_CONTACT

    def test_an_e_mail_address_is_one(self) -> None:
        assert abandoned(begun(phone=None, email="asha@example.com")).told_at == DUE

    def test_one_that_is_told_late_lets_it_be_decided_again(self) -> None:
        held = abandoned(begun(minute(2), phone=None))
        now = DUE + timedelta(hours=3)
        late = applied(held, telling(minute(1), phone=PHONE), now=now)
        assert (late.status, kind_of(late)) == (Status.ABANDONED, EventType.UPDATED)
        told = abandoned(late, now=now)
        assert (told.suppressed, told.told_at, told.due_at) == (None, now, None)
        assert told.abandoned_at == DUE

    def test_it_is_decided_by_all_rules(self) -> None:
        held = abandoned(begun(minute(2), phone=None))
        late = applied(held, telling(minute(1), phone=PHONE), now=DUE)
        assert abandoned(late, policy=AT_NIGHT).due_at == MORNING
        assert abandoned(late, Shopper(told_at=JUST_TOLD)).suppressed is Suppression.COOLDOWN

    def test_whatever_else_is_told_late_does_not(self) -> None:
        held = abandoned(begun(minute(2), phone=None))
        late = applied(held, telling(minute(1), name="Asha", phone=Phone.of("98765")), now=DUE)
        assert late.sequence == held.sequence + 1
        assert is_not_due(late, DUE + DAY)

    def test_of_an_abandonment_that_is_held_back_otherwise_it_does_not(self) -> None:
        held = abandoned(begun(minute(2)), Shopper(told_at=JUST_TOLD))
        late = applied(held, telling(minute(1), email="asha@example.com"), now=DUE)
        assert is_not_due(late, DUE + DAY)

    def test_of_one_that_was_told_it_does_not(self) -> None:
        told = abandoned(begun(minute(2)))
        late = applied(told, telling(minute(1), email="asha@example.com"), now=DUE)
        assert is_not_due(late, DUE + DAY)

    def test_one_that_is_told_by_who_comes_back_waits_as_any_activity_does(self) -> None:
        held = abandoned(begun(minute(1), phone=None))
        back = applied(held, telling(minute(2), phone=PHONE), now=DUE)
        assert (kind_of(back), back.due_at) == (EventType.RESUMED, DUE + ABANDON_AFTER)


class TestToldByAProvider:
    """A snapshot may itself say that the shopper has left; what holds of the sweep's finding holds of it."""

    def told(self, shopper: Shopper = UNKNOWN, policy: Policy = POLICY, **members: Any) -> Checkout:
        left = begun(minute(59), abandoned=True, **members)
        return left.judged(shopper, policy, NOW)

    def test_it_is_told_at_once(self) -> None:
        checkout = self.told()
        assert (checkout.told_at, checkout.suppressed, checkout.due_at) == (NOW, None, None)

    def test_it_is_the_write_that_the_snapshot_was(self) -> None:
        left = begun(minute(59), abandoned=True)
        judged = left.judged(UNKNOWN, POLICY, NOW)
        assert (judged.sequence, judged.event) == (left.sequence, left.event)
        assert judged.abandoned_at == minute(59)

    @pytest.mark.parametrize(
        ("shopper", "members", "why"),
        [(UNKNOWN, {"phone": None}, "no_contact"), (Shopper(told_at=JUST_TOLD), {}, "cooldown")],
    )
    def test_it_is_held_back_for_the_same_reasons(
        self, shopper: Shopper, members: dict[str, Any], why: str
    ) -> None:
        checkout = self.told(shopper, **members)
        assert (checkout.suppressed, checkout.told_at, checkout.due_at) == (why, None, None)

    def test_at_night_it_is_postponed_and_told_in_the_morning(self) -> None:
        postponed = self.told(policy=AT_NIGHT)
        assert postponed.due_at == MORNING
        told = abandoned(postponed, policy=AT_NIGHT, now=MORNING)
        assert (told.told_at, told.abandoned_at) == (MORNING, minute(59))

    def test_after_the_purchase_it_is_none(self) -> None:
        checkout = self.told(Shopper(purchase=Purchase(time=minute(59), heard_at=minute(60))))
        assert checkout.is_complete
        assert checkout.told_at is None
        assert checkout.event
        assert checkout.event.id == event_id("my-store", "abc123", 1)

    @pytest.mark.parametrize("at", [None, minute(60)])
    def test_a_provider_that_waits_half_an_hour_before_it_tells_may_tell_after_the_purchase(
        self, at: datetime | None
    ) -> None:
        bought_elsewhere = Purchase(time=minute(40), heard_at=minute(40))
        left_at_minute_30 = begun(at, abandoned=True)
        checkout = left_at_minute_30.judged(Shopper(purchase=bought_elsewhere), POLICY, NOW)
        assert (checkout.suppressed, checkout.told_at) == (Suppression.COMPLETED, None)

    @pytest.mark.parametrize("at", [None, minute(60)])
    @pytest.mark.parametrize(("ago", "why"), [(HOUR, "completed"), (HOUR + INSTANT, None)])
    def test_none_waits_for_more_than_an_hour(
        self, at: datetime | None, ago: timedelta, why: str | None
    ) -> None:
        bought_elsewhere = Purchase(time=NOW - ago, heard_at=NOW - ago)
        checkout = begun(at, abandoned=True).judged(Shopper(purchase=bought_elsewhere), POLICY, NOW)
        assert checkout.suppressed == why

    def test_an_order_that_we_hear_of_late_counts_from_when_it_was_placed(self) -> None:
        long_ago = Purchase(time=NOW - 2 * HOUR, heard_at=NOW - INSTANT)
        checkout = begun(minute(60), abandoned=True).judged(Shopper(purchase=long_ago), POLICY, NOW)
        assert checkout.told_at == NOW

    def test_its_next_word_of_another_day_is_another_abandonment(self) -> None:
        told = self.told()
        again = applied(told, telling(minute(59) + DAY, abandoned=True), now=NOW + DAY)
        assert kind_of(again) is EventType.ABANDONED
        assert again.judged(Shopper(told_at=told.told_at), POLICY, NOW + 2 * DAY).suppressed is None

    def test_its_next_word_of_the_same_hour_is_none(self) -> None:
        again = applied(self.told(), telling(minute(60), abandoned=True), now=NOW + timedelta(minutes=9))
        assert kind_of(again) is EventType.UPDATED

    def test_of_what_the_sweep_has_told_it_is_not_told_again(self) -> None:
        told = abandoned(begun(minute(1)))
        now = DUE + timedelta(minutes=5)
        left = applied(told, telling(minute(2), abandoned=True), now=now)
        assert left.judged(Shopper(told_at=DUE), POLICY, now).suppressed is Suppression.COOLDOWN


class TestComingBack:
    def test_who_leaves_again_is_abandoned_again(self) -> None:
        first = abandoned(begun(minute(1)))
        back = applied(first, telling(minute(2)), now=DUE + DAY)
        assert (back.status, kind_of(back)) == (Status.ACTIVE, EventType.RESUMED)
        second = abandoned(back, now=DUE + DAY + ABANDON_AFTER)
        assert (second.status, kind_of(second)) == (Status.ABANDONED, EventType.ABANDONED)
        assert second.abandoned_at == DUE + DAY + ABANDON_AFTER
        assert second.found_at == DUE

    def test_who_comes_back_is_told_of_whether_or_not_the_abandonment_was(self) -> None:
        held = abandoned(begun(minute(1)), Shopper(told_at=JUST_TOLD))
        assert kind_of(applied(held, telling(minute(2)), now=DUE)) is EventType.RESUMED
