"""How entries of a subscription's delivery log are asked for and shown."""

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from recovery.api import Answer, Api, items, path
from recovery.show import Screen, when

COLUMNS = ("event of", "delivery", "event", "checkout", "state", "reason", "attempts", "status", "recorded")
_ID = re.compile(r"dlv_([0-9a-f]{32})", re.ASCII)
_MILLISECOND_DIGITS = 12
_PAGE = 100


def log(store: str, subscription: str) -> str:
    return path("stores", store, "subscriptions", subscription, "deliveries")


def just_above(delivery: str) -> str | None:
    """The cursor from which a listing, newest first, comes to this delivery next; None if it is no id."""
    found = _ID.fullmatch(delivery)
    if not found:
        return None
    above = int(found[1], 16) + 1
    return f"dlv_{above:032x}" if above < 1 << 128 else None


def just_after(at: datetime) -> str:
    """The cursor from which a listing, newest first, comes to the events of this millisecond and before."""
    return f"dlv_{int(at.timestamp() * 1000) + 1:0{_MILLISECOND_DIGITS}x}{0:020x}"


def milliseconds(delivery: Any) -> int | None:
    """The time of an event, which its deliveries' ids begin with, in milliseconds since the epoch."""
    found = _ID.match(delivery) if isinstance(delivery, str) else None
    return int(found[1][:_MILLISECOND_DIGITS], 16) if found else None


def pages(api: Api, store: str, subscription: str, **wanted: Any) -> Iterator[Answer]:
    """The log page by page, newest first. A page may be empty although more follow."""
    while True:
        page = api.get(log(store, subscription), **{"limit": _PAGE, **wanted})
        items(page, "deliveries")
        yield page
        wanted["cursor"] = page.get("next_cursor")
        if not isinstance(wanted["cursor"], str):
            return


def event_time(delivery: Answer) -> str:
    """When what is told happened, in the operator's zone."""
    at = milliseconds(delivery.get("delivery_id"))
    return "-" if at is None else when({"at": datetime.fromtimestamp(at / 1000, UTC).isoformat()}, "at")


def table(screen: Screen, deliveries: Iterable[Answer], *, empty: str) -> None:
    screen.table(COLUMNS, map(row, deliveries), empty=empty)


def row(delivery: Answer) -> tuple[Any, ...]:
    names = ("delivery_id", "event_type", "checkout_id", "state", "reason", "attempts", "status")
    return (event_time(delivery), *(delivery.get(name) for name in names), when(delivery, "recorded_at"))


def attempts(delivery: Answer) -> list[Answer]:
    history = delivery.get("history")
    return [one for one in history if isinstance(one, dict)] if isinstance(history, list) else []
