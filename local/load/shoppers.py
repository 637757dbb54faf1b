"""The snapshots of a load run: checkouts that go on step by step beside each other, as the seeds' do."""

import random
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from checkout_recovery.checkout.event import event_id
from local import senders
from local.client import StoreClient
from local.senders import Call

_STAGES = ("INITIATED", "PHONE_ENTERED", "ADDRESS_LOADED", "PAYMENT_LOADED")
_BUYS = 0.4
"""How many checkouts end with a purchase."""
_AT_ONCE = 8
"""Checkouts that are posted beside each other."""


@dataclass(frozen=True, slots=True)
class Written:
    """A snapshot that the API has applied: an event that every subscriber of the store has to hear of."""

    store_id: str
    checkout_id: str
    sequence: int
    posted_at: float
    """Seconds since the epoch."""

    @property
    def event_id(self) -> str:
        return event_id(self.store_id, self.checkout_id, self.sequence)


@dataclass(frozen=True, slots=True)
class Posted:
    """What became of the snapshots of a phase."""

    written: tuple[Written, ...]
    refused: int
    """Not answered with 200."""


def post(stores: Sequence[StoreClient], seconds: float, rate: float, phase: str, seed: int) -> Posted:
    """Posts snapshots for a while, at most `rate` a second, the checkouts of all stores beside each other."""
    written: list[Written] = []
    refused: list[int] = []
    turns = _Turns(rate, time.monotonic() + seconds)

    def shop(number: int) -> None:
        random_ = random.Random(f"{seed}/{phase}/{number}")  # noqa: S311 - a model, no secret
        store = stores[number % len(stores)]
        for call in _steps(f"{phase}-{number}", random_):
            posted_at = time.time()
            response = store.send(call)
            if not response.is_success:
                refused.append(response.status_code)
                continue
            written.extend(
                Written(store.store_id, result["checkout_id"], result["sequence"], posted_at)
                for result in response.json()["results"]
                if result["status"] == "applied"
            )
            if not turns.take():
                return

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        shoppers: list[Future[None]] = []
        while turns.take():
            shoppers.append(pool.submit(shop, len(shoppers)))
        for shopper in shoppers:
            shopper.result()  # what went wrong in its thread is raised here
    return Posted(tuple(written), len(refused))


def _steps(checkout_id: str, random_: random.Random) -> Iterator[Call]:
    """One shopper's snapshots; each tells more than the one before."""
    told: dict[str, object] = {"checkout_id": checkout_id}
    digits = f"98{random_.randrange(10**8):08d}"
    for stage in _STAGES[: random_.randint(2, len(_STAGES))]:
        told |= {"stage": stage}
        if stage != "INITIATED":
            told |= {"phone": {"number": digits, "dial_code": "91"}}
        if stage == "ADDRESS_LOADED":
            told |= {"name": f"Shopper {checkout_id}", "address": {"zip": "380001", "city": "Ahmedabad"}}
        yield senders.own(told | {"cart": senders.OWN["cart"]})
    if random_.random() < _BUYS:
        yield senders.own(told | {"completed": True})


class _Turns:
    """Says when the next snapshot may be posted, and when there is none any more."""

    def __init__(self, rate: float, until: float) -> None:
        self._interval = 1 / rate
        self._until = until
        self._next = time.monotonic()
        self._lock = threading.Lock()

    def take(self) -> bool:
        """Waits for a turn; False once the phase is over."""
        with self._lock:
            turn = self._next = max(self._next + self._interval, time.monotonic())
        if turn >= self._until:
            return False
        time.sleep(max(0.0, turn - time.monotonic()))
        return True
