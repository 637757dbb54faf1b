"""The queues of what could not be done, as repairs read them: a message is held, then deleted or given back.

A message that is held is invisible to others for a while; whoever forgets to give it back, or dies, loses
nothing: it comes back by itself.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING, Any

from checkout_recovery.errors import Unavailable
from checkout_recovery.observability import logger
from checkout_recovery.tables.driver import driver_errors

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

_MESSAGES_A_CALL = 10
"""SQS's own limit."""
_HELD_SECONDS = 60
"""Longer than the function that holds them runs."""
_FIRST_WAIT_SECONDS = 1
"""SQS asks all of its servers only where a receive may wait; without, a short queue may look empty."""
MAX_RECEIVES = 30
"""How often one call asks a queue."""


class QueueName(StrEnum):
    """What the operator calls the queues."""

    DELIVERIES = "deliveries"
    """Deliveries that were given up, and retry messages that nobody could handle."""
    STREAM = "stream"
    """Batches of the table's stream that fan-out could not get through."""
    REJECTED = "rejected"
    """Authentic requests that were not understood, and those that were captured."""
    RETRY = "retry"
    """Deliveries that wait. It is no queue of dead letters: its length is told, and no more."""


@dataclass(frozen=True, slots=True)
class Depth:
    """How many messages a queue has, about."""

    messages: int
    """That can be received now."""
    in_flight: int
    """That somebody has received and not yet deleted."""
    delayed: int
    """Whose time has not come."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A message that is held."""

    message_id: str
    receipt: str
    body: str
    sent_at: datetime
    receives: int
    """How often it has been received, this time included."""


class DeadLetterQueue:
    """One queue. Every call to SQS is bounded by the client's time-outs."""

    def __init__(self, client: "SQSClient", queue_url: str) -> None:
        self._client = client
        self._queue_url = queue_url

    def depth(self) -> Depth:
        """Tells how many messages there are; SQS is up to a minute behind.

        Raises:
            Unavailable: SQS is throttled or down.
        """
        with driver_errors():
            answer = self._client.get_queue_attributes(
                QueueUrl=self._queue_url,
                AttributeNames=[
                    "ApproximateNumberOfMessages",
                    "ApproximateNumberOfMessagesNotVisible",
                    "ApproximateNumberOfMessagesDelayed",
                ],
            )
        counts: Mapping[Any, str] = answer["Attributes"]
        return Depth(
            int(counts["ApproximateNumberOfMessages"]),
            int(counts["ApproximateNumberOfMessagesNotVisible"]),
            int(counts["ApproximateNumberOfMessagesDelayed"]),
        )

    def hold(self, has_time: Callable[[], bool]) -> Iterator[list[Letter]]:
        """Yields what the queue has, by up to ten; all of it stays held until it is released or deleted.

        It ends where as many were held as the queue said that it has, where a receive finds none, after
        `MAX_RECEIVES`, or when the time is up.

        Raises:
            Unavailable: SQS is throttled or down.
        """
        expected, held = self.depth().messages, 0
        for number in range(MAX_RECEIVES):
            if not has_time() or (number and held >= expected):
                return
            letters = self._receive(_FIRST_WAIT_SECONDS if number == 0 else 0)
            if not letters:
                return
            held += len(letters)
            yield letters

    def _receive(self, wait_seconds: int) -> list[Letter]:
        with driver_errors():
            answer = self._client.receive_message(
                QueueUrl=self._queue_url,
                MaxNumberOfMessages=_MESSAGES_A_CALL,
                VisibilityTimeout=_HELD_SECONDS,
                WaitTimeSeconds=wait_seconds,
                MessageSystemAttributeNames=["SentTimestamp", "ApproximateReceiveCount"],
            )
        return [_letter(message) for message in answer.get("Messages", ())]

    def release(self, letters: Iterable[Letter]) -> None:
        """Makes letters visible to others again at once; one that cannot be will be by itself, later."""
        for chunk in _chunks(letters):
            entries: list[Any] = [
                {"Id": str(at), "ReceiptHandle": letter.receipt, "VisibilityTimeout": 0}
                for at, letter in enumerate(chunk)
            ]
            try:
                with driver_errors():
                    self._client.change_message_visibility_batch(QueueUrl=self._queue_url, Entries=entries)
            except Unavailable:
                logger.warning("messages stay held for a minute", extra={"messages": len(chunk)})

    def delete(self, letters: Iterable[Letter]) -> list[Letter]:
        """Takes letters out of the queue; returns those that SQS did not delete: they come again, later."""
        undeleted: list[Letter] = []
        for chunk in _chunks(letters):
            entries: list[Any] = [
                {"Id": str(at), "ReceiptHandle": letter.receipt} for at, letter in enumerate(chunk)
            ]
            try:
                with driver_errors():
                    answer = self._client.delete_message_batch(QueueUrl=self._queue_url, Entries=entries)
                failed = [chunk[int(entry["Id"])] for entry in answer.get("Failed", ())]
            except Unavailable:
                failed = chunk
            if failed:
                logger.warning("messages that were done are still queued", extra={"messages": len(failed)})
            undeleted += failed
        return undeleted


def _letter(message: Mapping[str, Any]) -> Letter:
    attributes = message.get("Attributes", {})
    return Letter(
        message_id=message["MessageId"],
        receipt=message["ReceiptHandle"],
        body=message["Body"],
        sent_at=datetime.fromtimestamp(int(attributes.get("SentTimestamp", 0)) / 1000, UTC),
        receives=int(attributes.get("ApproximateReceiveCount", 1)),
    )


def _chunks(letters: Iterable[Letter]) -> Iterator[list[Letter]]:
    rest = iter(letters)
    while chunk := list(islice(rest, _MESSAGES_A_CALL)):
        yield chunk
