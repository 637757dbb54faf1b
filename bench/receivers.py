"""Who is posted to: nginx where it is installed, else the cheapest server that Python makes."""

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.server import LOOPBACK, serving

_STARTS_WITHIN_SECONDS = 10.0
_OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"

# Requests without end on a connection: nginx would close it after a thousand.
_CONFIGURATION = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 600s;
  client_body_buffer_size 1m;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{ listen {address}:{port} backlog=1024; location / {{ return 200; }} }}
}}
"""


@dataclass(frozen=True, slots=True)
class Receiver:
    """Answers every request with 200 and nothing."""

    name: str
    port: int


@contextlib.contextmanager
def receiver() -> Iterator[Receiver]:
    """Runs a receiver of one process on the loopback address."""
    program = shutil.which("nginx")
    with contextlib.ExitStack() as stack:
        if program:
            yield stack.enter_context(_nginx(program))
        else:
            port = stack.enter_context(serving(lambda _head, _body: _OK))
            yield Receiver("asyncio", port)


@contextlib.contextmanager
def _nginx(program: str) -> Iterator[Receiver]:
    with tempfile.TemporaryDirectory(prefix="bench-nginx-") as folder:
        port = _free_port()
        configuration = Path(folder) / "nginx.conf"
        configuration.write_text(_CONFIGURATION.format(folder=folder, address=LOOPBACK, port=port))
        process = subprocess.Popen(  # noqa: S603 - a fixed program with a configuration of our own
            [program, "-p", folder, "-e", "stderr", "-c", str(configuration)], stderr=subprocess.DEVNULL
        )
        try:
            _wait_until_it_listens(port)
            yield Receiver("nginx", port)
        finally:
            process.terminate()
            process.wait()


def _wait_until_it_listens(port: int) -> None:
    deadline = time.monotonic() + _STARTS_WITHIN_SECONDS
    while True:
        try:
            socket.create_connection((LOOPBACK, port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
