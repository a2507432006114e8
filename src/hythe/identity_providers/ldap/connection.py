"""One connection to an LDAP server (RFC 4511), over TLS unless the operator decided otherwise."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Self

import msgspec

from hythe.egress.policy import EgressPolicy, open_socket
from hythe.identity_providers.errors import ProviderUnavailable
from hythe.identity_providers.ldap import ber
from hythe.identity_providers.ldap.ber import Element, InvalidBER

MAX_MESSAGE = 4 << 20
"""Bytes of a message; a user in thousands of groups has a few hundred kilobytes."""

_BIND, _BIND_RESPONSE, _UNBIND = 0x60, 0x61, 0x42
_SEARCH, _ENTRY, _DONE, _REFERENCE = 0x63, 0x64, 0x65, 0x73
_EXTENDED, _EXTENDED_RESPONSE = 0x77, 0x78
_START_TLS = "1.3.6.1.4.1.1466.20037"

SUCCESS, SIZE_LIMIT_EXCEEDED, NO_SUCH_OBJECT, INVALID_CREDENTIALS = 0, 4, 32, 49
WHOLE_SUBTREE, BASE_OBJECT = 2, 0


class DirectoryEntry(msgspec.Struct, frozen=True):
    """An entry of the directory: its name, and its attributes by name in lower case."""

    dn: str
    attributes: Mapping[str, tuple[bytes, ...]]

    def values(self, name: str) -> tuple[str, ...]:
        """Return an attribute's values that are text."""
        return tuple(value.decode("utf-8", "replace") for value in self.attributes.get(name.lower(), ()))

    def value(self, name: str) -> str:
        """Return an attribute's first value; empty if there is none."""
        return next(iter(self.values(name)), "")


class Result(msgspec.Struct, frozen=True):
    """The result of an operation."""

    code: int
    message: str


class LDAPServer(msgspec.Struct, frozen=True, kw_only=True):
    """Where the server is, and how it is reached. ``start_tls``: TLS begins after connecting, on the plain port."""

    host: str
    port: int
    tls: bool
    start_tls: bool
    ca_file: str = ""

    def context(self) -> ssl.SSLContext:
        """Return the TLS context, which verifies the certificate and its name. Raises OSError."""
        return ssl.create_default_context(cafile=self.ca_file or None)


