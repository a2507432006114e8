"""Requests and responses as small values over ASGI, because the hot paths cannot afford Starlette's."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

import msgspec

from hythe.oci.digest import Digest
from hythe.oci.errors import ErrorCode, WireError
from hythe.registry.access import Actor
from hythe.registry.routes.routing import Target
from hythe.registry.storage.port import BlobMissing
from hythe.registry.uploads import BodyCut

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Headers: TypeAlias = list[tuple[bytes, bytes]]
Check: TypeAlias = Callable[[], Awaitable[bool]]

HELD_BACK_SIZE = 64 * 1024
"""Bytes at the end of a file that are held back until its content is verified."""

MAX_PARAMETERS = 1000
"""Maximum number of parameters in a query."""

VERSION_HEADER = (b"docker-distribution-api-version", b"registry/2.0")
"""Part of every response: old clients use it to recognize a version 2 registry."""


class Request:
    """A request below ``/v2/``.

    ``name`` is the repository as the client spelled it, for Location headers; ``repository`` is its canonical name.
    """

    __slots__ = ("_content", "_receive", "actor", "method", "name", "repository", "rest", "scope", "target")

    def __init__(self, scope: Scope, receive: Receive, target: Target, actor: Actor, repository: str) -> None:
        self.scope = scope
        self._receive = receive
        self.method: str = scope["method"]
        self.target = target
        self.name = target.name
        self.rest = target.rest
        self.actor = actor
        self.repository = repository
        self._content: bytes | None = None

    def renamed(self, actor: Actor, repository: str) -> "Request":
        """Return the same request for the name that the repository has now."""
        request = Request(self.scope, self._receive, self.target, actor, repository)
        request._content = self._content
        return request

    def header(self, name: bytes) -> str | None:
        """Return a header's value; ``name`` is lower case."""
        return find_header(self.scope, name)

    def query(self) -> list[tuple[str, str]]:
        """Return the query's parameters. Raises WireError if one could not be stored in any database."""
        query = self.scope["query_string"].decode("latin-1")
        try:
            parameters = parse_qsl(query, keep_blank_values=True, max_num_fields=MAX_PARAMETERS)
        except ValueError as error:
            raise _invalid_query(f"at most {MAX_PARAMETERS} parameters") from error
        if "\0" in query or any("\0" in value for _, value in parameters):
            raise _invalid_query("a parameter contains a NUL character")
        return parameters

    def parameter(self, name: str) -> str | None:
        """Return the first value of a query parameter."""
        return next((value for key, value in self.query() if key == name), None)

    @property
    def content_length(self) -> int | None:
        """Return the announced length of the body. Raises WireError SIZE_INVALID."""
        text = self.header(b"content-length")
        if text is None:
            return None
        if not text.isascii() or not text.isdecimal() or len(text) > 18:
            raise WireError(ErrorCode.SIZE_INVALID, "Content-Length is not a number")
        return int(text)

    async def body(self) -> AsyncIterator[bytes]:
        """Yield the body's bytes. Raises BodyCut if it ends early."""
        announced = self.content_length
        received = 0
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise BodyCut(f"the connection ended after {received} bytes")
            piece = message.get("body", b"")
            more = message.get("more_body", False)
            if piece:
                received += len(piece)
                yield piece
        if announced is not None and received != announced:
            raise BodyCut(f"received {received} bytes instead of {announced}")

    async def whole_body(self, limit: int) -> bytes | None:
        """Return the body; None if it has more than ``limit`` bytes. Raises BodyCut."""
        if self._content is not None:
            return self._content
        announced = self.content_length
        if announced is not None and announced > limit:
            return None
        pieces, size = [], 0
        async for piece in self.body():
            size += len(piece)
            if size > limit:
                return None
            pieces.append(piece)
        self._content = b"".join(pieces)
        return self._content


class FilePart(msgspec.Struct, frozen=True):
    """Bytes of a file from ``start`` up to ``stop``, sent by the kernel; the end is sent once ``check`` succeeds."""

    path: Path
    start: int
    stop: int
    check: Check | None = None


class FileParts(msgspec.Struct, frozen=True):
    """Parts of files with texts between them."""

    pieces: tuple[bytes | FilePart, ...]


class Stream(msgspec.Struct, frozen=True):
    """A stream of ``size`` bytes; the last piece is sent once ``check`` succeeds."""

    pieces: AsyncIterator[bytes]
    size: int
    check: Check | None = None


