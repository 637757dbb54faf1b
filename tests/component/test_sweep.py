"""The sweep through its real tables, on moto and on Amazon's DynamoDB Local, by a clock that tests set.

What happens between two calls of a sweep is brought about by the client's own hooks: there a shopper comes
back, a table is throttled, or the sweep dies. Nothing of the package is patched.
"""

import contextlib
import io
import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError
from mypy_boto3_dynamodb import DynamoDBClient
from samcli.yamlhelper import yaml_parse

from checkout_recovery import wiring
from checkout_recovery.abandonment import Abandonments
from checkout_recovery.checkout.event import EventType
from checkout_recovery.checkout.lifecycle import Checkout, Status, Suppression, Unchanged
from checkout_recovery.checkout.phone import Phone
from checkout_recovery.checkout.quiet_hours import QuietHours
from checkout_recovery.checkout.shopper import Purchase
from checkout_recovery.checkout.snapshot import Details, Snapshot
from checkout_recovery.purchases import Purchases
from checkout_recovery.subscriptions.store import Store, StoreSettings
from checkout_recovery.sweep import Sweep, Swept
from checkout_recovery.tables.checkouts import CheckoutTable, encode
from checkout_recovery.tables.registry import RegistryTable
from checkout_recovery.tables.shoppers import ShopperTable
from functions.sweep import app
from local.stream_fixtures import text_of
from local.sweep_fixtures import sweep_fixtures
from tests.subscriptions import subscription

ROOT = Path(__file__).parents[2]
STORE = "my-store"
NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
AFTER = timedelta(minutes=15)
MINUTE = timedelta(minutes=1)
EXPIRES = NOW + timedelta(days=90)
TABLES = ("CheckoutTable", "RegistryTable", "ShopperTable")


class Clock:
    """What the time is; tests set it."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


class Shop:
    """The tables of a few stores as one process sees them, and what happens in the stores."""

    def __init__(self, client: DynamoDBClient, names: Mapping[str, str], clock: Clock, shards: int) -> None:
        self.client = client
        self.names = names
        self.clock = clock
        self.shards = shards
        self.checkouts = CheckoutTable(client, names["CheckoutTable"], shards, sleep=lambda _: None)
        self.registry = RegistryTable(client, names["RegistryTable"])
        self.shoppers = ShopperTable(client, names["ShopperTable"], sleep=lambda _: None)
        self.purchases = Purchases(self.checkouts, self.shoppers, lambda: b"key")
        self._tellings = count()

    def as_another(self) -> "Shop":
        """The same stores as another process sees them: its client has none of this one's hooks."""
        client = boto3.client("dynamodb", endpoint_url=self.client.meta.endpoint_url)
        return Shop(client, self.names, self.clock, self.shards)

    def open(self, store_id: str = STORE, **settings: Any) -> None:
        """Registers a store, and a subscription that is told of its abandonments."""
        self.registry.create_store(
            Store(
                store_id=store_id,
                settings=StoreSettings(**settings),
                token_hash="0" * 64,
                revision=1,
                created_at=NOW,
                updated_at=NOW,
            )
        )
        self.registry.create_subscription(subscription(f"sub_{store_id}", store_id=store_id))

    def tell(self, checkout_id: str, store_id: str = STORE, **details: Any) -> Checkout:
        """A snapshot arrives, and is written as ingest writes it."""
        now = self.clock.now
        before = self.checkouts.load(store_id, checkout_id)
        if number := details.get("phone"):
            details["phone"] = Phone.of(number, "91")
        event_id = f"evt-{next(self._tellings)}"
        told = Snapshot(checkout_id=checkout_id, event_id=event_id, details=Details(**details))
        after = before.apply(told, now, AFTER)
        assert not isinstance(after, Unchanged)
        after = self.purchases.recognise(before, after, now, EXPIRES)
        self.checkouts.save(after, EXPIRES)
        return after

    def stock(self, shoppers: Mapping[str, int | None], apart: timedelta = timedelta()) -> None:
        """Checkouts arrive from now on, each with its shopper's phone: the same items in far fewer calls."""
        puts: list[Any] = []
        for checkout_id, shopper in shoppers.items():
            number = None if shopper is None else Phone.of(phone(shopper), "91")
            told = Snapshot(checkout_id=checkout_id, details=Details(phone=number))
            first = Checkout(store_id=STORE, checkout_id=checkout_id)
            written = first.apply(told, self.clock.now, AFTER)
            assert not isinstance(written, Unchanged)
            known_by = {"handles": self.purchases.handles(STORE, told.details)}
            item = encode(written.model_copy(update=known_by), EXPIRES, self.shards)
            puts.append({"PutRequest": {"Item": item}})
            self.clock.now += apart
        for start in range(0, len(puts), 25):
            self.client.batch_write_item(RequestItems={self.names["CheckoutTable"]: puts[start : start + 25]})

    def remember(self, **details: Any) -> None:
        """A purchase is heard of, and its shopper's checkouts have not been looked for yet."""
        bought = Purchase(time=self.clock.now, heard_at=self.clock.now, order_id="o-1")
        told = Details(phone=Phone.of(details["phone"], "91"))
        self.purchases.remember(self.purchases.handles(STORE, told), bought, self.clock.now)

    def complete(self, checkout_id: str) -> None:
        """The shopper buys."""
        before = self.checkouts.load(STORE, checkout_id)
        bought = Snapshot(checkout_id=checkout_id, event_id="bought", completed=True)
        after = before.apply(bought, self.clock.now, AFTER)
        assert not isinstance(after, Unchanged)
        self.checkouts.save(after, EXPIRES)

    def delete(self, checkout_id: str) -> None:
        self.client.delete_item(
            TableName=self.names["CheckoutTable"], Key=CheckoutTable.key(STORE, checkout_id)
        )

    def sweep(
        self, shards: Sequence[int] | None = None, has_time: Callable[[], bool] = lambda: True
    ) -> Swept:
        sweep = Sweep(
            registry=self.registry,
            checkouts=self.checkouts,
            shoppers=self.shoppers,
            abandonments=Abandonments(self.checkouts, self.shoppers, 90),
            now=self.clock,
            pause=lambda _: None,
        )
        return sweep(range(self.shards) if shards is None else shards, has_time)

    def load(self, checkout_id: str, store_id: str = STORE) -> Checkout:
        return self.checkouts.load(store_id, checkout_id)

    def load_all(self, ids: Iterable[str]) -> dict[str, Checkout]:
        found = self.checkouts.load_all([(STORE, each) for each in ids])
        return {checkout_id: one for (_, checkout_id), one in found.items() if one}

    def ids_in(self, shard: int) -> Iterator[str]:
        """Names of checkouts that lie in one shard of the index."""
        for number in count():
            checkout = Checkout(store_id=STORE, checkout_id=f"c{number}")
            waiting = checkout.apply(Snapshot(checkout_id=checkout.checkout_id), NOW, AFTER)
            assert not isinstance(waiting, Unchanged)
            if encode(waiting, EXPIRES, self.shards)["due_shard"] == {"S": str(shard)}:
                yield checkout.checkout_id


