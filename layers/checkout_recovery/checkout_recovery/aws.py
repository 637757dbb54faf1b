"""AWS for less CPU, memory and start-up than by boto3, for the calls on the hot paths.

What these calls ask is in each service's own JSON already, so there is nothing for boto3 to serialise,
validate or resolve: a call here is one signed POST on a kept connection. What does not go well is not judged
here, unless the caller expects it: the same request goes to boto3's client, which is made only then, retries
as configured, and raises what it always raises. A write whose answer was lost is made twice, as boto3's own
retries would make it; a transaction bears a token by which DynamoDB knows the repeat.

Protocol: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.LowLevelAPI.html
"""

import hashlib
import hmac
import json
import re
import secrets
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pycurl
from botocore.exceptions import ClientError

_OK, _BAD_REQUEST = 200, 400
_USER_AGENT = "checkout-recovery"
_REGION = re.compile(r"(?!cn-|eusc-|[a-z]+-iso)[a-z]{2}(-[a-z]+)+-\d")
"""Regions whose endpoints are named in the common way."""
_UNCOMMON = ("AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT", "AWS_PROFILE")
"""Variables that change where boto3 turns, or as whom."""
_GIVES_UP_AFTER = 3
_GIVES_UP_SECONDS = 60.0
"""After so many calls in a row without an answer boto3 makes them all for so long: it may know a way that is
not known here, and nobody waits for both."""


@dataclass(frozen=True, slots=True)
class Service:
    """A service of AWS that speaks JSON."""

    name: str
    """As boto3, endpoints and signatures have it."""
    target: str
    content_type: str
    operations: Mapping[str, str]
    """What is called directly: boto3's method, and AWS's own name."""
    expected: frozenset[str] = frozenset()
    """Errors that the callers reckon with; asking again would only be charged again."""


DYNAMODB = Service(
    "dynamodb",
    "DynamoDB_20120810",
    "application/x-amz-json-1.0",
    {
        "batch_get_item": "BatchGetItem",
        "batch_write_item": "BatchWriteItem",
        "get_item": "GetItem",
        "put_item": "PutItem",
        "query": "Query",
        "transact_write_items": "TransactWriteItems",
        "update_item": "UpdateItem",
    },
    frozenset({"ConditionalCheckFailedException", "TransactionCanceledException"}),
)
SQS = Service(
    "sqs",
    "AmazonSQS",
    "application/x-amz-json-1.0",
    {"send_message": "SendMessage", "send_message_batch": "SendMessageBatch"},
)
SSM = Service("ssm", "AmazonSSM", "application/x-amz-json-1.1", {"get_parameters": "GetParameters"})


