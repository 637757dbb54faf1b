"""The receiver believes nothing: what our contracts make verifies, and nothing that was tampered with."""

import ast
import base64
import hashlib
import hmac
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

import local.receiver
from checkout_recovery.checkout.lifecycle import Checkout
from checkout_recovery.checkout.snapshot import Details, Snapshot
from checkout_recovery.contracts import CONTRACTS
from checkout_recovery.contracts.contract import Attempt
from checkout_recovery.signing import Recipe, new_webhook_key
from local.receiver import CASHFREE, PROOFS, Receiver, Refused, line_of, verify

ROOT = Path(__file__).parents[3]
EMAIL, PHONE = "kanarienne@canary.example", "9812345670"
KEY, OTHER_KEY = new_webhook_key(), new_webhook_key()


def delivery(contract: str, *keys: str, sent_at: datetime | None = None) -> tuple[dict[str, str], bytes]:
    """A delivery as our own code makes it, header names in lower case."""
    topic, version = contract.split()
    now = datetime.now(UTC)
    snapshot = Snapshot(checkout_id="c-1", abandoned=True, details=Details(email=EMAIL, stage="INITIATED"))
    checkout = Checkout(store_id="store", checkout_id="c-1").apply(snapshot, now, timedelta(minutes=15))
    assert isinstance(checkout, Checkout)
    assert checkout.event is not None
    attempt = Attempt(
        delivery_id="dlv_1",
        subscription_id="sub_1",
        event_id=checkout.event.id,
        shop_url="https://my-store.com",
        keys=keys,
        recipe=Recipe.BASE64_BODY,
        sent_at=sent_at or now,
    )
    made = CONTRACTS[topic, version]
    body = made.render(checkout)
    return {name.lower(): value for name, value in made.headers(attempt, body).items()}, body


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def post(receiver: Receiver, path: str, headers: dict[str, str], body: bytes) -> int:
    return httpx.post(receiver.url + path, headers=headers, content=body, trust_env=False).status_code


