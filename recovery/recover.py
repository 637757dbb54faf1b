"""`recovery recover`: has all that failed since a time sent after all, page by page of the delivery log.

A page may be asked for again without harm, so a run that was interrupted goes on from its cursor.
"""

import contextlib
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.progress import Progress

from recovery import log, moments
from recovery.api import Api, count, items, path
from recovery.arguments import OneOrAll, StoreId, Until
from recovery.failure import Failure
from recovery.session import Session, command
from recovery.show import Screen

_CONFLICT = 409
_PAGES = 10
"""How many pages of the log are looked through for the first that are pending."""
_BY_THEMSELVES = (
    "they are tried again by themselves; --state pending sends them now, unless their receiver is left alone"
)
_UNTIL_PROBED = (
    "what was queued waits for its next probe. Once it is well, `recovery subscriptions test` closes its "
    "circuit; then this command with --state pending sends at once"
)


class State(StrEnum):
    EXPIRED = "expired"
    EXHAUSTED = "exhausted"
    SUPPRESSED = "suppressed"
    """Because the subscription was paused or disabled when the event came."""
    PENDING = "pending"


Since = Annotated[
    datetime,
    typer.Option(
        parser=moments.moment,
        metavar="TIME",
        help="All that failed since then: 2h (ago), or 2026-11-22T10:00Z.",
    ),
]
States = Annotated[
    list[State] | None,
    typer.Option(
        "--state", help="In which state; may be repeated. [default: expired, exhausted, suppressed]"
    ),
]
PerSecond = Annotated[int, typer.Option(min=1, max=100, help="How many a second are sent at most.")]
Cursor = Annotated[str | None, typer.Option(help="Go on from here, as an interrupted run has printed it.")]


@dataclass
class Recovered:
    """How far one subscription's log has been gone through."""

    subscription_id: str
    looked_at: int = 0
    queued: int = 0
    next_cursor: str | None = None
    finished: bool = False
    failure: str | None = None
    pending: int | None = None
    """How many of the same time wait for their next attempt; None where that was not asked or not known."""
    more_pending: bool = False
    """Whether there are more than were counted."""
    stopped: bool = False
    """Whether it is paused or disabled."""
    refused: bool = False
    """Whether the API would refuse the same again."""
    left_alone: bool = False
    """Whether its receiver is, so that what was queued waits for the next probe."""


def add(app: typer.Typer) -> None:
    command(
        app,
        "recover",
        examples="recovery recover my-store --since 2h\n"
        "recovery recover my-store sub_1 --since 2026-11-22T10:00Z --until 2026-11-22T12:00Z\n"
        "recovery recover my-store --since 1d --state exhausted --per-second 50\n"
        "recovery recover my-store sub_1 --since 2026-11-22T10:00Z --cursor dlv_0193…",
    )(recover)


def recover(
    session: Session,
    store: StoreId,
    subscription: OneOrAll = None,
    *,
    since: Since,
    until: Until = None,
    state: States = None,
    per_second: PerSecond = 10,
    cursor: Cursor = None,
) -> None:
    """Have all that failed since a time sent after all, if it still matters: once a checkout.

    Shows how far it is; after Ctrl-C it prints the cursor from which it goes on.
    """
    if cursor and not subscription:
        raise typer.BadParameter("a cursor is one subscription's: name it too", param_hint="--cursor")
    asked: dict[str, Any] = {"since": moments.wire(since), "per_second": per_second}
    if until:
        asked["until"] = moments.wire(until)
    if state:
        asked["states"] = [one.value for one in state]
    names, stopped = ([subscription], []) if subscription else _subscriptions(session, store)
    runs = [Recovered(name, next_cursor=cursor) for name in names]
    with contextlib.suppress(KeyboardInterrupt), session.screen.progress() as bar:
        for run in runs:
            _recover_one(session.api, bar, store, run, asked, (since, until or moments.now()))
            run.left_alone = run.queued > 0 and _is_left_alone(session.api, store, run)
            if run.finished and State.PENDING not in (state or ()):
                _count_pending(session.api, store, run, since, until)
    _tell(session.screen, store, asked, runs, stopped)
    if not all(run.finished for run in runs):
        raise typer.Exit(1)


def _subscriptions(session: Session, store: str) -> tuple[list[str], list[str]]:
    """Those of a store that can be sent anything, and those that are stopped."""
    names: tuple[list[str], list[str]] = [], []
    for one in session.api.every(path("stores", store, "subscriptions"), "subscriptions"):
        is_stopped = bool(one.get("paused") or one.get("disabled_reason"))
        names[is_stopped].append(str(one.get("subscription_id")))
    return names


