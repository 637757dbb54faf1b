"""Asks a stack's HTTP API. Reads are asked again where that helps; a write only if it can be repeated.

Nothing of an answer that is not understood is shown: a proxy's page may hold anything.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from recovery.failure import Failure
from recovery.stack import Stack

TRIES = 3
_TIMEOUT = httpx.Timeout(35, connect=5)
"""Longer than the gateway's own 30 s, so that it is the gateway that says so."""
_PASSING = (429, 500, 502, 503, 504)
_WAITS = (0.5, 2.0)
_LONGEST_WAIT = 10.0
_REPEATABLE = ("GET", "PUT", "DELETE")
_PAGE = 100
_REDIRECTS = range(300, 400)
_NOT_FOUND = 404
_UNKNOWN_OUTCOME = " Whether it was done is not known: look before you ask again."

Answer = dict[str, Any]


def path(*parts: str) -> str:
    """The path of something, each part encoded."""
    return "/v1/" + "/".join(quote(part, safe="") for part in parts)


def twice(part: str) -> str:
    """Encodes an id once more: AWS's HTTP API hands a path over decoded twice (see the API's `_spelled`)."""
    return quote(part, safe="")


class Api:
    """Speaks to one stack."""

    def __init__(self, stack: Stack, sleep: Callable[[float], None] = time.sleep) -> None:
        self._stack = stack
        self._sleep = sleep
        headers = {"authorization": f"Bearer {stack.token}", "accept": "application/json"}
        # Through the environment's proxy to a deployed stack, never to one on this machine.
        self._http = httpx.Client(
            base_url=stack.api_url, headers=headers, timeout=_TIMEOUT, trust_env=not stack.is_local
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def get(self, path: str, **query: Any) -> Answer:
        """Reads.

        Raises:
            Failure: it was refused, or nobody answered.
        """
        return self.send("GET", path, query=query)

    def send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, Any] | None = None,
        repeatable: bool = False,
    ) -> Answer:
        """Sends one request.

        Args:
            method: of HTTP.
            path: below the stack's URL.
            body: of the request, as JSON.
            query: None values are left out.
            repeatable: whether this POST may be sent twice without harm, so that it is tried again.

        Raises:
            Failure: it was refused, or nobody answered.
        """
        may_repeat = repeatable or method in _REPEATABLE
        given = {name: value for name, value in (query or {}).items() if value is not None}
        for tried in range(1, TRIES + 1):
            is_last = tried == TRIES or not may_repeat
            try:
                response = self._http.request(method, path, params=given, json=body)
            except (httpx.TransportError, httpx.InvalidURL) as error:
                if is_last or isinstance(error, httpx.InvalidURL):
                    raise self._unreachable(error, may_repeat=may_repeat) from None
                self._sleep(_WAITS[tried - 1])
                continue
            if is_last or response.status_code not in _PASSING:
                break
            self._sleep(_wait(response, _WAITS[tried - 1]))
        return _read(response, may_repeat=may_repeat)

    def every(self, path: str, name: str, **query: Any) -> Iterator[Answer]:
        """Reads a list to its end, page by page."""
        cursor = None
        while True:
            page = self.get(path, limit=_PAGE, cursor=cursor, **query)
            yield from items(page, name)
            cursor = page.get("next_cursor")
            if not isinstance(cursor, str):
                return

    def _unreachable(self, error: Exception, *, may_repeat: bool) -> Failure:
        where = f"The API of {self._stack.name}"
        if isinstance(error, httpx.ConnectError) and self._stack.is_local:
            return Failure(f"{where} does not answer: is `make local` still running?")
        if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout)):
            return Failure(f"{where} cannot be reached from here.")
        if isinstance(error, httpx.InvalidURL):
            return Failure(f"{where} has a URL that cannot be asked.")
        told = "did not answer in time" if isinstance(error, httpx.TimeoutException) else "broke off"
        return Failure(f"{where} {told}." + ("" if may_repeat else _UNKNOWN_OUTCOME))


def items(answer: Answer, name: str) -> list[Answer]:
    """A list of an answer.

    Raises:
        Failure: there is none.
    """
    found = answer.get(name)
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise Failure(f"The API answered without {name}: it is of another version than this command.")
    return found


def count(answer: Answer, name: str) -> int:
    """A number of an answer.

    Raises:
        Failure: there is none.
    """
    value = answer.get(name)
    if not isinstance(value, int):
        raise Failure(f"The API answered without {name}: it is of another version than this command.")
    return value


def _wait(response: httpx.Response, otherwise: float) -> float:
    """How long the API asks to wait, in seconds."""
    asked = response.headers.get("retry-after", "")
    return min(float(asked), _LONGEST_WAIT) if asked.isascii() and asked.isdigit() else otherwise


def _read(response: httpx.Response, *, may_repeat: bool) -> Answer:
    if response.is_success and not response.content:
        return {}
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if response.is_success and isinstance(answer, dict):
        return answer
    failure = _refusal(response, answer)
    if failure.passes and not may_repeat:
        failure.message += _UNKNOWN_OUTCOME
    raise failure


def _refusal(response: httpx.Response, answer: Any) -> Failure:
    status = response.status_code
    if status in _REDIRECTS:
        return Failure(f"The API answered with a redirect ({status}), which is not followed.", status=status)
    if not isinstance(answer, dict):
        kind = response.headers.get("content-type", "").partition(";")[0] or "no type"
        return Failure(
            f"Not the API answered ({status}, {kind} instead of JSON): a proxy, or another URL?",
            status=status,
        )
    told = _sentence(answer)
    if status in (401, 403) and "title" not in answer:
        why = f"The token is unknown, or does not allow this ({status}): {told}"
        return Failure(why, status=status, problem=answer)
    if status == _NOT_FOUND and "title" not in answer:  # the gateway's own
        return Failure("This stack's API has no such call: is it older than this command?", status=status)
    return Failure(f"{told} ({status})", status=status, problem=answer)


def _sentence(problem: Mapping[str, Any]) -> str:
    """A problem document in words; the gateway's own answers have only a message."""
    title = problem.get("title") or problem.get("message") or "The API refused it"
    told = f"{title}: {problem['detail']}" if problem.get("detail") else str(title)
    if problem.get("detail") and problem.get("status") == _NOT_FOUND:
        told = str(problem["detail"])  # the title says no more than that it is not there
    errors = problem.get("errors")
    faults = [fault for fault in errors if isinstance(fault, dict)] if isinstance(errors, list) else []
    fields = "; ".join(f"{fault.get('field')}: {_fault(fault)}" for fault in faults)
    return f"{told} ({fields})" if fields else told


def _fault(fault: Mapping[str, Any]) -> str:
    """What is wrong with a field, without how the API's validator begins what another has said."""
    return str(fault.get("message")).removeprefix("Value error, ")
