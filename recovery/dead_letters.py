"""`recovery dlq` and `recovery rejected`: what was given up on, and having it tried again."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from recovery.api import Answer, count, items, path
from recovery.failure import Failure
from recovery.session import Session, command, group
from recovery.show import when

dlq = group("The dead-letter queues: what was given up on.")
rejected = group("Requests that were authentic and not understood, or captured.")

_CALL = 50
_COUNTS = ("requeued", "kept", "failed", "left")


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
    _requeue(session, queue, store, limit)


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
    _requeue(session, Queue.REJECTED, store, limit)


def _show(session: Session, queue: Queue, limit: int) -> None:
    found = session.api.get(path("dead-letters", queue), limit=limit)
    messages = items(found, "messages")
    if session.screen.as_json:
        session.screen.document(found)
        return
    told = [name for message in messages for name, value in message.items() if value is not None]
    columns = list(dict.fromkeys(told))
    session.screen.table(
        [name.removesuffix("_at").replace("_", " ") for name in columns],
        [[_cell(message, name) for name in columns] for message in messages],
        empty="The queue shows no message.",
    )


def _cell(message: Answer, name: str) -> Any:
    value = message.get(name)
    if name.endswith(("_at", "_time")) and value is not None:
        return when(message, name)
    return ", ".join(map(str, value)) if isinstance(value, list) else value


def _requeue(session: Session, queue: Queue, store: str | None, limit: int | None) -> None:
    """Asks call by call until nothing is left or nothing moves: what stays comes again in the next call."""
    total: Answer = dict.fromkeys(_COUNTS, 0)
    ended = None
    try:
        with session.screen.progress() as bar:
            task = bar.add_task(f"requeue {queue}", total=None, told="")
            while _call(session, queue, store, limit, total):
                done, left = total["requeued"], total["left"]
                bar.update(task, completed=done, total=done + left, told=f"{done} requeued, {left} left")
    except KeyboardInterrupt:
        ended = Failure("Interrupted; what was requeued stays so.")
    except Failure as failure:
        ended = failure
    if not ended or total["requeued"]:
        _tell(session, total)
    if ended:
        raise ended
    if total["failed"]:
        raise typer.Exit(1)


def _call(session: Session, queue: Queue, store: str | None, limit: int | None, total: Answer) -> bool:
    """Asks once, and says whether to ask again."""
    most = _CALL if limit is None else min(_CALL, limit - total["requeued"])
    body = {"limit": most} | ({"store_id": store} if store else {})
    answer = session.api.send("POST", path("dead-letters", queue, "requeue"), body)
    requeued = count(answer, "requeued")
    # What was kept or failed is still in the queue: only the last call tells how many there are.
    total |= {name: count(answer, name) for name in ("kept", "failed", "left")}
    total |= {"requeued": total["requeued"] + requeued, "detail": answer.get("detail")}
    return bool(requeued and total["left"]) and (limit is None or total["requeued"] < limit)


def _tell(session: Session, total: Answer) -> None:
    if session.screen.as_json:
        session.screen.document(total)
        return
    session.screen.facts({name: total[name] for name in _COUNTS} | {"why they stay": total.get("detail")})
