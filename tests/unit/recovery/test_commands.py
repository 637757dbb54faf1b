"""Each command asks what it should, shows what a person needs, and gives machines what the API gave."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from checkout_recovery.checkout.event import Event, EventType
from checkout_recovery.checkout.lifecycle import Checkout
from checkout_recovery.dead_letter_queues import QueueName
from checkout_recovery.errors import (
    Conflict,
    FieldError,
    Forbidden,
    MalformedRequest,
    NotFound,
    Unavailable,
)
from checkout_recovery.subscriptions.answers import (
    CaptureAnswer,
    CheckoutAnswer,
    CircuitAnswer,
    CircuitsAnswer,
    DeadLetterAnswer,
    DeadLetterPage,
    ErasedAnswer,
    QueueAnswer,
    QueuesAnswer,
    RecoverAnswer,
    ReplayAnswer,
    RequeueAnswer,
    SampleAnswer,
)
from checkout_recovery.tables.deliveries import State
from tests.unit.recovery.played import (
    CALLBACK,
    NOW,
    Asked,
    PlayedApi,
    Told,
    answer,
    deliveries,
    delivery,
    delivery_id,
    problem,
    run,
    store,
    subscription,
    subscriptions,
)

ROOT = Path(__file__).parents[3]
SUBSCRIPTIONS = "/v1/stores/my-store/subscriptions"
OTHER_URL = "https://other.example/another-secret-path"
LOG = f"GET {SUBSCRIPTIONS}/sub_1/deliveries"
RECOVER = f"POST {SUBSCRIPTIONS}/sub_1/recover"
DISCARD = "POST /v1/dead-letters/rejected/requeue"
REQUEUE = "POST /v1/dead-letters/deliveries/requeue"
ERASE = "DELETE /v1/stores/my-store/shoppers/%252B919876543210"
PHONE = "+919876543210"


def told(answered: BaseModel, status: int = 200) -> Told:
    return answer(answered.model_dump(mode="json"), status)


def stores(*store_ids: str, next_cursor: str | None = None) -> Told:
    return answer({"stores": [store(store_id) for store_id in store_ids], "next_cursor": next_cursor})


def shown(*words: str, given: str | None = None) -> Any:
    """What a machine reads of a command that succeeds."""
    result = run(*words, "--json", given=given)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


# ---------------------------------------------------------------- stores, subscriptions


def test_all_pages_of_stores_are_listed(api: PlayedApi) -> None:
    api.play("GET /v1/stores", stores("a", next_cursor="a"), stores("b"))
    assert [one["store_id"] for one in shown("stores", "list")["stores"]] == ["a", "b"]
    assert [asked.query.get("cursor") for asked in api.asked] == [None, "a"]


def test_a_store_is_shown_with_its_settings_and_times_in_the_operator_s_zone(api: PlayedApi) -> None:
    api.play("GET /v1/stores/my-store", answer(store()))
    output = run("stores", "show", "my-store").stdout
    assert "cooldown_seconds" in output
    assert "2026-11-22 15:30:00 IST" in output


def test_subscriptions_are_listed_with_their_health(api: PlayedApi) -> None:
    api.play(
        f"GET {SUBSCRIPTIONS}",
        subscriptions(
            subscription("sub_1"),
            subscription("sub_2", paused=True),
            subscription("sub_3", failing_since="2026-11-22T10:00:00Z"),
            subscription("sub_4", disabled_reason="gone"),
            subscription("sub_5") | {"untried": True},
        ),
    )
    lines = run("subscriptions", "list", "my-store").stdout.splitlines()
    ends = ("well", "paused", "failing since 2026-11-22 15:30:00 IST", "disabled: gone", "untried")
    assert all(line.rstrip().endswith(end) for line, end in zip(lines[1:], ends, strict=True))


def test_without_a_store_the_subscriptions_of_all_are_listed_and_only_failing_ones_if_asked(
    api: PlayedApi,
) -> None:
    api.play("GET /v1/stores", stores("my-store"))
    failing = subscription("sub_2", failing_since="2026-11-22T10:00:00Z")
    api.play(f"GET {SUBSCRIPTIONS}", subscriptions(subscription(), failing))
    found = shown("subscriptions", "list", "--failing")["subscriptions"]
    assert [one["subscription_id"] for one in found] == ["sub_2"]


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_callback_url_is_shown_only_when_it_is_asked_for(api: PlayedApi, form: list[str]) -> None:
    api.play(f"GET {SUBSCRIPTIONS}/sub_1", answer(subscription()))
    show = ("subscriptions", "show", "my-store", "sub_1", *form)
    assert "a-secret-path" not in run(*show).output
    assert CALLBACK in run(*show, "--callback-url").output


def test_of_a_callback_url_the_host_keeps_its_port(api: PlayedApi) -> None:
    made = subscription() | {"callback_url": "http://user:pw@127.0.0.1:8099/hooks"}
    api.play(f"GET {SUBSCRIPTIONS}/sub_1", answer(made))
    found = shown("subscriptions", "show", "my-store", "sub_1")
    assert found["callback_url"] == "http://127.0.0.1:8099/…"


def test_a_failing_subscription_is_shown_with_its_next_probe(api: PlayedApi) -> None:
    failing = subscription(failing_since="2026-11-22T10:00:00Z")
    api.play(f"GET {SUBSCRIPTIONS}/sub_1", answer(failing))
    ids = [("other", "sub_1"), ("my-store", "sub_1")]
    circuits = [
        CircuitAnswer(
            store_id=store_id,
            subscription_id=subscription_id,
            failing_since=NOW,
            probe_at=NOW.replace(minute=number),
        )
        for number, (store_id, subscription_id) in enumerate(ids)
    ]
    api.play("GET /v1/circuits", told(CircuitsAnswer(circuits=circuits)))
    assert shown("subscriptions", "show", "my-store", "sub_1")["probe_at"] == "2026-11-22T10:01:00Z"
    assert "next probe" in run("subscriptions", "show", "my-store", "sub_1").stdout


def test_a_store_s_own_token_goes_without_the_next_probe(api: PlayedApi) -> None:
    api.play(f"GET {SUBSCRIPTIONS}/sub_1", answer(subscription(failing_since="2026-11-22T10:00:00Z")))
    api.play("GET /v1/circuits", problem(Forbidden("This needs the admin token")))
    assert shown("subscriptions", "show", "my-store", "sub_1")["probe_at"] is None


@pytest.mark.parametrize("paused", [True, False])
def test_a_subscription_that_is_not_tried_is_shown_without_asking_for_its_next_probe(
    api: PlayedApi, paused: bool
) -> None:
    failing_since = "2026-11-22T10:00:00Z" if paused else None
    api.play(f"GET {SUBSCRIPTIONS}/sub_1", answer(subscription(failing_since=failing_since, paused=paused)))
    assert shown("subscriptions", "show", "my-store", "sub_1")["probe_at"] is None
    assert api.requests("GET /v1/circuits") == []


@pytest.mark.parametrize(("overlap", "why"), [("90d", "at most 7 days"), ("5m", "at least 10 minutes")])
def test_an_overlap_that_the_api_would_refuse_is_wrong_usage(api: PlayedApi, overlap: str, why: str) -> None:
    result = run("subscriptions", "rotate", "my-store", "sub_1", "--overlap", overlap)
    assert (result.exit_code, api.asked) == (2, [])
    assert why in result.stderr


@pytest.mark.parametrize(("word", "paused"), [("pause", True), ("resume", False)])
def test_a_subscription_is_paused_and_resumed(api: PlayedApi, word: str, paused: bool) -> None:
    api.play(f"PATCH {SUBSCRIPTIONS}/sub_1", answer(subscription(paused=paused)))
    assert shown("subscriptions", word, "my-store", "sub_1")["paused"] is paused
    assert api.asked[0].json == {"paused": paused}


@pytest.mark.parametrize(("words", "given"), [([OTHER_URL], ""), (["-"], OTHER_URL), ([], f"{OTHER_URL}\n")])
def test_a_subscription_is_moved_to_another_url_that_is_not_shown(
    api: PlayedApi, words: list[str], given: str
) -> None:
    api.play(f"PATCH {SUBSCRIPTIONS}/sub_1", answer(subscription(callback_url=OTHER_URL)))
    result = run("subscriptions", "move", "my-store", "sub_1", *words, given=given)
    assert result.exit_code == 0
    assert api.asked[0].json == {"callback_url": OTHER_URL}
    assert "https://other.example" in result.stdout
    assert "another-secret-path" not in result.output


@pytest.mark.parametrize(("words", "given"), [([], "\n"), ([""], OTHER_URL)])
def test_a_subscription_is_moved_nowhere_without_a_url(api: PlayedApi, words: list[str], given: str) -> None:
    result = run("subscriptions", "move", "my-store", "sub_1", *words, given=given)
    assert (result.exit_code, api.asked) == (1, [])
    assert "no URL" in result.stderr


def test_a_key_is_rotated_with_a_day_of_both(api: PlayedApi) -> None:
    api.play(f"POST {SUBSCRIPTIONS}/sub_1/rotate", answer(subscription() | {"webhook_key": "whsec_new"}))
    assert shown("subscriptions", "rotate", "my-store", "sub_1")["webhook_key"] == "whsec_new"
    assert api.asked[0].json == {"overlap_seconds": 86_400}


def test_a_new_key_is_shown_once_with_how_long_the_old_one_holds(api: PlayedApi) -> None:
    made = subscription(previous_key_expires_at=NOW) | {"webhook_key": "whsec_new"}
    api.play(f"POST {SUBSCRIPTIONS}/sub_1/rotate", answer(made))
    result = run("subscriptions", "rotate", "my-store", "sub_1", "--overlap", "7d")
    assert api.asked[0].json == {"overlap_seconds": 604_800}
    assert result.stdout.count("whsec_new") == 1
    assert "whsec_new" not in result.stderr
    assert "a-secret-path" not in result.output


@pytest.mark.parametrize(("delivered", "code"), [(True, 0), (False, 1)])
def test_a_sample_that_is_refused_ends_with_1(api: PlayedApi, delivered: bool, code: int) -> None:
    outcome = SampleAnswer(delivered=delivered, status=200 if delivered else 500, failure=None, latency_ms=3)
    api.play(f"POST {SUBSCRIPTIONS}/sub_1/test", told(outcome))
    result = run("subscriptions", "test", "my-store", "sub_1", "--json")
    assert (result.exit_code, json.loads(result.stdout)["delivered"]) == (code, delivered)


# ---------------------------------------------------------------- deliveries, checkout


def test_deliveries_are_asked_for_by_all_that_is_given(api: PlayedApi) -> None:
    api.play(LOG, deliveries(1))
    words = ("--state", "exhausted", "--reason", "timeout", "--checkout", "cart 1", "--limit", "7")
    shown("deliveries", "list", "my-store", "sub_1", *words, "--since", "2026-11-22T15:30+05:30")
    assert api.asked[0].query == {
        "limit": "7",
        "state": "exhausted",
        "reason": "timeout",
        "checkout_id": "cart 1",
        "since": "2026-11-22T10:00:00.000Z",
    }


def test_empty_pages_are_gone_through_until_there_are_enough(api: PlayedApi) -> None:
    api.play(LOG, deliveries(next_cursor="dlv_a"), deliveries(3, next_cursor="dlv_b"), deliveries(2, 1))
    found = shown("deliveries", "list", "my-store", "sub_1", "--limit", "2")
    assert [one["checkout_id"] for one in found["deliveries"]] == ["cart-3", "cart-2"]
    assert found["next_cursor"] == delivery(2)["delivery_id"]
    assert [asked.query.get("cursor") for asked in api.asked] == [None, "dlv_a", "dlv_b"]


def test_a_delivery_is_shown_with_its_attempts(api: PlayedApi) -> None:
    api.play(LOG, deliveries(1))
    output = run("deliveries", "show", "my-store", "sub_1", delivery_id(NOW, 1)).stdout
    assert api.asked[0].query == {"limit": "1", "cursor": delivery_id(NOW, 2)}
    assert "2026-11-22 15:31:00 IST" in output
    assert "http" in output


@pytest.mark.parametrize("asked", [delivery_id(NOW, 7), "dlv_" + "f" * 32, "dlv_1", "sub_1"])
def test_a_delivery_that_is_not_in_the_log_is_told(api: PlayedApi, asked: str) -> None:
    api.play(LOG, deliveries(1))
    result = run("deliveries", "show", "my-store", "sub_1", asked)
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"There is no delivery {asked}" in result.stderr


def test_a_replay_is_asked_for_once(api: PlayedApi) -> None:
    route = f"POST {SUBSCRIPTIONS}/sub_1/deliveries/{delivery_id(NOW)}/replay"
    api.play(route, told(ReplayAnswer(delivery_id=delivery_id(NOW)), 202))
    result = run("deliveries", "replay", "my-store", "sub_1", delivery_id(NOW))
    assert result.stdout == f"Queued: {delivery_id(NOW)}\n"
    assert len(api.requests(route)) == 1


def test_a_checkout_is_shown_with_its_deliveries_whatever_its_id(api: PlayedApi) -> None:
    checkout = Checkout(
        store_id="my-store",
        checkout_id="a/b%c",
        event=Event(id="evt_1", type=EventType.ABANDONED, time=NOW),
        created_at=NOW,
        updated_at=NOW,
    )
    found = CheckoutAnswer.of(checkout, ()).model_dump(mode="json") | {"deliveries": [delivery(1)]}
    api.play("GET /v1/stores/my-store/checkouts/a%252Fb%2525c", answer(found))  # decoded twice on its way
    output = run("checkout", "my-store", "a/b%c").stdout
    assert "checkout.abandoned of 2026-11-22 15:30:00 IST" in output
    assert delivery_id(NOW, 1) in output
    assert "sub_1" in output


def test_what_a_stranger_named_cannot_command_the_terminal(api: PlayedApi) -> None:
    hostile = "\x1b[2J\u202e[red]x[/red]"
    api.play(LOG, answer({"deliveries": [delivery(1, checkout_id=hostile)], "next_cursor": None}))
    output = run("deliveries", "list", "my-store", "sub_1").stdout
    assert r"\x1b[2J\u202e[red]x[/red]" in output
    assert "\x1b" not in output


@pytest.mark.parametrize("columns", ["40", "80"])
def test_no_id_is_folded_or_cut_however_narrow_the_terminal(
    api: PlayedApi, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    long = {"delivery_id": delivery_id(NOW), "checkout_id": "c" * 300, "store_id": "my-store"}
    message = DeadLetterAnswer(message_id="m" * 36, sent_at=NOW, receives=1, readable=True, **long)
    api.play("GET /v1/dead-letters/deliveries", told(DeadLetterPage(messages=[message])))
    _, line = run("dlq", "show", "deliveries").stdout.splitlines()
    assert all(value in line for value in ("m" * 36, *long.values()))


def test_a_long_fact_makes_no_other_line_longer(api: PlayedApi) -> None:
    api.play(
        f"GET {SUBSCRIPTIONS}/sub_1", answer(subscription() | {"callback_url": "https://a/" + "x" * 300})
    )
    lines = run("subscriptions", "show", "my-store", "sub_1", "--callback-url").stdout.splitlines()
    assert [len(line) > 80 for line in lines].count(True) == 1


# ---------------------------------------------------------------- recover


def recovered(looked_at: int, queued: int, next_cursor: str | None = None) -> Told:
    return told(RecoverAnswer(looked_at=looked_at, queued=queued, next_cursor=next_cursor), 202)


def test_recovery_goes_page_by_page_to_the_end(api: PlayedApi) -> None:
    cursor = delivery_id(NOW) + ".1763805600000"
    api.play(RECOVER, recovered(100, 90, cursor), problem(Unavailable()), recovered(10, 9))
    words = ("--since", "2026-11-22T09:00Z", "--until", "2026-11-22T11:00Z", "--per-second", "50")
    found = shown("recover", "my-store", "sub_1", *words, "--state", "expired")
    bodies = [asked.json for asked in api.requests(RECOVER)]
    assert bodies[0] == {
        "since": "2026-11-22T09:00:00.000Z",
        "until": "2026-11-22T11:00:00.000Z",
        "per_second": 50,
        "states": ["expired"],
    }
    assert bodies[1:] == [bodies[0] | {"cursor": cursor}] * 2
    (run_of_one,) = found["subscriptions"]
    assert (run_of_one["looked_at"], run_of_one["queued"], run_of_one["finished"]) == (110, 99, True)


def test_recovery_of_a_store_leaves_out_who_cannot_be_sent_anything_and_says_so(api: PlayedApi) -> None:
    stopped = subscription("sub_0", paused=True), subscription("sub_2", disabled_reason="gone")
    api.play(f"GET {SUBSCRIPTIONS}", subscriptions(stopped[0], subscription(), stopped[1]))
    api.play(RECOVER, recovered(1, 1))
    found = shown("recover", "my-store", "--since", "2h")
    assert [one["subscription_id"] for one in found["subscriptions"]] == ["sub_1"]
    assert found["stopped"] == ["sub_0", "sub_2"]
    output = " ".join(run("recover", "my-store", "--since", "2h").stdout.split())
    assert (
        "sub_2 is stopped and was left out: `recovery subscriptions resume my-store sub_2` first." in output
    )


def test_a_recovery_says_what_of_the_same_time_is_still_pending(api: PlayedApi) -> None:
    api.play(RECOVER, recovered(0, 0))
    api.play(LOG, deliveries(next_cursor="dlv_a"), deliveries(2, 1, next_cursor="dlv_b"))
    window = ("--since", "2026-11-22T09:00Z", "--until", "2026-11-22T10:00Z")
    output = run("recover", "my-store", "sub_1", *window).stdout
    assert "2+ are still pending: they are tried again by themselves; --state pending sends" in output
    assert api.requests(LOG)[0].query == {
        "limit": "100",
        "state": "pending",
        "since": "2026-11-22T09:00:00.000Z",
        "cursor": delivery_id(NOW.replace(microsecond=1000)),
    }


def test_for_machines_a_recovery_tells_what_is_pending_where_that_is_known(api: PlayedApi) -> None:
    api.play(RECOVER, recovered(0, 0))
    api.play(LOG, deliveries(1), problem(Conflict("No")))
    words = ("recover", "my-store", "sub_1", "--since", "2h")
    assert [shown(*words)["subscriptions"][0]["pending"] for _ in range(2)] == [1, None]


def test_a_recovery_of_what_is_pending_does_not_count_it(api: PlayedApi) -> None:
    api.play(RECOVER, recovered(1, 1))
    assert shown("recover", "my-store", "sub_1", "--since", "2h", "--state", "pending")
    assert api.requests(LOG) == []


@pytest.mark.parametrize(("failing_since", "is_told"), [("2026-11-22T09:00:00.000Z", True), (None, False)])
def test_a_recovery_says_whose_receiver_is_left_alone(
    api: PlayedApi, failing_since: str | None, is_told: bool
) -> None:
    api.play(RECOVER, recovered(3, 3))
    api.play(f"GET {SUBSCRIPTIONS}/sub_1", answer(subscription(failing_since=failing_since)))
    output = run("recover", "my-store", "sub_1", "--since", "2h", "--state", "pending").stdout
    assert ("The receiver of sub_1 is left alone: what was queued waits" in output) is is_told


def test_a_recovery_that_breaks_off_says_how_to_go_on(api: PlayedApi) -> None:
    api.play(RECOVER, recovered(100, 90, "dlv_x.1"), problem(Conflict("The subscription is paused")))
    result = run("recover", "my-store", "sub_1", "--since", "2026-11-22T09:00Z")
    again = (
        "recovery recover my-store sub_1 --since 2026-11-22T09:00:00.000Z --per-second 10 --cursor dlv_x.1"
    )
    assert result.exit_code == 1
    assert "The subscription is paused (409)" in result.stdout
    assert "`recovery subscriptions resume my-store sub_1` first" in result.stdout
    assert f"Go on with: {again}" in result.stderr


def test_a_recovery_that_is_refused_does_not_say_to_ask_the_same_again(api: PlayedApi) -> None:
    api.play(RECOVER, problem(MalformedRequest(errors=[FieldError("cursor", "is none")])))
    result = run("recover", "my-store", "sub_1", "--since", "2h", "--cursor", "dlv_x")
    assert result.exit_code == 1
    assert "cursor: is none" in result.stdout
    assert "Go on with" not in result.stderr


def test_a_recovery_that_is_interrupted_says_how_to_go_on(api: PlayedApi) -> None:
    process = started("recover", "my-store", "sub_1", "--since", "2026-11-22T09:00Z")

    def interrupt(asked: Asked) -> Told:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)
        return recovered(0, 0)

    api.play(RECOVER, recovered(100, 90, "dlv_x.1"), interrupt)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "not finished" in output
    assert "--cursor dlv_x.1" in errors
    assert "Traceback" not in errors


def test_a_recovery_goes_on_from_a_cursor_of_one_subscription(api: PlayedApi) -> None:
    api.play(RECOVER, recovered(1, 1))
    shown("recover", "my-store", "sub_1", "--since", "2h", "--cursor", "dlv_x.1")
    assert api.asked[0].json["cursor"] == "dlv_x.1"
    assert run("recover", "my-store", "--since", "2h", "--cursor", "dlv_x.1").exit_code == 2


@pytest.mark.parametrize("since", ["yesterday", "2026-11-22T10:00", "2026-13-01T00:00Z", "-2h", "2 h", ""])
def test_a_time_without_its_zone_or_sense_is_wrong_usage(api: PlayedApi, since: str) -> None:
    assert run("recover", "my-store", "sub_1", f"--since={since}").exit_code == 2
    assert api.asked == []


# ---------------------------------------------------------------- dead letters


def requeued(done: int, left: int, kept: int = 0, failed: int = 0, discarded: int = 0) -> Told:
    counts = RequeueAnswer(requeued=done, kept=kept, failed=failed, left=left, detail=None)
    return answer(counts.model_dump(mode="json") | {"discarded": discarded})


def test_the_queues_are_counted(api: PlayedApi) -> None:
    counts = QueueAnswer(name=QueueName.STREAM, messages=3, in_flight=1, delayed=0)
    api.play("GET /v1/dead-letters", told(QueuesAnswer(queues=[counts])))
    assert shown("dlq", "counts") == {"queues": [counts.model_dump(mode="json")]}
    assert run("dlq", "counts").stdout.splitlines()[1].split() == ["stream", "3", "1", "0"]


def test_a_look_at_a_queue_shows_what_its_messages_tell(api: PlayedApi) -> None:
    message = DeadLetterAnswer(message_id="m1", sent_at=NOW, receives=1, readable=True, reason="http")
    api.play("GET /v1/dead-letters/deliveries", told(DeadLetterPage(messages=[message])))
    output = run("dlq", "show", "deliveries", "--limit", "5").stdout
    assert api.asked[0].query == {"limit": "5"}
    assert output.splitlines()[0].split() == ["message", "id", "sent", "looked", "at", "readable", "reason"]
    assert "2026-11-22 15:30:00 IST" in output


def test_requeueing_ends_when_nothing_is_left(api: PlayedApi) -> None:
    api.play("GET /v1/stores/my-store", answer(store()))
    api.play(REQUEUE, requeued(50, 30), requeued(30, 0))
    found = shown("dlq", "requeue", "deliveries", "--store", "my-store")
    assert [asked.json for asked in api.requests(REQUEUE)] == [{"limit": 50, "store_id": "my-store"}] * 2
    assert (found["requeued"], found["left"]) == (80, 0)


def test_nothing_is_requeued_for_a_store_that_there_is_not(api: PlayedApi) -> None:
    api.play("GET /v1/stores/my-stroe", problem(NotFound("There is no such store")))
    result = run("dlq", "requeue", "deliveries", "--store", "my-stroe")
    assert (result.exit_code, api.requests(REQUEUE)) == (1, [])
    assert "There is no such store" in result.stderr


def test_requeueing_ends_when_nothing_moves(api: PlayedApi) -> None:
    api.play(REQUEUE, requeued(5, 2, kept=2), requeued(0, 2, kept=2))
    found = shown("dlq", "requeue", "deliveries")
    assert (found["requeued"], found["kept"], len(api.asked)) == (5, 2, 2)


def test_requeueing_stops_at_a_limit(api: PlayedApi) -> None:
    api.play(REQUEUE, requeued(50, 100), requeued(20, 80))
    shown("dlq", "requeue", "deliveries", "--limit", "70")
    assert [asked.json["limit"] for asked in api.asked] == [50, 20]


def test_what_could_not_be_requeued_ends_with_1(api: PlayedApi) -> None:
    api.play(REQUEUE, requeued(1, 1, failed=1), requeued(0, 1, failed=1))
    result = run("dlq", "requeue", "deliveries")
    assert result.exit_code == 1


def test_requeueing_that_breaks_off_says_what_was_done(api: PlayedApi) -> None:
    api.play(REQUEUE, requeued(50, 30), problem(Unavailable()))
    result = run("dlq", "requeue", "deliveries", "--json")
    assert (result.exit_code, json.loads(result.stdout)["requeued"]) == (1, 50)


def test_requeueing_that_is_refused_at_once_says_only_that(api: PlayedApi) -> None:
    api.play(REQUEUE, problem(Unavailable()))
    result = run("dlq", "requeue", "deliveries")
    assert (result.exit_code, result.stdout) == (1, "")


def test_rejected_requests_are_listed_and_replayed(api: PlayedApi) -> None:
    api.play("GET /v1/dead-letters/rejected", told(DeadLetterPage(messages=[])))
    api.play(DISCARD, requeued(1, 0))
    assert run("rejected", "list").stdout == "The queue shows no message.\n"
    assert shown("rejected", "replay")["requeued"] == 1


def test_what_is_kept_of_a_subscription_that_is_sent_nothing_says_what_helps(api: PlayedApi) -> None:
    api.play(REQUEUE, requeued(0, 2, kept=2))
    assert "`recovery subscriptions resume …` first" in run("dlq", "requeue", "deliveries").stdout
    api.play(DISCARD, requeued(0, 2, kept=2))
    assert "resume" not in run("rejected", "replay").stdout


def test_captured_requests_are_discarded_until_nothing_moves(api: PlayedApi) -> None:
    api.play(DISCARD, requeued(0, 7, discarded=50), requeued(0, 2, kept=2, discarded=5), requeued(0, 2))
    found = shown("rejected", "discard", "--yes", "--limit", "60")
    assert [asked.json for asked in api.asked] == [
        {"discard_refused": True, "limit": 50},
        {"discard_refused": True, "limit": 10},
        {"discard_refused": True, "limit": 5},
    ]
    assert (found["discarded"], found["left"]) == (55, 2)


def test_discarding_is_confirmed_first(api: PlayedApi) -> None:
    api.play(DISCARD, requeued(0, 0, discarded=3))
    for given in ("n\n", ""):
        result = run("rejected", "discard", given=given)
        assert (result.exit_code, api.asked) == (1, [])
        assert "Nothing was deleted" in result.stderr
    assert "discarded 3 " in " ".join(run("rejected", "discard", given="y\n").stdout.split())


def test_an_unknown_queue_is_wrong_usage(api: PlayedApi) -> None:
    assert run("dlq", "requeue", "retry").exit_code == 2


# ---------------------------------------------------------------- capture, erase


@pytest.mark.parametrize(("word", "method"), [("on", "PUT"), ("show", "GET"), ("off", "DELETE")])
def test_capture_is_switched_and_shown(api: PlayedApi, word: str, method: str) -> None:
    is_off = word == "off"
    capture = CaptureAnswer(until=None, left=0) if is_off else CaptureAnswer(until=NOW, left=10)
    api.play(f"{method} /v1/stores/my-store/capture", told(capture))
    output = run("capture", word, "my-store").stdout
    assert ("not kept" if is_off else "2026-11-22 15:30:00 IST") in output


def test_an_erasure_says_what_was_done_and_not_of_whom(api: PlayedApi) -> None:
    api.play(ERASE, told(ErasedAnswer(erasure_id="ers_1", checkouts=2, handles=3)))
    result = run("erase", "my-store", given=f"{PHONE}\ny\n")
    assert result.exit_code == 0
    assert "ers_1" in result.stdout
    assert "9876543210" not in result.output


def test_an_erasure_that_is_not_confirmed_is_not_made(api: PlayedApi) -> None:
    for given in ("n\n", ""):
        result = run("erase", "my-store", PHONE, given=given)
        assert (result.exit_code, api.asked) == (1, [])
        assert "Nothing was erased" in result.stderr
        assert "9876543210" not in result.output


def test_an_erasure_for_a_machine_takes_yes_and_stdin(api: PlayedApi) -> None:
    api.play(ERASE, told(ErasedAnswer(erasure_id="ers_1", checkouts=2, handles=3)))
    assert shown("erase", "my-store", "-", "--yes", given=f"{PHONE}\n")["checkouts"] == 2


@pytest.mark.parametrize(("words", "given"), [([], "\n"), ([""], f"{PHONE}\n")])
def test_an_erasure_of_nobody_is_refused(api: PlayedApi, words: list[str], given: str) -> None:
    assert run("erase", "my-store", *words, "--yes", given=given).exit_code == 1
    assert api.asked == []


# ---------------------------------------------------------------- tail


def started(*words: str) -> "subprocess.Popen[str]":
    """The command as a process of its own, which Ctrl-C can end."""
    return subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, "-m", "recovery", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def test_tail_shows_each_change_once_newest_last_until_it_is_interrupted(api: PlayedApi) -> None:
    process = started("tail", "my-store", "sub_1", "--json", "--every", "1s")
    retried = delivery(1, attempts=2, state=State.DELIVERED, recorded_at=NOW.replace(hour=11))

    def end(asked: Asked) -> Told:
        process.send_signal(signal.SIGINT)
        return answer({"deliveries": [], "next_cursor": None})

    changed = answer({"deliveries": [delivery(2), retried], "next_cursor": None})
    api.play(LOG, deliveries(2, 1), changed, end)
    output, errors = process.communicate(timeout=60)
    found = [json.loads(line) for line in output.splitlines()]
    assert [(one["checkout_id"], one["attempts"]) for one in found] == [
        ("cart-1", 1),
        ("cart-2", 1),
        ("cart-1", 2),
    ]
    assert (process.returncode, errors) == (0, "")


def test_tail_looks_on_when_the_api_is_gone_for_a_while_and_ends_when_it_is_refused(api: PlayedApi) -> None:
    busy = [problem(Unavailable())] * 3
    api.play(LOG, deliveries(1), *busy, deliveries(2), problem(Conflict("No more")))
    result = run("tail", "my-store", "sub_1", "--every", "1s")
    assert result.exit_code == 1
    assert "Looking on." in result.stderr
    assert "No more (409)" in result.stderr
    assert ["cart-1" in line or "cart-2" in line for line in result.stdout.splitlines()] == [True, True]


# ---------------------------------------------------------------- the command itself


def test_the_version_is_told() -> None:
    assert run("--version").stdout == "recovery 0.1.0\n"


@pytest.mark.parametrize("words", [[], ["dlq"], ["dlq", "purge"], ["stores", "show"], ["--nonsense"]])
def test_wrong_usage_ends_with_2(words: list[str]) -> None:
    assert run(*words).exit_code == 2


COMMANDS = [
    "stores list",
    "stores show",
    "subscriptions list",
    "subscriptions show",
    "subscriptions pause",
    "subscriptions resume",
    "subscriptions move",
    "subscriptions rotate",
    "subscriptions test",
    "deliveries list",
    "deliveries show",
    "deliveries replay",
    "checkout",
    "recover",
    "dlq counts",
    "dlq show",
    "dlq requeue",
    "rejected list",
    "rejected replay",
    "rejected discard",
    "capture on",
    "capture off",
    "capture show",
    "erase",
    "tail",
    "verify",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example_and_json_for_machines(command: str) -> None:
    output = run(*command.split(), "--help").stdout
    assert f"recovery {command}" in " ".join(output.split())
    assert "--json" in output


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_documented(command: str) -> None:
    assert f"recovery {command}" in (ROOT / "docs" / "recovery.md").read_text()
