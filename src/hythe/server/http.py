"""The HTTP server: uvicorn, extended with sendfile and idle timeouts.

All code specific to uvicorn is here and in ``forwarded_headers``, so that the server can be replaced. Extensions to
ASGI that applications can use:

- ``http.response.pathsend`` with the keys ``path``, ``start`` and ``stop`` (the byte range, ``stop`` excluded), and
  ``more_body`` if another one follows; in ``scope["extensions"]`` if the connection is not encrypted;
- ``http.response.body`` with the key ``stop_when_gone`` raises ConnectionResetError if the client has disconnected,
  so that the rest of a long body is not produced;
- a transfer in which no byte moves for ``stall_timeout`` seconds ends like a disconnect.

Each request has a RequestRecord, and its ID is in the response. An ``Observer`` gets the records of all requests.
"""

import asyncio
import gc
import socket
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any

import msgspec
import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from hythe.ready_response import Shortcut
from hythe.server.certificate import Certificate
from hythe.server.connections import Connections, Verdict, allow_many_files, refuse
from hythe.server.forwarded_headers import ForwardedHeaders
from hythe.server.idle_timeouts import unsent_by_kernel, while_moving
from hythe.server.reloading import SettingsReload
from hythe.server.response import (
    MAX_COPIED_BODY,
    Observer,
    announced_length,
    observe_nothing,
    stays_open,
    whole_response,
)
from hythe.server.sendfile import FileSender
from hythe.server.shortcuts import ShortcutProtocol
from hythe.server.siblings import Siblings
from hythe.server.stoppable_server import StoppableServer, handle_signals
from hythe.server.stopping import Stopping
from hythe.settings import IPNetwork, Settings
from hythe.telemetry.metrics import HTTP_RUNNING
from hythe.telemetry.request_record import REQUEST_ID_HEADER, RequestRecord, set_current_record

EXTENSIONS = {"http.response.pathsend": {"ranges": True}}
MAX_HEADERS_SIZE = 65536
"""Bytes of a request's headers: enough for tokens and long paths, and bounded to protect the memory."""

_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"

LINGER_TIMEOUT = 5.0
"""Seconds during which the rest of a refused body is discarded, so that the client can read the response."""

TLS_CLOSE_TIMEOUT = 0.5
"""Seconds that an idle TLS client has for the closing handshake when the server stops."""

REFUSED_TIMEOUT = 5.0
"""Seconds within which a connection over the limit must send the request that is answered with 503."""

_RUNNING = HTTP_RUNNING.cell()


class HTTPOptions(msgspec.Struct, frozen=True):
    """How to serve; times in seconds."""

    idle_timeout: int
    stall_timeout: int
    stop_timeout: int
    certificate: Certificate | None = None
    proxies: tuple[IPNetwork, ...] = ()
    public_url: str = ""
    report_proxies: bool = True
    drain_delay: int = 0
    transfer_rate: int = 0
    connections: Connections | None = None

    @classmethod
    def of(cls, settings: Settings, processes: int = 1) -> "HTTPOptions":
        """Return the options in the settings, for one of ``processes`` that share the port.

        Raises SettingsError if the certificate is invalid.
        """
        return cls(
            settings.idle_timeout,
            settings.stall_timeout,
            settings.stop_timeout,
            Certificate.of(settings),
            settings.proxies,
            settings.public_url,
            drain_delay=settings.drain_delay,
            transfer_rate=settings.transfer_rate,
            connections=Connections(settings, processes),
        )


