"""A receiver of our webhooks that believes nothing: every delivery is verified, and nothing of ours does it.

It stands for a BSP. Standard Webhooks is verified by the `standardwebhooks` package; FlexyPe's and Cashfree's
proofs by a few lines written from what they publish and from `docs/contracts.md`. It imports nothing of
`checkout_recovery`, so that a fault of our signer cannot hide behind itself.

    python -m local.receiver --port 8099 --key /hook=whsec_…
"""

import argparse
import base64
import contextlib
import hashlib
import hmac
import json
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook, WebhookVerificationError

LOOPBACK = "127.0.0.1"
STANDARD, FLEXYPE, CASHFREE = "standard-webhooks", "flexype-token", "cashfree-hmac"
PROOFS: Mapping[str, tuple[str, ...]] = {
    "abandonedCheckout v1": (STANDARD, CASHFREE),
    "ACR_CHECKOUT 2025-09": (STANDARD, FLEXYPE),
    "ACR_CHECKOUT 2026-05": (STANDARD, FLEXYPE),
    "checkout 2026-11": (STANDARD,),
}
"""What a delivery of each contract must be proven by."""

_MAX_BODY_BYTES = 4 * 1024 * 1024
_IDLE_SECONDS = 60.0

Headers = Mapping[str, str]
"""Names in lower case."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request that came in, and what the receiver made of it."""

    at: float
    """Seconds since the epoch, when the whole body was there."""
    path: str = field(repr=False)
    """May hold a token."""
    name: str | None
    """What the endpoint is called; None where nobody subscribed the path."""
    contract: str | None
    event_id: str | None
    event_type: str | None
    """As the contract names it; FlexyPe's flat version names none."""
    sequence: int | None
    verified_by: tuple[str, ...]
    problem: str | None
    """Why it was not verified; None where every proof of its contract held."""
    status: int
    """What the receiver answered."""
    headers: Headers = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def json(self) -> Any:
        """The body, with amounts as the strings that they were written as."""
        return json.loads(self.body, parse_float=str)


@dataclass(slots=True)
class Endpoint:
    """A path of the receiver: which keys it trusts, and how it behaves."""

    keys: tuple[str, ...] = field(repr=False)
    contract: str | None = None
    """What was subscribed to; where None, the headers say what a delivery is."""
    name: str | None = None
    """How arrivals refer to it, for its path may hold a token."""
    status: int = 200
    """Answered to what is verified; what is not gets 401."""
    delay_seconds: float = 0.0


class Refused(Exception):
    """A proof does not hold; the message says which, and nothing of the request."""


class Receiver:
    """An HTTP/1.1 server on the loopback address, for as long as its context lasts.

    Args:
        port: where it listens; 0 for any free port.
        tell: called with each arrival, on the connection's thread.
    """

    def __init__(self, port: int = 0, tell: Callable[[Arrival], None] | None = None) -> None:
        self._endpoints: dict[str, Endpoint] = {}
        self._arrivals: list[Arrival] = []
        self._changed = threading.Condition()
        self._tell = tell
        self._server = _Server((LOOPBACK, port), self)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.end()

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self._server.server_port}"

    @property
    def arrivals(self) -> list[Arrival]:
        """Everything that has come so far, in order."""
        with self._changed:
            return list(self._arrivals)

    def trust(self, path: str, *keys: str, contract: str | None = None, name: str | None = None) -> Endpoint:
        """Says with which keys a path's deliveries are verified; how the endpoint behaves can then be set."""
        endpoint = Endpoint(keys, contract, name)
        self._endpoints[path] = endpoint
        return endpoint

    def wait_for(self, complete: Callable[[Sequence[Arrival]], bool], seconds: float) -> bool:
        """Waits until what has arrived is complete; whether it was in time."""
        with self._changed:
            return self._changed.wait_for(lambda: complete(self._arrivals), seconds)

    def take(self, path: str, headers: Headers, body: bytes) -> int:
        """Verifies and records a request; returns the status to answer."""
        at = time.time()
        endpoint = self._endpoints.get(path)
        arrival = _judge(at, path, endpoint, headers, body)
        with self._changed:
            self._arrivals.append(arrival)
            self._changed.notify_all()
        if self._tell:
            self._tell(arrival)
        if endpoint and endpoint.delay_seconds:
            time.sleep(endpoint.delay_seconds)
        return arrival.status


