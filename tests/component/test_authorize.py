import hmac
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from mypy_boto3_ssm import SSMClient

from checkout_recovery import wiring
from checkout_recovery.errors import Unavailable
from checkout_recovery.subscriptions.store import Store, StoreSettings
from checkout_recovery.subscriptions.tokens import token_hash
from functions.authorize.app import handler

ADMIN = "cra_test_admin_token_do_not_use_do_not_use_do_n"
STORE = "crs_my-store.test_store_token_do_not_use_do_not_use_do_n"
NOW = datetime(2026, 5, 7, tzinfo=UTC)
REFUSED = {"isAuthorized": False}

Load = Callable[[str], dict[str, Any]]


@pytest.fixture(autouse=True)
def registered(ssm: SSMClient) -> None:
    ssm.put_parameter(Name="/checkout-recovery-test/admin-token", Value=ADMIN, Type="SecureString")
    wiring.registry().create_store(
        Store(
            store_id="my-store",
            settings=StoreSettings(),
            token_hash=token_hash(STORE),
            revision=1,
            created_at=NOW,
            updated_at=NOW,
        )
    )


def with_token(event: dict[str, Any], authorization: str) -> dict[str, Any]:
    return event | {"headers": {"Authorization": authorization}}


def test_the_operators_token_may_do_everything(event: Load, context: SimpleNamespace) -> None:
    answer = handler(event("authorize-admin"), context)
    assert answer == {"isAuthorized": True, "context": {"scope": "admin", "store_id": ""}}


def test_a_stores_token_says_which_store_it_is(event: Load, context: SimpleNamespace) -> None:
    answer = handler(event("authorize-store"), context)
    assert answer == {"isAuthorized": True, "context": {"scope": "store", "store_id": "my-store"}}


@pytest.mark.parametrize(
    "name",
    ["admin-wrong", "store-wrong", "store-unknown", "store-truncated", "basic", "empty", "two-tokens"],
)
def test_everything_else_is_refused_alike(event: Load, context: SimpleNamespace, name: str) -> None:
    assert handler(event("authorize-" + name), context) == REFUSED


@pytest.mark.parametrize(
    "authorization",
    [
        "Bearer",
        "Bearer ",
        ADMIN,
        f"Bearer {ADMIN}x",
        f"Bearer {ADMIN} ",
        f"Bearer\n{ADMIN}",
        f"Bearer {ADMIN}\u0661",
        f"Bearer {STORE}\n",
        "Bearer crs_." + STORE.partition(".")[2],
        "Bearer crs_../my-store." + STORE.partition(".")[2],
        f"Bearer {token_hash(STORE)}",
        "Bearer " + "x" * 100_000,
        "\ud800",
    ],
)
def test_a_malformed_header_is_refused_without_a_look_up(
    event: Load, context: SimpleNamespace, authorization: str
) -> None:
    answer = handler(with_token(event("authorize-admin"), authorization), context)
    assert answer == REFUSED or authorization.strip() in (f"Bearer {ADMIN}", f"Bearer {STORE}")


def test_a_request_without_the_header_is_refused(event: Load, context: SimpleNamespace) -> None:
    assert handler(event("authorize-admin") | {"headers": {}}, context) == REFUSED


def test_the_scheme_is_read_in_any_case(event: Load, context: SimpleNamespace) -> None:
    assert handler(with_token(event("authorize-admin"), f"bEARER {ADMIN}"), context)["isAuthorized"]


def test_without_an_admin_token_nobody_is_the_operator(
    event: Load, context: SimpleNamespace, ssm: SSMClient
) -> None:
    ssm.delete_parameter(Name="/checkout-recovery-test/admin-token")
    assert handler(event("authorize-admin"), context) == REFUSED


def test_a_token_that_was_replaced_is_refused(event: Load, context: SimpleNamespace) -> None:
    wiring.registry().update_store("my-store", StoreSettings(), NOW, token_hash("another"))
    assert handler(event("authorize-store"), context) == REFUSED


def test_tokens_are_compared_in_constant_time_even_for_an_unknown_store(
    event: Load, context: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[int, int]] = []
    compare = hmac.compare_digest

    def watched(one: str, other: str) -> bool:
        compared.append((len(one), len(other)))
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", watched)
    for name in ("store", "store-wrong", "store-unknown", "admin", "admin-wrong"):
        handler(event("authorize-" + name), context)
    assert compared == [(64, 64)] * 5


def test_a_dependency_that_is_down_is_an_error_and_not_a_refusal(
    event: Load, context: SimpleNamespace, environment: pytest.MonkeyPatch, forget: Callable[[], None]
) -> None:
    def throttle(**_: object) -> None:
        raise ClientError({"Error": {"Code": "ThrottlingException", "Message": ""}}, "GetItem")

    def client(*_: object, **__: object) -> SimpleNamespace:
        return SimpleNamespace(get_item=throttle, get_parameters=throttle)

    environment.setattr(boto3, "client", client)
    forget()
    for name in ("authorize-store", "authorize-admin"):
        with pytest.raises(Unavailable):
            handler(event(name), context)


def test_no_token_is_logged(event: Load, context: SimpleNamespace, log: list[str]) -> None:
    for name in ("store", "store-wrong", "admin", "admin-wrong", "basic", "two-tokens"):
        handler(event("authorize-" + name), context)
    assert "do_not_use" not in "".join(log)
