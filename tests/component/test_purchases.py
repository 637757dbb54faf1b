"""What a purchase ends, through the real tables, on moto and on Amazon's DynamoDB Local.

Snapshots and orders go the way of their requests; what happens in the midst of one is brought about by the
client's own hooks: another request, or the end of the process.
"""

import contextlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from typing import Any

import boto3
import pytest
from mypy_boto3_dynamodb import DynamoDBClient

from checkout_recovery.abandonment import Abandonments
from checkout_recovery.checkout.lifecycle import Checkout, Status, Suppression
from checkout_recovery.checkout.phone import Phone
from checkout_recovery.checkout.snapshot import Details
from checkout_recovery.erasure import Erasures
from checkout_recovery.ingest import Ingest, Result
from checkout_recovery.providers.provider import Request
from checkout_recovery.purchases import Purchases
from checkout_recovery.queues import RejectedEvents
from checkout_recovery.secrets import Secrets
from checkout_recovery.subscriptions.directory import StoreDirectory
from checkout_recovery.subscriptions.store import Store, StoreSettings
from checkout_recovery.sweep import Sweep, Swept
from checkout_recovery.tables.captures import Captures
from checkout_recovery.tables.checkouts import CheckoutTable
from checkout_recovery.tables.erasures import ErasureLog
from checkout_recovery.tables.registry import RegistryTable
from checkout_recovery.tables.shoppers import ShopperTable
from tests.subscriptions import subscription

STORE = "my-store"
NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
AFTER = 15 * MINUTE
COOLDOWN = timedelta(hours=24)
TABLES = ("CheckoutTable", "RegistryTable", "ShopperTable")
PHONE, OTHER_PHONE, THIRD_PHONE = "9876543210", "9876543211", "9876543212"
EMAIL, CART = "asha@shop.example", "cart-1"


class Clock:
    """What the time is; tests set it."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


class Shop:
    """A store as one process sees it, and what happens there."""

    def __init__(self, client: DynamoDBClient, names: Mapping[str, str], clock: Clock) -> None:
        self.client = client
        self.names = names
        self.clock = clock
        self.checkouts = CheckoutTable(client, names["CheckoutTable"], 1, sleep=lambda _: None)
        self.registry = RegistryTable(client, names["RegistryTable"])
        self.shoppers = ShopperTable(client, names["ShopperTable"], sleep=lambda _: None)
        self.purchases = Purchases(self.checkouts, self.shoppers, lambda: b"key")
        abandonments = Abandonments(self.checkouts, self.shoppers, 90)
        self.log = ErasureLog(client, names["RegistryTable"])
        self.erasures = Erasures(self.checkouts, self.shoppers, self.purchases, self.log)
        self.ingest = Ingest(
            directory=StoreDirectory(self.registry, Secrets(boto3.client("ssm"), "stack")),
            registry=self.registry,
            checkouts=self.checkouts,
            purchases=self.purchases,
            abandonments=abandonments,
            erasures=self.erasures,
            captures=Captures(client, names["RegistryTable"]),
            rejected=RejectedEvents(boto3.client("sqs"), "https://sqs.invalid/rejected"),
            retention_days=90,
        )
        self._sweep = Sweep(
            registry=self.registry,
            checkouts=self.checkouts,
            shoppers=self.shoppers,
            abandonments=abandonments,
            now=clock,
            pause=lambda _: None,
        )

    def as_another(self) -> "Shop":
        """The same store as another process sees it: its client has none of this one's hooks."""
        client = boto3.client("dynamodb", endpoint_url=self.client.meta.endpoint_url)
        return Shop(client, self.names, self.clock)

    def open(self) -> None:
        """Registers the store, and a subscription that is told of its abandonments."""
        self.registry.create_store(
            Store(
                store_id=STORE,
                settings=StoreSettings(),
                token_hash="0" * 64,
                revision=1,
                created_at=NOW,
                updated_at=NOW,
            )
        )
        self.registry.create_subscription(subscription(store_id=STORE))

    def tell(self, checkout_id: str, **told: Any) -> list[Result]:
        """A snapshot arrives now."""
        return self._take_in("checkouts", {"checkout_id": checkout_id} | told)

    def order(self, order_id: str | int = "o-1", **told: Any) -> list[Result]:
        """An order arrives now."""
        return self._take_in("orders", {"order_id": order_id} | told)

    def _take_in(self, source: str, told: Mapping[str, Any]) -> list[Result]:
        body = {
            name: {"number": value, "dial_code": "91"} if name == "phone" else value
            for name, value in told.items()
        }
        return self.ingest.from_store(source, STORE, Request({}, json.dumps(body).encode()), self.clock.now)

    def sweep(self) -> Swept:
        return self._sweep([0], lambda: True)

    def load(self, checkout_id: str) -> Checkout:
        return self.checkouts.load(STORE, checkout_id)

    def knows_of(self, order_id: str, phone: str) -> bool:
        """Whether an order is remembered under a phone."""
        handles = self.purchases.handles(STORE, Details(phone=Phone.of(phone, "91")))
        bought = self.shoppers.known(handles).shopper.purchase
        return bought is not None and bought.order_id == order_id

    def bought(self, *checkout_ids: str) -> set[str]:
        """Which of these checkouts have been bought."""
        return {each for each in checkout_ids if self.load(each).is_complete}

    def told(self, *checkout_ids: str) -> set[str]:
        """Of which of these checkouts an abandonment has been told."""
        return {each for each in checkout_ids if self.load(each).told_at}


