import json
import re
from pathlib import Path
from typing import Any

import pytest

from checkout_recovery.checkout.lifecycle import Checkout
from checkout_recovery.contracts import CONTRACTS
from checkout_recovery.contracts.contract import Contract
from checkout_recovery.providers.own import OrderBody, read_order
from tests.unit.contracts.examples import GOLDEN, cases, golden_file, golden_headers, headers_file

CASES = [
    pytest.param(contract, name, example, id=f"{contract.topic}-{contract.version}-{name}")
    for contract, name, example in cases()
]


@pytest.mark.parametrize(("contract", "name", "example"), CASES)
def test_a_published_contract_keeps_its_bytes(contract: Contract, name: str, example: Checkout) -> None:
    assert contract.render(example) == golden_file(contract, name).read_bytes()


@pytest.mark.parametrize(("contract", "name", "example"), CASES)
def test_a_checkout_that_was_stored_and_read_again_has_the_same_bytes(
    contract: Contract, name: str, example: Checkout
) -> None:
    stored = Checkout.model_validate_json(example.model_dump_json(exclude_defaults=True))
    assert contract.render(stored) == contract.render(example)


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=lambda contract: contract.version)
def test_a_published_contract_keeps_its_headers(contract: Contract) -> None:
    assert golden_headers(contract) == headers_file(contract).read_text()


def test_no_golden_file_is_left_over() -> None:
    used = {golden_file(contract, name) for contract, name, _ in cases()}
    used |= {headers_file(contract) for contract in CONTRACTS.values()}
    assert set(GOLDEN.iterdir()) == used


def names_in(value: Any, path: str = "") -> set[str]:
    """The path of every member; the elements of an array are one."""
    if isinstance(value, dict):
        paths = [names_in(member, f"{path}.{name}") for name, member in value.items()]
        return {f"{path}.{name}" for name in value}.union(*paths)
    if isinstance(value, list):
        return set[str]().union(*(names_in(member, f"{path}[]") for member in value))
    return set()


def documented() -> list[Any]:
    """Every example of a body in the document."""
    document = (Path(__file__).parents[3] / "docs/contracts.md").read_text()
    return [json.loads(block) for block in re.findall(r"```json\n(.*?)```", document, re.DOTALL)]


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=lambda contract: contract.version)
def test_the_example_that_receivers_read_names_nothing_that_is_not_sent(contract: Contract) -> None:
    sent = json.loads(golden_file(contract, "full").read_bytes())
    (example,) = [example for example in documented() if example.keys() <= sent.keys()]
    assert names_in(example) <= names_in(sent)


def test_the_order_that_shops_read_of_has_every_member_and_is_taken() -> None:
    (example,) = [example for example in documented() if "order_id" in example]
    assert example.keys() == OrderBody.model_fields.keys()
    assert read_order(json.dumps(example).encode()).orders
