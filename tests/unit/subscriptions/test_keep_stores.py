import pytest

from checkout_recovery.checkout.quiet_hours import QuietHours
from checkout_recovery.subscriptions.keep_stores import quiet_hours_faults
from checkout_recovery.subscriptions.store import StoreSettings

ZONES = frozenset({"Asia/Kolkata", "UTC"})


def quiet(timezone: str = "UTC", start: str = "21:00", end: str = "09:00") -> StoreSettings:
    return StoreSettings(quiet_hours=QuietHours(start=start, end=end, timezone=timezone))


@pytest.mark.parametrize("zones", [ZONES, frozenset()])
def test_a_time_zone_that_is_not_known_is_named(zones: frozenset[str]) -> None:
    faults = quiet_hours_faults(quiet("Asia/Atlantis"), zones)
    assert [fault.field for fault in faults] == ["quiet_hours.timezone"]


def test_quiet_hours_without_length_are_named() -> None:
    faults = quiet_hours_faults(quiet(start="09:00", end="09:00"), ZONES)
    assert [(fault.field, fault.message) for fault in faults] == [
        ("quiet_hours.end", "must differ from start")
    ]


@pytest.mark.parametrize(
    "settings", [StoreSettings(), quiet("UTC"), quiet("Asia/Kolkata"), quiet(start="09:00", end="09:01")]
)
def test_quiet_hours_that_can_be_are_taken(settings: StoreSettings) -> None:
    assert quiet_hours_faults(settings, ZONES) == []
