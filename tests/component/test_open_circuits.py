"""How many circuits are open, as the sweep's scheduled run measures it for whoever is on call."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from checkout_recovery import wiring
from checkout_recovery.subscriptions.circuit import Circuit
from checkout_recovery.subscriptions.store import Store, StoreSettings
from functions.sweep import app
from tests.component.subscribing import subscribe_known
from tests.subscriptions import subscription

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
SCHEDULED: dict[str, Any] = {"source": "aws.events"}
SHARE = {"first_shard": 0}
SWEPT = {"found": {}, "failed": 0, "finished": True}


def context(milliseconds: int = 60_000) -> SimpleNamespace:
    return SimpleNamespace(invoked_function_arn="arn", get_remaining_time_in_millis=lambda: milliseconds)


def open_circuits(*subscription_ids: str) -> None:
    store = Store(
        store_id="my-store",
        settings=StoreSettings(),
        token_hash="0" * 64,
        revision=1,
        created_at=NOW,
        updated_at=NOW,
    )
    wiring.registry().create_store(store)
    for subscription_id in subscription_ids:
        subscribe_known(wiring.registry(), subscription(subscription_id))
        assert wiring.registry().put_circuit(None, Circuit.opened("my-store", subscription_id, NOW))


@pytest.fixture
def measured(aws: None, capsys: pytest.CaptureFixture[str]) -> Callable[[], list[dict[str, Any]]]:
    """The lines of the metric that have been written since."""

    def read() -> list[dict[str, Any]]:
        lines = (line for line in capsys.readouterr().out.splitlines() if "_aws" in line)
        return [line for line in map(json.loads, lines) if "CircuitsOpen" in line]

    return read


@pytest.mark.parametrize("subscription_ids", [(), ("sub_a",), ("sub_a", "sub_b")])
def test_the_scheduled_run_measures_how_many_circuits_are_open(
    measured: Callable[[], list[dict[str, Any]]], subscription_ids: tuple[str, ...]
) -> None:
    open_circuits(*subscription_ids)
    app.handler(SCHEDULED, context())
    (line,) = measured()
    assert line["CircuitsOpen"] == [len(subscription_ids)]


def test_a_share_of_the_sweep_does_not_measure_them_again(
    measured: Callable[[], list[dict[str, Any]]],
) -> None:
    assert app.handler(SHARE, context()) == SWEPT
    assert measured() == []


def test_a_sweep_that_has_used_up_its_time_does_not_measure_them(
    measured: Callable[[], list[dict[str, Any]]],
) -> None:
    app.handler(SCHEDULED, context(milliseconds=4_000))
    assert measured() == []


def test_a_throttled_registry_costs_the_measure_and_not_the_sweep(
    measured: Callable[[], list[dict[str, Any]]],
) -> None:
    def throttle_registry(params: Any, **_: Any) -> None:
        if "RegistryTable" in str(params["body"]):
            raise ClientError({"Error": {"Code": "ThrottlingException"}}, "Query")

    open_circuits("sub_a")
    wiring.registry()._client.meta.events.register("before-call.dynamodb.Query", throttle_registry)
    assert app.handler(SCHEDULED, context()) == SWEPT
    assert measured() == []
