"""The stack, deployed once for all tests in this folder, which therefore run in one process."""

import socket
from collections.abc import Iterator

import pytest

from local.cloud import Stack, local_cloud


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    with socket.socket() as probe:  # a free port: the developer's own local cloud may be running
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with local_cloud(port) as stack:
        yield stack
