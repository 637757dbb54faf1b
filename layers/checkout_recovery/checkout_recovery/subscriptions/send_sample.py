"""A signed sample to a subscriber, now: the same body and headers as a real delivery, about nobody.

The phone number is one that is kept for fiction (NANP 555-0100 to 0199) and the domains are reserved
(RFC 2606): a receiver that acts on the sample messages no one.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from checkout_recovery.checkout.event import Event, EventType, event_id
from checkout_recovery.checkout.lifecycle import Checkout, Status
from checkout_recovery.checkout.phone import Phone
from checkout_recovery.checkout.snapshot import Address, Cart, Details, Item, Shop
from checkout_recovery.delivery.plan import plan
from checkout_recovery.delivery.send import Outcome, Post, Sender
from checkout_recovery.delivery.signed import signed_headers
from checkout_recovery.errors import Conflict
from checkout_recovery.secrets import Secrets, subscription_secret
from checkout_recovery.subscriptions.subscription import Subscription

_BUDGET_SECONDS = 8.0
_STATUS = {
    EventType.ABANDONED: Status.ABANDONED,
    EventType.COMPLETED: Status.COMPLETED,
    EventType.RECOVERED: Status.RECOVERED,
}
_AWAY = {
    EventType.ABANDONED: timedelta(),
    EventType.RESUMED: timedelta(minutes=20),
    EventType.RECOVERED: timedelta(minutes=20),
}
"""How long ago the sample's shopper left; before the other events none does."""


class SampleSender:
    """Collaborators are arguments."""

    def __init__(self, secrets: Secrets, sender: Sender, now: Callable[[], datetime]) -> None:
        self._secrets = secrets
        self._sender = sender
        self._now = now

    def send(self, subscription: Subscription) -> Outcome:
        """Sends the sample, also to a subscription that is paused or is not told of such a shopper.

        Raises:
            Conflict: its keys are lost.
        """
        now = self._now()
        name = subscription_secret(subscription.store_id, subscription.subscription_id)
        secret = self._secrets.get(name, subscription.key_version)
        if secret is None:
            raise Conflict("The subscription's keys are lost: delete it and make it anew")
        checkout = sample_checkout(subscription.store_id, subscription.events[0], now)
        (delivery,) = plan(checkout, [replace(subscription, paused=False, disabled_reason=None)])
        body = delivery.contract.render(checkout)
        headers = signed_headers(
            delivery.contract,
            subscription,
            secret,
            event_id=delivery.event.id,
            delivery_id=delivery.delivery_id,
            shop_url=delivery.shop_url,
            sent_at=now,
            body=body,
        )
        post = Post(
            delivery_id=delivery.delivery_id,
            subscription_id=subscription.subscription_id,
            lane=checkout.checkout_id,
            url=subscription.callback_url,
            prepare=lambda: (headers, body),
        )
        (outcome,) = self._sender.send([post], _BUDGET_SECONDS)
        return outcome


def sample_checkout(store_id: str, event: EventType, now: datetime) -> Checkout:
    """Makes a checkout of nobody as it stands after `event`; each is another, so none looks repeated."""
    checkout_id = f"sample-{int(now.timestamp() * 1000)}"
    bought = event in (EventType.COMPLETED, EventType.RECOVERED)
    left_at = now - _AWAY[event] if event in _AWAY else None
    return Checkout(
        store_id=store_id,
        checkout_id=checkout_id,
        sequence=1,
        status=_STATUS.get(event, Status.ACTIVE),
        event=Event(id=event_id(store_id, checkout_id, 1), type=event, time=now),
        details=_details(checkout_id, "COMPLETED" if bought else "PAYMENT_LOADED"),
        created_at=left_at or now,
        updated_at=now,
        found_at=left_at,
        abandoned_at=left_at,
        told_at=now if event is EventType.ABANDONED else None,
        purchased_at=now if bought else None,
    )


def _details(checkout_id: str, stage: str) -> Details:
    price = Decimal("499.00")
    return Details(
        phone=Phone.of("2015550123", "1"),
        email="sample@example.com",
        name="Sample Shopper",
        first_name="Sample",
        last_name="Shopper",
        address=Address(city="Ahmedabad", zip="380001", province_code="GJ", country_code="IN"),
        cart=Cart(
            items=(Item(product_id="1", title="Sample product", quantity=1, price=price, total_price=price),),
            currency="INR",
            total=price,
        ),
        stage=stage,
        checkout_url=f"https://shop.example.com/checkout/{checkout_id}",
        shop=Shop(name="Sample shop", link="https://shop.example.com"),
    )
