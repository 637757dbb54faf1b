"""The HTTP API as a small real server on loopback plays it, with answers made of the API's own models."""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from typer.testing import CliRunner, Result

from checkout_recovery.checkout.event import EventType
from checkout_recovery.errors import ProblemError
from checkout_recovery.subscriptions.answers import DeliveryAnswer, StoreAnswer, SubscriptionAnswer
from checkout_recovery.subscriptions.store import Store, StoreSettings
from checkout_recovery.tables.deliveries import Attempt, DeliveryRecord, State
from recovery.main import app
from tests.subscriptions import subscription as make_subscription

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
TOKEN = "cra_the-admin-token"
CALLBACK = "https://receiver.example/hooks/a-secret-path"

Json = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Told:
    """An answer; where it makes the command ask again, it does so at once."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(
        default_factory=lambda: {"content-type": "application/json", "retry-after": "0"}
    )


Script = Callable[[Asked], Told]


def answer(body: Any, status: int = 200) -> Told:
    return Told(status, b"" if body is None else json.dumps(body).encode())


def problem(error: ProblemError) -> Told:
    return Told(
        error.status,
        json.dumps(error.problem()).encode(),
        {"content-type": "application/problem+json", "retry-after": "0"},
    )


class PlayedApi:
    """Answers each "METHOD /path" with what it was given, in turn; the last answer stays."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self._answers: dict[str, list[Told | Script]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def play(self, route: str, *answers: Told | Script) -> None:
        self._answers[route] = list(answers)

    def requests(self, route: str) -> list[Asked]:
        return [asked for asked in self.asked if f"{asked.method} {asked.path}" == route]

    def _tell(self, asked: Asked) -> Told:
        self.asked.append(asked)
        answers = self._answers.get(f"{asked.method} {asked.path}")
        if not answers:
            return answer({"message": "Not Found"}, 404)  # as the gateway says it
        told = answers.pop(0) if len(answers) > 1 else answers[0]
        return told if isinstance(told, Told) else told(asked)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        tell = self._tell

        class Handler(BaseHTTPRequestHandler):
            def handle_any(self) -> None:
                parts = urlsplit(self.path)
                query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                told = tell(Asked(self.command, parts.path, query, headers, body))
                self.send_response(told.status)
                for name, value in told.headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(told.body)))
                self.end_headers()
                self.wfile.write(told.body)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815 - http.server's names

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
                pass

        return Handler


def run(*words: str, given: str | None = None) -> Result:
    """Runs the command as the shell would."""
    return CliRunner().invoke(app, list(words), input=given)


def delivery_id(at: datetime, number: int = 0) -> str:
    return f"dlv_{int(at.timestamp() * 1000):012x}{number:020x}"


def delivery(number: int = 0, *, at: datetime = NOW, **changes: Any) -> Json:
    """A delivery as the API tells it: by default one that was given up."""
    failed = Attempt(at=at + timedelta(minutes=1), failure="http", status=500, latency_ms=40)
    values: dict[str, Any] = {
        "subscription_id": "sub_1",
        "delivery_id": delivery_id(at, number),
        "store_id": "my-store",
        "checkout_id": f"cart-{number}",
        "event_id": f"evt_{number}",
        "event_type": EventType.ABANDONED,
        "sequence": 2,
        "state": State.EXHAUSTED,
        "attempts": 1,
        "reason": "http",
        "status": 500,
        "latency_ms": 40,
        "history": (failed,),
        "recorded_at": at + timedelta(minutes=1),
        "expires_at": at + timedelta(days=30),
    }
    told = DeliveryAnswer.of(DeliveryRecord(**(values | changes)))
    return told.model_dump(mode="json")


def deliveries(*numbers: int, next_cursor: str | None = None) -> Told:
    return answer({"deliveries": [delivery(number) for number in numbers], "next_cursor": next_cursor})


def subscription(subscription_id: str = "sub_1", *, failing_since: str | None = None, **changes: Any) -> Json:
    known = {"callback_url": CALLBACK, "events": (EventType.ABANDONED,)}
    made = make_subscription(subscription_id, **known | changes)
    told = SubscriptionAnswer.of(made).model_dump(mode="json")
    assert "failing_since" in told
    return told | {"failing_since": failing_since}


def subscriptions(*told: Json, next_cursor: str | None = None) -> Told:
    return answer({"subscriptions": list(told), "next_cursor": next_cursor})


def store(store_id: str = "my-store") -> Json:
    made = Store(
        store_id=store_id,
        settings=StoreSettings(),
        token_hash="not told",
        revision=1,
        created_at=NOW,
        updated_at=NOW,
    )
    return StoreAnswer.of(made).model_dump(mode="json")
