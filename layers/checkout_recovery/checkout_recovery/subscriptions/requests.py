"""What callers of the management API send. Unknown fields are refused: a slip is never a default."""

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from checkout_recovery.checkout.event import EventType
from checkout_recovery.errors import FieldError, MalformedRequest
from checkout_recovery.signing import Recipe

MAX_HEADERS = 10
DEFAULT_OVERLAP_SECONDS = 86_400

_MAX_ERRORS = 20
_MAX_FIELD_CHARS = 100

# Enums come as strings here; everything else is taken only as the type that it is.
Events = Annotated[list[Annotated[EventType, Field(strict=False)]], Field(min_length=1, max_length=20)]
GivenRecipe = Annotated[Recipe, Field(strict=False)]
Url = Annotated[str, StringConstraints(min_length=1, max_length=2048)]
SecretText = Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=r"^[!-~]+( [!-~]+)*$")]


class Request(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class ProviderRequest(Request):
    """What a store has agreed with a checkout provider."""

    secret: SecretText = Field(repr=False)
    """FlexyPe's authorization token, Cashfree's webhook key, or Shopify's app secret. Never shown again."""
    recipe: GivenRecipe | None = None
    """How Cashfree signs; ``base64_body`` by default. No other provider leaves a choice."""


class SubscriptionRequest(Request):
    """A receiver, and what it wants to hear in which contract's words."""

    topic: str
    version: str
    callback_url: Url = Field(repr=False)
    """Where events are POSTed to. https, and a public address."""
    events: Events | None = None
    """All events of the contract by default."""
    headers: dict[str, str] = Field(default={}, max_length=MAX_HEADERS, repr=False)
    """Sent with every delivery, for example a receiver's API key. The values are never shown again."""
    recipe: GivenRecipe | None = None
    """How `abandonedCheckout` is signed; ``base64_body`` by default."""


class SubscriptionChange(Request):
    """What is to change; what is left out stays, so the defaults here mean nothing. Null is no value."""

    callback_url: Url = Field(default_factory=str, repr=False)
    paused: bool = Field(default_factory=bool)
    """A paused subscription is sent nothing, and what happens meanwhile is not sent later."""
    events: Events = Field(default_factory=list)


class RotateRequest(Request):
    """How a webhook key is to be replaced."""

    overlap_seconds: int = Field(default=DEFAULT_OVERLAP_SECONDS, ge=600, le=604_800)
    """How long the previous key signs along."""


Model = TypeVar("Model", bound=BaseModel)


def read(model: type[Model], value: Any) -> Model:
    """Reads a request.

    Raises:
        MalformedRequest: names the fields and what is wrong with each, never what they held.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        raise MalformedRequest(
            errors=[FieldError(_path(fault["loc"]), fault["msg"]) for fault in faults[:_MAX_ERRORS]]
        ) from None


def _path(location: tuple[int | str, ...]) -> str:
    return ".".join(map(str, location))[:_MAX_FIELD_CHARS]
