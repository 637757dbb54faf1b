"""Fan-out's own logic, with collaborators that remember what they were asked."""

from dataclasses import replace
from datetime import timedelta

import pytest

from checkout_recovery.checkout.event import EventType
from checkout_recovery.checkout.lifecycle import Checkout, Policy
from checkout_recovery.checkout.phone import Phone
from checkout_recovery.checkout.shopper import UNKNOWN, Purchase, Shopper
from checkout_recovery.checkout.snapshot import Consent, Details, Snapshot
from checkout_recovery.delivery.plan import delivery_id
from checkout_recovery.delivery.send import Failure
from checkout_recovery.queues import RetryMessage
from checkout_recovery.subscriptions.store import StoreSettings
from checkout_recovery.subscriptions.subscription import ConsentRule, Required
from checkout_recovery.tables.registry import Subscriptions
from tests.subscriptions import subscription
from tests.unit.delivery.conftest import Counted
from tests.unit.delivery.world import NOW, World

PHONE = "9123456780"
WAIT = timedelta(minutes=15)
POLICY = Policy(cooldown=timedelta(days=1))


def checkout(checkout_id: str = "c1", *, seconds: int = 0, before: Checkout | None = None) -> Checkout:
    snapshot = Snapshot(
        checkout_id=checkout_id,
        event_id=f"evt-{seconds}",
        event_time=NOW + timedelta(seconds=seconds),
        details=Details(phone=Phone.of(PHONE, "91"), stage="PHONE_ENTERED"),
    )
    held = before or Checkout(store_id="my-store", checkout_id=checkout_id)
    changed = held.apply(snapshot, NOW + timedelta(seconds=seconds), WAIT)
    assert isinstance(changed, Checkout)
    return changed


def abandoned(before: Checkout | None = None, shopper: Shopper = UNKNOWN) -> Checkout:
    """A checkout that the sweep has found quiet."""
    found = (before or checkout()).abandon(shopper, POLICY, NOW + WAIT)
    assert isinstance(found, Checkout)
    return found


def bought(before: Checkout) -> Checkout:
    """A checkout whose shopper has bought a minute after it was found quiet."""
    then = NOW + WAIT + timedelta(minutes=1)
    changed = before.buy(Purchase(time=then, heard_at=then, order_id="1001"), then)
    assert isinstance(changed, Checkout)
    return changed


def told(before: Checkout, **details: object) -> Checkout:
    """The same checkout with other details."""
    return before.model_copy(update={"details": before.details.model_copy(update=details)})


def test_every_subscription_that_wants_the_event_gets_it_and_it_is_recorded() -> None:
    world = World(subscription("a"), subscription("b"))
    assert world(checkout()) == frozenset()
    assert world.sent_to == ["a", "b"]
    assert {(r.subscription_id, r.state, r.attempts, r.status) for r in world.log.records.values()} == {
        ("a", "delivered", 1, 200),
        ("b", "delivered", 1, 200),
    }


def test_a_stopped_subscription_gets_nothing_but_an_entry_and_one_that_wants_other_events_not_even_that() -> (
    None
):
    paused = subscription("a", paused=True)
    other = subscription("b", events=(EventType.ABANDONED,))
    disabled = subscription("c", disabled_reason="gone")
    world = World(paused, other, disabled)
    world(checkout())
    assert world.sent_to == []
    assert world.logged == {"a": ("suppressed", "paused"), "c": ("suppressed", "disabled")}


def test_a_repeated_batch_sends_nothing_again() -> None:
    world = World(subscription("a"), subscription("b"))
    event = checkout()
    world(event)
    assert world(event) == frozenset()
    assert world.sent_to == ["a", "b"]


def test_a_repeated_batch_sends_what_it_had_not_got_to() -> None:
    world = World(subscription("a"), subscription("b"))
    event = checkout()
    assert event.event is not None
    world(event)
    del world.log.records[delivery_id(event.event, "b")]
    world(event)
    assert world.sent_to == ["a", "b", "b"]


