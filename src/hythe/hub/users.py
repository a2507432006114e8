"""Accounts: sign-up, passwords, and profile changes."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any

import msgspec
from sqlalchemy.exc import IntegrityError

from hythe.database import Database
from hythe.hub.access.actions import HubAction
from hythe.hub.access.decision import HubAccess
from hythe.hub.actor import HubActor, Right
from hythe.hub.client_network import client_network
from hythe.hub.errors import Invalid, NotFound, Refused, Taken
from hythe.hub.login_throttle import LoginThrottle
from hythe.hub.namespaces import could_be_name, user_name_problem
from hythe.hub.page import Page, Paging
from hythe.hub.passwords import PASSWORD_LENGTH, Passwords
from hythe.hub.plan import Plan, PlanUsage
from hythe.hub.sign_ups import SignUpLimit
from hythe.hub.sql import namespaces as namespace_store
from hythe.hub.sql import sessions as session_store
from hythe.hub.sql import sign_in_failures as failure_store
from hythe.hub.sql import tokens as token_store
from hythe.hub.sql import user_administration as administration_store
from hythe.hub.sql import users as store
from hythe.hub.sql.users import StoredCredentials
from hythe.hub.user import User, Visibility
from hythe.hub.validation import Checked, problems_by
from hythe.settings import ByteCount, Count, Settings

_LETTER = r"""[^@\s\x00-\x1f\x7f\ud800-\udfff<>()\[\]\\,;:"]"""
"""Excludes characters with a special meaning in mail headers, where they would change the address."""

_EMAIL = re.compile(f"{_LETTER}{{1,64}}@{_LETTER}{{1,189}}")


class NewUser(Checked, frozen=True):
    """The fields of a sign-up."""

    username: str
    email: str
    password: str

    @classmethod
    def problems(cls, values: Mapping[str, Any]) -> dict[str, str]:
        """See Checked."""
        return problems_by(values, username=user_name_problem, email=email_problem, password=password_problem)


class UserChange(Checked, frozen=True, omit_defaults=True):
    """Changes that users make to their own account; unset fields stay."""

    email: str | msgspec.UnsetType = msgspec.UNSET
    default_visibility: Visibility | msgspec.UnsetType = msgspec.UNSET

    @classmethod
    def problems(cls, values: Mapping[str, Any]) -> dict[str, str]:
        """See Checked."""
        return problems_by(values, email=email_problem)


class PlanChange(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Changes that administrators make to an account's plan; unset fields stay. See Plan."""

    private_limit: Annotated[int, Count] | msgspec.UnsetType | None = msgspec.UNSET
    repository_limit: Annotated[int, Count] | msgspec.UnsetType | None = msgspec.UNSET
    storage_limit: Annotated[int, ByteCount] | msgspec.UnsetType | None = msgspec.UNSET
    upload_limit: Annotated[int, Count] | msgspec.UnsetType | None = msgspec.UNSET
    build_limit: Annotated[int, Count] | msgspec.UnsetType | None = msgspec.UNSET


class UserService:
    """The accounts of the hub."""

    def __init__(
        self,
        database: Database,
        access: HubAccess,
        passwords: Passwords,
        attempts: LoginThrottle,
        clock: Callable[[], datetime],
        *,
        sign_up: bool,
        sign_up_limit: SignUpLimit,
        plan: Plan,
    ) -> None:
        """``plan`` is the plan of new accounts."""
        self._database = database
        self._access = access
        self._passwords = passwords
        self._clock = clock
        self.sign_up_open = sign_up
        self._sign_up_limit = sign_up_limit
        self._plan = plan
        self._attempts = attempts

    def apply(self, settings: Settings) -> None:
        """Take over changed settings of sign-ups, and the plan of new accounts."""
        self.sign_up_open = settings.sign_up
        self._sign_up_limit.apply(settings.sign_ups_per_address)
        self._plan = Plan.of(settings)

    async def create(self, actor: HubActor, new: NewUser, address: str = "", *, admin: bool = False) -> User:
        """Create an account and its namespace, for a client at ``address``.

        The sign-ups of each network are limited; those by administrators are not, and they can reuse the name of a
        deleted account. Raises Refused, TooManyAttempts, Taken, Invalid (naming every invalid field).
        """
        by_admin = actor.operating or await self._access.is_admin(actor)
        if not (self.sign_up_open or by_admin):
            raise Refused("sign-up is disabled on this hub", "ask an administrator for an account")
        if admin:
            await self._access.require_hub(actor, HubAction.CREATE_USER)
        new.check()
        if by_admin:
            return await self._add(new, None, admin=admin)
        # One after the other, so that concurrent sign-ups of one network do not all hash a password before the last
        # one is refused.
        async with self._attempts.turn(f"sign-up {client_network(address)}"):
            await self._sign_up_limit.check(address)
            if (taken := await self._taken(new)).fields:
                raise taken
            user = await self._add(new, address, admin=False)
        await self._sign_up_limit.forget()
        return user

    async def _add(self, new: NewUser, address: str | None, *, admin: bool) -> User:
        """Add an account; ``address`` None: an administrator creates it."""
        password_hash = await self._passwords.hash(new.password)
        try:
            async with self._database.writing() as session:
                user = await store.add(
                    session,
                    new.username,
                    new.email.lower(),
                    password_hash,
                    admin=admin,
                    plan=self._plan,
                    at=self._clock(),
                )
                await namespace_store.add_for_user(session, user.name, user.id)
                # After the insert, which waits for the transaction that deletes an account of this name.
                if address is None:
                    await administration_store.release_name(session, user.name)
                elif await administration_store.is_reserved(session, user.name):
                    # The same error as for an existing account.
                    raise _taken_error({"username": "is taken"})
                else:
                    await self._sign_up_limit.count(session, address)
                    # Guesses at a name that did not exist yet do not slow the first sign-in of its owner.
                    await failure_store.remember_network(session, user.id, client_network(address), self._clock())
        except IntegrityError as error:
            raise await self._taken(new) from error
        return user

    async def _taken(self, new: NewUser) -> Taken:
        """Return the error for a taken name or e-mail address; without fields if neither is taken."""
        fields = {}
        async with self._database.reading() as session:
            if await store.by_name(session, new.username) or await namespace_store.by_name(session, new.username):
                fields["username"] = "is taken"
            if await store.email_in_use(session, new.email.lower()):
                fields["email"] = "belongs to another account"
        return _taken_error(fields)

    async def get(self, actor: HubActor, name: str) -> User:
        """Return an account. Only the user and administrators see its e-mail address and plan. Raises NotFound."""
        user = await self._named(name)
        if user is None:
            raise NotFound(f"user {name!r} does not exist")
        if user.id == actor.user_id or await self._access.is_admin(actor):
            return user
        return msgspec.structs.replace(user, email="", plan=Plan(), usage=PlanUsage())

    async def _named(self, name: str) -> User | None:
        if not could_be_name(name):
            return None
        async with self._database.reading() as session:
            return await store.by_name(session, name)

    async def me(self, actor: HubActor) -> User:
        """Return the actor's account, with its e-mail address if they may manage it. Raises SignInNeeded, Refused."""
        async with self._database.reading() as session:
            user = await store.by_id(session, self._access.require_signed_in(actor))
        if user is None:
            raise NotFound("this account was deleted")
        return user if Right.ACCOUNT in actor.rights else msgspec.structs.replace(user, email="")

    async def change_me(self, actor: HubActor, change: UserChange) -> User:
        """Change the actor's own account and return it. Raises SignInNeeded, Refused, Invalid, Taken."""
        user_id = self._access.require_account(actor)
        change.check()
        values = _set_fields(change)
        if "email" in values:
            values["email"] = values["email"].lower()
        try:
            async with self._database.writing() as session:
                await store.change(session, user_id, values)
        except IntegrityError as error:
            raise Taken("that e-mail address is in use", {"email": "belongs to another account"}) from error
        return await self.me(actor)

    async def set_plan(self, actor: HubActor, name: str, plan: PlanChange) -> User:
        """Change an account's plan; what it has beyond the new limits stays. Raises Refused, NotFound."""
        await self._access.require_hub(actor, HubAction.SET_PLAN)
        user = await self._named(name)
        if user is None:
            raise _unknown(name)
        async with self._database.writing() as session:
            await store.change(session, user.id, _set_fields(plan))
        return await self.get(actor, name)

    async def set_password(self, actor: HubActor, name: str, password: str, current: str | None = None) -> None:
        """Set a password and end all sessions, refresh tokens and access tokens of the account.

        Users must give their ``current`` password; administrators need none for other accounts. Raises NotFound,
        Refused, Invalid, TooManyAttempts.
        """
        async with self._database.reading() as session:
            found = await store.credentials(session, name) if could_be_name(name) else None
        if found is None:
            raise _unknown(name)
        if found.account.id == actor.user_id:
            self._access.require_account(actor)
            await self._require_password(found, current or "")
        else:
            await self._access.require_hub(actor, HubAction.RESET_PASSWORD)
        if problem := password_problem(password):
            raise Invalid({"password": problem})
        password_hash = await self._passwords.hash(password)
        async with self._database.writing() as session:
            await store.change(session, found.account.id, {"password_hash": password_hash})
            await session_store.remove_of_user(session, found.account.id)
            await token_store.remove_refresh_of_user(session, found.account.id)
            await store.end_access_tokens(session, found.account.id)

    async def _require_password(self, found: StoredCredentials, password: str) -> None:
        """Check the current password, throttled so a stolen session cannot guess it."""
        name = found.account.name

        async def check() -> bool | None:
            return await self._passwords.matches(name, password, found.password_hash) or None

        if not await self._attempts.attempt(name, f"password of {name}", check):
            raise Invalid({"current": "is not your password"})

    async def list(self, actor: HubActor, paging: Paging) -> Page[User]:
        """Return the accounts by name; for administrators. Raises Refused."""
        await self._access.require_hub(actor, HubAction.VIEW_USERS)
        async with self._database.reading() as session:
            return await store.listed(session, paging)


def _set_fields(change: msgspec.Struct) -> dict[str, Any]:
    return {name: value for name, value in msgspec.structs.asdict(change).items() if value is not msgspec.UNSET}


def _taken_error(fields: Mapping[str, str]) -> Taken:
    return Taken("Username or email already exists", fields, "choose another user name, or sign in")


def _unknown(name: str) -> NotFound:
    return NotFound(f"user {name!r} does not exist", "'hythe admin list-users' shows all accounts")


def password_problem(password: str) -> str | None:
    """Explain why a new password is invalid; None if it is valid."""
    shortest, longest = PASSWORD_LENGTH
    if not shortest <= len(password) <= longest:
        return f"must have {shortest} to {longest} characters"
    return None


def email_problem(email: str) -> str | None:
    """Explain why an e-mail address is invalid; None if it is valid."""
    return None if _EMAIL.fullmatch(email.lower()) else "must be an e-mail address"
