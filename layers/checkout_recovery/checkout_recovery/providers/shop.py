"""The names by which a provider calls a shop, in the form in which they are compared."""

import functools

from checkout_recovery.checkout.snapshot import Shop

_PLACEHOLDERS = frozenset({"null", "undefined", "none", "nan"})
"""What scripts write where they have no value: no shop is called so."""


def names_of(shop: Shop | None) -> frozenset[str]:
    """Returns the shop's id and domains. Not its name: two shops may share one."""
    if shop is None:
        return frozenset()
    names = (shop.id, host_of(shop.shopify_domain), host_of(shop.link))
    return frozenset([name for name in names if name and name.lower() not in _PLACEHOLDERS])


@functools.lru_cache(maxsize=1024)
def host_of(link: str | None) -> str:
    """Returns the host of a URL or bare domain in lower case; empty where there is none."""
    address = (link or "").strip()
    host = address.partition("://")[2] if "://" in address else address
    for end in "/?#":
        host = host.partition(end)[0]
    return host.rpartition("@")[2].partition(":")[0].rstrip(".").lower()
