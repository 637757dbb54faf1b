"""What AWS knows of a deployed stack: the API's URL from CloudFormation, the admin token from SSM."""

import contextlib
import os
from collections.abc import Iterator
from contextlib import closing

import boto3
from botocore import exceptions
from botocore.config import Config

from recovery.failure import Failure

_POLITE = Config(connect_timeout=5, read_timeout=20, retries={"mode": "standard", "total_max_attempts": 3})
_EXPIRED = ("ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired")
_REFUSED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation")
_WRONG = (
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "SignatureDoesNotMatch",
    "InvalidSignatureException",
)
_SIGN_IN = "AWS does not know who asks: sign in (aws sso login), or set AWS_PROFILE or --profile."
_SIGN_IN_AGAIN = "The AWS credentials have expired: sign in again (aws sso login)."


def session(region: str | None, profile: str | None) -> boto3.Session:
    """Opens AWS as the operator's own configuration says.

    Raises:
        Failure: there is no such profile.
    """
    try:
        # Every other SDK reads AWS_REGION; botocore only AWS_DEFAULT_REGION and the profile.
        return boto3.Session(region_name=region or os.environ.get("AWS_REGION"), profile_name=profile)
    except exceptions.ProfileNotFound:
        raise Failure(
            f"AWS's configuration on this machine has no profile {profile or 'as AWS_PROFILE names it'}."
        ) from None
    except exceptions.BotoCoreError as error:
        raise Failure(
            f"AWS's configuration on this machine cannot be used ({type(error).__name__})."
        ) from None


def api_url(aws: boto3.Session, name: str) -> str:
    """Returns the stack's output ``ApiUrl``.

    Raises:
        Failure: there is no such stack, it is no stack of this project, or AWS does not let us ask.
    """
    with (
        _refusals(f"look at the stack {name}"),
        closing(aws.client("cloudformation", config=_POLITE)) as client,
    ):
        try:
            (stack,) = client.describe_stacks(StackName=name)["Stacks"]
        except exceptions.ClientError as error:
            if error.response["Error"]["Code"] != "ValidationError":
                raise
            raise Failure(
                f"There is no stack {name} in {client.meta.region_name}: see --stack, --region and --profile."
            ) from None
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
    if "ApiUrl" not in outputs:
        raise Failure(
            f"The stack {name} has no output ApiUrl: it is another one, or was never fully deployed."
        )
    return outputs["ApiUrl"]


def admin_token(aws: boto3.Session, name: str) -> str:
    """Returns the stack's admin token.

    Raises:
        Failure: there is none, or AWS does not let us read it.
    """
    parameter = f"/{name}/admin-token"
    with _refusals(f"read {parameter}"), closing(aws.client("ssm", config=_POLITE)) as client:
        try:
            return client.get_parameter(Name=parameter, WithDecryption=True)["Parameter"]["Value"]
        except client.exceptions.ParameterNotFound:
            raise Failure(
                f"There is no admin token in {parameter}: `make admin-token` makes it, or set RECOVERY_TOKEN."
            ) from None


@contextlib.contextmanager
def _refusals(what: str) -> Iterator[None]:
    """Says in a sentence why AWS did not answer; nothing of what was asked or sent."""
    try:
        yield
    except exceptions.ClientError as error:
        raise Failure(_refusal(error.response["Error"]["Code"], what)) from None
    except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError):
        raise Failure(_SIGN_IN) from None
    except (
        exceptions.SSOTokenLoadError,
        exceptions.UnauthorizedSSOTokenError,
        exceptions.TokenRetrievalError,
    ):
        raise Failure(_SIGN_IN_AGAIN) from None
    except exceptions.NoRegionError:
        raise Failure(
            "No local cloud runs from this folder, and AWS has to be told a region: --region, or AWS_REGION."
        ) from None
    except (exceptions.HTTPClientError, exceptions.EndpointConnectionError):
        raise Failure(f"AWS could not be reached to {what}.") from None
    except exceptions.BotoCoreError as error:
        raise Failure(f"AWS could not be asked to {what} ({type(error).__name__}).") from None


def _refusal(code: str, what: str) -> str:
    if code in _EXPIRED:
        return _SIGN_IN_AGAIN
    if code in _REFUSED:
        return f"These AWS credentials may not {what}."
    if code in _WRONG:
        return "AWS does not accept the credentials: are they of the right account, and is the clock right?"
    return f"AWS refused to {what} ({code})."
