"""Abandonment on the deployed template: what came of the shoppers of the story.

Each asks for the whole of what a receiver heard of a checkout, so a message too many fails as one too few.
"""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from local.cloud import Stack
from tests.local_cloud.shops import WAIT_SECONDS, escaped_too, leaks, within
from tests.local_cloud.story import ABANDON_AFTER, Story, Watched, abandonments


def heard(shop: Watched, checkout_id: str, count: int) -> list[str]:
    """All the events of a checkout that were heard, once there are so many."""
    within(
        WAIT_SECONDS,
        lambda: len(shop.events(checkout_id)) >= count or None,
        f"{checkout_id}: {shop.events(checkout_id)}",
    )
    return shop.events(checkout_id)


def held_back(shop: Watched, checkout_id: str, count: int) -> list[str]:
    """All the reasons that the delivery log gives for not telling of a checkout, once there are so many."""
    within(
        WAIT_SECONDS,
        lambda: len(shop.held_back(checkout_id)) >= count or None,
        f"{checkout_id}: {shop.held_back(checkout_id)}",
    )
    return shop.held_back(checkout_id)


def delivered(story: Story, subscription_id: str) -> set[str]:
    """The checkouts of whose abandonment a subscription of the daily store was told."""
    log = story.daily.api.deliveries(subscription_id, state="delivered")
    return {entry["checkout_id"] for entry in log if entry["event_type"] == "checkout.abandoned"}


# ---------------------------------------------------------------- found on time, and once


def test_a_checkout_that_goes_quiet_is_abandoned_once_however_many_sweeps_look_at_it(story: Story) -> None:
    assert heard(story.daily, "c-left", 2) == ["created", "abandoned"]
    assert story.daily.api.checkout("c-left")["sequence"] == 2


def test_a_run_leaves_shards_that_it_has_no_hands_for_to_a_run_that_it_starts(story: Story) -> None:
    assert heard(story.daily, story.far, 2) == ["created", "abandoned"]


def test_no_checkout_is_abandoned_before_it_has_been_quiet_for_long_enough(story: Story) -> None:
    waits = [
        datetime.fromisoformat(arrival.json["timestamp"]) - max(told)
        for shop in (story.daily, story.eager)
        for arrival in abandonments(shop.arrivals(shop.everything))
        if (told := _tellings_before(story, arrival.json))
    ]
    assert len(waits) > 10
    assert min(waits) >= ABANDON_AFTER


def _tellings_before(story: Story, message: dict[str, Any]) -> list[datetime]:
    at = datetime.fromisoformat(message["timestamp"])
    return [told for told in story.tellings[message["data"]["checkout_id"]] if told < at]


def test_a_telling_just_before_the_time_starts_the_wait_again(story: Story) -> None:
    assert heard(story.daily, "c-restarted", 3) == ["created", "updated", "abandoned"]
    first, second = story.tellings["c-restarted"]
    (abandoned,) = abandonments(story.daily.heard("c-restarted"))
    assert datetime.fromisoformat(abandoned.json["timestamp"]) - second >= ABANDON_AFTER
    assert second - first < ABANDON_AFTER


def test_a_late_telling_fills_in_and_does_not_start_the_wait_again(story: Story) -> None:
    assert heard(story.daily, "c-enriched", 3) == ["created", "updated", "abandoned"]
    _, _, abandoned = story.daily.heard("c-enriched")
    assert abandoned.json["data"]["address"]["zip"] == "380001"


@pytest.mark.parametrize("checkout_id", ["c-future", "c-malformed"])
def test_a_time_that_makes_no_sense_does_not_break_the_timer(story: Story, checkout_id: str) -> None:
    assert heard(story.daily, checkout_id, 2) == ["created", "abandoned"]


# ---------------------------------------------------------------- what happens then


def test_a_shopper_who_comes_back_may_be_found_to_have_left_again(story: Story) -> None:
    assert heard(story.eager, "c-again", 4) == ["created", "abandoned", "resumed", "abandoned"]
    assert [arrival.sequence for arrival in story.eager.heard("c-again")] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("checkout_id", "order_id"), [("c-bought-later", "o-later"), ("c-carted", "o-carted")]
)
def test_an_abandoned_checkout_that_is_bought_is_recovered_by_its_order(
    story: Story, checkout_id: str, order_id: str
) -> None:
    assert heard(story.daily, checkout_id, 3) == ["created", "abandoned", "recovered"]
    assert story.results[order_id] == [checkout_id]
    _, abandoned, recovered = (arrival.json for arrival in story.daily.heard(checkout_id))
    assert recovered["data"]["order_id"] == order_id
    times = [datetime.fromisoformat(message["timestamp"]) for message in (abandoned, recovered)]
    took = (times[1] - times[0]).total_seconds()
    assert recovered["data"]["recovered_after_seconds"] == pytest.approx(took, abs=1)


