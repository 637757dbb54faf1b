"""Every file in `events/` that can arrive at ingest is what `local.fixtures` writes, and reads as it says."""

import json
from http import HTTPStatus

import pytest

from checkout_recovery.errors import MalformedRequest
from checkout_recovery.providers import PROVIDERS
from checkout_recovery.providers.own import read_order, read_own
from local import fixtures
from tests.unit.providers.requests import CREDENTIALS, request_of

ALL = {fixture.name: fixture for fixture in fixtures.fixtures()}
every_fixture = pytest.mark.parametrize("name", ALL)
OURS = {"POST /v1/checkouts": read_own, "POST /v1/orders": read_order}
# These are refused for the store that they name, which is not the adapters' to know.
OF_ANOTHER_STORE = {"flexype-unknown-store", "flexype-another-store"}


@every_fixture
def test_the_file_is_up_to_date(name: str) -> None:
    assert ALL[name].path.read_text(encoding="utf-8") == fixtures.text_of(ALL[name]), "run `make events`"


def test_no_file_is_left_of_a_fixture_that_is_gone() -> None:
    assert set(fixtures.EVENTS.glob("ingest-*.json")) == {fixture.path for fixture in ALL.values()}


@every_fixture
def test_the_adapter_answers_as_the_fixture_says(name: str) -> None:
    fixture = ALL[name]
    if name not in OF_ANOTHER_STORE:
        assert status_of(fixture) == fixture.status


def status_of(fixture: fixtures.Fixture) -> int:
    request = request_of(fixture)
    try:
        if read := OURS.get(fixture.event["routeKey"]):
            read(request.body)
            return HTTPStatus.OK
        provider = PROVIDERS.get(fixture.event["pathParameters"]["provider"])
        if provider is None:
            return HTTPStatus.NOT_FOUND
        if not provider.is_authentic(request, CREDENTIALS):
            return HTTPStatus.UNAUTHORIZED
        provider.read(request)
    except MalformedRequest as refused:
        return refused.status
    return HTTPStatus.OK


@every_fixture
def test_the_event_is_as_complete_as_api_gateways(name: str) -> None:
    event = json.loads(fixtures.text_of(ALL[name]))
    wanted = {
        "version",
        "routeKey",
        "rawPath",
        "rawQueryString",
        "headers",
        "requestContext",
        "isBase64Encoded",
    }
    assert wanted <= set(event)
    assert event["version"] == "2.0"
    assert all(header == header.lower() for header in event["headers"])
    assert event["requestContext"]["routeKey"] == event["routeKey"]
