"""Limits on connections: how many there may be, in total and of one address.

A connection over the limit gets 503 for its first request, which says when to try again. If there are twice as many as
allowed, further ones are closed at once: their requests would cost too much.
"""

import enum
import ipaddress
import resource
from collections import Counter
from collections.abc import Sequence

from starlette.types import Receive, Scope, Send

from hythe.oci.errors import ErrorCode, WireError, encode_errors
from hythe.settings import IPNetwork, Settings

IPV6_NETWORK = 64
"""Bits of an IPv6 address that name a customer's network."""


RETRY_AFTER = 5
"""Seconds after which a client that was refused should try again."""

MAX_OPEN_FILES = 65536
"""The limit of open files to request: a transfer takes three, and any process can raise the usual limit of 1024."""


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


async def refuse(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Answer that there are too many connections (an ASGI application)."""
    body = encode_errors(WireError(ErrorCode.UNAVAILABLE, "too many connections: try again in a few seconds"))
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"retry-after", b"%d" % RETRY_AFTER),
    ]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def allow_many_files() -> None:
    """Raise the limit of open files of this process as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
