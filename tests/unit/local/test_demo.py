"""The demo says what went wrong, and nothing of the shoppers."""

import json
import time
from io import StringIO

import pytest
from rich.console import Console

from local import demo, senders
from local.client import Subscribed
from local.demo import Expected, Step
from local.receiver import PROOFS, Arrival

SUBSCRIBED = Subscribed("sub_1", "checkout", "2026-11", frozenset({"checkout.created"}), "whsec_secret-key")
STEP = Step("a step", senders.own(senders.OWN), "applied", "checkout.created")


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
    wrong: list[str] | None = None,
) -> tuple[int, str, str]:
    out = StringIO()
    code = demo._report(wanted, came, wrong or [], Console(file=out, width=110))
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


def test_it_prints_nothing_of_the_shopper(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = report([expected(), expected("evt_2")], [arrival(), arrival("evt_3")], capsys)
    out += repr(list(demo.script(demo.Secrets()))) + repr(SUBSCRIBED) + repr(demo.Secrets())
    for datum in ("9876543210", "john.doe", "path-token", "whsec_", "https://my-store.com/checkout"):
        assert datum not in out


def test_the_script_has_every_provider_and_every_kind_of_answer() -> None:
    steps = list(demo.script(demo.Secrets()))
    assert {step.call.provider for step in steps} == {"flexype", "cashfree", "shopify", None}
    assert {step.answer for step in steps} == {"applied", "duplicate", "stale", "401", "422"}
    assert all((step.event is not None) == (step.answer == "applied") for step in steps)


def test_changes_leave_the_documented_payload_as_it_is() -> None:
    before = json.dumps(senders.FLEXYPE_2026_05)
    changed = senders.with_changes(senders.FLEXYPE_2026_05, payload__user__email="other@example.com")
    assert changed["payload"]["user"]["email"] == "other@example.com"
    assert json.dumps(senders.FLEXYPE_2026_05) == before
