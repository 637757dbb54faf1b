"""The demo: every documented payload through the deployed stack, out to a receiver that verifies.

`make demo` starts the local cloud, registers a store with one subscription for each contract, posts what the
providers would post, and waits until all has arrived that the API's answers promise. Some shoppers say no
more: they are posted first, and while the rest runs, their minute passes and the sweep finds them abandoned.
Then one comes back, one buys, and one is rightly not told of.

It ends with 0 and `demo: N delivered, N verified, 0 failed`, or with another code and what went wrong. What
it prints holds nothing of a shopper, no secret and no URL that resumes a checkout.
"""

import argparse
import secrets
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import httpx
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from checkout_recovery.checkout.event import event_id
from local.client import ApiError, Client, StoreClient, Subscribed
from local.cloud import LocalCloudError, Stack, local_cloud
from local.journeys import ABANDONED, RECOVERED, SHOP, TOLD, Secrets, Step, leaving, returning, script
from local.receiver import PROOFS, Arrival, Receiver

WAIT_SECONDS = 90.0
ABANDON_AFTER_SECONDS = 60
"""The shortest that a store can have."""
_SWEEP_SECONDS = 60
_REFRESH_SECONDS = 0.2
_SAY_SECONDS = 20.0
_TAKEN_ABACK_SECONDS = 3
"""From a message to what it brings about, so that there is something to measure."""
_WIDTH = 110
_INTERRUPTED = 130

Key = tuple[str, str]
"""A delivery, by its subscription's id and its event's."""


@dataclass(frozen=True, slots=True)
class Expected:
    """A delivery that the API's answers promise, or that the sweep has to bring."""

    step: Step
    subscribed: Subscribed
    event_id: str
    posted_at: float

    @property
    def key(self) -> Key:
        return self.subscribed.subscription_id, self.event_id

    @property
    def is_found(self) -> bool:
        """Whether the sweep has to find it; nobody posts it."""
        return self.step.left is not None and self.step.event == ABANDONED


@dataclass(frozen=True, slots=True)
class Held:
    """A delivery that must not be made; the delivery log has to say why."""

    step: Step
    subscribed: Subscribed
    event_id: str

    @property
    def key(self) -> Key:
        return self.subscribed.subscription_id, self.event_id


@dataclass(slots=True)
class Promises:
    """What the answers so far promise, and the answers that are wrong."""

    expected: list[Expected] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def add(self, other: "Promises") -> None:
        self.expected += other.expected
        self.held += other.held
        self.wrong += other.wrong


# ---------------------------------------------------------------- the run


def run(stack: Stack, console: Console, wait_seconds: float = WAIT_SECONDS) -> int:
    """Runs the demo on a deployed stack; returns the exit code.

    Raises:
        ApiError: the store or its subscriptions could not be made.
    """
    with Client(stack.api_url, stack.admin_token) as client, Receiver() as receiver:
        store, keys = _register(client)
        subscriptions = [_subscribe(store, receiver, *contract.split()) for contract in PROOFS]
        console.print(f"store {store.store_id} with {len(subscriptions)} subscriptions\n", highlight=False)
        promises = Promises()

        def post(steps: Iterable[Step]) -> None:
            promises.add(_post_all(store, subscriptions, steps, console))
            now = [one for one in promises.expected if one.posted_at <= time.time()]
            _await(receiver, now, console, wait_seconds)

        opening, *others = script(keys)
        post([opening])  # it starts the functions, so that the others find them warm
        post(leaving(keys))
        post(others)
        _await_sweep(receiver, promises.expected, console, wait_seconds)
        time.sleep(_TAKEN_ABACK_SECONDS)
        post(returning())
        reasons = _reasons(store, promises.held, wait_seconds)
        console.print()
        return _report(promises, receiver.arrivals, reasons, console)


