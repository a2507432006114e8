"""Keeps web pages of strangers away from a registry that a user's browser can reach.

A page has two ways to it:

- It sends a request to the server's own address. The browser hides the response from the page, but the request can
  change something. Its headers ``Sec-Fetch-Site`` and ``Origin`` name another site: it is refused.
- The page's name resolves first to the page's server and then to ours (DNS rebinding), so the browser takes both for
  one site and shows the page every response. ``Host`` is the page's name then: a private registry without passwords
  refuses unknown names. A hub does not: it shows such a page what everyone may see, and has cookies for its own name.

No setting is needed for names that cannot be a stranger's: IP addresses, ``localhost`` and the names of this machine.
A server on a network address also accepts names that the public DNS does not contain, such as ``registry`` and
``registry.local``: an attacker who can forge them is on the same network, and reaches it anyway. A server on loopback
does not accept them, because any network that the machine visits can forge them; only this machine reaches it, so it
accepts the names in the machine's /etc/hosts instead, which DNS cannot change. With TLS every name is accepted: no
browser takes our certificate for that of a page's name.
"""

import ipaddress
import re
import socket
from pathlib import Path
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from hythe.oci.errors import ErrorCode, WireError, encode_errors
from hythe.ready_response import Answer, Shortcut
from hythe.registry.routes.cross_site import is_cross_site
from hythe.registry.routes.http import Response, find_header, send_response
from hythe.server.listening import Address
from hythe.settings import Settings
from hythe.settings.addresses import ends_in_number, is_host_name, is_ip_address

PRIVATE_DOMAINS = frozenset(
    {
        # Reserved by RFC 6761, 6762 and 8375, and by ICANN in 2024.
        *("localhost", "test", "local", "home.arpa", "internal"),
        # Not delegated, and in wide use in clusters (registry.default.svc) and on local networks.
        *("svc", "lan", "home", "corp", "localdomain"),
    }
)
"""Domains that the public DNS does not contain."""

CACHE_SIZE = 1000
"""Accepted Host headers that are cached; the cache is emptied when it is full."""

HOSTS_FILE = Path("/etc/hosts")

_PORT = re.compile(r":\d*$")


class HostNames:
    """The names that clients can use for this server."""

    def __init__(self, settings: Settings, address: Address) -> None:
        """``address`` is the address that the server listens on."""
        names = settings.host_names
        self._any = "*" in names
        public = urlsplit(settings.public_url).hostname
        listening = ipaddress.ip_address(address[0].partition("%")[0])
        self._on_network = not (getattr(listening, "ipv4_mapped", None) or listening).is_loopback
        local = [] if self._on_network else names_in(HOSTS_FILE)
        self._names = frozenset({*own_names(), *local, *names, *([public] if public else [])})
        self._suffixes = (".localhost", *(name.removeprefix("*") for name in names if name.startswith("*.")))

    def contain(self, host: str) -> bool:
        """Return whether a Host header, with or without a port, names this server."""
        name = name_of(host)
        if name.startswith("["):
            return is_ip_address(name[1:].removesuffix("]"))
        if ends_in_number(name):
            return True
        if not is_host_name(name):
            return False
        if name in self._names or name.endswith(self._suffixes):
            return True
        return self._any or (self._on_network and not is_public(name))


def name_of(host: str) -> str:
    """Return the name in a Host header in lower case, without its port and the dot of an absolute name."""
    return _PORT.sub("", host.lower()).removesuffix(".")


def own_names() -> frozenset[str]:
    """Return the names that every machine has for itself, its host name, its first label, and that in mDNS."""
    name = socket.gethostname().lower()
    first = name.partition(".")[0]
    return frozenset({"localhost", "localhost.localdomain", name, first, f"{first}.local"})


def names_in(hosts: Path) -> frozenset[str]:
    """Return the names in a file like /etc/hosts, in lower case; none if it cannot be read."""
    try:
        lines = hosts.read_text(errors="replace").lower().splitlines()
    except OSError:
        return frozenset()
    return frozenset(name for line in lines for name in line.partition("#")[0].split()[1:])


def is_public(name: str) -> bool:
    """Return whether the public DNS can contain a name: it has several labels, and is in no private domain."""
    labels = name.split(".")
    return len(labels) > 1 and labels[-1] not in PRIVATE_DOMAINS and ".".join(labels[-2:]) not in PRIVATE_DOMAINS


class KnownHosts:
    """An ASGI application that refuses requests whose Host is not among ``names``."""

    def __init__(self, application: ASGIApp, names: HostNames) -> None:
        self._application = application
        self._names = names
        self._known: set[bytes] = set()

    def apply(self, names: HostNames) -> None:
        """Take over changed names."""
        self._names = names
        self._known.clear()

    def guard(self, shortcut: Shortcut) -> Shortcut:
        """Return a shortcut past this application for requests whose Host it has accepted."""

        def guarded(scope: Scope, answer: Answer) -> bool:
            known = all(value in self._known for name, value in scope["headers"] if name == b"host")
            return known and shortcut(scope, answer)

        return guarded

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request. One without Host comes from no browser."""
        for name, value in scope["headers"]:
            if name == b"host" and value not in self._known and not self._learn(value):
                await self._refuse_host(str(value, "latin-1"), scope, receive, send)
                return
        await self._application(scope, receive, send)

    async def _refuse_host(self, host: str, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/v2/":
            # podman and skopeo do not show why this request is refused, but of the next one they do.
            await self._application(scope, receive, send)
        else:
            await RegistryRefusal(unknown_host(host))(scope, receive, send)

    def _learn(self, host: bytes) -> bool:
        if not self._names.contain(str(host, "latin-1")):
            return False
        if len(self._known) >= CACHE_SIZE:
            self._known.clear()
        self._known.add(host)
        return True


class OwnPagesOnly:
    """An ASGI application that refuses requests that a browser sends for a page of another site."""

    def __init__(self, application: ASGIApp, public_url: str = "") -> None:
        self._application = application
        self._public_host = urlsplit(public_url).netloc.lower()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        for name, value in scope["headers"]:
            if name in (b"origin", b"sec-fetch-site") and self._is_cross_site(scope, name, str(value, "latin-1")):
                await RegistryRefusal(CROSS_SITE)(scope, receive, send)
                return
        await self._application(scope, receive, send)

    def _is_cross_site(self, scope: Scope, header: bytes, value: str) -> bool:
        hosts = frozenset({(find_header(scope, b"host") or "").lower(), self._public_host} - {""})
        if header == b"origin":
            return is_cross_site(value.lower(), None, hosts)
        return is_cross_site(None, value, hosts)


class RegistryRefusal:
    """The response to a refused request in the form of the distribution protocol."""

    def __init__(self, error: WireError) -> None:
        self._response = Response(int(error.status), [(b"content-type", b"application/json")], encode_errors(error))

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Send the response."""
        await send_response(send, scope["method"], self._response)


CROSS_SITE = WireError(ErrorCode.DENIED, "a page of another web site sent this request: open this server's own address")


def unknown_host(host: str) -> WireError:
    """Return the error for a Host header that does not name this server."""
    name = name_of(host)
    if not is_host_name(name):
        return WireError(ErrorCode.DENIED, "the Host header of this request is invalid")
    return WireError(
        ErrorCode.DENIED,
        f"this server is not known as {name}: its operator can allow that name with --allowed-hosts {name}",
    )
