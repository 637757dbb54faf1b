"""The circuit breaker: which receivers are left alone for a while because they do not answer.

It keeps what one warm environment has seen itself, and only of receivers that failed last. An attempt that
hangs holds up its whole batch, so every batch that need not try a silent receiver is seconds faster.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

Receiver = tuple[str, str]
"""A subscription's id and its URL: one that has moved is another receiver, and starts afresh."""


@dataclass(slots=True)
class _Silence:
    """How long a receiver has not answered; times are seconds of the breaker's clock."""

    attempts: int = 0
    wait: float = 0.0
    probe_at: float = float("-inf")


class Breaker:
    """Counts attempts without an answer; any answer makes it forget the receiver."""

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
            capacity: receivers to remember. Beyond it the one whose last failure is oldest is forgotten, and
                is attempted as if it had never failed.
        """
        self._failures = failures
        self._probe_after = probe_after
        self._probe_at_most = probe_at_most
        self._clock = clock
        self._capacity = capacity
        self._silences: OrderedDict[Receiver, _Silence] = OrderedDict()

    def allowance(self, receiver: Receiver) -> int:
        """How many attempts may go without an answer: none while it is open, one when a probe is due."""
        silence = self._silences.get(receiver)
        if silence is None:
            return self._failures
        if silence.attempts < self._failures:
            return self._failures - silence.attempts
        return int(self._clock() >= silence.probe_at)

    def answered(self, receiver: Receiver) -> None:
        self._silences.pop(receiver, None)

    def unanswered(self, receiver: Receiver) -> None:
        silence = self._silences.pop(receiver, None) or _Silence()
        self._silences[receiver] = silence  # the last to be forgotten
        if len(self._silences) > self._capacity:
            self._silences.popitem(last=False)
        silence.attempts += 1
        now = self._clock()
        # Others that were in flight when the circuit opened fail before a probe is due: they prolong nothing.
        if silence.attempts >= self._failures and now >= silence.probe_at:
            silence.wait = min(silence.wait * 2 or self._probe_after, self._probe_at_most)
            silence.probe_at = now + silence.wait
