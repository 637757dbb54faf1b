from decimal import Decimal

import pytest

from checkout_recovery.checkout.money import parse_amount


@pytest.mark.parametrize(
    ("given", "written"),
    [
        (999, "999"),
        (0, "0"),
        (Decimal("170.00"), "170.00"),
        ("170.00", "170.00"),
        ("-5", "-5"),
        (2**70, str(2**70)),
    ],
)
def test_an_amount_keeps_its_digits(given: object, written: str) -> None:
    assert str(parse_amount(given)) == written


@pytest.mark.parametrize(
    "given",
    [
        "",
        " 9",
        "9 ",
        "1,299.00",
        "₹9",
        "NaN",
        "Infinity",
        "1e5",
        "1_000",
        "٩",
        ".5",
        "5.",
        None,
        True,
        [],
        {},
        1.5,
    ],
)
def test_anything_else_is_none(given: object) -> None:
    assert parse_amount(given) is None
