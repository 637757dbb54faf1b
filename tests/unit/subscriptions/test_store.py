from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from checkout_recovery.checkout.quiet_hours import QuietHours
from checkout_recovery.subscriptions.store import (
    STORE_ID,
    ProviderSettings,
    Store,
    StoreSettings,
)

NOW = datetime(2026, 5, 7, 10, 0, tzinfo=UTC)
ID, DOMAIN, SHOPIFY = "12345", "my-store.com", "my-store.myshopify.com"

Shops = tuple[str, ...]


def store(store_id: str = "my-store", domains: Shops = (), shops: Shops = ()) -> Store:
    return Store(
        store_id=store_id,
        settings=StoreSettings(domains=list(domains)),
        token_hash="0" * 64,
        providers={"flexype": ProviderSettings(configured_at=NOW, secret_version=1, shops=shops)},
        revision=1,
        created_at=NOW,
        updated_at=NOW,
    )


class Binding:
    """What was bound; answers as the registry would."""

    def __init__(self, *, succeeds: bool = True) -> None:
        self.bound: list[tuple[str, str, Shops]] = []
        self._succeeds = succeeds

    def __call__(self, store_id: str, provider: str, shops: Shops) -> bool:
        self.bound.append((store_id, provider, shops))
        return self._succeeds


@pytest.mark.parametrize(
    ("known", "shops", "fits"),
    [
        (store(), set(), True),
        (store(shops=(SHOPIFY,)), set(), True),
        (store(domains=(DOMAIN,)), {ID, DOMAIN}, True),
        (store(domains=(DOMAIN,)), {"www." + DOMAIN}, True),
        (store(domains=("www." + DOMAIN,)), {DOMAIN}, True),
        (store(domains=(DOMAIN, SHOPIFY)), {SHOPIFY}, True),
        (store(domains=(DOMAIN,)), {"other.com"}, False),
        (store(domains=(DOMAIN,)), {"my-store.com.other.com"}, False),
        (store(domains=("My-Store.com",)), {DOMAIN}, True),
        (store("My-Store.com"), {DOMAIN}, True),
        (store("my-store.com"), {"other.com"}, False),
        (store("my-store.com", domains=("other.com",)), {"other.com"}, True),
        (store(shops=(SHOPIFY,)), {SHOPIFY, ID}, True),
        (store(shops=(SHOPIFY,)), {"other.myshopify.com"}, False),
        (store(shops=(ID, DOMAIN, SHOPIFY)), {ID}, True),
        (store(shops=(ID, DOMAIN, SHOPIFY)), {"www." + DOMAIN}, True),
        (store(shops=(ID, DOMAIN, SHOPIFY)), {"67890"}, False),
        (store(domains=(DOMAIN,), shops=("other.com",)), {DOMAIN}, True),
        (store(domains=(DOMAIN,), shops=("other.com",)), {"other.com"}, False),
    ],
)
def test_a_request_is_about_the_shop_that_it_names(known: Store, shops: set[str], fits: bool) -> None:
    bind = Binding()
    assert known.is_named_by("flexype", shops, bind) is fits
    assert bind.bound == []


@pytest.mark.parametrize("succeeds", [True, False])
def test_the_first_shop_named_is_bound_by_all_its_names(succeeds: bool) -> None:
    bind = Binding(succeeds=succeeds)
    assert store().is_named_by("flexype", {ID, "www." + DOMAIN, SHOPIFY}, bind) is succeeds
    assert bind.bound == [("my-store", "flexype", (ID, DOMAIN, SHOPIFY))]


def test_each_provider_binds_for_itself() -> None:
    bind = Binding()
    assert store(shops=(SHOPIFY,)).is_named_by("shopify", {"other.com"}, bind)
    assert bind.bound == [("my-store", "shopify", ("other.com",))]


@pytest.mark.parametrize("known", [store(), store(shops=(SHOPIFY,)), store(domains=(DOMAIN,))])
@pytest.mark.parametrize("name", ["x" * 254, "x" * 240_000, "www." + "x" * 250])
def test_a_name_that_is_too_long_counts_for_nothing(known: Store, name: str) -> None:
    bind = Binding()
    assert not known.is_named_by("flexype", {name}, bind)
    assert bind.bound == []
    assert known.is_named_by("flexype", {name, DOMAIN, SHOPIFY}, bind)
    assert name not in str(bind.bound)


@pytest.mark.parametrize("store_id", ["a", "A.b_c-9", "9", "a" * 64])
def test_what_a_store_may_be_called(store_id: str) -> None:
    assert STORE_ID.fullmatch(store_id)


@pytest.mark.parametrize("store_id", ["", ".", "..", "-a", "_a", "a/b", "a b", "a\n", "\u0661", "a" * 65])
def test_what_a_store_may_not_be_called(store_id: str) -> None:
    assert not STORE_ID.fullmatch(store_id)


def test_settings_have_defaults() -> None:
    assert StoreSettings().model_dump() == {
        "abandon_after_seconds": 900,
        "cooldown_seconds": 86_400,
        "quiet_hours": None,
        "currency": None,
        "checkout_retention_days": None,
        "delivery_retention_days": None,
        "domains": [],
    }


@pytest.mark.parametrize(
    "settings",
    [
        {"cooldown_seconds": -1},
        {"currency": "RUPEE"},
        {"currency": "INR\n"},
        {"domains": ["no-dot"]},
        {"domains": ["a.com"] * 21},
        {"domains": ["a.com/"]},
        {"domains": "a.com"},
        {"quiet_hours": {"start": "9:00", "end": "21:00", "timezone": "Asia/Kolkata"}},
        {"quiet_hours": {"start": "09:00", "end": "21:00", "timezone": "../../etc/passwd"}},
        {"delivery_retention_days": 3651},
    ],
)
def test_settings_have_bounds(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        StoreSettings.model_validate(settings)


def test_quiet_hours_may_pass_midnight() -> None:
    quiet = QuietHours(start="21:00", end="09:00", timezone="Asia/Kolkata")
    assert StoreSettings(quiet_hours=quiet).quiet_hours == quiet


def test_quiet_hours_without_length_that_are_stored_stay_readable() -> None:
    quiet = {"start": "09:00", "end": "09:00", "timezone": "Asia/Kolkata"}
    known = StoreSettings.model_validate({"quiet_hours": quiet}).quiet_hours
    assert known
    assert known.until(NOW) is None


def test_a_store_does_not_show_its_tokens_hash() -> None:
    assert "0" * 64 not in repr(store())
