"""A store with subscriptions on moto, a receiver that verifies, and the functions that deliver.

What waits in the retry queue is read from moto's own memory, because SQS shows nobody a delayed message; a
message whose time has come is one whose `not_before` is now.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import boto3
from moto.backends import get_backend
from mypy_boto3_dynamodb import DynamoDBClient

from checkout_recovery import wiring
from checkout_recovery.checkout.event import Event
from checkout_recovery.checkout.lifecycle import Checkout, Policy
from checkout_recovery.checkout.phone import Phone
from checkout_recovery.checkout.shopper import UNKNOWN, Purchase
from checkout_recovery.checkout.snapshot import Details, Snapshot
from checkout_recovery.delivery.plan import delivery_id
from checkout_recovery.queues import Purpose, RetryMessage
from checkout_recovery.secrets import Secret, subscription_secret
from checkout_recovery.signing import new_webhook_key
from checkout_recovery.subscriptions.store import Store, StoreSettings
from checkout_recovery.tables.checkouts import encode
from checkout_recovery.tables.deliveries import DeliveryRecord
from functions.fanout import app as fanout
from functions.retry import app as retry
from local.receiver import Endpoint, Receiver
from local.stream_fixtures import DUE_SHARDS, record
from tests.component.subscribing import subscribe_known
from tests.subscriptions import subscription

STORE = "my-store"
ACCOUNT = "123456789012"
"""Moto's."""
WAIT = timedelta(minutes=15)
MINUTE = timedelta(minutes=1)
CONTEXT = SimpleNamespace(get_remaining_time_in_millis=lambda: 60_000)

Json = dict[str, Any]


class Killed(BaseException):
    """The function's process ends here."""


class Shop:
    """One store, what it has subscribed, and the queues of its deliveries."""

    def __init__(self, dynamodb: DynamoDBClient, receiver: Receiver, forget: Callable[[], None]) -> None:
        self.dynamodb = dynamodb
        self.receiver = receiver
        self.forget = forget
        self.started = datetime.now(UTC)
        wiring.registry().create_store(
            Store(
                store_id=STORE,
                settings=StoreSettings(),
                token_hash="0" * 64,
                revision=1,
                created_at=self.started,
                updated_at=self.started,
            )
        )

    def subscribe(
        self, name: str, topic: str = "checkout", version: str = "2026-11", **rules: Any
    ) -> Endpoint:
        """Makes a subscription; how its receiver behaves can be set."""
        key = self.receiver_at(self.receiver.url, name, topic, version, **rules)
        return self.receiver.trust(f"/{name}", key)

    def receiver_at(
        self, url: str, name: str, topic: str = "checkout", version: str = "2026-11", **rules: Any
    ) -> str:
        """Makes a subscription of a receiver elsewhere; returns its key."""
        key = new_webhook_key()
        made = subscription(name, topic, version, store_id=STORE, callback_url=f"{url}/{name}", **rules)
        wiring.secrets().put(subscription_secret(STORE, name), Secret((key,), version=1))
        subscribe_known(wiring.registry(), made)
        return key

    def save(self, *checkouts: Checkout) -> None:
        """Lets the table hold these as they stand."""
        for one in checkouts:
            self.dynamodb.put_item(TableName="CheckoutTable", Item=image_of(one))

    def fan_out(self, *checkouts: Checkout) -> list[str]:
        """Hands a batch of the stream to fan-out; returns the records that have to come again."""
        return failed(fanout.handler(batch(*checkouts), CONTEXT))

    def retry(self, *messages: RetryMessage | str) -> list[str]:
        """Hands messages to the retry function; returns the ids of those that have to come again."""
        return failed(retry.handler(messages_of(*messages), CONTEXT))

    def end_claims(self) -> None:
        """Lets the time of all claims pass: only after it a queue shows a message again."""
        for item in self.dynamodb.scan(TableName="DeliveryTable")["Items"]:
            if item.pop("claimed_until", None):
                self.dynamodb.put_item(TableName="DeliveryTable", Item=item)

    def waiting(self, queue: str = "RetryQueue") -> list[RetryMessage]:
        """What lies in a queue, visible or not."""
        return [RetryMessage.read(body) for body in bodies(queue)]

    def take(self) -> list[RetryMessage]:
        """Empties the retry queue, as if the time of all that waits had come."""
        taken = [due(message) for message in self.waiting()]
        messages_in("RetryQueue").clear()
        return taken

    def deliver_all(self) -> None:
        """Lets the retry function work until nothing waits; a batch that fails comes again."""
        for _ in range(30):
            if not (taken := self.take()):
                return
            for start in range(0, len(taken), 10):
                batch_ = taken[start : start + 10]
                while again := self.retry(*batch_):
                    batch_ = [batch_[int(id_)] for id_ in again]
                    self.end_claims()
        raise AssertionError("the queue does not become empty")

    @property
    def records(self) -> dict[str, DeliveryRecord]:
        """The log, by subscription; the last event's where there are several."""
        items = self.dynamodb.scan(TableName="DeliveryTable")["Items"]
        keys = [(item["subscription_id"]["S"], item["delivery_id"]["S"]) for item in items]
        found = wiring.deliveries().load_all(keys) if keys else []
        return {each.subscription_id: each for each in sorted(found, key=lambda each: each.delivery_id)}

    @property
    def states(self) -> dict[str, tuple[str, str | None]]:
        return {name: (each.state.value, each.reason) for name, each in self.records.items()}

    @property
    def heard(self) -> list[tuple[str, str]]:
        """Which event types arrived at which subscription, in order."""
        return [(each.path.removeprefix("/"), each.event_type or "") for each in self.receiver.arrivals]

    @property
    def ids_heard(self) -> dict[str, list[str]]:
        """The event ids that each subscription was sent and accepted, in order."""
        heard: dict[str, list[str]] = {}
        for each in self.receiver.arrivals:
            if each.status < 300:
                assert each.problem is None
                heard.setdefault(each.path.removeprefix("/"), []).append(each.event_id or "")
        return heard


