"""`recovery subscriptions`. Of a callback URL, which may hold a credential, only the host is shown."""

from datetime import timedelta
from typing import Annotated
from urllib.parse import urlsplit

import typer

from recovery import moments
from recovery.api import Answer, items, path
from recovery.arguments import StoreId, SubscriptionId
from recovery.asked import asked_for
from recovery.failure import Failure
from recovery.session import Session, command, group
from recovery.show import when

app = group("Who is told, and how their receivers fare.")

ShowUrl = Annotated[
    bool, typer.Option("--callback-url", help="Show the whole callback URL, which may hold a credential.")
]
NewUrl = Annotated[
    str | None,
    typer.Argument(
        metavar="URL",
        show_default=False,
        help="Where its events go from now on. Without it, or as -, it is asked for or read from stdin, so "
        "that it does not stay in the shell's history.",
    ),
]
_DAY = timedelta(days=1)
_SHORTEST_OVERLAP, _LONGEST_OVERLAP = timedelta(minutes=10), timedelta(days=7)
_FORBIDDEN = 403


def _overlap(text: str | timedelta) -> timedelta:
    """Reads a length that the API takes; wrong usage otherwise."""
    read = moments.length(text)
    if read > _LONGEST_OVERLAP:
        raise typer.BadParameter("at most 7 days")
    if read < _SHORTEST_OVERLAP:
        raise typer.BadParameter("at least 10 minutes")
    return read


Overlap = Annotated[
    timedelta,
    typer.Option(
        parser=_overlap,
        metavar="LENGTH",
        show_default="1d",
        help="How long the previous key signs along: 10m to 7d.",
    ),
]


@command(app, "list", examples="recovery subscriptions list my-store\nrecovery subscriptions list --failing")
def list_subscriptions(
    session: Session,
    store: Annotated[
        str | None, typer.Argument(metavar="STORE", help="The store's id; all stores without it.")
    ] = None,
    failing: Annotated[
        bool, typer.Option("--failing", help="Only those whose receiver fails or that are disabled.")
    ] = False,
) -> None:
    """List subscriptions with their health."""
    stores = (
        [store] if store else [_id(one, "store_id") for one in session.api.every(path("stores"), "stores")]
    )
    found = [
        _masked(one)
        for name in stores
        for one in session.api.every(path("stores", name, "subscriptions"), "subscriptions")
    ]
    found = [one for one in found if not failing or _is_failing(one)]
    if session.screen.as_json:
        session.screen.document({"subscriptions": found})
        return
    session.screen.table(
        ("store", "subscription", "contract", "receiver", "health"),
        [
            (
                one.get("store_id"),
                one.get("subscription_id"),
                _contract(one),
                one.get("callback_url"),
                health(one),
            )
            for one in found
        ],
        empty="No subscription fails." if failing else "There are no subscriptions.",
    )


@command(
    app,
    "show",
    examples="recovery subscriptions show my-store sub_1\n"
    "recovery subscriptions show my-store sub_1 --callback-url",
)
def show_subscription(
    session: Session, store: StoreId, subscription: SubscriptionId, callback_url: ShowUrl = False
) -> None:
    """Show a subscription and its health."""
    found = session.api.get(path("stores", store, "subscriptions", subscription))
    is_tried = found.get("failing_since") and not found.get("paused")
    found |= {"probe_at": _probe_at(session, found) if is_tried else None}
    _tell(session, found if callback_url else _masked(found))


@command(app, "pause", examples="recovery subscriptions pause my-store sub_1")
def pause(session: Session, store: StoreId, subscription: SubscriptionId) -> None:
    """Send a subscription nothing more; what happens meanwhile is sent later only by `recovery recover`."""
    _change(session, store, subscription, {"paused": True})


@command(app, "resume", examples="recovery subscriptions resume my-store sub_1")
def resume(session: Session, store: StoreId, subscription: SubscriptionId) -> None:
    """Send to a paused or disabled subscription again."""
    _change(session, store, subscription, {"paused": False})


@command(
    app,
    "move",
    examples="recovery subscriptions move my-store sub_1\n"
    "recovery subscriptions move my-store sub_1 - < url.txt",
)
def move(session: Session, store: StoreId, subscription: SubscriptionId, url: NewUrl = None) -> None:
    """Send a subscription's events, also those that wait, to another URL. Its key stays."""
    callback_url = asked_for(url, "Callback URL").strip()
    if not callback_url:
        raise Failure("There is no URL to move it to.")
    _change(session, store, subscription, {"callback_url": callback_url})


