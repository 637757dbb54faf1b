from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import permutations

import pytest

from checkout_recovery.checkout.event import Event, EventType, event_id
from checkout_recovery.checkout.lifecycle import Checkout, Status, Unchanged
from checkout_recovery.checkout.phone import Phone
from checkout_recovery.checkout.shopper import Purchase
from checkout_recovery.checkout.snapshot import Address, Cart, Item
from tests.unit.checkout.tellings import ABANDON_AFTER, NEW, NOW, START, applied, minute, telling, truth


def kind_of(checkout: Checkout) -> EventType | None:
    return checkout.event.type if checkout.event else None


class TestEvents:
    def test_the_first_telling_creates(self) -> None:
        checkout = applied(NEW, telling(minute(1), name="Asha"))
        assert kind_of(checkout) is EventType.CREATED
        assert checkout.sequence == 1
        assert checkout.status is Status.ACTIVE
        assert checkout.due_at == NOW + ABANDON_AFTER

    def test_the_next_updates(self) -> None:
        checkout = applied(NEW, telling(minute(1)), telling(minute(2), name="Asha"))
        assert kind_of(checkout) is EventType.UPDATED

    def test_a_finished_abandonment_abandons_at_once(self) -> None:
        checkout = applied(NEW, telling(minute(1), abandoned=True))
        assert kind_of(checkout) is EventType.ABANDONED
        assert checkout.status is Status.ABANDONED
        assert checkout.abandoned_at == minute(1)
        assert checkout.due_at is None

    def test_a_shopper_who_comes_back_resumes(self) -> None:
        checkout = applied(NEW, telling(minute(1), abandoned=True), telling(minute(2), stage="PHONE_ENTERED"))
        assert kind_of(checkout) is EventType.RESUMED
        assert checkout.status is Status.ACTIVE
        assert checkout.due_at == NOW + ABANDON_AFTER

    def test_a_late_telling_from_before_is_no_return(self) -> None:
        checkout = applied(NEW, telling(minute(2), abandoned=True), telling(minute(1), name="Asha"))
        assert kind_of(checkout) is EventType.UPDATED
        assert checkout.status is Status.ABANDONED

    def test_a_purchase_completes(self) -> None:
        checkout = applied(NEW, telling(minute(1)), telling(minute(2), completed=True))
        assert kind_of(checkout) is EventType.COMPLETED
        assert checkout.purchased_at == minute(2)
        assert checkout.due_at is None

    def test_a_purchase_after_an_abandonment_recovers(self) -> None:
        left, back, bought = (
            telling(minute(1), abandoned=True),
            telling(minute(2)),
            telling(minute(3), completed=True),
        )
        checkout = applied(NEW, left, back, bought)
        assert kind_of(checkout) is EventType.RECOVERED
        assert checkout.status is Status.RECOVERED

    def test_an_abandonment_told_after_the_purchase_recovers_nothing(self) -> None:
        checkout = applied(NEW, telling(minute(1), completed=True), telling(minute(2), abandoned=True))
        assert checkout.status is Status.COMPLETED
        assert kind_of(checkout) is EventType.COMPLETED

    def test_after_the_purchase_details_are_filled_in_and_nobody_is_told(self) -> None:
        bought = applied(NEW, telling(minute(2), completed=True))
        filled = applied(bought, telling(minute(1), name="Asha"))
        assert filled.details.name == "Asha"
        assert filled.sequence == 2
        assert filled.event == bought.event

    def test_a_deleted_checkout_is_waited_for_no_longer(self) -> None:
        checkout = applied(NEW, telling(minute(1), name="Asha"), telling(minute(2), discarded=True))
        assert checkout.discarded
        assert checkout.due_at is None
        assert checkout.details.name == "Asha"

    def test_a_deletion_that_comes_first_is_remembered(self) -> None:
        deletion, creation = telling(minute(2), discarded=True), telling(minute(1), name="Asha")
        checkout = applied(NEW, deletion, creation)
        assert (checkout.discarded, checkout.due_at, checkout.details.name) == (True, None, "Asha")


