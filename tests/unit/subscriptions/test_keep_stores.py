import pytest

from checkout_recovery.subscriptions.keep_stores import zone_faults
from checkout_recovery.checkout.quiet_hours import QuietHours
from checkout_recovery.subscriptions.store import StoreSettings

ZONES = frozenset({"Asia/Kolkata", "UTC"})


def in_zone(timezone: str) -> StoreSettings:
    return StoreSettings(quiet_hours=QuietHours(start="21:00", end="09:00", timezone=timezone))


def test_a_time_zone_that_is_not_known_is_named() -> None:
    assert [fault.field for fault in zone_faults(in_zone("Asia/Atlantis"), ZONES)] == ["quiet_hours.timezone"]


@pytest.mark.parametrize("settings", [StoreSettings(), in_zone("UTC"), in_zone("Asia/Kolkata")])
def test_a_time_zone_that_is_known_is_taken(settings: StoreSettings) -> None:
    assert zone_faults(settings, ZONES) == []


def test_where_no_time_zone_is_known_any_is_taken() -> None:
    assert zone_faults(in_zone("Asia/Atlantis"), frozenset()) == []
