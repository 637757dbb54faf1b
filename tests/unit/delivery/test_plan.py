"""Which deliveries an event calls for, and which of them are held back."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from checkout_recovery.checkout.event import Event, EventType
from checkout_recovery.checkout.lifecycle import Checkout, Status, Suppression
from checkout_recovery.checkout.phone import Phone
from checkout_recovery.checkout.snapshot import Consent, Details, Shop
from checkout_recovery.delivery.plan import Delivery, delivery_id, plan
from checkout_recovery.errors import BrokenRecord
from checkout_recovery.subscriptions.subscription import ConsentRule, Required, Subscription
from tests.subscriptions import subscription

NOW = datetime(2026, 5, 7, 10, tzinfo=UTC)
WANTS_ALL = subscription()
GRANTED_ONLY = subscription("sub_2", consent=ConsentRule.GRANTED)
NEEDS_EMAIL = subscription("sub_3", requires=(Required.EMAIL,))
CASHFREES = subscription("sub_4", "abandonedCheckout", "v1")


def written(kind: EventType, suppressed: Suppression | None = None, **details: Any) -> Checkout:
    return Checkout(
        store_id="my-store",
        checkout_id="abc123",
        sequence=2,
        status=Status.ABANDONED,
        event=Event(id="evt_1", type=kind, time=NOW),
        details=Details.model_validate({"phone": Phone.of("9876543210", "91")} | details),
        suppressed=suppressed,
        told_at=NOW,
    )


def reasons(checkout: Checkout, *subscriptions: Subscription) -> dict[str, Suppression | None]:
    return {
        delivery.subscription.subscription_id: delivery.suppressed
        for delivery in plan(checkout, subscriptions)
    }


class TestWhoGetsAnEvent:
    def test_those_who_want_it(self) -> None:
        assert reasons(written(EventType.RESUMED), WANTS_ALL, CASHFREES) == {"sub_1": None}

    @pytest.mark.parametrize("kind", [EventType.RESUMED, EventType.ABANDONED])
    def test_what_comes_for_one_that_is_stopped_is_planned_and_held_back(self, kind: EventType) -> None:
        paused = subscription("sub_5", paused=True)
        disabled = subscription("sub_6", paused=True, disabled_reason="gone")
        checkout = written(kind, Suppression.COOLDOWN)
        assert reasons(checkout, paused, disabled) == {"sub_5": "paused", "sub_6": "disabled"}

    def test_each_in_the_words_of_its_contract(self) -> None:
        deliveries = plan(written(EventType.ABANDONED), [WANTS_ALL, CASHFREES])
        assert [(d.contract.topic, d.contract.version) for d in deliveries] == [
            ("checkout", "2026-11"),
            ("abandonedCheckout", "v1"),
        ]

    def test_nobody_hears_of_a_checkout_that_was_deleted_before_it_was_known(self) -> None:
        deleted = written(EventType.CREATED).model_copy(update={"discarded": True, "sequence": 1})
        assert reasons(deleted, WANTS_ALL) == {}

    def test_nor_of_one_that_was_not_known_any_more(self) -> None:
        again = {"discarded": True, "sequence": 9, "erased_at": 8}
        assert reasons(written(EventType.CREATED).model_copy(update=again), WANTS_ALL) == {}

    def test_one_that_was_known_is_told_of_when_it_is_deleted(self) -> None:
        deleted = written(EventType.UPDATED).model_copy(update={"discarded": True})
        assert reasons(deleted, WANTS_ALL) == {"sub_1": None}

    def test_what_was_never_written_is_no_event(self) -> None:
        with pytest.raises(BrokenRecord):
            list(plan(Checkout(store_id="my-store", checkout_id="abc123"), [WANTS_ALL]))


class TestWhatIsHeldBack:
    @pytest.mark.parametrize("why", Suppression)
    def test_an_abandonment_that_is_held_back_is_planned_for_all_and_says_why(self, why: Suppression) -> None:
        checkout = written(EventType.ABANDONED, why)
        assert reasons(checkout, WANTS_ALL, CASHFREES) == {"sub_1": why, "sub_4": why}

    def test_one_that_a_subscription_holds_back_is_told_to_the_others(self) -> None:
        checkout = written(EventType.ABANDONED)
        assert reasons(checkout, WANTS_ALL, GRANTED_ONLY, NEEDS_EMAIL) == {
            "sub_1": None,
            "sub_2": "consent",
            "sub_3": "missing_field",
        }

    def test_what_holds_for_all_is_named_before_what_holds_for_one(self) -> None:
        refused = written(EventType.ABANDONED, Suppression.COOLDOWN, consent=Consent.DENIED)
        assert reasons(refused, WANTS_ALL, NEEDS_EMAIL) == {"sub_1": "cooldown", "sub_3": "cooldown"}

    @pytest.mark.parametrize("kind", sorted(set(EventType) - {EventType.ABANDONED}))
    def test_nothing_but_an_abandonment_is_held_back(self, kind: EventType) -> None:
        checkout = written(kind, Suppression.QUIET_HOURS, consent=Consent.DENIED)
        assert reasons(checkout, WANTS_ALL, GRANTED_ONLY, NEEDS_EMAIL) == {
            "sub_1": None,
            "sub_2": None,
            "sub_3": None,
        }

    def test_one_that_nobody_wanted_when_it_was_found_is_not_for_who_wants_it_now(self) -> None:
        for told_at in (None, NOW - timedelta(days=2)):
            unclaimed = written(EventType.ABANDONED).model_copy(update={"told_at": told_at})
            assert reasons(unclaimed, WANTS_ALL, NEEDS_EMAIL) == {"sub_3": "missing_field"}

    def test_the_deliverys_id_does_not_depend_on_it(self) -> None:
        told, held = written(EventType.ABANDONED), written(EventType.ABANDONED, Suppression.COOLDOWN)
        (one,), (other,) = plan(told, [WANTS_ALL]), plan(held, [WANTS_ALL])
        assert one.delivery_id == other.delivery_id


class TestDeliveries:
    def one(self, **details: Any) -> Delivery:
        (delivery,) = plan(written(EventType.ABANDONED, **details), [WANTS_ALL])
        return delivery

    def test_its_keys_name_its_places_in_both_tables(self) -> None:
        delivery = self.one()
        assert delivery.key == ("sub_1", delivery.delivery_id)
        assert delivery.checkout_key == ("my-store", "abc123")

    def test_ids_are_the_same_each_time_and_sort_by_the_events_time(self) -> None:
        event = Event(id="evt_1", type=EventType.ABANDONED, time=NOW)
        later = event.model_copy(update={"time": NOW.replace(microsecond=1000)})
        assert delivery_id(event, "sub_1") == self.one().delivery_id
        assert delivery_id(event, "sub_1")[:16] < delivery_id(later, "sub_1")[:16]

    def test_ids_tell_events_and_subscriptions_apart(self) -> None:
        event = Event(id="evt_1", type=EventType.ABANDONED, time=NOW)
        other = event.model_copy(update={"id": "evt_2"})
        assert len({delivery_id(event, "a"), delivery_id(event, "b"), delivery_id(other, "a")}) == 3

    @pytest.mark.parametrize("kind", EventType)
    def test_only_an_abandonment_asks_for_a_message(self, kind: EventType) -> None:
        (delivery,) = plan(written(kind), [WANTS_ALL])
        assert delivery.is_abandonment is (kind is EventType.ABANDONED)

    @pytest.mark.parametrize(
        ("shop", "url"),
        [
            (None, "https://my-store"),
            (Shop(link="my-store.com", shopify_domain="x.myshopify.com"), "https://my-store.com"),
            (Shop(link="http://my-store.com/en"), "http://my-store.com/en"),
            (Shop(shopify_domain="x.myshopify.com"), "https://x.myshopify.com"),
            (Shop(link="https://" + "x" * 2041), "https://my-store"),
        ],
    )
    def test_the_shop_goes_by_its_own_address_as_far_as_it_is_known(
        self, shop: Shop | None, url: str
    ) -> None:
        assert self.one(shop=shop).shop_url == url
