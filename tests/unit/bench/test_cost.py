"""The calculation of docs/cost.md, held to examples that can be followed by hand; its prices and its page."""

import ast
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from bench.capacity import CHECKOUTS, DUE, EMPTY, FIRST, REGISTRY, Day, Measured, Sweeping, Work
from bench.cost import (
    ACCESS_VALUES,
    DOCUMENT,
    EMITTED,
    RESOURCES,
    access_line,
    alarm_metrics,
    base,
    deployed,
    tables,
)
from bench.document import filled
from bench.handling import _counted, _typed_bytes
from bench.prices import FILE, PRICES, Plan, dollars
from bench.spending import (
    DYNAMODB,
    GATEWAY,
    KMS,
    LAMBDA,
    LOGS,
    SQS,
    TRANSFER,
    VIRTUAL_CPU_MB,
    Assumed,
    Deployed,
    Findings,
    Handling,
    Requests,
    Spending,
)
from checkout_recovery.observability import METRICS

ROOT = Path(__file__).parents[3]
NOTHING = Handling(0, 0, 0)
ONE_EVENT = Day(
    snapshots=1,
    with_contact=0,
    bought=0,
    in_cooldown=0,
    returned=0,
    retention_days=30,
    delivery_retention_days=30,
)
"""Each checkout is told of once, and then found abandoned: one snapshot, two events."""
IDEAL = Assumed(
    answer_seconds=0, slower=1, call_seconds=0, handshake_microseconds=0, handshake_bytes=0, failed=0
)
FUNCTIONS = ("IngestFunction", "FanoutFunction", "RetryFunction", "AuthorizeFunction")
STACK = Deployed(
    memory_mb=dict.fromkeys(FUNCTIONS, VIRTUAL_CPU_MB),
    batch_size=100,
    parallelization=10,
    connections=64,
    connections_a_subscription=6,
    sending_seconds=20,
    access_log_bytes=0,
    platform_log_bytes=0,
    secret_seconds=300,
    alarm_metrics=0,
    dashboards=0,
    custom_metrics=0,
    custom_metrics_at_most=0,
    route_metrics=0,
    route_metrics_at_most=0,
)
A_SECOND = VIRTUAL_CPU_MB / 1024 * 0.0000133334
"""US dollars for a function with one virtual CPU."""


def requests(**figures: Any) -> Requests:
    none: dict[str, Any] = dict.fromkeys(
        (
            *("body_bytes", "snapshot_microseconds", "contact_microseconds", "sent_bytes", "item_bytes"),
            *("typed_item_bytes", "string_microseconds", "tree_microseconds"),
        ),
        0.0,
    )
    none |= {"fan_out_microseconds": NOTHING, "fan_out_log_bytes": NOTHING}
    return Requests(**none | figures)


def written(**work: Work) -> Measured:
    names = {"first": FIRST, "empty": EMPTY}
    nothing = dict.fromkeys((*Day().times, EMPTY), Work())
    return Measured(
        work=nothing | {names[name]: one for name, one in work.items()},
        told_microseconds=0,
        held_back_microseconds=0,
        store_microseconds=0,
        shard_microseconds=0,
        checkout_bytes=1_000,
        link_bytes=0,
        delivery_bytes=0,
    )


def spending(found: Requests | None = None, **others: Any) -> Spending:
    findings = Findings(
        requests={1: found or requests()},
        authorize_microseconds=0,
        log_line_microseconds=0,
        log_line_bytes=0,
        failure_line_bytes=0,
        delivery_bytes=others.pop("delivery_bytes", 0),
        memory_mb=0,
        date=date(2026, 11, 22),
        processor="none",
    )
    sweeping = Sweeping(default_shards=1, shards_a_run=1, memory_mb=1_024, seconds=50)
    usual: dict[str, Any] = {"written": written(), "deployed": STACK, "day": ONE_EVENT, "assumed": IDEAL}
    return Spending(findings=findings, items=1, sweeping=sweeping, **usual | others)


def line(one: Spending, service: str, what: str) -> float:
    """US dollars of a million checkouts."""
    (found,) = (line for line in one.lines if (line.service, line.what) == (service, what))
    return found.dollars * 1e6


# ---------------------------------------------------------------- what a batch takes


