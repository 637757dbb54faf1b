"""DynamoDB for less CPU than by boto3, for the calls on the hot paths.

The tables write requests in DynamoDB's own typed JSON, so there is nothing for boto3 to serialise, validate
or resolve. A call here is one signed POST on a kept connection. What does not go well is not judged here,
unless it is a condition that does not hold: the same request goes to boto3's client, which retries as
configured and raises what it always raises. A write whose answer was lost is made twice, as boto3's own
retries would make it.

Protocol: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.LowLevelAPI.html
"""

import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import urllib3
from botocore import xform_name
from botocore.exceptions import ClientError
from urllib3.exceptions import HTTPError

if TYPE_CHECKING:
    from botocore.credentials import ReadOnlyCredentials
    from mypy_boto3_dynamodb import DynamoDBClient

_OK, _BAD_REQUEST = 200, 400
_CONDITION_FAILED = "ConditionalCheckFailedException"
_CONTENT_TYPE = "application/x-amz-json-1.0"
_CONNECTIONS = 64
"""The sweep's threads, and what they start."""


class DirectDynamoDB:
    """The operations that the tables call on boto3's client, with the same arguments, answers and errors.

    TransactWriteItems is boto3's: it makes the token by which a repeat is known.
    """

    def __init__(
        self,
        client: "DynamoDBClient",
        credentials: Callable[[], "ReadOnlyCredentials"],
        ca_file: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Opens no connection yet.

        Args:
            client: boto3's: says where DynamoDB is, and takes over what does not go well.
            credentials: those that are valid now.
            ca_file: the certificate authorities to trust, as PEM.
            now: UTC.
        """
        self._client = client
        self._credentials = credentials
        self._now = now
        url, config = urlsplit(client.meta.endpoint_url), client.meta.config
        self._host = url.netloc
        self._region = client.meta.region_name
        # boto3's own limits, whatever they are for this client.
        timeout = urllib3.Timeout(connect=config.connect_timeout, read=config.read_timeout)  # type: ignore[attr-defined] # untyped
        options: dict[str, Any] = {"timeout": timeout, "maxsize": _CONNECTIONS}
        self._pool = (
            urllib3.HTTPSConnectionPool(str(url.hostname), url.port, ca_certs=ca_file, **options)
            if url.scheme == "https"
            else urllib3.HTTPConnectionPool(str(url.hostname), url.port, **options)
        )
        self._signing_key = ("", b"")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def batch_get_item(self, **request: Any) -> Any:
        return self._call("BatchGetItem", request)

    def batch_write_item(self, **request: Any) -> Any:
        return self._call("BatchWriteItem", request)

    def get_item(self, **request: Any) -> Any:
        return self._call("GetItem", request)

    def put_item(self, **request: Any) -> Any:
        return self._call("PutItem", request)

    def query(self, **request: Any) -> Any:
        return self._call("Query", request)

    def update_item(self, **request: Any) -> Any:
        return self._call("UpdateItem", request)

    def _call(self, operation: str, request: dict[str, Any]) -> Any:
        body = json.dumps(request, separators=(",", ":")).encode()
        try:
            answer = self._pool.urlopen(
                "POST", "/", body=body, headers=self._headers(operation, body), retries=False, redirect=False
            )
            told = json.loads(answer.data)
        except (HTTPError, ValueError):
            return self._by_boto3(operation, request)
        if answer.status == _OK:
            return told
        if answer.status == _BAD_REQUEST and _code(told) == _CONDITION_FAILED:
            # Expected, and dear to ask for again: DynamoDB charges a refused write.
            raise ClientError(_error(told, answer.status), operation)
        return self._by_boto3(operation, request)

    def _by_boto3(self, operation: str, request: dict[str, Any]) -> Any:
        return getattr(self._client, xform_name(operation))(**request)

    def _headers(self, operation: str, body: bytes) -> dict[str, str]:
        """Signs a request.

        Recipe: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
        """
        credentials = self._credentials()
        time = self._now().strftime("%Y%m%dT%H%M%SZ")
        headers = {"host": self._host, "x-amz-date": time, "x-amz-target": f"DynamoDB_20120810.{operation}"}
        if credentials.token:
            headers["x-amz-security-token"] = credentials.token
        names = ";".join(sorted(headers))
        lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
        canonical = f"POST\n/\n\n{lines}\n{names}\n{hashlib.sha256(body).hexdigest()}"
        scope = f"{time[:8]}/{self._region}/dynamodb/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{time}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        signature = hmac.digest(self._key(str(credentials.secret_key), scope), text.encode(), "sha256").hex()
        headers["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, "
            f"SignedHeaders={names}, Signature={signature}"
        )
        headers["content-type"] = _CONTENT_TYPE
        return headers

    def _key(self, secret: str, scope: str) -> bytes:
        name, key = self._signing_key
        if name != secret + scope:
            key = f"AWS4{secret}".encode()
            for part in scope.split("/"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._signing_key = secret + scope, key
        return key


def _code(told: Any) -> str:
    """An error's name without its namespace."""
    return str(told.get("__type", "")).rpartition("#")[2] if isinstance(told, dict) else ""


def _error(told: dict[str, Any], status: int) -> Any:
    """An error as boto3 shows it."""
    error = {"Code": _code(told), "Message": told.get("message") or told.get("Message") or ""}
    item = {"Item": told["Item"]} if "Item" in told else {}
    return {"Error": error, "ResponseMetadata": {"HTTPStatusCode": status}, **item}
