"""DeliveryTable against moto, and against Amazon's DynamoDB Local where Java is found."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from mypy_boto3_dynamodb import DynamoDBClient

from checkout_recovery.checkout.event import Event, EventType
from checkout_recovery.checkout.lifecycle import Checkout, Suppression
from checkout_recovery.delivery.look_up import LookUp
from checkout_recovery.delivery.plan import delivery_id
from checkout_recovery.errors import NotFound, Unavailable
from checkout_recovery.subscriptions.store import Store, StoreSettings
from checkout_recovery.tables.checkouts import CheckoutTable
from checkout_recovery.tables.deliveries import (
    DELIVERY_ID,
    Amended,
    Choice,
    DeliveryRecord,
    DeliveryTable,
    State,
    event_time,
    greatest_id,
    least_id,
)
from checkout_recovery.tables.registry import RegistryTable
from tests.subscriptions import subscription

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
MS = timedelta(milliseconds=1)


@pytest.fixture
def table(table_client: DynamoDBClient, new_table: Callable[[str], str]) -> DeliveryTable:
    return DeliveryTable(table_client, new_table("DeliveryTable"), sleep=lambda _: None)


@pytest.fixture
def registry(table_client: DynamoDBClient, new_table: Callable[[str], str]) -> RegistryTable:
    registry = RegistryTable(table_client, new_table("RegistryTable"))
    registry.create_store(
        Store(
            store_id="my-store",
            settings=StoreSettings(),
            token_hash="0" * 64,
            revision=7,
            created_at=NOW,
            updated_at=NOW,
        )
    )
    return registry


@pytest.fixture
def checkouts(table_client: DynamoDBClient, new_table: Callable[[str], str]) -> CheckoutTable:
    return CheckoutTable(table_client, new_table("CheckoutTable"), due_shards=1)


@pytest.fixture
def look_up(registry: RegistryTable, checkouts: CheckoutTable, table: DeliveryTable) -> LookUp:
    return LookUp(registry, checkouts, table)


def record(id_: str = "dlv_1", subscription_id: str = "sub_1") -> DeliveryRecord:
    return DeliveryRecord(
        subscription_id=subscription_id,
        delivery_id=id_,
        store_id="my-store",
        checkout_id="c1",
        event_id="evt_1",
        event_type="checkout.created",
        sequence=1,
        state=State.DELIVERED,
        attempts=1,
        reason=None,
        status=200,
        latency_ms=12,
        recorded_at=NOW,
        expires_at=NOW + timedelta(days=30),
    )


def suppressed(id_: str, reason: Suppression) -> DeliveryRecord:
    return replace(
        record(id_),
        event_type="checkout.abandoned",
        state=State.SUPPRESSED,
        reason=reason,
        attempts=0,
        status=None,
        latency_ms=None,
    )


def event(kind: EventType = EventType.CREATED, time: datetime = NOW) -> Event:
    return Event(id=f"evt_{kind}_{time.isoformat()}", type=kind, time=time)


def save(checkouts: CheckoutTable, checkout_id: str, kind: EventType) -> Event:
    """Writes a checkout as it stands after an event of this kind."""
    told = Event(id=f"evt_{checkout_id}", type=kind, time=NOW)
    one = Checkout(store_id="my-store", checkout_id=checkout_id, sequence=1, event=told, created_at=NOW)
    checkouts.save(one, NOW + timedelta(days=1))
    return told


# ---------------------------------------------------------------- claims

UNTIL = NOW + timedelta(minutes=1)
NOTHING = Amended(frozenset(), frozenset())


def entries(table: DeliveryTable) -> list[DeliveryRecord]:
    found = table.load_all([("sub_1", "dlv_1"), ("sub_1", "dlv_2")])
    return sorted(found, key=lambda each: each.delivery_id)


def as_read(seen: DeliveryRecord) -> tuple[DeliveryRecord, DeliveryRecord]:
    """Wants an entry to stay as it was read."""
    return seen, seen


def test_a_delivery_is_claimed_once(table: DeliveryTable) -> None:
    table.record([record("dlv_1")])
    wanted = [as_read(record("dlv_1")), (None, record("dlv_2"))]
    mine = table.claim(wanted, NOW, UNTIL)
    assert mine == {id_: replace(record(id_), claimed_until=UNTIL) for id_ in ("dlv_1", "dlv_2")}
    assert entries(table) == [*mine.values()]
    assert table.claim(wanted, NOW, UNTIL + MS) == {}
    assert table.claim(map_to_read(mine), UNTIL - MS, UNTIL + MS) == {}
    assert table.amend(map_to_read(mine), UNTIL - MS) == NOTHING
    assert entries(table) == [*mine.values()]


def map_to_read(
    mine: dict[str, DeliveryRecord],
) -> list[tuple[DeliveryRecord | None, DeliveryRecord]]:
    return [(each, replace(each, claimed_until=None, state=State.PENDING)) for each in mine.values()]


@pytest.mark.parametrize("after", [timedelta(), MS])
def test_a_claim_ends_with_its_time(table: DeliveryTable, after: timedelta) -> None:
    seen = table.claim([(None, record())], NOW, UNTIL)["dlv_1"]
    later = UNTIL + after
    assert table.claim([as_read(seen)], later, later + timedelta(minutes=1)).keys() == {"dlv_1"}


def test_a_claim_ends_with_what_is_recorded(table: DeliveryTable) -> None:
    table.claim([(None, record())], NOW, UNTIL)
    recorded = replace(record(), recorded_at=NOW + MS)
    table.record([recorded])
    assert entries(table) == [recorded]
    assert table.claim([as_read(recorded)], NOW + MS, UNTIL).keys() == {"dlv_1"}


@pytest.mark.parametrize("seen", [record(), None])
def test_what_has_been_recorded_since_it_was_read_is_left_as_it_is(
    table: DeliveryTable, seen: DeliveryRecord | None
) -> None:
    recorded = replace(record(), recorded_at=NOW + MS)
    table.record([recorded])
    assert table.claim([(seen, record())], NOW + MS, UNTIL) == {}
    assert table.amend([(seen, record())], NOW + MS) == NOTHING
    assert entries(table) == [recorded]


def test_a_claim_whose_answer_was_lost_is_known_as_ones_own(table: DeliveryTable) -> None:
    wanted: list[tuple[DeliveryRecord | None, DeliveryRecord]] = [(None, record())]
    assert table.claim(wanted, NOW, UNTIL) == table.claim(wanted, NOW, UNTIL) != {}
    pending = replace(record("dlv_2"), state=State.PENDING)
    for _ in range(2):
        assert table.amend([(None, pending)], NOW).written == {"dlv_2"}


# ---------------------------------------------------------------- before sending


def test_what_is_recorded_is_found_and_the_revision_comes_along(
    table: DeliveryTable, registry: RegistryTable, checkouts: CheckoutTable
) -> None:
    table.record([record("dlv_1"), record("dlv_2")])
    keys = [("sub_1", "dlv_1"), ("sub_1", "dlv_3")]
    look = table.look_up(keys, registry, ["my-store", "gone"], checkouts)
    assert look.recorded == {"dlv_1"}
    assert look.revisions == {"my-store": 7}
    assert look.bought == frozenset()


def test_a_suppressed_delivery_is_recorded_like_any_other(
    table: DeliveryTable, registry: RegistryTable, checkouts: CheckoutTable
) -> None:
    table.record([suppressed("dlv_1", Suppression.COOLDOWN)])
    assert table.look_up([("sub_1", "dlv_1")], registry, [], checkouts).recorded == {"dlv_1"}


def test_of_the_checkouts_that_are_asked_for_those_that_are_bought_are_named(
    table: DeliveryTable, registry: RegistryTable, checkouts: CheckoutTable
) -> None:
    save(checkouts, "bought", EventType.COMPLETED)
    save(checkouts, "won back", EventType.RECOVERED)
    save(checkouts, "abandoned", EventType.ABANDONED)
    save(checkouts, "bought, not asked for", EventType.COMPLETED)
    asked = [("my-store", name) for name in ("bought", "won back", "abandoned", "unknown")]
    look = table.look_up([], registry, ["my-store"], checkouts, [*asked, ("other-store", "bought")])
    assert look.bought == {("my-store", "bought"), ("my-store", "won back")}


def test_more_than_one_call_holds_is_written_and_found(
    table: DeliveryTable, registry: RegistryTable, checkouts: CheckoutTable
) -> None:
    records = [record(f"dlv_{number}") for number in range(130)]
    table.record(records)
    keys = [(one.subscription_id, one.delivery_id) for one in records]
    assert len(table.look_up(keys, registry, ["my-store"], checkouts).recorded) == 130
    assert len(table.load_all(keys)) == 130


def test_nothing_to_look_up_or_record_asks_nothing() -> None:
    client = Throttled(99)
    table = DeliveryTable(client, "DeliveryTable", sleep=lambda _: None)  # type: ignore[arg-type] # a fake
    registry = RegistryTable(client, "RegistryTable")  # type: ignore[arg-type] # the same
    checkouts = CheckoutTable(client, "CheckoutTable", 1)  # type: ignore[arg-type] # the same
    table.record([])
    assert table.look_up([], registry, [], checkouts).recorded == frozenset()
    assert table.load_all([]) == []
    assert client.left == 99


def test_a_later_record_of_a_delivery_replaces_the_earlier(
    table: DeliveryTable, table_client: DynamoDBClient
) -> None:
    table.record([replace(record(), state=State.PENDING, reason="http", status=500)])
    table.record([record()])
    (item,) = table_client.scan(TableName=table.table_name)["Items"]
    assert item["state"] == {"S": "delivered"}
    assert "reason" not in item


# ---------------------------------------------------------------- lists


def test_a_delivery_is_read_as_it_was_recorded(table: DeliveryTable) -> None:
    failed = replace(record("dlv_1"), state=State.PENDING, reason="http", status=503)
    held_back = suppressed("dlv_2", Suppression.NO_CONTACT)
    table.record([failed, held_back])
    assert table.page("sub_1", 10).records == (held_back, failed)
    assert table.load_all([("sub_1", "dlv_1"), ("sub_1", "dlv_3")]) == [failed]


def test_the_newest_event_is_listed_first(table: DeliveryTable) -> None:
    """Also over the turn of a digit, and whatever the rest of an id is."""
    times = [NOW + number * MS for number in range(20)]
    ids = [delivery_id(event(time=time), "sub_1") for time in times]
    assert all(DELIVERY_ID.fullmatch(id_) for id_ in ids)
    table.record([record(id_) for id_ in ids])
    assert [one.delivery_id for one in table.page("sub_1", 100).records] == ids[::-1]


def test_pages_follow_each_other_without_gap_or_repeat(table: DeliveryTable) -> None:
    ids = [f"dlv_{number:02}" for number in range(7)]
    table.record([record(id_) for id_ in ids])
    listed: list[str] = []
    cursor = None
    for _ in range(9):
        page = table.page("sub_1", 3, cursor=cursor)
        assert len(page.records) <= 3
        listed += [one.delivery_id for one in page.records]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert listed == ids[::-1]
    assert cursor is None


@pytest.mark.parametrize(
    ("choice", "found"),
    [
        (Choice(states=(State.SUPPRESSED,)), ["dlv_3", "dlv_2"]),
        (Choice(reason="cooldown"), ["dlv_2"]),
        (Choice(checkout_id="c2"), ["dlv_4"]),
        (Choice(states=(State.DELIVERED,), checkout_id="c1"), ["dlv_1"]),
        (Choice(states=(State.DELIVERED,), reason="cooldown"), []),
        (Choice(states=(State.DELIVERED, State.SUPPRESSED), checkout_id="c1"), ["dlv_3", "dlv_2", "dlv_1"]),
    ],
)
def test_a_list_holds_only_what_fits_all_that_is_asked(
    table: DeliveryTable, choice: Choice, found: list[str]
) -> None:
    table.record(
        [
            record("dlv_1"),
            suppressed("dlv_2", Suppression.COOLDOWN),
            suppressed("dlv_3", Suppression.CONSENT),
            replace(record("dlv_4"), checkout_id="c2"),
        ]
    )
    page = table.page("sub_1", 10, choice)
    assert [one.delivery_id for one in page.records] == found
    assert page.next_cursor is None


def test_what_fits_beyond_the_limit_is_on_the_next_page(table: DeliveryTable) -> None:
    table.record([replace(record(f"dlv_{number}"), checkout_id=f"c{number % 2}") for number in range(8)])
    first = table.page("sub_1", 3, Choice(checkout_id="c1"))
    assert [one.delivery_id for one in first.records] == ["dlv_7", "dlv_5", "dlv_3"]
    second = table.page("sub_1", 3, Choice(checkout_id="c1"), cursor=first.next_cursor)
    assert [one.delivery_id for one in second.records] == ["dlv_1"]
    assert second.next_cursor is None


def test_a_subscription_lists_no_other_ones_deliveries_from_whatever_cursor(table: DeliveryTable) -> None:
    table.record([record("dlv_1", "sub_1"), record("dlv_2", "sub_2"), record("dlv_3", "sub_3")])
    for cursor in (None, "dlv_0", "dlv_2", "dlv_3", "dlv_9"):
        listed = table.page("sub_2", 10, cursor=cursor).records
        assert {one.subscription_id for one in listed} <= {"sub_2"}, cursor
    assert [one.delivery_id for one in table.page("sub_2", 10, cursor="dlv_3").records] == ["dlv_2"]


def test_a_list_since_a_time_has_the_events_of_that_time_and_later(
    look_up: LookUp, table: DeliveryTable
) -> None:
    times = (NOW - MS, NOW, NOW + MS)
    before, then, after = (delivery_id(event(time=time), "sub_1") for time in times)
    table.record([record(id_) for id_ in (before, then, after)])
    page = look_up.deliveries(subscription(), 10, since=NOW)
    assert [one.delivery_id for one in page.records] == [after, then]
    assert look_up.deliveries(subscription(), 10, since=NOW + 2 * MS).records == ()
    long_ago = datetime(1, 1, 1, tzinfo=UTC)
    assert len(look_up.deliveries(subscription(), 10, since=long_ago).records) == 3


def test_a_cursor_from_before_the_time_that_is_asked_for_ends_the_list(
    look_up: LookUp, table: DeliveryTable
) -> None:
    early, late = (delivery_id(event(time=time), "sub_1") for time in (NOW - MS, NOW))
    table.record([record(early), record(late)])
    page = look_up.deliveries(subscription(), 10, since=NOW, cursor=early)
    assert (page.records, page.next_cursor) == ((), None)


@pytest.mark.parametrize(
    ("since", "until", "cursor", "found"),
    [
        ("dlv_2", "dlv_3", None, ["dlv_3", "dlv_2"]),
        ("", "dlv_2", None, ["dlv_2", "dlv_1"]),
        ("dlv_2", "dlv_2", None, ["dlv_2"]),
        ("dlv_3", "dlv_2", None, []),
        ("dlv_1", "dlv_3", "dlv_3", ["dlv_2", "dlv_1"]),
        ("dlv_1", "dlv_3", "dlv_9", ["dlv_3", "dlv_2", "dlv_1"]),
        ("dlv_2", "dlv_3", "dlv_1", []),
    ],
)
def test_a_list_ends_where_it_is_asked_to_whatever_the_cursor(
    table: DeliveryTable, since: str, until: str, cursor: str | None, found: list[str]
) -> None:
    table.record([record(f"dlv_{number}") for number in range(1, 5)])
    page = table.page("sub_1", 10, since=since, until=until, cursor=cursor)
    assert [one.delivery_id for one in page.records] == found
    assert page.next_cursor is None


def test_a_delivery_s_id_tells_the_time_of_its_event_to_the_millisecond() -> None:
    made = delivery_id(event(time=NOW + 7 * MS), "sub_1")
    assert event_time(made) == NOW + 7 * MS
    assert least_id(NOW + 7 * MS) <= made <= greatest_id(NOW + 7 * MS)
    assert greatest_id(NOW + 6 * MS) < made < least_id(NOW + 8 * MS)


@pytest.mark.parametrize("digits", ["0" * 12, "f" * 12])
def test_whatever_id_has_the_form_has_a_time(digits: str) -> None:
    assert event_time(f"dlv_{digits}{'0' * 20}").tzinfo is UTC


class Log:
    """A log of so many entries none of which fits, and what reading it costs."""

    def __init__(self, entries: int) -> None:
        self.left = entries
        self.calls = 0

    def query(self, **query: Any) -> dict[str, Any]:
        self.calls += 1
        self.left -= query["Limit"]
        last = {"delivery_id": {"S": f"dlv_{max(0, self.left)}"}}
        return {"Items": [], **({"LastEvaluatedKey": last} if self.left > 0 else {})}


def test_what_nothing_fits_is_not_looked_for_through_the_whole_log() -> None:
    log = Log(1_000_000)
    table = DeliveryTable(log, "DeliveryTable")  # type: ignore[arg-type] # a fake
    page = table.page("sub_1", 10, Choice(reason="cooldown"))
    assert page.records == ()
    assert log.calls <= 4
    assert page.next_cursor == f"dlv_{log.left}", "from there the next call goes on"


def test_a_list_of_everything_reads_no_more_than_it_may_show() -> None:
    log = Log(10)
    DeliveryTable(log, "DeliveryTable").page("sub_1", 10)  # type: ignore[arg-type] # a fake
    assert (log.calls, log.left) == (1, 0)


# ---------------------------------------------------------------- one checkout


def test_of_a_checkout_the_deliveries_of_its_last_event_are_found(
    look_up: LookUp, table: DeliveryTable, registry: RegistryTable, checkouts: CheckoutTable
) -> None:
    for name in ("sub_1", "sub_2", "sub_3"):
        registry.create_subscription(subscription(name))
    told = save(checkouts, "c1", EventType.ABANDONED)
    ids = {name: delivery_id(told, name) for name in ("sub_1", "sub_2", "sub_gone")}
    first = record(ids["sub_1"], "sub_1")
    second = replace(record(ids["sub_2"], "sub_2"), recorded_at=NOW + timedelta(seconds=1))
    earlier = record(delivery_id(event(time=NOW - MS), "sub_1"), "sub_1")
    table.record([first, second, earlier, record(ids["sub_gone"], "sub_gone")])
    found = look_up.checkout("my-store", ["c1"])
    assert found.checkout.event == told
    assert found.deliveries == (second, first)


def test_a_checkout_is_found_by_the_first_id_that_is_one(look_up: LookUp, checkouts: CheckoutTable) -> None:
    save(checkouts, "a/b", EventType.CREATED)
    save(checkouts, "a", EventType.CREATED)
    ids = ["", "a%2Fb", "x" * 2000, "a/b", "a"]
    assert look_up.checkout("my-store", ids).checkout.checkout_id == "a/b"


@pytest.mark.parametrize(("store_id", "checkout_id"), [("my-store", "c2"), ("other-store", "c1")])
def test_a_checkout_that_the_store_does_not_have_is_not_found(
    look_up: LookUp, checkouts: CheckoutTable, store_id: str, checkout_id: str
) -> None:
    save(checkouts, "c1", EventType.CREATED)
    with pytest.raises(NotFound):
        look_up.checkout(store_id, [checkout_id])


# ---------------------------------------------------------------- a table that is throttled


class Throttled:
    """A client that leaves the first of each batch unprocessed, some times or for ever."""

    def __init__(self, times: int) -> None:
        self.left = times
        self.written: list[Any] = []

    def batch_write_item(self, RequestItems: dict[str, Any]) -> dict[str, Any]:  # noqa: N803 - boto3's name
        ((table, puts),) = RequestItems.items()
        if self.left <= 0:
            self.written += puts
            return {"UnprocessedItems": {}}
        self.left -= 1
        self.written += puts[1:]
        return {"UnprocessedItems": {table: puts[:1]}}

    def batch_get_item(self, RequestItems: dict[str, Any]) -> dict[str, Any]:  # noqa: N803 - boto3's name
        self.left -= 1
        return {"Responses": {}, "UnprocessedKeys": RequestItems if self.left >= 0 else {}}


def test_what_dynamodb_leaves_unprocessed_is_written_again() -> None:
    client = Throttled(2)
    DeliveryTable(client, "DeliveryTable", sleep=lambda _: None).record([record("dlv_1"), record("dlv_2")])  # type: ignore[arg-type] # a fake
    assert len(client.written) == 2


def test_a_table_that_stays_throttled_is_unavailable() -> None:
    table = DeliveryTable(Throttled(99), "DeliveryTable", sleep=lambda _: None)  # type: ignore[arg-type] # a fake
    registry = RegistryTable(Throttled(99), "RegistryTable")  # type: ignore[arg-type] # the same
    with pytest.raises(Unavailable):
        table.record([record()])
    checkouts = CheckoutTable(Throttled(99), "CheckoutTable", 1)  # type: ignore[arg-type] # the same
    with pytest.raises(Unavailable):
        table.look_up([("sub_1", "dlv_1")], registry, [], checkouts)
    with pytest.raises(Unavailable):
        table.load_all([("sub_1", "dlv_1")])
