import ipaddress
import re

import pycurl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from checkout_recovery.delivery.egress import (
    MAX_URL_LENGTH,
    header_fault,
    is_forbidden,
    url_fault,
    url_refusal,
)

FORBIDDEN = [
    "0.0.0.0",  # noqa: S104 - judged, not bound
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "169.254.170.2",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.0.170",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "64:ff9b::7f00:1",
    "64:ff9b::808:808",
    "64:ff9b:1::1",
    "100::1",
    "100:0:0:1::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:2::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::1",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "2606:4700::1111%1",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
]
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "13.235.0.1",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.1",
    "172.15.255.255",
    "172.32.0.1",
    "192.0.1.1",
    "192.167.255.255",
    "198.17.255.255",
    "198.20.0.1",
    "223.255.255.255",
    "2001:200::1",
    "2406:da1a::1",
    "2606:4700:4700::1111",
    "2a00:1450::1",
]
LOOPBACK = ["127.0.0.1", "127.0.0.2", "127.255.255.255", "::1"]

ANY_ADDRESS = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str)


@pytest.mark.parametrize("address", FORBIDDEN)
def test_an_address_that_is_not_globally_routable_is_forbidden(address: str) -> None:
    assert is_forbidden(address, local=False)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_may_be_connected_to(address: str) -> None:
    assert not is_forbidden(address, local=False)
    assert not is_forbidden(address, local=True)


@pytest.mark.parametrize(
    "address", ["", "localhost", "1.2.3", "127.1", "0x7f.0.0.1", "010.0.0.1", "[::1]", "1.1.1.1\n"]
)
def test_what_is_no_address_is_forbidden(address: str) -> None:
    assert is_forbidden(address, local=False)
    assert is_forbidden(address, local=True)


def test_local_targets_let_loopback_in_and_nothing_else() -> None:
    assert not any(is_forbidden(address, local=True) for address in LOOPBACK)
    assert all(
        is_forbidden(address, local=True)
        for address in FORBIDDEN
        if address not in {*LOOPBACK, "127.255.255.254"}
    )


@given(ANY_ADDRESS)
@example("224.0.0.1")
def test_nothing_that_python_calls_special_is_let_through(address: str) -> None:
    ip = ipaddress.ip_address(address)
    special = not ip.is_global or ip.is_multicast or ip.is_reserved or ip.is_link_local or ip.is_unspecified
    assert is_forbidden(address, local=False) or not special


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_inside_an_ipv6_one_is_always_forbidden(inner: ipaddress.IPv4Address) -> None:
    number = int(inner)
    carriers = [
        number,  # IPv4-compatible
        0xFFFF << 32 | number,  # IPv4-mapped
        0xFFFF << 48 | number,  # IPv4-translated
        0x64FF9B << 96 | number,  # NAT64
        0x64FF9B0001 << 80 | number,  # local NAT64
        0x2002 << 112 | number << 80,  # 6to4
        0x20010000 << 96 | number ^ 0xFFFFFFFF,  # Teredo
    ]
    assert all(is_forbidden(str(ipaddress.IPv6Address(carrier)), local=False) for carrier in carriers)


@given(ANY_ADDRESS)
def test_local_differs_only_on_loopback(address: str) -> None:
    differs = is_forbidden(address, local=False) != is_forbidden(address, local=True)
    assert differs == (
        address == "::1" or ipaddress.ip_address(address) in ipaddress.IPv4Network("127.0.0.0/8")
    )


@pytest.mark.parametrize(
    "url",
    [
        "https://bsp.example/webhooks?a=b&c=%20d",
        "https://bsp.example",
        "https://bsp.example?x",
        "HTTPS://BSP.Example:8443/",
        "https://bsp.example./",
        "https://a_b.example/",
        "https://xn--mnchen-3ya.example/",
        "https://h/@path",
        "https://8.8.8.8/",
        "https://[2606:4700:4700::1111]:443/x",
    ],
)
def test_an_ordinary_callback_url_is_taken(url: str) -> None:
    assert url_refusal(url, local=False) is None


