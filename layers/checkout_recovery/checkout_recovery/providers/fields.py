"""Reads foreign JSON objects: what can be understood is taken out, all else stays as it was sent.

Providers send fields that are absent, retyped, garbled or new without notice, and a request must not fail
for one of them. So a value that cannot be read as what its field should hold stays where it is, unaltered,
together with the fields that nobody described: `Fields.left` is what a part keeps as its `extra`.
``null`` and ``""`` mean that the provider says nothing.
"""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

from checkout_recovery.checkout.money import parse_amount
from checkout_recovery.errors import FieldError, MalformedRequest
from checkout_recovery.json_codec import parse

MAX_KEY_BYTES = 512
"""The longest id of a checkout. DynamoDB's sort keys hold 1,024 bytes."""

_T = TypeVar("_T")
Told = dict[str, Any]
"""What is told of a part of the domain, by its fields."""
Layout = Sequence[tuple[str, str, Callable[[Any], Any]]]
"""How a part is told: the name of a member, the field that it tells and what reads it.

Of several members that tell one field, the first in the layout that can be read counts; the others are kept.
"""
_SAYS_NOTHING = (None, "")
_NUMBERS = (int, Decimal)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST_TIME = datetime(2000, 1, 1, tzinfo=UTC)
"""No checkout is older. Zero times of other languages (year 1, 1970) mean that nobody set the field."""
FINER_THAN_MICROSECONDS = re.compile(r"[.,]\d{7}")


class Fields:
    """The members of one foreign object, each taken by its kind and by one of the names that it may have."""

    __slots__ = ("_taken", "left")

    def __init__(self, members: Told | None = None) -> None:
        """Takes the members over: what is read is taken out of them."""
        self.left: Told = {} if members is None else members
        """What was not taken, as it was sent."""
        self._taken: Told = {}
        """What was taken one by one, as it was sent; not what was taken by a layout."""

    @classmethod
    def of_body(cls, body: bytes) -> "Fields":
        """Reads a request's body.

        Raises:
            MalformedRequest: not a JSON object.
        """
        value = parse(body)
        if not isinstance(value, dict):
            raise MalformedRequest("The body is not a JSON object.")
        return cls(value)

    @property
    def says_nothing(self) -> bool:
        """Whether nothing was told, and nothing is left; it knows of no layout."""
        return not self.left and all(value in _SAYS_NOTHING for value in self._taken.values())

    def part(self, layout: Layout) -> Told | None:
        """Reads an object that is a part of the domain and has this layout; None where it says nothing."""
        told = self.add(layout, {})
        if self.left:
            told["extra"] = self.left
        return told or None

    def all(self, layout: Layout) -> Told:
        """Takes the fields of a layout, those that are told, as `text` and the others take one."""
        return self.add(layout, {})

    def add(self, layout: Layout, told: Told) -> Told:
        """Takes those fields of a layout that are not told yet."""
        left = self.left
        for name, field, read in layout if left else ():
            if name in left and field not in told:
                if (known := read(left[name])) is not None:
                    told[field] = known
                    del left[name]
                elif left[name] in _SAYS_NOTHING:
                    del left[name]
        return told

    def text(self, *names: str) -> str | None:
        """Takes a text as it stands; a number becomes the text that it was written as."""
        return self._take(read_text, names)

    def identifier(self, *names: str) -> str | None:
        """Takes an id: a text, or an integer of any size."""
        return self._take(read_identifier, names)

    def amount(self, *names: str) -> Decimal | None:
        return self._take(parse_amount, names)

    def count(self, *names: str) -> int | None:
        return self._take(read_count, names)

    def flag(self, *names: str) -> bool | None:
        return self._take(read_flag, names)

    def time(self, *names: str) -> datetime | None:
        """Takes a moment; where it is finer than a `datetime` can be, the text also stays."""
        for name in names:
            if (moment := self._take(read_time, (name,))) is not None:
                if FINER_THAN_MICROSECONDS.search(str(self._taken[name])):
                    self.put_back(name)
                return moment
        return None

    def array(self, name: str) -> list[Any] | None:
        return self._take(read_list, (name,))

    def object(self, name: str) -> "Fields":
        """Takes an object out; without one, there is nothing to read in it."""
        value = self.left.get(name)
        if isinstance(value, dict):
            self._taken[name] = self.left.pop(name)
            return Fields(value)
        if value in _SAYS_NOTHING:
            self.left.pop(name, None)
        return Fields()

    def objects(self, name: str) -> list["Fields"] | None:
        """Takes the objects of an array; its other elements stay."""
        elements = self.array(name)
        if elements is None:
            return None
        objects = [Fields(element) for element in elements if isinstance(element, dict)]
        if len(objects) < len(elements):
            self.left[name] = [element for element in elements if not isinstance(element, dict)]
        return objects

    def peek(self, name: str) -> "Fields":
        """Reads in an object that stays here as a whole."""
        value = self.left.get(name)
        return Fields(dict(value)) if isinstance(value, dict) else Fields()

    def put_back(self, name: str) -> None:
        """Leaves a member here after all that was taken by itself."""
        if name in self._taken:
            self.left[name] = self._taken[name]

    def keep(self, name: str, child: "Fields") -> None:
        """Puts back what is left of an object that was taken out."""
        if child.left:
            self.left[name] = child.left

    def rest(self, **children: "Fields") -> dict[str, Any]:
        """Returns what is left here, with what is left of the objects that were taken out."""
        for name, child in children.items():
            self.keep(name, child)
        return self.left

    def _take(self, read: Callable[[Any], _T | None], names: tuple[str, ...]) -> _T | None:
        left = self.left
        for name in names:
            if name in left:
                if (known := read(left[name])) is not None:
                    self._taken[name] = left.pop(name)
                    return known
                if left[name] in _SAYS_NOTHING:
                    self._taken[name] = left.pop(name)
        return None


