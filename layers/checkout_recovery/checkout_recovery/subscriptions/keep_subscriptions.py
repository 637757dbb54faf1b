"""Subscriptions: made, read, changed, given a new key, and removed."""
# ruff: noqa: PLC0415 - the contracts are only needed where a subscription is made or changed

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

from checkout_recovery.checkout.event import EventType
from checkout_recovery.delivery.egress import header_fault, url_refusal
from checkout_recovery.errors import Conflict, FieldError, MalformedRequest, NotFound, ProblemError
from checkout_recovery.notifications import Notice, Notifications
from checkout_recovery.secrets import WRITING, Secret, Secrets, subscription_secret
from checkout_recovery.signing import Recipe, new_webhook_key
from checkout_recovery.subscriptions.circuit import Circuit
from checkout_recovery.subscriptions.requests import SubscriptionChange, SubscriptionRequest
from checkout_recovery.subscriptions.subscription import (
    SUBSCRIPTION_ID,
    ConsentRule,
    Required,
    Subscription,
    new_subscription_id,
)
from checkout_recovery.subscriptions.version import next_version
from checkout_recovery.tables.registry import RegistryTable

if TYPE_CHECKING:
    from checkout_recovery.contracts.contract import Contract

MAX_PAGE = 100

_RESERVED_PREFIXES = ("content-", "webhook-", "x-webhook-", "x-flexype-", "x-amz")
_RESERVED = frozenset({"user-agent", "x-event-id", "x-request-id", "x-store-url"})


@dataclass(frozen=True, slots=True)
class Keyed:
    """A subscription with a key that was just made."""

    subscription: Subscription
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Page:
    items: tuple[Subscription, ...]
    next_cursor: str | None


class SubscriptionKeeper:
    """Collaborators are arguments."""

    def __init__(
        self,
        registry: RegistryTable,
        secrets: Secrets,
        notifications: Callable[[], Notifications],
        now: Callable[[], datetime],
        *,
        local_targets: bool,
    ) -> None:
        self._registry = registry
        self._secrets = secrets
        self._notifications = notifications
        self._now = now
        self._local_targets = local_targets

    def add(self, store_id: str, request: SubscriptionRequest) -> Keyed:
        """Adds a subscription.

        Raises:
            NotFound: there is no such store.
            MalformedRequest: what is asked for cannot be had; it names the fields.
            Conflict: the store has as many subscriptions as it may have.
        """
        contract = self._checked(request)
        now, key = self._now(), new_webhook_key()
        subscription = Subscription(
            subscription_id=new_subscription_id(now),
            store_id=store_id,
            topic=contract.topic,
            version=contract.version,
            callback_url=request.callback_url,
            events=_in_order(contract, request.events or contract.events),
            consent=request.consent,
            requires=_once_each(request.requires),
            rate_limit_per_second=request.rate_limit_per_second,
            recipe=request.recipe or (Recipe.BASE64_BODY if _has_recipe(contract) else None),
            header_names=tuple(request.headers),
            key_version=next_version(0, now),
            created_at=now,
            updated_at=now,
        )
        if self._registry.store(store_id) is None:
            raise NotFound("There is no such store")
        name = subscription_secret(store_id, subscription.subscription_id)
        # The secret first: nobody reads it before the subscription is there, and then it has to be.
        self._secrets.put(name, Secret((key,), subscription.key_version, headers=request.headers))
        try:
            self._registry.create_subscription(subscription)
        except ProblemError:
            self._secrets.delete([name])
            raise
        return Keyed(subscription, key)

    def get(self, store_id: str, subscription_id: str) -> Subscription:
        """Reads a subscription.

        Raises:
            NotFound: the store has none with this id.
        """
        known = SUBSCRIPTION_ID.fullmatch(subscription_id)
        subscription = self._registry.subscription(store_id, subscription_id) if known else None
        if subscription is None:
            raise NotFound("There is no such store, or no such subscription of it")
        return subscription

    def page(self, store_id: str, cursor: str = "", limit: int = MAX_PAGE) -> Page:
        """Lists a store's subscriptions, oldest first.

        Args:
            store_id: whose.
            cursor: `next_cursor` of the page before.
            limit: how many at most.
        """
        # A store has few enough to read them all at once.
        after = (
            each for each in self._registry.subscriptions(store_id).items if each.subscription_id > cursor
        )
        items = tuple(islice(after, limit))
        return Page(items, items[-1].subscription_id if next(after, None) else None)

    def change(self, store_id: str, subscription_id: str, request: SubscriptionChange) -> Subscription:
        """Changes what the request names; starting a subscription again also forgives why it was disabled.

        A receiver that is named anew or started again is not held to have failed, and a rate that is named
        counts from now.

        Raises:
            NotFound: the store has none with this id.
            MalformedRequest: what is asked for cannot be had; it names the fields.
            Conflict: somebody else is changing it at this moment.
        """
        from checkout_recovery.contracts import CONTRACTS

        before = self.get(store_id, subscription_id)
        changes: dict[str, Any] = request.model_dump(exclude_unset=True)
        faults: list[FieldError] = []
        contract = CONTRACTS[before.topic, before.version]
        if "callback_url" in changes:
            faults += self._url_faults(request.callback_url)
        if "events" in changes:
            faults += _event_faults(contract, request.events)
            changes["events"] = _in_order(contract, request.events)
        if "requires" in changes:
            changes["requires"] = _once_each(request.requires)
        faults += _suppression_faults(contract, request.consent, request.requires)
        if faults:
            raise MalformedRequest(errors=faults)
        if changes.get("paused") is False:
            changes["disabled_reason"] = None
        after = replace(before, **changes)
        if after != before:
            after = replace(after, updated_at=self._now())
            self._registry.update_subscription(before, after)
        self._start_afresh(before, after, changes)
        return after

    def take_up(self, subscription: Subscription) -> None:
        """Closes a subscription's circuit: what failed before says nothing of its receiver any more.

        Who was told that it fails is told so.
        """
        ids = subscription.store_id, subscription.subscription_id
        for circuit in self._registry.circuits([ids]).values():
            if self._registry.close_circuit(circuit) and circuit.is_told:
                self._notifications().send(Notice.RECOVERED, *ids)

    def _start_afresh(self, before: Subscription, after: Subscription, changes: Mapping[str, Any]) -> None:
        """Ends what the receiver or the rate before the change is to blame for.

        Also where nothing has changed: a change that died before this was done is finished by its repeat.
        """
        if "callback_url" in changes or (before.stopped and not after.stopped):
            ids = after.store_id, after.subscription_id
            held = self._registry.circuits([ids]).values()
            is_told = before.disabled_reason is not None or any(circuit.is_told for circuit in held)
            self._registry.reset_circuit(Circuit.untried(*ids, self._now(), is_told=is_told))
        elif changes.get("paused") is False:
            self.take_up(after)
        if "rate_limit_per_second" in changes:
            self._registry.reset_turns(after.subscription_id)

    def rotate(self, store_id: str, subscription_id: str, overlap: timedelta) -> Keyed:
        """Gives a subscription a new key; the one before it signs along until the overlap ends.

        Raises:
            NotFound: the store has none with this id.
            Conflict: somebody else is rotating it at this moment, or its keys are lost.
        """
        before = self.get(store_id, subscription_id)
        name = subscription_secret(store_id, subscription_id)
        held = self._secrets.get(name, before.key_version)
        if held is None:
            raise Conflict("The subscription's keys are lost: delete it and make it anew")
        now = self._now()
        if held.version < before.key_version and now - before.updated_at < WRITING:
            raise Conflict("The key is being rotated at this moment")
        after = replace(
            before,
            key_version=next_version(before.key_version, now),
            previous_key_expires_at=now + overlap,
            updated_at=now,
        )
        key = new_webhook_key()
        # The registry first: of two at once it lets one through, which SSM would not.
        self._registry.update_subscription(before, after)
        self._secrets.put(name, held.rotated(key, after.key_version, now, overlap))
        return Keyed(after, key)

    def remove(self, store_id: str, subscription_id: str) -> None:
        """Removes a subscription and its secrets; repeated, it clears away what a failed try left."""
        if SUBSCRIPTION_ID.fullmatch(subscription_id):
            self._registry.delete_subscription(store_id, subscription_id)
            self._secrets.delete([subscription_secret(store_id, subscription_id)])

    def _checked(self, request: SubscriptionRequest) -> "Contract":
        from checkout_recovery.contracts import CONTRACTS, cashfree_v1

        contract = CONTRACTS.get((request.topic, request.version))
        if contract is None:
            known = ", ".join(f"{topic} {version}" for topic, version in CONTRACTS)
            raise MalformedRequest(
                errors=[FieldError("version", f"No such topic and version; there are: {known}")]
            )
        faults = self._url_faults(request.callback_url) + _header_faults(request.headers)
        if request.events is not None:
            faults += _event_faults(contract, request.events)
        faults += _suppression_faults(contract, request.consent, request.requires)
        if request.recipe and not _has_recipe(contract):
            faults.append(FieldError("recipe", f"Only {cashfree_v1.TOPIC} leaves a choice"))
        if faults:
            raise MalformedRequest(errors=faults)
        return contract

    def _url_faults(self, url: str) -> list[FieldError]:
        refusal = url_refusal(url, local=self._local_targets)
        return [FieldError("callback_url", refusal)] if refusal else []


