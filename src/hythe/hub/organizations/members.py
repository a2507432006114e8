"""Members of organizations: list them, change their role, remove them, leave.

An organization always has an owner: the last one cannot leave, be removed or become a member.
"""

from collections.abc import Callable
from datetime import datetime

import msgspec

from hythe.database import Database, Session
from hythe.hub.access.actions import HubAction
from hythe.hub.access.decision import HubAccess
from hythe.hub.accounts.namespaces import could_be_name
from hythe.hub.actor import HubActor
from hythe.hub.errors import NotFound, Refused
from hythe.hub.logs import audit
from hythe.hub.organizations.organization import Member, MemberWord
from hythe.hub.organizations.organizations import require_room
from hythe.hub.page import Page, Paging
from hythe.hub.roles import OrganizationRole
from hythe.hub.sign_in.confirmations import ConfirmationService
from hythe.hub.sql import members as store
from hythe.hub.sql import organizations as organization_store
from hythe.hub.sql import users as user_store


class MemberChange(msgspec.Struct, frozen=True):
    """The new role of a member."""

    role: MemberWord


class MemberService:
    """The members of organizations. Calls raise NotFound, SignInNeeded and Refused."""

    def __init__(
        self,
        database: Database,
        access: HubAccess,
        confirmations: ConfirmationService,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._access = access
        self._confirmations = confirmations
        self._clock = clock

    async def list(self, actor: HubActor, organization: str, paging: Paging) -> Page[Member]:
        """Return the members, for members and administrators."""
        async with self._database.reading() as session:
            context = await self._access.require_organization(actor, organization, HubAction.VIEW_MEMBERS, session)
            return await store.listed(session, context.owner_id or 0, paging)

    async def set_role(self, actor: HubActor, organization: str, name: str, change: MemberChange) -> Member:
        """Make a member an owner or an owner a member."""
        async with self._database.writing() as session:
            organization_id = await self._locked(session, actor, organization, HubAction.CHANGE_MEMBER)
            member = await _named(session, organization_id, organization, name)
            if change.role is not MemberWord.OWNER:
                await _require_other_owner(session, organization_id, organization, member)
            await store.set_role(session, organization_id, member.user_id, change.role.role)
            await audit.record(
                session,
                actor,
                HubAction.CHANGE_MEMBER,
                f"{organization}/{name}",
                namespace=organization,
                detail={"role": change.role.value},
                at=self._clock(),
            )
            return await _named(session, organization_id, organization, name)

    async def appoint_owner(self, actor: HubActor, organization: str, name: str) -> Member:
        """Make a user an owner, a member or not, for administrators: the only owner may have left or lost the account.

        The owners find that in their audit log. Raises ConfirmationNeeded, too.
        """
        await self._confirmations.require_on_hub(actor, HubAction.APPOINT_OWNER)
        async with self._database.writing() as session:
            organization_id = await _existing(session, organization)
            await organization_store.lock(session, organization_id)
            user_id = await _appointed(session, name)
            member = await store.by_name(session, organization_id, name)
            if member is None:
                await require_room(session, user_id)
                await store.add(session, organization_id, user_id, OrganizationRole.OWNER, self._clock())
            elif member.role is MemberWord.OWNER:
                return member
            else:
                await store.set_role(session, organization_id, user_id, OrganizationRole.OWNER)
            await audit.record(
                session,
                actor,
                HubAction.APPOINT_OWNER,
                f"{organization}/{name}",
                namespace=organization,
                at=self._clock(),
            )
            return await _named(session, organization_id, organization, name)

    async def remove(self, actor: HubActor, organization: str, name: str) -> None:
        """Remove a member with everything that the organization gave them.

        Builds that use a linked account of theirs continue without it.
        """
        async with self._database.writing() as session:
            organization_id = await self._locked(session, actor, organization, HubAction.REMOVE_MEMBER)
            member = await _named(session, organization_id, organization, name)
            await self._remove(session, actor, HubAction.REMOVE_MEMBER, organization_id, organization, member)

    async def leave(self, actor: HubActor, organization: str) -> None:
        """Leave an organization."""
        user_id = self._access.require_account(actor, HubAction.LEAVE_ORGANIZATION)
        async with self._database.writing() as session:
            organization_id = await _existing(session, organization)
            await organization_store.lock(session, organization_id)
            member = await _named(session, organization_id, organization, actor.name)
            if member.user_id != user_id:
                raise NotFound(f"{actor.name!r} is not a member of {organization}")
            await self._remove(session, actor, HubAction.LEAVE_ORGANIZATION, organization_id, organization, member)

    async def _remove(
        self,
        session: Session,
        actor: HubActor,
        action: HubAction,
        organization_id: int,
        organization: str,
        member: Member,
    ) -> None:
        await _require_other_owner(session, organization_id, organization, member)
        await store.remove(session, organization_id, member.user_id)
        await audit.record(
            session, actor, action, f"{organization}/{member.name}", namespace=organization, at=self._clock()
        )

    async def _locked(self, session: Session, actor: HubActor, organization: str, action: HubAction) -> int:
        """Return the id of an organization that the actor may do this with, locked."""
        context = await self._access.require_organization(actor, organization, action, session)
        organization_id = context.owner_id or 0
        await organization_store.lock(session, organization_id)
        # Again: another owner may have changed the actor's role before the lock.
        await self._access.require_organization(actor, organization, action, session)
        return organization_id


async def _existing(session: Session, organization: str) -> int:
    """Return the id of an organization. Raises NotFound."""
    found = await organization_store.by_name(session, organization) if could_be_name(organization) else None
    if found is None:
        raise NotFound(f"organization {organization!r} does not exist")
    return found.id


async def _appointed(session: Session, name: str) -> int:
    """Return the id of a user who can be an owner. Raises NotFound, Refused."""
    user = await user_store.by_name(session, name) if could_be_name(name) else None
    if user is None or user.organization:
        raise NotFound(f"user {name!r} does not exist")
    if user.blocked:
        raise Refused(f"{name} is blocked", "unblock the account first, or choose another user")
    return user.id


async def _named(session: Session, organization_id: int, organization: str, name: str) -> Member:
    member = await store.by_name(session, organization_id, name) if could_be_name(name) else None
    if member is None:
        raise NotFound(f"{name!r} is not a member of {organization}")
    return member


async def _require_other_owner(session: Session, organization_id: int, organization: str, member: Member) -> None:
    if member.role is MemberWord.OWNER and await store.is_last_owner(session, organization_id, member.user_id):
        raise Refused(
            f"{member.name} is the last owner of {organization}",
            "make another member an owner first, or delete the organization",
        )
