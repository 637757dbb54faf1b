"""What is written to the queues, with a client that remembers it."""

import json
from datetime import UTC, datetime
from typing import Any

from checkout_recovery.errors import FieldError, MalformedRequest
from checkout_recovery.queues import RejectedEvents, RetryMessage, RetryQueue

ODD = "x\uffff\ufffe\x00é☕"
NOW = datetime(2026, 5, 7, 10, tzinfo=UTC)


class Sqs:
    def __init__(self) -> None:
        self.bodies: list[str] = []
        self.refused: list[str] = []

    def send_message_batch(self, **call: Any) -> dict[str, Any]:
        self.bodies += [entry["MessageBody"] for entry in call["Entries"]]
        return {"Failed": [{"Id": refused} for refused in self.refused]}

    def send_message(self, **call: Any) -> dict[str, Any]:
        self.bodies.append(call["MessageBody"])
        return {}


def message(number: int = 0) -> RetryMessage:
    return RetryMessage(
        store_id="my-store",
        checkout_id=ODD,
        subscription_id="sub_1",
        delivery_id=f"dlv_{number}",
        event_id="evt_1",
        event_type="checkout.created",
        sequence=1,
        attempts=1,
        reason="http",
    )


def test_an_id_that_sqs_would_refuse_is_written_in_ascii() -> None:
    sqs = Sqs()
    assert RetryQueue(sqs, "q").send([(message(), 5)]) == frozenset()  # type: ignore[arg-type] # a fake
    (body,) = sqs.bodies
    assert body.isascii()
    assert json.loads(body)["checkout_id"] == ODD


def test_what_sqs_refuses_of_a_batch_is_named() -> None:
    sqs = Sqs()
    sqs.refused = ["1"]
    refused = RetryQueue(sqs, "q").send([(message(number), 5) for number in range(3)])  # type: ignore[arg-type] # a fake
    assert refused == {"dlv_1"}


def test_a_rejected_event_is_kept_in_ascii_and_without_its_proof() -> None:
    sqs = Sqs()
    problem = MalformedRequest(errors=[FieldError(ODD, "is odd")])
    headers = {"x-shopify-hmac-sha256": "secret", "x-odd": ODD}
    RejectedEvents(sqs, "q").keep("shopify", "my-store", headers, b"\xff", problem, NOW)  # type: ignore[arg-type] # a fake
    (body,) = sqs.bodies
    assert body.isascii()
    assert json.loads(body)["headers"] == {"x-odd": ODD}
