"""The sweep: every checkout that has gone quiet is found abandoned, once, and within a minute of its time.

    the due index, shard by shard ─► the checkouts as they stand ─► their shoppers ─► abandon, if still due

The index only proposes: each checkout is read again and written on the condition that nothing has
happened to it since. So sweeps may overlap, die half-way or read an index that lags. What one does not get
to, the next finds, the longest due first.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from checkout_recovery.abandonment import Abandonments
from checkout_recovery.checkout.lifecycle import Checkout, Status, Unchanged
from checkout_recovery.checkout.shopper import Shopper
from checkout_recovery.errors import BrokenRecord, Unavailable
from checkout_recovery.observability import logger, measure
from checkout_recovery.subscriptions.store import StoreSettings
from checkout_recovery.tables.checkouts import CheckoutTable, Contended, Due, Outdated
from checkout_recovery.tables.registry import RegistryTable, Subscriptions
from checkout_recovery.tables.shoppers import NOBODY, Known, ShopperTable

_TRIES = 4
"""How often a checkout is decided anew because its shopper moved on meanwhile; then the next sweep has it."""


def pause(attempt: int) -> None:
    """Lets who is at work on the same shopper finish."""
    time.sleep(random.uniform(0.005, 0.03) * 2**attempt)  # noqa: S311 - hides nothing


@dataclass
class Swept:
    """What a sweep did."""

    found: Counter[str] = field(default_factory=Counter)
    """How many checkouts are now in which status; of the abandoned, why nobody is told."""
    abandoned: int = 0
    """How many it found abandoned, told or not."""
    failed: int = 0
    """How often a checkout or a page of the index could not be read or written: it is due still."""
    oldest: timedelta = timedelta()
    """How long the longest due had been due when it was looked at."""
    finished: bool = True
    """Whether all that was due was looked at."""

    def add(self, other: "Swept") -> None:
        self.found += other.found
        self.abandoned += other.abandoned
        self.failed += other.failed
        self.oldest = max(self.oldest, other.oldest)
        self.finished &= other.finished


class Sweep:
    """The use behind the schedule. Collaborators are arguments."""

    def __init__(
        self,
        *,
        registry: RegistryTable,
        checkouts: CheckoutTable,
        shoppers: ShopperTable,
        abandonments: Abandonments,
        now: Callable[[], datetime],
        pause: Callable[[int], None] = pause,
    ) -> None:
        self._registry = registry
        self._checkouts = checkouts
        self._shoppers = shoppers
        self._abandonments = abandonments
        self._now = now
        self._pause = pause

    def __call__(self, shards: Collection[int], has_time: Callable[[], bool]) -> Swept:
        """Looks at all that is due in some shards of the index, all of them at once.

        Args:
            shards: which.
            has_time: asked before each checkout; what is left then is for the next sweep.
        """
        for model in (Checkout, Shopper, StoreSettings):
            model.model_rebuild()  # built at its first use, and not for several threads at once
        stores = _Stores(self._registry)
        swept = Swept()
        with ThreadPoolExecutor(max_workers=max(1, len(shards))) as pool:
            for one in pool.map(lambda shard: self._shard(shard, stores, has_time), shards):
                swept.add(one)
        measure("OldestDueSeconds", swept.oldest.total_seconds())
        measure("Abandoned", swept.abandoned)
        measure("SweepFailures", swept.failed)
        logger.info("swept", extra={**swept.found, "failed": swept.failed, "finished": swept.finished})
        return swept

    def measure_circuits(self) -> None:
        """Measures how many circuits are open, for whoever is on call.

        It is no part of sweeping: where the table does not answer, this minute goes without the measure.
        """
        try:
            measure("CircuitsOpen", len(self._registry.open_circuits()))
        except Unavailable:
            logger.warning("open circuits not measured: the table is throttled or down")

    def _shard(self, shard: int, stores: "_Stores", has_time: Callable[[], bool]) -> Swept:
        swept = Swept()
        try:
            for page in self._checkouts.due(shard, self._now()):
                if page:
                    swept.oldest = max(swept.oldest, self._now() - page[0].due_at)
                if not self._page(page, stores, has_time, swept):
                    swept.finished = False
                    break
        except Unavailable:
            logger.warning("sweep stopped: a table is throttled or down", extra={"shard": shard})
            swept.failed += 1
            swept.finished = False
        return swept

    def _page(
        self, page: Sequence[Due], stores: "_Stores", has_time: Callable[[], bool], swept: Swept
    ) -> bool:
        """Looks at one page; returns whether there was time for all of it."""
        checkouts = self._checkouts.load_all([due.key for due in page])
        shoppers = self._shoppers.known_of({key: one.handles for key, one in checkouts.items() if one})
        in_a_row = 0
        for key in (due.key for due in page):
            if not has_time():
                return False
            if key not in checkouts:
                continue  # it is gone, and the index has not heard of it yet
            if self._look_at(key, checkouts[key], shoppers.get(key), stores, swept):
                in_a_row = 0
            else:
                in_a_row += 1
            if in_a_row == _TRIES:
                raise Unavailable("A table is throttled.")
        return True

    def _look_at(
        self,
        key: tuple[str, str],
        checkout: Checkout | None,
        known: Known | None,
        stores: "_Stores",
        swept: Swept,
    ) -> bool:
        """Decides one checkout; returns False where a table did not answer, as it may not for others."""
        try:
            found = self._decide(_readable(checkout), known or NOBODY, stores)
        except _StoreUnknown:
            swept.failed += 1
            swept.finished = False
            return True
        except Unavailable:
            swept.failed += 1
            swept.finished = False
            return False
        except Exception as error:  # noqa: BLE001 - one checkout that trips us must not keep the others from being found
            # Without the traceback, which could quote the shopper's data.
            fields = {"store_id": key[0], "checkout_id": key[1], "error": type(error).__name__}
            logger.error("a checkout could not be decided", extra=fields)
            swept.failed += 1
            return True
        swept.found[_outcome(found)] += 1
        swept.abandoned += isinstance(found, Checkout) and found.status is Status.ABANDONED
        return True

    def _decide(self, checkout: Checkout, known: Known, stores: "_Stores") -> Checkout | Unchanged:
        """Abandons a checkout if it is due."""
        for attempt in range(_TRIES):
            try:
                return self._abandonments.find(checkout, stores[checkout.store_id], known, self._now())
            except Outdated as outdated:
                checkout = outdated.current
            except Contended:
                self._pause(attempt)
            known = self._shoppers.known(checkout.handles)
        raise Contended("too many at once")


class _StoreUnknown(Exception):
    """A store's settings cannot be read: one store's trouble, which must not stop the others."""


class _Stores(dict[str, Subscriptions]):
    """The stores that a sweep meets, each read once, also where that fails."""

    def __init__(self, registry: RegistryTable) -> None:
        super().__init__()
        self._registry = registry
        self._unknown: set[str] = set()

    def __missing__(self, store_id: str) -> Subscriptions:
        if store_id in self._unknown:
            raise _StoreUnknown
        try:
            store = self[store_id] = self._registry.subscriptions(store_id)
        except Unavailable:
            self._unknown.add(store_id)
            raise _StoreUnknown from None
        return store


def _readable(checkout: Checkout | None) -> Checkout:
    if checkout is None:
        raise BrokenRecord("not a checkout")
    return checkout


def _outcome(found: Checkout | Unchanged) -> str:
    if isinstance(found, Unchanged):
        return found.value
    return (found.suppressed or found.status).value
