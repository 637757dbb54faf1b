"""The management API: stores, their providers' secrets, subscriptions, and what became of deliveries.

Each route translates, calls one use, and answers. Who calls, the gateway's authorizer has said; what they may
do is decided here. What only a repair or an erasure needs is imported there: most calls are neither.
"""
# ruff: noqa: PLC0415 - see above

import logging
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any
from urllib.parse import unquote

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from pydantic import BaseModel

from checkout_recovery import wiring
from checkout_recovery.errors import (
    FieldError,
    Forbidden,
    MalformedRequest,
    MethodNotAllowed,
    NotFound,
    ProblemError,
    Unauthenticated,
)
from checkout_recovery.http_api import JSON_TYPE, json_of, problem
from checkout_recovery.observability import logger
from checkout_recovery.subscriptions.answers import (
    CaptureAnswer,
    CheckoutAnswer,
    CircuitAnswer,
    CircuitsAnswer,
    DeadLetterPage,
    DeliveryAnswer,
    DeliveryPage,
    ErasedAnswer,
    ErasureAnswer,
    ErasurePageAnswer,
    HealthAnswer,
    QueueAnswer,
    QueuesAnswer,
    RecoverAnswer,
    ReplayAnswer,
    SampleAnswer,
    StoreAnswer,
    StorePage,
    StoreWithToken,
    SubscriptionAnswer,
    SubscriptionPage,
    SubscriptionWithKey,
)
from checkout_recovery.subscriptions.circuit import Circuit
from checkout_recovery.subscriptions.keep_subscriptions import MAX_PAGE
from checkout_recovery.subscriptions.requests import (
    DeliveryQuery,
    ErasureQuery,
    Model,
    ProviderRequest,
    RecoverRequest,
    RequeueRequest,
    RotateRequest,
    SubscriptionChange,
    SubscriptionRequest,
    read,
)
from checkout_recovery.subscriptions.store import STORE_ID, StoreSettings
from checkout_recovery.subscriptions.subscription import Subscription
from checkout_recovery.tables.captures import OFF, Capture
from checkout_recovery.tables.deliveries import Choice, State
from checkout_recovery.tables.erasures import By

# At DEBUG the router logs the path of what it does not know, and a path may hold a shopper's phone.
logging.getLogger("aws_lambda_powertools.event_handler").setLevel(logging.INFO)

app = APIGatewayHttpResolver()

_DECODED_AT_MOST = 2
_RESERVE_MILLISECONDS = 14_000
"""What the message or the key at hand may take when every call is slow, before Lambda ends the function."""
_NEVER_CACHED = {"cache-control": "no-store"}  # a secret that is shown once must not stay anywhere


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    if _is_scheduled(event):
        return _end_keys(context)
    return app.resolve(event, context)


def _is_scheduled(event: Mapping[str, Any]) -> bool:
    """Whether the hourly schedule calls. What a caller over HTTP sends lies deeper in an event than this."""
    return event.get("detail-type") == "Scheduled Event" and "requestContext" not in event


def _end_keys(context: Any) -> dict[str, Any]:
    ended = wiring.end_keys()(lambda: context.get_remaining_time_in_millis() > _RESERVE_MILLISECONDS)
    told = {"removed": ended.removed, "failed": ended.failed, "finished": ended.finished}
    logger.info("Ended keys removed", extra={"request_id": context.aws_request_id} | told)
    return told


# ---------------------------------------------------------------- routes


@app.get("/v1/health")
def health() -> Response[str]:
    return _answer(200, HealthAnswer())


@app.put("/v1/stores/<store_id>")
def put_store(store_id: str) -> Response[str]:
    _allow_operator()
    settings = _body(StoreSettings)
    put = wiring.store_keeper().put(store_id, settings, new_token=_flag("rotate_token"))
    _log("Store registered" if put.created else "Store changed", store_id=store_id, new_token=bool(put.token))
    answer = StoreAnswer.of(put.store)
    if put.token:
        answer = StoreWithToken(**dict(answer), store_token=put.token)
    return _answer(201 if put.created else 200, answer)