class TestMerging:
    def test_newer_wins_whatever_comes_last(self) -> None:
        checkout = applied(
            NEW, telling(minute(2), email="new@example.com"), telling(minute(1), email="old@example.com")
        )
        assert checkout.details.email == "new@example.com"

    def test_what_an_older_telling_knows_and_no_newer_says_is_taken(self) -> None:
        checkout = applied(NEW, telling(minute(2), name="Asha"), telling(minute(1), email="a@example.com"))
        assert (checkout.details.name, checkout.details.email) == ("Asha", "a@example.com")

    def test_an_older_telling_that_adds_nothing_is_stale(self) -> None:
        checkout = applied(NEW, telling(minute(1), name="Asha"), telling(minute(3), name="Devi"))
        assert checkout.apply(telling(minute(2), name="Asha"), NOW, ABANDON_AFTER) is Unchanged.STALE

    def test_a_newer_cart_replaces_the_whole_cart(self) -> None:
        full, empty = Cart(items=(Item(title="A"), Item(title="B"))), Cart(items=())
        assert (
            applied(NEW, telling(minute(1), cart=full), telling(minute(2), cart=empty)).details.cart == empty
        )

    def test_an_address_merges_field_by_field(self) -> None:
        checkout = applied(
            NEW,
            telling(minute(1), address=Address(zip="380001", city="Surat")),
            telling(minute(2), address=Address(city="Ahmedabad")),
        )
        assert checkout.details.address == Address(zip="380001", city="Ahmedabad")

    def test_totals_without_lines_add_to_the_cart_that_is_known(self) -> None:
        lines, totals = Cart(items=(Item(title="A"),), total=Decimal(10)), Cart(total=Decimal(8))
        expected = Cart(items=(Item(title="A"),), total=Decimal(8))
        first, second = telling(minute(1), cart=lines), telling(minute(2), cart=totals)
        assert applied(NEW, first, second).details.cart == expected
        assert applied(NEW, second, first).details.cart == expected

    def test_a_cart_with_lines_replaces_totals_that_it_leaves_out(self) -> None:
        totals, lines = Cart(total=Decimal(8)), Cart(items=(Item(title="A"),))
        checkout = applied(NEW, telling(minute(1), cart=totals), telling(minute(2), cart=lines))
        assert checkout.details.cart == lines

    def test_a_dial_code_once_told_stays_with_its_number(self) -> None:
        whole, bare = Phone.of("9876543210", "91"), Phone.of("98765 43210")
        first, second = telling(minute(1), phone=whole), telling(minute(2), phone=bare)
        expected = Phone(number="98765 43210", dial_code="91", e164="+919876543210")
        assert applied(NEW, first, second).details.phone == expected
        assert applied(NEW, second, first).details.phone == expected

    @pytest.mark.parametrize("order", list(permutations(range(4))))
    def test_a_borrowed_dial_code_does_not_depend_on_the_order(self, order: tuple[int, ...]) -> None:
        phones = [
            Phone.of("9876543210", "91"),
            Phone.of("2015550123", "1"),
            Phone.of("9876543210", "44"),
            Phone.of("9876543210"),
        ]
        told = [telling(minute(at), phone=phone) for at, phone in enumerate(phones)]
        expected = Phone(number="9876543210", dial_code="44", e164=phones[2].e164)
        assert applied(NEW, *(told[at] for at in order)).details.phone == expected

    def test_a_country_that_is_told_is_not_mixed_with_another(self) -> None:
        first, second = Phone.of("9876543210", "91"), Phone.of("9876543210", "44")
        checkout = applied(NEW, telling(minute(1), phone=first), telling(minute(2), phone=second))
        assert checkout.details.phone == second

    def test_another_number_does_not_inherit_the_dial_code(self) -> None:
        whole, other = Phone.of("9876543210", "91"), Phone.of("2015550123")
        checkout = applied(NEW, telling(minute(1), phone=whole), telling(minute(2), phone=other))
        assert checkout.details.phone == other

    def test_an_address_that_says_nothing_is_none(self) -> None:
        assert applied(NEW, telling(minute(1), address=Address())).details.address is None

    def test_a_corrected_phone_replaces_the_mistyped(self) -> None:
        right = Phone.of("9876543210", "91")
        checkout = applied(NEW, telling(minute(1), phone=Phone.of("98765")), telling(minute(2), phone=right))
        assert checkout.details.phone == right

    def test_of_one_moment_the_later_stage_wins(self) -> None:
        later, earlier = telling(minute(1), stage="OTP_VERIFIED"), telling(minute(1), stage="INITIATED")
        assert applied(NEW, later, earlier).details.stage == "OTP_VERIFIED"
        assert applied(NEW, earlier, later).details.stage == "OTP_VERIFIED"


class TestTime:
    def test_without_an_event_time_arrival_decides(self) -> None:
        first, second = telling(None, email="a@example.com"), telling(None, email="b@example.com")
        assert applied(NEW, first, second).details.email == "b@example.com"
        assert applied(NEW, second, first).details.email == "a@example.com"

    def test_what_arrives_without_a_time_is_newer_even_than_a_fast_clock(self) -> None:
        fast = telling(NOW + timedelta(minutes=4), email="a@example.com")
        assert applied(NEW, fast, telling(None, email="b@example.com")).details.email == "b@example.com"

    def test_a_time_in_the_future_is_not_believed(self) -> None:
        future = telling(NOW + timedelta(days=365), email="a@example.com")
        checkout = applied(NEW, future)
        assert checkout.updated_at == NOW
        after = applied(checkout, telling(minute(61), email="b@example.com"), now=NOW + timedelta(minutes=2))
        assert after.details.email == "b@example.com"

    @pytest.mark.parametrize("year", [1, 999, 1970])
    def test_a_time_long_past_sorts_before_all_others(self, year: int) -> None:
        ancient = telling(datetime(year, 1, 2, tzinfo=UTC), email="a@example.com", name="Asha")
        checkout = applied(NEW, telling(minute(1), email="b@example.com"), ancient)
        assert (checkout.details.email, checkout.details.name) == ("b@example.com", "Asha")