class LDAPConnection:
    """Sends one request after the other. Methods raise ProviderUnavailable for what breaks the protocol."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._message_id = 1  # StartTLS may have used it

    @classmethod
    async def open(cls, server: LDAPServer, policy: EgressPolicy) -> Self:
        """Connect, and begin TLS. Raises OSError (also for certificates), ProviderUnavailable."""
        connected = await asyncio.to_thread(_connect, server, policy)
        try:
            context = server.context() if server.tls else None
            reader, writer = await asyncio.open_connection(
                sock=connected, ssl=context, server_hostname=server.host if context else None
            )
        except BaseException:
            connected.close()
            raise
        return cls(reader, writer)

    async def bind(self, dn: str, password: str) -> Result:
        """Authenticate with a password, which must not be empty: servers accept those without checking anything."""
        if not password or not dn:
            return Result(INVALID_CREDENTIALS, "empty name or password")
        await self._send(ber.encode(_BIND, ber.integer(3), ber.text(dn), ber.text(password, 0x80)))
        return _result(await self._receive(_BIND_RESPONSE))

    async def search(
        self, base: str, scope: int, encoded_filter: bytes, attributes: Sequence[str], limit: int
    ) -> tuple[list[DirectoryEntry], Result]:
        """Return up to ``limit`` entries, and the result. References to other servers are not followed."""
        request = ber.encode(
            _SEARCH,
            ber.text(base),
            ber.integer(scope, ber.ENUMERATED),
            ber.integer(0, ber.ENUMERATED),  # never dereference aliases
            ber.integer(limit),
            ber.integer(10),  # seconds
            ber.boolean(False),
            encoded_filter,
            ber.encode(ber.SEQUENCE, *map(ber.text, attributes)),
        )
        await self._send(request)
        entries: list[DirectoryEntry] = []
        while True:
            operation = await self._receive(_ENTRY, _REFERENCE, _DONE)
            if operation.tag == _DONE:
                return entries, _result(operation)
            if operation.tag == _ENTRY:
                entries.append(_entry(operation))
            if len(entries) > limit:
                raise ProviderUnavailable("the LDAP server sent more entries than it was asked for")

    def close(self) -> None:
        """Say goodbye, and close the connection."""
        with suppress(OSError, RuntimeError):
            self._message_id += 1
            self._writer.write(ber.encode(ber.SEQUENCE, ber.integer(self._message_id), ber.encode(_UNBIND)))
            self._writer.close()

    async def _send(self, operation: bytes) -> None:
        self._message_id += 1
        self._writer.write(ber.encode(ber.SEQUENCE, ber.integer(self._message_id), operation))
        await self._writer.drain()

    async def _receive(self, *expected: int) -> Element:
        """Return the operation of the next message for the last request."""
        try:
            header = await self._reader.readexactly(2)
            header += await self._reader.readexactly(ber.header_size(header) - 2)
            size = ber.content_size(header)
            if size > MAX_MESSAGE:
                raise InvalidBER(f"a message of {size} bytes")
            message_id, operation, *_ = Element(header[0], await self._reader.readexactly(size)).children
            number = message_id.integer()
        except (asyncio.IncompleteReadError, InvalidBER, ValueError) as error:
            raise ProviderUnavailable("the LDAP server closed the connection or sent an invalid message") from error
        if number != self._message_id or operation.tag not in expected:
            raise ProviderUnavailable("the LDAP server sent an unexpected message")
        return operation


@asynccontextmanager
async def connection_to(server: LDAPServer, policy: EgressPolicy) -> AsyncIterator[LDAPConnection]:
    """Provide a connection that is closed when the block ends. Raises like ``LDAPConnection.open``."""
    connection = await LDAPConnection.open(server, policy)
    try:
        yield connection
    finally:
        connection.close()


def _connect(server: LDAPServer, policy: EgressPolicy) -> socket.socket:
    """Return a connected socket on which TLS begins next, if it is used. Blocks. Raises OSError, ProviderUnavailable.

    The response to StartTLS is read from the socket byte by byte: what someone on the network adds in clear text is not
    buffered, where it could later pass for a response, but makes the TLS handshake fail.
    """
    connected = open_socket(policy, server.host, server.port)
    try:
        if server.tls and server.start_tls:
            request = ber.encode(_EXTENDED, ber.text(_START_TLS, 0x80))
            connected.sendall(ber.encode(ber.SEQUENCE, ber.integer(1), request))
            message = Element(ber.SEQUENCE, _read_message(connected)).children
            if len(message) < 2 or message[1].tag != _EXTENDED_RESPONSE:
                raise InvalidBER("no response to StartTLS")
            if (result := _result(message[1])).code != SUCCESS:
                raise ProviderUnavailable(f"the LDAP server refuses StartTLS: {result.message}")
    except InvalidBER as error:
        connected.close()
        raise ProviderUnavailable("the LDAP server sent an invalid response to StartTLS") from error
    except BaseException:
        connected.close()
        raise
    connected.setblocking(False)
    return connected


def _read_message(connected: socket.socket) -> bytes:
    """Return the content of the next message, and read nothing after it."""
    header = _read_exactly(connected, 2)
    header += _read_exactly(connected, ber.header_size(header) - 2)
    size = ber.content_size(header)
    if size > MAX_MESSAGE:
        raise InvalidBER(f"a message of {size} bytes")
    return _read_exactly(connected, size)


def _read_exactly(connected: socket.socket, size: int) -> bytes:
    content = b""
    while len(content) < size:
        if not (part := connected.recv(size - len(content))):
            raise InvalidBER("the connection was closed")
        content += part
    return content


def _result(operation: Element) -> Result:
    try:
        code, _, message, *_ = operation.children
        return Result(code.integer(ber.ENUMERATED), message.content.decode("utf-8", "replace")[:200])
    except ValueError as error:
        raise ProviderUnavailable("the LDAP server sent an invalid result") from error


def _entry(operation: Element) -> DirectoryEntry:
    try:
        dn, attributes = operation.children
        pairs = [attribute.children for attribute in attributes.children]
        found = {
            name.content.decode().lower(): tuple(each.content for each in values.children) for name, values in pairs
        }
        return DirectoryEntry(dn.content.decode(), found)
    except ValueError as error:
        raise ProviderUnavailable("the LDAP server sent an invalid entry") from error
