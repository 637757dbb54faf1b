"""How long a snapshot takes to reach a receiver on the local cloud, with and without another one that hangs.

The load run's own stores, shoppers, receivers and accounts (`local.load`), in short phases taken in turns.
"""

import secrets
import time
from collections.abc import Callable, Sequence

from bench.figures import FEW, Effort, Figure, Target, figure
from local.client import Client, StoreClient
from local.cloud import Stack, local_cloud
from local.load.__main__ import Options, Phase, run_phase
from local.load.receivers import Kind, Receivers
from local.load.reconcile import percentile
from local.load.shoppers import post
from local.receiver import Receiver

GROUP = "latency"
HANGING = Target(must=1.2, aim=1.05)
WELL = 3
"""Each store's receivers; one store has one more, which hangs."""
PERCENTILES = (50, 99)
WARM_UP_SECONDS = 10.0
MET_SECONDS = 20.0
"""The retry function's first attempt of the one that hangs has ended by then."""
ROUNDS, ROUND_SECONDS = 4, 55.0


def measure(effort: Effort) -> list[Figure]:
    """Runs as many rounds as there is time for: each is two phases, and the waits for what is under way."""
    is_quick = effort.rounds <= FEW
    options = Options(seconds=4.0 if is_quick else 20.0, settle_seconds=20.0)
    until = time.monotonic() + effort.seconds
    with local_cloud() as stack:
        phases = _run(stack, options, 1 if is_quick else ROUNDS, until)
    return [_percentile(phases, percent) for percent in PERCENTILES]


def _run(stack: Stack, options: Options, rounds: int, until: float) -> Sequence[tuple[Phase, Phase]]:
    """Two stores in turns: one has a receiver that hangs, and it has been met by then."""
    with Client(stack.api_url, stack.admin_token) as client, Receiver() as receiver:
        receivers = Receivers(receiver)
        quiet, beside = (client.register(f"bench-{secrets.token_hex(4)}") for _ in range(2))
        well = {
            store: [receivers.subscribe(store, Kind.WELL) for _ in range(WELL)] for store in (quiet, beside)
        }
        receivers.subscribe(beside, Kind.HANGING)
        # It starts the functions.
        post([quiet, beside], WARM_UP_SECONDS, options.rate, "warm-up", options.seed)
        time.sleep(MET_SECONDS)

        def phase(store: StoreClient, name: str) -> Phase:
            return run_phase(name, 0, [store], well[store], receiver, options, _unheard)

        found: list[tuple[Phase, Phase]] = []
        for number in range(rounds):
            if found and time.monotonic() > until - ROUND_SECONDS:
                break
            order = (quiet, beside) if number % 2 else (beside, quiet)
            told = {store: phase(store, f"{number}-{place}") for place, store in enumerate(order)}
            found.append((told[beside], told[quiet]))
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