def test_batches_on_a_line_give_the_line() -> None:
    told = Handling(4_000, 200, 350)
    sizes = [(1, 1), (10, 10), (100, 100), (1, 30), (10, 100)]
    found = Handling.fitted({(events, many): told.of(events, many) for events, many in sizes})
    assert (found.batch, found.event, found.delivery) == pytest.approx((4_000, 200, 350))


def test_an_event_never_takes_less_than_nothing() -> None:
    found = Handling.fitted({(1, 1): 122, (100, 100): 320 - 10, (1, 100): 320})
    assert found.event == 0
    assert found.delivery == pytest.approx(2, rel=0.05)


def test_a_large_batch_that_is_off_weighs_no_more_than_a_small_one() -> None:
    found = Handling.fitted({(1, 1): 100, (1, 2): 100, (2, 2): 100, (1_000, 1_000): 2_000})
    assert found.of(1, 1) == pytest.approx(100, rel=0.05)


def test_a_tree_of_attributes_is_as_large_as_its_names_and_values() -> None:
    tree = {"M": {"id": {"S": "é"}, "n": {"N": "12345"}, "is": {"BOOL": True}, "of": {"L": [{"S": "ab"}]}}}
    assert _typed_bytes(tree) == 3 + (1 + 2 + 2) + (1 + 1 + 4) + (1 + 2 + 1) + (1 + 2 + 3 + 1 + 2)


def test_a_log_line_is_billed_with_what_cloudwatch_adds() -> None:
    assert _counted("é\nab\n") == (2 + 26) + (2 + 26)


# ---------------------------------------------------------------- Lambda


def test_a_run_is_billed_as_a_request_and_by_its_seconds() -> None:
    one = spending(assumed=replace(IDEAL, slower=2))
    assert one.invocation("IngestFunction", 1e6, 0) == pytest.approx(2 * A_SECOND + 0.2e-6)


def test_a_run_with_less_memory_takes_longer_and_costs_the_same_for_its_cpu() -> None:
    smaller = replace(STACK, memory_mb={"IngestFunction": 1_000})
    whole, part = (spending(deployed=one).invocation("IngestFunction", 1e6, 0) for one in (STACK, smaller))
    assert part == pytest.approx(whole)


def test_more_than_one_virtual_cpu_is_of_no_use() -> None:
    twice = replace(STACK, memory_mb={"IngestFunction": 2 * VIRTUAL_CPU_MB})
    cost = spending(deployed=twice).invocation("IngestFunction", 1e6, 0)
    assert cost == pytest.approx(2 * A_SECOND + 0.2e-6)


def test_waiting_costs_memory_alone() -> None:
    one = spending(assumed=replace(IDEAL, call_seconds=0.25))
    assert one.invocation("RetryFunction", 0, calls=2, waiting=0.5) == pytest.approx(A_SECOND + 0.2e-6)


def test_a_batch_of_ten_events_is_a_tenth_of_the_runs() -> None:
    assert line(spending(events_a_batch=1), LAMBDA, "fan-out") == pytest.approx(2 * 0.2)
    assert line(spending(events_a_batch=10), LAMBDA, "fan-out") == pytest.approx(2 * 0.2 / 10)


def test_a_batch_waits_for_as_many_answers_as_follow_each_other() -> None:
    slow = replace(IDEAL, answer_seconds=1)
    assert spending(assumed=slow, events_a_batch=6).batch_seconds() == 1
    assert spending(assumed=slow, events_a_batch=7).batch_seconds() == 2  # six at once to one subscription
    assert spending(assumed=slow, subscribers=65).batch_seconds() == 2  # 64 at once altogether


def test_a_batch_calls_the_tables_as_often_as_their_limits_ask_for() -> None:
    one = spending(assumed=replace(IDEAL, call_seconds=1), subscribers=98)
    assert one.batch_seconds() == 1 + 4  # 98 deliveries, a store and a checkout are a hundred keys
    assert replace(one, subscribers=99).batch_seconds() == 2 + 4


def test_what_a_batch_has_no_time_for_is_made_by_the_retry_function() -> None:
    late = spending(assumed=replace(IDEAL, answer_seconds=20), subscribers=128)
    assert late.deferred == pytest.approx(0.5)
    assert late.retries == pytest.approx(128)  # of the 256 deliveries of two events


def test_a_shard_has_several_batches_at_once() -> None:
    assert spending(assumed=replace(IDEAL, answer_seconds=2), events_a_batch=6).events_a_second() == 30


