"""What is asked for: the prompt and stdin stand in for what was not given, and for nothing else."""

import io
import sys

import pytest

from recovery.asked import asked_for
from recovery.failure import Failure


def stdin(monkeypatch: pytest.MonkeyPatch, held: bytes, errors: str = "strict") -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(held), "utf-8", errors))


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (None, "from stdin "),
        ("-", "from stdin "),
        ("given", "given"),
        ("given\r\n", "given"),
        (" given", " given"),
        ("", ""),
    ],
)
def test_stdin_is_read_only_where_nothing_was_given(
    monkeypatch: pytest.MonkeyPatch, given: str | None, found: str
) -> None:
    stdin(monkeypatch, b"\xef\xbb\xbffrom stdin \r\nanother line\n")
    assert asked_for(given, "Key") == found


def test_without_stdin_there_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert asked_for(None, "Key") == ""


@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_stdin_that_is_not_utf_8_is_refused(monkeypatch: pytest.MonkeyPatch, errors: str) -> None:
    stdin(monkeypatch, b"\xff\n", errors)
    with pytest.raises(Failure, match="not UTF-8"):
        asked_for(None, "Key")
