"""The accounts of users of other systems: found by issuer and subject, or made at the first sign-in.

An e-mail address never identifies an account: a provider's user who has the address of another account does not get
that account. Its owner can link the identity while signed in.
"""

import re
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import msgspec
from sqlalchemy.exc import IntegrityError

from hythe.database import Database, Session
from hythe.hub.access.actions import HubAction
from hythe.hub.accounts.email_addresses import EmailAddresses, email_problem
from hythe.hub.accounts.namespaces import could_be_name, user_name_problem
from hythe.hub.accounts.plan import Plan
from hythe.hub.accounts.sign_ups import SignUpLimit
from hythe.hub.accounts.user import User
from hythe.hub.actor import HubActor
from hythe.hub.administration.blocked_names import require_name
from hythe.hub.errors import AccountBlocked, Invalid, Refused, Taken
from hythe.hub.logs import audit
from hythe.hub.sign_in.client_network import client_network
from hythe.hub.sign_in.identity_groups import GroupMapping
from hythe.hub.sql import identities as store
from hythe.hub.sql import namespaces as namespace_store
from hythe.hub.sql import sign_in_failures as failure_store
from hythe.hub.sql import user_administration as administration_store
from hythe.hub.sql import users as user_store
from hythe.hub.sql.identities import IdentityHolder
from hythe.identity_providers.account_rules import AccountRules
from hythe.identity_providers.external_identity import ExternalIdentity
from hythe.settings import Settings

_USE_PRECISION = timedelta(hours=1)
"""Record the last sign-in of an identity at most this often: programs send an LDAP password with every request."""


MAX_IDENTITIES = 20
"""Identities that an account can have."""


class NewAccount(msgspec.Struct, frozen=True):
    """The name and address of an account to make; ``confirmed``: the provider has verified the address."""

    username: str
    email: str
    confirmed: bool


