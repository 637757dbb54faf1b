"""Secrets in SSM: SecureStrings under ``/{stack}/…``, cached in memory.

A reader says which version of a secret it knows to exist (the registry holds it, and has it before SSM does);
what is cached and older is fetched again until it is there, so a rotation takes effect at once. While SSM
throttles or is down, what is cached is served on. Rotations keep the old key valid for at least
`MIN_OVERLAP`, which is longer than any cache.
"""

import json
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import SystemRandom
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from checkout_recovery.errors import MalformedRequest, Unavailable
from checkout_recovery.tables.driver import driver_errors

if TYPE_CHECKING:
    from mypy_boto3_ssm.client import SSMClient

ADMIN_TOKEN = "admin-token"  # noqa: S105 - the parameter's name
"""The operator's token: the parameter's whole value."""

INDEX_KEY = "index-key"
"""The stack's key for hashing what shoppers are known by: the parameter's whole value, 64 hex digits."""

MIN_OVERLAP = timedelta(minutes=10)
"""How long at least a replaced key stays valid."""

MAX_KEYS = 3
"""How many keys a secret has at most: the current one and two that were replaced."""

WRITING = timedelta(seconds=30)
"""Longer than a call of the management API can take: a version that the registry has had for that long and
SSM has not is no longer being written; its write has failed."""

_MAX_VALUE_BYTES = 4096  # of a standard parameter
_KEY_BYTES = 100  # of a webhook key and its end, as they are written
_NAMES_PER_CALL = 10  # GetParameters and DeleteParameters
_TTL = 300.0
_JITTER = 0.1
_MISSING_TTL = 10.0
_MAX_CACHED = 2048
_MAX_MISSING = 256
_CHANCE = SystemRandom()
"""Asks the system each time: the copies of one snapshot of a function must not all choose alike."""

_logger = logging.getLogger(__name__)


def provider_secret(store_id: str, provider: str) -> str:
    """Where the secret that a store shares with a provider lies, below the stack."""
    return f"stores/{store_id}/providers/{provider}"


def subscription_secret(store_id: str, subscription_id: str) -> str:
    """Where a subscription's webhook keys and header values lie, below the stack."""
    return f"stores/{store_id}/subscriptions/{subscription_id}"


