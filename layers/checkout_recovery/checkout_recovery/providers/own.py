"""Our own schemas: a snapshot, the body of ``POST /v1/checkouts``, and an order, that of ``POST /v1/orders``.

This is our API, so a field that it does not know is an error, except in the free objects called ``extra``.
Null and ``""`` say nothing about a field. The store is the one that the caller's token is for, so the shop
is told for the receivers' sake and compared with nothing.
"""

import re
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from checkout_recovery.checkout.money import parse_amount
from checkout_recovery.checkout.order import Order
from checkout_recovery.checkout.phone import Phone
from checkout_recovery.checkout.snapshot import (
    Address,
    Attribution,
    Cart,
    Client,
    Consent,
    Details,
    Part,
    Shop,
    Snapshot,
)
from checkout_recovery.errors import FieldError, MalformedRequest
from checkout_recovery.json_codec import parse
from checkout_recovery.providers.cart import MAX_LINES
from checkout_recovery.providers.fields import (
    FINER_THAN_MICROSECONDS,
    MAX_KEY_BYTES,
    is_key,
    read_identifier,
    read_time,
)
from checkout_recovery.providers.provider import Notice

_T = TypeVar("_T")
_PartT = TypeVar("_PartT", bound=Part)


def _or_none(read: Callable[[Any], _T | None], expected: str) -> BeforeValidator:
    """Makes a validator that reads a value, lets pass what says nothing, and refuses the rest."""

    def validate(value: Any) -> _T | None:
        if value is None or _is_blank(value):
            return None
        if (known := read(value)) is None:
            # Not a ValueError: pydantic's message must be ours, without the value.
            raise PydanticCustomError("unreadable", "must be {expected}", {"expected": expected})
        return known

    return BeforeValidator(validate)


def _is_blank(value: Any) -> bool:
    return isinstance(value, str) and not value.strip()


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _key(value: Any) -> str | None:
    identifier = read_identifier(value)
    return identifier if is_key(identifier) else None


def _moment(value: Any) -> datetime | None:
    if not isinstance(value, str) or FINER_THAN_MICROSECONDS.search(value):
        return None
    return read_time(value)


def _phone(value: Any) -> Any:
    """A phone is an object, or the number alone."""
    number = value.get("number") if isinstance(value, dict) else value
    if value is None or _is_blank(number):
        return None
    if not isinstance(value, str | dict):
        raise PydanticCustomError("unreadable", "must be a string, or an object with a number")
    return {"number": value} if isinstance(value, str) else value


def _any_of(*schemas: dict[str, Any]) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": list(schemas)})


_NULL = {"type": "null"}
_ID = ({"type": "string"}, {"type": "integer"})

Text = Annotated[str | None, _or_none(_text, "a string")]
Identifier = Annotated[str | None, _or_none(read_identifier, "a string or an integer"), _any_of(*_ID, _NULL)]
Amount = Annotated[
    Decimal | None,
    _or_none(parse_amount, "a number, or a string that holds one"),
    _any_of({"type": "number"}, {"type": "string", "pattern": r"^-?\d{1,15}(\.\d{1,20})?$"}, _NULL),
]
"""In the main unit of the cart's currency; ``170.00`` keeps its digits."""
Moment = Annotated[
    datetime | None,
    _or_none(_moment, "an ISO 8601 time with its offset, to the microsecond at most"),
    _any_of({"type": "string", "format": "date-time"}, _NULL),
]


class _Body(BaseModel):
    model_config = ConfigDict(
        defer_build=True, frozen=True, strict=True, extra="forbid", use_attribute_docstrings=True
    )


class _OpenBody(_Body):
    extra: dict[str, Any] | None = None
    """Whatever else is known, passed on to the receivers as it is."""


class PhoneBody(_Body):
    """A phone number, complete or as far as it was typed."""

    number: Annotated[str, Field(min_length=1)]
    dial_code: Text = None
    """The country's calling code, for example ``91``."""


class AddressBody(_OpenBody):
    """A shipping address as far as it was typed."""

    name: Text = None
    phone: Text = None
    address1: Text = None
    address2: Text = None
    city: Text = None
    zip: Text = None
    province: Text = None
    province_code: Text = None
    """ISO 3166-2, for example ``GJ``."""
    country: Text = None
    country_code: Text = None
    """ISO 3166-1 alpha-2, for example ``IN``."""


