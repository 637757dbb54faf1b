"""The stack, deployed once for all tests in this folder, which therefore run in one process."""

import socket
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from local.client import Client
from local.cloud import Stack, local_cloud
from local.receiver import Receiver
from tests.local_cloud.shops import World
from tests.local_cloud.story import DUE_SHARDS, Story

STORY_SECONDS = 300.0


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    with socket.socket() as probe:  # a free port: the developer's own local cloud may be running
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with local_cloud(port, parameters=[f"DueShards={DUE_SHARDS}"]) as stack:
        yield stack


@pytest.fixture(scope="session", autouse=True)
def telling(stack: Stack) -> Iterator[Future[Story]]:
    """The story begins with the first test, whichever that is, and goes on beside the others."""
    with (
        Client(stack.api_url, stack.admin_token) as client,
        Receiver() as receiver,
        ThreadPoolExecutor(1) as pool,
    ):
        story = Story(World(client, receiver, stack.admin_token), stack)
        yield pool.submit(story.run)
        story.end()


@pytest.fixture(scope="session")
def story(telling: Future[Story]) -> Story:
    """The story once it is told."""
    return telling.result(STORY_SECONDS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those who wait for the story come last."""
    items.sort(key=lambda item: "story" in getattr(item, "fixturenames", ()))
