"""Which hosts users may make the hub send requests to: sources that it looks at, receivers of webhooks."""

import ipaddress
import socket
from collections.abc import Callable, Sequence

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import DefaultResolver

from hythe.settings import Network, SettingsError

EVERYWHERE = "*"
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class NotOutside(OSError):
    """A host that nobody may make the hub send requests to."""


class Outside(AbstractResolver):
    """Names of hosts, but not of those that ``refuses`` an address of.

    It stands where connections are made, so that a name cannot mean something else after it was checked. Addresses
    that need no resolving do not come by here: ``require_outside`` is for them.
    """

    def __init__(self, refuses: Callable[[str], bool]) -> None:
        self._resolver = DefaultResolver()
        self._refuses = refuses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the host's addresses. Raises NotOutside, OSError."""
        found = await self._resolver.resolve(host, port, family)
        for each in found:
            require_outside(each["host"], host, self._refuses)
        return found

    async def close(self) -> None:
        """Let go of what resolving took."""
        await self._resolver.close()


def require_outside(address: str, host: str, refuses: Callable[[str], bool]) -> None:
    """Return when ``address`` of ``host`` may be connected to, or is a name. Raises NotOutside."""
    if is_address(address) and refuses(address):
        raise NotOutside(f"{host} is not a host outside")


def is_address(host: str) -> bool:
    """Whether this is an IP address, and no name."""
    try:
        _parsed(host)
    except ValueError:
        return False
    return True


def holds_metadata(address: str) -> bool:
    """Whether an address is link-local or one of those at which clouds answer about their machines."""
    parsed = _parsed(address)
    return parsed.is_link_local or str(parsed) in ("100.100.100.200", "fd00:ec2::254")


def networks_of(setting: str) -> tuple[Network, ...] | None:
    """Return the networks of the setting ``webhook_networks``; None: everywhere. Raises SettingsError."""
    if setting.strip() == EVERYWHERE:
        return None
    try:
        return tuple(ipaddress.ip_network(word, strict=False) for word in setting.split())
    except ValueError as error:
        raise SettingsError(f"webhook_networks: {error}: write networks such as 10.0.0.0/8, or *") from error


def outside_of(allowed: Sequence[Network] | None) -> Callable[[str], bool]:
    """Return what refuses every address that is neither on the public internet nor in ``allowed`` (None: all are)."""

    def refuses(address: str) -> bool:
        parsed = _parsed(address)
        if holds_metadata(address):
            return True
        if allowed is None or parsed.is_global:
            return False
        return not any(parsed in network for network in allowed)

    return refuses


def _parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return the address that is reached in the end: gateways turn some of IPv6 into addresses of IPv4."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv4Address):
        return parsed
    if parsed in _NAT64:
        return ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)
    return parsed.ipv4_mapped or parsed.sixtofour or parsed
