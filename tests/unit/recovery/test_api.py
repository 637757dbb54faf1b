"""Reads are asked again politely, writes are not, and every refusal becomes a sentence."""

import json

import pytest

from checkout_recovery.errors import (
    Conflict,
    FieldError,
    Forbidden,
    MalformedRequest,
    NotFound,
    Unauthenticated,
    Unavailable,
)
from tests.unit.recovery.played import TOKEN, PlayedApi, Told, answer, problem, run, store

STORE = "GET /v1/stores/my-store"
TEST = "POST /v1/stores/my-store/subscriptions/sub_1/test"
HTML = Told(502, b"<html>secret</html>", {"content-type": "text/html; charset=x", "retry-after": "0"})


def test_a_read_is_asked_again_when_the_api_was_busy(api: PlayedApi) -> None:
    api.play(STORE, problem(Unavailable()), problem(Unavailable()), answer(store()))
    assert run("stores", "show", "my-store").exit_code == 0
    assert len(api.requests(STORE)) == 3


def test_a_read_is_given_up_after_three_times(api: PlayedApi) -> None:
    api.play(STORE, problem(Unavailable()))
    result = run("stores", "show", "my-store")
    assert result.exit_code == 1
    assert "Try again in a moment (503)" in result.stderr
    assert len(api.requests(STORE)) == 3


def test_a_write_that_may_have_been_done_is_not_sent_again(api: PlayedApi) -> None:
    api.play(TEST, problem(Unavailable()))
    result = run("subscriptions", "test", "my-store", "sub_1")
    assert result.exit_code == 1
    assert "Whether it was done is not known" in result.stderr
    assert len(api.requests(TEST)) == 1


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (NotFound("The store has no such subscription"), "The store has no such subscription (404)"),
        (Conflict("The subscription is paused"), "The subscription is paused (409)"),
        (MalformedRequest(errors=[FieldError("limit", "1 to 100")]), "(limit: 1 to 100) (422)"),
        (Unauthenticated(), "The request is not authenticated (401)"),
        (
            MalformedRequest(errors=[FieldError("since", "Value error, has no offset")]),
            "(since: has no offset)",
        ),
        (Forbidden("This needs the admin token"), "This needs the admin token"),
    ],
)
def test_a_problem_is_told_as_a_sentence(
    api: PlayedApi, error: NotFound | Conflict | MalformedRequest | Unauthenticated | Forbidden, told: str
) -> None:
    api.play(STORE, problem(error))
    result = run("stores", "show", "my-store")
    assert (result.exit_code, result.stdout) == (1, "")
    assert told in result.stderr


def test_what_is_not_there_is_told_once(api: PlayedApi) -> None:
    api.play(STORE, problem(NotFound("There is no such store")))
    assert run("stores", "show", "my-store").stderr == "recovery: There is no such store (404)\n"


def test_the_gateway_s_own_refusal_is_told_too(api: PlayedApi) -> None:
    api.play(STORE, answer({"message": "Forbidden"}, 403))
    result = run("stores", "show", "my-store")
    assert result.stderr == "recovery: The token is unknown, or does not allow this (403): Forbidden\n"


def test_an_api_that_is_older_than_the_command_is_told(api: PlayedApi) -> None:
    assert "is it older than this command?" in run("dlq", "counts").stderr


def test_a_proxy_s_page_is_told_and_not_shown(api: PlayedApi) -> None:
    api.play(STORE, HTML)
    result = run("stores", "show", "my-store")
    assert "Not the API answered (502, text/html instead of JSON)" in result.stderr
    assert "secret" not in result.output


@pytest.mark.parametrize("body", [b"", b"[]", b"nonsense", b"null", b"\xff"])
def test_an_answer_that_is_not_an_object_is_told(api: PlayedApi, body: bytes) -> None:
    api.play("GET /v1/dead-letters", Told(200, body))
    result = run("dlq", "counts")
    assert result.exit_code == 1
    assert result.stderr.startswith("recovery: ")


def test_a_redirect_is_not_followed(api: PlayedApi) -> None:
    api.play(STORE, Told(307, b"", {"location": "https://elsewhere.example/"}))
    assert "redirect (307), which is not followed" in run("stores", "show", "my-store").stderr


def test_an_answer_without_its_list_is_told(api: PlayedApi) -> None:
    api.play("GET /v1/stores", answer({"shops": []}))
    assert "answered without stores" in run("stores", "list").stderr


def test_for_machines_a_failure_is_json_too(api: PlayedApi) -> None:
    api.play(STORE, problem(NotFound("No such store")))
    result = run("stores", "show", "my-store", "--json")
    told = json.loads(result.stderr)
    assert (result.exit_code, result.stdout) == (1, "")
    assert (told["status"], told["problem"]["type"]) == (404, "/problems/not-found")


def test_the_token_is_in_no_output(api: PlayedApi) -> None:
    api.play(STORE, problem(Unauthenticated()))
    assert TOKEN not in run("stores", "show", "my-store", "--json").output


def test_an_id_cannot_leave_its_place_in_the_path(api: PlayedApi) -> None:
    run("stores", "show", "../x?y#z")
    assert api.asked[0].path == "/v1/stores/..%2Fx%3Fy%23z"
