"""How cost and limits grow with the checkouts a day.

Pure: what one snapshot, one abandonment and one purchase take comes in as it was measured (see `per_item`),
what a day is like as assumptions, and what AWS charges and allows as it publishes them.
"""

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.prices import dollars

CHECKOUTS, DUE, ALIAS = "CheckoutTable", "index `due`", "index `alias`"
SHOPPERS, DELIVERIES, REGISTRY = "ShopperTable", "DeliveryTable", "RegistryTable"
PARTS = (CHECKOUTS, DUE, ALIAS, SHOPPERS, DELIVERIES, REGISTRY)

FIRST = "first snapshot, no contact yet"
FIRST_WITH_CONTACT = "first snapshot, with phone and e-mail"
CONTACT = "later snapshot, the first with phone and e-mail"
LATER = "later snapshot, the contact as before"
RESUMED = "snapshot of an abandoned checkout"
BOUGHT = "purchase, told by a snapshot"
TOLD = "abandonment, told"
COOLDOWN = "abandonment, held back: `cooldown`"
NO_CONTACT = "abandonment, held back: `no_contact`"
EMPTY = "sweep of a shard with nothing due"
DELIVERY = "delivery, looked up and recorded"

SECONDS_A_DAY, MINUTES_A_DAY, DAYS_A_MONTH = 86_400, 1_440, 30
MINUTES_A_MONTH = MINUTES_A_DAY * DAYS_A_MONTH
KB, GB, MILLION = 1_024, 1e9, 1e6
ITEM_OVERHEAD = 100
"""Bytes that DynamoDB adds to each item where it counts what is stored."""


