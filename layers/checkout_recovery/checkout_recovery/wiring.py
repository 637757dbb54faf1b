"""Builds the collaborators, each once and only when asked for. The one place that knows concrete clients.

Nothing here runs at import, so a snapshot of an initialised function holds no connection and no secret. What
a collaborator needs is imported where it is built: no function loads what only another one uses.
"""

import functools
import os
import random
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from checkout_recovery.settings import Settings

if TYPE_CHECKING:
    from botocore.config import Config
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_ssm import SSMClient

    from checkout_recovery.abandonment import Abandonments
    from checkout_recovery.aws import Credentials, Service
    from checkout_recovery.delivery.attempts import Attempts
    from checkout_recovery.delivery.fan_out import FanOut
    from checkout_recovery.delivery.look_up import LookUp
    from checkout_recovery.delivery.retry import Retry
    from checkout_recovery.delivery.send import Limits, Sender
    from checkout_recovery.erasure import Erasures
    from checkout_recovery.ingest import Ingest
    from checkout_recovery.notifications import Notifications
    from checkout_recovery.purchases import Purchases
    from checkout_recovery.queues import RetryQueue
    from checkout_recovery.repair.dead_letters import DeadLetters
    from checkout_recovery.repair.remedies import Redelivery, Refanning, Retaking
    from checkout_recovery.repair.replay import Replay
    from checkout_recovery.secrets import Secrets
    from checkout_recovery.subscriptions.authorize import Authorize
    from checkout_recovery.subscriptions.end_keys import EndKeys
    from checkout_recovery.subscriptions.keep_stores import StoreKeeper
    from checkout_recovery.subscriptions.keep_subscriptions import SubscriptionKeeper
    from checkout_recovery.subscriptions.send_sample import SampleSender
    from checkout_recovery.sweep import Sweep
    from checkout_recovery.tables.captures import Captures
    from checkout_recovery.tables.checkouts import CheckoutTable
    from checkout_recovery.tables.deliveries import DeliveryTable
    from checkout_recovery.tables.erasures import ErasureLog
    from checkout_recovery.tables.registry import RegistryTable
    from checkout_recovery.tables.shoppers import ShopperTable

_CONNECT_SECONDS, _ANSWER_SECONDS = 1.0, 1.5
"""At worst some 8 s for a call that nobody answers, three attempts and their pauses together: providers wait
5 to 10 s, the gateway 5 s for the authorizer, and all come again."""

_building = threading.Lock()
"""boto3's clients cannot be made by two threads at once."""


def _now() -> datetime:
    return datetime.now(UTC)


@functools.cache
def settings() -> Settings:
    return Settings.from_environment()


def client_config(answer_seconds: float = _ANSWER_SECONDS, attempts: int = 3) -> "Config":
    """How boto3's clients call."""
    from botocore.config import Config

    # Without botocore's check of parameters, which AWS makes too, and its user agent, put together anew for
    # each call.
    return Config(
        parameter_validation=False,
        user_agent="checkout-recovery",
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=answer_seconds,
        retries={"mode": "standard", "total_max_attempts": attempts},
        tcp_keepalive=True,
    )


@functools.cache
def boto3_client(service: str, answer_seconds: float = _ANSWER_SECONDS, attempts: int = 3) -> Any:
    """A client of boto3's own. Importing that takes longer than all else at a function's start."""
    with _building:
        import boto3

        return boto3.client(service, config=client_config(answer_seconds, attempts))  # type: ignore[call-overload] # whichever is named


def _client(service: "Service") -> Any:
    """A client that needs boto3 only for what does not go well."""
    from checkout_recovery.aws import DirectClient, Place, environments_credentials

    place = Place.of(service, os.environ) if settings().direct_aws else None
    if place is None:
        return boto3_client(service.name)
    import certifi

    held = environments_credentials(os.environ)
    return DirectClient(
        service,
        place,
        (lambda: held) if held else _renewed_credentials,
        functools.partial(boto3_client, service.name, attempts=2),  # and the one that it takes over
        ca_file=os.environ.get("AWS_CA_BUNDLE") or certifi.where(),
        connect_seconds=_CONNECT_SECONDS,
        answer_seconds=_ANSWER_SECONDS,
    )


def _renewed_credentials() -> "Credentials":
    from checkout_recovery.aws import Credentials

    now = _boto3_credentials().get_frozen_credentials()
    return Credentials(now.access_key, now.secret_key, now.token)


@functools.cache
def _boto3_credentials() -> Any:
    """Credentials that come in another way than by the environment; boto3 finds and renews them."""
    with _building:
        import boto3
        from botocore.exceptions import NoCredentialsError

        if (found := boto3.Session().get_credentials()) is None:
            raise NoCredentialsError
        return found


@functools.cache
def _dynamodb() -> "DynamoDBClient":
    from checkout_recovery.aws import DYNAMODB

    return cast("DynamoDBClient", _client(DYNAMODB))


