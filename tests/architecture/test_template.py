"""Rules that hold for template.yaml, as it is written and as CloudFormation gets it from SAM."""

import copy
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from samcli.yamlhelper import yaml_parse
from samtranslator.translator.managed_policy_translator import ManagedPolicyLoader
from samtranslator.translator.transform import transform

from checkout_recovery.delivery.attempts import CLAIM

ROOT = Path(__file__).parents[2]
QUEUES = ["RetryQueue", "DeliveryDeadLetterQueue", "StreamDeadLetterQueue", "RejectedEventsQueue"]
FUNCTIONS = [
    "IngestFunction",
    "FanoutFunction",
    "RetryFunction",
    "SweepFunction",
    "ManageFunction",
    "AuthorizeFunction",
]
TABLES = ["CheckoutTable", "RegistryTable", "DeliveryTable", "ShopperTable"]
FOURTEEN_DAYS = 14 * 24 * 60 * 60

Template = dict[str, Any]
Resource = dict[str, Any]


@pytest.fixture
def template() -> Template:
    return dict(yaml_parse((ROOT / "template.yaml").read_text()))


@pytest.fixture
def processed(template: Template, monkeypatch: pytest.MonkeyPatch) -> Template:
    return _transformed(template, monkeypatch)


def _transformed(template: Template, monkeypatch: pytest.MonkeyPatch) -> Template:
    """What CloudFormation gets, with artefacts as `sam package` would have named them."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "ap-south-1")
    packaged = copy.deepcopy(template)
    for name, resource in packaged["Resources"].items():
        for uri in {"CodeUri", "ContentUri"} & resource.get("Properties", {}).keys():
            if not str(resource["Properties"][uri]).startswith("s3://"):
                resource["Properties"][uri] = f"s3://artefacts/{name}"
    never_asked = ManagedPolicyLoader(iam_client=None)  # no role here has a managed policy
    return dict(transform(packaged, {}, never_asked))


def _of_type(template: Template, type_: str) -> dict[str, Resource]:
    return {name: resource for name, resource in template["Resources"].items() if resource["Type"] == type_}


def _statements(template: Template) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, role in _of_type(template, "AWS::IAM::Role").items():
        for policy in role["Properties"].get("Policies", []):
            for statement in policy["PolicyDocument"]["Statement"]:
                yield name, statement


def _mapping_of(processed: Template, function: str) -> Resource:
    """What hands a function its batches."""
    mappings = (
        each["Properties"] for each in _of_type(processed, "AWS::Lambda::EventSourceMapping").values()
    )
    (mapping,) = (each for each in mappings if function in json.dumps(each["FunctionName"]))
    return dict(mapping)


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _routes(processed: Template) -> dict[str, str]:
    """Each route with the authorizer that guards it, as SAM wrote them into the API's document."""
    paths = processed["Resources"]["HttpApi"]["Properties"]["Body"]["paths"]
    return {
        f"{'ANY' if method == 'x-amazon-apigateway-any-method' else method.upper()} {path}": "".join(
            name for security in operation.get("security", [{"NONE": []}]) for name in security
        )
        for path, operations in paths.items()
        for method, operation in operations.items()
    }


# ---------------------------------------------------------------- permissions


def test_no_role_may_act_on_every_resource(processed: Template) -> None:
    statements = list(_statements(processed))
    assert statements
    assert [name for name, statement in statements if "*" in _as_list(statement["Resource"])] == []


def test_no_role_may_scan_or_use_a_wildcard_action(processed: Template) -> None:
    actions = {action for _, statement in _statements(processed) for action in _as_list(statement["Action"])}
    assert not {action for action in actions if "*" in action or action.endswith(":Scan")}


def test_no_role_has_a_managed_policy(processed: Template) -> None:
    roles = _of_type(processed, "AWS::IAM::Role").values()
    assert not any(role["Properties"].get("ManagedPolicyArns") for role in roles)


def test_each_function_has_a_role_of_its_own_and_sam_adds_none(processed: Template) -> None:
    functions = _of_type(processed, "AWS::Lambda::Function")
    roles = [function["Properties"]["Role"]["Fn::GetAtt"][0] for function in functions.values()]
    assert sorted(functions) == sorted(FUNCTIONS)
    assert sorted(roles) == sorted(_of_type(processed, "AWS::IAM::Role"))


