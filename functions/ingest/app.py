"""The inbound calls: a provider's webhook, and a snapshot or an order in our own schemas.

Three routes need no router: the gateway has matched them already. A fourth way in is the operator's, who has
a kept request taken in again: an event that manage sends, and that no request through the gateway can be.
"""

from datetime import UTC, datetime
from typing import Any

import phonenumbers  # noqa: F401 - for the first snapshot with a number, which has less CPU than the start has

from checkout_recovery import wiring
from checkout_recovery.errors import BrokenRecord, Forbidden, NotFound, ProblemError
from checkout_recovery.http_api import answer, body_of, headers_of, problem
from checkout_recovery.ingest import Result
from checkout_recovery.observability import logger
from checkout_recovery.providers.provider import Request
from checkout_recovery.queues import RejectedRequest

_KEPT_REQUEST = {"rejected"}
"""All that such an event has. The gateway's have more; what a caller chooses is only ever within these."""


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answers 200 once every snapshot is durable."""
    if event.keys() == _KEPT_REQUEST:
        return _take_in_again(event["rejected"], context)
    try:
        results = _take_in(event)
    except ProblemError as error:
        logger.warning("request refused", extra=_seen(event, context) | {"problem": error.type})
        return problem(error)
    # Not at INFO: a line costs a sixth of the snapshot's own work, and the access log has one a request.
    logger.debug("snapshots taken in", extra=_seen(event, context) | {"results": [r.status for r in results]})
    return answer(
        200,
        {
            "results": [
                {"status": r.status, "checkout_id": r.checkout_id, "sequence": r.sequence} for r in results
            ]
        },
    )


def _take_in(event: dict[str, Any]) -> list[Result]:
    now = datetime.now(UTC)
    request = Request(headers_of(event), body_of(event))
    match event["routeKey"]:
        case "POST /v1/webhooks/{provider}/{store_id}":
            path = event["pathParameters"]
            return wiring.ingest().from_provider(path["provider"], path["store_id"], request, now)
        case "POST /v1/checkouts" | "POST /v1/orders":
            caller = event["requestContext"]["authorizer"]["lambda"]
            if caller["scope"] != "store":
                raise Forbidden("A store's own token is needed.")
            source = event["routeKey"].rpartition("/")[2]
            return wiring.ingest().from_store(source, caller["store_id"], request, now)
    raise NotFound


def _take_in_again(rejected: Any, context: Any) -> dict[str, Any]:
    """Says whether a kept request is understood by now, and if not, which problem it is."""
    seen = {"request_id": context.aws_request_id}
    try:
        kept = RejectedRequest.read(rejected if isinstance(rejected, dict) else {})
        seen |= {"source": kept.source, "body_chars": len(kept.body)}
        wiring.ingest().from_kept(kept, datetime.now(UTC))
    except (BrokenRecord, ProblemError) as error:
        why = error.type if isinstance(error, ProblemError) else "broken"
        logger.warning("kept request not taken in", extra=seen | {"problem": why})
        return {"understood": False, "problem": why}
    logger.info("kept request taken in", extra=seen)
    return {"understood": True, "problem": None}


def _seen(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """What may be told of a request: no path, for it may end in what a stranger chose to put there."""
    return {
        "request_id": context.aws_request_id,
        "route": event.get("routeKey"),
        "body_chars": len(event.get("body") or ""),
    }
