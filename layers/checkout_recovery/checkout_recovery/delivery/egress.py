"""What may leave: the form of callback URLs and headers, and the addresses that may be connected to.

The form is checked when a subscription is made and again before a send; the address only where the
connection is made, because a name that was public when it was looked up may not be when it is connected to
(DNS rebinding).

URLs are held to a grammar that every parser reads alike: what this module takes for the host is what libcurl
connects to. The tables of addresses are our own, from the IANA special-purpose registries: `is_global` lets
multicast and the transition ranges through, and says different things in different versions of Python.
"""

import re
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

MAX_URL_LENGTH = 2048
MAX_PORT = 65535
_MAX_NAME_LENGTH = 253

_URL = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<userinfo>[^/?]*@)?"
    r"(?:\[(?P<ipv6>[^\]@/?]*)\]|(?P<name>[^:@/?\[\]]*))"
    r"(?::(?P<port>\d{1,5}))?"
    r"(?:[/?].*)?",
    re.ASCII | re.IGNORECASE,
)
_VISIBLE = re.compile(r"[!-~]+")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII | re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII | re.IGNORECASE)

_LOOPBACK_V4 = IPv4Network("127.0.0.0/8")
_LOOPBACK_V6 = IPv6Address("::1")

_FORBIDDEN_V4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this network
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # carrier-grade NAT; also inside AWS
            "127.0.0.0/8",  # loopback
            "169.254.0.0/16",  # link-local: instance metadata, the container credentials
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # IETF protocol assignments
            "192.0.2.0/24",  # documentation
            "192.88.99.0/24",  # 6to4 relays
            "192.168.0.0/16",  # private
            "198.18.0.0/15",  # benchmarking
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
        ),
    )
)
_UNICAST_V6 = IPv6Network("2000::/3")
"""All that IANA has allotted for global unicast. Outside it lie loopback, IPv4-mapped and -compatible, NAT64
(64:ff9b::/96, 64:ff9b:1::/48), discard (100::/64), segment routing (5f00::/16), unique-local, link-local,
site-local and multicast."""
_FORBIDDEN_V6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # IETF protocol assignments: Teredo, benchmarking, ORCHID
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4, which carries an IPv4 address
            "3fff::/20",  # documentation
        ),
    )
)

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}", re.ASCII)
_NOT_IN_HEADER = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")
_OUR_HEADERS = frozenset(
    (
        "connection",
        "content-encoding",
        "content-length",
        "expect",
        "host",
        "http2-settings",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
"""Where a request ends and whom it is for is the sender's to say: connections are shared by subscriptions."""


def is_forbidden(address: str, *, local: bool) -> bool:
    """Whether nothing may be sent to an address; all but globally routable unicast is forbidden.

    Args:
        address: as the socket is about to connect to it; what is no address is forbidden.
        local: lets the loopback addresses in too, and nothing else.
    """
    if "%" in address:  # a scope id: the address means something on one link only
        return True
    try:
        ip = ip_address(address)
    except ValueError:
        return True
    if local and _is_loopback(ip):
        return False
    if isinstance(ip, IPv4Address):
        return any(ip in network for network in _FORBIDDEN_V4)
    return ip not in _UNICAST_V6 or any(ip in network for network in _FORBIDDEN_V6)


def _is_loopback(ip: IPv4Address | IPv6Address) -> bool:
    return ip in _LOOPBACK_V4 if isinstance(ip, IPv4Address) else ip == _LOOPBACK_V6


def url_refusal(url: str, *, local: bool) -> str | None:
    """Says why a subscription may not have this callback URL, or None where it may.

    `local` lets plain http and loopback receivers in. A name that only resolves to a forbidden address passes
    here and is refused when it is connected to.
    """
    return url_fault(url, local=local) or _target_fault(_host(url), local=local)


def url_fault(url: str, *, local: bool) -> str | None:
    """Says what is wrong with the form of a callback URL, whatever it points to; None if nothing is.

    The answer never repeats the URL: its path may hold a token.
    """
    return _text_fault(url) or _syntax_fault(url, local=local)


def _text_fault(url: str) -> str | None:
    if len(url) > MAX_URL_LENGTH:
        return f"must not be longer than {MAX_URL_LENGTH} characters"
    if not _VISIBLE.fullmatch(url):
        # Python's stdlib has only IDNA 2003, which turns straße.de into another owner's strasse.de.
        return "must be visible ASCII: an international name in its xn-- form, all else percent-encoded"
    if "\\" in url or "#" in url:
        return "must not contain a backslash or a fragment"
    return None


def _syntax_fault(url: str, *, local: bool) -> str | None:
    match = _URL.fullmatch(url)
    if not match:
        return "must be an https:// URL with a host and, if any, a port from 1 to 65535"
    if match["userinfo"] is not None:
        return "must not contain a user name or password"
    if match["scheme"].lower() != "https" and not local:
        return "must be an https:// URL"
    if match["port"] is not None and not 1 <= int(match["port"]) <= MAX_PORT:
        return "must have a port from 1 to 65535"
    return _ipv6_fault(match["ipv6"]) if match["name"] is None else _name_fault(match["name"])


def header_fault(name: str, value: str) -> str | None:
    """Says why a header that somebody chose may not be sent, or None where it may; never with its value."""
    return header_name_fault(name) or header_value_fault(value)


@lru_cache(maxsize=1024)
def header_name_fault(name: str) -> str | None:
    if not _HEADER_NAME.fullmatch(name):
        return "the name must be 1 to 128 of the characters that HTTP allows in header names"
    return "the sender itself sets this header" if name.lower() in _OUR_HEADERS else None


def header_value_fault(value: str) -> str | None:
    if _NOT_IN_HEADER.search(value):
        return "the value must not contain line breaks or other control characters"
    return None


def _ipv6_fault(literal: str) -> str | None:
    try:
        IPv6Address(literal)
    except AddressValueError:
        return "must have a valid IPv6 address in its brackets"
    return "must not have a zone in its address" if "%" in literal else None


def _name_fault(name: str) -> str | None:
    labels = name.removesuffix(".").split(".")
    if _NUMBER.fullmatch(labels[-1]):
        return _ipv4_fault(name)
    if len(name) > _MAX_NAME_LENGTH or not all(map(_LABEL.fullmatch, labels)):
        return "must have a valid host name"
    return None


def _ipv4_fault(name: str) -> str | None:
    """A name that ends in a number is an address in every resolver: in octal, hex, or with parts left out."""
    try:
        IPv4Address(name)
    except AddressValueError:
        return "must have an IPv4 address written as four decimal numbers"
    return None


def _host(url: str) -> str:
    match = _URL.fullmatch(url)
    return (match["ipv6"] or match["name"]).lower() if match else ""


def _target_fault(host: str, *, local: bool) -> str | None:
    name = host.removesuffix(".")
    if name == "localhost" or name.endswith(".localhost"):
        return None if local else "must not point to this machine"
    try:
        ip_address(host)
    except ValueError:
        return None
    return "must point to a public address" if is_forbidden(host, local=local) else None
