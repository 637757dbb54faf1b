"""Calls to a DynamoDB on this machine, at a third of botocore's price.

A day is half a million calls, and of each botocore spends two thirds on a signature that DynamoDB Local does
not check and on an HTTP client that is made for the internet. Only the way of the bytes is shortened: the
requests are boto3's, and so is what becomes of the answers.
"""

import socket
from collections import deque
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from botocore.awsrequest import AWSPreparedRequest, AWSResponse

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_ANYBODY = (
    "AWS4-HMAC-SHA256 Credential=test/20261123/ap-south-1/dynamodb/aws4_request,"
    " SignedHeaders=host, Signature=0"
)
"""It wants to be told by whose key the request is signed, and takes any."""


def shorten(client: "DynamoDBClient", url: str) -> None:
    """Lets an unsigned client send over kept connections of its own."""
    host = urlsplit(url).netloc
    idle: deque[HTTPConnection] = deque()

    def send(request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        try:
            connection = idle.pop()
        except IndexError:
            connection = _connected(host)
        connection.putrequest("POST", "/", skip_accept_encoding=True)
        connection.putheader("X-Amz-Target", request.headers["X-Amz-Target"])
        connection.putheader("Content-Type", request.headers["Content-Type"])
        connection.putheader("Content-Length", str(len(request.body)))
        connection.putheader("Authorization", _ANYBODY)
        connection.endheaders(request.body)
        answer = connection.getresponse()
        response = AWSResponse(url, answer.status, answer.headers, None)
        response._content = answer.read()  # noqa: SLF001 - or it would read it from a raw urllib3 response
        idle.append(connection)
        return response

    client.meta.events.register("before-send.dynamodb", send)


def _connected(host: str) -> HTTPConnection:
    connection = HTTPConnection(host)
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection
