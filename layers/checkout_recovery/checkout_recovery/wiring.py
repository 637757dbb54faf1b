"""Builds the collaborators, each once and only when asked for. The one place that knows concrete clients.

Nothing here runs at import, so a snapshot of an initialised function holds no connection and no secret.
"""

import functools
from typing import TYPE_CHECKING

import boto3
import certifi
from botocore.config import Config

from checkout_recovery.delivery.send import Sender
from checkout_recovery.secrets import Secrets
from checkout_recovery.settings import Settings
from checkout_recovery.tables.checkouts import CheckoutTable
from checkout_recovery.tables.deliveries import DeliveryTable
from checkout_recovery.tables.registry import RegistryTable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# Short waits and quick repeats: every caller here is itself repeated by its own caller.
_CONFIG = Config(
    connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 4}, tcp_keepalive=True
)


@functools.cache
def settings() -> Settings:
    return Settings.from_environment()


@functools.cache
def _dynamodb() -> "DynamoDBClient":
    return boto3.client("dynamodb", config=_CONFIG)


@functools.cache
def checkouts() -> CheckoutTable:
    return CheckoutTable(_dynamodb(), settings().checkout_table, settings().due_shards)


@functools.cache
def registry() -> RegistryTable:
    return RegistryTable(_dynamodb(), settings().registry_table)


@functools.cache
def deliveries() -> DeliveryTable:
    return DeliveryTable(_dynamodb(), settings().delivery_table)


@functools.cache
def secrets() -> Secrets:
    return Secrets(boto3.client("ssm", config=_CONFIG), settings().stack_name)


@functools.cache
def sender() -> Sender:
    return Sender(local_targets=settings().allow_local_targets, ca_file=certifi.where())