class VariantBody(_OpenBody):
    """The variant of a product that is in the cart."""

    variant_id: Identifier = None
    title: Text = None
    price: Amount = None
    compare_at_price: Amount = None


class ItemBody(_OpenBody):
    """One line of the cart."""

    product_id: Identifier = None
    variant_id: Identifier = None
    title: Text = None
    handle: Text = None
    image_url: Text = None
    quantity: int | None = None
    grams: Amount = None
    """Weight of one unit."""
    price: Amount = None
    """Per unit, after discounts."""
    discount: Amount = None
    total_discount: Amount = None
    sub_total_price: Amount = None
    """The line before discounts."""
    total_price: Amount = None
    """The line as payable."""
    single_variant: bool | None = None
    variant: VariantBody | None = None
    properties: list[Any] | None = None


class CartBody(_OpenBody):
    """The complete cart: it replaces the one told before."""

    items: Annotated[list[ItemBody] | None, Field(max_length=MAX_LINES)] = None
    coupons: list[Any] | None = None
    currency: Text = None
    """ISO 4217."""
    discount: Amount = None
    total: Amount = None
    """What the shopper has to pay."""


class ShopBody(_OpenBody):
    """The shop as its shoppers know it."""

    id: Identifier = None
    name: Text = None
    shopify_domain: Text = None
    link: Text = None


class ClientBody(_OpenBody):
    """The shopper's device and request."""

    ip: Text = None
    referer: Text = None
    user_agent: Text = None
    fingerprint: Text = None


class AttributionBody(_OpenBody):
    """Where the shopper came from."""

    original_referer: Text = None
    referer_host: Text = None
    landing_page: Text = None
    utm: list[Any] | None = None
    fbc: Text = None
    fbp: Text = None


class CheckoutSnapshot(_OpenBody):
    """What is known of one checkout now. A field left out leaves what was told before as it is."""

    checkout_id: Annotated[
        str,
        _or_none(_key, f"an id of at most {MAX_KEY_BYTES} bytes"),
        _any_of({"type": "string", "minLength": 1, "maxLength": MAX_KEY_BYTES}, {"type": "integer"}),
    ]
    """The same for every snapshot of this checkout."""
    event_id: Identifier = None
    """The id of this telling, and the same again when it is sent again."""
    event_time: Moment = None
    """When it happened: tellings may arrive in any order."""
    completed: bool | None = None
    """The shopper has bought."""
    abandoned: bool | None = None
    """The shopper has left, so there is nothing to wait for."""
    phone: Annotated[
        PhoneBody | None, BeforeValidator(_phone, json_schema_input_type=str | PhoneBody | None)
    ] = None
    email: Text = None
    name: Text = None
    first_name: Text = None
    last_name: Text = None
    consent: Literal["granted", "denied", "unknown"] | None = None
    """Whether the shopper agreed to WhatsApp messages."""
    address: AddressBody | None = None
    """Adds to the address told before, field by field."""
    cart: CartBody | None = None
    stage: Text = None
    """Where the shopper is, for example ``PHONE_ENTERED``."""
    checkout_url: Text = None
    """Resumes the checkout."""
    cart_token: Identifier = None
    shop: ShopBody | None = None
    client: ClientBody | None = None
    attribution: AttributionBody | None = None
    order_id: Identifier = None
    completed_at: Moment = None
    """When the order was placed; telling it says that the checkout is completed."""


class OrderBody(_Body):
    """A purchase, and by what its checkout may be found: by the surest of these that leads to one."""

    order_id: Annotated[
        str,
        _or_none(_key, f"an id of at most {MAX_KEY_BYTES} bytes"),
        _any_of({"type": "string", "minLength": 1, "maxLength": MAX_KEY_BYTES}, {"type": "integer"}),
    ]
    """The shop's own id of the order."""
    checkout_id: Annotated[
        str | None, _or_none(_key, f"an id of at most {MAX_KEY_BYTES} bytes"), _any_of(*_ID, _NULL)
    ] = None
    """The checkout, as its snapshots call it."""
    checkout_token: Annotated[
        str | None, _or_none(_key, f"an id of at most {MAX_KEY_BYTES} bytes"), _any_of(*_ID, _NULL)
    ] = None
    """The checkout, as its provider calls it."""
    cart_token: Identifier = None
    phone: Annotated[
        PhoneBody | None, BeforeValidator(_phone, json_schema_input_type=str | PhoneBody | None)
    ] = None
    email: Text = None
    completed_at: Moment = None
    """When it was placed; now, if nobody says."""

    @model_validator(mode="after")
    def _names_somebody(self) -> Self:
        named = (self.checkout_id, self.checkout_token, self.cart_token, self.phone, self.email)
        if not any(named):
            raise PydanticCustomError(
                "nobody", "must name a checkout_id, checkout_token, cart_token, phone or email"
            )
        return self


