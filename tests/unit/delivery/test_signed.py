from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook

from checkout_recovery.contracts import CONTRACTS
from checkout_recovery.delivery.signed import signed_headers
from checkout_recovery.secrets import Secret
from checkout_recovery.signing import Recipe, is_signed
from checkout_recovery.subscriptions.subscription import Subscription
from tests.subscriptions import subscription

NOW = datetime(2026, 5, 7, 10, 0, tzinfo=UTC)
NEW = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="
OLD = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDC2FVsBQIhrs="
BODY = b'{"a":1}'
SUBSCRIPTION = subscription()


def headers(subscription: Subscription, secret: Secret, sent_at: datetime = NOW) -> dict[str, str]:
    made = signed_headers(
        CONTRACTS[subscription.topic, subscription.version],
        subscription,
        secret,
        event_id="evt_1",
        delivery_id="dlv_1",
        shop_url="https://my-store.com",
        sent_at=sent_at,
        body=BODY,
    )
    return {name.lower(): value for name, value in made.items()}


@pytest.mark.parametrize(("topic", "version"), CONTRACTS)
@pytest.mark.parametrize("key", [NEW, OLD])
def test_during_an_overlap_a_receiver_verifies_with_either_key(topic: str, version: str, key: str) -> None:
    now = datetime.now(UTC)  # the verifier looks at the clock itself
    rotating = Secret((NEW, OLD), 2, (now + timedelta(minutes=1),))
    made = headers(subscription(topic=topic, version=version), rotating, now)
    assert Webhook(key).verify(BODY, made)


def test_after_the_overlap_only_the_new_key_signs() -> None:
    made = headers(SUBSCRIPTION, Secret((NEW, OLD), 2, (NOW,)))
    assert made["webhook-signature"] == headers(SUBSCRIPTION, Secret((NEW,)))["webhook-signature"]


def test_the_subscriptions_recipe_signs() -> None:
    cashfree = subscription(topic="abandonedCheckout", version="v1", recipe=Recipe.HEX_BODY)
    made = headers(cashfree, Secret((NEW,)))
    assert is_signed(Recipe.HEX_BODY, [NEW], BODY, made["x-webhook-signature"])


def test_headers_that_were_asked_for_are_sent_but_replace_none_of_the_contracts() -> None:
    asked = {"Authorization": "Basic x", "WEBHOOK-ID": "forged", "content-type": "text/html"}
    made = headers(SUBSCRIPTION, Secret((NEW,), headers=asked))
    assert made["authorization"] == "Basic x"
    assert made["webhook-id"] == "evt_1"
    assert made["content-type"] == "application/json"
