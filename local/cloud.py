"""The local cloud: ministack with the real template on it, deployed by the real `sam deploy`.

`make local` (`python -m local.cloud`) starts it and stays; the demo and the tests use `local_cloud()`. None
of it outlives the process that started it. The user's credentials are not read: children get made-up ones.
"""

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import NoReturn

import boto3
from botocore.config import Config

from local.admin_token import make_admin_token
from local.http_api import import_routes

ROOT = Path(__file__).parents[1]
STATE = ROOT / ".local"
STACK_FILE = STATE / "stack.json"
BUILD = STATE / "build"
CLOUD_PYTHON = ROOT / ".venv-cloud" / "bin" / "python"
SAM = ROOT / ".venv" / "bin" / "sam"
DEFAULT_PORT = 4566
LOOPBACK = "127.0.0.1"
# To ministack this is the account's root; to AWS it is nobody.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
BUCKET = "artefacts"
# Requests to the local cloud never go through a proxy that the environment may name.
_http = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class LocalCloudError(Exception):
    """The local cloud could not be started; the message says which step failed."""


@dataclass(frozen=True)
class Stack:
    """The deployed stack, as `.local/stack.json` has it."""

    api_url: str
    endpoint_url: str
    region: str
    stack_name: str
    admin_token: str = field(repr=False)
    outputs: dict[str, str]
    """The template's outputs: names of tables, URLs of queues."""

    @property
    def aws(self) -> boto3.Session:
        """Clients for the local cloud: `stack.aws.client("sqs", endpoint_url=stack.endpoint_url)`."""
        return _session(self.region)

    def logs(self) -> list[str]:
        """Every line that a function or the HTTP API has logged so far, of all log groups."""
        with closing(self.aws.client("logs", endpoint_url=self.endpoint_url, config=_NO_PROXY)) as client:
            groups = [
                group["logGroupName"]
                for page in client.get_paginator("describe_log_groups").paginate()
                for group in page["logGroups"]
            ]
            return [
                event["message"]
                for group in groups
                for page in client.get_paginator("filter_log_events").paginate(logGroupName=group)
                for event in page["events"]
            ]


_NO_PROXY = Config(proxies={}, retries={"total_max_attempts": 2})


def _session(region: str) -> boto3.Session:
    return boto3.Session(
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        region_name=region,
    )


@contextlib.contextmanager
def local_cloud(
    port: int | None = None, host: str = LOOPBACK, parameters: Sequence[str] = ()
) -> Iterator[Stack]:
    """Starts the local cloud, deploys the stack, and takes both away at the end.

    Args:
        port: where ministack listens; by default 4566, or a free port where that is taken.
        host: the address that it listens on. Functions in `sam local`'s containers need 0.0.0.0.
        parameters: of the template, ``Name=value``, besides those that samconfig.toml gives.

    Raises:
        LocalCloudError: a step failed; what it printed is in the message.
    """
    STATE.mkdir(exist_ok=True)
    config = tomllib.loads((ROOT / "samconfig.toml").read_text())["local"]
    region, stack_name = (config["global"]["parameters"][name] for name in ("region", "stack_name"))
    chosen_port = _free_port((port,) if port else (DEFAULT_PORT, 0))
    if port is None and chosen_port != DEFAULT_PORT:
        _say(f"port {DEFAULT_PORT} is taken, by another local cloud or something else")
    endpoint_url = f"http://{LOOPBACK}:{chosen_port}"
    with (
        _terminable(),
        tempfile.TemporaryDirectory(prefix="checkout-recovery-", ignore_cleanup_errors=True) as scratch,
        _ministack(host, chosen_port, region, Path(scratch)),
    ):
        with _alone():
            _build()
            given = config["deploy"]["parameters"]["parameter_overrides"]
            _deploy(endpoint_url, region, [*given, *parameters])
        stack = _finish(endpoint_url, region, stack_name)
        with _published(stack):
            yield stack


@contextlib.contextmanager
def _published(stack: Stack) -> Iterator[None]:
    """Says in `.local/` how to reach the stack, unless another that runs says so of itself."""
    files = STACK_FILE, STATE / "env.json"
    if _another_runs():
        yield
        return
    _write_private(files[0], json.dumps(asdict(stack), indent=2))
    _write_private(files[1], json.dumps(_sam_local_environment(stack), indent=2))
    try:
        yield
    finally:
        for file in files:
            file.unlink(missing_ok=True)


