"""What must not stay in the shell's history: asked for unseen, or read from stdin."""

import sys

import typer


def asked_for(given: str | None, what: str) -> str:
    """What was given; without it, or for ``-``, a prompt for it or else the first line of stdin.

    Nothing but the line's end is cut off. It is empty where there is none.
    """
    if given not in (None, "", "-"):
        return str(given)
    line = typer.prompt(what, hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.readline()
    return str(line).strip("\r\n")
