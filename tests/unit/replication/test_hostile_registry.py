"""Another registry that lies: lists without end, impossible names, wrong digests, and addresses that lead elsewhere."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import pytest
from aiohttp import web
from tests.parts.database import Run

from hythe.egress.http_session import open_egress_session
from hythe.egress.policy import ANY_PORT, EgressPolicy
from hythe.oci.digest import Digest
from hythe.oci.manifest import OCI_INDEX
from hythe.registry.clock import now
from hythe.registry.mirror.errors import UpstreamError, UpstreamInvalid
from hythe.registry.mirror.pauses import Pauses
from hythe.registry.mirror.upstreams import Upstream
from hythe.replication import remote_side
from hythe.replication.errors import CopyFailed
from hythe.replication.remote_side import RemoteSide

MANIFEST_SIZE = 10_000
BLOB = Digest.of(b"blob")
Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]
Use: TypeAlias = Callable[[RemoteSide], Awaitable[object]]


async def _ask(handler: Handler, use: Use, host: str = "127.0.0.1") -> object:
    """Return what ``use`` gets from a registry with this handler."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, host, 0)
    await site.start()
    port = runner.addresses[0][1]
    egress = EgressPolicy.parse("").trusting([(host, ANY_PORT)])
    try:
        async with open_egress_session(egress, auto_decompress=False) as session:
            upstream = Upstream("other", "", f"http://{host}:{port}", "ann", "secret")
            return await use(RemoteSide(session, upstream, MANIFEST_SIZE, Pauses(now)))
    finally:
        await runner.cleanup()


async def _repositories(side: RemoteSide) -> list[str]:
    return [name async for name in side.repositories()]


async def _tags(side: RemoteSide) -> list[str]:
    return [name async for name in side.tags("ann/app")]


def test_names_that_no_registry_may_have_are_skipped(run: Run[object]) -> None:
    """They never reach an address, a log or the database."""

    async def handler(request: web.Request) -> web.Response:
        if request.path == "/v2/_catalog":
            return web.json_response({"repositories": ["ann/app", "../admin", "ann/\x1b[2J", "a\0b", "x" * 300]})
        return web.json_response({"name": "ann/app", "tags": ["v1", "a\nb", "\x1b[2J", "../x", "y" * 200]})

    assert run(_ask(handler, _repositories)) == ["ann/app"]
    assert run(_ask(handler, _tags)) == ["v1"]


@pytest.mark.parametrize("names", [5, 0])
@pytest.mark.parametrize("use", [_repositories, _tags])
def test_lists_without_end_are_given_up(
    run: Run[object], monkeypatch: pytest.MonkeyPatch, use: Use, names: int
) -> None:
    """Each page leads to another one, with or without names."""
    monkeypatch.setattr(remote_side, "MAX_NAMES", 1000)
    pages = 0

    async def handler(request: web.Request) -> web.Response:
        nonlocal pages
        pages += 1
        listed = [f"n{pages}-{number}" for number in range(names)]
        link = f'<{request.path}?last={pages}>; rel="next"'
        return web.json_response({"repositories": listed, "tags": listed}, headers={"Link": link})

    if names or use is _tags:
        with pytest.raises(UpstreamInvalid, match="lists more than 1,000"):
            run(_ask(handler, use))
    else:
        assert run(_ask(handler, use)) == []
    assert pages <= 201


def test_referrers_without_end_are_given_up(run: Run[object], monkeypatch: pytest.MonkeyPatch) -> None:
    """An image cannot have more referrers than are kept in memory."""
    monkeypatch.setattr(remote_side, "MAX_REFERRERS", 100)
    pages = 0

    async def handler(request: web.Request) -> web.Response:
        nonlocal pages
        pages += 1
        media_type = "application/vnd.oci.image.manifest.v1+json"
        listed = [{"mediaType": media_type, "digest": str(BLOB), "size": 2}]
        body = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed}
        return web.json_response(body, headers={"Link": f'<{request.path}?last={pages}>; rel="next"'})

    with pytest.raises(UpstreamInvalid, match="lists more than 100 referrers"):
        run(_ask(handler, lambda side: side.referrers("ann/app", BLOB)))


@pytest.mark.parametrize("content", [b"{}", b"x" * (MANIFEST_SIZE + 1)], ids=["wrong digest", "too large"])
def test_manifests_that_are_not_what_was_asked_for(run: Run[object], content: bytes) -> None:
    """A manifest has its digest, and the size that this hub accepts."""

    async def handler(_request: web.Request) -> web.Response:
        return web.Response(body=content, content_type="application/vnd.oci.image.manifest.v1+json")

    with pytest.raises((UpstreamError, CopyFailed)):
        run(_ask(handler, lambda side: side.manifest("ann/app", BLOB)))


def test_a_redirect_to_an_internal_address_is_refused(run: Run[object]) -> None:
    """The administrator trusted the registry's host, and not the addresses that it names."""

    async def handler(_request: web.Request) -> web.Response:
        raise web.HTTPTemporaryRedirect("http://169.254.169.254/latest/meta-data")

    async def read(side: RemoteSide) -> bytes:
        return b"".join([piece async for piece in side.read("ann/app", BLOB, 0, 10)])

    with pytest.raises(UpstreamInvalid, match="not allowed"):
        run(_ask(handler, read))


def test_an_upload_at_another_address_gets_no_credentials(run: Run[object]) -> None:
    """Where to send a blob is up to the other registry; the rule's password stays with its own address."""
    seen: list[tuple[str, str]] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append((request.host, request.headers.get("Authorization", "")))
        if not seen[-1][1]:
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})
        port = request.host.rpartition(":")[2]
        return web.Response(status=202, headers={"Location": f"http://localhost:{port}/upload"})

    async def upload(side: RemoteSide) -> None:
        begun = await side.begin("ann/app", BLOB, ())
        assert begun is not None
        with pytest.raises(UpstreamError):
            await side.finish("ann/app", begun, BLOB)

    run(_ask(handler, upload))

    secret = "Basic " + base64.b64encode(b"ann:secret").decode()
    assert secret in [sent for _, sent in seen]
    assert all(host.startswith("127.0.0.1:") for host, sent in seen if sent)
