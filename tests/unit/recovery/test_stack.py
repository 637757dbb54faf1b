"""A stack is found by its name, and a token goes nowhere else."""

import json
from pathlib import Path

import pytest

from recovery.failure import Failure
from recovery.stack import find
from tests.unit.recovery.played import TOKEN, Asked, PlayedApi, Told, answer, run

STORES = "GET /v1/stores"
NO_STORES = answer({"stores": [], "next_cursor": None})
DESCRIBED = """<DescribeStacksResponse xmlns="http://cloudformation.amazonaws.com/doc/2010-05-15/">
<DescribeStacksResult><Stacks><member><StackName>shop</StackName><CreationTime>2026-11-22T10:00:00Z</CreationTime>
<StackStatus>CREATE_COMPLETE</StackStatus><Outputs>{}</Outputs></member></Stacks></DescribeStacksResult>
</DescribeStacksResponse>"""
OUTPUT = "<member><OutputKey>ApiUrl</OutputKey><OutputValue>{}</OutputValue></member>"
REFUSED = """<ErrorResponse xmlns="http://cloudformation.amazonaws.com/doc/2010-05-15/"><Error><Type>Sender</Type>
<Code>{}</Code><Message>Stack with id shop does not exist</Message></Error></ErrorResponse>"""


@pytest.fixture
def aws(nobody: PlayedApi, monkeypatch: pytest.MonkeyPatch) -> PlayedApi:
    """An account with a stack called shop, whose API is played as well."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", nobody.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_REGION", "ap-south-1")
    nobody.play(STORES, NO_STORES)
    nobody.play("POST /", play_aws(described=DESCRIBED.format(OUTPUT.format(nobody.url))))
    return nobody


def play_aws(described: str, status: int = 200, token: Told | None = None) -> "PlayAws":
    return PlayAws(described, status, token or answer({"Parameter": {"Value": TOKEN}}))


class PlayAws:
    def __init__(self, described: str, status: int, token: Told) -> None:
        self._described = Told(status, described.encode(), {"content-type": "text/xml"})
        self._token = token

    def __call__(self, asked: Asked) -> Told:
        return self._token if asked.headers.get("x-amz-target") else self._described


def bearer(api: PlayedApi) -> str:
    return api.requests(STORES)[-1].headers["authorization"]


def test_without_a_name_it_is_the_local_cloud(api: PlayedApi) -> None:
    api.play(STORES, NO_STORES)
    assert run("stores", "list").exit_code == 0
    assert bearer(api) == f"Bearer {TOKEN}"


def test_the_local_cloud_is_found_from_a_folder_below_and_by_its_name(api: PlayedApi, tmp_path: Path) -> None:
    below = tmp_path / "docs" / "deep"
    below.mkdir(parents=True)
    assert find("checkout-recovery-local", None, None, environment={}, folder=below).api_url == api.url


def test_a_token_of_the_environment_goes_before_the_admin_token(
    api: PlayedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECOVERY_TOKEN", "crs_my-store.x")
    api.play(STORES, NO_STORES)
    run("stores", "list")
    assert bearer(api) == "Bearer crs_my-store.x"


def test_a_file_that_names_another_machine_gets_no_token(tmp_path: Path) -> None:
    told = {"api_url": "https://elsewhere.example", "stack_name": "x", "admin_token": TOKEN}
    (tmp_path / ".local").mkdir()
    (tmp_path / ".local" / "stack.json").write_text(json.dumps(told))
    with pytest.raises(Failure, match="not on this machine"):
        find(None, None, None, environment={"RECOVERY_TOKEN": "crs_x"}, folder=tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"api_url": "http://127.0.0.1"}'])
def test_a_file_that_make_local_did_not_write_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / ".local").mkdir()
    (tmp_path / ".local" / "stack.json").write_text(text)
    with pytest.raises(Failure, match="not what `make local` writes"):
        find(None, None, None, environment={}, folder=tmp_path)


def test_a_local_cloud_that_has_ended_is_told(tmp_path: Path, api: PlayedApi) -> None:
    told = {"api_url": "http://127.0.0.1:9", "stack_name": "x", "admin_token": TOKEN}
    (tmp_path / ".local" / "stack.json").write_text(json.dumps(told))
    result = run("subscriptions", "test", "my-store", "sub_1")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "is `make local` still running?" in result.stderr


def test_the_stack_s_token_is_not_in_its_repr(api: PlayedApi, tmp_path: Path) -> None:
    assert TOKEN not in repr(find(None, None, None, environment={}, folder=tmp_path))


def test_a_deployed_stack_is_found_by_cloudformation_and_ssm(aws: PlayedApi) -> None:
    result = run("stores", "list", "--stack", "shop")
    assert (result.exit_code, result.stdout) == (0, "No store is registered.\n")
    assert bearer(aws) == f"Bearer {TOKEN}"
    assert aws.requests("POST /")[1].json["Name"] == "/shop/admin-token"


def test_the_environment_may_name_the_stack(aws: PlayedApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECOVERY_STACK", "shop")
    run("stores", "list")
    assert b"StackName=shop" in aws.requests("POST /")[0].body


def test_with_a_token_of_ones_own_ssm_is_not_asked(aws: PlayedApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECOVERY_TOKEN", "cra_mine")
    assert run("stores", "list", "--stack", "shop").exit_code == 0
    assert len(aws.requests("POST /")) == 1
    assert bearer(aws) == "Bearer cra_mine"


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("ValidationError", "There is no stack shop in ap-south-1"),
        ("ExpiredToken", "The AWS credentials have expired"),
        ("AccessDenied", "These AWS credentials may not look at the stack shop"),
        ("InvalidClientTokenId", "AWS does not accept the credentials"),
        ("SomethingNew", "AWS refused to look at the stack shop (SomethingNew)"),
    ],
)
def test_what_aws_refuses_is_told_in_a_sentence(aws: PlayedApi, code: str, told: str) -> None:
    aws.play("POST /", play_aws(REFUSED.format(code), 400))
    result = run("stores", "list", "--stack", "shop")
    assert (result.exit_code, result.stdout) == (1, "")
    assert told in result.stderr
    assert "Traceback" not in result.stderr


def test_a_stack_that_is_another_project_s_is_told(aws: PlayedApi) -> None:
    aws.play("POST /", play_aws(DESCRIBED.format("")))
    assert "has no output ApiUrl" in run("stores", "list", "--stack", "shop").stderr


def test_a_stack_without_an_admin_token_is_told(aws: PlayedApi) -> None:
    missing = answer({"__type": "ParameterNotFound", "message": ""}, 400)
    aws.play("POST /", play_aws(DESCRIBED.format(OUTPUT.format(aws.url)), token=missing))
    assert "There is no admin token in /shop/admin-token" in run("stores", "list", "--stack", "shop").stderr


def test_a_token_is_not_sent_to_an_api_without_tls(aws: PlayedApi) -> None:
    aws.play("POST /", play_aws(DESCRIBED.format(OUTPUT.format("http://elsewhere.example"))))
    result = run("stores", "list", "--stack", "shop")
    assert "without TLS" in result.stderr
    assert len(aws.requests("POST /")) == 1


def test_without_credentials_it_says_how_to_sign_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "ap-south-1")
    result = run("stores", "list", "--stack", "shop")
    assert result.exit_code == 1
    assert "sign in" in result.stderr


def test_without_a_region_it_asks_for_one() -> None:
    assert "--region" in run("stores", "list", "--stack", "shop").stderr


def test_an_unknown_profile_is_told() -> None:
    assert "no profile nobody" in run("stores", "list", "--stack", "shop", "--profile", "nobody").stderr
