import pytest

from checkout_recovery.checkout.event import EventType
from checkout_recovery.errors import MalformedRequest
from checkout_recovery.signing import Recipe
from checkout_recovery.subscriptions.requests import (
    ProviderRequest,
    SubscriptionChange,
    SubscriptionRequest,
    read,
)

REQUEST = {"topic": "t", "version": "v", "callback_url": "https://r.example.com/"}


def test_events_and_recipes_are_taken_by_name() -> None:
    request = read(SubscriptionRequest, REQUEST | {"events": ["checkout.created"], "recipe": "hex_body"})
    assert request.events == [EventType.CREATED]
    assert request.recipe is Recipe.HEX_BODY


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


def test_secrets_and_urls_are_not_shown() -> None:
    provider = read(ProviderRequest, {"secret": "hidden"})
    request = read(SubscriptionRequest, REQUEST | {"headers": {"A": "hidden"}, "callback_url": "hidden"})
    assert "hidden" not in repr(provider) + repr(request)