def test_a_failure_goes_to_the_queue_with_ids_only_and_fails_no_record() -> None:
    world = World(subscription("a"), subscription("b"))
    world.receivers.failures["a"] = Failure.HTTP
    event = checkout()
    assert event.event is not None
    assert world(event) == frozenset()
    (message,) = world.queue.messages
    assert message == RetryMessage(
        store_id="my-store",
        checkout_id="c1",
        subscription_id="a",
        delivery_id=delivery_id(event.event, "a"),
        event_id=event.event.id,
        event_type=EventType.CREATED,
        event_time=event.event.time,
        sequence=1,
        attempts=1,
        reason="http",
        not_before=NOW + timedelta(seconds=5),
    )
    record = world.log.records[message.delivery_id]
    assert (record.state, record.reason, record.status) == ("pending", "http", 500)


def test_a_post_that_was_not_tried_counts_no_attempt() -> None:
    world = World(subscription("a"))
    world.receivers.failures["a"] = Failure.DEFERRED
    world(checkout())
    (message,) = world.queue.messages
    assert (message.attempts, message.reason) == (0, "deferred")


def test_what_the_queue_refuses_comes_again_and_is_not_recorded() -> None:
    world = World(subscription("a"), subscription("b"))
    world.receivers.failures["a"] = Failure.TIMEOUT
    world.queue.refused = {"a"}
    assert world(checkout("c1"), checkout("c2")) == {"record-0", "record-1"}
    assert {record.subscription_id for record in world.log.records.values()} == {"b"}


def test_a_subscription_whose_secret_cannot_be_read_is_delayed_and_not_dropped() -> None:
    world = World(subscription("a"), subscription("b"))
    world.keys.missing = {"a"}
    assert world(checkout()) == frozenset()
    assert world.sent_to == ["b"]
    (message,) = world.queue.messages
    assert (message.subscription_id, message.attempts, message.reason) == ("a", 0, "secret_unavailable")


def test_a_subscription_made_after_the_first_event_gets_the_second() -> None:
    world = World(subscription("a"))
    world(checkout("c1"))
    world.registry.held = Subscriptions(2, (subscription("a"), subscription("b")))
    world(checkout("c2"))
    assert world.sent_to == ["a", "a", "b"]


def test_subscriptions_are_read_once_while_they_do_not_change() -> None:
    world = World(subscription("a"))
    for name in "cde":
        world(checkout(name))
    assert world.registry.reads == 1
    assert world.log.look_ups == 3


def test_an_event_is_rendered_once_for_all_subscriptions_of_a_contract() -> None:
    world = World(*(subscription(name) for name in "abc"))
    world(checkout())
    assert len({id(body) for body in world.receivers.bodies}) == 1


def test_events_of_one_checkout_share_a_lane_and_keep_their_order() -> None:
    world = World(subscription("a"))
    first = checkout(seconds=0)
    second = checkout(seconds=5, before=first)
    world(first, second)
    assert [post.lane for post in world.receivers.posts] == ["c1", "c1"]
    assert [body.count(b'"sequence":2') for body in world.receivers.bodies] == [0, 1]


def test_a_write_after_the_purchase_sends_nothing() -> None:
    world = World(subscription("a"))
    bought = Checkout(store_id="my-store", checkout_id="c1").apply(
        Snapshot(checkout_id="c1", event_time=NOW, completed=True), NOW, WAIT
    )
    assert isinstance(bought, Checkout)
    late = bought.apply(
        Snapshot(
            checkout_id="c1",
            event_time=NOW - timedelta(minutes=1),
            details=Details(email="a@shopper.example"),
        ),
        NOW,
        WAIT,
    )
    assert isinstance(late, Checkout)
    world(bought)
    world(late)
    assert len(world.sent_to) == 1
    world = World(subscription("a"))
    world(bought, late)
    assert len(world.sent_to) == 1