# ---------------------------------------------------------------- checkouts


def begun(checkout_id: str = "c1", at: datetime | None = None) -> Checkout:
    """A checkout that somebody has just begun."""
    at = at or datetime.now(UTC)
    return changed(Checkout(store_id=STORE, checkout_id=checkout_id), at, phone=Phone.of("9876543210", "91"))


def changed(before: Checkout, at: datetime, **details: Any) -> Checkout:
    snapshot = Snapshot(
        checkout_id=before.checkout_id, event_time=at, details=Details.model_validate(details)
    )
    after = before.apply(snapshot, at, WAIT)
    assert isinstance(after, Checkout)
    return after


def left(checkout_id: str = "c1") -> Checkout:
    """A checkout that has just been found abandoned."""
    now = datetime.now(UTC)
    found = begun(checkout_id, now - WAIT - MINUTE).abandon(UNKNOWN, Policy(cooldown=timedelta(days=1)), now)
    assert isinstance(found, Checkout)
    return found


def bought(before: Checkout) -> Checkout:
    now = datetime.now(UTC) + MINUTE
    after = before.buy(Purchase(time=now, heard_at=now, order_id="1001"), now)
    assert isinstance(after, Checkout)
    return after


def event_of(checkout: Checkout) -> Event:
    assert checkout.event
    return checkout.event


def image_of(checkout: Checkout) -> Json:
    return encode(checkout, datetime.now(UTC) + timedelta(days=90), DUE_SHARDS)


# ---------------------------------------------------------------- batches and messages


def batch(*checkouts: Checkout) -> Json:
    """The stream's records of these writes; a record's id is its place."""
    records = [record(number, image_of(one)) for number, one in enumerate(checkouts)]
    for number, each in enumerate(records):
        each["dynamodb"]["SequenceNumber"] = str(number)
    return {"Records": records}


def waiting_for(
    checkout: Checkout,
    subscription_id: str = "sub_a",
    purpose: Purpose = Purpose.RETRY,
    **changes: Any,
) -> RetryMessage:
    """A message about a checkout's last event, due now."""
    event = event_of(checkout)
    fields: Json = {
        "purpose": purpose,
        "store_id": STORE,
        "checkout_id": checkout.checkout_id,
        "subscription_id": subscription_id,
        "delivery_id": delivery_id(event, subscription_id),
        "event_id": event.id,
        "event_type": event.type,
        "event_time": event.time,
        "sequence": checkout.sequence,
        "attempts": 1,
        "reason": "http",
        "not_before": datetime.now(UTC),
    }
    return RetryMessage(**fields | changes)


def due(message: RetryMessage) -> RetryMessage:
    return message.model_copy(update={"not_before": datetime.now(UTC)})


def messages_of(*messages: RetryMessage | str) -> Json:
    """A batch of the queue; a message's id is its place."""
    texts = [one if isinstance(one, str) else one.model_dump_json() for one in messages]
    return {"Records": [{"messageId": str(number), "body": text} for number, text in enumerate(texts)]}


def failed(answer: Json) -> list[str]:
    return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]


def messages_in(queue: str) -> Any:
    return get_backend("sqs")[ACCOUNT]["ap-south-1"].queues[queue]._messages


def bodies(queue: str) -> list[str]:
    return [message.body for message in messages_in(queue)]


def notices() -> list[str]:
    """The types of what the operator was told, in order."""
    sent = get_backend("sns")[ACCOUNT]["ap-south-1"].topics
    return [json.loads(text)["type"] for topic in sent.values() for _, text, *_ in topic.sent_notifications]


# ---------------------------------------------------------------- faults


@contextmanager
def hooked(forget: Callable[[], None], event: str, act: Callable[..., Any]) -> Iterator[None]:
    """Runs something at an event of every AWS client that the functions make from here on."""
    boto3.setup_default_session()
    assert boto3.DEFAULT_SESSION
    boto3.DEFAULT_SESSION.events.register(event, act)
    forget()
    try:
        yield
    finally:
        boto3.setup_default_session()
        forget()


def dies_after(number: int, made: list[str]) -> Callable[..., None]:
    """Ends the process after its n-th AWS call has taken effect."""

    def act(model: Any, **_: Any) -> None:
        made.append(model.name)
        if len(made) == number:
            raise Killed

    return act