def _has_recipe(contract: "Contract") -> bool:
    from checkout_recovery.contracts import cashfree_v1

    return contract.topic == cashfree_v1.TOPIC


def _in_order(contract: "Contract", events: Iterable[EventType]) -> tuple[EventType, ...]:
    wanted = set(events)
    return tuple(event for event in contract.events if event in wanted)


def _once_each(requires: Iterable[Required]) -> tuple[Required, ...]:
    wanted = set(requires)
    return tuple(required for required in Required if required in wanted)


def _suppression_faults(
    contract: "Contract", consent: ConsentRule, requires: Sequence[Required]
) -> list[FieldError]:
    """Refuses rules that would spare no shopper: all that such a contract carries is told."""
    if EventType.ABANDONED in contract.events:
        return []
    asked = {"consent": consent is not ConsentRule.NOT_DENIED, "requires": bool(requires)}
    why = f"Only {EventType.ABANDONED} is held back for it, which {contract.topic} does not carry"
    return [FieldError(field, why) for field, is_asked in asked.items() if is_asked]


def _event_faults(contract: "Contract", events: Sequence[EventType]) -> list[FieldError]:
    known = ", ".join(contract.events)
    return [
        FieldError(f"events.{at}", f"The contract has only: {known}")
        for at, event in enumerate(events)
        if event not in contract.events
    ]


def _header_faults(headers: Mapping[str, str]) -> list[FieldError]:
    faults = [
        FieldError("headers", fault)
        for name, value in headers.items()
        if (fault := header_fault(name, value) or _reserved_fault(name))
    ]
    if len({name.lower() for name in headers}) < len(headers):
        faults.append(FieldError("headers", "a name is repeated in other letters"))
    return faults


def _reserved_fault(name: str) -> str | None:
    lower = name.lower()
    if lower in _RESERVED or lower.startswith(_RESERVED_PREFIXES):
        return "a contract has this header itself, or may have it one day"
    return None