def test_no_role_but_the_authorizer_s_reads_the_admin_token(processed: Template) -> None:
    readers = {name for name, statement in _statements(processed) if "admin-token" in json.dumps(statement)}
    assert readers == {"AuthorizeRole"}


def _allowed(processed: Template, action: str) -> dict[str, list[Any]]:
    """On what each role may take an action."""
    allowed: dict[str, list[Any]] = {}
    for name, statement in _statements(processed):
        if action in _as_list(statement["Action"]):
            allowed.setdefault(name, []).extend(_as_list(statement["Resource"]))
    return allowed


@pytest.mark.parametrize("action", ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"])
def test_only_the_operator_s_calls_take_from_queues_of_dead_letters(processed: Template, action: str) -> None:
    dead = [{"Fn::GetAtt": [queue, "Arn"]} for queue in QUEUES if queue != "RetryQueue"]
    allowed = _allowed(processed, action)
    assert allowed.pop("ManageRole") == dead
    assert not [resource for resources in allowed.values() for resource in resources if resource in dead]


def test_the_operator_s_calls_put_deliveries_only_where_they_are_made(processed: Template) -> None:
    assert _allowed(processed, "sqs:SendMessage")["ManageRole"] == [{"Fn::GetAtt": ["RetryQueue", "Arn"]}]


def test_only_manage_invokes_another_function_and_only_ingest_s_alias(processed: Template) -> None:
    alias = {"Ref": "IngestFunctionAliaslive"}
    assert _allowed(processed, "lambda:InvokeFunction") == {"ManageRole": [alias]}
    environment = processed["Resources"]["ManageFunction"]["Properties"]["Environment"]["Variables"]
    assert environment["INGEST_FUNCTION"] == alias


def test_who_finds_that_a_receiver_fails_or_is_well_may_say_so(processed: Template) -> None:
    environment = processed["Resources"]["ManageFunction"]["Properties"]["Environment"]["Variables"]
    topic = [environment["NOTIFICATION_TOPIC_ARN"]]
    roles = ("FanoutRole", "ManageRole", "RetryRole")
    assert _allowed(processed, "sns:Publish") == dict.fromkeys(roles, topic)


# ---------------------------------------------------------------- functions


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_writes_json_to_a_log_group_with_retention(processed: Template, name: str) -> None:
    logging = processed["Resources"][name]["Properties"]["LoggingConfig"]
    group = processed["Resources"][logging["LogGroup"]["Ref"]]
    assert logging["LogFormat"] == "JSON"
    assert group["Properties"]["RetentionInDays"] == {"Ref": "LogRetentionDays"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_s_faults_raise_an_alarm(processed: Template, name: str) -> None:
    alarms = _of_type(processed, "AWS::CloudWatch::Alarm").values()
    watched = [
        alarm["Properties"]["Dimensions"][0]["Value"]
        for alarm in alarms
        if alarm["Properties"].get("MetricName") == "Errors"
    ]
    assert {"Ref": name} in watched


@pytest.mark.parametrize("layer", ["DependenciesLayer", "CheckoutRecoveryLayer"])
def test_a_change_of_only_a_layer_moves_every_alias(
    template: Template, monkeypatch: pytest.MonkeyPatch, layer: str
) -> None:
    before = _transformed(template, monkeypatch)
    template["Resources"][layer]["Properties"]["ContentUri"] = "s3://artefacts/another-build"
    after = _transformed(template, monkeypatch)
    moved = [
        name
        for name in FUNCTIONS
        if _version_behind_alias(before, name) != _version_behind_alias(after, name)
    ]
    assert moved == FUNCTIONS


def _version_behind_alias(processed: Template, function: str) -> str:
    alias = processed["Resources"][f"{function}Aliaslive"]["Properties"]
    return str(alias["FunctionVersion"]["Fn::GetAtt"][0])


def test_an_unchanged_stack_keeps_its_versions(template: Template, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (_transformed(template, monkeypatch) for _ in range(2))
    assert first["Resources"].keys() == second["Resources"].keys()


def test_arm64_is_the_default_and_holds_for_functions_and_layers(processed: Template) -> None:
    assert processed["Parameters"]["Architecture"]["Default"] == "arm64"
    for function in _of_type(processed, "AWS::Lambda::Function").values():
        assert function["Properties"]["Architectures"] == [{"Ref": "Architecture"}]
    for layer in _of_type(processed, "AWS::Lambda::LayerVersion").values():
        assert layer["Properties"]["CompatibleArchitectures"] == [{"Ref": "Architecture"}]


# ---------------------------------------------------------------- the stream


def test_the_stream_s_mapping_loses_nothing_and_blocks_on_nothing(processed: Template) -> None:
    properties = _mapping_of(processed, "FanoutFunction")
    assert properties["FunctionName"] == {"Ref": "FanoutFunctionAliaslive"}
    assert properties["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert properties["BisectBatchOnFunctionError"] is True
    assert properties["StartingPosition"] == "TRIM_HORIZON"
    assert 0 < properties["MaximumRetryAttempts"] < 100
    assert 0 < properties["MaximumRecordAgeInSeconds"] <= 24 * 60 * 60
    assert properties["DestinationConfig"]["OnFailure"]["Destination"] == {
        "Fn::GetAtt": ["StreamDeadLetterQueue", "Arn"]
    }


def test_only_writes_that_are_events_reach_fan_out(processed: Template) -> None:
    (only,) = _mapping_of(processed, "FanoutFunction")["FilterCriteria"]["Filters"]
    pattern = json.loads(only["Pattern"])
    assert pattern["eventName"] == ["INSERT", "MODIFY"]
    assert pattern["dynamodb"]["NewImage"]["event"]["M"]["id"]["S"] == [{"exists": True}]


def test_a_message_of_the_retry_queue_fails_alone_and_is_not_shown_to_two_at_once(
    processed: Template,
) -> None:
    properties = _mapping_of(processed, "RetryFunction")
    timeout = processed["Resources"]["RetryFunction"]["Properties"]["Timeout"]
    assert properties["FunctionName"] == {"Ref": "RetryFunctionAliaslive"}
    assert properties["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    hidden = processed["Resources"]["RetryQueue"]["Properties"]["VisibilityTimeout"]
    assert hidden >= 6 * timeout + properties["MaximumBatchingWindowInSeconds"]
    assert timeout <= CLAIM.total_seconds() < hidden


# ---------------------------------------------------------------- queues and tables


@pytest.mark.parametrize("name", QUEUES)
def test_a_queue_is_encrypted_and_keeps_for_fourteen_days(processed: Template, name: str) -> None:
    properties = processed["Resources"][name]["Properties"]
    assert properties["SqsManagedSseEnabled"] is True
    assert properties["MessageRetentionPeriod"] == FOURTEEN_DAYS


def test_there_is_no_queue_that_these_rules_forget(processed: Template) -> None:
    assert sorted(_of_type(processed, "AWS::SQS::Queue")) == sorted(QUEUES)
    assert sorted(_of_type(processed, "AWS::DynamoDB::Table")) == sorted(TABLES)


@pytest.mark.parametrize("queue", ["DeliveryDeadLetterQueue", "StreamDeadLetterQueue", "RejectedEventsQueue"])
def test_an_alarm_counts_what_lies_in_a_dead_letter_queue(processed: Template, queue: str) -> None:
    """Not what was sent to it: redriven messages do not count as sent."""
    metrics = [
        alarm["Properties"]["MetricName"]
        for alarm in _of_type(processed, "AWS::CloudWatch::Alarm").values()
        for dimension in alarm["Properties"].get("Dimensions", [])
        if dimension["Value"] == {"Fn::GetAtt": [queue, "QueueName"]}
    ]
    assert metrics == ["ApproximateNumberOfMessagesVisible"]


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_encrypted_paid_by_request_and_recoverable_in_prod_only(
    processed: Template, name: str
) -> None:
    properties = processed["Resources"][name]["Properties"]
    only_in_prod = {"Fn::If": ["IsProd", True, False]}
    assert properties["BillingMode"] == "PAY_PER_REQUEST"
    assert properties["SSESpecification"] == {"SSEEnabled": True}
    assert properties["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": only_in_prod}
    assert properties["DeletionProtectionEnabled"] == only_in_prod
    assert processed["Conditions"]["IsProd"] == {"Fn::Equals": [{"Ref": "Stage"}, "prod"]}


def test_the_checkout_table_streams_its_new_image(processed: Template) -> None:
    properties = processed["Resources"]["CheckoutTable"]["Properties"]
    assert properties["StreamSpecification"] == {"StreamViewType": "NEW_IMAGE"}


# ---------------------------------------------------------------- the HTTP API


def test_every_route_but_the_webhooks_and_the_health_check_has_the_authorizer(processed: Template) -> None:
    assert _routes(processed) == {
        "POST /v1/webhooks/{provider}/{store_id}": "NONE",
        "GET /v1/health": "NONE",
        "POST /v1/checkouts": "TokenAuthorizer",
        "POST /v1/orders": "TokenAuthorizer",
        "ANY /v1/stores": "TokenAuthorizer",
        "ANY /v1/circuits": "TokenAuthorizer",
        "ANY /v1/dead-letters": "TokenAuthorizer",
        "ANY /v1/dead-letters/{proxy+}": "TokenAuthorizer",
        "ANY /v1/stores/{store_id}": "TokenAuthorizer",
        "ANY /v1/stores/{store_id}/{proxy+}": "TokenAuthorizer",
    }


def test_a_route_that_says_nothing_gets_the_authorizer(template: Template) -> None:
    assert template["Resources"]["HttpApi"]["Properties"]["Auth"]["DefaultAuthorizer"] == "TokenAuthorizer"


def test_the_api_is_throttled(processed: Template) -> None:
    (stage,) = _of_type(processed, "AWS::ApiGatewayV2::Stage").values()
    settings = stage["Properties"]["DefaultRouteSettings"]
    assert settings["ThrottlingRateLimit"] == {"Ref": "ThrottlingRateLimit"}
    assert settings["ThrottlingBurstLimit"] == {"Ref": "ThrottlingBurstLimit"}


def test_the_access_log_names_the_route_and_nothing_that_may_be_a_secret(processed: Template) -> None:
    (stage,) = _of_type(processed, "AWS::ApiGatewayV2::Stage").values()
    settings = stage["Properties"]["AccessLogSettings"]
    fields = json.loads(settings["Format"])
    assert fields["route"] == "$context.routeKey"
    said = re.findall(r"\$context\.[\w.]+", settings["Format"])
    forbidden = ("path", "query", "header", "identity", "http", "authorizer.principal", "domain")
    assert not [name for name in said if any(part in name.lower() for part in forbidden)]
    assert "HttpApiAccessLogGroup" in json.dumps(settings["DestinationArn"])


def test_the_gateway_and_the_stream_call_the_alias(processed: Template) -> None:
    api = json.dumps(processed["Resources"]["HttpApi"]["Properties"]["Body"])
    called = set(re.findall(r"(?<=functions/\$\{)\w+|(?<=\"Ref\": \")\w+Aliaslive", api)) - {
        "__FunctionArn__"
    }
    assert called == {"IngestFunctionAliaslive", "ManageFunctionAliaslive", "AuthorizeFunctionAliaslive"}


# ---------------------------------------------------------------- parameters


def test_only_the_local_configuration_lets_local_targets_in(template: Template) -> None:
    assert template["Parameters"]["AllowLocalTargets"]["Default"] == "false"
    configuration = tomllib.loads((ROOT / "samconfig.toml").read_text())
    environments = {name: values for name, values in configuration.items() if isinstance(values, dict)}
    allowing = {
        name
        for name, values in environments.items()
        if "AllowLocalTargets=true" in values["deploy"]["parameters"]["parameter_overrides"]
    }
    assert environments.keys() == {"default", "local", "staging", "prod"}
    assert allowing == {"local"}


def test_the_functions_find_aws_itself_unless_told_otherwise(template: Template) -> None:
    assert template["Parameters"]["EndpointUrl"]["Default"] == ""
