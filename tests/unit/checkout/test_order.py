"""Tellings may come late, repeated or in any order."""

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from checkout_recovery.checkout.event import event_id
from checkout_recovery.checkout.lifecycle import Status, Unchanged
from checkout_recovery.checkout.snapshot import Snapshot
from tests.unit.checkout.tellings import (
    ABANDON_AFTER,
    NEW,
    NOW,
    applied,
    minute,
    snapshots,
    telling,
    timed_snapshots,
    truth,
)


@given(told=st.lists(timed_snapshots, min_size=1, max_size=6), data=st.data())
@settings(max_examples=300, deadline=None)
def test_any_order_with_any_repetition_ends_in_the_same_checkout(
    told: list[Snapshot], data: st.DataObject
) -> None:
    repeated = data.draw(st.lists(st.sampled_from(told), max_size=4))
    shuffled = data.draw(st.permutations([*told, *repeated]))
    assert truth(applied(NEW, *shuffled)) == truth(applied(NEW, *told))


@given(told=st.lists(timed_snapshots, min_size=1, max_size=5), data=st.data())
@settings(max_examples=200, deadline=None)
def test_a_deletion_may_come_at_any_time_too(told: list[Snapshot], data: st.DataObject) -> None:
    deletion = telling(minute(data.draw(st.integers(0, 6))), discarded=True)
    shuffled = data.draw(st.permutations([*told, deletion]))
    assert truth(applied(NEW, *shuffled)) == truth(applied(NEW, *told, deletion))


@given(
    told=st.lists(timed_snapshots, min_size=1, max_size=6),
    delays=st.lists(st.integers(0, 90), min_size=6, max_size=6),
)
@settings(max_examples=100, deadline=None)
def test_when_they_arrive_does_not_matter(told: list[Snapshot], delays: list[int]) -> None:
    late = NEW
    for snapshot, delay in zip(told, sorted(delays), strict=False):
        late = applied(late, snapshot, now=NOW + timedelta(minutes=delay))
    assert truth(late) == truth(applied(NEW, *told))


@given(told=st.lists(snapshots, max_size=6))
@settings(max_examples=200, deadline=None)
def test_every_write_is_one_event_with_an_id_that_derives_from_it(told: list[Snapshot]) -> None:
    checkout = NEW
    for snapshot in told:
        changed = checkout.apply(snapshot, NOW, ABANDON_AFTER)
        if isinstance(changed, Unchanged):
            continue
        assert changed.sequence == checkout.sequence + 1
        assert changed.event is not None
        if checkout.is_complete:
            assert changed.event == checkout.event
        else:
            assert changed.event.id == event_id("my-store", "abc123", changed.sequence)
        checkout = changed


@given(told=st.lists(snapshots, min_size=1, max_size=6))
@settings(max_examples=200, deadline=None)
def test_a_contact_detail_once_captured_is_never_blanked(told: list[Snapshot]) -> None:
    checkout = NEW
    for snapshot in told:
        before, checkout = checkout.details, applied(checkout, snapshot)
        for name in (
            "phone",
            "email",
            "name",
            "first_name",
            "consent",
            "address",
            "cart",
            "shop",
            "order_id",
        ):
            assert getattr(checkout.details, name) is not None or getattr(before, name) is None


@given(told=st.lists(snapshots, max_size=6))
@settings(max_examples=200, deadline=None)
def test_completion_is_final(told: list[Snapshot]) -> None:
    checkout = applied(NEW, telling(minute(3), completed=True))
    for snapshot in told:
        checkout = applied(checkout, snapshot)
        assert checkout.status in (Status.COMPLETED, Status.RECOVERED)
        assert checkout.due_at is None


@given(told=st.lists(snapshots, min_size=1, max_size=6))
@settings(max_examples=200, deadline=None)
def test_the_same_again_changes_nothing(told: list[Snapshot]) -> None:
    checkout = applied(NEW, *told)
    identified = [snapshot for snapshot in told if snapshot.event_id or snapshot.event_time]
    for snapshot in identified:
        if snapshot.event_time is not None and snapshot.event_time <= NOW:
            assert isinstance(checkout.apply(snapshot, NOW, ABANDON_AFTER), Unchanged)


@given(told=st.lists(snapshots, min_size=1, max_size=6))
@settings(max_examples=100, deadline=None)
def test_a_checkout_can_be_written_and_read_again(told: list[Snapshot]) -> None:
    checkout = applied(NEW, *told)
    assert type(checkout).model_validate_json(checkout.model_dump_json(exclude_defaults=True)) == checkout
