import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from checkout_recovery.contracts import CONTRACTS
from checkout_recovery.contracts.contract import Attempt, Contract
from checkout_recovery.signing import Recipe, new_webhook_key
from tests.unit.contracts.examples import ATTEMPT, EXAMPLES, NEW_KEY, OLD_KEY, left

CASHFREE = CONTRACTS["abandonedCheckout", "v1"]
FLEXYPE = [CONTRACTS["ACR_CHECKOUT", "2025-09"], CONTRACTS["ACR_CHECKOUT", "2026-05"]]
OWN_PER_ATTEMPT = {"webhook-timestamp", "webhook-signature", "x-webhook-timestamp", "x-webhook-signature"}
every_contract = pytest.mark.parametrize(
    "contract", CONTRACTS.values(), ids=lambda contract: contract.version
)


def sent_now(contract: Contract, *keys: str) -> tuple[Mapping[str, str], bytes]:
    body = contract.render(left(EXAMPLES["non-ascii"]))
    attempt = replace(ATTEMPT, keys=keys or ATTEMPT.keys, sent_at=datetime.now(UTC))
    return contract.headers(attempt, body), body


@every_contract
def test_a_standard_webhooks_receiver_of_any_contract_verifies_with_either_key(contract: Contract) -> None:
    headers, body = sent_now(contract)
    for key in (NEW_KEY, OLD_KEY):
        Webhook(key).verify(body, dict(headers))


@every_contract
def test_a_standard_webhooks_receiver_refuses_a_wrong_key_and_an_altered_body(contract: Contract) -> None:
    headers, body = sent_now(contract)
    for key, altered in ((new_webhook_key(), body), (NEW_KEY, body.replace(b"store-7", b"store-8") + b" ")):
        with pytest.raises(WebhookVerificationError):
            Webhook(key).verify(altered, dict(headers))


@every_contract
@pytest.mark.parametrize("off", [timedelta(minutes=-6), timedelta(minutes=6)])
def test_a_standard_webhooks_receiver_refuses_a_stale_delivery(contract: Contract, off: timedelta) -> None:
    body = contract.render(EXAMPLES["full"])
    headers = contract.headers(replace(ATTEMPT, sent_at=datetime.now(UTC) + off), body)
    with pytest.raises(WebhookVerificationError, match="too"):
        Webhook(NEW_KEY).verify(body, headers)


@every_contract
def test_a_rotation_signs_with_both_keys_newest_first(contract: Contract) -> None:
    both, _ = sent_now(contract)
    assert [part[:3] for part in both["webhook-signature"].split(" ")] == ["v1,", "v1,"]
    alone, _ = sent_now(contract, NEW_KEY)
    assert " " not in alone["webhook-signature"]


@every_contract
def test_the_timestamp_is_whole_seconds_and_not_in_the_future(contract: Contract) -> None:
    headers = contract.headers(ATTEMPT, b"{}")
    assert headers["webhook-timestamp"] == str(int(datetime(2026, 5, 7, 10, 15, 1, tzinfo=UTC).timestamp()))


@every_contract
def test_every_attempt_has_the_same_ids(contract: Contract) -> None:
    first = contract.headers(ATTEMPT, b"{}")
    later = contract.headers(replace(ATTEMPT, sent_at=ATTEMPT.sent_at + timedelta(hours=8)), b"{}")
    assert {name for name in first if first[name] != later[name]} <= OWN_PER_ATTEMPT
    assert first["webhook-id"] == ATTEMPT.event_id
    assert first["Content-Type"] == "application/json"


def cashfree_digest(attempt: Attempt, signed: bytes) -> bytes:
    return hmac.new(attempt.keys[0].encode("ascii"), signed, hashlib.sha256).digest()


def test_cashfrees_signature_is_keyed_with_the_new_keys_characters() -> None:
    body = CASHFREE.render(left(EXAMPLES["full"]))
    headers = CASHFREE.headers(ATTEMPT, body)
    assert base64.b64decode(headers["x-webhook-signature"]) == cashfree_digest(ATTEMPT, body)
    assert "x-webhook-timestamp" not in headers


@pytest.mark.parametrize("recipe", [Recipe.BASE64_TIMESTAMP_BODY, Recipe.HEX_TIMESTAMP_BODY])
def test_cashfrees_signature_over_a_timestamp_comes_with_it_in_milliseconds(recipe: Recipe) -> None:
    attempt = replace(ATTEMPT, recipe=recipe, sent_at=datetime(2026, 5, 7, 10, 15, 1, 733_999, tzinfo=UTC))
    headers = CASHFREE.headers(attempt, b"{}")
    digest = cashfree_digest(attempt, headers["x-webhook-timestamp"].encode() + b"{}")
    written = base64.b64encode(digest).decode() if recipe is Recipe.BASE64_TIMESTAMP_BODY else digest.hex()
    assert headers["x-webhook-timestamp"] == "1778148901733"
    assert headers["x-webhook-signature"] == written


def test_cashfrees_headers_are_those_that_it_documents() -> None:
    headers = CASHFREE.headers(ATTEMPT, b"{}")
    assert headers["x-store-url"] == "https://my-store.com"
    assert (headers["x-webhook-topic"], headers["x-webhook-version"]) == ("abandonedCheckout", "v1")
    assert headers["x-request-id"] == ATTEMPT.delivery_id
    assert headers["User-Agent"] == "Ecom360-v1"


def test_a_shops_address_cannot_break_out_of_its_header() -> None:
    headers = CASHFREE.headers(replace(ATTEMPT, shop_url="https://x.io/\r\nx-evil: 1/é?a=%20"), b"{}")
    assert headers["x-store-url"] == "https://x.io/%0D%0Ax-evil:%201/%C3%A9?a=%20"


@pytest.mark.parametrize("contract", FLEXYPE, ids=lambda contract: contract.version)
def test_flexypes_authorization_is_the_new_key_itself(contract: Contract) -> None:
    headers = contract.headers(ATTEMPT, b"{}")
    assert headers["X-Flexype-Authorization"] == NEW_KEY
    assert headers["X-Webhook-Version"] == contract.version
    assert headers["X-Event-Id"] == ATTEMPT.event_id


def test_flexypes_webhook_id_is_the_subscription_and_only_in_2026_05() -> None:
    flat, envelope = (contract.headers(ATTEMPT, b"{}") for contract in FLEXYPE)
    assert envelope["X-Webhook-Id"] == ATTEMPT.subscription_id
    assert "X-Webhook-Id" not in flat
