"""Invitations to organizations and repositories, by user name or by e-mail.

An invitation by e-mail works for any user who opens its link signed in: with an account that they have, or a new one.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated

import msgspec
from msgspec import Meta
from sqlalchemy.exc import IntegrityError

from hythe.database import Database, Session
from hythe.hub.access.actions import HubAction
from hythe.hub.access.decision import HubAccess
from hythe.hub.accounts.email_addresses import email_problem
from hythe.hub.accounts.namespaces import could_be_name
from hythe.hub.actor import HubActor
from hythe.hub.errors import Invalid, NotFound, Taken, TooManyAttempts
from hythe.hub.logs import audit
from hythe.hub.mail.mail import MailQueue
from hythe.hub.mail.mail_message import NewMail, Purpose
from hythe.hub.organizations.organization import MemberWord
from hythe.hub.organizations.organizations import require_room
from hythe.hub.page import Page, Paging
from hythe.hub.repositories.collaborator import Invitation
from hythe.hub.roles import OrganizationRole, RepositoryRole
from hythe.hub.sql import collaborators as collaborator_store
from hythe.hub.sql import invitations as store
from hythe.hub.sql import members as member_store
from hythe.hub.sql import organizations as organization_store
from hythe.hub.sql import teams as team_store
from hythe.hub.sql.invitations import StoredInvitation
from hythe.hub.tokens.personal_token import digest_of, new_secret

LIFETIME = timedelta(days=7)

LIMIT = 100
"""Invitations that a user can send in PERIOD."""

PERIOD = timedelta(days=1)

LINK_PATH = "/invitations/link"

Name = Annotated[str, Meta(max_length=39)]


class NewInvitation(msgspec.Struct, frozen=True):
    """An invitation to an organization, of a user or an e-mail address. ``team``: also to this team."""

    username: Name = ""
    email: Annotated[str, Meta(max_length=254)] = ""
    role: MemberWord = MemberWord.MEMBER
    team: Name = ""


class Invitations:
    """Sends invitations in the transaction of a service that has checked the actor."""

    def __init__(self, mail: MailQueue, clock: Callable[[], datetime], hub_url: str) -> None:
        self._mail = mail
        self._clock = clock
        self._hub_url = hub_url.rstrip("/")

    async def send(
        self,
        session: Session,
        actor: HubActor,
        what: str,
        role: OrganizationRole | RepositoryRole,
        *,
        organization_id: int | None = None,
        team_id: int | None = None,
        repository_id: int | None = None,
        user_id: int | None = None,
        email: str = "",
    ) -> int:
        """Invite a user or an e-mail address to ``what``, instead of an earlier time; return the invitation's id.

        Raises TooManyAttempts.
        """
        now = self._clock()
        await store.remove_expired(session, now - PERIOD)
        if actor.user_id is not None:
            sent = await store.count_recent(session, actor.user_id, now - PERIOD, LIMIT)
            if sent >= LIMIT:
                raise TooManyAttempts(int(PERIOD.total_seconds()), f"you sent {LIMIT} invitations within a day")
        await store.end_same(session, organization_id, repository_id, user_id, email or None, now)
        secret = new_secret() if email else ""
        values = {
            "organization_id": organization_id,
            "team_id": team_id,
            "repository_id": repository_id,
            "role": role.value,
            "user_id": user_id,
            "email": email or None,
            "digest": digest_of(secret) if secret else None,
            "invited_by": actor.user_id,
            "created_at": now,
            "expires_at": now + LIFETIME,
        }
        if email:
            await self._mail.add(session, self._letter(actor, what, email, secret))
        return await store.add(session, values)

    def _letter(self, actor: HubActor, what: str, email: str, secret: str) -> NewMail:
        host = self._hub_url.partition("://")[2] or "the hub"
        return NewMail(
            recipient=email,
            subject=f"{actor.name} invites you to {what} on {host}",
            text=(
                f"Hello,\n\n{actor.name} invites you to {what} on {host}. To accept, open this link, and sign in or "
                f"sign up:\n\n{self._hub_url}{LINK_PATH}?token={secret}\n\n"
                f"The link is valid for {LIFETIME.days} days. If you do not know {actor.name}, ignore this message.\n"
            ),
            purpose=Purpose.INVITATION,
            secret=True,
            lifetime=LIFETIME,
        )


class InvitationService:
    """Invitations of users. Calls raise NotFound, SignInNeeded and Refused."""

    def __init__(
        self, database: Database, access: HubAccess, sending: Invitations, clock: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._access = access
        self._sending = sending
        self._clock = clock

    async def invite(self, actor: HubActor, organization: str, new: NewInvitation) -> Invitation:
        """Invite a user or an e-mail address to an organization, for owners. Raises Invalid, Taken, TooManyAttempts."""
        email = new.email.strip().lower()
        if bool(new.username) == bool(email):
            raise Invalid({"username": "give either a user name or an e-mail address"})
        if email and (problem := email_problem(email)):
            raise Invalid({"email": problem})
        async with self._database.writing() as session:
            context = await self._access.require_organization(actor, organization, HubAction.INVITE_MEMBER, session)
            organization_id = context.owner_id or 0
            user_id = await self._invited(session, organization_id, new.username) if new.username else None
            invitation_id = await self._sending.send(
                session,
                actor,
                f"the organization {organization}",
                new.role.role,
                organization_id=organization_id,
                team_id=await _team_id(session, organization_id, new.team),
                user_id=user_id,
                email=email,
            )
            await audit.record(
                session,
                actor,
                HubAction.INVITE_MEMBER,
                f"{organization}/{new.username or email}",
                namespace=organization,
                detail={"role": new.role.value},
                at=self._clock(),
            )
            return (await self._pending(session, invitation_id)).invitation

    async def _invited(self, session: Session, organization_id: int, name: str) -> int:
        user_id = await organization_store.user_id_of(session, name) if could_be_name(name) else None
        if user_id is None:
            raise Invalid({"username": "is not the name of a user"})
        if await member_store.by_name(session, organization_id, name):
            raise Taken(f"{name} is a member already", {"username": "is a member already"})
        return user_id

    async def of_organization(self, actor: HubActor, organization: str, paging: Paging) -> Page[Invitation]:
        """Return the pending invitations to an organization, for owners."""
        async with self._database.reading() as session:
            context = await self._access.require_organization(actor, organization, HubAction.VIEW_INVITATIONS, session)
            return await store.of_organization(session, context.owner_id or 0, self._clock(), paging)

    async def of_actor(self, actor: HubActor, paging: Paging) -> Page[Invitation]:
        """Return the invitations that the actor can accept."""
        user_id = self._access.require_account(actor, HubAction.VIEW_OWN_INVITATIONS)
        async with self._database.reading() as session:
            return await store.of_user(session, user_id, self._clock(), paging)

    async def cancel(self, actor: HubActor, organization: str, invitation_id: int) -> None:
        """Cancel an invitation to an organization, for owners."""
        async with self._database.writing() as session:
            context = await self._access.require_organization(actor, organization, HubAction.CANCEL_INVITATION, session)
            found = await self._pending(session, invitation_id)
            if found.organization_id != context.owner_id:
                raise _unknown()
            await self._end(session, actor, HubAction.CANCEL_INVITATION, found)

    async def by_link(self, actor: HubActor, secret: str) -> Invitation:
        """Return the invitation of a link in an e-mail."""
        async with self._database.reading() as session:
            return (await self._linked(session, secret)).invitation

    async def accept(self, actor: HubActor, invitation_id: int) -> Invitation:
        """Accept an invitation of the actor."""
        user_id = self._access.require_account(actor, HubAction.ACCEPT_INVITATION)
        async with self._database.writing() as session:
            return await self._accept(session, actor, user_id, await self._own(session, user_id, invitation_id))

    async def accept_link(self, actor: HubActor, secret: str) -> Invitation:
        """Accept the invitation of a link in an e-mail."""
        user_id = self._access.require_account(actor, HubAction.ACCEPT_INVITATION)
        async with self._database.writing() as session:
            return await self._accept(session, actor, user_id, await self._linked(session, secret))

    async def decline(self, actor: HubActor, invitation_id: int) -> None:
        """Decline an invitation of the actor."""
        user_id = self._access.require_account(actor, HubAction.DECLINE_INVITATION)
        async with self._database.writing() as session:
            found = await self._own(session, user_id, invitation_id)
            await self._end(session, actor, HubAction.DECLINE_INVITATION, found)

    async def decline_link(self, actor: HubActor, secret: str) -> None:
        """Decline the invitation of a link in an e-mail."""
        self._access.require_account(actor, HubAction.DECLINE_INVITATION)
        async with self._database.writing() as session:
            found = await self._linked(session, secret)
            await self._end(session, actor, HubAction.DECLINE_INVITATION, found)

    async def _accept(self, session: Session, actor: HubActor, user_id: int, found: StoredInvitation) -> Invitation:
        if found.organization_id is not None:
            await organization_store.lock(session, found.organization_id)
        await self._end(session, actor, HubAction.ACCEPT_INVITATION, found)
        now = self._clock()
        if found.organization_id is not None:
            await self._join(session, actor, found.organization_id, user_id, OrganizationRole(found.role))
            if found.team_id is not None:
                await team_store.add_member(session, found.team_id, user_id, now)
        elif found.repository_id is not None:
            role = RepositoryRole(found.role)
            await collaborator_store.put(session, found.repository_id, user_id, role, now)
        return found.invitation

    async def _join(
        self, session: Session, actor: HubActor, organization_id: int, user_id: int, role: OrganizationRole
    ) -> None:
        if await member_store.by_name(session, organization_id, actor.name) is not None:
            return
        await require_room(session, user_id)
        try:
            await member_store.add(session, organization_id, user_id, role, self._clock())
        except IntegrityError as error:
            raise _unknown() from error

    async def _end(self, session: Session, actor: HubActor, action: HubAction, found: StoredInvitation) -> None:
        invitation = found.invitation
        if not await store.end(session, invitation.id, self._clock()):
            raise _unknown()
        what = invitation.organization or invitation.repository
        await audit.record(
            session,
            actor,
            action,
            what,
            namespace=found.namespace,
            detail={"invited": invitation.user or invitation.email, "role": invitation.role},
            at=self._clock(),
        )

    async def _pending(self, session: Session, invitation_id: int) -> StoredInvitation:
        found = await store.by_id(session, invitation_id, self._clock())
        if found is None:
            raise _unknown()
        return found

    async def _own(self, session: Session, user_id: int, invitation_id: int) -> StoredInvitation:
        found = await self._pending(session, invitation_id)
        if found.user_id != user_id:
            raise _unknown()
        return found

    async def _linked(self, session: Session, secret: str) -> StoredInvitation:
        found = await store.by_digest(session, digest_of(secret), self._clock())
        if found is None:
            raise _unknown()
        return found


async def _team_id(session: Session, organization_id: int, name: str) -> int | None:
    if not name:
        return None
    team = await team_store.by_name(session, organization_id, name) if could_be_name(name) else None
    if team is None:
        raise Invalid({"team": "is not a team of the organization"})
    return team.id


def _unknown() -> NotFound:
    return NotFound("this invitation does not exist, has expired or was withdrawn", "ask for a new one")
