"""ConnectionPool to servers: kept open, each used by one thread at a time.

Blocking sockets and threads, because measured: a layer moves in fewer steps than through an asynchronous client
(`recv_into` a large buffer; hashing and writing release the interpreter's lock too), and a command starts sooner
(docs/performance.md).
"""

import threading
from collections.abc import Mapping
from contextlib import suppress
from socket import IPPROTO_TCP, SHUT_RDWR, TCP_NODELAY, create_connection
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self
from urllib.parse import SplitResult, urlsplit

from hythe.client.errors import Unreachable
from hythe.client.http1 import HTTP1Connection, HTTPResponse, InvalidResponse
from hythe.client.tls_and_proxy import Proxy, TLSOptions, is_loopback, proxy_for

if TYPE_CHECKING:
    from ssl import SSLContext

CONNECT_TIMEOUT = 15
MAX_RESPONSE_SIZE = 16 << 20
"""Most bytes of an answer that is held in memory."""
_PORTS = {"http": 80, "https": 443}
_PIECE = 1 << 16


class RequestBody(Protocol):
    """The content of a request, whose size in bytes is known."""

    @property
    def size(self) -> int:
        """How many bytes ``write_to`` will send."""

    def write_to(self, wire: HTTP1Connection) -> None:
        """Send everything."""


class BytesBody:
    """Content that is in memory."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.size = len(content)

    def write_to(self, wire: HTTP1Connection) -> None:
        """Send everything."""
        wire.socket.sendall(self._content)


class ConnectionFailed(Unreachable):
    """A connection could not be made or broke; trying again may help unless ``lasting``."""

    def __init__(self, message: str, hint: str = "", *, permanent: bool = False) -> None:
        super().__init__(message, hint)
        self.permanent = permanent


class StreamedResponse:
    """A server's answer whose body is still to be read. Use it as a context manager."""

    def __init__(self, pool: "ConnectionPool", key: str, wire: HTTP1Connection, method: str) -> None:
        self._pool = pool
        self._key = key
        self._wire = wire
        head = wire.read_response_head()
        self.status = head.status
        self.headers = head.headers
        self._keep_alive = head.keep_alive
        self._body = wire.body(method, head)

    def readinto(self, buffer: memoryview) -> int:
        """Fill ``buffer`` as far as the body goes; returns the bytes read, 0 at the end. Raises ConnectionFailed."""
        try:
            return self._body.readinto(buffer)
        except (OSError, ValueError) as error:  # ValueError: closed by another thread
            raise self._pool.connection_error(self._key, error) from error

    def read(self) -> HTTPResponse:
        """Read the whole body into memory; raises ConnectionFailed."""
        content = bytearray()
        piece = memoryview(bytearray(_PIECE))
        while count := self.readinto(piece):
            content += piece[:count]
            if len(content) > MAX_RESPONSE_SIZE:
                raise ConnectionFailed(f"the answer of {self._key} is too large", permanent=True)
        return HTTPResponse(self.status, self.headers, bytes(content))

    def close(self) -> None:
        """Keep the connection when the body was read to its end, else close it."""
        self._pool.release(self._key, self._wire, self._body.ended and self._keep_alive)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class ConnectionPool:
    """Open connections by server; one that is silent for ``silence`` seconds counts as broken. Safe for threads."""

    def __init__(self, tls_options: TLSOptions, read_timeout: float = 45) -> None:
        self.tls_options = tls_options
        self._read_timeout = read_timeout
        self._lock = threading.Lock()
        self._idle: dict[str, list[HTTP1Connection]] = {}
        self._busy: set[HTTP1Connection] = set()
        self._contexts: dict[str, SSLContext] = {}

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: RequestBody | None = None
    ) -> StreamedResponse:
        """Send a request and return the answer as soon as its head is there; raises ConnectionFailed.

        A kept connection that the server closed meanwhile is replaced by a new one, unnoticed.
        """
        parts = urlsplit(url)
        key = f"{parts.scheme}://{parts.netloc}"
        kept = self._take(key)
        if kept is not None:
            try:
                return self._exchange(key, kept, method, parts, headers, body)
            except ConnectionFailed:
                if body is not None and not isinstance(body, BytesBody):
                    raise
        return self._exchange(key, self._new(key, parts), method, parts, headers, body)

    def connection_error(self, key: str, error: Exception) -> ConnectionFailed:
        """Return what is raised for an error of the socket, in words."""
        if reason := getattr(error, "verify_message", ""):
            hint = "trust its authority: hythe config set certificate-authorities FILE.pem"
            return ConnectionFailed(f"{key}: {reason}", hint, permanent=True)
        if isinstance(error, TimeoutError):
            return ConnectionFailed(f"{key} was silent for too long")
        refused = isinstance(error, ConnectionRefusedError)
        words = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return ConnectionFailed(f"{key}: {words}", "is a server running there?" if refused else "")

    def close(self) -> None:
        """Close everything, also what other threads are using: they fail at once."""
        with self._lock:
            idle = [wire for kept in self._idle.values() for wire in kept]
            busy = list(self._busy)
            self._idle.clear()
        for wire in idle:
            wire.close()
        for wire in busy:
            with suppress(OSError):
                wire.socket.shutdown(SHUT_RDWR)

    def release(self, key: str, wire: HTTP1Connection, reusable: bool) -> None:
        """Keep a connection for the next request, or close it."""
        with self._lock:
            self._busy.discard(wire)
            if reusable:
                self._idle.setdefault(key, []).append(wire)
                return
        with suppress(OSError):
            wire.close()

    def _take(self, key: str) -> HTTP1Connection | None:
        with self._lock:
            kept = self._idle.get(key)
            wire = kept.pop() if kept else None
            if wire is not None:
                self._busy.add(wire)
            return wire

    def _new(self, key: str, parts: SplitResult) -> HTTP1Connection:
        try:
            wire = self._connect(parts)
            wire.socket.settimeout(self._read_timeout)
        except OSError as error:
            raise self.connection_error(key, error) from error
        with self._lock:
            self._busy.add(wire)
        return wire

    def _connect(self, parts: SplitResult) -> HTTP1Connection:
        proxy = proxy_for(parts.scheme, parts.netloc)
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        plain = create_connection(_address(*((proxy.host, proxy.port) if proxy else (host, port))), CONNECT_TIMEOUT)
        # A head and its small body are two packets: without this the second waits for the first one's receipt.
        plain.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        if parts.scheme == "http":
            return HTTP1Connection(plain)
        try:
            if proxy:
                _open_tunnel(HTTP1Connection(plain), proxy, f"{host}:{port}")
            return HTTP1Connection(self._context(parts.netloc).wrap_socket(plain, server_hostname=host), encrypted=True)
        except BaseException:
            plain.close()
            raise

    def _context(self, netloc: str) -> "SSLContext":
        context = self._contexts.get(netloc)
        if context is None:
            context = self._contexts[netloc] = self.tls_options.tls_context(netloc)
        return context

    def _exchange(
        self,
        key: str,
        wire: HTTP1Connection,
        method: str,
        parts: SplitResult,
        headers: Mapping[str, str],
        body: RequestBody | None,
    ) -> StreamedResponse:
        try:
            _send_request_head(wire, method, parts, headers, body)
            _send_body(wire, body)
            return StreamedResponse(self, key, wire, method)
        except OSError as error:
            self.release(key, wire, False)
            raise self.connection_error(key, error) from error
        except BaseException:
            self.release(key, wire, False)
            raise


