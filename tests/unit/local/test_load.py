"""The accounts of `make load`: they have to find what went wrong."""

from collections.abc import Mapping, Sequence

import pytest

from local.client import Client, StoreClient, Subscribed
from local.load.__main__ import Phase, faults, figures, main
from local.load.receivers import FAILING, Kind, Subscriber, kinds_of
from local.load.reconcile import Account, account, percentile
from local.load.shoppers import Posted, Written
from local.receiver import Arrival

STORE = StoreClient(Client("http://127.0.0.1:1", "token"), "my-store", "token")


def subscriber(kind: Kind = Kind.WELL) -> Subscriber:
    return Subscriber(kind, STORE, Subscribed("sub_1", "checkout", "2026-11", frozenset(), "key"))


def written(*sequences: int, checkout_id: str = "c1") -> list[Written]:
    return [Written("my-store", checkout_id, sequence, 100.0) for sequence in sequences]


def arrival(event: Written, at: float = 101.0, status: int = 200, problem: str | None = None) -> Arrival:
    return Arrival(
        at=at,
        path="/hook",
        name="sub_1",
        contract="checkout 2026-11",
        event_id=event.event_id,
        event_type=None,
        sequence=event.sequence,
        verified_by=(),
        problem=problem,
        status=status,
        headers={},
        body=b"",
    )


def drawn_up(
    owed: Sequence[Written],
    came: Sequence[Arrival],
    log: Mapping[str, str] | None = None,
    *,
    is_disabled: bool = False,
) -> Account:
    return account(subscriber(), owed, came, log or {}, is_disabled=is_disabled)


def test_what_came_once_and_in_order_is_in_order() -> None:
    events = written(1, 2)
    result = drawn_up(events, [arrival(events[0], 101), arrival(events[1], 103)])
    assert (result.owed, result.received, result.lost) == (2, 2, [])
    assert (result.duplicates, result.out_of_order) == (0, 0)
    assert sorted(result.latencies) == [1.0, 3.0]


def test_what_nobody_knows_anything_of_is_lost() -> None:
    first, second = written(1, 2)
    assert drawn_up([first, second], [arrival(first)]).lost == [second.event_id]


def test_what_the_log_takes_for_delivered_and_never_came_is_lost() -> None:
    (event,) = written(1)
    assert drawn_up([event], [], {event.event_id: "delivered"}).lost == [event.event_id]


@pytest.mark.parametrize("state", ["suppressed", "expired", "exhausted"])
def test_what_the_log_says_was_given_up_is_not_lost(state: str) -> None:
    (event,) = written(1)
    result = drawn_up([event], [], {event.event_id: state})
    assert (result.lost, result.given_up, result.behind) == ([], 1, 0)


def test_what_a_newer_event_took_the_place_of_is_not_lost() -> None:
    (event,) = written(1)
    result = drawn_up([event], [], {event.event_id: "superseded"})
    assert (result.lost, result.given_up, result.superseded) == ([], 0, 1)


def test_what_the_queue_has_is_behind() -> None:
    (event,) = written(1)
    result = drawn_up([event], [arrival(event, status=503)], {event.event_id: "pending"})
    assert (result.lost, result.behind, result.received) == ([], 1, 0)


def test_what_is_not_sent_to_a_disabled_subscription_is_not_lost() -> None:
    assert drawn_up(written(1), [], is_disabled=True).given_up == 1


def test_a_delivery_beyond_the_first_is_a_duplicate_and_a_failed_attempt_is_none() -> None:
    (event,) = written(1)
    came = [arrival(event, 101, status=500), arrival(event, 102), arrival(event, 103)]
    result = drawn_up([event], came)
    assert (result.received, result.duplicates, result.latencies) == (1, 1, [2.0])


def test_what_comes_after_a_later_state_of_its_checkout_is_out_of_order() -> None:
    first, second = written(1, 2)
    (other,) = written(1, checkout_id="c2")
    came = [arrival(second), arrival(other), arrival(first)]
    assert drawn_up([first, second, other], came).out_of_order == 1


def test_a_run_with_a_loss_a_forgery_or_a_gap_is_at_fault() -> None:
    events = written(1, 2, 3)
    came = [arrival(events[0], problem="forged", status=401), arrival(events[1])]
    phase = Phase(
        "with", Posted(tuple(events), refused=1), (drawn_up(events, came, {events[2].event_id: "pending"}),)
    )
    found = "\n".join(faults([phase]))
    for fault in ("not taken in", "lost 1", "could not verify 1", "lacks 2"):
        assert fault in found


def test_a_run_in_which_nothing_happened_is_at_fault() -> None:
    assert faults([Phase("with", Posted((), 0), (drawn_up([], []),))]) == ["with: there was no event"]


@pytest.mark.parametrize("wrong", ["--rounds 0", "--stores 0", "--rate 0", "--seconds 0", "--failing 8"])
def test_a_run_that_could_show_nothing_is_refused(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(wrong.split())
    assert refused.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_figures_are_sums_by_kind_and_a_ratio_over_all_rounds() -> None:
    events = written(1)
    phases = [
        Phase(name, Posted(tuple(events), 0), (drawn_up(events, [arrival(events[0], at)]),))
        for name, at in (("without", 101.0), ("with", 104.0), ("without", 102.0), ("with", 103.0))
    ]
    told = figures(phases)
    assert told["with"]["receivers"]["well"]["received"] == 2
    assert told["with"]["events"] == 2
    assert told["ratio"] == {"p50": 2.0, "p95": 2.0, "p99": 2.0}
    assert faults(phases) == []


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(value) for value in range(1, 101)]
    assert (percentile(values, 50), percentile(values, 99), percentile([], 50)) == (51.0, 100.0, None)


def test_of_the_receivers_so_many_fail_each_in_its_own_way() -> None:
    assert set(kinds_of(8, 5)) == {*FAILING, Kind.SLOW, Kind.WELL}
    assert kinds_of(3, 0) == [Kind.SLOW, Kind.WELL, Kind.WELL]
