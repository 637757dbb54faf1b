"""What the management API answers. Secrets are in it only where they are made."""

from collections.abc import Iterable
from datetime import datetime
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from checkout_recovery.checkout.event import Event, EventType
from checkout_recovery.checkout.lifecycle import Checkout, Status, Suppression
from checkout_recovery.checkout.shopper import email_identity, phone_identities
from checkout_recovery.checkout.snapshot import Consent
from checkout_recovery.dead_letter_queues import QueueName
from checkout_recovery.signing import Recipe
from checkout_recovery.subscriptions.circuit import Circuit
from checkout_recovery.subscriptions.store import Store, StoreSettings
from checkout_recovery.subscriptions.subscription import ConsentRule, Required, Subscription
from checkout_recovery.tables.deliveries import DeliveryRecord, State
from checkout_recovery.tables.erasures import By, Erasure


class Answer(BaseModel):
    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")


class ProviderAnswer(Answer):
    recipe: Recipe
    shops: list[str]
    """The names of the shop that the provider's first authentic request named; empty until there was one."""
    configured_at: datetime


class StoreAnswer(Answer):
    store_id: str
    settings: StoreSettings
    providers: dict[str, ProviderAnswer]
    """The checkout providers whose secrets are known."""
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, store: Store) -> Self:
        providers = {
            name: ProviderAnswer(
                recipe=known.recipe, shops=list(known.shops), configured_at=known.configured_at
            )
            for name, known in store.providers.items()
        }
        return cls(
            store_id=store.store_id,
            settings=store.settings,
            providers=providers,
            created_at=store.created_at,
            updated_at=store.updated_at,
        )


class StorePage(Answer):
    """By their ids."""

    stores: list[StoreAnswer]
    """A store made in the last second may not be in it yet."""
    next_cursor: str | None
    """Asks for the next page; null on the last."""


class StoreWithToken(StoreAnswer):
    store_token: str = Field(repr=False)
    """Shown this once."""


class SubscriptionAnswer(Answer):
    subscription_id: str
    store_id: str
    topic: str
    version: str
    callback_url: str = Field(repr=False)
    events: list[EventType]
    consent: ConsentRule
    """Whose abandonments it is told of."""
    requires: list[Required]
    """Details without which it is not told of an abandonment."""
    rate_limit_per_second: int | None
    """How many events a second it is sent at most."""
    paused: bool
    recipe: Recipe | None
    header_names: list[str]
    """The headers that were asked for, without their values."""
    previous_key_expires_at: datetime | None
    """Until when the key before the last rotation signs along."""
    disabled_reason: str | None
    """Why nothing is sent any more; `PATCH {"paused": false}` starts again."""
    failing_since: datetime | None
    """Since when its receiver has only failed, and is tried now and then; else null."""
    untried: bool
    """Whether nothing is known of its receiver: it is new, was moved or started again, and has not answered
    since. What comes for it may wait a few seconds, reason `circuit_open`."""
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, subscription: Subscription, circuit: Circuit | None = None) -> Self:
        return cls(
            subscription_id=subscription.subscription_id,
            store_id=subscription.store_id,
            topic=subscription.topic,
            version=subscription.version,
            callback_url=subscription.callback_url,
            events=list(subscription.events),
            consent=subscription.consent,
            requires=list(subscription.requires),
            rate_limit_per_second=subscription.rate_limit_per_second,
            paused=subscription.paused,
            recipe=subscription.recipe,
            header_names=list(subscription.header_names),
            previous_key_expires_at=subscription.previous_key_expires_at,
            disabled_reason=subscription.disabled_reason,
            failing_since=circuit.failing_since if circuit and not circuit.is_untried else None,
            untried=circuit is not None and circuit.is_untried,
            created_at=subscription.created_at,
            updated_at=subscription.updated_at,
        )


class SubscriptionWithKey(SubscriptionAnswer):
    webhook_key: str = Field(repr=False)
    """Verifies every delivery. Shown this once."""


class SubscriptionPage(Answer):
    subscriptions: list[SubscriptionAnswer]
    next_cursor: str | None
    """Asks for the next page; null on the last."""


class AttemptAnswer(Answer):
    """One attempt; nothing of what was sent or answered."""

    at: datetime
    """When it ended."""
    failure: str | None
    """What went wrong, in a word; null where it was delivered."""
    status: int | None
    """The receiver's HTTP status; null where it did not answer."""
    latency_ms: int


