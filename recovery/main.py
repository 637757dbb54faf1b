"""`recovery`: what an operator asks of a stack, and has done by it.

Exit codes: 0 done, 1 it failed or the answer is no, 2 wrong usage.
"""

from importlib.metadata import version
from typing import Annotated

import typer

from recovery import (
    capture,
    checkout,
    dead_letters,
    deliveries,
    erase,
    recover,
    stores,
    subscriptions,
    tail,
    verify,
)

app = typer.Typer(
    name="recovery",
    help="Operate a checkout recovery stack: what became of each delivery, and having failed ones sent.",
    epilog="Exit codes: 0 done, 1 it failed or the answer is no, 2 wrong usage.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,  # a token may be among them
    context_settings={"help_option_names": ["-h", "--help"]},
)
for name, group in {
    "stores": stores.app,
    "subscriptions": subscriptions.app,
    "deliveries": deliveries.app,
    "dlq": dead_letters.dlq,
    "rejected": dead_letters.rejected,
    "capture": capture.app,
}.items():
    app.add_typer(group, name=name)
for add in (checkout.add, recover.add, erase.add, tail.add, verify.add):
    add(app)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"recovery {version('checkout-recovery')}")
        raise typer.Exit


@app.callback()
def root(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version, and end.")
    ] = False,
) -> None:
    pass


def run() -> None:
    app()