@pytest.fixture
def make_shop(table_client: DynamoDBClient, new_table: Callable[[str], str]) -> Callable[[], Shop]:
    def make() -> Shop:
        shop = Shop(table_client, {table: new_table(table) for table in TABLES}, Clock())
        shop.open()
        return shop

    return make


@pytest.fixture
def shop(make_shop: Callable[[], Shop]) -> Shop:
    return make_shop()


# ---------------------------------------------------------------- hooks


class Killed(BaseException):
    """The process is gone: nothing of ours may catch it."""


@contextlib.contextmanager
def after_call(client: DynamoDBClient, number: int, act: Callable[[], Any]) -> Iterator[list[int]]:
    """Lets something happen after a client's n-th call; yields a list that holds whether it did."""
    calls, happened = count(1), list[int]()

    def run(**_: Any) -> None:
        if next(calls) == number:
            happened.append(number)
            act()

    client.meta.events.register("after-call.dynamodb", run)
    try:
        yield happened
    finally:
        client.meta.events.unregister("after-call.dynamodb", run)


def die() -> None:
    raise Killed


# ---------------------------------------------------------------- what an order ends


def fill(shop: Shop) -> None:
    """Three open checkouts of one shopper, and three of others."""
    shop.tell("all", phone=PHONE, email=EMAIL, cart_token=CART)
    shop.tell("phone", phone=PHONE)
    shop.tell("address", email=EMAIL)
    shop.tell("another's", phone=OTHER_PHONE, email="bela@shop.example", cart_token="cart-2")
    shop.tell("family's", phone=OTHER_PHONE, email=EMAIL)
    shop.tell("nobody's")
    shop.clock.now += MINUTE


ALL = ("all", "phone", "address", "another's", "family's", "nobody's")


@pytest.mark.parametrize(
    "named",
    [
        {"phone": PHONE},
        {"cart_token": CART},
        {"phone": PHONE, "email": EMAIL, "cart_token": CART},
        {"checkout_id": "all"},
        {"checkout_id": "phone"},
        {"checkout_token": "all"},
    ],
    ids=str,
)
def test_an_order_ends_all_open_checkouts_of_its_shopper_and_nobody_elses(
    shop: Shop, named: dict[str, str]
) -> None:
    fill(shop)
    ended = shop.order(**named)
    assert shop.bought(*ALL) == {"all", "phone", "address"}
    assert {each.checkout_id for each in ended} >= {"all"} & {named.get("checkout_id", "all")}
    assert {shop.load(each).details.order_id for each in ("all", "phone", "address")} == {"o-1"}


