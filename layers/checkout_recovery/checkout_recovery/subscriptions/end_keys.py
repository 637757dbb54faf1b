"""Keys whose overlap has ended leave SSM. They sign no more from that moment on; this takes them away.

SSM cannot write on a condition, so the registry judges, as it does between two rotations: a new version is
claimed there first, on the condition that nothing has changed, and only then the parameter is written. A
rotation at the same moment is let through or refused as a whole, and its key never overwritten.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from checkout_recovery.errors import Conflict, ProblemError
from checkout_recovery.observability import logger
from checkout_recovery.secrets import WRITING, Secret, Secrets, parameter_value, subscription_secret
from checkout_recovery.subscriptions.subscription import Subscription
from checkout_recovery.subscriptions.version import next_version
from checkout_recovery.tables.overlaps import Overlap, Overlaps
from checkout_recovery.tables.registry import RegistryTable


@dataclass
class Ended:
    """What a run did."""

    removed: int = 0
    """Subscriptions without ended keys now."""
    failed: int = 0
    """Those that the next run tries again."""
    finished: bool = True
    """Whether all that had ended was looked at."""


class EndKeys:
    """The use behind the hourly schedule. Collaborators are arguments."""

    def __init__(
        self, registry: RegistryTable, overlaps: Overlaps, secrets: Secrets, now: Callable[[], datetime]
    ) -> None:
        self._registry = registry
        self._overlaps = overlaps
        self._secrets = secrets
        self._now = now

    def __call__(self, has_time: Callable[[], bool]) -> Ended:
        """Removes the keys that have ended, the longest ago first.

        Args:
            has_time: asked before each subscription; what is left then is for the next run.
        """
        run = Ended()
        for page in self._overlaps.ended(self._now()):
            for overlap in page:
                if not has_time():
                    run.finished = False
                    return run
                try:
                    self._end(overlap)
                except ProblemError as error:
                    run.failed += 1
                    logger.warning(
                        "An ended key could not be removed",
                        extra={"subscription_id": overlap.subscription_id, "problem": error.type},
                    )
                else:
                    run.removed += 1
        return run

    def _end(self, overlap: Overlap) -> None:
        """Removes a subscription's ended keys.

        Raises:
            Conflict: it is being changed at this moment.
            Unavailable: a part of AWS is throttled or down; repeated, it goes on.
        """
        subscription = self._registry.subscription(overlap.store_id, overlap.subscription_id)
        if subscription:
            self._remove(subscription)
        self._overlaps.forget(overlap)

    def _remove(self, before: Subscription) -> None:
        name = subscription_secret(before.store_id, before.subscription_id)
        held, now = self._secrets.read(name), self._now()
        if held and held.version != before.key_version and now - before.updated_at < WRITING:
            raise Conflict("The key is being rotated at this moment")
        lasting = held.without_ended(next_version(before.key_version, now), now) if held else None
        is_written = bool(held and lasting and lasting.keys != held.keys)
        after = replace(
            before,
            key_version=lasting.version if lasting and is_written else before.key_version,
            previous_key_expires_at=_running(before.previous_key_expires_at, now),
            updated_at=now,
        )
        if lasting and is_written:
            self._write(name, lasting, before, after)
        elif after.previous_key_expires_at != before.previous_key_expires_at:
            self._registry.update_subscription(before, after)

    def _write(self, name: str, lasting: Secret, before: Subscription, after: Subscription) -> None:
        parameter_value(lasting)  # refuses before the registry promises what SSM will not hold
        self._registry.update_subscription(before, after)
        self._secrets.put(name, lasting)


def _running(end: datetime | None, now: datetime) -> datetime | None:
    return end if end and now < end else None
