"""Whatever JSON arrives, an adapter refuses it or keeps all of it."""

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from checkout_recovery.checkout.order import Order
from checkout_recovery.checkout.snapshot import Snapshot
from checkout_recovery.errors import MalformedRequest
from checkout_recovery.json_codec import dumps, parse
from checkout_recovery.providers import PROVIDERS
from checkout_recovery.providers.fields import read_time
from checkout_recovery.providers.own import read_order, read_own
from checkout_recovery.providers.provider import Notice, Request
from local.fixtures import (
    CASHFREE,
    FLEXYPE_2025_09_FULL,
    OWN,
    SHOPIFY_ORDER,
    SHOPIFY_UPDATED,
)
from local.samples import FLEXYPE_2026_05

Reader = Callable[[bytes], Notice]


def reader(provider: str, **headers: str) -> Reader:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda body: PROVIDERS[provider].read(Request(named, body))


READERS: dict[str, tuple[Reader, dict[str, Any]]] = {
    "flexype 2025-09": (reader("flexype", x_webhook_version="2025-09"), FLEXYPE_2025_09_FULL),
    "flexype 2026-05": (reader("flexype", x_webhook_version="2026-05"), FLEXYPE_2026_05),
    "cashfree": (reader("cashfree", x_webhook_topic="abandonedCheckout", x_webhook_version="v1"), CASHFREE),
    "checkouts/update": (reader("shopify", x_shopify_topic="checkouts/update"), SHOPIFY_UPDATED),
    "checkouts/delete": (reader("shopify", x_shopify_topic="checkouts/delete"), SHOPIFY_UPDATED),
    "orders/create": (reader("shopify", x_shopify_topic="orders/create"), SHOPIFY_ORDER),
}
OWN_ORDER: dict[str, Any] = {
    "order_id": 1001,
    "checkout_id": "cart-42",
    "checkout_token": "t-42",
    "cart_token": "c-42",
    "phone": {"number": "9876543210", "dial_code": "91"},
    "email": "john.doe@example.com",
    "completed_at": "2026-05-07T10:10:00Z",
}
every_reader = pytest.mark.parametrize("name", READERS)

leaves = (
    st.none()
    | st.booleans()
    | st.integers(min_value=-(10**20), max_value=10**20)
    | st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-(10**9), max_value=10**9)
    | st.text(max_size=8)
    | st.sampled_from(["", " ", "999.00", "2026-05-07T10:00:00+05:30", 1778148000, "+919876543210", "true"])
)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


def paths_of(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value but the whole."""
    members = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, member in members:
        yield (*path, key)
        yield from paths_of(member, (*path, key))


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


@st.composite
def bodies(draw: st.DrawFn, sample: dict[str, Any]) -> dict[str, Any]:
    """Samples with odd values in some places and odd members in others."""
    body = sample
    for _ in range(draw(st.integers(0, 4))):
        body = replaced(body, draw(st.sampled_from(list(paths_of(body)))), draw(values))
    return {**body, **draw(st.dictionaries(st.text(max_size=6), values, max_size=2))}


def facts_in(value: Any) -> Iterator[str]:
    """The leaves of a JSON value, each in a form that does not depend on how it is stored."""
    if isinstance(value, BaseModel):
        value = dict(value)
    if isinstance(value, dict):
        for member in value.values():
            yield from facts_in(member)
    elif isinstance(value, list | tuple):
        for member in value:
            yield from facts_in(member)
    elif isinstance(value, datetime):
        yield canonical_time(value)
    elif value is not None and value != "":
        yield canonical(value)


def canonical(value: Any) -> str:
    moment = read_time(value) if isinstance(value, str) else None
    if moment is not None:
        return canonical_time(moment)
    text = str(value)
    if text.lower() in ("true", "false"):
        return text.lower()
    return f"number {Decimal(text).normalize()}" if AMOUNT.fullmatch(text) else text


def canonical_time(moment: datetime) -> str:
    """As a number: of milliseconds, or of seconds where there are none."""
    milliseconds = round(moment.timestamp() * 1000)
    return canonical(milliseconds if milliseconds % 1000 else milliseconds // 1000)


AMOUNT = re.compile(r"-?\d+(\.\d+)?", re.ASCII)


def told_by(told: Snapshot | Order) -> set[str]:
    """Everything that a snapshot or an order tells, with what an adapter checks and need not repeat."""
    checked = {canonical(value) for value in ("ACR_CHECKOUT", 0, 1, True, False)}
    return set(facts_in(told)) | checked


def tellings_in(notice: Notice) -> list[Snapshot | Order]:
    return [*notice.snapshots, *notice.orders]


@every_reader
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_nothing_that_a_provider_sent_is_lost(name: str, data: st.DataObject) -> None:
    read, sample = READERS[name]
    body = data.draw(bodies(sample))
    try:
        notice = read(dumps(body).encode())
    except MalformedRequest:
        return
    for told in tellings_in(notice):
        assert set(facts_in(body)) - told_by(told) == set()


@every_reader
@given(body=st.dictionaries(st.text(max_size=8), values, max_size=4) | values)
@settings(max_examples=60, deadline=None)
def test_anything_is_taken_or_refused(name: str, body: Any) -> None:
    read, _ = READERS[name]
    with suppress(MalformedRequest):
        assert isinstance(read(dumps(body).encode()), Notice)


@every_reader
@given(body=st.binary(max_size=64))
@settings(max_examples=60, deadline=None)
def test_any_bytes_are_taken_or_refused(name: str, body: bytes) -> None:
    read, _ = READERS[name]
    with suppress(MalformedRequest):
        assert isinstance(read(body), Notice)


@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_our_own_schema_takes_or_refuses_anything(data: st.DataObject) -> None:
    body = data.draw(bodies(OWN))
    with suppress(MalformedRequest):
        (snapshot,) = read_own(dumps(body).encode()).snapshots
        assert snapshot.digest()


@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_our_own_order_takes_or_refuses_anything(data: st.DataObject) -> None:
    body = data.draw(bodies(OWN_ORDER))
    with suppress(MalformedRequest):
        (order,) = read_order(dumps(body).encode()).orders
        assert order.told_of("abc").digest()


def without_its_bytes(told: Snapshot | Order) -> Snapshot | Order:
    """A telling but for the digest of the bytes that told it, which are not written with it."""
    return told.model_copy(update={"told_by": None}) if isinstance(told, Snapshot) else told


@every_reader
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_what_is_told_can_be_written_and_read_again(name: str, data: st.DataObject) -> None:
    read, sample = READERS[name]
    try:
        notice = read(dumps(data.draw(bodies(sample))).encode())
    except MalformedRequest:
        return
    for told in map(without_its_bytes, tellings_in(notice)):
        again = type(told).model_validate_json(told.model_dump_json(exclude_defaults=True))
        assert again == told
        assert dumps(again.details.extra) == dumps(told.details.extra)


@every_reader
def test_what_is_left_is_exactly_what_was_parsed(name: str) -> None:
    read, sample = READERS[name]
    odd = '{"n":170.00,"i":92233720368547758079,"a":[1.10,null,""],"o":{"é":0.0}}'
    (told,) = tellings_in(read(dumps(sample | {"odd": parse(odd.encode())}).encode()))
    extra = told.details.extra
    held = extra["odd"] if "odd" in extra else extra["envelope"]["odd"]
    assert dumps(held) == odd
