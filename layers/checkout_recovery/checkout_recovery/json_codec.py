"""The one JSON reader and writer: exact numbers, no duplicate keys, nothing that cannot be written again.

Numbers stay what they were: integers of any reasonable size are ``int``, all others ``Decimal``, so
``170.00`` leaves as ``170.00`` and an id beyond 2**53 keeps its last digits.

Reads with the standard library, which is the fastest that can; it cannot write a ``Decimal``, simplejson can.
What a body must not hold is first looked for in its bytes: most show that there is none of it, and need no
walk through what was read.
"""

import json
from codecs import BOM_UTF8
from decimal import Decimal, InvalidOperation
from functools import partial
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


_SAFE_DIGITS = b"0" * MAX_NUMBER_CHARS
_TO_ZERO = bytes.maketrans(b"123456789", b"0" * 9)
_strict = partial(json.JSONDecoder, object_pairs_hook=_object, parse_float=_decimal, parse_constant=_constant)
_decoder, _long_numbers_decoder = _strict(), _strict(parse_int=_integer)
_trusted = json.JSONDecoder(parse_float=Decimal)
_ONE_KIND = bytes.maketrans(b"[]", b"{}")
_NEITHER_BRACKET_NOR_QUOTE = bytes(set(range(256)) - set(b'{}[]"'))


def parse(body: bytes) -> Any:
    """Reads JSON from a stranger.

    Raises:
        JsonError: not UTF-8, not JSON, repeated keys, NaN, absurd numbers, lone surrogates, too deep.
    """
    has_long_numbers = _SAFE_DIGITS in body.translate(_TO_ZERO)
    decoder = _long_numbers_decoder if has_long_numbers else _decoder
    try:
        value = decoder.decode(body.removeprefix(BOM_UTF8).decode())
    except UnicodeDecodeError:
        raise JsonError("The body is not UTF-8.") from None
    except RecursionError:
        raise JsonError("The body is nested too deeply.") from None
    except ValueError:
        raise JsonError("The body is not JSON.") from None
    if not _is_shallow(body):
        _check_depth(value)
    if b"\\" in body and (b"\\ud" in body or b"\\uD" in body):
        _check_surrogates(value)
    return value


def _is_shallow(body: bytes) -> bool:
    """Whether a body's brackets alone show that it is not too deep; with one in a text they may not.

    Unless one is escaped, each quote of JSON begins or ends a text; one with a bracket in it keeps its own.
    """
    nested = body.translate(_ONE_KIND, _NEITHER_BRACKET_NOR_QUOTE)
    if nested.count(b"{") <= MAX_DEPTH:
        return True
    if b"\\" in body and b'\\"' in body:
        return False
    nested = nested.replace(b'""', b"")
    for _ in range(MAX_DEPTH):
        outer = nested.replace(b"{}", b"")  # without the innermost level
        if len(outer) == len(nested):
            break
        nested = outer
    return not nested


def _check_depth(value: Any) -> None:
    level: list[Any] = [[value]]
    for _ in range(MAX_DEPTH + 1):
        members: list[Any] = []
        for each in level:
            members += each.values() if isinstance(each, dict) else each
        level = [member for member in members if isinstance(member, (dict, list))]
        if not level:
            return
    raise JsonError("The body is nested too deeply.")


def _check_surrogates(value: Any) -> None:
    try:
        dumps(value).encode()
    except UnicodeEncodeError:
        raise JsonError("A string holds half a surrogate pair.") from None


def parse_own(text: str) -> Any:
    """Reads JSON that this package wrote."""
    return _trusted.decode(text)


def dumps(value: Any) -> str:
    """Writes compact JSON; a `Decimal` is written as the number that it is."""
    return _encoder.encode(value)
