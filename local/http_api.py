"""Gives ministack the HTTP API's routes, which it does not read from CloudFormation.

SAM puts routes, integrations and authorizers into the API's OpenAPI `Body`; ministack creates the API and
ignores the body. So after a deploy they are read from the processed template and created one by one.
"""

import json
import re
from collections.abc import Callable
from typing import Any

from mypy_boto3_apigatewayv2 import ApiGatewayV2Client
from mypy_boto3_cloudformation import CloudFormationClient

_ANY = "x-amazon-apigateway-any-method"
_INTEGRATION = "x-amazon-apigateway-integration"
_AUTHORIZER = "x-amazon-apigateway-authorizer"

Resolve = Callable[[Any], str]


def import_routes(cloudformation: CloudFormationClient, gateway: ApiGatewayV2Client, stack_name: str) -> int:
    """Creates the routes of the stack's HTTP API, and returns how many there are."""
    template: Any = cloudformation.get_template(StackName=stack_name, TemplateStage="Processed")[
        "TemplateBody"
    ]
    resources = (json.loads(template) if isinstance(template, str) else template)["Resources"]
    physical_ids = {
        resource["LogicalResourceId"]: resource.get("PhysicalResourceId", "")
        for resource in cloudformation.describe_stack_resources(StackName=stack_name)["StackResources"]
    }
    resolve = _resolver(physical_ids, cloudformation.meta.region_name)
    body = resources["HttpApi"]["Properties"]["Body"]
    api_id = physical_ids["HttpApi"]
    authorizer_ids = {
        name: _create_authorizer(gateway, api_id, name, scheme[_AUTHORIZER], resolve)
        for name, scheme in body["components"]["securitySchemes"].items()
    }
    routes = [
        (f"{'ANY' if method == _ANY else method.upper()} {path}", operation)
        for path, operations in body["paths"].items()
        for method, operation in operations.items()
    ]
    for route_key, operation in routes:
        _create_route(gateway, api_id, route_key, operation, authorizer_ids, resolve)
    return len(routes)


def _create_authorizer(
    gateway: ApiGatewayV2Client, api_id: str, name: str, authorizer: dict[str, Any], resolve: Resolve
) -> str:
    return gateway.create_authorizer(
        ApiId=api_id,
        Name=name,
        AuthorizerType="REQUEST",
        AuthorizerUri=resolve(authorizer["authorizerUri"]),
        IdentitySource=authorizer["identitySource"],
        AuthorizerPayloadFormatVersion=authorizer["authorizerPayloadFormatVersion"],
        AuthorizerResultTtlInSeconds=authorizer["authorizerResultTtlInSeconds"],
        EnableSimpleResponses=authorizer["enableSimpleResponses"],
    )["AuthorizerId"]


def _create_route(
    gateway: ApiGatewayV2Client,
    api_id: str,
    route_key: str,
    operation: dict[str, Any],
    authorizer_ids: dict[str, str],
    resolve: Resolve,
) -> None:
    integration = operation[_INTEGRATION]
    integration_id = gateway.create_integration(
        ApiId=api_id,
        IntegrationType="AWS_PROXY",
        IntegrationMethod=integration["httpMethod"],
        IntegrationUri=resolve(integration["uri"]),
        PayloadFormatVersion=integration["payloadFormatVersion"],
    )["IntegrationId"]
    (security,) = operation["security"]
    (authorizer,) = security
    if authorizer == "NONE":
        gateway.create_route(ApiId=api_id, RouteKey=route_key, Target=f"integrations/{integration_id}")
    else:
        gateway.create_route(
            ApiId=api_id,
            RouteKey=route_key,
            Target=f"integrations/{integration_id}",
            AuthorizationType="CUSTOM",
            AuthorizerId=authorizer_ids[authorizer],
        )


def _resolver(physical_ids: dict[str, str], region: str) -> Resolve:
    """Resolves `Ref` and `Fn::Sub` as far as SAM uses them in an API's body."""
    known = {**physical_ids, "AWS::Partition": "aws", "AWS::Region": region}

    def resolve(value: Any) -> str:
        match value:
            case str():
                return value
            case {"Ref": name}:
                return known[name]
            case {"Fn::Sub": [text, variables]}:
                return substitute(text, {name: resolve(part) for name, part in variables.items()})
            case {"Fn::Sub": str(text)}:
                return substitute(text, {})
        raise ValueError(f"SAM wrote something new into the API's body: {value}")

    def substitute(text: str, variables: dict[str, str]) -> str:
        return re.sub(r"\$\{([^}]+)}", lambda found: {**known, **variables}[found[1]], text)

    return resolve
