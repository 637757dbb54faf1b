"""The simulation's judge, on a day small enough to be judged by hand, and on logs that were tampered with."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from local.simulation.day import (
    ABANDONED,
    COMPLETED,
    CREATED,
    RECOVERED,
    RESUMED,
    Day,
    Person,
    Receiver,
    Shop,
    Source,
    Told,
    Webhook,
)
from local.simulation.oracle import Fault, Findings, judge

START = datetime(2026, 11, 23, 6, tzinfo=UTC)  # 11:30 at the stores
SHOP = Shop(
    store_id="my-store",
    source=Source.OWN,
    share=1,
    abandon_after=timedelta(minutes=15),
    cooldown=timedelta(hours=24),
    receivers=(
        Receiver("sub_1", "checkout", "2026-11", frozenset({ABANDONED, RESUMED, COMPLETED, RECOVERED})),
    ),
)


def at(minute: float) -> datetime:
    return START + timedelta(minutes=minute)


def telling(minute: float, checkout_id: str = "c1", **changes: object) -> Webhook:
    """What a shopper did at a minute of the day, told at once, with their phone."""
    told = Webhook(
        name=f"{checkout_id}-{minute}",
        happened_at=at(minute),
        said=at(minute).isoformat(),
        said_at=at(minute),
        checkout_id=checkout_id,
        phone="9876543210",
        arrivals=(at(minute),),
    )
    return replace(told, **changes)  # type: ignore[arg-type] # whichever field a test is about


def late(webhook: Webhook, *minutes: float) -> Webhook:
    return replace(webhook, arrivals=tuple(map(at, minutes)))


def told(minute: float, event: str, checkout_id: str = "c1", suppressed: str | None = None) -> Told:
    event_id = f"{checkout_id} {event} {minute}"
    return Told(at(minute), "my-store", checkout_id, 1, event_id, event, "sub_1", suppressed)


def judged(webhooks: Sequence[Webhook], log: Sequence[Told], shop: Shop = SHOP) -> Findings:
    bought = tuple(webhook.happened_at for webhook in webhooks if webhook.bought)
    person = Person("p1", shop, tuple(webhooks), bought)
    return judge(Day(START, (shop,), [person]), log)


def faults(webhooks: Sequence[Webhook], log: Sequence[Told], shop: Shop = SHOP) -> list[Fault]:
    return [violation.fault for violation in judged(webhooks, log, shop).violations]


WAY = [
    telling(0, email="asha@x.example"),
    telling(40),
    telling(41, "c2", phone=None, email="asha@x.example"),
    telling(50, bought=True, order_id="o1"),
]
RIGHT = [
    told(16, ABANDONED),
    told(40, RESUMED),
    told(50, RECOVERED),
    told(50, COMPLETED, "c2"),
]
"""Left and messaged, back, and bought on one device; what was open on another one ended with it."""


def test_a_right_log_is_not_blamed() -> None:
    assert faults(WAY, RIGHT) == []


def test_the_delay_counts_from_when_the_abandonment_was_due() -> None:
    assert judged(WAY, RIGHT).delays == [timedelta(minutes=1)]


# ---------------------------------------------------------------- tampered with


def test_a_message_after_the_purchase_is_caught() -> None:
    assert faults(WAY, [*RIGHT, told(56, ABANDONED)]) == [Fault.AFTER_PURCHASE, Fault.COOLDOWN]


def test_a_message_for_another_checkout_of_who_has_bought_is_caught() -> None:
    assert Fault.AFTER_PURCHASE in faults(WAY, [*RIGHT, told(56, ABANDONED, "c2")])


def test_a_second_message_within_the_cooldown_is_caught() -> None:
    webhooks = [telling(0), telling(1, "c2")]
    log = [told(15, ABANDONED), told(16, ABANDONED, "c2", "cooldown")]
    tampered = [log[0], told(16, ABANDONED, "c2")]
    assert (faults(webhooks, log), faults(webhooks, tampered)) == ([], [Fault.COOLDOWN])


def test_of_two_messages_in_one_moment_one_is_blamed() -> None:
    webhooks = [telling(0), telling(0, "c2")]
    assert faults(webhooks, [told(15, ABANDONED), told(15, ABANDONED, "c2")]) == [Fault.COOLDOWN]


def test_a_missing_message_is_caught() -> None:
    assert faults(WAY, RIGHT[1:]) == [Fault.MISSED, Fault.RETURN, Fault.PURCHASE]


def test_a_message_that_comes_too_late_is_caught() -> None:
    assert faults([telling(0)], [told(18, ABANDONED)]) == [Fault.MISSED, Fault.EARLY]


def test_a_message_held_back_for_nothing_is_caught() -> None:
    assert faults([telling(0)], [told(15, ABANDONED, suppressed="cooldown")]) == [Fault.MISSED]


def test_a_wrong_reason_is_caught() -> None:
    silent = [telling(0, phone=None)]
    assert faults(silent, [told(15, ABANDONED, suppressed="consent")]) == [Fault.REASON]


def test_an_abandonment_before_its_time_is_caught() -> None:
    assert faults([telling(0)], [told(14, ABANDONED)]) == [Fault.EARLY]


def test_an_abandonment_told_once_more_is_caught() -> None:
    log = [told(15, ABANDONED), told(16, ABANDONED, suppressed="cooldown")]
    assert faults([telling(0)], log) == [Fault.EARLY]


def test_an_untold_return_is_caught() -> None:
    assert faults(WAY, [RIGHT[0], *RIGHT[2:]]) == [Fault.RETURN]


def test_an_invented_return_is_caught() -> None:
    assert faults([telling(0)], [told(15, ABANDONED), told(20, RESUMED)]) == [Fault.RETURN]


def test_a_purchase_told_twice_is_caught() -> None:
    assert faults(WAY, [*RIGHT, told(51, RECOVERED)]) == [Fault.PURCHASE]


def test_a_recovery_told_as_a_mere_purchase_is_caught() -> None:
    assert faults(WAY, [*RIGHT[:2], told(50, COMPLETED), RIGHT[3]]) == [Fault.PURCHASE]


def test_an_invented_purchase_is_caught() -> None:
    assert faults([telling(0)], [told(10, COMPLETED)]) == [Fault.PURCHASE]


def test_a_checkout_left_open_after_its_shoppers_purchase_is_caught() -> None:
    assert faults(WAY, RIGHT[:3]) == [Fault.OPEN]


def test_a_message_in_quiet_hours_is_caught() -> None:
    quiet = replace(SHOP, quiet_hours=("11:40", "12:00"))
    right = [told(15, ABANDONED, suppressed="quiet_hours"), told(30, ABANDONED)]
    assert faults([telling(0)], right, quiet) == []
    assert Fault.QUIET_HOURS in faults([telling(0)], [told(15, ABANDONED)], quiet)


def test_a_message_that_quiet_hours_postponed_for_ever_is_caught() -> None:
    quiet = replace(SHOP, quiet_hours=("11:40", "12:00"))
    log = [told(15, ABANDONED, suppressed="quiet_hours")]
    assert faults([telling(0)], log, quiet) == [Fault.MISSED]


@pytest.mark.parametrize(
    ("left", "fault"),
    [
        (telling(0, consent="denied"), Fault.CONSENT),
        (telling(0, phone=None), Fault.NO_CONTACT),
        (telling(0, phone="98765"), Fault.NO_CONTACT),
    ],
)
def test_a_message_to_whom_it_may_not_go_is_caught(left: Webhook, fault: Fault) -> None:
    assert faults([left], [told(15, ABANDONED)]) == [fault]


def test_what_one_receiver_asks_for_binds_that_one() -> None:
    strict = replace(SHOP.receivers[0], wants_agreement=True)
    lacking = replace(SHOP.receivers[0], requires=frozenset({"email"}))
    log = [told(15, ABANDONED)]
    assert faults([telling(0)], log, replace(SHOP, receivers=(strict,))) == [Fault.CONSENT]
    assert faults([telling(0)], log, replace(SHOP, receivers=(lacking,))) == [Fault.MISSING_FIELD]


def test_a_receiver_that_is_left_out_is_caught() -> None:
    other = replace(SHOP.receivers[0], subscription_id="sub_2")
    both = replace(SHOP, receivers=(*SHOP.receivers, other))
    assert faults([telling(0)], [told(15, ABANDONED)], both) == [Fault.MISSED]


# ---------------------------------------------------------------- what counts as known


def test_a_late_or_repeated_telling_is_no_activity() -> None:
    webhooks = [late(telling(1), 1, 30), late(telling(0), 20)]
    assert faults(webhooks, [told(16, ABANDONED)]) == []


def test_the_wait_counts_from_when_the_newest_telling_came() -> None:
    assert faults([late(telling(0), 10)], [told(25, ABANDONED)]) == []
    assert faults([late(telling(0), 10)], [told(16, ABANDONED)]) == [Fault.EARLY]


def test_a_time_far_in_the_future_is_not_believed() -> None:
    fast = telling(0, said_at=at(330))
    assert faults([fast, telling(5)], [told(20, ABANDONED)]) == []


def test_a_purchase_whose_word_has_not_come_excuses_the_message_and_is_counted() -> None:
    webhooks = [telling(0), late(telling(10, bought=True), 60)]
    findings = judged(webhooks, [told(15, ABANDONED), told(60, RECOVERED)])
    assert (findings.violations, findings.unheard) == ([], 1)


def test_a_purchase_that_nothing_connects_excuses_the_message_and_is_counted() -> None:
    order = telling(10, phone=None, email="asha@x.example", bought=True, order_id="o1")
    elsewhere = replace(order, checkout_id=None, is_order=True)
    findings = judged([telling(0), elsewhere], [told(15, ABANDONED)])
    assert (findings.violations, findings.unknowable) == ([], 1)


def test_who_is_known_by_a_chain_of_checkouts_is_one_shopper() -> None:
    webhooks = [
        telling(0),
        telling(1, "c2", email="asha@x.example"),
        telling(2, "c3", phone=None, email="asha@x.example"),
    ]
    held_back = [told(17, ABANDONED, name, "cooldown") for name in ("c2", "c3")]
    assert faults(webhooks, [told(16, ABANDONED), *held_back]) == []
    assert faults(webhooks, [told(16, ABANDONED), held_back[0], told(17, ABANDONED, "c3")]) == [
        Fault.COOLDOWN
    ]


def test_two_phones_with_one_address_may_be_two_people() -> None:
    webhooks = [
        telling(0, email="asha@x.example"),
        telling(1, "c2", phone="9876500000", email="asha@x.example"),
    ]
    first = told(15, ABANDONED)
    assert faults(webhooks, [first, told(16, ABANDONED, "c2")]) == []
    assert faults(webhooks, [first, told(16, ABANDONED, "c2", "cooldown")]) == []


def test_two_messages_to_one_whom_nothing_connects_are_counted_and_not_blamed() -> None:
    webhooks = [telling(0), telling(1, "c2", phone=None, email="asha@x.example")]
    findings = judged(webhooks, [told(15, ABANDONED), told(16, ABANDONED, "c2")])
    assert (findings.violations, findings.strangers) == ([], 1)


def test_activity_clearly_after_a_purchase_is_told_of_again() -> None:
    webhooks = [telling(0, bought=True, order_id="o1"), telling(30, "c2")]
    assert faults(webhooks, [told(0, COMPLETED), told(46, ABANDONED, "c2")]) == []


def test_an_order_told_late_and_without_its_time_is_the_purchase_that_is_known_already() -> None:
    bought = telling(0, bought=True, order_id="o1")
    again = late(replace(bought, name="order", said=None, said_at=None, is_order=True), 40)
    log = [told(0, COMPLETED), told(46, ABANDONED, "c2")]
    assert faults([bought, again, telling(30, "c2")], log) == []


def test_in_doubt_which_was_first_silence_is_right_and_a_wrong_message_is_not() -> None:
    fast = late(telling(9, "c2", said_at=at(11)), 12)
    webhooks = [telling(0), telling(10, bought=True), fast]
    assert faults(webhooks, [told(10, COMPLETED), told(27, ABANDONED, "c2", "completed")]) == []
    assert faults(webhooks, [told(10, COMPLETED), told(27, ABANDONED, "c2")]) == [Fault.AFTER_PURCHASE]


def test_other_events_are_nobodys_business() -> None:
    receiver = replace(SHOP.receivers[0], events=SHOP.receivers[0].events | {CREATED})
    log = [told(0, CREATED), told(15, ABANDONED)]
    assert faults([telling(0)], log, replace(SHOP, receivers=(receiver,))) == []