def _another_runs() -> bool:
    if not STACK_FILE.exists():
        return False
    url = json.loads(STACK_FILE.read_text())["endpoint_url"]
    try:
        with _http.open(f"{url}/_ministack/health", timeout=5):
            return True
    except OSError:
        return False  # it was killed before it could take its file away


def _free_port(wanted: Sequence[int]) -> int:
    for port in wanted:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((LOOPBACK, port))
            return int(probe.getsockname()[1])
    raise LocalCloudError(f"Port {wanted[0]} is taken.")


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Lets any signal that asks for the end unwind, so that everything is taken away on the way.

    SIGINT too: a shell starts what it puts into the background with SIGINT ignored.
    """

    def unwind(signum: int, _frame: FrameType | None) -> NoReturn:
        sys.exit(128 + signum)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {
        signal.SIGTERM: unwind,
        signal.SIGHUP: unwind,
        signal.SIGINT: signal.default_int_handler,
    }
    previous = {signum: signal.signal(signum, handler) for signum, handler in handlers.items()}
    try:
        yield
    finally:
        for signum, earlier in previous.items():
            signal.signal(signum, earlier)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """One build and deploy at a time: they share a folder."""
    with (STATE / "build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _ministack(host: str, port: int, region: str, scratch: Path) -> Iterator[None]:
    _say(f"starting ministack on port {port}")
    log = scratch / "ministack.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [CLOUD_PYTHON, ROOT / "local" / "ministack_server.py"],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=scratch,
            env=_child_environment(
                region,
                GATEWAY_PORT=str(port),
                BIND_HOST=host,
                MINISTACK_HOST=LOOPBACK,
                MINISTACK_REGION=region,
                AUTH="true",  # enforces the roles' policies, as AWS does
                TMPDIR=str(scratch),
                HOME=str(scratch),
                PYTHONPATH="",
            ),
        )
    try:
        _await_ready(process, f"http://{LOOPBACK}:{port}/_ministack/health", log)
        yield
    finally:
        _end(process)


def _await_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    for _ in range(300):
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError), _http.open(url, timeout=5):
            if process.poll() is None:  # or somebody else answered
                return
        time.sleep(0.1)
    raise LocalCloudError(f"ministack did not start:\n{log.read_text(errors='replace')[-4000:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends a process and all that it started, which share its process group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=3)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe:
            pipe.close()


def _child_environment(region: str, **extra: str) -> dict[str, str]:
    """What a child gets: no AWS setting of the user's, made-up credentials, no proxy for the loopback."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return {
        **inherited,
        **CREDENTIALS,
        "AWS_DEFAULT_REGION": region,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": f"{LOOPBACK},localhost",
        "no_proxy": f"{LOOPBACK},localhost",
        "SAM_CLI_TELEMETRY": "0",
        **extra,
    }


def _build() -> None:
    """Builds the layers for the Python that ministack runs on, unless nothing has changed since."""
    digest, stamp = _digest_of_sources(), STATE / "build.digest"
    if BUILD.exists() and stamp.exists() and stamp.read_text() == digest:
        _say("build is up to date")
        return
    _say("building the layers")
    stamp.unlink(missing_ok=True)
    uv = ROOT / ".tools" / "bin" / "uv"
    environment = {"LAYER_PYTHON": str(CLOUD_PYTHON), "LAYER_PLATFORM": "", "UV": str(uv)}
    _sam("build", "--build-dir", str(BUILD), **environment)
    stamp.write_text(digest)


def _digest_of_sources() -> str:
    files = [ROOT / "template.yaml", ROOT / "uv.lock"]
    files += [
        file for file in (ROOT / "layers").rglob("*") if file.is_file() and "__pycache__" not in file.parts
    ]
    digest = hashlib.sha256((ROOT / ".venv-cloud" / "pyvenv.cfg").read_bytes())
    for file in sorted(files):
        digest.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def _deploy(endpoint_url: str, region: str, overrides: list[str]) -> None:
    _say("deploying the template")
    with closing(_session(region).client("s3", endpoint_url=endpoint_url, config=_NO_PROXY)) as s3:
        s3.create_bucket(
            Bucket=BUCKET,
            CreateBucketConfiguration={"LocationConstraint": region},  # type: ignore[typeddict-item] # any
        )
    for cache in (ROOT / "functions").rglob("__pycache__"):
        shutil.rmtree(cache, ignore_errors=True)  # or it would be packed with the function
    _sam(
        "deploy",
        *("--template-file", str(BUILD / "template.yaml"), "--s3-bucket", BUCKET, "--no-progressbar"),
        *("--parameter-overrides", *overrides, f"EndpointUrl={endpoint_url}"),
        AWS_ENDPOINT_URL=endpoint_url,
        SAM_CLI_POLL_DELAY="0.1",
    )


