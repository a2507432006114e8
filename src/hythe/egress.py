"""Hosts that user-supplied URLs can reach: source repositories and webhook receivers (protection against SSRF)."""

import ipaddress
import socket
from collections.abc import Callable, Sequence

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import DefaultResolver

from hythe.settings import IPNetwork, SettingsError

ANY_NETWORK = "*"
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class EgressDenied(OSError):
    """A host that user-supplied URLs must not reach."""


class EgressResolver(AbstractResolver):
    """Resolves host names, and fails when ``refuses`` is true for one of their addresses.

    It checks at connect time, so that a name cannot resolve to another address after the check. aiohttp does not
    resolve IP addresses: call ``require_allowed`` for those.
    """

    def __init__(self, refuses: Callable[[str], bool]) -> None:
        self._resolver = DefaultResolver()
        self._refuses = refuses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the host's addresses. Raises EgressDenied, OSError."""
        results = await self._resolver.resolve(host, port, family)
        for result in results:
            require_allowed(result["host"], host, self._refuses)
        return results

    async def close(self) -> None:
        """Release the resolver's resources."""
        await self._resolver.close()


def require_allowed(address: str, host: str, refuses: Callable[[str], bool]) -> None:
    """Return if ``address`` of ``host`` is allowed, or is a name that is still to be resolved. Raises EgressDenied."""
    if is_address(address) and refuses(address):
        raise EgressDenied(f"{host} is not a public address")


def is_address(host: str) -> bool:
    """Whether this is an IP address, not a name."""
    try:
        _effective(host)
    except ValueError:
        return False
    return True


def is_metadata_address(address: str) -> bool:
    """Whether an address is link-local, or serves a cloud's instance metadata."""
    effective = _effective(address)
    return effective.is_link_local or str(effective) in ("100.100.100.200", "fd00:ec2::254")


def parse_networks(setting: str) -> tuple[IPNetwork, ...] | None:
    """Return the networks of the setting ``webhook_networks``; None means any network. Raises SettingsError."""
    if setting.strip() == ANY_NETWORK:
        return None
    try:
        return tuple(ipaddress.ip_network(text, strict=False) for text in setting.split())
    except ValueError as error:
        raise SettingsError(f"webhook_networks: {error}: write networks such as 10.0.0.0/8, or *") from error


def egress_filter(allowed: Sequence[IPNetwork] | None) -> Callable[[str], bool]:
    """Return a predicate that refuses addresses outside the public internet and ``allowed`` (None: any network).

    Metadata addresses are always refused.
    """

    def refuses(address: str) -> bool:
        effective = _effective(address)
        if is_metadata_address(address):
            return True
        if allowed is None or effective.is_global:
            return False
        return not any(effective in network for network in allowed)

    return refuses


def _effective(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return the address that is reached in the end: NAT64, 6to4 and mapped IPv6 addresses lead to IPv4 ones."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv4Address):
        return parsed
    if parsed in _NAT64:
        return ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)
    return parsed.ipv4_mapped or parsed.sixtofour or parsed
