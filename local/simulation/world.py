"""The run: every webhook of a day through the real ingest, a real sweep every minute, on real tables.

The collaborators are put together as `wiring` does it, with a clock of their own; nothing of them is
replaced. What `CheckoutTable` saves is what its stream would bring: it goes through the real plan, and what
that does not hold back counts as sent.
"""

import contextlib
import heapq
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from moto import mock_aws
from samcli.yamlhelper import yaml_parse

from checkout_recovery.abandonment import Abandonments
from checkout_recovery.checkout.event import EventType
from checkout_recovery.checkout.lifecycle import Checkout
from checkout_recovery.checkout.quiet_hours import QuietHours
from checkout_recovery.delivery.plan import plan
from checkout_recovery.erasure import Erasures
from checkout_recovery.ingest import Ingest
from checkout_recovery.observability import logger
from checkout_recovery.purchases import Purchases
from checkout_recovery.queues import RejectedEvents
from checkout_recovery.secrets import Secret, Secrets, provider_secret
from checkout_recovery.subscriptions.directory import StoreDirectory
from checkout_recovery.subscriptions.store import ProviderSettings, Store, StoreSettings
from checkout_recovery.subscriptions.subscription import ConsentRule, Required, Subscription
from checkout_recovery.sweep import Sweep
from checkout_recovery.tables.captures import Captures
from checkout_recovery.tables.checkouts import CheckoutTable, decode, encode
from checkout_recovery.tables.erasures import ErasureLog
from checkout_recovery.tables.registry import RegistryTable
from checkout_recovery.tables.shoppers import ShopperTable
from local.simulation.bodies import FLEXYPE_SECRET, PROVIDER, request_of
from local.simulation.day import TIMEZONE, Day, Receiver, Shop, Source, Told, Webhook
from local.simulation.loopback import shortened

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

TABLES = ("CheckoutTable", "RegistryTable", "ShopperTable")
_TEMPLATE = Path(__file__).parents[2] / "template.yaml"
_TABLE_PARTS = ("AttributeDefinitions", "KeySchema", "BillingMode", "GlobalSecondaryIndexes")
_ACCOUNT: dict[str, Any] = {
    "region_name": "ap-south-1",
    "aws_access_key_id": "test",
    "aws_secret_access_key": "test",
}
_NOWHERE = "http://127.0.0.1:9"
"""No webhook of the model is refused, so nothing is kept; were one, the run would end here."""

_SWEEP_EVERY = timedelta(minutes=1)
_CUT_OFF, _TWICE = 0.01, 0.02
"""How many of the sweeps end before their work does, and how many start a second time at once."""
_DUE_SHARDS = 4
_RETENTION = timedelta(days=90)
_VERSION = 1


@dataclass
class Run:
    """What came out of a day."""

    told: list[Told] = field(default_factory=list)
    sweeps: int = 0
    cut_off: int = 0
    """Sweeps that ended before their work did."""

    def add(self, other: "Run") -> None:
        """Takes in what came out for other shoppers of the same day."""
        self.told += other.told
        self.sweeps += other.sweeps
        self.cut_off += other.cut_off


@contextlib.contextmanager
def dynamodb(url: str | None, account: str = "test") -> Iterator["DynamoDBClient"]:
    """A DynamoDB: Amazon's own at this URL, a separate one for each account, or moto's in this process."""
    with contextlib.nullcontext() if url else mock_aws():
        # As `wiring` sets it, but for the timeouts: this machine may be busy.
        config = Config(
            parameter_validation=False,
            user_agent="checkout-recovery",
            signature_version=UNSIGNED if url else None,
        )
        client = boto3.client("dynamodb", endpoint_url=url, config=config, **_ACCOUNT)
        with shortened(client, url, account) if url else contextlib.nullcontext():
            yield client


