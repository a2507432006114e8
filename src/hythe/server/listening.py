"""Sockets that listen, and the URL of their address."""

import errno
import socket
from typing import TypeAlias

from hythe.settings import Settings

Address: TypeAlias = tuple[str, int]

MAX_BACKLOG = 2048

_LISTEN_HINTS = {
    errno.EADDRINUSE: "another program listens there: stop it, or use another port in --listen",
    errno.EACCES: "ports below 1024 need root or CAP_NET_BIND_SERVICE: use another port in --listen",
    errno.EADDRNOTAVAIL: "this machine does not have that address: use one of its own in --listen, or 0.0.0.0",
    errno.EAFNOSUPPORT: "this machine has no IPv6: use an IPv4 address in --listen, such as 0.0.0.0",
}


class CannotListen(OSError):
    """The server cannot listen on the address of the setting; ``hint`` says what to do."""

    def __init__(self, address: Address, error: OSError) -> None:
        host, port = address
        shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        super().__init__(f"cannot listen on {shown}: {error.strerror or error}")
        self.hint = _LISTEN_HINTS.get(error.errno or 0, "use an address of this machine in --listen")


def bind(address: Address, *, shared: bool = False) -> socket.socket:
    """Return a listening socket; with ``shared``, others that are shared can listen on the address, too.

    Raises CannotListen.
    """
    host, port = address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((host, port))
        listener.listen(MAX_BACKLOG)
    except OSError as error:
        listener.close()
        raise CannotListen(address, error) from error
    listener.setblocking(False)
    return listener


def url_of(settings: Settings, address: Address) -> str:
    """Return the URL of a listening address, with loopback for all addresses, without a trailing slash."""
    host, port = address
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 (compared, not listened on)
    scheme = "https" if settings.tls_cert else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
