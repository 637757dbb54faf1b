"""Checkout providers, an adapter each: what proves a request, and how it reads as snapshots."""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import cast

from checkout_recovery.providers.provider import Notice, Provider


class _Providers(Mapping[str, Provider]):
    """Imports each when it is first asked for: a function that hears of one does not load them all."""

    _NAMES = ("flexype", "cashfree", "shopify")

    def __getitem__(self, name: str) -> Provider:
        if name not in self._NAMES:
            raise KeyError(name)
        return _imported(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._NAMES)

    def __len__(self) -> int:
        return len(self._NAMES)


@cache
def _imported(name: str) -> Provider:
    return cast("Provider", import_module(f"{__name__}.{name}"))


PROVIDERS: Mapping[str, Provider] = _Providers()
"""By the name in the path of the webhook's URL."""

OWN_CALLS = ("checkouts", "orders")
"""Ours, for stores without any of these."""


def own_reader(call: str) -> Callable[[bytes], Notice] | None:
    """Reads the bodies of our own calls; None of what is no call."""
    if call not in OWN_CALLS:
        return None
    own = import_module(f"{__name__}.own")
    return cast("Callable[[bytes], Notice]", own.READERS[call])
