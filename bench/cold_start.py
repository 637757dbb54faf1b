"""Cold starts: what passes from a function's import to its first answer, on the layers that are deployed."""

import contextlib
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from bench.deployed import BARE, ROOT, Deployed, deployed
from bench.figures import Effort, Figure, Target, figure, in_turns
from bench.stub import STORE_ID, subscription_id
from bench.world import held_item, world
from checkout_recovery.delivery.plan import delivery_id
from checkout_recovery.queues import RetryMessage
from checkout_recovery.subscriptions.tokens import read_bearer
from checkout_recovery.tables.checkouts import decode

GROUP = "cold start"
START = Target(must=1.4, aim=1.1)

Json = dict[str, Any]

FIXTURES: Mapping[str, tuple[str, Callable[[Json], bool]]] = {
    "authorize": ("authorize-store", lambda answer: answer["isAuthorized"]),
    "fanout": ("fanout-created", lambda answer: answer == {"batchItemFailures": []}),
    "ingest": ("ingest-flexype-2026-05", lambda answer: answer["statusCode"] == 200),
    "manage": ("manage-get-store", lambda answer: answer["statusCode"] == 200),
    "retry": ("", lambda answer: answer == {"batchItemFailures": []}),
    "sweep": ("sweep-scheduled", lambda answer: answer["finished"] and not answer["failed"]),
}
"""What arrives at each function, and whether its answer is the right one; the retry's is made here."""


def measure(effort: Effort) -> list[Figure]:
    with deployed() as there, starts() as (aws_url, events):
        figures = []
        for function in FIXTURES:
            found = in_turns(
                partial(_milliseconds, there, function, aws_url, events),
                partial(_milliseconds, there, BARE, aws_url, events),
                effort.shared(len(FIXTURES)),
            )
            figures.append(figure(GROUP, function, "ms", "makes a DynamoDB client", found, target=START))
        return figures


@contextlib.contextmanager
def starts() -> Iterator[tuple[str, Mapping[str, Path]]]:
    """Yields where a stub is that knows the fixtures' store, and a file with an event of each function."""
    held, token = held_item(), read_bearer(_event("authorize-store")["headers"]["authorization"])
    assert token
    with (
        tempfile.TemporaryDirectory() as folder,
        world({STORE_ID: 1}, held=held, token_hash=token.hash) as here,
    ):
        events = {function: Path(folder) / f"{function}.json" for function in (*FIXTURES, BARE)}
        for function, path in events.items():
            name, _ = FIXTURES.get(function, ("", None))
            event = _event(name) if name else waiting_for(held)
            path.write_text(json.dumps(event))
        yield here.aws_url, events


def check(function: str, answer: Json) -> None:
    """Holds an answer to what it has to be."""
    is_right = FIXTURES[function][1] if function != BARE else (lambda bare: bare == {})
    assert is_right(answer), f"{function} answered {answer}"


def _milliseconds(there: Deployed, function: str, aws_url: str, events: Mapping[str, Path]) -> float:
    told = there.run("first_answer", function, aws_url, [str(events[function])])
    check(function, told["answer"])
    assert function == BARE or told["package"].startswith(str(there.folder)), "not the layer's package"
    return float(told["milliseconds"])


def _event(name: str) -> Json:
    return dict(json.loads((ROOT / "events" / f"{name}.json").read_text()))


def waiting_for(held: Json) -> Json:
    """A message of the RetryQueue that is due: one attempt of telling the held checkout has failed."""
    checkout = decode(held)
    assert checkout.event
    message = RetryMessage(
        store_id=checkout.store_id,
        checkout_id=checkout.checkout_id,
        subscription_id=subscription_id(0),
        delivery_id=delivery_id(checkout.event, subscription_id(0)),
        event_id=checkout.event.id,
        event_type=checkout.event.type,
        event_time=checkout.event.time,
        sequence=checkout.sequence,
        attempts=1,
        reason="timeout",
        not_before=datetime.now(UTC),
    )
    return {"Records": [{"messageId": "1", "body": message.model_dump_json()}]}
