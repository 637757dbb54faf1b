"""Requests as the adapters get them, made from the fixtures in `events/`."""

import base64
from datetime import UTC, datetime

from checkout_recovery.checkout.order import Order
from checkout_recovery.checkout.snapshot import Snapshot
from checkout_recovery.providers import PROVIDERS
from checkout_recovery.providers.provider import Credentials, Notice, Request
from local import fixtures

NOW = datetime(2026, 5, 7, 10, 0, 1, tzinfo=UTC)
CREDENTIALS = Credentials((fixtures.SECRET,))


def request_of(fixture: fixtures.Fixture) -> Request:
    event = fixture.event
    body = event.get("body", "")
    raw = base64.b64decode(body) if event["isBase64Encoded"] else body.encode()
    return Request(event["headers"], raw)


def read(fixture: fixtures.Fixture) -> Notice:
    provider = fixture.event["pathParameters"]["provider"]
    return PROVIDERS[provider].read(request_of(fixture))


def snapshot_of(fixture: fixtures.Fixture) -> Snapshot:
    (snapshot,) = read(fixture).snapshots
    return snapshot


def order_of(fixture: fixtures.Fixture) -> Order:
    notice = read(fixture)
    assert notice.snapshots == ()
    (order,) = notice.orders
    return order
