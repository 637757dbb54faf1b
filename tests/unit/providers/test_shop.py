import pytest

from checkout_recovery.checkout.snapshot import Shop
from checkout_recovery.providers.shop import host_of, names_of


@pytest.mark.parametrize(
    "link",
    ["my-store.com", "https://my-store.com/", "HTTPS://user@My-Store.com.:443/a?b#c", " my-store.com/x "],
)
def test_a_url_and_a_bare_domain_name_the_same_host(link: str) -> None:
    assert host_of(link) == "my-store.com"


@pytest.mark.parametrize("link", [None, "", "https://", "https:///path"])
def test_what_has_no_host_names_none(link: str | None) -> None:
    assert host_of(link) == ""


@pytest.mark.parametrize("placeholder", ["null", "Undefined", "None"])
def test_a_placeholder_is_no_shop(placeholder: str) -> None:
    assert names_of(Shop(id=placeholder, shopify_domain=placeholder, link="my-store.com")) == {"my-store.com"}
