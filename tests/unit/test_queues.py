"""What is written to the queues, with a client that remembers it."""

import contextlib
import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from checkout_recovery.checkout.event import EventType
from checkout_recovery.delivery.retry_policy import expires_at
from checkout_recovery.errors import BrokenRecord, FieldError, MalformedRequest
from checkout_recovery.queues import MAX_DELAY, RejectedEvents, RejectedRequest, RetryMessage, RetryQueue

ODD = "x\uffff\ufffe\x00é☕"
NOW = datetime(2026, 5, 7, 10, tzinfo=UTC)


class Sqs:
    def __init__(self) -> None:
        self.bodies: list[str] = []
        self.delays: list[int] = []
        self.refused: list[str] = []
        self.fails = 0
        """How many calls from now on end with `code`."""
        self.code, self.status = "ServiceUnavailable", 503

    def send_message_batch(self, **call: Any) -> dict[str, Any]:
        if self.fails:
            self.fails -= 1
            error: Any = {"Error": {"Code": self.code}, "ResponseMetadata": {"HTTPStatusCode": self.status}}
            raise ClientError(error, "SendMessageBatch")
        self.bodies += [entry["MessageBody"] for entry in call["Entries"]]
        self.delays += [entry["DelaySeconds"] for entry in call["Entries"]]
        return {"Failed": [{"Id": refused} for refused in self.refused]}

    def send_message(self, **call: Any) -> dict[str, Any]:
        self.bodies.append(call["MessageBody"])
        return {}


def message(number: int = 0, wait: timedelta = timedelta(seconds=5)) -> RetryMessage:
    return RetryMessage(
        store_id="my-store",
        checkout_id=ODD,
        subscription_id="sub_1",
        delivery_id=f"dlv_{number}",
        event_id="evt_1",
        event_type=EventType.CREATED,
        event_time=NOW,
        sequence=1,
        attempts=1,
        reason="http",
        not_before=NOW + wait,
    )


def queue(sqs: Sqs) -> RetryQueue:
    return RetryQueue(sqs, "q")  # type: ignore[arg-type] # a fake


def test_an_id_that_sqs_would_refuse_is_written_in_ascii() -> None:
    sqs = Sqs()
    assert queue(sqs).send([message()], NOW) == frozenset()
    (body,) = sqs.bodies
    assert body.isascii()
    assert json.loads(body)["checkout_id"] == ODD


def test_what_sqs_refuses_of_a_batch_is_named() -> None:
    sqs = Sqs()
    sqs.refused = ["1"]
    assert queue(sqs).send([message(number) for number in range(3)], NOW) == {"dlv_1"}


def test_what_sqs_refuses_whole_is_named_whole_and_the_next_ten_are_sent() -> None:
    sqs = Sqs()
    sqs.fails = 1
    refused = queue(sqs).send([message(number) for number in range(13)], NOW)
    assert refused == {f"dlv_{number}" for number in range(10)}
    assert len(sqs.bodies) == 3


@pytest.mark.parametrize("code", ["AccessDenied", "QueueDoesNotExist", "KMS.DisabledException"])
def test_a_queue_that_is_not_there_refuses_everything_and_ends_nothing(code: str) -> None:
    """What was sent already has to be recorded all the same."""
    sqs = Sqs()
    sqs.fails, sqs.code, sqs.status = 1, code, 400
    assert queue(sqs).send([message()], NOW) == {"dlv_0"}


# ---------------------------------------------------------------- delays


@pytest.mark.parametrize(
    ("wait", "delay"),
    [
        (timedelta(days=-400), 0),
        (timedelta(microseconds=-1), 0),
        (timedelta(), 0),
        (timedelta(microseconds=1), 1),
        (timedelta(seconds=4, microseconds=999_999), 5),
        (timedelta(seconds=5), 5),
        (timedelta(minutes=15), 900),
        (timedelta(minutes=15, microseconds=1), 900),
        (timedelta(hours=8), 900),
    ],
)
def test_a_message_waits_until_it_is_due_or_as_long_as_sqs_can(wait: timedelta, delay: int) -> None:
    sqs = Sqs()
    queue(sqs).send([message(wait=wait)], NOW)
    assert sqs.delays == [delay]


@given(seconds=st.floats(0, 10 * 3600))
def test_hops_lead_to_the_time_and_are_no_more_than_they_must_be(seconds: float) -> None:
    sqs, now, hops = Sqs(), NOW, 0
    one = message(wait=timedelta(seconds=seconds))
    while now < one.not_before:
        queue(sqs).send([one], now)
        now += timedelta(seconds=sqs.delays[-1])
        hops += 1
    assert hops == math.ceil((one.not_before - NOW) / MAX_DELAY)
    assert now - one.not_before < timedelta(seconds=1)


# ---------------------------------------------------------------- what is read


def test_what_is_written_is_read_again() -> None:
    sqs = Sqs()
    queue(sqs).send([message()], NOW)
    assert RetryMessage.read(sqs.bodies[0]) == message()


def test_a_field_that_a_later_version_adds_is_passed_over() -> None:
    body = message().model_dump(mode="json") | {"later": {"x": 1}}
    assert RetryMessage.read(json.dumps(body)) == message()


