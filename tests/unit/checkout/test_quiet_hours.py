from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from checkout_recovery.checkout.quiet_hours import QuietHours

MINUTE = timedelta(minutes=1)
ZONES = (
    "Asia/Kolkata",  # +05:30, no summer time
    "Europe/Berlin",
    "America/New_York",
    "America/Havana",  # changes at midnight
    "Australia/Lord_Howe",  # changes by half an hour
    "Pacific/Kiritimati",  # +14:00
    "UTC",
)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def until(start: str, end: str, timezone: str, now: str) -> str | None:
    """When the quiet hours end, as it is written in UTC."""
    ends = QuietHours(start=start, end=end, timezone=timezone).until(utc(now))
    return f"{ends:%Y-%m-%d %H:%M}" if ends else None


class TestWithinADay:
    @pytest.mark.parametrize(
        ("now", "ends"),
        [
            ("2026-05-07 12:59:59.999999", None),
            ("2026-05-07 13:00", "2026-05-07 15:30"),
            ("2026-05-07 15:29:59.999999", "2026-05-07 15:30"),
            ("2026-05-07 15:30", None),
        ],
    )
    def test_it_is_quiet_from_the_first_minute_to_before_the_last(self, now: str, ends: str | None) -> None:
        assert until("13:00", "15:30", "UTC", now) == ends


class TestPassingMidnight:
    @pytest.mark.parametrize(
        ("now", "ends"),
        [
            ("2026-05-07 20:59:59.999999", None),
            ("2026-05-07 21:00", "2026-05-08 09:00"),
            ("2026-05-07 23:59:59.999999", "2026-05-08 09:00"),
            ("2026-05-08 00:00", "2026-05-08 09:00"),
            ("2026-05-08 08:59:59.999999", "2026-05-08 09:00"),
            ("2026-05-08 09:00", None),
        ],
    )
    def test_it_is_quiet_until_the_end_in_the_morning(self, now: str, ends: str | None) -> None:
        assert until("21:00", "09:00", "UTC", now) == ends

    def test_hours_that_end_at_midnight_end_with_the_day(self) -> None:
        assert until("22:00", "00:00", "UTC", "2026-05-07 23:59") == "2026-05-08 00:00"
        assert until("22:00", "00:00", "UTC", "2026-05-08 00:00") is None

    def test_hours_that_begin_at_midnight_begin_with_the_day(self) -> None:
        assert until("00:00", "06:00", "UTC", "2026-05-07 23:59") is None
        assert until("00:00", "06:00", "UTC", "2026-05-08 00:00") == "2026-05-08 06:00"

    def test_the_last_night_of_a_year_ends_in_the_next(self) -> None:
        assert until("21:00", "09:00", "UTC", "2026-12-31 23:00") == "2027-01-01 09:00"

    def test_all_but_a_minute_may_be_quiet(self) -> None:
        assert until("09:01", "09:00", "UTC", "2026-05-07 09:01") == "2026-05-08 09:00"
        assert until("09:01", "09:00", "UTC", "2026-05-07 09:00:59") is None


@pytest.mark.parametrize("now", ["2026-05-07 08:59", "2026-05-07 09:00", "2026-05-07 21:00"])
def test_hours_that_end_as_they_begin_are_none(now: str) -> None:
    assert until("09:00", "09:00", "UTC", now) is None