def test_an_order_by_an_address_ends_the_checkouts_that_have_it(shop: Shop) -> None:
    shop.tell("first", email=EMAIL)
    shop.tell("second", email=EMAIL.upper())
    shop.tell("another's", email="bela@shop.example")
    shop.clock.now += MINUTE
    shop.order(email=EMAIL)
    assert shop.bought("first", "second", "another's") == {"first", "second"}


def test_an_order_by_an_address_that_two_phones_share_ends_what_the_sweep_would_end(shop: Shop) -> None:
    """Either both checkouts are its shopper's or one is, whoever looks."""
    shop.tell("one phone's", phone=PHONE, email=EMAIL)
    shop.tell("another phone's", phone=OTHER_PHONE, email=EMAIL)
    shop.clock.now += MINUTE
    shop.order(email=EMAIL)
    ended = shop.bought("one phone's", "another phone's")
    shop.clock.now = NOW + AFTER
    shop.sweep()
    assert shop.bought("one phone's", "another phone's") == ended


def test_what_one_checkout_has_told_connects_all_that_share_a_part_of_it(shop: Shop) -> None:
    """From the cart to a phone, from the phone to an address, from the address to who has only that."""
    shop.tell("cart", cart_token=CART)
    shop.tell("cart and phone", cart_token=CART, phone=PHONE)
    shop.tell("phone and address", phone=PHONE, email=EMAIL)
    shop.tell("address", email=EMAIL)
    shop.clock.now += MINUTE
    names = ("cart", "cart and phone", "phone and address", "address")
    assert {each.checkout_id for each in shop.order(cart_token=CART)} == set(names)
    assert shop.bought(*names) == set(names)


def test_a_checkout_bought_before_still_connects_what_shares_a_part_of_it(shop: Shop) -> None:
    shop.tell("before", cart_token=CART, phone=PHONE, completed=True)
    shop.clock.now += timedelta(hours=1)
    shop.tell("cart", cart_token=CART)
    shop.tell("phone", phone=PHONE)
    shop.clock.now += MINUTE
    shop.tell("phone", phone=PHONE, completed=True)
    assert shop.bought("cart", "phone") == {"cart", "phone"}


def test_a_purchase_in_one_checkout_ends_the_shoppers_others(shop: Shop) -> None:
    fill(shop)
    shop.tell("all", completed=True)
    assert shop.bought(*ALL) == {"all", "phone", "address"}


def test_each_checkout_is_ended_by_one_write(shop: Shop) -> None:
    fill(shop)
    shop.order(phone=PHONE, email=EMAIL, cart_token=CART)
    assert [shop.load(each).sequence for each in ALL] == [2, 2, 2, 1, 1, 1]


def test_an_order_that_comes_again_writes_no_checkout_again(shop: Shop) -> None:
    fill(shop)
    for _ in range(3):
        shop.order(phone=PHONE, email=EMAIL, cart_token=CART)
        shop.clock.now += MINUTE
    assert [shop.load(each).sequence for each in ALL] == [2, 2, 2, 1, 1, 1]


DATED = {"completed_at": NOW.isoformat()}


@pytest.mark.parametrize(
    ("named", "newer"),
    [
        ({}, False),
        (DATED, False),
        ({}, True),
        (DATED, True),
    ],
    ids=["undated", "dated", "undated after a newer one", "dated after a newer one"],
)
def test_an_order_that_comes_again_a_day_later_ends_nothing_that_began_after_it(
    shop: Shop, named: dict[str, str], newer: bool
) -> None:
    """Senders repeat for two days what was not answered in time; the shopper may be back by then."""
    shop.order("o-1", phone=PHONE, **named)
    if newer:
        shop.clock.now += timedelta(hours=1)
        shop.order("o-2", phone=PHONE)
    shop.clock.now = NOW + timedelta(hours=23)
    shop.tell("c1", phone=PHONE)
    shop.clock.now += MINUTE
    shop.order("o-1", phone=PHONE, **named)
    assert shop.bought("c1") == set()