@dataclass(frozen=True, slots=True)
class Work:
    """What one thing takes of DynamoDB."""

    calls: float = 0
    reads: Mapping[str, float] = field(default_factory=dict)
    """Read request units by part."""
    writes: Mapping[str, float] = field(default_factory=dict)
    """Write request units by part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What was measured."""

    work: Mapping[str, Work]
    """By what happens."""
    told_microseconds: float
    """CPU of the sweep for an abandonment that is told."""
    held_back_microseconds: float
    """The same for one that is not."""
    store_microseconds: float
    """CPU of reading a store's subscriptions."""
    shard_microseconds: float
    """CPU of a shard with nothing due."""
    checkout_bytes: float
    """Of a checkout's item at its end."""
    link_bytes: float
    """Of ShopperTable's items for one checkout with a contact, as they are stored."""
    delivery_bytes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """What is assumed of a day. Shares are of all checkouts."""

    snapshots: float = 4
    with_contact: float = 0.6
    bought: float = 0.3
    in_cooldown: float = 0.03
    returned: float = 0.05
    """Told of, come back, and gone again within the cooldown."""
    peak: float = 4
    """Of the busiest minute over the average."""
    checkouts_a_store: float = 1_000
    subscriptions: float = 1
    """A store's, to every event."""
    at_night: float = 0.15
    """Within the quiet hours, if every store had them."""
    retention_days: float = 90
    delivery_retention_days: float = 90

    @property
    def times(self) -> dict[str, float]:
        """How often each thing happens to a checkout."""
        often = {
            FIRST: 1,
            CONTACT: self.with_contact,
            LATER: self.snapshots - 1 - self.with_contact - self.bought,
            RESUMED: self.returned,
            BOUGHT: self.bought,
            TOLD: self.with_contact - self.bought - self.in_cooldown,
            COOLDOWN: self.in_cooldown + self.returned,
            NO_CONTACT: 1 - self.with_contact,
        }
        return often | {DELIVERY: sum(often.values()) * self.subscriptions}

    @property
    def swept(self) -> float:
        """How often the sweep finds a checkout abandoned."""
        return sum(self.times[name] for name in (TOLD, COOLDOWN, NO_CONTACT))


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """US dollars in ap-south-1, of prices.toml."""

    million_writes: float = dollars("dynamodb_million_writes")
    million_reads: float = dollars("dynamodb_million_reads")
    gigabyte_month: float = dollars("dynamodb_gigabyte_month")
    gigabyte_second: float = dollars("lambda_arm_gigabyte_second")
    """Of Lambda on arm64."""
    million_requests: float = dollars("lambda_million_requests")
    """Of Lambda."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweeping:
    """How the sweep is deployed, and what is assumed of where it runs."""

    default_shards: int
    shards_a_run: int
    memory_mb: int
    seconds: float
    """Of each minute: the timeout without its reserve."""
    slower: float = 2
    """How much more CPU time Lambda's processor takes than the one that was measured on."""
    call_seconds: float = 0.010
    transaction_seconds: float = 0.020


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What AWS allows unless one asks for more, and what the template sets."""

    key_writes: float = 1_000
    """Write units a second for one partition key whose sort key only grows."""
    planned: float = 0.5
    """The share of that which is planned with."""
    table_writes: float = 40_000
    """Write units a second of a table, or of an index."""
    new_table_writes: float = 4_000
    gateway_requests: float = 10_000
    """A second, of an account."""
    executions: float = 1_000
    """Of Lambda at once, of an account."""
    ingest_seconds: float = 0.05
    """How long a snapshot is assumed to take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """So many checkouts a day, and what they need and cost."""

    checkouts_a_day: float
    measured: Measured
    sweeping: Sweeping
    day: Day = Day()
    prices: Prices = Prices()
    limits: Limits = Limits()

    # ------------------------------------------------------------ a second

    @property
    def snapshots(self) -> float:
        """A second, on average."""
        return self._a_second * (self.day.snapshots + self.day.returned)

    def writes(self, part: str) -> float:
        """Write units a second, on average."""
        return self._a_second * together(self.measured.work, self.day.times).writes.get(part, 0)

    # ------------------------------------------------------------ the sweep

    @property
    def index_shards(self) -> int:
        """As many as the index needs at peak."""
        peak = self.writes(DUE) * self.day.peak
        return max(1, math.ceil(peak / (self.limits.key_writes * self.limits.planned)))

    @property
    def shards(self) -> int:
        """DueShards: as many as the index and the sweep need, whose runs share them; at least the default."""
        shards = max(self.index_shards, self.sweeping.default_shards)
        while self.run_seconds(shards, self.due_at_peak) > self.sweeping.seconds:
            shards += 1
        return shards

    def runs(self, shards: int) -> int:
        """How many the sweep starts each minute."""
        return math.ceil(shards / self.sweeping.shards_a_run)

    @property
    def due_at_peak(self) -> float:
        """Checkouts that become due in the busiest minute."""
        return self.due * self.day.peak

    @property
    def due(self) -> float:
        """Checkouts that become due in a minute, on average."""
        return self.checkouts_a_day / MINUTES_A_DAY * self.day.swept

    def run_seconds(self, shards: int, due: float) -> float:
        """How long the busiest run takes: its CPU, or the calls that a shard makes one after another."""
        own = min(shards, self.sweeping.shards_a_run)
        stores = self._stores_met(due * own / shards)
        sweeping = self.sweeping
        each = self._mean(sweeping.transaction_seconds, sweeping.call_seconds)
        calls = due / shards * each + (stores / own + 2) * sweeping.call_seconds
        return max(self._cpu_seconds(due * own / shards, own, stores), calls)

    def cpu_seconds(self, shards: int, due: float) -> float:
        """Of all runs together."""
        runs = self.runs(shards)
        return runs * self._cpu_seconds(due / runs, shards / runs, self._stores_met(due / runs))

    def morning_minutes(self, shards: int) -> float:
        """Until all that was put off until the end of the quiet hours is told."""
        told = self.checkouts_a_day * self.day.at_night * self.day.times[TOLD]
        return self.run_seconds(shards, told) / self.sweeping.seconds

    # ------------------------------------------------------------ a month

    def dollars(self, part: str) -> float:
        """For the requests of a table or an index."""
        prices, work = self.prices, together(self.measured.work, self.day.times)
        checkouts = self.checkouts_a_day * DAYS_A_MONTH
        sweeps = self.measured.work[EMPTY].reads.get(part, 0) * self.shards * MINUTES_A_MONTH
        stores = self._stores_read * MINUTES_A_MONTH if part == REGISTRY else 0
        reads = work.reads.get(part, 0) * checkouts + sweeps + stores
        writes = work.writes.get(part, 0) * checkouts
        return (writes * prices.million_writes + reads * prices.million_reads) / MILLION

    @property
    def sweep_dollars(self) -> float:
        """For the sweep's Lambda function."""
        runs = self.runs(self.shards) * MINUTES_A_MONTH
        gigabytes = self.sweeping.memory_mb / KB
        duration = self.run_seconds(self.shards, self.due) * gigabytes * self.prices.gigabyte_second
        return runs * (duration + self.prices.million_requests / MILLION)

    @property
    def storage_dollars(self) -> float:
        """Once as much is deleted as comes."""
        day = self.day
        kept = self.measured.checkout_bytes + ITEM_OVERHEAD + self.measured.link_bytes * day.with_contact
        delivery = self.measured.delivery_bytes + ITEM_OVERHEAD
        log = delivery * day.times[DELIVERY] * day.delivery_retention_days
        return self.checkouts_a_day * (kept * day.retention_days + log) / GB * self.prices.gigabyte_month

    @property
    def total_dollars(self) -> float:
        """For all of these."""
        return sum(map(self.dollars, PARTS)) + self.sweep_dollars + self.storage_dollars

    @property
    def dollars_a_thousand(self) -> float:
        """For a thousand checkouts."""
        return self.total_dollars / (self.checkouts_a_day * DAYS_A_MONTH) * 1_000

    # ------------------------------------------------------------ limits

    def used(self, rate_limit: float) -> dict[str, float]:
        """How much of each limit the peak takes as long as nobody has changed one.

        Args:
            rate_limit: requests a second that the template lets through.
        """
        limits, sweeping, peak = self.limits, self.sweeping, self.day.peak
        requests = self.snapshots * peak
        checkouts, due = (self.writes(part) * peak for part in (CHECKOUTS, DUE))
        shards = sweeping.default_shards
        return {
            f"`ThrottlingRateLimit`, {rate_limit:,.0f} requests/s": requests / rate_limit,
            f"the sweep of {shards} shards, {sweeping.seconds:.0f} s": self.run_seconds(
                shards, self.due_at_peak
            )
            / sweeping.seconds,
            f"index `due` in {shards} shards, {limits.key_writes:,.0f} WRU/s each": due
            / (shards * limits.key_writes),
            f"CheckoutTable, as a new table, {limits.new_table_writes:,.0f} WRU/s": checkouts
            / limits.new_table_writes,
            f"CheckoutTable, by quota, {limits.table_writes:,.0f} WRU/s": checkouts / limits.table_writes,
            f"index `due`, by quota, {limits.table_writes:,.0f} WRU/s": due / limits.table_writes,
            f"API Gateway, by quota, {limits.gateway_requests:,.0f} requests/s": requests
            / limits.gateway_requests,
            f"Lambda, by quota, {limits.executions:,.0f} at once, by ingest alone": requests
            * limits.ingest_seconds
            / limits.executions,
            f"if it were one store with ids that grow, {limits.key_writes:,.0f} WRU/s": checkouts
            / limits.key_writes,
        }

    # ------------------------------------------------------------ how

    @property
    def _a_second(self) -> float:
        return self.checkouts_a_day / SECONDS_A_DAY

    @property
    def _stores_read(self) -> float:
        """How many stores' subscriptions all runs read in an average minute."""
        runs = self.runs(self.shards)
        return runs * self._stores_met(self.due / runs)

    def _stores_met(self, due: float) -> float:
        """How many stores so many checkouts are of, if all stores are alike."""
        stores = self.checkouts_a_day / self.day.checkouts_a_store
        return stores * -math.expm1(due * math.log1p(-1 / stores)) if stores > 1 else min(due, 1)

    def _mean(self, told: float, held_back: float) -> float:
        share = self.day.times[TOLD] / self.day.swept
        return told * share + held_back * (1 - share)

    def _cpu_seconds(self, due: float, shards: float, stores: float) -> float:
        measured = self.measured
        each = self._mean(measured.told_microseconds, measured.held_back_microseconds)
        total = due * each + shards * measured.shard_microseconds + stores * measured.store_microseconds
        return total * self.sweeping.slower / MILLION


def together(work: Mapping[str, Work], times: Mapping[str, float]) -> Work:
    """What several things take, each so many times."""
    calls, reads, writes = 0.0, defaultdict[str, float](float), defaultdict[str, float](float)
    for name, often in times.items():
        calls += work[name].calls * often
        for total, units in ((reads, work[name].reads), (writes, work[name].writes)):
            for part, count in units.items():
                total[part] += count * often
    return Work(calls, reads, writes)


def write_units(size: float) -> int:
    """Of one write of so many bytes."""
    return max(1, math.ceil(size / KB))


def item_bytes(item: Mapping[str, Mapping[str, object]]) -> int:
    """The size of a typed item as DynamoDB counts it: names and values, and a little for maps."""
    return sum(len(name.encode()) + _value_bytes(value) for name, value in item.items())


def _value_bytes(value: Mapping[str, object]) -> int:
    ((kind, content),) = value.items()
    match kind, content:
        case "S", str(text):
            return len(text.encode())
        case "N", str(digits):
            return math.ceil(len(digits) / 2) + 1
        case "M", dict(members):
            return 3 + len(members) + item_bytes(members)
    raise TypeError(kind)
