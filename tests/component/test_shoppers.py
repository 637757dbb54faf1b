"""ShopperTable against moto, and against Amazon's DynamoDB Local where Java is found."""

import json
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.config import Config
from mypy_boto3_dynamodb import DynamoDBClient

from checkout_recovery.checkout.lifecycle import Checkout
from checkout_recovery.checkout.phone import Phone
from checkout_recovery.checkout.shopper import Purchase, Shopper
from checkout_recovery.checkout.snapshot import Details, Snapshot
from checkout_recovery.errors import Unavailable
from checkout_recovery.purchases import Purchases
from checkout_recovery.tables.checkouts import CheckoutTable
from checkout_recovery.tables.shoppers import KEPT, ShopperTable

NOW = datetime(2026, 11, 22, 10, 0, 0, 123456, tzinfo=UTC)
SECOND = timedelta(seconds=1)
EXPIRES = NOW + timedelta(days=90)
PHONE, OTHER_PHONE, CART, EMAIL = "phone:1", "phone:2", "cart:1", "email:1"


@pytest.fixture
def table(table_client: DynamoDBClient, new_table: Callable[[str], str]) -> ShopperTable:
    return ShopperTable(table_client, new_table("ShopperTable"), sleep=lambda _: None)


def bought(at: datetime = NOW, order_id: str | None = "o-1") -> Purchase:
    return Purchase(time=at, heard_at=at, order_id=order_id)


def items(table: ShopperTable) -> list[Any]:
    return list(table._client.scan(TableName=table.table_name)["Items"])


# ---------------------------------------------------------------- links


def test_the_checkouts_of_a_handle_are_found_the_newest_link_first(table: ShopperTable) -> None:
    for seconds, checkout_id in ((2, "c2"), (1, "c1"), (3, "c3")):
        table.link([PHONE, EMAIL], checkout_id, NOW + seconds * SECOND, EXPIRES)
    table.link([OTHER_PHONE], "another's", NOW, EXPIRES)
    assert table.checkouts_of(PHONE) == table.checkouts_of(EMAIL) == ["c3", "c2", "c1"]


def test_a_handle_that_nobody_has_leads_nowhere(table: ShopperTable) -> None:
    table.remember([PHONE], bought(), NOW)
    assert table.checkouts_of(PHONE) == []


def test_links_are_found_in_order_whenever_they_were_made(table: ShopperTable) -> None:
    """The time is in the key as text: it must sort as a number does."""
    times = [datetime(year, 1, 1, tzinfo=UTC) for year in (1971, 1999, 2001, 2026, 2100)]
    for time in reversed(times):
        table.link([PHONE], str(time.year), time, EXPIRES)
    assert table.checkouts_of(PHONE) == ["2100", "2026", "2001", "1999", "1971"]


def test_a_link_made_again_in_the_same_moment_is_one(table: ShopperTable) -> None:
    for _ in range(2):
        table.link([PHONE], "c1", NOW, EXPIRES)
    assert table.checkouts_of(PHONE) == ["c1"]


def test_of_a_handle_with_very_many_checkouts_the_newest_are_looked_at(table: ShopperTable) -> None:
    for number in range(130):
        table.link([PHONE], f"c{number}", NOW + number * SECOND, EXPIRES)
    found = table.checkouts_of(PHONE)
    assert found == [f"c{number}" for number in range(129, 129 - len(found), -1)]
    assert 25 <= len(found) <= 100  # what one read of checkouts takes


@pytest.mark.parametrize("checkout_id", ["#", "a#b#c", "checkout#1#2", "चेकआउट ☕", "x" * 512])
def test_a_checkout_may_be_called_anything(table: ShopperTable, checkout_id: str) -> None:
    table.link([PHONE], checkout_id, NOW, EXPIRES)
    assert table.checkouts_of(PHONE) == [checkout_id]


def test_more_handles_than_one_call_takes_are_all_linked(table: ShopperTable) -> None:
    handles = [f"phone:{number}" for number in range(60)]
    table.link(handles, "c1", NOW, EXPIRES)
    assert [table.checkouts_of(each) for each in handles] == [["c1"]] * 60