def _sam(command: str, *arguments: str, **environment: str) -> None:
    config = tomllib.loads((ROOT / "samconfig.toml").read_text())["local"]["global"]["parameters"]
    process = subprocess.Popen(
        [SAM, command, "--config-file", ROOT / "samconfig.toml", "--config-env", "local", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        cwd=ROOT,
        env=_child_environment(config["region"], **environment),
    )
    try:
        output, _ = process.communicate()
    finally:
        _end(process)
    if process.returncode:
        raise LocalCloudError(f"sam {command} failed:\n{output.decode(errors='replace')[-6000:]}")


def _finish(endpoint_url: str, region: str, stack_name: str) -> Stack:
    """Does after the deploy what ministack left undone and what CloudFormation cannot do."""
    session = _session(region)
    with (
        closing(
            session.client("cloudformation", endpoint_url=endpoint_url, config=_NO_PROXY)
        ) as cloudformation,
        closing(session.client("apigatewayv2", endpoint_url=endpoint_url, config=_NO_PROXY)) as gateway,
        closing(session.client("ssm", endpoint_url=endpoint_url, config=_NO_PROXY)) as ssm,
    ):
        _say(f"{import_routes(cloudformation, gateway, stack_name)} routes")
        (description,) = cloudformation.describe_stacks(StackName=stack_name)["Stacks"]
        outputs = {output["OutputKey"]: output["OutputValue"] for output in description["Outputs"]}
        admin_token = make_admin_token(ssm, stack_name)
    api_url = f"{endpoint_url}/_aws/execute-api/{outputs['HttpApiId']}/$default"
    with _http.open(f"{api_url}/v1/health", timeout=60) as response:
        _say(f"GET /v1/health answers {response.status}")
    return Stack(api_url, endpoint_url, region, stack_name, admin_token, outputs)


def _sam_local_environment(stack: Stack) -> dict[str, dict[str, str]]:
    """What `sam local invoke --env-vars .local/env.json` needs to reach this stack from its container."""
    port = stack.endpoint_url.rsplit(":", 1)[1]
    outputs = stack.outputs
    return {
        "Parameters": {
            "AWS_ENDPOINT_URL": f"http://host.docker.internal:{port}",
            "STACK_NAME": stack.stack_name,
            "CHECKOUT_TABLE": outputs["CheckoutTableName"],
            "REGISTRY_TABLE": outputs["RegistryTableName"],
            "DELIVERY_TABLE": outputs["DeliveryTableName"],
            "SHOPPER_TABLE": outputs["ShopperTableName"],
            "RETRY_QUEUE_URL": outputs["RetryQueueUrl"],
            "REJECTED_EVENTS_QUEUE_URL": outputs["RejectedEventsQueueUrl"],
        }
    }


def _write_private(file: Path, text: str) -> None:
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as output:
        output.write(text + "\n")


def _say(message: str) -> None:
    print(f"local cloud: {message}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the whole stack on this machine, until Ctrl-C.")
    parser.add_argument("--port", type=int, help=f"default: {DEFAULT_PORT}, or a free one")
    parser.add_argument("--host", default=LOOPBACK, help="0.0.0.0 lets `sam local invoke` reach it")
    arguments = parser.parse_args()
    try:
        with local_cloud(arguments.port, arguments.host) as stack:
            _say(f"ready: {stack.api_url}")
            file = STACK_FILE.relative_to(ROOT)
            if json.loads(STACK_FILE.read_text())["endpoint_url"] == stack.endpoint_url:
                _say(f"the rest is in {file}; Ctrl-C ends it")
            else:
                _say(f"{file} and `recovery` stay with the one that was there before; Ctrl-C ends this one")
            threading.Event().wait()
    except LocalCloudError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        _say("ended")
    return 0


if __name__ == "__main__":
    sys.exit(main())