@pytest.mark.parametrize(
    "url",
    [
        "",
        "https",
        "bsp.example/x",
        "//bsp.example/x",
        "http://bsp.example/",
        "ftp://bsp.example/",
        "file:///etc/passwd",
        "gopher://bsp.example/",
        "https:bsp.example",
        "https:/bsp.example",
        "https:///bsp.example",
        "https://",
        "https:///",
        "https://?x",
        "https://:443/",
        "https://@bsp.example/",
        "https://user@bsp.example/",
        "https://user:password@bsp.example/",
        "https://1.1.1.1@127.0.0.1/",
        "https://bsp.example#",
        "https://bsp.example/#x",
        "https://bsp.example:/",
        "https://bsp.example:0/",
        "https://bsp.example:65536/",
        "https://bsp.example:-1/",
        "https://bsp.example:443443/",
        "https://bsp.example:x/",
        "https://bsp.example:٤/",
        "https://bsp example/",
        "https://bsp.example/a b",
        " https://bsp.example/",
        "https://bsp.example/\n",
        "https://bsp.example/\r\nHost: x",
        "https://bsp.example/\x00",
        "https://bsp.example/\x7f",
        "https://bsp.example\\@evil.example/",
        "https://bsp..example/",
        "https://.bsp.example/",
        "https://bsp.example../",
        "https://-bsp.example/",
        "https://bsp-.example/",
        "https://" + "a" * 64 + ".example/",
        "https://" + "a." * 127 + "example/",
        "https://bsp%2eexample/",
        "https://%6c%6f%63alhost/",
        "https://münchen.example/",
        "https://①②⑦.0.0.1/",
        "https://127。0。0。1/",
        "https://bsp.example/é",
        "https://\ud800.example/",
        "https://256.1.1.1/",
        "https://1.2.3.4.5/",
        "https://[::1/",
        "https://[]/",
        "https://[1.2.3.4]/",
        "https://[2606:4700::1%25eth0]/",
        "https://[2606:4700::1%eth0]/",
        "https://bsp.example/" + "a" * MAX_URL_LENGTH,
    ],
)
def test_a_malformed_callback_url_is_refused_and_not_repeated(url: str) -> None:
    refusal = url_refusal(url, local=False)
    assert refusal
    assert refusal == url_fault(url, local=False)
    assert len(url) < len("https://x") or url not in refusal


@pytest.mark.parametrize(
    "host",
    [
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "017700000001",
        "127.0.0.1.",
        "0",
        "0x",
        "8.8.8.010",
    ],
)
def test_an_address_in_disguise_is_refused_even_locally(host: str) -> None:
    assert url_refusal(f"https://{host}/", local=False)
    assert url_refusal(f"https://{host}/", local=True)


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST",
        "localhost.",
        "shop.localhost",
        "127.0.0.1",
        "10.0.0.1",
        "169.254.169.254",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[fd00:ec2::254]",
        "[64:ff9b::7f00:1]",
    ],
)
def test_a_forbidden_target_is_refused_early_though_its_form_is_right(host: str) -> None:
    assert url_refusal(f"https://{host}:8080/x", local=False)
    assert url_fault(f"https://{host}:8080/x", local=False) is None


@pytest.mark.parametrize(
    "url", ["http://localhost:3000/x", "http://127.0.0.1/", "https://[::1]/", "http://bsp.example/"]
)
def test_local_targets_let_http_and_loopback_in(url: str) -> None:
    assert url_refusal(url, local=True) is None
    assert url_refusal(url, local=False)


def test_local_targets_let_no_private_network_in() -> None:
    assert url_refusal("http://192.168.0.1/", local=True)
    assert url_refusal("http://169.254.169.254/latest/meta-data", local=True)


@given(
    st.text(alphabet=st.sampled_from("htps:/@[]?#.0123456789xabcdf%\\ -_é"), max_size=40).map(
        "https://".__add__
    )
)
def test_libcurl_sees_the_host_that_was_judged(url: str) -> None:
    if url_fault(url, local=False) is None:
        seen = pycurl.CurlUrl(url, pycurl.U_DISALLOW_USER)
        judged = re.match(r"https://(\[[^\]]+\]|[^/?:]+)", url)
        assert judged
        assert _canonical(seen.host or "") == _canonical(judged[1])


def _canonical(host: str) -> str:
    return str(ipaddress.ip_address(host[1:-1])) if host.startswith("[") else host


@given(st.text(max_size=60))
def test_any_text_is_judged_without_an_error(text: str) -> None:
    judgements = (
        url_refusal(text, local=False),
        url_refusal("https://" + text, local=True),
        header_fault(text, text),
    )
    assert all(judgement is None or judgement for judgement in judgements)


@pytest.mark.parametrize("value", ["", "a", "a\tb", "Bearer x;y", "पता", "héllo"])
def test_a_header_may_hold_any_text_of_one_line(value: str) -> None:
    assert header_fault("X-Tenant", value) is None


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\n", "\ra", "a\x00b", "\x1b[0m", "\x7f", "\ud800"])
def test_a_header_value_cannot_hold_another_line(value: str) -> None:
    fault = header_fault("X-Tenant", value)
    assert fault
    assert value not in fault


@pytest.mark.parametrize("name", ["", "X Y", "X:", "X\r\nY", "X;", "é", "X\n", "a" * 129])
def test_a_header_name_is_a_token(name: str) -> None:
    assert header_fault(name, "x")


@pytest.mark.parametrize(
    "name", ["Content-Length", "transfer-encoding", "HOST", "Connection", "Expect", "Upgrade"]
)
def test_headers_that_frame_and_route_a_request_are_not_for_others_to_set(name: str) -> None:
    assert header_fault(name, "x")