@functools.cache
def _sqs() -> "SQSClient":
    from checkout_recovery.aws import SQS

    return cast("SQSClient", _client(SQS))


@functools.cache
def _ssm() -> "SSMClient":
    from checkout_recovery.aws import SSM

    return cast("SSMClient", _client(SSM))


@functools.cache
def checkouts() -> "CheckoutTable":
    from checkout_recovery.tables.checkouts import CheckoutTable

    return CheckoutTable(_dynamodb(), settings().checkout_table, settings().due_shards)


@functools.cache
def registry() -> "RegistryTable":
    from checkout_recovery.tables.registry import RegistryTable

    return RegistryTable(_dynamodb(), settings().registry_table)


@functools.cache
def deliveries() -> "DeliveryTable":
    from checkout_recovery.tables.deliveries import DeliveryTable

    return DeliveryTable(_dynamodb(), settings().delivery_table)


@functools.cache
def secrets() -> "Secrets":
    from checkout_recovery.secrets import Secrets

    return Secrets(_ssm(), settings().stack_name)


@functools.cache
def sender() -> "Sender":
    from checkout_recovery.delivery.send import Limits

    # Who does not answer is left to the retry function: where that one's probe is answered, but too slowly
    # for a batch, the subscription is not tried here again for two minutes.
    return _sender(Limits(straggler_seconds=1.0, probe_after_seconds=120.0))


def _sender(limits: "Limits") -> "Sender":
    import certifi

    from checkout_recovery.delivery.send import Sender

    return Sender(local_targets=settings().allow_local_targets, ca_file=certifi.where(), limits=limits)


@functools.cache
def retry_queue() -> "RetryQueue":
    from checkout_recovery.queues import RetryQueue

    return RetryQueue(_sqs(), settings().retry_queue_url)


@functools.cache
def dead_letters() -> "RetryQueue":
    from checkout_recovery.queues import RetryQueue

    return RetryQueue(_sqs(), settings().dead_letter_queue_url)


@functools.cache
def notifications() -> "Notifications":
    from checkout_recovery.notifications import Notifications

    return Notifications(boto3_client("sns"), settings().notification_topic_arn)


def _attempts(sender: "Sender", *, probes: bool, deferral: timedelta) -> "Attempts":
    from checkout_recovery.delivery.attempts import Attempts
    from checkout_recovery.delivery.circuits import Circuits
    from checkout_recovery.tables.turns import Turns

    return Attempts(
        deliveries=deliveries(),
        secrets=secrets(),
        sender=sender,
        turns=Turns(_dynamodb(), settings().registry_table),
        circuits=Circuits(registry(), notifications, _now, probes=probes, is_silent=sender.is_silent),
        retry_queue=retry_queue(),
        dead_letters=dead_letters(),
        deferral=deferral,
        now=_now,
        random=random.SystemRandom().random,  # copies of one snapshot must not all wait equally long
    )


@functools.cache
def shoppers() -> "ShopperTable":
    from checkout_recovery.tables.shoppers import ShopperTable

    return ShopperTable(_dynamodb(), settings().shopper_table)


def _abandonments() -> "Abandonments":
    from checkout_recovery.abandonment import Abandonments

    return Abandonments(checkouts(), shoppers(), settings().checkout_retention_days)


@functools.cache
def _purchases() -> "Purchases":
    from checkout_recovery.purchases import Purchases

    return Purchases(checkouts(), shoppers(), secrets().index_key)


@functools.cache
def erasure_log() -> "ErasureLog":
    from checkout_recovery.tables.erasures import ErasureLog

    return ErasureLog(_dynamodb(), settings().registry_table)


@functools.cache
def erasures() -> "Erasures":
    from checkout_recovery.erasure import Erasures

    return Erasures(checkouts(), shoppers(), _purchases(), erasure_log())


@functools.cache
def captures() -> "Captures":
    from checkout_recovery.tables.captures import Captures

    return Captures(_dynamodb(), settings().registry_table)


@functools.cache
def ingest() -> "Ingest":
    from checkout_recovery.ingest import Ingest
    from checkout_recovery.queues import RejectedEvents
    from checkout_recovery.subscriptions.directory import StoreDirectory

    return Ingest(
        directory=StoreDirectory(registry(), secrets()),
        registry=registry(),
        checkouts=checkouts(),
        purchases=_purchases(),
        abandonments=_abandonments(),
        erasures=erasures(),
        captures=captures(),
        rejected=RejectedEvents(_sqs(), settings().rejected_events_queue_url),
        retention_days=settings().checkout_retention_days,
    )


@functools.cache
def sweep() -> "Sweep":
    from checkout_recovery.sweep import Sweep

    return Sweep(
        registry=registry(),
        checkouts=checkouts(),
        shoppers=shoppers(),
        abandonments=_abandonments(),
        now=_now,
    )


@functools.cache
def functions() -> "LambdaClient":
    """Starts other runs of functions."""
    return cast("LambdaClient", boto3_client("lambda"))


