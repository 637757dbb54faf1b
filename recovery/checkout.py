"""`recovery checkout`."""

from typing import Any

import typer

from recovery import log
from recovery.api import Answer, items, path, twice
from recovery.arguments import CheckoutId, StoreId
from recovery.session import Session, command
from recovery.show import when

_TIMES = ("created_at", "active_at", "due_at", "abandoned_at", "told_at", "purchased_at", "completed_at")
_FACTS = (
    "status",
    "stage",
    "sequence",
    "suppressed",
    "discarded",
    "order_id",
    "has_phone",
    "has_email",
    "consent",
)


def add(app: typer.Typer) -> None:
    command(
        app,
        "checkout",
        examples="recovery checkout my-store cart-42\nrecovery checkout my-store cart-42 --json",
    )(show_checkout)


def show_checkout(session: Session, store: StoreId, checkout: CheckoutId) -> None:
    """Show how a checkout stands, why nobody was told of it, and what became of its last event."""
    found = session.api.get(path("stores", store, "checkouts", twice(checkout)))
    if session.screen.as_json:
        session.screen.document(found)
        return
    session.screen.facts({"checkout": found.get("checkout_id"), "last event": _event(found)} | _facts(found))
    session.screen.say("")
    session.screen.table(
        ("subscription", *log.COLUMNS),
        ((one.get("subscription_id"), *log.row(one)) for one in items(found, "deliveries")),
        empty="No subscription was told of its last event.",
    )


def _facts(found: Answer) -> dict[str, Any]:
    facts = {name.replace("_", " "): found.get(name) for name in _FACTS}
    return facts | {name.removesuffix("_at"): when(found, name) for name in _TIMES if found.get(name)}


def _event(found: Answer) -> str:
    event = found.get("event")
    return f"{event.get('type')} of {when(event, 'time')}" if isinstance(event, dict) else "-"
