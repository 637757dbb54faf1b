import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkout_recovery.json_codec import JsonError, dumps, parse, parse_own

DEEPEST = 200
DECIMALS = st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**12), max_value=10**12)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | DECIMALS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)

MUTATED = st.builds(
    lambda value, at, byte: (
        (body := dumps(value).encode())[: at % len(body)] + byte + body[at % len(body) + 1 :]
    ),
    VALUES,
    st.integers(0, 200),
    st.binary(max_size=2)
    | st.sampled_from([b"e", b"0", b".", b"-", b'"', b",", b"}", b"]", b"\\", b"\\u", b"1e9"]),
)
"""JSON of which a byte was replaced."""


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b'{"a":1,}',
        b"[1,]",
        b"{'a':1}",
        b"{a:1}",
        b'{"a":1}{"a":1}',
        b'{"a":1}\xc2\xa0',
        b'"tab\tin a string"',
        b'"\\x41"',
        b"01",
        b"+1",
        b".5",
        b"5.",
        b"0x10",
        b"1_000",
        b"True",
    ],
)
def test_what_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(JsonError, match="not JSON"):
        parse(body)


@pytest.mark.parametrize("body", [b"\xff\xfe{\x00}\x00", b'{"a":"\xe9"}', b'"\xed\xa0\xbd"', b'"\xc0\xaf"'])
def test_what_is_not_utf_8_is_refused(body: bytes) -> None:
    with pytest.raises(JsonError, match="not UTF-8"):
        parse(body)


def test_a_byte_order_mark_is_let_pass() -> None:
    assert parse(b'\xef\xbb\xbf{"a":1}') == {"a": 1}


@pytest.mark.parametrize("body", [b'{"a":1,"a":1}', b'[{"b":{"a":1,"c":2,"\\u0061":3}}]'])
def test_a_repeated_key_is_refused_because_readers_differ_on_which_counts(body: bytes) -> None:
    with pytest.raises(JsonError, match="repeats a key"):
        parse(body)


@pytest.mark.parametrize("body", [b"NaN", b"Infinity", b"-Infinity", b'{"a":[NaN]}'])
def test_nan_and_infinity_are_refused(body: bytes) -> None:
    with pytest.raises(JsonError, match="not JSON"):
        parse(body)


@pytest.mark.parametrize(
    "number",
    [
        "1e999",
        "-1e999",
        "1e-999",
        "1e31",
        "0e-999999",
        "0e999999",
        "0.0e99",
        "1e99999999999999999999",
        "1e-99999999999999999999",
        "0e99999999999999999999",
        "9" * 5000,
        "-" + "9" * 5000,
        "0." + "9" * 5000,
        "1e" + "9" * 5000,
    ],
)
def test_an_absurd_number_is_refused(number: str) -> None:
    with pytest.raises(JsonError, match=r"out of range|too many digits"):
        parse(b'{"price":%s}' % number.encode())


@pytest.mark.parametrize("number", ["9" * 40, "-" + "9" * 39])
def test_the_longest_number_is_read_and_a_longer_one_is_not(number: str) -> None:
    assert parse(number.encode()) == int(number)
    with pytest.raises(JsonError, match="too many digits"):
        parse(f"[1,{number}9]".encode())


@pytest.mark.parametrize("number", ["1" * 34 + ".5", "0." + "0" * 33 + "1"])
@pytest.mark.parametrize("beside", ["", "9f1e5a", "7" * 50])
def test_what_a_number_may_be_does_not_depend_on_what_stands_beside_it(number: str, beside: str) -> None:
    with pytest.raises(JsonError, match="out of range"):
        parse(f'{{"price":{number},"ref":"{beside}"}}'.encode())


def test_digits_in_a_text_are_no_number() -> None:
    assert parse(b'["%s",1]' % (b"7" * 50)) == ["7" * 50, 1]


@pytest.mark.parametrize(
    "literal", [b'"\\ud83d"', b'"\\ude00\\ud83d"', b'"\xf0\x9f\x98\x80 \\udc00"', b'{"\\ud83d":1}']
)
def test_half_a_surrogate_pair_is_refused_because_it_cannot_be_written_again(literal: bytes) -> None:
    with pytest.raises(JsonError, match="surrogate"):
        parse(literal)


def test_a_whole_surrogate_pair_is_one_character() -> None:
    assert parse(b'"\\ud83d\\ude00"') == "😀"


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}"), (b'["[",', b"]")])
def test_depth_is_bounded_however_deep_it_goes(opening: bytes, closing: bytes) -> None:
    def nested(depth: int) -> bytes:
        return opening * depth + b"1" + closing * depth

    assert parse(nested(DEEPEST))
    for depth in (DEEPEST + 1, 1_000, 50_000):
        with pytest.raises(JsonError, match="nested too deeply"):
            parse(nested(depth))


@given(st.binary(max_size=24) | MUTATED)
def test_only_what_the_standard_library_reads_is_read_and_as_it_reads_it(body: bytes) -> None:
    try:
        value = parse(body)
    except JsonError:
        return
    known = json.loads(body.decode("utf-8-sig"), parse_float=Decimal, parse_constant=pytest.fail)
    assert repr(value) == repr(known)


@given(VALUES, st.integers(0, 8))
def test_what_the_standard_library_writes_is_read(value: Any, indent: int) -> None:
    written = json.dumps(value, indent=indent, default=float, ensure_ascii=indent % 2 == 0)
    assert parse(written.encode()) == json.loads(written, parse_float=Decimal)


def test_an_error_repeats_nothing_of_the_body() -> None:
    for body in (b'{"secret-key":1,"secret-key":2}', b"secret", b'"secret', b'["secret\\ud83d"]'):
        with pytest.raises(JsonError) as error:
            parse(body)
        assert "secret" not in str(error.value)
        assert error.value.__cause__ is None
        assert error.value.__suppress_context__ or error.value.__context__ is None


@pytest.mark.parametrize(
    "number", ["170.00", "0.10", "-0.0", "0.00", "9007199254740993", "12345678901234567890.0"]
)
def test_a_number_leaves_with_the_digits_that_it_came_with(number: str) -> None:
    assert dumps(parse(number.encode())) == number


def test_ids_beyond_two_to_the_53rd_keep_their_last_digits() -> None:
    assert parse(b"[9007199254740993,340282366920938463463374607431768211455]") == [2**53 + 1, 2**128 - 1]


def test_an_exponent_keeps_its_value() -> None:
    assert parse(dumps(parse(b"1e5")).encode()) == Decimal(100000)


@given(VALUES)
def test_what_is_written_reads_back_as_it_was(value: Any) -> None:
    written = dumps(value)
    assert parse(written.encode()) == parse_own(written) == value
    assert dumps(parse(written.encode())) == written


@given(VALUES)
def test_what_is_written_is_json_to_others(value: Any) -> None:
    assert json.loads(dumps(value), parse_float=Decimal) == value


@given(st.binary() | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_whatever_arrives_is_read_or_refused_and_nothing_else(body: bytes) -> None:
    try:
        value = parse(body)
    except JsonError:
        return
    assert parse(dumps(value).encode()) == value


def test_nan_is_never_written() -> None:
    for value in (float("nan"), Decimal("NaN"), Decimal("Infinity")):
        with pytest.raises(ValueError, match="JSON"):
            dumps(value)