@pytest.fixture
def make_shop(table_client: DynamoDBClient, new_table: Callable[[str], str]) -> Callable[[int], Shop]:
    """Makes a shop with an open store, by the number of shards."""

    def make(shards: int) -> Shop:
        shop = Shop(table_client, {table: new_table(table) for table in TABLES}, Clock(), shards)
        shop.open()
        return shop

    return make


@pytest.fixture
def shop(make_shop: Callable[[int], Shop]) -> Shop:
    """With one shard: what is due is looked at in order, by one thread."""
    return make_shop(1)


def phone(number: int) -> str:
    return f"98765{number:05}"


# ---------------------------------------------------------------- hooks


def before(client: DynamoDBClient, operation: str, act: Callable[[Any], None]) -> None:
    """Lets something happen before each call of an operation; it is told the call's arguments."""
    client.meta.events.register(
        f"before-parameter-build.dynamodb.{operation}", lambda params, **_: act(params)
    )


def after(client: DynamoDBClient, operation: str, act: Callable[[], None]) -> None:
    """Lets something happen after each call of an operation."""
    client.meta.events.register(f"after-call.dynamodb.{operation}", lambda **_: act())


def once(act: Callable[[], Any]) -> Callable[..., None]:
    """Lets something happen the first time only."""
    left = [act]

    def run(*_: Any) -> None:
        if left:
            left.pop()()

    return run


def failure(code: str, *reasons: str) -> ClientError:
    """What DynamoDB answers; the reasons are those of a cancelled transaction."""
    answer: Any = {
        "Error": {"Code": code, "Message": phone(1)},  # DynamoDB quotes what it does not like
        "ResponseMetadata": {"HTTPStatusCode": 400},
        "CancellationReasons": [{"Code": reason} for reason in reasons],
    }
    return ClientError(answer, "an operation")


def written(params: Any) -> str:
    """The checkout that a call writes."""
    put = params["TransactItems"][0]["Put"] if "TransactItems" in params else params
    return str(put["Item"]["checkout_id"]["S"])


def fails(error: Exception) -> Callable[..., None]:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    return fail


class Killed(BaseException):
    """The process is gone: nothing of ours may catch it."""


def dies_after(client: DynamoDBClient, number: int) -> Callable[[], None]:
    """Lets a client's user die after its n-th call; returns what lets it live again."""
    calls = count(1)

    def die(**_: Any) -> None:
        if next(calls) == number:
            raise Killed

    client.meta.events.register("after-call.dynamodb", die)
    return lambda: client.meta.events.unregister("after-call.dynamodb", die)


# ---------------------------------------------------------------- its time


def test_a_checkout_is_abandoned_once_its_time_has_come_and_not_before(shop: Shop) -> None:
    shop.tell("c1", phone=phone(1))
    shop.clock.now = NOW + AFTER - timedelta(milliseconds=1)
    assert shop.sweep().found == Counter()
    assert shop.load("c1").status is Status.ACTIVE
    shop.clock.now = NOW + AFTER
    assert shop.sweep().found == Counter(abandoned=1)
    found = shop.load("c1")
    assert (found.status, found.sequence, found.abandoned_at, found.told_at) == (
        Status.ABANDONED,
        2,
        NOW + AFTER,
        NOW + AFTER,
    )


def test_an_abandoned_checkout_is_due_no_more(shop: Shop) -> None:
    shop.tell("c1", phone=phone(1))
    shop.clock.now = NOW + AFTER
    shop.sweep()
    shop.clock.now += timedelta(days=2)
    assert shop.sweep() == Swept()
    assert shop.load("c1").sequence == 2


def test_activity_starts_the_wait_again(shop: Shop) -> None:
    shop.tell("c1", phone=phone(1))
    shop.clock.now = NOW + AFTER - MINUTE
    shop.tell("c1", name="Asha")
    shop.clock.now = NOW + AFTER
    assert shop.sweep() == Swept()
    shop.clock.now = NOW + 2 * AFTER - MINUTE
    assert shop.sweep().found == Counter(abandoned=1)


def test_who_came_back_is_abandoned_again_but_told_of_only_after_the_cooldown(shop: Shop) -> None:
    shop.tell("c1", phone=phone(1))
    told = []
    for day in range(3):
        shop.clock.now = NOW + timedelta(hours=18 * day)
        shop.tell("c1", stage=f"day {day}")
        shop.clock.now += AFTER
        shop.sweep()
        told.append(shop.load("c1").suppressed)
    assert told == [None, Suppression.COOLDOWN, None]
    assert shop.load("c1").sequence == 1 + 3 * 2


