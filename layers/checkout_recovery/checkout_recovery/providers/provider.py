"""What a provider's adapter is: it says whether a request is the provider's, and reads it into snapshots."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple, Protocol

from checkout_recovery.checkout.order import Order
from checkout_recovery.checkout.snapshot import Details, Snapshot
from checkout_recovery.signing import Recipe


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came in."""

    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    """The raw bytes: what signatures cover."""

    def header(self, name: str) -> str | None:
        """Returns a header's text; None where it is absent or blank. What is no Unicode becomes ``?``."""
        return self.headers.get(name, "").encode(errors="replace").decode().strip() or None

    def digest(self) -> str:
        """Tells bodies apart: 12 hex digits."""
        return sha256(self.body).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a store has agreed with a provider."""

    secrets: tuple[str, ...]
    """The secrets valid now, newest first; during a rotation two."""
    recipe: Recipe = Recipe.BASE64_BODY


class Notice(NamedTuple):
    """What a provider's request says."""

    shops: frozenset[str]
    """The names by which it calls the shop: ids, and domains in lower case. Empty where it names none."""
    snapshots: tuple[Snapshot, ...] = ()
    orders: tuple[Order, ...] = ()
    redactions: tuple[Details, ...] = ()
    """The contacts of shoppers who are to be erased."""


class Provider(Protocol):
    """An adapter; each provider's module is one."""

    def is_authentic(self, request: Request, credentials: Credentials) -> bool:
        """Whether the request proves that the provider sent it. Reads nothing of the body but its bytes."""
        ...

    def read(self, request: Request) -> Notice:
        """Reads an authentic request.

        Raises:
            MalformedRequest: the request cannot be understood; the error names fields, never values.
        """
        ...
