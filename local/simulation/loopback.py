"""Calls to a DynamoDB on this machine, at a third of botocore's price.

A day is half a million calls, and of each botocore spends two thirds on a signature that DynamoDB Local does
not check and on an HTTP client that is made for the internet. Only the way of the bytes is shortened: the
requests are boto3's, and so is what becomes of the answers.
"""

import contextlib
import socket
from collections import deque
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
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
    host = urlsplit(url).netloc
    credential = f"Credential={account}/20261123/ap-south-1/dynamodb/aws4_request"
    signed = f"AWS4-HMAC-SHA256 {credential}, SignedHeaders=host, Signature=0"
    idle: deque[HTTPConnection] = deque()

    def send(request: AWSPreparedRequest, **_: Any) -> "_Answer":
        try:
            connection = idle.pop()
        except IndexError:
            connection = _connected(host)
        body: Any = request.body
        connection.putrequest("POST", "/", skip_accept_encoding=True)
        for name in ("X-Amz-Target", "Content-Type"):
            connection.putheader(name, request.headers[name])
        connection.putheader("Content-Length", str(len(body)))
        connection.putheader("Authorization", signed)
        connection.endheaders(body)
        answer = connection.getresponse()
        told = _Answer(url, answer)
        idle.append(connection)
        return told

    # Its type says that a handler answers nothing; one of this event may answer the request.
    client.meta.events.register("before-send.dynamodb", send)  # type: ignore[arg-type]
    try:
        yield client
    finally:
        for connection in idle:
            connection.close()


class _Answer(AWSResponse):
    """An answer that is read already."""

    def __init__(self, url: str, answer: HTTPResponse) -> None:
        headers: Any = answer.headers
        super().__init__(url, answer.status, headers, raw=None)
        self._read = answer.read()

    @property
    def content(self) -> bytes:
        return self._read


def _connected(host: str) -> HTTPConnection:
    connection = HTTPConnection(host)
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection
