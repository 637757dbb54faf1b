"""DirectDynamoDB beside boto3, on Amazon's DynamoDB Local: the same arguments, answers and errors."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import certifi
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials, ReadOnlyCredentials
from botocore.exceptions import ClientError, EndpointConnectionError
from mypy_boto3_dynamodb import DynamoDBClient

from checkout_recovery.tables.direct import DirectDynamoDB

STORE, CHECKOUT = {"S": "my-store"}, {"S": "c1"}
KEY = {"store_id": STORE, "checkout_id": CHECKOUT}
ITEM = {**KEY, "sequence": {"N": "1"}, "data": {"S": 'Él ₹ 😀 \u0000 " \\'}, "alias": {"S": "a1"}}
ACCESS, SECRET, TOKEN = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "session-token=="
NOW = datetime(2026, 11, 22, 10, 0, 1, tzinfo=UTC)


@pytest.fixture
def direct(table_client: DynamoDBClient) -> DirectDynamoDB:
    credentials: Credentials = table_client._request_signer._credentials  # type: ignore[attr-defined] # no other way
    return DirectDynamoDB(table_client, credentials.get_frozen_credentials, certifi.where())


@pytest.fixture
def asked(table_client: DynamoDBClient) -> list[str]:
    """What boto3's client has been asked."""
    operations: list[str] = []
    table_client.meta.events.register(
        "before-call.dynamodb", lambda model, **_: operations.append(model.name)
    )
    return operations


@pytest.fixture
def table(new_table: Callable[[str], str], atomic: None) -> str:
    """On DynamoDB Local alone: no socket leads to moto."""
    return new_table("CheckoutTable")


def plain(answer: Any) -> Any:
    return {name: value for name, value in answer.items() if name != "ResponseMetadata"}


@pytest.mark.parametrize(
    ("operation", "request_"),
    [
        ("get_item", {"Key": KEY, "ConsistentRead": True}),
        ("get_item", {"Key": KEY | {"checkout_id": {"S": "nobody's"}}}),
        ("get_item", {"Key": KEY, "ProjectionExpression": "alias, checkout_id"}),
        (
            "query",
            {
                "KeyConditionExpression": "store_id = :store",
                "ExpressionAttributeValues": {":store": STORE},
                "ScanIndexForward": False,
                "Limit": 1,
            },
        ),
        (
            "query",
            {
                "IndexName": "alias",
                "KeyConditionExpression": "store_id = :store AND alias = :alias",
                "ExpressionAttributeValues": {":store": STORE, ":alias": {"S": "a1"}},
            },
        ),
        (
            "update_item",
            {
                "Key": KEY,
                "UpdateExpression": "SET #data = :data ADD #sequence :none",
                "ExpressionAttributeNames": {"#data": "data", "#sequence": "sequence"},
                "ExpressionAttributeValues": {":data": {"S": "new"}, ":none": {"N": "0"}},
                "ReturnValues": "UPDATED_NEW",
            },
        ),
        ("put_item", {"Item": ITEM, "ReturnValues": "ALL_OLD"}),
    ],
)
def test_an_answer_is_boto3s(
    direct: DirectDynamoDB,
    table_client: DynamoDBClient,
    table: str,
    asked: list[str],
    operation: str,
    request_: dict[str, Any],
) -> None:
    table_client.put_item(TableName=table, Item=ITEM)
    asked.clear()
    ours = getattr(direct, operation)(TableName=table, **request_)
    assert asked == []
    table_client.put_item(TableName=table, Item=ITEM)
    theirs = getattr(table_client, operation)(TableName=table, **request_)
    assert plain(ours) == plain(theirs)


def test_batches_are_read_and_written(
    direct: DirectDynamoDB, table_client: DynamoDBClient, table: str, asked: list[str]
) -> None:
    items = [ITEM | {"checkout_id": {"S": f"c{number}"}} for number in range(25)]
    direct.batch_write_item(RequestItems={table: [{"PutRequest": {"Item": item}} for item in items]})
    keys: Any = [{name: item[name] for name in KEY} for item in items]
    request: Any = {table: {"Keys": keys, "ConsistentRead": True, "ProjectionExpression": "checkout_id"}}
    asked.clear()
    ours = direct.batch_get_item(RequestItems=request)["Responses"][table]
    assert asked == []
    theirs = table_client.batch_get_item(RequestItems=request)["Responses"][table]
    assert len(ours) == 25
    assert sorted(map(str, ours)) == sorted(map(str, theirs))