@functools.cache
def fan_out() -> "FanOut":
    from checkout_recovery.delivery.fan_out import FanOut

    return FanOut(
        registry=registry(),
        checkouts=checkouts(),
        deliveries=deliveries(),
        attempts=_attempts(sender(), probes=False, deferral=timedelta(seconds=1)),
        retention_days=settings().delivery_retention_days,
        now=_now,
    )


@functools.cache
def retry() -> "Retry":
    from checkout_recovery.delivery.retry import Retry
    from checkout_recovery.delivery.send import Limits

    return Retry(
        registry=registry(),
        checkouts=checkouts(),
        shoppers=shoppers(),
        deliveries=deliveries(),
        attempts=_attempts(
            # The circuits that all functions share say when a receiver may be probed, not what one has seen.
            _sender(Limits(attempt_seconds=15.0, probe_after_seconds=0, wave_seconds=1.0)),
            probes=True,
            deferral=timedelta(seconds=15),
        ),
        retry_queue=retry_queue(),
        dead_letters=dead_letters(),
        retention_days=settings().delivery_retention_days,
        now=_now,
    )


@functools.cache
def authorize() -> "Authorize":
    from checkout_recovery.subscriptions.authorize import Authorize
    from checkout_recovery.tables.token_hashes import TokenHashes

    return Authorize(TokenHashes(_dynamodb(), settings().registry_table), secrets())


@functools.cache
def store_keeper() -> "StoreKeeper":
    from checkout_recovery.subscriptions.keep_stores import StoreKeeper

    return StoreKeeper(registry(), secrets(), _now)


@functools.cache
def subscription_keeper() -> "SubscriptionKeeper":
    from checkout_recovery.subscriptions.keep_subscriptions import SubscriptionKeeper

    return SubscriptionKeeper(
        registry(), secrets(), notifications, _now, local_targets=settings().allow_local_targets
    )


@functools.cache
def end_keys() -> "EndKeys":
    from checkout_recovery.subscriptions.end_keys import EndKeys
    from checkout_recovery.tables.overlaps import Overlaps

    return EndKeys(registry(), Overlaps(_dynamodb(), settings().registry_table), secrets(), _now)


@functools.cache
def look_up() -> "LookUp":
    from checkout_recovery.delivery.look_up import LookUp

    return LookUp(registry(), checkouts(), deliveries())


@functools.cache
def sample_sender() -> "SampleSender":
    from checkout_recovery.delivery.send import Limits
    from checkout_recovery.subscriptions.send_sample import SampleSender

    always = Limits(probe_after_seconds=0)  # who asks for a sample wants it tried, however the last one went
    return SampleSender(secrets(), _sender(always), _now)


# ---------------------------------------------------------------- repair


@functools.cache
def replay() -> "Replay":
    from checkout_recovery.repair.replay import Replay

    return Replay(deliveries(), retry_queue(), _now)


@functools.cache
def dead_letter_queues() -> "DeadLetters":
    from checkout_recovery.dead_letter_queues import DeadLetterQueue, QueueName
    from checkout_recovery.repair.dead_letters import DeadLetters
    from checkout_recovery.repair.remedies import Discarding

    # A receive that waits for a second takes longer than a call to a table.
    sqs, urls = boto3_client("sqs", 5, 2), settings()
    queues = {
        QueueName.DELIVERIES: urls.dead_letter_queue_url,
        QueueName.STREAM: urls.stream_dead_letter_queue_url,
        QueueName.REJECTED: urls.rejected_events_queue_url,
        QueueName.RETRY: urls.retry_queue_url,
    }
    return DeadLetters(
        {name: DeadLetterQueue(sqs, url) for name, url in queues.items()},
        {QueueName.DELIVERIES: _redelivery, QueueName.STREAM: _refanning, QueueName.REJECTED: _retaking},
        Discarding,
    )


def _redelivery() -> "Redelivery":
    from checkout_recovery.repair.remedies import Redelivery

    return Redelivery(registry(), retry_queue(), _now)


@functools.cache
def _refanning() -> "Refanning":
    from checkout_recovery.repair.remedies import Refanning
    from checkout_recovery.tables.checkout_stream import CheckoutStream

    return Refanning(
        stream=CheckoutStream(boto3_client("dynamodbstreams"), settings().checkout_table),
        checkouts=checkouts(),
        registry=registry(),
        retry_queue=retry_queue(),
        now=_now,
    )


@functools.cache
def _retaking() -> "Retaking":
    from checkout_recovery.repair.remedies import Retaking
    from checkout_recovery.retake import Retake

    return Retaking(Retake(ingest_caller(), settings().ingest_function))


@functools.cache
def ingest_caller() -> "LambdaClient":
    """Waits for what the ingest function says, and calls it once: it may have done what it does not say."""
    return cast("LambdaClient", boto3_client("lambda", 11, 1))
