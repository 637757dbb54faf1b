"""Whether a delivery still matters once its time has come. Pure: a function of what stands now.

An event that the checkout has moved on from ends as superseded where the subscriber is told of the newer
one, or where it asks for a message that is no longer wanted. An abandonment outlives a late detail: the
checkout is abandoned still, and only its own event says so.
"""

from datetime import datetime, timedelta

from checkout_recovery.checkout.event import EventType
from checkout_recovery.checkout.lifecycle import Checkout, Status
from checkout_recovery.delivery.plan import Delivery, delivery_of, plan
from checkout_recovery.delivery.retry_policy import Ended, expires_at
from checkout_recovery.queues import Purpose, RetryMessage
from checkout_recovery.subscriptions.subscription import Subscription
from checkout_recovery.tables.deliveries import State

NO_SUBSCRIPTION = "no_subscription"
NO_CHECKOUT = "no_checkout"
PAUSED = "paused"
NOT_WANTED = "not_wanted"
NEWER_EVENT = "newer_event"
NO_LONGER_ABANDONED = "no_longer_abandoned"
TOO_OLD = "too_old"

_MILLISECOND = timedelta(milliseconds=1)
"""How exactly an event's time is known to who has only its delivery's id."""


def relevance(
    message: RetryMessage, checkout: Checkout | None, subscription: Subscription | None, now: datetime
) -> Delivery | Ended:
    """Returns the delivery to make now, or why there is none.

    Args:
        message: what waited.
        checkout: as it stands; None where it is gone.
        subscription: as it stands; None where it is gone.
        now: UTC.
    """
    if subscription is None:
        return Ended(State.SUPPRESSED, NO_SUBSCRIPTION)
    if stopped := _stopped(subscription):
        return stopped
    if checkout is None or checkout.event is None:
        return Ended(State.SUPPRESSED, NO_CHECKOUT)
    if message.purpose is not Purpose.RETRY:
        return _newest(message, checkout, subscription)
    return _moved_on(message, checkout, subscription) or _still_told(message, checkout, subscription, now)


def _still_told(
    message: RetryMessage, checkout: Checkout, subscription: Subscription, now: datetime
) -> Delivery | Ended:
    if now >= expires_at(message.event, message.asked_at):
        return Ended(State.EXPIRED, message.reason or TOO_OLD)
    if not subscription.wants(message.event_type):
        return Ended(State.SUPPRESSED, NOT_WANTED)
    return _held_back(delivery_of(checkout, message.event, subscription))


def _stopped(subscription: Subscription) -> Ended | None:
    """What waits for a subscription that is stopped is kept for when it is not."""
    if subscription.disabled_reason:
        return Ended(State.EXHAUSTED, subscription.disabled_reason)
    return Ended(State.EXHAUSTED, PAUSED) if subscription.paused else None


def _newest(message: RetryMessage, checkout: Checkout, subscription: Subscription) -> Delivery | Ended:
    """What an operator wants sent: the last event.

    But the one that failed, where the last is not for this subscriber, or where it is an abandonment that
    only late details followed.
    """
    is_wanted = subscription.wants(message.event_type)
    if is_wanted and _is_abandoned_still(message, checkout):
        return _held_back(delivery_of(checkout, message.event, subscription))
    newest = next(plan(checkout, [subscription]), None)
    is_told = newest is not None and not newest.suppressed
    if is_wanted and not is_told and message.event_type is not EventType.ABANDONED:
        return delivery_of(checkout, message.event, subscription)
    return _held_back(newest)


def _is_abandoned_still(message: RetryMessage, checkout: Checkout) -> bool:
    """Whether the message tells an abandonment after which none but late details came."""
    if message.event_type is not EventType.ABANDONED or checkout.status is not Status.ABANDONED:
        return False
    if checkout.event is None or checkout.event.type is EventType.ABANDONED:
        return False
    return checkout.told_at is None or checkout.told_at - message.event_time < _MILLISECOND


def _moved_on(message: RetryMessage, checkout: Checkout, subscription: Subscription) -> Ended | None:
    stands = checkout.event
    # An id alone would do, if no checkout were ever erased and told anew under the same one.
    if stands is None or (stands.id, stands.type) == (message.event_id, message.event_type):
        return None
    if message.event_type is EventType.ABANDONED:
        is_still = _is_abandoned_still(message, checkout)
        return None if is_still else Ended(State.SUPERSEDED, NO_LONGER_ABANDONED)
    is_told = subscription.wants(stands.type) and not delivery_of(checkout, stands, subscription).suppressed
    return Ended(State.SUPERSEDED, NEWER_EVENT) if is_told else None


def _held_back(delivery: Delivery | None) -> Delivery | Ended:
    if delivery is None:
        return Ended(State.SUPERSEDED, NOT_WANTED)
    if delivery.suppressed:
        return Ended(State.SUPPRESSED, delivery.suppressed)
    return delivery