@dataclass(frozen=True, slots=True)
class Secret:
    """One parameter's content. Its repr shows nothing of it.

    Every replaced key is valid until its own end, however often the secret is rotated meanwhile; but of more
    than `MAX_KEYS` the oldest ends early, because a parameter has little room.
    """

    keys: tuple[str, ...] = field(repr=False)
    """Newest first: the current one, and those that were replaced."""
    version: int = 0
    ends: tuple[datetime, ...] = ()
    """Until when each replaced key is valid, in the order of `keys`."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def valid_keys(self, now: datetime) -> tuple[str, ...]:
        """The keys that are valid now, newest first."""
        return (self.keys[0], *(key for key, _ in self._replaced(now)))

    def rotated(self, key: str, version: int, now: datetime, overlap: timedelta) -> "Secret":
        """The secret with a new key; the one before it stays valid until the overlap ends."""
        replaced = [(self.keys[0], now + overlap), *self._replaced(now)]
        kept = [(old, end) for old, end in replaced if old != key][: MAX_KEYS - 1]
        return Secret((key, *(old for old, _ in kept)), version, tuple(end for _, end in kept), self.headers)

    def without_ended(self, version: int, now: datetime) -> "Secret":
        """The secret with those keys alone that are valid now."""
        replaced = self._replaced(now)
        keys = (self.keys[0], *(key for key, _ in replaced))
        return Secret(keys, version, tuple(end for _, end in replaced), self.headers)

    def _replaced(self, now: datetime) -> list[tuple[str, datetime]]:
        ends = zip(self.keys[1:], self.ends, strict=False)  # written by hand, a key without an end has ended
        return [(key, end) for key, end in ends if now < end]


@dataclass(slots=True)
class _Cached:
    secret: Secret
    fetched_at: float
    fresh_until: float
    good_for: int
    """The newest version that it answers for: its own, or a later one whose write has failed."""

    def is_fresh(self, version: int, now: float) -> bool:
        return now < self.fresh_until and version <= self.good_for

    def is_servable(self, version: int, now: float) -> bool:
        """Whether it is right even though SSM cannot be asked: it is current, or its overlap still runs."""
        return self.good_for >= version or now < self.fetched_at + MIN_OVERLAP.total_seconds()


class Secrets:
    """The stack's secrets, by their names below the stack."""

    def __init__(
        self,
        client: "SSMClient",
        stack: str,
        now: Callable[[], float] = time.time,
        random: Callable[[], float] = _CHANCE.random,
    ) -> None:
        self._client = client
        self._prefix = f"/{stack}/"
        self._now = now
        self._random = random
        self._cached: OrderedDict[str, _Cached] = OrderedDict()
        self._missing: OrderedDict[str, float] = OrderedDict()
        self._index_key: bytes | None = None

    def index_key(self) -> bytes:
        """Reads the stack's key for hashing, made by whoever first asks for it. It never changes.

        Raises:
            Unavailable: SSM does not answer.
        """
        if self._index_key is None:
            held = self._read_index_key() or self._make_index_key()
            self._index_key = bytes.fromhex(held)
        return self._index_key

    def _read_index_key(self) -> str | None:
        with driver_errors():
            answer = self._client.get_parameters(Names=[self._prefix + INDEX_KEY], WithDecryption=True)
        return next((parameter["Value"] for parameter in answer["Parameters"]), None)

    def _make_index_key(self) -> str:
        key = token_hex(32)
        try:
            with driver_errors():
                self._client.put_parameter(Name=self._prefix + INDEX_KEY, Value=key, Type="SecureString")
        except ClientError as error:
            if error.response["Error"]["Code"] != "ParameterAlreadyExists":
                raise
            # Another function made it at this moment, and SSM may take a moment to show it.
            if (held := self._read_index_key()) is None:
                raise Unavailable("The key for hashing is being made at this moment.") from None
            return held
        return key

    def get(self, name: str, version: int = 0) -> Secret | None:
        """Reads one secret; None where there is none.

        Raises:
            Unavailable: SSM does not answer and nothing is cached.
        """
        return self.get_many({name: version}).get(name)

    def read(self, name: str) -> Secret | None:
        """Reads one secret from SSM itself, whatever is cached; None where there is none.

        Raises:
            Unavailable: SSM does not answer.
        """
        self._cached.pop(name, None)
        self._missing.pop(name, None)
        return self.get(name)

    def get_many(self, wanted: Mapping[str, int]) -> dict[str, Secret]:
        """Reads secrets, each at least of the version wanted if SSM has it; what does not exist is absent.

        Raises:
            Unavailable: SSM does not answer and one of them is not cached.
        """
        found, unanswered = self._look_up(wanted)
        if unanswered:
            raise Unavailable("The secrets cannot be read.")
        return found

    def available(self, wanted: Mapping[str, int]) -> dict[str, Secret]:
        """Reads secrets like `get_many`, but leaves out those that cannot be had for now."""
        return self._look_up(wanted)[0]

    def _look_up(self, wanted: Mapping[str, int]) -> tuple[dict[str, Secret], bool]:
        now = self._now()
        due = [name for name, version in wanted.items() if self._is_due(name, version, now)]
        unanswered = self._fetch(due, wanted, now)
        found = {}
        for name in wanted.keys() - unanswered:
            if name in self._cached:
                self._cached.move_to_end(name)
                found[name] = self._cached[name].secret
        self._trim()
        return found, bool(unanswered)

    def put(self, name: str, secret: Secret) -> None:
        """Writes a secret.

        Raises:
            MalformedRequest: no parameter can hold it (see `parameter_value`).
            Unavailable: SSM does not answer.
        """
        value = parameter_value(secret)
        with driver_errors():
            self._client.put_parameter(
                Name=self._prefix + name, Value=value, Type="SecureString", Overwrite=True
            )
        self._remember(name, secret, secret.version, self._now())
        self._trim()

    def delete(self, names: Iterable[str]) -> None:
        """Deletes secrets; those that do not exist are no error.

        Raises:
            Unavailable: SSM does not answer.
        """
        for batch in _batches([self._prefix + name for name in names]):
            for full_name in batch:
                self._cached.pop(full_name.removeprefix(self._prefix), None)
            with driver_errors():
                self._client.delete_parameters(Names=batch)

    def _is_due(self, name: str, version: int, now: float) -> bool:
        cached = self._cached.get(name)
        if cached:
            return not cached.is_fresh(version, now)
        return version > 0 or self._missing.get(name, 0.0) <= now

    def _fetch(self, names: list[str], wanted: Mapping[str, int], now: float) -> set[str]:
        """Asks SSM; returns the names that it did not answer for and that the cache cannot serve."""
        unanswered: set[str] = set()
        for batch in _batches([self._prefix + name for name in names]):
            try:
                with driver_errors():
                    answer = self._client.get_parameters(Names=batch, WithDecryption=True)
            except Unavailable:
                unanswered |= self._unservable(
                    [name.removeprefix(self._prefix) for name in batch], wanted, now
                )
                continue
            for parameter in answer["Parameters"]:
                name = parameter["Name"].removeprefix(self._prefix)
                self._take(name, parameter["Value"], wanted[name], now)
            for full_name in answer["InvalidParameters"]:
                name = full_name.removeprefix(self._prefix)
                self._miss(name, wanted[name], now)
        return unanswered

    def _take(self, name: str, value: str, sought: int, now: float) -> None:
        try:
            secret = Secret((value,)) if name == ADMIN_TOKEN else _read(value)
        except (TypeError, ValueError):  # somebody wrote it by hand; the others are still good
            _logger.error("A secret cannot be read", extra={"secret": name})  # noqa: TRY400 - the error quotes it
            self._miss(name, sought, now)
        else:
            # A version is the time at which it was made, in milliseconds (see `subscriptions.version`).
            has_failed = now >= sought / 1000 + WRITING.total_seconds()
            self._remember(name, secret, max(secret.version, sought if has_failed else 0), now)

    def _remember(self, name: str, secret: Secret, good_for: int, now: float) -> None:
        self._missing.pop(name, None)
        self._cached[name] = _Cached(secret, now, now + self._jittered(_TTL), good_for)

    def _miss(self, name: str, sought: int, now: float) -> None:
        self._cached.pop(name, None)
        if sought == 0:  # any other is known to exist, and may be written at this moment
            self._missing[name] = now + _MISSING_TTL

    def _unservable(self, names: Iterable[str], wanted: Mapping[str, int], now: float) -> set[str]:
        """Leaves what is cached in place, to ask again after a while; returns what cannot be served."""
        _logger.warning("SSM does not answer: secrets are served from the cache")
        unservable = set()
        for name in names:
            cached = self._cached.get(name)
            if cached is None or not cached.is_servable(wanted[name], now):
                unservable.add(name)
            else:
                cached.fresh_until = now + self._jittered(_MISSING_TTL)
        return unservable

    def _jittered(self, seconds: float) -> float:
        """Spreads refreshes, so that functions started together do not ask SSM together."""
        return seconds * (1 + _JITTER * (2 * self._random() - 1))

    def _trim(self) -> None:
        while len(self._cached) > _MAX_CACHED:
            self._cached.popitem(last=False)
        while len(self._missing) > _MAX_MISSING:
            self._missing.popitem(last=False)


