"""An order: the shop's word that a shopper has bought. Which checkout it ends has still to be found."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from checkout_recovery.checkout.shopper import Purchase
from checkout_recovery.checkout.snapshot import NOTHING, Details, Snapshot


class Order(BaseModel):
    """One order, and by what its checkout may be found, from the surest on.

    `checkout_id` is the checkout. `checkout_token` is, if there is a checkout of this id; or else one of the
    same shopper is looked for by the details: the cart, then the phone, then the e-mail address.
    """

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")

    checkout_id: str | None = None
    checkout_token: str | None = None
    alias: str | None = None
    """A second id of the same checkout."""
    event_id: str | None = None
    event_time: datetime | None = None
    """When its teller told it, by the teller's clock."""
    details: Details = Field(default_factory=lambda: NOTHING)
    """What the order tells of its checkout; `order_id` and `completed_at` among it."""

    def told_of(self, checkout_id: str) -> Snapshot:
        """The order as a telling of the checkout that it names."""
        return Snapshot(
            checkout_id=checkout_id,
            alias=self.alias,
            event_id=self.event_id,
            event_time=self.event_time,
            completed=True,
            details=self.details,
        )

    def purchase(self, now: datetime) -> Purchase:
        """The order as it counts for all its shopper's checkouts."""
        return Purchase.told(self.details.completed_at or self.event_time, now, self.details.order_id)
