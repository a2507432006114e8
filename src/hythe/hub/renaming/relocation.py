"""Gives one repository another name or owner, with everything that depends on it, in the caller's transaction."""

from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy.exc import IntegrityError

from hythe.database import Session
from hythe.hub.access.access_context import AccessContext
from hythe.hub.access.former_names import reserved_refusal
from hythe.hub.accounts.account_events import AccountListener, RepositoryMove
from hythe.hub.accounts.namespaces import HIDDEN_NAMES, Namespace, NamespaceKind, repository_name_problem, short_name
from hythe.hub.accounts.plans import admit_repository
from hythe.hub.accounts.user import Visibility
from hythe.hub.administration.blocked_names import require_repository_name
from hythe.hub.errors import Invalid, NotFound, Refused, Taken
from hythe.hub.repositories.repository import Repository
from hythe.hub.sql import former_names as former_store
from hythe.hub.sql import namespaces as namespace_store
from hythe.hub.sql import renames as store
from hythe.hub.sql import repositories as repository_store
from hythe.hub.sql import team_repositories
from hythe.oci.reference import NAME_LENGTH
from hythe.registry.sql import renames as registry_renames
from hythe.registry.sql import repositories as registry_store
from hythe.settings import format_bytes


class Relocation:
    """Moves repositories. The caller has checked access, and records the change."""

    def __init__(self, listeners: Sequence[AccountListener], clock: Callable[[], datetime]) -> None:
        self._listeners = listeners
        self._clock = clock

    async def move(self, session: Session, context: AccessContext, target: Namespace, name: str, by: str) -> str:
        """Move a repository to ``target``/``name`` and return its full name; its old name redirects there.

        ``context`` is that of the repository. Raises NotFound, Refused, Invalid, Taken.
        """
        # The accounts first, as renames of accounts do.
        for namespace_id in sorted({context.namespace_id or 0, target.id}):
            await repository_store.owner_of(session, namespace_id)
        found = await self._locked(session, context)
        new = f"{target.name}/{name}"
        if new == found.full_name:
            return new
        _check_name(found, target, name)
        if name != found.name:
            await require_repository_name(session, name)
        elsewhere = target.id != context.namespace_id
        try:
            if elsewhere:
                await self._admit(session, target, found)
            await self._free(session, target, name, found.id)
            await registry_renames.rename(session, found.id, new)
            top_level = target.kind is NamespaceKind.CURATED
            await store.move(session, found.id, target.id, name, self._clock(), official=top_level)
        except IntegrityError as error:
            raise _taken(new) from error
        await former_store.keep_repository(session, context.namespace_id or 0, found.name, found.id, self._clock(), by)
        await store.end_transfer(session, found.id)
        if context.namespace is NamespaceKind.ORGANIZATION and elsewhere:
            await team_repositories.forget_people(session, found.id)
        await team_repositories.apply_to_changed(session, found.id)
        await repository_store.index_if_listed(session, found.id)
        move = RepositoryMove(found.id, found.full_name, new, target.user_id, elsewhere)
        for listener in self._listeners:
            await listener.repository_moved(session, move)
        if elsewhere:
            # Last: from the usage of the namespaces on, nothing else may be locked.
            await self._move_usage(session, found, target)
        return new

    async def _locked(self, session: Session, context: AccessContext) -> Repository:
        repository_id = context.repository_id or 0
        await registry_store.lock_by_id(session, repository_id)
        found = await repository_store.by_id(session, repository_id)
        namespace = await namespace_store.by_name(session, found.namespace) if found is not None else None
        if found is None or namespace is None or namespace.id != context.namespace_id:
            raise NotFound("this repository was deleted or moved")
        return found

    async def _admit(self, session: Session, target: Namespace, found: Repository) -> None:
        """Check that the plan of the new owner has a place for the repository."""
        try:
            await admit_repository(session, target.id, found.visibility)
        except Refused as error:
            raise Refused(f"{target.name} has no room for {found.short_name}: {error.message}", error.hint) from error

    async def _free(self, session: Session, target: Namespace, name: str, repository_id: int) -> None:
        """Make sure that no other repository has or had the new name; the repository itself may have had it."""
        present, holder = await former_store.place(session, target.id, name)
        if present != target.name:
            raise NotFound(f"{target.name!r} was renamed or deleted")
        if holder is not None and holder != repository_id:
            raise Taken(reserved_refusal(f"{target.name}/{name}"), {"name": "redirects to another repository"})
        if await store.is_taken(session, target.id, name):
            raise _taken(f"{target.name}/{name}")
        await former_store.end_repository(session, target.id, name)

    async def _move_usage(self, session: Session, found: Repository, target: Namespace) -> None:
        used = await registry_renames.move_usage(session, found.id, found.namespace, target.name)
        owner = await repository_store.owner_of(session, target.id)
        limit = owner.plan.storage_limit if owner is not None else None
        if limit is not None and used > limit:
            raise Refused(
                f"{target.name} has no room for {found.short_name}: its plan allows {format_bytes(limit)}",
                "delete something there, or ask an administrator for more",
            )


def _check_name(found: Repository, target: Namespace, name: str) -> None:
    """Raise Invalid if the repository cannot have this name there."""
    problem = repository_name_problem(name)
    if problem is None and len(f"{target.name}/{name}") > NAME_LENGTH:
        problem = "is too long"
    if problem is None and target.kind is NamespaceKind.CURATED and name in HIDDEN_NAMES:
        problem = "is an address of Docker Hub's API: no one could pull it"
    if problem is not None:
        raise Invalid({"name": problem})
    if target.kind is NamespaceKind.CURATED and found.visibility is not Visibility.PUBLIC:
        raise Invalid({"to": "top-level repositories are public: change the visibility first"})


def _taken(name: str) -> Taken:
    return Taken(f"repository {short_name(name)} already exists", {"name": "is taken"}, "choose another name")
