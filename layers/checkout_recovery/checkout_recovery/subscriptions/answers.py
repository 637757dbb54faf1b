"""What the management API answers. Secrets are in it only where they are made."""

from datetime import datetime
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from checkout_recovery.checkout.event import EventType
from checkout_recovery.signing import Recipe
from checkout_recovery.subscriptions.store import Store, StoreSettings
from checkout_recovery.subscriptions.subscription import Subscription


class Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


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
    paused: bool
    recipe: Recipe | None
    header_names: list[str]
    """The headers that were asked for, without their values."""
    previous_key_expires_at: datetime | None
    """Until when the key before the last rotation signs along."""
    disabled_reason: str | None
    """Why nothing is sent any more; `PATCH {"paused": false}` starts again."""
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, subscription: Subscription) -> Self:
        return cls(
            subscription_id=subscription.subscription_id,
            store_id=subscription.store_id,
            topic=subscription.topic,
            version=subscription.version,
            callback_url=subscription.callback_url,
            events=list(subscription.events),
            paused=subscription.paused,
            recipe=subscription.recipe,
            header_names=list(subscription.header_names),
            previous_key_expires_at=subscription.previous_key_expires_at,
            disabled_reason=subscription.disabled_reason,
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


class SampleAnswer(Answer):
    """How a receiver took a sample; nothing of what it said but the status."""

    delivered: bool
    status: int | None
    """The receiver's HTTP status; null where it did not answer."""
    failure: str | None
    """What went wrong, in a word: ``timeout``, ``dns``, ``connection``, ``tls``, ``http``…"""
    latency_ms: int


class HealthAnswer(Answer):
    status: Literal["ok"] = "ok"
