"""AWS, as cheap as it can be: a process of its own that answers each call from memory."""

import contextlib
import functools
import json
import urllib.request
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.server import LOOPBACK, serving

STORE_ID = "my-store"
SECRET = "test_secret_do_not_use"  # noqa: S105 - it says so itself
INDEX_KEY = "00" * 32
KEY = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
_CONTRACTS = (("checkout", "2026-11"), ("ACR_CHECKOUT", "2025-09"), ("ACR_CHECKOUT", "2026-05"))
_AT = {"S": "2026-05-07T10:00:00+00:00"}

_HEARD_AT_MOST = 100

Item = dict[str, Any]
Call = tuple[str, dict[str, Any]]
"""An operation and its parameters: what boto3 takes is what goes over the wire."""


def store(store_id: str = STORE_ID, token_hash: str = "0" * 64) -> Item:
    """The registry's item of a store that has agreed a secret with FlexyPe."""
    agreed = {"configured_at": _AT, "secret_version": {"N": "1"}, "recipe": {"S": "base64_body"}}
    return {
        "store_id": {"S": store_id},
        "kind_id": {"S": "store"},
        "settings": {"M": {"domains": {"L": [{"S": "my-store.com"}]}}},
        "token_hash": {"S": token_hash},
        "providers": {"M": {"flexype": {"M": agreed}}},
        "revision": {"N": "1"},
        "created_at": _AT,
        "updated_at": _AT,
    }


def subscription(number: int, port: int, store_id: str = STORE_ID) -> Item:
    """The registry's item of a subscription to every created checkout, of the contracts in turn."""
    topic, version = _CONTRACTS[number % len(_CONTRACTS)]
    return {
        "store_id": {"S": store_id},
        "kind_id": {"S": f"subscription#{subscription_id(number, store_id)}"},
        "topic": {"S": topic},
        "version": {"S": version},
        "callback_url": {"S": f"http://{LOOPBACK}:{port}/{store_id}/{number}"},
        "events": {"L": [{"S": "checkout.created"}]},
        "paused": {"BOOL": False},
        "header_names": {"L": []},
        "key_version": {"N": "1"},
        "created_at": _AT,
        "updated_at": _AT,
    }


def subscription_id(number: int, store_id: str = STORE_ID) -> str:
    """Another one for each store: receivers are told apart by it."""
    place = "" if store_id == STORE_ID else store_id
    return f"sub_{place}{number:0{26 - len(place)}d}"


@dataclass(frozen=True, slots=True)
class Account:
    """What the stub has: all that it is not told of is unknown, and every shopper is."""

    subscribers: Mapping[str, int] = field(default_factory=dict)
    """How many subscriptions each store has."""
    receiver_port: int = 1
    """Where all of them listen."""
    held: Item | None = None
    """The one checkout that there is."""
    token_hash: str = "0" * 64
    """Of every store's token."""

    def answer(self, operation: str, body: bytes) -> Any:
        """What AWS says to a call."""
        match operation:
            case "BatchWriteItem":
                return {"UnprocessedItems": {}}
            case "GetItem":
                found = self._found(json.loads(body)["Key"])
                return {"Item": found} if found else {}
            case "BatchGetItem":
                return {"Responses": self._batch(json.loads(body)["RequestItems"]), "UnprocessedKeys": {}}
            case "Query":
                return {"Items": self._query(body)}
            case "GetParameters":
                names = json.loads(body)["Names"]
                parameters = [{"Name": name, "Value": _parameter(name)} for name in names]
                return {"Parameters": parameters, "InvalidParameters": []}
        return {}

    def _found(self, key: Mapping[str, Any]) -> Item | None:
        if key.get("kind_id") == {"S": "store"}:
            return store(key["store_id"]["S"], self.token_hash)
        if key.get("kind_id", {}).get("S", "").startswith("subscription#"):
            return next(
                (one for one in self._subscriptions(key["store_id"]["S"]) if key.items() <= one.items()), None
            )
        is_held = self.held and key.get("checkout_id") == self.held["checkout_id"]
        return self.held if is_held else None

    def _batch(self, requests: Mapping[str, Any]) -> dict[str, list[Item]]:
        return {
            table: [item for key in request["Keys"] if (item := self._found(key))]
            for table, request in requests.items()
        }

    def _query(self, body: bytes) -> list[Item]:
        """A store's subscriptions; the indexes have nothing, and no circuit is open."""
        values = json.loads(body)["ExpressionAttributeValues"].values()
        store_id = next((value["S"] for value in values if value.get("S") in self.subscribers), None)
        if store_id is None or b'"IndexName"' in body:
            return []
        return [store(store_id, self.token_hash), *self._subscriptions(store_id)]

    def _subscriptions(self, store_id: str) -> list[Item]:
        count = self.subscribers[store_id]
        return [subscription(number, self.receiver_port, store_id) for number in range(count)]


def _parameter(name: str) -> str:
    if name.endswith("/index-key"):
        return INDEX_KEY
    return json.dumps({"keys": [SECRET if "/providers/" in name else KEY], "version": 1})


@contextlib.contextmanager
def stub(account: Account) -> Iterator[str]:
    """Runs the stub, and yields its URL."""

    @functools.lru_cache(maxsize=4096)
    def made(operation: bytes, body: bytes) -> bytes:
        answer = json.dumps(account.answer(operation.decode(), body)).encode()
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: %d\r\n\r\n"
        return head % len(answer) + answer

    heard_last: deque[tuple[str, str]] = deque(maxlen=_HEARD_AT_MOST)

    def answer(head: bytes, body: bytes) -> bytes:
        if head.startswith(b"GET "):
            told = json.dumps(list(heard_last)).encode()
            heard_last.clear()
            return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(told) + told
        operation = _operation(head)
        heard_last.append((operation.decode(), body.decode()))
        return made(operation, body)

    with serving(answer) as port:
        yield f"http://{LOOPBACK}:{port}"


def heard(aws_url: str) -> list[Call]:
    """The last calls that a stub was asked since this was called last, whatever client made them."""
    with urllib.request.urlopen(aws_url) as response:  # noqa: S310 - the stub's own
        return [(operation, json.loads(body)) for operation, body in json.load(response)]


def _operation(head: bytes) -> bytes:
    """The last part of the call's target: ``DynamoDB_20120810.GetItem``."""
    _, _, rest = head.lower().partition(b"\r\nx-amz-target:")
    start = len(head) - len(rest)
    return head[start:].partition(b"\r\n")[0].rpartition(b".")[2].strip()
