"""Runs the load: `make load`.

Each round is two phases of the same length with the same receivers: in one those that fail are paused, or
not there yet, in the other they are started. So what failing receivers cost the others is a ratio from one
run, and with several rounds, every second one the other way round, what else the machine does hits both. It
ends with 0 if nothing is lost, everything verifies, and whoever is well has all.
"""

import argparse
import itertools
import json
import secrets
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from local.client import ApiError, Client, StoreClient
from local.cloud import LocalCloudError, Stack, local_cloud
from local.load.receivers import FAILING, SURE, Kind, Receivers, Subscriber, kinds_of
from local.load.reconcile import Account, account, percentile
from local.load.shoppers import Posted, Written, post
from local.receiver import Arrival, Receiver

WITHOUT, WITH = "without", "with"
"""The phases' names."""
_WARM_UP_SECONDS = 5.0
_LOOK_SECONDS = 0.5
PERCENTILES = (50, 95, 99)
_LOG_SECONDS = 5.0
"""How long after an arrival the delivery log may still not have it."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a run is."""

    stores: int = 3
    subscribers: int = 8
    """Of each store."""
    failing: int = 5
    """How many of the first store's subscribers fail."""
    new: bool = False
    """Whether those are subscribed anew for each phase, and not only started again."""
    seconds: float = 30.0
    """Each phase's length."""
    rounds: int = 1
    rate: float = 8.0
    """Snapshots a second."""
    settle_seconds: float = 60.0
    """How long those that are well may take to catch up at a phase's end."""
    seed: int = 7


@dataclass(frozen=True, slots=True)
class Phase:
    """What happened in a phase."""

    name: str
    posted: Posted
    accounts: tuple[Account, ...]

    @property
    def latencies(self) -> list[float]:
        """Of the receivers that are well in both phases, in seconds."""
        return [
            latency for one in self.accounts if one.subscriber.kind is Kind.WELL for latency in one.latencies
        ]


def run(stack: Stack, options: Options, say: Callable[[str], None]) -> list[Phase]:
    """Runs the rounds on a deployed stack; their phases in the order in which they were.

    Raises:
        ApiError: a store or a subscription could not be made.
    """
    with Client(stack.api_url, stack.admin_token) as client, Receiver() as receiver:
        receivers = Receivers(receiver)
        stores = [client.register(f"load-{secrets.token_hex(4)}") for _ in range(options.stores)]
        kinds = [kinds_of(options.subscribers, options.failing)]
        kinds += [kinds_of(options.subscribers, 0) for _ in stores[1:]]
        sure = [
            receivers.subscribe(store, kind)
            for store, theirs in zip(stores, kinds, strict=True)
            for kind in theirs
            if kind in SURE
        ]
        failing = [kind for kind in kinds[0] if kind in FAILING]
        fail = (
            partial(receivers.subscribed, stores[0], failing)
            if options.new
            else partial(receivers.resumed, receivers.paused(stores[0], failing))
        )
        say(f"{len(sure)} subscriptions of {len(stores)} stores are well, {len(failing)} fail")
        # So that every phase finds the functions started, and connections open.
        post(stores, _WARM_UP_SECONDS, options.rate, "warm-up", options.seed)
        phases = []
        for number in range(options.rounds):
            for name in (WITHOUT, WITH) if number % 2 == 0 else (WITH, WITHOUT):
                say(f"round {number + 1} of {options.rounds}, {name} those that fail")
                with nullcontext(()) if name == WITHOUT else fail() as theirs:
                    phases.append(run_phase(name, number, stores, [*sure, *theirs], receiver, options, say))
    return phases


def run_phase(
    name: str,
    number: int,
    stores: Sequence[StoreClient],
    subscribers: Sequence[Subscriber],
    receiver: Receiver,
    options: Options,
    say: Callable[[str], None],
) -> Phase:
    """Posts snapshots for a phase's length, and draws up the accounts once those that are well have all."""
    began = time.time()
    posted = post(stores, options.seconds, options.rate, f"{name}-{number}", options.seed)
    say(f"{name}: {len(posted.written)} events written; waiting for those that are well")
    sure = [one for one in subscribers if one.kind in SURE]
    deadline = time.monotonic() + options.settle_seconds
    while time.monotonic() < deadline and not _have_all(sure, posted.written, receiver.arrivals):
        time.sleep(_LOOK_SECONDS)
    time.sleep(_LOG_SECONDS)
    logs = [_logged(one) for one in subscribers]
    # After the logs: what they take for delivered has come by then.
    came = [arrival for arrival in receiver.arrivals if arrival.at >= began]
    accounts = (_account(one, posted.written, came, log) for one, log in zip(subscribers, logs, strict=True))
    return Phase(name, posted, tuple(accounts))


def _have_all(
    subscribers: Sequence[Subscriber], written: Sequence[Written], arrivals: Sequence[Arrival]
) -> bool:
    have = {(arrival.name, arrival.event_id) for arrival in arrivals if arrival.status == 200}  # noqa: PLR2004
    return all(
        (one.name, event.event_id) in have
        for one in subscribers
        for event in written
        if event.store_id == one.store.store_id
    )


def _logged(one: Subscriber) -> Mapping[str, str]:
    """The state of each of a subscriber's deliveries, by event."""
    return {entry["event_id"]: entry["state"] for entry in one.store.deliveries(one.name)}


