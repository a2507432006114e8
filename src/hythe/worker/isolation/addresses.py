"""Addresses that builds must never reach: metadata services of clouds, which hand out the machine's credentials."""

import ipaddress
import socket

METADATA = ("169.254.0.0/16", "100.100.100.200/32", "168.63.129.16/32")
_METADATA_6 = ("fe80::/10", "fd00:ec2::254/128")
_NETWORKS = tuple(map(ipaddress.ip_network, (*METADATA, *_METADATA_6)))


def is_metadata(address: str) -> bool:
    """Return whether an IP address is that of a cloud's metadata service."""
    found = _parse(address)
    return any(found in network for network in _NETWORKS)


def is_local_machine(address: str) -> bool:
    """Return whether an IP address always refers to the local machine."""
    found = _parse(address)
    return found.is_loopback or found.is_unspecified


def _parse(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    found = ipaddress.ip_address(address.partition("%")[0])
    return found.ipv4_mapped or found if isinstance(found, ipaddress.IPv6Address) else found


def addresses_of(host: str, port: int, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[str]:
    """Return the addresses of a host, the preferred one first. Raises OSError."""
    found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
    return list(dict.fromkeys(str(info[4][0]) for info in found))
