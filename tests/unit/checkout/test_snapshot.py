from decimal import Decimal

from hypothesis import given

from checkout_recovery.checkout.phone import Phone
from checkout_recovery.checkout.snapshot import Cart, Item, Snapshot
from tests.unit.checkout.tellings import START, snapshots, telling


def test_a_digest_stays_what_it_was_because_checkouts_remember_it() -> None:
    snapshot = telling(
        START,
        phone=Phone.of("9876543210", "91"),
        cart=Cart(items=(Item(title="Shirt", price=Decimal("999.00"), properties=[Decimal("1.50")]),)),
        extra={"tier": Decimal("1.50")},
    )
    assert snapshot.digest() == "56a30e42a6e1"


def test_the_bytes_that_told_it_take_the_place_of_its_content_and_are_not_stored() -> None:
    snapshot = telling(START, name="Asha")
    told = snapshot.model_copy(update={"told_by": "0123456789ab"})
    assert told.digest() == "0123456789ab" != snapshot.digest()
    assert told.model_dump() == snapshot.model_dump()


@given(snapshots)
def test_what_a_snapshot_leaves_out_when_empty_are_its_defaults(snapshot: Snapshot) -> None:
    told = snapshot.model_dump(mode="json", exclude_defaults=True)
    assert snapshot.model_dump(mode="json", exclude_none=True) == {"details": {}} | told