# ---------------------------------------------------------------- what is known of a shopper


def test_of_whom_nobody_has_heard_nothing_is_known(table: ShopperTable) -> None:
    known = table.known([PHONE, EMAIL])
    assert known.shopper == Shopper()
    assert set(known.versions.values()) == {0}


def test_who_has_no_handle_is_not_looked_up(table: ShopperTable) -> None:
    known = table.known([])
    assert (known.shopper, known.handles, known.versions) == (Shopper(), (), {})


def test_a_purchase_is_known_under_each_handle_as_it_was_told(table: ShopperTable) -> None:
    purchase = Purchase(time=NOW - SECOND, heard_at=NOW, order_id="o-1")
    table.remember([PHONE, CART], purchase, NOW)
    for handle in (PHONE, CART):
        assert table.known([handle]).shopper == Shopper(purchase=purchase)


def test_of_several_handles_the_latest_word_counts(table: ShopperTable) -> None:
    table.remember([PHONE], bought(NOW + SECOND, "later"), NOW)
    table.remember([CART], bought(NOW, "earlier"), NOW)
    table.told([PHONE], NOW)
    table.told([CART], NOW + 2 * SECOND)
    known = table.known([PHONE, CART]).shopper
    assert known == Shopper(told_at=NOW + 2 * SECOND, purchase=bought(NOW + SECOND, "later"))


def test_of_each_order_is_known_how_it_was_told_first(table: ShopperTable) -> None:
    first, second = bought(), bought(NOW + SECOND, "o-2")
    for purchase in (first, second):
        table.remember([PHONE], purchase, NOW)
    assert table.known([PHONE, CART]).orders == {"o-1": first, "o-2": second}


def test_of_too_many_orders_the_last_purchase_is_known_all_the_same(table: ShopperTable) -> None:
    for number in range(40):
        table.remember([PHONE], bought(NOW + number * SECOND, f"o-{number}"), NOW)
    known = table.known([PHONE])
    assert known.shopper.purchase == bought(NOW + 39 * SECOND, "o-39")
    assert 0 < len(known.orders) <= 16


def test_who_has_one_of_connected_phones_is_known_by_all_of_them(table: ShopperTable) -> None:
    table.told([PHONE], NOW)
    table.connect([PHONE, OTHER_PHONE], NOW)
    table.connect([OTHER_PHONE, "phone:3"], NOW)
    known = table.known(["phone:3"])
    assert known.shopper == Shopper(told_at=NOW)
    assert set(known.handles) == set(known.versions) == {PHONE, OTHER_PHONE, "phone:3"}
    assert table.known([EMAIL]).handles == (EMAIL,)


def test_a_phone_that_is_everybodys_connects_only_so_many(table: ShopperTable) -> None:
    for number in range(100, 200):
        table.connect([PHONE, f"phone:{number}"], NOW)
    known = table.known([PHONE, CART])
    assert known.handles[:2] == (PHONE, CART)
    assert 10 < len(known.handles) <= 32
    assert claim(table, [PHONE, CART], NOW)()


def test_a_claim_is_void_once_another_phone_is_connected(table: ShopperTable) -> None:
    late = claim(table, [PHONE], NOW + SECOND)
    table.connect([PHONE, OTHER_PHONE], NOW)
    assert not late()


def test_several_shoppers_are_known_apart(table: ShopperTable) -> None:
    table.remember([PHONE], bought(order_id="o-1"), NOW)
    table.told([OTHER_PHONE], NOW)
    known = table.known_of({"a": [PHONE], "b": [OTHER_PHONE], "c": [CART], "d": []})
    assert {name: one.shopper for name, one in known.items()} == {
        "a": Shopper(purchase=bought()),
        "b": Shopper(told_at=NOW),
        "c": Shopper(),
        "d": Shopper(),
    }


def test_more_shoppers_than_one_call_reads_are_all_known(table: ShopperTable) -> None:
    for number in range(0, 230, 10):
        table.told([f"phone:{number}"], NOW + number * SECOND)
    known = table.known_of({number: [f"phone:{number}"] for number in range(230)})
    told = {number: one.shopper.told_at for number, one in known.items() if one.shopper.told_at}
    assert told == {number: NOW + number * SECOND for number in range(0, 230, 10)}
    assert len(known) == 230