class Response(msgspec.Struct, frozen=True):
    """A response. Content-Length and the version header are added when it is sent; ``after`` is called then.

    ``size`` is the Content-Length of a response to HEAD without a body. ``complete`` means that all headers are set, as
    in a cached response. ``user`` is the account that the response was made for, once it is known.
    """

    status: int
    headers: Headers = []
    body: bytes | FilePart | FileParts | Stream = b""
    size: int | None = None
    after: Callable[[], Awaitable[None]] | None = None
    complete: bool = False
    user: str = ""

    def completed(self) -> "Response":
        """Return the response with all headers that are added when it is sent."""
        if self.complete:
            return self
        headers = [VERSION_HEADER, *self.headers]
        if self.status not in (204, 304):
            headers.append((b"content-length", b"%d" % (_size(self.body) if self.size is None else self.size)))
        return msgspec.structs.replace(self, headers=headers, complete=True)


def make_response(status: int, body: bytes = b"", **headers: str) -> Response:
    """Return a response; ``content_type="x"`` is the header ``content-type: x``."""
    return Response(
        status, [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()], body
    )


def json_response(
    value: Any, content_type: str = "application/json", headers: Iterable[tuple[bytes, bytes]] = ()
) -> Response:
    """Return 200 with a JSON body."""
    return Response(200, [(b"content-type", content_type.encode()), *headers], msgspec.json.encode(value))


def find_header(scope: Scope, name: bytes) -> str | None:
    """Return a header's value; ``name`` is lower case."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value, "latin-1")
    return None


def _invalid_query(reason: str) -> WireError:
    return WireError(ErrorCode.UNSUPPORTED, f"invalid query: {reason}", status=HTTPStatus.BAD_REQUEST)


def same_entity(if_none_match: str, digest: Digest) -> bool:
    """Return whether an If-None-Match header contains this digest, as in our ETag (RFC 9110, section 13.1.2)."""
    return str(digest) in if_none_match or if_none_match.strip() == "*"


async def send_response(send: Send, method: str, response: Response) -> None:
    """Send the response; for HEAD only its headers."""
    body = response.body
    await send({"type": "http.response.start", "status": response.status, "headers": response.completed().headers})
    if method == "HEAD":
        await send({"type": "http.response.body", "body": b""})
    elif isinstance(body, bytes):
        await send({"type": "http.response.body", "body": body})
    elif isinstance(body, FilePart):
        await _send_file(send, body)
    elif isinstance(body, FileParts):
        await _send_parts(send, body)
    else:
        async for piece in _hold_last_piece(body):
            await send({"type": "http.response.body", "body": piece, "more_body": True, "stop_when_gone": True})
        await send({"type": "http.response.body", "body": b""})


async def _send_file(send: Send, part: FilePart) -> None:
    """Send a file and verify it at the same time. Raises BlobMissing; the client then sees an incomplete body."""
    start = part.start
    if part.check is not None:
        start = max(start, part.stop - HELD_BACK_SIZE)
        async with _run_check(part.check):
            await send({**_file_message(part.path, part.start, start), "more_body": True})
    await send(_file_message(part.path, start, part.stop))


async def _send_parts(send: Send, body: FileParts) -> None:
    """Send the parts; others have their turn after each, as small ones are sent without waiting for anything."""
    for piece in body.pieces:
        if isinstance(piece, bytes):
            await send({"type": "http.response.body", "body": piece, "more_body": True, "stop_when_gone": True})
        else:
            await send({**_file_message(piece.path, piece.start, piece.stop), "more_body": True})
            await asyncio.sleep(0)
    await send({"type": "http.response.body", "body": b""})


def _file_message(path: Path, start: int, stop: int) -> Message:
    return {"type": "http.response.pathsend", "path": str(path), "start": start, "stop": stop}


async def _hold_last_piece(body: Stream) -> AsyncIterator[bytes]:
    """Yield the pieces; hold back the possibly last one until the check is done. Raises BlobMissing."""
    if body.check is None:
        async for piece in body.pieces:
            yield piece
        return
    held = b""
    async with _run_check(body.check):
        async for piece in body.pieces:
            if held:
                yield held
            held = piece
    yield held


@asynccontextmanager
async def _run_check(check: Check) -> AsyncIterator[None]:
    """Run the check while the block runs, and wait for both. Raises BlobMissing if the content is damaged."""
    checking = asyncio.ensure_future(check())
    try:
        yield
        intact = await checking
    finally:
        checking.cancel()
    if not intact:
        raise BlobMissing("the file is damaged: its end was not sent")


def _size(body: bytes | FilePart | FileParts | Stream) -> int:
    if isinstance(body, bytes):
        return len(body)
    if isinstance(body, FileParts):
        return sum(map(_size, body.pieces))
    return body.stop - body.start if isinstance(body, FilePart) else body.size
