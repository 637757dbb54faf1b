"""The prices of prices.toml: AWS's in the default region, and those of managed senders."""

import tomllib
from datetime import date
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, HttpUrl, NonNegativeFloat, StringConstraints

FILE = Path(__file__).with_suffix(".toml")
_Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]


class Price(BaseModel):
    """What somebody asks for one unit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: NonNegativeFloat
    currency: _Text
    unit: _Text
    source: HttpUrl
    """The page that publishes it."""
    date: date
    """When it was read there, or where `read` says."""
    read: _Text
    """What was read."""


class AwsPrice(Price):
    usage_type: _Text
    """As a bill names it."""
    region: str | None = None
    """Whose price it is, where the default region's was not found."""


class Plan(Price):
    """What a managed sender asks for a month, and for each message beyond those that are included."""

    name: _Text
    included: int
    message: NonNegativeFloat
    tells: _Text
    """What the plan promises beside that."""

    def month(self, messages: float) -> float:
        """The price of a month with so many messages."""
        return self.value + max(0.0, messages - self.included) * self.message


class PriceList(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    region: _Text
    aws: dict[str, AwsPrice]
    managed: dict[str, Plan]


PRICES = PriceList.model_validate(tomllib.loads(FILE.read_text()))


def dollars(name: str) -> float:
    """AWS's price of one unit."""
    price = PRICES.aws[name]
    if price.currency != "USD":
        raise ValueError(f"{name} is not in US dollars")
    return price.value