def _recover_one(
    api: Api,
    bar: Progress,
    store: str,
    run: Recovered,
    asked: dict[str, Any],
    between: tuple[datetime, datetime],
) -> None:
    """Goes through one subscription's log; what fails is in `run`, for the others go on.

    The cursor carries when the next message is due, so the API keeps to the rate over all pages.
    """
    task = bar.add_task(run.subscription_id, total=1.0, told="")
    target = path("stores", store, "subscriptions", run.subscription_id, "recover")
    while not run.finished:
        body = asked | ({"cursor": run.next_cursor} if run.next_cursor else {})
        try:
            answer = api.send("POST", target, body, repeatable=True)
            queued = count(answer, "queued")
            run.looked_at += count(answer, "looked_at")
        except Failure as failure:
            run.failure = failure.message
            run.stopped = failure.status == _CONFLICT
            run.refused = not (run.stopped or failure.passes)
            return
        run.queued += queued
        following = answer.get("next_cursor")
        run.next_cursor = following if isinstance(following, str) else None
        run.finished = run.next_cursor is None
        told = f"{run.looked_at} looked at, {run.queued} queued"
        bar.update(task, completed=_done(run, between), told=told)


def _is_left_alone(api: Api, store: str, run: Recovered) -> bool:
    """Whether a subscription's circuit is open. That it is not known does not make the recovery a failure."""
    with contextlib.suppress(Failure):
        found = api.get(path("stores", store, "subscriptions", run.subscription_id))
        return found.get("failing_since") is not None
    return False


def _count_pending(api: Api, store: str, run: Recovered, since: datetime, until: datetime | None) -> None:
    """Counts what is still on its way. That it cannot be counted does not make the recovery a failure."""
    wanted = {"state": State.PENDING.value, "since": moments.wire(since)}
    if until:
        wanted["cursor"] = log.just_after(until)
    with contextlib.suppress(Failure):
        for _, page in zip(range(_PAGES), log.pages(api, store, run.subscription_id, **wanted), strict=False):
            run.pending = len(items(page, "deliveries"))
            run.more_pending = isinstance(page.get("next_cursor"), str)
            if run.pending:
                return


def _done(run: Recovered, between: tuple[datetime, datetime]) -> float | None:
    """Which part of the time has been gone through, newest first; None where the cursor does not say."""
    if run.finished:
        return 1.0
    at = log.milliseconds(run.next_cursor)
    first, last = (moment.timestamp() * 1000 for moment in between)
    return None if at is None or last <= first else min(max((last - at) / (last - first), 0.0), 1.0)


def _tell(
    screen: Screen, store: str, asked: dict[str, Any], runs: list[Recovered], stopped: list[str]
) -> None:
    if screen.as_json:
        told = [asdict(run) for run in runs]
        screen.document({"since": asked["since"], "subscriptions": told, "stopped": stopped})
    else:
        screen.table(
            ("subscription", "looked at", "queued", "still pending", ""),
            [
                (
                    run.subscription_id,
                    run.looked_at,
                    run.queued,
                    _pending(run),
                    run.failure or ("" if run.finished else "not finished"),
                )
                for run in runs
            ],
            empty="The store has no subscription that can be sent anything.",
        )
    pending = sum(run.pending or 0 for run in runs)
    if pending:
        more = "+" if any(run.more_pending for run in runs) else ""
        screen.say(f"{pending}{more} are still pending: {_BY_THEMSELVES}")
    for name in (*stopped, *(run.subscription_id for run in runs if run.stopped)):
        screen.say(
            f"{name} is stopped and was left out: `recovery subscriptions resume {store} {name}` first."
        )
    for run in runs:
        if run.left_alone:
            screen.say(f"The receiver of {run.subscription_id} is left alone: {_UNTIL_PROBED}")
        if not (run.finished or run.refused):
            screen.note(f"Go on with: {_again(store, asked, run)}")


def _pending(run: Recovered) -> str | None:
    return None if run.pending is None else f"{run.pending}{'+' if run.more_pending else ''}"


def _again(store: str, asked: dict[str, Any], run: Recovered) -> str:
    """The command that goes on where this run ended."""
    words = ["recovery recover", store, run.subscription_id, "--since", asked["since"]]
    if "until" in asked:
        words += ["--until", asked["until"]]
    for state in asked.get("states", []):
        words += ["--state", state]
    words += ["--per-second", str(asked["per_second"])]
    return " ".join(words + (["--cursor", run.next_cursor] if run.next_cursor else []))
