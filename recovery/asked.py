"""What must not stay in the shell's history: asked for unseen, or read from stdin."""

import sys

import typer

from recovery.failure import Failure


def asked_for(given: str | None, what: str) -> str:
    """What was given; without it, or for ``-``, a prompt for it or else the first line of stdin.

    Nothing but the line's end is cut off. It is empty where there is none.

    Raises:
        Failure: stdin is not UTF-8.
    """
    if given not in (None, "-"):
        line = given
    elif sys.stdin and sys.stdin.isatty():
        line = typer.prompt(what, hide_input=True, err=True)
    else:
        line = _first_line()
    return str(line).strip("\r\n")


def _first_line() -> str:
    if not sys.stdin:  # closed
        return ""
    try:
        line = sys.stdin.readline()
        line.encode()
    except UnicodeError:
        raise Failure("What stdin has is not UTF-8.") from None
    return line.removeprefix("\ufeff")
