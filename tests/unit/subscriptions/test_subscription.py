from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from checkout_recovery.checkout.event import EventType
from checkout_recovery.subscriptions.subscription import SUBSCRIPTION_ID, Subscription, new_subscription_id
from checkout_recovery.subscriptions.version import next_version

NOW = datetime(2026, 5, 7, 10, 0, tzinfo=UTC)
SUBSCRIPTION = Subscription(
    subscription_id="sub_1",
    store_id="my-store",
    topic="checkout",
    version="2026-11",
    callback_url="https://receiver.example.com/path-token",
    events=(EventType.CREATED, EventType.ABANDONED),
    key_version=1,
    created_at=NOW,
    updated_at=NOW,
)


def test_ids_have_their_form_and_sort_by_time() -> None:
    low = new_subscription_id(NOW + timedelta(milliseconds=1), lambda _: 0)
    high = new_subscription_id(NOW, lambda bits: (1 << bits) - 1)
    assert high < low
    assert SUBSCRIPTION_ID.fullmatch(low)
    assert SUBSCRIPTION_ID.fullmatch(high)
    assert len(low) == len("sub_") + 26


def test_ids_of_one_moment_differ() -> None:
    assert len({new_subscription_id(NOW) for _ in range(1000)}) == 1000


def test_the_events_that_were_asked_for_are_wanted() -> None:
    wanted = [event for event in EventType if SUBSCRIPTION.wants(event)]
    assert wanted == [EventType.CREATED, EventType.ABANDONED]


@pytest.mark.parametrize(
    "silent", [replace(SUBSCRIPTION, paused=True), replace(SUBSCRIPTION, disabled_reason="gone")]
)
def test_a_paused_or_disabled_subscription_wants_nothing(silent: Subscription) -> None:
    assert not any(silent.wants(event) for event in EventType)


def test_a_callback_url_is_not_shown() -> None:
    assert "path-token" not in repr(SUBSCRIPTION)


def test_versions_only_grow() -> None:
    first = next_version(0, NOW)
    assert next_version(first, NOW) == first + 1
    assert next_version(first, NOW - timedelta(days=1)) == first + 1
    assert next_version(0, NOW + timedelta(seconds=1)) == first + 1000, "made anew, it does not start again"
