import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from email.utils import formatdate
from pathlib import Path

import pycurl
import pytest

from checkout_recovery.delivery.send import Failure, Limits, Outcome, Post, Sender

from .conftest import (
    Authority,
    Receive,
    Receiver,
    Request,
    Script,
    answer,
    answering,
    hanging,
    saying,
    slowly,
)

GENEROUS = 20.0
"""A budget that no test here should use up."""
SHORT = Limits(attempt_seconds=0.6, connect_seconds=0.6, min_attempt_seconds=0.05)

NewSender = Callable[..., Sender]


class Clock:
    """Stands still until a test moves it on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def new_sender(ca_file: str, clock: Clock) -> Iterator[NewSender]:
    senders: list[Sender] = []

    def make(*, local_targets: bool = True, ca_file: str = ca_file, limits: Limits = SHORT) -> Sender:
        senders.append(Sender(local_targets=local_targets, ca_file=ca_file, limits=limits, clock=clock))
        return senders[-1]

    yield make
    for sender in senders:
        sender.close()


_numbers = itertools.count()


def post(
    url: str,
    *,
    subscription: str = "s1",
    lane: str | None = None,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"{}",
    prepared: list[str] | None = None,
) -> Post:
    delivery = f"d{next(_numbers)}"

    def prepare() -> tuple[Mapping[str, str], bytes]:
        if prepared is not None:
            prepared.append(delivery)
        return {"Content-Type": "application/json", "X-Delivery": delivery, **(headers or {})}, body

    return Post(delivery, subscription, lane or delivery, url, prepare)


def received(receiver: Receiver) -> list[str]:
    return [request.headers["x-delivery"].decode() for request in receiver.requests]


def failures(outcomes: list[Outcome]) -> list[Failure | None]:
    return [outcome.failure for outcome in outcomes]


class TestRequest:
    def test_a_post_arrives_as_it_was_prepared(self, new_sender: NewSender, receive: Receive) -> None:
        receiver = receive()
        body = b'{"name": "\x00\xff"}'
        (outcome,) = new_sender().send([post(receiver.url + "/a/../b?c=%2F", body=body)], GENEROUS)
        (request,) = receiver.requests
        assert outcome.delivered
        assert outcome.status == 200
        assert outcome.latency_ms < GENEROUS * 1000
        assert request.line == "POST /hook/a/../b?c=%2F HTTP/1.1"
        assert request.body == body
        assert request.headers["content-type"] == b"application/json"

    def test_nothing_unasked_for_is_sent(self, new_sender: NewSender, receive: Receive) -> None:
        receiver = receive()
        new_sender().send([post(receiver.url, body=b"x" * 2_000_000)], GENEROUS)
        assert set(receiver.requests[0].headers) == {
            "host",
            "user-agent",
            "accept",
            "content-type",
            "content-length",
            "x-delivery",
        }

    def test_an_empty_body_is_sent_as_one(self, new_sender: NewSender, receive: Receive) -> None:
        receiver = receive()
        assert new_sender().send([post(receiver.url, body=b"")], GENEROUS)[0].delivered
        assert receiver.requests[0].headers["content-length"] == b"0"

    def test_headers_carry_unicode_emptiness_and_their_own_user_agent(
        self, new_sender: NewSender, receive: Receive
    ) -> None:
        receiver = receive()
        headers = {"X-City": "पुणे", "X-Empty": "", "User-Agent": "Ecom360-v1"}
        new_sender().send([post(receiver.url, headers=headers)], GENEROUS)
        seen = receiver.requests[0].headers
        assert seen["x-city"].decode() == "पुणे"
        assert seen["x-empty"] == b""
        assert seen["user-agent"] == b"Ecom360-v1"

    @pytest.mark.parametrize(
        "headers",
        [
            {"X-A": "a\r\nX-B: b"},
            {"X-A": "a\nb"},
            {"X-A": "a\x00"},
            {"X-A\r\nX-B": "b"},
            {"Content-Length": "1"},
        ],
    )
    def test_a_header_that_would_smuggle_is_never_sent(
        self, new_sender: NewSender, receive: Receive, headers: dict[str, str]
    ) -> None:
        receiver = receive()
        outcomes = new_sender().send([post(receiver.url, headers=headers), post(receiver.url)], GENEROUS)
        assert failures(outcomes) == [Failure.INVALID_HEADER, None]
        assert len(receiver.requests) == 1

    def test_one_post_leaves_nothing_behind_in_the_next(
        self, new_sender: NewSender, receive: Receive
    ) -> None:
        receiver = receive()
        sender = new_sender(limits=Limits(max_connections=1))
        sender.send(
            [post(receiver.url, headers={"X-Secret": "a"}, body=b"long body"), post(receiver.url)], GENEROUS
        )
        assert "x-secret" in receiver.requests[0].headers
        assert "x-secret" not in receiver.requests[1].headers
        assert receiver.requests[1].body == b"{}"

    def test_a_post_is_prepared_only_when_it_starts(self, new_sender: NewSender, receive: Receive) -> None:
        receiver = receive()
        prepared: list[str] = []
        seen_when_prepared: list[int] = []

        class Counting(list[str]):
            def append(self, delivery: str) -> None:
                seen_when_prepared.append(len(receiver.requests))
                prepared.append(delivery)

        posts = [post(receiver.url, lane="c1", prepared=Counting()) for _ in range(3)]
        new_sender().send(posts, GENEROUS)
        assert prepared == [p.delivery_id for p in posts]
        assert seen_when_prepared == [0, 1, 2]


class TestAnswer:
    @pytest.mark.parametrize("status", ["200 OK", "201 Created", "202 Accepted", "204 No Content", "299 Odd"])
    def test_a_2xx_delivers(self, new_sender: NewSender, receive: Receive, status: str) -> None:
        (outcome,) = new_sender().send([post(receive(answering(status)).url)], GENEROUS)
        assert outcome.delivered
        assert outcome.status == int(status[:3])

    @pytest.mark.parametrize(
        "status", ["304 Not Modified", "400 Bad", "401 No", "410 Gone", "417 No", "500 Oops", "503 Busy"]
    )
    def test_any_other_status_does_not(self, new_sender: NewSender, receive: Receive, status: str) -> None:
        receiver = receive(answering(status))
        (outcome,) = new_sender().send([post(receiver.url)], GENEROUS)
        assert (outcome.status, outcome.failure) == (int(status[:3]), Failure.HTTP)
        assert len(receiver.requests) == 1

    @pytest.mark.parametrize(
        "status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"]
    )
    def test_a_redirect_is_a_failure_and_is_not_followed(
        self, new_sender: NewSender, receive: Receive, status: str
    ) -> None:
        elsewhere = receive()
        receiver = receive(answering(status, f"Location: {elsewhere.url}"))
        (outcome,) = new_sender().send([post(receiver.url)], GENEROUS)
        assert outcome.failure is Failure.HTTP
        assert elsewhere.connections == 0

    def test_an_early_hint_is_not_the_answer(self, new_sender: NewSender, receive: Receive) -> None:
        hints = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
        (outcome,) = new_sender().send([post(receive(saying(hints + answer("500 Oops"))).url)], GENEROUS)
        assert outcome.status == 500
        (outcome,) = new_sender().send([post(receive(saying(hints, keep=False)).url)], GENEROUS)
        assert (outcome.status, outcome.failure) == (None, Failure.CONNECTION)

    @pytest.mark.parametrize(
        ("value", "least", "most"),
        [
            ("120", 120, 120),
            (None, 500, 601),
            ("99999999999", 1, 6 * 3600),
        ],
        ids=["seconds", "date", "bounded"],
    )
    def test_retry_after_is_read_as_seconds_and_as_a_date(
        self, new_sender: NewSender, receive: Receive, value: str | None, least: int, most: int
    ) -> None:
        asked = value or formatdate(time.time() + 600, usegmt=True)
        receiver = receive(answering("503 Busy", f"Retry-After: {asked}"))
        (outcome,) = new_sender().send([post(receiver.url)], GENEROUS)
        assert outcome.retry_after is not None
        assert least <= outcome.retry_after <= most

    @pytest.mark.parametrize("value", ["soon", "-5", "0", "", "Wed, 21 Oct 2015 07:28:00 GMT"])
    def test_a_retry_after_that_asks_for_nothing_is_none(
        self, new_sender: NewSender, receive: Receive, value: str
    ) -> None:
        receiver = receive(answering("429 Slow Down", f"Retry-After: {value}"))
        assert new_sender().send([post(receiver.url)], GENEROUS)[0].retry_after is None

    def test_retry_after_does_not_stay_for_the_next_answer(
        self, new_sender: NewSender, receive: Receive
    ) -> None:
        receiver = receive(answering("503 Busy", "Retry-After: 9"))
        sender = new_sender()
        sender.send([post(receiver.url)], GENEROUS)
        receiver.script = answering("503 Busy")
        assert sender.send([post(receiver.url)], GENEROUS)[0].retry_after is None

    def test_of_a_huge_answer_only_the_status_counts(self, new_sender: NewSender, receive: Receive) -> None:
        huge = receive(answering(body=b"x" * 5_000_000))
        unending = receive(_unending)
        sender = new_sender(limits=Limits(attempt_seconds=10))
        outcomes = sender.send([post(huge.url), post(unending.url, subscription="s2")], GENEROUS)
        assert [(o.status, o.failure) for o in outcomes] == [(200, None), (200, None)]

    def test_a_body_cut_short_after_its_status_counts_as_answered(
        self, new_sender: NewSender, receive: Receive
    ) -> None:
        receiver = receive(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", keep=False))
        assert new_sender().send([post(receiver.url)], GENEROUS)[0].delivered

    @pytest.mark.parametrize(
        "garbage",
        [
            b"220 mail.example ESMTP\r\n",
            b"\x15\x03\x01\x00\x02\x02\x28" * 20,
            b"<html>hello</html>",
            b"HTTP/1.1 abc\r\n\r\n",
        ],
    )
    def test_what_is_not_http_is_a_failure(
        self, new_sender: NewSender, receive: Receive, garbage: bytes
    ) -> None:
        (outcome,) = new_sender().send([post(receive(saying(garbage, keep=False)).url)], GENEROUS)
        assert (outcome.status, outcome.failure) == (None, Failure.PROTOCOL)

    def test_a_connection_closed_before_the_answer_is_a_failure(
        self, new_sender: NewSender, receive: Receive
    ) -> None:
        (outcome,) = new_sender().send([post(receive(saying(b"", keep=False)).url)], GENEROUS)
        assert (outcome.status, outcome.failure) == (None, Failure.CONNECTION)

    def test_a_header_cut_short_after_its_status_counts_as_answered(
        self, new_sender: NewSender, receive: Receive
    ) -> None:
        receiver = receive(saying(b"HTTP/1.1 200 OK\r\nX-A", keep=False))
        assert new_sender().send([post(receiver.url)], GENEROUS)[0].delivered

    def test_endless_headers_are_a_failure(self, new_sender: NewSender, receive: Receive) -> None:
        endless = b"HTTP/1.1 200 OK\r\n" + b"X-Filler: " + b"x" * 10_000 + b"\r\n"
        receiver = receive(saying(endless + (b"X-Filler: " + b"x" * 10_000 + b"\r\n") * 100))
        (outcome,) = new_sender(limits=Limits()).send([post(receiver.url)], GENEROUS)
        assert (outcome.status, outcome.failure) == (None, Failure.CONNECTION)


def _unending(receiver: Receiver, connection: socket.socket, request: Request) -> bool:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while not receiver.closing.is_set():
        connection.sendall(b"1000\r\n" + b"x" * 4096 + b"\r\n")
    return False


def _dripping(receiver: Receiver, connection: socket.socket, request: Request) -> bool:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    for _ in range(300):
        if receiver.closing.wait(0.05):
            break
        connection.sendall(b"X")
    return False


def _dripping_body(receiver: Receiver, connection: socket.socket, request: Request) -> bool:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n")
    for _ in range(300):
        if receiver.closing.wait(0.05):
            break
        connection.sendall(b"X")
    return False


class TestReachingTheReceiver:
    @pytest.mark.parametrize("script", [hanging, _dripping, _dripping_body])
    def test_an_answer_that_is_not_complete_in_time_is_a_timeout(
        self,
        new_sender: NewSender,
        receive: Receive,
        script: Callable[[Receiver, socket.socket, Request], bool],
    ) -> None:
        (outcome,) = new_sender().send([post(receive(script).url)], GENEROUS)
        assert (outcome.status, outcome.failure) == (None, Failure.TIMEOUT)
        assert 500 <= outcome.latency_ms < 10_000

    def test_a_refused_port_is_a_connection_failure(self, new_sender: NewSender, refused_port: int) -> None:
        (outcome,) = new_sender().send([post(f"http://127.0.0.1:{refused_port}/")], GENEROUS)
        assert (outcome.status, outcome.failure) == (None, Failure.CONNECTION)

    def test_a_name_that_does_not_resolve_is_a_dns_failure(self, new_sender: NewSender) -> None:
        sender = new_sender(limits=Limits(attempt_seconds=15, connect_seconds=15))
        (outcome,) = sender.send([post("https://no-such-host.invalid/")], GENEROUS)
        assert outcome.failure is Failure.DNS

    @pytest.mark.parametrize(
        "url", ["ftp://127.0.0.1/", "file:///etc/passwd", "https://u:p@127.0.0.1/", "nonsense", ""]
    )
    def test_a_malformed_url_is_never_tried(self, new_sender: NewSender, url: str) -> None:
        prepared: list[str] = []
        (outcome,) = new_sender().send([post(url, prepared=prepared)], GENEROUS)
        assert outcome.failure is Failure.INVALID_URL
        assert prepared == []


class TestTls:
    def test_a_certificate_of_a_trusted_authority_is_taken(
        self, new_sender: NewSender, receive: Receive, authority: Authority
    ) -> None:
        receiver = receive(context=authority.context("127.0.0.1"))
        sender = new_sender(local_targets=True, ca_file=authority.ca_file, limits=Limits())
        outcomes = sender.send([post(receiver.url, lane="c1"), post(receiver.url, lane="c1")], GENEROUS)
        assert failures(outcomes) == [None, None]
        assert {request.connection for request in receiver.requests} == {1}

    def test_a_certificate_that_nobody_vouches_for_is_refused(
        self, new_sender: NewSender, receive: Receive, authority: Authority
    ) -> None:
        receiver = receive(context=authority.context("127.0.0.1"))
        (outcome,) = new_sender(limits=Limits()).send([post(receiver.url)], GENEROUS)
        assert (outcome.status, outcome.failure) == (None, Failure.TLS)
        assert receiver.requests == []

    def test_a_certificate_for_another_name_is_refused(
        self, new_sender: NewSender, receive: Receive, authority: Authority
    ) -> None:
        receiver = receive(context=authority.context("127.0.0.9"))
        sender = new_sender(ca_file=authority.ca_file, limits=Limits())
        assert sender.send([post(receiver.url)], GENEROUS)[0].failure is Failure.TLS
        assert receiver.requests == []

    def test_a_receiver_that_speaks_no_tls_is_a_tls_failure(
        self, new_sender: NewSender, receive: Receive
    ) -> None:
        receiver = receive(greeting=b"HTTP/1.1 400 Bad Request\r\n\r\n")
        url = receiver.url.replace("http:", "https:")
        assert new_sender().send([post(url)], GENEROUS)[0].failure is Failure.TLS

    def test_a_missing_ca_file_is_found_out_at_once(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            Sender(local_targets=False, ca_file=str(tmp_path / "none.pem"))


class TestEgress:
    def test_plain_http_is_refused_unless_local(self, new_sender: NewSender, receive: Receive) -> None:
        receiver = receive()
        (outcome,) = new_sender(local_targets=False).send([post(receiver.url)], GENEROUS)
        assert outcome.failure is Failure.INVALID_URL
        assert receiver.connections == 0

    @pytest.mark.parametrize(
        "host", ["127.0.0.1", "localhost", "shop.localhost", "[::1]", "[::ffff:127.0.0.1]"]
    )
    def test_loopback_is_refused_unless_local_by_address_and_by_name(
        self, new_sender: NewSender, receive: Receive, host: str
    ) -> None:
        receiver = receive()
        (outcome,) = new_sender(local_targets=False).send(
            [post(f"https://{host}:{receiver.port}/")], GENEROUS
        )
        assert (outcome.status, outcome.failure) == (None, Failure.FORBIDDEN_TARGET)
        assert receiver.connections == 0

    @pytest.mark.parametrize("host", ["10.0.0.1", "169.254.169.254", "[fd00:ec2::254]", "[64:ff9b::7f00:1]"])
    def test_private_addresses_are_refused_even_locally(self, new_sender: NewSender, host: str) -> None:
        (outcome,) = new_sender().send([post(f"http://{host}/latest/meta-data")], GENEROUS)
        assert (outcome.status, outcome.failure) == (None, Failure.FORBIDDEN_TARGET)

    def test_a_name_of_this_machine_is_reached_locally(self, new_sender: NewSender, receive: Receive) -> None:
        receiver = receive()
        (outcome,) = new_sender().send([post(f"http://localhost:{receiver.port}/")], GENEROUS)
        assert outcome.delivered

    @pytest.mark.parametrize(
        ("addresses", "failure"),
        [
            ("10.0.0.1,127.0.0.1", None),
            ("127.0.0.1,10.0.0.1", None),
            ("[64:ff9b::7f00:1],127.0.0.1", None),
            ("10.0.0.1,[fd00::1],224.0.0.1", Failure.FORBIDDEN_TARGET),
            ("10.0.0.1,127.0.0.9", Failure.CONNECTION),
        ],
    )
    def test_of_a_name_with_several_addresses_only_the_allowed_are_tried(
        self, new_sender: NewSender, receive: Receive, addresses: str, failure: Failure | None
    ) -> None:
        receiver = receive()
        sender = new_sender(limits=Limits(max_connections=1))
        sender.send(
            [post(receiver.url)], GENEROUS
        )  # makes the one handle that the next line gives an answer of DNS
        sender._idle[0].curl.setopt(pycurl.RESOLVE, [f"mixed.example:{receiver.port}:{addresses}"])
        (outcome,) = sender.send([post(f"http://mixed.example:{receiver.port}/")], GENEROUS)
        assert outcome.failure is failure

    def test_a_forbidden_target_does_not_stay_for_the_next_post(
        self, new_sender: NewSender, refused_port: int
    ) -> None:
        sender = new_sender(limits=Limits(max_connections=1))
        sender.send([post("http://10.0.0.1/")], GENEROUS)
        (outcome,) = sender.send([post(f"http://127.0.0.1:{refused_port}/")], GENEROUS)
        assert outcome.failure is Failure.CONNECTION

    def test_proxies_in_the_environment_are_ignored(
        self, new_sender: NewSender, receive: Receive, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        proxy, receiver = receive(), receive()
        for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        (outcome,) = new_sender().send([post(receiver.url)], GENEROUS)
        assert outcome.delivered
        assert proxy.connections == 0

    def test_credentials_in_a_netrc_are_ignored(
        self, new_sender: NewSender, receive: Receive, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / ".netrc").write_text("machine 127.0.0.1 login a password b\n")
        monkeypatch.setenv("HOME", str(tmp_path))
        receiver = receive()
        new_sender().send([post(receiver.url)], GENEROUS)
        assert "authorization" not in receiver.requests[0].headers


class TestConnections:
    def test_a_connection_is_kept_for_the_next_run(self, new_sender: NewSender, receive: Receive) -> None:
        receiver = receive()
        sender = new_sender()
        for _ in range(5):
            assert sender.send([post(receiver.url)], GENEROUS)[0].delivered
        assert receiver.connections == 1

    def test_a_connection_that_died_between_two_runs_fails_nothing(
        self, new_sender: NewSender, receive: Receive
    ) -> None:
        receiver = receive()
        sender = new_sender()
        for _ in range(3):
            assert sender.send([post(receiver.url)], GENEROUS)[0].delivered
            receiver.drop_connections()
        assert len(receiver.requests) == 3

    def test_a_connection_that_dies_as_it_is_used_again_fails_nothing(
        self, new_sender: NewSender, receive: Receive
    ) -> None:
        def closes_when_used_again(receiver: Receiver, connection: socket.socket, request: Request) -> bool:
            if any(r.connection == request.connection for r in receiver.requests if r is not request):
                return False
            connection.sendall(answer())
            return True

        receiver = receive(closes_when_used_again)
        sender = new_sender()
        for _ in range(3):
            assert sender.send([post(receiver.url)], GENEROUS)[0].delivered

    def test_a_timeout_costs_its_own_connection_only(self, new_sender: NewSender, receive: Receive) -> None:
        receiver = receive(hanging)
        sender = new_sender(limits=Limits(probe_after_seconds=0))
        sender.send([post(receiver.url)], GENEROUS)
        receiver.script = answering()
        assert sender.send([post(receiver.url)], GENEROUS)[0].delivered


class TestTurns:
    def test_outcomes_come_in_the_order_of_the_posts(self, new_sender: NewSender, receive: Receive) -> None:
        good, bad = receive(), receive(answering("500 Oops"))
        posts = [post((good, bad)[n % 2].url, subscription=f"s{n % 2}") for n in range(100)]
        outcomes = new_sender(limits=Limits()).send(posts, GENEROUS)
        assert [o.delivery_id for o in outcomes] == [p.delivery_id for p in posts]
        assert [o.status for o in outcomes] == [200, 500] * 50

    def test_nothing_to_send_gives_nothing(self, new_sender: NewSender) -> None:
        assert new_sender().send([], GENEROUS) == []

    def test_a_lane_is_in_order_also_over_failures(self, new_sender: NewSender, receive: Receive) -> None:
        def every_third_fails(receiver: Receiver, connection: socket.socket, request: Request) -> bool:
            time.sleep(0.002)
            return answering("500 Oops" if len(receiver.requests) % 3 == 0 else "200 OK")(
                receiver, connection, request
            )

        receiver = receive(every_third_fails)
        posts = [post(receiver.url, lane=f"c{n % 7}") for n in range(140)]
        new_sender(limits=Limits()).send(posts, GENEROUS)
        arrived = received(receiver)
        assert len(arrived) == 140
        for lane in range(7):
            expected = [p.delivery_id for p in posts if p.lane == f"c{lane}"]
            assert [delivery for delivery in arrived if delivery in expected] == expected

    def test_a_lane_has_one_post_in_flight(self, new_sender: NewSender, receive: Receive) -> None:
        receiver = receive(_slow)
        new_sender(limits=Limits()).send([post(receiver.url, lane="c1") for _ in range(10)], GENEROUS)
        assert receiver.most_at_once == 1

    def test_the_same_lane_of_two_subscriptions_is_two_lanes(
        self, new_sender: NewSender, receive: Receive
    ) -> None:
        stuck, free = receive(hanging), receive()
        posts = [post(stuck.url, subscription="s1", lane="c1"), post(free.url, subscription="s2", lane="c1")]
        assert failures(new_sender().send(posts, GENEROUS)) == [Failure.TIMEOUT, None]

    def test_a_subscription_has_a_bounded_number_in_flight(
        self, new_sender: NewSender, receive: Receive
    ) -> None:
        receiver = receive(_slow)
        new_sender(limits=Limits(per_subscription=3)).send([post(receiver.url) for _ in range(30)], GENEROUS)
        assert 1 < receiver.most_at_once <= 3
        assert len(receiver.requests) == 30

    def test_a_run_has_a_bounded_number_in_flight(self, new_sender: NewSender, receive: Receive) -> None:
        receiver = receive(_slow)
        posts = [post(receiver.url, subscription=f"s{n}") for n in range(30)]
        new_sender(limits=Limits(max_connections=4)).send(posts, GENEROUS)
        assert 1 < receiver.most_at_once <= 4
        assert len(receiver.requests) == 30

    def test_subscriptions_take_turns(self, new_sender: NewSender, receive: Receive) -> None:
        receiver = receive()
        many = [post(receiver.url, subscription="s1") for _ in range(20)]
        few = [post(receiver.url, subscription="s2") for _ in range(2)]
        new_sender(limits=Limits(max_connections=1)).send([*many, *few], GENEROUS)
        places = [received(receiver).index(p.delivery_id) for p in few]
        assert places == [1, 3]

    def test_a_subscriber_that_hangs_delays_no_other(self, new_sender: NewSender, receive: Receive) -> None:
        stuck, free = receive(hanging), receive()
        posts = [post(stuck.url, subscription="stuck") for _ in range(50)]
        posts += [post(free.url, subscription=f"free{n % 5}") for n in range(200)]
        outcomes = new_sender(limits=Limits(attempt_seconds=2)).send(posts, GENEROUS)
        assert all(outcome.delivered for outcome in outcomes[50:])
        assert all(outcome.latency_ms < 2000 for outcome in outcomes[50:])
        assert len(stuck.requests) == 2
        assert failures(outcomes[:50]).count(Failure.DEFERRED) == 48

    def test_who_hangs_is_cut_off_once_the_others_have_answered(
        self, new_sender: NewSender, receive: Receive
    ) -> None:
        stuck, free = receive(hanging), receive()
        posts = [post(stuck.url, subscription="stuck"), post(free.url, subscription="free")]
        impatient = Limits(attempt_seconds=60, connect_seconds=60, straggler_seconds=0.2)
        sender = new_sender(limits=impatient)
        cut, delivered = sender.send(posts, 60)
        assert (cut.failure, delivered.failure) == (Failure.TIMEOUT, None)
        assert cut.latency_ms < 30_000
        second = sender.send([post(stuck.url, subscription="stuck")], 60)
        assert failures(second) == [Failure.DEFERRED]  # once is enough: it has never answered
        assert sender.is_silent("stuck", stuck.url)
        assert not sender.is_silent("free", free.url)

    def test_only_the_first_post_ever_to_a_receiver_gets_half_the_time(
        self, new_sender: NewSender, receive: Receive
    ) -> None:
        slow, free = receive(), receive()
        sender = new_sender(limits=Limits(straggler_seconds=1.2))
        batch = [post(slow.url, subscription="slow"), post(free.url, subscription="free")]
        assert failures(sender.send(batch, GENEROUS)) == [None, None]
        slow.script = slowly(0.8)
        assert failures(sender.send(batch, GENEROUS)) == [None, None]
        anew = new_sender(limits=Limits(straggler_seconds=1.2, probe_after_seconds=0))
        assert failures(anew.send(batch, GENEROUS)) == [Failure.TIMEOUT, None]
        assert failures(anew.send(batch, GENEROUS)) == [None, None]

    def test_who_keeps_nobody_waiting_has_all_its_time(self, new_sender: NewSender, receive: Receive) -> None:
        slow = receive(slowly(0.6))
        posts = [post(slow.url, subscription="slow") for _ in range(3)]
        outcomes = new_sender(limits=Limits(straggler_seconds=0.1)).send(posts, GENEROUS)
        assert [outcome.failure for outcome in outcomes] == [None] * 3

    def test_after_a_cut_the_others_go_on(self, new_sender: NewSender, receive: Receive) -> None:
        stuck, free = receive(hanging), receive()
        posts = [post(free.url, subscription="free", lane="one")]
        posts += [post(stuck.url, subscription=f"stuck{number}") for number in range(8)]
        posts += [post(free.url, subscription="free", lane=str(number)) for number in range(8)]
        few = Limits(attempt_seconds=60, straggler_seconds=0.2, max_connections=2)
        outcomes = new_sender(limits=few).send(posts, 60)
        assert failures(outcomes[:1] + outcomes[9:]) == [None] * 9

    def test_until_a_subscription_answers_it_has_few_in_flight(
        self, new_sender: NewSender, receive: Receive
    ) -> None:
        in_flight_at_first: list[int] = []

        def notes_the_first(receiver: Receiver, connection: socket.socket, request: Request) -> bool:
            if len(in_flight_at_first) < 2:
                time.sleep(0.1)
                in_flight_at_first.append(len(receiver.requests))
            return _slow(receiver, connection, request)

        receiver = receive(notes_the_first)
        new_sender(limits=Limits()).send([post(receiver.url) for _ in range(30)], GENEROUS)
        assert in_flight_at_first[0] <= 2
        assert receiver.most_at_once > 2

    def test_a_failing_subscription_is_deferred_for_the_rest_of_the_run(
        self, new_sender: NewSender, receive: Receive, refused_port: int
    ) -> None:
        url = f"http://127.0.0.1:{refused_port}/"
        prepared: list[str] = []
        sender = new_sender(limits=Limits(per_subscription=1))
        outcomes = sender.send([post(url, prepared=prepared) for _ in range(5)], GENEROUS)
        assert failures(outcomes) == [Failure.CONNECTION] * 2 + [Failure.DEFERRED] * 3
        assert len(prepared) == 2

    def test_a_subscription_that_answers_is_not_deferred_whatever_it_answers(
        self, new_sender: NewSender, receive: Receive
    ) -> None:
        receiver = receive(answering("500 Oops"))
        outcomes = new_sender(limits=Limits()).send([post(receiver.url) for _ in range(20)], GENEROUS)
        assert failures(outcomes) == [Failure.HTTP] * 20


class TestFromRunToRun:
    def test_a_receiver_that_hung_is_not_attempted_in_the_next_run(
        self, new_sender: NewSender, receive: Receive
    ) -> None:
        receiver = receive(hanging)
        prepared: list[str] = []
        sender = new_sender()
        first = sender.send([post(receiver.url) for _ in range(5)], GENEROUS)
        again = sender.send([post(receiver.url, prepared=prepared) for _ in range(5)], GENEROUS)
        assert failures(first) == [Failure.TIMEOUT] * 2 + [Failure.DEFERRED] * 3
        assert [(o.failure, o.latency_ms) for o in again] == [(Failure.DEFERRED, 0)] * 5
        assert prepared == []
        assert len(receiver.requests) == 2

    def test_when_a_probe_is_due_one_post_is_tried_and_then_the_wait_is_longer(
        self, new_sender: NewSender, receive: Receive, clock: Clock
    ) -> None:
        receiver = receive(hanging)
        sender = new_sender()
        attempted = []
        for wait in (0, 29, 1, 30, 29, 1, 60, 59, 1):
            clock.now += wait
            outcomes = sender.send([post(receiver.url) for _ in range(3)], GENEROUS)
            attempted.append(failures(outcomes).count(Failure.TIMEOUT))
        assert attempted == [2, 0, 1, 0, 0, 1, 0, 0, 1]
        assert len(receiver.requests) == 5

    def test_once_the_probe_is_answered_the_rest_goes_out(
        self, new_sender: NewSender, receive: Receive, clock: Clock
    ) -> None:
        arrived_before_an_answer: list[int] = []

        def notes_the_first(receiver: Receiver, connection: socket.socket, request: Request) -> bool:
            if not arrived_before_an_answer:
                time.sleep(0.1)
                arrived_before_an_answer.append(len(receiver.requests))
            return _slow(receiver, connection, request)

        receiver = receive(saying(b"", keep=False))
        sender = new_sender(limits=Limits())
        sender.send([post(receiver.url), post(receiver.url)], GENEROUS)
        receiver.requests.clear()
        receiver.script = notes_the_first
        clock.now += 30
        assert failures(sender.send([post(receiver.url) for _ in range(30)], GENEROUS)) == [None] * 30
        assert arrived_before_an_answer == [1]
        assert receiver.most_at_once > 1

    def test_a_receiver_that_answers_again_may_fail_as_often_as_a_new_one(
        self, new_sender: NewSender, receive: Receive, clock: Clock
    ) -> None:
        receiver = receive(saying(b"", keep=False))
        sender = new_sender()
        sender.send([post(receiver.url), post(receiver.url)], GENEROUS)
        clock.now += 30
        receiver.script = answering()
        assert sender.send([post(receiver.url)], GENEROUS)[0].delivered
        receiver.script = saying(b"", keep=False)
        outcomes = sender.send([post(receiver.url) for _ in range(3)], GENEROUS)
        assert failures(outcomes) == [Failure.CONNECTION] * 2 + [Failure.DEFERRED]

    def test_others_are_sent_to_as_ever(self, new_sender: NewSender, receive: Receive) -> None:
        stuck, free = receive(hanging), receive()
        sender = new_sender()
        sender.send([post(stuck.url), post(stuck.url)], GENEROUS)
        posts = [post((stuck, free)[n % 2].url, subscription=f"s{n % 2 + 1}") for n in range(20)]
        assert failures(sender.send(posts, GENEROUS)) == [Failure.DEFERRED, None] * 10

    def test_a_subscription_that_has_moved_starts_afresh(
        self, new_sender: NewSender, receive: Receive
    ) -> None:
        old, new = receive(hanging), receive()
        sender = new_sender()
        sender.send([post(old.url), post(old.url)], GENEROUS)
        assert sender.send([post(new.url)], GENEROUS)[0].delivered

    def test_attempts_without_an_answer_add_up_over_runs_until_there_is_one(
        self, new_sender: NewSender, receive: Receive
    ) -> None:
        receiver = receive()
        sender = new_sender()
        outcomes = []
        for script in ("drop", "answer", "drop", "drop", "drop"):
            receiver.script = saying(b"", keep=False) if script == "drop" else answering("500 Oops")
            outcomes += sender.send([post(receiver.url)], GENEROUS)
        assert failures(outcomes) == [
            Failure.CONNECTION,
            Failure.HTTP,
            Failure.CONNECTION,
            Failure.CONNECTION,
            Failure.DEFERRED,
        ]

    @pytest.mark.parametrize("status", ["301 Moved", "410 Gone", "429 Slow Down", "500 Oops", "503 Busy"])
    def test_an_answer_of_any_status_is_an_answer(
        self, new_sender: NewSender, receive: Receive, status: str
    ) -> None:
        receiver = receive(answering(status))
        sender = new_sender()
        outcomes = [sender.send([post(receiver.url)], GENEROUS)[0] for _ in range(5)]
        assert failures(outcomes) == [Failure.HTTP] * 5

    @pytest.mark.parametrize(
        ("url", "failure"),
        [
            ("http://127.0.0.1:{refused_port}/", Failure.CONNECTION),
            ("https://no-such-host.invalid/", Failure.DNS),
        ],
    )
    def test_a_receiver_that_cannot_be_reached_does_not_answer_either(
        self, new_sender: NewSender, refused_port: int, url: str, failure: Failure
    ) -> None:
        sender = new_sender(limits=Limits(attempt_seconds=15, connect_seconds=15))
        url = url.format(refused_port=refused_port)
        outcomes = [sender.send([post(url)], GENEROUS)[0] for _ in range(3)]
        assert failures(outcomes) == [failure, failure, Failure.DEFERRED]

    @pytest.mark.parametrize(
        ("url", "headers", "failure"),
        [
            ("http://10.0.0.1/", {}, Failure.FORBIDDEN_TARGET),
            ("nonsense", {}, Failure.INVALID_URL),
            ("http://127.0.0.1/", {"X-A": "a\nb"}, Failure.INVALID_HEADER),
        ],
    )
    def test_what_is_refused_before_it_is_sent_costs_no_time_and_is_not_deferred(
        self, new_sender: NewSender, url: str, headers: dict[str, str], failure: Failure
    ) -> None:
        sender = new_sender()
        outcomes = [sender.send([post(url, headers=headers)], GENEROUS)[0] for _ in range(5)]
        assert failures(outcomes) == [failure] * 5

    def test_a_post_that_cannot_be_sent_is_no_probe(
        self, new_sender: NewSender, receive: Receive, clock: Clock
    ) -> None:
        receiver = receive(saying(b"", keep=False))
        sender = new_sender()
        sender.send([post(receiver.url), post(receiver.url)], GENEROUS)
        clock.now += 30
        broken = [post(receiver.url, headers={"X-A": "a\nb"}) for _ in range(2)]
        outcomes = sender.send([*broken, *(post(receiver.url) for _ in range(3))], GENEROUS)
        assert (
            failures(outcomes) == [Failure.INVALID_HEADER] * 2 + [Failure.CONNECTION] + [Failure.DEFERRED] * 2
        )

    def test_an_attempt_that_our_own_budget_cut_short_is_held_against_nobody(
        self, new_sender: NewSender, receive: Receive
    ) -> None:
        receiver = receive(hanging)
        sender = new_sender(limits=Limits(min_attempt_seconds=0.05))
        outcomes = [sender.send([post(receiver.url)], 0.3)[0] for _ in range(4)]
        assert failures(outcomes) == [Failure.TIMEOUT] * 4

    def test_with_no_wait_a_probe_is_always_due(self, new_sender: NewSender, refused_port: int) -> None:
        sender = new_sender(limits=Limits(probe_after_seconds=0))
        url = f"http://127.0.0.1:{refused_port}/"
        outcomes = [sender.send([post(url)], GENEROUS)[0] for _ in range(5)]
        assert failures(outcomes) == [Failure.CONNECTION] * 5


def _slow(receiver: Receiver, connection: socket.socket, request: Request) -> bool:
    time.sleep(0.02)
    connection.sendall(answer())
    return True


def _until(event: threading.Event) -> Script:
    def script(receiver: Receiver, connection: socket.socket, request: Request) -> bool:
        event.wait(30)
        connection.sendall(answer())
        return True

    return script


class TestWaves:
    PATIENT = Limits(attempt_seconds=60, wave_seconds=0.05)

    def test_what_has_ended_is_told_while_another_is_waited_for(
        self, new_sender: NewSender, receive: Receive, refused_port: int
    ) -> None:
        told = threading.Event()
        slow, free = receive(_until(told)), receive()
        posts = [
            post(slow.url, subscription="slow"),
            post(free.url, subscription="free"),
            post(f"http://127.0.0.1:{refused_port}/", subscription="dead"),
        ]
        waves = new_sender(limits=self.PATIENT).waves(posts, 60)
        first = next(waves)
        assert {index: outcome.failure for index, outcome in first.items()} == {
            1: None,
            2: Failure.CONNECTION,
        }
        assert first[1].delivery_id == posts[1].delivery_id
        told.set()
        assert [list(wave) for wave in waves] == [[0]]

    def test_the_last_wave_has_what_was_not_attempted(self, new_sender: NewSender, receive: Receive) -> None:
        free = receive()
        posts = [post(free.url), post(receive(hanging).url, subscription="stuck"), post("no url")]
        (wave,) = new_sender(limits=self.PATIENT).waves(posts, 0)
        assert failures([wave[index] for index in range(3)]) == [Failure.DEFERRED] * 3

    def test_without_posts_there_is_one_that_is_empty(self, new_sender: NewSender) -> None:
        assert list(new_sender().waves([], 60)) == [{}]

    def test_a_run_that_is_given_up_leaves_nothing_of_itself_to_the_next(
        self, new_sender: NewSender, receive: Receive
    ) -> None:
        stuck, free = receive(hanging), receive()
        sender = new_sender(limits=self.PATIENT)
        run = sender.waves([post(free.url, subscription="free"), post(stuck.url, subscription="stuck")], 60)
        next(run)
        run.close()
        again = [post(free.url, subscription="free") for _ in range(3)]
        assert failures(sender.send(again, 60)) == [None] * 3


class TestBudget:
    def test_when_it_is_spent_what_flies_times_out_and_the_rest_is_deferred(
        self, new_sender: NewSender, receive: Receive
    ) -> None:
        receiver = receive(hanging)
        began = time.monotonic()
        sender = new_sender(limits=Limits(max_connections=2, min_attempt_seconds=0.05))
        outcomes = sender.send([post(receiver.url, subscription=f"s{n}") for n in range(4)], 0.5)
        assert failures(outcomes) == [Failure.TIMEOUT] * 2 + [Failure.DEFERRED] * 2
        assert time.monotonic() - began < 4  # attempts may take 5
        receiver.script = answering()
        assert sender.send([post(receiver.url)], GENEROUS)[0].delivered

    def test_too_little_of_it_starts_nothing(self, new_sender: NewSender, receive: Receive) -> None:
        receiver = receive()
        sender = new_sender(limits=Limits(min_attempt_seconds=0.5))
        for budget in (-1, 0, 0.4):
            assert failures(sender.send([post(receiver.url)], budget)) == [Failure.DEFERRED]
        assert receiver.connections == 0

    def test_an_error_of_our_own_leaves_the_sender_usable(
        self, new_sender: NewSender, receive: Receive
    ) -> None:
        def broken() -> tuple[Mapping[str, str], bytes]:
            raise ZeroDivisionError

        receiver = receive()
        sender = new_sender()
        with pytest.raises(ZeroDivisionError):
            sender.send([post(receiver.url), Post("d", "s2", "c", receiver.url, broken)], GENEROUS)
        assert sender.send([post(receiver.url)], GENEROUS)[0].delivered
