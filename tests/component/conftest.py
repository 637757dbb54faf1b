"""The handlers' world: AWS by moto, with tables and queues as template.yaml defines them.

Nothing of the package is patched. A handler finds its world as in Lambda, through its environment; what
`wiring` keeps between calls is forgotten after each test.
"""

import json
import logging
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from moto import mock_aws
from moto.core.models import MockAWS
from mypy_boto3_dynamodb import DynamoDBClient
from mypy_boto3_sqs import SQSClient
from mypy_boto3_ssm import SSMClient
from samcli.yamlhelper import yaml_parse

from checkout_recovery import wiring
from checkout_recovery.observability import logger
from local.dynamodb_local import dynamodb_local

ROOT = Path(__file__).parents[2]
STACK = "checkout-recovery-test"
TEMPLATE = yaml_parse((ROOT / "template.yaml").read_text())
TABLES = ("CheckoutTable", "RegistryTable", "DeliveryTable", "ShopperTable")
QUEUES = {
    "RetryQueue": "RETRY_QUEUE_URL",
    "DeliveryDeadLetterQueue": "DEAD_LETTER_QUEUE_URL",
    "StreamDeadLetterQueue": "STREAM_DEAD_LETTER_QUEUE_URL",
    "RejectedEventsQueue": "REJECTED_EVENTS_QUEUE_URL",
}
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "ap-south-1",
    "STACK_NAME": STACK,
    "CHECKOUT_TABLE": "CheckoutTable",
    "REGISTRY_TABLE": "RegistryTable",
    "DELIVERY_TABLE": "DeliveryTable",
    "SHOPPER_TABLE": "ShopperTable",
    "POWERTOOLS_METRICS_NAMESPACE": f"CheckoutRecovery/{STACK}",
    "ALLOW_LOCAL_TARGETS": "false",
}
MOTO, DYNAMODB_LOCAL = "moto", "dynamodb-local"

Event = dict[str, Any]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """The functions' environment; what they built from an earlier one is forgotten."""
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    _forget()
    yield monkeypatch
    _forget()


@pytest.fixture(scope="module")
def moto() -> Iterator[MockAWS]:
    """One for a module's tests, because starting it costs more than emptying it."""
    with mock_aws() as mock:
        yield mock


@pytest.fixture
def aws(environment: pytest.MonkeyPatch, moto: MockAWS) -> None:
    """An AWS account with the template's tables and queues."""
    moto.reset()
    dynamodb, sqs = boto3.client("dynamodb"), boto3.client("sqs")
    for table in TABLES:
        create_table(dynamodb, table, table)
    for queue, variable in QUEUES.items():
        environment.setenv(variable, sqs.create_queue(QueueName=queue)["QueueUrl"])
    topic = boto3.client("sns").create_topic(Name="NotificationTopic")
    environment.setenv("NOTIFICATION_TOPIC_ARN", topic["TopicArn"])


@pytest.fixture
def forget() -> Callable[[], None]:
    """Makes the functions build their clients anew, as a fresh environment would."""
    return _forget


@pytest.fixture
def dynamodb(aws: None) -> DynamoDBClient:
    return boto3.client("dynamodb")


@pytest.fixture
def ssm(aws: None) -> SSMClient:
    return boto3.client("ssm")


@pytest.fixture
def sqs(aws: None) -> SQSClient:
    return boto3.client("sqs")


@pytest.fixture
def calls(aws: None) -> Iterator[list[str]]:
    """The name of every AWS operation that is called from here on."""
    made: list[str] = []
    boto3.setup_default_session()
    assert boto3.DEFAULT_SESSION
    boto3.DEFAULT_SESSION.events.register("before-call", lambda model, **_: made.append(model.name))
    yield made
    boto3.setup_default_session()


@pytest.fixture
def context() -> SimpleNamespace:
    """What Lambda tells a handler of its invocation."""
    return SimpleNamespace(
        function_name="test",
        aws_request_id="00000000-0000-4000-8000-000000000000",
        get_remaining_time_in_millis=lambda: 30_000,
    )


@pytest.fixture
def event() -> Callable[[str], Event]:
    """Reads a fixture of events/."""
    return lambda name: dict(json.loads((ROOT / "events" / f"{name}.json").read_text()))


@pytest.fixture
def log() -> Iterator[list[str]]:
    """Every line that the code logs from here on, as it would be written."""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(logger.registered_formatter.format(record))

    keep, level = Keep(), logger.log_level
    ours, root = logging.getLogger(logger.name), logging.getLogger()
    ours.addHandler(keep)
    root.addHandler(keep)
    logger.setLevel("DEBUG")
    yield lines
    logger.setLevel(level)
    ours.removeHandler(keep)
    root.removeHandler(keep)


# ---------------------------------------------------------------- tables


def create_table(client: DynamoDBClient, logical_id: str, name: str) -> None:
    """Makes a table as the template defines it, under a name of the test's own."""
    properties = TEMPLATE["Resources"][logical_id]["Properties"]
    definition = {
        key: properties[key]
        for key in ("AttributeDefinitions", "KeySchema", "BillingMode", "GlobalSecondaryIndexes")
        if key in properties
    }
    if stream := properties.get("StreamSpecification"):
        definition["StreamSpecification"] = {"StreamEnabled": True, **stream}
    client.create_table(TableName=name, **definition)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs the tables' tests on moto, and on Amazon's own DynamoDB Local where Java is found."""
    if "table_client" in metafunc.fixturenames:
        backends: list[Any] = [] if "atomic" in metafunc.fixturenames else [MOTO]
        if shutil.which("java") and shutil.which("npm"):
            backends.append(pytest.param(DYNAMODB_LOCAL, marks=pytest.mark.xdist_group(DYNAMODB_LOCAL)))
        elif not backends:
            backends.append(pytest.param(DYNAMODB_LOCAL, marks=pytest.mark.skip("Java or npm is missing")))
        metafunc.parametrize("table_client", backends, indirect=True)


@pytest.fixture
def atomic() -> None:
    """Asked for by tests of several at once: moto does not make a write atomic between threads."""


@pytest.fixture(scope="session")
def dynamodb_local_url() -> Iterator[str | None]:
    with dynamodb_local() as url:
        yield url


@pytest.fixture
def table_client(request: pytest.FixtureRequest, environment: pytest.MonkeyPatch) -> DynamoDBClient:
    """A DynamoDB for tables that the test itself makes."""
    if request.param == DYNAMODB_LOCAL:
        return boto3.client("dynamodb", endpoint_url=request.getfixturevalue("dynamodb_local_url"))
    request.getfixturevalue("moto").reset()
    return boto3.client("dynamodb")


@pytest.fixture
def new_table(table_client: DynamoDBClient) -> Iterator[Callable[[str], str]]:
    """Makes a table by its logical id and returns its name."""
    made: list[str] = []

    def make(logical_id: str) -> str:
        name = f"{logical_id}-{uuid.uuid4().hex}"
        create_table(table_client, logical_id, name)
        made.append(name)
        return name

    yield make
    for name in made:
        table_client.delete_table(TableName=name)


def _forget() -> None:
    for member in vars(wiring).values():
        if hasattr(member, "cache_clear"):
            member.cache_clear()
