"""What the operator sees: tables on a terminal, JSON for machines. Notes go to stderr.

What the API answers was partly written by strangers (a checkout's id is the provider's), so nothing of it is
read as markup and no control character reaches the terminal.
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from recovery import moments
from recovery.failure import Failure

_ANY_WIDTH = 100_000
"""Of which a table takes what it needs: an id that is folded cannot be copied."""

Rows = Iterable[Sequence[Any]]


def clean(value: Any) -> str:
    """Text that cannot move a cursor, turn the reading direction or colour anything."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in str(value))


class Screen:
    """Where one command writes."""

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self._out = Console(file=sys.stdout, highlight=False)
        self._err = Console(file=sys.stderr, highlight=False, stderr=True)

    def document(self, value: Any) -> None:
        """Writes the one JSON document of a command."""
        self._raw(json.dumps(value, indent=2))

    def line(self, value: Any) -> None:
        """Writes one of many JSON documents, each a line of its own."""
        self._raw(json.dumps(value))

    def say(self, text: str) -> None:
        """Writes a sentence; machines are spared it."""
        if not self.as_json:
            self._out.print(Text(clean(text)), soft_wrap=True)

    def note(self, text: str) -> None:
        """Writes to stderr, so that it is read and never piped on."""
        self._err.print(Text(clean(text)), soft_wrap=True)

    def table(self, columns: Sequence[str], rows: Rows, *, empty: str) -> None:
        """Writes a table, or a sentence where it would have no rows."""
        cells = [[Text(clean(cell)) for cell in row] for row in rows]
        if not cells:
            self.say(empty)
            return
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in columns:
            table.add_column(name, no_wrap=True)
        for row in cells:
            table.add_row(*row)
        self._whole(table)

    def facts(self, facts: Mapping[str, Any]) -> None:
        """Writes one thing, a fact a line."""
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column(style="bold", no_wrap=True)
        table.add_column(no_wrap=True)
        for name, value in facts.items():
            table.add_row(name, Text(clean(value)))
        self._whole(table)

    def progress(self) -> Progress:
        """A bar on stderr; nothing where nobody watches."""
        return Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[told]}"),
            TimeElapsedColumn(),
            console=self._err,
            disable=self.as_json or not self._err.is_terminal,
            transient=True,
        )

    def failure(self, failure: Failure) -> None:
        if self.as_json:
            told = {"error": failure.message, "status": failure.status, "problem": failure.problem}
            print(json.dumps(told), file=sys.stderr)  # noqa: T201 - neither folded nor coloured
        else:
            self.note(f"recovery: {failure.message}")

    def _whole(self, table: Table) -> None:
        """Writes each row as one line, however long: a narrow terminal wraps it, and nothing is cut."""
        needed = Measurement.get(self._out, self._out.options.update(width=_ANY_WIDTH), table).maximum
        for line in self._out.render_lines(table, self._out.options.update(width=needed), pad=False):
            text = Text.assemble(*((segment.text, segment.style or "") for segment in line))
            text.rstrip()  # what only fills a column up would wrap into blank lines
            self._out.print(text, soft_wrap=True)

    @staticmethod
    def _raw(text: str) -> None:
        print(text, flush=True)  # noqa: T201 - neither folded nor coloured


def when(answer: Mapping[str, Any], name: str) -> str:
    """A time of an answer, in the operator's zone."""
    return moments.shown(answer.get(name))