def is_key(identifier: str | None) -> bool:
    """Whether an id can be the key of a checkout."""
    return bool(identifier) and len(str(identifier).encode()) <= MAX_KEY_BYTES


def refusal(field: str, message: str) -> MalformedRequest:
    """Makes the error for one field (or header) without which a request means nothing."""
    return MalformedRequest("The request was not understood.", [FieldError(field, message)])


def read_text(value: Any) -> str | None:
    if type(value) is str:
        return value if value and not value.isspace() else None
    return str(value) if type(value) in _NUMBERS else None


def read_identifier(value: Any) -> str | None:
    return str(value) if type(value) is int else None if isinstance(value, Decimal) else read_text(value)


def read_count(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else None
    if isinstance(value, str) and re.fullmatch(r"0|[1-9]\d{0,8}", value, re.ASCII):
        return int(value)
    return None


_FLAGS = {"true": True, "false": False, "1": True, "0": False}


def read_flag(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    return _FLAGS.get(str(value).lower()) if isinstance(value, (int, str)) else None


def read_time(value: Any) -> datetime | None:
    """Reads ISO 8601, or an integer of seconds or milliseconds since the epoch (their lengths differ).

    A time without an offset could be hours off, so it is none.
    """
    moment = _from_iso(value) if isinstance(value, str) else _from_epoch(value)
    return moment if moment is not None and moment >= _EARLIEST_TIME else None


def _from_iso(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text.strip())
        return moment.astimezone(UTC) if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None


def _from_epoch(number: Any) -> datetime | None:
    if not isinstance(number, int):
        return None
    if 10**9 <= number < 10**10:
        return _EPOCH + timedelta(seconds=number)
    if 10**12 <= number < 10**13:
        return _EPOCH + timedelta(milliseconds=number)
    return None


def read_list(value: Any) -> list[Any] | None:
    return value if isinstance(value, list) else None