@app.get("/v1/stores/<store_id>")
def get_store(store_id: str) -> Response[str]:
    _allow_operator()
    return _answer(200, StoreAnswer.of(wiring.store_keeper().get(store_id)))


@app.delete("/v1/stores/<store_id>")
def delete_store(store_id: str) -> Response[str]:
    _allow_operator()
    wiring.store_keeper().delete(store_id)
    _log("Store deleted", store_id=store_id)
    return _answer(204)


@app.put("/v1/stores/<store_id>/providers/<provider>")
def put_provider(store_id: str, provider: str) -> Response[str]:
    _allow(store_id)
    wiring.store_keeper().set_provider(store_id, provider, _body(ProviderRequest))
    _log("Provider's secret changed", store_id=store_id, provider=provider)
    return _answer(204)


@app.post("/v1/stores/<store_id>/subscriptions")
def create_subscription(store_id: str) -> Response[str]:
    _allow(store_id)
    keyed = wiring.subscription_keeper().add(store_id, _body(SubscriptionRequest))
    subscription = keyed.subscription
    _log("Subscription added", store_id=store_id, subscription_id=subscription.subscription_id)
    # Nothing is read any more that could fail: the key is told this once.
    circuit = Circuit.untried(store_id, subscription.subscription_id, subscription.created_at)
    answer = SubscriptionAnswer.of(subscription, circuit)
    return _answer(201, SubscriptionWithKey(**dict(answer), webhook_key=keyed.key))


@app.get("/v1/stores/<store_id>/subscriptions")
def list_subscriptions(store_id: str) -> Response[str]:
    _allow(store_id)
    wiring.store_keeper().get(store_id)
    page = wiring.subscription_keeper().page(store_id, _query().get("cursor", ""), _limit())
    circuits = wiring.registry().circuits([(store_id, each.subscription_id) for each in page.items])
    subscriptions = [SubscriptionAnswer.of(each, circuits.get(each.subscription_id)) for each in page.items]
    return _answer(200, SubscriptionPage(subscriptions=subscriptions, next_cursor=page.next_cursor))


@app.get("/v1/stores/<store_id>/subscriptions/<subscription_id>")
def get_subscription(store_id: str, subscription_id: str) -> Response[str]:
    _allow(store_id)
    return _answer(200, _told_of(wiring.subscription_keeper().get(store_id, subscription_id)))


@app.patch("/v1/stores/<store_id>/subscriptions/<subscription_id>")
def change_subscription(store_id: str, subscription_id: str) -> Response[str]:
    _allow(store_id)
    changed = wiring.subscription_keeper().change(store_id, subscription_id, _body(SubscriptionChange))
    _log("Subscription changed", store_id=store_id, subscription_id=subscription_id)
    return _answer(200, _told_of(changed))


@app.delete("/v1/stores/<store_id>/subscriptions/<subscription_id>")
def delete_subscription(store_id: str, subscription_id: str) -> Response[str]:
    _allow(store_id)
    wiring.subscription_keeper().remove(store_id, subscription_id)
    _log("Subscription deleted", store_id=store_id, subscription_id=subscription_id)
    return _answer(204)


@app.post("/v1/stores/<store_id>/subscriptions/<subscription_id>/rotate")
def rotate_key(store_id: str, subscription_id: str) -> Response[str]:
    _allow(store_id)
    overlap = timedelta(seconds=_body(RotateRequest).overlap_seconds)
    keyed = wiring.subscription_keeper().rotate(store_id, subscription_id, overlap)
    _log("Webhook key rotated", store_id=store_id, subscription_id=subscription_id)
    answer = _told_of(keyed.subscription)
    return _answer(200, SubscriptionWithKey(**dict(answer), webhook_key=keyed.key))


