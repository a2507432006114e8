"""The value of the setting ``internal_networks``: what users' addresses can reach besides the public internet."""

import ipaddress
import re

import msgspec

from hythe.settings.values import IPNetwork, SettingsError

_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?")
_EXAMPLES = "write networks such as 10.0.0.0/8, or HOST:PORT"


class InternalHost(msgspec.Struct, frozen=True):
    """One port of a host: an IP address, or a name."""

    host: str
    port: int


class InternalNetworks(msgspec.Struct, frozen=True):
    """The networks and single ports that the setting opens."""

    networks: tuple[IPNetwork, ...] = ()
    hosts: tuple[InternalHost, ...] = ()


def parse_internal_networks(text: str) -> InternalNetworks:
    """Return the value of the setting: networks and HOST:PORT, separated by spaces. Raises SettingsError."""
    networks: list[IPNetwork] = []
    hosts: list[InternalHost] = []
    for item in text.split():
        try:
            networks.append(_without_mapping(ipaddress.ip_network(item)))
        except ValueError as error:
            if "/" in item:
                raise SettingsError(f"internal_networks: {error}: {_EXAMPLES}") from error
            hosts.append(_parse_host(item))
    return InternalNetworks(tuple(networks), tuple(hosts))


def _parse_host(item: str) -> InternalHost:
    host, _, port = item.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        is_host = _is_address(host)
    else:
        # A name that ends in a number is another spelling of an IPv4 address, such as 0x7f000001 or 127.1.
        last = host.rpartition(".")[2].lower()
        is_number = last.isdigit() or re.fullmatch(r"0x[0-9a-f]*", last) is not None
        is_host = (_is_address(host) and ":" not in host) or (_HOST.fullmatch(host) is not None and not is_number)
    if not is_host or not (port.isascii() and port.isdecimal() and 1 <= int(port) <= 65535):
        raise SettingsError(f"internal_networks: {item!r} is neither a network nor HOST:PORT: {_EXAMPLES}")
    return InternalHost(host, int(port))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _without_mapping(network: IPNetwork) -> IPNetwork:
    """Return an IPv4-mapped network (::ffff:0:0/96) as the IPv4 network that it stands for."""
    if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= 96:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return ipaddress.IPv4Network((int(mapped), network.prefixlen - 96))
    return network
