"""Real receivers on the loopback interface, well-behaved and not, and certificates to go with them.

And the metrics that the code emits: they are lines on standard output.
"""

import datetime as dt
import ipaddress
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import certifi
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass
class Request:
    """What a receiver got, and over which of its connections."""

    line: str
    headers: dict[str, bytes]
    body: bytes
    connection: int
    received_at: float


Script = Callable[["Receiver", socket.socket, Request], bool]
"""Answers a request; whether the connection stays open."""


def answer(status: str = "200 OK", *headers: str, body: bytes = b"") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def answering(status: str = "200 OK", *headers: str, body: bytes = b"") -> Script:
    return saying(answer(status, *headers, body=body))


def saying(data: bytes, *, keep: bool = True) -> Script:
    def script(receiver: Receiver, connection: socket.socket, request: Request) -> bool:
        connection.sendall(data)
        return keep

    return script


def slowly(seconds: float) -> Script:
    """Answers 200 after a while."""

    def script(receiver: Receiver, connection: socket.socket, request: Request) -> bool:
        receiver.closing.wait(seconds)
        connection.sendall(answer("200 OK"))
        return True

    return script


def hanging(receiver: "Receiver", connection: socket.socket, request: Request) -> bool:
    receiver.closing.wait(30)
    return False


class Receiver:
    """A threaded HTTP/1.1 server that answers by a script and remembers what it got."""

    def __init__(self, script: Script, context: ssl.SSLContext | None = None, greeting: bytes = b"") -> None:
        self.script = script
        self._greeting = greeting
        self.requests: list[Request] = []
        self.connections = 0
        self.most_at_once = 0
        self.closing = threading.Event()
        self._at_once = 0
        self._lock = threading.Lock()
        self._context = context
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        return f"{'https' if self._context else 'http'}://127.0.0.1:{self.port}/hook"

    def drop_connections(self) -> None:
        """Closes what is open and goes on listening, as a receiver does that is started again."""
        with self._lock:
            dropped, self._open = self._open, []
        for connection in dropped:
            _shut(connection)

    def close(self) -> None:
        self.closing.set()
        _shut(self._listener)
        self.drop_connections()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                with self._lock:
                    self._open.append(connection)
                thread = threading.Thread(
                    target=self._serve, args=(connection, self.connections), daemon=True
                )
                self._threads.append(thread)
                thread.start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        with suppress(OSError):
            if self._context:
                connection = self._context.wrap_socket(connection, server_side=True)
                with self._lock:
                    self._open.append(connection)
            connection.sendall(self._greeting)
            while (request := _read(connection, number)) and self._answer(connection, request):
                pass
        _shut(connection)

    def _answer(self, connection: socket.socket, request: Request) -> bool:
        with self._lock:
            self.requests.append(request)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            return self.script(self, connection, request)
        finally:
            with self._lock:
                self._at_once -= 1


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


def _read(connection: socket.socket, number: int) -> Request | None:
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = connection.recv(65536)
        if not chunk:
            return None
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    line, *rest = head.split(b"\r\n")
    pairs = (item.split(b":", 1) for item in rest)
    headers = {name.decode().lower(): value.strip() for name, value in pairs}
    while len(body) < int(headers.get("content-length", 0)):
        chunk = connection.recv(65536)
        if not chunk:
            return None
        body += chunk
    return Request(line.decode(), headers, body, number, time.monotonic())


Receive = Callable[..., Receiver]


@pytest.fixture
def receive() -> Iterator[Receive]:
    """Starts receivers that end with the test."""
    receivers: list[Receiver] = []

    def start(
        script: Script | None = None, context: ssl.SSLContext | None = None, greeting: bytes = b""
    ) -> Receiver:
        receivers.append(Receiver(script or answering(), context, greeting))
        return receivers[-1]

    yield start
    for receiver in receivers:
        receiver.close()


@pytest.fixture
def refused_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@dataclass
class Authority:
    """A certificate authority of the test's own."""

    folder: Path
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    @property
    def ca_file(self) -> str:
        path = self.folder / "ca.pem"
        path.write_bytes(_certificate("test authority", self.key, "test authority", self.key, authority=True))
        return str(path)

    def context(self, name: str) -> ssl.SSLContext:
        """A server's context with a certificate for a name or address."""
        key = ec.generate_private_key(ec.SECP256R1())
        path = self.folder / "server.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + _certificate(name, key, "test authority", self.key, authority=False)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    signer: ec.EllipticCurvePrivateKey,
    *,
    authority: bool,
) -> bytes:
    now = dt.datetime.now(dt.UTC)
    alternative: x509.GeneralName = x509.DNSName(name.replace(" ", "-"))
    with suppress(ValueError):
        alternative = x509.IPAddress(ipaddress.ip_address(name))
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
    )
    return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture(scope="session")
def ca_file() -> str:
    return certifi.where()


Counted = Callable[[str], dict[str, float]]


@pytest.fixture(autouse=True)
def namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the functions' environment says that metrics belong."""
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "CheckoutRecovery/test")


@pytest.fixture
def counted(capsys: pytest.CaptureFixture[str]) -> Counted:
    """Adds up a metric by its reason, as far as it was emitted since the last time it was asked for."""

    def count(metric: str) -> dict[str, float]:
        counts: dict[str, float] = {}
        for line in capsys.readouterr().out.splitlines():
            emitted = json.loads(line)
            if metric in emitted:
                reason = emitted["reason"]
                counts[reason] = counts.get(reason, 0.0) + sum(emitted[metric])
        return counts

    return count
