import re
from datetime import timedelta
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkout_recovery.checkout.phone import Phone
from checkout_recovery.checkout.shopper import (
    UNKNOWN,
    Kind,
    Purchase,
    Shopper,
    email_identity,
    handle,
    has_contact,
    identities,
    is_one_shopper,
    looked_up_by,
    phone_identities,
    written_under,
)
from checkout_recovery.checkout.snapshot import Details
from tests.unit.checkout.tellings import NOW, minute

NUMBER = "9876543210"
KEY = bytes(range(32))


class TestPhones:
    @pytest.mark.parametrize(
        "phone",
        [
            Phone.of(NUMBER, "91"),
            Phone.of("+91 98765-43210"),
            Phone.of("98765 43210"),
            Phone.of("(09876) 543210"),
            Phone.of("919876543210", "91"),
            Phone.of(NUMBER, international="+919876543210"),
        ],
    )
    def test_one_number_is_one_identity_however_it_is_written(self, phone: Phone) -> None:
        assert phone_identities(phone) == [NUMBER]

    @pytest.mark.parametrize("typed", ["919876543210", "0091 98765 43210"])
    def test_of_twelve_digits_without_a_plus_the_first_two_may_be_a_country(self, typed: str) -> None:
        assert phone_identities(Phone.of(typed)) == ["919876543210", NUMBER]

    def test_more_digits_than_a_number_at_home_has_are_no_country_that_there_is_not(self) -> None:
        assert phone_identities(Phone.of("00000999999999999")) == ["999999999999"]

    def test_ten_digits_begin_with_no_country(self) -> None:
        # Read as +98 76543210 it would be another shopper's, in Iran.
        assert phone_identities(Phone.of(NUMBER)) == [NUMBER]

    def test_a_number_that_its_country_does_not_have_is_taken_as_it_was_typed(self) -> None:
        assert phone_identities(Phone.of("2015550123", "91")) == ["2015550123"]

    @pytest.mark.parametrize(
        ("typed", "is_one"),
        [
            ("", False),
            ("987654", False),
            ("0000987654", False),
            ("987654321", False),
            ("9876543210", True),
            ("9" * 15, True),
            ("9" * 16, False),
            ("call me", False),
        ],
    )
    def test_a_half_typed_number_is_none(self, typed: str, is_one: bool) -> None:
        assert phone_identities(Phone.of(typed)) == ([typed] if is_one else [])

    def test_without_a_phone_there_is_none(self) -> None:
        assert phone_identities(None) == []


class TestEmails:
    @pytest.mark.parametrize("typed", ["asha@example.com", "Asha@Example.COM", "  asha@example.com\n"])
    def test_case_and_space_around_do_not_matter(self, typed: str) -> None:
        assert email_identity(typed) == "asha@example.com"

    @pytest.mark.parametrize(
        "typed", [None, "", " ", "asha", "asha@", "asha@example", "asha@.", "@example.com"]
    )
    def test_a_half_typed_address_is_none(self, typed: str | None) -> None:
        assert email_identity(typed) is None

    def test_what_is_before_the_at_is_told_apart(self) -> None:
        assert email_identity("asha+1@example.com") != email_identity("asha@example.com")


class TestIdentities:
    def test_the_surest_comes_first(self) -> None:
        details = Details(cart_token="c-1", phone=Phone.of(NUMBER, "91"), email="A@example.com")
        assert list(identities(details)) == [
            (Kind.CART, "c-1"),
            (Kind.PHONE, NUMBER),
            (Kind.EMAIL, "a@example.com"),
        ]

    def test_a_number_told_with_its_country_before_counts_too(self) -> None:
        corrected = Details(phone=Phone.of("9123456780"), whole_phone=Phone.of(NUMBER, "91"))
        assert list(identities(corrected)) == [(Kind.PHONE, "9123456780"), (Kind.PHONE, NUMBER)]

    def test_the_same_number_told_twice_is_one(self) -> None:
        again = Details(phone=Phone.of(NUMBER), whole_phone=Phone.of(NUMBER, "91"))
        assert list(identities(again)) == [(Kind.PHONE, NUMBER)]

    def test_who_has_told_nothing_has_none(self) -> None:
        assert list(identities(Details(name="Asha", phone=Phone.of("98"), email="asha@"))) == []


class TestContact:
    @pytest.mark.parametrize(
        "details",
        [
            Details(phone=Phone.of(NUMBER)),
            Details(email="asha@example.com"),
            Details(phone=Phone.of("98"), email="asha@example.com"),
        ],
    )
    def test_a_phone_or_an_address_is_one(self, details: Details) -> None:
        assert has_contact(details)

    @pytest.mark.parametrize(
        "details",
        [
            Details(),
            Details(cart_token="c-1"),
            Details(phone=Phone.of("98"), email="asha@"),
            Details(phone=Phone.of("98"), whole_phone=Phone.of(NUMBER, "91")),
        ],
    )
    def test_a_cart_is_none_and_nothing_half_typed(self, details: Details) -> None:
        assert not has_contact(details)


