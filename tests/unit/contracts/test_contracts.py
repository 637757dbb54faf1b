import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkout_recovery import json_codec
from checkout_recovery.checkout.event import EventType
from checkout_recovery.checkout.lifecycle import Checkout, Status
from checkout_recovery.checkout.snapshot import Cart, Consent, Details, Item
from checkout_recovery.contracts import CONTRACTS
from checkout_recovery.contracts.contract import Contract
from checkout_recovery.providers import flexype
from checkout_recovery.providers.provider import Request
from checkout_recovery.tables.checkouts import decode, encode
from local.samples import FLEXYPE_2026_05
from tests.unit.contracts.examples import CREATED, DECIDED, EXAMPLES, FULL, checkout, left

CASHFREE = CONTRACTS["abandonedCheckout", "v1"]
OURS = CONTRACTS["checkout", "2026-11"]
every_contract = pytest.mark.parametrize(
    "contract", CONTRACTS.values(), ids=lambda contract: contract.version
)


def body_of(contract: Contract, told: Checkout) -> Any:
    return json_codec.parse(contract.render(told))


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, member in value.items():
            yield from leaves(member, f"{path}.{name}")
    elif isinstance(value, (list, tuple)):
        for index, member in enumerate(value):
            yield from leaves(member, f"{path}[{index}]")
    else:
        yield path, value


def test_each_contract_carries_its_events() -> None:
    snapshots = set(EventType) - {EventType.ABANDONED}
    assert {key: set(contract.events) for key, contract in CONTRACTS.items()} == {
        ("abandonedCheckout", "v1"): {EventType.ABANDONED},
        ("ACR_CHECKOUT", "2025-09"): snapshots,
        ("ACR_CHECKOUT", "2026-05"): snapshots,
        ("checkout", "2026-11"): set(EventType),
    }


@every_contract
def test_a_checkout_that_was_never_written_has_nothing_to_tell(contract: Contract) -> None:
    with pytest.raises(ValueError, match="nothing to tell"):
        contract.render(Checkout(store_id="s", checkout_id="c"))


@every_contract
def test_unknown_is_null_and_never_zero_or_a_currency(contract: Contract) -> None:
    told = left(EXAMPLES["nothing-known"])
    assert told.event
    known = {"store-7", "abc123xyz", 4, "ACR_CHECKOUT", "INITIATED", "unknown", "abandoned", False}
    known |= {told.event.id, told.event.type.value, "2026-05-07T10:15:00Z"}
    said = {value for _, value in leaves(body_of(contract, told))}
    assert said - {None} <= known
    assert b'"INR"' not in contract.render(told)
    assert not any(value == 0 and value is not False for value in said)


@pytest.mark.parametrize(
    "contract", [CONTRACTS["ACR_CHECKOUT", "2026-05"], OURS], ids=lambda contract: contract.version
)
def test_everything_that_was_captured_leaves(contract: Contract) -> None:
    captured = {value for _, value in leaves(FULL.model_dump()) if not isinstance(value, (Consent, bool))}
    captured -= {None, "https://my-store.com"}  # in FlexyPe's words: my-store.com
    said = {str(value) for _, value in leaves(body_of(contract, EXAMPLES["full"]))}
    assert {str(value) for value in captured} <= said


def test_the_flat_version_also_says_everything_but_the_two_forms_that_it_writes_otherwise() -> None:
    captured = {
        str(value) for _, value in leaves(FULL.model_dump()) if not isinstance(value, (Consent, bool))
    }
    said = {
        str(value) for _, value in leaves(body_of(CONTRACTS["ACR_CHECKOUT", "2025-09"], EXAMPLES["full"]))
    }
    assert captured - said <= {"None", "+919876543210"}


def test_cashfrees_contract_says_everything_that_cashfree_promises() -> None:
    promised = FULL.model_dump(include={"phone", "email", "name", "address", "cart", "checkout_url"})
    said = {str(value) for _, value in leaves(body_of(CASHFREE, left(EXAMPLES["full"])))}
    assert {str(value) for _, value in leaves(promised)} <= said


@pytest.mark.parametrize("version", ["2025-09", "2026-05"])
def test_what_lies_as_deep_as_a_body_may_be_is_kept_and_leaves(version: str) -> None:
    body = FLEXYPE_2026_05 if version == "2026-05" else FLEXYPE_2026_05["payload"]
    depth = 199
    deep = b'{"deep":' + b'{"a":' * depth + b'"innermost"' + b"}" * depth + b","
    whole = deep + json_codec.dumps(body).encode()[1:]
    (snapshot,) = flexype.read(Request({"x-webhook-version": version}, whole)).snapshots
    now = datetime(2026, 5, 7, 10, 15, tzinfo=UTC)
    told = Checkout(store_id="s", checkout_id=snapshot.checkout_id).apply(snapshot, now, timedelta(hours=1))
    assert isinstance(told, Checkout)
    kept = decode(encode(told, now, due_shards=1))
    assert kept == told
    for each in CONTRACTS.values():
        assert "innermost" in {value for _, value in leaves(json.loads(each.render(kept)))}


