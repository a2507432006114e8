"""The headers with which a reverse proxy says who its client is, whether it uses TLS, and the ID of its request.

Anyone can send them, so only those of trusted proxies count. A proxy that is not named in ``trusted_proxies`` is the
commonest mistake of operators: links and token realms then begin with http://, and all clients have one address. So the
first such request of a peer is logged, with the setting that helps.
"""

import logging
from collections.abc import Sequence

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from hythe.settings import IPNetwork
from hythe.telemetry.request_record import (
    REQUEST_ID_HEADER,
    RequestRecord,
    current_record,
    is_request_id,
    is_trace_parent,
)

MAX_REPORTED = 20
"""Peers for which a line is logged: anyone can send the headers."""

_USED = (b"x-forwarded-proto", b"x-forwarded-for")
_HEADERS = frozenset((*_USED, b"x-forwarded-host", b"forwarded"))

log = logging.getLogger(__name__)


class ForwardedHeaders:
    """An ASGI application that takes the client and the scheme from the headers of trusted proxies."""

    def __init__(
        self, application: ASGIApp, proxies: Sequence[IPNetwork], *, public_url: str = "", report: bool = True
    ) -> None:
        """``report``: the application uses client and scheme, so that ignored headers matter."""
        self._reports = report
        self._application = application
        self._has_public_url = bool(public_url)
        self._reported: set[str] = set()
        self.trust(proxies)

    def trust(self, proxies: Sequence[IPNetwork]) -> None:
        """Trust these proxies from the next request on."""
        spellings = [spelling for network in proxies for spelling in _spellings(network)]
        self._trusted = ProxyHeadersMiddleware(self._application, spellings)  # type: ignore[arg-type]
        self._trusts = bool(spellings)
        self._reported.clear()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if self._reports and len(self._reported) < MAX_REPORTED:
            self._report(scope)
        if self._trusts and (scope.get("client") or ("",))[0] in self._trusted.trusted_hosts:
            record = current_record()
            if record is not None:
                _take_over(scope, record)
        await self._trusted(scope, receive, send)  # type: ignore[arg-type]

    def pass_unchanged(self, scope: Scope) -> bool:
        """Return whether the application may get the request as it is: it comes from no trusted proxy."""
        if self._reports and len(self._reported) < MAX_REPORTED:
            self._report(scope)
        return not (self._trusts and (scope.get("client") or ("",))[0] in self._trusted.trusted_hosts)

    def _report(self, scope: Scope) -> None:
        """Log once for each peer which of its headers are ignored."""
        peer = (scope.get("client") or ("",))[0]
        if peer in self._reported:
            return
        if not any(name in _HEADERS for name, _ in scope["headers"]):
            return
        sent = {name: value for name, value in scope["headers"] if name in _HEADERS or name == b"host"}
        if peer not in self._trusted.trusted_hosts:
            ignored = sorted(sent.keys() - {b"host"})
            if ignored:
                self._reported.add(peer)
                log.warning("%s", self._untrusted(peer, ignored, sent))
        elif problem := self._incomplete(peer, sent):
            self._reported.add(peer)
            log.warning("%s", problem)

    def _untrusted(self, peer: str, ignored: list[bytes], sent: dict[bytes, bytes]) -> str:
        effect = "all its clients count as one address"
        if sent.get(b"x-forwarded-proto", b"").strip() == b"https" and not self._has_public_url:
            effect += ", and links and token realms begin with http://"
        return (
            f"ignored {_titles(ignored)} of {peer}, which is no trusted proxy: {effect}; if it is your reverse proxy, "
            f"set trusted_proxies to {peer}{self._advice()}"
        )

    def _incomplete(self, peer: str, sent: dict[bytes, bytes]) -> str:
        """Return what a trusted proxy leaves out; empty if it does not."""
        missing = [name for name in _USED if name not in sent]
        if missing and (len(missing) < len(_USED) or b"forwarded" in sent):
            return f"the trusted proxy {peer} does not send {_titles(missing)}: let it set that header{self._advice()}"
        host = sent.get(b"x-forwarded-host")
        if host is not None and host != sent.get(b"host") and not self._has_public_url:
            return (
                f"the trusted proxy {peer} changes Host, so links lead to another one: let it pass Host{self._advice()}"
            )
        return ""

    def _advice(self) -> str:
        return "" if self._has_public_url else ", and set public_url to the address that clients use"


def _take_over(scope: Scope, record: RequestRecord) -> None:
    """Use the ID of the proxy, so that its log and ours name the same one, and the parent of its trace."""
    for name, value in scope["headers"]:
        if name == REQUEST_ID_HEADER and is_request_id(given := str(value, "latin-1")):
            record.id = given
        elif name == b"traceparent" and is_trace_parent(given := str(value, "latin-1")):
            record.trace_parent = given


def _titles(names: list[bytes]) -> str:
    return " and ".join(name.decode().title() for name in names)


def _spellings(network: IPNetwork) -> tuple[str, ...]:
    """Return the network also as IPv4-mapped IPv6, as a dual-stack socket reports IPv4 clients."""
    if network.version == 6:
        return (str(network),)
    return str(network), f"::ffff:{network.network_address}/{96 + network.prefixlen}"
