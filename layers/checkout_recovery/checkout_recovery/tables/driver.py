"""Turns the AWS client's errors into the package's own."""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError

from checkout_recovery.errors import Unavailable

_PASSING = frozenset(
    {
        "InternalServerError",
        "InternalFailure",
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ServiceUnavailable",
        "ThrottlingException",
        "TooManyUpdates",
        "TransactionInProgressException",
    }
)


@contextmanager
def driver_errors() -> Iterator[None]:
    """Lets an error that passes by itself out as `Unavailable`; every other is a fault of ours and stays."""
    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] not in _PASSING:
            raise
        raise Unavailable("AWS is throttling or restarting a part that this needs.") from error
    except BotoCoreError as error:
        raise Unavailable("A part of AWS that this needs cannot be reached.") from error
