"""What is told of messages in a queue of dead letters: ids, times and reasons, never what a request said."""

from collections.abc import Mapping
from typing import Any

from checkout_recovery.dead_letter_queues import Letter, QueueName
from checkout_recovery.errors import BrokenRecord
from checkout_recovery.queues import RejectedRequest, RetryMessage
from checkout_recovery.repair.dead_letters import Fate, Requeued
from checkout_recovery.subscriptions.answers import DeadLetterAnswer, RequeueAnswer
from checkout_recovery.tables.checkout_stream import StreamFailure


def told_of(name: str, letter: Letter) -> DeadLetterAnswer:
    """Describes a letter of the queue of this name."""
    try:
        told = _TELLERS[QueueName(name)](letter.body)
    except BrokenRecord:
        told = None
    return DeadLetterAnswer(
        message_id=letter.message_id,
        sent_at=letter.sent_at,
        receives=letter.receives,
        readable=told is not None,
        **told or {},
    )


def requeued(done: Requeued) -> RequeueAnswer:
    """Tells what a requeue did."""
    return RequeueAnswer(
        requeued=done.counts.get(Fate.DONE, 0),
        kept=done.counts.get(Fate.KEPT, 0),
        failed=done.counts.get(Fate.FAILED, 0),
        discarded=done.counts.get(Fate.DISCARDED, 0),
        left=done.left,
        detail="; ".join(f"{count}: {why}" for why, count in done.reasons.items()) or None,
    )


def _delivery(body: str) -> Mapping[str, Any]:
    message = RetryMessage.read(body)
    return {
        "reason": message.reason,
        "store_id": message.store_id,
        "subscription_id": message.subscription_id,
        "delivery_id": message.delivery_id,
        "checkout_id": message.checkout_id,
        "event_type": message.event_type,
        "event_time": message.event_time,
        "attempts": message.earlier + message.attempts,
    }


def _batch(body: str) -> Mapping[str, Any]:
    failure = StreamFailure.read(body)
    return {
        "reason": failure.context.condition,
        "writes": failure.batch.size,
        "first_write_at": failure.batch.first_at,
    }


def _request(body: str) -> Mapping[str, Any]:
    kept = RejectedRequest.read(body)
    return {
        "reason": kept.problem.type,
        "store_id": kept.store_id,
        "source": kept.source,
        "received_at": kept.received_at,
        "fields": [error.field for error in kept.problem.errors],
        "refused": kept.is_refused,
    }


_TELLERS = {
    QueueName.DELIVERIES: _delivery,
    QueueName.STREAM: _batch,
    QueueName.REJECTED: _request,
}
