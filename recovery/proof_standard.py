"""Standard Webhooks, judged by the specification's own library: our signer is never its own judge."""

import hashlib
import hmac
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from standardwebhooks.webhooks import Webhook

from recovery.moments import span
from recovery.proofs import (
    KEY_PREFIX,
    MILLISECONDS_FROM,
    Finding,
    age,
    equal,
    key_bytes,
    not_fitting,
    number,
    told_age,
    written,
)
from recovery.rewritings import earlier_bodies
from recovery.saved import Saved

_VERSION = "v1,"


@dataclass(frozen=True, slots=True)
class _Claim:
    """What the headers claim, and the key that is to prove it."""

    message_id: str
    timestamp: str
    signatures: tuple[str, ...]
    body: bytes
    key: str

    @property
    def decoded(self) -> bytes:
        return key_bytes(self.key) or b""

    def content(
        self, *, message_id: str | None = None, timestamp: str | None = None, body: bytes | None = None
    ) -> bytes:
        """What is signed, with one part exchanged for what the sender may have taken."""
        name = self.message_id if message_id is None else message_id
        at = self.timestamp if timestamp is None else timestamp
        return f"{name}.{at}.".encode(errors="surrogatepass") + (self.body if body is None else body)

    def is_signed(self, content: bytes, key: bytes | None = None) -> bool:
        """Whether one of the signatures is an HMAC of this, however it is written."""
        digest = hmac.digest(key or self.decoded, content, hashlib.sha256)
        spellings = [written(digest, in_hex=in_hex) for in_hex in (False, True)]
        return any(equal(spelling, one) for one in self.signatures for spelling in spellings)


def judge(saved: Saved, key: str, at: datetime, tolerance: timedelta) -> list[Finding]:
    """Whether the headers of Standard Webhooks prove the body.

    Args:
        saved: the request.
        key: ``whsec_`` and base64.
        at: when it is judged.
        tolerance: how far its timestamp may be from then.
    """
    claim = _Claim(
        message_id=saved.header("webhook-id") or "",
        timestamp=saved.header("webhook-timestamp") or "",
        signatures=_signatures(saved.header("webhook-signature") or ""),
        body=saved.body,
        key=key,
    )
    return [
        _message_id(claim.message_id),
        _age(claim.timestamp, at, tolerance),
        _key(key),
        *_signature(claim, saved),
    ]


def _signatures(header: str) -> tuple[str, ...]:
    return tuple(entry.removeprefix(_VERSION) for entry in header.split() if entry.startswith(_VERSION))


def _message_id(message_id: str) -> Finding:
    if not message_id:
        return Finding("message id", False, "there is no webhook-id, which the signature covers")
    return Finding("message id", True, "webhook-id is there")


def _age(timestamp: str, at: datetime, tolerance: timedelta) -> Finding:
    if not timestamp:
        return Finding("timestamp", False, "there is no webhook-timestamp, which the signature covers")
    seconds = number(timestamp)
    if seconds is None:
        return Finding("timestamp", False, "webhook-timestamp is not a whole number of seconds since 1970")
    if seconds >= MILLISECONDS_FROM:
        return Finding("timestamp", False, "webhook-timestamp is in milliseconds; it has to be in seconds")
    found = age(seconds * 1000, at)
    if abs(found) > tolerance:
        return Finding("timestamp", False, f"{told_age(found)}; at most {span(tolerance)} is believed")
    return Finding("timestamp", True, told_age(found))


def _key(key: str) -> Finding:
    if key_bytes(key) is None:
        return Finding("key", False, "the key is not whsec_ and base64")
    if not key.startswith(KEY_PREFIX):
        return Finding("key", True, "the key lacks its whsec_, which changes nothing")
    return Finding("key", True, "the key is whsec_ and base64")


def _signature(claim: _Claim, saved: Saved) -> list[Finding]:
    if not claim.signatures:
        return [Finding("signature", False, "webhook-signature has no entry v1,…")]
    fitting = [place for place, one in enumerate(claim.signatures, 1) if _fits(claim, one)]
    if not fitting:
        return not_fitting("signature", list(_mistakes(claim, saved)))
    of = len(claim.signatures)
    told = "it fits" if of == 1 else f"entry {fitting[0]} of {of} fits, as while a key is rotated"
    return [Finding("signature", True, told)]


def _fits(claim: _Claim, signature: str) -> bool:
    """Has the library sign the same; its `verify` has a clock of its own, and reads the body as JSON."""
    seconds = number(claim.timestamp)
    if not claim.decoded or not claim.message_id or seconds is None or seconds >= MILLISECONDS_FROM:
        return False
    try:
        body = claim.body.decode()
    except UnicodeDecodeError:
        return False
    made = Webhook(claim.decoded).sign(claim.message_id, datetime.fromtimestamp(seconds, UTC), body)
    return equal(made.removeprefix(_VERSION), signature)


def _mistakes(claim: _Claim, saved: Saved) -> Iterator[str]:
    yield from _mistaken_key(claim)
    if claim.decoded:
        yield from _mistaken_content(claim)
        yield from _mistaken_message_id(claim, saved)
        yield from _mistaken_body(claim)


def _mistaken_key(claim: _Claim) -> Iterator[str]:
    bare = claim.key.removeprefix(KEY_PREFIX)
    for using, told in ((claim.key, "the key's characters"), (bare, "the characters after whsec_")):
        if claim.is_signed(claim.content(), using.encode()):
            yield f"it was signed with {told}, not with the bytes that the base64 stands for"


def _mistaken_content(claim: _Claim) -> Iterator[str]:
    if claim.is_signed(claim.content()):
        yield "it is of the right content, but not written or dated as Standard Webhooks asks"
    for timestamp, told in ((claim.timestamp + "000", "milliseconds"), (claim.timestamp[:-3], "seconds")):
        if claim.is_signed(claim.content(timestamp=timestamp)):
            yield f"it was signed with the timestamp in {told}, and webhook-timestamp has another unit"
    at = claim.timestamp.encode(errors="surrogatepass")
    others = {
        "the body alone": claim.body,
        "timestamp and body, without a message id": at + claim.body,
        "timestamp.body, without a message id": at + b"." + claim.body,
    }
    for told, content in others.items():
        if claim.is_signed(content) or claim.is_signed(content, claim.key.encode()):
            yield f"it would have fitted as another recipe: it covers {told}"


def _mistaken_message_id(claim: _Claim, saved: Saved) -> Iterator[str]:
    for name, values in saved.headers.items():
        if name != "webhook-id" and any(claim.is_signed(claim.content(message_id=value)) for value in values):
            yield f"it was signed with {name} as the message id, not with webhook-id"
    if claim.is_signed(claim.content(message_id="")):
        yield "it was signed with an empty message id"


def _mistaken_body(claim: _Claim) -> Iterator[str]:
    for told, earlier in earlier_bodies(claim.body):
        if claim.is_signed(claim.content(body=earlier)):
            yield f"the body was re-serialised on the way: it was signed {told}"
            return
