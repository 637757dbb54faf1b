"""The queues that this system writes to: deliveries to try again, and events that it could not understand."""

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from checkout_recovery.errors import ProblemError, Unavailable
from checkout_recovery.tables.driver import driver_errors

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

_ENTRIES_A_CALL = 10

CREDENTIAL_HEADERS = frozenset(
    {
        "authorization",
        "cookie",
        "x-flexype-authorization",
        "x-shopify-hmac-sha256",
        "x-webhook-signature",
    }
)
"""Headers that prove who sent a request: a kept request has been checked, so they are not kept with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryMessage:
    """A delivery to try again. Ids only: the checkout is read again when its time has come."""

    store_id: str
    checkout_id: str
    subscription_id: str
    delivery_id: str
    event_id: str
    event_type: str
    sequence: int
    attempts: int
    """How many have been made."""
    reason: str
    """Why the last one failed."""


class RetryQueue:
    """Where a failed delivery waits. A noisy subscription delays only itself: each is a message group."""

    def __init__(self, client: "SQSClient", queue_url: str) -> None:
        self._client = client
        self._queue_url = queue_url

    def send(self, messages: Sequence[tuple[RetryMessage, int]]) -> frozenset[str]:
        """Queues messages, each with its delay in whole seconds (at most 900).

        Returns:
            The ids of the deliveries that SQS refused: they are not queued.
        """
        refused: set[str] = set()
        for start in range(0, len(messages), _ENTRIES_A_CALL):
            refused |= self._send_chunk(messages[start : start + _ENTRIES_A_CALL])
        return frozenset(refused)

    def _send_chunk(self, messages: Sequence[tuple[RetryMessage, int]]) -> set[str]:
        entries: list[Any] = [
            {
                "Id": str(index),
                "MessageBody": _encode({"version": 1, **asdict(message)}),
                "DelaySeconds": delay,
                "MessageGroupId": message.subscription_id,
            }
            for index, (message, delay) in enumerate(messages)
        ]
        try:
            with driver_errors():
                answer = self._client.send_message_batch(QueueUrl=self._queue_url, Entries=entries)
        except Unavailable:
            return {message.delivery_id for message, _ in messages}
        return {messages[int(entry["Id"])][0].delivery_id for entry in answer.get("Failed", ())}


class RejectedEvents:
    """Where an authentic request that could not be understood is kept until it can be."""

    def __init__(self, client: "SQSClient", queue_url: str) -> None:
        self._client = client
        self._queue_url = queue_url

    def keep(
        self,
        source: str,
        store_id: str,
        headers: Mapping[str, str],
        body: bytes,
        problem: ProblemError,
        received_at: datetime,
    ) -> None:
        """Keeps a request whole, less what proves who sent it.

        Args:
            source: the provider, or ``checkouts`` for our own call.

        Raises:
            Unavailable: it could not be kept, so its sender must send it again.
        """
        message = {
            "version": 1,
            "source": source,
            "store_id": store_id,
            "received_at": received_at.isoformat(),
            "problem": problem.problem(),
            "headers": {name: value for name, value in headers.items() if name not in CREDENTIAL_HEADERS},
            "body": base64.b64encode(zlib.compress(body)).decode(),
            "body_encoding": "zlib+base64",
        }
        with driver_errors():
            self._client.send_message(QueueUrl=self._queue_url, MessageBody=_encode(message))


def _encode(message: Mapping[str, Any]) -> str:
    """Writes a message in ASCII: SQS refuses some of the characters that an id may hold."""
    return json.dumps(message, separators=(",", ":"))