async def serve(
    application: ASGIApp,
    listener: socket.socket,
    options: HTTPOptions,
    reload: SettingsReload,
    on_stop: Callable[[], None] = lambda: None,
    *,
    observer: Observer = observe_nothing,
    stopping: Stopping | None = None,
    siblings: Siblings | None = None,
    shortcut: Shortcut | None = None,
) -> None:
    """Serve requests on ``listener`` until SIGTERM or SIGINT, then wait for running transfers; SIGHUP is ``reload``.

    ``on_stop`` is called when connections are no longer accepted; it should end requests that wait for an event.
    ``stopping`` changes as soon as the signal arrives. ``siblings`` share the port; their supervisor handles SIGINT.
    ``shortcut`` has responses of the application to GET and HEAD in memory.
    """
    allow_many_files()
    gc.freeze()  # or a full collection would visit every loaded module, which blocks the loop for 100 ms
    forwarded = ForwardedHeaders(
        application, options.proxies, public_url=options.public_url, report=options.report_proxies
    )
    server = _server(forwarded, options)
    server.on_stop, server.stopping, server.siblings = on_stop, stopping or Stopping(), siblings
    sender = FileSender(options.stall_timeout)
    protocol = server.config.http_protocol_class = _protocol_class(options, sender, observer, server.stopping)
    protocol.forwarded, protocol.shortcut = forwarded, staticmethod(shortcut) if shortcut is not None else None
    reload.listeners += (partial(_apply, server, protocol), lambda new: forwarded.trust(new.proxies))
    if options.certificate is not None:
        reload.listeners.append(options.certificate.apply)
    handle_signals(server, reload)
    try:
        await server.serve(sockets=[listener])
    finally:
        await sender.close()
        if siblings is not None:
            siblings.close()


def _apply(server: StoppableServer, protocol: "type[_Protocol]", settings: Settings) -> None:
    """Take over changed timeouts; those of open connections stay, except while they wait for bytes."""
    protocol.idle_timeout, protocol.stall_timeout = settings.idle_timeout, settings.stall_timeout
    protocol.transfer_rate = settings.transfer_rate
    if protocol.open_connections is not None:
        protocol.open_connections.apply(settings)
    protocol.file_sender.apply(settings.stall_timeout)
    server.drain_delay = settings.drain_delay
    server.config.timeout_keep_alive = settings.idle_timeout
    server.config.timeout_graceful_shutdown = settings.stop_timeout


def _server(application: ASGIApp, options: HTTPOptions) -> StoppableServer:
    config = uvicorn.Config(
        application,
        http="httptools",
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=options.idle_timeout,
        timeout_graceful_shutdown=options.stop_timeout,
    )
    config.load()
    config.ssl = options.certificate.context if options.certificate is not None else None
    server = StoppableServer(config)
    server.drain_delay = options.drain_delay
    return server


def _protocol_class(options: HTTPOptions, sender: FileSender, observer: Observer, state: Stopping) -> "type[_Protocol]":
    class Protocol(_Protocol):
        idle_timeout = options.idle_timeout
        stall_timeout = options.stall_timeout
        transfer_rate = options.transfer_rate
        open_connections = options.connections
        stopping = state
        file_sender = sender
        observe = staticmethod(observer)

    return Protocol


