"""The demo: every documented payload through the deployed stack, out to a receiver that verifies.

`make demo` starts the local cloud, registers a store with one subscription for each contract, posts what the
providers would post, and waits until all has arrived that the API's answers promise. It ends with 0 and
`demo: N delivered, N verified, 0 failed`, or with another code and what went wrong. What it prints holds
nothing of a shopper, no secret and no URL that resumes a checkout.
"""

import argparse
import secrets
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from checkout_recovery.checkout.event import event_id
from local import senders
from local.client import ApiError, Client, StoreClient, Subscribed
from local.cloud import LocalCloudError, Stack, local_cloud
from local.receiver import PROOFS, Arrival, Receiver
from local.senders import Call, with_changes

WAIT_SECONDS = 90.0
_REFRESH_SECONDS = 0.2
_WIDTH = 110
_INTERRUPTED = 130

SHOP, SHOP_LINK = "my-store.myshopify.com", "https://my-store.com"


@dataclass(frozen=True, slots=True)
class Secrets:
    """What the store shares with its providers, made anew for each run."""

    flexype: str = field(default_factory=secrets.token_urlsafe, repr=False)
    cashfree: str = field(default_factory=secrets.token_urlsafe, repr=False)
    shopify: str = field(default_factory=secrets.token_urlsafe, repr=False)


@dataclass(frozen=True, slots=True)
class Step:
    """One request, and what is to be answered."""

    title: str
    call: Call
    answer: str
    """``applied``, ``duplicate``, ``stale``, or the status of a refusal."""
    event: str | None = None
    """Which event it is, where it is applied."""


@dataclass(frozen=True, slots=True)
class Expected:
    """A delivery that the API's answers promise."""

    step: Step
    subscribed: Subscribed
    event_id: str
    posted_at: float

    @property
    def key(self) -> tuple[str, str]:
        return self.subscribed.subscription_id, self.event_id


def script(keys: Secrets) -> Iterator[Step]:
    """What the providers post: shoppers' journeys, and what goes wrong between them and us."""
    yield from _envelope_journey(keys.flexype)
    yield from _flat_journey(keys.flexype)
    yield from _finished_abandonment(keys.cashfree)
    yield from _shopify_purchase(keys.shopify)
    yield from _own_schema()
    yield from _refused(keys)


def _envelope_journey(secret: str) -> Iterator[Step]:
    """FlexyPe 2026-05: the documented sample is its second step."""
    sample = senders.FLEXYPE_2026_05
    nobody = dict.fromkeys(sample["payload"]["user"])

    def at(minute: int, stage: str, **more: object) -> Call:
        changes = {"event_time": f"2026-05-07T10:{minute:02}:00Z", "event_id": f"evt_12345678{minute}"}
        return senders.flexype_envelope(
            secret, with_changes(sample, payload__session_state=stage, **changes, **more)
        )

    documented = senders.flexype_envelope(secret, sample)
    started = with_changes(
        sample,
        event_time="2026-05-07T09:58:00Z",
        event_id="evt_123456780",
        payload__session_state="INITIATED",
        payload__user=nobody,
    )
    title = "flexype 2026-05"
    yield Step(
        f"{title}, cart opened", senders.flexype_envelope(secret, started), "applied", "checkout.created"
    )
    yield Step(f"{title}, phone (sample)", documented, "applied", "checkout.updated")
    yield Step(f"{title}, the sample once more", documented, "duplicate")
    late = with_changes(started, event_time="2026-05-07T09:59:00Z", event_id="evt_123456785")
    yield Step(f"{title}, an older one, late", senders.flexype_envelope(secret, late), "stale")
    yield Step(f"{title}, payment", at(4, "PAYMENT_INITIATED"), "applied", "checkout.updated")
    yield Step(f"{title}, bought", at(6, "COMPLETED"), "applied", "checkout.completed")


def _flat_journey(secret: str) -> Iterator[Step]:
    """FlexyPe 2025-09: it names no time, so the order of arrival is the order of events."""
    sample = senders.FLEXYPE_2025_09
    address = {"address1": "12 MG Road", "city": "Ahmedabad", "zip": "380001", "country_code": "IN"}
    shipped = with_changes(sample, session_state="ADDRESS_SHIPPING_SELECTED", user__address=address)
    title = "flexype 2025-09"
    yield Step(
        f"{title}, the sample",
        senders.flexype_flat(secret, sample, "evt_flat_1"),
        "applied",
        "checkout.created",
    )
    yield Step(
        f"{title}, address",
        senders.flexype_flat(secret, with_changes(shipped, webhook_id="wh_124"), "evt_flat_2"),
        "applied",
        "checkout.updated",
    )


def _finished_abandonment(secret: str) -> Iterator[Step]:
    title, sample = "cashfree v1", senders.CASHFREE_V1
    call = senders.cashfree(secret, sample, request_id="cf_req_1", store_url=SHOP_LINK)
    yield Step(f"{title}, left behind", call, "applied", "checkout.abandoned")
    yield Step(f"{title}, the same once more", call, "duplicate")


def _shopify_purchase(secret: str) -> Iterator[Step]:
    created = senders.SHOPIFY_CHECKOUT
    updated = with_changes(
        created, updated_at="2026-05-07T12:02:00Z", email="john.doe@example.com", phone="+919876543210"
    )
    posts = (
        ("checkouts/create", created, "checkout.created"),
        ("checkouts/update", updated, "checkout.updated"),
        ("orders/create", senders.SHOPIFY_ORDER, "checkout.completed"),
    )
    for topic, payload, event in posts:
        call = senders.shopify(
            secret,
            topic,
            payload,
            shop=SHOP,
            event_id=f"shopify-{topic.replace('/', '-')}",
            triggered_at=payload["updated_at"],
        )
        yield Step(f"shopify {topic}", call, "applied", event)


