import json
import re
from pathlib import Path
from typing import Any

from openapi_spec_validator import OpenAPIV31SpecValidator
from samcli.yamlhelper import yaml_parse

from functions.manage.app import app
from local.openapi import DOCUMENT, OPERATIONS, Operation, document, render

ROOT = Path(__file__).parents[2]
TAIL = re.compile(r"(\w+)/\(\?s:\.\+\)$")
TAILS = {"checkouts": "checkouts/{checkout_id}", "shoppers": "shoppers/{contact}"}
"""The ends of routes that the router has no pattern for, by the part before them."""


def routes_of(function: str) -> dict[tuple[str, str], bool]:
    """A function's routes in the template, and whether each is open to everyone."""
    resources = yaml_parse((ROOT / "template.yaml").read_text())["Resources"]
    events = resources[function]["Properties"]["Events"].values()
    routes = [event["Properties"] for event in events if event["Type"] == "HttpApi"]
    return {
        (route["Method"], route["Path"]): route.get("Auth", {}).get("Authorizer") == "NONE"
        for route in routes
    }


def is_under(operation: Operation, method: str, path: str) -> bool:
    pattern = re.sub(r"\\{\w+\\\+\\}", ".+", re.escape(path))
    return method in ("ANY", operation.method) and bool(re.fullmatch(pattern, operation.path))


def test_the_committed_document_is_what_the_code_says() -> None:
    assert DOCUMENT.read_text() == render(), "run: make openapi"


def test_the_document_is_valid_openapi_3_1() -> None:
    assert list(OpenAPIV31SpecValidator(document()).iter_errors()) == []


def test_every_route_of_manage_is_described() -> None:
    routes = {
        (route.method, re.sub(r"<(\w+)>", r"{\1}", TAIL.sub(lambda tail: TAILS[tail[1]], route.path)))
        for route in app._static_routes + app._dynamic_routes
    }
    ingest = set(routes_of("IngestFunction"))
    assert {(operation.method, operation.path) for operation in OPERATIONS} == routes | ingest


def test_every_operation_has_a_route_in_the_template_with_the_same_guard() -> None:
    routes = routes_of("IngestFunction") | routes_of("ManageFunction")
    for operation in OPERATIONS:
        guards = {is_open for route, is_open in routes.items() if is_under(operation, *route)}
        assert guards == {operation.is_open}, operation.name
    for route in routes:
        assert any(is_under(operation, *route) for operation in OPERATIONS), route


def test_our_own_models_forbid_unknown_fields() -> None:
    schemas: dict[str, Any] = document()["components"]["schemas"]
    for operation in OPERATIONS:
        if isinstance(operation.request, type):
            name = next(name for name in schemas if name.partition("-")[0] == operation.request.__name__)
            assert schemas[name]["additionalProperties"] is False, name


def test_secrets_are_only_in_the_answers_that_make_them() -> None:
    schemas: dict[str, Any] = json.loads(render())["components"]["schemas"]
    holders = {
        name
        for name, schema in schemas.items()
        for attribute in schema.get("properties", {})
        if attribute in ("store_token", "webhook_key", "secret", "headers")
    }
    assert holders == {"StoreWithToken", "SubscriptionWithKey", "ProviderRequest", "SubscriptionRequest"}