class TestRepetition:
    def test_a_repeated_event_id_changes_nothing(self) -> None:
        again = telling(None, "evt_1", name="Asha")
        checkout = applied(NEW, again, telling(None, "evt_2", name="Devi"))
        assert checkout.apply(again, NOW, ABANDON_AFTER) is Unchanged.DUPLICATE

    def test_unless_its_content_differs(self) -> None:
        checkout = applied(NEW, telling(None, "evt_1", name="Asha"), telling(None, "evt_1", name="Devi"))
        assert checkout.details.name == "Devi"

    def test_the_same_telling_without_id_and_time_is_a_repetition(self) -> None:
        checkout = applied(NEW, telling(name="Asha"))
        assert checkout.apply(telling(name="Asha"), NOW, ABANDON_AFTER) is Unchanged.DUPLICATE

    def test_the_same_telling_from_the_future_is_a_repetition(self) -> None:
        """Also once its time has nearly come, and when others came between."""
        ahead = telling(NOW + timedelta(minutes=30), name="Asha")
        checkout = applied(NEW, ahead, telling(NOW + timedelta(minutes=31), name="Devi"))
        for minutes in (1, 26, 40):
            later = NOW + timedelta(minutes=minutes)
            assert checkout.apply(ahead, later, ABANDON_AFTER) is Unchanged.DUPLICATE

    def test_the_same_content_under_a_new_event_id_is_a_sign_of_life(self) -> None:
        checkout = applied(NEW, telling(None, "evt_1", name="Asha"))
        later = applied(checkout, telling(None, "evt_2", name="Asha"), now=NOW + timedelta(minutes=5))
        assert later.due_at == NOW + timedelta(minutes=5) + ABANDON_AFTER

    def test_an_abandonment_resent_under_another_request_id_is_not_told_twice(self) -> None:
        # Cashfree's only id is that of the request, and a retry may well be another request.
        checkout = applied(NEW, telling(None, "req_1", name="Asha", abandoned=True))
        again = telling(None, "req_2", name="Asha", abandoned=True)
        assert checkout.apply(again, NOW + timedelta(minutes=2), ABANDON_AFTER) is Unchanged.DUPLICATE

    def test_memory_of_events_is_bounded(self) -> None:
        checkout = applied(NEW, *(telling(None, f"evt_{n}", name=f"N{n}") for n in range(200)))
        assert len(checkout.seen) == 128 * 12
        assert checkout.apply(telling(None, "evt_72", name="N72"), NOW, ABANDON_AFTER) is Unchanged.DUPLICATE


class TestErased:
    """Told again after its shopper was erased: the number is all that is left of it."""

    tombstone = NEW.model_copy(update={"sequence": 8, "erased_at": 8})

    def test_nothing_is_known_of_it(self) -> None:
        assert not self.tombstone.is_known
        assert not self.tombstone.is_complete
        assert self.tombstone.event is None

    def test_it_is_created_under_the_next_number(self) -> None:
        again = applied(self.tombstone, telling(START, name="Asha"))
        assert again.sequence == 9
        assert again.event == Event(id=event_id("my-store", "abc123", 9), type=EventType.CREATED, time=NOW)
        assert again.created_at == NOW
        assert again.is_known
        assert again.is_new

    def test_what_it_is_told_next_is_an_update(self) -> None:
        again = applied(self.tombstone, telling(START), telling(minute(1), name="Asha"))
        assert again.event
        assert (again.sequence, again.event.type, again.is_new) == (10, EventType.UPDATED, False)

    def test_but_for_its_numbers_it_is_as_one_that_was_never_told(self) -> None:
        tellings = telling(START, phone=Phone.of("9876543210")), telling(minute(1), completed=True)
        assert truth(applied(self.tombstone, *tellings)) == truth(applied(NEW, *tellings)) | {"erased_at": 8}

    def test_no_purchase_of_its_shopper_ends_it(self) -> None:
        purchase = Purchase(time=NOW, heard_at=NOW, order_id="1001")
        assert self.tombstone.buy(purchase, NOW) is Unchanged.STALE
