"""What the libraries say at DEBUG: nothing, for it would be requests with their bodies."""

import json
import logging
from datetime import UTC, datetime

import pytest

from checkout_recovery import wiring
from checkout_recovery.checkout.event import Event, EventType
from checkout_recovery.checkout.lifecycle import Checkout
from checkout_recovery.checkout.snapshot import Details

NAME = "Kanarienne"


def test_no_shopper_data_is_logged_at_debug(aws: None, caplog: pytest.LogCaptureFixture) -> None:
    """Lambda gives the root logger the function's level."""
    caplog.set_level(logging.DEBUG)
    event = Event(id="evt_1", type=EventType.CREATED, time=datetime(2026, 11, 22, 10, tzinfo=UTC))
    checkout = Checkout(
        store_id="my-store", checkout_id="c1", sequence=1, event=event, details=Details(name=NAME)
    )
    wiring.checkouts().save(checkout, event.time)
    assert wiring.checkouts().load("my-store", "c1").details.name == NAME
    logging.getLogger().debug("the level is what it should be")
    told = json.dumps([record.getMessage() for record in caplog.records])
    assert "the level is what it should be" in told
    assert NAME not in told
