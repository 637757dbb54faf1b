import base64
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from checkout_recovery.signing import (
    Recipe,
    equal,
    is_signed,
    key_bytes,
    new_webhook_key,
    sign,
    sign_standard,
)

KEY = "test_secret_do_not_use"
BODY = '{"amount":170.00,"name":"Él"}'.encode()
TIMESTAMP = "1746427759733"
VECTORS = {
    Recipe.BASE64_BODY: "CGkRQWYK4xLn6H6eUoirAb7hONeHtd9fIbKeYGJZ48I=",
    Recipe.HEX_BODY: "08691141660ae312e7e87e9e5288ab01bee138d787b5df5f21b29e606259e3c2",
    Recipe.BASE64_TIMESTAMP_BODY: "oKa/Tftw+H9FdHPWJ6f7PAHcBAGnzDV/5Y4hE4vFmqE=",
    Recipe.HEX_TIMESTAMP_BODY: base64.b64decode("oKa/Tftw+H9FdHPWJ6f7PAHcBAGnzDV/5Y4hE4vFmqE=").hex(),
}
every_recipe = pytest.mark.parametrize("recipe", Recipe)


@every_recipe
def test_each_recipe_gives_its_vector(recipe: Recipe) -> None:
    assert sign(recipe, KEY, BODY, TIMESTAMP) == VECTORS[recipe]


@every_recipe
def test_a_right_signature_passes_with_any_of_the_keys(recipe: Recipe) -> None:
    assert is_signed(recipe, ["newer", KEY], BODY, VECTORS[recipe], TIMESTAMP)
    assert is_signed(recipe, [KEY, "older"], BODY, VECTORS[recipe], TIMESTAMP)


@every_recipe
def test_nothing_else_passes(recipe: Recipe) -> None:
    right = VECTORS[recipe]
    for wrong in ("", right[:-1], right + " ", right.swapcase(), "é", "\ud83d", "\udc80", "\x00"):
        assert not is_signed(recipe, [KEY], BODY, wrong, TIMESTAMP)
    assert not is_signed(recipe, ["another"], BODY, right, TIMESTAMP)
    assert not is_signed(recipe, [], BODY, right, TIMESTAMP)
    assert not is_signed(recipe, [KEY], BODY.replace(b"170.00", b"170.0"), right, TIMESTAMP)


@every_recipe
def test_one_recipe_is_not_tried_for_another(recipe: Recipe) -> None:
    others = [VECTORS[other] for other in Recipe if other is not recipe]
    assert not any(is_signed(recipe, [KEY], BODY, signature, TIMESTAMP) for signature in others)


def test_an_altered_or_garbled_timestamp_is_a_wrong_signature() -> None:
    recipe = Recipe.BASE64_TIMESTAMP_BODY
    for wrong in ("", "1746427759734", "\ud83d", "\udc80"):
        assert not is_signed(recipe, [KEY], BODY, VECTORS[recipe], wrong)


def test_an_empty_key_signs_nothing_in() -> None:
    assert not is_signed(Recipe.HEX_BODY, [""], BODY, sign(Recipe.HEX_BODY, "", BODY))


def test_secrets_compare_as_they_stand_and_an_empty_one_equals_nothing() -> None:
    assert equal("sécret", "sécret")
    for given_secret in ("", "s", "secret ", "Secret", "\ud83d"):
        assert not equal("secret", given_secret)
    assert not equal("", "")


@given(body=st.text())
def test_standard_webhooks_signatures_are_those_of_its_own_library(body: str) -> None:
    key, now = new_webhook_key(), datetime(2026, 5, 7, 10, 15, tzinfo=UTC)
    ours = sign_standard([key], "evt_1", int(now.timestamp()), body.encode())
    assert ours == Webhook(key).sign("evt_1", now, body)


def test_each_key_signs_newest_first() -> None:
    keys = [new_webhook_key(), new_webhook_key()]
    single = [sign_standard([key], "evt_1", 1, BODY) for key in keys]
    assert sign_standard(keys, "evt_1", 1, BODY) == " ".join(single)


def test_a_new_webhook_key_is_32_bytes_that_nobody_has_seen() -> None:
    keys = {new_webhook_key() for _ in range(100)}
    assert len(keys) == 100
    assert {len(key_bytes(key)) for key in keys} == {32}


@pytest.mark.parametrize("key", ["", "whsec_", "whsec_====", "whsec_a", "whsec_é", "MfKQ9r8G", "whsec_Mf KQ"])
def test_a_key_of_another_form_is_refused_without_being_repeated(key: str) -> None:
    with pytest.raises(ValueError, match="a webhook key") as error:
        key_bytes(key)
    assert len(key) < len("whsec_") + 1 or key not in str(error.value)
