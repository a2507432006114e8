"""Resolves former names: after an account or a repository was renamed, its old name keeps working.

Only names that do not exist are looked up, with one query, so existing ones cost nothing more.
"""

from collections.abc import Callable
from functools import partial

from hythe.database import Database, Session
from hythe.database.changes import NAMES
from hythe.database.read_cache import Kept, ReadCache
from hythe.hub.access.access_context import AccessContext
from hythe.hub.access.contexts import AccessContexts
from hythe.hub.access.rules import allowed
from hythe.hub.accounts.namespaces import NamespaceKind, short_name
from hythe.hub.actor import HubActor
from hythe.hub.errors import Moved
from hythe.hub.sql import former_names as store
from hythe.hub.sql.former_names import Successor
from hythe.oci.errors import ErrorCode, WireError
from hythe.registry.access import Action, RepositoryRenamed

CACHE_SIZE = 512 * 1024
"""Bytes of cached names; each takes about ``ENTRY_SIZE``."""

ENTRY_SIZE = 600


class FormerNames:
    """Resolves the former names of accounts and repositories."""

    def __init__(
        self, database: Database, contexts: AccessContexts, may_see: Callable[[HubActor, str, AccessContext], bool]
    ) -> None:
        """``may_see`` decides whether an actor may see a repository."""
        self._contexts = contexts
        self._may_see = may_see
        self._cache: ReadCache[str, Successor | None] = ReadCache(
            database, CACHE_SIZE, lambda _name, _successor: Kept((NAMES,), ENTRY_SIZE), "former names"
        )

    async def successor(
        self, repository: str, context: AccessContext, session: Session | None = None
    ) -> Successor | None:
        """Return what the canonical name of no repository refers to now; None if it is no former name, either.

        ``context`` is that of the name itself.
        """
        if context.namespace is NamespaceKind.MIRROR:
            return None
        namespace, _, name = repository.partition("/")
        if session is not None:
            return await store.successor(session, namespace, name)
        return await self._cache.get(repository, partial(store.successor, namespace=namespace, name=name))

    async def visible(
        self, actor: HubActor, repository: str, successor: Successor | None, session: Session | None = None
    ) -> tuple[str, HubActor] | None:
        """Return name and actor for the repository that had this name, if the actor may see it."""
        if successor is None or successor.repository is None:
            return None
        following = actor.following(repository, successor.repository)
        present = await self._contexts.get(following, successor.repository, session)
        return (successor.repository, following) if self._may_see(following, successor.repository, present) else None

    async def require_none(
        self, actor: HubActor, repository: str, context: AccessContext, action: Action, session: Session | None = None
    ) -> None:
        """Raise RepositoryRenamed if the actor asks for a repository by its former name, or DENIED if they push."""
        successor = await self.successor(repository, context, session)
        if successor is None:
            return
        found = await self.visible(actor, repository, successor, session)
        if found is not None and (action is Action.PULL or actor.build is not None):
            raise RepositoryRenamed(*found)
        if action is Action.PULL or not (actor.signed_in or actor.operating):
            return
        if found is not None:
            raise push_refusal(repository, found[0])
        if successor.repository is None:
            raise push_refusal(repository, f"{successor.namespace}/{repository.partition('/')[2]}")
        if action in allowed(context):
            raise WireError(ErrorCode.DENIED, reserved_refusal(repository))

    async def require_present(
        self, actor: HubActor, repository: str, context: AccessContext, session: Session | None = None
    ) -> None:
        """Raise Moved if the actor asks a service for a repository by its former name."""
        successor = await self.successor(repository, context, session)
        if found := await self.visible(actor, repository, successor, session):
            raise Moved(short_name(repository), short_name(found[0]))

    async def require_present_namespace(
        self, namespace: str, context: AccessContext, session: Session | None = None
    ) -> None:
        """Raise Moved for the former name of an account."""
        successor = await self.successor(f"{namespace}/", context, session)
        if successor is not None:
            raise Moved(namespace, successor.namespace)


async def require_not_renamed(session: Session, name: str) -> None:
    """Raise Moved if an account had this name. Call it before saying that an account does not exist."""
    present = await store.account(session, name)
    if present is not None:
        raise Moved(name, present)


def push_refusal(former: str, present: str) -> WireError:
    """Return the error for a push to a former name, which engines print."""
    present = short_name(present)
    return WireError(ErrorCode.DENIED, f"{short_name(former)} is now {present}: push to {present}")


def reserved_refusal(name: str) -> str:
    """Explain why a former name cannot be used for another repository."""
    return f"{short_name(name)} is the former name of another repository: end its redirect first"