class DeliveryAnswer(Answer):
    """What became of a delivery; nothing of what was sent or answered."""

    delivery_id: str
    subscription_id: str
    event_id: str
    event_type: EventType
    checkout_id: str
    sequence: int
    """The version of the checkout that was told."""
    state: State
    reason: str | None
    """Why it is not delivered, in a word."""
    attempts: int
    """How many were made; 0 where it went to the queue untried, or was held back."""
    status: int | None
    """The receiver's last HTTP status; null where it did not answer."""
    latency_ms: int | None
    """How long the last attempt took."""
    history: list[AttemptAnswer]
    """The last attempts, newest last; sixteen at most."""
    recorded_at: datetime

    @classmethod
    def of(cls, record: DeliveryRecord) -> Self:
        return cls(
            delivery_id=record.delivery_id,
            subscription_id=record.subscription_id,
            event_id=record.event_id,
            event_type=EventType(record.event_type),
            checkout_id=record.checkout_id,
            sequence=record.sequence,
            state=record.state,
            reason=record.reason,
            attempts=record.attempts,
            status=record.status,
            latency_ms=record.latency_ms,
            history=[
                AttemptAnswer(at=one.at, failure=one.failure, status=one.status, latency_ms=one.latency_ms)
                for one in record.history
            ],
            recorded_at=record.recorded_at,
        )


class DeliveryPage(Answer):
    """Newest first."""

    deliveries: list[DeliveryAnswer]
    """Where few fit what was asked for, fewer than the limit, or none, although there are more pages."""
    next_cursor: str | None
    """Asks for the next page; null at the log's end."""


class ReplayAnswer(Answer):
    """What is queued; the log tells what becomes of it."""

    delivery_id: str
    """Which delivery was asked for. What is sent is the checkout's newest event, which may be another one."""


class RecoverAnswer(Answer):
    """What one call did."""

    looked_at: int
    """How many deliveries, of those asked for."""
    queued: int
    """How many checkouts they are of: each is queued once, to be sent as it stands."""
    next_cursor: str | None
    """Goes on with those that are left; null where there are none."""


class CircuitAnswer(Answer):
    """A subscription whose receiver fails, so that it is only tried now and then."""

    store_id: str
    subscription_id: str
    failing_since: datetime
    """There has been no success since."""
    probe_at: datetime
    """When it may be tried next."""

    @classmethod
    def of(cls, circuit: Circuit) -> Self:
        return cls(
            store_id=circuit.store_id,
            subscription_id=circuit.subscription_id,
            failing_since=circuit.failing_since,
            probe_at=circuit.probe_at,
        )


class CircuitsAnswer(Answer):
    circuits: list[CircuitAnswer]
    """The longest failing first."""


class QueueAnswer(Answer):
    """About how many messages a queue has; SQS is up to a minute behind."""

    name: QueueName
    messages: int
    """That can be taken now."""
    in_flight: int
    """That somebody has taken and not yet deleted."""
    delayed: int
    """Whose time has not come."""


class QueuesAnswer(Answer):
    queues: list[QueueAnswer]


class DeadLetterAnswer(Answer):
    """What a message is about. Of a request that was not understood, nothing that it said."""

    message_id: str
    sent_at: datetime
    """When it was put into the queue; SQS deletes it 14 days after that."""
    receives: int
    """How often it has been looked at, this time included."""
    readable: bool
    """Whether it is a message of this system; of one that is not, nothing more is told."""
    reason: str | None = None
    """Why it is there: a failure's class, Lambda's condition, or a problem's type."""
    store_id: str | None = None
    """Whose; null for a batch of the stream, which may be of many."""
    subscription_id: str | None = None
    delivery_id: str | None = None
    checkout_id: str | None = None
    event_type: EventType | None = None
    event_time: datetime | None = None
    attempts: int | None = None
    """How many were made to deliver it."""
    writes: int | None = None
    """How many writes of checkouts a batch of the stream has."""
    first_write_at: datetime | None = None
    """When the earliest of them was; the stream keeps it for 24 hours."""
    source: str | None = None
    """Who sent a request that was not understood: the provider, or `checkouts` or `orders`."""
    received_at: datetime | None = None
    """When it came."""
    fields: list[str] | None = None
    """Which of its fields failed, by name."""
    refused: bool | None = None
    """Whether it was not authentic, and is only there to be looked at: it is never taken in."""


class DeadLetterPage(Answer):
    messages: list[DeadLetterAnswer]
    """Some of the queue's; which, SQS chooses."""