def test_nobody_hears_that_a_checkout_is_gone_of_which_nobody_heard() -> None:
    world = World(subscription("a"))
    gone = Checkout(store_id="my-store", checkout_id="c1").apply(
        Snapshot(checkout_id="c1", event_time=NOW, discarded=True), NOW, WAIT
    )
    assert isinstance(gone, Checkout)
    assert world(gone) == frozenset()
    assert world.sent_to == []


def test_an_event_that_cannot_be_rendered_comes_again_and_keeps_no_other_back() -> None:
    world = World(subscription("a"))
    bad = checkout("bad").model_copy(update={"details": Details.model_construct(extra={"x": object()})})
    assert world(bad, checkout("good")) == {"record-0"}
    assert len(world.sent_to) == 1


# ---------------------------------------------------------------- what is held back

TOLD_JUST_NOW = Shopper(told_at=NOW)


def test_an_abandonment_that_is_held_back_is_recorded_with_its_reason_and_sent_to_nobody() -> None:
    world = World(subscription("a"), subscription("b", "abandonedCheckout", "v1"))
    assert world(abandoned(shopper=TOLD_JUST_NOW)) == frozenset()
    assert world.sent_to == []
    assert world.queue.messages == []
    assert world.logged == {"a": ("suppressed", "cooldown"), "b": ("suppressed", "cooldown")}


def test_what_is_recorded_of_an_abandonment_that_is_held_back_counts_no_attempt() -> None:
    world = World(subscription("a"))
    event = abandoned(shopper=TOLD_JUST_NOW)
    world(event)
    (record,) = world.log.records.values()
    assert (record.attempts, record.status, record.latency_ms) == (0, None, None)
    assert (record.event_type, record.sequence) == ("checkout.abandoned", event.sequence)


def test_deliveries_that_are_held_back_are_counted_by_their_reason(counted: Counted) -> None:
    world = World(*(subscription(name) for name in "abc"))
    world(abandoned(shopper=TOLD_JUST_NOW), abandoned(told(checkout("c2"), phone=None)))
    assert counted("Suppressed") == {"cooldown": 3, "no_contact": 3}


def test_consent_and_missing_fields_are_decided_for_each_subscription(counted: Counted) -> None:
    world = World(
        subscription("any"),
        subscription("agreed", consent=ConsentRule.GRANTED),
        subscription("mailer", requires=(Required.EMAIL,)),
        subscription("phoner", requires=(Required.PHONE,)),
    )
    world(abandoned())
    assert world.sent_to == ["any", "phoner"]
    assert world.logged == {
        "any": ("delivered", None),
        "agreed": ("suppressed", "consent"),
        "mailer": ("suppressed", "missing_field"),
        "phoner": ("delivered", None),
    }
    assert counted("Suppressed") == {"consent": 1, "missing_field": 1}


def test_a_shopper_who_refused_is_told_of_to_nobody() -> None:
    world = World(subscription("a"), subscription("b", consent=ConsentRule.GRANTED))
    world(abandoned(told(checkout(), consent=Consent.DENIED)))
    assert world.logged == {"a": ("suppressed", "consent"), "b": ("suppressed", "consent")}


def test_a_subscription_that_hears_no_abandonments_has_none_held_back() -> None:
    events = (EventType.UPDATED, EventType.RECOVERED)
    world = World(subscription("a", "ACR_CHECKOUT", "2026-05", events=events))
    world(abandoned(shopper=TOLD_JUST_NOW))
    assert world.log.records == {}


def test_an_abandonment_that_is_bought_before_it_is_fanned_out_is_told_to_nobody(counted: Counted) -> None:
    world = World(subscription("a"), subscription("b"))
    world.checkouts.bought = {("my-store", "c1")}
    world(abandoned(), abandoned(checkout("c2")))
    assert [post.lane for post in world.receivers.posts] == ["c2", "c2"]
    reasons = {(each.checkout_id, each.state, each.reason) for each in world.log.records.values()}
    assert reasons == {("c1", "suppressed", "completed"), ("c2", "delivered", None)}
    assert counted("Suppressed") == {"completed": 2}


