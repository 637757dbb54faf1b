"""What we promise to receivers: a module for each version of a topic, rendered and signed.

`docs/contracts.md` is the receivers' side of it.
"""

from collections.abc import Mapping
from types import MappingProxyType

from checkout_recovery.contracts import cashfree_v1, checkout_2026_11, flexype_2025_09, flexype_2026_05
from checkout_recovery.contracts.contract import Contract

CONTRACTS: Mapping[tuple[str, str], Contract] = MappingProxyType(
    {
        (contract.topic, contract.version): contract
        for contract in (
            cashfree_v1.CONTRACT,
            flexype_2025_09.CONTRACT,
            flexype_2026_05.CONTRACT,
            checkout_2026_11.CONTRACT,
        )
    }
)
