"""What a function is told by its environment, checked once."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from checkout_recovery.errors import CheckoutRecoveryError


class SettingsError(CheckoutRecoveryError):
    """The environment lacks a variable or holds a value that makes no sense."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of a stack; a function that does not need one may leave its variable out."""

    stack_name: str
    """Names the stack's parameters: ``/{stack_name}/…``."""
    checkout_table: str = ""
    registry_table: str = ""
    delivery_table: str = ""
    shopper_table: str = ""
    retry_queue_url: str = ""
    dead_letter_queue_url: str = ""
    stream_dead_letter_queue_url: str = ""
    rejected_events_queue_url: str = ""
    ingest_function: str = ""
    """The alias that takes kept requests in again."""
    notification_topic_arn: str = ""
    direct_aws: bool = False
    """Speaks to AWS without boto3 where that is quicker (`aws`)."""
    allow_local_targets: bool = False
    """Lets http:// and loopback receivers in. Only the local cloud sets it."""
    checkout_retention_days: int = 90
    delivery_retention_days: int = 90
    due_shards: int = 8
    """Over how many partitions of the `due` index the waiting checkouts are spread."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Reads the settings.

        Raises:
            SettingsError: names the variable, not its value.
        """
        if not environment.get("STACK_NAME"):
            raise SettingsError("STACK_NAME is not set")
        return cls(
            stack_name=environment["STACK_NAME"],
            checkout_table=environment.get("CHECKOUT_TABLE", ""),
            registry_table=environment.get("REGISTRY_TABLE", ""),
            delivery_table=environment.get("DELIVERY_TABLE", ""),
            shopper_table=environment.get("SHOPPER_TABLE", ""),
            retry_queue_url=environment.get("RETRY_QUEUE_URL", ""),
            dead_letter_queue_url=environment.get("DEAD_LETTER_QUEUE_URL", ""),
            stream_dead_letter_queue_url=environment.get("STREAM_DEAD_LETTER_QUEUE_URL", ""),
            rejected_events_queue_url=environment.get("REJECTED_EVENTS_QUEUE_URL", ""),
            ingest_function=environment.get("INGEST_FUNCTION", ""),
            notification_topic_arn=environment.get("NOTIFICATION_TOPIC_ARN", ""),
            direct_aws=_flag(environment, "DIRECT_AWS"),
            allow_local_targets=_flag(environment, "ALLOW_LOCAL_TARGETS"),
            checkout_retention_days=_count(environment, "CHECKOUT_RETENTION_DAYS", 90),
            delivery_retention_days=_count(environment, "DELIVERY_RETENTION_DAYS", 90),
            due_shards=_count(environment, "DUE_SHARDS", 8),
        )


def _flag(environment: Mapping[str, str], name: str) -> bool:
    value = environment.get(name, "false")
    if value not in ("true", "false"):
        raise SettingsError(f"{name} is neither true nor false")
    return value == "true"


def _count(environment: Mapping[str, str], name: str, default: int) -> int:
    value = environment.get(name) or str(default)
    if not (value.isascii() and value.isdigit() and int(value) > 0):
        raise SettingsError(f"{name} is not a positive whole number")
    return int(value)
