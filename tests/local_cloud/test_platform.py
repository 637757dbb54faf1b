"""What the local cloud itself promises, so that what is seen on it holds on AWS."""

import base64
import hashlib
import hmac
import json
import stat
from collections.abc import Iterator
from contextlib import closing

import boto3
import httpx
import pytest

from local.cloud import STACK_FILE, Stack

SECRET = "test_secret_do_not_use"


@pytest.fixture
def admin(stack: Stack) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {stack.admin_token}"}
    with httpx.Client(base_url=stack.api_url, headers=headers, timeout=30) as client:
        yield client


def test_anyone_may_ask_for_health(stack: Stack) -> None:
    assert httpx.get(f"{stack.api_url}/v1/health", timeout=30).status_code == 200


def test_the_gateway_refuses_a_request_without_a_token_and_one_with_a_wrong_token(stack: Stack) -> None:
    store = f"{stack.api_url}/v1/stores/platform"
    assert httpx.get(store, timeout=30).status_code == 401
    wrong = {"Authorization": f"Bearer {stack.admin_token}x"}
    assert httpx.get(store, headers=wrong, timeout=30).status_code == 403


def test_a_body_that_is_not_utf_8_reaches_the_function_byte_for_byte(
    stack: Stack, admin: httpx.Client
) -> None:
    """Were a byte replaced on the way, the signature would not fit and the answer be 401."""
    admin.put("/v1/stores/platform", json={}).raise_for_status()
    admin.put("/v1/stores/platform/providers/shopify", json={"secret": SECRET}).raise_for_status()
    body = b'{"id": "\xff\xfe"}'
    signature = base64.b64encode(hmac.new(SECRET.encode(), body, hashlib.sha256).digest()).decode()
    answer = httpx.post(
        f"{stack.api_url}/v1/webhooks/shopify/platform",
        content=body,
        headers={
            "Content-Type": "application/json",
            "X-Shopify-Hmac-Sha256": signature,
            "X-Shopify-Topic": "checkouts/create",
            "X-Shopify-Shop-Domain": "platform.myshopify.com",
        },
        timeout=30,
    )
    assert answer.status_code == 422


def test_roles_are_enforced(stack: Stack) -> None:
    """The functions run as their roles: fan-out's may not scan the checkouts."""
    with (
        closing(
            _session_of(stack, "FanoutRole").client("dynamodb", endpoint_url=stack.endpoint_url)
        ) as table,
        pytest.raises(table.exceptions.ClientError, match="AccessDenied"),
    ):
        table.scan(TableName=stack.outputs["CheckoutTableName"])


def _session_of(stack: Stack, logical_id: str) -> boto3.Session:
    with (
        closing(stack.aws.client("cloudformation", endpoint_url=stack.endpoint_url)) as cloudformation,
        closing(stack.aws.client("sts", endpoint_url=stack.endpoint_url)) as sts,
    ):
        role = cloudformation.describe_stack_resource(
            StackName=stack.stack_name, LogicalResourceId=logical_id
        )["StackResourceDetail"]["PhysicalResourceId"]
        taken = sts.assume_role(RoleArn=f"arn:aws:iam::000000000000:role/{role}", RoleSessionName="test")
    return boto3.Session(
        aws_access_key_id=taken["Credentials"]["AccessKeyId"],
        aws_secret_access_key=taken["Credentials"]["SecretAccessKey"],
        aws_session_token=taken["Credentials"]["SessionToken"],
        region_name=stack.region,
    )


def test_the_file_with_the_admin_token_is_for_its_owner_only(stack: Stack) -> None:
    if json.loads(STACK_FILE.read_text())["endpoint_url"] != stack.endpoint_url:
        pytest.skip("a local cloud that was started by hand has the file")
    assert stack.admin_token in STACK_FILE.read_text()
    assert stat.S_IMODE(STACK_FILE.stat().st_mode) == 0o600
