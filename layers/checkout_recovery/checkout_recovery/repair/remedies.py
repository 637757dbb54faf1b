"""What is done again for the messages of each queue of dead letters."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from checkout_recovery.checkout.lifecycle import Checkout
from checkout_recovery.dead_letter_queues import Letter
from checkout_recovery.delivery.plan import Delivery, plan
from checkout_recovery.errors import BrokenRecord, Unavailable
from checkout_recovery.providers import OWN_CALLS
from checkout_recovery.queues import Purpose, RejectedRequest, RetryMessage, RetryQueue
from checkout_recovery.repair.dead_letters import Fate, Treated
from checkout_recovery.retake import Retake
from checkout_recovery.subscriptions.subscription import Subscription
from checkout_recovery.tables.checkout_stream import CheckoutStream, StreamFailure, Trimmed
from checkout_recovery.tables.checkouts import CheckoutTable, decode
from checkout_recovery.tables.registry import RegistryTable

BROKEN = "no message of this system"
NOT_QUEUED = "the queue of deliveries did not take it"
TRIMMED = "the stream keeps a write for 24 hours, and no longer has these"
UNREADABLE = "a checkout of the batch cannot be read"
UNAVAILABLE = "a part of AWS that is needed did not answer"
NOT_UNDERSTOOD = "still not understood"
REFUSED = "not authentic when it came: it is never taken in"
NOT_DISCARDED = "a provider's request, or one that cannot be read"
DISABLED = "its subscription is disabled: it has to be resumed first"
PAUSED = "its subscription is paused: it has to be resumed first"


class Redelivery:
    """Deliveries that were given up: their checkouts are sent as they stand, unless that has been done.

    One whose subscription is stopped would only be given up again, so it stays. This is made anew for each
    call of an operator, and reads a store's subscriptions once; after a read that failed it reads no more.
    """

    at_once = 10

    def __init__(self, registry: RegistryTable, retry_queue: RetryQueue, now: Callable[[], datetime]) -> None:
        self._registry = registry
        self._retry_queue = retry_queue
        self._now = now
        self._stopped: dict[str, Mapping[str, str]] = {}
        self._is_registry_down = False

    def store_of(self, letter: Letter) -> str | None:
        try:
            return RetryMessage.read(letter.body).store_id
        except BrokenRecord:
            return None

    def __call__(self, letters: Sequence[Letter]) -> list[Treated]:
        now = self._now()
        messages = {letter: message for letter in letters if (message := _again(letter, now))}
        staying = {
            letter: treated
            for letter, message in messages.items()
            if (treated := self._stays(letter, message))
        }
        going = [message for letter, message in messages.items() if letter not in staying]
        refused = self._retry_queue.send(going, now) if going else frozenset()
        return [staying.get(each) or _queued(each, messages.get(each), refused) for each in letters]

    def _stays(self, letter: Letter, message: RetryMessage) -> Treated | None:
        """Tells why a delivery is not queued; None where nothing is in its way."""
        stopped = self._stopped_of(message.store_id)
        if stopped is None:
            return Treated(letter, Fate.FAILED, UNAVAILABLE)
        why = stopped.get(message.subscription_id)
        return Treated(letter, Fate.KEPT, why) if why else None

    def _stopped_of(self, store_id: str) -> Mapping[str, str] | None:
        """A store's subscriptions that are stopped, and why; None where that cannot be read."""
        if store_id not in self._stopped and not self._is_registry_down:
            try:
                known = self._registry.subscriptions(store_id).items
            except Unavailable:
                self._is_registry_down = True
            else:
                self._stopped[store_id] = {each.subscription_id: why for each in known if (why := _why(each))}
        return self._stopped.get(store_id)


Images = Sequence[Mapping[str, Any]]
"""A checkout as each write of a batch left it, as the stream has it."""


class Refanning:
    """Batches of the stream: each checkout that they wrote is sent as it stands, to whom it is for."""

    at_once = 1

    def __init__(
        self,
        *,
        stream: CheckoutStream,
        checkouts: CheckoutTable,
        registry: RegistryTable,
        retry_queue: RetryQueue,
        now: Callable[[], datetime],
    ) -> None:
        self._stream = stream
        self._checkouts = checkouts
        self._registry = registry
        self._retry_queue = retry_queue
        self._now = now

    def store_of(self, _: Letter) -> str | None:
        return None

    def __call__(self, letters: Sequence[Letter]) -> list[Treated]:
        return [self._treat(letter) for letter in letters]

    def _treat(self, letter: Letter) -> Treated:
        try:
            why = self._send_again(StreamFailure.read(letter.body))
        except BrokenRecord:
            why = BROKEN
        except Trimmed:
            why = TRIMMED
        except Unavailable:
            why = UNAVAILABLE
        return Treated(letter, Fate.FAILED, why) if why else Treated(letter, Fate.DONE)

    def _send_again(self, failure: StreamFailure) -> str:
        """Queues what a batch calls for; returns why not all of it."""
        written = self._stream.writes(failure)
        found = self._checkouts.load_all(written)
        readable = [checkout for checkout in found.values() if checkout]
        now = self._now()
        messages = [_of(delivery, now) for delivery in self._plan(readable, written)]
        if messages and self._retry_queue.send(messages, now):
            return NOT_QUEUED
        return UNREADABLE if len(readable) < len(found) else ""

    def _plan(
        self, checkouts: Iterable[Checkout], written: Mapping[tuple[str, str], Images]
    ) -> Iterator[Delivery]:
        known: dict[str, tuple[Subscription, ...]] = {}
        for checkout in checkouts:
            if checkout.store_id not in known:
                known[checkout.store_id] = self._registry.subscriptions(checkout.store_id).items
            images = written[checkout.store_id, checkout.checkout_id]
            stood = [checkout, *_readable(reversed(images))]
            for subscription in known[checkout.store_id]:
                yield from _last_told(stood, subscription)


