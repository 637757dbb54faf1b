"""What callers of the management API send. Unknown fields are refused: a slip is never a default."""

from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import PydanticCustomError

from checkout_recovery.checkout.event import EventType
from checkout_recovery.errors import FieldError, MalformedRequest
from checkout_recovery.signing import Recipe
from checkout_recovery.subscriptions.store import STORE_ID
from checkout_recovery.subscriptions.subscription import ConsentRule, Required
from checkout_recovery.tables.deliveries import DELIVERY_ID, State
from checkout_recovery.tables.erasures import ERASURE_ID

MAX_HEADERS = 10
DEFAULT_OVERLAP_SECONDS = 86_400

_MAX_ERRORS = 20
_MAX_FIELD_CHARS = 100


def _moment(text: object) -> datetime:
    try:
        moment = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        # Not a ValueError: pydantic's message must be ours, without the value.
        raise PydanticCustomError(
            "no_moment", "must be an ISO 8601 time with its offset (in a query, a + as %2B)"
        )
    return moment


# Enums come as strings here; everything else is taken only as the type that it is.
Events = Annotated[list[Annotated[EventType, Field(strict=False)]], Field(min_length=1, max_length=20)]
GivenRecipe = Annotated[Recipe, Field(strict=False)]
GivenConsent = Annotated[ConsentRule, Field(strict=False)]
Moment = Annotated[datetime, BeforeValidator(_moment)]
Requirements = Annotated[list[Annotated[Required, Field(strict=False)]], Field(max_length=20)]
RateLimit = Annotated[int, Field(ge=1, le=1000)]
Url = Annotated[str, StringConstraints(min_length=1, max_length=2048)]
RecoverCursor = Annotated[str, StringConstraints(pattern=rf"^{DELIVERY_ID.pattern}(\.[0-9]{{1,15}})?$")]
SecretText = Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=r"^[!-~]+( [!-~]+)*$")]


class Request(BaseModel):
    model_config = ConfigDict(
        defer_build=True, frozen=True, extra="forbid", strict=True, hide_input_in_errors=True
    )


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
    consent: GivenConsent = ConsentRule.NOT_DENIED
    """Whose abandonments it is told of: of all who have not refused messages, or of those who have agreed."""
    requires: Requirements = []
    """Details without which it is not told of an abandonment."""
    rate_limit_per_second: RateLimit | None = None
    """How many events a second it is sent at most; without a limit by default."""


class SubscriptionChange(Request):
    """What is to change; what is left out stays, so the defaults here mean nothing. Null is no value."""

    callback_url: Url = Field(default_factory=str, repr=False)
    paused: bool = Field(default_factory=bool)
    """A paused subscription is sent nothing; what happens meanwhile is sent later only by `recover`."""
    events: Events = Field(default_factory=list)
    consent: GivenConsent = Field(default_factory=lambda: ConsentRule.NOT_DENIED)
    requires: Requirements = Field(default_factory=list)
    rate_limit_per_second: RateLimit | None = None
    """Null takes the limit away."""


class RotateRequest(Request):
    """How a webhook key is to be replaced."""

    overlap_seconds: int = Field(default=DEFAULT_OVERLAP_SECONDS, ge=600, le=604_800)
    """How long the previous key signs along."""


class RecoverRequest(Request):
    """Which failed deliveries are to be made after all."""

    since: Moment
    """Of events from this time on: ISO 8601 with its offset."""
    until: Moment | None = None
    """And up to this time; until now by default."""
    states: Annotated[
        list[Literal["expired", "exhausted", "suppressed", "pending"]], Field(min_length=1, max_length=4)
    ] = ["expired", "exhausted", "suppressed"]
    """Where they stand. Of the ``suppressed`` only what came while the subscription was paused or disabled;
    those that are ``pending`` wait for their next attempt, which this need not."""
    per_second: int = Field(default=10, ge=1, le=100)
    """How many checkouts a second, over all calls that hand on the cursor."""
    cursor: RecoverCursor | None = None
    """`next_cursor` of the call before."""


class RequeueRequest(Request):
    """What of a queue is to be done again."""

    limit: int = Field(default=50, ge=1, le=100)
    """How many messages are done again at most."""
    store_id: Annotated[str, StringConstraints(pattern=f"^{STORE_ID.pattern}$")] | None = None
    """Whose; all by default. The `stream` cannot tell before it is read."""
    discard_refused: bool = False
    """Of `rejected` only: instead, captured requests are deleted, and nothing is done for any other."""


class ErasureQuery(Request):
    """Which of a store's erasures are to be listed."""

    cursor: Annotated[str, StringConstraints(pattern=f"^{ERASURE_ID.pattern}$")] | None = None
    """`next_cursor` of the page before."""


class DeliveryQuery(Request):
    """Which of a subscription's deliveries are to be listed; they have to fit all that is given."""

    state: Annotated[State, Field(strict=False)] | None = None
    """Where they stand."""
    reason: Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,64}$")] | None = None
    """Why they are not delivered: ``cooldown``, ``timeout``…"""
    checkout_id: Annotated[str, StringConstraints(min_length=1, max_length=512)] | None = None
    """Which checkout they are about."""
    since: Moment | None = None
    """Of events from this time on: ISO 8601 with its offset, where `+` has to be written as `%2B`."""
    cursor: Annotated[str, StringConstraints(pattern=f"^{DELIVERY_ID.pattern}$")] | None = None
    """`next_cursor` of the page before."""


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
