"""Limits on connections: how many there may be, in total and of one address.

A connection over the limit gets 503 for its first request, which says when to try again. If there are twice as many as
allowed, further ones are closed at once: their requests would cost too much.
"""

import enum
import ipaddress
from collections import Counter
from collections.abc import Sequence

from hythe.settings import IPNetwork, Settings

IPV6_NETWORK = 64
"""Bits of an IPv6 address that name a customer's network."""


class Verdict(enum.Enum):
    """What to do with a new connection."""

    SERVE = enum.auto()
    REFUSE = enum.auto()
    CLOSE = enum.auto()


class Connections:
    """Counts the open connections of a process."""

    def __init__(self, settings: Settings, processes: int = 1) -> None:
        """Each of ``processes`` that share a port has its share of the limits: the kernel spreads connections."""
        self._processes = processes
        self._total = 0
        self._of: Counter[str] = Counter()
        self.apply(settings)

    def apply(self, settings: Settings) -> None:
        """Take over changed limits, for new connections."""
        self._limit = -(-settings.connections // self._processes)
        self._limit_of_one = -(-settings.connections_per_address // self._processes)
        self._exempt: Sequence[IPNetwork] = settings.proxies

    def open(self, address: str) -> tuple[str, Verdict]:
        """Count a new connection; return the key for ``close``, and what to do with it."""
        key = self._key(address)
        self._total += 1
        verdict = _verdict(self._total, self._limit)
        if key:
            self._of[key] += 1
            if verdict is Verdict.SERVE:
                verdict = _verdict(self._of[key], self._limit_of_one)
        return key, verdict

    def close(self, key: str) -> None:
        """Count the end of a connection."""
        self._total -= 1
        if key:
            self._of[key] -= 1
            if not self._of[key]:
                del self._of[key]

    def _key(self, address: str) -> str:
        """Return what connections of one client have in common; empty for this host and for proxies."""
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return ""
        parsed = getattr(parsed, "ipv4_mapped", None) or parsed
        if not self._limit_of_one or parsed.is_loopback or any(parsed in network for network in self._exempt):
            return ""
        if parsed.version == 4:
            return str(parsed)
        return str(ipaddress.ip_network((int(parsed), IPV6_NETWORK), strict=False).network_address)


def _verdict(count: int, limit: int) -> Verdict:
    if not limit or count <= limit:
        return Verdict.SERVE
    return Verdict.REFUSE if count <= 2 * limit else Verdict.CLOSE
