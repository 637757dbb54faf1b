"""Makes a stack's admin token, once, after its first deploy: `make admin-token ENV=prod`.

CloudFormation cannot create a SecureString, so this is not in the template. The token is shown once and is
then only in SSM; whoever loses it deletes the parameter and makes another.
"""

import sys
import tomllib
from pathlib import Path

import boto3
from mypy_boto3_ssm import SSMClient

from checkout_recovery.subscriptions.tokens import new_admin_token

SAMCONFIG = Path(__file__).parents[1] / "samconfig.toml"


def make_admin_token(ssm: SSMClient, stack_name: str) -> str:
    """Puts a new token into SSM and returns it.

    Raises:
        ParameterAlreadyExists: the stack has one.
    """
    token = new_admin_token()
    ssm.put_parameter(Name=f"/{stack_name}/admin-token", Value=token, Type="SecureString")
    return token


def main(config_env: str) -> int:
    parameters = tomllib.loads(SAMCONFIG.read_text())[config_env]["global"]["parameters"]
    ssm = boto3.client("ssm", region_name=parameters["region"])
    try:
        print(make_admin_token(ssm, parameters["stack_name"]))
    except ssm.exceptions.ParameterAlreadyExists:
        print(f"{parameters['stack_name']} already has an admin token.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