def _batches(names: list[str]) -> Iterable[list[str]]:
    return (names[at : at + _NAMES_PER_CALL] for at in range(0, len(names), _NAMES_PER_CALL))


def parameter_value(secret: Secret) -> str:
    """Writes a secret as its parameter holds it. What another store shall agree with is checked by it first.

    Raises:
        MalformedRequest: it does not fit a parameter of 4 KiB, with room for the keys of rotations to come,
            or holds ``{{``, which SSM takes for the name of another parameter.
    """
    value = _write(secret)
    room = _MAX_VALUE_BYTES - _KEY_BYTES * (MAX_KEYS - len(secret.keys))
    if len(value.encode()) > room:
        raise MalformedRequest("The secrets are longer than 4 KiB together")
    if "{{" in value:
        raise MalformedRequest("A secret cannot hold two opening braces in a row")
    return value


def _write(secret: Secret) -> str:
    value: dict[str, Any] = {"keys": secret.keys, "version": secret.version}
    if secret.ends:
        value["ends"] = [end.isoformat() for end in secret.ends]
    if secret.headers:
        value["headers"] = dict(secret.headers)
    return json.dumps(value, ensure_ascii=False)


def _read(value: str) -> Secret:
    match json.loads(value):
        case {"keys": [str(), *_] as keys, "version": int(version)} as fields:
            return Secret(
                keys=tuple(map(str, keys)),
                version=version,
                ends=tuple(map(datetime.fromisoformat, fields.get("ends", []))),
                headers=fields.get("headers", {}),
            )
    raise ValueError("not a secret as this package writes it")
