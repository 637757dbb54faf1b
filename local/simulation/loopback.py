"""Calls to a DynamoDB on this machine, at a third of botocore's price.

A day is half a million calls, and of each botocore spends two thirds on a signature that DynamoDB Local does
not check and on an HTTP client that is made for the internet. Only the way of the bytes is shortened: the
requests are boto3's, and so is what becomes of the answers.
"""

import contextlib
import socket
from collections import deque
from collections.abc import Iterator
from http.client import HTTPResponse
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from botocore.awsrequest import AWSPreparedRequest, AWSResponse

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@contextlib.contextmanager
def shortened(client: "DynamoDBClient", url: str, account: str) -> Iterator["DynamoDBClient"]:
    """Lets an unsigned client send over kept connections of its own, which are closed in the end.

    Args:
        client: for this URL.
        url: of DynamoDB Local.
        account: by whose key requests claim to be signed; each has a database of its own.
    """
    address = urlsplit(url)
    credential = f"Credential={account}/20261123/ap-south-1/dynamodb/aws4_request"
    signed = f"AWS4-HMAC-SHA256 {credential}, SignedHeaders=host, Signature=0".encode()
    idle: deque[socket.socket] = deque()

    def send(request: AWSPreparedRequest, **_: Any) -> "_Answer":
        try:
            connection = idle.pop()
        except IndexError:
            connection = socket.create_connection((address.hostname, address.port))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        headers: Any = request.headers  # boto3 leaves some of their values as bytes
        body: Any = request.body
        head = (
            *(b"POST / HTTP/1.1", b"Host: %b" % address.netloc.encode(), b"Authorization: %b" % signed),
            *(
                b"%b: %b" % (name.encode(), _bytes(headers[name]))
                for name in ("X-Amz-Target", "Content-Type")
            ),
            *(b"Content-Length: %d" % len(body), b"", b""),
        )
        connection.sendall(b"\r\n".join(head) + body)  # at once: each write wakes the other side
        answer = _Answer(url, connection)
        idle.append(connection)
        return answer

    # Its type says that a handler answers nothing; one of this event may answer the request.
    client.meta.events.register("before-send.dynamodb", send)  # type: ignore[arg-type]
    try:
        yield client
    finally:
        for connection in idle:
            connection.close()


class _Answer(AWSResponse):
    """An answer that is read already."""

    def __init__(self, url: str, connection: socket.socket) -> None:
        with HTTPResponse(connection, method="POST") as answer:
            answer.begin()
            headers: Any = answer.headers
            super().__init__(url, answer.status, headers, raw=None)
            self._read = answer.read()

    @property
    def content(self) -> bytes:
        return self._read


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode()