def create_tables(client: "DynamoDBClient", prefix: str = "") -> dict[str, str]:
    """Makes the template's tables; returns their names by logical id."""
    resources = yaml_parse(_TEMPLATE.read_text())["Resources"]
    for logical_id in TABLES:
        properties = resources[logical_id]["Properties"]
        parts = {part: properties[part] for part in _TABLE_PARTS if part in properties}
        client.create_table(TableName=prefix + logical_id, **parts)
    return {logical_id: prefix + logical_id for logical_id in TABLES}


class World:
    """One stack with its stores, and the time in it."""

    def __init__(
        self, client: "DynamoDBClient", tables: Mapping[str, str], day: Day, seed: int | str
    ) -> None:
        self._day = day
        self._was_cut_off = False
        self._random = Random(f"{seed}/sweeps")  # noqa: S311 - a model, no secret
        self._shops = {shop.store_id: shop for shop in day.shops}
        self._written: list[Checkout] = []
        self._delivered: set[tuple[str, str]] = set()
        self._run = Run()
        self.now = day.start
        registry = RegistryTable(client, tables["RegistryTable"])
        checkouts = _Streamed(client, tables["CheckoutTable"], _DUE_SHARDS, self._written.append)
        shoppers = ShopperTable(client, tables["ShopperTable"])
        secrets = _secrets(day)
        purchases = Purchases(checkouts, shoppers, secrets.index_key)
        abandonments = Abandonments(checkouts, shoppers, _RETENTION.days)
        self._ingest = Ingest(
            directory=StoreDirectory(registry, secrets, self._seconds),
            registry=registry,
            checkouts=checkouts,
            purchases=purchases,
            abandonments=abandonments,
            erasures=Erasures(checkouts, shoppers, purchases, ErasureLog(client, tables["RegistryTable"])),
            captures=Captures(client, tables["RegistryTable"]),
            rejected=RejectedEvents(boto3.client("sqs", endpoint_url=_NOWHERE, **_ACCOUNT), _NOWHERE),
            retention_days=_RETENTION.days,
        )
        self._sweep = Sweep(
            registry=registry,
            checkouts=checkouts,
            shoppers=shoppers,
            abandonments=abandonments,
            now=lambda: self.now,
        )
        for shop in day.shops:
            _register(registry, shop, day.start)
        self._subscriptions = {one: registry.subscriptions(one).items for one in self._shops}

    def run(self, progress: Callable[[int], None] = lambda _: None) -> Run:
        """Lets the day happen.

        Args:
            progress: is told after each hour how many webhooks came in it.
        """
        webhooks = self._webhooks()
        level = logger.log_level
        logger.setLevel("ERROR")
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # where the metrics go
                self._play(webhooks, progress)
        finally:
            logger.setLevel(level)
        return self._run

    def _play(
        self, webhooks: list[tuple[datetime, int, Shop, Webhook]], progress: Callable[[int], None]
    ) -> None:
        minute, end, came = self._day.start, self._day.end, 0
        while minute < end:
            minute += _SWEEP_EVERY
            while webhooks and webhooks[0][0] <= minute:
                self.now, _, shop, webhook = heapq.heappop(webhooks)
                self._take_in(shop, webhook)
                came += 1
            self.now = minute
            self._look_for_abandoned()
            if not minute.minute:
                progress(came)
                came = 0

    def _seconds(self) -> float:
        return self.now.timestamp()

    def _webhooks(self) -> list[tuple[datetime, int, Shop, Webhook]]:
        number = count()
        queue = [
            (at, next(number), person.shop, webhook)
            for person in self._day.people
            for webhook in person.webhooks
            for at in webhook.arrivals
        ]
        heapq.heapify(queue)
        return queue

    def _take_in(self, shop: Shop, webhook: Webhook) -> None:
        way, request = request_of(shop, webhook)
        take_in = self._ingest.from_provider if way == PROVIDER else self._ingest.from_store
        take_in(way, shop.store_id, request, self.now)
        self._fan_out()

    def _look_for_abandoned(self) -> None:
        # Never two in a row: by then the oracle takes a checkout for missed.
        is_cut_off = self._random.random() < _CUT_OFF and not self._was_cut_off
        left = self._random.randrange(4) if is_cut_off else None
        self._was_cut_off = is_cut_off
        self._run.sweeps += 1
        self._run.cut_off += left is not None
        for _ in range(2 if self._random.random() < _TWICE else 1):
            budget = count()
            self._sweep(range(_DUE_SHARDS), lambda: left is None or next(budget) < left)  # noqa: B023 - used at once
        self._fan_out()

    def _fan_out(self) -> None:
        """What the stream's function plans of each write; a delivery that is on record is not made again."""
        written = sorted(self._written, key=lambda checkout: (checkout.checkout_id, checkout.sequence))
        self._written.clear()
        for checkout in written:
            for delivery in plan(checkout, self._subscriptions[checkout.store_id]):
                if delivery.key in self._delivered:
                    continue
                self._delivered.add(delivery.key)
                self._run.told.append(
                    Told(
                        at=self.now,
                        store_id=checkout.store_id,
                        checkout_id=checkout.checkout_id,
                        sequence=checkout.sequence,
                        event_id=delivery.event.id,
                        event=delivery.event.type.value,
                        subscription_id=delivery.subscription.subscription_id,
                        suppressed=delivery.suppressed.value if delivery.suppressed else None,
                    )
                )


