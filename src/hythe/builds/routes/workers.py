"""The routes of the worker protocol. Workers authenticate with the worker token, and for a build with its key."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from hythe.builds.service import BuildsServices
from hythe.builds.sql.queue import Lease
from hythe.builds.workers import lease_of
from hythe.forges.json_sanitizing import without_nul
from hythe.hub.errors import NotFound
from hythe.hub.routes.parsing import read_body
from hythe.hub.routes.problem_details import BadRequest, problem_response
from hythe.worker.protocol import BuildOutcome, CheckedOutCommit, Claim, DiskKeys, ProgressReport, UnsignedStatement

T = TypeVar("T")

MAX_BODY_SIZE = 16 << 20
"""Maximum size of a worker's request body, in bytes; the largest are SBOMs to be signed."""


async def claim(builds: BuildsServices, request: Request) -> Response:
    """POST /api/v1/workers/claim: wait for a build; 204 if there is none in time."""
    address = request.client.host if request.client else ""
    job = await builds.workers.claim(await _body(request, Claim), address)
    return Response(status_code=HTTPStatus.NO_CONTENT) if job is None else _json(job)


async def kept_disks(builds: BuildsServices, request: Request) -> Response:
    """POST /api/v1/workers/kept-disks: return which of its kept disks a worker should delete."""
    return _json(await builds.workers.unknown_disks(await _body(request, DiskKeys)))


async def _progress(builds: BuildsServices, lease: Lease, request: Request) -> object:
    content = await _read(request)
    return await builds.workers.progress(lease, _decoded(content, ProgressReport) if content else None)


async def _log(builds: BuildsServices, lease: Lease, request: Request) -> object:
    offset = request.query_params.get("offset", "")
    if not (offset.isascii() and offset.isdigit()) or len(offset) > 12:
        raise BadRequest("the offset of the log chunk is missing or invalid", "send ?offset=BYTES")
    return await builds.workers.log(lease, int(offset), await _read(request))


async def _commit(builds: BuildsServices, lease: Lease, request: Request) -> object:
    return await builds.workers.record_commit(lease, await _body(request, CheckedOutCommit))


async def _token(builds: BuildsServices, lease: Lease, request: Request) -> object:
    return await builds.workers.push_token(lease, await _body(request, tuple[str, ...]))


async def _sign(builds: BuildsServices, lease: Lease, request: Request) -> object:
    statement = await _body(request, UnsignedStatement)
    return await builds.workers.sign(lease, statement.payload.encode())


async def _finish(builds: BuildsServices, lease: Lease, request: Request) -> object:
    await builds.workers.finish(lease, await _body(request, BuildOutcome))
    return {}


_CALLS: dict[str, Callable[[BuildsServices, Lease, Request], Awaitable[object]]] = {
    "progress": _progress,
    "log": _log,
    "commit": _commit,
    "token": _token,
    "sign": _sign,
    "finish": _finish,
}


async def build_call(builds: BuildsServices, request: Request) -> Response:
    """POST /api/v1/workers/builds/ID/ACTION: a request of the worker that has leased a build."""
    call = _CALLS.get(request.path_params["what"])
    fence = request.headers.get("hythe-build-fence", "")
    if call is None or not (fence.isascii() and fence.isdigit()) or len(fence) > 9:
        raise NotFound("unknown worker request", "use a worker of the same version as the hub")
    lease = lease_of(request.path_params["build_id"], int(fence), request.headers.get("hythe-build-key", ""))
    return _json(await call(builds, lease, request))


def authenticated(
    builds: BuildsServices, handler: Callable[[BuildsServices, Request], Awaitable[Response]]
) -> Callable[[Request], Awaitable[Response]]:
    """Return ``handler`` for authenticated workers; errors get the form of the JSON API."""

    async def handle(request: Request) -> Response:
        try:
            builds.workers.require_worker(request.headers.get("authorization"))
            return await handler(builds, request)
        except Exception as error:
            return problem_response(error)

    return handle


async def _body(request: Request, wanted: type[T]) -> T:
    return _decoded(await _read(request), wanted)


def _decoded(content: bytes, wanted: type[T]) -> T:
    try:
        return msgspec.json.decode(without_nul(content), type=wanted)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"invalid request body: {error}", "use a worker of the same version as the hub") from error


async def _read(request: Request) -> bytes:
    return await read_body(request, MAX_BODY_SIZE)


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