def test_an_older_purchase_does_not_replace_a_newer(table: ShopperTable) -> None:
    table.remember([PHONE], bought(NOW, "newer"), NOW)
    table.remember([PHONE, CART], bought(NOW - SECOND, "older"), NOW)
    assert table.known([PHONE]).shopper.purchase == bought(NOW, "newer")
    assert table.known([CART]).shopper.purchase == bought(NOW - SECOND, "older")


def test_a_newer_purchase_replaces_an_older(table: ShopperTable) -> None:
    table.remember([PHONE], bought(NOW, "older"), NOW)
    table.remember([PHONE], bought(NOW + SECOND, "newer"), NOW)
    assert table.known([PHONE]).shopper.purchase == bought(NOW + SECOND, "newer")


def test_a_purchase_may_be_remembered_again(table: ShopperTable) -> None:
    for _ in range(3):
        table.remember([PHONE], bought(), NOW)
    assert table.known([PHONE]).shopper.purchase == bought()


def test_an_earlier_message_does_not_replace_a_later(table: ShopperTable) -> None:
    table.told([PHONE], NOW)
    table.told([PHONE, CART], NOW - SECOND)
    assert table.known([PHONE]).shopper.told_at == NOW
    assert table.known([CART]).shopper.told_at == NOW - SECOND


@pytest.mark.parametrize("later", [timedelta(microseconds=1), SECOND - timedelta(microseconds=123456)])
def test_times_are_compared_as_times_with_and_without_a_fraction(
    table: ShopperTable, later: timedelta
) -> None:
    whole = NOW.replace(microsecond=0)
    table.told([PHONE], whole)
    table.told([PHONE], whole + later)
    table.told([PHONE], whole)
    assert table.known([PHONE]).shopper.told_at == whole + later


def test_a_purchase_and_a_message_are_kept_beside_each_other(table: ShopperTable) -> None:
    table.told([PHONE], NOW)
    table.remember([PHONE], bought(), NOW)
    assert table.known([PHONE]).shopper == Shopper(told_at=NOW, purchase=bought())


# ---------------------------------------------------------------- phones with one e-mail address


@pytest.mark.parametrize(
    ("teller", "reader", "is_one"),
    [
        ([PHONE, EMAIL], [EMAIL], True),
        ([EMAIL], [PHONE, EMAIL], True),
        ([EMAIL], [EMAIL], True),
        ([PHONE], [PHONE, EMAIL], True),
        ([PHONE, EMAIL], [OTHER_PHONE, EMAIL], False),
        ([CART, PHONE, EMAIL], [CART, OTHER_PHONE, EMAIL], True),
        ([CART, EMAIL], [OTHER_PHONE, EMAIL], True),
    ],
)
def test_an_address_connects_only_where_one_side_has_no_phone(
    table: ShopperTable, teller: Sequence[str], reader: Sequence[str], is_one: bool
) -> None:
    table.told(teller, NOW)
    table.remember(teller, bought(), NOW)
    known = table.known(reader).shopper
    assert known == (Shopper(told_at=NOW, purchase=bought()) if is_one else Shopper())


# ---------------------------------------------------------------- claims


def claim(table: ShopperTable, handles: Sequence[str], told_at: datetime) -> Callable[[], bool]:
    """Reads a shopper; returns what claims them by what was read, and says whether it did."""
    actions: Any = table.claims(table.known(handles), told_at)

    def make() -> bool:
        try:
            table._client.transact_write_items(TransactItems=actions)
        except table._client.exceptions.TransactionCanceledException:
            return False
        return True

    return make


def test_a_claim_is_known_under_each_handle(table: ShopperTable) -> None:
    assert claim(table, [CART, PHONE, EMAIL], NOW)()
    for handle in (CART, PHONE, EMAIL):
        assert table.known([handle]).shopper.told_at == NOW


