import base64
import json

import pytest

from checkout_recovery.errors import FieldError, MalformedRequest, TooLarge
from checkout_recovery.http_api import MAX_BODY_BYTES, answer, body_of, headers_of, json_of, problem


def test_a_body_is_the_bytes_that_were_sent() -> None:
    assert body_of({"body": "\u00e9"}) == b"\xc3\xa9"
    encoded = base64.b64encode(b"\xff\x00").decode()
    assert body_of({"body": encoded, "isBase64Encoded": True}) == b"\xff\x00"
    assert body_of({}) == body_of({"body": None}) == b""


@pytest.mark.parametrize("encoded", [True, False])
def test_a_body_has_a_limit(encoded: bool) -> None:
    def event(size: int) -> dict[str, object]:
        text = base64.b64encode(b"x" * size).decode() if encoded else "x" * size
        return {"body": text, "isBase64Encoded": encoded}

    assert len(body_of(event(MAX_BODY_BYTES))) == MAX_BODY_BYTES
    for size in (MAX_BODY_BYTES + 1, MAX_BODY_BYTES * 4):
        with pytest.raises(TooLarge):
            body_of(event(size))


@pytest.mark.parametrize("event", [{"body": "a", "isBase64Encoded": True}, {"body": "\ud800"}])
def test_a_body_that_cannot_be_decoded_is_malformed(event: dict[str, object]) -> None:
    with pytest.raises(MalformedRequest):
        body_of(event)


def test_no_body_is_an_empty_object() -> None:
    assert json_of({}) == json_of({"body": " \n"}) == {}


def test_header_names_are_in_lower_case() -> None:
    assert headers_of({"headers": {"X-Event-Id": "E"}}) == {"x-event-id": "E"}
    assert headers_of({}) == headers_of({"headers": None}) == {}


def test_a_problem_is_a_problem_document() -> None:
    told = problem(MalformedRequest("detail", [FieldError("field", "message")]))
    assert told["statusCode"] == 422
    assert told["headers"]["content-type"] == "application/problem+json"
    assert json.loads(told["body"]) == {
        "type": "/problems/malformed-request",
        "title": "The request was not understood",
        "status": 422,
        "detail": "detail",
        "errors": [{"field": "field", "message": "message"}],
    }


def test_an_answer_is_json() -> None:
    assert json.loads(answer(200, {"a": 1})["body"]) == {"a": 1}
