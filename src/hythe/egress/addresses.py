"""Kinds of IP addresses: those of the public internet, and those that only an explicit setting opens.

Based on the IANA special-purpose address registries (RFC 6890); every address that is not listed there as globally
reachable unicast is internal.
"""

import contextlib
import errno
import ipaddress
import socket
from typing import TypeAlias

from hythe.settings import IPNetwork

IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

SPECIAL_IPV4 = tuple(
    map(
        ipaddress.IPv4Network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
            *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15"),
            *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        ),
    )
)
"""IPv4 networks that are not part of the public internet."""

_UNICAST_IPV6 = ipaddress.IPv6Network("2000::/3")
_SPECIAL_IPV6 = tuple(
    map(
        ipaddress.IPv6Network,
        # Protocol assignments (Teredo, benchmarking, ORCHID), documentation, 6to4, documentation.
        ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),
    )
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")

GUARDED = tuple(
    map(
        ipaddress.ip_network,
        (
            # Every machine's own: unspecified, loopback, link-local, multicast, limited broadcast.
            *("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "255.255.255.255/32"),
            *("::/128", "::1/128", "fe80::/10", "ff00::/8"),
            # Metadata services, which hand out a machine's credentials: Alibaba, Azure, Oracle, AWS, Google, Scaleway.
            *("100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32"),
            *("fd00:ec2::/32", "fd20:ce::/32", "fd00:42::42/128"),
        ),
    )
)
"""Networks that no larger network opens: a setting must name them, a part of them, or HOST:PORT."""


def parse_address(text: str) -> IPAddress:
    """Return the address that is reached in the end: mapped and NAT64 addresses lead to IPv4 ones. Raises ValueError.

    A zone id is ignored: it selects an interface, not another address.
    """
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address


def addresses_of(
    host: str, port: int | None = None, family: socket.AddressFamily = socket.AF_UNSPEC
) -> tuple[str, ...]:
    """Return the addresses of a host, the preferred one first. Blocks. Raises OSError."""
    try:
        found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError(errno.EINVAL, "not a host name") from error
    return tuple(dict.fromkeys(str(info[4][0]) for info in found))


def is_public(address: IPAddress) -> bool:
    """Return whether an address belongs to the public internet (not whether it is one of this machine's)."""
    if guard_of(address) is not None:
        return False
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in SPECIAL_IPV4)
    return address in _UNICAST_IPV6 and not any(address in network for network in _SPECIAL_IPV6)


def guard_of(address: IPAddress) -> IPNetwork | None:
    """Return the guarded network of an address, if any."""
    return next((network for network in GUARDED if address in network), None)


def is_own_address(address: IPAddress) -> bool:
    """Return whether an address is one of this machine's own.

    The kernel is asked for the route there, which sends nothing: to itself, a machine uses the address as the source.
    """
    family = socket.AF_INET if isinstance(address, ipaddress.IPv4Address) else socket.AF_INET6
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((str(address), 9))
        return ipaddress.ip_address(probe.getsockname()[0].partition("%")[0]) == address
    return False