_CONSENT = {"granted": Consent.GRANTED, "denied": Consent.DENIED}


def read_own(body: bytes) -> Notice:
    """Reads a body of our own schema.

    Raises:
        MalformedRequest: it does not fit the schema; the error names fields, never values.
    """
    try:
        told = CheckoutSnapshot.model_validate(parse(body))
    except ValidationError as error:
        raise MalformedRequest("The snapshot does not fit the schema.", _field_errors(error)) from None
    return Notice(frozenset(), (_snapshot(told),))


def read_order(body: bytes) -> Notice:
    """Reads the body of ``POST /v1/orders``.

    Raises:
        MalformedRequest: it does not fit the schema; the error names fields, never values.
    """
    try:
        told = OrderBody.model_validate(parse(body))
    except ValidationError as error:
        raise MalformedRequest("The order does not fit the schema.", _field_errors(error)) from None
    order = Order(
        checkout_id=told.checkout_id,
        checkout_token=told.checkout_token,
        event_id=f"order {told.order_id}",
        event_time=told.completed_at,
        details=Details(
            phone=Phone.of(told.phone.number, told.phone.dial_code) if told.phone else None,
            email=told.email,
            cart_token=told.cart_token,
            order_id=told.order_id,
            completed_at=told.completed_at,
        ),
    )
    return Notice(frozenset(), orders=(order,))


def _snapshot(told: CheckoutSnapshot) -> Snapshot:
    return Snapshot(
        checkout_id=told.checkout_id,
        event_id=told.event_id,
        event_time=told.event_time,
        completed=bool(told.completed) or told.completed_at is not None,
        abandoned=bool(told.abandoned),
        details=_details(told),
    )


def _details(told: CheckoutSnapshot) -> Details:
    return Details(
        phone=Phone.of(told.phone.number, told.phone.dial_code) if told.phone else None,
        email=told.email,
        name=told.name,
        first_name=told.first_name,
        last_name=told.last_name,
        consent=_CONSENT.get(told.consent or ""),
        address=_part(Address, told.address),
        cart=_part(Cart, told.cart),
        stage=told.stage,
        checkout_url=told.checkout_url,
        cart_token=told.cart_token,
        shop=_part(Shop, told.shop),
        client=_part(Client, told.client),
        attribution=_part(Attribution, told.attribution),
        order_id=told.order_id,
        completed_at=told.completed_at,
        extra=told.extra or {},
    )


def _part(kind: type[_PartT], told: _OpenBody | None) -> _PartT | None:
    """Turns a part of the body into the part of the domain that has the same fields.

    One without any says nothing: ``"cart": {}`` does not empty the cart, ``"items": []`` does.
    """
    fields = told.model_dump(exclude_none=True) if told else {}
    return kind.model_validate(fields) if fields else None


_PLAIN_NAME = re.compile(r"[A-Za-z_]{1,40}\d{0,2}", re.ASCII)


def _field_errors(error: ValidationError) -> list[FieldError]:
    details = error.errors(include_url=False, include_context=False, include_input=False)
    return [FieldError(_path(detail["loc"]), detail["msg"]) for detail in details]


def _path(location: tuple[int | str, ...]) -> str:
    """Writes where a field is. An unknown field's name is the caller's and may itself be a datum."""
    plain = (isinstance(name, int) or _PLAIN_NAME.fullmatch(name) for name in location)
    return ".".join(str(name) if ok else "?" for name, ok in zip(location, plain, strict=True)) or "body"


READERS = {"checkouts": read_own, "orders": read_order}
"""By the last part of the call's path."""
