import pytest

from checkout_recovery.subscriptions.tokens import (
    NO_HASH,
    is_token,
    new_admin_token,
    new_store_token,
    read_bearer,
    token_hash,
)

ADMIN = "cra_" + "a" * 43
STORE = "crs_s." + "a" * 43


@pytest.mark.parametrize("store_id", ["a", "my-store.com", "A.b_c-9", "a" * 64])
def test_a_stores_token_names_its_store(store_id: str) -> None:
    text = new_store_token(store_id)
    token = read_bearer(f"Bearer {text}")
    assert token
    assert token.store_id == store_id
    assert is_token(token, token_hash(text))
    assert not is_token(token, token_hash(new_store_token(store_id)))
    assert not is_token(token, NO_HASH)


def test_an_admin_token_names_no_store() -> None:
    token = read_bearer(f"Bearer {new_admin_token()}")
    assert token
    assert token.store_id is None


def test_tokens_are_random() -> None:
    assert len({new_store_token("s") for _ in range(1000)}) == 1000
    assert len(new_store_token("s").rpartition(".")[2]) == 43


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer x",
        "Basic Y3JhXw==",
        ADMIN,
        "Bearer cra_short",
        f"Bearer {ADMIN} {ADMIN}",
        f"Bearer {ADMIN},",
        f"Bearer {STORE}=",
        "Bearer crs_s." + "a" * 42,
        "Bearer crs_." + "a" * 43,
        "Bearer crs_.s." + "a" * 43,
        "Bearer crs_" + "s" * 65 + "." + "a" * 43,
        "Bearer crs_s/t." + "a" * 43,
        "Bearer crs_s." + "\u00e9" * 43,
    ],
)
def test_what_has_not_the_form_of_a_token_is_none(header: str) -> None:
    assert read_bearer(header) is None


def test_a_token_is_not_shown() -> None:
    text = new_store_token("s")
    assert text not in repr(read_bearer(f"Bearer {text}"))