@app.post("/v1/stores/<store_id>/subscriptions/<subscription_id>/test")
def send_sample(store_id: str, subscription_id: str) -> Response[str]:
    _allow(store_id)
    keeper = wiring.subscription_keeper()
    subscription = keeper.get(store_id, subscription_id)
    outcome = wiring.sample_sender().send(subscription)
    if outcome.delivered:
        keeper.take_up(subscription)
    answer = SampleAnswer(
        delivered=outcome.delivered,
        status=outcome.status,
        failure=outcome.failure,
        latency_ms=outcome.latency_ms,
    )
    _log("Sample sent", store_id=store_id, subscription_id=subscription_id, delivered=outcome.delivered)
    return _answer(200, answer)


@app.get("/v1/stores/<store_id>/subscriptions/<subscription_id>/deliveries")
def list_deliveries(store_id: str, subscription_id: str) -> Response[str]:
    _allow(store_id)
    limit = _limit()
    asked = read(DeliveryQuery, {name: text for name, text in _query().items() if name != "limit"})
    subscription = wiring.subscription_keeper().get(store_id, subscription_id)
    states = (asked.state,) if asked.state else ()
    choice = Choice(states=states, reason=asked.reason, checkout_id=asked.checkout_id)
    page = wiring.look_up().deliveries(subscription, limit, choice, since=asked.since, cursor=asked.cursor)
    deliveries = [DeliveryAnswer.of(record) for record in page.records]
    return _answer(200, DeliveryPage(deliveries=deliveries, next_cursor=page.next_cursor))


# ---------------------------------------------------------------- repair


@app.post("/v1/stores/<store_id>/subscriptions/<subscription_id>/deliveries/<delivery_id>/replay")
def replay_delivery(store_id: str, subscription_id: str, delivery_id: str) -> Response[str]:
    _allow(store_id)
    subscription = wiring.subscription_keeper().get(store_id, subscription_id)
    wiring.replay().one(subscription, delivery_id)
    _log("Replay queued", store_id=store_id, subscription_id=subscription_id, delivery_id=delivery_id)
    return _answer(202, ReplayAnswer(delivery_id=delivery_id))


@app.post("/v1/stores/<store_id>/subscriptions/<subscription_id>/recover")
def recover(store_id: str, subscription_id: str) -> Response[str]:
    from checkout_recovery.repair.replay import Wanted

    _allow(store_id)
    asked = _body(RecoverRequest)
    wanted = Wanted(
        since=asked.since,
        until=asked.until,
        states=tuple(State(state) for state in dict.fromkeys(asked.states)),
        per_second=asked.per_second,
        cursor=asked.cursor,
    )
    subscription = wiring.subscription_keeper().get(store_id, subscription_id)
    done = wiring.replay().failed(subscription, wanted)
    _log("Recovery queued", store_id=store_id, subscription_id=subscription_id, queued=done.queued)
    answer = RecoverAnswer(looked_at=done.looked_at, queued=done.queued, next_cursor=done.next_cursor)
    return _answer(202, answer)


@app.get("/v1/stores")
def list_stores() -> Response[str]:
    _allow_operator()
    cursor = _query().get("cursor", "")
    if cursor and not STORE_ID.fullmatch(cursor):
        raise MalformedRequest(errors=[FieldError("cursor", "next_cursor of the page before")])
    page = wiring.registry().stores(_limit(), cursor)
    stores = [StoreAnswer.of(store) for store in page.items]
    return _answer(200, StorePage(stores=stores, next_cursor=page.next_cursor))


@app.get("/v1/circuits")
def list_circuits() -> Response[str]:
    _allow_operator()
    registry = wiring.registry()
    known = registry.circuits(registry.open_circuits()).values()
    circuits = (circuit for circuit in known if not circuit.is_untried)  # one was reset meanwhile
    longest_first = sorted(circuits, key=attrgetter("failing_since", "subscription_id"))
    return _answer(200, CircuitsAnswer(circuits=[CircuitAnswer.of(circuit) for circuit in longest_first]))


@app.get("/v1/dead-letters")
def count_dead_letters() -> Response[str]:
    _allow_operator()
    depths = wiring.dead_letter_queues().depths()
    queues = [QueueAnswer(name=name, **asdict(depth)) for name, depth in depths.items()]
    return _answer(200, QueuesAnswer(queues=queues))


