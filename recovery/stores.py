"""`recovery stores`."""

import json

from recovery.api import Answer, path
from recovery.arguments import StoreId
from recovery.session import Session, command, group
from recovery.show import when

app = group("The stores that are registered.")


@command(app, "list", examples="recovery stores list\nrecovery stores list --json")
def list_stores(session: Session) -> None:
    """List all stores."""
    stores = list(session.api.every(path("stores"), "stores"))
    if session.screen.as_json:
        session.screen.document({"stores": stores})
        return
    session.screen.table(
        ("store", "providers", "registered", "changed"),
        [
            (store.get("store_id"), _providers(store), when(store, "created_at"), when(store, "updated_at"))
            for store in stores
        ],
        empty="No store is registered.",
    )


@command(app, "show", examples="recovery stores show my-store")
def show_store(session: Session, store: StoreId) -> None:
    """Show a store: its settings, and which providers' secrets are known."""
    found = session.api.get(path("stores", store))
    if session.screen.as_json:
        session.screen.document(found)
        return
    settings = found.get("settings")
    session.screen.facts(
        {
            "store": found.get("store_id"),
            "providers": _providers(found),
            "registered": when(found, "created_at"),
            "changed": when(found, "updated_at"),
            **{
                name: _setting(value)
                for name, value in (settings if isinstance(settings, dict) else {}).items()
            },
        }
    )


def _providers(store: Answer) -> str:
    providers = store.get("providers")
    return ", ".join(sorted(providers)) if isinstance(providers, dict) and providers else "-"


def _setting(value: object) -> object:
    return json.dumps(value) if isinstance(value, (dict, list)) else value
