"""Bearer tokens: the operator's, and one for each store.

A token is shown once and kept as its SHA-256: 256 random bits need no salt and no slow hash. A store's token
names its store, so that one look-up finds what to compare it with. Only the standard library: the authorizer
imports this on every cold start.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

_ADMIN = re.compile(r"cra_[A-Za-z0-9_-]{32,128}", re.ASCII)
_STORE = re.compile(r"crs_(?P<store_id>[A-Za-z0-9][A-Za-z0-9._-]{0,63})\.[A-Za-z0-9_-]{43}", re.ASCII)
_BEARER = re.compile(r"bearer +(?P<token>[A-Za-z0-9._-]{1,256})", re.ASCII | re.IGNORECASE)
_RANDOM_BYTES = 32

NO_HASH = "0" * 64
"""Equals no token's hash: compared with where there is no such store."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token that has the form of one. Whether it is valid is not said yet."""

    text: str = field(repr=False)
    store_id: str | None
    """Whose it claims to be; None for the operator's."""

    @property
    def hash(self) -> str:
        return token_hash(self.text)


def new_store_token(store_id: str, random: Callable[[int], str] = secrets.token_urlsafe) -> str:
    """Makes a store's token: ``crs_{store_id}.`` and 43 characters."""
    return f"crs_{store_id}.{random(_RANDOM_BYTES)}"


def new_admin_token(random: Callable[[int], str] = secrets.token_urlsafe) -> str:
    """Makes an operator's token: ``cra_`` and 43 characters."""
    return "cra_" + random(_RANDOM_BYTES)


def read_bearer(authorization: str) -> Token | None:
    """Reads an ``Authorization`` header; None where it holds no token of ours."""
    header = _BEARER.fullmatch(authorization.strip())
    if not header:
        return None
    text = header["token"]
    if _ADMIN.fullmatch(text):
        return Token(text, None)
    store = _STORE.fullmatch(text)
    return Token(text, store["store_id"]) if store else None


def token_hash(token: str) -> str:
    """What is kept of a token: its SHA-256 in hex."""
    return hashlib.sha256(token.encode()).hexdigest()


def is_token(token: Token, expected_hash: str) -> bool:
    """Compares in constant time."""
    return hmac.compare_digest(token.hash, expected_hash)
