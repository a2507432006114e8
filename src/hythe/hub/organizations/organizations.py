"""Organizations: create, configure and delete them, and turn a user into one.

An organization is an account that cannot sign in. It owns repositories as a user does; its members act for it.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy.exc import IntegrityError

from hythe.database import Database, Session
from hythe.hub.access.actions import HubAction
from hythe.hub.access.decision import HubAccess
from hythe.hub.access.former_names import require_not_renamed
from hythe.hub.accounts.namespaces import NamespaceKind, could_be_name, user_name_problem
from hythe.hub.accounts.plan import Plan
from hythe.hub.accounts.user import User, Visibility
from hythe.hub.accounts.user_administration import DeletedAccount, UserAdministration
from hythe.hub.actor import HubActor
from hythe.hub.administration.blocked_names import require_name
from hythe.hub.errors import Invalid, NotFound, Refused, Taken
from hythe.hub.logs import audit
from hythe.hub.organizations.organization import DefaultRole, Membership, Organization
from hythe.hub.page import Page, Paging
from hythe.hub.roles import OrganizationRole
from hythe.hub.sign_in.confirmations import ConfirmationService
from hythe.hub.sql import members as member_store
from hythe.hub.sql import namespaces as namespace_store
from hythe.hub.sql import organizations as store
from hythe.hub.sql import user_administration as administration_store
from hythe.hub.sql import users as user_store
from hythe.hub.validation import Checked, Precondition, problems_by
from hythe.settings import Settings

MAX_ORGANIZATIONS = 100
"""Maximum number of organizations that a user can be a member of."""


class NewOrganization(Checked, frozen=True):
    """An organization to create."""

    name: str

    @classmethod
    def problems(cls, values: Mapping[str, Any]) -> dict[str, str]:
        """See Checked."""
        return problems_by(values, name=user_name_problem)


class OrganizationChange(msgspec.Struct, frozen=True, omit_defaults=True):
    """Changes to an organization's settings; unset fields stay. See Organization."""

    default_visibility: Visibility | msgspec.UnsetType = msgspec.UNSET
    member_role: DefaultRole | msgspec.UnsetType = msgspec.UNSET
    members_create: bool | msgspec.UnsetType = msgspec.UNSET
    require_second_factor: bool | msgspec.UnsetType = msgspec.UNSET


class Conversion(msgspec.Struct, frozen=True):
    """Turns the actor's account into an organization; ``owner`` is the user who becomes its first owner.

    ``confirm`` must be the name of the account.
    """

    owner: str
    confirm: str


