"""Starts ministack, in its own environment, with what it lacks to be AWS to this stack.

A child of `local.cloud`, run by .venv-cloud's interpreter; it imports nothing of the project. It ends when
its standard input closes, so it cannot outlive the process that started it, however that one ends.

Each correction below names what AWS does. They were found with ministack 1.5.33.
"""

import contextlib
import contextvars
import hashlib
import json
import os
import signal
import sys
import tempfile
import threading
import time
import types
import uuid
import zipfile
from pathlib import Path
from typing import Any

from ministack import app
from ministack.core import iam_actions, lambda_runtime
from ministack.services import apigateway, eventbridge, lambda_svc, sqs
from ministack.services.cloudformation import provisioners

_body_is_utf8: contextvars.ContextVar[bool] = contextvars.ContextVar("body_is_utf8", default=True)


def keep_body_bytes() -> None:
    """Hands over a body that is not UTF-8 in base64; ministack replaces its bytes, and no signature fits."""
    invoke = apigateway._invoke_lambda_proxy
    is_text = apigateway._v2_request_body_is_text

    async def invoke_with_body_noted(*args: Any, **kwargs: Any) -> Any:
        _body_is_utf8.set(_is_utf8(args[6] or b""))
        return await invoke(*args, **kwargs)

    apigateway._invoke_lambda_proxy = invoke_with_body_noted
    apigateway._v2_request_body_is_text = lambda content_type: is_text(content_type) and _body_is_utf8.get()


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def retry_failed_stream_records() -> None:
    """Brings a stream's batch again when the function reports a failed record; ministack would pass over it.

    AWS starts again at the failed record, this at the batch's beginning: more repeats, nothing lost.
    """
    execute = lambda_svc._execute_function

    def execute_and_look(function: dict[str, Any], event: Any, *args: Any, **kwargs: Any) -> Any:
        result = execute(function, event, *args, **kwargs)
        if _is_stream_batch(event) and _failed_records(result.get("body")):
            return {**result, "error": True, "body": {"errorType": "BatchItemFailures"}}
        return result

    lambda_svc._execute_function = execute_and_look


def _is_stream_batch(event: Any) -> bool:
    records = event.get("Records", []) if isinstance(event, dict) else []
    return any(record.get("eventSource") == "aws:dynamodb" for record in records)


def _failed_records(body: Any) -> bool:
    if isinstance(body, str | bytes):
        body = json.loads(body or "{}")
    return isinstance(body, dict) and bool(body.get("batchItemFailures"))


def authorize_batches() -> None:
    """Authorises a batch as AWS does: by the action and the resources of its parts."""
    extract_action, extract_arn = iam_actions.extract_iam_action, iam_actions.extract_resource_arn

    def extract_single_action(service: str, *args: Any) -> Any:
        action = extract_action(service, *args)
        return action.removesuffix("Batch") if service == "sqs" and action else action

    def extract_arn_of_all(service: str, *args: Any) -> Any:
        arn = extract_arn(service, *args)
        if service != "ssm" or arn != "*":
            return arn
        _method, _path, _headers, body, _query, region, account_id = args
        # What holds for the part that all names begin with holds for each of them.
        common = os.path.commonprefix(json.loads(body or b"{}").get("Names", []))  # noqa: RUF071 - not a path
        return f"arn:aws:ssm:{region}:{account_id}:parameter{common}" if common else "*"

    iam_actions.extract_iam_action = extract_single_action
    iam_actions.extract_resource_arn = extract_arn_of_all


def name_what_was_invoked() -> None:
    """Tells a function that a rule invoked by an alias so, in `invoked_function_arn`.

    ministack names the version that the alias stands for, and a role that may invoke the alias may not that.
    """
    find = lambda_svc._get_func_record_for_ref

    def find_as_invoked(reference: str) -> Any:
        function, config, name = find(reference)
        if config and reference.startswith("arn:"):
            config = {**config, "FunctionArn": reference}
        return function, config, name

    lambda_svc._get_func_record_for_ref = find_as_invoked