def refusal(call: Callable[..., Any], **request: Any) -> dict[str, Any]:
    with pytest.raises(ClientError) as raised:
        call(**request)
    response: Any = raised.value.response
    told = {name: value for name, value in response.items() if name in ("Error", "Item")}
    return told | {"status": response["ResponseMetadata"]["HTTPStatusCode"]}


@pytest.mark.parametrize("returns", ["NONE", "ALL_OLD"])
def test_a_condition_that_does_not_hold_is_the_same_error_and_is_asked_once(
    direct: DirectDynamoDB, table_client: DynamoDBClient, table: str, asked: list[str], returns: str
) -> None:
    table_client.put_item(TableName=table, Item=ITEM)
    request = {
        "TableName": table,
        "Item": ITEM,
        "ConditionExpression": "attribute_not_exists(store_id)",
        "ReturnValuesOnConditionCheckFailure": returns,
    }
    theirs = refusal(table_client.put_item, **request)
    asked.clear()
    assert refusal(direct.put_item, **request) == theirs
    assert theirs["Error"]["Code"] == "ConditionalCheckFailedException"
    assert ("Item" in theirs) == (returns == "ALL_OLD")
    assert asked == []


@pytest.mark.parametrize(
    "request_",
    [
        {"TableName": "no-such-table", "Key": KEY},
        {"Key": {"store_id": STORE}},
        {"Key": KEY, "ProjectionExpression": "data"},
    ],
    ids=["no table", "no key", "reserved word"],
)
def test_any_other_error_is_boto3s(
    direct: DirectDynamoDB, table_client: DynamoDBClient, table: str, request_: dict[str, Any]
) -> None:
    request = {"TableName": table} | request_
    assert refusal(direct.get_item, **request) == refusal(table_client.get_item, **request)


def test_a_transaction_is_boto3s(direct: DirectDynamoDB, table: str) -> None:
    put: Any = {"Put": {"TableName": table, "Item": ITEM}}
    direct.transact_write_items(TransactItems=[put])
    assert direct.get_item(TableName=table, Key=KEY)["Item"] == ITEM


def test_threads_share_it(direct: DirectDynamoDB, table: str) -> None:
    def write(number: int) -> str:
        item = ITEM | {"checkout_id": {"S": f"c{number}"}}
        direct.put_item(TableName=table, Item=item)
        key = KEY | {"checkout_id": item["checkout_id"]}
        return str(direct.get_item(TableName=table, Key=key, ConsistentRead=True)["Item"]["checkout_id"]["S"])

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(write, range(200))) == [f"c{number}" for number in range(200)]


# ---------------------------------------------------------------- what does not go well


class Stub(ThreadingHTTPServer):
    """Plays DynamoDB: answers as it is told, and keeps what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[tuple[int, bytes]] = []
        self.asked: list[tuple[dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Stub

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.asked.append(({name.lower(): value for name, value in self.headers.items()}, body))
        status, answer = self.server.answers.pop(0) if self.server.answers else (200, b'{"Item": {}}')
        if not status:
            self.close_connection = True
            return
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Says nothing."""


@pytest.fixture
def stub(environment: pytest.MonkeyPatch) -> Iterator[Stub]:
    with Stub() as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


@contextmanager
def speaking_to(url: str, token: str | None = None) -> Iterator[DirectDynamoDB]:
    config = Config(connect_timeout=1, read_timeout=1.5, retries={"total_max_attempts": 2})
    client = boto3.client("dynamodb", endpoint_url=url, region_name="ap-south-1", config=config)
    credentials = Credentials(ACCESS, SECRET, token).get_frozen_credentials
    yield DirectDynamoDB(client, credentials, certifi.where(), now=lambda: NOW)


