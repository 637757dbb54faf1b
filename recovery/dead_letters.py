"""`recovery dlq` and `recovery rejected`: what was given up on, and having it tried again."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer

from recovery.api import Answer, count, items, path
from recovery.arguments import Yes
from recovery.failure import Failure
from recovery.session import Session, command, group
from recovery.show import when

dlq = group("The dead-letter queues: what was given up on.")
rejected = group("Requests that were authentic and not understood, or captured.")

_CALL = 50
_STAY = ("kept", "failed", "left")
_KEPT = "kept: their subscription is disabled or paused; `recovery subscriptions resume …` first"
_HEADINGS = {"receives": "looked at"}


class Queue(StrEnum):
    DELIVERIES = "deliveries"
    STREAM = "stream"
    REJECTED = "rejected"


QueueName = Annotated[Queue, typer.Argument(metavar="QUEUE", help="deliveries, stream or rejected.")]
Look = Annotated[int, typer.Option(min=1, max=100, help="How many to look at.")]
Most = Annotated[int | None, typer.Option("--limit", min=1, help="How many at most; all without it.")]
OneStore = Annotated[str | None, typer.Option("--store", help="Only this store's.")]


@command(dlq, "counts", examples="recovery dlq counts")
def counts(session: Session) -> None:
    """Say how many messages each queue has, about."""
    found = session.api.get(path("dead-letters"))
    if session.screen.as_json:
        session.screen.document(found)
        return
    session.screen.table(
        ("queue", "messages", "in flight", "delayed"),
        [
            tuple(queue.get(name) for name in ("name", "messages", "in_flight", "delayed"))
            for queue in items(found, "queues")
        ],
        empty="There are no queues.",
    )


@command(dlq, "show", examples="recovery dlq show deliveries\nrecovery dlq show stream --limit 10 --json")
def show(session: Session, queue: QueueName, limit: Look = 20) -> None:
    """Look at messages without taking them: ids and reasons, never what was sent."""
    _show(session, queue, limit)


@command(
    dlq,
    "requeue",
    examples="recovery dlq requeue deliveries\nrecovery dlq requeue deliveries --store my-store --limit 200",
)
def requeue(session: Session, queue: QueueName, store: OneStore = None, limit: Most = None) -> None:
    """Have what a queue has tried again. Exit code 1 if some of it could not be."""
    _repeat(session, queue, _body(session, store), limit)


@command(rejected, "list", examples="recovery rejected list")
def list_rejected(session: Session, limit: Look = 20) -> None:
    """List requests that were not understood: where they came from and why, never what they said."""
    _show(session, Queue.REJECTED, limit)


@command(
    rejected,
    "replay",
    examples="recovery rejected replay --store my-store\nrecovery rejected replay --limit 10",
)
def replay(session: Session, store: OneStore = None, limit: Most = None) -> None:
    """Have them taken in again, as after an adapter was corrected; what is still not understood stays."""
    _repeat(session, Queue.REJECTED, _body(session, store), limit)


@command(
    rejected,
    "discard",
    examples="recovery rejected discard\nrecovery rejected discard --yes --limit 10",
)
def discard(session: Session, limit: Most = None, yes: Yes = False) -> None:
    """Delete captured requests and own calls that were refused; providers' stay. It cannot be undone."""
    if not yes:
        _confirm()
    _repeat(session, Queue.REJECTED, {"discard_refused": True}, limit, done="discarded")


def _confirm() -> None:
    try:
        agreed = typer.confirm(
            "Delete the captured requests and the own calls that were refused for good?", err=True
        )
    except typer.Abort:
        raise Failure("Nothing was deleted: it was not confirmed, and --yes was not given.") from None
    if not agreed:
        raise Failure("Nothing was deleted.")


def _body(session: Session, store: str | None) -> Answer:
    """Names the store, if it is one: of a mistyped one there would be nothing to do, and nobody the wiser."""
    if not store:
        return {}
    session.api.get(path("stores", store))
    return {"store_id": store}


def _show(session: Session, queue: Queue, limit: int) -> None:
    found = session.api.get(path("dead-letters", queue), limit=limit)
    messages = items(found, "messages")
    if session.screen.as_json:
        session.screen.document(found)
        return
    told = [name for message in messages for name, value in message.items() if value is not None]
    columns = list(dict.fromkeys(told))
    session.screen.table(
        [_HEADINGS.get(name, name.removesuffix("_at").replace("_", " ")) for name in columns],
        [[_cell(message, name) for name in columns] for message in messages],
        empty="The queue shows no message.",
    )


def _cell(message: Answer, name: str) -> Any:
    value = message.get(name)
    if name.endswith(("_at", "_time")) and value is not None:
        return when(message, name)
    return ", ".join(map(str, value)) if isinstance(value, list) else value


def _repeat(session: Session, queue: Queue, body: Answer, limit: int | None, done: str = "requeued") -> None:
    """Asks call by call until nothing is left or nothing moves: what stays comes again in the next call.

    `done` is the count of what moves.
    """
    total: Answer = dict.fromkeys((done, *_STAY), 0)
    ended = None
    try:
        with session.screen.progress() as bar:
            task = bar.add_task(str(queue), total=None, told="")
            while _call(session, queue, body, limit, total, done):
                moved, left = total[done], total["left"]
                bar.update(task, completed=moved, total=moved + left, told=f"{moved} {done}, {left} left")
    except KeyboardInterrupt:
        ended = Failure(f"Interrupted; what was {done} stays so.")
    except Failure as failure:
        ended = failure
    if not ended or total[done]:
        _tell(session, queue, total, (done, *_STAY))
    if ended:
        raise ended
    if total["failed"]:
        raise typer.Exit(1)


def _call(session: Session, queue: Queue, body: Answer, limit: int | None, total: Answer, done: str) -> bool:
    """Asks once, and says whether to ask again."""
    most = _CALL if limit is None else min(_CALL, limit - total[done])
    answer = session.api.send("POST", path("dead-letters", queue, "requeue"), {"limit": most} | body)
    moved = count(answer, done)
    # What was kept or failed is still in the queue: only the last call tells how many there are.
    total |= {name: count(answer, name) for name in _STAY}
    total |= {done: total[done] + moved, "detail": answer.get("detail")}
    return bool(moved and total["left"]) and (limit is None or total[done] < limit)


def _tell(session: Session, queue: Queue, total: Answer, names: Sequence[str]) -> None:
    if session.screen.as_json:
        session.screen.document(total)
        return
    session.screen.facts({name: total[name] for name in names} | {"why they stay": total.get("detail")})
    if queue is Queue.DELIVERIES and total["kept"]:
        session.screen.say(_KEPT)