@pytest.mark.parametrize("contact", [{}, {"phone": PHONE}], ids=["nothing else", "the phone too"])
def test_the_order_of_a_checkout_that_told_its_purchase_ends_nothing_that_began_after_it(
    shop: Shop, contact: dict[str, str]
) -> None:
    """Its snapshot came first; the order names it, with its own id and date, hours later."""
    shop.tell("c1", phone=PHONE, completed=True)
    bought_at = shop.clock.now
    shop.clock.now += timedelta(hours=1)
    shop.tell("c2", phone=PHONE)
    shop.clock.now += timedelta(hours=2)
    shop.order(checkout_id="c1", completed_at=bought_at.isoformat(), **contact)
    assert shop.bought("c1", "c2") == {"c1"}
    assert shop.load("c1").details.order_id == "o-1"


def test_what_a_bought_checkout_still_tells_ends_nothing_that_began_after_the_purchase(shop: Shop) -> None:
    shop.tell("c1", phone=PHONE, completed=True)
    shop.clock.now = NOW + timedelta(hours=23)
    shop.tell("c2", phone=PHONE)
    shop.clock.now += MINUTE
    shop.tell("c1", phone=PHONE, name="Asha", completed=True)
    assert shop.bought("c1", "c2") == {"c1"}


def test_an_abandoned_checkout_is_recovered_by_an_order_and_an_active_one_completed(shop: Shop) -> None:
    shop.tell("left", phone=PHONE)
    shop.clock.now = NOW + AFTER
    shop.sweep()
    shop.tell("open", phone=PHONE)
    shop.clock.now += MINUTE
    shop.order(phone=PHONE)
    assert shop.load("left").status is Status.RECOVERED
    assert shop.load("left").recovered_after == MINUTE
    assert shop.load("open").status is Status.COMPLETED


def test_a_checkout_that_was_quiet_for_more_than_a_week_is_not_ended_by_the_same_shoppers_order(
    shop: Shop,
) -> None:
    shop.tell("old", phone=PHONE)
    shop.clock.now = NOW + timedelta(days=7, seconds=1)
    shop.tell("new", phone=PHONE)
    shop.clock.now += MINUTE
    shop.order(phone=PHONE)
    assert shop.bought("old", "new") == {"new"}


def test_an_unreadable_checkout_does_not_keep_the_others_from_being_ended(shop: Shop) -> None:
    fill(shop)
    shop.client.update_item(
        TableName=shop.names["CheckoutTable"],
        Key=CheckoutTable.key(STORE, "all"),
        UpdateExpression="SET #data = :data",
        ExpressionAttributeNames={"#data": "data"},
        ExpressionAttributeValues={":data": {"S": "{"}},
    )
    shop.order(phone=PHONE)
    assert shop.bought("phone") == {"phone"}


# ---------------------------------------------------------------- the order first


def test_a_checkout_that_was_before_an_order_and_is_heard_of_after_it_is_bought(shop: Shop) -> None:
    shop.order(phone=PHONE)
    shop.clock.now += MINUTE
    shop.tell("c1", phone=PHONE, event_time=(NOW - MINUTE).isoformat())
    held = shop.load("c1")
    assert (held.status, held.details.order_id, held.due_at) == (Status.COMPLETED, "o-1", None)


def test_a_checkout_that_was_before_an_order_is_bought_once_it_tells_whose_it_is(shop: Shop) -> None:
    shop.order(phone=PHONE)
    shop.clock.now += MINUTE
    shop.tell("c1", event_time=(NOW - 2 * MINUTE).isoformat())
    assert shop.bought("c1") == set()
    shop.tell("c1", event_time=(NOW - MINUTE).isoformat(), phone=PHONE)
    assert shop.bought("c1") == {"c1"}


