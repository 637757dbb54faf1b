"""Writes docs/openapi.json: every call of the HTTP API, from the models that read and answer them.

    python -m local.openapi

The table of operations is all that is said here and not in the code; tests hold it to manage's routes and to
template.yaml, and the document to this program.
"""

import ast
import inspect
import json
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from checkout_recovery.errors import (
    Conflict,
    Forbidden,
    MalformedRequest,
    NotFound,
    ProblemError,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from checkout_recovery.http_api import JSON_TYPE, MAX_BODY_BYTES, PROBLEM_TYPE
from checkout_recovery.providers import PROVIDERS
from checkout_recovery.providers.fields import MAX_KEY_BYTES
from checkout_recovery.providers.own import CheckoutSnapshot, OrderBody
from checkout_recovery.subscriptions.answers import (
    CaptureAnswer,
    CheckoutAnswer,
    CircuitsAnswer,
    DeadLetterPage,
    DeliveryPage,
    ErasedAnswer,
    ErasurePageAnswer,
    HealthAnswer,
    QueuesAnswer,
    RecoverAnswer,
    ReplayAnswer,
    RequeueAnswer,
    SampleAnswer,
    StoreAnswer,
    StorePage,
    StoreWithToken,
    SubscriptionAnswer,
    SubscriptionPage,
    SubscriptionWithKey,
)
from checkout_recovery.subscriptions.keep_subscriptions import MAX_PAGE
from checkout_recovery.subscriptions.requests import (
    DeliveryQuery,
    ErasureQuery,
    ProviderRequest,
    RecoverRequest,
    RequeueRequest,
    RotateRequest,
    SubscriptionChange,
    SubscriptionRequest,
)
from checkout_recovery.subscriptions.store import STORE_ID, StoreSettings
from checkout_recovery.subscriptions.subscription import SUBSCRIPTION_ID
from checkout_recovery.tables.deliveries import DELIVERY_ID

DOCUMENT = Path(__file__).parents[1] / "docs" / "openapi.json"

Json = dict[str, Any]
Model = type[BaseModel]
Problems = tuple[type[ProblemError], ...]

_REF = "#/components/schemas/{model}"
_TOKEN: Problems = (Unauthenticated, Forbidden, Unavailable)
_BODY: Problems = (MalformedRequest, TooLarge)


class TakenIn(BaseModel):
    """What became of one snapshot, or of one checkout that an order ended or a redaction erased."""

    status: Literal["applied", "duplicate", "stale", "erased"]
    """`erased` only in answer to Shopify's `customers/redact`."""
    checkout_id: str
    sequence: int
    """The version of the checkout that now stands; of one that was erased, the last."""


class TakenInAnswer(BaseModel):
    """All that was told is durable."""

    results: list[TakenIn]
    """Empty where no checkout is known to be the order's, or the customer's who is to be erased.

    An order is remembered for checkouts that are told later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One call of the HTTP API."""

    name: str
    method: str
    path: str
    summary: str
    notes: str = ""
    caller: Literal["anyone", "provider", "store", "admin", "admin or store"]
    request: Model | Json | None = None
    body_required: bool = True
    answers: Mapping[int, tuple[Model, ...]]
    """By status; several models where it depends on the request, none where there is no body."""
    problems: Problems = ()
    query: Mapping[str, Json] = field(default_factory=dict)
    filters: Model | None = None
    """What reads the rest of the query."""

    @property
    def is_open(self) -> bool:
        """Whether the gateway lets it through without a token."""
        return self.caller in ("anyone", "provider")


_STORE = "/v1/stores/{store_id}"
_SUBSCRIPTIONS = _STORE + "/subscriptions"
_SUBSCRIPTION = _SUBSCRIPTIONS + "/{subscription_id}"

_LIMIT: Json = {
    "description": "How many at most",
    "schema": {"type": "integer", "minimum": 1, "maximum": MAX_PAGE, "default": MAX_PAGE},
}

OPERATIONS = (
    Operation(
        name="health",
        method="GET",
        path="/v1/health",
        summary="Whether the API answers",
        caller="anyone",
        answers={200: (HealthAnswer,)},
    ),
    Operation(
        name="receiveWebhook",
        method="POST",
        path="/v1/webhooks/{provider}/{store_id}",
        summary="A checkout provider's webhook, as the provider documents it",
        caller="provider",
        request={
            "type": "object",
            "description": "The provider's own body; the raw bytes are what is signed.",
        },
        answers={200: (TakenInAnswer,)},
        problems=(Unauthenticated, NotFound, *_BODY, Unavailable),
    ),
    Operation(
        name="receiveCheckout",
        method="POST",
        path="/v1/checkouts",
        summary="A snapshot of a checkout in our own schema",
        caller="store",
        request=CheckoutSnapshot,
        answers={200: (TakenInAnswer,)},
        problems=(*_TOKEN, *_BODY),
    ),
    Operation(
        name="receiveOrder",
        method="POST",
        path="/v1/orders",
        summary="That a shopper has bought: ends the checkout of the order, and the same shopper's others",
        caller="store",
        request=OrderBody,
        answers={200: (TakenInAnswer,)},
        problems=(*_TOKEN, *_BODY),
    ),
    Operation(
        name="putStore",
        method="PUT",
        path=_STORE,
        summary="Register a store, or replace all of its settings; what is left out gets its default",
        caller="admin",
        request=StoreSettings,
        body_required=False,
        answers={201: (StoreWithToken,), 200: (StoreAnswer, StoreWithToken)},
        problems=(*_TOKEN, *_BODY, Conflict),
        query={
            "rotate_token": {
                "description": "Gives a store that is there a new token, shown once, in place of its old one",
                "schema": {"type": "boolean", "default": False},
            }
        },
    ),
    Operation(
        name="getStore",
        method="GET",
        path=_STORE,
        summary="Read a store",
        caller="admin",
        answers={200: (StoreAnswer,)},
        problems=(*_TOKEN, NotFound),
    ),
    Operation(
        name="deleteStore",
        method="DELETE",
        path=_STORE,
        summary="Remove a store with its secrets and subscriptions",
        caller="admin",
        answers={204: ()},
        problems=_TOKEN,
    ),
    Operation(
        name="putProvider",
        method="PUT",
        path=_STORE + "/providers/{provider}",
        summary="Set the secret shared with a checkout provider; the one before it is valid for an hour",
        caller="admin or store",
        request=ProviderRequest,
        answers={204: ()},
        problems=(*_TOKEN, *_BODY, NotFound, Conflict),
    ),
    Operation(
        name="createSubscription",
        method="POST",
        path=_SUBSCRIPTIONS,
        summary="Subscribe a receiver to a store's events",
        caller="admin or store",
        request=SubscriptionRequest,
        answers={201: (SubscriptionWithKey,)},
        problems=(*_TOKEN, *_BODY, NotFound, Conflict),
    ),
    Operation(
        name="listSubscriptions",
        method="GET",
        path=_SUBSCRIPTIONS,
        summary="List a store's subscriptions, oldest first",
        caller="admin or store",
        answers={200: (SubscriptionPage,)},
        problems=(*_TOKEN, NotFound, MalformedRequest),
        query={
            "cursor": {"description": "`next_cursor` of the page before", "schema": {"type": "string"}},
            "limit": _LIMIT,
        },
    ),
    Operation(
        name="getSubscription",
        method="GET",
        path=_SUBSCRIPTION,
        summary="Read a subscription",
        caller="admin or store",
        answers={200: (SubscriptionAnswer,)},
        problems=(*_TOKEN, NotFound),
    ),
    Operation(
        name="changeSubscription",
        method="PATCH",
        path=_SUBSCRIPTION,
        summary="Change a subscription; what is left out stays",
        caller="admin or store",
        request=SubscriptionChange,
        answers={200: (SubscriptionAnswer,)},
        problems=(*_TOKEN, *_BODY, NotFound, Conflict),
    ),
    Operation(
        name="deleteSubscription",
        method="DELETE",
        path=_SUBSCRIPTION,
        summary="Remove a subscription and its keys",
        caller="admin or store",
        answers={204: ()},
        problems=_TOKEN,
    ),
    Operation(
        name="rotateKey",
        method="POST",
        path=_SUBSCRIPTION + "/rotate",
        summary="Replace a webhook key; the one before it signs along for a while",
        caller="admin or store",
        request=RotateRequest,
        body_required=False,
        answers={200: (SubscriptionWithKey,)},
        problems=(*_TOKEN, *_BODY, NotFound, Conflict),
    ),
    Operation(
        name="sendSample",
        method="POST",
        path=_SUBSCRIPTION + "/test",
        summary="Send a signed sample about nobody now, and say how it was taken",
        caller="admin or store",
        answers={200: (SampleAnswer,)},
        problems=(*_TOKEN, NotFound, Conflict),
    ),
    Operation(
        name="listDeliveries",
        method="GET",
        path=_SUBSCRIPTION + "/deliveries",
        summary="List what became of a subscription's deliveries, the newest event first",
        notes="A call looks only so far back. Where few of the deliveries fit the filters, it answers with "
        "fewer than the limit, or with none, and a `next_cursor`: go on until that is null.",
        caller="admin or store",
        answers={200: (DeliveryPage,)},
        problems=(*_TOKEN, NotFound, MalformedRequest),
        filters=DeliveryQuery,
        query={"limit": _LIMIT},
    ),
    Operation(
        name="replayDelivery",
        method="POST",
        path=_SUBSCRIPTION + "/deliveries/{delivery_id}/replay",
        summary="Send the checkout of a delivery again, as it stands now",
        notes="It is queued, whether or not it was delivered. What is sent is the checkout's newest event; a "
        "message that is no longer wanted is held back even so.",
        caller="admin or store",
        answers={202: (ReplayAnswer,)},
        problems=(*_TOKEN, NotFound, Conflict),
    ),
    Operation(
        name="recover",
        method="POST",
        path=_SUBSCRIPTION + "/recover",
        summary="Send the checkouts of all deliveries again that failed since a time, as they stand now",
        notes="A call queues a page of them, the newest first, each checkout once: go on with its "
        "`next_cursor` until that is null. A checkout whose newest event has been delivered is not sent, so "
        "asking again does no harm.",
        caller="admin or store",
        request=RecoverRequest,
        answers={202: (RecoverAnswer,)},
        problems=(*_TOKEN, *_BODY, NotFound, Conflict),
    ),
    Operation(
        name="listStores",
        method="GET",
        path="/v1/stores",
        summary="List the stores by their ids",
        caller="admin",
        answers={200: (StorePage,)},
        problems=(*_TOKEN, MalformedRequest),
        query={
            "cursor": {"description": "`next_cursor` of the page before", "schema": {"type": "string"}},
            "limit": _LIMIT,
        },
    ),
    Operation(
        name="listCircuits",
        method="GET",
        path="/v1/circuits",
        summary="List the subscriptions whose receivers fail, the longest failing first",
        caller="admin",
        answers={200: (CircuitsAnswer,)},
        problems=_TOKEN,
    ),
    Operation(
        name="countDeadLetters",
        method="GET",
        path="/v1/dead-letters",
        summary="How many messages wait in each queue",
        caller="admin",
        answers={200: (QueuesAnswer,)},
        problems=_TOKEN,
    ),
    Operation(
        name="lookAtDeadLetters",
        method="GET",
        path="/v1/dead-letters/{queue}",
        summary="Look at what could not be done: ids and reasons, nothing that a request said",
        notes="The messages stay where they are; for the second of the call nobody else can take them.",
        caller="admin",
        answers={200: (DeadLetterPage,)},
        problems=(*_TOKEN, NotFound, MalformedRequest),
        query={"limit": _LIMIT},
    ),
    Operation(
        name="requeue",
        method="POST",
        path="/v1/dead-letters/{queue}/requeue",
        summary="Do again what could not be done, and delete its messages",
        notes="`deliveries` are queued, to be sent as their checkouts stand, unless that has been done. Of a "
        "batch of the `stream`, so is each checkout that it wrote, while the stream still has it. `rejected` "
        "requests are read again. Repeat it until nothing is requeued. A delivery whose subscription is "
        "paused or disabled is kept. With `discard_refused`, captured requests and own calls "
        "among `rejected` are deleted instead.",
        caller="admin",
        request=RequeueRequest,
        body_required=False,
        answers={200: (RequeueAnswer,)},
        problems=(*_TOKEN, *_BODY, NotFound),
    ),
    Operation(
        name="getCheckout",
        method="GET",
        path=_STORE + "/checkouts/{checkout_id}",
        summary="Read how a checkout stands, and who was told of its last event",
        notes="Nothing of the shopper's is in it. Of earlier events, `GET …/deliveries?checkout_id=` tells.",
        caller="admin or store",
        answers={200: (CheckoutAnswer,)},
        problems=(*_TOKEN, NotFound),
    ),
    Operation(
        name="eraseShopper",
        method="DELETE",
        path=_STORE + "/shoppers/{contact}",
        summary="Erase a shopper: every checkout that is theirs, and what they are known by",
        notes="Nobody is told of it. A 503 means that there is more to erase: repeat the call, and it goes "
        "on. An e-mail address takes every checkout with it that holds it, whoever's.",
        caller="admin or store",
        answers={200: (ErasedAnswer,)},
        problems=(*_TOKEN, NotFound, MalformedRequest),
    ),
    Operation(
        name="listErasures",
        method="GET",
        path=_STORE + "/erasures",
        summary="List when shoppers were erased and who asked for it, the newest first",
        caller="admin or store",
        answers={200: (ErasurePageAnswer,)},
        problems=(*_TOKEN, NotFound, MalformedRequest),
        filters=ErasureQuery,
        query={"limit": _LIMIT},
    ),
    Operation(
        name="startCapture",
        method="PUT",
        path=_STORE + "/capture",
        summary="Keep the next ten webhooks to a store that are refused with 401, for an hour at most",
        notes="They lie in the rejected-events queue with their signatures, to settle how a provider signs, "
        "and are never taken in. Repeated, it begins anew.",
        caller="admin",
        answers={200: (CaptureAnswer,)},
        problems=(*_TOKEN, NotFound),
    ),
    Operation(
        name="getCapture",
        method="GET",
        path=_STORE + "/capture",
        summary="Read how the capture of a store's refused webhooks stands",
        caller="admin",
        answers={200: (CaptureAnswer,)},
        problems=(*_TOKEN, NotFound),
    ),
    Operation(
        name="stopCapture",
        method="DELETE",
        path=_STORE + "/capture",
        summary="Keep no more of a store's refused webhooks",
        caller="admin",
        answers={200: (CaptureAnswer,)},
        problems=(*_TOKEN, NotFound),
    ),
)

PARAMETERS: Mapping[str, Json] = {
    "store_id": {"schema": {"type": "string", "pattern": f"^{STORE_ID.pattern}$"}},
    "subscription_id": {"schema": {"type": "string", "pattern": f"^{SUBSCRIPTION_ID.pattern}$"}},
    "delivery_id": {"schema": {"type": "string", "pattern": f"^{DELIVERY_ID.pattern}$"}},
    "queue": {"schema": {"type": "string", "enum": ["deliveries", "stream", "rejected"]}},
    "checkout_id": {
        "description": "As its snapshots call it, URL-encoded. The gateway itself decodes a path, and more "
        "than once: encode an id twice that holds `%` or `?`.",
        "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY_BYTES},
    },
    "contact": {
        "description": "The shopper's phone or e-mail address, URL-encoded. A phone with its country "
        "(`+91…`), or the digits as they were typed; the case of an address does not matter.",
        "schema": {"type": "string", "minLength": 1},
    },
    "provider": {"schema": {"type": "string", "enum": sorted(PROVIDERS)}},
}

_SHOWN_OF_A_FILTER = ("type", "format", "enum", "pattern", "minLength", "maxLength")

PROBLEM: Json = {
    "type": "object",
    "description": "What went wrong (RFC 9457). `type` is stable; fields are named, values never repeated.",
    "required": ["type", "title", "status"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}


def document() -> Json:
    """Makes the document."""
    schemas, references = _schemas()
    paths: Json = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, references)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Checkout recovery",
            "version": "1",
            "description": "Checkout snapshots come in, signed webhooks about abandoned checkouts go out. "
            f"A body has at most {MAX_BODY_BYTES // 1024} KiB.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas | {"Problem": PROBLEM},
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The operator's token (`cra_…`), or a store's own (`crs_…`), which opens "
                    "that store alone. A replaced token may be taken for another minute.",
                }
            },
        },
    }