def test_an_abandonment_that_started_no_cooldown_is_for_nobody_who_wants_it_only_now() -> None:
    """The subscription was paused when the sweep found it, so the shopper's record does not know of it."""
    found = checkout().abandon(UNKNOWN, POLICY, NOW + WAIT, wanted=False)
    assert isinstance(found, Checkout)
    world = World(subscription("a"), subscription("b", requires=(Required.NAME,)))
    world(found)
    assert world.sent_to == []
    assert world.logged == {"b": ("suppressed", "missing_field")}


def test_an_abandonment_that_comes_in_quiet_hours_waits_for_the_morning() -> None:
    world = World(subscription("a"))
    night = {"start": f"{NOW:%H:%M}", "end": f"{NOW + timedelta(hours=8):%H:%M}", "timezone": "UTC"}
    settings = StoreSettings.model_validate({"quiet_hours": night})
    world.registry.held = replace(world.registry.held, settings=settings)
    left = abandoned()
    world(left, checkout("c2"))
    assert [post.lane for post in world.receivers.posts] == ["c2"]
    (waits,) = world.queue.messages
    assert (waits.checkout_id, waits.attempts) == ("c1", 0)
    assert (waits.reason, waits.not_before) == ("quiet_hours", NOW + timedelta(hours=8))
    assert ("pending", "quiet_hours") in {(each.state, each.reason) for each in world.log.records.values()}


def test_an_abandonment_and_its_purchase_in_one_batch_are_only_the_purchase() -> None:
    world = World(subscription("a"))
    world.checkouts.bought = {("my-store", "c1")}
    left = abandoned()
    world(left, bought(left))
    (body,) = world.receivers.bodies
    assert b'"type":"checkout.recovered"' in body


def test_only_abandonments_that_are_about_to_be_told_are_looked_up_again() -> None:
    world = World(subscription("a"))
    first = checkout("c2")
    world(
        checkout("c1"),
        first,
        abandoned(first),
        abandoned(checkout("c3"), TOLD_JUST_NOW),
        abandoned(told(checkout("c4"), consent=Consent.DENIED)),
    )
    assert world.log.asked == [("my-store", "c2")]


def test_a_subscription_that_the_look_up_finds_is_not_told_of_what_is_bought_either() -> None:
    world = World(subscription("a", events=(EventType.CREATED,)))
    first = checkout()
    world(first)
    world.registry.held = Subscriptions(2, (subscription("b"),))
    world.checkouts.bought = {("my-store", "c1")}
    world(abandoned(first))
    assert world.logged == {"a": ("delivered", None), "b": ("suppressed", "completed")}


def test_a_batch_that_comes_again_holds_nothing_back_twice(counted: Counted) -> None:
    world = World(subscription("a"), subscription("b", requires=(Required.NAME,)))
    batch = (abandoned(), abandoned(checkout("c2"), TOLD_JUST_NOW))
    world(*batch)
    assert world.log.writes == 4
    assert sum(counted("Suppressed").values()) == 3
    world(*batch)
    assert world.log.writes == 4
    assert counted("Suppressed") == {}


def test_what_was_held_back_stays_so_when_its_reason_is_gone() -> None:
    world = World(subscription("a"))
    event = abandoned()
    world.checkouts.bought = {("my-store", "c1")}
    world(event)
    world.checkouts.bought = set()
    world(event)
    assert world.logged == {"a": ("suppressed", "completed")}
    assert world.sent_to == []


@pytest.mark.parametrize("consent", [Consent.DENIED, None])
@pytest.mark.parametrize("kind", [kind for kind in EventType if kind is not EventType.ABANDONED])
def test_only_what_asks_for_a_message_is_held_back(kind: EventType, consent: Consent | None) -> None:
    strict = subscription("a", consent=ConsentRule.GRANTED, requires=tuple(Required))
    world = World(strict)
    world.checkouts.bought = {("my-store", "c1")}
    event = told(checkout(), consent=consent)
    assert event.event is not None
    world(event.model_copy(update={"event": event.event.model_copy(update={"type": kind})}))
    assert world.logged == {"a": ("delivered", None)}
