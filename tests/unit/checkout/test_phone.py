import pytest

from checkout_recovery.checkout.phone import Phone


@pytest.mark.parametrize(
    ("number", "dial_code", "international"),
    [
        ("9876543210", "91", None),
        ("9876543210", "+91", None),
        ("98765 43210", "91", None),
        ("919876543210", "91", None),
        ("+919876543210", None, None),
        ("9876543210", None, "+919876543210"),
        ("+91 98765-43210", "91", None),
    ],
)
def test_a_whole_number_has_its_e164_form(
    number: str, dial_code: str | None, international: str | None
) -> None:
    phone = Phone.of(number, dial_code, international)
    assert (phone.number, phone.e164) == (number, "+919876543210")
    assert phone.country_code == "91"


@pytest.mark.parametrize("number", ["2015550123", "4915112345678"])
def test_a_number_that_is_none_of_its_dial_codes_country_is_nobody_elses(number: str) -> None:
    assert Phone.of(number, "91").e164 is None


def test_a_dial_code_repeated_in_the_number_is_understood() -> None:
    assert Phone.of("919876543210", "91").e164 == "+919876543210"


@pytest.mark.parametrize("number", ["9876543210", "98765 43210", "09876543210", "+919876543210"])
def test_a_number_typed_otherwise_is_the_same_number(number: str) -> None:
    whole = Phone.of("+919876543210")
    assert Phone(number=number).completed_by(whole).e164 == whole.e164


def test_what_is_no_number_is_not_the_same() -> None:
    assert Phone(number="xyz").completed_by(Phone(number="abc", dial_code="91")).dial_code is None


@pytest.mark.parametrize("number", ["98765", "", "call me", "+", "+91", "0" * 300, "²³", "٩٨٧٦"])
def test_what_is_none_yet_is_kept_without(number: str) -> None:
    phone = Phone.of(number, "91")
    assert (phone.number, phone.e164) == (number, None)


def test_without_a_dial_code_no_country_is_assumed() -> None:
    assert Phone.of("9876543210").e164 is None
    assert Phone.of("9876543210").country_code is None