def test_a_checkout_whose_store_is_gone_is_abandoned_and_its_shopper_not_counted_as_told(shop: Shop) -> None:
    shop.tell("c1", phone=phone(1))
    shop.registry.delete_store(STORE)
    shop.clock.now = NOW + AFTER
    shop.sweep()
    assert (shop.load("c1").status, shop.load("c1").told_at) == (Status.ABANDONED, None)


# ---------------------------------------------------------------- what happens meanwhile


@pytest.mark.parametrize("details", [{"phone": phone(1)}, {}], ids=["told", "no contact"])
def test_a_snapshot_between_the_read_and_the_write_keeps_the_checkout_from_being_abandoned(
    shop: Shop, details: dict[str, Any]
) -> None:
    shop.tell("c1", **details)
    shop.clock.now = NOW + AFTER
    meanwhile = once(lambda: shop.as_another().tell("c1", name="Asha"))
    for operation in ("TransactWriteItems", "PutItem"):
        before(shop.client, operation, meanwhile)
    assert shop.sweep().found == Counter(not_due=1)
    current = shop.load("c1")
    assert (current.status, current.sequence) == (Status.ACTIVE, 2)
    assert shop.shoppers.known(current.handles).shopper.told_at is None


def test_a_purchase_between_the_read_and_the_write_keeps_the_checkout_from_being_abandoned(
    shop: Shop,
) -> None:
    shop.tell("c1", phone=phone(1))
    shop.clock.now = NOW + AFTER
    before(shop.client, "TransactWriteItems", once(lambda: shop.as_another().complete("c1")))
    shop.sweep()
    current = shop.load("c1")
    assert (current.status, current.sequence) == (Status.COMPLETED, 2)


def test_what_the_index_still_has_though_it_has_moved_on_is_left_alone(shop: Shop) -> None:
    for each in ("back", "bought", "due"):
        shop.tell(each, phone=phone(len(each)))
    shop.clock.now = NOW + AFTER

    def move_on() -> None:
        other = shop.as_another()
        other.tell("back", name="Asha")
        other.complete("bought")

    after(shop.client, "Query", once(move_on))
    assert shop.sweep().found == Counter(abandoned=1, not_due=2)
    assert {each: shop.load(each).status for each in ("back", "bought", "due")} == {
        "back": Status.ACTIVE,
        "bought": Status.COMPLETED,
        "due": Status.ABANDONED,
    }


def test_what_the_index_still_has_though_it_is_gone_is_no_failure_and_stays_gone(shop: Shop) -> None:
    shop.tell("gone", phone=phone(1))
    shop.tell("due", phone=phone(2))
    shop.clock.now = NOW + AFTER
    after(shop.client, "Query", once(lambda: shop.as_another().delete("gone")))
    swept = shop.sweep()
    assert (swept.found, swept.failed) == (Counter(abandoned=1), 0)
    assert shop.load("gone").sequence == 0


@pytest.mark.parametrize("details", [{"phone": phone(1)}, {}], ids=["told", "no contact"])
def test_what_is_deleted_between_the_read_and_the_write_stays_deleted(
    shop: Shop, details: dict[str, Any]
) -> None:
    """Its retention has ended, or its shopper has asked for it: it must not come back with all its data."""
    shop.tell("c1", **details)
    shop.clock.now = NOW + AFTER
    meanwhile = once(lambda: shop.as_another().delete("c1"))
    for operation in ("TransactWriteItems", "PutItem"):
        before(shop.client, operation, meanwhile)
    shop.sweep()
    assert shop.load("c1").sequence == 0


def test_a_purchase_that_is_remembered_after_the_shopper_was_read_is_never_told_of(shop: Shop) -> None:
    shop.tell("c1", phone=phone(1))
    shop.clock.now = NOW + AFTER
    before(shop.client, "TransactWriteItems", once(lambda: shop.as_another().remember(phone=phone(1))))
    shop.sweep()
    current = shop.load("c1")
    assert current.is_complete
    assert current.told_at is None
    assert current.event
    assert current.event.type is not EventType.ABANDONED


def test_a_checkout_that_nobody_knew_to_be_bought_when_it_is_found_is_completed_and_not_recovered(
    shop: Shop,
) -> None:
    shop.tell("c1", phone=phone(1))
    shop.remember(phone=phone(1))
    shop.clock.now = NOW + AFTER
    assert shop.sweep().found == Counter(completed=1)
    current = shop.load("c1")
    assert (current.status, current.details.order_id) == (Status.COMPLETED, "o-1")
    assert current.event
    assert current.event.type is EventType.COMPLETED


# ---------------------------------------------------------------- once per shopper


def test_of_two_checkouts_of_one_shopper_on_one_page_one_is_told(shop: Shop) -> None:
    for each in ("c1", "c2"):
        shop.tell(each, phone=phone(1))
    shop.clock.now = NOW + AFTER
    assert shop.sweep().found == Counter(abandoned=1, cooldown=1)


def test_of_two_checkouts_of_one_shopper_in_two_shards_in_the_same_moment_one_is_told(
    make_shop: Callable[[int], Shop],
) -> None:
    """The second sweep runs when the first has decided to tell, and has not written it."""
    shop = make_shop(2)
    first, second = next(shop.ids_in(0)), next(shop.ids_in(1))
    for each in (first, second):
        shop.tell(each, phone=phone(1))
    shop.clock.now = NOW + AFTER
    found = Counter[str]()
    before(shop.client, "TransactWriteItems", once(lambda: found.update(shop.as_another().sweep([1]).found)))
    found += shop.sweep([0]).found
    assert found == Counter(abandoned=1, cooldown=1)
    assert shop.load(second).suppressed is None
    assert shop.load(first).suppressed is Suppression.COOLDOWN