def test_what_a_late_checkout_connects_is_bought_with_it(shop: Shop) -> None:
    shop.tell("address", email=EMAIL)
    shop.clock.now += MINUTE
    shop.order(phone=PHONE)
    shop.tell("both", phone=PHONE, email=EMAIL, event_time=NOW.isoformat())
    assert shop.bought("address", "both") == {"address", "both"}


def test_who_shops_again_after_an_order_is_told_of_it(shop: Shop) -> None:
    shop.order(phone=PHONE)
    shop.clock.now += timedelta(hours=1)
    shop.tell("c1", phone=PHONE)
    shop.clock.now += AFTER
    shop.sweep()
    assert shop.told("c1") == {"c1"}


def test_a_checkout_without_a_time_right_after_an_order_is_not_told_of(shop: Shop) -> None:
    """It may be a late telling of what was bought."""
    shop.order(phone=PHONE)
    shop.clock.now += MINUTE
    shop.tell("c1", phone=PHONE)
    shop.clock.now += AFTER
    shop.sweep()
    assert shop.load("c1").suppressed is Suppression.COMPLETED


# ---------------------------------------------------------------- at the same moment

TELLINGS = ({"phone": PHONE}, {"phone": PHONE, "email": EMAIL, "cart_token": CART}, {"email": EMAIL})
ORDERS = ({"phone": PHONE, "email": EMAIL}, {"email": EMAIL, "cart_token": CART, "phone": PHONE})


def never_told(shop: Shop, checkout_id: str) -> None:
    """Whoever came first: the checkout is bought, or will be found so, and nobody hears of an abandonment."""
    shop.clock.now += AFTER
    shop.sweep()
    held = shop.load(checkout_id)
    assert held.is_complete
    assert held.told_at is None
    assert held.status is Status.COMPLETED


@pytest.mark.parametrize("told", TELLINGS, ids=str)
def test_an_order_in_the_midst_of_its_checkouts_first_telling_is_never_missed(
    shop: Shop, told: dict[str, str]
) -> None:
    """Tried at each of the telling's calls in turn.

    Only where the order comes between the look for purchases and the write is it left to the sweep.
    """
    teller = shop.as_another()
    teller.tell("warm", phone=OTHER_PHONE)
    left_to_the_sweep = 0
    for number in count(1):
        shop.clock.now += timedelta(days=8)
        name = f"c{number}"
        order = partial(shop.order, number, phone=PHONE, email=EMAIL)
        with after_call(teller.client, number, order) as happened:
            teller.tell(name, **told)
        if not happened:
            break
        left_to_the_sweep += name not in shop.bought(name)
        never_told(shop, name)
    assert number > 4
    assert left_to_the_sweep == 1


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_a_checkouts_first_telling_in_the_midst_of_its_order_is_never_missed(
    shop: Shop, order: dict[str, str]
) -> None:
    """Tried at each of the order's calls in turn."""
    seller = shop.as_another()
    seller.tell("warm", phone=OTHER_PHONE)
    for number in count(1):
        shop.clock.now += timedelta(days=8)
        name = f"c{number}"
        with after_call(seller.client, number, partial(shop.tell, name, phone=PHONE)) as happened:
            seller.order(number, **order)
        if not happened:
            break
        never_told(shop, name)
    assert number > 4


def test_an_order_and_a_checkout_at_the_same_moment_find_each_other(
    atomic: None, make_shop: Callable[[], Shop]
) -> None:
    shop = make_shop()
    teller, seller = shop.as_another(), shop.as_another()
    with ThreadPoolExecutor(2) as pool:
        for number in range(40):
            phone = f"98765{number:05}"
            requests = [
                pool.submit(teller.tell, f"c{number}", phone=phone, email=f"{number}@shop.example"),
                pool.submit(seller.order, f"o-{number}", phone=phone),
            ]
            for request in requests:
                request.result()
    shop.clock.now += AFTER
    shop.sweep()
    held = [shop.load(f"c{number}") for number in range(40)]
    assert Counter(one.status for one in held) == {Status.COMPLETED: 40}
    assert [one for one in held if one.told_at] == []