class Credentials(NamedTuple):
    """What requests are signed with."""

    access_key: str
    secret_key: str
    token: str | None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a service is."""

    url: str
    region: str

    @classmethod
    def of(cls, service: Service, environment: Mapping[str, str]) -> "Place | None":
        """Finds a service by the variables that AWS documents; None where only boto3 knows."""
        region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or ""
        if any(map(environment.get, _UNCOMMON)) or not _REGION.fullmatch(region):
            return None
        own = environment.get(f"AWS_ENDPOINT_URL_{service.name.upper()}")
        url = own or environment.get("AWS_ENDPOINT_URL") or f"https://{service.name}.{region}.amazonaws.com"
        return cls(url.rstrip("/"), region)


def environments_credentials(environment: Mapping[str, str]) -> Credentials | None:
    """The credentials that Lambda gives a function for as long as it lives, if it gives them that way."""
    key, secret = environment.get("AWS_ACCESS_KEY_ID"), environment.get("AWS_SECRET_ACCESS_KEY")
    return Credentials(key, secret, environment.get("AWS_SESSION_TOKEN")) if key and secret else None


class DirectClient:
    """boto3's client of a service, for threads to share: the same methods, arguments, answers and errors."""

    def __init__(
        self,
        service: Service,
        place: Place,
        credentials: Callable[[], Credentials],
        boto3_client: Callable[[], Any],
        *,
        ca_file: str,
        connect_seconds: float,
        answer_seconds: float,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Opens no connection yet.

        Args:
            service: which.
            place: where it is.
            credentials: gives those that are valid now.
            boto3_client: gives boto3's client, which takes over what does not go well.
            ca_file: the certificate authorities to trust, as PEM.
            connect_seconds: what connecting may take.
            answer_seconds: what a call may take beyond that.
            now: UTC.
        """
        self._service = service
        self._place = place
        self._host = urlsplit(place.url).netloc
        self._credentials = credentials
        self._boto3_client = boto3_client
        self._now = now
        self._signing_key = ("", b"")
        self._options = {
            pycurl.URL: f"{place.url}/",
            pycurl.POST: 1,
            pycurl.USERAGENT: _USER_AGENT,
            pycurl.CAINFO: ca_file,
            pycurl.CONNECTTIMEOUT_MS: round(connect_seconds * 1000),
            pycurl.TIMEOUT_MS: round((connect_seconds + answer_seconds) * 1000),
            pycurl.HTTP_VERSION: pycurl.CURL_HTTP_VERSION_1_1,
            pycurl.FOLLOWLOCATION: 0,
            pycurl.PROXY: "",  # libcurl would read http_proxy and its like from the environment
            pycurl.NOPROXY: "*",
            pycurl.NETRC: pycurl.NETRC_IGNORED,
            pycurl.NOSIGNAL: 1,
            pycurl.TCP_NODELAY: 1,
            pycurl.TCP_KEEPALIVE: 1,
        }
        self._unanswered = 0
        self._boto3_until = 0.0
        self._idle: deque[pycurl.Curl] = deque()
        """Handles with their connections. A deque's ends are safe from several threads."""

    def __getattr__(self, name: str) -> Any:
        operation = self._service.operations.get(name)
        if operation is None:
            return getattr(self._boto3_client(), name)
        call = self.__dict__[name] = partial(self._call, name, operation)
        return call

    def _call(self, name: str, operation: str, **request: Any) -> Any:
        if operation == "TransactWriteItems":
            request.setdefault("ClientRequestToken", secrets.token_hex(16))
        if time.monotonic() < self._boto3_until:
            return self._by_boto3(name, request)
        body = json.dumps(request, separators=(",", ":")).encode()
        try:
            status, answer = self._post(self._header_lines(operation, body), body)
            told = json.loads(answer)
        except (pycurl.error, ValueError):
            self._unanswered += 1
            if self._unanswered >= _GIVES_UP_AFTER:
                self._unanswered, self._boto3_until = 0, time.monotonic() + _GIVES_UP_SECONDS
            return self._by_boto3(name, request)
        self._unanswered = 0
        if status == _OK:
            return told
        if status == _BAD_REQUEST and _code(told) in self._service.expected:
            raise ClientError(_error(told, status), operation)
        return self._by_boto3(name, request)

    def _by_boto3(self, name: str, request: Mapping[str, Any]) -> Any:
        return getattr(self._boto3_client(), name)(**request)

    def _post(self, header_lines: list[str], body: bytes) -> tuple[int, bytes]:
        try:
            curl = self._idle.pop()
        except IndexError:
            curl = pycurl.Curl()
            for option, value in self._options.items():
                curl.setopt(option, value)
        curl.setopt(pycurl.HTTPHEADER, header_lines)
        curl.setopt(pycurl.POSTFIELDS, body)
        answer = curl.perform_rb()  # a handle that fails is not used again
        status = curl.getinfo(pycurl.RESPONSE_CODE)
        self._idle.append(curl)
        return status, answer

    def _header_lines(self, operation: str, body: bytes) -> list[str]:
        """Signs a request.

        Recipe: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
        """
        credentials = self._credentials()
        at = self._now().strftime("%Y%m%dT%H%M%SZ")
        headers = {
            "host": self._host,
            "x-amz-date": at,
            "x-amz-target": f"{self._service.target}.{operation}",
        }
        if credentials.token:
            headers["x-amz-security-token"] = credentials.token
        in_order = sorted(headers)
        names = ";".join(in_order)
        lines = [f"{name}:{headers[name]}" for name in in_order]
        signed = "\n".join(lines)
        canonical = f"POST\n/\n\n{signed}\n\n{names}\n{hashlib.sha256(body).hexdigest()}"
        scope = f"{at[:8]}/{self._place.region}/{self._service.name}/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{at}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        signature = hmac.digest(self._key(credentials.secret_key, scope), text.encode(), "sha256").hex()
        authorization = (
            f"Credential={credentials.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
        )
        return [
            *lines,
            f"authorization:AWS4-HMAC-SHA256 {authorization}",
            f"content-type:{self._service.content_type}",
            "accept:",
            "expect:",
        ]

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
    more = {name: told[name] for name in ("Item", "CancellationReasons") if name in told}
    return {"Error": error, "ResponseMetadata": {"HTTPStatusCode": status}, **more}
