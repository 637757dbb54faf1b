"""AWS and a receiver, as cheap as they can be: a process of its own that answers each call from memory."""

import contextlib
import json
import multiprocessing
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.queues import Queue
from typing import Any

STORE_ID = "my-store"
SECRET = "test_secret_do_not_use"  # noqa: S105 - it says so itself
INDEX_KEY = "00" * 32
KEY = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
_CONTRACTS = (("checkout", "2026-11"), ("ACR_CHECKOUT", "2025-09"), ("ACR_CHECKOUT", "2026-05"))
_AT = {"S": "2026-05-07T10:00:00+00:00"}


def store() -> dict[str, Any]:
    """The registry's item of a store that has agreed a secret with FlexyPe."""
    agreed = {"configured_at": _AT, "secret_version": {"N": "1"}, "recipe": {"S": "base64_body"}}
    return {
        "store_id": {"S": STORE_ID},
        "kind_id": {"S": "store"},
        "settings": {"M": {"domains": {"L": [{"S": "my-store.com"}]}}},
        "token_hash": {"S": "0" * 64},
        "providers": {"M": {"flexype": {"M": agreed}}},
        "revision": {"N": "1"},
        "created_at": _AT,
        "updated_at": _AT,
    }


def subscription(number: int, port: int) -> dict[str, Any]:
    """The registry's item of a subscription to every event, of the contracts in turn."""
    topic, version = _CONTRACTS[number % len(_CONTRACTS)]
    return {
        "store_id": {"S": STORE_ID},
        "kind_id": {"S": f"subscription#sub_{number:026d}"},
        "topic": {"S": topic},
        "version": {"S": version},
        "callback_url": {"S": f"http://127.0.0.1:{port}/{number}"},
        "events": {"L": [{"S": "checkout.created"}]},
        "paused": {"BOOL": False},
        "header_names": {"L": []},
        "key_version": {"N": "1"},
        "created_at": _AT,
        "updated_at": _AT,
    }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    subscribers = 0
    held: dict[str, Any] = {}  # noqa: RUF012 - set once, before it serves

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        operation = self.headers.get("x-amz-target", "").rpartition(".")[2]
        answer = json.dumps(self._answer(operation, body)).encode()
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: %d\r\n\r\n"
        self.wfile.write(head % len(answer) + answer)

    def _answer(self, operation: str, body: bytes) -> dict[str, Any]:
        port = int(self.headers["host"].rpartition(":")[2])
        if operation == "GetItem" and b'"kind_id"' in body:
            return {"Item": store()}
        if operation == "GetItem" and json.loads(body)["Key"]["checkout_id"] == self.held["checkout_id"]:
            return {"Item": self.held}
        if operation == "Query":
            return {"Items": [store(), *(subscription(number, port) for number in range(self.subscribers))]}
        if operation == "GetParameters":
            names = json.loads(body)["Names"]
            found = [{"Name": name, "Value": _parameter(name)} for name in names]
            return {"Parameters": found, "InvalidParameters": []}
        if operation == "BatchGetItem":
            return {"Responses": {"RegistryTable": [store()]}, "UnprocessedKeys": {}}
        return {"UnprocessedItems": {}} if operation == "BatchWriteItem" else {}

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        pass


def _parameter(name: str) -> str:
    if name.endswith("/index-key"):
        return INDEX_KEY
    return json.dumps({"keys": [SECRET if "/providers/" in name else KEY], "version": 1})


def _serve(ports: "Queue[int]", subscribers: int, held: dict[str, Any]) -> None:
    _Handler.subscribers, _Handler.held = subscribers, held
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    ports.put(server.server_port)
    server.serve_forever()


@contextlib.contextmanager
def stub(subscribers: int, held: dict[str, Any]) -> Iterator[str]:
    """Runs the stub, and yields its URL.

    Args:
        subscribers: how many subscriptions the store has.
        held: the item of the one checkout that there is; all others are unknown, and so is every shopper.
    """
    context = multiprocessing.get_context("fork")
    ports: Queue[int] = context.Queue()
    process = context.Process(target=_serve, args=(ports, subscribers, held), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{ports.get(timeout=30)}"
    finally:
        process.terminate()
        process.join()