def test_a_sweep_in_the_midst_of_an_order_tells_of_nothing_that_is_known_to_be_bought(shop: Shop) -> None:
    """Tried at each of the order's calls in turn."""
    seller = shop.as_another()
    seller.tell("warm", phone=OTHER_PHONE)
    told_in_vain = []
    for number in count(1):
        shop.clock.now += timedelta(days=8)
        ids = [f"{number}-{each}" for each in range(2)]
        for each in ids:
            shop.tell(each, phone=PHONE)
        shop.clock.now += AFTER
        known: list[bool] = []

        def sweep(number: int = number, known: list[bool] = known) -> None:
            known.append(shop.knows_of(str(number), PHONE))
            shop.sweep()

        with after_call(seller.client, number, sweep) as happened:
            seller.order(number, phone=PHONE)
        if not happened:
            break
        assert shop.bought(*ids) == set(ids)
        assert len(shop.told(*ids)) == (0 if known[0] else 1)
        told_in_vain.append(not known[0])
    assert len(told_in_vain) > 4
    assert sum(told_in_vain) < 3  # soon after the request has come


# ---------------------------------------------------------------- a request that is cut off


def cut_off(shop: Shop, request: Callable[[Shop, int], Any], *, repeat: bool = True) -> Iterator[int]:
    """Cuts a request off at each of its calls in turn, and has it sent again; yields the number each time.

    Each time there are three checkouts of a new shopper; only the first has an e-mail address, and all that
    connects the other two with it and each other is in the first.
    """
    dying = shop.as_another()
    dying.tell("warm", phone="9876500000")
    for number in count(1):
        shop.clock.now += timedelta(days=8)
        first, phone, cart = shopper(number)
        shop.tell(first["checkout_id"], **first["told"])
        shop.tell(phone["checkout_id"], **phone["told"])
        shop.tell(cart["checkout_id"], **cart["told"])
        shop.clock.now += MINUTE
        with after_call(dying.client, number, die) as happened, contextlib.suppress(Killed):
            request(dying, number)
        if not happened:
            assert number > 4
            return
        shop.clock.now += timedelta(seconds=10)
        if repeat:
            request(shop, number)
        yield number


def shopper(number: int) -> tuple[Any, Any, Any]:
    phone, cart = {"phone": f"98765{number:05}"}, {"cart_token": f"cart-{number}"}
    everything = phone | cart | {"email": f"{number}@shop.example"}
    tellings = (everything, phone, cart)
    names = ("first", "phone", "cart")
    first, by_phone, by_cart = (
        {"checkout_id": f"{number}-{name}", "told": told} for name, told in zip(names, tellings, strict=True)
    )
    return first, by_phone, by_cart


REQUESTS: dict[str, Callable[[Shop, int], Any]] = {
    "an order by the address": lambda shop, n: shop.order(f"o-{n}", email=f"{n}@shop.example"),
    "an order by the phone": lambda shop, n: shop.order(f"o-{n}", phone=f"98765{n:05}"),
    "an order of the checkout": lambda shop, n: shop.order(f"o-{n}", checkout_id=f"{n}-first"),
    "the last snapshot": lambda shop, n: shop.tell(f"{n}-first", event_id="e", completed=True),
}


def three(number: int) -> set[str]:
    return {f"{number}-{name}" for name in ("first", "phone", "cart")}


@pytest.mark.parametrize("request_", REQUESTS)
def test_a_purchase_that_was_cut_off_and_comes_again_ends_all_that_it_would_have_ended(
    shop: Shop, request_: str
) -> None:
    left = [
        (number, sorted(open_))
        for number in cut_off(shop, REQUESTS[request_])
        if (open_ := three(number) - shop.bought(*three(number)))
    ]
    assert left == []