class _Protocol(ShortcutProtocol):
    """One connection: uvicorn's, with pathsend, idle timeouts and limits."""

    idle_timeout: int
    stall_timeout: int
    transfer_rate: int
    open_connections: Connections | None
    stopping: Stopping
    file_sender: FileSender
    _network = ""
    _verdict = Verdict.SERVE
    _headers_timer: asyncio.TimerHandle | None = None
    _in_headers = True
    _headers_size = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timeout within which the headers of a request must arrive."""
        super().connection_made(transport)
        if self.open_connections is not None:
            self._network, self._verdict = self.open_connections.open(self.client[0] if self.client else "")
        if self._verdict is Verdict.CLOSE:
            transport.abort()
            return
        timeout = self.idle_timeout if self._verdict is Verdict.SERVE else REFUSED_TIMEOUT
        self._headers_timer = self.loop.call_later(timeout, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timeout."""
        self._disarm()
        if self.open_connections is not None:
            self.open_connections.close(self._network)
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Close the connection because the server stops, once its current response has been sent.

        An idle TLS client does not respond to the closing handshake, so its connection is aborted after a moment.
        """
        idle = self.transport.get_write_buffer_size() == 0
        super().shutdown()
        if idle and self.transport.is_closing():
            self.loop.call_later(TLS_CLOSE_TIMEOUT, self.transport.abort)

    def data_received(self, data: bytes) -> None:
        """Handle received bytes; headers that arrive in pieces must be complete within ``idle_timeout``."""
        started_before = self._in_headers
        super().data_received(data)
        if not self._in_headers:
            self._disarm()
            return
        if self._headers_timer is None:
            self._headers_timer = self.loop.call_later(self.idle_timeout, self.transport.close)
        # The piece in which headers begin can contain the previous body, and its size is bounded anyway.
        self._headers_size += len(data) if started_before else 0
        if self._headers_size > MAX_HEADERS_SIZE and not self.transport.is_closing():
            self.transport.write(_TOO_LARGE)
            self.transport.close()

    def on_message_begin(self) -> None:
        """Start a request."""
        self._in_headers = True
        self._headers_size = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Start the response; from now on the stall timeout applies."""
        self._in_headers = False
        super().on_headers_complete()

    def _disarm(self) -> None:
        if self._headers_timer is not None:
            self._headers_timer.cancel()
            self._headers_timer = None

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGIApp) -> None:  # type: ignore[override]
        if self.stopping.begun:
            cycle.keep_alive = False  # so that no request is sent at the moment in which the connection is closed
        if self._verdict is not Verdict.SERVE:
            cycle.keep_alive, app = False, refuse
        record = RequestRecord()
        if not self.take_shortcut(cycle, app, record):
            self.start_task(cycle, app, record)

    def start_task(self, cycle: RequestResponseCycle, application: ASGIApp, record: RequestRecord) -> None:
        """See ShortcutProtocol."""
        if self.scheme == "http":
            cycle.scope["extensions"] = EXTENSIONS  # type: ignore[typeddict-item]
        super()._start_asgi_task(cycle, _Exchange(self, cycle, application, record))  # type: ignore[arg-type]