def _operation(operation: Operation, references: Mapping[Model, Json]) -> Json:
    described: Json = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": f"Called by: {operation.caller}. {operation.notes}".strip(),
        "security": [] if operation.is_open else [{"token": []}],
        "parameters": _parameters(operation),
        "responses": {
            str(status): _answer(operation.summary, [references[model] for model in models])
            for status, models in operation.answers.items()
        }
        | {str(problem.status): _problem(problem) for problem in operation.problems},
    }
    if request := operation.request:
        schema = request if isinstance(request, dict) else references[request]
        described["requestBody"] = {
            "required": operation.body_required,
            "content": {JSON_TYPE: {"schema": schema}},
        }
    return described


def _parameters(operation: Operation) -> list[Json]:
    in_path = [
        {"name": name, "in": "path", "required": True, **parameter}
        for name, parameter in PARAMETERS.items()
        if f"{{{name}}}" in operation.path
    ]
    in_query = (_filters(operation.filters) if operation.filters else {}) | dict(operation.query)
    return in_path + [{"name": name, "in": "query", **parameter} for name, parameter in in_query.items()]


def _filters(model: Model) -> Json:
    """A query's parameters, from the model that reads them; none has to be given."""
    words = _field_docstrings(model)
    schema = model.model_json_schema(ref_template=_REF)
    kinds = schema.pop("$defs", {})
    filters: Json = {}
    for name, described in schema["properties"].items():
        (kind,) = (each for each in described["anyOf"] if each != {"type": "null"})
        plain = kinds[kind["$ref"].rpartition("/")[2]] if "$ref" in kind else kind
        shown = {key: value for key, value in plain.items() if key in _SHOWN_OF_A_FILTER}
        filters[name] = {"description": words[name], "schema": shown}
    return filters


