"""Quiet hours: when no shopper is to be messaged, by the clock of the store's time zone."""

from datetime import UTC, datetime, time, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, StringConstraints

TimeOfDay = Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]


class QuietHours(BaseModel):
    """The hours in which no shopper is to be messaged, by the clock of a time zone."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")

    start: TimeOfDay
    """Local time, ``HH:MM``; from this minute on it is quiet."""
    end: TimeOfDay
    """Local time, ``HH:MM``: the first minute that is not; before `start` when the hours pass midnight."""
    timezone: Annotated[
        str, StringConstraints(max_length=64, pattern=r"^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$")
    ]
    """An IANA name, for example ``Asia/Kolkata``."""

    def until(self, now: datetime) -> datetime | None:
        """Returns when the quiet hours that it is now in end, UTC; None where it is not quiet.

        Raises:
            ZoneInfoNotFoundError: this machine does not know the time zone.
        """
        local = now.astimezone(ZoneInfo(self.timezone))
        start, end, clock = time.fromisoformat(self.start), time.fromisoformat(self.end), local.time()
        ends_today = clock < end
        passes_midnight = end < start
        is_quiet = clock >= start or ends_today if passes_midnight else start <= clock < end
        if not is_quiet:
            return None
        day = local.date() if ends_today else local.date() + timedelta(days=1)
        first = datetime.combine(day, end, local.tzinfo).astimezone(UTC)
        # Where the clock goes back, it passes the end twice.
        ends = (
            first if first > now else datetime.combine(day, end.replace(fold=1), local.tzinfo).astimezone(UTC)
        )
        # Where it goes forward, it may pass over all that is not quiet that day.
        return self.until(ends) or ends
