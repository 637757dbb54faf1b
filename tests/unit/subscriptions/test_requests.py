from datetime import UTC, datetime

import pytest

from checkout_recovery.checkout.event import Event, EventType
from checkout_recovery.delivery.plan import delivery_id
from checkout_recovery.errors import MalformedRequest
from checkout_recovery.signing import Recipe
from checkout_recovery.subscriptions.requests import (
    DeliveryQuery,
    ProviderRequest,
    RecoverRequest,
    RequeueRequest,
    SubscriptionChange,
    SubscriptionRequest,
    read,
)
from checkout_recovery.subscriptions.subscription import ConsentRule, Required
from checkout_recovery.tables.deliveries import State

REQUEST = {"topic": "t", "version": "v", "callback_url": "https://r.example.com/"}


def test_events_and_recipes_are_taken_by_name() -> None:
    request = read(SubscriptionRequest, REQUEST | {"events": ["checkout.created"], "recipe": "hex_body"})
    assert request.events == [EventType.CREATED]
    assert request.recipe is Recipe.HEX_BODY


def test_who_is_told_of_is_taken_by_name() -> None:
    request = read(SubscriptionRequest, REQUEST | {"consent": "granted", "requires": ["name", "phone"]})
    assert request.consent is ConsentRule.GRANTED
    assert request.requires == [Required.NAME, Required.PHONE]


def test_unless_said_otherwise_all_are_told_of_who_have_not_refused() -> None:
    request = read(SubscriptionRequest, REQUEST)
    assert request.consent is ConsentRule.NOT_DENIED
    assert request.requires == []


def test_what_a_change_leaves_out_is_not_set() -> None:
    assert read(SubscriptionChange, {"paused": False}).model_dump(exclude_unset=True) == {"paused": False}


def test_every_failing_field_is_named_up_to_a_limit() -> None:
    with pytest.raises(MalformedRequest) as refused:
        read(SubscriptionRequest, {"version": 1, "topics": "t"})
    named = [error.field for error in refused.value.errors]
    assert named == ["topic", "version", "callback_url", "topics"]
    with pytest.raises(MalformedRequest) as refused:
        read(SubscriptionRequest, {f"f{number}": 1 for number in range(1000)} | {"x" * 10_000: 1})
    assert len(refused.value.errors) == 20
    assert all(len(error.field) <= 100 for error in refused.value.errors)


@pytest.mark.parametrize("value", [None, [], "text", 1, True])
def test_what_is_no_object_is_refused(value: object) -> None:
    with pytest.raises(MalformedRequest):
        read(SubscriptionRequest, value)


def test_an_error_never_holds_the_value() -> None:
    with pytest.raises(MalformedRequest) as refused:
        read(ProviderRequest, {"secret": "do-not-repeat\n", "recipe": "do-not-repeat"})
    assert "do-not-repeat" not in str(refused.value.problem())
    assert refused.value.__cause__ is None


MOMENT = datetime(2026, 11, 22, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["2026-11-22T10:00:00Z", "2026-11-22T15:30:00+05:30", "2026-11-22T10:00:00.000000+00:00"]
)
def test_a_time_is_taken_with_its_offset(text: str) -> None:
    assert read(DeliveryQuery, {"since": text}).since == MOMENT


def test_deliveries_are_asked_for_by_name() -> None:
    event = Event(id="evt_1", type=EventType.ABANDONED, time=MOMENT)
    cursor = delivery_id(event, "sub_1")
    given = {"state": "suppressed", "reason": "no_contact", "checkout_id": "a/b %", "cursor": cursor}
    query = read(DeliveryQuery, given)
    assert query.state is State.SUPPRESSED
    assert query.model_dump(mode="json", exclude_none=True) == given


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("state", "held back"),
        ("state", ""),
        ("state", "pending,delivered"),
        ("reason", ""),
        ("reason", "Cooldown"),
        ("reason", "a" * 65),
        ("checkout_id", ""),
        ("checkout_id", "a" * 513),
        ("since", ""),
        ("since", "2026-11-22"),
        ("since", "2026-11-22T10:00:00"),
        ("since", "2026-11-22T15:30:00 05:30"),
        ("since", "1795341600"),
        ("since", "yesterday"),
        ("since", "2026-11-22T25:00:00Z"),
        ("cursor", ""),
        ("cursor", "dlv_1"),
        ("cursor", "dlv_" + "0" * 32 + "\n"),
        ("cursor", "dlv_" + "g" * 32),
        ("sate", "suppressed"),
    ],
)
def test_what_no_delivery_can_be_asked_for_by_is_named(field: str, value: str) -> None:
    with pytest.raises(MalformedRequest) as refused:
        read(DeliveryQuery, {field: value})
    assert [error.field for error in refused.value.errors] == [field]
    assert not value or value not in str(refused.value.problem())


def test_secrets_and_urls_are_not_shown() -> None:
    provider = read(ProviderRequest, {"secret": "hidden"})
    request = read(SubscriptionRequest, REQUEST | {"headers": {"A": "hidden"}, "callback_url": "hidden"})
    assert "hidden" not in repr(provider) + repr(request)


def test_unless_said_otherwise_what_was_given_up_is_recovered_ten_a_second() -> None:
    request = read(RecoverRequest, {"since": "2026-05-07T15:30:00+05:30"})
    assert request.since == datetime(2026, 5, 7, 10, tzinfo=UTC)
    assert (request.until, request.per_second) == (None, 10)
    assert request.states == ["expired", "exhausted", "suppressed"]


@pytest.mark.parametrize(
    "value", [None, 0, 1.5, True, [], {}, "", "now", "2026-05-07T10:00:00", "9" * 10_000]
)
def test_a_time_that_is_none_is_named_and_not_repeated(value: object) -> None:
    with pytest.raises(MalformedRequest) as caught:
        read(RecoverRequest, {"since": value})
    (error,) = caught.value.errors
    assert error.field == "since"
    assert "9999" not in error.message


def test_a_recovery_s_cursor_is_a_place_in_the_log_and_a_time() -> None:
    for cursor in ("dlv_" + "0" * 32, "dlv_" + "0" * 32 + ".1778148000000"):
        assert read(RecoverRequest, {"since": "2026-05-07T10:00:00Z", "cursor": cursor}).cursor == cursor


def test_fifty_messages_of_all_stores_are_requeued_unless_said_otherwise() -> None:
    request = read(RequeueRequest, {})
    assert (request.limit, request.store_id) == (50, None)
