"""The one JSON reader and writer: exact numbers, no duplicate keys, nothing that cannot be written again.

Numbers stay what they were: integers of any reasonable size are ``int``, all others ``Decimal``, so
``170.00`` leaves as ``170.00`` and an id beyond 2**53 keeps its last digits.

jiter reads what strangers wrote, at most 200 levels deep, and simplejson writes. Numbers that jiter lets pass
and that must not be kept are first looked for in the bytes: most show that there are none, and need no walk.
"""

import json
from codecs import BOM_UTF8
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import jiter
import simplejson

from checkout_recovery.errors import MalformedRequest

MAX_NUMBER_CHARS = 40
MAX_EXPONENT = 30

_encoder = simplejson.JSONEncoder(
    use_decimal=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")
)


class JsonError(MalformedRequest):
    """The bytes are not JSON that can be kept faithfully; the detail holds no part of them."""


_FAULTS = {
    "Detected duplicate key": "An object repeats a key.",
    "recursion limit exceeded": "The body is nested too deeply.",
    "number out of range": "A number has too many digits.",
    "Internal error": "A number is out of range.",  # an exponent beyond what `decimal` itself can hold
    "unexpected end of hex escape": "A string holds half a surrogate pair.",
    "lone leading surrogate": "A string holds half a surrogate pair.",
}
"""What jiter's errors begin with, and what is said of them; of all others, that the body is not JSON."""
_LONG_NUMBER, _EXPONENT = b"0" * MAX_EXPONENT, b"0e0"
_AS_ZERO = bytes.maketrans(b"123456789.+-E", b"0" * 12 + b"e")
_trusted = json.JSONDecoder(parse_float=Decimal)


def parse(body: bytes) -> Any:
    """Reads JSON from a stranger.

    Raises:
        JsonError: not UTF-8, not JSON, repeated keys, NaN, absurd numbers, lone surrogates, too deep.
    """
    try:
        value = jiter.from_json(
            body.removeprefix(BOM_UTF8),
            allow_inf_nan=False,
            catch_duplicate_keys=True,
            float_mode="decimal",
            cache_mode="keys",
        )
    except ValueError as error:
        raise JsonError(_fault(body, str(error))) from None  # what is wrong may be quoted in it
    numbers = body.translate(_AS_ZERO)
    if _LONG_NUMBER in numbers or _EXPONENT in numbers:
        _check_numbers(value)
    return value


def _fault(body: bytes, error: str) -> str:
    try:
        body.decode()
    except UnicodeDecodeError:
        return "The body is not UTF-8."
    faults = (fault for beginning, fault in _FAULTS.items() if error.startswith(beginning))
    return next(faults, "The body is not JSON.")


def _check_numbers(value: Any) -> None:
    for number in _numbers(value):
        # Zero too: 0e-999999 written out has a million digits.
        if isinstance(number, Decimal) and abs(number.adjusted()) > MAX_EXPONENT:
            raise JsonError("A number is out of range.")
        if len(str(number)) > MAX_NUMBER_CHARS:
            raise JsonError("A number has too many digits.")


def _numbers(value: Any) -> Iterator[int | Decimal]:
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            waiting += each.values()
        elif isinstance(each, list):
            waiting += each
        elif type(each) in (int, Decimal):
            yield each


def parse_own(text: str) -> Any:
    """Reads JSON that this package wrote."""
    return _trusted.decode(text)


def dumps(value: Any) -> str:
    """Writes compact JSON; a `Decimal` is written as the number that it is."""
    return _encoder.encode(value)