class _Exchange:
    """One request and its response: an ASGI application that wraps the real one."""

    def __init__(
        self, protocol: _Protocol, cycle: RequestResponseCycle, application: ASGIApp, record: RequestRecord
    ) -> None:
        self._protocol = protocol
        self._cycle = cycle
        self._application = application
        self._head: Message | None = None
        self._record = record
        self._judged = (0.0, 0)
        """Seconds waited and bytes received when the rate of the body was judged last."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        set_current_record(self._record)
        _RUNNING.value += 1
        try:
            await self._application(scope, self._receive, self._send)
        except ConnectionResetError:
            if not self._cycle.disconnected:
                raise
        except asyncio.CancelledError:
            # The grace period at stop is over: abort, so that the client never takes a truncated body for whole.
            self._cycle.disconnected = True
            self._cycle.transport.abort()
        except Exception:
            self._record.status = self._record.status or 500  # which uvicorn sends
            raise
        finally:
            _RUNNING.value -= 1
            self._protocol.observe(scope, self._record, self._cycle.response_complete)

    async def _receive(self) -> Message:
        if not self._cycle.more_body or self._cycle.body:
            message: Message = await self._cycle.receive()  # type: ignore[assignment]
        else:
            begun = perf_counter()
            message = await self._unless_stalled(self._cycle.receive)
            self._record.waited += perf_counter() - begun
        self._record.received += len(message.get("body", b""))
        return message if self._is_fast_enough() else self._abort()

    def _is_fast_enough(self) -> bool:
        """Whether the body comes at the minimum rate, judged each time this has waited for it as long as for a stall.

        A pause of the application is not the client's.
        """
        waited = self._record.waited - self._judged[0]
        if waited < self._protocol.stall_timeout or not self._cycle.more_body:
            return True
        received = self._record.received - self._judged[1]
        self._judged = (self._record.waited, self._record.received)
        return received >= self._protocol.transfer_rate * waited

    def _abort(self) -> Message:
        self._cycle.transport.abort()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._record.status = message["status"]
            self._record.responded = perf_counter()
            if announced_length(message["headers"]) is not None:
                self._head = message  # sent with the body, which follows at once if its length is known
                return
            message = self._with_id(message)
        if self._head is not None:
            head, self._head = self._head, None
            if self._send_whole(head, message):
                return
            await self._pass_on(self._with_id(head))
        if message["type"] == "http.response.pathsend":
            await self._send_file(message)
        else:
            await self._pass_on(message)

    def _with_id(self, head: Message) -> Message:
        """Add the request's ID to a response. The list of headers may be that of a cached one."""
        return {**head, "headers": [*head["headers"], (REQUEST_ID_HEADER, self._record.id.encode())]}

    async def _pass_on(self, message: Message) -> None:
        if self._cycle.flow.write_paused:
            await self._drain()
        if self._cycle.disconnected and message.get("stop_when_gone"):
            raise ConnectionResetError("the client disconnected")
        self._record.sent += len(message.get("body", b""))
        last = message["type"] == "http.response.body" and not message.get("more_body")
        if last and self._cycle.more_body and not self._cycle.keep_alive:
            self._close_later()
        await self._cycle.send(message)  # type: ignore[arg-type]

    def _close_later(self) -> None:
        """Discard the rest of a refused body for a while before closing the connection.

        A connection that is closed with unread bytes is reset, and the client loses the response (podman, skopeo).
        """
        self._cycle.keep_alive = True
        self._protocol.loop.call_later(LINGER_TIMEOUT, self._cycle.transport.close)

    async def _drain(self) -> None:
        try:
            await while_moving(self._cycle.flow.drain, self._protocol.stall_timeout, self._unsent)
        except TimeoutError:
            self._cycle.disconnected = True
            self._cycle.transport.abort()

    def _unsent(self) -> int:
        transport = self._cycle.transport
        if transport.is_closing():
            return 0
        return transport.get_write_buffer_size() + unsent_by_kernel(transport.get_extra_info("socket").fileno())

    def _send_whole(self, head: Message, message: Message) -> bool:
        """Send a short response with one write, where uvicorn needs two; False if uvicorn must send it."""
        cycle = self._cycle
        body: bytes = message.get("body", b"")
        simple = (
            message["type"] == "http.response.body" and not message.get("more_body") and len(body) <= MAX_COPIED_BODY
        )
        if not simple or cycle.disconnected or cycle.response_started or cycle.flow.write_paused:
            return False
        headers = [*cycle.default_headers, *head["headers"], (REQUEST_ID_HEADER, self._record.id.encode())]
        is_head = cycle.scope["method"] == "HEAD"
        if (not is_head and announced_length(head["headers"]) != len(body)) or not (
            cycle.keep_alive and stays_open(headers)
        ):
            return False
        content = whole_response(head["status"], headers, b"" if is_head else body)
        if content is None:
            return False
        cycle.transport.write(content)
        self._record.sent += 0 if is_head else len(body)
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        cycle.message_event.set()
        cycle.on_response()
        return True

    async def _send_file(self, message: Message) -> None:
        cycle = self._cycle
        start, stop = message.get("start", 0), message.get("stop")
        length = cycle.expected_content_length if stop is None else stop - start
        if cycle.scope["method"] != "HEAD" and not cycle.disconnected:
            whole = await self._protocol.file_sender.send(cycle.transport, message["path"], start, length)
            if not whole:
                cycle.transport.abort()
                return
            self._record.sent += length
        if message.get("more_body"):
            cycle.expected_content_length -= length
            return
        cycle.expected_content_length = 0
        await cycle.send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _unless_stalled(self, step: Callable[[], Any]) -> Any:
        try:
            async with asyncio.timeout(self._protocol.stall_timeout):
                return await step()
        except TimeoutError:
            return self._abort()