def _address(host: str, port: int) -> tuple[Any, int]:
    """Return where to connect to. As bytes, a name does without the tables of IDNA: 2 ms, and no labels too long.

    Loopback's other names mean this machine also where the resolver does not know them, or knows better.
    """
    if is_loopback(host) and host[-1].isalpha():
        host = "localhost"
    return (host.encode() if host.isascii() else host), port


def _open_tunnel(wire: HTTP1Connection, proxy: Proxy, target: str) -> None:
    """Ask a proxy for a way through to ``HOST:PORT`` (RFC 9110, section 9.3.6)."""
    authorization = {"Proxy-Authorization": proxy.authorization} if proxy.authorization else {}
    wire.send_request_head("CONNECT", target, {"Host": target, **authorization})
    head = wire.read_response_head()
    if head.status != 200:
        raise InvalidResponse(f"the proxy {proxy.host} answered {head.status} to CONNECT {target}")


def _send_request_head(
    wire: HTTP1Connection, method: str, parts: SplitResult, headers: Mapping[str, str], body: RequestBody | None
) -> None:
    target = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
    fields = {"Host": parts.netloc, **headers}
    if parts.scheme == "http" and (proxy := proxy_for("http", parts.netloc)):
        target = f"http://{parts.netloc}{target}"
        if proxy.authorization:
            fields["Proxy-Authorization"] = proxy.authorization
    if body is not None or method in ("POST", "PUT", "PATCH"):
        fields["Content-Length"] = str(body.size if body else 0)
    wire.send_request_head(method, target, fields)


def _send_body(wire: HTTP1Connection, body: RequestBody | None) -> None:
    """Send the body. A server may refuse in the middle and close; its answer is then still to be read."""
    if body is None or not body.size:
        return
    try:
        body.write_to(wire)
    except (BrokenPipeError, ConnectionResetError):
        wire.socket.settimeout(5)
