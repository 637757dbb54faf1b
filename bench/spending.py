"""What a checkout, and what a month, costs on AWS, service by service.

Pure: what a request and a batch take comes in as it was measured (see `handling`), what a checkout writes
from `per_item`, what is deployed from the template, and what only AWS could tell as an assumption.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from bench.capacity import (
    CHECKOUTS,
    CONTACT,
    DAYS_A_MONTH,
    DELIVERIES,
    DELIVERY,
    DUE,
    GB,
    ITEM_OVERHEAD,
    KB,
    MILLION,
    MINUTES_A_DAY,
    MINUTES_A_MONTH,
    REGISTRY,
    SECONDS_A_DAY,
    SHOPPERS,
    TOLD,
    Day,
    Measured,
    Sweeping,
    Volume,
    together,
    write_units,
)
from bench.prices import dollars

VIRTUAL_CPU_MB = 1_769
"""Memory at which Lambda gives one virtual CPU; with less, a share of it."""
KEYS_A_READ, ITEMS_A_WRITE = 100, 25
"""Of a BatchGetItem and a BatchWriteItem."""
LINE_OVERHEAD = 26
"""Bytes that CloudWatch adds to each log line."""
SQS_REQUESTS_A_RETRY = 3
"""Sent, received, deleted, each alone."""
RETRY_READS = 4
"""Units beside the checkout: the log's entry, the store's revision, its subscriptions, the entry again."""
RETRY_WRITES = 2
"""Of the log's entry: the claim before the attempt, and how it ended."""
RETRY_CALLS = 5
"""The subscriptions, the checkout, the log; and the writes."""

POLLERS, POLLS_A_MINUTE = 5, 3
"""Of Lambda at an empty queue: five at once, each for 20 s; fewer only without MaximumConcurrency."""
TABLES, ROLES, KEY_MINUTES = 4, 6, 5
"""DynamoDB asks KMS for a table's key at most once in five minutes for each caller."""

GATEWAY, LAMBDA, DYNAMODB, LOGS = "API Gateway", "Lambda", "DynamoDB", "CloudWatch Logs"
TRANSFER, KMS, SQS = "Data transfer", "KMS", "SQS"
SERVICES = (DYNAMODB, LAMBDA, GATEWAY, LOGS, TRANSFER, KMS, SQS)


# ---------------------------------------------------------------- measured


@dataclass(frozen=True, slots=True)
class Handling:
    """What a batch takes: so much by itself, and so much more for each event and each delivery."""

    batch: float
    event: float
    delivery: float

    def of(self, events: float, deliveries: float) -> float:
        """Of one batch."""
        return self.batch + self.event * events + self.delivery * deliveries

    @classmethod
    def fitted(cls, batches: Mapping[tuple[int, int], float]) -> "Handling":
        """What tells best of measured batches, by the least squares of how far it is off in proportion.

        Nothing takes less than nothing: where an event seems to, a batch and its deliveries tell alone.

        Args:
            batches: what each took, by its events and deliveries.
        """
        rows = [((1 / y, events / y, deliveries / y), 1.0) for (events, deliveries), y in batches.items()]
        batch, event, delivery = _least_squares(rows)
        if event >= 0:
            return cls(batch, event, delivery)
        batch, delivery = _least_squares([((one, several), y) for (one, _, several), y in rows])
        return cls(batch, 0, delivery)


def _least_squares(rows: Sequence[tuple[Sequence[float], float]]) -> list[float]:
    """The coefficients of the columns, by the normal equations."""
    size = range(len(rows[0][0]))
    table = [
        [sum(x[i] * x[j] for x, _ in rows) for j in size] + [sum(x[i] * y for x, y in rows)] for i in size
    ]
    for i in size:
        table[i] = [value / table[i][i] for value in table[i]]
        for k in size:
            if k != i:
                table[k] = [a - table[k][i] * b for a, b in zip(table[k], table[i], strict=True)]
    return [row[-1] for row in table]


