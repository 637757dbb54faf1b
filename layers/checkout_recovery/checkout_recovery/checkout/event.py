"""What can happen to a checkout, and how the happening is told apart from every other."""

from datetime import datetime
from enum import StrEnum
from hashlib import blake2b

from pydantic import BaseModel, ConfigDict


class EventType(StrEnum):
    """The events that a subscriber can ask for."""

    CREATED = "checkout.created"
    UPDATED = "checkout.updated"
    ABANDONED = "checkout.abandoned"
    RESUMED = "checkout.resumed"
    COMPLETED = "checkout.completed"
    RECOVERED = "checkout.recovered"


class Event(BaseModel):
    """The event that a write of a checkout is."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")

    id: str
    """The same for the same write, however often the stream repeats it."""
    type: EventType
    time: datetime
    """When this system decided it, UTC."""


def event_id(store_id: str, checkout_id: str, sequence: int) -> str:
    """Derives an event's id from the write that it is: ``evt_`` and 32 hex digits."""
    write = f"{store_id}\n{checkout_id}\n{sequence}"
    return "evt_" + blake2b(write.encode(), digest_size=16).hexdigest()
