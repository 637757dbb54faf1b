"""The receivers of a load run: most are well, and of the others each fails in a way of its own."""

import itertools
import secrets
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from local.client import StoreClient, Subscribed
from local.receiver import LOOPBACK, Endpoint, Receiver

_SLOW_SECONDS = 0.2
_HANGING_SECONDS = 60.0
_FLAPS_EVERY_SECONDS = 2.0
_CONTRACTS = ("checkout 2026-11", "ACR_CHECKOUT 2026-05", "ACR_CHECKOUT 2025-09")
"""Those that carry every event of a run: nobody is found abandoned in it."""


class Kind(StrEnum):
    """How a receiver behaves."""

    WELL = "well"
    SLOW = "slow"
    """Answers after 0.2 s."""
    FLAPPING = "flapping"
    """Answers 200 for two seconds, then 503 for two."""
    ERRING = "erring"
    """Answers 500."""
    HANGING = "hanging"
    """Takes the request and does not answer."""
    DEAD = "dead"
    """Nothing listens there."""
    GONE = "gone"
    """Answers 410."""


FAILING = (Kind.HANGING, Kind.DEAD, Kind.FLAPPING, Kind.ERRING, Kind.GONE)
SURE = (Kind.WELL, Kind.SLOW)
"""Those that must have every event."""


@dataclass(frozen=True, slots=True)
class Subscriber:
    """One subscription of the run, and the receiver behind it."""

    kind: Kind
    store: StoreClient
    subscribed: Subscribed

    @property
    def name(self) -> str:
        return self.subscribed.subscription_id


class Receivers:
    """Subscribes receivers of each kind on one server."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._flapping: list[Endpoint] = []
        self._contracts = itertools.cycle(_CONTRACTS)

    def subscribe(self, store: StoreClient, kind: Kind) -> Subscriber:
        """Makes a subscription whose receiver is of this kind."""
        path, contract = f"/{secrets.token_urlsafe(12)}", next(self._contracts)
        root = f"http://{LOOPBACK}:{_closed_port()}" if kind is Kind.DEAD else self._receiver.url
        topic, version = contract.split()
        subscribed = store.subscribe(topic, version, root + path)
        endpoint = self._receiver.trust(
            path, subscribed.key, contract=contract, name=subscribed.subscription_id
        )
        self._behave(endpoint, kind)
        return Subscriber(kind, store, subscribed)

    def _behave(self, endpoint: Endpoint, kind: Kind) -> None:
        match kind:
            case Kind.SLOW:
                endpoint.delay_seconds = _SLOW_SECONDS
            case Kind.FLAPPING:
                self._flapping.append(endpoint)
            case Kind.ERRING:
                endpoint.status = 500
            case Kind.HANGING:
                endpoint.delay_seconds = _HANGING_SECONDS
                endpoint.status = 500  # what is answered so late counts for nothing
            case Kind.GONE:
                endpoint.status = 410

    def paused(self, store: StoreClient, kinds: Sequence[Kind]) -> Sequence[Subscriber]:
        """Makes subscriptions that nothing is sent to yet."""
        subscribers = [self.subscribe(store, kind) for kind in kinds]
        for one in subscribers:
            store.change(one.name, paused=True)
        return subscribers

    @contextmanager
    def resumed(self, subscribers: Sequence[Subscriber]) -> Iterator[Sequence[Subscriber]]:
        """Starts paused subscriptions for as long as the context lasts."""
        for one in subscribers:
            one.store.change(one.name, paused=False)
        with self._flapping_ones():
            yield subscribers
        for one in subscribers:
            one.store.change(one.name, paused=True)

    @contextmanager
    def subscribed(self, store: StoreClient, kinds: Sequence[Kind]) -> Iterator[Sequence[Subscriber]]:
        """Makes new subscriptions for as long as the context lasts."""
        subscribers = [self.subscribe(store, kind) for kind in kinds]
        with self._flapping_ones():
            yield subscribers
        for one in subscribers:
            store.unsubscribe(one.name)

    @contextmanager
    def _flapping_ones(self) -> Iterator[None]:
        """Lets those flap that do for as long as the context lasts; at its end they are well."""
        ended = threading.Event()
        flapper = threading.Thread(target=self._flap, args=(ended,))
        flapper.start()
        try:
            yield
        finally:
            ended.set()
            flapper.join()

    def _flap(self, ended: threading.Event) -> None:
        for status in itertools.cycle((503, 200)):
            self._all_answer(status)
            if ended.wait(_FLAPS_EVERY_SECONDS):
                self._all_answer(200)
                return

    def _all_answer(self, status: int) -> None:
        for endpoint in self._flapping:
            endpoint.status = status


def kinds_of(count: int, failing: int) -> Sequence[Kind]:
    """What the receivers of a store are: so many of the failing kinds in turn, one slow, the others well."""
    bad = list(itertools.islice(itertools.cycle(FAILING), failing))
    slow = [Kind.SLOW] if count > len(bad) + 1 else []
    return [*bad, *slow, *[Kind.WELL] * (count - len(bad) - len(slow))]


def _closed_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
