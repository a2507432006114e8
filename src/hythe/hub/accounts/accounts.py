"""Accounts as administrators see them: find, sign out everywhere, and roles on the hub."""

from collections.abc import Callable
from datetime import datetime

import msgspec

from hythe.database import Database, Session
from hythe.hub.access.actions import HubAction
from hythe.hub.access.decision import HubAccess
from hythe.hub.accounts.namespaces import AccountKind, could_be_name
from hythe.hub.accounts.user import User
from hythe.hub.actor import HubActor
from hythe.hub.errors import Invalid, NotFound, Refused
from hythe.hub.logs import audit
from hythe.hub.page import Page, Paging
from hythe.hub.roles import HubRole
from hythe.hub.sign_in.confirmations import ConfirmationService
from hythe.hub.sign_in.sessions import sign_out_everywhere
from hythe.hub.sql import accounts as store
from hythe.hub.sql import user_administration as administration_store
from hythe.hub.sql import users as user_store
from hythe.hub.sql.accounts import Account

MAX_BEGINNING = 254


class RolesChange(msgspec.Struct, frozen=True, omit_defaults=True):
    """New roles on the hub; unset fields stay. Curators push top-level repositories."""

    administrator: bool | msgspec.UnsetType = msgspec.UNSET
    curator: bool | msgspec.UnsetType = msgspec.UNSET


class AccountService:
    """All accounts. Every call raises SignInNeeded or Refused unless an administrator calls."""

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

    async def find(
        self,
        actor: HubActor,
        beginning: str,
        paging: Paging,
        kind: AccountKind | None = None,
        role: HubRole | None = None,
    ) -> Page[Account]:
        """Return the accounts whose name begins so or, if there is an ``@`` in it, whose e-mail address does.

        ``kind``: only users, or only organizations, whose name begins so; ``role``: only users with this role on the
        hub. Raises Invalid.
        """
        await self._access.require_hub(actor, HubAction.VIEW_USERS)
        beginning = beginning.strip().lower()
        if len(beginning) > MAX_BEGINNING or "\0" in beginning:
            raise Invalid({"q": f"must have at most {MAX_BEGINNING} characters"})
        if role is not None and kind is AccountKind.ORGANIZATION:
            raise Invalid({"role": "cannot be given with kind=organization: organizations have no role on the hub"})
        by_email = "@" in beginning and kind is None and role is None
        async with self._database.reading() as session:
            return await store.beginning_with(session, beginning, paging, by_email=by_email, kind=kind, role=role)

    async def get(self, actor: HubActor, name: str) -> Account:
        """Return an account. Raises NotFound."""
        await self._access.require_hub(actor, HubAction.VIEW_USERS)
        async with self._database.reading() as session:
            found = await store.by_name(session, name) if could_be_name(name) else None
        if found is None:
            raise NotFound(f"user {name!r} does not exist")
        return found

    async def sign_out(self, actor: HubActor, name: str) -> None:
        """End every session, refresh token and access token of an account; personal tokens remain. Raises NotFound."""
        await self._access.require_hub(actor, HubAction.SIGN_OUT_USER)
        async with self._database.writing() as session:
            user = await _named(session, name)
            await sign_out_everywhere(session, user.id)
            await audit.record(
                session, actor, HubAction.SIGN_OUT_USER, user.name, at=self._clock(), namespace=user.name
            )

    async def set_roles(self, actor: HubActor, name: str, change: RolesChange) -> None:
        """Make an account an administrator or a curator, or end that. Raises NotFound, Refused, ConfirmationNeeded."""
        await self._confirmations.require_on_hub(actor, HubAction.SET_HUB_ROLE)
        async with self._database.writing() as session:
            admins = await administration_store.lock_active_admins(session)
            user = await _named(session, name)
            administrator = user.admin if change.administrator is msgspec.UNSET else change.administrator
            curator = user.curator if change.curator is msgspec.UNSET else change.curator
            if user.organization and (administrator or curator):
                raise Refused(f"{name} is an organization, which has no role on the hub")
            if user.admin and not administrator:
                _require_removable(actor, user, admins)
            await store.set_roles(session, user.id, administrator=administrator, curator=curator)
            name, detail = user.name, {"administrator": administrator, "curator": curator}
            await audit.record(
                session, actor, HubAction.SET_HUB_ROLE, name, at=self._clock(), namespace=name, detail=detail
            )


def _require_removable(actor: HubActor, user: User, admins: frozenset[int]) -> None:
    if user.id == actor.user_id:
        raise Refused("you cannot end your own role", "ask another administrator")
    if admins == {user.id}:
        raise Refused(f"{user.name} is the last administrator", "make another account an administrator first")


async def _named(session: Session, name: str) -> User:
    user = await user_store.by_name(session, name) if could_be_name(name) else None
    if user is None:
        raise NotFound(f"user {name!r} does not exist", "'hythe admin list-users' shows all accounts")
    return user
