"""Accounts: sign-up, passwords, and profile changes."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any

import msgspec
from sqlalchemy.exc import IntegrityError

from hythe.database import Database, Session
from hythe.hub.access.actions import HubAction
from hythe.hub.access.decision import HubAccess
from hythe.hub.access.former_names import require_not_renamed
from hythe.hub.accounts.email_addresses import EmailAddresses, email_problem
from hythe.hub.accounts.namespaces import could_be_name, user_name_problem
from hythe.hub.accounts.plan import Plan, PlanUsage
from hythe.hub.accounts.sign_ups import SignUpLimit
from hythe.hub.accounts.user import User, Visibility
from hythe.hub.actor import HubActor, Right
from hythe.hub.administration.blocked_names import require_name
from hythe.hub.errors import Invalid, NotFound, Refused, Taken
from hythe.hub.logs import audit
from hythe.hub.page import Page, Paging
from hythe.hub.sign_in.client_network import client_network
from hythe.hub.sign_in.confirmations import ConfirmationService
from hythe.hub.sign_in.credentials import CredentialService
from hythe.hub.sign_in.login_throttle import LoginThrottle
from hythe.hub.sign_in.passwords import Passwords, password_problem
from hythe.hub.sign_in.sessions import sign_out_everywhere
from hythe.hub.sql import namespaces as namespace_store
from hythe.hub.sql import sign_in_failures as failure_store
from hythe.hub.sql import user_administration as administration_store
from hythe.hub.sql import users as store
from hythe.hub.validation import Checked, problems_by
from hythe.settings import ByteCount, Count, Settings


class NewUser(Checked, frozen=True):
    """The fields of a sign-up."""

    username: str
    email: str
    password: str

    @classmethod
    def problems(cls, values: Mapping[str, Any]) -> dict[str, str]:
        """See Checked."""
        return problems_by(values, username=user_name_problem, email=email_problem, password=password_problem)


class UserChange(msgspec.Struct, frozen=True, omit_defaults=True):
    """Changes that users make to their own account; unset fields stay. See EmailAddresses for the e-mail address."""

    default_visibility: Visibility | msgspec.UnsetType = msgspec.UNSET


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
        credentials: CredentialService,
        emails: EmailAddresses,
        passwords: Passwords,
        attempts: LoginThrottle,
        confirmations: ConfirmationService,
        clock: Callable[[], datetime],
        *,
        sign_up: bool,
        sign_up_limit: SignUpLimit,
        plan: Plan,
    ) -> None:
        """``plan`` is the plan of new accounts."""
        self._database = database
        self._access = access
        self._credentials = credentials
        self._emails = emails
        self._passwords = passwords
        self._confirmations = confirmations
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
        deleted account. Raises Refused, ConfirmationNeeded, TooManyAttempts, Taken, Invalid (naming every invalid
        field).
        """
        by_admin = await self._access.may_hub(actor, HubAction.CREATE_USER)
        if not (self.sign_up_open or by_admin):
            raise Refused("sign-up is disabled on this hub", "ask an administrator for an account")
        if admin:
            await self._access.require_hub(actor, HubAction.CREATE_USER)
        await self._check(new)
        if by_admin:
            return await self._add(actor, new, None, admin=admin)
        # One after the other, so that concurrent sign-ups of one network do not all hash a password before the last
        # one is refused.
        async with self._attempts.turn(f"sign-up {client_network(address)}"):
            await self._sign_up_limit.check(address)
            if (taken := await self._taken(new)).fields:
                raise taken
            user = await self._add(actor, new, address, admin=False)
        await self._sign_up_limit.forget()
        return user

    async def _check(self, new: NewUser) -> None:
        """Raise Invalid, naming every invalid field."""
        problems = new.problems(msgspec.structs.asdict(new))
        if "password" not in problems and (
            problem := await self._passwords.weakness(new.password, new.username, new.email)
        ):
            problems["password"] = problem
        if problems:
            raise Invalid(problems)

    async def _add(self, actor: HubActor, new: NewUser, address: str | None, *, admin: bool) -> User:
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
                await _record_creation(session, actor, user, address, self._clock())
                # After the insert, which waits for the transaction that deletes an account of this name.
                reserved = await administration_store.is_reserved(session, user.name)
                if address is None:
                    if reserved:
                        await self._confirmations.require_on_hub(actor, HubAction.USE_RESERVED_NAME, session)
                        await administration_store.release_name(session, user.name)
                    # Administrators know whose address it is.
                    await store.change(session, user.id, {"email_confirmed_at": self._clock()})
                elif reserved:
                    # The same error as for an existing account.
                    raise _taken_error({"username": "is taken"})
                else:
                    await require_name(session, user.name, "username")
                    await self._sign_up_limit.count(session, address)
                    await self._emails.ask_for_confirmation(session, user)
                    # Guesses at a name that did not exist yet do not slow the first sign-in of its owner.
                    await failure_store.remember_network(session, user.id, client_network(address), self._clock())
        except IntegrityError as error:
            raise await self._taken(new) from error
        return user

    async def _taken(self, new: NewUser) -> Taken:
        """Return the error for a taken name or e-mail address; without fields if neither is taken."""
        fields = {}
        async with self._database.reading() as session:
            if await namespace_store.is_used(session, new.username):
                fields["username"] = "is taken"
            if await self._emails.is_taken(session, new.email.lower()):
                fields["email"] = "belongs to another account"
        return _taken_error(fields)

    async def get(self, actor: HubActor, name: str) -> User:
        """Return an account. Only the user and administrators see its e-mail address and plan. Raises NotFound."""
        user = await self._named(name)
        if user is None:
            raise NotFound(f"user {name!r} does not exist")
        if await self._access.may_hub(actor, HubAction.VIEW_USERS):
            return user
        if user.id == actor.user_id and actor.granted is None and not actor.robot:
            return await self.me(actor)
        return msgspec.structs.replace(user, email="", plan=Plan(), usage=PlanUsage())

    async def _named(self, name: str) -> User | None:
        if not could_be_name(name):
            return None
        async with self._database.reading() as session:
            found = await store.by_name(session, name)
            if found is None:
                await require_not_renamed(session, name)
            return found

    async def me(self, actor: HubActor) -> User:
        """Return the actor's account, with its e-mail address if they may manage it. Raises SignInNeeded, Refused."""
        user_id = self._access.require_account(actor, HubAction.VIEW_ACCOUNT)
        async with self._database.reading() as session:
            user = await store.by_id(session, user_id)
        if user is None:
            raise NotFound("this account was deleted")
        return user if Right.ACCOUNT in actor.rights else msgspec.structs.replace(user, email="")

    async def change_me(self, actor: HubActor, change: UserChange) -> User:
        """Change the actor's own account and return it. Raises SignInNeeded, Refused."""
        user_id = self._access.require_account(actor, HubAction.CHANGE_ACCOUNT)
        async with self._database.writing() as session:
            await store.change(session, user_id, _set_fields(change))
            await audit.record(
                session, actor, HubAction.CHANGE_ACCOUNT, actor.name, namespace=actor.name, at=self._clock()
            )
        return await self.me(actor)

    async def set_plan(self, actor: HubActor, name: str, plan: PlanChange) -> User:
        """Change an account's plan; what it has beyond the new limits stays. Raises Refused, NotFound."""
        await self._access.require_hub(actor, HubAction.SET_PLAN)
        user = await self._named(name)
        if user is None:
            raise _unknown(name)
        async with self._database.writing() as session:
            await store.change(session, user.id, _set_fields(plan))
            await audit.record(
                session, actor, HubAction.SET_PLAN, name, namespace=name, detail=_set_fields(plan), at=self._clock()
            )
        return await self.get(actor, name)

    async def set_password(self, actor: HubActor, name: str, password: str, current: str | None = None) -> None:
        """Set a password and end all sessions, refresh tokens and access tokens of the account.

        Users must give their ``current`` password; administrators need none for other accounts. Raises NotFound,
        Refused, ConfirmationNeeded, Invalid, TooManyAttempts.
        """
        user = await self._named(name)
        if user is None:
            raise _unknown(name)
        if user.organization:
            raise Refused(f"{name} is an organization, which has no password", "its owners sign in as themselves")
        if user.id == actor.user_id:
            self._access.require_account(actor, HubAction.SET_PASSWORD)
            await self._credentials.require_password(actor, current or "")
        else:
            await self._confirmations.require_on_hub(actor, HubAction.RESET_PASSWORD)
        problem = password_problem(password) or await self._passwords.weakness(password, user.name, user.email)
        if problem:
            raise Invalid({"password": problem})
        password_hash = await self._passwords.hash(password)
        async with self._database.writing() as session:
            await store.change(session, user.id, {"password_hash": password_hash})
            await sign_out_everywhere(session, user.id)
            await self._emails.password_changed(session, user)
            action = HubAction.SET_PASSWORD if user.id == actor.user_id else HubAction.RESET_PASSWORD
            await audit.record(session, actor, action, user.name, namespace=user.name, at=self._clock())

    async def list(self, actor: HubActor, paging: Paging) -> Page[User]:
        """Return the accounts by name; for administrators. Raises Refused."""
        await self._access.require_hub(actor, HubAction.VIEW_USERS)
        async with self._database.reading() as session:
            return await store.listed(session, paging)


async def _record_creation(session: Session, actor: HubActor, user: User, address: str | None, at: datetime) -> None:
    if address is None:
        await audit.record(session, actor, HubAction.CREATE_USER, user.name, at=at, namespace=user.name)
        return
    new = HubActor(user.name, user_id=user.id, address=address)
    await audit.record(session, new, HubAction.SIGN_UP, user.name, at=at, namespace=user.name)


def _set_fields(change: msgspec.Struct) -> dict[str, Any]:
    return {name: value for name, value in msgspec.structs.asdict(change).items() if value is not msgspec.UNSET}


def _taken_error(fields: Mapping[str, str]) -> Taken:
    return Taken("Username or email already exists", fields, "choose another user name, or sign in")


def _unknown(name: str) -> NotFound:
    return NotFound(f"user {name!r} does not exist", "'hythe admin list-users' shows all accounts")