@command(
    app,
    "rotate",
    examples="recovery subscriptions rotate my-store sub_1\n"
    "recovery subscriptions rotate my-store sub_1 --overlap 7d",
)
def rotate(session: Session, store: StoreId, subscription: SubscriptionId, overlap: Overlap = _DAY) -> None:
    """Give a subscription a new webhook key, which is shown this once. Both keys sign for a while."""
    body = {"overlap_seconds": int(overlap.total_seconds())}
    made = session.api.send("POST", path("stores", store, "subscriptions", subscription, "rotate"), body)
    if session.screen.as_json:
        session.screen.document(_masked(made))
        return
    session.screen.facts(
        {"webhook key": made.get("webhook_key"), "previous key until": when(made, "previous_key_expires_at")}
    )
    session.screen.note("The key is not shown again.")


@command(app, "test", examples="recovery subscriptions test my-store sub_1")
def test(session: Session, store: StoreId, subscription: SubscriptionId) -> None:
    """Send a signed sample now. Exit code 1 if the receiver did not take it."""
    outcome = session.api.send("POST", path("stores", store, "subscriptions", subscription, "test"))
    if session.screen.as_json:
        session.screen.document(outcome)
    else:
        facts = ("delivered", "status", "failure", "latency_ms")
        session.screen.facts({name: outcome.get(name) for name in facts})
    if outcome.get("delivered") is not True:
        raise typer.Exit(1)


def health(subscription: Answer) -> str:
    """How a subscription fares, in a word or two."""
    if subscription.get("disabled_reason"):
        return f"disabled: {subscription['disabled_reason']}"
    if subscription.get("paused"):
        return "paused"
    if subscription.get("failing_since"):
        return f"failing since {when(subscription, 'failing_since')}"
    if subscription.get("untried"):
        return "untried"
    return "well"


def _probe_at(session: Session, subscription: Answer) -> str | None:
    """When a failing receiver may be tried next; None for a store's token, which may not ask that."""
    try:
        circuits = items(session.api.get(path("circuits")), "circuits")
    except Failure as failure:
        if failure.status == _FORBIDDEN:
            return None
        raise
    ids = ("store_id", "subscription_id")
    own = (one for one in circuits if all(one.get(name) == subscription.get(name) for name in ids))
    return next((one.get("probe_at") for one in own), None)


def _is_failing(subscription: Answer) -> bool:
    return bool(subscription.get("failing_since") or subscription.get("disabled_reason"))


def _change(session: Session, store: str, subscription: str, change: dict[str, object]) -> None:
    changed = session.api.send("PATCH", path("stores", store, "subscriptions", subscription), change)
    _tell(session, _masked(changed))


def _tell(session: Session, found: Answer) -> None:
    if session.screen.as_json:
        session.screen.document(found)
        return
    session.screen.facts(
        {
            "subscription": found.get("subscription_id"),
            "store": found.get("store_id"),
            "contract": _contract(found),
            "receiver": found.get("callback_url"),
            "health": health(found),
            **({"next probe": when(found, "probe_at")} if found.get("probe_at") else {}),
            "events": _listed(found, "events"),
            "consent": found.get("consent"),
            "requires": _listed(found, "requires"),
            "events a second": found.get("rate_limit_per_second") or "unlimited",
            "headers": _listed(found, "header_names"),
            "recipe": found.get("recipe"),
            "previous key until": when(found, "previous_key_expires_at"),
            "made": when(found, "created_at"),
            "changed": when(found, "updated_at"),
        }
    )


def _contract(subscription: Answer) -> str:
    return f"{subscription.get('topic')} {subscription.get('version')}"


def _listed(subscription: Answer, name: str) -> str:
    value = subscription.get(name)
    return ", ".join(map(str, value)) if isinstance(value, list) and value else "-"


def _masked(subscription: Answer) -> Answer:
    """The same with no more of its callback URL than the host and its port."""
    url = subscription.get("callback_url")
    if not isinstance(url, str):
        return subscription
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port is not None else ""
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        shown = f"{parts.scheme}://{host}{port}/…"
    except ValueError:
        shown = "…"
    return subscription | {"callback_url": shown}


def _id(answer: Answer, name: str) -> str:
    return str(answer.get(name, ""))
