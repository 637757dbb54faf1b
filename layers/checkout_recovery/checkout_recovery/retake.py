"""Kept requests on their way back to ingest, which alone reads and applies what providers send."""

import json
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from checkout_recovery.errors import BrokenRecord, Unavailable
from checkout_recovery.tables.driver import driver_errors

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

_UNAVAILABLE = Unavailable.type


class Retake:
    """Invokes the ingest function, and waits for what it says."""

    def __init__(self, client: "LambdaClient", function: str) -> None:
        self._client = client
        self._function = function

    def __call__(self, message: str) -> str | None:
        """Has a kept request taken in.

        Returns:
            The type of the problem with which it is still not understood; None where it was taken in.

        Raises:
            Unavailable: the function could not be reached, failed, or could not say.
            BrokenRecord: the message is not JSON.
        """
        try:
            payload = json.dumps({"rejected": json.loads(message)})
        except (ValueError, RecursionError):
            raise BrokenRecord("not JSON") from None
        said = self._invoke(payload)
        if said.get("understood") is True:
            return None
        problem = str(said.get("problem"))
        if problem == _UNAVAILABLE:
            raise Unavailable("A part of AWS that ingest needs is not there.")
        return problem

    def _invoke(self, payload: str) -> dict[str, Any]:
        try:
            with driver_errors():
                answer = self._client.invoke(
                    FunctionName=self._function, InvocationType="RequestResponse", Payload=payload
                )
                told = json.loads(answer["Payload"].read())
        except ClientError as error:
            if error.response["Error"]["Code"] != "TooManyRequestsException":
                raise
            raise Unavailable("Ingest is as busy as it may be.") from error
        if answer.get("FunctionError") or not isinstance(told, dict):
            raise Unavailable("Ingest failed.")
        return told
