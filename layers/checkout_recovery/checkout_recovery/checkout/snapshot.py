"""A snapshot: what one request of a provider tells about one checkout.

Providers' adapters make snapshots; `Checkout.apply` merges them. None means that the snapshot says
nothing about that part, so an older telling of it stands. Whatever a provider sends that no field here
describes is kept in the `extra` of the part that it came in.
"""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from hashlib import blake2b
from operator import not_
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from checkout_recovery.checkout.phone import Phone
from checkout_recovery.json_codec import dumps, parse_own

FUNNEL = (
    "INITIATED",
    "PHONE_ENTERED",
    "OTP_VERIFIED",
    "ADDRESS_LOADED",
    "ADDRESS_SHIPPING_SELECTED",
    "PAYMENT_LOADED",
    "PAYMENT_INITIATED",
    "COMPLETED",
)
"""The known stages of a checkout in the order in which a shopper passes them (FlexyPe's names)."""


_AS_TEXT = (
    BeforeValidator(lambda value: parse_own(value) if isinstance(value, str) else value),
    PlainSerializer(dumps, return_type=str, when_used="json"),
)
ForeignObject = Annotated[dict[str, Any], *_AS_TEXT]
"""A provider's own JSON object. Stored as JSON text, because pydantic would write its decimals as strings."""
ForeignList = Annotated[list[Any], *_AS_TEXT]
"""The same for an array."""


class Consent(StrEnum):
    """Whether the shopper agreed to WhatsApp messages. E-mail or SMS consent is not that: it is unknown."""

    GRANTED = "granted"
    DENIED = "denied"


class Part(BaseModel):
    """A piece of a checkout: immutable. A stored field that only a later version knows is passed over."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="ignore")

    extra: ForeignObject = Field(default_factory=dict, exclude_if=not_)
    """What the provider sent here and nobody described, as it was sent."""


class Address(Part):
    """A shipping address as far as it was typed; a postal code alone is common."""

    name: str | None = None
    phone: str | None = None
    address1: str | None = None
    address2: str | None = None
    city: str | None = None
    zip: str | None = None
    province: str | None = None
    province_code: str | None = None
    """ISO 3166-2, for example ``GJ``."""
    country: str | None = None
    country_code: str | None = None
    """ISO 3166-1 alpha-2, for example ``IN``."""


class Variant(Part):
    """The variant of a product that is in the cart."""

    variant_id: str | None = None
    title: str | None = None
    price: Decimal | None = None
    compare_at_price: Decimal | None = None
    """The price before discounts that the shop shows struck through."""


class Item(Part):
    """One line of the cart. Amounts are in the cart's currency; `price` is per unit after discounts."""

    product_id: str | None = None
    variant_id: str | None = None
    title: str | None = None
    handle: str | None = None
    image_url: str | None = None
    quantity: int | None = None
    grams: Decimal | None = None
    """Weight of one unit."""
    price: Decimal | None = None
    discount: Decimal | None = None
    total_discount: Decimal | None = None
    sub_total_price: Decimal | None = None
    """The line before discounts."""
    total_price: Decimal | None = None
    """The line as payable."""
    single_variant: bool | None = None
    variant: Variant | None = None
    properties: ForeignList = Field(default_factory=list, exclude_if=not_)


class Cart(Part):
    """Everything in the cart, and what it comes to. A newer telling of the lines replaces it as a whole."""

    items: tuple[Item, ...] | None = None
    """None where a telling names no lines: what it says of totals then adds to the cart that is known."""
    coupons: ForeignList = Field(default_factory=list, exclude_if=not_)
    currency: str | None = None
    """ISO 4217; None where nobody said: never assumed."""
    discount: Decimal | None = None
    total: Decimal | None = None
    """What the shopper has to pay."""

    @property
    def lines(self) -> tuple[Item, ...]:
        """The lines as far as any are known."""
        return self.items or ()


class Shop(Part):
    """The shop as the provider names it."""

    id: str | None = None
    name: str | None = None
    shopify_domain: str | None = None
    link: str | None = None
    """The shop's own address as given: a URL (``https://my-store.com``) or a bare domain."""


class Client(Part):
    """The shopper's device and request."""

    ip: str | None = None
    referer: str | None = None
    user_agent: str | None = None
    fingerprint: str | None = None


class Attribution(Part):
    """Where the shopper came from."""

    original_referer: str | None = None
    referer_host: str | None = None
    landing_page: str | None = None
    utm: ForeignList = Field(default_factory=list, exclude_if=not_)
    """Key-value pairs of the landing page's URL, as given."""
    fbc: str | None = None
    fbp: str | None = None


class Details(Part):
    """Every part that a snapshot may tell and a checkout holds; of each, the newest telling wins."""

    phone: Phone | None = None
    whole_phone: Phone | None = None
    """The phone that was last told with its country, where `phone` itself was told without."""
    email: str | None = None
    name: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    consent: Consent | None = None
    """None is unknown, and unknown is never granted."""
    address: Address | None = None
    """Merges field by field, so a partial address adds to what was typed before."""
    cart: Cart | None = None
    stage: str | None = None
    """Where the shopper is in the funnel, in the provider's word; `FUNNEL` lists the known ones."""
    checkout_url: str | None = None
    """Resumes the checkout: a credential, never in a log."""
    cart_token: str | None = None
    shop: Shop | None = None
    client: Client | None = None
    attribution: Attribution | None = None
    order_id: str | None = None
    completed_at: datetime | None = None
    """When the order was placed, by the provider's word."""


NOTHING = Details()
"""What nobody has told. Shared: pydantic would copy it deeply for each snapshot and checkout."""


class Snapshot(BaseModel):
    """One telling of one checkout.

    Two snapshots of a checkout with equal `digest` say the same.
    """

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")

    checkout_id: str = Field(min_length=1, max_length=512)
    alias: str | None = None
    """A second id of the same checkout, by which some of the provider's events name it."""
    event_id: str | None = None
    """The provider's id of this event; the same again when it resends."""
    event_time: datetime | None = None
    """When it happened, by the provider's clock, UTC. None where the provider does not say or garbles it."""
    completed: bool = Field(default=False, exclude_if=not_)
    """The shopper has bought."""
    abandoned: bool = Field(default=False, exclude_if=not_)
    """The provider itself says that the shopper has left."""
    discarded: bool = Field(default=False, exclude_if=not_)
    """The provider has deleted the checkout: there is nothing left to come back to."""
    details: Details = Field(default_factory=lambda: NOTHING)
    told_by: str | None = Field(default=None, exclude=True)
    """The digest of the bytes that told it, where they told nothing else and all that was told is in them."""

    def digest(self) -> str:
        """Tells content apart: `told_by`, or else 12 hex digits over everything but the event's id.

        Every default of a part is None or is left out by its field's `exclude_if`. That is what
        `exclude_defaults` would leave out too, but comparing each amount with None costs more than writing
        it. The serializer gives the bytes that `model_dump_json` would make text of.
        """
        if self.told_by:
            return self.told_by
        content = self.__pydantic_serializer__.to_json(self, exclude={"event_id"}, exclude_none=True)
        return blake2b(content, digest_size=6).hexdigest()
