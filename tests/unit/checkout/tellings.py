"""Snapshots to apply, and what is compared when their order must not matter."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from checkout_recovery.checkout.lifecycle import Checkout, Unchanged
from checkout_recovery.checkout.phone import Phone
from checkout_recovery.checkout.snapshot import (
    FUNNEL,
    Address,
    Attribution,
    Cart,
    Client,
    Consent,
    Details,
    Item,
    Shop,
    Snapshot,
)

START = datetime(2026, 5, 7, 10, tzinfo=UTC)
NOW = START + timedelta(hours=1)
ABANDON_AFTER = timedelta(minutes=15)
NEW = Checkout(store_id="my-store", checkout_id="abc123")


def minute(number: int) -> datetime:
    return START + timedelta(minutes=number)


def telling(at: datetime | None = None, event_id: str | None = None, **members: Any) -> Snapshot:
    """A snapshot; members that a snapshot does not have itself are its details."""
    of_snapshot = {name: members.pop(name) for name in set(members) & set(Snapshot.model_fields)}
    return Snapshot(
        checkout_id=NEW.checkout_id,
        event_time=at,
        event_id=event_id,
        details=Details(**members),
        **of_snapshot,
    )


def applied(checkout: Checkout, *snapshots: Snapshot, now: datetime = NOW) -> Checkout:
    """The checkout after the snapshots, of which some may change nothing."""
    for snapshot in snapshots:
        changed = checkout.apply(snapshot, now, ABANDON_AFTER)
        checkout = checkout if isinstance(changed, Unchanged) else changed
    return checkout


def truth(checkout: Checkout) -> dict[str, Any]:
    """What is true of a checkout, less what tells how it came to be known."""
    return checkout.model_dump(exclude={"sequence", "event", "seen", "due_at", "created_at", "active_at"})


names = st.sampled_from(["Asha", "Zoë", "देवी"])
extras = st.sampled_from([{}, {}, {"tier": "gold"}, {"tier": Decimal("1.50")}])
prices = st.none() | st.sampled_from([Decimal("999.00"), Decimal(999), Decimal("0.5")])


def optional(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


details = st.builds(
    Details,
    phone=optional(st.sampled_from([Phone.of("98765"), Phone.of("9876543210", "91")])),
    email=optional(st.sampled_from(["a@example.com", "b@example.com"])),
    name=optional(names),
    first_name=optional(names),
    consent=optional(st.sampled_from(Consent)),
    address=optional(
        st.builds(
            Address, zip=optional(st.sampled_from(["380001", "380002"])), city=optional(names), extra=extras
        )
    ),
    cart=optional(
        st.builds(
            Cart,
            items=st.lists(st.builds(Item, title=names, price=prices), max_size=2).map(tuple),
            total=prices,
        )
    ),
    stage=optional(st.sampled_from((*FUNNEL, "UPSELL_SHOWN"))),
    shop=optional(st.builds(Shop, link=optional(st.just("my-store.com")))),
    client=optional(st.builds(Client, ip=st.sampled_from(["1.1.1.1", "::1"]))),
    attribution=optional(st.builds(Attribution, fbp=optional(st.just("fb.1")), extra=extras)),
    order_id=optional(st.sampled_from(["1001", "1002"])),
    extra=extras,
)

timed_snapshots = st.builds(
    Snapshot,
    checkout_id=st.just(NEW.checkout_id),
    alias=st.sampled_from([None, "17"]),
    event_id=optional(st.sampled_from(["evt_1", "evt_2", "evt_3"])),
    # Few moments, so that several tellings share one.
    event_time=st.integers(0, 5).map(minute),
    completed=st.sampled_from([False, False, False, True]),
    abandoned=st.sampled_from([False, False, True]),
    details=details,
)
snapshots = timed_snapshots | st.builds(
    lambda snapshot, at: snapshot.model_copy(update={"event_time": at}),
    timed_snapshots,
    st.sampled_from([None, NOW + timedelta(days=1)]),
)