class OrganizationService:
    """The organizations of the hub. Calls raise NotFound, SignInNeeded and Refused."""

    def __init__(
        self,
        database: Database,
        access: HubAccess,
        administration: UserAdministration,
        confirmations: ConfirmationService,
        clock: Callable[[], datetime],
        settings: Settings,
    ) -> None:
        self._database = database
        self._access = access
        self._administration = administration
        self._confirmations = confirmations
        self._clock = clock
        self.apply(settings)

    def apply(self, settings: Settings) -> None:
        """Take over who may create organizations, and the plan of new ones."""
        self._by_anyone = settings.organizations_by == "anyone"
        self._plan = Plan.of(settings)

    async def may_create(self, actor: HubActor) -> bool:
        """Return whether the actor may create organizations."""
        return actor.signed_in and (
            self._by_anyone or await self._access.may_hub(actor, HubAction.CREATE_RESTRICTED_ORGANIZATION)
        )

    async def create(self, actor: HubActor, new: NewOrganization) -> Organization:
        """Create an organization, whose owner the actor becomes. Raises Invalid, Taken, ConfirmationNeeded."""
        user_id = self._access.require_account(actor, HubAction.CREATE_ORGANIZATION)
        await self._access.require_confirmed(actor)
        if not await self.may_create(actor):
            raise Refused("only administrators may create organizations on this hub", "ask one of them")
        new.check()
        try:
            async with self._database.writing() as session:
                await require_room(session, user_id)
                organization = await self._add(session, actor, new.name)
                await member_store.add(session, organization.id, user_id, OrganizationRole.OWNER, self._clock())
                await audit.record(
                    session,
                    actor,
                    HubAction.CREATE_ORGANIZATION,
                    new.name,
                    namespace=new.name,
                    detail={},
                    at=self._clock(),
                )
        except IntegrityError as error:
            raise _taken(new.name) from error
        return organization

    async def _add(self, session: Session, actor: HubActor, name: str) -> Organization:
        """Add an organization with its namespace. Administrators can give it a reserved name.

        Raises Invalid, Taken, ConfirmationNeeded, IntegrityError.
        """
        if await namespace_store.by_name(session, name) is not None:
            raise _taken(name)
        at = self._clock()
        user = await user_store.add(session, name, store.placeholder_email(), "", admin=False, plan=self._plan, at=at)
        await store.make_organization(session, user.id)
        await namespace_store.add_for_user(session, name, user.id)
        by_administrator = await self._access.may_hub(actor, HubAction.USE_RESERVED_NAME, session)
        if await administration_store.is_reserved(session, name):
            if not by_administrator:
                raise _taken(name)
            await self._confirmations.require_on_hub(actor, HubAction.USE_RESERVED_NAME, session)
            await administration_store.release_name(session, name)
        elif not by_administrator:
            await require_name(session, name)
        return await _named(session, name)

    async def get(self, actor: HubActor, name: str) -> Organization:
        """Return an organization. Those who are not members see its name only: the settings have default values."""
        async with self._database.reading() as session:
            found = await _named(session, name)
            if await self._access.may(actor, f"{name}/", HubAction.VIEW_ORGANIZATION_SETTINGS, session):
                return found
        return Organization(found.id, name, Visibility.PUBLIC, DefaultRole.NONE, False, False, found.created_at)

    async def role(self, actor: HubActor, name: str) -> OrganizationRole | None:
        """Return the actor's role in an organization; None if they are not a member or no such organization exists."""
        context = await self._access.context(actor, f"{name}/")
        return context.member if context.namespace is NamespaceKind.ORGANIZATION else None

    async def account(self, actor: HubActor, name: str) -> User:
        """Return the organization's account with its plan and usage, for owners."""
        async with self._database.reading() as session:
            await self._access.require_organization(actor, name, HubAction.CHANGE_ORGANIZATION, session)
            user = await user_store.by_name(session, name)
        if user is None:
            raise _unknown(name)
        return user

    async def change(
        self, actor: HubActor, name: str, change: OrganizationChange, unchanged: Precondition | None = None
    ) -> Organization:
        """Change the settings of an organization. Raises Invalid."""
        values = {field: value for field, value in msgspec.structs.asdict(change).items() if value is not msgspec.UNSET}
        async with self._database.writing() as session:
            context = await self._access.require_organization(actor, name, HubAction.CHANGE_ORGANIZATION, session)
            if values.get("require_second_factor") and not actor.operating:
                await _require_own_second_factor(session, context.owner_id or 0, actor)
            if unchanged is not None:
                await store.lock(session, context.owner_id or 0)
                await unchanged(session)
            if values:
                await store.change(session, context.owner_id or 0, values)
                await audit.record(
                    session,
                    actor,
                    HubAction.CHANGE_ORGANIZATION,
                    name,
                    namespace=name,
                    detail={field: getattr(value, "value", value) for field, value in values.items()},
                    at=self._clock(),
                )
            return await _named(session, name)

    async def delete(
        self, actor: HubActor, name: str, confirmation: str, unchanged: Precondition | None = None
    ) -> DeletedAccount:
        """Delete an organization with all its repositories. ``confirmation`` must be its name. Raises Invalid."""
        return await self._administration.delete_organization(actor, name, confirmation, unchanged)

    async def of_actor(self, actor: HubActor, paging: Paging) -> Page[Membership]:
        """Return the organizations that the actor is a member of."""
        user_id = self._access.require_account(actor, HubAction.VIEW_OWN_ORGANIZATIONS)
        async with self._database.reading() as session:
            return await store.memberships(session, user_id, paging)

    async def convert(self, actor: HubActor, conversion: Conversion) -> Organization:
        """Turn the actor's account into an organization: its sign-in, sessions, tokens and second factors end.

        Raises ConfirmationNeeded, Invalid.
        """
        user_id = self._access.require_account(actor, HubAction.CONVERT_ACCOUNT)
        await self._confirmations.require(actor)
        async with self._database.writing() as session:
            await administration_store.lock_active_admins(session)
            await store.lock(session, user_id)
            user = await user_store.by_name(session, actor.name)
            if user is None or user.id != user_id:
                raise NotFound("this account was deleted")
            if conversion.confirm != user.name:
                raise Invalid({"confirm": f"must be {user.name}"})
            owner_id = await store.user_id_of(session, conversion.owner) if could_be_name(conversion.owner) else None
            if owner_id is None or owner_id == user_id:
                raise Invalid({"owner": "must be the name of another user"})
            await _require_bare(session, user)
            await require_room(session, owner_id)
            await store.convert(session, user_id)
            await member_store.add(session, user_id, owner_id, OrganizationRole.OWNER, self._clock())
            await audit.record(
                session,
                actor,
                HubAction.CONVERT_ACCOUNT,
                user.name,
                namespace=user.name,
                detail={"owner": conversion.owner},
                at=self._clock(),
            )
            return await _named(session, user.name)


async def require_room(session: Session, user_id: int) -> None:
    """Check that a user may become a member of one more organization. Raises Refused."""
    if await store.count_of_user(session, user_id) >= MAX_ORGANIZATIONS:
        raise Refused(f"a user can be a member of at most {MAX_ORGANIZATIONS} organizations", "leave one first")


async def _require_bare(session: Session, user: User) -> None:
    if user.admin:
        raise Refused("an administrator cannot become an organization", "another administrator has to end that first")
    if await store.count_of_user(session, user.id):
        raise Refused("you are a member of organizations", "leave them first")
    if await store.has_linked_accounts(session, user.id):
        raise Refused("you have linked accounts, which an organization cannot have", "unlink them first")


async def _require_own_second_factor(session: Session, organization_id: int, actor: HubActor) -> None:
    member = await member_store.by_name(session, organization_id, actor.name)
    if member is not None and not member.second_factor:
        raise Invalid({"require_second_factor": "needs your own: set up two-factor authentication first"})


async def _named(session: Session, name: str) -> Organization:
    found = await store.by_name(session, name) if could_be_name(name) else None
    if found is None:
        await require_not_renamed(session, name[:39])
        raise _unknown(name)
    return found


def _unknown(name: str) -> NotFound:
    return NotFound(f"organization {name!r} does not exist")


def _taken(name: str) -> Taken:
    return Taken(f"the name {name} is taken", {"name": "is taken"}, "choose another name")