# ---------------------------------------------------------------- verifying


def _judge(at: float, path: str, endpoint: Endpoint | None, headers: Headers, body: bytes) -> Arrival:
    contract = (endpoint and endpoint.contract) or contract_of(headers)
    event_id, event_type, sequence = _event(contract, _message(body))
    verified: list[str] = []
    problem = _problem(endpoint, contract, headers, body, event_id, verified)
    return Arrival(
        at=at,
        path=path,
        name=endpoint.name if endpoint else None,
        contract=contract,
        event_id=event_id,
        event_type=event_type,
        sequence=sequence,
        verified_by=tuple(verified),
        problem=problem,
        status=_status(endpoint, problem),
        headers=headers,
        body=body,
    )


def _problem(
    endpoint: Endpoint | None,
    contract: str,
    headers: Headers,
    body: bytes,
    event_id: str | None,
    verified: list[str],
) -> str | None:
    if endpoint is None:
        return "nobody subscribed this path"
    try:
        verify(contract, endpoint.keys, headers, body, verified)
        _check_event(headers, event_id)
    except Refused as refused:
        return str(refused)
    return None


def _status(endpoint: Endpoint | None, problem: str | None) -> int:
    if endpoint is None:
        return 404
    return 401 if problem else endpoint.status


def contract_of(headers: Headers) -> str:
    """Which contract a delivery claims to be, by its headers alone."""
    version = headers.get("x-webhook-version", "")
    if topic := headers.get("x-webhook-topic"):
        return f"{topic} {version}"
    return f"ACR_CHECKOUT {version}" if "x-flexype-authorization" in headers else "checkout 2026-11"


def verify(
    contract: str, keys: Sequence[str], headers: Headers, body: bytes, verified: list[str] | None = None
) -> None:
    """Checks every proof of a contract, and notes in `verified` those that hold.

    Raises:
        Refused: one does not hold.
    """
    if contract not in PROOFS:
        raise Refused("it is of a contract that nobody published")
    _check_content_type(headers)
    for proof in PROOFS[contract]:
        _CHECKS[proof](contract, keys, headers, body)
        if verified is not None:
            verified.append(proof)


def _check_content_type(headers: Headers) -> None:
    if headers.get("content-type") != "application/json":
        raise Refused("Content-Type is not application/json")


def _check_standard(_contract: str, keys: Sequence[str], headers: Headers, body: bytes) -> None:
    for key in keys:
        with contextlib.suppress(WebhookVerificationError, ValueError):
            Webhook(key).verify(body, dict(headers), json_parse=False)
            return
    raise Refused("webhook-signature does not verify")


def _check_flexype(contract: str, keys: Sequence[str], headers: Headers, _body: bytes) -> None:
    """FlexyPe sends the secret itself."""
    given = headers.get("x-flexype-authorization", "")
    if not any(hmac.compare_digest(given.encode(), key.encode()) for key in keys):
        raise Refused("X-Flexype-Authorization is not the key")
    if f"ACR_CHECKOUT {headers.get('x-webhook-version')}" != contract:
        raise Refused("X-Webhook-Version is not the contract's")
    if not headers.get("x-event-id"):
        raise Refused("X-Event-Id is missing")
    if contract.endswith("2026-05") and not headers.get("x-webhook-id"):
        raise Refused("X-Webhook-Id is missing")


def _check_cashfree(_contract: str, keys: Sequence[str], headers: Headers, body: bytes) -> None:
    """base64(HMAC-SHA256(key, raw body)), keyed with the key's characters as they stand."""
    given = headers.get("x-webhook-signature", "")
    digests = (hmac.new(key.encode(), body, hashlib.sha256).digest() for key in keys)
    if not any(hmac.compare_digest(given.encode(), base64.b64encode(digest)) for digest in digests):
        raise Refused("x-webhook-signature does not verify")
    if (headers.get("x-webhook-topic"), headers.get("x-webhook-version")) != ("abandonedCheckout", "v1"):
        raise Refused("x-webhook-topic or x-webhook-version is not the contract's")
    if headers.get("user-agent") != "Ecom360-v1":
        raise Refused("User-Agent is not Ecom360-v1")
    for name in ("x-store-url", "x-request-id"):
        if not headers.get(name):
            raise Refused(f"{name} is missing")


