"""Signatures over raw bytes: the HMAC recipes of checkout providers, and Standard Webhooks.

A webhook key is ``whsec_`` and base64 of 32 random bytes. Standard Webhooks signs with the decoded bytes;
every other contract uses the string's characters as they stand.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Iterable
from enum import StrEnum

WEBHOOK_KEY_PREFIX = "whsec_"


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
    """Signs raw body bytes; `timestamp` goes before them, with nothing between, where the recipe covers it."""
    content = timestamp.encode() + body if recipe.covers_timestamp else body
    digest = hmac.digest(key.encode(), content, hashlib.sha256)
    if recipe in (Recipe.HEX_BODY, Recipe.HEX_TIMESTAMP_BODY):
        return digest.hex()
    return base64.b64encode(digest).decode()


def is_signed(
    recipe: Recipe, keys: Iterable[str], body: bytes, signature: str, timestamp: str = ""
) -> bool:
    """Whether one of the keys made `signature`; takes as long for a wrong one as for a right one."""
    matches = [equal(sign(recipe, key, body, timestamp), signature) for key in keys]
    return any(matches)


def equal(secret: str, given: str) -> bool:
    """Compares in constant time; an empty secret equals nothing."""
    return hmac.compare_digest(secret.encode(), given.encode("utf-8", "surrogateescape")) and bool(secret)


def sign_standard(keys: Iterable[str], message_id: str, timestamp: int, body: bytes) -> str:
    """Returns a ``webhook-signature``: one ``v1,`` entry for each key, newest first.

    Args:
        timestamp: seconds since the epoch, as in the ``webhook-timestamp`` header.
    """
    content = f"{message_id}.{timestamp}.".encode() + body
    digests = (hmac.digest(key_bytes(key), content, hashlib.sha256) for key in keys)
    return " ".join("v1," + base64.b64encode(digest).decode() for digest in digests)


def key_bytes(key: str) -> bytes:
    """Decodes a webhook key.

    Raises:
        ValueError: not ``whsec_`` and base64.
    """
    if not key.startswith(WEBHOOK_KEY_PREFIX):
        raise ValueError("a webhook key starts with whsec_")
    try:
        return base64.b64decode(key.removeprefix(WEBHOOK_KEY_PREFIX), validate=True)
    except binascii.Error:
        raise ValueError("a webhook key ends in base64") from None
