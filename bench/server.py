"""A server in a process of its own that answers HTTP requests by one function, as cheaply as Python can."""

import asyncio
import contextlib
import multiprocessing
import re
from collections.abc import Callable, Iterator
from multiprocessing.queues import Queue

LOOPBACK = "127.0.0.1"
Answer = Callable[[bytes, bytes], bytes]
"""Gives the bytes of an answer to a request's head and body."""

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class _Connection(asyncio.Protocol):
    """Keeps its connection open; requests may come in pieces, and several at once."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            head, start = self._data[:end], end + 4
            length = _LENGTH.search(head)
            stop = start + (int(length[1]) if length else 0)
            if len(self._data) < stop:
                return
            body, self._data = self._data[start:stop], self._data[stop:]
            self._transport.write(self._answer(head, body))


def _serve(ports: "Queue[int]", answer: Answer) -> None:
    async def serve() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Connection(answer), LOOPBACK, 0, backlog=1024)
        ports.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(serve())


@contextlib.contextmanager
def serving(answer: Answer) -> Iterator[int]:
    """Runs a server, and yields its port."""
    context = multiprocessing.get_context("fork")
    ports: Queue[int] = context.Queue()
    process = context.Process(target=_serve, args=(ports, answer), daemon=True)
    process.start()
    try:
        yield ports.get(timeout=30)
    finally:
        process.terminate()
        process.join()
