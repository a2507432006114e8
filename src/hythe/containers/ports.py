"""Published ports: docker's syntax of ``--publish``, and how ``ps`` shows them."""

import ipaddress
import re
from collections.abc import Iterable

from hythe.containers.container import PublishedPort
from hythe.containers.errors import InvalidOption

_SYNTAX = re.compile(
    r"(?:(?:(?P<address>\[[^]]*\]|[^:]*):)?(?P<host>[\d-]*):)?(?P<inside>[\d-]+)(?:/(?P<protocol>\w+))?", re.ASCII
)
_HINT = "write [ADDRESS:][HOSTPORT:]PORT[/udp], such as 8080:80 or 5353:53/udp"
_ALL_ADDRESSES = "0.0.0.0"  # noqa: S104 - docker's default, too
_PROTOCOLS = ("tcp", "udp")
_HIGHEST = 65535


def parse_published(text: str) -> tuple[PublishedPort, ...]:
    """Return the ports that ``--publish`` names; raises InvalidOption.

    Several container ports take as many host ports. One container port takes any free one of several host ports, or
    any free one at all without a host port.
    """
    match = _SYNTAX.fullmatch(text)
    if match is None:
        raise InvalidOption(f"invalid published port {text!r}", _HINT)
    protocol = (match["protocol"] or "tcp").lower()
    if protocol not in _PROTOCOLS:
        raise InvalidOption(f"cannot publish ports of {protocol!r}", "publish tcp or udp ports")
    address = _parse_address(match["address"] or _ALL_ADDRESSES)
    if protocol == "udp" and ipaddress.ip_address(address).is_loopback:
        # slirp4netns drops the answers, as it does all that is for the host's loopback.
        raise InvalidOption(f"a udp port on {address} cannot answer", "publish it on another address of the host")
    inside = _parse_range(match["inside"], text)
    host = _parse_range(match["host"], text) if match["host"] else None
    if host is None:
        return tuple(PublishedPort(port, address=address, protocol=protocol) for port in inside)
    if len(inside) == 1:
        return (PublishedPort(inside[0], host[0], host[-1], address, protocol),)
    if len(host) != len(inside):
        raise InvalidOption(f"{text!r} has {len(host)} host ports for {len(inside)} ports of the container", _HINT)
    return tuple(
        PublishedPort(port, outside, outside, address, protocol) for port, outside in zip(inside, host, strict=True)
    )


def exposed_ports(exposed: Iterable[str]) -> tuple[PublishedPort, ...]:
    """Return the ports that ``--publish-all`` publishes: those that the image exposes, on any free host port.

    Raises InvalidOption, also if the image names an address or a port of the host.
    """
    texts = list(exposed)
    for text in texts:
        if ":" in text:
            raise InvalidOption(f"the image exposes an invalid port {text!r}", "publish its ports one by one with -p")
    return tuple(port for text in texts for port in parse_published(text))


def show_port(port: PublishedPort) -> str:
    """Return a port as ``docker ps`` shows it."""
    return f"{port.address}:{port.host_port}->{port.container_port}/{port.protocol}"


def _parse_address(text: str) -> str:
    try:
        address = ipaddress.ip_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        raise InvalidOption(f"invalid address {text!r} of a published port", _HINT) from None
    if address.version != 4:
        raise InvalidOption(f"cannot publish a port on {address}: only IPv4 addresses are supported", _HINT)
    return str(address)


def _parse_range(text: str, whole: str) -> range:
    first, dash, last = text.partition("-")
    if not first.isdecimal() or (dash and not last.isdecimal()):
        raise InvalidOption(f"invalid published port {whole!r}", _HINT)
    ports = range(int(first), int(last or first) + 1)
    if not ports or not 0 < ports[0] <= ports[-1] <= _HIGHEST:
        raise InvalidOption(f"invalid published port {whole!r}: ports are from 1 to {_HIGHEST}", _HINT)
    return ports
