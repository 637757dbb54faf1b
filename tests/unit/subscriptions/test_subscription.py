from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from checkout_recovery.checkout.event import EventType
from checkout_recovery.checkout.lifecycle import Checkout
from checkout_recovery.checkout.phone import Phone
from checkout_recovery.checkout.snapshot import Consent, Details
from checkout_recovery.subscriptions.subscription import (
    SUBSCRIPTION_ID,
    ConsentRule,
    Required,
    Subscription,
    new_subscription_id,
)
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


WHOLE = Details(
    phone=Phone.of("9876543210", "91"),
    email="asha@example.com",
    name="Asha Patel",
    checkout_url="https://my-store.com/cart/42",
)


class TestConsent:
    @pytest.mark.parametrize(
        ("rule", "consent", "why"),
        [
            (ConsentRule.NOT_DENIED, Consent.GRANTED, None),
            (ConsentRule.NOT_DENIED, None, None),
            (ConsentRule.NOT_DENIED, Consent.DENIED, "consent"),
            (ConsentRule.GRANTED, Consent.GRANTED, None),
            (ConsentRule.GRANTED, None, "consent"),
            (ConsentRule.GRANTED, Consent.DENIED, "consent"),
        ],
    )
    def test_who_has_refused_is_never_told_of_and_unknown_is_not_agreed(
        self, rule: ConsentRule, consent: Consent | None, why: str | None
    ) -> None:
        details = WHOLE.model_copy(update={"consent": consent})
        assert replace(SUBSCRIPTION, consent=rule).suppresses(details) == why

    def test_by_default_all_are_told_of_but_those_who_have_refused(self) -> None:
        assert SUBSCRIPTION.consent is ConsentRule.NOT_DENIED

    def test_consent_is_asked_for_before_what_is_missing(self) -> None:
        strict = replace(SUBSCRIPTION, consent=ConsentRule.GRANTED, requires=tuple(Required))
        assert strict.suppresses(Details()) == "consent"


class TestRequirements:
    @pytest.mark.parametrize("required", Required)
    def test_a_shopper_of_whom_all_is_known_is_told_of(self, required: Required) -> None:
        assert replace(SUBSCRIPTION, requires=(required,)).suppresses(WHOLE) is None

    @pytest.mark.parametrize(
        ("required", "missing"),
        [
            (Required.PHONE, {"phone": None}),
            (Required.PHONE, {"phone": Phone.of("98765")}),
            (Required.EMAIL, {"email": None}),
            (Required.EMAIL, {"email": "asha@"}),
            (Required.CHECKOUT_URL, {"checkout_url": None}),
            (Required.CHECKOUT_URL, {"checkout_url": ""}),
            (Required.NAME, {"name": None}),
            (Required.NAME, {"name": ""}),
        ],
    )
    def test_what_is_required_must_be_known_and_whole(
        self, required: Required, missing: dict[str, object]
    ) -> None:
        details = WHOLE.model_copy(update=missing)
        assert replace(SUBSCRIPTION, requires=(required,)).suppresses(details) == "missing_field"

    @pytest.mark.parametrize("required", Required)
    def test_what_is_not_required_may_be_missing(self, required: Required) -> None:
        known = {Required.NAME: "first_name"}.get(required, required.value)
        details = Details(**{known: getattr(WHOLE, known) or "Asha"})
        assert replace(SUBSCRIPTION, requires=(required,)).suppresses(details) is None

    @pytest.mark.parametrize("name", ["name", "first_name", "last_name"])
    def test_any_part_of_a_name_is_a_name(self, name: str) -> None:
        assert replace(SUBSCRIPTION, requires=(Required.NAME,)).suppresses(Details(**{name: "Asha"})) is None

    def test_of_several_each_must_be_known(self) -> None:
        both = replace(SUBSCRIPTION, requires=(Required.PHONE, Required.EMAIL))
        assert both.suppresses(WHOLE) is None
        assert both.suppresses(WHOLE.model_copy(update={"email": None})) == "missing_field"


class TestWhoIsToldOfAnAbandonment:
    CHECKOUT = Checkout(store_id="my-store", checkout_id="abc123", details=WHOLE)

    def test_who_wants_it_and_does_not_suppress_it(self) -> None:
        assert SUBSCRIPTION.is_told_of_abandonment(self.CHECKOUT)

    @pytest.mark.parametrize(
        "silent",
        [
            replace(SUBSCRIPTION, events=(EventType.CREATED,)),
            replace(SUBSCRIPTION, paused=True),
            replace(SUBSCRIPTION, disabled_reason="gone"),
            replace(SUBSCRIPTION, consent=ConsentRule.GRANTED),
        ],
    )
    def test_who_does_not_is_not(self, silent: Subscription) -> None:
        assert not silent.is_told_of_abandonment(self.CHECKOUT)


def test_versions_only_grow() -> None:
    first = next_version(0, NOW)
    assert next_version(first, NOW) == first + 1
    assert next_version(first, NOW - timedelta(days=1)) == first + 1
    assert next_version(0, NOW + timedelta(seconds=1)) == first + 1000, "made anew, it does not start again"
