"""The sender: many signed POSTs at once, through libcurl, to receivers that nobody here controls.

One thread, no event loop: libcurl's multi interface does the waiting. Handles and connections live as long as
the sender, so a warm run finds its connections open. Every connection is checked where its socket is made
(`egress.is_forbidden`), once a connection and not once a request. No redirects, no proxy, nothing from the
environment. Nothing here is logged, and nothing of an answer is kept but its status and Retry-After. From run
to run the sender remembers who does not answer (`breaker.Breaker`): one who hangs delays a batch, not all.

HTTP/1.1 with keep-alive, not HTTP/2: many subscriptions share one provider's host, and where each request in
flight has a connection to itself, one that hangs or breaks costs nobody else's. Warm, both take the same CPU;
cold, HTTP/1.1 pays a TLS handshake of about 1 ms for each connection.
"""

import math
import socket
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import pycurl

from checkout_recovery.delivery.breaker import Breaker, Receiver
from checkout_recovery.delivery.egress import (
    header_name_fault,
    header_value_fault,
    is_forbidden,
    url_fault,
)

USER_AGENT = "CheckoutRecovery/1"
"""What a request is called unless its contract has a User-Agent of its own."""
DNS_CACHE_SECONDS = 30
MAX_IDLE_SECONDS = 60
MAX_CONNECTION_SECONDS = 300
"""However busy a connection is, after this its receiver's name is looked up again."""


class Failure(StrEnum):
    """Why a post was not delivered."""

    TIMEOUT = "timeout"
    DNS = "dns"
    CONNECTION = "connection"
    """Not connected, or cut off before there was a status."""
    TLS = "tls"
    PROTOCOL = "protocol"
    """What answered did not speak HTTP."""
    FORBIDDEN_TARGET = "forbidden_target"
    """The name led to no address that may be connected to."""
    INVALID_URL = "invalid_url"
    INVALID_HEADER = "invalid_header"
    HTTP = "http"
    """Answered, but not with a 2xx."""
    DEFERRED = "deferred"
    """Not attempted in this run: its budget was spent, or the subscription was failing."""


@dataclass(frozen=True, slots=True)
class Post:
    """One delivery to attempt."""

    delivery_id: str
    subscription_id: str
    lane: str
    """The checkout. Posts of one subscription and lane go out in order, each after the one before ended."""
    url: str
    prepare: Callable[[], tuple[Mapping[str, str], bytes]]
    """Makes the headers and the body right before the attempt, so that signatures carry its time. The headers
    include Content-Type. It never raises: an error here would end the whole run."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended."""

    delivery_id: str
    status: int | None
    """The answer's status; None exactly when `failure` is something other than HTTP."""
    failure: Failure | None
    latency_ms: int
    retry_after: int | None = None
    """Seconds that a failing receiver asked for in Retry-After, as seconds or as a date; at most 6 hours."""

    @property
    def delivered(self) -> bool:
        return self.failure is None


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run may take; times are seconds."""

    max_connections: int = 64
    """Posts in flight, and idle connections kept for the next run."""
    per_subscription: int = 6
    """Posts in flight to one subscription."""
    attempt_seconds: float = 5.0
    """A whole attempt, from the look-up of the name to the end of the answer."""
    connect_seconds: float = 3.0
    min_attempt_seconds: float = 0.5
    """With less of the budget left nothing is started: a post cut short would be blamed on its receiver."""
    max_response_bytes: int = 64 * 1024
    """A longer answer ends the transfer there; its status counts all the same."""
    failures_before_deferring: int = 2
    """After so many attempts without an answer, the rest of a subscription's posts are deferred: in this run,
    and after as many in a row, or one TIMEOUT of who has never answered, in later runs until a probe is due.
    Until its first answer in a run it has no more than these in flight: libcurl looks names up on 20 threads,
    and a few receivers whose DNS hangs would take them all."""
    probe_after_seconds: float = 30.0
    """How long a subscription is deferred before one post probes whether it answers again. Each probe without
    an answer doubles the wait; 0 has a probe always due."""
    probe_at_most_seconds: float = 600.0
    straggler_seconds: float | None = None
    """Once others have answered and nothing has ended for so long, those that have not answered are cut off
    as TIMEOUT: a batch must not wait for who hangs. The first post ever to a receiver is cut off after half
    of it. None waits for each as long as it may take."""
    wave_seconds: float | None = None
    """What has ended is told once nothing has ended for so long, though there is more in flight; what is then
    made of it takes of the others' time. None tells all at the end."""