def test_an_abandoned_checkout_whose_completion_is_told_is_recovered(story: Story) -> None:
    assert heard(story.daily, "c-paid-later", 3) == ["created", "abandoned", "recovered"]
    *_, recovered = story.daily.heard("c-paid-later")
    assert 0 <= recovered.json["data"]["recovered_after_seconds"] < WAIT_SECONDS


# ---------------------------------------------------------------- never after the purchase


@pytest.mark.parametrize("checkout_id", ["c-in-time", "c-in-time-elsewhere"])
def test_who_buys_in_time_is_never_found_to_have_left_on_any_device(story: Story, checkout_id: str) -> None:
    assert heard(story.daily, checkout_id, 2) == ["created", "completed"]


@pytest.mark.parametrize("checkout_id", ["c-order-first", "c-token-first"])
def test_an_order_that_comes_before_its_checkout_ends_it(story: Story, checkout_id: str) -> None:
    assert heard(story.daily, checkout_id, 1) == ["completed"]
    assert story.daily.api.checkout(checkout_id)["status"] == "completed"


def test_a_snapshot_without_a_time_right_after_the_order_messages_nobody(story: Story) -> None:
    assert held_back(story.daily, "c-after-order", 1) == ["completed"]
    assert "abandoned" not in story.daily.events("c-after-order")


def test_an_order_ends_all_open_checkouts_of_its_shopper_and_no_other(story: Story) -> None:
    assert sorted(story.results["o-two"]) == ["c-two-a", "c-two-b"]
    for checkout_id in ("c-two-a", "c-two-b"):
        assert heard(story.daily, checkout_id, 2) == ["created", "completed"]
    assert heard(story.daily, "c-not-theirs", 2) == ["created", "abandoned"]


@pytest.mark.parametrize("checkout_id", ["c-cashfree-before", "c-cashfree-after"])
def test_an_abandonment_that_a_provider_tells_of_a_shopper_who_has_bought_messages_nobody(
    story: Story, checkout_id: str
) -> None:
    assert story.daily.api.checkout(checkout_id)["sequence"] >= 1
    assert "abandoned" not in story.daily.events(checkout_id)
    assert checkout_id not in delivered(story, story.cashfree.subscription_id)


# ---------------------------------------------------------------- once per shopper


@pytest.mark.parametrize(
    "checkout_ids",
    [("c-same-a", "c-same-b"), ("c-typo", "c-typo-elsewhere")],
    ids=["two checkouts that are due at once", "a corrected phone in another checkout"],
)
def test_of_two_checkouts_of_one_shopper_one_is_told(story: Story, checkout_ids: tuple[str, str]) -> None:
    reasons = within(
        WAIT_SECONDS,
        lambda: [reason for id_ in checkout_ids for reason in story.daily.held_back(id_)] or None,
        "one is held back",
    )
    assert reasons == ["cooldown"]
    told = [id_ for id_ in checkout_ids if "abandoned" in story.daily.events(id_)]
    assert len(told) == 1
    assert story.daily.held_back(told[0]) == []


def test_a_phone_that_is_corrected_after_the_message_gets_none(story: Story) -> None:
    assert held_back(story.daily, "c-moved", 1) == ["cooldown"]
    assert heard(story.daily, "c-moved", 3) == ["created", "abandoned", "resumed"]
    assert held_back(story.daily, "c-moved-anew", 1) == ["cooldown"]
    assert heard(story.daily, "c-moved-anew", 1) == ["created"]


# ---------------------------------------------------------------- what else is held back


def test_a_shopper_who_refused_is_told_of_to_nobody(story: Story) -> None:
    assert held_back(story.daily, "c-denied", 1) == ["consent"]
    assert heard(story.daily, "c-denied", 1) == ["created"]
    for subscribed in (story.consenting, story.by_phone, story.cashfree):
        assert "c-denied" not in delivered(story, subscribed.subscription_id)


def test_who_asks_for_consent_is_told_only_of_those_who_gave_it(story: Story) -> None:
    assert heard(story.daily, "c-granted", 2) == ["created", "abandoned"]
    subscription_id = story.consenting.subscription_id
    assert delivered(story, subscription_id) == {"c-granted"}
    reasons = story.daily.api.deliveries(subscription_id, state="suppressed", checkout_id="c-left")
    assert [entry["reason"] for entry in reasons] == ["consent"]


