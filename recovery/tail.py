"""`recovery tail`: deliveries as they happen, newest last, until Ctrl-C."""

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Annotated, Any

import typer

from recovery import log, moments
from recovery.api import Answer, items, path
from recovery.arguments import OneOrAll, StoreId
from recovery.failure import Failure
from recovery.session import Session, command
from recovery.show import Screen, clean, when

_SHORTEST_SECONDS = 1.0
_PAGES = 10
"""Of how many pages of a hundred one look takes notice."""

Every = Annotated[timedelta, typer.Option(parser=moments.length, metavar="LENGTH", help="How often to look.")]
Window = Annotated[
    timedelta,
    typer.Option(
        parser=moments.length,
        metavar="LENGTH",
        help="How old an event may be whose deliveries are looked for.",
    ),
]
Last = Annotated[
    int, typer.Option(min=0, max=1000, help="How many of those that there are already to show first.")
]
_TWO_SECONDS, _AN_HOUR = timedelta(seconds=2), timedelta(hours=1)

Seen = dict[tuple[str, str], tuple[Any, ...]]
"""Of each delivery, how it stood when it was last seen."""


def add(app: typer.Typer) -> None:
    command(
        app,
        "tail",
        examples="recovery tail my-store\n"
        "recovery tail my-store sub_1 --every 5s\nrecovery tail my-store --json",
    )(tail)


def tail(
    session: Session,
    store: StoreId,
    subscription: OneOrAll = None,
    every: Every = _TWO_SECONDS,
    window: Window = _AN_HOUR,
    last: Last = 10,
) -> None:
    """Show deliveries as they happen, newest last, and each again once it has changed. Ctrl-C ends it."""
    screen, seen = session.screen, Seen()
    try:
        for delivery in _last(_news(session, store, subscription, window, seen), last):
            _tell(screen, delivery)
        is_told = False
        while True:
            time.sleep(max(every.total_seconds(), _SHORTEST_SECONDS))
            try:
                news = _news(session, store, subscription, window, seen)
            except Failure as failure:
                is_told = _note(screen, failure, is_told)
                continue
            is_told = False
            for delivery in news:
                _tell(screen, delivery)
    except KeyboardInterrupt:
        return


def _last(deliveries: list[Answer], number: int) -> list[Answer]:
    return deliveries[max(len(deliveries) - number, 0) :]


def _note(screen: Screen, failure: Failure, is_told: bool) -> bool:
    """Says once that nobody answers; raises what will not pass by itself."""
    if not failure.passes:
        raise failure
    if not is_told:
        screen.note(f"{failure.message} Looking on.")
    return True


def _news(
    session: Session, store: str, subscription: str | None, window: timedelta, seen: Seen
) -> list[Answer]:
    """What has changed since the last look, in the order in which it was recorded."""
    now, news = Seen(), []
    since = moments.now() - window
    for name in [subscription] if subscription else _subscriptions(session, store):
        for delivery in _recent(session, store, name, since):
            key = (name, str(delivery.get("delivery_id")))
            now[key] = (delivery.get("attempts"), delivery.get("state"))
            if seen.get(key) != now[key]:
                news.append(delivery)
    seen.clear()
    seen.update(now)  # only what a next look may meet again
    return sorted(news, key=lambda one: (str(one.get("recorded_at")), str(one.get("delivery_id"))))


def _subscriptions(session: Session, store: str) -> Iterator[str]:
    for one in session.api.every(path("stores", store, "subscriptions"), "subscriptions"):
        yield str(one.get("subscription_id"))


def _recent(session: Session, store: str, subscription: str, since: datetime) -> Iterator[Answer]:
    pages = log.pages(session.api, store, subscription, since=moments.wire(since))
    for _, page in zip(range(_PAGES), pages, strict=False):
        yield from items(page, "deliveries")


def _tell(screen: Screen, delivery: Answer) -> None:
    if screen.as_json:
        screen.line(delivery)
        return
    outcome = " ".join(
        str(delivery[name]) for name in ("state", "reason", "status") if delivery.get(name) is not None
    )
    words = [
        when(delivery, "recorded_at"),
        f"{outcome:<24}",
        *(
            clean(delivery.get(name))
            for name in ("event_type", "checkout_id", "subscription_id", "delivery_id")
        ),
        f"attempts {clean(delivery.get('attempts'))}",
    ]
    screen.say("  ".join(words))
