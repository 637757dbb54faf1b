"""A few minutes in which all happens to deliveries that the dashboard and the alarms are there for.

Checkouts come in all the time, of shoppers who leave, come back and buy. Their events go to receivers that
are well, that fail for a while or for good, that are gone, that may only be sent so much, that ask for a
consent, and to one whose key cannot be read. Nothing of it is simulated: the deployed functions do it all.
"""

import itertools
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from botocore.config import Config

from checkout_recovery.checkout.event import EventType
from checkout_recovery.queues import Purpose, RetryMessage, RetryQueue
from checkout_recovery.secrets import subscription_secret
from checkout_recovery.subscriptions.circuit import LONGEST_WAIT
from checkout_recovery.tables.registry import RegistryTable
from local import senders
from local.client import Client, StoreClient, Subscribed
from local.cloud import Stack
from local.receiver import Endpoint, Receiver

ABANDON_AFTER = 60
"""Seconds; the shortest that a store can have."""
_CONTRACTS = ("ACR_CHECKOUT 2025-09", "ACR_CHECKOUT 2026-05", "checkout 2026-11", "abandonedCheckout v1")
_PACE = 0.7
"""Seconds between two checkouts."""
_AWAY = 125.0
"""Seconds; within them a sweep has come by."""
_LONG_AGO = timedelta(hours=7)
"""Older than any snapshot may be told."""
_HOPELESS = timedelta(days=6)
_NO_PROXY = Config(proxies={}, retries={"total_max_attempts": 2})


@dataclass(frozen=True, slots=True)
class Watched:
    """A subscription and the receiver behind it."""

    subscribed: Subscribed
    endpoint: Endpoint