def test_a_purchase_that_was_cut_off_once_it_is_remembered_is_found_by_the_sweep(shop: Shop) -> None:
    """Nobody sends it again: what shares a handle with the order is never told of."""
    remembered = 0
    for number in cut_off(shop, REQUESTS["an order by the phone"], repeat=False):
        shop.clock.now += AFTER
        shop.sweep()
        if shop.knows_of(f"o-{number}", f"98765{number:05}"):
            assert shop.told(f"{number}-first", f"{number}-phone") == set()
            remembered += 1
    assert remembered > 4


# ---------------------------------------------------------------- a corrected phone


def leave(shop: Shop, checkout_id: str, **told: Any) -> Suppression | None:
    """A shopper tells something and leaves; returns why the abandonment is not told."""
    shop.tell(checkout_id, **told)
    shop.clock.now += AFTER
    shop.sweep()
    held = shop.load(checkout_id)
    assert held.status is Status.ABANDONED
    return held.suppressed


def test_after_a_message_to_one_phone_none_goes_to_the_phone_that_corrects_it(shop: Shop) -> None:
    assert leave(shop, "c1", phone=PHONE) is None
    assert leave(shop, "c1", phone=OTHER_PHONE) is Suppression.COOLDOWN
    shop.clock.now = NOW + AFTER + COOLDOWN
    assert leave(shop, "c1", name="Asha") is None


def test_after_a_message_to_one_phone_none_goes_to_another_checkout_of_the_phone_that_corrects_it(
    shop: Shop,
) -> None:
    shop.tell("c1", phone=PHONE)
    shop.clock.now += MINUTE
    shop.tell("c2", phone=OTHER_PHONE)
    shop.clock.now = NOW + AFTER
    shop.sweep()
    assert shop.told("c1", "c2") == {"c1"}
    shop.tell("c1", phone=OTHER_PHONE)
    shop.clock.now += MINUTE
    shop.sweep()
    assert shop.load("c2").suppressed is Suppression.COOLDOWN
    assert leave(shop, "c3", phone=OTHER_PHONE) is Suppression.COOLDOWN


def test_a_phone_that_is_corrected_before_the_message_is_spoken_for_by_it(shop: Shop) -> None:
    shop.tell("c1", phone=PHONE)
    assert leave(shop, "c1", phone=OTHER_PHONE) is None
    assert leave(shop, "c2", phone=PHONE) is Suppression.COOLDOWN
    assert leave(shop, "c3", phone=OTHER_PHONE) is Suppression.COOLDOWN


def test_what_another_checkout_tells_of_a_correction_counts_too(shop: Shop) -> None:
    assert leave(shop, "c1", phone=PHONE) is None
    shop.tell("c2", phone=PHONE)
    shop.tell("c2", phone=OTHER_PHONE)
    assert leave(shop, "c3", phone=OTHER_PHONE) is Suppression.COOLDOWN


def test_what_a_checkout_that_is_held_back_connects_is_spoken_for_too(shop: Shop) -> None:
    shop.tell("c1", phone=PHONE)
    shop.clock.now += MINUTE
    shop.tell("c2", phone=PHONE)
    shop.tell("c2", phone=OTHER_PHONE)
    shop.clock.now = NOW + AFTER
    shop.sweep()
    shop.clock.now += MINUTE
    shop.sweep()
    assert (shop.load("c1").suppressed, shop.load("c2").suppressed) == (None, Suppression.COOLDOWN)
    assert leave(shop, "c3", phone=OTHER_PHONE) is Suppression.COOLDOWN


def test_what_a_checkout_that_still_waits_connects_is_spoken_for_too(shop: Shop) -> None:
    """The phone was corrected in a second checkout; the first and the third are due before that."""
    shop.tell("c1", phone=PHONE)
    shop.tell("c3", phone=OTHER_PHONE)
    shop.clock.now += MINUTE
    shop.tell("c2", phone=PHONE)
    shop.tell("c2", phone=OTHER_PHONE)
    shop.clock.now = NOW + AFTER + MINUTE
    shop.sweep()
    assert len(shop.told("c1", "c2", "c3")) == 1


