"""The one error that the operator is told of."""

from collections.abc import Mapping
from typing import Any


class Failure(Exception):
    """Says in a clear sentence what went wrong; ends the command with exit code 1, without a traceback."""

    def __init__(
        self, message: str, *, status: int | None = None, problem: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        """The HTTP status, where the API answered."""
        self.problem = problem
        """The API's problem document, where it gave one."""

    @property
    def passes(self) -> bool:
        """Whether the same question may be answered later: nobody answered, or with a 5xx or 429."""
        return self.status is None or self.status == 429 or self.status >= 500  # noqa: PLR2004
