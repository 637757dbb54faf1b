"""How long a snapshot takes to reach a receiver on the local cloud, with and without another one that hangs.

The load run's own stores, shoppers, receivers and accounts (`local.load`), in short phases taken in turns.
"""

import secrets
import time
from collections.abc import Callable, Sequence

from bench.figures import FEW, Effort, Figure, Target, figure
from local.client import Client
from local.cloud import Stack, local_cloud
from local.load.__main__ import Options, Phase, _paused, _phase
from local.load.receivers import Kind, Receivers
from local.load.reconcile import percentile
from local.load.shoppers import post
from local.receiver import Receiver

GROUP = "latency"
HANGING = Target(must=1.2, aim=1.05)
WELL = 3
"""The one store's receivers beside the one that hangs."""
PERCENTILES = (50, 99)
WARM_UP_SECONDS = 5.0
ROUNDS, ROUND_SECONDS = 4, 35.0


def measure(effort: Effort) -> list[Figure]:
    """Runs as many rounds as there is time for: each is two phases, and the waits for what is under way."""
    is_quick = effort.rounds <= FEW
    options = Options(seconds=4.0 if is_quick else 10.0, settle_seconds=20.0)
    until = time.monotonic() + effort.seconds
    with local_cloud() as stack:
        phases = _run(stack, options, 1 if is_quick else ROUNDS, until)
    return [_percentile(phases, percent) for percent in PERCENTILES]


def _run(stack: Stack, options: Options, rounds: int, until: float) -> Sequence[tuple[Phase, Phase]]:
    with Client(stack.api_url, stack.admin_token) as client, Receiver() as receiver:
        receivers = Receivers(receiver)
        store = client.register(f"bench-{secrets.token_hex(4)}")
        well = [receivers.subscribe(store, Kind.WELL) for _ in range(WELL)]
        post([store], WARM_UP_SECONDS, options.rate, "warm-up", options.seed)  # it starts the functions
        hanging = receivers.subscribe(store, Kind.HANGING)

        def phase(name: str) -> Phase:
            return _phase(name, [store], well, receiver, options, _unheard)

        def without(name: str) -> Phase:
            with _paused([hanging]):
                return phase(name)

        found: list[tuple[Phase, Phase]] = []
        for number in range(rounds):
            if found and time.monotonic() > until - ROUND_SECONDS:
                break
            if number % 2:
                with_ = phase(f"with-{number}")
                found.append((with_, without(f"without-{number}")))
            else:
                quiet = without(f"without-{number}")
                found.append((phase(f"with-{number}"), quiet))
    return found


_unheard: Callable[[str], None] = lambda _line: None  # noqa: E731 - nobody reads the progress of one group


def _percentile(phases: Sequence[tuple[Phase, Phase]], percent: int) -> Figure:
    rounds = [(_milliseconds(with_, percent), _milliseconds(quiet, percent)) for with_, quiet in phases]
    return figure(
        GROUP,
        f"snapshot to receiver, one other hangs, p{percent}",
        "ms",
        "none hangs",
        rounds,
        target=HANGING,
    )


def _milliseconds(phase: Phase, percent: int) -> float:
    seconds = percentile(phase.latencies, percent)
    assert seconds is not None, "nothing arrived"
    return seconds * 1e3
