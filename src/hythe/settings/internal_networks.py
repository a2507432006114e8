"""The value of the setting ``internal_networks``: what users' addresses can reach besides the public internet."""

import ipaddress

import msgspec

from hythe.settings.addresses import IPNetwork, split_host
from hythe.settings.values import InvalidValue

_ADVICE = "use networks such as 10.0.0.0/8 and HOST:PORT, separated by spaces"


class InternalHost(msgspec.Struct, frozen=True):
    """One port of a host: an IP address, or a name."""

    host: str
    port: int


class InternalNetworks(msgspec.Struct, frozen=True):
    """The networks and single ports that the setting opens."""

    networks: tuple[IPNetwork, ...] = ()
    hosts: tuple[InternalHost, ...] = ()


def parse_internal_networks(text: str) -> InternalNetworks:
    """Return the value of the setting: networks and HOST:PORT, separated by spaces. Raises InvalidValue."""
    networks: list[IPNetwork] = []
    hosts: list[InternalHost] = []
    for item in text.split():
        try:
            networks.append(_without_mapping(ipaddress.ip_network(item)))
        except ValueError as error:
            if "/" in item:
                bits = "; the host bits of a network are 0" if "host bits" in str(error) else ""
                raise InvalidValue(item, _ADVICE + bits) from error
            hosts.append(_parse_host(item))
    return InternalNetworks(tuple(networks), tuple(hosts))


def _parse_host(item: str) -> InternalHost:
    found = split_host(item, _ADVICE)
    if found.port is None:
        raise InvalidValue(item, _ADVICE)
    return InternalHost(found.host, found.port)


def _without_mapping(network: IPNetwork) -> IPNetwork:
    """Return an IPv4-mapped network (::ffff:0:0/96) as the IPv4 network that it stands for."""
    if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= 96:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return ipaddress.IPv4Network((int(mapped), network.prefixlen - 96))
    return network
