"""Repositories in the index: create, describe, change visibility, list and delete."""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any

import msgspec

from hythe.database import Database, Session
from hythe.hub.access.access_context import AccessContext
from hythe.hub.access.actions import HubAction
from hythe.hub.access.decision import HubAccess
from hythe.hub.access.former_names import require_not_renamed
from hythe.hub.accounts.namespaces import (
    Namespace,
    NamespaceKind,
    canonical_name,
    could_be_name,
    namespace_of,
    namespace_problem,
    repository_name_problem,
    short_name,
)
from hythe.hub.accounts.plans import admit_private
from hythe.hub.accounts.user import Visibility
from hythe.hub.actor import HubActor
from hythe.hub.errors import Invalid, NotFound, Refused, SignInNeeded, Taken
from hythe.hub.logs import audit
from hythe.hub.page import Page, Paging
from hythe.hub.repositories.descriptions import Descriptions
from hythe.hub.repositories.repository import DESCRIPTION_LENGTH, FULL_DESCRIPTION_LENGTH, Repository
from hythe.hub.repositories.repository_index import enlist
from hythe.hub.roles import OrganizationRole
from hythe.hub.sql import namespaces as namespace_store
from hythe.hub.sql import repositories as store
from hythe.hub.sql import repository_lists as list_store
from hythe.hub.validation import Checked, Precondition, problems_by
from hythe.registry.events import RepositoryRef as MadeRepository
from hythe.registry.repositories import Repositories as RegistryRepositories
from hythe.registry.sql import repositories as registry_store


def _text_problem(longest: int, text: str) -> str | None:
    if len(text) > longest:
        return f"must have at most {longest} characters"
    return None


_TEXTS = {
    "description": partial(_text_problem, DESCRIPTION_LENGTH),
    "full_description": partial(_text_problem, FULL_DESCRIPTION_LENGTH),
}


class NewRepository(Checked, frozen=True):
    """A repository to create; ``visibility`` None: the account's default."""

    namespace: str
    name: str
    visibility: Visibility | None = None
    description: str = ""
    full_description: str = ""

    @classmethod
    def problems(cls, values: Mapping[str, Any]) -> dict[str, str]:
        """See Checked."""
        return problems_by(values, namespace=namespace_problem, name=repository_name_problem, **_TEXTS)


class RepositoryChange(Checked, frozen=True, omit_defaults=True):
    """Changes to a repository; unset fields stay."""

    visibility: Visibility | msgspec.UnsetType = msgspec.UNSET
    description: str | msgspec.UnsetType = msgspec.UNSET
    full_description: str | msgspec.UnsetType = msgspec.UNSET

    @classmethod
    def problems(cls, values: Mapping[str, Any]) -> dict[str, str]:
        """See Checked."""
        return problems_by(values, **_TEXTS)


