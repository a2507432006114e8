"""A pool of HTTP connections, each used by one thread at a time.

Blocking sockets and threads are faster than an asynchronous client here: `recv_into` reads into a large buffer, hashing
and writing release the GIL, and commands start sooner (measurements: docs/performance.md).
"""

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from socket import IPPROTO_TCP, SHUT_RDWR, TCP_NODELAY, create_connection, socket
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeAlias
from urllib.parse import SplitResult, urlsplit

from hythe.client.errors import Unreachable
from hythe.client.http1 import HTTP1Connection, HTTPResponse, Socket
from hythe.client.retry import RETRYABLE_STATUSES
from hythe.client.tls_and_proxy import Proxy, TLSOptions, is_loopback, proxy_for
from hythe.client.transfer_rate import MeteredSocket, TooSlow, TransferRate
from hythe.client.urls import is_http_url

if TYPE_CHECKING:
    from ssl import SSLContext

CONNECT_TIMEOUT = 15
MAX_RESPONSE_SIZE = 16 << 20
"""Maximum bytes of a response that is read into memory."""
MAX_ERROR_SIZE = 256 << 10
"""The same for the response to a request that failed."""
_PORTS = {"http": 80, "https": 443}
PROXY_LOGIN_REQUIRED = HTTPStatus.PROXY_AUTHENTICATION_REQUIRED
_READ_SIZE = 1 << 16
_FIRST_ERROR = 400


Dial: TypeAlias = Callable[[str, int], socket]
"""Returns a socket that is connected to a host and port. Raises OSError; a PermissionError is not retried."""


class RequestBody(Protocol):
    """The body of a request, with a known size in bytes."""

    @property
    def size(self) -> int:
        """Number of bytes that ``write_to`` sends."""

    def write_to(self, connection: HTTP1Connection) -> None:
        """Send the whole body."""


