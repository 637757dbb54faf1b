"""The queues that this system writes to: deliveries to try again, and events that it could not understand."""

import base64
import binascii
import json
import re
import zlib
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from botocore.exceptions import ClientError
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from checkout_recovery.checkout.event import Event, EventType
from checkout_recovery.errors import BrokenRecord, FieldError, ProblemError, Unavailable
from checkout_recovery.observability import logger
from checkout_recovery.providers.fields import is_key
from checkout_recovery.subscriptions.store import STORE_ID
from checkout_recovery.tables.driver import driver_errors

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

_ENTRIES_A_CALL = 10
MAX_DELAY = timedelta(minutes=15)
"""SQS's own limit."""

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

VERBATIM_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization", "x-flexype-authorization"})
"""Headers that hold a secret as it is. A signature is none: it proves one body and nothing else."""

MAX_REFUSED_BYTES = 256 * 1024
"""What a message about a refused request may come to; SQS took no more for most of its life."""


class Purpose(StrEnum):
    """Why a delivery is in the queue."""

    RETRY = "retry"
    """An attempt failed, or could not be made: the same event is tried again while it matters."""
    REPLAY = "replay"
    """An operator wants the checkout sent as it stands, whether or not it had been delivered."""
    RECOVER = "recover"
    """As a replay, unless the checkout's newest event has been delivered at any time."""


def _checkout_key(value: str) -> str:
    if not is_key(value):
        raise ValueError("no key of a checkout")
    return value


# What a table or a queue would refuse must be found here: there it would fail a whole batch.
_StoreId = Annotated[str, Field(pattern=rf"^{STORE_ID.pattern}$")]
_Id = Annotated[str, Field(pattern=r"^[!-~]{1,100}$")]
_Count = Annotated[int, Field(ge=0, le=10**15)]
_MOST_ATTEMPTS = 10**6
_Time = Annotated[
    AwareDatetime, Field(ge=datetime(2000, 1, 1, tzinfo=UTC), lt=datetime(3000, 1, 1, tzinfo=UTC))
]


class RetryMessage(BaseModel):
    """A delivery to make later. Ids only: the checkout is read again when its time has come."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="ignore", hide_input_in_errors=True)

    version: Literal[2] = 2
    purpose: Purpose = Purpose.RETRY
    store_id: _StoreId
    checkout_id: Annotated[str, AfterValidator(_checkout_key)]
    subscription_id: _Id
    delivery_id: _Id
    event_id: _Id
    event_type: EventType
    event_time: _Time
    sequence: _Count
    attempts: _Count
    """How many have been made; since a replay, where there was one."""
    earlier: _Count = 0
    """How many were made before the replay."""
    reason: str = Field(max_length=100)
    """Why the last one failed, or none was made."""
    not_before: _Time
    """When it is due. SQS holds a message for 15 minutes at most: longer waits hop."""
    has_slot: bool = False
    """Whether `not_before` is its turn under the subscription's rate limit."""
    asked_at: _Time | None = None
    """When an operator asked for it: from then on it matters for as long as a new event of its type."""

    @property
    def event(self) -> Event:
        """What is to be told."""
        return Event(id=self.event_id, type=self.event_type, time=self.event_time)

    @classmethod
    def read(cls, body: str) -> Self:
        """Reads a message.

        Raises:
            BrokenRecord: this module did not write it.
        """
        try:
            message = cls.model_validate_json(body)
        except ValidationError as error:
            raise BrokenRecord(f"not a retry message: {error.error_count()} faults") from None
        if message.attempts + message.earlier > _MOST_ATTEMPTS:  # the next message of it could not be written
            raise BrokenRecord("not a retry message: too many attempts")
        return message


class RetryQueue:
    """Where deliveries wait. A noisy subscription delays only itself: each is a message group.

    The dead-letter queue has the same messages: those of deliveries that were given up.
    """

    def __init__(self, client: "SQSClient", queue_url: str) -> None:
        self._client = client
        self._queue_url = queue_url

    def send(self, messages: Sequence[RetryMessage], now: datetime) -> frozenset[str]:
        """Queues messages, each until it is due or for as long as SQS can.

        Returns:
            The ids of the deliveries that SQS refused: they are not queued.
        """
        refused: set[str] = set()
        for start in range(0, len(messages), _ENTRIES_A_CALL):
            refused |= self._send_chunk(messages[start : start + _ENTRIES_A_CALL], now)
        return frozenset(refused)

    def _send_chunk(self, messages: Sequence[RetryMessage], now: datetime) -> set[str]:
        entries: list[Any] = [
            {
                "Id": str(index),
                "MessageBody": _encode(message.model_dump(mode="json", exclude_none=True)),
                "DelaySeconds": _delay(message, now),
                "MessageGroupId": message.subscription_id,
            }
            for index, message in enumerate(messages)
        ]
        try:
            with driver_errors():
                answer = self._client.send_message_batch(QueueUrl=self._queue_url, Entries=entries)
        except (Unavailable, ClientError) as error:
            # Whatever the fault is, what has been sent meanwhile must still be recorded.
            logger.error("queue does not answer", extra={"error": type(error).__name__})
            return {message.delivery_id for message in messages}
        return {messages[int(entry["Id"])].delivery_id for entry in answer.get("Failed", ())}


