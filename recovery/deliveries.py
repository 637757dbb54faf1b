"""`recovery deliveries`."""

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated

import typer

from recovery import log, moments
from recovery.api import Answer, items, path
from recovery.arguments import DeliveryId, Since, StoreId, SubscriptionId
from recovery.failure import Failure
from recovery.session import Session, command, group
from recovery.show import when

app = group("What became of each delivery to a subscription.")


class State(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    SUPERSEDED = "superseded"
    SUPPRESSED = "suppressed"
    EXPIRED = "expired"
    EXHAUSTED = "exhausted"


OneState = Annotated[State | None, typer.Option(help="Only those in this state.")]
Reason = Annotated[str | None, typer.Option(help="Only those with this reason: timeout, cooldown…")]
Checkout = Annotated[str | None, typer.Option(help="Only those about this checkout.")]
Limit = Annotated[int, typer.Option(min=1, max=100_000, help="How many at most.")]
Cursor = Annotated[str | None, typer.Option(help="Go on from here: the next_cursor of the list before.")]


@command(
    app,
    "list",
    examples="recovery deliveries list my-store sub_1 --state exhausted --since 2h\n"
    "recovery deliveries list my-store sub_1 --checkout cart-42\n"
    "recovery deliveries list my-store sub_1 --reason timeout --json",
)
def list_deliveries(
    session: Session,
    store: StoreId,
    subscription: SubscriptionId,
    state: OneState = None,
    reason: Reason = None,
    since: Since = None,
    checkout: Checkout = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> None:
    """List a subscription's deliveries, newest first."""
    wanted = {
        "state": state.value if state else None,
        "reason": reason,
        "checkout_id": checkout,
        "since": moments.wire(since) if since else None,
        "cursor": cursor,
        "limit": min(limit, 100),
    }
    found, following = _found(log.pages(session.api, store, subscription, **wanted), limit)
    if session.screen.as_json:
        session.screen.document({"deliveries": found, "next_cursor": following})
        return
    log.table(session.screen, found, empty="No delivery fits.")
    if following:
        session.screen.note(f"There may be more: --cursor {following}")


@command(app, "show", examples="recovery deliveries show my-store sub_1 dlv_0193…")
def show_delivery(
    session: Session, store: StoreId, subscription: SubscriptionId, delivery: DeliveryId
) -> None:
    """Show a delivery with its attempts."""
    found = _one(session, store, subscription, delivery)
    if session.screen.as_json:
        session.screen.document(found)
        return
    names = (
        "delivery_id",
        "event_id",
        "event_type",
        "checkout_id",
        "sequence",
        "state",
        "reason",
        "attempts",
    )
    facts = {name.replace("_", " "): found.get(name) for name in names}
    session.screen.facts(facts | {"event of": log.event_time(found), "recorded": when(found, "recorded_at")})
    session.screen.say("")
    session.screen.table(
        ("attempt ended", "outcome", "status", "ms"),
        [
            (when(one, "at"), one.get("failure") or "delivered", one.get("status"), one.get("latency_ms"))
            for one in log.attempts(found)
        ],
        empty="No attempt is in the log.",
    )


@command(app, "replay", examples="recovery deliveries replay my-store sub_1 dlv_0193…")
def replay(session: Session, store: StoreId, subscription: SubscriptionId, delivery: DeliveryId) -> None:
    """Have a delivery made again, whatever became of it: the checkout's newest event is queued.

    `recovery checkout` says what comes of it. For one that is pending, a retry already waits.
    """
    queued = session.api.send(
        "POST", path("stores", store, "subscriptions", subscription, "deliveries", delivery, "replay")
    )
    if session.screen.as_json:
        session.screen.document(queued)
    session.screen.say(f"Queued: {queued.get('delivery_id', delivery)}")


def _found(pages: Iterator[Answer], limit: int) -> tuple[list[Answer], str | None]:
    """So many deliveries, and the position after the last: its own id, where a page has more."""
    found: list[Answer] = []
    for page in pages:
        found += items(page, "deliveries")
        if len(found) > limit:
            return found[:limit], found[limit - 1].get("delivery_id")
        if len(found) == limit:
            return found, page.get("next_cursor")
    return found, None


def _one(session: Session, store: str, subscription: str, delivery: str) -> Answer:
    """Reads one entry of the log: the API lists them from a position on, and an id is a position.

    Raises:
        Failure: there is none.
    """
    cursor = log.just_above(delivery)
    if cursor:
        page = session.api.get(log.log(store, subscription), limit=1, cursor=cursor)
        for found in items(page, "deliveries"):
            if found.get("delivery_id") == delivery:
                return found
    raise Failure(f"There is no delivery {delivery} of a subscription {subscription} of {store}.")