def _register(client: Client) -> tuple[StoreClient, Secrets]:
    keys = Secrets()
    store = client.register(
        f"demo-{secrets.token_hex(4)}",
        domains=[SHOP, "my-store.com"],
        abandon_after_seconds=ABANDON_AFTER_SECONDS,
    )
    for provider in ("flexype", "cashfree", "shopify"):
        store.set_secret(provider, getattr(keys, provider))
    return store, keys


def _subscribe(store: StoreClient, receiver: Receiver, topic: str, version: str) -> Subscribed:
    path = f"/{secrets.token_urlsafe(16)}"
    subscribed = store.subscribe(topic, version, receiver.url + path)
    receiver.trust(path, subscribed.key, contract=subscribed.contract, name=subscribed.subscription_id)
    return subscribed


def _post_all(
    store: StoreClient, subscriptions: Sequence[Subscribed], steps: Iterable[Step], console: Console
) -> Promises:
    """Posts the steps; returns what the answers promise."""
    promises = Promises()
    for step in steps:
        posted_at = time.time()
        response = store.send(step.call)
        milliseconds = round((time.time() - posted_at) * 1000)
        results = response.json()["results"] if response.is_success else []
        answer = ", ".join(result["status"] for result in results) or str(response.status_code)
        mark = "✓" if answer == step.answer else "✗"
        line = f"  {mark} {step.title:<46} {answer:<10} {milliseconds:>5} ms"
        console.print(line, highlight=False, markup=False)
        if answer != step.answer:
            promises.wrong.append(f"{step.title}: answered {answer} instead of {step.answer}")
        for result in results:
            promises.add(_promised(store.store_id, subscriptions, step, result, posted_at))
    return promises


def _promised(
    store_id: str,
    subscriptions: Sequence[Subscribed],
    step: Step,
    result: Mapping[str, Any],
    posted_at: float,
) -> Promises:
    """What a result promises: each subscription that wants the event will have it, and the one after it."""
    promises = Promises()
    if result["status"] != "applied":
        return promises
    told, next_told = (
        event_id(store_id, result["checkout_id"], result["sequence"] + more) for more in (0, 1)
    )
    promises.expected = [
        Expected(step, subscribed, told, posted_at)
        for subscribed in subscriptions
        if step.event in subscribed.events
    ]
    if step.left is None:
        return promises
    due_at = posted_at + ABANDON_AFTER_SECONDS
    abandoned = replace(step, event=ABANDONED)
    listening = [subscribed for subscribed in subscriptions if abandoned.event in subscribed.events]
    if step.left == TOLD:
        promises.expected += [Expected(abandoned, one, next_told, due_at) for one in listening]
    else:
        promises.held = [Held(abandoned, one, next_told) for one in listening]
    return promises


def _await_sweep(
    receiver: Receiver, expected: Sequence[Expected], console: Console, wait_seconds: float
) -> None:
    """Waits for what nobody posts: a minute has to pass, and then the sweep has to run."""
    last = max(one.posted_at for one in expected)
    due = f"{datetime.fromtimestamp(last).astimezone():%H:%M:%S}"
    console.print(
        f"\nwaiting for the sweep, which runs every minute: the last that were left are due at {due}",
        highlight=False,
    )
    wait_seconds += _SWEEP_SECONDS + max(0.0, last - time.time())
    _await(receiver, expected, console, wait_seconds)


def _reasons(store: StoreClient, held: Sequence[Held], wait_seconds: float) -> dict[Key, str]:
    """What the delivery log says of each delivery that must not be made, once it says so."""
    deadline = time.monotonic() + wait_seconds
    wanted = {one.key for one in held}
    reasons: dict[Key, str] = {}
    while wanted - reasons.keys() and time.monotonic() < deadline:
        for subscription_id, _ in wanted:
            for entry in store.deliveries(subscription_id, state="suppressed"):
                reasons[subscription_id, entry["event_id"]] = entry["reason"]
        time.sleep(_REFRESH_SECONDS)
    return reasons