ERROR = b'{"__type": "com.amazonaws.dynamodb.v20120810#%s", "message": "m"}'


@pytest.mark.parametrize(
    "bad",
    [
        (500, ERROR % b"InternalServerError"),
        (400, ERROR % b"ProvisionedThroughputExceededException"),
        (400, b"null"),
        (200, b"<html>"),
        (503, b""),
        (0, b""),
    ],
    ids=["500", "throttled", "no object", "no JSON", "503", "cut off"],
)
def test_what_does_not_go_well_is_asked_again_by_boto3(stub: Stub, bad: tuple[int, bytes]) -> None:
    stub.answers = [bad, (200, b'{"Item": {"checkout_id": {"S": "c1"}}}')]
    with speaking_to(stub.url) as direct:
        answer = direct.get_item(TableName="t", Key=KEY)
    assert answer["Item"] == {"checkout_id": {"S": "c1"}}
    assert stub.asked[0][1] == b'{"TableName":"t","Key":%s}' % compact(KEY)
    assert len(stub.asked) == 2


def compact(value: Any) -> bytes:
    return str(value).replace("'", '"').replace(" ", "").encode()


def test_a_connection_that_was_closed_meanwhile_costs_nothing(stub: Stub) -> None:
    with speaking_to(stub.url) as direct:
        direct.get_item(TableName="t", Key=KEY)
        stub.answers = [(0, b"")]
        for _ in range(3):
            assert direct.get_item(TableName="t", Key=KEY)["Item"] == {}


def test_where_nobody_listens_the_error_is_boto3s(environment: pytest.MonkeyPatch) -> None:
    with speaking_to("http://127.0.0.1:1") as direct, pytest.raises(EndpointConnectionError):
        direct.get_item(TableName="t", Key=KEY)


@pytest.mark.parametrize("token", [None, TOKEN])
def test_a_request_is_signed_as_botocore_signs_it(stub: Stub, token: str | None) -> None:
    with speaking_to(stub.url, token) as direct:
        direct.put_item(TableName="t", Item=ITEM)
    ((headers, body),) = stub.asked
    request = AWSRequest("POST", stub.url + "/", data=body)
    request.headers["x-amz-target"] = headers["x-amz-target"]
    oracle = _At(NOW, ReadOnlyCredentials(ACCESS, SECRET, token), "dynamodb", "ap-south-1")
    oracle.add_auth(request)
    assert headers["authorization"] == request.headers["Authorization"]
    assert headers["x-amz-date"] == "20261122T100001Z"
    assert headers.get("x-amz-security-token") == token


class _At(SigV4Auth):
    """botocore's signer, at a time that the test chooses."""

    def __init__(self, now: datetime, *args: Any) -> None:
        super().__init__(*args)
        self._at = now

    def add_auth(self, request: AWSRequest) -> None:
        request.context["timestamp"] = self._at.strftime("%Y%m%dT%H%M%SZ")
        request.headers["X-Amz-Date"] = request.context["timestamp"]
        if self.credentials.token:
            request.headers["X-Amz-Security-Token"] = self.credentials.token
        canonical = self.canonical_request(request)
        signature = self.signature(self.string_to_sign(request, canonical), request)
        request.headers["Authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self.scope(request)}, "
            f"SignedHeaders={self.signed_headers(self.headers_to_sign(request))}, Signature={signature}"
        )


def test_new_credentials_are_used_at_once(stub: Stub) -> None:
    held = [ReadOnlyCredentials(ACCESS, SECRET, None)]
    client = boto3.client("dynamodb", endpoint_url=stub.url, region_name="ap-south-1")
    direct = DirectDynamoDB(client, lambda: held[-1], certifi.where(), now=lambda: NOW)
    direct.get_item(TableName="t", Key=KEY)
    held.append(ReadOnlyCredentials(ACCESS, "another", None))
    direct.get_item(TableName="t", Key=KEY)
    before, after = (headers["authorization"] for headers, _ in stub.asked)
    assert before.partition("Signature=")[2] != after.partition("Signature=")[2]
