"""Amounts of money as providers write them: numbers, or strings that hold a number.

An amount is a `Decimal` in the currency's main unit, with the digits that the provider gave.
"""

import re
from decimal import Decimal
from typing import Any

_AMOUNT = re.compile(r"-?\d{1,15}(\.\d{1,20})?", re.ASCII)
_NUMBERS = (int, Decimal)
"""A bool is no number, though it is an int."""


def parse_amount(value: Any) -> Decimal | None:
    """Returns the amount, or None where `value` holds none (then the caller keeps the value as it is)."""
    if type(value) in _NUMBERS:
        return Decimal(value)
    if isinstance(value, str) and _AMOUNT.fullmatch(value):
        return Decimal(value)
    return None