@pytest.mark.parametrize("turn", [0, 1], ids=["the address first", "the phone first"])
def test_of_an_address_and_a_phone_with_that_address_in_the_same_moment_one_is_told(
    make_shop: Callable[[int], Shop], turn: int
) -> None:
    shop = make_shop(2)
    ids = next(shop.ids_in(0)), next(shop.ids_in(1))
    shop.tell(ids[turn], email="asha@shop.example")
    shop.tell(ids[1 - turn], phone=phone(1), email="asha@shop.example")
    shop.clock.now = NOW + AFTER
    found = Counter[str]()
    before(shop.client, "TransactWriteItems", once(lambda: found.update(shop.as_another().sweep([1]).found)))
    found += shop.sweep([0]).found
    assert found == Counter(abandoned=1, cooldown=1)


def test_of_two_checkouts_of_each_shopper_swept_at_once_exactly_one_is_told(
    atomic: None, make_shop: Callable[[int], Shop]
) -> None:
    """Both shards reach a shopper's two checkouts at the same time, and wait for each other to write."""
    shop, rounds = make_shop(2), 60
    shoppers = list(zip(shop.ids_in(0), shop.ids_in(1), range(rounds), strict=False))
    for first, second, number in shoppers:
        shop.stock({first: number, second: number})
        shop.clock.now += timedelta(milliseconds=1)
    shop.clock.now = NOW + AFTER + MINUTE
    both, seen = threading.Barrier(2), set[str]()

    def wait(params: Any) -> None:
        if written(params) not in seen:
            seen.add(written(params))
            with contextlib.suppress(threading.BrokenBarrierError):
                both.wait(timeout=10)

    before(shop.client, "TransactWriteItems", wait)
    swept = shop.sweep()
    while not swept.finished or swept.failed:
        swept = shop.sweep()
    found = shop.load_all(each for pair in shoppers for each in pair[:2])
    for first, second, _ in shoppers:
        assert outcomes([found[first], found[second]]) == {
            ABANDONED_ONCE: 1,
            (Status.ABANDONED, 2, Suppression.COOLDOWN): 1,
        }


# ---------------------------------------------------------------- two at once, and one that dies


def outcomes(checkouts: Iterable[Checkout]) -> Counter[tuple[Status, int, Suppression | None]]:
    """How many stand how, at which version, and why they are not told."""
    return Counter((one.status, one.sequence, one.suppressed) for one in checkouts)


ABANDONED_ONCE = (Status.ABANDONED, 2, None)


def test_two_sweeps_at_once_abandon_each_checkout_exactly_once(
    atomic: None, make_shop: Callable[[int], Shop]
) -> None:
    shop = make_shop(4)
    ids = [f"c{number}" for number in range(240)]
    shop.stock({each: number for number, each in enumerate(ids)})
    shop.clock.now = NOW + AFTER
    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(lambda one: one.sweep(), [shop.as_another(), shop.as_another()]))
    assert sum((run.found["abandoned"] for run in runs), 0) == len(ids)
    assert [run.failed for run in runs] == [0, 0]
    found = shop.load_all(ids).values()
    assert outcomes(found) == {ABANDONED_ONCE: len(ids)}
    assert len({one.event.id for one in found if one.event}) == len(ids)
    assert shop.sweep() == Swept()


def test_what_a_sweep_that_dies_has_not_got_to_the_next_finds_and_nothing_twice(shop: Shop) -> None:
    """It dies after each of its calls in turn, so also where a write is made and not heard of."""
    other, size = shop.as_another(), 4
    for number in range(1, 4 + size + 1):
        ids = [f"{number}-{each}" for each in range(size)]
        shop.clock.now = NOW
        shop.stock({each: 100 * number + place for place, each in enumerate(ids)})
        shop.clock.now = NOW + AFTER
        revive = dies_after(other.client, number)
        with pytest.raises(Killed):
            other.sweep()
        revive()
        shop.sweep()
        assert outcomes(shop.load_all(ids).values()) == {ABANDONED_ONCE: size}


DYING_SWEEP = """
import itertools, sys, threading
from checkout_recovery import wiring
calls = itertools.count(1)
def wait(**_):
    if next(calls) == int(sys.argv[1]):
        print("here", flush=True)
        threading.Event().wait()
client = wiring.checkouts()._client
client.meta.events.register("after-call.dynamodb.TransactWriteItems", wait)
wiring.sweep()(range(wiring.settings().due_shards), lambda: True)
"""
"""Sweeps as the function does until its n-th transaction, and there waits to be killed."""


def test_what_a_killed_process_has_not_got_to_the_next_finds_and_nothing_twice(
    atomic: None, make_shop: Callable[[int], Shop], environment: pytest.MonkeyPatch
) -> None:
    shop = make_shop(4)
    shop.clock.now = NOW - timedelta(days=365)  # the process has a clock of its own
    ids = [f"c{number}" for number in range(80)]
    shop.stock({each: number for number, each in enumerate(ids)})
    shop.clock.now = NOW
    adopt(shop, environment)
    command = [sys.executable, "-c", DYING_SWEEP, "30"]
    paths = os.pathsep.join([str(ROOT / "layers" / "checkout_recovery"), str(ROOT)])
    # DynamoDB Local has tables of its own for each access key.
    environment.setenv("AWS_ACCESS_KEY_ID", access_key())
    environment.setenv("PYTHONPATH", paths)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own interpreter
        assert process.stdout
        assert process.stdout.readline() == "here\n"
        process.kill()
        process.wait()
    done = outcomes(shop.load_all(ids).values())[ABANDONED_ONCE]
    assert 0 < done < len(ids)
    assert shop.sweep().found == Counter(abandoned=len(ids) - done)
    assert outcomes(shop.load_all(ids).values()) == {ABANDONED_ONCE: len(ids)}


def access_key() -> str:
    credentials = boto3.DEFAULT_SESSION.get_credentials() if boto3.DEFAULT_SESSION else None
    assert credentials
    return credentials.access_key