def _account(
    one: Subscriber, written: Sequence[Written], arrivals: Sequence[Arrival], log: Mapping[str, str]
) -> Account:
    return account(
        one,
        [event for event in written if event.store_id == one.store.store_id],
        [arrival for arrival in arrivals if arrival.name == one.name],
        log,
        is_disabled=one.store.subscription(one.name)["disabled_reason"] is not None,
    )


# ---------------------------------------------------------------- the report


def faults(phases: Sequence[Phase]) -> list[str]:
    """What must not be, in words; nothing of a shopper."""
    found = []
    for phase in phases:
        if not phase.posted.written:
            found.append(f"{phase.name}: there was no event")
        if phase.posted.refused:
            found.append(f"{phase.name}: {phase.posted.refused} snapshots were not taken in")
        for one in phase.accounts:
            who = f"{phase.name}: a receiver that is {one.subscriber.kind}"
            if one.lost:
                found.append(f"{who} lost {len(one.lost)} events")
            if one.unverified:
                found.append(f"{who} could not verify {one.unverified} deliveries")
            if one.subscriber.kind in SURE and one.received < one.owed:
                found.append(f"{who} lacks {one.owed - one.received} events")
    return found


def figures(phases: Sequence[Phase]) -> dict[str, Any]:
    """The run in figures."""
    told = {name: _sums([phase for phase in phases if phase.name == name]) for name in (WITHOUT, WITH)}
    without, with_ = (told[name]["seconds"] for name in (WITHOUT, WITH))
    told["ratio"] = {name: with_[name] / without[name] for name in without if without[name] and with_[name]}
    return told


def _sums(phases: Sequence[Phase]) -> dict[str, Any]:
    by_kind: dict[str, dict[str, int]] = {}
    for one in itertools.chain.from_iterable(phase.accounts for phase in phases):
        sums = by_kind.setdefault(one.subscriber.kind.value, dict.fromkeys(_COLUMNS, 0))
        for column in _COLUMNS:
            value = getattr(one, column)
            sums[column] += len(value) if isinstance(value, list) else value
    latencies = list(itertools.chain.from_iterable(phase.latencies for phase in phases))
    return {
        "events": sum(len(phase.posted.written) for phase in phases),
        "receivers": by_kind,
        "seconds": {f"p{p}": percentile(latencies, p) for p in PERCENTILES},
    }


_COLUMNS = (
    "owed",
    "received",
    "lost",
    "duplicates",
    "out_of_order",
    "unverified",
    "behind",
    "superseded",
    "given_up",
)


_FEW_EVENTS = 100
_WORDS = (
    "owed: events of its store while it listened; behind: not delivered yet, and waiting in the queue; "
    "superseded: a newer event of its checkout took its place; given up: the delivery log says why.\n"
    "hanging: takes a request and does not answer; dead: nothing listens; flapping: answers 503 for two "
    "seconds, then 200 for two; erring: 500; gone: 410; slow: 200 after 0.2 s."
)


def show(told: dict[str, Any], console: Console) -> None:
    for phase in (WITHOUT, WITH):
        receivers = told[phase]["receivers"]
        table = Table("", *receivers, box=box.SIMPLE)  # one column for each kind: it fits into 80 characters
        for column in _COLUMNS:
            table.add_row(column.replace("_", " "), *(str(sums[column]) for sums in receivers.values()))
        console.print(f"\n{phase} the failing: {told[phase]['events']} events", table)
        console.print(f"latency of those that are well: {_latencies(told[phase])}")
    ratios = ", ".join(f"{name} {value:.2f}" for name, value in told["ratio"].items())
    console.print(f"\nwith the failing, as a multiple of without them: {ratios}")
    if min(told[phase]["events"] for phase in (WITHOUT, WITH)) < _FEW_EVENTS:
        console.print(
            f"(with fewer than {_FEW_EVENTS} events that says little: a longer run, or more rounds)"
        )
    console.print(f"\n{_WORDS}")


def _latencies(sums: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value:.3f} s" for name, value in sums["seconds"].items() if value is not None)


def main(arguments: Sequence[str] | None = None) -> int:
    options, json_path = _options(arguments)
    console = Console(highlight=False)
    say = lambda line: console.print(f"load: {line}")  # noqa: E731 - one line
    try:
        with local_cloud() as stack:
            phases = run(stack, options, say)
    except (LocalCloudError, ApiError) as error:
        console.print(f"load: {error}", markup=False)
        return 1
    told = figures(phases)
    show(told, console)
    if json_path:
        json_path.write_text(json.dumps({"options": asdict(options), **told}, indent=2) + "\n")
    wrong = faults(phases)
    for line in wrong:
        console.print(f"load: {line}", style="bold red")
    console.print("load: nothing lost" if not wrong else "load: see above")
    return 1 if wrong else 0


def _options(arguments: Sequence[str] | None) -> tuple[Options, Path | None]:
    defaults = Options()
    parser = argparse.ArgumentParser(prog="make load", description=__doc__)
    for name, value in asdict(defaults).items():
        how: dict[str, Any] = {"action": "store_true"} if value is False else {"type": type(value)}
        parser.add_argument(f"--{name.replace('_', '-')}", default=value, **how)
    parser.add_argument("--json", type=Path, default=None, help="where to write the figures")
    given = vars(parser.parse_args(arguments))
    path = given.pop("json")
    options = Options(**given)
    if min(options.stores, options.rounds, options.seconds, options.rate) <= 0:
        parser.error("there must be a store, a round, a rate, and time for each phase")
    if not 0 <= options.failing < options.subscribers:
        parser.error("of the subscribers, not all may fail")
    return options, path


if __name__ == "__main__":
    sys.exit(main())