class TestZones:
    def test_the_stores_clock_counts_and_not_ours(self) -> None:
        # 21:00 in India is 15:30 in UTC, and 09:00 is 03:30.
        assert until("21:00", "09:00", "Asia/Kolkata", "2026-05-07 15:29") is None
        assert until("21:00", "09:00", "Asia/Kolkata", "2026-05-07 15:30") == "2026-05-08 03:30"
        assert until("21:00", "09:00", "Asia/Kolkata", "2026-05-08 03:30") is None

    def test_a_store_may_be_in_another_day_than_utc(self) -> None:
        # 01:00 on the 9th on Kiritimati.
        assert until("21:00", "09:00", "Pacific/Kiritimati", "2026-05-08 11:00") == "2026-05-08 19:00"

    def test_it_does_not_matter_in_which_zone_the_moment_is_given(self) -> None:
        hours = QuietHours(start="21:00", end="09:00", timezone="Asia/Kolkata")
        moment = datetime.fromisoformat("2026-05-07T21:30:00+05:30")
        assert hours.until(moment) == hours.until(moment.astimezone(UTC))

    def test_in_the_night_when_the_clock_goes_forward_the_hours_are_shorter(self) -> None:
        # Berlin, 29 March 2026: 02:00 becomes 03:00, so 09:00 is 07:00 in UTC and no longer 08:00.
        assert until("21:00", "09:00", "Europe/Berlin", "2026-03-27 20:00") == "2026-03-28 08:00"
        assert until("21:00", "09:00", "Europe/Berlin", "2026-03-28 20:00") == "2026-03-29 07:00"

    def test_in_the_night_when_the_clock_goes_back_they_are_longer(self) -> None:
        # Berlin, 25 October 2026: 03:00 becomes 02:00.
        assert until("21:00", "09:00", "Europe/Berlin", "2026-10-23 19:00") == "2026-10-24 07:00"
        assert until("21:00", "09:00", "Europe/Berlin", "2026-10-24 19:00") == "2026-10-25 08:00"

    def test_an_end_that_the_clock_leaves_out_is_not_missed(self) -> None:
        # Berlin has no 02:30 on 29 March; it is 03:30 by the clock that has just gone forward.
        assert until("21:00", "02:30", "Europe/Berlin", "2026-03-29 00:30") == "2026-03-29 01:30"
        assert until("21:00", "02:30", "Europe/Berlin", "2026-03-29 01:00") is None

    def test_a_start_that_the_clock_leaves_out_is_its_next_minute(self) -> None:
        assert until("02:30", "09:00", "Europe/Berlin", "2026-03-29 00:59") is None
        assert until("02:30", "09:00", "Europe/Berlin", "2026-03-29 01:00") == "2026-03-29 07:00"

    def test_an_end_that_the_clock_passes_twice_ends_the_hours_twice(self) -> None:
        # Berlin passes 02:30 on 25 October at 00:30 and at 01:30 in UTC.
        assert until("22:00", "02:30", "Europe/Berlin", "2026-10-25 00:10") == "2026-10-25 00:30"
        assert until("22:00", "02:30", "Europe/Berlin", "2026-10-25 01:10") == "2026-10-25 01:30"


times_of_day = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.integers(0, 59))
hours = st.builds(QuietHours, start=times_of_day, end=times_of_day, timezone=st.sampled_from(ZONES))
changes = st.sampled_from(
    [
        utc(text)
        for text in (
            "2026-03-29 01:00",  # Berlin
            "2026-10-25 01:00",
            "2026-03-08 07:00",  # New York
            "2026-11-01 06:00",
            "2026-03-08 05:00",  # Havana
            "2026-11-01 05:00",
            "2026-04-04 15:00",  # Lord Howe
            "2026-10-03 15:30",
        )
    ]
)
around_a_change = st.builds(
    lambda change, minutes: change + minutes * MINUTE, changes, st.integers(-24 * 60, 24 * 60)
)
moments = around_a_change | st.builds(
    lambda minutes: utc("2026-01-01") + minutes * MINUTE, st.integers(0, 2 * 365 * 24 * 60)
)


@given(hours=hours, now=moments)
@example(QuietHours(start="22:00", end="02:30", timezone="Europe/Berlin"), utc("2026-10-25 01:10"))
@settings(max_examples=300)
def test_the_end_is_yet_to_come_and_less_than_two_days_away(hours: QuietHours, now: datetime) -> None:
    ends = hours.until(now)
    assert ends is None or now < ends < now + timedelta(days=2)


@given(hours=hours, now=moments)
@example(QuietHours(start="00:01", end="00:00", timezone="America/Havana"), utc("2026-03-07 05:01"))
@settings(max_examples=300)
def test_when_they_end_it_is_quiet_no_longer(hours: QuietHours, now: datetime) -> None:
    ends = hours.until(now)
    assert ends is None or hours.until(ends) is None


@given(hours=hours, day=st.integers(0, 364))
@settings(max_examples=30)
def test_on_a_day_without_a_change_of_the_clock_every_minute_is_as_the_hours_say(
    hours: QuietHours, day: int
) -> None:
    hours = hours.model_copy(update={"timezone": "Asia/Kolkata"})
    midnight = utc("2025-12-31 18:30") + timedelta(days=day)
    quiet = [hours.until(midnight + minute * MINUTE) is not None for minute in range(24 * 60)]
    start, end = (60 * int(at[:2]) + int(at[3:]) for at in (hours.start, hours.end))
    assert sum(quiet) == (end - start) % (24 * 60)
    assert sum(before != after for before, after in pairwise([*quiet, quiet[0]])) == (
        2 if start != end else 0
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"start": "24:00"},
        {"start": "9:00"},
        {"end": "09:60"},
        {"end": "09:00:30"},
        {"timezone": ""},
        {"timezone": "../Berlin"},
        {"days": "all"},
    ],
)
def test_what_is_no_time_of_day_or_name_of_a_zone_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        QuietHours.model_validate({"start": "21:00", "end": "09:00", "timezone": "UTC"} | wrong)