def adopt(shop: Shop, environment: pytest.MonkeyPatch) -> None:
    """Lets the functions find this shop's tables through their environment."""
    environment.setenv("CHECKOUT_TABLE", shop.names["CheckoutTable"])
    environment.setenv("REGISTRY_TABLE", shop.names["RegistryTable"])
    environment.setenv("SHOPPER_TABLE", shop.names["ShopperTable"])
    environment.setenv("DUE_SHARDS", str(shop.shards))
    if "amazonaws" not in shop.client.meta.endpoint_url:
        environment.setenv("AWS_ENDPOINT_URL_DYNAMODB", shop.client.meta.endpoint_url)


# ---------------------------------------------------------------- trouble with some


def spoil(shop: Shop, checkout_id: str) -> None:
    """Makes an item unreadable, as a later version of this code might have left it."""
    shop.client.update_item(
        TableName=shop.names["CheckoutTable"],
        Key=CheckoutTable.key(STORE, checkout_id),
        UpdateExpression="SET #data = :data",
        ExpressionAttributeNames={"#data": "data"},
        ExpressionAttributeValues={":data": {"S": f"{{{phone(1)}"}},
    )


def due_in_turn(shop: Shop, number: int, *, contact: bool = True) -> list[str]:
    """Checkouts of as many shoppers, each due a second after the one before; all are due now."""
    ids = [f"c{each}" for each in range(number)]
    shop.stock({each: place if contact else None for place, each in enumerate(ids)}, timedelta(seconds=1))
    shop.clock.now += AFTER
    return ids


def test_an_unreadable_checkout_at_the_head_does_not_keep_the_others_from_being_found(shop: Shop) -> None:
    ids = due_in_turn(shop, 5)
    spoil(shop, ids[0])
    swept = shop.sweep()
    assert (swept.found, swept.failed, swept.finished) == (Counter(abandoned=4), 1, True)
    assert shop.sweep() == Swept(failed=1, oldest=timedelta(seconds=5))


def test_a_checkout_that_cannot_be_decided_does_not_keep_the_others_from_being_found(shop: Shop) -> None:
    ids = due_in_turn(shop, 5)

    def refuse(params: Any) -> None:
        if written(params) == ids[1]:
            raise failure("ValidationException")

    other = shop.as_another()
    before(other.client, "TransactWriteItems", refuse)
    swept = other.sweep()
    assert (swept.found, swept.failed, swept.finished) == (Counter(abandoned=4), 1, True)
    assert shop.sweep().found == Counter(abandoned=1)


def test_a_shopper_whom_others_write_all_the_time_is_left_for_the_next_sweep(shop: Shop) -> None:
    ids = due_in_turn(shop, 3)

    def conflict(params: Any) -> None:
        if written(params) == ids[0]:
            raise failure("TransactionCanceledException", "None", "TransactionConflict")

    other = shop.as_another()
    before(other.client, "TransactWriteItems", conflict)
    swept = other.sweep()
    assert (swept.found, swept.failed, swept.finished) == (Counter(abandoned=2), 1, True)
    assert shop.load(ids[0]).status is Status.ACTIVE
    assert shop.sweep().found == Counter(abandoned=1)


def test_a_cooldown_that_others_write_at_the_same_moment_does_not_keep_the_others_from_being_found(
    shop: Shop,
) -> None:
    shop.tell("told", phone=phone(1))
    shop.clock.now = NOW + AFTER
    shop.sweep()
    shop.tell("held back", phone=phone(1), email="asha@shop.example")
    shop.clock.now += timedelta(seconds=1)
    shop.tell("another's", phone=phone(2))
    shop.clock.now += AFTER
    other = shop.as_another()
    before(other.client, "UpdateItem", once(fails(failure("TransactionConflictException"))))
    other.sweep()
    assert shop.load("another's").status is Status.ABANDONED


THROTTLED = failure("ProvisionedThroughputExceededException")


@pytest.mark.parametrize(
    ("operation", "error"),
    [
        ("Query", THROTTLED),
        ("BatchGetItem", THROTTLED),
        ("TransactWriteItems", THROTTLED),
        ("TransactWriteItems", failure("TransactionCanceledException", "ThrottlingError", "None")),
    ],
    ids=["index", "reads", "writes", "transaction"],
)
def test_what_a_throttled_sweep_leaves_the_next_finds(shop: Shop, operation: str, error: ClientError) -> None:
    ids = due_in_turn(shop, 3)
    other = shop.as_another()
    before(other.client, operation, fails(error))
    swept = other.sweep()
    assert (swept.found, swept.finished) == (Counter(), False)
    assert outcomes(shop.load_all(ids).values()) == {(Status.ACTIVE, 1, None): 3}
    assert shop.sweep().found == Counter(abandoned=3)


@pytest.mark.parametrize("operation", ["Query", "BatchGetItem", "TransactWriteItems"])
def test_a_sweep_that_cannot_work_says_so_in_a_metric_that_has_an_alarm(
    shop: Shop, capsys: pytest.CaptureFixture[str], operation: str
) -> None:
    """Nothing is read while a table is down: that nothing is known to wait must not look like health."""
    due_in_turn(shop, 3)
    shop.clock.now += timedelta(hours=1)
    before(shop.client, operation, fails(THROTTLED))
    shop.sweep()
    told = metrics(capsys.readouterr().out)
    assert told["SweepFailures"] > 0 or told.get("OldestDueSeconds", 3600) > 180


