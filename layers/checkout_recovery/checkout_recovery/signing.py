"""Signatures over raw bytes: the HMAC recipes of checkout providers, and Standard Webhooks.

A webhook key is ``whsec_`` and base64 of 32 random bytes. Standard Webhooks signs with the decoded bytes;
every other contract uses the string's characters as they stand.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable
from enum import StrEnum

WEBHOOK_KEY_PREFIX = "whsec_"

_ANY_TEXT = "surrogatepass"
"""A stranger's header may hold half a surrogate pair: that is a wrong signature, not an error."""


class Recipe(StrEnum):
    """What a sender's HMAC-SHA256 covers and how it is written. Never tried in turn: one is configured."""

    BASE64_BODY = "base64_body"
    HEX_BODY = "hex_body"
    BASE64_TIMESTAMP_BODY = "base64_timestamp_body"
    HEX_TIMESTAMP_BODY = "hex_timestamp_body"

    @property
    def covers_timestamp(self) -> bool:
        return self in (Recipe.BASE64_TIMESTAMP_BODY, Recipe.HEX_TIMESTAMP_BODY)


def new_webhook_key() -> str:
    """Makes a webhook key from 32 random bytes."""
    return WEBHOOK_KEY_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def sign(recipe: Recipe, key: str, body: bytes, timestamp: str = "") -> str:
    """Signs raw body bytes, with `timestamp` directly before them where the recipe covers it."""
    content = timestamp.encode(errors=_ANY_TEXT) + body if recipe.covers_timestamp else body
    digest = hmac.digest(key.encode(), content, hashlib.sha256)
    if recipe in (Recipe.HEX_BODY, Recipe.HEX_TIMESTAMP_BODY):
        return digest.hex()
    return base64.b64encode(digest).decode()


def is_signed(recipe: Recipe, keys: Iterable[str], body: bytes, signature: str, timestamp: str = "") -> bool:
    """Whether one of the keys made `signature`; takes as long for a wrong one as for a right one."""
    matches = [equal(sign(recipe, key, body, timestamp), signature) for key in keys if key]
    return any(matches)  # an empty key is no key: anybody could sign with it


def equal(secret: str, given: str) -> bool:
    """Compares in constant time; an empty secret equals nothing."""
    return hmac.compare_digest(secret.encode(), given.encode(errors=_ANY_TEXT)) and bool(secret)


def sign_standard(keys: Iterable[str], message_id: str, timestamp: int, body: bytes) -> str:
    """Returns a ``webhook-signature``: one ``v1,`` entry for each key, newest first.

    `timestamp` is in seconds since the epoch, as in the ``webhook-timestamp`` header.
    """
    content = f"{message_id}.{timestamp}.".encode() + body
    digests = (hmac.digest(key_bytes(key), content, hashlib.sha256) for key in keys)
    return " ".join("v1," + base64.b64encode(digest).decode() for digest in digests)


def key_bytes(key: str) -> bytes:
    """Decodes a webhook key.

    Raises:
        ValueError: not ``whsec_`` and base64 of at least a byte.
    """
    if not key.startswith(WEBHOOK_KEY_PREFIX):
        raise ValueError("a webhook key starts with whsec_")
    try:
        decoded = base64.b64decode(key.removeprefix(WEBHOOK_KEY_PREFIX), validate=True)
    except ValueError:
        raise ValueError("a webhook key ends in base64") from None
    if not decoded:
        raise ValueError("a webhook key holds at least a byte")
    return decoded
