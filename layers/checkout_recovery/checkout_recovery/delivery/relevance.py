"""Whether a delivery still matters once its time has come. Pure: a function of what stands now.

An event that the checkout has moved on from ends as superseded where the subscriber is told of the newer
one, or where it asks for a message that is no longer wanted. An abandonment outlives a late detail: the
checkout is abandoned still, and only its own event says so. It outlives also the shopper's coming back for
a while: it has started a cooldown, so until it is told nothing else will ask for the message.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from checkout_recovery.checkout.event import EventType
from checkout_recovery.checkout.lifecycle import Checkout, Status, Suppression
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

SHOPPER_IS_BACK = "shopper_is_back"

_MILLISECOND = timedelta(milliseconds=1)
"""How exactly an event's time is known to who has only its delivery's id."""
_SWEPT_WITHIN = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Later:
    """A delivery that may matter again."""

    not_before: datetime
    reason: str


def relevance(
    message: RetryMessage, checkout: Checkout | None, subscription: Subscription | None, now: datetime
) -> Delivery | Ended | Later:
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
        return _in_time(_newest(message, checkout, subscription), message, now)
    return (
        _back_for_a_while(message, checkout, now)
        or _moved_on(message, checkout, subscription)
        or _still_told(message, checkout, subscription, now)
    )


def _back_for_a_while(message: RetryMessage, checkout: Checkout, now: datetime) -> Later | None:
    """An abandonment whose shopper has come back, and may leave again: then it is still the one to tell."""
    if message.event_type is not EventType.ABANDONED or not _has_claim(message, checkout):
        return None
    if checkout.status is not Status.ACTIVE or checkout.due_at is None:
        return None
    again = max(checkout.due_at, now) + _SWEPT_WITHIN
    return Later(again, SHOPPER_IS_BACK) if again < expires_at(message.event, message.asked_at) else None


def _still_told(
    message: RetryMessage, checkout: Checkout, subscription: Subscription, now: datetime
) -> Delivery | Ended:
    if now >= expires_at(message.event, message.asked_at):
        return Ended(State.EXPIRED, message.reason or TOO_OLD)
    if not subscription.wants(message.event_type):
        return Ended(State.SUPPRESSED, NOT_WANTED)
    return _held_back(_told_now(message, checkout, subscription))


def _told_now(message: RetryMessage, checkout: Checkout, subscription: Subscription) -> Delivery:
    """The message's event; the cooldown that it started itself holds only later ones back."""
    is_earlier = checkout.event is not None and checkout.event.id != message.event_id
    if is_earlier and checkout.suppressed in (Suppression.COOLDOWN, Suppression.QUIET_HOURS):
        checkout = checkout.model_copy(update={"suppressed": None})
    return delivery_of(checkout, message.event, subscription)


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
        return _held_back(_told_now(message, checkout, subscription))
    newest = next(plan(checkout, [subscription]), None)
    is_told = newest is not None and not newest.suppressed
    if is_wanted and not is_told and message.event_type is not EventType.ABANDONED:
        return delivery_of(checkout, message.event, subscription)
    return _held_back(newest)


def _in_time(wanted: Delivery | Ended, message: RetryMessage, now: datetime) -> Delivery | Ended:
    """What an operator wants sent waits no longer than a new event of its type would."""
    if not isinstance(wanted, Delivery) or message.asked_at is None:
        return wanted
    is_late = now >= expires_at(wanted.event, message.asked_at)
    return Ended(State.EXPIRED, message.reason or TOO_OLD) if is_late else wanted


def _is_abandoned_still(message: RetryMessage, checkout: Checkout) -> bool:
    """Whether the message tells an abandonment after which none came that is told."""
    if message.event_type is not EventType.ABANDONED or checkout.status is not Status.ABANDONED:
        return False
    if checkout.event is None or (checkout.event.type is EventType.ABANDONED and not checkout.suppressed):
        return False  # the newer one is told
    return checkout.told_at is None or _has_claim(message, checkout)


def _has_claim(message: RetryMessage, checkout: Checkout) -> bool:
    """Whether no other abandonment of the checkout has been told since the message's."""
    return checkout.told_at is not None and checkout.told_at - message.event_time < _MILLISECOND


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
