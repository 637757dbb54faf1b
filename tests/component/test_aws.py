"""The direct client beside boto3, on Amazon's DynamoDB Local: the same arguments, answers and errors."""

import json
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
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import ClientError, EndpointConnectionError
from mypy_boto3_dynamodb import DynamoDBClient

from checkout_recovery.aws import (
    DYNAMODB,
    SQS,
    SSM,
    Credentials,
    DirectClient,
    Place,
    Service,
    environments_credentials,
)

STORE, CHECKOUT = {"S": "my-store"}, {"S": "c1"}
KEY = {"store_id": STORE, "checkout_id": CHECKOUT}
ITEM = {**KEY, "sequence": {"N": "1"}, "data": {"S": 'Él ₹ 😀 \u0000 " \\'}, "alias": {"S": "a1"}}
ACCESS, SECRET, TOKEN = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "session-token=="
NOW = datetime(2026, 11, 22, 10, 0, 1, tzinfo=UTC)


@pytest.fixture
def direct(table_client: DynamoDBClient) -> DirectClient:
    place = Place(table_client.meta.endpoint_url, table_client.meta.region_name)
    own = table_client._request_signer._credentials.get_frozen_credentials()  # type: ignore[attr-defined] # DynamoDB Local keeps each key's tables apart
    credentials = Credentials(own.access_key, own.secret_key, own.token)
    return new_direct(place, lambda: table_client, credentials=lambda: credentials)


def new_direct(
    place: Place,
    boto3_client: Callable[[], Any],
    service: Service = DYNAMODB,
    credentials: Callable[[], Credentials] = lambda: Credentials(ACCESS, SECRET, None),
) -> DirectClient:
    return DirectClient(
        service,
        place,
        credentials,
        boto3_client,
        ca_file=certifi.where(),
        connect_seconds=1.0,
        answer_seconds=1.5,
        now=lambda: NOW,
    )


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
    direct: DirectClient,
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
    direct: DirectClient, table_client: DynamoDBClient, table: str, asked: list[str]
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
    told = {
        name: value for name, value in response.items() if name in ("Error", "Item", "CancellationReasons")
    }
    return told | {"status": response["ResponseMetadata"]["HTTPStatusCode"]}


@pytest.mark.parametrize("returns", ["NONE", "ALL_OLD"])
def test_a_condition_that_does_not_hold_is_the_same_error_and_is_asked_once(
    direct: DirectClient, table_client: DynamoDBClient, table: str, asked: list[str], returns: str
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
    direct: DirectClient, table_client: DynamoDBClient, table: str, request_: dict[str, Any]
) -> None:
    request = {"TableName": table} | request_
    assert refusal(direct.get_item, **request) == refusal(table_client.get_item, **request)


def test_a_transaction_is_made_once_however_often_it_is_asked(
    direct: DirectClient, table: str, asked: list[str]
) -> None:
    add: Any = {
        "Update": {
            "TableName": table,
            "Key": KEY,
            "UpdateExpression": "ADD #n :one",
            "ExpressionAttributeNames": {"#n": "n"},
            "ExpressionAttributeValues": {":one": {"N": "1"}},
        }
    }
    for _ in range(2):
        direct.transact_write_items(TransactItems=[add], ClientRequestToken="one-and-the-same")
    assert direct.get_item(TableName=table, Key=KEY)["Item"]["n"] == {"N": "1"}
    direct.transact_write_items(TransactItems=[add])
    direct.transact_write_items(TransactItems=[add])
    assert direct.get_item(TableName=table, Key=KEY)["Item"]["n"] == {"N": "3"}
    assert asked == []


