"""The calculation of docs/scale.md, held to examples that can be followed by hand."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from bench.capacity import (
    CHECKOUTS,
    COOLDOWN,
    DELIVERY,
    DUE,
    EMPTY,
    FIRST,
    LATER,
    NO_CONTACT,
    REGISTRY,
    TOLD,
    Day,
    Measured,
    Sweeping,
    Volume,
    Work,
    item_bytes,
    together,
    write_units,
)

ONE_STORE = 1e12
"""Checkouts a day of one store: more than there are."""
QUIET = Day(
    snapshots=1,
    with_contact=0,
    bought=0,
    in_cooldown=0,
    returned=0,
    peak=1,
    checkouts_a_store=ONE_STORE,
    subscriptions=0,
)
"""Each checkout is told of once and is abandoned, at the same rate all day."""
SWEEPING = Sweeping(default_shards=1, shards_a_run=16, memory_mb=1024, seconds=50)


def measured(work: Mapping[str, Work] | None = None, **figures: float) -> Measured:
    nothing = dict.fromkeys((*Day().times, EMPTY), Work())
    none = dict.fromkeys(
        (
            *("told_microseconds", "held_back_microseconds", "store_microseconds", "shard_microseconds"),
            *("checkout_bytes", "link_bytes", "delivery_bytes"),
        ),
        0.0,
    )
    return Measured(work=nothing | dict(work or {}), **none | figures)


def volume(checkouts_a_day: float, of: Measured | None = None, **others: Any) -> Volume:
    others = {"day": QUIET, "sweeping": SWEEPING, **others}
    return Volume(checkouts_a_day=checkouts_a_day, measured=of or measured(), **others)


# ---------------------------------------------------------------- a day


def test_every_checkout_ends_bought_or_abandoned() -> None:
    day = Day()
    assert day.bought + day.swept - day.returned == pytest.approx(1)


def test_a_checkout_has_as_many_snapshots_as_are_assumed_and_those_of_its_return() -> None:
    times = Day().times
    told = sum(often for name, often in times.items() if "snapshot" in name)
    assert told == pytest.approx(Day().snapshots + Day().returned)


def test_each_subscription_is_sent_every_event() -> None:
    assert Day(subscriptions=2).times[DELIVERY] == pytest.approx(2 * Day(subscriptions=1).times[DELIVERY])


# ---------------------------------------------------------------- units


def test_work_adds_up_by_part() -> None:
    work = {
        FIRST: Work(2, {CHECKOUTS: 1}, {CHECKOUTS: 3, DUE: 1}),
        LATER: Work(2, {CHECKOUTS: 1}, {CHECKOUTS: 3, DUE: 2}),
    }
    assert together(work, {FIRST: 1, LATER: 2.5}) == Work(7, {CHECKOUTS: 3.5}, {CHECKOUTS: 10.5, DUE: 6})


@pytest.mark.parametrize(("size", "units"), [(1, 1), (1_024, 1), (1_025, 2), (0, 1)])
def test_a_write_unit_is_for_each_kilobyte_begun(size: int, units: int) -> None:
    assert write_units(size) == units


def test_an_item_is_as_large_as_its_names_and_values() -> None:
    item: dict[str, Any] = {
        "id": {"S": "é"},  # 2 + 2
        "n": {"N": "12345"},  # 1 + 3 + 1
        "map": {"M": {"a": {"S": "bc"}}},  # 3 + 3 + 1 + 1 + 2
    }
    assert item_bytes(item) == 4 + 5 + 10


# ---------------------------------------------------------------- shards and runs

MOVED = measured({FIRST: Work(writes={DUE: 1}), NO_CONTACT: Work(writes={DUE: 1})})
A_THOUSAND_A_SECOND = 1_000 * 86_400


def test_the_index_needs_a_shard_for_each_five_hundred_write_units_a_second() -> None:
    assert volume(A_THOUSAND_A_SECOND, MOVED).index_shards == 4


def test_the_index_is_planned_for_the_peak() -> None:
    assert volume(A_THOUSAND_A_SECOND, MOVED, day=replace(QUIET, peak=3)).index_shards == 12


def test_a_run_that_has_no_time_for_its_shards_asks_for_more_of_them() -> None:
    one = volume(144e6, measured(held_back_microseconds=500))
    assert one.due_at_peak == 100_000  # at 1 ms each, Lambda being twice as slow: 100 s
    assert one.shards == 32
    assert one.runs(one.shards) == 2


def test_fewer_shards_a_run_need_fewer_shards() -> None:
    sweeping = replace(SWEEPING, shards_a_run=8, call_seconds=0)
    one = volume(144e6, measured(held_back_microseconds=500), sweeping=sweeping)
    assert (one.shards, one.runs(one.shards)) == (16, 2)


def test_there_are_never_fewer_shards_than_by_default() -> None:
    assert volume(1, sweeping=replace(SWEEPING, default_shards=8)).shards == 8


def test_a_run_takes_as_long_as_the_calls_that_one_shard_makes_after_each_other() -> None:
    assert volume(1).run_seconds(4, due=400) == pytest.approx(100 * 0.010 + 2 * 0.010, rel=0.01)


def test_a_transaction_takes_longer_than_a_call() -> None:
    told = replace(QUIET, with_contact=1)
    assert volume(1, day=told).run_seconds(4, due=400) == pytest.approx(100 * 0.020 + 0.02, rel=0.01)


def test_the_cpu_is_that_of_checkouts_shards_and_stores() -> None:
    of = measured(held_back_microseconds=100, shard_microseconds=1_000, store_microseconds=5_000)
    assert volume(1e9, of).cpu_seconds(16, due=1_000) == pytest.approx(2 * (0.1 + 0.016 + 0.005))


def test_as_many_stores_are_read_as_the_due_checkouts_are_of() -> None:
    of = measured(store_microseconds=1)
    each = replace(QUIET, checkouts_a_store=1e9 / 1_000_000)  # a million stores
    assert volume(1e9, of, day=each).cpu_seconds(1, due=1_000) == pytest.approx(2e-6 * 999.5, rel=1e-4)


def test_what_the_night_put_off_is_worked_off_in_the_time_that_runs_have() -> None:
    night = replace(QUIET, with_contact=1, at_night=0.5)
    one = volume(200_000, measured(told_microseconds=500), day=night, sweeping=replace(SWEEPING, seconds=50))
    assert one.morning_minutes(16) == pytest.approx(100_000 / 16 * 0.020 / 50, rel=0.01)


# ---------------------------------------------------------------- dollars


def test_a_million_checkouts_a_day_with_one_write_unit_each() -> None:
    of = measured({FIRST: Work(writes={CHECKOUTS: 1})})
    assert volume(1e6, of).dollars(CHECKOUTS) == pytest.approx(30 * 0.71)


def test_a_million_checkouts_a_day_with_one_read_unit_each() -> None:
    of = measured({FIRST: Work(reads={CHECKOUTS: 1})})
    assert volume(1e6, of).dollars(CHECKOUTS) == pytest.approx(30 * 0.1425)


def test_a_shard_with_nothing_due_is_read_every_minute() -> None:
    of = measured({EMPTY: Work(reads={DUE: 0.5})})
    idle = volume(0, of, sweeping=replace(SWEEPING, default_shards=8))
    assert idle.dollars(DUE) == pytest.approx(8 * 43_200 * 0.5 * 0.1425 / 1e6)


def test_each_run_reads_the_stores_that_it_meets() -> None:
    assert volume(1_440).dollars(REGISTRY) == pytest.approx(43_200 * 0.1425 / 1e6)  # one due, of one store


def test_a_run_is_billed_by_its_gigabyte_seconds_and_as_a_request() -> None:
    idle = volume(0)
    assert idle.sweep_dollars == pytest.approx(43_200 * (0.020 * 0.0000133334 + 0.20 / 1e6))


def test_checkouts_are_stored_until_they_expire() -> None:
    kept = replace(QUIET, retention_days=90)
    one = volume(1e6, measured(checkout_bytes=1_900), day=kept)
    assert one.storage_dollars == pytest.approx(1e6 * 2_000 * 90 / 1e9 * 0.285)


def test_deliveries_are_stored_until_they_expire() -> None:
    kept = replace(QUIET, retention_days=0, subscriptions=1, delivery_retention_days=400)
    one = volume(1e6, measured(delivery_bytes=300), day=kept)
    assert one.storage_dollars == pytest.approx(1e6 * 2 * 400 * 400 / 1e9 * 0.285)


def test_a_thousand_checkouts_cost_their_part_of_the_whole() -> None:
    one = volume(1e6, measured({FIRST: Work(writes={CHECKOUTS: 1_000})}))
    assert one.dollars_a_thousand == pytest.approx(one.total_dollars / 30_000)


# ---------------------------------------------------------------- limits


def test_the_share_of_each_limit_is_that_of_the_peak() -> None:
    of = measured({FIRST: Work(writes={CHECKOUTS: 2}), COOLDOWN: Work(), TOLD: Work()})
    busy = volume(A_THOUSAND_A_SECOND, of, day=replace(QUIET, peak=4))
    shares = {name.partition(",")[0]: share for name, share in busy.used(rate_limit=500).items()}
    assert shares["`ThrottlingRateLimit`"] == pytest.approx(8)
    assert shares["CheckoutTable"] == pytest.approx(8_000 / 40_000)
    assert shares["API Gateway"] == pytest.approx(0.4)
    assert shares["Lambda"] == pytest.approx(4_000 * 0.05 / 1_000)