@dataclass(frozen=True, slots=True)
class Batch:
    """One that was measured."""

    events: int
    subscribers: int
    microseconds: float
    """CPU, in the quickest round."""
    milliseconds: float
    """By the clock, in the same way; the receiver and AWS answer at once."""
    log_bytes: float
    """As CloudWatch counts what is printed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """What snapshots with so many items in the cart take, and their events."""

    body_bytes: float
    """Of the provider's request."""
    snapshot_microseconds: float
    """CPU of ingest for a snapshot of a checkout whose contact is known."""
    contact_microseconds: float
    """The same for the first that tells a contact."""
    fan_out_microseconds: Handling
    fan_out_log_bytes: Handling
    """As CloudWatch counts them."""
    sent_bytes: float
    """Of one delivery, the headers included, over the contracts."""
    item_bytes: float
    """Of the checkout's item, with a contact."""
    typed_item_bytes: float
    """The same if `data` were a tree of typed attributes."""
    string_microseconds: float
    """CPU to write `data` and to read it."""
    tree_microseconds: float
    """The same as a tree, by boto3."""
    batches: tuple[Batch, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """All that was measured, and where."""

    requests: Mapping[int, Requests]
    """By the items of a cart."""
    authorize_microseconds: float
    log_line_microseconds: float
    """CPU of one line at INFO, by the functions' logger."""
    log_line_bytes: float
    failure_line_bytes: float
    """Of the line that a failed attempt leaves."""
    delivery_bytes: float
    """Of an entry of the delivery log with one attempt."""
    memory_mb: float
    """The most that the measuring process held, with all functions in it."""
    date: date
    processor: str


# ---------------------------------------------------------------- deployed, assumed, priced


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """What the template and the code say."""

    memory_mb: Mapping[str, int]
    """By function."""
    batch_size: int
    parallelization: int
    """Batches of one shard of the stream at once."""
    connections: int
    """Posts in flight."""
    connections_a_subscription: int
    sending_seconds: float
    """Of a batch; what is not sent by then goes to the queue."""
    access_log_bytes: float
    platform_log_bytes: float
    """Lambda's own lines about an invocation."""
    secret_seconds: float
    """How long a secret is remembered."""
    alarm_metrics: int
    dashboards: int
    custom_metrics: int
    """A well stack's."""
    custom_metrics_at_most: int
    route_metrics: int
    """Of one route that is called."""
    route_metrics_at_most: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumed:
    """What only AWS, or a receiver, could tell."""

    answer_seconds: float = 0.2
    """Until a receiver has answered, connecting included."""
    slower: float = 2
    """How much more CPU time Lambda's processor takes than the one that was measured on."""
    call_seconds: float = 0.010
    """Of DynamoDB."""
    handshake_microseconds: float = 1_000
    """CPU of a TLS handshake; a batch finds no connection open, and opens as many as it uses."""
    handshake_bytes: float = 1_500
    """Out, for TLS."""
    answered_bytes: float = 400
    """Of our answer to a snapshot, its headers included."""
    failed: float = 0.01
    """Of the deliveries, once each."""
    environments: float = 4
    """Warm ones of a function, each with its own memory of secrets."""
    by_token: float = 0
    """Of the snapshots: those that a store sends itself, by its token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitPrices:
    """US dollars, of prices.toml."""

    million_api_requests: float = dollars("http_api_million_requests")
    million_invocations: float = dollars("lambda_million_requests")
    gigabyte_second: float = dollars("lambda_arm_gigabyte_second")
    million_writes: float = dollars("dynamodb_million_writes")
    million_reads: float = dollars("dynamodb_million_reads")
    stored_gigabyte_month: float = dollars("dynamodb_gigabyte_month")
    log_gigabyte: float = dollars("logs_gigabyte")
    metric_month: float = dollars("custom_metric_month")
    alarm_metric_month: float = dollars("alarm_metric_month")
    dashboard_month: float = dollars("dashboard_month")
    million_sqs_requests: float = dollars("sqs_million_requests")
    transferred_gigabyte: float = dollars("transfer_out_gigabyte")
    million_kms_requests: float = dollars("kms_million_requests")


# ---------------------------------------------------------------- a checkout


@dataclass(frozen=True, slots=True)
class Line:
    """One position of the bill."""

    service: str
    what: str
    dollars: float
    sends: bool = False
    """Whether a sender of webhooks alone would have it too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """What one checkout costs; `lines` has it all."""

    findings: Findings
    items: int
    """In the cart."""
    written: Measured
    sweeping: Sweeping
    deployed: Deployed
    subscribers: int = 1
    """To every event."""
    events_a_batch: int = 1
    day: Day = field(default_factory=Day)
    assumed: Assumed = field(default_factory=Assumed)
    prices: UnitPrices = field(default_factory=UnitPrices)
    swept_a_day: float = 1e5
    """Checkouts a day that the sweep's runs are shared by."""

    # ------------------------------------------------------------ how often

    @property
    def events(self) -> float:
        """Of one checkout; each is taken to be told, although some abandonments are not."""
        return sum(often for name, often in self.day.times.items() if name != DELIVERY)

    @property
    def snapshots(self) -> float:
        return self.day.snapshots + self.day.returned

    @property
    def deliveries(self) -> float:
        return self.events * self.subscribers

    @property
    def retries(self) -> float:
        """Attempts by the retry function: what failed, and what its batch had no time for."""
        return self.deliveries * (self.assumed.failed + self.deferred)

    @property
    def requests(self) -> Requests:
        return self.findings.requests[self.items]

    # ------------------------------------------------------------ Lambda

    def invocation(self, function: str, microseconds: float, calls: float, waiting: float = 0) -> float:
        """Dollars for one run of a function.

        Args:
            function: which.
            microseconds: its CPU, as measured.
            calls: of AWS, one after the other.
            waiting: seconds, for others.
        """
        memory, assumed = self.deployed.memory_mb[function], self.assumed
        cpu = microseconds * assumed.slower / MILLION / min(1.0, memory / VIRTUAL_CPU_MB)
        seconds = cpu + calls * assumed.call_seconds + waiting
        return seconds * memory / KB * self.prices.gigabyte_second + self._each(
            self.prices.million_invocations
        )

    def batch_seconds(self) -> float:
        """How long one batch of fan-out takes by the clock."""
        share = min(1.0, self.deployed.memory_mb["FanoutFunction"] / VIRTUAL_CPU_MB)
        cpu = self._batch_microseconds * self.assumed.slower / MILLION / share
        return cpu + self._batch_calls * self.assumed.call_seconds + self._batch_waiting

    def events_a_second(self) -> float:
        """What one shard of the stream gets through in such batches."""
        return self.deployed.parallelization * self.events_a_batch / self.batch_seconds()

    @property
    def deferred(self) -> float:
        """The share of a batch that it has no time to send."""
        needed = self._rounds * self.assumed.answer_seconds
        return max(0.0, 1 - self.deployed.sending_seconds / needed) if needed else 0.0

    @property
    def _batch_deliveries(self) -> int:
        return self.events_a_batch * self.subscribers

    @property
    def _batch_microseconds(self) -> float:
        handling = self.requests.fan_out_microseconds.of(self.events_a_batch, self._batch_deliveries)
        return handling + self._batch_handshakes * self.assumed.handshake_microseconds

    @property
    def _batch_handshakes(self) -> int:
        return self.subscribers * min(self.events_a_batch, self.deployed.connections_a_subscription)

    @property
    def _batch_calls(self) -> int:
        read = 2 * self.events_a_batch + self._batch_deliveries
        return math.ceil(read / KEYS_A_READ) + math.ceil(self._batch_deliveries / ITEMS_A_WRITE)

    @property
    def _rounds(self) -> int:
        """How many answers come one after the other."""
        by_subscription = math.ceil(self.events_a_batch / self.deployed.connections_a_subscription)
        return max(by_subscription, math.ceil(self._batch_deliveries / self.deployed.connections))

    @property
    def _batch_waiting(self) -> float:
        return min(self._rounds * self.assumed.answer_seconds, self.deployed.sending_seconds)

    def _lambda(self) -> list[Line]:
        batch = self.invocation(
            "FanoutFunction", self._batch_microseconds, self._batch_calls, self._batch_waiting
        )
        one = self.requests.fan_out_microseconds.of(1, 1) + self.assumed.handshake_microseconds
        retry = self.invocation("RetryFunction", one, RETRY_CALLS, self.assumed.answer_seconds)
        return [
            Line(LAMBDA, "ingest", self._ingest()),
            Line(LAMBDA, "authorize", self._authorize()),
            Line(LAMBDA, "sweep", self._sweep()),
            Line(LAMBDA, "fan-out", self.events / self.events_a_batch * batch, sends=True),
            Line(LAMBDA, "retry", self.retries * retry, sends=True),
        ]

    def _ingest(self) -> float:
        day, work, requests = self.day, self.written.work, self.requests
        told = {name: often for name, often in day.times.items() if "snapshot" in name}
        return sum(
            often
            * self.invocation(
                "IngestFunction",
                requests.contact_microseconds if name == CONTACT else requests.snapshot_microseconds,
                work[name].calls,
            )
            for name, often in told.items()
        )

    def _sweep(self) -> float:
        """What its runs take longer for each checkout than with nothing due."""
        busy, idle = self._volume(self.swept_a_day), self._volume(0)
        return (busy.sweep_dollars - idle.sweep_dollars) / (self.swept_a_day * DAYS_A_MONTH)

    def _volume(self, checkouts_a_day: float) -> Volume:
        return Volume(
            checkouts_a_day=checkouts_a_day, measured=self.written, sweeping=self.sweeping, day=self.day
        )

    def _authorize(self) -> float:
        """Once for each minute in which a store's token is used: the gateway remembers it for so long."""
        a_minute = self.day.checkouts_a_store * self.snapshots / MINUTES_A_DAY
        asked = -math.expm1(-a_minute) / a_minute * self.assumed.by_token * self.snapshots
        one = self.invocation("AuthorizeFunction", self.findings.authorize_microseconds, 1)
        read = self._units(0, 1) + self._logged(self.deployed.platform_log_bytes)
        return asked * (one + read)

    # ------------------------------------------------------------ DynamoDB

    def _dynamodb(self) -> list[Line]:
        times = {name: often for name, often in self.day.times.items() if name != DELIVERY}
        work, item = together(self.written.work, times), self.requests.item_bytes
        writes = write_units(item) / write_units(self.written.checkout_bytes)
        reads = read_units(item) / read_units(self.written.checkout_bytes)
        lines = [
            Line(
                DYNAMODB,
                part,
                self._units(
                    work.writes.get(part, 0) * (writes if part == CHECKOUTS else 1),
                    work.reads.get(part, 0) * (reads if part == CHECKOUTS else 1),
                ),
            )
            for part in (CHECKOUTS, DUE, SHOPPERS)
        ]
        kept = item + ITEM_OVERHEAD + self.written.link_bytes * self.day.with_contact
        return [
            *lines,
            *self._told(),
            Line(DYNAMODB, "storage of checkouts", self._stored(kept, self.day.retention_days)),
        ]

    def _told(self) -> list[Line]:
        """What sending reads, writes and keeps."""
        deliveries, retries = self.deliveries, self.retries
        written = deliveries + retries * RETRY_WRITES
        again = retries * (RETRY_READS + read_units(self.requests.item_bytes))
        kept = deliveries * (self.findings.delivery_bytes + ITEM_OVERHEAD)
        bought = self.day.times[TOLD]
        return [
            Line(DYNAMODB, DELIVERIES, self._units(written, deliveries + again), sends=True),
            Line(DYNAMODB, REGISTRY, self._units(0, self.events), sends=True),
            Line(DYNAMODB, "is it bought?", self._units(0, bought)),
            Line(
                DYNAMODB,
                "storage of the delivery log",
                self._stored(kept, self.day.delivery_retention_days),
                sends=True,
            ),
        ]

    def _units(self, writes: float, reads: float) -> float:
        return (writes * self.prices.million_writes + reads * self.prices.million_reads) / MILLION

    def _stored(self, size: float, days: float) -> float:
        return size / GB * self.prices.stored_gigabyte_month * days / DAYS_A_MONTH

    # ------------------------------------------------------------ the others

    def _logs(self) -> list[Line]:
        deployed, batches = self.deployed, self.events / self.events_a_batch
        log = self.requests.fan_out_log_bytes
        again = log.of(1, 1) + self.findings.failure_line_bytes + deployed.platform_log_bytes
        return [
            Line(LOGS, "access log", self._logged(self.snapshots * deployed.access_log_bytes)),
            Line(LOGS, "Lambda's lines, ingest", self._logged(self.snapshots * deployed.platform_log_bytes)),
            Line(
                LOGS,
                "Lambda's lines, fan-out",
                self._logged(batches * deployed.platform_log_bytes),
                sends=True,
            ),
            Line(
                LOGS,
                "metrics as log lines",
                self._logged(batches * log.of(self.events_a_batch, self._batch_deliveries)),
                sends=True,
            ),
            Line(LOGS, "retries", self._logged(self.retries * again), sends=True),
        ]

    def _logged(self, size: float) -> float:
        return size / GB * self.prices.log_gigabyte

    def _others(self) -> list[Line]:
        prices, assumed = self.prices, self.assumed
        shaken = self.deliveries * self._batch_handshakes / self._batch_deliveries + self.retries
        sent = (self.deliveries + self.retries) * self.requests.sent_bytes + shaken * assumed.handshake_bytes
        answered = self.snapshots * assumed.answered_bytes
        told, received = (often * self.decrypts(often) for often in (self.events, self.snapshots))
        queued = self.retries * SQS_REQUESTS_A_RETRY
        return [
            Line(GATEWAY, "requests", self.snapshots * self._each(prices.million_api_requests)),
            Line(TRANSFER, "to receivers", sent / GB * prices.transferred_gigabyte, sends=True),
            Line(TRANSFER, "answers", answered / GB * prices.transferred_gigabyte),
            Line(
                KMS,
                "keys that sign",
                told * self.subscribers * self._each(prices.million_kms_requests),
                sends=True,
            ),
            Line(KMS, "providers' secrets", received * self._each(prices.million_kms_requests)),
            Line(SQS, "retries", queued * self._each(prices.million_sqs_requests), sends=True),
        ]

    def decrypts(self, often: float) -> float:
        """How often a secret is fetched anew for one use, where a checkout uses it so often."""
        a_second = self.day.checkouts_a_store * often / SECONDS_A_DAY / self.assumed.environments
        return 1 / (1 + a_second * self.deployed.secret_seconds)

    # ------------------------------------------------------------ together

    @property
    def lines(self) -> list[Line]:
        """The bill of one checkout."""
        return [*self._lambda(), *self._dynamodb(), *self._logs(), *self._others()]

    @property
    def checkout(self) -> float:
        """US dollars for one."""
        return sum(line.dollars for line in self.lines)

    @property
    def thousand_checkouts(self) -> float:
        return self.checkout * 1_000

    @property
    def million_events(self) -> float:
        return self.checkout / self.events * MILLION

    @property
    def million_sent(self) -> float:
        """A million deliveries, without all that comes before sending."""
        return sum(line.dollars for line in self.lines if line.sends) / self.deliveries * MILLION

    def services(self) -> dict[str, float]:
        """A million events, by service."""
        totals = dict.fromkeys(SERVICES, 0.0)
        for line in self.lines:
            totals[line.service] += line.dollars / self.events * MILLION
        return totals

    def month(self, messages: float, *, sends: bool = False) -> float:
        """A month with so many deliveries, with what a month costs whatever comes.

        Args:
            messages: delivered.
            sends: whether only what sending takes is counted.
        """
        fixed = sum(line.dollars for line in self.fixed() if line.sends or not sends)
        variable = self.million_sent if sends else self.million_events / self.subscribers
        return fixed + variable * messages / MILLION

    def fixed(self) -> list[Line]:
        """A month in which nothing happens; what a well stack's metrics cost once something does."""
        deployed, prices = self.deployed, self.prices
        idle = self._volume(0)
        polls = POLLERS * POLLS_A_MINUTE * MINUTES_A_MONTH
        keys = TABLES * ROLES * MINUTES_A_MONTH / KEY_MINUTES
        return [
            Line("CloudWatch", "our own metrics", deployed.custom_metrics * prices.metric_month, sends=True),
            Line("CloudWatch", "metrics of routes", deployed.route_metrics * prices.metric_month),
            Line("CloudWatch", "alarms", deployed.alarm_metrics * prices.alarm_metric_month, sends=True),
            Line("CloudWatch", "dashboards", deployed.dashboards * prices.dashboard_month, sends=True),
            Line(SQS, "polling", polls * self._each(prices.million_sqs_requests), sends=True),
            Line(KMS, "tables' keys, at most", keys * self._each(prices.million_kms_requests), sends=True),
            Line(LAMBDA, "sweep, with nothing due", idle.sweep_dollars),
            Line(DYNAMODB, "the sweep's looks at the index", idle.dollars(DUE)),
        ]

    @staticmethod
    def _each(a_million: float) -> float:
        return a_million / MILLION


def read_units(size: float) -> int:
    """Of one consistent read of so many bytes."""
    return max(1, math.ceil(size / (4 * KB)))
