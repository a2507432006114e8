"""The network that counts as one client: an IPv4 address, or the /64 network of an IPv6 address.

A provider gives each IPv6 customer at least a /64 network, so its 2**64 addresses are no different clients.
"""

import ipaddress

_MAX_LENGTH = 43
"""The length of the longest network, and of the columns that store it."""


def client_network(address: str) -> str:
    """Return the network of a client's address, such as ``192.0.2.7`` or ``2001:db8::/64``."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:_MAX_LENGTH]
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((parsed, 64), strict=False))


def is_local(network: str) -> bool:
    """Return whether a client's network is loopback or private: the address of a proxy rather than of a stranger."""
    try:
        return ipaddress.ip_network(network).is_private
    except ValueError:
        return False