class TestHandles:
    def test_a_handle_is_the_same_each_time(self) -> None:
        # Fixed, because the table's keys are made of it: another value would forget every shopper.
        assert handle(KEY, "my-store", Kind.PHONE, NUMBER) == "phone:32325653ccff8d5f9530d88c69d0b3b6"

    def test_it_shows_its_kind_and_nothing_of_the_datum(self) -> None:
        kind, _, digest = handle(KEY, "my-store", Kind.EMAIL, "asha@example.com").partition(":")
        assert kind == "email"
        assert re.fullmatch("[0-9a-f]{32}", digest)

    def test_key_store_kind_and_identity_all_tell_it_apart(self) -> None:
        made = {
            handle(KEY, "my-store", Kind.PHONE, NUMBER),
            handle(KEY[::-1], "my-store", Kind.PHONE, NUMBER),
            handle(KEY, "another-store", Kind.PHONE, NUMBER),
            handle(KEY, "my-store", Kind.CART, NUMBER),
            handle(KEY, "my-store", Kind.EMAIL, NUMBER),
            handle(KEY, "my-store", Kind.PHONE, "9876543211"),
        }
        assert len({each.partition(":")[2] for each in made}) == 6


CART, PHONE, EMAIL, ONLY_EMAIL = "cart:c", "phone:p", "email:e", "only_email:e"


class TestOneShopper:
    @pytest.mark.parametrize("shared", [CART, PHONE])
    def test_who_shares_a_cart_or_a_phone_is_one(self, shared: str) -> None:
        assert is_one_shopper([shared, "email:1", "phone:1"], ["email:2", "phone:2", shared])

    @pytest.mark.parametrize(
        ("one", "other"), [([EMAIL], [EMAIL]), ([EMAIL, PHONE], [EMAIL]), ([EMAIL], [EMAIL, CART, PHONE])]
    )
    def test_so_is_who_shares_an_e_mail_address_where_one_has_no_phone(
        self, one: list[str], other: list[str]
    ) -> None:
        assert is_one_shopper(one, other)

    def test_two_phones_with_one_e_mail_address_are_two(self) -> None:
        assert not is_one_shopper([EMAIL, "phone:1"], [EMAIL, "phone:2"])

    @pytest.mark.parametrize("other", [[], ["email:2"], ["phone:e"]])
    def test_who_shares_nothing_is_another(self, other: list[str]) -> None:
        assert not is_one_shopper([EMAIL], other)


every_shopper = st.lists(
    st.sampled_from(["cart:1", "cart:2", "phone:1", "phone:2", "email:1", "email:2"]), max_size=4, unique=True
)


class TestRecords:
    """What is written down for one checkout is found by those of the same shopper, and by no others."""

    def test_who_has_a_phone_is_not_known_by_e_mail_to_others_who_have_one(self) -> None:
        assert written_under([PHONE, EMAIL]) == (PHONE, EMAIL)
        assert looked_up_by([PHONE, EMAIL]) == (PHONE, ONLY_EMAIL)

    def test_who_has_none_is_known_by_e_mail_to_all(self) -> None:
        assert written_under([CART, EMAIL]) == (CART, EMAIL, ONLY_EMAIL)
        assert looked_up_by([CART, EMAIL]) == (CART, EMAIL)

    @given(one=every_shopper, other=every_shopper)
    def test_the_records_connect_those_who_are_one_shopper(self, one: list[str], other: list[str]) -> None:
        found = set(written_under(one)) & set(looked_up_by(other))
        assert bool(found) == is_one_shopper(one, other)

    @given(one=every_shopper, other=every_shopper)
    def test_both_are_one_shopper_or_neither_is(self, one: list[str], other: list[str]) -> None:
        assert is_one_shopper(one, other) == is_one_shopper(other, one)


FIRST = Purchase(time=minute(10), heard_at=minute(30), order_id="first")
SECOND = Purchase(time=minute(20), heard_at=minute(21), order_id="second")


class TestJoining:
    def test_of_all_handles_the_latest_counts(self) -> None:
        parts = (
            Shopper(told_at=minute(1), purchase=SECOND),
            Shopper(told_at=minute(3)),
            Shopper(told_at=minute(2), purchase=FIRST),
        )
        for one, two, three in permutations(parts):
            assert one.joined(two).joined(three) == Shopper(told_at=minute(3), purchase=SECOND)

    def test_who_is_unknown_adds_nothing(self) -> None:
        known = Shopper(told_at=minute(1), purchase=FIRST)
        assert UNKNOWN.joined(known) == known.joined(UNKNOWN) == known

    def test_two_unknown_are_unknown(self) -> None:
        assert UNKNOWN.joined(Shopper()) == UNKNOWN


class TestPurchases:
    def test_one_that_was_dated_says_when_the_order_was_placed(self) -> None:
        told = FIRST.told_of("abc123")
        assert (told.checkout_id, told.completed, told.event_time) == ("abc123", True, minute(10))
        assert (told.details.order_id, told.details.completed_at) == ("first", minute(10))

    def test_one_that_was_not_claims_no_time_of_the_order(self) -> None:
        told = Purchase(time=NOW, heard_at=NOW, order_id="1").told_of("abc123")
        assert (told.event_time, told.details.completed_at) == (NOW, None)

    def test_told_again_it_is_the_same_event(self) -> None:
        later = FIRST.model_copy(update={"heard_at": FIRST.heard_at + timedelta(hours=1)})
        assert later.told_of("abc123") == FIRST.told_of("abc123")

    def test_without_an_order_it_is_no_event_that_could_repeat(self) -> None:
        assert Purchase(time=NOW, heard_at=NOW).told_of("abc123").event_id is None