def test_a_shopper_can_be_claimed_again_by_who_has_read_the_first_claim(table: ShopperTable) -> None:
    assert claim(table, [PHONE, EMAIL], NOW)()
    assert claim(table, [PHONE, EMAIL], NOW + SECOND)()
    assert table.known([PHONE]).shopper.told_at == NOW + SECOND


MEANWHILE: dict[str, Callable[[ShopperTable, Sequence[str]], object]] = {
    "claimed": lambda table, handles: claim(table, handles, NOW)(),
    "told": lambda table, handles: table.told(handles, NOW),
    "bought": lambda table, handles: table.remember(handles, bought(), NOW),
}


@pytest.mark.parametrize("meanwhile", MEANWHILE)
@pytest.mark.parametrize("is_known", [False, True], ids=["unknown before", "known before"])
@pytest.mark.parametrize(
    ("reader", "writer"),
    [
        ([PHONE], [PHONE]),
        ([CART, PHONE], [OTHER_PHONE, CART]),
        ([PHONE, EMAIL], [EMAIL]),
        ([EMAIL], [PHONE, EMAIL]),
        ([EMAIL], [EMAIL]),
    ],
    ids=str,
)
def test_a_claim_fails_if_the_shopper_was_written_since_it_was_read(
    table: ShopperTable, meanwhile: str, is_known: bool, reader: Sequence[str], writer: Sequence[str]
) -> None:
    if is_known:
        for handles in (reader, writer):
            table.told(handles, NOW - SECOND)
    stale = claim(table, reader, NOW + SECOND)
    MEANWHILE[meanwhile](table, writer)
    assert not stale()
    assert table.known(reader).shopper.told_at != NOW + SECOND


def test_a_claim_is_not_in_the_way_of_another_shoppers(table: ShopperTable) -> None:
    first, second = claim(table, [PHONE, EMAIL], NOW), claim(table, [OTHER_PHONE, EMAIL], NOW)
    assert first()
    assert second()


def test_of_claims_at_the_same_moment_one_is_made(atomic: None, table: ShopperTable) -> None:
    """By phone, by address, and by both: all of them are one shopper."""
    shoppers = ([PHONE], [EMAIL, PHONE], [PHONE, CART])
    for turn in range(30):
        told_at = NOW + turn * SECOND
        claims = [claim(table, handles, told_at) for handles in shoppers]
        start = threading.Barrier(len(claims))

        def make(one: Callable[[], bool], start: threading.Barrier = start) -> bool:
            start.wait(timeout=10)
            return one()

        with ThreadPoolExecutor(len(claims)) as pool:
            made = list(pool.map(make, claims))
        assert sum(made) <= 1
        if not any(made):  # each may give way to the others; who tries again gets it
            assert claim(table, shoppers[0], told_at)()
        assert table.known([PHONE]).shopper.told_at == told_at


# ---------------------------------------------------------------- expiry, and what is in the table


def test_a_link_may_be_deleted_when_its_checkout_may(table: ShopperTable) -> None:
    table.link([PHONE], "c1", NOW, EXPIRES)
    assert [int(item["expires_at"]["N"]) for item in items(table)] == [int(EXPIRES.timestamp())]


@pytest.mark.parametrize("write", ["remember", "told", "claim"])
def test_a_record_is_kept_longer_than_any_cooldown(table: ShopperTable, write: str) -> None:
    match write:
        case "remember":
            table.remember([PHONE], bought(), NOW)
        case "told":
            table.told([PHONE], NOW)
        case _:
            claim(table, [PHONE], NOW)()
    (item,) = items(table)
    assert int(item["expires_at"]["N"]) == int((NOW + KEPT).timestamp())
    assert timedelta(days=30) < KEPT


def test_a_record_is_kept_as_long_as_the_latest_thing_in_it(table: ShopperTable) -> None:
    """A late snapshot of a checkout that was bought weeks ago has its purchase remembered again."""
    table.told([PHONE], NOW)
    table.remember([PHONE], bought(NOW - timedelta(days=20)), NOW)
    (item,) = items(table)
    assert int(item["expires_at"]["N"]) == int((NOW + KEPT).timestamp())