def test_a_batch_opens_as_many_connections_as_a_subscription_may_have() -> None:
    one = spending(assumed=replace(IDEAL, handshake_microseconds=1e6), events_a_batch=100)
    assert one.batch_seconds() == pytest.approx(6)


def test_a_token_is_asked_for_once_a_minute() -> None:
    often = replace(ONE_EVENT, checkouts_a_store=1e6)
    by_token = spending(day=often, assumed=replace(IDEAL, by_token=1))
    asked = 1_440 / 1e6  # of the snapshots, each minute having some
    assert line(by_token, LAMBDA, "authorize") == pytest.approx(asked * (0.2 + 0.1425))


# ---------------------------------------------------------------- DynamoDB


def test_each_delivery_is_looked_up_and_written_once() -> None:
    one = spending(subscribers=3)
    assert line(one, DYNAMODB, "DeliveryTable") == pytest.approx(6 * (0.71 + 0.1425))
    assert line(one, DYNAMODB, REGISTRY) == pytest.approx(2 * 0.1425)


def test_a_larger_cart_costs_more_units_of_its_table_and_none_of_the_index() -> None:
    work = written(first=Work(writes={CHECKOUTS: 1, DUE: 1}, reads={CHECKOUTS: 1}))
    large = spending(requests(item_bytes=5_000), written=work)
    assert line(large, DYNAMODB, CHECKOUTS) == pytest.approx(5 * 0.71 + 2 * 0.1425)
    assert line(large, DYNAMODB, DUE) == pytest.approx(0.71)


def test_what_is_kept_is_billed_for_each_month() -> None:
    kept = replace(ONE_EVENT, retention_days=90, delivery_retention_days=60)
    one = spending(requests(item_bytes=900), day=kept, delivery_bytes=400)
    assert line(one, DYNAMODB, "storage of checkouts") == pytest.approx(0.285 * 3)  # 1,000 B each
    assert line(one, DYNAMODB, "storage of the delivery log") == pytest.approx(0.285 * 2)  # two of 500 B


# ---------------------------------------------------------------- the others


def test_each_snapshot_is_a_request_and_a_line_of_the_access_log() -> None:
    one = spending(deployed=replace(STACK, access_log_bytes=1_000))
    assert line(one, GATEWAY, "requests") == pytest.approx(1.05)
    assert line(one, LOGS, "access log") == pytest.approx(0.67)


def test_lambda_tells_of_each_run_in_the_log() -> None:
    told = spending(deployed=replace(STACK, platform_log_bytes=1_000), events_a_batch=10)
    assert line(told, LOGS, "Lambda's lines, ingest") == pytest.approx(0.67)
    assert line(told, LOGS, "Lambda's lines, fan-out") == pytest.approx(0.67 * 2 / 10)


def test_each_delivery_is_sent_to_the_internet() -> None:
    one = spending(requests(sent_bytes=1_000), subscribers=3)
    assert line(one, TRANSFER, "to receivers") == pytest.approx(6 * 0.1093)


def test_a_failure_is_queued_received_and_deleted() -> None:
    failing = spending(assumed=replace(IDEAL, failed=0.5))
    assert line(failing, SQS, "retries") == pytest.approx(2 * 0.5 * 3 * 0.40)
    assert line(failing, LAMBDA, "retry") == pytest.approx(2 * 0.5 * 0.2)


def test_a_secret_that_is_used_once_in_its_time_is_fetched_every_other_time() -> None:
    day = replace(ONE_EVENT, checkouts_a_store=86_400 / 300)
    one = spending(day=day, assumed=replace(IDEAL, environments=1))
    assert one.decrypts(1) == pytest.approx(0.5)
    assert line(one, KMS, "providers' secrets") == pytest.approx(0.5 * 3)


# ---------------------------------------------------------------- together


def test_a_million_events_are_of_fewer_checkouts() -> None:
    one = spending()
    assert one.events == 2
    assert one.million_events == pytest.approx(one.thousand_checkouts * 1_000 / 2)
    assert sum(one.services().values()) == pytest.approx(one.million_events)


def test_sending_is_a_part_of_the_whole() -> None:
    one = base()
    assert 0 < one.million_sent < one.million_events


