"""The stack, deployed once for all tests in this folder."""

import socket
from collections.abc import Iterator

import pytest

from local.cloud import Stack, local_cloud


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keeps these tests on one worker, which alone then starts a local cloud."""
    for item in items:
        if item.path.is_relative_to(__file__.removesuffix("/conftest.py")):
            item.add_marker(pytest.mark.xdist_group("local_cloud"))


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    with socket.socket() as probe:  # a free port: the developer's own local cloud may be running
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with local_cloud(port) as stack:
        yield stack