@app.get("/v1/dead-letters/<queue>")
def look_at_dead_letters(queue: str) -> Response[str]:
    from checkout_recovery.repair.tell import told_of

    _allow_operator()
    letters = wiring.dead_letter_queues().look(queue, _limit(), _has_time)
    return _answer(200, DeadLetterPage(messages=[told_of(queue, letter) for letter in letters]))


@app.post("/v1/dead-letters/<queue>/requeue")
def requeue(queue: str) -> Response[str]:
    from checkout_recovery.repair.tell import requeued

    _allow_operator()
    asked = _body(RequeueRequest)
    queues = wiring.dead_letter_queues()
    treat = queues.discard_refused if asked.discard_refused else queues.requeue
    done = requeued(treat(queue, asked.limit, asked.store_id, _has_time))
    counts = {name: getattr(done, name) for name in ("requeued", "kept", "failed", "discarded")}
    _log("Dead letters requeued", **counts)
    return _answer(200, done)


def _has_time() -> bool:
    """Whether another message may be begun."""
    return bool(app.lambda_context.get_remaining_time_in_millis() > _RESERVE_MILLISECONDS)


def _told_of(subscription: Subscription) -> SubscriptionAnswer:
    circuits = wiring.registry().circuits([(subscription.store_id, subscription.subscription_id)])
    return SubscriptionAnswer.of(subscription, circuits.get(subscription.subscription_id))


# ---------------------------------------------------------------- checkouts


@app.get("/v1/stores/<store_id>/checkouts/(?s:.+)")  # the router's own pattern knows no slash in an id
def get_checkout(store_id: str) -> Response[str]:
    _allow(store_id)
    found = wiring.look_up().checkout(store_id, _spelled(app.current_event.path.partition("/checkouts/")[2]))
    return _answer(200, CheckoutAnswer.of(found.checkout, found.deliveries))


# ---------------------------------------------------------------- shoppers erased, refused requests captured


@app.delete("/v1/stores/<store_id>/shoppers/(?s:.+)")  # as a checkout's id: an address may hold a slash
def erase_shopper(store_id: str) -> Response[str]:
    from checkout_recovery.erasure import contact_of

    _allow(store_id)
    _check_store_id(store_id)
    contact = contact_of(_spelled(app.current_event.path.partition("/shoppers/")[2]))
    erased = wiring.erasures().erase(store_id, contact, By(_caller()["scope"]), datetime.now(UTC))
    done = erased.erasure
    _log("Shopper erased", store_id=store_id, erasure_id=done.erasure_id, checkouts=done.checkouts)
    answer = ErasedAnswer(erasure_id=done.erasure_id, checkouts=done.checkouts, handles=erased.handles)
    return _answer(200, answer)


@app.get("/v1/stores/<store_id>/erasures")
def list_erasures(store_id: str) -> Response[str]:
    _allow(store_id)
    _check_store_id(store_id)
    limit = _limit()
    asked = read(ErasureQuery, {name: text for name, text in _query().items() if name != "limit"})
    page = wiring.erasure_log().page(store_id, limit, asked.cursor)
    erasures = [ErasureAnswer.of(erasure) for erasure in page.items]
    return _answer(200, ErasurePageAnswer(erasures=erasures, next_cursor=page.next_cursor))


@app.put("/v1/stores/<store_id>/capture")
def start_capture(store_id: str) -> Response[str]:
    _allow_operator()
    _check_store_id(store_id)
    capture = wiring.captures().start(store_id, datetime.now(UTC))
    _log("Capture started", store_id=store_id)
    return _answer(200, _capture_answer(capture))


@app.get("/v1/stores/<store_id>/capture")
def get_capture(store_id: str) -> Response[str]:
    _allow_operator()
    wiring.store_keeper().get(store_id)
    return _answer(200, _capture_answer(wiring.captures().get(store_id, datetime.now(UTC))))


@app.delete("/v1/stores/<store_id>/capture")
def stop_capture(store_id: str) -> Response[str]:
    _allow_operator()
    _check_store_id(store_id)
    wiring.captures().stop(store_id)
    _log("Capture stopped", store_id=store_id)
    return _answer(200, _capture_answer(OFF))


