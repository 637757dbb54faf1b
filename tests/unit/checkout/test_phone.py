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


@pytest.mark.parametrize("number", ["98765", "", "call me", "+", "+91", "0" * 300, "²³", "٩٨٧٦"])
def test_what_is_none_yet_is_kept_without(number: str) -> None:
    phone = Phone.of(number, "91")
    assert (phone.number, phone.e164) == (number, None)


def test_without_a_dial_code_no_country_is_assumed() -> None:
    assert Phone.of("9876543210").e164 is None
    assert Phone.of("9876543210").country_code is None
