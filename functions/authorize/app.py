"""Says whose a bearer token is (HTTP API authorizer, payload 2.0, simple response).

It stands before every call, so it imports little and builds its own two clients; `wiring` would bring in
everything. A dependency that is down is an error and not a refusal: the gateway caches refusals.
"""

import functools
from typing import Any

import boto3
from botocore.config import Config

from checkout_recovery.http_api import headers_of
from checkout_recovery.secrets import Secrets
from checkout_recovery.settings import Settings
from checkout_recovery.subscriptions.authorize import Authorize
from checkout_recovery.tables.token_hashes import TokenHashes

# The gateway waits; the function has 5 s.
_CONFIG = Config(connect_timeout=1, read_timeout=1.5, retries={"mode": "standard", "total_max_attempts": 2})


@functools.cache
def _authorize() -> Authorize:
    settings = Settings.from_environment()
    hashes = TokenHashes(boto3.client("dynamodb", config=_CONFIG), settings.registry_table)
    return Authorize(hashes, Secrets(boto3.client("ssm", config=_CONFIG), settings.stack_name))


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    caller = _authorize()(headers_of(event).get("authorization", ""))
    if caller is None:
        return {"isAuthorized": False}
    return {"isAuthorized": True, "context": {"scope": caller.scope, "store_id": caller.store_id}}
