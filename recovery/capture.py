"""`recovery capture`: keeps a store's refused requests for a while, to settle how a provider really signs."""

from recovery.api import Answer, path
from recovery.arguments import StoreId
from recovery.session import Session, command, group
from recovery.show import when

app = group(
    "Keep requests of a store that are refused: ten of them, for an hour, in the rejected-events queue."
)


@command(app, "on", examples="recovery capture on my-store")
def switch_on(session: Session, store: StoreId) -> None:
    """Keep the store's next refused requests: ten at most, for an hour."""
    _tell(session, session.api.send("PUT", _path(store)))


@command(app, "show", examples="recovery capture show my-store")
def show(session: Session, store: StoreId) -> None:
    """Say until when, and how many more, are kept."""
    _tell(session, session.api.get(_path(store)))


@command(app, "off", examples="recovery capture off my-store")
def switch_off(session: Session, store: StoreId) -> None:
    """Keep no more."""
    _tell(session, session.api.send("DELETE", _path(store)))


def _path(store: str) -> str:
    return path("stores", store, "capture")


def _tell(session: Session, found: Answer) -> None:
    if session.screen.as_json:
        session.screen.document(found)
        return
    if not found.get("until") or not found.get("left"):
        session.screen.say("Refused requests are not kept.")
        return
    session.screen.facts({"kept until": when(found, "until"), "how many more": found.get("left")})