def _own_schema() -> Iterator[Step]:
    yield Step("our own schema", senders.own(senders.OWN), "applied", "checkout.created")
    bought = with_changes(
        senders.OWN, event_id="own-evt-2", event_time="2026-05-07T13:05:00Z", completed=True
    )
    yield Step("our own schema, bought", senders.own(bought), "applied", "checkout.completed")


def _refused(keys: Secrets) -> Iterator[Step]:
    forged = senders.cashfree(
        "not the secret", senders.CASHFREE_V1, request_id="cf_req_2", store_url=SHOP_LINK
    )
    yield Step("cashfree v1, signed by somebody else", forged, "401")
    unreadable = with_changes(senders.FLEXYPE_2026_05, event_id="evt_unreadable", payload__checkout_url=None)
    yield Step(
        "flexype 2026-05, names no checkout", senders.flexype_envelope(keys.flexype, unreadable), "422"
    )


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
        opening, *others = script(keys)
        expected, wrong = _post_all(store, subscriptions, [opening], console)
        # It starts the functions, so that the others find them warm.
        _await(receiver, expected, console, wait_seconds)
        more, more_wrong = _post_all(store, subscriptions, others, console)
        expected, wrong = expected + more, wrong + more_wrong
        _await(receiver, expected, console, wait_seconds)
        console.print()
        return _report(expected, receiver.arrivals, wrong, console)


def _register(client: Client) -> tuple[StoreClient, Secrets]:
    keys = Secrets()
    store = client.register(f"demo-{secrets.token_hex(4)}", domains=[SHOP, "my-store.com"])
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
) -> tuple[list[Expected], list[str]]:
    """Posts the steps; returns the deliveries that the answers promise, and the answers that are wrong."""
    expected: list[Expected] = []
    wrong: list[str] = []
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
            wrong.append(f"{step.title}: answered {answer} instead of {step.answer}")
        for result in results:
            expected += _promised(store, subscriptions, step, result, posted_at)
    return expected, wrong


def _promised(
    store: StoreClient,
    subscriptions: Sequence[Subscribed],
    step: Step,
    result: Mapping[str, Any],
    posted_at: float,
) -> list[Expected]:
    """What a result promises: each subscription that wants the event will have it."""
    if result["status"] != "applied":
        return []
    told = event_id(store.store_id, result["checkout_id"], result["sequence"])
    return [
        Expected(step, subscribed, told, posted_at)
        for subscribed in subscriptions
        if step.event in subscribed.events
    ]


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


def _key(arrival: Arrival) -> tuple[str, str]:
    """Which of the expected deliveries it is, if it is one."""
    return arrival.name or "", arrival.event_id or ""


@contextmanager
def _progress(console: Console, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal; elsewhere a line whenever a second has brought something."""
    if not console.is_terminal:
        last = 0.0

        def say(count: int) -> None:
            nonlocal last
            if count == total or time.monotonic() - last >= 1:
                last = time.monotonic()
                console.print(f"arrived: {count} of {total}", highlight=False)

        yield say
        return
    columns = (TextColumn("arrived"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("arrived", total=total)
        yield lambda count: progress.update(task, completed=count)


# ---------------------------------------------------------------- the outcome


def _report(
    expected: Sequence[Expected], arrivals: Sequence[Arrival], wrong: list[str], console: Console
) -> int:
    first: dict[tuple[str, str], Arrival] = {}
    for arrival in arrivals:
        first.setdefault(_key(arrival), arrival)
    console.print(_what_arrived(expected, first))
    console.print(_by_contract(expected, first))
    failures = wrong + _failures(expected, arrivals, first)
    for failure in failures:
        console.print(f"demo: {failure}", style="red", markup=False, highlight=False, soft_wrap=True)
    delivered = sum(one.key in first for one in expected)
    verified = sum(one.key in first and first[one.key].problem is None for one in expected)
    print(f"demo: {delivered} delivered, {verified} verified, {len(failures)} failed", flush=True)
    return 1 if failures else 0


def _failures(
    expected: Sequence[Expected], arrivals: Sequence[Arrival], first: dict[tuple[str, str], Arrival]
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


def _what_arrived(expected: Sequence[Expected], first: dict[tuple[str, str], Arrival]) -> Table:
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


def _in_order(steps: Iterable[Step]) -> list[Step]:
    """Each step once."""
    return list({step.title: step for step in steps}.values())


def _latency(one: Expected, arrival: Arrival | None) -> str:
    if arrival is None:
        return "[red]missing[/]"
    text = str(round((arrival.at - one.posted_at) * 1000))
    return text if arrival.problem is None else f"[red]{text} ✗[/]"


def _by_contract(expected: Sequence[Expected], first: dict[tuple[str, str], Arrival]) -> Table:
    table = Table(title="verified by the receiver", title_justify="left", box=box.SIMPLE)
    for name in ("contract", "delivered", "verified", "by", "median ms"):
        table.add_column(name, justify="right" if name in ("delivered", "verified", "median ms") else "left")
    for contract, proofs in PROOFS.items():
        wanted = [one for one in expected if one.subscribed.contract == contract]
        came = [(one, first[one.key]) for one in wanted if one.key in first]
        latencies = [(arrival.at - one.posted_at) * 1000 for one, arrival in came]
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
