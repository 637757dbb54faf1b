"""Says whose a bearer token is (HTTP API authorizer, payload 2.0, simple response).

It stands before every call, so it imports little. A dependency that is down is an error and not a refusal:
the gateway caches refusals.
"""

from typing import Any

from checkout_recovery import wiring
from checkout_recovery.http_api import headers_of
from checkout_recovery.subscriptions.authorize import Caller


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    caller: Caller | None = wiring.authorize()(headers_of(event).get("authorization", ""))
    if caller is None:
        return {"isAuthorized": False}
    return {"isAuthorized": True, "context": {"scope": caller.scope, "store_id": caller.store_id}}