class RequeueAnswer(Answer):
    """What became of the messages that were looked at. What was kept or failed is still in the queue."""

    requeued: int
    """Done again, and deleted from the queue."""
    kept: int
    """Still not understood, or never to be taken in; or their subscription is stopped."""
    failed: int
    """Broken, or something that they need was not there."""
    discarded: int = 0
    """Captured requests and own calls that were deleted; 0 unless `discard_refused` was asked for."""
    left: int
    """About how many messages the queue has now."""
    detail: str | None
    """Why messages stay, with how many for each reason; null where none of them does."""


class CheckoutAnswer(Answer):
    """A checkout as it stands; nothing by which its shopper could be known or reached."""

    store_id: str
    checkout_id: str
    status: Status
    event: Event
    """Its last event. What is told late, after a purchase, is none."""
    sequence: int
    """Its version: one more with every write."""
    stage: str | None
    """Where the shopper is, in the provider's word."""
    discarded: bool
    """The provider has deleted it: it is never found abandoned."""
    created_at: datetime
    """When it was first heard of."""
    active_at: datetime | None
    """When its newest telling was heard, from which the wait for its abandonment counts."""
    updated_at: datetime
    """The time of its newest telling, by the teller's clock if that is believed."""
    due_at: datetime | None
    """When its abandonment is decided if nothing newer is heard; null while nothing is waited for."""
    abandoned_at: datetime | None
    """When it was last found abandoned."""
    told_at: datetime | None
    """When an abandonment of it was last told to anybody."""
    suppressed: Suppression | None
    """Why nobody was told of its last abandonment. What depends on a subscription, its delivery says."""
    purchased_at: datetime | None
    """The earliest telling of its purchase."""
    completed_at: datetime | None
    """When the order was placed, by the teller's word."""
    order_id: str | None
    recovered_after_seconds: int | None
    """From its last abandonment to the purchase; null where it was not recovered."""
    has_phone: bool
    """Whether a phone is known that can be called."""
    has_email: bool
    """Whether an e-mail address is known that can be written to."""
    consent: Consent | None
    """Whether the shopper agreed to WhatsApp messages; null where nobody knows."""
    deliveries: list[DeliveryAnswer]
    """What became of its last event, for each subscription that the store has now; newest first."""

    @classmethod
    def of(cls, checkout: Checkout, deliveries: Iterable[DeliveryRecord]) -> Self:
        details, after = checkout.details, checkout.recovered_after
        return cls.model_validate(
            {
                "store_id": checkout.store_id,
                "checkout_id": checkout.checkout_id,
                "status": checkout.status,
                "event": checkout.event,
                "sequence": checkout.sequence,
                "stage": details.stage,
                "discarded": checkout.discarded,
                "created_at": checkout.created_at,
                "active_at": checkout.active_at,
                "updated_at": checkout.updated_at,
                "due_at": checkout.due_at,
                "abandoned_at": checkout.abandoned_at,
                "told_at": checkout.told_at,
                "suppressed": checkout.suppressed,
                "purchased_at": checkout.purchased_at,
                "completed_at": details.completed_at,
                "order_id": details.order_id,
                "recovered_after_seconds": None if after is None else int(after.total_seconds()),
                "has_phone": bool(phone_identities(details.phone)),
                "has_email": email_identity(details.email) is not None,
                "consent": details.consent,
                "deliveries": [DeliveryAnswer.of(record) for record in deliveries],
            }
        )


class SampleAnswer(Answer):
    """How a receiver took a sample; nothing of what it said but the status."""

    delivered: bool
    status: int | None
    """The receiver's HTTP status; null where it did not answer."""
    failure: str | None
    """What went wrong, in a word: ``timeout``, ``dns``, ``connection``, ``tls``, ``http``…"""
    latency_ms: int


class ErasedAnswer(Answer):
    """Nothing by which the shopper could be known."""

    erasure_id: str
    checkouts: int
    """How many were deleted."""
    handles: int
    """By how many phones, e-mail addresses and carts the shopper was known, what was given included."""


class ErasureAnswer(Answer):
    erasure_id: str
    at: datetime
    by: By
    """Who asked."""
    checkouts: int
    """How many were deleted."""

    @classmethod
    def of(cls, erasure: Erasure) -> Self:
        return cls(erasure_id=erasure.erasure_id, at=erasure.at, by=erasure.by, checkouts=erasure.checkouts)


class ErasurePageAnswer(Answer):
    erasures: list[ErasureAnswer]
    """The newest first."""
    next_cursor: str | None
    """Where the next page begins; null on the last."""


class CaptureAnswer(Answer):
    until: datetime | None
    """Until when refused requests are captured; null where they are not."""
    left: int
    """How many more will be."""


class HealthAnswer(Answer):
    status: Literal["ok"] = "ok"
