"""Every error that this package raises on purpose.

CheckoutRecoveryError
├── ProblemError              answered to an HTTP caller as application/problem+json
│   ├── MalformedRequest      422  authentic, but not understood
│   │   └── JsonError                  not JSON that can be kept faithfully (in `json_codec`)
│   ├── Unauthenticated       401  no proof of who sends, or no such store: the caller cannot tell
│   ├── Forbidden             403  a valid token for something else
│   ├── NotFound              404
│   ├── MethodNotAllowed      405
│   ├── Conflict              409
│   ├── TooLarge              413
│   └── Unavailable           503  a dependency is throttled or down; the same request may succeed later
└── BrokenRecord              a stream record or queue message that this code did not write
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

MAX_FIELD_ERRORS = 20
"""How many failing fields an answer names; a body may have a hundred thousand."""


class CheckoutRecoveryError(Exception):
    """The root of all errors here."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """One failing field: where it is and what is wrong, never the value that it held."""

    field: str
    message: str


class ProblemError(CheckoutRecoveryError):
    """An error that an HTTP caller is told about, in the form of RFC 9457.

    `detail` and `errors` are read by strangers and written to logs: they name fields, never values.
    """

    status: ClassVar[int] = 500
    type: ClassVar[str] = "about:blank"
    title: ClassVar[str] = "Internal error"

    def __init__(self, detail: str = "", errors: Sequence[FieldError] = ()) -> None:
        super().__init__(detail or self.title)
        self.detail = detail
        self.errors = tuple(errors)[:MAX_FIELD_ERRORS]

    def problem(self) -> dict[str, Any]:
        """The members of the problem document; `type` is stable and safe to switch on."""
        problem: dict[str, Any] = {"type": self.type, "title": self.title, "status": self.status}
        if self.detail:
            problem["detail"] = self.detail
        if self.errors:
            problem["errors"] = [asdict(error) for error in self.errors]
        return problem


class MalformedRequest(ProblemError):
    status = 422
    type = "/problems/malformed-request"
    title = "The request was not understood"


class Unauthenticated(ProblemError):
    status = 401
    type = "/problems/unauthenticated"
    title = "The request is not authenticated"


class Forbidden(ProblemError):
    status = 403
    type = "/problems/forbidden"
    title = "The token does not allow this"


class NotFound(ProblemError):
    status = 404
    type = "/problems/not-found"
    title = "There is no such thing"


class MethodNotAllowed(ProblemError):
    status = 405
    type = "/problems/method-not-allowed"
    title = "This cannot be done here"


class Conflict(ProblemError):
    status = 409
    type = "/problems/conflict"
    title = "The request conflicts with what is there"


class TooLarge(ProblemError):
    status = 413
    type = "/problems/too-large"
    title = "The body is too large"


class Unavailable(ProblemError):
    status = 503
    type = "/problems/unavailable"
    title = "Try again in a moment"


class BrokenRecord(CheckoutRecoveryError):
    """A record from a stream or queue does not have the form in which this package writes it."""