def test_who_needs_a_phone_is_not_told_of_a_shopper_without_and_the_others_are(story: Story) -> None:
    assert heard(story.daily, "c-email-only", 2) == ["created", "abandoned"]
    log = story.daily.api.deliveries(story.by_phone.subscription_id, checkout_id="c-email-only")
    assert [(entry["state"], entry["reason"]) for entry in log] == [("suppressed", "missing_field")]


def test_a_shopper_whom_nobody_could_reach_is_told_of_once_a_contact_is_known(story: Story) -> None:
    assert held_back(story.daily, "c-nobody", 1) == ["no_contact"]
    assert heard(story.daily, "c-nobody", 3) == ["created", "updated", "abandoned"]


def test_in_quiet_hours_nobody_is_messaged(story: Story) -> None:
    assert held_back(story.at_night, "c-night", 1) == ["quiet_hours"]
    assert heard(story.at_night, "c-night", 1) == ["created"]
    assert heard(story.at_night, "c-night-bought", 2) == ["created", "recovered"]


def test_when_quiet_hours_end_it_is_decided_again(story: Story) -> None:
    assert held_back(story.at_dawn, "c-dawn", 1) == ["quiet_hours"]
    assert heard(story.at_dawn, "c-dawn", 2) == ["created", "abandoned"]
    assert heard(story.at_dawn, "c-dawn-bought", 2) == ["created", "recovered"]


def test_an_abandonment_that_a_provider_tells_waits_for_the_end_of_quiet_hours(story: Story) -> None:
    assert held_back(story.at_dawn, "c-dawn-told", 1) == ["quiet_hours"]
    assert heard(story.at_dawn, "c-dawn-told", 1) == ["abandoned"]
    assert story.at_dawn.heard("c-dawn-told")[0].sequence == 2


def test_two_stores_know_nothing_of_each_others_shoppers(story: Story) -> None:
    assert story.shoppers["c-left"] == story.shoppers["c-dawn"]
    assert heard(story.daily, "c-left", 2) == ["created", "abandoned"]
    assert heard(story.at_dawn, "c-dawn", 2) == ["created", "abandoned"]


def test_a_subscription_to_cashfrees_topic_hears_of_all_abandonments_and_nothing_else(story: Story) -> None:
    everything, topic = (
        {entry["event_id"] for entry in story.daily.api.deliveries(id_, state="delivered")}
        for id_ in (story.daily.everything.subscription_id, story.cashfree.subscription_id)
    )
    told = {a.event_id for a in abandonments(story.daily.arrivals(story.daily.everything))}
    assert len(told) > 10
    assert topic == told
    assert topic < everything


# ---------------------------------------------------------------- what operators see, and what nobody does


def test_every_reason_is_counted(stack: Stack, story: Story) -> None:
    reasons = {line["reason"] for line in metric_lines(stack) if "Suppressed" in line}
    assert reasons >= {"completed", "no_contact", "cooldown", "quiet_hours", "consent", "missing_field"}


def test_each_sweep_says_how_far_it_is_behind_and_what_it_found(stack: Stack, story: Story) -> None:
    lines = list(metric_lines(stack))
    lags = [line["OldestDueSeconds"][0] for line in lines if "OldestDueSeconds" in line]
    assert max(lags) > 0
    assert sum(line["Abandoned"][0] for line in lines if "Abandoned" in line) > 10
    assert {line["SweepFailures"][0] for line in lines if "SweepFailures" in line} == {0}


def metric_lines(stack: Stack) -> Iterator[dict[str, Any]]:
    """What the functions logged in CloudWatch's embedded metric format."""
    for line in stack.logs():
        if line.startswith('{"_aws"'):
            yield json.loads(line)


def test_no_log_line_holds_anything_of_these_shoppers(stack: Stack, story: Story) -> None:
    told = [(leak, line[:80]) for line in stack.logs() for leak in leaks(story.world, escaped_too(line))]
    assert told == []


def test_the_shoppers_table_holds_nothing_of_these_shoppers(stack: Stack, story: Story) -> None:
    table = stack.aws.client("dynamodb", endpoint_url=stack.endpoint_url)
    pages = table.get_paginator("scan").paginate(TableName=stack.outputs["ShopperTableName"])
    items = [item for page in pages for item in page["Items"]]
    assert len(items) > len(story.shoppers)
    assert leaks(story.world, json.dumps(items, default=str, ensure_ascii=False)) == []


def test_the_delivery_log_holds_nothing_of_these_shoppers(stack: Stack, story: Story) -> None:
    told = [
        leak
        for subscribed in (story.daily.everything, story.cashfree)
        for entry in story.daily.api.deliveries(subscribed.subscription_id)
        for leak in leaks(story.world, json.dumps(entry, ensure_ascii=False))
    ]
    assert told == []