class RejectedProblem(BaseModel):
    """Why a request was not understood: what its sender was told, less the words."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="ignore", hide_input_in_errors=True)

    type: str
    errors: tuple[FieldError, ...] = ()


class RejectedRequest(BaseModel):
    """A request that was kept. All of it that is a shopper's stays out of what is shown of it."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="ignore", hide_input_in_errors=True)

    version: Literal[1]
    source: str
    """The provider, or the name of our own call."""
    store_id: str
    received_at: AwareDatetime
    problem: RejectedProblem
    headers: dict[str, str] = Field(repr=False)
    body: str = Field(repr=False)
    body_encoding: Literal["zlib+base64"]
    refused: Any = Field(default=None, repr=False)
    """Marks, whatever its value, a request that was not authentic: it is kept to be looked at and no more."""

    @property
    def is_refused(self) -> bool:
        """Whether it must never be applied."""
        return "refused" in self.model_fields_set

    @classmethod
    def read(cls, message: str | Mapping[str, Any]) -> Self:
        """Reads a message.

        Raises:
            BrokenRecord: this module did not write it.
        """
        try:
            if isinstance(message, str):
                return cls.model_validate_json(message)
            return cls.model_validate(message)
        except ValidationError as error:
            raise BrokenRecord(f"not a kept request: {error.error_count()} faults") from None

    def content(self, at_most: int) -> bytes:
        """The body as it came.

        Raises:
            BrokenRecord: it cannot be unpacked, or not within so many bytes.
        """
        unpack = zlib.decompressobj()
        try:
            content = unpack.decompress(base64.b64decode(self.body, validate=True), at_most)
        except (binascii.Error, ValueError, zlib.error):
            raise BrokenRecord("not a kept body") from None
        if not unpack.eof:
            raise BrokenRecord("not a whole body, or too large a one")
        return content


class RejectedEvents:
    """Where an authentic request that could not be understood is kept until it can be.

    While an operator captures refused requests of a store, a few of these lie here too (see `capture`).
    """

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
        kept = _without(headers, CREDENTIAL_HEADERS)
        message = _request(source, store_id, kept, body, problem, received_at)
        self._send(_encode(message))

    def capture(
        self,
        source: str,
        store_id: str,
        headers: Mapping[str, str],
        body: bytes,
        problem: ProblemError,
        received_at: datetime,
    ) -> None:
        """Keeps a request that did not prove who sent it, marked so that nobody ever takes it in.

        The raw body and what is signed with it stay, because what an operator wants is to try recipes on
        them. Of every credential the form is told, also of those that are left out. A body that does not
        compress to what fits a message is left out; no provider's is such.

        Raises:
            Unavailable: it could not be kept.
        """
        kept = _without(headers, VERBATIM_HEADERS)
        message = _request(source, store_id, kept, body, problem, received_at) | {
            "refused": True,
            "credential_forms": {
                name: form_of(headers[name]) for name in sorted(CREDENTIAL_HEADERS & headers.keys())
            },
        }
        if len(_encode(message)) > MAX_REFUSED_BYTES:
            message |= {"body": "", "body_bytes": len(body)}
        self._send(_encode(message))

    def _send(self, body: str) -> None:
        with driver_errors():
            self._client.send_message(QueueUrl=self._queue_url, MessageBody=body)


def form_of(credential: str) -> str:
    """Says how a credential is written, and its length: ``hex, 64 characters``. Nothing of what it holds."""
    forms = (form for form, pattern in _FORMS.items() if pattern.fullmatch(credential))
    return f"{next(forms, 'other')}, {len(credential)} characters"


_FORMS = {
    "empty": re.compile(r""),
    "hex": re.compile(r"([0-9a-f]{2})+|([0-9A-F]{2})+"),
    "base64": re.compile(r"([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)"),
    "base64url": re.compile(r"[A-Za-z0-9_-]+={0,2}"),
    "scheme and value": re.compile(r"[A-Za-z0-9_-]+[ =][!-~]+"),
}
"""From the narrowest on: what is hex is base64 too."""


def _without(headers: Mapping[str, str], names: Collection[str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name not in names}


def _request(
    source: str,
    store_id: str,
    headers: Mapping[str, str],
    body: bytes,
    problem: ProblemError,
    received_at: datetime,
) -> dict[str, Any]:
    return {
        "version": 1,
        "source": source,
        "store_id": store_id,
        "received_at": received_at.isoformat(),
        "problem": problem.problem(),
        "headers": headers,
        "body": base64.b64encode(zlib.compress(body)).decode(),
        "body_encoding": "zlib+base64",
    }


def _delay(message: RetryMessage, now: datetime) -> int:
    """Whole seconds, rounded up: a message is never early but where SQS cannot hold it any longer."""
    wait = min(max(message.not_before - now, timedelta()), MAX_DELAY)
    return -(-wait // timedelta(seconds=1))


def _encode(message: Mapping[str, Any]) -> str:
    """Writes a message in ASCII: SQS refuses some of the characters that an id may hold."""
    return json.dumps(message, separators=(",", ":"))
