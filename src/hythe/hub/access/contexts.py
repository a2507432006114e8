"""Reads access contexts: one query each, or none until something that they depend on changes."""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import TypeAlias

import msgspec

from hythe.database import Database, Session
from hythe.database.changes import NAMES, account_topic
from hythe.database.read_cache import Kept, ReadCache
from hythe.hub.access.access_context import AccessContext, credential_problem
from hythe.hub.accounts.namespaces import NamespaceKind
from hythe.hub.accounts.user import Visibility
from hythe.hub.actor import HubActor
from hythe.hub.sql import access_context as store

CACHE_SIZE = 8 * 1024 * 1024
"""Bytes of cached access contexts; each takes about ``CONTEXT_SIZE``."""

CONTEXT_SIZE = 1800

_Key: TypeAlias = tuple[int | None, str, str]
"""The ids of a user and the digest of a personal token, as in HubActor, and the name of a repository."""


class AccessContexts:
    """The access contexts of actors and repositories."""

    def __init__(self, database: Database, clock: Callable[[], datetime], mirrors: frozenset[str]) -> None:
        """``mirrors`` are namespaces that mirror another registry."""
        self._clock = clock
        self._mirrors = mirrors
        self._cache: ReadCache[_Key, AccessContext] = ReadCache(database, CACHE_SIZE, _kept, "access")

    async def get(self, actor: HubActor, repository: str, session: Session | None = None) -> AccessContext:
        """Return the current access context of the actor and the repository with this canonical name.

        Raises SignInNeeded or AccountBlocked if the actor's access token no longer works.
        """
        namespace, _, name = repository.partition("/")
        if namespace in self._mirrors:
            return AccessContext(NamespaceKind.MIRROR, None, None, None, Visibility.PUBLIC, actor.user_id, actor.admin)
        if session is not None:
            return self._checked(actor, await store.access_context(session, actor, namespace, name))
        key = (actor.user_id, actor.personal_token_digest, repository)
        load = partial(store.access_context, actor=actor, namespace=namespace, name=name)
        return self._checked(actor, await self._cache.get(key, load))

    def _checked(self, actor: HubActor, context: AccessContext) -> AccessContext:
        if context.opened_until is not None and context.opened_until <= self._clock():
            context = msgspec.structs.replace(context, opened_until=None)
        if actor.granted is not None and actor.user_id is not None:
            problem = credential_problem(actor, context, self._clock())
            if problem is not None:
                raise problem
        return context


def _kept(key: _Key, context: AccessContext) -> Kept | None:
    """Return what a context depends on; None if its account or its token does not exist.

    New accounts and tokens note no change, but new namespaces and repositories do.
    """
    user_id, token_digest, _ = key
    credential = context.credential
    if user_id is not None and (credential is None or (token_digest and credential.rights is None)):
        return None
    topics = {NAMES if context.repository_id is None else context.repository_id}
    if context.owner_id is not None:
        topics.add(account_topic(context.owner_id))
    elif context.namespace is None:
        topics.add(NAMES)
    if user_id is not None:
        topics.add(account_topic(user_id))
    return Kept(tuple(topics), CONTEXT_SIZE)
