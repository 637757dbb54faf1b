"""Amazon's own DynamoDB Local, for the table tests: it settles what moto may have got wrong.

It is inside an npm package and needs Java 17, so it is used where `java` and `npm` are found and left out
elsewhere.
"""

import contextlib
import fcntl
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
CACHE = ROOT / ".local" / "dynamodb-local"
PACKAGE = "amplify-dynamodb-simulator@2.9.30"
LOOPBACK = "127.0.0.1"


class DynamoDBLocalError(Exception):
    """It could not be fetched or did not start; the message says why."""


@contextlib.contextmanager
def dynamodb_local() -> Iterator[str | None]:
    """Runs DynamoDB Local, in memory, and gives its endpoint URL; None where Java or npm is missing.

    Raises:
        DynamoDBLocalError: both are there, and yet it could not be fetched or started.
    """
    java, npm = shutil.which("java"), shutil.which("npm")
    if java is None or npm is None:
        yield None
        return
    emulator = _fetched(npm)
    port = _free_port()
    process = subprocess.Popen(
        [
            *(java, "-Xmx256m", f"-Djava.library.path={emulator / 'DynamoDBLocal_lib'}"),
            *("-jar", emulator / "DynamoDBLocal.jar", "-inMemory", "-disableTelemetry", "-port", str(port)),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd=emulator,
    )
    try:
        _await_port(process, port)
        yield f"http://{LOOPBACK}:{port}"
    finally:
        process.kill()
        process.wait()


def _fetched(npm: str) -> Path:
    """Where the emulator lies, fetched once."""
    home = CACHE / PACKAGE.replace("@", "-")
    emulator = home / "package" / "emulator"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "complete").exists():
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir()
            _fetch(npm, home)
            (home / "complete").touch()
    return emulator


def _fetch(npm: str, home: Path) -> None:
    packed = subprocess.run(
        [npm, "pack", "--silent", PACKAGE],
        cwd=home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if packed.returncode:
        raise DynamoDBLocalError(f"npm pack {PACKAGE} failed:\n{packed.stderr}")
    (archive,) = home.glob("*.tgz")
    subprocess.run(["tar", "-xzf", archive.name], cwd=home, check=True)
    archive.unlink()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _await_port(process: subprocess.Popen[bytes], port: int) -> None:
    for _ in range(300):
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, port), timeout=1):
            return
        time.sleep(0.1)
    raise DynamoDBLocalError("DynamoDB Local did not start.")
