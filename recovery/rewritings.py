"""The bodies that a saved body may have been before something on the way read it and wrote it anew.

Works on JSON's own tokens and never parses numbers, so that 170.00 stays 170.00 where it still says so.
"""

import json
import re
from collections.abc import Callable, Iterator
from itertools import product

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')
_DECIMAL = re.compile(r"-?\d+\.\d+")
_BOM = b"\xef\xbb\xbf"
_MOST_BYTES = 1024 * 1024
_OPENING, _CLOSING = ("{", "["), ("}", "]")

_Tokens = list[str]
_Rewrite = Callable[[str], str]
_Lay = Callable[[_Tokens], str]


def earlier_bodies(body: bytes) -> Iterator[tuple[str, bytes]]:
    """Bodies that the sender may have signed instead, each with what has been done to it since."""
    for told, other in _around(body):
        if other != body:
            yield told, other
    try:
        tokens = _TOKEN.findall(body.decode("utf-8-sig"))
        json.loads(body.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return
    if len(body) > _MOST_BYTES:
        return
    tried = {body}
    for (number, numbered), (spelling, spelled), (layout, laid_out) in product(
        _NUMBERS, _SPELLINGS, _LAYOUTS
    ):
        written = laid_out([spelled(numbered(token)) for token in tokens]).encode(errors="surrogatepass")
        if written not in tried:
            tried.add(written)
            yield ", ".join(part for part in (layout, spelling, number) if part), written


def _around(body: bytes) -> Iterator[tuple[str, bytes]]:
    yield "without the line end that the saved body has", body.rstrip(b"\r\n")
    yield "with a line end, which the saved body lacks", body + b"\n"
    yield "without the byte order mark that the saved body has", body.removeprefix(_BOM)
    yield "with the line ends of Windows", body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    yield "with the line ends of Unix", body.replace(b"\r\n", b"\n")


def _as_it_is(token: str) -> str:
    return token


def _two_places(token: str) -> str:
    return f"{float(token):.2f}" if _DECIMAL.fullmatch(token) else token


def _no_trailing_zeros(token: str) -> str:
    return token.rstrip("0").rstrip(".") if _DECIMAL.fullmatch(token) else token


def _one_zero_at_most(token: str) -> str:
    short = _no_trailing_zeros(token)
    return short if short == token or "." in short else short + ".0"


def _spell(token: str, *, is_ascii: bool, escapes_slash: bool) -> str:
    if not token.startswith('"'):
        return token
    text = json.dumps(json.loads(token, strict=False), ensure_ascii=is_ascii)
    return text.replace("/", "\\/") if escapes_slash else text


def _joined(tokens: _Tokens, *, comma: str, colon: str) -> str:
    return "".join({",": comma, ":": colon}.get(token, token) for token in tokens)


def _indented(tokens: _Tokens, width: int) -> str:
    return "".join(_indented_parts(tokens, width))


def _indented_parts(tokens: _Tokens, width: int) -> Iterator[str]:
    depth = 0
    for part, before, after in zip(tokens, ["", *tokens], [*tokens[1:], ""], strict=False):
        if part in _CLOSING:
            depth -= 1
            yield part if before in _OPENING else "\n" + " " * width * depth + part
        elif part in _OPENING:
            depth += 1
            yield part if after in _CLOSING else part + "\n" + " " * width * depth
        elif part == ",":
            yield ",\n" + " " * width * depth
        else:
            yield ": " if part == ":" else part


_NUMBERS: tuple[tuple[str, _Rewrite], ...] = (
    ("", _as_it_is),
    ("decimals written with two places", _two_places),
    ("decimals written without trailing zeros", _no_trailing_zeros),
    ("whole decimals written with one zero", _one_zero_at_most),
)
_SPELLINGS: tuple[tuple[str, _Rewrite], ...] = (
    ("", _as_it_is),
    ("letters beyond ASCII as they are", lambda token: _spell(token, is_ascii=False, escapes_slash=False)),
    (r"letters beyond ASCII as \u escapes", lambda token: _spell(token, is_ascii=True, escapes_slash=False)),
    (r"slashes as \/", lambda token: _spell(token, is_ascii=False, escapes_slash=True)),
    (
        r"letters as \u escapes and slashes as \/",
        lambda token: _spell(token, is_ascii=True, escapes_slash=True),
    ),
)
_LAYOUTS: tuple[tuple[str, _Lay], ...] = (
    ("without spaces between the parts", lambda tokens: _joined(tokens, comma=",", colon=":")),
    ("with a space after each comma and colon", lambda tokens: _joined(tokens, comma=", ", colon=": ")),
    ("indented by two", lambda tokens: _indented(tokens, 2)),
    ("indented by four", lambda tokens: _indented(tokens, 4)),
)
