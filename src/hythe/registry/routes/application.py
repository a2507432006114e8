"""Everything below ``/v2/`` as one ASGI application: maps paths to handlers and exceptions to responses."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple, TypeAlias
from urllib.parse import parse_qsl

from hythe.database.changes import TrackedReads, tracked_reads
from hythe.oci.errors import InvalidReference, WireError
from hythe.oci.reference import NAME_LENGTH, parse_name
from hythe.ready_response import Answer
from hythe.registry.access import Action, RepositoryRenamed
from hythe.registry.routes import blobs, catalog, manifests, referrers, tags, uploads
from hythe.registry.routes.afterwards import Afterwards
from hythe.registry.routes.error_responses import error_response, method_not_allowed, unknown_path
from hythe.registry.routes.http import Receive, Request, Response, Scope, Send, find_header, send_response
from hythe.registry.routes.manifest_cache import CacheKey, ManifestCache
from hythe.registry.routes.routing import RegistryRoute, parse_target
from hythe.registry.service import RegistryServices
from hythe.registry.uploads import BodyCut
from hythe.telemetry.request_record import note_user

Handler: TypeAlias = Callable[[RegistryServices, Request], Awaitable[Response]]


class Operation(NamedTuple):
    """What a method of a route does: its handler, and the action that it needs; None: it concerns no repository."""

    handler: Handler
    action: Action | None


_BASE = Operation(catalog.get_base, None)
_CATALOG = Operation(catalog.list_repositories, None)
_TAGS = Operation(tags.list_tags, Action.PULL)
_REFERRERS = Operation(referrers.list_referrers, Action.PULL)

OPERATIONS: dict[RegistryRoute, dict[str, Operation]] = {
    RegistryRoute.BASE: {"GET": _BASE, "HEAD": _BASE},
    RegistryRoute.CATALOG: {"GET": _CATALOG, "HEAD": _CATALOG},
    RegistryRoute.TAGS: {"GET": _TAGS, "HEAD": _TAGS},
    RegistryRoute.REFERRERS: {"GET": _REFERRERS, "HEAD": _REFERRERS},
    RegistryRoute.MANIFEST: {
        "GET": Operation(manifests.get_manifest, Action.PULL),
        "HEAD": Operation(manifests.head_manifest, Action.PULL),
        "PUT": Operation(manifests.put_manifest, Action.PUSH),
        "DELETE": Operation(manifests.delete_manifest, Action.DELETE),
    },
    RegistryRoute.BLOB: {
        "GET": Operation(blobs.get_blob, Action.PULL),
        "HEAD": Operation(blobs.head_blob, Action.PULL),
        "DELETE": Operation(blobs.delete_blob, Action.DELETE),
    },
    RegistryRoute.UPLOADS: {"POST": Operation(uploads.start_upload, Action.PUSH)},
    RegistryRoute.UPLOAD: {
        "GET": Operation(uploads.show_upload, Action.PUSH),
        "PATCH": Operation(uploads.append_upload, Action.PUSH),
        "PUT": Operation(uploads.finish_upload, Action.PUSH),
        "DELETE": Operation(uploads.cancel_upload, Action.PUSH),
    },
}

ATTEMPTS = 4
"""How often a request is handled while what it reads changes; the last response is sent."""

NAMELESS = (RegistryRoute.BASE, RegistryRoute.CATALOG)


class RegistryApplication:
    """The distribution protocol as an ASGI application. It uses the whole path, wherever it is mounted."""

    def __init__(self, registry: RegistryServices) -> None:
        self._registry = registry
        self._cache = ManifestCache(registry)
        self._afterwards = Afterwards()

    def shortcut(self, scope: Scope, answer: Answer) -> bool:
        """See Shortcut: a manifest from the cache, if nothing has changed."""
        if self._registry.contents.has_mirrors:
            return False
        key = self._cache.ready_key(scope)
        if key is None:
            return False
        self._registry.database.changes.when_known(partial(self._answer, key, answer))
        return True

    def _answer(self, key: CacheKey, answer: Answer, known: bool) -> None:
        cached = self._cache.ready(key) if known else None
        if answer(cached.ready if cached is not None else None) and cached is not None:
            self._afterwards.add(cached.response.after)

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
        if scope["method"] not in ("GET", "HEAD") or self._registry.contents.has_mirrors:
            return await self._handle(scope, receive)
        key = self._cache.key(scope)
        cached = await self._cache.get(key) if key is not None else None
        if cached is not None:
            note_user(cached.user)  # a response from the cache authenticates no one again
            return cached
        response, reads = await self._consistently(scope, receive)
        if key is not None:
            self._cache.keep(key, response, reads)
        return response

    async def _consistently(self, scope: Scope, receive: Receive) -> tuple[Response, TrackedReads]:
        """Handle a request without a body; again if something changed between its reads, such as a name and its tag.

        Otherwise a client could get what was pushed after the repository became private, or miss what was renamed.
        """
        changes = self._registry.database.changes
        for attempt in range(ATTEMPTS):
            with tracked_reads() as reads:
                try:
                    response = await self._handle(scope, receive)
                except WireError:
                    if attempt == ATTEMPTS - 1 or await changes.consistent(reads):
                        raise
                else:
                    if await changes.consistent(reads):
                        break
        return response, reads

    async def _handle(self, scope: Scope, receive: Receive) -> Response:
        access = self._registry.access
        target = parse_target(scope["path"])
        if target is not None and target.endpoint is RegistryRoute.BASE:
            # No or invalid credentials need no database, but clients would take a 401 for that of a working registry.
            await self._registry.liveness.require()
        actor = await access.authenticate(find_header(scope, b"authorization"), _address(scope))
        note_user(actor.name)
        if target is None:
            raise unknown_path()
        operation = OPERATIONS[target.endpoint].get(scope["method"])
        if operation is None:
            raise method_not_allowed(list(OPERATIONS[target.endpoint]))
        repository = "" if target.endpoint in NAMELESS else self._repository(scope, parse_name(target.name))
        request = Request(scope, receive, target, actor, repository)
        try:
            return await operation.handler(self._registry, request)
        except RepositoryRenamed as renamed:
            return await operation.handler(self._registry, request.renamed(renamed.actor, renamed.repository))

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