def _readable(images: Iterable[Mapping[str, Any]]) -> Iterator[Checkout]:
    for image in images:
        with suppress(BrokenRecord):  # what fan-out could not read either
            yield decode(image)


def _last_told(stood: Iterable[Checkout], subscription: Subscription) -> Iterator[Delivery]:
    """The last event that is for a subscription: the newest, or else one of the batch's own.

    Whether that still matters, `relevance` decides when its time has come.
    """
    planned = [delivery for checkout in stood for delivery in plan(checkout, [subscription])]
    told = [delivery for delivery in planned if not delivery.suppressed]
    yield from (told or planned)[:1]


class Retaking:
    """Requests that were not understood: ingest reads them again, by what it understands now."""

    at_once = 1

    def __init__(self, retake: Retake) -> None:
        self._retake = retake

    def store_of(self, letter: Letter) -> str | None:
        return _store_of_request(letter)

    def __call__(self, letters: Sequence[Letter]) -> list[Treated]:
        return [self._treat(letter) for letter in letters]

    def _treat(self, letter: Letter) -> Treated:
        try:
            if RejectedRequest.read(letter.body).is_refused:
                return Treated(letter, Fate.KEPT, REFUSED)
            if self._retake(letter.body):
                return Treated(letter, Fate.KEPT, NOT_UNDERSTOOD)
        except BrokenRecord:
            return Treated(letter, Fate.FAILED, BROKEN)
        except Unavailable:
            return Treated(letter, Fate.FAILED, UNAVAILABLE)
        return Treated(letter, Fate.DONE)


class Discarding:
    """Requests that may go: those that were captured, and own calls, whose callers were told what is wrong.

    A provider's stay, whose sender cannot put them right, and so do broken ones.
    """

    at_once = 10

    def store_of(self, letter: Letter) -> str | None:
        return _store_of_request(letter)

    def __call__(self, letters: Sequence[Letter]) -> list[Treated]:
        return [
            Treated(each, Fate.DISCARDED) if _may_go(each) else Treated(each, Fate.KEPT, NOT_DISCARDED)
            for each in letters
        ]


def _store_of_request(letter: Letter) -> str | None:
    try:
        return RejectedRequest.read(letter.body).store_id
    except BrokenRecord:
        return None


def _may_go(letter: Letter) -> bool:
    try:
        kept = RejectedRequest.read(letter.body)
    except BrokenRecord:
        return False
    return kept.is_refused or kept.source in OWN_CALLS


def _why(subscription: Subscription) -> str:
    """Why nothing is sent to a subscription; empty where something is."""
    if subscription.disabled_reason:
        return DISABLED
    return PAUSED if subscription.paused else ""


def _again(letter: Letter, now: datetime) -> RetryMessage | None:
    """The delivery of a letter as an operator wants it made; None where it is none."""
    try:
        message = RetryMessage.read(letter.body)
    except BrokenRecord:
        return None
    purpose = Purpose.RECOVER
    changes = {
        "purpose": purpose,
        "reason": purpose.value,
        "attempts": 0,
        "earlier": message.earlier + message.attempts,
        "not_before": now,
        "has_slot": False,
        "asked_at": now,
    }
    return message.model_copy(update=changes)


def _queued(letter: Letter, message: RetryMessage | None, refused: Collection[str]) -> Treated:
    if message is None:
        return Treated(letter, Fate.FAILED, BROKEN)
    if message.delivery_id in refused:
        return Treated(letter, Fate.FAILED, NOT_QUEUED)
    return Treated(letter, Fate.DONE)


def _of(delivery: Delivery, now: datetime) -> RetryMessage:
    return RetryMessage(
        purpose=Purpose.RECOVER,
        store_id=delivery.checkout.store_id,
        checkout_id=delivery.checkout.checkout_id,
        subscription_id=delivery.subscription.subscription_id,
        delivery_id=delivery.delivery_id,
        event_id=delivery.event.id,
        event_type=delivery.event.type,
        event_time=delivery.event.time,
        sequence=delivery.checkout.sequence,
        attempts=0,
        reason=Purpose.RECOVER.value,
        not_before=now,
        asked_at=now,
    )