_DEFAULTS = Limits()


class Sender:
    """Sends posts; not for several threads at once."""

    def __init__(
        self,
        *,
        local_targets: bool,
        ca_file: str,
        limits: Limits = _DEFAULTS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Opens no connection yet.

        Args:
            local_targets: lets http:// and loopback receivers in.
            ca_file: the certificate authorities to trust, as PEM.
            limits: what a run may take.
            clock: seconds, by which probes fall due.

        Raises:
            OSError: `ca_file` cannot be read. Found out later, it would look like every receiver's fault.
        """
        with Path(ca_file).open("rb"):
            pass
        self._local_targets = local_targets
        self._limits = limits
        self._breaker = Breaker(
            failures=limits.failures_before_deferring,
            probe_after=limits.probe_after_seconds,
            probe_at_most=limits.probe_at_most_seconds,
            clock=clock,
        )
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_MAXCONNECTS, limits.max_connections)
        self._ca_file = ca_file
        self._idle: list[_Transfer] = []
        self._busy: dict[pycurl.Curl, _Transfer] = {}

    def send(self, posts: Sequence[Post], budget_seconds: float) -> list[Outcome]:
        """Attempts each post at most once, and returns an outcome for each in the same order.

        When the budget is spent, what is in flight ends as TIMEOUT and what has not started as DEFERRED. An
        attempt cut short that way is not held against its receiver in later runs.
        """
        outcomes: dict[int, Outcome] = {}
        with closing(self.waves(posts, budget_seconds)) as waves:
            for wave in waves:
                outcomes |= wave
        return [outcomes[index] for index in range(len(posts))]

    def waves(
        self, posts: Sequence[Post], budget_seconds: float
    ) -> Generator[Mapping[int, Outcome], None, None]:
        """Sends as `send` does, and tells what has ended while others are still waited for.

        To be closed by who does not read it to its end.

        Yields:
            Outcomes by the place of their posts; each once, and once at least.
        """
        turns = _Turns(posts, self._limits, self._breaker)
        wave_seconds = self._limits.wave_seconds or math.inf
        told: set[int] = set()
        outcomes: dict[int, Outcome] = {}
        deadline = time.monotonic() + budget_seconds
        quiet_since = time.monotonic()
        try:
            while (left := deadline - time.monotonic()) > 0:
                if left >= self._limits.min_attempt_seconds:
                    self._start(posts, turns, outcomes)
                if not self._busy:
                    break
                self._multi.perform()
                if self._collect(turns, outcomes):
                    quiet_since = time.monotonic()
                elif stragglers := self._stragglers(turns, quiet := time.monotonic() - quiet_since):
                    self._cut_off(stragglers, turns, outcomes)
                    quiet_since = time.monotonic()
                elif outcomes and quiet >= wave_seconds:
                    told |= outcomes.keys()
                    yield outcomes
                    outcomes = {}
                else:
                    self._wait(min(left, self._patience(quiet, has_news=bool(outcomes))))
        finally:
            self._cut_short(outcomes)
        left_out = set(range(len(posts))) - told - outcomes.keys()
        yield outcomes | {index: _deferred(posts[index]) for index in sorted(left_out)}

    def is_silent(self, subscription_id: str, url: str) -> bool:
        """Whether a subscription has come to be left alone because its receiver does not answer."""
        return self._breaker.has_opened((subscription_id, url))

    def close(self) -> None:
        """Closes every connection; waits for name look-ups that still hang."""
        for transfer in self._idle:
            transfer.curl.close()
        self._idle.clear()
        self._multi.close()

    def _start(self, posts: Sequence[Post], turns: "_Turns", outcomes: dict[int, Outcome]) -> None:
        while len(self._busy) < self._limits.max_connections and (index := turns.next()) is not None:
            post = posts[index]
            if not self._idle:
                self._idle.append(_Transfer(self._local_targets, self._ca_file, self._limits))
            fault = self._load(self._idle[-1], post)
            if fault:
                outcomes[index] = Outcome(post.delivery_id, None, fault, 0)
                turns.not_attempted(index)
                continue
            transfer = self._idle.pop()
            transfer.begin(index, post.delivery_id)
            self._busy[transfer.curl] = transfer
            self._multi.add_handle(transfer.curl)

    def _load(self, transfer: "_Transfer", post: Post) -> Failure | None:
        if not _is_well_formed(post.url, self._local_targets):
            return Failure.INVALID_URL
        headers, body = post.prepare()
        lines = _header_lines(headers)
        if lines is None:
            return Failure.INVALID_HEADER
        transfer.load(post.url, lines, body)
        return None

    def _collect(self, turns: "_Turns", outcomes: dict[int, Outcome]) -> bool:
        """Takes in the transfers that have ended; whether there were any."""
        _, succeeded, failed = self._multi.info_read()
        ended = [(curl, pycurl.E_OK) for curl in succeeded] + [(curl, code) for curl, code, _ in failed]
        for curl, code in ended:
            transfer = self._release(curl)
            outcome = outcomes[transfer.index] = transfer.outcome(code)
            turns.ended(transfer.index, outcome)
        return bool(ended)

    def _patience(self, quiet: float, *, has_news: bool) -> float:
        """How long until somebody may have been waited for long enough, or there is something to tell."""
        limit = self._limits.straggler_seconds or math.inf
        waits = (limit / 2, limit, self._limits.wave_seconds or math.inf if has_news else math.inf)
        return min((wait - quiet for wait in waits if wait > quiet), default=math.inf)

    def _stragglers(self, turns: "_Turns", quiet: float) -> list[pycurl.Curl]:
        """Those in flight that have been waited for long enough by others who have answered."""
        limit = self._limits.straggler_seconds
        if limit is None or quiet < limit / 2:
            return []
        return [
            curl
            for curl, transfer in self._busy.items()
            if turns.is_waited_for(transfer.index) and quiet >= limit / (1 + turns.is_new(transfer.index))
        ]

    def _cut_off(
        self, stragglers: Sequence[pycurl.Curl], turns: "_Turns", outcomes: dict[int, Outcome]
    ) -> None:
        """Ends who has not answered while others have; it is held against them."""
        for curl in stragglers:
            transfer = self._release(curl)
            outcome = outcomes[transfer.index] = transfer.outcome(pycurl.E_OPERATION_TIMEDOUT)
            turns.ended(transfer.index, outcome)

    def _wait(self, left: float) -> None:
        milliseconds = self._multi.timeout()  # -1 where libcurl waits for sockets alone
        self._multi.select(left if milliseconds < 0 else min(left, milliseconds / 1000))

    def _cut_short(self, outcomes: dict[int, Outcome]) -> None:
        for curl in tuple(self._busy):
            transfer = self._release(curl)
            outcomes[transfer.index] = transfer.outcome(pycurl.E_OPERATION_TIMEDOUT)

    def _release(self, curl: pycurl.Curl) -> "_Transfer":
        self._multi.remove_handle(curl)
        transfer = self._busy.pop(curl)
        self._idle.append(transfer)
        return transfer


class _Transfer:
    """An easy handle and the post that it carries; its constant options are set once."""

    __slots__ = ("_began", "_connecting", "_delivery_id", "_local_targets", "_refused", "curl", "index")

    def __init__(self, local_targets: bool, ca_file: str, limits: Limits) -> None:
        self._local_targets = local_targets
        self.begin(-1, "")
        self.curl = pycurl.Curl()
        for option, value in _options(local_targets, ca_file, limits).items():
            self.curl.setopt(option, value)
        self.curl.setopt(pycurl.OPENSOCKETFUNCTION, self._open_socket)

    def load(self, url: str, header_lines: list[bytes], body: bytes) -> None:
        self.curl.setopt(pycurl.URL, url)
        self.curl.setopt(pycurl.HTTPHEADER, header_lines)
        self.curl.setopt(pycurl.POSTFIELDS, body)

    def begin(self, index: int, delivery_id: str) -> None:
        self.index = index
        self._delivery_id = delivery_id
        self._refused = self._connecting = False
        self._began = time.monotonic()

    def outcome(self, code: int) -> Outcome:
        """What libcurl's result code, and the answer if there was one, say of the attempt."""
        latency_ms = round((time.monotonic() - self._began) * 1000)
        if code not in _ANSWERED:
            return Outcome(self._delivery_id, None, self._failure(code), latency_ms)
        status = self.curl.getinfo(pycurl.RESPONSE_CODE)
        if status // 100 == 2:  # noqa: PLR2004 - the class of success
            return Outcome(self._delivery_id, status, None, latency_ms)
        retry_after = self.curl.getinfo(pycurl.RETRY_AFTER) or None
        return Outcome(self._delivery_id, status, Failure.HTTP, latency_ms, retry_after)

    def _failure(self, code: int) -> Failure:
        if code == pycurl.E_COULDNT_CONNECT and self._refused and not self._connecting:
            return Failure.FORBIDDEN_TARGET
        return _FAILURES.get(code, Failure.CONNECTION)

    def _open_socket(self, purpose: int, address: "_Address") -> "socket.socket | int":  # noqa: ARG002 - libcurl's
        """The egress guard: libcurl asks for a socket to each address that it is about to connect to."""
        if is_forbidden(address.addr[0], local=self._local_targets):
            self._refused = True
            return pycurl.SOCKET_BAD
        self._connecting = True
        return _Lent(address.family, address.socktype, address.protocol)


class _Lent(socket.socket):
    """A socket for pycurl, which duplicates its descriptor and lets go: closed then, without a warning."""

    def __del__(self) -> None:
        self.close()


class _Address(NamedTuple):
    """pycurl's CurlSockAddr."""

    family: int
    socktype: int
    protocol: int
    addr: tuple[str, int] | tuple[str, int, int, int]


class _Turns:
    """Whose post goes next: subscriptions take turns, and so do the lanes within each."""

    def __init__(self, posts: Sequence[Post], limits: Limits, breaker: Breaker) -> None:
        self._limits = limits
        self._posts = posts
        self._breaker = breaker
        self._answered: set[str] = set()
        self._queues: dict[str, _Queue] = {}
        for index, post in enumerate(posts):
            queue = self._queues.get(post.subscription_id)
            if queue is None:
                queue = self._queues[post.subscription_id] = _Queue(breaker.allowance(_receiver(post)))
            queue.add(post.lane, index)
        self._round = deque(self._queues.values())

    def next(self) -> int | None:
        """The index of a post to start now, or None until another has ended."""
        while self._round:
            queue = self._round.popleft()
            queue.in_round = queue.has_turn(self._limits)
            if queue.in_round:
                self._round.append(queue)
                return queue.take()
        return None

    def is_waited_for(self, index: int) -> bool:
        """Whether a post keeps others waiting: those who have answered in this run."""
        return not self._answered <= {self._posts[index].subscription_id}

    def is_new(self, index: int) -> bool:
        """Whether a post is the first to its receiver."""
        return self._breaker.is_stranger(_receiver(self._posts[index]))

    def ended(self, index: int, outcome: Outcome) -> None:
        post = self._posts[index]
        queue = self._give_back(post)
        if outcome.status is not None:
            self._answered.add(post.subscription_id)
            self._breaker.answered(_receiver(post))
            queue.answered(self._limits)
            return
        queue.unanswered()
        if outcome.failure not in _UNTRIED:
            self._breaker.unanswered(_receiver(post), held_up=outcome.failure is Failure.TIMEOUT)

    def not_attempted(self, index: int) -> None:
        """A post that could not be sent at all says nothing of its receiver."""
        self._give_back(self._posts[index])

    def _give_back(self, post: Post) -> "_Queue":
        queue = self._queues[post.subscription_id]
        queue.give_back(post.lane)
        if not queue.in_round:
            queue.in_round = True
            self._round.append(queue)
        return queue


class _Queue:
    """One subscription's posts that wait, by lane; a lane with a post in flight is not ready."""

    __slots__ = ("_allowance", "_answers", "_in_flight", "_lanes", "_ready", "_unanswered", "in_round")

    def __init__(self, allowance: int) -> None:
        """Lets `allowance` attempts go without an answer, and what the limits say after the first answer."""
        self._allowance = allowance
        self._lanes: dict[str, deque[int]] = {}
        self._ready: deque[deque[int]] = deque()
        self._in_flight = 0
        self._answers = False
        self._unanswered = 0
        self.in_round = True

    def add(self, lane: str, index: int) -> None:
        if lane not in self._lanes:
            self._lanes[lane] = deque()
            self._ready.append(self._lanes[lane])
        self._lanes[lane].append(index)

    def has_turn(self, limits: Limits) -> bool:
        if not self._ready or self._unanswered >= self._allowance:
            return False
        if not self._answers:
            return self._in_flight + self._unanswered < self._allowance
        return self._in_flight < limits.per_subscription

    def take(self) -> int:
        self._in_flight += 1
        return self._ready.popleft().popleft()

    def give_back(self, lane: str) -> None:
        self._in_flight -= 1
        if self._lanes[lane]:
            self._ready.append(self._lanes[lane])

    def answered(self, limits: Limits) -> None:
        self._answers = True
        self._allowance = limits.failures_before_deferring

    def unanswered(self) -> None:
        self._unanswered += 1


def _options(local_targets: bool, ca_file: str, limits: Limits) -> dict[int, object]:
    """What is the same for every post."""
    schemes = pycurl.PROTO_HTTPS | (pycurl.PROTO_HTTP if local_targets else 0)
    return {
        pycurl.POST: 1,
        pycurl.USERAGENT: USER_AGENT,
        pycurl.WRITEFUNCTION: len,  # takes every byte of the body and keeps none
        pycurl.MAXFILESIZE: limits.max_response_bytes,
        pycurl.TIMEOUT_MS: round(limits.attempt_seconds * 1000),
        pycurl.CONNECTTIMEOUT_MS: round(limits.connect_seconds * 1000),
        pycurl.HTTP_VERSION: pycurl.CURL_HTTP_VERSION_1_1,
        pycurl.HTTP_CONTENT_DECODING: 0,
        pycurl.FOLLOWLOCATION: 0,
        pycurl.PROTOCOLS: schemes,
        pycurl.REDIR_PROTOCOLS: 0,
        pycurl.PATH_AS_IS: 1,
        pycurl.PROXY: "",  # libcurl would read http_proxy and its like from the environment
        pycurl.NOPROXY: "*",
        pycurl.NETRC: pycurl.NETRC_IGNORED,
        pycurl.CAINFO: ca_file,
        pycurl.SSL_VERIFYPEER: 1,
        pycurl.SSL_VERIFYHOST: 2,
        pycurl.SSLVERSION: pycurl.SSLVERSION_TLSv1_2,
        pycurl.NOSIGNAL: 1,
        pycurl.TCP_NODELAY: 1,
        pycurl.DNS_CACHE_TIMEOUT: DNS_CACHE_SECONDS,
        pycurl.MAXAGE_CONN: MAX_IDLE_SECONDS,
        pycurl.MAXLIFETIME_CONN: MAX_CONNECTION_SECONDS,
    }


@lru_cache(maxsize=1024)
def _is_well_formed(url: str, local_targets: bool) -> bool:
    return url_fault(url, local=local_targets) is None


def _header_lines(headers: Mapping[str, str]) -> list[bytes] | None:
    """Headers as libcurl takes them, or None if one may not be sent: no value may smuggle in another line."""
    if any(map(header_name_fault, headers)) or header_value_fault("".join(headers.values())):
        return None
    # libcurl drops a header without a value unless it ends in ";". UTF-8: to HTTP these are opaque bytes.
    lines = [f"{name}: {value}".encode() if value else f"{name};".encode() for name, value in headers.items()]
    lines.append(b"Expect:")  # otherwise libcurl waits for a 100 before it sends a larger body
    return lines


def _receiver(post: Post) -> Receiver:
    return post.subscription_id, post.url


def _deferred(post: Post) -> Outcome:
    return Outcome(post.delivery_id, None, Failure.DEFERRED, 0)


_ANSWERED = frozenset({pycurl.E_OK, pycurl.E_FILESIZE_EXCEEDED, pycurl.E_PARTIAL_FILE})
"""The codes that come after a status; only the rest, which nobody reads, may have been cut."""

_UNTRIED = frozenset({Failure.FORBIDDEN_TARGET, Failure.INVALID_URL})
"""What keeps nobody waiting, and so is tried again in the next run."""

_FAILURES = {
    pycurl.E_OPERATION_TIMEDOUT: Failure.TIMEOUT,
    pycurl.E_COULDNT_RESOLVE_HOST: Failure.DNS,
    pycurl.E_URL_MALFORMAT: Failure.INVALID_URL,
    pycurl.E_UNSUPPORTED_PROTOCOL: Failure.PROTOCOL,  # "HTTP/0.9" answered; the URL's was checked
    pycurl.E_FTP_WEIRD_SERVER_REPLY: Failure.PROTOCOL,  # CURLE_WEIRD_SERVER_REPLY, of all protocols
    pycurl.E_SSL_CONNECT_ERROR: Failure.TLS,
    pycurl.E_PEER_FAILED_VERIFICATION: Failure.TLS,
    pycurl.E_SSL_CACERT_BADFILE: Failure.TLS,
    pycurl.E_SSL_CERTPROBLEM: Failure.TLS,
    pycurl.E_SSL_CIPHER: Failure.TLS,
    pycurl.E_SSL_ISSUER_ERROR: Failure.TLS,
    pycurl.E_SSL_INVALIDCERTSTATUS: Failure.TLS,
}
"""What libcurl's result codes mean; all others are a CONNECTION that broke."""
