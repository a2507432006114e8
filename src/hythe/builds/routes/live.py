"""Routes outside the JSON API: the log as text and as server-sent events, badge, trigger URL and public key."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from html import escape
from http import HTTPStatus
from urllib.parse import parse_qsl

import msgspec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from hythe.builds.builds import TriggerBody
from hythe.builds.service import BuildsServices
from hythe.builds.status import BuildStatus
from hythe.database import DatabaseError
from hythe.hub.actor import ANONYMOUS, HubActor
from hythe.hub.errors import HubError, NotFound
from hythe.hub.routes.parsing import parse_body, parse_fields, read_body
from hythe.hub.routes.repository_addresses import name_in_path
from hythe.hub.service import HubServices

MAX_TRIGGER_SIZE = 64 * 1024
"""Bytes; a form of this size takes at most 10 ms to decode."""

POLL_INTERVAL = 0.3
KEEPALIVE_INTERVAL = 15.0
"""Without output for this long a comment is sent, so that proxies keep the connection open."""
_COLOURS = {BuildStatus.SUCCEEDED: "#2e7d32", BuildStatus.FAILED: "#c62828"}
_BADGE = """<svg xmlns="http://www.w3.org/2000/svg" width="104" height="20" role="img" aria-label="build: {word}">
<title>build: {word}</title><rect width="38" height="20" fill="#444"/>\
<rect x="38" width="66" height="20" fill="{colour}"/>
<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11"><text x="6" y="14">build</text>\
<text x="44" y="14">{word}</text></g></svg>
"""


async def log_text(builds: BuildsServices, hub: HubServices, request: Request) -> Response:
    """GET ../builds/N/log: the log as text, from byte ``?start=`` on."""
    actor = await _actor(hub, request)
    return await log_response(builds, actor, repository_of(request), _number(request), _start(request))


async def log_response(
    builds: BuildsServices, actor: HubActor, repository: str, number: int, start: int = 0
) -> StreamingResponse:
    """Send the log of a build as text, from byte ``start`` on. Raises NotFound."""
    _, first = await builds.builds.log(actor, repository, number, start)

    async def pieces() -> AsyncIterator[bytes]:
        piece, end = first, start
        while piece:
            yield piece
            await asyncio.sleep(0)
            end += len(piece)
            _, piece = await builds.builds.log(actor, repository, number, end)

    return StreamingResponse(pieces(), media_type="text/plain; charset=utf-8")


async def log_events(builds: BuildsServices, hub: HubServices, request: Request) -> Response:
    """GET ../builds/N/events: the log as it grows, from ``Last-Event-ID`` or ``?start=`` on.

    ``event: log`` has new text as a JSON string, its ``id`` is the next offset; ``event: status`` and ``event: end``
    have the status.
    """
    actor = await _actor(hub, request)
    repository, number, start = repository_of(request), _number(request), _start(request)
    await builds.builds.log(actor, repository, number, start)
    stream = event_stream(builds, actor, repository, number, start)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(stream, media_type="text/event-stream", headers=headers)


async def event_stream(
    builds: BuildsServices, actor: HubActor, repository: str, number: int, start: int
) -> AsyncIterator[bytes]:
    """Yield the log of a build from byte ``start`` on as server-sent events, until the build has finished.

    A build that is deleted, or that the actor can no longer read, ends as ``gone``.
    """
    sent_status = ""
    idle_seconds = 0.0
    while not builds.queue.is_closed:
        try:
            build, chunk = await builds.builds.log(actor, repository, number, start)
        except (HubError, DatabaseError) as error:
            if isinstance(error, HubError):
                yield b"event: end\ndata: gone\n\n"
            return
        if chunk:
            # A chunk can end within a character; the rest follows in the next one.
            text, consumed = _whole_characters(chunk, last=build.status.is_over)
            start += consumed
            yield b"id: %d\nevent: log\ndata: %b\n\n" % (start, msgspec.json.encode(text))
            idle_seconds = 0.0
        if build.status.value != sent_status:
            sent_status = build.status.value
            yield b"event: status\ndata: %b\n\n" % sent_status.encode()
        if build.status.is_over and not chunk:
            yield b"event: end\ndata: %b\n\n" % sent_status.encode()
            return
        if not chunk:
            await asyncio.sleep(POLL_INTERVAL)
            idle_seconds += POLL_INTERVAL
        if idle_seconds > KEEPALIVE_INTERVAL:
            yield b": keepalive\n\n"
            idle_seconds = 0.0


def _whole_characters(chunk: bytes, *, last: bool) -> tuple[str, int]:
    for cut in range(0 if last else 4):
        with contextlib.suppress(UnicodeDecodeError):
            return chunk[: len(chunk) - cut].decode(), len(chunk) - cut
    return chunk.decode(errors="replace"), len(chunk)


async def badge(builds: BuildsServices, hub: HubServices, request: Request) -> Response:
    """GET /badge/NAMESPACE/NAME.svg[?branch=..]: the result of the last build."""
    actor = await _actor(hub, request)
    try:
        build = await builds.builds.badge(actor, repository_of(request), request.query_params.get("branch", "")[:250])
        status = build.status if build else None
    except NotFound:
        status = None
    word = (
        {BuildStatus.SUCCEEDED: "passing", BuildStatus.FAILED: "failing"}.get(status, "unknown")
        if status
        else "unknown"
    )
    colour = _COLOURS.get(status, "#9e9e9e") if status else "#9e9e9e"
    headers = {"Cache-Control": "no-cache"}
    return Response(_BADGE.format(word=escape(word), colour=colour), media_type="image/svg+xml", headers=headers)


async def trigger(builds: BuildsServices, _hub: HubServices, request: Request) -> Response:
    """POST /u/NAMESPACE/NAME/trigger/TOKEN/: the trigger URL, with the bodies of Docker Hub."""
    call = _trigger_call(await read_body(request, MAX_TRIGGER_SIZE), request.headers.get("content-type", ""))
    address = request.client.host if request.client else ""
    started = await builds.builds.trigger(repository_of(request), request.path_params["token"], call, address)
    reply = {"builds": [build.number for build in started], "status": "ok"}
    return Response(msgspec.json.encode(reply), HTTPStatus.ACCEPTED, media_type="application/json")


def _trigger_call(content: bytes, media_type: str) -> TriggerBody:
    """Parse the body of a trigger: JSON, or a form as ``curl --data build=true`` sends it."""
    text = content.strip()
    if not text:
        return TriggerBody()
    if media_type.startswith("application/x-www-form-urlencoded") and not text.startswith(b"{"):
        return parse_fields(dict(parse_qsl(text.decode(errors="replace"))), TriggerBody, strict=False)
    return parse_body(content, TriggerBody, lenient=True)


async def public_key(builds: BuildsServices, _hub: HubServices, _request: Request) -> Response:
    """GET /.well-known/hythe/builds.pem: every key that ever signed provenance, the newest first."""
    keys = builds.keys.provenance_public_keys()
    encoded = [key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo) for key in keys]
    return Response(b"".join(encoded), media_type="application/x-pem-file")


def repository_of(request: Request) -> str:
    """Return the canonical name in the path. Raises NotFound."""
    return name_in_path(request.path_params["namespace"], request.path_params["name"])


async def _actor(hub: HubServices, request: Request) -> HubActor:
    authorization = request.headers.get("authorization")
    address = request.client.host if request.client else ""
    return await hub.credentials.by_header(authorization, address) if authorization else ANONYMOUS


def _number(request: Request) -> int:
    number: int = request.path_params["number"]
    if number > 10**9:
        raise NotFound("build not found")
    return number


def _start(request: Request) -> int:
    text = request.headers.get("last-event-id") or request.query_params.get("start", "0")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else 0
