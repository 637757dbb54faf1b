"""A saved request: its headers from one file, its body from another."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recovery.failure import Failure

_START_LINE = re.compile(r"(HTTP/[\d.]+ \d{3}.*)|([A-Z]+ \S+ HTTP/[\d.]+)")
_MOST_BYTES = 10 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Saved:
    """What was received, as it was saved."""

    headers: Mapping[str, tuple[str, ...]]
    """Names in lower case; a name may have come several times."""
    body: bytes

    def header(self, name: str) -> str | None:
        """A header's value; None where it did not come.

        Raises:
            Failure: it came several times, so that nobody can tell which is meant.
        """
        values = self.headers.get(name, ())
        if len(set(values)) > 1:
            raise Failure(f"The header {name} is in the file with several values.")
        return values[0] if values else None


def load(headers: Path, body: Path) -> Saved:
    """Reads the two files.

    Raises:
        Failure: they cannot be read, or the first holds no headers.
    """
    return Saved(read_headers(_text(headers), headers.name), _bytes(body))


def read_headers(text: str, file: str) -> dict[str, tuple[str, ...]]:
    """Reads headers as `curl -i`, `curl -v` or a receiver's log has them, or a JSON object of them.

    Raises:
        Failure: a line is no header. It is told by its number: it may hold a secret.
    """
    if text.lstrip().startswith("{"):
        return _from_json(text, file)
    found: dict[str, tuple[str, ...]] = {}
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.removeprefix("> ").removeprefix("< ").rstrip()
        if not line.strip(" <>"):
            if found:
                break  # what follows is a body
            continue
        if _START_LINE.fullmatch(line):
            continue
        name, colon, value = line.partition(":")
        if not colon or not name or " " in name.strip():
            raise Failure(f"{file}, line {number}: not a header (Name: value).")
        found[name.strip().lower()] = (*found.get(name.strip().lower(), ()), value.strip())
    if not found:
        raise Failure(f"{file} has no headers.")
    return found


def _from_json(text: str, file: str) -> dict[str, tuple[str, ...]]:
    try:
        read: Any = json.loads(text)
    except ValueError:
        raise Failure(f"{file} begins like JSON and is none.") from None
    inner = read.get("headers", read)
    found: dict[str, tuple[str, ...]] = {}
    for name, value in (inner if isinstance(inner, dict) else {}).items():
        values = value if isinstance(value, list) else [value]
        if not all(isinstance(one, str) for one in values):
            raise Failure(f"{file}: a header's value is a text, or a list of them.")
        found[name.lower()] = (*found.get(name.lower(), ()), *values)
    if not found:
        raise Failure(f"{file} has no headers.")
    return found


def _text(file: Path) -> str:
    raw = _bytes(file).removeprefix(b"\xef\xbb\xbf")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")  # as HTTP headers were once, and any bytes are


def _bytes(file: Path) -> bytes:
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise Failure(f"{file} is too large to be a webhook.")
        return file.read_bytes()
    except OSError as error:
        raise Failure(f"{file} cannot be read: {error.strerror}.") from None
