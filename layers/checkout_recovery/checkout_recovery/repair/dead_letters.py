"""The queues of what could not be done: how full they are, a look into them, and their messages done again.

    hold ─► a remedy treats each letter (see `remedies`) ─► delete what is done, release the rest

Only what has been done is deleted, and what an operator discards: so a call that dies half-way loses nothing,
and one that is repeated does no harm. What stays is held until the call ends: so it does not find the same
again.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Protocol

from checkout_recovery.dead_letter_queues import DeadLetterQueue, Depth, Letter, QueueName
from checkout_recovery.errors import FieldError, MalformedRequest, NotFound


class Fate(Enum):
    """What became of a letter."""

    DONE = auto()
    DISCARDED = auto()
    """Deleted, and nothing done for it: an operator wants it gone."""
    KEPT = auto()
    """There is nothing wrong with it that trying again would mend by itself."""
    FAILED = auto()
    """It is broken, or something that it needs was not there."""


_LEAVES = frozenset({Fate.DONE, Fate.DISCARDED})
NOT_DELETED = "the queue did not delete it"


@dataclass(frozen=True, slots=True)
class Treated:
    """A letter, and what became of it."""

    letter: Letter
    fate: Fate
    why: str = ""
    """Why it stays; a constant, nothing of the letter's."""


class Remedy(Protocol):
    """Does again what a queue's letters are about."""

    @property
    def at_once(self) -> int:
        """How many letters it takes care of in no more time than one."""
        ...

    def store_of(self, letter: Letter) -> str | None:
        """Whose a letter is; None where it does not say."""
        ...

    def __call__(self, letters: Sequence[Letter]) -> list[Treated]:
        """Treats letters."""
        ...


@dataclass(frozen=True, slots=True)
class Requeued:
    """What one call did."""

    counts: Mapping[Fate, int]
    left: int
    """How many messages the queue has now, about."""
    reasons: Mapping[str, int]
    """Why so many of them stay."""


class DeadLetters:
    """Collaborators are arguments."""

    def __init__(
        self,
        queues: Mapping[QueueName, DeadLetterQueue],
        remedies: Mapping[QueueName, Callable[[], Remedy]],
        discarding: Callable[[], Remedy],
    ) -> None:
        self._queues = queues
        self._remedies = remedies
        self._discarding = discarding

    def depths(self) -> dict[QueueName, Depth]:
        """Tells how full each queue is.

        Raises:
            Unavailable: SQS is throttled or down.
        """
        return {name: queue.depth() for name, queue in self._queues.items()}

    def look(self, name: str, limit: int, has_time: Callable[[], bool]) -> list[Letter]:
        """Looks at some of a queue's letters; they are held only meanwhile.

        Raises:
            NotFound: no such queue, or none of dead letters.
            Unavailable: SQS is throttled or down.
        """
        queue, held = self._queues[self._known(name)], list[Letter]()
        try:
            for letters in queue.hold(has_time):
                held += letters
                if len(held) >= limit:
                    break
        finally:
            queue.release(held)
        return held[:limit]

    def requeue(self, name: str, limit: int, store_id: str | None, has_time: Callable[[], bool]) -> Requeued:
        """Does again what letters are about: of a store, where one is named.

        Args:
            name: which queue.
            limit: how many are done at most. What stays does not count, so that it is in nobody's way.
            store_id: whose; all where it is None.
            has_time: whether another letter may be begun.

        Raises:
            NotFound: no such queue, or none of dead letters.
            MalformedRequest: a store is named for a queue whose letters are of many.
            Unavailable: SQS is throttled or down; what is done is done, and what is not comes back.
        """
        known = self._known(name)
        if store_id and known is QueueName.STREAM:
            raise MalformedRequest(errors=[FieldError("store_id", "A batch of the stream is of many stores")])
        return _treat(self._queues[known], self._remedies[known](), limit, store_id, has_time)

    def discard_refused(
        self, name: str, limit: int, store_id: str | None, has_time: Callable[[], bool]
    ) -> Requeued:
        """Deletes requests that were captured, and nothing else; takes none in. Arguments as of `requeue`.

        Raises:
            NotFound: no such queue, or none of dead letters.
            MalformedRequest: the queue has no captured requests.
            Unavailable: SQS is throttled or down; what is deleted is deleted.
        """
        known = self._known(name)
        if known is not QueueName.REJECTED:
            raise MalformedRequest(errors=[FieldError("discard_refused", "Only `rejected` has any")])
        return _treat(self._queues[known], self._discarding(), limit, store_id, has_time)

    def _known(self, name: str) -> QueueName:
        """The queue of this name, if it is one of dead letters."""
        known = next((each for each in self._remedies if each.value == name), None)
        if known is None:
            raise NotFound("There is no such queue of dead letters")
        return known


def _treat(
    queue: DeadLetterQueue, remedy: Remedy, limit: int, store_id: str | None, has_time: Callable[[], bool]
) -> Requeued:
    treated: list[Treated] = []
    held: list[Letter] = []
    try:
        for letters in queue.hold(has_time):
            held += letters
            theirs = [each for each in letters if store_id in (None, remedy.store_of(each))]
            while theirs and (room := limit - _left_by(treated)) and has_time():
                size = min(remedy.at_once, room)
                results, theirs = remedy(theirs[:size]), theirs[size:]
                leaving = [each.letter for each in results if each.fate in _LEAVES]
                undeleted = queue.delete(leaving)
                held = [letter for letter in held if letter not in leaving]
                treated += [_as_it_is(each, undeleted) for each in results]
            if _left_by(treated) >= limit:
                break
    finally:
        queue.release(held)
    return _told(treated, queue.depth())


def _as_it_is(treated: Treated, undeleted: Collection[Letter]) -> Treated:
    """What is done is done, but what is discarded is so only once it is gone."""
    if treated.fate is Fate.DISCARDED and treated.letter in undeleted:
        return replace(treated, fate=Fate.FAILED, why=NOT_DELETED)
    return treated


def _left_by(treated: Sequence[Treated]) -> int:
    return sum(each.fate in _LEAVES for each in treated)


def _told(treated: Sequence[Treated], depth: Depth) -> Requeued:
    return Requeued(
        Counter(each.fate for each in treated),
        depth.messages + depth.in_flight,
        Counter(each.why for each in treated if each.why),
    )
