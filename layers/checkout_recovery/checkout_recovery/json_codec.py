"""The one JSON reader and writer: exact numbers, no duplicate keys, nothing that cannot be written again.

Numbers stay what they were: integers of any reasonable size are ``int``, all others ``Decimal``, so
``170.00`` leaves as ``170.00`` and an id beyond 2**53 keeps its last digits.
"""

from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

import simplejson

from checkout_recovery.errors import MalformedRequest

MAX_DEPTH = 32
MAX_NUMBER_CHARS = 40
MAX_EXPONENT = 30

_encoder = simplejson.JSONEncoder(
    use_decimal=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")
)


class JsonError(MalformedRequest):
    """The bytes are not JSON that can be kept faithfully; the detail holds no part of them."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise JsonError("An object repeats a key.")
    return members


def _integer(literal: str) -> int:
    if len(literal) > MAX_NUMBER_CHARS:
        raise JsonError("A number has too many digits.")
    return int(literal)


def _decimal(literal: str) -> Decimal:
    if len(literal) > MAX_NUMBER_CHARS:
        raise JsonError("A number has too many digits.")
    try:
        number = Decimal(literal)
    except InvalidOperation:  # an exponent beyond what `decimal` itself can hold
        raise JsonError("A number is out of range.") from None
    if abs(number.adjusted()) > MAX_EXPONENT:  # zero too: 0e-999999 written out has a million digits
        raise JsonError("A number is out of range.")
    return number


def _constant(_: str) -> NoReturn:
    raise JsonError("NaN and Infinity are not JSON.")


_decoder = simplejson.JSONDecoder(
    object_pairs_hook=_object,
    parse_int=_integer,
    parse_float=_decimal,
    parse_constant=_constant,
    allow_nan=True,  # so that parse_constant names the fault
)
_trusted = simplejson.JSONDecoder(parse_float=Decimal)


def parse(body: bytes) -> Any:
    """Reads JSON from a stranger.

    Raises:
        JsonError: not UTF-8, not JSON, repeated keys, NaN, absurd numbers, lone surrogates, too deep.
    """
    try:
        value = _decoder.decode(body.decode("utf-8"))
    except UnicodeDecodeError:
        raise JsonError("The body is not UTF-8.") from None
    except RecursionError:
        raise JsonError("The body is nested too deeply.") from None
    except ValueError:
        raise JsonError("The body is not JSON.") from None
    if _may_be_unfit(body):
        _check(value, MAX_DEPTH)
    return value


def _may_be_unfit(body: bytes) -> bool:
    """Whether a body may nest too deeply or hold half a surrogate pair: most cannot, and need no walk."""
    nests = body.count(b"{") + body.count(b"[") > MAX_DEPTH
    return nests or b"\\ud" in body or b"\\uD" in body


def _check(value: Any, depth: int) -> None:
    if isinstance(value, str):
        if not value.isascii():
            _check_encodable(value)
    elif isinstance(value, dict):
        if not depth:
            raise JsonError("The body is nested too deeply.")
        for key, member in value.items():
            _check(key, depth)
            _check(member, depth - 1)
    elif isinstance(value, list):
        if not depth:
            raise JsonError("The body is nested too deeply.")
        for member in value:
            _check(member, depth - 1)


def _check_encodable(text: str) -> None:
    try:
        text.encode()  # in C: a loop over the characters takes fifty times as long
    except UnicodeEncodeError:
        raise JsonError("A string holds half a surrogate pair.") from None


def parse_own(text: str) -> Any:
    """Reads JSON that this package wrote."""
    return _trusted.decode(text)


def dumps(value: Any) -> str:
    """Writes compact JSON; a `Decimal` is written as the number that it is."""
    return _encoder.encode(value)
