"""The stub of AWS and the raw socket: what the benchmarks stand on."""

import socket
from contextlib import closing

import pytest

from bench.raw_socket import RawSocket, sent_by
from bench.server import LOOPBACK, serving
from bench.stub import STORE_ID, Account, subscription_id

QUERY = b'{"TableName": "RegistryTable", "ExpressionAttributeValues": {":store_id": {"S": "my-store"}}}'


def test_a_store_has_as_many_subscriptions_as_were_asked_for() -> None:
    items = Account({STORE_ID: 3}).answer("Query", QUERY)["Items"]
    assert [item["kind_id"]["S"].partition("#")[0] for item in items] == ["store"] + ["subscription"] * 3


def test_an_index_has_nothing() -> None:
    assert Account({STORE_ID: 3}).answer("Query", QUERY[:-1] + b', "IndexName": "due"}') == {"Items": []}


def test_a_checkout_that_is_not_held_is_unknown() -> None:
    held = {"store_id": {"S": STORE_ID}, "checkout_id": {"S": "c-held"}}
    account = Account(held=held)
    body = b'{"TableName": "CheckoutTable", "Key": {"checkout_id": {"S": "%s"}}}'
    assert account.answer("GetItem", body % b"c-held") == {"Item": held}
    assert account.answer("GetItem", body % b"c-other") == {}


def test_a_batch_read_finds_what_there_is_by_table() -> None:
    body = (
        b'{"RequestItems": {"RegistryTable": {"Keys": [{"store_id": {"S": "s"}, "kind_id": {"S": "store"}}]},'
        b' "DeliveryTable": {"Keys": [{"subscription_id": {"S": "x"}, "delivery_id": {"S": "y"}}]}}}'
    )
    found = Account().answer("BatchGetItem", body)["Responses"]
    assert {table: len(items) for table, items in found.items()} == {"RegistryTable": 1, "DeliveryTable": 0}


def test_subscriptions_of_different_stores_have_different_ids_of_one_length() -> None:
    ids = [subscription_id(number, store) for number in (0, 99) for store in (STORE_ID, "many-0", "many-1")]
    assert len(set(ids)) == 6
    assert {len(one) for one in ids} == {30}


def test_the_bytes_of_a_request_are_those_that_were_sent() -> None:
    request = b"POST /0 HTTP/1.1\r\nhost: here\r\ncontent-length: 4\r\n\r\nbody"

    def post(url: str) -> None:
        port = int(url.rpartition(":")[2].partition("/")[0])
        with socket.create_connection((LOOPBACK, port)) as connection:
            connection.sendall(request[:30])
            connection.sendall(request[30:])
            assert connection.recv(100).startswith(b"HTTP/1.1 200")

    assert sent_by(post) == request


@pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")  # pytest's workers have threads
def test_a_raw_socket_takes_nothing_but_200_for_an_answer() -> None:
    answers = [b"200 OK"] * 4 + [b"500 No"]
    head = b"POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}"
    with (
        serving(lambda _head, _body: b"HTTP/1.1 %b\r\ncontent-length: 0\r\n\r\n" % answers.pop(0)) as port,
        closing(RawSocket(port, head)) as raw,
    ):
        raw.post(4)
        with pytest.raises(ConnectionError, match="did not answer 200"):
            raw.post(1)
