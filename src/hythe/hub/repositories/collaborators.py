"""Collaborators: users with a role on one repository of a user or an organization.

Members of the organization that owns the repository are added at once; others are invited, and accept or not.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from hythe.database import Database, Session
from hythe.hub.access.access_context import AccessContext
from hythe.hub.access.actions import HubAction
from hythe.hub.access.decision import HubAccess
from hythe.hub.accounts.namespaces import NamespaceKind, canonical_name, could_be_name
from hythe.hub.actor import HubActor
from hythe.hub.errors import Invalid, NotFound
from hythe.hub.logs import audit
from hythe.hub.organizations.invitations import Invitations
from hythe.hub.organizations.organization import RoleWord
from hythe.hub.page import Page, Paging
from hythe.hub.repositories.collaborator import Collaborator, Invitation
from hythe.hub.sql import collaborators as store
from hythe.hub.sql import invitations as invitation_store
from hythe.hub.sql import members as member_store
from hythe.hub.sql import organizations as organization_store


class NewCollaborator(msgspec.Struct, frozen=True):
    """A user to add or invite."""

    username: Annotated[str, Meta(max_length=39)]
    role: RoleWord = RoleWord.WRITE


class CollaboratorChange(msgspec.Struct, frozen=True):
    """The new role of a collaborator."""

    role: RoleWord


class CollaboratorService:
    """The collaborators of repositories. Calls raise NotFound, SignInNeeded and Refused."""

    def __init__(
        self, database: Database, access: HubAccess, sending: Invitations, clock: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._access = access
        self._sending = sending
        self._clock = clock

    async def list(self, actor: HubActor, repository: str, paging: Paging) -> Page[Collaborator]:
        """Return the collaborators of a repository."""
        async with self._database.reading() as session:
            context = await self._required(session, actor, repository, HubAction.VIEW_COLLABORATORS)
            return await store.listed(session, context.repository_id or 0, paging)

    async def invitations(self, actor: HubActor, repository: str, paging: Paging) -> Page[Invitation]:
        """Return the pending invitations to a repository."""
        async with self._database.reading() as session:
            context = await self._required(session, actor, repository, HubAction.VIEW_COLLABORATORS)
            return await invitation_store.of_repository(session, context.repository_id or 0, self._clock(), paging)

    async def add(self, actor: HubActor, repository: str, new: NewCollaborator) -> Collaborator:
        """Add or invite a user, or change the role of a collaborator. Raises Invalid, TooManyAttempts."""
        name = new.username
        async with self._database.writing() as session:
            context = await self._required(session, actor, repository, HubAction.INVITE_COLLABORATOR)
            user_id = await self._user_id(session, context, name)
            repository_id, now = context.repository_id or 0, self._clock()
            known = await store.find(session, repository_id, user_id) is not None
            added = known or await _is_member(session, context, name)
            if added:
                await store.put(session, repository_id, user_id, new.role.role, now)
                await invitation_store.end_same(session, None, repository_id, user_id, None, now)
            else:
                what = f"the repository {repository}"
                await self._sending.send(
                    session, actor, what, new.role.role, repository_id=repository_id, user_id=user_id
                )
            await self._record(session, actor, HubAction.INVITE_COLLABORATOR, repository, name, new.role.value)
        return Collaborator(name, new.role, now, pending=not added)

    async def _user_id(self, session: Session, context: AccessContext, name: str) -> int:
        user_id = await organization_store.user_id_of(session, name) if could_be_name(name) else None
        if user_id is None:
            raise Invalid({"username": "is not the name of a user"})
        if user_id == context.owner_id:
            raise Invalid({"username": "owns the repository"})
        return user_id

    async def set_role(self, actor: HubActor, repository: str, name: str, change: CollaboratorChange) -> Collaborator:
        """Change the role of a collaborator."""
        async with self._database.writing() as session:
            context = await self._required(session, actor, repository, HubAction.CHANGE_COLLABORATOR)
            user_id = await self._collaborator_id(session, context, name)
            await store.set_role(session, context.repository_id or 0, user_id, change.role.role)
            await self._record(session, actor, HubAction.CHANGE_COLLABORATOR, repository, name, change.role.value)
            found = await store.find(session, context.repository_id or 0, user_id)
        if found is None:
            raise NotFound(f"{name!r} is not a collaborator")
        return found

    async def remove(self, actor: HubActor, repository: str, name: str) -> None:
        """Remove a collaborator, or withdraw the invitation of a user."""
        async with self._database.writing() as session:
            context = await self._required(session, actor, repository, HubAction.REMOVE_COLLABORATOR)
            user_id = await organization_store.user_id_of(session, name) if could_be_name(name) else None
            if user_id is None:
                raise NotFound(f"{name!r} is not a collaborator")
            repository_id = context.repository_id or 0
            await invitation_store.end_same(session, None, repository_id, user_id, None, self._clock())
            await store.remove(session, repository_id, user_id)
            await self._record(session, actor, HubAction.REMOVE_COLLABORATOR, repository, name)

    async def leave(self, actor: HubActor, repository: str) -> None:
        """Stop being a collaborator on a repository."""
        user_id = self._access.require_account(actor, HubAction.LEAVE_REPOSITORY)
        async with self._database.writing() as session:
            context = await self._required(session, actor, repository, HubAction.VIEW_REPOSITORY)
            if not await store.remove(session, context.repository_id or 0, user_id):
                raise NotFound(f"you are not a collaborator on {repository}")
            await self._record(session, actor, HubAction.LEAVE_REPOSITORY, repository, actor.name)

    async def _required(self, session: Session, actor: HubActor, repository: str, action: HubAction) -> AccessContext:
        return await self._access.require_repository(actor, canonical_name(repository), action, session)

    async def _collaborator_id(self, session: Session, context: AccessContext, name: str) -> int:
        user_id = await organization_store.user_id_of(session, name) if could_be_name(name) else None
        if user_id is None or await store.find(session, context.repository_id or 0, user_id) is None:
            raise NotFound(f"{name!r} is not a collaborator")
        return user_id

    async def _record(
        self, session: Session, actor: HubActor, action: HubAction, repository: str, name: str, role: str = ""
    ) -> None:
        full_name = canonical_name(repository)
        detail = {"user": name} | ({"role": role} if role else {})
        await audit.record_repository(session, actor, action, full_name, at=self._clock(), **detail)


async def _is_member(session: Session, context: AccessContext, name: str) -> bool:
    if context.namespace is not NamespaceKind.ORGANIZATION:
        return False
    return await member_store.by_name(session, context.owner_id or 0, name) is not None
