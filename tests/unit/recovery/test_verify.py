"""A saved request is judged offline: by published vectors, and by what our own signer makes."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import Result

from checkout_recovery import signing
from recovery import proof_standard
from recovery.rewritings import earlier_bodies
from recovery.saved import Saved
from tests.unit.recovery.played import run

KEY = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
AT = datetime(2026, 11, 22, 10, tzinfo=UTC)
SECONDS = int(AT.timestamp())
BODY = '{"amount":170.00,"name":"Él","url":"https://a/b"}'.encode()

# The published vectors of Cashfree's recipes.
CASHFREE_KEY = "test_secret_do_not_use"
CASHFREE_BODY = '{"amount":170.00,"name":"Él"}'.encode()
CASHFREE_TIMESTAMP = "1746427759733"
VECTORS = {
    "base64_body": "CGkRQWYK4xLn6H6eUoirAb7hONeHtd9fIbKeYGJZ48I=",
    "hex_body": "08691141660ae312e7e87e9e5288ab01bee138d787b5df5f21b29e606259e3c2",
    "base64_timestamp_body": "oKa/Tftw+H9FdHPWJ6f7PAHcBAGnzDV/5Y4hE4vFmqE=",
}


def judge(headers: dict[str, str] | str, body: bytes, key: str, *words: str) -> Result:
    """Judges a request that is saved in the working directory, the key from stdin."""
    text = headers if isinstance(headers, str) else "".join(f"{name}: {it}\n" for name, it in headers.items())
    Path("headers.txt").write_text(text)
    Path("body.json").write_bytes(body)
    at = () if "--at" in words else ("--at", AT.isoformat())
    return run("verify", "--headers", "headers.txt", "--body", "body.json", *at, *words, given=key + "\n")


def standard(
    body: bytes = BODY, *, key: str = KEY, message_id: str = "evt_1", timestamp: int = SECONDS
) -> dict[str, str]:
    return {
        "Webhook-Id": message_id,
        "Webhook-Timestamp": str(timestamp),
        "Webhook-Signature": signing.sign_standard([key], message_id, timestamp, body),
    }


def fits(headers: dict[str, str], body: bytes) -> bool:
    """Judges without the command, for properties that look at many requests."""
    request = Saved({name.lower(): (value,) for name, value in headers.items()}, body)
    return all(one.fits for one in proof_standard.judge(request, KEY, AT, timedelta(minutes=5)))


def signed(content: bytes, key: bytes | None = None) -> str:
    using = key or signing.key_bytes(KEY)
    return "v1," + base64.b64encode(hmac.digest(using, content, hashlib.sha256)).decode()


def says(result: Result, *told: str) -> bool:
    """Whether the request is refused for just that, and nothing secret is said."""
    refused = [line for line in result.stdout.splitlines() if line.startswith("DOES NOT FIT")]
    is_for_that = len(refused) == len(told) and all(
        part in line for part, line in zip(told, refused, strict=True)
    )
    is_silent = KEY not in result.output and CASHFREE_KEY not in result.output
    return result.exit_code == 1 and is_for_that and is_silent


# ---------------------------------------------------------------- Standard Webhooks


def test_what_our_signer_signs_fits() -> None:
    result = judge(standard(), BODY, KEY)
    assert (result.exit_code, "DOES NOT FIT" in result.stdout) == (0, False)
    assert "standard signature: it fits" in result.stdout


@given(body=st.text(), message_id=st.text("abc_0", min_size=1, max_size=20))
def test_whatever_our_signer_signs_fits(body: str, message_id: str) -> None:
    assert fits(standard(body.encode(), message_id=message_id), body.encode())


@given(at=st.integers(0, len(BODY) - 1), bit=st.integers(0, 7))
def test_no_body_with_a_bit_changed_fits(at: int, bit: int) -> None:
    changed = BODY[:at] + bytes([BODY[at] ^ 1 << bit]) + BODY[at + 1 :]
    assert not fits(standard(), changed)


def test_either_key_of_a_rotation_fits() -> None:
    headers = standard()
    headers["Webhook-Signature"] = signing.sign_standard(
        [signing.new_webhook_key(), KEY], "evt_1", SECONDS, BODY
    )
    result = judge(headers, BODY, KEY)
    assert result.exit_code == 0
    assert "entry 2 of 2 fits" in result.stdout


def test_an_old_timestamp_is_told_with_its_age() -> None:
    assert says(
        judge(standard(timestamp=SECONDS - 7500), BODY, KEY), "it is 2 h 5 min old; at most 5 min is believed"
    )


def test_a_timestamp_of_the_future_is_told() -> None:
    assert says(judge(standard(timestamp=SECONDS + 600), BODY, KEY), "it is 10 min ahead of the clock")


def test_a_tolerance_may_be_given() -> None:
    assert judge(standard(timestamp=SECONDS - 7500), BODY, KEY, "--tolerance", "3h").exit_code == 0


def test_without_a_time_it_is_judged_as_now() -> None:
    long_ago = standard(timestamp=SECONDS - 365 * 86_400)
    Path("h").write_text("\n".join(f"{name}: {value}" for name, value in long_ago.items()))
    Path("b").write_bytes(BODY)
    timely = standard(timestamp=int(datetime.now(UTC).timestamp()))
    Path("now").write_text(json.dumps(timely))
    codes = [run("verify", "--headers", file, "--body", "b", "--key", KEY).exit_code for file in ("h", "now")]
    assert codes == [1, 0]


def test_milliseconds_are_told() -> None:
    result = judge(standard(timestamp=SECONDS * 1000), BODY, KEY)
    assert says(result, "is in milliseconds", "not written or dated as Standard Webhooks asks")


@pytest.mark.parametrize("timestamp", ["2026-11-22T10:00:00Z", "-5", "1e9", "٣", "9" * 400])
def test_a_timestamp_that_is_none_is_told(timestamp: str) -> None:
    result = judge(standard() | {"Webhook-Timestamp": timestamp}, BODY, KEY)
    assert "not a whole number of seconds" in result.stdout
    assert result.exit_code == 1


def test_a_missing_message_id_is_told() -> None:
    headers = standard()
    del headers["Webhook-Id"]
    result = judge(headers, BODY, KEY)
    assert result.exit_code == 1
    assert "there is no webhook-id" in result.stdout


def test_another_header_that_was_signed_as_the_message_id_is_named() -> None:
    headers = standard(message_id="dlv_9") | {"Webhook-Id": "evt_1", "X-Request-Id": "dlv_9"}
    assert says(judge(headers, BODY, KEY), "it was signed with x-request-id as the message id")


def test_a_key_that_was_not_decoded_is_told() -> None:
    content = f"evt_1.{SECONDS}.".encode() + BODY
    headers = standard() | {"Webhook-Signature": signed(content, KEY.encode())}
    assert says(judge(headers, BODY, KEY), "it was signed with the key's characters")


@pytest.mark.parametrize(
    ("content", "told"),
    [(BODY, "it covers the body alone"), (str(SECONDS).encode() + b"." + BODY, "it covers timestamp.body")],
)
def test_the_recipe_that_would_have_fitted_is_told(content: bytes, told: str) -> None:
    assert says(judge(standard() | {"Webhook-Signature": signed(content)}, BODY, KEY), told)


def test_another_key_is_told_as_what_cannot_be_explained() -> None:
    assert says(
        judge(standard(key=signing.new_webhook_key()), BODY, KEY),
        "another key, or a body that is not as it was sent",
    )


@pytest.mark.parametrize("key", ["whsec_", "whsec_!", "nonsense "])
def test_a_key_that_is_none_is_told(key: str) -> None:
    result = judge(standard(), BODY, key)
    assert result.exit_code == 1
    assert "the key is not whsec_ and base64" in result.stdout


@pytest.mark.parametrize("signature", ["", "v2,x", "v1a,x", "nonsense"])
def test_a_signature_of_no_known_version_is_told(signature: str) -> None:
    assert says(judge(standard() | {"Webhook-Signature": signature}, BODY, KEY), "has no entry v1")


# ---------------------------------------------------------------- re-serialised bodies


SENT: dict[str, Any] = {
    "amount": 12.5,
    "name": "Él",
    "url": "https://a/b",
    "items": [],
    "n": [1, {"a": None}],
}


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (json.dumps(SENT), "with a space after each comma and colon"),
        (json.dumps(SENT, ensure_ascii=False, separators=(",", ":")), "without spaces between the parts"),
        (json.dumps(SENT, indent=2), "indented by two"),
        (json.dumps(SENT, indent=4, ensure_ascii=False), "indented by four"),
        (json.dumps(SENT).replace("/", "\\/").replace(", ", ",").replace(": ", ":"), "slashes as"),
        (json.dumps(SENT).replace("12.5", "12.50"), "decimals written with two places"),
    ],
)
@pytest.mark.parametrize("indent", [None, 3])
def test_a_body_that_was_written_anew_is_told_with_how_it_was_signed(
    sent: str, told: str, indent: int | None
) -> None:
    saved = json.dumps(SENT, ensure_ascii=False, indent=indent, separators=(" ,", ":")).encode()
    result = judge(standard(sent.encode()), saved, KEY)
    assert result.exit_code == 1
    assert "the body was re-serialised on the way: it was signed" in result.stdout
    assert told in result.stdout


def test_a_line_end_that_an_editor_added_is_told() -> None:
    assert says(judge(standard(), BODY + b"\n", KEY), "without the line end that the saved body has")


@given(body=st.binary())
def test_no_body_is_too_broken_to_be_looked_at(body: bytes) -> None:
    assert all(isinstance(earlier, bytes) for _, earlier in earlier_bodies(body))


# ---------------------------------------------------------------- Cashfree


def cashfree(recipe: str) -> dict[str, str]:
    return {"x-webhook-signature": VECTORS[recipe], "x-webhook-timestamp": CASHFREE_TIMESTAMP}


@pytest.mark.parametrize("recipe", VECTORS)
def test_the_published_vectors_fit(recipe: str) -> None:
    assert judge(cashfree(recipe), CASHFREE_BODY, CASHFREE_KEY, "--recipe", recipe).exit_code == 0


@pytest.mark.parametrize("recipe", list(signing.Recipe))
def test_what_our_signer_signs_fits_in_its_recipe_and_in_no_other(recipe: signing.Recipe) -> None:
    signature = signing.sign(recipe, CASHFREE_KEY, CASHFREE_BODY, CASHFREE_TIMESTAMP)
    headers = {"x-webhook-signature": signature, "x-webhook-timestamp": CASHFREE_TIMESTAMP}
    codes = {
        other: judge(headers, CASHFREE_BODY, CASHFREE_KEY, "--recipe", other).exit_code
        for other in signing.Recipe
    }
    assert codes == {other: int(other != recipe) for other in signing.Recipe}


@pytest.mark.parametrize("recipe", ["hex_body", "base64_timestamp_body"])
def test_the_recipe_of_cashfree_that_would_have_fitted_is_named(recipe: str) -> None:
    assert says(judge(cashfree(recipe), CASHFREE_BODY, CASHFREE_KEY), f"it would have fitted as {recipe}")


def test_a_body_without_its_zeros_is_told() -> None:
    saved = b'{"amount": 170.0, "name": "\\u00c9l"}'
    assert says(judge(cashfree("base64_body"), saved, CASHFREE_KEY), "decimals written with two places")


def test_a_recipe_whose_timestamp_is_missing_is_told() -> None:
    headers = {"x-webhook-signature": VECTORS["base64_timestamp_body"]}
    result = judge(headers, CASHFREE_BODY, CASHFREE_KEY, "--recipe", "base64_timestamp_body")
    assert "covers x-webhook-timestamp, and there is none" in result.stdout
    assert result.exit_code == 1


# ---------------------------------------------------------------- FlexyPe


def flexype(token: str) -> dict[str, str]:
    return {"X-Flexype-Authorization": token}


def test_the_merchant_s_secret_fits() -> None:
    assert judge(flexype("s3cret"), b"{}", "s3cret").exit_code == 0


@pytest.mark.parametrize(
    ("token", "told"),
    [
        ("other", "it is another secret"),
        ("S3CRET", "in other capitals"),
        ("Bearer s3cret", "after the word Bearer"),
        ("s3c", "only the beginning"),
        (signing.sign(signing.Recipe.HEX_BODY, "s3cret", b"{}"), "an HMAC of the body (hex_body)"),
    ],
)
def test_what_was_mistaken_for_the_secret_is_told(token: str, told: str) -> None:
    assert says(judge(flexype(token), b"{}", "s3cret"), told)


# ---------------------------------------------------------------- files and the key


def test_all_proofs_of_a_request_have_to_fit() -> None:
    own = {"x-webhook-signature": signing.sign(signing.Recipe.BASE64_BODY, KEY, BODY)}
    assert judge(standard() | own, BODY, KEY).exit_code == 0
    assert says(judge(standard() | {"x-webhook-signature": "x"}, BODY, KEY), "cashfree signature")
    assert judge(standard() | {"x-webhook-signature": "x"}, BODY, KEY, "--scheme", "standard").exit_code == 0


def test_machines_are_told_each_finding() -> None:
    result = judge(standard(), BODY, KEY, "--json")
    told = json.loads(result.stdout)
    assert told["fits"] is True
    assert [one["check"] for one in told["findings"]["standard"]] == [
        "message id",
        "timestamp",
        "key",
        "signature",
    ]


def test_headers_may_be_as_curl_shows_them() -> None:
    lines = "".join(f"> {name}: {value}\n" for name, value in standard().items())
    assert judge(f"> POST /hook HTTP/1.1\n{lines}>\n", BODY, KEY).exit_code == 0


def test_headers_may_be_json_also_in_a_request() -> None:
    assert judge(json.dumps(standard()), BODY, KEY).exit_code == 0
    assert judge(json.dumps({"headers": standard()}), BODY, KEY).exit_code == 0


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "has no headers"),
        ("{", "begins like JSON"),
        ('{"a": 1}', "a header's value is a text"),
        ("a secret line\n", "line 1: not a header"),
        ("webhook-signature: a\nwebhook-signature: b\n", "with several values"),
        ("accept: */*\n", "carry no proof"),
    ],
)
def test_headers_that_cannot_be_read_are_told(text: str, told: str) -> None:
    result = judge(text, BODY, KEY)
    assert (result.exit_code, result.stdout) == (1, "")
    assert told in result.stderr
    assert "secret" not in result.stderr


def test_a_file_that_is_not_there_is_told() -> None:
    result = run("verify", "--headers", "nowhere", "--body", "nowhere", given=KEY)
    assert (result.exit_code, result.stderr) == (
        1,
        "recovery: nowhere cannot be read: No such file or directory.\n",
    )


def test_a_key_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECOVERY_KEY", KEY)
    assert judge(standard(), BODY, "").exit_code == 0


def test_without_a_key_nothing_is_judged() -> None:
    assert "There is no key" in judge(standard(), BODY, "").stderr