def test_phones_that_several_checkouts_connect_are_one_shopper(shop: Shop) -> None:
    shop.tell("first", phone=PHONE)
    shop.tell("last", phone=THIRD_PHONE)
    shop.clock.now += MINUTE
    for checkout_id, phones in (("c1", (PHONE, OTHER_PHONE)), ("c2", (OTHER_PHONE, THIRD_PHONE))):
        for phone in phones:
            shop.tell(checkout_id, phone=phone)
    shop.clock.now = NOW + AFTER + MINUTE
    shop.sweep()
    assert len(shop.told("first", "last", "c1", "c2")) == 1


def test_a_correction_that_nobody_was_told_of_still_ends_the_other_phones_checkout(shop: Shop) -> None:
    shop.tell("c1", phone=PHONE)
    shop.clock.now += MINUTE
    shop.tell("c2", phone=PHONE)
    shop.tell("c2", phone=OTHER_PHONE)
    shop.clock.now += MINUTE
    shop.order(phone=OTHER_PHONE)
    assert shop.bought("c1", "c2") == {"c1", "c2"}


def test_what_an_order_connects_is_spoken_for_by_the_message(shop: Shop) -> None:
    assert leave(shop, "c1", cart_token=CART, email=EMAIL) is None
    shop.clock.now += MINUTE
    shop.order(cart_token=CART, phone=PHONE)
    assert shop.load("c1").status is Status.RECOVERED
    shop.clock.now += timedelta(hours=1)
    assert leave(shop, "c2", phone=PHONE) is Suppression.COOLDOWN
    shop.clock.now += COOLDOWN
    assert leave(shop, "c3", phone=PHONE) is None


def test_an_address_that_comes_along_is_spoken_for_by_the_message(shop: Shop) -> None:
    assert leave(shop, "c1", phone=PHONE) is None
    shop.tell("c2", phone=PHONE, email=EMAIL)
    assert leave(shop, "c3", email=EMAIL) is Suppression.COOLDOWN


def test_a_phone_half_typed_is_no_other_shopper_than_the_phone(shop: Shop) -> None:
    for digits in range(4, 11):
        shop.tell("c1", phone=PHONE[:digits])
    assert leave(shop, "c1", stage="PHONE_ENTERED") is None
    assert leave(shop, "c2", phone=PHONE) is Suppression.COOLDOWN


def test_a_phone_that_is_corrected_in_the_midst_of_a_sweep_yields_one_message(shop: Shop) -> None:
    """Tried at each of the sweep's calls in turn; another checkout has the other phone, and is due later."""
    sweeper = shop.as_another()
    for number in count(1):
        shop.clock.now += timedelta(days=8)
        first, second = f"{number}-1", f"{number}-2"
        shop.tell(first, phone=PHONE)
        shop.clock.now += MINUTE
        shop.tell(second, phone=OTHER_PHONE)
        shop.clock.now += AFTER - MINUTE
        correct = partial(shop.tell, first, phone=OTHER_PHONE)
        with after_call(sweeper.client, number, correct) as happened:
            sweeper.sweep()
        if not happened:
            break
        for _ in range(2):
            shop.clock.now += AFTER
            shop.sweep()
        assert len(shop.told(first, second)) == 1
    assert number > 4


def test_a_sweep_in_the_midst_of_a_correction_yields_one_message(shop: Shop) -> None:
    """Tried at each of the correction's calls in turn."""
    teller = shop.as_another()
    teller.tell("warm", phone="9876500000")
    for number in count(1):
        shop.clock.now += timedelta(days=8)
        first, second = f"{number}-1", f"{number}-2"
        shop.tell(first, phone=PHONE)
        shop.clock.now += MINUTE
        shop.tell(second, phone=OTHER_PHONE)
        shop.clock.now += AFTER - MINUTE
        with after_call(teller.client, number, shop.sweep) as happened:
            teller.tell(first, phone=OTHER_PHONE)
        if not happened:
            break
        for _ in range(2):
            shop.clock.now += AFTER
            shop.sweep()
        assert len(shop.told(first, second)) == 1
    assert number > 4
