"""What is not JSON: the log as text and as server-sent events, the badge, the trigger URL, the public key."""

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
from hythe.hub.actor import NOBODY, HubActor
from hythe.hub.errors import HubError, NotFound
from hythe.hub.namespaces import canonical_name
from hythe.hub.routes.parsing import parse_body, parse_fields, read_body
from hythe.hub.service import Hub
from hythe.oci.errors import InvalidReference
from hythe.oci.reference import parse_name

LOOK_SECONDS = 0.3
SILENCE_SECONDS = 15.0
"""After so much silence a comment is sent, so that proxies keep the connection."""
_COLOURS = {BuildStatus.SUCCEEDED: "#2e7d32", BuildStatus.FAILED: "#c62828"}
_BADGE = """<svg xmlns="http://www.w3.org/2000/svg" width="104" height="20" role="img" aria-label="build: {word}">
<title>build: {word}</title><rect width="38" height="20" fill="#444"/>\
<rect x="38" width="66" height="20" fill="{colour}"/>
<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11"><text x="6" y="14">build</text>\
<text x="44" y="14">{word}</text></g></svg>
"""


async def log_text(builds: BuildsServices, hub: Hub, request: Request) -> Response:
    """GET ../builds/N/log: the log as text from ``?start=`` on."""
    actor = await _actor(hub, request)
    pieces, start = [], _start(request)
    while True:
        _, piece = await builds.builds.log(actor, repository_of(request), _number(request), start)
        if not piece:
            break
        pieces.append(piece)
        start += len(piece)
    return Response(b"".join(pieces), media_type="text/plain; charset=utf-8")


async def log_events(builds: BuildsServices, hub: Hub, request: Request) -> Response:
    """GET ../builds/N/events: the log as it grows; ``Last-Event-ID`` or ``?start=`` says where to go on.

    ``event: log`` has a JSON string of new text, its ``id`` is where the next begins; ``event: status`` a word;
    ``event: end`` the last word.
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
    """Yield a build's log from byte ``start`` on as server-sent events, until the build is over and all is told.

    A build that is removed meanwhile, or hidden from who looks, ends as ``gone``.
    """
    told = ""
    silent = 0.0
    while not builds.queue.is_closed:
        try:
            build, piece = await builds.builds.log(actor, repository, number, start)
        except (HubError, DatabaseError) as error:
            if isinstance(error, HubError):
                yield b"event: end\ndata: gone\n\n"
            return
        if piece:
            # A character may be cut at the end of a piece: the rest of it comes with the next one.
            text, taken = _whole_characters(piece, last=build.status.is_over)
            start += taken
            yield b"id: %d\nevent: log\ndata: %b\n\n" % (start, msgspec.json.encode(text))
            silent = 0.0
        if build.status.value != told:
            told = build.status.value
            yield b"event: status\ndata: %b\n\n" % told.encode()
        if build.status.is_over and not piece:
            yield b"event: end\ndata: %b\n\n" % told.encode()
            return
        if not piece:
            await asyncio.sleep(LOOK_SECONDS)
            silent += LOOK_SECONDS
        if silent > SILENCE_SECONDS:
            yield b": still here\n\n"
            silent = 0.0


def _whole_characters(piece: bytes, *, last: bool) -> tuple[str, int]:
    for cut in range(0 if last else 4):
        with contextlib.suppress(UnicodeDecodeError):
            return piece[: len(piece) - cut].decode(), len(piece) - cut
    return piece.decode(errors="replace"), len(piece)


async def badge(builds: BuildsServices, hub: Hub, request: Request) -> Response:
    """GET /badge/NAMESPACE/NAME.svg[?branch=..]: how the last build ended."""
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


async def trigger(builds: BuildsServices, _hub: Hub, request: Request) -> Response:
    """POST /u/NAMESPACE/NAME/trigger/TOKEN/: the trigger URL, with the bodies of 2014."""
    call = _trigger_call(await read_body(request), request.headers.get("content-type", ""))
    address = request.client.host if request.client else ""
    started = await builds.builds.trigger(repository_of(request), request.path_params["token"], call, address)
    reply = {"builds": [build.number for build in started], "status": "ok"}
    return Response(msgspec.json.encode(reply), HTTPStatus.ACCEPTED, media_type="application/json")


def _trigger_call(content: bytes, media_type: str) -> TriggerBody:
    """Return what a trigger's body asks for; a form, as ``curl --data build=true`` sends it, was good in 2014, too."""
    text = content.strip()
    if not text:
        return TriggerBody()
    if media_type.startswith("application/x-www-form-urlencoded") and not text.startswith(b"{"):
        return parse_fields(dict(parse_qsl(text.decode(errors="replace"))), TriggerBody, strict=False)
    return parse_body(content, TriggerBody)


async def public_key(builds: BuildsServices, _hub: Hub, _request: Request) -> Response:
    """GET /.well-known/hythe/builds.pem: the keys that sign provenance, the present one first."""
    encoded = [key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo) for key in builds.keys.public_keys()]
    return Response(b"".join(encoded), media_type="application/x-pem-file")


def repository_of(request: Request) -> str:
    """Return the canonical name in the path. Raises NotFound."""
    try:
        return canonical_name(parse_name(f"{request.path_params['namespace']}/{request.path_params['name']}"))
    except InvalidReference as error:
        raise NotFound("there is no such repository") from error


async def _actor(hub: Hub, request: Request) -> HubActor:
    authorization = request.headers.get("authorization")
    address = request.client.host if request.client else ""
    return await hub.credentials.by_header(authorization, address) if authorization else NOBODY


def _number(request: Request) -> int:
    number: int = request.path_params["number"]
    if number > 10**9:
        raise NotFound("there is no such build")
    return number


def _start(request: Request) -> int:
    text = request.headers.get("last-event-id") or request.query_params.get("start", "0")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else 0
