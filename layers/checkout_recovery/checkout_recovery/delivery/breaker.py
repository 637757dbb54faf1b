"""The circuit breaker: which receivers are left alone for a while because they do not answer.

It keeps what one warm environment has seen itself. An attempt that hangs holds up its whole batch, so every
batch that need not try a silent receiver is faster. Who has answered before is given more: a slow answer now
and then is no silence.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Receiver = tuple[str, str]
"""A subscription's id and its URL: one that has moved is another receiver, and starts afresh."""


@dataclass(slots=True)
class _Silence:
    """How long a receiver has not answered; times are seconds of the breaker's clock."""

    attempts: int = 0
    wait: float = 0.0
    probe_at: float = float("-inf")


class Breaker:
    """Counts attempts without an answer; any answer makes it forget them."""

    def __init__(
        self,
        *,
        failures: int,
        probe_after: float,
        probe_at_most: float,
        clock: Callable[[], float] = time.monotonic,
        capacity: int = 4096,
    ) -> None:
        """Starts knowing of no failure.

        Args:
            failures: attempts in a row without an answer that open the circuit.
            probe_after: seconds from then to the first probe; each that fails doubles the wait.
            probe_at_most: the longest wait, in seconds.
            clock: seconds from any start, never going back.
            capacity: receivers to remember, of those that fail and of those that have answered. Beyond it the
                one of which nothing was heard for longest is forgotten, as if it had never been attempted.
        """
        self._failures = failures
        self._probe_after = probe_after
        self._probe_at_most = probe_at_most
        self._clock = clock
        self._capacity = capacity
        self._silences: OrderedDict[Receiver, _Silence] = OrderedDict()
        self._answered: OrderedDict[Receiver, None] = OrderedDict()

    def allowance(self, receiver: Receiver) -> int:
        """How many attempts may go without an answer: none while it is open, one when a probe is due."""
        silence = self._silences.get(receiver)
        if silence is None:
            return self._failures
        if silence.attempts < self._failures:
            return self._failures - silence.attempts
        return int(self._clock() >= silence.probe_at)

    def has_opened(self, receiver: Receiver) -> bool:
        """Whether it is left alone because of its last attempts. A probe that fails later is no news."""
        silence = self._silences.get(receiver)
        return (
            silence is not None and silence.attempts >= self._failures and silence.wait == self._probe_after
        )

    def is_stranger(self, receiver: Receiver) -> bool:
        """Whether it was never attempted, as far as is remembered here."""
        return receiver not in self._answered and receiver not in self._silences

    def answered(self, receiver: Receiver) -> None:
        self._silences.pop(receiver, None)
        self._remember(self._answered, receiver, None)

    def unanswered(self, receiver: Receiver, *, held_up: bool = False) -> None:
        """Notes an attempt without an answer.

        Args:
            receiver: whose.
            held_up: whether it was waited for. From one that has never answered, once is enough.
        """
        silence = self._silences.pop(receiver, None) or _Silence()
        self._remember(self._silences, receiver, silence)
        silence.attempts += self._failures if held_up and receiver not in self._answered else 1
        now = self._clock()
        # Others that were in flight when the circuit opened fail before a probe is due: they prolong nothing.
        if silence.attempts >= self._failures and now >= silence.probe_at:
            silence.wait = min(silence.wait * 2 or self._probe_after, self._probe_at_most)
            silence.probe_at = now + silence.wait

    def _remember(self, known: OrderedDict[Receiver, Any], receiver: Receiver, what: _Silence | None) -> None:
        known[receiver] = what
        known.move_to_end(receiver)
        if len(known) > self._capacity:
            known.popitem(last=False)