_CHECKS = {STANDARD: _check_standard, FLEXYPE: _check_flexype, CASHFREE: _check_cashfree}


def _check_event(headers: Headers, event_id: str | None) -> None:
    """A receiver that drops repeats by header or by body must come to the same."""
    told = {headers.get("webhook-id"), headers.get("x-event-id", event_id), event_id}
    if len(told) != 1 or None in told:
        raise Refused("the event's id in the headers is not the one in the body")


def _message(body: bytes) -> Mapping[str, Any]:
    with contextlib.suppress(ValueError):
        message = json.loads(body)
        if isinstance(message, dict):
            return message
    return {}


def _event(contract: str, message: Mapping[str, Any]) -> tuple[str | None, str | None, int | None]:
    """The event's id, type and sequence, where a contract says them."""
    match contract:
        case "ACR_CHECKOUT 2025-09":
            return message.get("webhook_id"), None, None
        case "ACR_CHECKOUT 2026-05":
            return message.get("event_id"), message.get("event_type"), None
        case "abandonedCheckout v1":
            return message.get("event_id"), "abandonedCheckout", message.get("sequence")
    return message.get("id"), message.get("type"), message.get("sequence")


# ---------------------------------------------------------------- serving


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], receiver: Receiver) -> None:
        super().__init__(address, _Handler)
        self.receiver = receiver
        self._open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A sender that gave up says nothing about the receiver, and a traceback could show its body."""

    def end(self) -> None:
        """Stops listening and ends the connections that senders keep open."""
        self.shutdown()
        self.server_close()
        for connection in tuple(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = _IDLE_SECONDS
    wbufsize = -1  # the answer leaves in one piece

    def do_POST(self) -> None:
        assert isinstance(self.server, _Server)  # noqa: S101 - the only server that has this handler
        length = self.headers.get("content-length", "")
        if not length.isdigit() or int(length) > _MAX_BODY_BYTES:
            self.close_connection = True
            self._answer(411 if not length.isdigit() else 413)
            return
        body = self.rfile.read(int(length))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self._answer(self.server.receiver.take(self.path, headers, body))

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Says nothing: a path may hold a token."""


# ---------------------------------------------------------------- alone


def line_of(arrival: Arrival) -> str:
    """One line about an arrival: ids and lengths, nothing of the shopper's."""
    outcome = (
        f"refused: {arrival.problem}" if arrival.problem else "verified: " + ", ".join(arrival.verified_by)
    )
    when = time.strftime("%H:%M:%S", time.localtime(arrival.at))
    sequence = "" if arrival.sequence is None else f" #{arrival.sequence}"
    event = f"{arrival.event_type or ''} {arrival.event_id or ''}{sequence}".strip()
    return f"{when} {arrival.contract} · {event} · {len(arrival.body)} bytes · {outcome}"


def _key(argument: str) -> tuple[str, str]:
    path, separator, key = argument.partition("=")
    if not separator or not path or not _is_key(key):
        raise argparse.ArgumentTypeError("must be path=whsec_…")
    return "/" + path.lstrip("/"), key


def _is_key(key: str) -> bool:
    with contextlib.suppress(ValueError, EmptyWebhookSecretError):
        Webhook(key)
        return key.startswith("whsec_")
    return False


def main() -> int:
    parser = argparse.ArgumentParser(description="Receive webhooks on this machine and verify each.")
    parser.add_argument("--port", type=int, default=8099)
    parser.add_argument(
        "--key",
        type=_key,
        action="append",
        required=True,
        metavar="PATH=KEY",
        help="repeat it for more paths",
    )
    arguments = parser.parse_args()
    # A shell starts what it puts in the background deaf to Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        listening = Receiver(arguments.port, tell=lambda arrival: print(line_of(arrival), flush=True))
    except OSError as error:
        print(f"receiver: port {arguments.port}: {error.strerror}", file=sys.stderr)
        return 1
    with listening as receiver:
        keys: dict[str, list[str]] = {}
        for path, key in arguments.key:
            keys.setdefault(path, []).append(key)
        for path, trusted in keys.items():
            receiver.trust(path, *trusted)
        print(f"receiver: listening on {receiver.url}; Ctrl-C ends it", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