def _await(receiver: Receiver, expected: Sequence[Expected], console: Console, wait_seconds: float) -> None:
    """Waits until all has arrived, or time is up, and shows how far it is."""
    keys = {one.key for one in expected}
    deadline = time.monotonic() + wait_seconds

    def count(arrivals: Sequence[Arrival]) -> int:
        return len(keys & set(map(_key, arrivals)))

    with _progress(console, len(keys)) as show:
        complete = False
        while not complete and time.monotonic() < deadline:
            complete = receiver.wait_for(lambda arrivals: count(arrivals) == len(keys), _REFRESH_SECONDS)
            show(count(receiver.arrivals))


def _key(arrival: Arrival) -> Key:
    """Which of the expected deliveries it is, if it is one."""
    return arrival.name or "", arrival.event_id or ""


@contextmanager
def _progress(console: Console, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal; elsewhere a line whenever a second has brought something, or nothing for long."""
    if not console.is_terminal:
        started = time.monotonic()
        told, last = -1, started

        def say(count: int) -> None:
            nonlocal told, last
            now = time.monotonic()
            if count == total or (now - last >= 1 and count != told) or now - last >= _SAY_SECONDS:
                told, last = count, now
                console.print(f"arrived: {count} of {total} after {now - started:.0f} s", highlight=False)

        yield say
        return
    columns = (TextColumn("arrived"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("arrived", total=total)
        yield lambda count: progress.update(task, completed=count)


# ---------------------------------------------------------------- the outcome


def _report(
    promises: Promises, arrivals: Sequence[Arrival], reasons: Mapping[Key, str], console: Console
) -> int:
    expected = promises.expected
    first: dict[Key, Arrival] = {}
    for arrival in arrivals:
        first.setdefault(_key(arrival), arrival)
    console.print(_what_arrived([one for one in expected if not one.is_found], first))
    console.print(_what_came_of_leaving(promises, first, reasons))
    console.print(_by_contract(expected, first))
    failures = promises.wrong + _failures(expected, arrivals, first) + _not_held(promises.held, reasons)
    for failure in failures:
        console.print(f"demo: {failure}", style="red", markup=False, highlight=False, soft_wrap=True)
    delivered = sum(one.key in first for one in expected)
    verified = sum(one.key in first and first[one.key].problem is None for one in expected)
    print(f"demo: {delivered} delivered, {verified} verified, {len(failures)} failed", flush=True)
    return 1 if failures else 0


def _not_held(held: Iterable[Held], reasons: Mapping[Key, str]) -> list[str]:
    """Deliveries of which the log does not say that they are held back, or says another reason."""
    return [
        f"not held back by {one.step.left}: {one.step.event} of '{one.step.title}' at "
        f"{one.subscribed.contract}: {reasons.get(one.key, 'the delivery log has nothing')}"
        for one in held
        if reasons.get(one.key) != one.step.left
    ]


def _failures(
    expected: Sequence[Expected], arrivals: Sequence[Arrival], first: dict[Key, Arrival]
) -> list[str]:
    keys = {one.key for one in expected}
    contracts = {one.subscribed.subscription_id: one.subscribed.contract for one in expected}
    missing = [
        f"missing: {one.step.event} of '{one.step.title}' at {one.subscribed.contract}"
        for one in expected
        if one.key not in first
    ]
    unverified = [
        f"not verified: {arrival.event_id} at {contracts.get(arrival.name or '')}: {arrival.problem}"
        for arrival in arrivals
        if arrival.problem is not None
    ]
    strange = [
        f"not expected: {arrival.event_id} at {contracts.get(arrival.name or '')}"
        for arrival in arrivals
        if arrival.problem is None and _key(arrival) not in keys
    ]
    other = [
        f"another event: {first[one.key].event_type} instead of {one.step.event} of '{one.step.title}'"
        for one in expected
        if one.subscribed.topic == "checkout"
        and one.key in first
        and first[one.key].event_type != one.step.event
    ]
    return missing + unverified + strange + other


def _what_arrived(expected: Sequence[Expected], first: dict[Key, Arrival]) -> Table:
    """Each event that was posted, and after how many milliseconds each contract's receiver had it."""
    table = Table(
        title="posted → received, in ms (the first starts the functions)",
        title_justify="left",
        box=box.SIMPLE,
    )
    table.add_column("posted", no_wrap=True)
    table.add_column("event")
    for contract in PROOFS:
        table.add_column(contract.split()[1], justify="right")  # the versions differ
    for step in _in_order(one.step for one in expected):
        latencies = {
            one.subscribed.contract: _latency(one, first.get(one.key)) for one in expected if one.step == step
        }
        table.add_row(
            step.title, (step.event or "").removeprefix("checkout."), *(latencies.get(c, "") for c in PROOFS)
        )
    return table


def _what_came_of_leaving(
    promises: Promises, first: Mapping[Key, Arrival], reasons: Mapping[Key, str]
) -> Table:
    """What the sweep found, who was told, and what the shoppers did then."""
    table = Table(title="left for a minute, and found by the sweep", title_justify="left", box=box.SIMPLE)
    table.add_column("posted", no_wrap=True)
    table.add_column("quiet for", justify="right")
    table.add_column("what came of it")
    found = [one for one in promises.expected if one.is_found]
    for step in _in_order(one.step for one in found):
        came = [(one, first[one.key]) for one in found if one.step == step and one.key in first]
        quiet = min((arrival.at - one.posted_at + ABANDON_AFTER_SECONDS for one, arrival in came), default=0)
        table.add_row(step.title, f"{quiet:.0f} s", f"abandoned: {len(came)} receivers told")
    for step in _in_order(one.step for one in promises.held):
        words = {reasons.get(one.key, "?") for one in promises.held if one.step == step}
        table.add_row(step.title, "", f"abandoned: nobody told (suppressed: {', '.join(sorted(words))})")
    for one in promises.expected:
        if one.step.event == RECOVERED and one.subscribed.topic == "checkout" and one.key in first:
            data = first[one.key].json["data"]
            after = f"order {data['order_id']}, {data['recovered_after_seconds']} s after it was found"
            table.add_row(one.step.title, "", f"recovered: {after}")
    return table


def _in_order(steps: Iterable[Step]) -> list[Step]:
    """Each step once."""
    return list({step.title: step for step in steps}.values())


def _latency(one: Expected, arrival: Arrival | None) -> str:
    if arrival is None:
        return "[red]missing[/]"
    text = str(round((arrival.at - one.posted_at) * 1000))
    return text if arrival.problem is None else f"[red]{text} ✗[/]"


def _by_contract(expected: Sequence[Expected], first: dict[Key, Arrival]) -> Table:
    table = Table(title="verified by the receiver", title_justify="left", box=box.SIMPLE)
    for name in ("contract", "delivered", "verified", "by", "median ms"):
        table.add_column(name, justify="right" if name in ("delivered", "verified", "median ms") else "left")
    for contract, proofs in PROOFS.items():
        wanted = [one for one in expected if one.subscribed.contract == contract]
        came = [(one, first[one.key]) for one in wanted if one.key in first]
        latencies = [(arrival.at - one.posted_at) * 1000 for one, arrival in came if not one.is_found]
        table.add_row(
            contract,
            f"{len(came)} of {len(wanted)}",
            str(sum(arrival.verified_by == proofs and not arrival.problem for _, arrival in came)),
            "\n".join(proofs),
            str(round(statistics.median(latencies))) if latencies else "",
        )
    return table


def main() -> int:
    parser = argparse.ArgumentParser(description="Show the whole way on this machine, and check it.")
    parser.add_argument("--port", type=int, help="of the local cloud; default: 4566, or a free one")
    arguments = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    try:
        with local_cloud(arguments.port) as stack:
            return run(stack, console)
    except (LocalCloudError, ApiError, httpx.HTTPError) as error:
        print(f"demo: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo: interrupted", file=sys.stderr)
        return _INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
