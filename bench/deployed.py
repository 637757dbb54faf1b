"""What a function finds in Lambda, built here: both layers, compiled, and the runtime's boto3.

The layers come from their own Makefiles, for the Python and the processor at hand. Of this environment's
other packages nothing is visible: boto3 would import an awscrt beside it, and Lambda has none.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from bench.world import ENVIRONMENT

ROOT = Path(__file__).parents[1]
BARE = "bare"
"""The name of a function that only makes a DynamoDB client."""

_LAYERS = {"dependencies": "DependenciesLayer", "checkout_recovery": "CheckoutRecoveryLayer"}
_RUNTIME = ("boto3", "botocore", "dateutil", "jmespath", "s3transfer", "six.py", "urllib3")
_BARE = """
import boto3

def handler(event, context):
    boto3.client("dynamodb")
    return {}
"""


@dataclass(frozen=True, slots=True)
class Deployed:
    """Runs programs as a function's own process."""

    folder: Path

    def run(self, program: str, function: str, aws_url: str, arguments: Sequence[str] = ()) -> Any:
        """Runs a module of this folder where `import app` is a function; returns what it prints as JSON."""
        parts = (f"functions/{function}", *(f"{layer}/python" for layer in _LAYERS), "runtime")
        path = [self.folder / part for part in parts]
        return run_program(program, path, aws_url, arguments, interpreter=("-S", "-P"))


def run_program(
    program: str,
    path: Iterable[Path],
    aws_url: str,
    arguments: Sequence[str] = (),
    *,
    interpreter: Sequence[str] = ("-P",),
) -> Any:
    """Runs a module of this folder by itself, in a function's environment.

    Args:
        program: the module's name.
        path: where it finds what it imports, before what this Python has itself.
        aws_url: where it finds AWS.
        arguments: its own.
        interpreter: Python's.

    Returns:
        What its last line says, as JSON.

    Raises:
        RuntimeError: it failed; the message has what it wrote to stderr.
    """
    result = subprocess.run(  # noqa: S603 - our own files
        [sys.executable, *interpreter, str(ROOT / "bench" / f"{program}.py"), *arguments],
        env=_environment(os.pathsep.join(map(str, path)), aws_url),
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise RuntimeError(f"{program} failed:\n{result.stderr}")
    return json.loads(result.stdout.splitlines()[-1])


def _environment(path: str, aws_url: str) -> Mapping[str, str]:
    return {
        **ENVIRONMENT,
        "PATH": os.environ["PATH"],
        "PYTHONPATH": path,
        "PYTHONDONTWRITEBYTECODE": "1",
        "AWS_ENDPOINT_URL": aws_url,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@contextlib.contextmanager
def deployed() -> Iterator[Deployed]:
    """Builds what is deployed in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="bench-deployed-") as name:
        folder = Path(name)
        for layer, resource in _LAYERS.items():
            _build(layer, resource, folder / layer)
        _copy_runtime(folder / "runtime")
        for app in ROOT.glob("functions/*/app.py"):
            _put(folder, app.parent.name, app.read_text())
        put_bare(folder)
        yield Deployed(folder)


def put_bare(folder: Path) -> None:
    """Makes the function that only makes a client, in a folder of functions."""
    _put(folder, BARE, _BARE)


def _put(folder: Path, function: str, source: str) -> None:
    """A function's own file comes uncompiled, as in Lambda."""
    target = folder / "functions" / function
    target.mkdir(parents=True)
    (target / "app.py").write_text(source)


def _build(layer: str, resource: str, target: Path) -> None:
    target.mkdir()
    subprocess.run(  # noqa: S603 - our own files
        [
            *("make", "--silent", "-C", str(ROOT / "layers" / layer), f"build-{resource}"),
            *(f"ARTIFACTS_DIR={target}", f"LAYER_PYTHON={sys.executable}", "LAYER_PLATFORM="),
        ],
        check=True,
    )


def _copy_runtime(target: Path) -> None:
    packages = Path(boto3.__file__).parents[1]
    for name in _RUNTIME:
        source = packages / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target / name)
    subprocess.run(  # noqa: S603 - our own files
        [sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", str(target)],
        check=True,
    )
