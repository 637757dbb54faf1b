"""The HTTP API's requests and answers, as Lambda has them (payload format 2.0)."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from checkout_recovery import json_codec
from checkout_recovery.errors import MalformedRequest, ProblemError, TooLarge, Unavailable

MAX_BODY_BYTES = 256 * 1024
JSON_TYPE = "application/json"
PROBLEM_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = "5"
"""When a throttled or restarting part of AWS is worth asking again."""


def body_of(event: Mapping[str, Any]) -> bytes:
    """Returns the raw bytes of a request's body: what signatures cover.

    Raises:
        TooLarge: more than `MAX_BODY_BYTES`.
        MalformedRequest: the gateway's own encoding is broken.
    """
    text = event.get("body") or ""
    if len(text) > MAX_BODY_BYTES * 4 // 3 + 4:  # not even base64 of a body that is allowed
        raise TooLarge(f"At most {MAX_BODY_BYTES} bytes")
    try:
        body = base64.b64decode(text) if event.get("isBase64Encoded") else text.encode()
    except (binascii.Error, UnicodeEncodeError):
        raise MalformedRequest("The body cannot be decoded") from None
    if len(body) > MAX_BODY_BYTES:
        raise TooLarge(f"At most {MAX_BODY_BYTES} bytes")
    return body


def headers_of(event: Mapping[str, Any]) -> dict[str, str]:
    """Returns a request's headers, names in lower case."""
    return {name.lower(): value for name, value in (event.get("headers") or {}).items()}


def json_of(event: Mapping[str, Any]) -> Any:
    """Reads a request's body as JSON; no body is an empty object.

    Raises:
        TooLarge: more than `MAX_BODY_BYTES`.
        MalformedRequest: it is not JSON that can be kept faithfully.
    """
    body = body_of(event)
    return json_codec.parse(body) if body.strip() else {}


def answer(status: int, body: Mapping[str, Any]) -> dict[str, Any]:
    """An answer in JSON."""
    return _answer(status, JSON_TYPE, json_codec.dumps(body))


def problem(error: ProblemError) -> dict[str, Any]:
    """What the caller is told of an error, by RFC 9457."""
    told = _answer(error.status, PROBLEM_TYPE, json_codec.dumps(error.problem()))
    if isinstance(error, Unavailable):
        told["headers"]["retry-after"] = RETRY_AFTER_SECONDS
    return told


def _answer(status: int, content_type: str, body: str) -> dict[str, Any]:
    # A secret that is shown once must not stay in anybody's cache.
    headers = {"content-type": content_type, "cache-control": "no-store"}
    return {"statusCode": status, "headers": headers, "body": body, "isBase64Encoded": False}