@pytest.mark.parametrize(
    ("consent", "opt_in", "word"),
    [(Consent.GRANTED, True, "granted"), (Consent.DENIED, False, "denied"), (None, None, "unknown")],
)
def test_an_unknown_consent_is_neither_granted_nor_denied(
    consent: Consent | None, opt_in: bool | None, word: str
) -> None:
    told = checkout(Details(consent=consent))
    assert body_of(CASHFREE, told)["marketing_opt_in"] is opt_in
    assert body_of(OURS, told)["data"]["customer"]["consent"] == word
    assert body_of(CONTRACTS["ACR_CHECKOUT", "2025-09"], told).get("marketing_opt_in") is opt_in


def recovered(*, abandoned: timedelta, bought: timedelta) -> Checkout:
    """A checkout that the sweep found abandoned, and whose purchase was heard of at `DECIDED`."""
    return checkout(
        Details(order_id="order-9"),
        EventType.RECOVERED,
        status=Status.RECOVERED,
        found_at=CREATED + abandoned,
        abandoned_at=CREATED + abandoned,
        purchased_at=CREATED + bought,
    )


@pytest.mark.parametrize(
    ("abandoned", "bought", "seconds"),
    [
        (timedelta(minutes=5), timedelta(minutes=9), 240),
        (timedelta(minutes=5), timedelta(minutes=5, seconds=1, microseconds=999_999), 1),
        (timedelta(minutes=5), timedelta(minutes=5), 0),
        (timedelta(minutes=5), timedelta(minutes=4), 600),  # by a clock that is behind: until we heard of it
    ],
)
def test_a_recovery_says_how_many_whole_seconds_after_the_abandonment_it_was(
    abandoned: timedelta, bought: timedelta, seconds: int
) -> None:
    told = recovered(abandoned=abandoned, bought=bought)
    assert body_of(OURS, told)["data"]["recovered_after_seconds"] == seconds
    assert body_of(CONTRACTS["ACR_CHECKOUT", "2025-09"], told)["recovered_after_seconds"] == seconds
    assert (
        body_of(CONTRACTS["ACR_CHECKOUT", "2026-05"], told)["payload"]["recovered_after_seconds"] == seconds
    )


@pytest.mark.parametrize(
    "told",
    [
        checkout(
            Details(order_id="order-9"), EventType.COMPLETED, status=Status.COMPLETED, purchased_at=DECIDED
        ),
        left(EXAMPLES["full"]),
    ],
    ids=["completed", "abandoned"],
)
def test_what_was_not_recovered_took_no_time_to_be(told: Checkout) -> None:
    assert body_of(OURS, told)["data"]["recovered_after_seconds"] is None
    assert "recovered_after_seconds" not in body_of(CONTRACTS["ACR_CHECKOUT", "2025-09"], told)
    assert "recovered_after_seconds" not in body_of(CONTRACTS["ACR_CHECKOUT", "2026-05"], told)["payload"]


def test_our_own_contract_has_no_number_that_javascript_could_alter() -> None:
    details = FULL.model_copy(update={"cart": EXAMPLES["digits-kept"].details.cart})
    numbers = [
        value
        for path, value in leaves(body_of(OURS, checkout(details)))
        if isinstance(value, (int, Decimal)) and not isinstance(value, bool) and ".extra." not in path
    ]
    assert all(isinstance(value, int) for value in numbers)


NAMES = st.sampled_from(
    [
        *("id", "type", "data", "extra", "event_id", "checkout_id", "checkout_url", "session_state"),
        *("webhook_id", "user", "payload", "store", "customer", "email", "cart", "cart_items", "items"),
        *("address", "zip", "price", "phone", "total", "discount", "total_payable", "completed_at"),
        *("metadata", "analytics", "fb", "utm", "client_meta", "variant", "title", "x", "y"),
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
EXTRA = st.dictionaries(NAMES, JSON, max_size=5)


def test_two_undescribed_members_of_one_name_both_leave() -> None:
    odd = Item(extra={"price": "ask us", "extra": {"price": "later", "z": 1}})
    told = checkout(Details(cart=Cart(items=(odd,))))
    (line,) = body_of(CONTRACTS["ACR_CHECKOUT", "2026-05"], told)["payload"]["cart_items"]
    assert line["extra"] == {"price": "ask us", "z": 1, "extra": {"price": "later"}}


def with_extra(details: Details, extra: dict[str, Any], part: str | None) -> Details:
    if part is None:
        return details.model_copy(update={"extra": extra})
    return details.model_copy(
        update={part: getattr(details, part).model_copy(update={"extra": extra})},
    )


@every_contract
@given(extra=EXTRA, part=st.sampled_from([None, "address", "cart", "shop", "client", "attribution"]))
def test_no_undescribed_member_overwrites_a_described_one(
    contract: Contract, extra: dict[str, Any], part: str | None
) -> None:
    plain = with_extra(with_extra(FULL, {}, None), {}, part)
    odd = checkout(with_extra(plain, extra, part))
    before = odd.model_dump()
    said = dict(leaves(body_of(contract, odd)))
    assert dict(leaves(body_of(contract, checkout(plain)))).items() <= said.items()
    assert odd.model_dump() == before
    assert contract.render(odd) == contract.render(odd)


@every_contract
@given(details=st.builds(Details, email=st.text() | st.none(), name=st.text() | st.none()))
def test_whatever_was_typed_arrives_as_it_was_typed(contract: Contract, details: Details) -> None:
    said = [value for _, value in leaves(json.loads(contract.render(checkout(details))))]
    assert details.email in said
    assert not details.name or details.name in said
