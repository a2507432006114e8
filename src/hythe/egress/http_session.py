"""HTTP sessions of the hub for addresses that user input names. Every socket is decided by the egress policy."""

import asyncio
import socket
import ssl
from types import SimpleNamespace
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import DefaultResolver

from hythe.egress.policy import EgressDenied, EgressPolicy
from hythe.telemetry.http_tracing import http_tracing


def open_egress_session(
    policy: EgressPolicy, tls: ssl.SSLContext | None = None, **options: Any
) -> aiohttp.ClientSession:
    """Return a session whose connections, redirects included, reach only what ``policy`` allows.

    Proxies of the environment are not used: a proxy would connect to addresses that nothing has checked. ``tls`` None
    is the default context; ``options`` are those of ``aiohttp.ClientSession``. Refused requests raise
    aiohttp.ClientConnectorError; see ``egress_denial``.
    """
    gate = _Gate(policy)
    tracing = aiohttp.TraceConfig()
    tracing.on_connection_create_start.append(gate.resolve_names)
    connector = aiohttp.TCPConnector(
        resolver=_EgressResolver(gate), use_dns_cache=False, socket_factory=gate.make_socket, ssl=tls or True
    )
    return aiohttp.ClientSession(
        connector=connector,
        trust_env=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        trace_configs=[tracing, *http_tracing()],
        **options,
    )


def egress_denial(error: BaseException) -> EgressDenied | None:
    """Return the refusal that made a request fail, if that was the reason."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, EgressDenied):
            return cause
        cause = cause.__cause__
    return None


class _Gate:
    """The policy with the present addresses of the names that it opens."""

    def __init__(self, policy: EgressPolicy) -> None:
        self._policy = policy
        self._resolved = policy

    async def resolve_names(self, _session: aiohttp.ClientSession, _context: SimpleNamespace, _event: Any) -> None:
        """Resolve the opened names before a connection is made, outside the event loop."""
        if self._policy.names:
            self._resolved = await asyncio.to_thread(self._policy.with_names_resolved)

    def make_socket(self, info: tuple[Any, ...]) -> socket.socket:
        """Return a socket for an address that is about to be connected to. Raises EgressDenied."""
        family, kind, protocol, _, address = info
        self._resolved.require_allowed(str(address[0]), int(address[1]))
        return socket.socket(family, kind, protocol)

    def require_allowed(self, address: str, port: int, host: str) -> None:
        """See EgressPolicy."""
        self._resolved.require_allowed(address, port, host)


class _EgressResolver(AbstractResolver):
    """Drops addresses that will be refused, so that errors contain the name, and other addresses are tried at once."""

    def __init__(self, gate: _Gate) -> None:
        self._resolver = DefaultResolver()
        self._gate = gate

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the host's allowed addresses. Raises EgressDenied if there is none, OSError."""
        allowed: list[ResolveResult] = []
        denied: EgressDenied | None = None
        for result in await self._resolver.resolve(host, port, family):
            try:
                self._gate.require_allowed(result["host"], port, host)
            except EgressDenied as error:
                denied = denied or error
                continue
            allowed.append(result)
        if denied is not None and not allowed:
            raise denied
        return allowed

    async def close(self) -> None:
        """Release the resolver's resources."""
        await self._resolver.close()
