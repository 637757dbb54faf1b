"""Turns the AWS client's errors into the package's own."""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NoConnection

from checkout_recovery.errors import Unavailable

_PASSING = frozenset(
    {
        "InternalServerError",
        "InternalFailure",
        "LimitExceededException",
        "KmsThrottled",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "ServiceUnavailable",
        "Throttling",
        "ThrottlingException",
        "TooManyUpdates",
        "TransactionInProgressException",
    }
)
_SERVER_ERROR = 500


@contextmanager
def driver_errors() -> Iterator[None]:
    """Lets an error that passes by itself out as `Unavailable`; every other is a fault of ours and stays."""
    try:
        yield
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if error.response["Error"]["Code"] not in _PASSING and status < _SERVER_ERROR:
            raise
        raise Unavailable("AWS is throttling or restarting a part that this needs.") from error
    except (NoConnection, HTTPClientError) as error:
        raise Unavailable("A part of AWS that this needs cannot be reached.") from error
