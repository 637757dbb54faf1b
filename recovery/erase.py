"""`recovery erase`: has what is known of one shopper erased. Whom it was about is never printed."""

from typing import Annotated

import typer

from recovery.api import path, twice
from recovery.arguments import StoreId, Yes
from recovery.asked import asked_for
from recovery.failure import Failure
from recovery.session import Session, command

Shopper = Annotated[
    str | None,
    typer.Argument(
        metavar="SHOPPER",
        show_default=False,
        help="A phone number with its country code, or an e-mail address. Without it, or as -, it is asked "
        "for or read from stdin, so that it does not stay in the shell's history.",
    ),
]


def add(app: typer.Typer) -> None:
    command(
        app,
        "erase",
        examples="recovery erase my-store\nrecovery erase my-store - --yes < shopper.txt",
    )(erase)


def erase(session: Session, store: StoreId, shopper: Shopper = None, yes: Yes = False) -> None:
    """Erase what is known of a shopper in a store. It cannot be undone."""
    whom = asked_for(shopper, "Phone number or e-mail address").strip()
    if not whom:
        raise Failure("There is no phone number or e-mail address to erase.")
    if not yes:
        _confirm(store)
    done = session.api.send("DELETE", path("stores", store, "shoppers", twice(whom)))
    if session.screen.as_json:
        session.screen.document(done)
        return
    session.screen.facts({name.replace("_", " "): value for name, value in done.items()} or {"erased": True})


def _confirm(store: str) -> None:
    try:
        agreed = typer.confirm(f"Erase this shopper from {store} for good?", err=True)
    except typer.Abort:
        raise Failure("Nothing was erased: it was not confirmed, and --yes was not given.") from None
    if not agreed:
        raise Failure("Nothing was erased.")
