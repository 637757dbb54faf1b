"""What is to prove who sent a request: which proofs there are, and what the judges of each have in common.

Where a proof does not fit, its judge looks for what was mistaken. Nothing secret is in a finding: neither a
key nor a signature that would fit.
"""

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from recovery.moments import span
from recovery.saved import Saved

KEY_PREFIX = "whsec_"
MILLISECONDS_FROM = 100_000_000_000
"""Seconds reach this figure in the year 5138; milliseconds had it in 1973."""
UNEXPLAINED = (
    "it does not fit, and no usual mistake explains it: another key, or a body that is not as it was sent"
)
_MOST_DIGITS = 15


class Scheme(StrEnum):
    STANDARD = "standard"
    CASHFREE = "cashfree"
    FLEXYPE = "flexype"


class Recipe(StrEnum):
    """What Cashfree's HMAC-SHA256 covers, and how it is written."""

    BASE64_BODY = "base64_body"
    HEX_BODY = "hex_body"
    BASE64_TIMESTAMP_BODY = "base64_timestamp_body"
    HEX_TIMESTAMP_BODY = "hex_timestamp_body"

    @property
    def covers_timestamp(self) -> bool:
        return "timestamp" in self.value

    def sign(self, key: bytes, body: bytes, timestamp: str = "") -> str:
        content = timestamp.encode(errors="surrogatepass") + body if self.covers_timestamp else body
        return written(hmac.digest(key, content, hashlib.sha256), in_hex=self.value.startswith("hex"))


HEADERS = {
    Scheme.STANDARD: "webhook-signature",
    Scheme.CASHFREE: "x-webhook-signature",
    Scheme.FLEXYPE: "x-flexype-authorization",
}
"""The header that carries each proof."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    check: str
    fits: bool
    says: str


def schemes_of(saved: Saved) -> list[Scheme]:
    """The proofs that a request carries."""
    return [scheme for scheme, header in HEADERS.items() if header in saved.headers]


def not_fitting(check: str, mistakes: list[str]) -> list[Finding]:
    """What to say of a proof that does not fit."""
    return [Finding(check, False, said) for said in dict.fromkeys(mistakes)] or [
        Finding(check, False, UNEXPLAINED)
    ]


def number(timestamp: str) -> int | None:
    """A timestamp header's number; None where it is none."""
    is_number = timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= _MOST_DIGITS
    return int(timestamp) if is_number else None


def age(milliseconds: int, at: datetime) -> timedelta:
    return at - datetime.fromtimestamp(0, UTC) - timedelta(milliseconds=milliseconds)


def told_age(age: timedelta) -> str:
    return f"it is {span(age)} {'old' if age >= timedelta() else 'ahead of the clock'}"


def written(digest: bytes, *, in_hex: bool) -> str:
    return digest.hex() if in_hex else base64.b64encode(digest).decode()


def key_bytes(key: str) -> bytes | None:
    """The bytes that a webhook key stands for; None where it is no base64."""
    return from_base64(key.removeprefix(KEY_PREFIX))


def from_base64(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True) or None
    except (binascii.Error, ValueError):
        return None


def equal(ours: str, given: str) -> bool:
    return hmac.compare_digest(ours.encode(errors="surrogatepass"), given.encode(errors="surrogatepass"))
