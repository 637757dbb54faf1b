"""Whether a delivery costs more where there are many, and an event where a function has had many before."""

import functools
import itertools
import time
from collections.abc import Iterator, Sequence
from functools import partial

from bench.figures import FEW, Effort, Figure, Target, figure, in_turns
from bench.stub import STORE_ID
from bench.world import Context, forget, stream_event, world
from checkout_recovery import wiring
from checkout_recovery.checkout.event import event_id
from checkout_recovery.checkout.lifecycle import Checkout
from checkout_recovery.delivery.fan_out import Arrival, FanOut
from checkout_recovery.tables.checkouts import decode
from functions.fanout.app import handler as fanout

GROUP = "growth"
GROWTH = Target(must=1.1, aim=1.0)
LARGEST = 100
"""As many subscriptions as a store may have: more are those of several stores."""
SIZES = (1, 10, 100, 1_000)
DELIVERIES = 2_000
BATCH = 100
TIMED = 10
"""Batches of a round."""
EVENTS = 100_000

STORES = {f"of-{size}": size for size in SIZES[:3]} | {f"many-{n}": LARGEST for n in range(10)}
SENDING_SECONDS = 20.0


def measure(effort: Effort) -> list[Figure]:
    with world(STORES | {STORE_ID: 1}):
        # The rest of its time goes into growing old.
        return [*_by_subscribers(effort.shared(6)), _by_age(effort.shared(6))]


def _by_subscribers(effort: Effort) -> list[Figure]:
    """An event's deliveries to ever more subscribers, by this process's CPU."""
    figures = []
    for size, smaller in ((SIZES[3], SIZES[0]), (SIZES[3], SIZES[2]), (SIZES[2], SIZES[1])):
        found = in_turns(partial(_microseconds, size), partial(_microseconds, smaller), effort)
        target = GROWTH if smaller != SIZES[1] else None
        name = f"a delivery, {size:,} subscribers, beside {smaller:,}"
        baseline = f"{smaller:,} subscriber{'s' * (smaller > 1)}"
        figures.append(figure(GROUP, name, "CPU µs", baseline, found, target=target))
    return figures


def _microseconds(size: int) -> float:
    stores = [f"of-{size}"] if size <= LARGEST else [f"many-{n}" for n in range(size // LARGEST)]
    batch = stream_event({f"c-{store}": store for store in stores})
    times = max(2, min(200, DELIVERIES // size))
    fanout(batch, Context())  # learns the stores and connects
    before = time.process_time()
    for _ in range(times):
        assert fanout(batch, Context()) == {"batchItemFailures": []}
    return (time.process_time() - before) / times / size * 1e6


def _by_age(effort: Effort) -> Figure:
    """The next events of a function that has had so many, beside those of one that has had a hundred."""
    old, young = _function(), _function()
    events = EVENTS if effort.rounds > FEW else EVENTS // 20
    firsts = itertools.count(step=BATCH)
    for _ in range(events // BATCH):
        assert not old(_arrivals(next(firsts)), SENDING_SECONDS)
    assert not young(_arrivals(next(firsts)), SENDING_SECONDS)
    found = in_turns(partial(_age, old, firsts), partial(_age, young, firsts), effort)
    name = f"an event x 1, after {events:,}"
    return figure(GROUP, name, "CPU µs", f"after {BATCH}", found, target=GROWTH)


def _function() -> FanOut:
    forget()
    return wiring.fan_out()


def _age(function: FanOut, firsts: Iterator[int]) -> float:
    batches = [_arrivals(first) for first in itertools.islice(firsts, TIMED)]
    before = time.process_time()
    for arrivals in batches:
        assert not function(arrivals, SENDING_SECONDS)
    return (time.process_time() - before) / (TIMED * BATCH) * 1e6


def _arrivals(first: int) -> Sequence[Arrival]:
    """Events of as many checkouts that nobody has heard of before."""
    return [Arrival(str(number), _created(first + number)) for number in range(BATCH)]


def _created(number: int) -> Checkout:
    checkout = _sample()
    assert checkout.event
    changes = {"id": event_id(STORE_ID, f"c-{number}", 1)}
    event = checkout.event.model_copy(update=changes)
    return checkout.model_copy(update={"checkout_id": f"c-{number}", "event": event})


@functools.cache
def _sample() -> Checkout:
    (record,) = stream_event({"c-0": STORE_ID})["Records"]
    return decode(record["dynamodb"]["NewImage"])
