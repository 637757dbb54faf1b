"""Times as an operator writes and reads them: always with their zone."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import typer

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_LENGTH = re.compile(r"(\d{1,6})([smhd])", re.ASCII)


def now() -> datetime:
    return datetime.now(UTC)


def length(text: str | timedelta) -> timedelta:
    """Reads ``90s``, ``5m``, ``2h`` or ``7d``; wrong usage otherwise. Typer also has a default read."""
    if isinstance(text, timedelta):
        return text
    found = _LENGTH.fullmatch(text.strip())
    if not found:
        raise typer.BadParameter("a length of time is written as 90s, 5m, 2h or 7d")
    return timedelta(seconds=int(found[1]) * _UNITS[found[2]])


def moment(text: str) -> datetime:
    """Reads ``2h`` (that long ago) or an ISO 8601 time with its zone; wrong usage otherwise."""
    try:
        if _LENGTH.fullmatch(text.strip()):
            return now() - length(text)
        read = datetime.fromisoformat(text.strip())
    except (ValueError, OverflowError):
        raise typer.BadParameter("a time is written as 2h (ago) or 2026-11-22T10:00Z") from None
    if read.tzinfo is None:
        raise typer.BadParameter("a time needs its zone: 2026-11-22T10:00Z, or +05:30 for India")
    return read.astimezone(UTC)


def wire(at: datetime) -> str:
    """Writes a time for the API: UTC, with ``Z``, since a ``+`` means a space in a query."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def shown(value: Any) -> str:
    """Writes a time of an answer in the operator's own zone; what is no time stays as it is."""
    if not isinstance(value, str):
        return "-"
    try:
        return datetime.fromisoformat(value).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
    except (ValueError, OverflowError):
        return value


def span(length: timedelta) -> str:
    """Writes a length of time in its two largest units: ``2 h 5 min``."""
    seconds = abs(int(length.total_seconds()))
    parts = [(seconds // 86_400, "d"), (seconds // 3600 % 24, "h"), (seconds // 60 % 60, "min")]
    told = [f"{number} {unit}" for number, unit in [*parts, (seconds % 60, "s")] if number][:2]
    return " ".join(told) or "0 s"