def test_a_transaction_that_is_cancelled_is_the_same_error(
    direct: DirectClient, table_client: DynamoDBClient, table: str, asked: list[str]
) -> None:
    table_client.put_item(TableName=table, Item=ITEM)
    put = {
        "TableName": table,
        "Item": ITEM,
        "ConditionExpression": "attribute_not_exists(store_id)",
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
    asked.clear()
    request: Any = {"TransactItems": [{"Put": put}]}
    ours = refusal(direct.transact_write_items, **request)
    assert asked == []
    assert ours == refusal(table_client.transact_write_items, **request)
    assert ours["CancellationReasons"][0]["Item"] == ITEM


def test_threads_share_it(direct: DirectClient, table: str) -> None:
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
def speaking_to(url: str, token: str | None = None, service: Service = DYNAMODB) -> Iterator[DirectClient]:
    def boto3_client() -> Any:
        config = Config(connect_timeout=1, read_timeout=1.5, retries={"total_max_attempts": 2})
        return boto3.client(service.name, endpoint_url=url, region_name="ap-south-1", config=config)  # type: ignore[call-overload] # whichever

    credentials = Credentials(ACCESS, SECRET, token)
    yield new_direct(Place(url, "ap-south-1"), boto3_client, service, lambda: credentials)


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


def test_after_three_calls_without_an_answer_boto3_makes_them_all_for_a_while(stub: Stub) -> None:
    with speaking_to(stub.url) as direct:
        for _ in range(3):
            stub.answers = [(0, b"")]
            direct.get_item(TableName="t", Key=KEY)
        stub.asked.clear()
        direct.get_item(TableName="t", Key=KEY)
        ((headers, _),) = stub.asked
    assert headers["user-agent"].startswith("Boto3")


def test_calls_that_fail_now_and_then_stay_direct(stub: Stub) -> None:
    with speaking_to(stub.url) as direct:
        for _ in range(4):
            stub.answers = [(0, b"")]
            direct.get_item(TableName="t", Key=KEY)
            direct.get_item(TableName="t", Key=KEY)
    headers, _ = stub.asked[-1]
    assert headers["user-agent"] == "checkout-recovery"


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
    held = [Credentials(ACCESS, SECRET, None)]
    direct = new_direct(Place(stub.url, "ap-south-1"), pytest.fail, credentials=lambda: held[-1])
    direct.get_item(TableName="t", Key=KEY)
    held.append(Credentials(ACCESS, "another", None))
    direct.get_item(TableName="t", Key=KEY)
    before, after = (headers["authorization"] for headers, _ in stub.asked)
    assert before.partition("Signature=")[2] != after.partition("Signature=")[2]


def test_a_transaction_is_repeated_under_its_token(stub: Stub) -> None:
    stub.answers = [(500, ERROR % b"InternalServerError"), (200, b"{}")]
    with speaking_to(stub.url) as direct:
        direct.transact_write_items(TransactItems=[{"Put": {"TableName": "t", "Item": ITEM}}])
    first, second = (json.loads(body)["ClientRequestToken"] for _, body in stub.asked)
    assert first == second
    assert len(first) == 32


@pytest.mark.parametrize(
    ("service", "method", "request_", "target", "content_type"),
    [
        (SSM, "get_parameters", {"Names": ["/a/b"]}, "AmazonSSM.GetParameters", "application/x-amz-json-1.1"),
        (
            SQS,
            "send_message_batch",
            {"QueueUrl": "https://q.example/1/q", "Entries": []},
            "AmazonSQS.SendMessageBatch",
            "application/x-amz-json-1.0",
        ),
    ],
)
def test_other_services_are_asked_as_boto3_asks_them(
    stub: Stub, service: Service, method: str, request_: dict[str, Any], target: str, content_type: str
) -> None:
    with speaking_to(stub.url, service=service) as direct:
        getattr(direct, method)(**request_)
        stub.answers = [(500, b"{}")]
        getattr(direct, method)(**request_)
    ours, failed, boto3s = stub.asked
    assert json.loads(ours[1]) == json.loads(failed[1]) == json.loads(boto3s[1]) == request_
    for headers in (ours[0], boto3s[0]):
        assert (headers["x-amz-target"], headers["content-type"]) == (target, content_type)


def test_what_is_rarely_called_is_boto3s(direct: DirectClient, table: str, asked: list[str]) -> None:
    assert direct.describe_table(TableName=table)["Table"]["TableName"] == table
    assert asked == ["DescribeTable"]


# ---------------------------------------------------------------- where, and as whom

MUMBAI = {"AWS_REGION": "ap-south-1"}


@pytest.mark.parametrize(
    ("environment_", "url"),
    [
        (MUMBAI, "https://sqs.ap-south-1.amazonaws.com"),
        ({"AWS_DEFAULT_REGION": "us-gov-west-1"}, "https://sqs.us-gov-west-1.amazonaws.com"),
        (MUMBAI | {"AWS_ENDPOINT_URL": "http://127.0.0.1:4566/"}, "http://127.0.0.1:4566"),
        (
            MUMBAI | {"AWS_ENDPOINT_URL": "http://a.example", "AWS_ENDPOINT_URL_SQS": "http://b.example"},
            "http://b.example",
        ),
        ({}, None),
        ({"AWS_REGION": "cn-north-1"}, None),
        ({"AWS_REGION": "us-iso-east-1"}, None),
        ({"AWS_REGION": "eu-isoe-west-1"}, None),
        ({"AWS_REGION": "eusc-de-east-1"}, None),
        ({"AWS_REGION": "evil.example/"}, None),
        (MUMBAI | {"AWS_USE_FIPS_ENDPOINT": "true"}, None),
        (MUMBAI | {"AWS_PROFILE": "work"}, None),
    ],
)
def test_a_service_is_found_where_boto3_finds_it_or_left_to_boto3(
    environment_: dict[str, str], url: str | None, environment: pytest.MonkeyPatch
) -> None:
    place = Place.of(SQS, environment_)
    assert (place and place.url) == url
    if place:
        for name, value in environment_.items():
            environment.setenv(name, value)
        theirs = boto3.Session().client("sqs", region_name=place.region).meta.endpoint_url
        assert theirs.rstrip("/") == url


def test_the_environments_credentials_are_taken_whole_or_not_at_all() -> None:
    whole = {"AWS_ACCESS_KEY_ID": ACCESS, "AWS_SECRET_ACCESS_KEY": SECRET}
    assert environments_credentials(whole) == (ACCESS, SECRET, None)
    assert environments_credentials(whole | {"AWS_SESSION_TOKEN": TOKEN}) == (ACCESS, SECRET, TOKEN)
    assert environments_credentials({"AWS_ACCESS_KEY_ID": ACCESS}) is None
