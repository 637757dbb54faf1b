"""The demo says what went wrong, and nothing of the shoppers."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from local import demo, journeys, senders
from local.client import Subscribed
from local.demo import Expected, Held, Promises
from local.journeys import ABANDONED, TOLD, Secrets, Step
from local.receiver import PROOFS, Arrival

EVENTS = frozenset({"checkout.created", ABANDONED})
SUBSCRIBED = Subscribed("sub_1", "checkout", "2026-11", EVENTS, "whsec_secret-key")
STEP = Step("a step", senders.own(senders.OWN), "applied", "checkout.created")
HELD = Held(replace(STEP, event=ABANDONED, left="cooldown"), SUBSCRIBED, "evt_held")
HELD_BACK = {("sub_1", "evt_held"): "cooldown"}


RESULT = {"status": "applied", "checkout_id": "c1", "sequence": 1}


def expected(event_id: str = "evt_1") -> Expected:
    return Expected(STEP, SUBSCRIBED, event_id, time.time())


def arrival(
    event_id: str = "evt_1", problem: str | None = None, event_type: str = "checkout.created"
) -> Arrival:
    return Arrival(
        at=time.time(),
        path="/path-token",
        name="sub_1",
        contract="checkout 2026-11",
        event_id=event_id,
        event_type=event_type,
        sequence=1,
        verified_by=() if problem else PROOFS["checkout 2026-11"],
        problem=problem,
        status=401 if problem else 200,
        headers={},
        body=json.dumps(senders.OWN).encode(),
    )


def report(
    wanted: list[Expected],
    came: list[Arrival],
    capsys: pytest.CaptureFixture[str],
    wrong: Sequence[str] = (),
    reasons: Mapping[demo.Key, str] = HELD_BACK,
) -> tuple[int, str, str]:
    out = StringIO()
    promises = Promises(expected=wanted, held=[HELD], wrong=list(wrong))
    code = demo._report(promises, came, reasons, Console(file=out, width=110))
    return code, out.getvalue(), capsys.readouterr().out


def test_all_that_was_promised_arrived(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, last = report([expected()], [arrival(), arrival()], capsys)
    assert (code, last) == (0, "demo: 1 delivered, 1 verified, 0 failed\n")


def test_a_missing_delivery_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, last = report([expected(), expected("evt_2")], [arrival()], capsys)
    assert (code, last) == (1, "demo: 1 delivered, 1 verified, 1 failed\n")
    assert "missing: checkout.created of 'a step' at checkout 2026-11" in out


def test_a_delivery_that_does_not_verify_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, last = report([expected()], [arrival(problem="webhook-signature does not verify")], capsys)
    assert (code, last) == (1, "demo: 1 delivered, 0 verified, 1 failed\n")
    assert "not verified: evt_1 at checkout 2026-11: webhook-signature does not verify" in out


def test_a_delivery_that_nobody_promised_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = report([expected()], [arrival(), arrival("evt_3")], capsys)
    assert code == 1
    assert "not expected: evt_3 at checkout 2026-11" in out


def test_an_event_that_is_another_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = report([expected()], [arrival(event_type="checkout.updated")], capsys)
    assert code == 1
    assert "checkout.updated instead of checkout.created" in out


def test_an_answer_that_is_wrong_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, last = report([expected()], [arrival()], capsys, ["a step: answered 500 instead of applied"])
    assert (code, last) == (1, "demo: 1 delivered, 1 verified, 1 failed\n")
    assert "a step: answered 500 instead of applied" in out


def test_what_is_held_back_is_told_with_the_reason(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = report([expected()], [arrival()], capsys)
    assert code == 0
    assert "nobody told (suppressed: cooldown)" in out


def test_what_the_log_does_not_know_to_be_held_back_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, last = report([expected()], [arrival()], capsys, reasons={})
    assert (code, last) == (1, "demo: 1 delivered, 1 verified, 1 failed\n")
    assert "not held back by cooldown: checkout.abandoned of 'a step' at checkout 2026-11" in out


def test_another_reason_than_the_right_one_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = report([expected()], [arrival()], capsys, reasons={HELD.key: "no_contact"})
    assert code == 1
    assert "not held back by cooldown" in out


def test_what_is_held_back_and_sent_all_the_same_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    sent = arrival("evt_held", event_type=ABANDONED)
    code, out, _ = report([expected()], [arrival(), sent], capsys)
    assert code == 1
    assert "not expected: evt_held at checkout 2026-11" in out


def test_how_long_a_recovery_took_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    step = Step("an order", senders.order(senders.OWN_ORDER), "applied", "checkout.recovered")
    body = {"data": {"order_id": "1001", "recovered_after_seconds": 7}}
    came = replace(arrival(event_type="checkout.recovered"), body=json.dumps(body).encode())
    code, out, _ = report([Expected(step, SUBSCRIBED, "evt_1", time.time())], [came], capsys)
    assert code == 0
    assert "recovered: order 1001, 7 s after it was found" in out


def test_a_checkout_that_is_left_promises_its_abandonment() -> None:
    step = replace(STEP, left=TOLD)
    promises = demo._promised("store", [SUBSCRIBED], step, RESULT, 100.0)
    assert [(one.step.event, one.posted_at) for one in promises.expected] == [
        ("checkout.created", 100.0),
        (ABANDONED, 160.0),
    ]
    assert len({one.event_id for one in promises.expected}) == 2
    assert promises.held == []


def test_a_checkout_whose_shopper_was_told_promises_that_nobody_is() -> None:
    promises = demo._promised("store", [SUBSCRIBED], replace(STEP, left="cooldown"), RESULT, 100.0)
    assert [one.step.event for one in promises.expected] == ["checkout.created"]
    assert [one.step.event for one in promises.held] == [ABANDONED]


def test_it_prints_nothing_of_the_shopper(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = report([expected(), expected("evt_2")], [arrival(), arrival("evt_3")], capsys)
    out += repr(all_steps()) + repr(SUBSCRIBED) + repr(Secrets())
    for datum in ("98765432", "john.doe", "path-token", "whsec_", "https://my-store.com/checkout"):
        assert datum not in out


def test_the_script_has_every_provider_and_every_kind_of_answer() -> None:
    steps = all_steps()
    assert {step.call.provider for step in steps} == {"flexype", "cashfree", "shopify", None}
    assert {step.answer for step in steps} == {"applied", "duplicate", "stale", "401", "422"}
    assert all((step.event is not None) == (step.answer == "applied") for step in steps)


def test_the_script_has_each_way_that_a_checkout_that_is_left_can_go() -> None:
    steps = all_steps()
    assert {step.left for step in steps} == {None, TOLD, "cooldown"}
    assert {"checkout.resumed", "checkout.recovered", "checkout.completed"} <= {step.event for step in steps}


def test_every_step_has_a_title_of_its_own() -> None:
    """The tables have a row for each."""
    titles = [step.title for step in all_steps()]
    assert len(titles) == len(set(titles))


def all_steps() -> list[Step]:
    keys = Secrets()
    return [*journeys.script(keys), *journeys.leaving(keys), *journeys.returning()]


def test_changes_leave_the_documented_payload_as_it_is() -> None:
    before = json.dumps(senders.FLEXYPE_2026_05)
    changed = senders.with_changes(senders.FLEXYPE_2026_05, payload__user__email="other@example.com")
    assert changed["payload"]["user"]["email"] == "other@example.com"
    assert json.dumps(senders.FLEXYPE_2026_05) == before
