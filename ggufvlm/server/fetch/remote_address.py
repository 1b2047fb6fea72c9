"""Which IP addresses a server may connect to for somebody else, and which hosts of URLs are names at all."""

from __future__ import annotations

import ipaddress
import re

# IANA's special-purpose registries (RFC 6890 and its successors), written out: what ``is_global`` knows of them
# differs between the Pythons from 3.10 to 3.14, and it calls multicast addresses global.
_CLOSED_4 = tuple(
    ipaddress.IPv4Network(block)
    for block in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # between a provider and its customers
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local: the metadata services of clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
_OPEN_6 = ipaddress.IPv6Network("2000::/3")  # all that IANA has given out for unicast
_CLOSED_6 = tuple(
    ipaddress.IPv6Network(block)
    for block in (
        "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarks
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: an IPv4 address inside
        "2620:4f:8000::/48",  # AS112
        "3ffe::/16",  # the former 6bone
        "3fff::/20",  # documentation
    )
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are the IPv4 address that is meant

# As browsers read hosts (WHATWG URL, "ends in a number"): if the last label is a number, all of it is an address.
_ENDS_IN_NUMBER = re.compile(r"(?:^|\.)(?:[0-9]+|0x[0-9a-f]*)$", re.IGNORECASE)
_NAME = re.compile(r"[0-9a-z_-]+(?:\.[0-9a-z_-]+)*", re.IGNORECASE)


def is_public(address: str) -> bool:
    """Whether an address belongs to a machine of the public internet, and to no network that is only reachable here.

    IPv4 addresses within IPv6 ones (mapped, compatible, 6to4, Teredo) are not public, whatever they are; in NAT64
    they are what they stand for. Text that is no address, or has a zone (``fe80::1%eth0``), is not public.

    Args:
        address: as ``getaddrinfo`` gives it.
    """
    if "%" in address:
        return False
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv4Address):
        return _is_public_4(parsed)
    if parsed in _NAT64:
        return _is_public_4(ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF))
    return parsed in _OPEN_6 and not any(parsed in block for block in _CLOSED_6)


def _is_public_4(address: ipaddress.IPv4Address) -> bool:
    return not any(address in block for block in _CLOSED_4)


def literal_address(host: str) -> str | None:
    """The address that the host of a URL spells out; None if it is a name that is to be resolved.

    Args:
        host: without port, international names in their ASCII form; of an IPv6 address also without brackets.

    Raises:
        ValueError: neither a name nor an address in four decimal numbers or as in RFC 4291: ``127.1``, ``0x7f.1``,
            ``2130706433``, ``0177.0.0.1``, a zone. Resolvers disagree on what these mean.
    """
    bare = host.removesuffix(".")
    if ":" not in bare and _ENDS_IN_NUMBER.search(bare) is None:
        if _NAME.fullmatch(bare) is None:
            raise ValueError("not a name of a host")
        return None
    if "%" in bare:
        raise ValueError("an address with a zone")
    return str(ipaddress.ip_address(bare))