class IdentityAccounts:
    """Finds and makes accounts."""

    def __init__(
        self, database: Database, clock: Callable[[], datetime], sign_up_limit: SignUpLimit, settings: Settings
    ) -> None:
        self._database = database
        self._clock = clock
        self._sign_up_limit = sign_up_limit
        self._groups = GroupMapping(clock)
        self.apply(settings)

    def apply(self, settings: Settings) -> None:
        """Take over changed settings of sign-ups, and the plan of new accounts."""
        self._sign_up = settings.sign_up
        self._sign_up_limit.apply(settings.sign_ups_per_address)
        self._plan = Plan.of(settings)

    async def sign_in(self, identity: ExternalIdentity, rules: AccountRules, actor: HubActor) -> IdentityHolder | None:
        """Return the account of an identity, with the memberships that its groups give; None if it has none.

        ``actor`` has the client's address and the words for the credential. Raises Refused, AccountBlocked.
        """
        require_welcome(identity, rules)
        async with self._database.reading() as session:
            found = await self._holder(session, identity)
            if found is None or await self._is_current(session, found, identity, rules):
                return found
        async with self._database.writing() as session:
            found = await self._holder(session, identity)
            if found is None:
                return None
            await store.mark_used(session, found.identity.id, identity.email, self._clock())
            await self._groups.apply(session, found, identity, rules, actor)
            return await self._holder(session, identity)

    async def _holder(self, session: Session, identity: ExternalIdentity) -> IdentityHolder | None:
        found = await store.holder(session, identity.issuer, identity.subject)
        if found is not None and found.deleted:
            raise Refused("this account is being deleted", "try again in a few minutes")
        if found is not None and found.account.blocked:
            raise AccountBlocked(found.account.name)
        return found

    async def _is_current(
        self, session: Session, found: IdentityHolder, identity: ExternalIdentity, rules: AccountRules
    ) -> bool:
        used_at = found.identity.signed_in_at
        if used_at is None or self._clock() - used_at > _USE_PRECISION or found.identity.email != identity.email:
            return False
        return await self._groups.is_current(session, found, identity, rules)

    async def create(
        self,
        identity: ExternalIdentity,
        rules: AccountRules,
        new: NewAccount,
        actor: HubActor,
        emails: EmailAddresses | None = None,
    ) -> IdentityHolder:
        """Make an account without a password for an identity that has none.

        ``emails`` asks for confirmation of an address that is not confirmed. Raises Refused, TooManyAttempts, Invalid,
        Taken.
        """
        require_welcome(identity, rules)
        if not (self._sign_up if rules.sign_up is None else rules.sign_up):
            raise Refused("you have no account on this hub, and sign-up is disabled", "ask an administrator for one")
        problems = {"username": user_name_problem(new.username), "email": email_problem(new.email)}
        if found := {name: problem for name, problem in problems.items() if problem}:
            raise Invalid(found)
        # The operator who lets a provider make accounts trusts it more than any client.
        limited = rules.sign_up is None
        if limited:
            await self._sign_up_limit.check(actor.address)

        async def add(session: Session) -> User:
            user = await self._add(session, new, actor.address, emails, limited=limited)
            subject = (identity.issuer, identity.subject)
            await store.add(session, *subject, user.id, identity.email, self._clock(), used=True)
            signed_up = msgspec.structs.replace(actor, name=user.name, user_id=user.id)
            await audit.record(session, signed_up, HubAction.SIGN_UP, user.name, at=self._clock(), namespace=user.name)
            return user

        await self._added(identity, new, add, emails)
        holder = await self.sign_in(identity, rules, actor)
        if holder is None:
            raise LookupError("the identity that was added is missing")
        return holder

    async def _added(
        self,
        identity: ExternalIdentity,
        new: NewAccount,
        add: Callable[[Session], Awaitable[User]],
        emails: EmailAddresses | None,
    ) -> None:
        """Add an account, unless another request of the same user did so a moment ago. Raises Taken."""
        try:
            async with self._database.writing() as session:
                if emails is not None and await emails.is_taken(session, new.email.lower()):
                    raise _taken({"email": "belongs to another account"})
                await add(session)
        except IntegrityError as error:
            async with self._database.reading() as session:
                if await store.holder(session, identity.issuer, identity.subject) is not None:
                    return
                raise await _conflict(session, new) from error

    async def _add(
        self, session: Session, new: NewAccount, address: str, emails: EmailAddresses | None, *, limited: bool
    ) -> User:
        now, email = self._clock(), new.email.lower()
        user = await user_store.add(session, new.username, email, "", admin=False, plan=self._plan, at=now)
        await namespace_store.add_for_user(session, user.name, user.id)
        # After the insert, which waits for the transaction that deletes an account of this name.
        if await administration_store.is_reserved(session, user.name):
            raise _taken({"username": "is taken"})
        await require_name(session, user.name, "username")
        if limited:
            await self._sign_up_limit.count(session, address)
        if new.confirmed:
            await user_store.change(session, user.id, {"email_confirmed_at": now})
        elif emails is not None:
            await emails.ask_for_confirmation(session, user)
        await failure_store.remember_network(session, user.id, client_network(address), now)
        return user

    async def link(self, actor: HubActor, user_id: int, identity: ExternalIdentity, rules: AccountRules) -> None:
        """Link an identity to the account of a signed-in user. Raises Refused, Taken."""
        require_welcome(identity, rules)
        try:
            async with self._database.writing() as session:
                found = await store.holder(session, identity.issuer, identity.subject)
                if found is not None and found.account.id == user_id:
                    return
                if len(await store.of_user(session, user_id, MAX_IDENTITIES)) == MAX_IDENTITIES:
                    raise Refused(f"an account can have {MAX_IDENTITIES} identities", "unlink one of them first")
                subject = (identity.issuer, identity.subject)
                await store.add(session, *subject, user_id, identity.email, self._clock(), used=False)
                detail = {"issuer": identity.issuer, "email": identity.email}
                await audit.record(
                    session,
                    actor,
                    HubAction.LINK_IDENTITY,
                    actor.name,
                    namespace=actor.name,
                    detail=detail,
                    at=self._clock(),
                )
        except IntegrityError as error:
            raise Taken(
                "this identity is linked to another account of this hub",
                {},
                "sign in with it, and unlink it there first",
            ) from error


async def _conflict(session: Session, new: NewAccount) -> Taken:
    fields = {}
    if await user_store.by_name(session, new.username) or await namespace_store.by_name(session, new.username):
        fields["username"] = "is taken"
    if await user_store.email_in_use(session, new.email.lower()):
        fields["email"] = "belongs to another account"
    return _taken(fields or {"username": "is taken"})


def _taken(fields: dict[str, str]) -> Taken:
    return Taken("Username or email already exists", fields, "sign in with the other account, and link this identity")


def require_welcome(identity: ExternalIdentity, rules: AccountRules) -> None:
    """Check the user's e-mail domain, if only some are welcome. Raises Refused."""
    if rules.domains and identity.email_domain not in rules.domains:
        raise Refused(
            f"only users with a verified e-mail address at {' or '.join(rules.domains)} can sign in here",
            "use another account of the provider",
        )


def suggested_name(identity: ExternalIdentity) -> str:
    """Return a user name that is like the provider's, or like the e-mail address; empty if there is none."""
    wanted = identity.user_name or identity.email
    name = re.sub(r"[^a-z0-9]+", "-", wanted.partition("@")[0].lower()).strip("-")[:39].strip("-")
    return name if could_be_name(name) else ""
