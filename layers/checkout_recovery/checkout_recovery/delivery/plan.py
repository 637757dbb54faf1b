"""Which deliveries an event calls for. Pure: the same event and subscriptions give the same ids."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b

from checkout_recovery.checkout.event import Event, EventType
from checkout_recovery.checkout.lifecycle import Checkout, Suppression
from checkout_recovery.checkout.quiet_hours import QuietHours
from checkout_recovery.contracts import CONTRACTS
from checkout_recovery.contracts.contract import Contract
from checkout_recovery.errors import BrokenRecord
from checkout_recovery.subscriptions.subscription import Subscription

_MAX_URL_CHARS = 2048


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event on its way to one subscription."""

    delivery_id: str
    checkout: Checkout
    event: Event
    subscription: Subscription
    contract: Contract
    suppressed: Suppression | None = None
    """Why it is not sent."""

    @property
    def key(self) -> tuple[str, str]:
        """Where the delivery log has it."""
        return self.subscription.subscription_id, self.delivery_id

    @property
    def checkout_key(self) -> tuple[str, str]:
        """Where the checkout's table has it."""
        return self.checkout.store_id, self.checkout.checkout_id

    @property
    def is_abandonment(self) -> bool:
        """Whether it asks for a message to the shopper."""
        return self.event.type is EventType.ABANDONED

    def quiet_until(self, quiet_hours: QuietHours | None, now: datetime) -> datetime | None:
        """Until when it has to wait, because it asks for a message and it is night at the store."""
        return quiet_hours.until(now) if quiet_hours and self.is_abandonment else None

    @property
    def shop_url(self) -> str:
        """The shop's own address as far as it is known."""
        shop = self.checkout.details.shop
        address = (shop.link or shop.shopify_domain if shop else None) or self.checkout.store_id
        url = address if "://" in address else f"https://{address}"
        # Receivers refuse long headers: better a name that is short than a delivery that never succeeds.
        return url if len(url) <= _MAX_URL_CHARS else f"https://{self.checkout.store_id}"


def delivery_id(event: Event, subscription_id: str) -> str:
    """Derives a delivery's id: ``dlv_``, the event's time in ms (so that ids sort by it), and a hash."""
    milliseconds = int(event.time.timestamp() * 1000)
    digest = blake2b(f"{event.id}\n{subscription_id}".encode(), digest_size=10).hexdigest()
    return f"dlv_{milliseconds:012x}{digest}"


def plan(checkout: Checkout, subscriptions: Iterable[Subscription]) -> Iterator[Delivery]:
    """Yields a delivery for each subscription that asked for the event of the checkout's last write.

    One that is held back is planned too, and says why: it is recorded and not sent, and what was held back
    because the subscription was stopped can be recovered once it is not. An abandonment that nobody wanted
    when it was found started no cooldown: it is not for who wants it only now.

    Raises:
        BrokenRecord: the checkout was never written.
    """
    event = checkout.event
    if event is None:
        raise BrokenRecord("a checkout without an event")
    if checkout.discarded and checkout.is_new:
        return  # nobody has heard of it: nobody has to hear that it is gone
    for subscription in subscriptions:
        if event.type in subscription.events:
            delivery = delivery_of(checkout, event, subscription)
            if delivery.suppressed or not delivery.is_abandonment or checkout.told_at == event.time:
                yield delivery


def delivery_of(checkout: Checkout, event: Event, subscription: Subscription) -> Delivery:
    """The delivery of an event: what is told is the checkout as it stands."""
    if checkout.event != event:
        checkout = checkout.model_copy(update={"event": event})
    return Delivery(
        delivery_id(event, subscription.subscription_id),
        checkout,
        event,
        subscription,
        CONTRACTS[subscription.topic, subscription.version],
        _suppression(checkout, event, subscription),
    )


def _suppression(checkout: Checkout, event: Event, subscription: Subscription) -> Suppression | None:
    """Of what could be sent only what asks for a message is held back: the word that stops one is told."""
    if subscription.stopped:
        return subscription.stopped
    if event.type is not EventType.ABANDONED:
        return None
    return checkout.suppressed or subscription.suppresses(checkout.details)
