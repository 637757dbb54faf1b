"""The circuit breaker of a subscription, as all functions share it (RegistryTable has it while it is open).

    closed ──FAILURES in a row, or silence──► open ──a probe succeeds──► closed
    untried ──a probe fails─────────────────►  │ each probe doubles the wait
       │                                       └─ FAILING_AT_MOST without a success ──► disabled
       └─ a probe succeeds ──► closed

Silence is what the sender makes of attempts that were not answered (`delivery.breaker`). A receiver of which
nothing is known is untried: its subscription is new, was moved, or was stopped and is started again. Where
others of its store would wait for its answer, its first attempt is a probe. While the circuit is open, what
is for the subscription waits in the RetryQueue. Whoever finds a probe due claims it by moving `probe_at`
before the attempt, so that of many functions one probes, and a probe that fails needs no further write.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Self

FAILURES = 5
"""In a row, and without a success between them, as one warm function sees them."""
FIRST_WAIT = timedelta(seconds=5)
"""Until the first probe: what was a moment's trouble is over by then."""
NEXT_WAIT = timedelta(seconds=30)
LONGEST_WAIT = timedelta(minutes=10)
UNTRIED_WAIT = timedelta(seconds=1)
"""While somebody else probes an untried receiver: it takes as long as an answer does."""
FAILING_AT_MOST = timedelta(days=5)
"""After so long without any success a subscription is disabled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Circuit:
    """An open circuit; a closed one is not kept."""

    store_id: str
    subscription_id: str
    failing_since: datetime
    """When it opened; there has been no success since. Of one that is untried: when that began."""
    probe_at: datetime
    """When the next attempt may be made."""
    wait: timedelta
    """How long the probe after the next one waits for it."""
    is_told: bool = False
    """Whether the operator has been told that the subscription fails, or was disabled."""
    is_untried: bool = False
    """Whether no attempt has ended yet."""

    @classmethod
    def untried(cls, store_id: str, subscription_id: str, now: datetime, *, is_told: bool = False) -> Self:
        """Waits for the first attempt, which may be made at once."""
        opened = cls.opened(store_id, subscription_id, now, is_told=is_told)
        return replace(opened, probe_at=now, is_untried=True)

    @classmethod
    def opened(cls, store_id: str, subscription_id: str, now: datetime, *, is_told: bool = False) -> Self:
        """Opens for a subscription that fails."""
        return cls(
            store_id=store_id,
            subscription_id=subscription_id,
            failing_since=now,
            probe_at=now + FIRST_WAIT,
            wait=NEXT_WAIT,
            is_told=is_told,
        )

    def claimed(self, now: datetime) -> "Circuit":
        """The circuit once a probe has been claimed. A first probe that failed is told to the operator."""
        if self.is_untried:
            return replace(self, probe_at=now + self.wait)
        return replace(
            self,
            probe_at=now + self.wait,
            wait=min(self.wait * 2, LONGEST_WAIT),
            is_told=self.is_told or self.wait > NEXT_WAIT,
        )

    def is_hopeless(self, now: datetime) -> bool:
        """Whether it has failed for so long, and so often, that the subscription is to be disabled."""
        return self.wait == LONGEST_WAIT and now - self.failing_since >= FAILING_AT_MOST
