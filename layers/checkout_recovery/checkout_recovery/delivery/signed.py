"""The headers of one attempt: the contract's, which prove who sends it, and those that were asked for."""

from datetime import datetime

from checkout_recovery.contracts.contract import Attempt, Contract
from checkout_recovery.secrets import Secret
from checkout_recovery.signing import Recipe
from checkout_recovery.subscriptions.subscription import Subscription


def signed_headers(
    contract: Contract,
    subscription: Subscription,
    secret: Secret,
    *,
    event_id: str,
    delivery_id: str,
    shop_url: str,
    sent_at: datetime,
    body: bytes,
) -> dict[str, str]:
    """Makes an attempt's headers; during a rotation both keys sign.

    Args:
        contract: what the subscription chose.
        subscription: whom it is for.
        secret: the subscription's keys and the headers that the subscriber asked for.
        event_id: the same in every attempt.
        delivery_id: the same in every attempt.
        shop_url: the shop as its provider names it.
        sent_at: now; receivers refuse what is too old.
        body: the bytes that are sent.
    """
    attempt = Attempt(
        delivery_id=delivery_id,
        subscription_id=subscription.subscription_id,
        event_id=event_id,
        shop_url=shop_url,
        keys=secret.valid_keys(sent_at),
        recipe=subscription.recipe or Recipe.BASE64_BODY,
        sent_at=sent_at,
    )
    headers = contract.headers(attempt, body)
    own = {name.lower() for name in headers}
    # Reserved names were refused when the subscription was made; a later contract may use one more.
    return {name: value for name, value in secret.headers.items() if name.lower() not in own} | headers
