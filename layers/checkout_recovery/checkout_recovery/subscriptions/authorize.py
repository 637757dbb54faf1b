"""Whose a bearer token is. The answer depends on the token alone: the gateway caches it by the token."""

from dataclasses import dataclass
from typing import Literal

from checkout_recovery.secrets import ADMIN_TOKEN, Secrets
from checkout_recovery.subscriptions.tokens import NO_HASH, Token, is_token, read_bearer, token_hash
from checkout_recovery.tables.token_hashes import TokenHashes


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: the operator, or one store."""

    scope: Literal["admin", "store"]
    store_id: str = ""


class Authorize:
    """The use behind the gateway's authorizer. Collaborators are arguments."""

    def __init__(self, hashes: TokenHashes, secrets: Secrets) -> None:
        self._hashes = hashes
        self._secrets = secrets

    def __call__(self, authorization: str) -> Caller | None:
        """Returns who calls; None for an unknown store and for a wrong token alike.

        Raises:
            Unavailable: it cannot be said; this must not be cached as a refusal.
        """
        token = read_bearer(authorization)
        if token is None:
            return None
        if not is_token(token, self._expected_hash(token)):
            return None
        return Caller("store", token.store_id) if token.store_id else Caller("admin")

    def _expected_hash(self, token: Token) -> str:
        if token.store_id:
            return self._hashes.of_store(token.store_id) or NO_HASH
        admin = self._secrets.get(ADMIN_TOKEN)
        return token_hash(admin.keys[0]) if admin else NO_HASH