class _Streamed(CheckoutTable):
    """The table with its stream: hands on each item as it was written."""

    def __init__(
        self, client: "DynamoDBClient", table_name: str, due_shards: int, hand_on: Callable[[Checkout], None]
    ) -> None:
        super().__init__(client, table_name, due_shards)
        self._hand_on = hand_on

    def save(
        self, checkout: Checkout, expires_at: datetime, claims: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        super().save(checkout, expires_at, claims)
        self._hand_on(decode(encode(checkout, expires_at, _DUE_SHARDS)))


# ---------------------------------------------------------------- stores


def _secrets(day: Day) -> Secrets:
    """The stack's secrets, which are never read again: the clock by which they would age stands still."""
    with mock_aws():
        secrets = Secrets(boto3.client("ssm", **_ACCOUNT), "simulation", now=lambda: 0.0)
        secrets.index_key()
        for shop in day.shops:
            if shop.source is not Source.OWN:
                name = provider_secret(shop.store_id, PROVIDER)
                secrets.put(name, Secret((FLEXYPE_SECRET,), _VERSION))
    return secrets


def _register(registry: RegistryTable, shop: Shop, now: datetime) -> None:
    quiet = shop.quiet_hours
    settings = StoreSettings(
        abandon_after_seconds=int(shop.abandon_after.total_seconds()),
        cooldown_seconds=int(shop.cooldown.total_seconds()),
        quiet_hours=QuietHours(start=quiet[0], end=quiet[1], timezone=TIMEZONE) if quiet else None,
    )
    agreed = ProviderSettings(configured_at=now, secret_version=_VERSION)
    registry.create_store(
        Store(
            store_id=shop.store_id,
            settings=settings,
            token_hash="",
            providers={} if shop.source is Source.OWN else {PROVIDER: agreed},
            revision=1,
            created_at=now,
            updated_at=now,
        )
    )
    for receiver in shop.receivers:
        registry.create_subscription(_subscription(receiver, shop, now))


def _subscription(receiver: Receiver, shop: Shop, now: datetime) -> Subscription:
    return Subscription(
        subscription_id=receiver.subscription_id,
        store_id=shop.store_id,
        topic=receiver.topic,
        version=receiver.version,
        callback_url="https://bsp.example/hook",
        events=tuple(EventType(event) for event in sorted(receiver.events)),
        consent=ConsentRule.GRANTED if receiver.wants_agreement else ConsentRule.NOT_DENIED,
        requires=tuple(Required(field) for field in sorted(receiver.requires)),
        key_version=_VERSION,
        created_at=now.astimezone(UTC),
        updated_at=now.astimezone(UTC),
    )
