"""The arguments and options that several commands have."""

from datetime import datetime, timedelta
from typing import Annotated

import typer

from recovery import moments

StoreId = Annotated[str, typer.Argument(metavar="STORE", help="The store's id.")]
SubscriptionId = Annotated[str, typer.Argument(metavar="SUBSCRIPTION", help="The subscription's id.")]
OneOrAll = Annotated[
    str | None,
    typer.Argument(metavar="SUBSCRIPTION", help="The subscription's id; all of the store's without it."),
]
DeliveryId = Annotated[str, typer.Argument(metavar="DELIVERY", help="The delivery's id, dlv_….")]
CheckoutId = Annotated[str, typer.Argument(metavar="CHECKOUT", help="The checkout's id.")]
Since = Annotated[
    datetime | None,
    typer.Option(
        parser=moments.moment, metavar="TIME", help="From this time on: 2h (ago), or 2026-11-22T10:00Z."
    ),
]
Until = Annotated[
    datetime | None,
    typer.Option(parser=moments.moment, metavar="TIME", help="Up to this time; till now without it."),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for a confirmation.")]
Length = Annotated[timedelta, typer.Option(parser=moments.length, metavar="LENGTH")]