def test_no_item_holds_a_datum_of_the_shopper(
    table: ShopperTable, table_client: DynamoDBClient, new_table: Callable[[str], str]
) -> None:
    details = Details(
        phone=Phone.of("9876543210", "91"),
        email="Canary@shop.example",
        name="Canary Sharma",
        cart_token="canary-cart",
        checkout_url="https://shop.example/resume/canary",
    )
    checkouts = CheckoutTable(table_client, new_table("CheckoutTable"), due_shards=8)
    purchases = Purchases(checkouts, table, lambda: b"key")
    before = Checkout(store_id="my-store", checkout_id="c1")
    after = before.apply(Snapshot(checkout_id="c1", details=details), NOW, timedelta(minutes=15))
    assert isinstance(after, Checkout)
    known_by = purchases.recognise(before, after, NOW, EXPIRES).handles
    purchases.remember(known_by, bought(), NOW)
    assert claim(table, known_by, NOW)()
    held = json.dumps(items(table)).lower()
    assert len(items(table)) == 2 * len(known_by) == 6
    for datum in ("9876543210", "canary", "shop.example", "sharma"):
        assert datum not in held


# ---------------------------------------------------------------- a table that is slow or down


class Throttled:
    """A client that leaves the first of each batch unprocessed, some times or for ever."""

    def __init__(self, times: int) -> None:
        self.left = times
        self.written: list[Any] = []

    def batch_write_item(self, RequestItems: dict[str, Any]) -> dict[str, Any]:  # noqa: N803 - boto3's name
        ((table, puts),) = RequestItems.items()
        self.left -= 1
        self.written += puts if self.left < 0 else puts[1:]
        return {"UnprocessedItems": {} if self.left < 0 else {table: puts[:1]}}

    def batch_get_item(self, RequestItems: dict[str, Any]) -> dict[str, Any]:  # noqa: N803 - boto3's name
        ((table, request),) = RequestItems.items()
        self.left -= 1
        done = request["Keys"] if self.left < 0 else request["Keys"][1:]
        left = {} if self.left < 0 else {table: request | {"Keys": request["Keys"][:1]}}
        told = {"told_at": {"S": NOW.isoformat()}, "version": {"N": "1"}}
        return {"Responses": {table: [key | told for key in done]}, "UnprocessedKeys": left}


def throttled(times: int, slept: list[float]) -> tuple[Throttled, ShopperTable]:
    client = Throttled(times)
    return client, ShopperTable(client, "ShopperTable", sleep=slept.append)  # type: ignore[arg-type] # a fake


def test_what_dynamodb_left_unprocessed_is_asked_again_after_ever_longer_pauses() -> None:
    slept: list[float] = []
    client, table = throttled(2, slept)
    table.link([PHONE, EMAIL], "c1", NOW, EXPIRES)
    assert [put["PutRequest"]["Item"]["handle"]["S"] for put in client.written] == [EMAIL, PHONE]
    _, table = throttled(2, slept)
    assert set(table.known([PHONE, CART]).versions.values()) == {1}
    assert len(slept) == 4
    assert slept[0] < slept[1]


def test_a_table_that_stays_throttled_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        throttled(99, [])[1].link([PHONE], "c1", NOW, EXPIRES)
    with pytest.raises(Unavailable):
        throttled(99, [])[1].known([PHONE])


def test_a_table_that_cannot_be_reached_is_unavailable(environment: pytest.MonkeyPatch) -> None:
    nowhere = boto3.client(
        "dynamodb",
        endpoint_url="http://127.0.0.1:9",
        config=Config(connect_timeout=1, retries={"total_max_attempts": 1}),
    )
    table = ShopperTable(nowhere, "ShopperTable", sleep=lambda _: None)
    calls: list[Callable[[], object]] = [
        lambda: table.link([PHONE], "c1", NOW, EXPIRES),
        lambda: table.checkouts_of(PHONE),
        lambda: table.known([PHONE]),
        lambda: table.remember([PHONE], bought(), NOW),
        lambda: table.told([PHONE], NOW),
    ]
    for call in calls:
        with pytest.raises(Unavailable):
            call()
