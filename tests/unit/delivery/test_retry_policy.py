"""When a delivery is tried again, and when it is given up, for whatever its receiver answers."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkout_recovery.checkout.event import Event, EventType
from checkout_recovery.delivery.retry_policy import (
    JITTER,
    MAX_RETRY_AFTER,
    SCHEDULE,
    Ended,
    after_failure,
    expires_at,
    failure_of,
)
from checkout_recovery.delivery.send import Failure, Outcome
from checkout_recovery.tables.deliveries import State

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

failures = st.sampled_from([each for each in Failure if each is not Failure.DEFERRED])
statuses = st.none() | st.integers(100, 599)
chances = st.floats(0, 1, exclude_max=True)
ages = st.timedeltas(timedelta(days=-1), timedelta(days=30))
asked_waits = st.none() | st.integers(-(10**12), 10**30)
made = st.integers(1, 10**6)


def event(kind: EventType = EventType.COMPLETED, age: timedelta = timedelta()) -> Event:
    return Event(id="evt_1", type=kind, time=NOW - age)


def answered(status: int | None = 500, retry_after: int | None = None) -> Outcome:
    return Outcome("dlv_1", status, Failure.HTTP, 12, retry_after)


@given(attempts=st.integers(1, len(SCHEDULE)), chance=chances)
def test_no_attempt_is_earlier_than_the_schedule_and_chance_only_adds(attempts: int, chance: float) -> None:
    due = after_failure(answered(), attempts, expires_at(event()), NOW, lambda: chance)
    assert isinstance(due, datetime)
    wait = SCHEDULE[attempts - 1]
    assert wait <= due - NOW <= wait * (1 + JITTER) + MICROSECOND


@given(attempts=st.integers(1, len(SCHEDULE)), asked=asked_waits, chance=chances)
def test_a_receiver_gets_the_time_that_it_asks_for_within_bounds(
    attempts: int, asked: int | None, chance: float
) -> None:
    due = after_failure(answered(503, asked), attempts, expires_at(event()), NOW, lambda: chance)
    assert isinstance(due, datetime)
    heard = timedelta(seconds=max(0, min(asked or 0, 6 * 3600)))
    wait = max(heard, SCHEDULE[attempts - 1])
    assert wait <= due - NOW <= wait * (1 + JITTER) + MICROSECOND


def test_no_receiver_can_ask_for_more_than_six_hours() -> None:
    due = after_failure(answered(429, 10**9), 1, expires_at(event()), NOW, lambda: 0.0)
    assert due == NOW + MAX_RETRY_AFTER == NOW + timedelta(hours=6)


def test_who_asks_for_more_time_than_is_left_has_a_last_attempt() -> None:
    told = event(EventType.CREATED, age=timedelta(hours=5))
    due = after_failure(answered(503, 6 * 3600), 1, expires_at(told), NOW, lambda: 0.5)
    assert isinstance(due, datetime)
    assert NOW + timedelta(minutes=58) < due < NOW + timedelta(hours=1)


def test_what_an_operator_asks_for_matters_from_then_on() -> None:
    old = event(EventType.CREATED, age=timedelta(days=30))
    assert expires_at(old, NOW) == NOW + timedelta(hours=6)


@given(attempts=made, retry_after=asked_waits, kind=st.sampled_from(EventType), age=ages)
def test_a_receiver_that_is_gone_ends_a_delivery_at_once(
    attempts: int, retry_after: int | None, kind: EventType, age: timedelta
) -> None:
    ended = after_failure(
        answered(410, retry_after), attempts, expires_at(event(kind, age)), NOW, lambda: 0.5
    )
    assert ended == Ended(State.EXHAUSTED, "gone")


@pytest.mark.parametrize(
    ("kind", "hours"),
    [
        (EventType.CREATED, 6),
        (EventType.UPDATED, 6),
        (EventType.RESUMED, 6),
        (EventType.ABANDONED, 24),
        (EventType.COMPLETED, 72),
        (EventType.RECOVERED, 72),
    ],
)
def test_what_would_come_too_late_is_not_tried_again(kind: EventType, hours: int) -> None:
    life, wait = timedelta(hours=hours), SCHEDULE[0]
    at_the_last = after_failure(answered(), 1, expires_at(event(kind, life - wait)), NOW, lambda: 0.0)
    too_late = after_failure(
        answered(), 1, expires_at(event(kind, life - wait + MICROSECOND)), NOW, lambda: 0.0
    )
    assert at_the_last == NOW + wait
    assert too_late == Ended(State.EXPIRED, "http")


@given(attempts=st.integers(len(SCHEDULE) + 1, 10**6), kind=st.sampled_from(EventType), age=ages)
def test_after_the_last_attempt_a_delivery_is_given_up(
    attempts: int, kind: EventType, age: timedelta
) -> None:
    ended = after_failure(answered(), attempts, expires_at(event(kind, age)), NOW, lambda: 0.5)
    assert ended == Ended(State.EXHAUSTED, "http")


def test_a_purchase_has_all_its_attempts_before_it_expires() -> None:
    now, bought, attempts = NOW, event(), 1
    while isinstance(
        step := after_failure(answered(), attempts, expires_at(bought), now, lambda: 0.999), datetime
    ):
        now, attempts = step, attempts + 1
    assert step == Ended(State.EXHAUSTED, "http")
    assert attempts == len(SCHEDULE) + 1 == 11
    assert now < expires_at(bought)


@given(
    failure=failures,
    status=statuses,
    retry_after=asked_waits,
    attempts=made,
    kind=st.sampled_from(EventType),
    age=ages,
    chance=chances,
)
def test_whatever_happens_there_is_a_next_time_within_the_events_life_or_an_end(
    failure: Failure,
    status: int | None,
    retry_after: int | None,
    attempts: int,
    kind: EventType,
    age: timedelta,
    chance: float,
) -> None:
    outcome = Outcome("dlv_1", status, failure, 12, retry_after)
    told = event(kind, age)
    step = after_failure(outcome, attempts, expires_at(told), NOW, lambda: chance)
    if isinstance(step, Ended):
        assert step.state in (State.EXHAUSTED, State.EXPIRED)
        assert step.reason == failure_of(outcome)
    else:
        assert NOW + SCHEDULE[0] <= step <= expires_at(told)


@given(failure=failures, status=statuses)
def test_a_failures_class_is_one_of_ours_and_never_the_receivers_word(
    failure: Failure, status: int | None
) -> None:
    assert failure_of(Outcome("dlv_1", status, failure, 12)) in {*Failure, "gone"}