def _capture_answer(capture: Capture) -> CaptureAnswer:
    return CaptureAnswer(until=capture.until, left=capture.left)


def _check_store_id(store_id: str) -> None:
    """Refuses what no store can be called. What a store that is gone has left can still be erased."""
    if not STORE_ID.fullmatch(store_id):
        raise NotFound("There is no such store")


# ---------------------------------------------------------------- who may


def _caller() -> Mapping[str, Any]:
    context = app.current_event.raw_event.get("requestContext", {})
    return (context.get("authorizer") or {}).get("lambda") or {}


def _allow_operator() -> None:
    scope = _caller().get("scope")
    if not scope:
        raise Unauthenticated
    if scope != "admin":
        raise Forbidden("This needs the admin token")


def _allow(store_id: str) -> None:
    """Lets the operator and the store itself in; another store does not learn whether there is such a one."""
    caller = _caller()
    if not caller.get("scope"):
        raise Unauthenticated
    if caller["scope"] != "admin" and (caller["scope"], caller.get("store_id")) != ("store", store_id):
        raise Forbidden("The token is for another store")


# ---------------------------------------------------------------- requests and answers


def _body(model: type[Model]) -> Model:
    return read(model, json_of(app.current_event.raw_event))


def _query() -> Mapping[str, str]:
    return app.current_event.raw_event.get("queryStringParameters") or {}


def _flag(name: str) -> bool:
    value = _query().get(name, "false")
    if value not in ("true", "false"):
        raise MalformedRequest(errors=[FieldError(name, "true or false")])
    return value == "true"


def _limit() -> int:
    value = _query().get("limit", str(MAX_PAGE))
    if not (
        value.isascii()
        and value.isdigit()
        and len(value) <= len(str(MAX_PAGE))
        and 0 < int(value) <= MAX_PAGE
    ):
        raise MalformedRequest(errors=[FieldError("limit", f"1 to {MAX_PAGE}")])
    return int(value)


def _spelled(arrived: str) -> list[str]:
    """The ids that the end of a path may mean: as it arrived, and as that decodes.

    AWS's HTTP API hands a path over decoded twice, cuts it at a `?` that comes of the first time and refuses
    a stray `%` (undocumented; events captured in us-west-2 in July 2026, github.com/hotsock/voker). ministack
    decodes all but `%25`. So an id with one of these is sure to arrive only if it was encoded twice.
    """
    ids = [arrived]
    while len(ids) <= _DECODED_AT_MOST and (plain := unquote(ids[-1])) != ids[-1]:
        ids.append(plain)
    return ids


def _answer(status: int, body: BaseModel | None = None) -> Response[str]:
    text = body.model_dump_json() if body else ""
    return Response(status, content_type=JSON_TYPE if body else None, body=text, headers=_NEVER_CACHED)


def _problem(error: ProblemError) -> Response[str]:
    told = problem(error)
    return Response(told["statusCode"], body=told["body"], headers=told["headers"])


@app.exception_handler(ProblemError)  # type: ignore[untyped-decorator] # Powertools says no more of it
def _refuse(error: ProblemError) -> Response[str]:
    # The failing fields stay out: an unknown field is called whatever the caller liked.
    cause = type(error.__cause__).__name__
    _log("Request refused", problem=error.type, cause=cause, faults=len(error.errors))
    return _problem(error)


@app.not_found
def _no_route(_: NotFoundError) -> Response[str]:
    path = app.current_event.path
    methods = {route.method for route in app._static_routes + app._dynamic_routes if route.rule.match(path)}  # noqa: SLF001
    if not methods:
        return _problem(NotFound())
    response = _problem(MethodNotAllowed())
    response.headers["allow"] = ", ".join(sorted(methods))
    return response


def _log(message: str, **fields: str | int) -> None:
    route = app.current_event.raw_event.get("routeKey")
    request = {"request_id": app.lambda_context.aws_request_id, "route": route}
    logger.info(message, extra=request | fields)