class BytesBody:
    """A request body in memory."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.size = len(content)

    def write_to(self, connection: HTTP1Connection) -> None:
        """Send the whole body."""
        connection.socket.sendall(self._content)


class ConnectionFailed(Unreachable):
    """A connection could not be opened, or broke; retrying can help unless ``permanent``."""

    def __init__(self, message: str, hint: str = "", *, permanent: bool = False) -> None:
        super().__init__(message, hint)
        self.permanent = permanent


class StreamedResponse:
    """A response whose body has not been read yet. Use it as a context manager."""

    def __init__(self, pool: "ConnectionPool", key: str, connection: HTTP1Connection, method: str) -> None:
        self._pool = pool
        self._key = key
        self._connection = connection
        head = connection.read_response_head()
        self.status = head.status
        self.headers = head.headers
        self._keep_alive = head.keep_alive
        self._body = connection.body(method, head)

    @property
    def origin(self) -> str:
        """Scheme, host and port of the server that responded."""
        return self._key

    def readinto(self, buffer: memoryview) -> int:
        """Read into ``buffer``; returns the number of bytes, 0 at the end. Raises ConnectionFailed."""
        try:
            return self._body.readinto(buffer)
        except (OSError, ValueError) as error:  # ValueError: closed by another thread
            raise self._pool.connection_error(self._key, error) from error

    def read(self) -> HTTPResponse:
        """Read the whole response into memory; raises ConnectionFailed, also if it is too large."""
        limit = MAX_ERROR_SIZE if self.status >= _FIRST_ERROR else MAX_RESPONSE_SIZE
        content = bytearray()
        piece = memoryview(bytearray(_READ_SIZE))
        while count := self.readinto(piece):
            content += piece[:count]
            if len(content) > limit:
                raise ConnectionFailed(f"{self._key}: response larger than {limit >> 10} KiB", permanent=True)
        return HTTPResponse(self.status, self.headers, bytes(content))

    def close(self) -> None:
        """Return the connection to the pool if the body was read completely, else close it."""
        self._pool.release(self._key, self._connection, self._body.ended and self._keep_alive)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class ConnectionPool:
    """Open connections by server; one that is idle for ``read_timeout`` seconds is given up. Thread-safe."""

    def __init__(
        self,
        tls_options: TLSOptions,
        read_timeout: float = 45,
        dial: Dial | None = None,
        transfer_rate: TransferRate | None = None,
    ) -> None:
        """``dial`` opens every connection, redirects and token servers included, and no proxy is used then.

        A server that is slower than ``transfer_rate`` is given up.
        """
        self.tls_options = tls_options
        self._read_timeout = read_timeout
        self._dial = dial
        self._transfer_rate = transfer_rate
        self._lock = threading.Lock()
        self._idle: dict[str, list[HTTP1Connection]] = {}
        self._busy: set[HTTP1Connection] = set()
        self._contexts: dict[str, SSLContext] = {}

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: RequestBody | None = None
    ) -> StreamedResponse:
        """Send a request and return the response once its headers are read; raises ConnectionFailed.

        If the server has closed a pooled connection, the request is sent again on a new one.
        """
        parts = _split(url)
        key = f"{parts.scheme}://{parts.netloc}"
        pooled = self._take(key)
        if pooled is not None:
            try:
                return self._exchange(key, pooled, method, parts, headers, body)
            except ConnectionFailed:
                if body is not None and not isinstance(body, BytesBody):
                    raise
        return self._exchange(key, self._new(key, parts), method, parts, headers, body)

    def connection_error(self, key: str, error: Exception) -> ConnectionFailed:
        """Return the exception to raise for a socket error."""
        if verification := getattr(error, "verify_message", ""):
            hint = "trust its CA: hythe config set certificate-authorities FILE.pem"
            return ConnectionFailed(f"{key}: {verification}", hint, permanent=True)
        if isinstance(error, TooSlow):
            host = key.partition("://")[2]
            return ConnectionFailed(f"{host} {error.verb} less than {error.rate}", permanent=True)
        if isinstance(error, TimeoutError):
            return ConnectionFailed(f"{key}: timed out waiting for data")
        is_refused = isinstance(error, ConnectionRefusedError)
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        hint = "check the address, and that the server is running" if is_refused else ""
        return ConnectionFailed(f"{key}: {reason}", hint, permanent=isinstance(error, PermissionError))

    def close(self) -> None:
        """Close all connections; requests in other threads fail at once."""
        with self._lock:
            idle = [connection for pooled in self._idle.values() for connection in pooled]
            busy = list(self._busy)
            self._idle.clear()
        for connection in idle:
            connection.close()
        for connection in busy:
            with suppress(OSError):
                connection.socket.shutdown(SHUT_RDWR)

    def release(self, key: str, connection: HTTP1Connection, reusable: bool) -> None:
        """Return a connection to the pool, or close it."""
        with self._lock:
            self._busy.discard(connection)
            if reusable:
                self._idle.setdefault(key, []).append(connection)
                return
        with suppress(OSError):
            connection.close()

    def _take(self, key: str) -> HTTP1Connection | None:
        with self._lock:
            pooled = self._idle.get(key)
            connection = pooled.pop() if pooled else None
            if connection is not None:
                self._busy.add(connection)
            return connection

    def _new(self, key: str, parts: SplitResult) -> HTTP1Connection:
        try:
            connection = self._connect(parts)
            connection.socket.settimeout(self._read_timeout)
        except OSError as error:
            raise self.connection_error(key, error) from error
        with self._lock:
            self._busy.add(connection)
        return connection

    def _connect(self, parts: SplitResult) -> HTTP1Connection:
        proxy = self._proxy(parts)
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        if self._dial is not None:
            plain = self._dial(host, port)
        elif proxy:
            plain = _connect_to_proxy(proxy, parts.netloc)
        else:
            plain = create_connection(_address(host, port), CONNECT_TIMEOUT)
        # Headers and a small body are two packets: Nagle's algorithm would delay the second.
        plain.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        if parts.scheme == "http":
            return HTTP1Connection(self._metered(plain))
        try:
            if proxy:
                _open_tunnel(HTTP1Connection(plain), proxy, parts, port)
            encrypted = self._context(parts.netloc).wrap_socket(plain, server_hostname=host)
            return HTTP1Connection(self._metered(encrypted), encrypted=True)
        except BaseException:
            plain.close()
            raise

    def _metered(self, connected: socket) -> Socket:
        return MeteredSocket(connected, self._transfer_rate) if self._transfer_rate else connected

    def proxy(self, url: str) -> Proxy | None:
        """Return the proxy for a URL; raises InvalidConfiguration."""
        return self._proxy(_split(url))

    def _proxy(self, parts: SplitResult) -> Proxy | None:
        return None if self._dial else proxy_for(parts.scheme, parts.netloc)

    def _context(self, netloc: str) -> "SSLContext":
        context = self._contexts.get(netloc)
        if context is None:
            context = self._contexts[netloc] = self.tls_options.tls_context(netloc)
        return context

    def _exchange(
        self,
        key: str,
        connection: HTTP1Connection,
        method: str,
        parts: SplitResult,
        headers: Mapping[str, str],
        body: RequestBody | None,
    ) -> StreamedResponse:
        try:
            proxy = self._proxy(parts) if parts.scheme == "http" else None
            _send_request_head(connection, method, parts, headers, body, proxy)
            _send_body(connection, body)
            response = StreamedResponse(self, key, connection, method)
            if proxy and response.status == PROXY_LOGIN_REQUIRED:
                raise _refused_by_proxy(proxy, parts.netloc, response.status)
            return response
        except OSError as error:
            self.release(key, connection, False)
            raise self.connection_error(key, error) from error
        except BaseException:
            self.release(key, connection, False)
            raise


def _split(url: str) -> SplitResult:
    """Split a URL, which may be the server's, without its user information; raises ConnectionFailed."""
    if not is_http_url(url):
        raise ConnectionFailed(f"invalid URL: {url[:200]!r}", permanent=True)
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2])


