"""Everything below ``/v2/`` as one ASGI application: maps paths to handlers and exceptions to responses."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias
from urllib.parse import parse_qsl

from starlette.routing import BaseRoute, Mount, Route

from hythe.oci.errors import InvalidReference
from hythe.oci.reference import NAME_LENGTH, parse_name
from hythe.registry.access import RepositoryRenamed
from hythe.registry.routes import blobs, catalog, manifests, referrers, tags, uploads
from hythe.registry.routes.error_responses import error_response, method_not_allowed, unknown_path
from hythe.registry.routes.http import Receive, Request, Response, Scope, Send, find_header, send_response
from hythe.registry.routes.manifest_cache import ManifestCache
from hythe.registry.routes.routing import RegistryRoute, parse_target
from hythe.registry.service import RegistryServices
from hythe.registry.uploads import BodyCut

Handler: TypeAlias = Callable[[RegistryServices, Request], Awaitable[Response]]

HANDLERS: dict[RegistryRoute, dict[str, Handler]] = {
    RegistryRoute.BASE: {"GET": catalog.get_base, "HEAD": catalog.get_base},
    RegistryRoute.CATALOG: {"GET": catalog.list_repositories, "HEAD": catalog.list_repositories},
    RegistryRoute.TAGS: {"GET": tags.list_tags, "HEAD": tags.list_tags},
    RegistryRoute.REFERRERS: {"GET": referrers.list_referrers, "HEAD": referrers.list_referrers},
    RegistryRoute.MANIFEST: {
        "GET": manifests.get_manifest,
        "HEAD": manifests.head_manifest,
        "PUT": manifests.put_manifest,
        "DELETE": manifests.delete_manifest,
    },
    RegistryRoute.BLOB: {"GET": blobs.get_blob, "HEAD": blobs.head_blob, "DELETE": blobs.delete_blob},
    RegistryRoute.UPLOADS: {"POST": uploads.start_upload},
    RegistryRoute.UPLOAD: {
        "GET": uploads.show_upload,
        "PATCH": uploads.append_upload,
        "PUT": uploads.finish_upload,
        "DELETE": uploads.cancel_upload,
    },
}

NAMELESS = (RegistryRoute.BASE, RegistryRoute.CATALOG)


class RegistryApplication:
    """The distribution protocol as an ASGI application. It uses the whole path, wherever it is mounted."""

    def __init__(self, registry: RegistryServices) -> None:
        self._registry = registry
        self._cache = ManifestCache(registry)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to one request. Errors become error responses; those after the response started cut it."""
        try:
            response = await self._respond(scope, receive)
        except Exception as error:
            response = error_response(error, self._registry.access, scope, parse_target(scope["path"]))
            if isinstance(error, BodyCut):
                response.headers.append((b"connection", b"close"))
        await send_response(send, scope["method"], response)
        if response.after is not None:
            await response.after()

    async def _respond(self, scope: Scope, receive: Receive) -> Response:
        key = self._cache.key(scope)
        if key is None:
            return await self._handle(scope, receive)
        generation = self._cache.generation()
        cached = self._cache.get(key)
        if cached is not None:
            return cached
        response = await self._handle(scope, receive)
        self._cache.keep(generation, key, response)
        return response

    async def _handle(self, scope: Scope, receive: Receive) -> Response:
        access = self._registry.access
        target = parse_target(scope["path"])
        actor = await access.authenticate(find_header(scope, b"authorization"), _address(scope))
        if target is None:
            raise unknown_path()
        handler = HANDLERS[target.endpoint].get(scope["method"])
        if handler is None:
            raise method_not_allowed(list(HANDLERS[target.endpoint]))
        repository = "" if target.endpoint in NAMELESS else self._repository(scope, parse_name(target.name))
        request = Request(scope, receive, target, actor, repository)
        try:
            return await handler(self._registry, request)
        except RepositoryRenamed as renamed:
            return await handler(self._registry, request.renamed(renamed.actor, renamed.repository))

    def _repository(self, scope: Scope, name: str) -> str:
        canonical = self._canonical(scope, name)
        if len(canonical) > NAME_LENGTH:
            raise InvalidReference(f"{canonical} is too long: a repository's name has at most {NAME_LENGTH} characters")
        return canonical

    def _canonical(self, scope: Scope, name: str) -> str:
        """Return the canonical name; containerd names the mirrored registry in ``?ns=``."""
        upstream = ""
        if b"ns=" in scope["query_string"]:
            upstream = dict(parse_qsl(scope["query_string"].decode("latin-1"))).get("ns", "")
            if upstream == find_header(scope, b"host"):
                upstream = ""
        return self._registry.contents.canonical(name, upstream)


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""


def routes(registry: RegistryServices) -> list[BaseRoute]:
    """Return the routes below ``/v2/`` for a Starlette application."""
    application = RegistryApplication(registry)
    return [Route("/v2", application, include_in_schema=False), Mount("/v2", application)]