@pytest.mark.parametrize("first", ["their-store", STORE])
def test_trouble_with_one_store_does_not_keep_the_others_from_being_found(shop: Shop, first: str) -> None:
    """One store's partition may be throttled by its own traffic."""
    shop.open("their-store")
    for each in sorted(("their-store", STORE), key=lambda each: each != first):
        shop.tell("c1", each, phone=phone(1))
        shop.clock.now += timedelta(seconds=1)
    shop.clock.now += AFTER

    def throttle(params: Any) -> None:
        if params.get("ExpressionAttributeValues", {}).get(":store_id") == {"S": "their-store"}:
            raise THROTTLED

    other = shop.as_another()
    before(other.client, "Query", throttle)
    other.sweep()
    assert shop.load("c1").status is Status.ABANDONED
    assert shop.load("c1", "their-store").status is Status.ACTIVE
    assert shop.sweep().found == Counter(abandoned=1)


# ---------------------------------------------------------------- more than one run takes


def time_for(checkouts: int) -> Callable[[], bool]:
    asked = count()
    return lambda: next(asked) < checkouts


def test_what_a_sweep_has_no_time_for_the_next_finds_the_longest_due_first(shop: Shop) -> None:
    ids = due_in_turn(shop, 230, contact=False)  # moto copies a table for each transaction
    done = 0
    for checkouts, finished in ((40, False), (110, False), (500, True)):
        swept = shop.sweep(has_time=time_for(checkouts))
        taken = min(checkouts, len(ids) - done)
        assert (swept.found["no_contact"], swept.failed, swept.finished) == (taken, 0, finished)
        assert swept.oldest == timedelta(seconds=len(ids) - done)
        done += taken
        found = shop.load_all(ids)
        assert [found[each].sequence for each in ids] == [2] * done + [1] * (len(ids) - done)


def test_a_sweep_without_time_changes_nothing(shop: Shop) -> None:
    ids = due_in_turn(shop, 3)
    assert shop.sweep(has_time=lambda: False) == Swept(oldest=timedelta(seconds=3), finished=False)
    assert outcomes(shop.load_all(ids).values()) == {(Status.ACTIVE, 1, None): 3}


def test_what_becomes_due_during_a_sweep_is_for_the_next(shop: Shop) -> None:
    due_in_turn(shop, 2)
    other = shop.as_another()
    before(shop.client, "TransactWriteItems", once(lambda: other.tell("new", phone=phone(9))))
    assert shop.sweep().found == Counter(abandoned=2)
    shop.clock.now += AFTER
    assert shop.sweep().found == Counter(abandoned=1)


def test_a_sweep_looks_at_the_shards_that_it_is_given(make_shop: Callable[[int], Shop]) -> None:
    shop = make_shop(3)
    ids = [next(shop.ids_in(shard)) for shard in range(3)]
    shop.stock({each: number for number, each in enumerate(ids)})
    shop.clock.now = NOW + AFTER
    shop.sweep([0, 2])
    found = shop.load_all(ids)
    assert [found[each].sequence for each in ids] == [2, 1, 2]


# ---------------------------------------------------------------- quiet hours

QUIET = QuietHours(start="21:00", end="09:00", timezone="Asia/Kolkata")
NIGHT = datetime(2026, 11, 22, 17, tzinfo=UTC)
MORNING = datetime(2026, 11, 23, 3, 30, tzinfo=UTC)


@pytest.fixture
def quiet(shop: Shop) -> Shop:
    """A shop with quiet hours, and a checkout that was left at night and has been found."""
    shop.registry.update_store(STORE, StoreSettings(quiet_hours=QUIET), NOW)
    shop.clock.now = NIGHT
    shop.tell("c1", phone=phone(1))
    shop.clock.now = NIGHT + AFTER
    assert shop.sweep().found == Counter(quiet_hours=1)
    return shop


def test_at_night_a_checkout_is_abandoned_and_waits_for_the_morning_to_be_told(quiet: Shop) -> None:
    held = quiet.load("c1")
    assert (held.status, held.abandoned_at, held.due_at) == (Status.ABANDONED, NIGHT + AFTER, MORNING)
    assert (held.told_at, quiet.shoppers.known(held.handles).shopper.told_at) == (None, None)


def test_what_quiet_hours_held_back_is_told_when_they_end_and_not_before(quiet: Shop) -> None:
    quiet.clock.now = MORNING - timedelta(milliseconds=1)
    assert quiet.sweep() == Swept()
    quiet.clock.now = MORNING
    assert quiet.sweep().found == Counter(abandoned=1)
    told = quiet.load("c1")
    assert (told.abandoned_at, told.told_at, told.suppressed, told.sequence) == (
        NIGHT + AFTER,
        MORNING,
        None,
        3,
    )


def test_who_buys_at_night_is_told_nothing_in_the_morning(quiet: Shop) -> None:
    quiet.remember(phone=phone(1))
    quiet.clock.now = MORNING
    assert quiet.sweep().found == Counter(recovered=1)
    assert quiet.load("c1").told_at is None


def test_who_comes_back_at_night_waits_anew(quiet: Shop) -> None:
    quiet.clock.now = MORNING - MINUTE
    quiet.tell("c1", name="Asha")
    quiet.clock.now = MORNING
    assert quiet.sweep() == Swept()
    quiet.clock.now = MORNING - MINUTE + AFTER
    assert quiet.sweep().found == Counter(abandoned=1)


def test_of_two_checkouts_that_wait_for_the_morning_one_is_told(quiet: Shop) -> None:
    quiet.tell("c2", phone=phone(1))
    quiet.clock.now += AFTER
    quiet.sweep()
    quiet.clock.now = MORNING
    assert quiet.sweep().found == Counter(abandoned=1, cooldown=1)


# ---------------------------------------------------------------- metrics and logs


def metrics(written: str) -> dict[str, float]:
    """The last value of each metric in what was written, which holds nothing but metrics."""
    values: dict[str, float] = {}
    for line in filter(lambda line: "_aws" in line, written.splitlines()):
        entry = json.loads(line)
        (described,) = entry["_aws"]["CloudWatchMetrics"]
        (metric,) = described["Metrics"]
        (values[metric["Name"]],) = entry[metric["Name"]]
    return values