def _address(host: str, port: int) -> tuple[Any, int]:
    """Return the address to connect to. A name as bytes avoids loading IDNA tables (2 ms).

    Other names for loopback are always resolved as localhost, whatever the resolver says.
    """
    if is_loopback(host) and host[-1].isalpha():
        host = "localhost"
    return (host.encode() if host.isascii() else host), port


def _connect_to_proxy(proxy: Proxy, target: str) -> socket:
    try:
        return create_connection(_address(proxy.host, proxy.port), CONNECT_TIMEOUT)
    except OSError as error:
        raise _proxy_error(proxy, target, error) from error


def _open_tunnel(connection: HTTP1Connection, proxy: Proxy, parts: SplitResult, port: int) -> None:
    """Open a tunnel through a proxy to the server of a URL (RFC 9110, section 9.3.6)."""
    host = parts.hostname or ""
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    authorization = {"Proxy-Authorization": proxy.authorization} if proxy.authorization else {}
    try:
        connection.send_request_head("CONNECT", target, {"Host": target, **authorization})
        head = connection.read_response_head()
    except OSError as error:
        raise _proxy_error(proxy, parts.netloc, error) from error
    if not 200 <= head.status < 300:
        raise _refused_by_proxy(proxy, parts.netloc, head.status)


def _proxy_error(proxy: Proxy, target: str, error: OSError) -> ConnectionFailed:
    reason = "timed out" if isinstance(error, TimeoutError) else error.strerror or str(error)
    return ConnectionFailed(f"cannot connect to {target} through {proxy}: {reason}", proxy.hint(target))


def _refused_by_proxy(proxy: Proxy, target: str, status: int) -> ConnectionFailed:
    """Return the error for a proxy's own response. Only errors of the server behind it may pass after a retry."""
    phrase = next((known.phrase for known in HTTPStatus if known == status), "")
    hint = proxy.hint(target)
    if status == PROXY_LOGIN_REQUIRED:
        missing = "check the user name and password" if proxy.authorization else "write http://USER:PASSWORD@HOST:PORT"
        hint = f"{missing} in {proxy.variable}"
    message = f"{proxy} refuses to connect to {target}: {status} {phrase}".rstrip()
    return ConnectionFailed(message, hint, permanent=status not in RETRYABLE_STATUSES)


def _send_request_head(
    connection: HTTP1Connection,
    method: str,
    parts: SplitResult,
    headers: Mapping[str, str],
    body: RequestBody | None,
    proxy: Proxy | None,
) -> None:
    """Send the request line and headers; ``proxy`` is the one that plain HTTP goes through, if any."""
    target = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
    fields = {"Host": parts.netloc, **headers}
    if proxy:
        target = f"http://{parts.netloc}{target}"
        if proxy.authorization:
            fields["Proxy-Authorization"] = proxy.authorization
    if body is not None or method in ("POST", "PUT", "PATCH"):
        fields["Content-Length"] = str(body.size if body else 0)
    connection.send_request_head(method, target, fields)


def _send_body(connection: HTTP1Connection, body: RequestBody | None) -> None:
    """Send the body. A server can respond and close early; its response is then read with a short timeout."""
    if body is None or not body.size:
        return
    try:
        body.write_to(connection)
    except (BrokenPipeError, ConnectionResetError):
        connection.socket.settimeout(5)