def test_a_month_has_what_it_costs_when_nothing_comes() -> None:
    watched = replace(STACK, alarm_metrics=42, dashboards=1, custom_metrics=10, route_metrics=6)
    one = spending(deployed=watched)
    fixed = {line.what: line.dollars for line in one.fixed()}
    assert fixed["alarms"] == pytest.approx(4.20)
    assert fixed["dashboards"] == pytest.approx(3)
    assert fixed["our own metrics"] == pytest.approx(3)
    assert fixed["metrics of routes"] == pytest.approx(1.80)
    assert fixed["polling"] == pytest.approx(5 * 3 * 43_200 * 0.40 / 1e6)
    assert one.month(1e6) == pytest.approx(sum(fixed.values()) + one.million_events)


# ---------------------------------------------------------------- what is deployed


def test_a_line_of_the_access_log_has_a_value_for_each_variable() -> None:
    assert access_line('{"status":"$context.status","error":"$context.error.responseType"}') == (
        '{"status":"200","error":"-"}'
    )


def test_a_variable_of_the_access_log_that_is_not_known_is_an_error() -> None:
    assert "identity.sourceIp" not in ACCESS_VALUES
    with pytest.raises(KeyError):
        access_line("$context.identity.sourceIp")


@pytest.mark.parametrize(
    ("properties", "metrics"),
    [
        ({"MetricName": "Errors"}, 1),
        ({"Metrics": [{"Expression": "a / b"}, {"MetricStat": {}}, {"MetricStat": {}}]}, 2),
    ],
)
def test_an_alarm_is_billed_by_the_metrics_that_it_watches(properties: dict[str, Any], metrics: int) -> None:
    assert alarm_metrics({"Type": "AWS::CloudWatch::Alarm", "Properties": properties}) == metrics


def test_what_is_no_alarm_watches_nothing() -> None:
    assert alarm_metrics({"Type": "AWS::SQS::Queue"}) == 0


def test_memory_and_batches_are_those_of_the_template() -> None:
    stack = deployed()
    for name, memory in stack.memory_mb.items():
        assert RESOURCES[name]["Properties"]["MemorySize"] == memory
    stream = RESOURCES["FanoutFunction"]["Properties"]["Events"]["CheckoutChanged"]["Properties"]
    assert stack.batch_size == stream["BatchSize"]


def emitted() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each call of `measure` in the code: the metric and its dimensions."""
    for path in (ROOT / "layers/checkout_recovery/checkout_recovery").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Name(id="measure"), args=[ast.Constant(value=str(metric)), *_]):
                    yield metric, tuple(sorted(keyword.arg or "" for keyword in node.keywords))


def test_every_metric_that_the_code_emits_is_counted_with_its_dimensions() -> None:
    assert dict(emitted()) == {name: dimensions for name, (dimensions, _, _) in EMITTED.items()}
    assert EMITTED.keys() == METRICS.keys()


def test_a_well_stack_emits_no_more_combinations_than_there_can_be() -> None:
    for _, well, most in EMITTED.values():
        assert well <= most


# ---------------------------------------------------------------- prices


RAW = tomllib.loads(FILE.read_text())


@pytest.mark.parametrize(
    "price", [*RAW["aws"].values(), *RAW["managed"].values()], ids=[*RAW["aws"], *RAW["managed"]]
)
def test_each_price_has_a_unit_a_value_an_address_and_a_date(price: dict[str, Any]) -> None:
    assert price["unit"]
    assert price["value"] >= 0
    assert price["source"].startswith("https://")
    assert date(2026, 1, 1) <= price["date"] <= date(2026, 12, 31)
    assert price["read"]


def test_a_price_that_is_not_there_is_an_error() -> None:
    with pytest.raises(KeyError):
        dollars("egress_gigabyte")


def test_a_plan_counts_the_messages_beyond_those_that_are_included() -> None:
    plan = PRICES.managed["svix_professional"]
    assert plan.month(1e6) == pytest.approx(490 + 950_000 * 0.0001)
    assert plan.month(10) == 490


@pytest.mark.parametrize("plan", PRICES.managed.values(), ids=PRICES.managed)
def test_a_plan_tells_what_it_promises(plan: Plan) -> None:
    assert plan.tells
    assert plan.included >= 0


# ---------------------------------------------------------------- the page


def test_its_tables_are_what_was_measured_and_what_the_code_makes_of_it() -> None:
    document = DOCUMENT.read_text()
    assert filled(document, tables(base())) == document, "docs/cost.md is out of date: make cost"
