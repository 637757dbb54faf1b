"""The least that a POST can cost from Python: bytes made before, on one connection that stays open."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

from bench.server import LOOPBACK

_ENOUGH = 65_536


class RawSocket:
    """Posts the same bytes again and again, each after the answer to the one before."""

    def __init__(self, port: int, request: bytes) -> None:
        self._request = request
        self._socket = socket.create_connection((LOOPBACK, port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def post(self, times: int) -> None:
        """Posts so many times.

        Raises:
            ConnectionError: the receiver closed the connection, or did not answer with 200.
        """
        for _ in range(times):
            self._post()

    def close(self) -> None:
        self._socket.close()

    def _post(self) -> None:
        self._socket.sendall(self._request)
        answer = self._socket.recv(_ENOUGH)
        while b"\r\n\r\n" not in answer:
            more = self._socket.recv(_ENOUGH)
            if not more:
                raise ConnectionError("the receiver closed the connection")
            answer += more
        if not answer.startswith(b"HTTP/1.1 200 "):
            raise ConnectionError("the receiver did not answer 200")


def sent_by(post: Callable[[str], object]) -> bytes:
    """The very bytes of the request that `post` makes of the URL that it is given."""
    with _listening() as (url, heard):
        post(url)
    (request,) = heard
    return request


@contextlib.contextmanager
def _listening() -> Iterator[tuple[str, list[bytes]]]:
    heard: list[bytes] = []
    with socket.create_server((LOOPBACK, 0)) as server:
        listener = threading.Thread(target=lambda: heard.append(_hear(server)))
        listener.start()
        yield f"http://{LOOPBACK}:{server.getsockname()[1]}/0", heard
        listener.join()


def _hear(server: socket.socket) -> bytes:
    connection, _ = server.accept()
    with connection:
        request = connection.recv(_ENOUGH)
        while len(request) < _length(request):
            request += connection.recv(_ENOUGH)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    return request


def _length(request: bytes) -> int:
    """Of the whole request; more than there is while its head has not come."""
    head, end, _ = request.partition(b"\r\n\r\n")
    if not end:
        return len(request) + 1
    lengths = (line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    return len(head) + len(end) + int(next(lengths).partition(b":")[2])