def keep_to_the_minute() -> None:
    """Looks each second for rules that are to run; looking each ten, it let a minute last seventy."""
    eventbridge._SCHEDULER_TICK_INTERVAL = 1


def poll_each_source_by_itself() -> None:
    """Lets no source of events wait for another's traffic.

    ministack's one poller looks 50 ms later after a look that found nothing: a stream's record came late for
    each message that a queue had just delayed.
    """
    lambda_svc._ESM_IDLE_WAKE_GAP_SECONDS = 0


def gather_a_queues_messages() -> None:
    """Lets messages gather for as long as the batching window says, or until a batch is full.

    ministack hands each over as it comes.
    """
    receive = sqs._receive_messages_for_esm
    gathering_since: dict[str, float] = {}

    def receive_gathered(queue_url: str, size: Any) -> Any:
        wall, now = time.time(), time.monotonic()
        queue = sqs._queues.get(queue_url) or {"messages": []}
        visible = sum(message.get("visible_at", wall) <= wall for message in queue["messages"])
        since = gathering_since.setdefault(queue_url, now) if visible else now
        if 0 < visible < int(size or 1) and now < since + _batching_window(queue_url):
            return []
        gathering_since.pop(queue_url, None)
        return receive(queue_url, size)

    sqs._receive_messages_for_esm = receive_gathered


def _batching_window(queue_url: str) -> int:
    name = queue_url.rpartition("/")[2]
    sources = [one for one in list(lambda_svc._esms._data.values()) if one.get("Enabled", True)]
    windows = [
        int(one.get("MaximumBatchingWindowInSeconds") or 0)
        for one in sources
        if one.get("EventSourceArn", "").rpartition(":")[2] == name
    ]
    return max(windows, default=0)


def take_alarms_on_metric_math() -> None:
    """Keeps an alarm on metric math; ministack refuses it, and with it the stack.

    It is kept with its first metric, and watches nothing: there are no functions' metrics here.
    """
    record = provisioners._cw_metric_alarm_record

    def record_with_math(name: str, properties: dict[str, Any]) -> Any:
        queries = properties.get("Metrics") or []
        first: dict[str, Any] = next(
            (query["MetricStat"]["Metric"] for query in queries if "MetricStat" in query), {}
        )
        described = {key: value for key, value in properties.items() if key != "Metrics"} | first
        return {**record(name, described), **({"Metrics": queries} if queries else {})}

    provisioners._cw_metric_alarm_record = record_with_math


class UnpackedOnce(zipfile.ZipFile):
    """An archive of which all who unpack it share the files."""

    def extractall(self, path: Any = None, *_: Any) -> None:
        digest = hashlib.sha256(Path(str(self.filename)).read_bytes()).hexdigest()
        shared = Path(tempfile.gettempdir()) / "unpacked" / digest
        if not shared.exists():
            own = shared.with_name(f"{digest}-{uuid.uuid4()}")
            super().extractall(own)
            with contextlib.suppress(OSError):  # somebody else was faster
                own.rename(shared)
        for file in shared.iterdir():
            (Path(path) / file.name).symlink_to(file)


def unpack_layers_once() -> None:
    """Lets all execution environments share their layers. It saves 2,000 files and a second for each."""
    lambda_runtime.zipfile = types.SimpleNamespace(**{**vars(zipfile), "ZipFile": UnpackedOnce})


def end_with_parent() -> None:
    def wait_for_parent() -> None:
        sys.stdin.read()
        os.killpg(os.getpgrp(), signal.SIGKILL)

    threading.Thread(target=wait_for_parent, daemon=True).start()


if __name__ == "__main__":
    keep_body_bytes()
    retry_failed_stream_records()
    authorize_batches()
    name_what_was_invoked()
    keep_to_the_minute()
    poll_each_source_by_itself()
    gather_a_queues_messages()
    take_alarms_on_metric_math()
    unpack_layers_once()
    end_with_parent()
    app.main()
