"""Whether a delivery still matters, for each way in which a checkout or a subscription may have moved on."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkout_recovery.checkout.event import Event, EventType
from checkout_recovery.checkout.lifecycle import Checkout, Status, Suppression
from checkout_recovery.checkout.phone import Phone
from checkout_recovery.checkout.snapshot import Consent, Details
from checkout_recovery.delivery.plan import Delivery, delivery_id
from checkout_recovery.delivery.relevance import Later, relevance
from checkout_recovery.delivery.retry_policy import EXPIRES_AFTER, Ended
from checkout_recovery.queues import Purpose, RetryMessage
from checkout_recovery.subscriptions.subscription import Required, Subscription
from checkout_recovery.tables.deliveries import State
from tests.subscriptions import subscription

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
THEN = NOW - timedelta(minutes=1)
WANTS_ALL = subscription()
ABANDONMENTS_ONLY = subscription(topic="abandonedCheckout", version="v1")
STATUS = {
    EventType.CREATED: Status.ACTIVE,
    EventType.UPDATED: Status.ACTIVE,
    EventType.ABANDONED: Status.ABANDONED,
    EventType.RESUMED: Status.ACTIVE,
    EventType.COMPLETED: Status.COMPLETED,
    EventType.RECOVERED: Status.RECOVERED,
}
PURPOSES = tuple(Purpose)
REPLAYS = (Purpose.REPLAY, Purpose.RECOVER)
PURCHASES = (EventType.COMPLETED, EventType.RECOVERED)


def event(kind: EventType, id_: str = "evt_1", time: datetime = THEN) -> Event:
    return Event(id=id_, type=kind, time=time)


def standing(
    kind: EventType,
    id_: str = "evt_2",
    status: Status | None = None,
    suppressed: Suppression | None = None,
    told_at: datetime | None = None,
) -> Checkout:
    """A checkout whose last write was this event."""
    return Checkout(
        store_id="my-store",
        checkout_id="c1",
        sequence=7,
        status=status or STATUS[kind],
        event=event(kind, id_),
        details=Details(phone=Phone.of("9876543210", "91")),
        suppressed=suppressed,
        told_at=told_at or (THEN if kind is EventType.ABANDONED else None),
    )


def waiting(
    kind: EventType, purpose: Purpose = Purpose.RETRY, time: datetime = THEN, reason: str = "http"
) -> RetryMessage:
    """A message about the event `evt_1`."""
    return RetryMessage(
        purpose=purpose,
        store_id="my-store",
        checkout_id="c1",
        subscription_id="sub_1",
        delivery_id=delivery_id(event(kind, time=time), "sub_1"),
        event_id="evt_1",
        event_type=kind,
        event_time=time,
        sequence=2,
        attempts=1,
        reason=reason,
        not_before=NOW,
    )


def told(verdict: Delivery | Ended | Later) -> tuple[EventType, str]:
    assert isinstance(verdict, Delivery)
    return verdict.event.type, verdict.event.id


# ---------------------------------------------------------------- what is still told


@pytest.mark.parametrize("kind", EventType)
def test_the_last_event_is_told_again(kind: EventType) -> None:
    verdict = relevance(waiting(kind), standing(kind, "evt_1"), WANTS_ALL, NOW)
    assert told(verdict) == (kind, "evt_1")
    assert isinstance(verdict, Delivery)
    assert verdict.delivery_id == waiting(kind).delivery_id


def test_what_is_told_is_the_checkout_as_it_stands() -> None:
    late = standing(EventType.UPDATED, status=Status.ABANDONED)
    verdict = relevance(waiting(EventType.ABANDONED), late, WANTS_ALL, NOW)
    assert isinstance(verdict, Delivery)
    assert (verdict.checkout.sequence, verdict.checkout.event) == (7, event(EventType.ABANDONED))


@pytest.mark.parametrize("subscription", [WANTS_ALL, ABANDONMENTS_ONLY])
@pytest.mark.parametrize("purpose", PURPOSES)
def test_an_abandonment_outlives_a_late_detail(purpose: Purpose, subscription: Subscription) -> None:
    late = standing(EventType.UPDATED, status=Status.ABANDONED, told_at=THEN)
    verdict = relevance(waiting(EventType.ABANDONED, purpose), late, subscription, NOW)
    assert told(verdict) == (EventType.ABANDONED, "evt_1")


@pytest.mark.parametrize("purpose", REPLAYS)
def test_an_abandonment_is_known_by_its_millisecond(purpose: Purpose) -> None:
    """A replay knows the event's time from the delivery's id."""
    exact = THEN + timedelta(microseconds=999)
    late = standing(EventType.UPDATED, status=Status.ABANDONED, told_at=exact)
    verdict = relevance(waiting(EventType.ABANDONED, purpose), late, ABANDONMENTS_ONLY, NOW)
    assert told(verdict) == (EventType.ABANDONED, "evt_1")


def test_an_event_that_only_unwanted_ones_followed_is_told() -> None:
    subscription = replace(WANTS_ALL, events=(EventType.CREATED,))
    verdict = relevance(waiting(EventType.CREATED), standing(EventType.UPDATED), subscription, NOW)
    assert told(verdict) == (EventType.CREATED, "evt_1")


# ---------------------------------------------------------------- what is superseded


@pytest.mark.parametrize("newer", EventType)
@pytest.mark.parametrize("older", [kind for kind in EventType if kind is not EventType.ABANDONED])
def test_an_event_gives_way_to_a_newer_one_that_the_subscriber_hears_of(
    older: EventType, newer: EventType
) -> None:
    verdict = relevance(waiting(older), standing(newer), WANTS_ALL, NOW)
    assert verdict == Ended(State.SUPERSEDED, "newer_event")


@pytest.mark.parametrize("newer", [kind for kind in EventType if kind is not EventType.ABANDONED])
@pytest.mark.parametrize("subscription", [WANTS_ALL, ABANDONMENTS_ONLY])
def test_an_abandonment_ends_with_whatever_the_shopper_does(
    subscription: Subscription, newer: EventType
) -> None:
    verdict = relevance(waiting(EventType.ABANDONED), standing(newer), subscription, NOW)
    assert verdict == Ended(State.SUPERSEDED, "no_longer_abandoned")


@pytest.mark.parametrize("back", [EventType.RESUMED, EventType.UPDATED])
def test_an_abandonment_waits_while_its_shopper_is_back_and_may_leave_again(back: EventType) -> None:
    """It has started the cooldown, so no other would ask for the message."""
    again = standing(back, status=Status.ACTIVE, told_at=THEN).model_copy(update={"due_at": NOW})
    assert relevance(waiting(EventType.ABANDONED), again, WANTS_ALL, NOW) == Later(
        NOW + timedelta(minutes=1), "shopper_is_back"
    )
    told_anew = again.model_copy(update={"told_at": NOW})
    assert isinstance(relevance(waiting(EventType.ABANDONED), told_anew, WANTS_ALL, NOW), Ended)
    too_late = THEN + EXPIRES_AFTER[EventType.ABANDONED] - timedelta(minutes=1)
    verdict = relevance(waiting(EventType.ABANDONED), again, WANTS_ALL, too_late)
    assert verdict == Ended(State.SUPERSEDED, "no_longer_abandoned")


@pytest.mark.parametrize("why", [Suppression.COOLDOWN, Suppression.QUIET_HOURS])
@pytest.mark.parametrize("purpose", PURPOSES)
def test_an_abandonment_that_nobody_has_heard_is_told_once_the_shopper_has_left_again(
    purpose: Purpose, why: Suppression
) -> None:
    """The second is held back by the cooldown of the first."""
    left_again = standing(EventType.ABANDONED, suppressed=why, told_at=THEN)
    verdict = relevance(waiting(EventType.ABANDONED, purpose), left_again, WANTS_ALL, NOW)
    assert told(verdict) == (EventType.ABANDONED, "evt_1")


@pytest.mark.parametrize("why", [Suppression.COMPLETED, Suppression.NO_CONTACT])
def test_what_holds_for_every_abandonment_holds_for_one_that_waited(why: Suppression) -> None:
    left_again = standing(EventType.ABANDONED, suppressed=why, told_at=THEN)
    verdict = relevance(waiting(EventType.ABANDONED), left_again, WANTS_ALL, NOW)
    assert verdict == Ended(State.SUPPRESSED, why)


def test_an_abandonment_gives_way_to_the_next() -> None:
    verdict = relevance(waiting(EventType.ABANDONED), standing(EventType.ABANDONED), WANTS_ALL, NOW)
    assert verdict == Ended(State.SUPERSEDED, "no_longer_abandoned")


def test_a_late_detail_after_the_next_abandonment_does_not_bring_the_first_back() -> None:
    late = standing(EventType.UPDATED, status=Status.ABANDONED, told_at=NOW)
    verdict = relevance(waiting(EventType.ABANDONED), late, WANTS_ALL, NOW)
    assert verdict == Ended(State.SUPERSEDED, "no_longer_abandoned")


# ---------------------------------------------------------------- what is sent again on request


@pytest.mark.parametrize("purpose", REPLAYS)
@pytest.mark.parametrize("newest", EventType)
@pytest.mark.parametrize("asked", EventType)
def test_a_replay_sends_the_newest_event(purpose: Purpose, asked: EventType, newest: EventType) -> None:
    verdict = relevance(waiting(asked, purpose), standing(newest), WANTS_ALL, NOW)
    assert told(verdict) == (newest, "evt_2")


@pytest.mark.parametrize("purpose", REPLAYS)
def test_a_replay_sends_what_is_too_old_to_be_tried_again(purpose: Purpose) -> None:
    message = waiting(EventType.UPDATED, purpose, time=NOW - timedelta(days=300))
    assert told(relevance(message, standing(EventType.UPDATED), WANTS_ALL, NOW))[0] is EventType.UPDATED


@pytest.mark.parametrize("purpose", PURPOSES)
@pytest.mark.parametrize("bought", PURCHASES)
@pytest.mark.parametrize("subscription", [WANTS_ALL, ABANDONMENTS_ONLY])
@pytest.mark.parametrize("suppressed", [None, Suppression.COOLDOWN])
def test_nothing_ever_sends_an_abandonment_after_a_purchase(
    purpose: Purpose, bought: EventType, subscription: Subscription, suppressed: Suppression | None
) -> None:
    checkout = standing(bought, suppressed=suppressed, told_at=THEN)
    verdict = relevance(waiting(EventType.ABANDONED, purpose), checkout, subscription, NOW)
    assert not (isinstance(verdict, Delivery) and verdict.is_abandonment)


@pytest.mark.parametrize("purpose", REPLAYS)
def test_a_replay_of_what_the_subscriber_does_not_hear_of_ends(purpose: Purpose) -> None:
    verdict = relevance(
        waiting(EventType.ABANDONED, purpose), standing(EventType.RECOVERED), ABANDONMENTS_ONLY, NOW
    )
    assert verdict == Ended(State.SUPERSEDED, "not_wanted")


# ---------------------------------------------------------------- what is too late


@pytest.mark.parametrize("kind", EventType)
def test_an_event_expires_to_the_microsecond(kind: EventType) -> None:
    life = EXPIRES_AFTER[kind]
    checkout = standing(kind, "evt_1")
    alive = waiting(kind, time=NOW - life + timedelta(microseconds=1))
    assert isinstance(relevance(alive, checkout, WANTS_ALL, NOW), Delivery)
    assert relevance(waiting(kind, time=NOW - life), checkout, WANTS_ALL, NOW) == Ended(State.EXPIRED, "http")


def test_what_expires_without_any_failure_is_too_old() -> None:
    message = waiting(EventType.CREATED, time=NOW - timedelta(days=1), reason="")
    verdict = relevance(message, standing(EventType.CREATED, "evt_1"), WANTS_ALL, NOW)
    assert verdict == Ended(State.EXPIRED, "too_old")


# ---------------------------------------------------------------- what is held back


PAUSED = replace(WANTS_ALL, paused=True)
DISABLED = replace(WANTS_ALL, disabled_reason="gone")
STANDS = standing(EventType.ABANDONED, "evt_1")


@pytest.mark.parametrize("purpose", PURPOSES)
@pytest.mark.parametrize(
    ("checkout", "subscription", "ended"),
    [
        (STANDS, None, Ended(State.SUPPRESSED, "no_subscription")),
        (None, None, Ended(State.SUPPRESSED, "no_subscription")),
        (None, WANTS_ALL, Ended(State.SUPPRESSED, "no_checkout")),
        (Checkout(store_id="my-store", checkout_id="c1"), WANTS_ALL, Ended(State.SUPPRESSED, "no_checkout")),
        (STANDS, DISABLED, Ended(State.EXHAUSTED, "gone")),
        (STANDS, replace(DISABLED, disabled_reason="failing"), Ended(State.EXHAUSTED, "failing")),
        (STANDS, replace(DISABLED, paused=True), Ended(State.EXHAUSTED, "gone")),
    ],
)
def test_what_is_gone_or_stopped_gets_nothing(
    purpose: Purpose, checkout: Checkout | None, subscription: Subscription | None, ended: Ended
) -> None:
    assert relevance(waiting(EventType.ABANDONED, purpose), checkout, subscription, NOW) == ended


@pytest.mark.parametrize("purpose", PURPOSES)
@pytest.mark.parametrize("checkout", [STANDS, None])
def test_what_waits_for_who_is_paused_can_be_recovered_later(
    checkout: Checkout | None, purpose: Purpose
) -> None:
    verdict = relevance(waiting(EventType.ABANDONED, purpose), checkout, PAUSED, NOW)
    assert verdict == Ended(State.EXHAUSTED, "paused")


def test_an_erased_checkout_told_anew_has_other_events_under_the_same_ids() -> None:
    stands = standing(EventType.COMPLETED, "evt_1")
    verdict = relevance(waiting(EventType.ABANDONED), stands, WANTS_ALL, NOW)
    assert verdict == Ended(State.SUPERSEDED, "no_longer_abandoned")


def test_what_was_overtaken_does_not_expire() -> None:
    message = waiting(EventType.UPDATED, time=NOW - timedelta(days=1))
    verdict = relevance(message, standing(EventType.COMPLETED, "evt_2"), WANTS_ALL, NOW)
    assert verdict == Ended(State.SUPERSEDED, "newer_event")


@pytest.mark.parametrize("newest", [EventType.UPDATED, EventType.ABANDONED])
def test_what_an_operator_recovers_is_sent_where_the_newest_is_not_for_this_subscriber(
    newest: EventType,
) -> None:
    subscription = replace(WANTS_ALL, events=(EventType.CREATED, EventType.ABANDONED))
    stands = standing(newest, "evt_2").model_copy(update={"suppressed": Suppression.COOLDOWN})
    verdict = relevance(waiting(EventType.CREATED, Purpose.RECOVER), stands, subscription, NOW)
    assert isinstance(verdict, Delivery)
    assert verdict.event.type is EventType.CREATED


def test_what_an_operator_asked_for_does_not_expire_with_its_event() -> None:
    old = waiting(EventType.CREATED, time=NOW - timedelta(days=9))
    asked = old.model_copy(update={"asked_at": NOW - timedelta(hours=5)})
    stands = standing(EventType.CREATED, "evt_1")
    assert isinstance(relevance(asked, stands, WANTS_ALL, NOW), Delivery)
    assert relevance(old, stands, WANTS_ALL, NOW) == Ended(State.EXPIRED, "http")


def test_what_is_not_told_overtakes_nothing() -> None:
    """A newer abandonment that is held back from this subscriber must not cost it the details before."""
    stands = standing(EventType.ABANDONED, "evt_2").model_copy(update={"suppressed": Suppression.COOLDOWN})
    verdict = relevance(waiting(EventType.UPDATED), stands, WANTS_ALL, NOW)
    assert isinstance(verdict, Delivery)
    assert verdict.event.type is EventType.UPDATED


@pytest.mark.parametrize("stands", [standing(EventType.RESUMED), standing(EventType.UPDATED, "evt_1")])
def test_what_a_subscriber_no_longer_asks_for_is_not_sent(stands: Checkout) -> None:
    subscription = replace(WANTS_ALL, events=(EventType.COMPLETED,))
    verdict = relevance(waiting(EventType.UPDATED), stands, subscription, NOW)
    assert verdict == Ended(State.SUPPRESSED, "not_wanted")


@pytest.mark.parametrize("purpose", PURPOSES)
def test_an_abandonment_is_held_back_from_who_has_refused_since(purpose: Purpose) -> None:
    refused = STANDS.model_copy(
        update={"details": STANDS.details.model_copy(update={"consent": Consent.DENIED})}
    )
    verdict = relevance(waiting(EventType.ABANDONED, purpose), refused, WANTS_ALL, NOW)
    assert verdict == Ended(State.SUPPRESSED, "consent")


@pytest.mark.parametrize("purpose", PURPOSES)
def test_an_abandonment_is_held_back_by_rules_that_the_subscription_has_now(purpose: Purpose) -> None:
    strict = replace(WANTS_ALL, requires=(Required.EMAIL,))
    verdict = relevance(waiting(EventType.ABANDONED, purpose), STANDS, strict, NOW)
    assert verdict == Ended(State.SUPPRESSED, "missing_field")


# ---------------------------------------------------------------- in general


@given(
    purpose=st.sampled_from(Purpose),
    asked=st.sampled_from(EventType),
    newest=st.sampled_from(EventType),
    same=st.booleans(),
    status=st.sampled_from(Status),
    wanted=st.sets(st.sampled_from(EventType)),
    suppressed=st.none() | st.sampled_from(Suppression),
    age=st.timedeltas(timedelta(), timedelta(days=10)),
)
def test_whatever_stands_only_what_is_wanted_and_allowed_is_sent(
    purpose: Purpose,
    asked: EventType,
    newest: EventType,
    same: bool,
    status: Status,
    wanted: set[EventType],
    suppressed: Suppression | None,
    age: timedelta,
) -> None:
    subscription = replace(WANTS_ALL, events=tuple(wanted))
    checkout = standing(asked if same else newest, "evt_1" if same else "evt_2", status, suppressed)
    verdict = relevance(waiting(asked, purpose, NOW - age), checkout, subscription, NOW)
    if isinstance(verdict, Ended):
        assert verdict.reason
        assert verdict.state not in (State.PENDING, State.DELIVERED)
    elif isinstance(verdict, Later):
        assert asked is EventType.ABANDONED
        assert verdict.not_before > NOW
    else:
        assert not verdict.suppressed
        assert verdict.event.id in {"evt_1", "evt_2"}
        assert purpose is not Purpose.RETRY or age < EXPIRES_AFTER[asked]
        own_cooldown = suppressed in (Suppression.COOLDOWN, Suppression.QUIET_HOURS) and not same
        assert not (verdict.is_abandonment and suppressed) or own_cooldown
        assert verdict.event.type in wanted