@pytest.mark.parametrize("module", ["receiver", "senders", "client"])
def test_it_shares_no_code_with_what_it_checks(module: str) -> None:
    tree = ast.parse((ROOT / "local" / f"{module}.py").read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not {name for name in imported if name.startswith("checkout_recovery")}
    code = f"import sys, local.{module}; print([name for name in sys.modules if 'checkout_recovery' in name])"
    answer = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"


def test_it_knows_every_contract_that_there_is() -> None:
    assert set(PROOFS) == {" ".join(contract) for contract in CONTRACTS}


@pytest.mark.parametrize("contract", PROOFS)
def test_a_delivery_verifies_by_every_proof_of_its_contract(contract: str) -> None:
    headers, body = delivery(contract, KEY)
    verified: list[str] = []
    verify(contract, [OTHER_KEY, KEY], headers, body, verified)
    assert tuple(verified) == PROOFS[contract]


@pytest.mark.parametrize("contract", PROOFS)
def test_a_delivery_of_another_key_a_changed_body_or_long_ago_does_not_verify(contract: str) -> None:
    headers, body = delivery(contract, KEY)
    old = delivery(contract, KEY, sent_at=datetime.now(UTC) - timedelta(minutes=6))
    for keys, given, content in (
        ([OTHER_KEY], headers, body),
        ([], headers, body),
        ([KEY], headers, body + b" "),
        ([KEY], *old),
    ):
        with pytest.raises(Refused):
            verify(contract, keys, given, content)


@pytest.mark.parametrize(
    ("contract", "name"),
    [(contract, name) for contract in PROOFS for name in delivery(contract, KEY)[0]],
)
def test_every_header_of_a_contract_is_needed(contract: str, name: str) -> None:
    headers, body = delivery(contract, KEY)
    del headers[name]
    with pytest.raises(Refused):
        verify(contract, [KEY], headers, body)


@pytest.mark.parametrize("name", ["webhook-signature", "x-webhook-signature", "x-flexype-authorization"])
@pytest.mark.parametrize("value", ["", "v1", "v1,", "v1,not base64!", "a,b,c", "é", "v2,AAAA"])
def test_a_strange_proof_is_refused_and_breaks_nothing(name: str, value: str) -> None:
    for contract in PROOFS:
        headers, body = delivery(contract, KEY)
        if name in headers:
            with pytest.raises(Refused):
                verify(contract, [KEY], headers | {name: value}, body)


def test_cashfrees_proof_is_what_others_compute() -> None:
    """The vector's key, body and value were computed with another implementation."""
    body = '{"amount":170.00,"name":"Él"}'.encode()
    headers = delivery("abandonedCheckout v1", KEY)[0] | {
        "x-webhook-signature": "CGkRQWYK4xLn6H6eUoirAb7hONeHtd9fIbKeYGJZ48I="
    }
    check = local.receiver._CHECKS[CASHFREE]
    check("abandonedCheckout v1", ["test_secret_do_not_use"], headers, body)
    with pytest.raises(Refused):
        check("abandonedCheckout v1", ["test_secret_do_not_use"], headers, body + b" ")


@pytest.mark.parametrize("contract", PROOFS)
def test_it_records_what_came_and_how_it_was_verified(receiver: Receiver, contract: str) -> None:
    receiver.trust("/hook", KEY, contract=contract, name="mine")
    headers, body = delivery(contract, KEY)
    assert post(receiver, "/hook", headers, body) == 200
    (arrival,) = receiver.arrivals
    assert (arrival.name, arrival.contract, arrival.problem) == ("mine", contract, None)
    assert arrival.verified_by == PROOFS[contract]
    assert arrival.event_id == headers["webhook-id"]
    assert arrival.body == body


@pytest.mark.parametrize("contract", PROOFS)
def test_without_being_told_it_reads_the_contract_from_the_headers(receiver: Receiver, contract: str) -> None:
    receiver.trust("/hook", KEY)
    assert post(receiver, "/hook", *delivery(contract, KEY)) == 200
    assert receiver.arrivals[0].contract == contract


def test_a_delivery_without_its_contracts_own_proof_is_refused(receiver: Receiver) -> None:
    receiver.trust("/hook", KEY, contract="ACR_CHECKOUT 2026-05")
    assert post(receiver, "/hook", *delivery("checkout 2026-11", KEY)) == 401


def test_an_event_id_in_the_headers_must_be_the_one_in_the_body(receiver: Receiver) -> None:
    receiver.trust("/hook", KEY)
    headers, body = delivery("ACR_CHECKOUT 2025-09", KEY)
    content = f"evt_other.{headers['webhook-timestamp']}.".encode() + body
    digest = hmac.digest(base64.b64decode(KEY.removeprefix("whsec_")), content, hashlib.sha256)
    other = {"webhook-id": "evt_other", "webhook-signature": "v1," + base64.b64encode(digest).decode()}
    assert post(receiver, "/hook", headers | other, body) == 401


def test_a_forged_delivery_and_an_unknown_path_are_answered_so(receiver: Receiver) -> None:
    receiver.trust("/hook", KEY)
    headers, body = delivery("checkout 2026-11", OTHER_KEY)
    assert post(receiver, "/hook", headers, body) == 401
    assert post(receiver, "/other", headers, body) == 404
    assert all(arrival.problem for arrival in receiver.arrivals)


@pytest.mark.parametrize("body", [b"", b"not json", b"[]", b"\xff", b"null"])
def test_a_body_that_is_no_message_is_refused(receiver: Receiver, body: bytes) -> None:
    receiver.trust("/hook", KEY)
    assert post(receiver, "/hook", delivery("checkout 2026-11", KEY)[0], body) == 401


def test_an_endpoint_behaves_as_it_is_told(receiver: Receiver) -> None:
    endpoint = receiver.trust("/hook", KEY)
    endpoint.status, endpoint.delay_seconds = 503, 0.2
    before = datetime.now(UTC)
    assert post(receiver, "/hook", *delivery("checkout 2026-11", KEY)) == 503
    assert datetime.now(UTC) - before >= timedelta(seconds=0.2)


def test_a_connection_stays_open_for_the_next_delivery(receiver: Receiver) -> None:
    receiver.trust("/hook", KEY)
    headers, body = delivery("checkout 2026-11", KEY)
    with httpx.Client(base_url=receiver.url, trust_env=False) as client:
        streams = set()
        for _ in range(3):
            response = client.post("/hook", headers=headers, content=body)
            streams.add(response.extensions["network_stream"].get_extra_info("client_addr"))
    assert response.http_version == "HTTP/1.1"
    assert len(streams) == 1


def test_waiting_is_bounded(receiver: Receiver) -> None:
    assert receiver.wait_for(lambda arrivals: len(arrivals) == 1, 0.05) is False


def test_neither_a_line_nor_a_repr_tells_of_the_shopper(receiver: Receiver) -> None:
    receiver.trust("/path-token", KEY)
    post(receiver, "/path-token", *delivery("abandonedCheckout v1", KEY))
    (arrival,) = receiver.arrivals
    for text in (line_of(arrival), repr(arrival)):
        assert EMAIL not in text
        assert "path-token" not in text
        assert KEY not in text
    assert "verified: standard-webhooks, cashfree-hmac" in line_of(arrival)


def test_alone_it_says_what_came_and_ends_with_ctrl_c() -> None:
    command = [sys.executable, "-u", "-m", "local.receiver", "--port", "0", "--key", f"hook={KEY}"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - the same
        assert process.stdout is not None
        url = process.stdout.readline().split()[3].rstrip(";")
        headers, body = delivery("checkout 2026-11", KEY)
        answer = httpx.post(f"{url}/hook", headers=headers, content=body, trust_env=False)
        line = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(10) == 0
        finally:
            process.kill()
    assert answer.status_code == 200
    assert "verified: standard-webhooks" in line
    assert EMAIL not in line


def test_a_port_that_is_taken_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with Receiver() as there:
        port = there.url.rpartition(":")[2]
        monkeypatch.setattr(sys, "argv", ["receiver", "--port", port, "--key", f"/hook={KEY}"])
        assert local.receiver.main() == 1
    assert capsys.readouterr().err == f"receiver: port {port}: Address already in use\n"


@pytest.mark.parametrize("key", ["nonsense", "/hook=", "/hook=notakey", "/hook=whsec_", "/hook=whsec_a"])
def test_a_key_that_is_none_is_refused(
    key: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["receiver", "--key", key])
    with pytest.raises(SystemExit):
        local.receiver.main()
    assert "must be path=whsec_" in capsys.readouterr().err