def test_a_sweep_measures_its_lag_what_it_found_and_what_failed(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(shop, due_in_turn(shop, 5)[2])
    shop.clock.now += MINUTE
    shop.sweep()
    assert metrics(capsys.readouterr().out) == {"OldestDueSeconds": 65, "Abandoned": 4, "SweepFailures": 1}


def test_a_sweep_that_finds_nothing_says_that_it_ran(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.sweep()
    assert metrics(capsys.readouterr().out) == {"OldestDueSeconds": 0, "Abandoned": 0, "SweepFailures": 0}


def test_what_the_sweep_finds_bought_is_not_measured_as_abandoned_and_what_it_holds_back_is(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.tell("bought", phone=phone(1))
    shop.tell("no contact")
    shop.clock.now += MINUTE
    shop.remember(phone=phone(1))
    shop.clock.now = NOW + AFTER
    shop.sweep()
    assert metrics(capsys.readouterr().out)["Abandoned"] == 1


def test_an_abandonment_that_may_be_older_than_a_purchase_is_measured_as_abandoned(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.remember(phone=phone(1))
    shop.clock.now += MINUTE
    shop.tell("c1", phone=phone(1))
    shop.clock.now += AFTER
    shop.sweep()
    held = shop.load("c1")
    assert (held.status, held.suppressed) == (Status.ABANDONED, Suppression.COMPLETED)
    assert metrics(capsys.readouterr().out)["Abandoned"] == 1


TEMPLATE = yaml_parse((ROOT / "template.yaml").read_text())


@pytest.mark.parametrize("alarm", ["SweepLagAlarm", "SweepFailuresAlarm"])
def test_the_alarms_watch_the_metrics_that_the_function_emits(
    shop: Shop, environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], alarm: str
) -> None:
    """To CloudWatch a metric with another dimension is another metric."""
    for name, value in TEMPLATE["Resources"]["SweepFunction"]["Properties"]["Environment"][
        "Variables"
    ].items():
        environment.setenv(name, value)
    shop.sweep()
    watched = TEMPLATE["Resources"][alarm]["Properties"]
    dimensions = {each["Name"]: each["Value"] for each in watched.get("Dimensions", ())}
    entries = map(json.loads, filter(lambda line: "_aws" in line, capsys.readouterr().out.splitlines()))
    (entry,) = (one for one in entries if watched["MetricName"] in one)
    (described,) = entry["_aws"]["CloudWatchMetrics"]
    assert {name: entry[name] for name in described["Dimensions"][0]} == dimensions


def test_nothing_of_a_shopper_is_in_a_log_line_or_a_metric(
    shop: Shop, log: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever happens to the checkouts: told, held back, unreadable, refused, in contention, throttled."""
    datum = {
        "phone": phone(1),
        "email": "canary@shop.example",
        "name": "Canary Sharma",
        "checkout_url": "https://shop.example/resume/canary-token",
        "cart_token": "canary-cart",
    }
    ids = ["told", "cooldown", "unreadable", "refused", "contended", "throttled"]
    for each in ids:
        shop.tell(each, **datum)
        shop.clock.now += timedelta(seconds=1)
    spoil(shop, "unreadable")
    errors = {
        "refused": failure("ValidationException"),
        "contended": failure("TransactionConflictException"),
        "throttled": THROTTLED,
    }

    def trip(params: Any) -> None:
        if error := errors.get(written(params)):
            raise error

    for operation in ("PutItem", "TransactWriteItems"):
        before(shop.client, operation, trip)
    shop.clock.now += AFTER
    swept = shop.sweep()
    assert (swept.found, swept.failed) == (Counter(abandoned=1, cooldown=1), 4)
    lines = "\n".join(log) + capsys.readouterr().out
    assert len(log) > 4
    for canary in (phone(1), "canary", "shop.example", *shop.load("told").handles):
        assert canary not in lines.lower()


def test_a_metric_holds_no_id(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.tell("canary-checkout", phone=phone(1))
    shop.clock.now += AFTER
    shop.sweep()
    told = [line for line in capsys.readouterr().out.splitlines() if "_aws" in line]
    assert told
    assert not [line for line in told if "canary" in line or STORE in line]


# ---------------------------------------------------------------- what it costs


def called(client: DynamoDBClient) -> Counter[str]:
    """Counts a client's calls from here on."""
    made = Counter[str]()
    client.meta.events.register("before-call.dynamodb", lambda model, **_: made.update([model.name]))
    return made


READS = {"Query": 2, "BatchGetItem": 2}
"""The index and the store; the checkouts and their shoppers: for up to a hundred checkouts of one store."""


def test_a_checkout_that_is_told_costs_one_transaction(shop: Shop) -> None:
    due_in_turn(shop, 20)
    calls = called(shop.client)
    shop.sweep()
    assert calls == READS | {"TransactWriteItems": 20}


def test_a_checkout_without_a_contact_costs_one_write(shop: Shop) -> None:
    for number in range(5):
        shop.tell(f"c{number}")
    shop.clock.now += AFTER
    calls = called(shop.client)
    shop.sweep()
    assert calls == {"Query": 2, "BatchGetItem": 1, "PutItem": 5}


def test_a_shopper_who_was_told_already_costs_a_write_for_the_checkout_and_one_for_each_handle(
    shop: Shop,
) -> None:
    shop.tell("told", phone=phone(1))
    shop.clock.now += AFTER
    shop.sweep()
    shop.tell("held back", phone=phone(1), email="asha@shop.example")
    shop.clock.now += AFTER
    calls = called(shop.client)
    shop.sweep()
    assert calls == READS | {"UpdateItem": 2, "PutItem": 1}


def test_a_minute_in_which_nothing_is_due_costs_one_query_a_shard(make_shop: Callable[[int], Shop]) -> None:
    shop = make_shop(4)
    calls = called(shop.client)
    shop.sweep()
    assert calls == {"Query": 4}


# ---------------------------------------------------------------- the function

ARN = "arn:aws:lambda:ap-south-1:000000000000:function:SweepFunction:live"
LONG_AGO = NOW - timedelta(days=365)
"""The function has a clock of its own."""


def context(milliseconds: int = 60_000) -> SimpleNamespace:
    return SimpleNamespace(invoked_function_arn=ARN, get_remaining_time_in_millis=lambda: milliseconds)


@pytest.fixture
def invoked(environment: pytest.MonkeyPatch) -> list[tuple[str, str, Any]]:
    """What the function invokes: whom, how and with what. Lambda accepts all of it."""
    made: list[tuple[str, str, Any]] = []

    def accept(request: Any, **_: Any) -> AWSResponse:
        name = unquote(request.url.split("/functions/")[1].removesuffix("/invocations"))
        kind = request.headers["X-Amz-Invocation-Type"].decode()
        made.append((name, kind, json.loads(request.body)))
        return AWSResponse(request.url, 202, {}, io.BytesIO())  # type: ignore[arg-type] # what is read of it

    wiring.functions().meta.events.register_first("before-send.lambda.Invoke", accept)  # type: ignore[arg-type] # it may answer
    return made


@pytest.mark.parametrize("name", sorted(sweep_fixtures()))
def test_the_fixtures_are_up_to_date(name: str) -> None:
    assert (ROOT / "events" / f"{name}.json").read_text() == text_of(sweep_fixtures()[name])
    assert {path.stem for path in (ROOT / "events").glob("sweep-*.json")} == set(sweep_fixtures())


def stocked(make_shop: Callable[[int], Shop], environment: pytest.MonkeyPatch, shards: int) -> Shop:
    """A shop that the function finds, with one checkout due in each shard.

    None tells a contact: moto does not stand transactions in several threads.
    """
    shop = make_shop(shards)
    adopt(shop, environment)
    shop.clock.now = LONG_AGO
    shop.stock(dict.fromkeys(next(shop.ids_in(shard)) for shard in range(shards)))
    return shop


def found_in(shop: Shop) -> list[int]:
    """The shards whose checkout has been abandoned."""
    ids = {next(shop.ids_in(shard)): shard for shard in range(shop.shards)}
    return sorted(ids[each] for each, one in shop.load_all(ids).items() if one.status is Status.ABANDONED)


def test_every_minute_all_shards_are_swept(
    make_shop: Callable[[int], Shop],
    environment: pytest.MonkeyPatch,
    invoked: list[tuple[str, str, Any]],
    event: Callable[[str], Any],
) -> None:
    shop = stocked(make_shop, environment, 8)
    answer = app.handler(event("sweep-scheduled"), context())
    assert answer == {"found": {"no_contact": 8}, "failed": 0, "finished": True}
    assert found_in(shop) == list(range(8))
    assert invoked == []


def test_of_more_shards_than_one_run_takes_each_further_share_is_a_run_of_its_own(
    make_shop: Callable[[int], Shop],
    environment: pytest.MonkeyPatch,
    invoked: list[tuple[str, str, Any]],
    event: Callable[[str], Any],
) -> None:
    shop = stocked(make_shop, environment, 20)
    app.handler(event("sweep-scheduled"), context())
    assert found_in(shop) == list(range(8))
    assert invoked == [(ARN, "Event", {"first_shard": 8}), (ARN, "Event", {"first_shard": 16})]
    for _, _, share in list(invoked):
        app.handler(share, context())
    assert found_in(shop) == list(range(20))
    assert len(invoked) == 2


def test_a_share_is_swept_and_nothing_else(
    make_shop: Callable[[int], Shop],
    environment: pytest.MonkeyPatch,
    invoked: list[tuple[str, str, Any]],
    event: Callable[[str], Any],
) -> None:
    shop = stocked(make_shop, environment, 20)
    app.handler(event("sweep-share"), context())
    assert found_in(shop) == list(range(8, 16))
    assert invoked == []


def test_a_share_of_shards_that_there_are_no_more_is_nothing_to_do(
    make_shop: Callable[[int], Shop], environment: pytest.MonkeyPatch, event: Callable[[str], Any]
) -> None:
    stocked(make_shop, environment, 4)
    assert app.handler(event("sweep-share"), context()) == {"found": {}, "failed": 0, "finished": True}


def test_near_its_end_a_run_leaves_what_is_due_to_the_next(
    make_shop: Callable[[int], Shop], environment: pytest.MonkeyPatch, event: Callable[[str], Any]
) -> None:
    shop = stocked(make_shop, environment, 2)
    answer = app.handler(event("sweep-scheduled"), context(milliseconds=10_000))
    assert answer == {"found": {}, "failed": 0, "finished": False}
    assert app.handler(event("sweep-scheduled"), context())["found"] == {"no_contact": 2}
    assert found_in(shop) == [0, 1]


def test_a_run_that_cannot_start_the_others_sweeps_its_own_share_before_it_fails(
    make_shop: Callable[[int], Shop], environment: pytest.MonkeyPatch, event: Callable[[str], Any]
) -> None:
    shop = stocked(make_shop, environment, 20)
    wiring.functions().meta.events.register(
        "before-call.lambda.Invoke", fails(failure("TooManyRequestsException"))
    )
    with pytest.raises(ClientError):
        app.handler(event("sweep-scheduled"), context())
    assert found_in(shop) == list(range(8))


def test_each_shard_of_a_run_has_a_connection(environment: pytest.MonkeyPatch) -> None:
    """urllib3 closes a connection that its pool has no place for: each call would start TLS anew."""
    config: Any = wiring.checkouts()._client.meta.config
    assert config.max_pool_connections >= app._SHARDS_A_RUN