def _answer(summary: str, schemas: list[Json]) -> Json:
    if not schemas:
        return {"description": summary}
    schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
    return {"description": summary, "content": {JSON_TYPE: {"schema": schema}}}


def _problem(problem: type[ProblemError]) -> Json:
    schema = {"$ref": _REF.format(model="Problem")}
    return {
        "description": f"{problem.title}: `{problem.type}`",
        "content": {PROBLEM_TYPE: {"schema": schema}},
    }


def _schemas() -> tuple[Json, dict[Model, Json]]:
    """The schemas of all models, and how to refer to each."""
    asked: dict[tuple[Model, Literal["validation", "serialization"]], None] = {}
    for operation in OPERATIONS:
        if isinstance(operation.request, type):
            asked[operation.request, "validation"] = None
        asked |= {(model, "serialization"): None for models in operation.answers.values() for model in models}
    found, definitions = models_json_schema(list(asked), ref_template=_REF)
    schemas: Json = definitions["$defs"]
    for name, schema in schemas.items():
        _describe(name.partition("-")[0], schema, _all_models(BaseModel))
        for described in schema.get("properties", {}).values():
            described.pop("title", None)  # says the field's name again
    return schemas, {model: found[model, mode] for model, mode in asked}


def _describe(name: str, schema: Json, models: Iterable[Model]) -> None:
    """Adds what the docstrings under a model's fields say; the code does not read them at run time."""
    for model in models:
        if model.__name__ == name and model.__module__.startswith(("checkout_recovery.", __name__)):
            for parent in reversed(model.__mro__):
                for attribute, words in _field_docstrings(parent).items():
                    schema.get("properties", {}).get(attribute, {}).setdefault("description", words)


def _all_models(root: Model) -> Iterable[Model]:
    for model in root.__subclasses__():
        yield model
        yield from _all_models(model)


def _field_docstrings(model: type) -> dict[str, str]:
    if not model.__module__.startswith(("checkout_recovery.", __name__)):
        return {}
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    assert isinstance(definition, ast.ClassDef)  # noqa: S101 - it is a class's source
    return {
        before.target.id: inspect.cleandoc(words)
        for before, after in zip(definition.body, definition.body[1:], strict=False)
        if isinstance(before, ast.AnnAssign) and isinstance(before.target, ast.Name)
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        if isinstance(words := after.value.value, str)
    }


def render() -> str:
    """The document as it is committed."""
    return json.dumps(document(), indent=2, ensure_ascii=False, sort_keys=False) + "\n"


if __name__ == "__main__":
    DOCUMENT.write_text(render())
    print(f"wrote {DOCUMENT.relative_to(Path.cwd())}")
