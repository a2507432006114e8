"""Reads access contexts: one query each, or none while no transaction has committed since the last one."""

from collections.abc import Callable
from datetime import datetime

import msgspec

from hythe.database import Database, Session
from hythe.database.read_cache import ReadCache
from hythe.hub.access.access_context import AccessContext, credential_problem
from hythe.hub.accounts.namespaces import NamespaceKind
from hythe.hub.accounts.user import Visibility
from hythe.hub.actor import HubActor
from hythe.hub.sql import access_context as store

CACHE_SIZE = 4 * 1024 * 1024
"""Bytes of access contexts that stay cached until the next commit; each takes about ``CONTEXT_SIZE``."""

CONTEXT_SIZE = 900


class AccessContexts:
    """The access contexts of actors and repositories."""

    def __init__(self, database: Database, clock: Callable[[], datetime], mirrors: frozenset[str]) -> None:
        """``mirrors`` are namespaces that mirror another registry."""
        self._database = database
        self._clock = clock
        self._mirrors = mirrors
        self._cache: ReadCache[tuple[int | None, str, str], AccessContext] = ReadCache(database, CACHE_SIZE)

    async def get(self, actor: HubActor, repository: str, session: Session | None = None) -> AccessContext:
        """Return the current access context of the actor and the repository with this canonical name.

        Raises SignInNeeded or AccountBlocked if the actor's access token no longer works.
        """
        namespace, _, name = repository.partition("/")
        if namespace in self._mirrors:
            return AccessContext(NamespaceKind.MIRROR, None, None, None, Visibility.PUBLIC, actor.user_id, actor.admin)
        if session is not None:
            return self._checked(actor, await store.access_context(session, actor, namespace, name))
        generation = self._cache.generation()
        key = (actor.user_id, actor.personal_token_digest, repository)
        found = self._cache.get(key)
        if found is None:
            async with self._database.reading() as own:
                found = await store.access_context(own, actor, namespace, name)
            self._cache.keep(generation, key, found, CONTEXT_SIZE)
        return self._checked(actor, found)

    def _checked(self, actor: HubActor, context: AccessContext) -> AccessContext:
        if context.opened_until is not None and context.opened_until <= self._clock():
            context = msgspec.structs.replace(context, opened_until=None)
        if actor.granted is not None and actor.user_id is not None:
            problem = credential_problem(actor, context, self._clock())
            if problem is not None:
                raise problem
        return context