class Trouble:
    """Two stores and their receivers, for as long as the context lasts."""

    def __init__(self, stack: Stack, client: Client, receiver: Receiver) -> None:
        self._stack = stack
        self._receiver = receiver
        self._numbers = itertools.count(1)
        self._ended = threading.Event()
        self._watched: list[tuple[StoreClient, Watched]] = []
        name = secrets.token_hex(4)
        settings = {"abandon_after_seconds": ABANDON_AFTER}
        self.shop = client.register(f"health-{name}", **settings)
        """Most of its receivers are well."""
        self.unlucky = client.register(f"trouble-{name}", **settings)
        """Each of its receivers has a trouble of its own."""

    @classmethod
    @contextmanager
    def on(cls, stack: Stack) -> Iterator[Self]:
        with Client(stack.api_url, stack.admin_token) as client, Receiver() as receiver:
            trouble = cls(stack, client, receiver)
            try:
                yield trouble
            finally:
                trouble.end()

    def run(self, seconds: float) -> None:
        """Lets it all happen; some of it takes two minutes and a half."""
        begun = time.monotonic()
        self._subscribe()
        traffic = threading.Thread(target=self._traffic, daemon=True)
        traffic.start()
        try:
            self._those_who_are_unlucky()
            self._wait(begun + 45)
            self.flaky.endpoint.status = 500
            self._wait(begun + 75)
            self._give_up_old_ones()
            self._send_purchases_again()
            self._disable_the_hopeless()
            self.flaky.endpoint.status = self.down.endpoint.status = 200
            self._wait(begun + seconds)
        finally:
            self._ended.set()
            traffic.join(timeout=30)

    def end(self) -> None:
        """Takes the subscriptions away: their receiver ends, and nobody is to try it for days."""
        for store, watched in self._watched:
            store.unsubscribe(watched.subscribed.subscription_id)

    # ------------------------------------------------------------ receivers

    def _subscribe(self) -> None:
        for contract in _CONTRACTS:
            self._watch(self.shop, contract)
        slow = self._watch(self.shop, "checkout 2026-11")
        slow.endpoint.delay_seconds = 0.3
        self._watch(self.shop, "checkout 2026-11", consent="granted", events=["checkout.abandoned"])
        self._watch(self.shop, "checkout 2026-11", rate_limit_per_second=1)
        self.flaky = self._watch(self.shop, "ACR_CHECKOUT 2026-05")
        """Fails for half a minute."""
        self.down = self._watch(self.unlucky, "checkout 2026-11", status=503)
        """Fails for a while: its circuit opens and closes."""
        self.dead = self._watch(self.unlucky, "ACR_CHECKOUT 2026-05", status=500)
        """Fails for good."""
        self.again = self._watch(self.unlucky, "checkout 2026-11", events=["checkout.completed"])
        """Takes each purchase, and fails when it is sent again: later attempts alone open its circuit."""
        self.gone = self._watch(self.unlucky, "ACR_CHECKOUT 2025-09", status=410)
        self.keyless = self._watch(self.unlucky, "checkout 2026-11")
        self._hide_key(self.keyless.subscribed)

    def _watch(self, store: StoreClient, contract: str, status: int = 200, **more: Any) -> Watched:
        path = f"/{secrets.token_hex(8)}"
        topic, version = contract.split()
        subscribed = store.subscribe(topic, version, self._receiver.url + path, **more)
        endpoint = self._receiver.trust(
            path, subscribed.key, contract=contract, name=subscribed.subscription_id
        )
        endpoint.status = status
        watched = Watched(subscribed, endpoint)
        self._watched.append((store, watched))
        return watched

    def _hide_key(self, subscribed: Subscribed) -> None:
        """Deletes a key, as somebody may who tidies up in SSM."""
        name = subscription_secret(self.unlucky.store_id, subscribed.subscription_id)
        with closing(self._stack.aws.client("ssm", endpoint_url=self._stack.endpoint_url)) as ssm:
            ssm.delete_parameter(Name=f"/{self._stack.stack_name}/{name}")

    # ------------------------------------------------------------ shoppers

    def _traffic(self) -> None:
        """Shoppers of the lucky store: of each three one buys, one comes back and one comes back to buy."""
        left: deque[tuple[float, str]] = deque()
        for number in itertools.count():
            checkout_id = f"c-{number}"
            self._tell(self.shop, checkout_id)
            if self._ended.wait(_PACE):
                return
            self._tell(self.shop, checkout_id, name="Asha Rao")
            if number % 3:
                left.append((time.monotonic(), checkout_id))
            else:
                self._tell(self.shop, checkout_id, completed=True)
            while left and time.monotonic() - left[0][0] > _AWAY:
                self._come_back(left.popleft()[1])

    def _come_back(self, checkout_id: str) -> None:
        buys = int(checkout_id.removeprefix("c-")) % 3 == 1
        self._tell(self.shop, checkout_id, **({"completed": True} if buys else {"name": "Asha R."}))

    def _those_who_are_unlucky(self) -> None:
        for number in range(8):
            self._tell(self.unlucky, f"u-{number}")
        self._wait(time.monotonic() + 1.5)
        for number in range(4):
            self._tell(
                self.unlucky, f"u-{number}", name="Asha Rao"
            )  # what failed is not worth telling any more
            self._tell(self.unlucky, f"b-{number + 10}", completed=True)
            self._wait(time.monotonic() + 1.5)

    def _tell(self, store: StoreClient, checkout_id: str, **details: Any) -> None:
        number = next(self._numbers)
        payload = {
            "checkout_id": checkout_id,
            "event_id": secrets.token_hex(8),
            "phone": f"+9198{int(checkout_id.rpartition('-')[2]):08}",
            "checkout_url": f"https://shop.example/c/{checkout_id}?n={number}",
            **details,
        }
        store.send(senders.own(payload)).raise_for_status()

    # ------------------------------------------------------------ what takes hours or days

    def _give_up_old_ones(self) -> None:
        """Queues deliveries as they would be there after hours without an answer."""
        old = datetime.now(UTC) - _LONG_AGO
        log = self.unlucky.deliveries(self.dead.subscribed.subscription_id)
        created = [each for each in log if each["event_type"] == EventType.CREATED]
        self._queue(self.dead, created[:3], Purpose.RETRY, old)

    def _send_purchases_again(self) -> None:
        """Queues what an operator replays, all of it at once: one function makes it."""
        self.again.endpoint.status = 500
        log = self.unlucky.deliveries(self.again.subscribed.subscription_id)
        self._queue(self.again, log[:10], Purpose.REPLAY, datetime.now(UTC))

    def _queue(
        self, watched: Watched, log: Iterable[Mapping[str, Any]], purpose: Purpose, event_time: datetime
    ) -> None:
        messages = [
            RetryMessage(
                purpose=purpose,
                store_id=self.unlucky.store_id,
                checkout_id=entry["checkout_id"],
                subscription_id=watched.subscribed.subscription_id,
                delivery_id=entry["delivery_id"],
                event_id=entry["event_id"],
                event_type=EventType(entry["event_type"]),
                event_time=event_time,
                sequence=entry["sequence"],
                attempts=entry["attempts"],
                reason="http",
                not_before=datetime.now(UTC),
            )
            for entry in log
        ]
        with closing(self._client("sqs")) as sqs:
            queue = RetryQueue(sqs, self._stack.outputs["RetryQueueUrl"])
            if queue.send(messages, datetime.now(UTC)):
                raise RuntimeError("The RetryQueue refused messages.")

    def _disable_the_hopeless(self) -> None:
        """Lets a circuit be open for six days already; its next probe is the last."""
        with closing(self._client("dynamodb")) as dynamodb:
            registry = RegistryTable(dynamodb, self._stack.outputs["RegistryTableName"])
            circuit = self._within(
                60,
                lambda: registry.subscriptions(self.unlucky.store_id).circuits.get(
                    self.dead.subscribed.subscription_id
                ),
            )
            now = datetime.now(UTC)
            hopeless = replace(circuit, failing_since=now - _HOPELESS, probe_at=now, wait=LONGEST_WAIT)
            registry.put_circuit(circuit, hopeless)

    def _client(self, service: Any) -> Any:
        return self._stack.aws.client(service, endpoint_url=self._stack.endpoint_url, config=_NO_PROXY)

    def _within(self, seconds: float, look: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + seconds
        while (found := look()) is None:
            if time.monotonic() > deadline:
                raise TimeoutError("It did not happen in time.")
            time.sleep(0.5)
        return found

    def _wait(self, until: float) -> None:
        self._ended.wait(max(0.0, until - time.monotonic()))
