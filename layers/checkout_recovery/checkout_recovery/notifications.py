"""What the operator is told of a subscription's health: once when it fails, is disabled, or is well again."""

import json
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from checkout_recovery.observability import logger

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient


class Notice(StrEnum):
    """What has happened to a subscription."""

    FAILING = "subscription.failing"
    DISABLED = "subscription.disabled"
    RECOVERED = "subscription.recovered"


class Notifications:
    """An SNS topic. Ids only: what the subscription is, the operator looks up."""

    def __init__(self, client: "SNSClient", topic_arn: str) -> None:
        self._client = client
        self._topic_arn = topic_arn

    def send(self, notice: Notice, store_id: str, subscription_id: str) -> None:
        """Publishes a notice. That it cannot be published is logged: it must not stop deliveries."""
        fields = {"type": notice.value, "store_id": store_id, "subscription_id": subscription_id}
        message = {**fields, "time": datetime.now(UTC).isoformat()}
        logger.warning("subscription health changed", extra={"notice": notice.value, **fields})
        try:
            self._client.publish(
                TopicArn=self._topic_arn, Subject=f"Webhook {notice.value}", Message=json.dumps(message)
            )
        except (BotoCoreError, ClientError):
            logger.error("notification not sent", extra=fields)