class RepositoryService:
    """The repositories of the hub. Every name may be short (``centos``) or long (``library/centos``)."""

    def __init__(
        self,
        database: Database,
        access: HubAccess,
        registry: RegistryRepositories,
        descriptions: Descriptions,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._access = access
        self._registry = registry
        self._descriptions = descriptions
        self._clock = clock

    async def create(self, actor: HubActor, new: NewRepository) -> Repository:
        """Create an empty repository. Raises SignInNeeded, Refused, Taken, Invalid."""
        new.check()
        full_name = f"{new.namespace}/{new.name}"
        await self._access.require_creation(actor, full_name)
        description = await self._descriptions.render(new.namespace, new.full_description)
        async with self._database.writing() as session:
            context = await self._access.require_creation(actor, full_name, session)
            if context.repository_id is not None:
                raise _taken(full_name)
            made = await _made(session, full_name, self._clock())
            await enlist(
                session,
                made,
                context,
                listed=True,
                visibility=new.visibility,
                description=new.description.strip(),
                full_description=description,
            )
            await audit.record_repository(
                session,
                actor,
                HubAction.CREATE_REPOSITORY,
                full_name,
                visibility=new.visibility.value if new.visibility else "default",
                at=self._clock(),
            )
        return await self.get(actor, full_name)

    async def get(self, actor: HubActor, name: str) -> Repository:
        """Return a repository. Raises NotFound, also if the actor may not see it."""
        context = await self._access.require_repository(actor, canonical_name(name), HubAction.VIEW_REPOSITORY)
        async with self._database.reading() as session:
            return await _found(session, name, context)

    async def _readable(self, session: Session, actor: HubActor, name: str, action: HubAction) -> Repository:
        context = await self._access.require_repository(actor, canonical_name(name), action, session)
        return await _found(session, name, context)

    async def edit(
        self, actor: HubActor, name: str, change: RepositoryChange, unchanged: Precondition | None = None
    ) -> Repository:
        """Change a repository and return the result. Raises NotFound, SignInNeeded, Refused, Invalid."""
        change.check()
        values = {field: value for field, value in msgspec.structs.asdict(change).items() if value is not msgspec.UNSET}
        if isinstance(change.full_description, str):
            values |= await self._rendered(actor, name, change.full_description)
        async with self._database.writing() as session:
            found = await self._readable(session, actor, name, HubAction.DESCRIBE_REPOSITORY)
            visibility = values.get("visibility", found.visibility)
            if visibility is not found.visibility:
                await self._access.require_repository(actor, found.full_name, HubAction.SET_VISIBILITY, session)
                await audit.record_repository(
                    session,
                    actor,
                    HubAction.SET_VISIBILITY,
                    found.full_name,
                    visibility=visibility.value,
                    at=self._clock(),
                )
            if visibility in (Visibility.PRIVATE, Visibility.INTERNAL) and visibility is not found.visibility:
                context = await self._access.context(actor, found.full_name, session)
                if context.namespace is NamespaceKind.CURATED:
                    raise Invalid({"visibility": "must be public for a top-level repository"})
                if context.namespace_id is not None and visibility is Visibility.PRIVATE:
                    await admit_private(session, context.namespace_id)
            if unchanged is not None:
                # After the namespace, which renames and transfers lock before their repositories.
                await store.lock(session, found.id)
                await unchanged(session)
            await store.change(session, found.id, _columns(values) | {"updated_at": self._clock()})
            await store.index(session, found.id)
            if described := sorted(values.keys() & {"description", "full_description"}):
                await audit.record_repository(
                    session,
                    actor,
                    HubAction.DESCRIBE_REPOSITORY,
                    found.full_name,
                    changed=" ".join(described),
                    at=self._clock(),
                )
        return await self.get(actor, name)

    async def _rendered(self, actor: HubActor, name: str, text: str) -> Mapping[str, Any]:
        full_name = canonical_name(name)
        await self._access.require_repository(actor, full_name, HubAction.DESCRIBE_REPOSITORY)
        return (await self._descriptions.render(namespace_of(full_name), text)).columns

    async def delete(self, actor: HubActor, name: str, unchanged: Precondition | None = None) -> None:
        """Delete a repository with all its tags and images. Raises NotFound, SignInNeeded, Refused."""
        full_name = canonical_name(name)
        await self._access.require_repository(actor, full_name, HubAction.DELETE_REPOSITORY)
        await self._registry.delete(actor, full_name, partial(_check, unchanged) if unchanged is not None else None)

    async def may_write(self, actor: HubActor, name: str) -> bool:
        """Return whether the actor may change this repository; pages show controls accordingly."""
        return await self._access.may(actor, canonical_name(name), HubAction.DESCRIBE_REPOSITORY)

    async def in_namespace(self, actor: HubActor, namespace: str, paging: Paging) -> Page[Repository]:
        """Return a namespace's repositories that the actor may see, most recently changed first. Raises NotFound."""
        async with self._database.reading() as session:
            found = await self._namespace(session, namespace)
            reader = self._access.reader(actor, namespace)
            if reader.nothing:
                raise SignInNeeded("sign in first")
            if reader.user_id is None:
                return await store.in_namespace(session, found.id, paging, only_public=True)
            context = await self._access.context(actor, f"{namespace}/", session)
            whole = context.namespace_role is OrganizationRole.OWNER or (context.member and context.member_role)
            if whole and found.kind is not NamespaceKind.CURATED:
                return await store.in_namespace(session, found.id, paging, only_public=False)
            return await list_store.in_namespace(session, found.id, reader.user_id, paging)

    async def of_actor(self, actor: HubActor, paging: Paging) -> Page[Repository]:
        """Return the repositories that the actor has a role on, most recently changed first.

        Raises SignInNeeded, Refused.
        """
        self._access.require_account(actor, HubAction.VIEW_OWN_REPOSITORIES)
        reader = self._access.reader(actor)
        if reader.user_id is None:
            raise Refused("this token may not list repositories", "use a token with the right 'repo:read'")
        async with self._database.reading() as session:
            return await list_store.of_user(session, reader.user_id, paging)

    async def _namespace(self, session: Session, name: str) -> Namespace:
        found = await namespace_store.by_name(session, name) if could_be_name(name) else None
        if found is None:
            if could_be_name(name):
                await require_not_renamed(session, name)
            raise NotFound(f"user {name!r} does not exist")
        return found

    async def newest(self, paging: Paging) -> Page[Repository]:
        """Return the public repositories, newest first."""
        async with self._database.reading() as session:
            return await store.newest_public(session, paging)


async def _check(unchanged: Precondition, session: Session, repository: MadeRepository) -> None:
    """Call the precondition with the index row locked, too: changes of descriptions and visibility lock only that."""
    await store.lock(session, repository.id)
    await unchanged(session)


async def _found(session: Session, name: str, context: AccessContext) -> Repository:
    found = await store.by_id(session, context.repository_id) if context.repository_id is not None else None
    if found is None:
        raise NotFound(f"repository {short_name(name)!r} does not exist")
    return found


def _taken(name: str) -> Taken:
    return Taken(f"repository {short_name(name)} already exists", {"name": "is taken"}, "choose another name")


async def _made(session: Session, name: str, at: datetime) -> MadeRepository:
    if not await registry_store.create(session, name, at):
        raise _taken(name)
    made = await registry_store.find(session, name)
    if made is None:
        raise LookupError(f"{name} was created but cannot be found")
    return made


def _columns(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.value if isinstance(value, Visibility) else value for name, value in values.items()}
