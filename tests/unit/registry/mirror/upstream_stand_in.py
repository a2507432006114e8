"""A registry in the test's process that answers what a test tells it, and a mirror of it with its own clock."""

from __future__ import annotations

import json
import re
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from tests.parts.database import Run
from tests.unit.registry.depot import ANN, Clock, image

from hythe.oci.digest import Digest
from hythe.oci.errors import WireError
from hythe.oci.manifest import OCI_MANIFEST
from hythe.registry.blobs import Blob
from hythe.registry.service import RegistryServices
from hythe.registry.sql.manifests import StoredManifest

JSON = {"Content-Type": "application/json"}
HTML = {"Content-Type": "text/html; charset=utf-8"}
PORTAL = b"<html><head><title>Sign in to Hotel WiFi</title></head><body><script>x()</script>Room number?</body></html>"


@dataclass
class Fault:
    """An answer to all requests whose "METHOD /path?query" matches."""

    match: str = ""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut: bool = False
    """Announce one byte more than is sent."""
    raw: bytes = b""
    """Send these bytes instead of a response."""


@dataclass
class UpstreamStandIn:
    """The registry's content; ``requests`` are those received, as "METHOD /path?query"."""

    manifests: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    """By NAME:REFERENCE: content and media type."""
    blobs: dict[str, bytes] = field(default_factory=dict)
    tags: dict[str, list[str]] = field(default_factory=dict)
    page_size: int = 1000
    faults: list[Fault] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    host: str = ""

    def put_image(self, name: str, tag: str, layer: bytes) -> Digest:
        """Store an image under a tag and its digest."""
        content = json.dumps(image(layer)).encode()
        digest = Digest.of(content)
        for reference in (tag, str(digest)):
            self.manifests[f"{name}:{reference}"] = content, OCI_MANIFEST
        for blob in (layer, b"{}"):
            self.blobs[str(Digest.of(blob))] = blob
        self.tags[name] = sorted({*self.tags.get(name, ()), tag})
        return digest

    async def start(self) -> web.AppRunner:
        """Listen on a free port of loopback."""
        application = web.Application()
        application.router.add_route("*", "/{rest:.*}", self._answer)
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.host = f"127.0.0.1:{runner.addresses[0][1]}"
        return runner

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        line = f"{request.method} {request.path_qs}"
        self.requests.append(line)
        for fault in self.faults:
            if re.search(fault.match, line):
                return await self._fail(request, fault)
        if found := re.fullmatch(r"/v2/(.+)/(manifests|blobs)/([^/]+)", request.path):
            return self._content(*found.groups())
        if found := re.fullmatch(r"/v2/(.+)/tags/list", request.path):
            return self._list(found[1], request)
        return web.Response(status=404, body=b"404 page not found", headers={"Content-Type": "text/plain"})

    async def _fail(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        if fault.raw and request.transport is not None:
            request.transport.write(fault.raw)
            request.transport.close()
            return web.Response()
        if not fault.cut:
            return web.Response(status=fault.status, headers=fault.headers, body=fault.body)
        response = web.StreamResponse(status=fault.status, headers=fault.headers)
        response.content_length = len(fault.body) + 1
        await response.prepare(request)
        await response.write(fault.body)
        if request.transport is not None:
            request.transport.close()
        return response

    def _content(self, name: str, kind: str, reference: str) -> web.Response:
        if kind == "blobs" and reference in self.blobs:
            return web.Response(body=self.blobs[reference], headers={"Content-Type": "application/octet-stream"})
        if kind == "manifests" and f"{name}:{reference}" in self.manifests:
            content, media_type = self.manifests[f"{name}:{reference}"]
            headers = {"Content-Type": media_type, "Docker-Content-Digest": str(Digest.of(content))}
            return web.Response(body=content, headers=headers)
        return error(404, "MANIFEST_UNKNOWN", "manifest unknown")

    def _list(self, name: str, request: web.Request) -> web.Response:
        if name not in self.tags:
            return error(404, "NAME_UNKNOWN", "no such repository")
        # Pages by an opaque position, and not sorted: as some registries do.
        start = int(request.query.get("position", 0))
        page = list(reversed(self.tags[name]))[start : start + self.page_size]
        more = start + self.page_size < len(self.tags[name])
        link = {"Link": f'</v2/{name}/tags/list?position={start + self.page_size}>; rel="next"'} if more else {}
        return web.json_response({"name": name, "tags": page}, headers=link)


def error(status: int, code: str, message: str, **headers: str) -> web.Response:
    """An error response of a registry."""
    return web.json_response({"errors": [{"code": code, "message": message}]}, status=status, headers=headers)


def refusal(status: int, code: str, message: str, match: str = "", **headers: str) -> Fault:
    """The fault that answers an error of a registry."""
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
    return Fault(match, status, JSON | headers, body)


@dataclass
class MirrorDepot:
    """A mirror in front of the stand-in; repositories of the upstream are below ``up.example/``."""

    runner: Run[Any]
    upstream: UpstreamStandIn
    registry: RegistryServices
    clock: Clock
    server: web.AppRunner

    async def stop_upstream(self) -> None:
        """Close the upstream's port."""
        await self.server.cleanup()

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine on the test's loop."""
        return self.runner(coroutine)

    def pull(self, name: str, reference: str | Digest) -> Digest:
        """GET of a manifest: the digest of what came."""
        found: StoredManifest = self.run(self._manifest(name, reference))
        return Digest.of(found.content)

    async def _manifest(self, name: str, reference: str | Digest) -> StoredManifest:
        return await self.registry.contents.manifest(ANN, f"up.example/{name}", reference)

    def head(self, name: str, reference: str | Digest) -> tuple[str, str]:
        """HEAD of a manifest: digest and media type."""

        async def head() -> tuple[str, str]:
            found = await self.registry.contents.manifest_headers(ANN, f"up.example/{name}", reference)
            return str(found.digest), found.media_type

        result: tuple[str, str] = self.run(head())
        return result

    def tags(self, name: str, after: str = "", limit: int | None = None) -> tuple[list[str], bool]:
        """A page of the tags, and whether others follow."""

        async def page() -> tuple[list[str], bool]:
            found = await self.registry.contents.tags(ANN, f"up.example/{name}", after, limit)
            return list(found.names), found.more

        result: tuple[list[str], bool] = self.run(page())
        return result

    def blob(self, name: str, digest: Digest) -> bytes:
        """GET of a blob: its bytes, wherever they come from."""

        async def read() -> bytes:
            found = await self.registry.contents.blob(ANN, f"up.example/{name}", digest)
            if isinstance(found, Blob):
                pieces = self.registry.blobs.read(found, 0, found.size)
            else:
                pieces = found.read(0, found.size)
            return b"".join([piece async for piece in pieces])

        content: bytes = self.run(read())
        return content

    def failure(self, work: Any, *arguments: Any) -> WireError:
        """The error that a request ends with."""
        try:
            work(*arguments)
        except WireError as error:
            return error
        raise AssertionError("no error")

    def asked(self) -> list[str]:
        """The requests that the upstream received since the last call."""
        received = list(self.upstream.requests)
        self.upstream.requests.clear()
        return received