@pytest.mark.parametrize(
    "body",
    [
        "",
        "null",
        "[]",
        "1e999",
        "{",
        '"' * 7,
        "\x00",
        "[" * 100_000,
        "{}",
        '{"version":1}',
    ],
)
def test_what_is_no_message_is_a_broken_record(body: str) -> None:
    with pytest.raises(BrokenRecord):
        RetryMessage.read(body)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", 1),
        ("version", 3),
        ("version", "2"),
        ("purpose", "resend"),
        ("store_id", None),
        ("store_id", 7),
        ("store_id", ""),
        ("store_id", "#circuits"),
        ("checkout_id", {"S": "c1"}),
        ("checkout_id", ""),
        ("checkout_id", "x" * 2000),
        ("subscription_id", ""),
        ("subscription_id", ["sub_1"]),
        ("delivery_id", ""),
        ("event_type", "checkout.stolen"),
        ("event_time", "2026-05-07T10:00:00"),
        ("event_time", "yesterday"),
        ("event_time", "99999-01-01T00:00:00Z"),
        ("event_time", 1e300),
        ("attempts", -1),
        ("attempts", 1.5),
        ("attempts", 10**30),
        ("attempts", 10**6 + 1),
        ("earlier", 10**15),
        ("asked_at", "9999-12-31T23:59:59Z"),
        ("sequence", -1),
        ("not_before", "9999-12-31T23:59:59-23:59"),
        ("not_before", None),
    ],
)
def test_a_message_with_a_field_that_makes_no_sense_is_a_broken_record(field: str, value: object) -> None:
    with pytest.raises(BrokenRecord):
        RetryMessage.read(json.dumps(message().model_dump(mode="json") | {field: value}))


@given(st.text() | st.binary().map(lambda data: data.decode("latin-1")))
def test_no_body_does_anything_but_be_read_or_be_broken(body: str) -> None:
    read: RetryMessage | None = None
    with contextlib.suppress(BrokenRecord):
        read = RetryMessage.read(body)
    assert read is None or RetryMessage.read(read.model_dump_json()) == read


@given(
    st.dictionaries(
        st.sampled_from(sorted(RetryMessage.model_fields)),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers()),
        min_size=1,
    )
)
def test_a_message_that_can_be_read_can_be_sent_on(fields: dict[str, object]) -> None:
    sqs = Sqs()
    try:
        one = RetryMessage.read(json.dumps(message().model_dump(mode="json") | fields))
    except BrokenRecord:
        return
    queue(sqs).send([one], NOW)
    assert 0 <= sqs.delays[0] <= 900
    assert expires_at(one.event) > one.event_time


def test_what_is_wrong_with_a_message_is_told_without_what_it_holds() -> None:
    with pytest.raises(BrokenRecord) as caught:
        RetryMessage.read(json.dumps({"checkout_id": ["9876543210"]}))
    assert "9876543210" not in str(caught.value)
    assert caught.value.__suppress_context__


# ---------------------------------------------------------------- rejected events


def test_a_rejected_event_is_kept_in_ascii_and_without_its_proof() -> None:
    sqs = Sqs()
    problem = MalformedRequest(errors=[FieldError(ODD, "is odd")])
    headers = {"x-shopify-hmac-sha256": "secret", "x-odd": ODD}
    RejectedEvents(sqs, "q").keep("shopify", "my-store", headers, b"\xff", problem, NOW)  # type: ignore[arg-type] # a fake
    (body,) = sqs.bodies
    assert body.isascii()
    assert json.loads(body)["headers"] == {"x-odd": ODD}


def test_a_request_that_was_kept_is_read_as_it_was_sent() -> None:
    kept, body = read_again(b"\xff{}")
    assert kept.content(at_most=3) == b"\xff{}"
    assert (kept.store_id, kept.source, kept.received_at) == ("my-store", "shopify", NOW)
    assert [error.field for error in kept.problem.errors] == [ODD]
    assert not kept.is_refused
    assert RejectedRequest.read(json.loads(body)) == kept


def test_a_kept_body_is_not_unpacked_beyond_what_a_request_may_have() -> None:
    kept, _ = read_again(b"0" * 1_000_000)
    with pytest.raises(BrokenRecord):
        kept.content(at_most=999_999)


def test_what_a_kept_request_said_is_in_nothing_that_shows_it() -> None:
    kept, _ = read_again(b"sesame")
    assert kept.body not in repr(kept)
    assert "x-odd" not in repr(kept)


@pytest.mark.parametrize("mark", ["", None, False, "unauthenticated"])
def test_a_kept_request_with_the_mark_was_refused_whatever_the_mark_says(mark: object) -> None:
    _, body = read_again(b"{}")
    assert RejectedRequest.read(json.loads(body) | {"refused": mark}).is_refused


def read_again(content: bytes) -> tuple[RejectedRequest, str]:
    sqs = Sqs()
    problem = MalformedRequest(errors=[FieldError(ODD, "is odd")])
    RejectedEvents(sqs, "q").keep("shopify", "my-store", {"x-odd": ODD}, content, problem, NOW)  # type: ignore[arg-type] # a fake
    (body,) = sqs.bodies
    return RejectedRequest.read(body), body
