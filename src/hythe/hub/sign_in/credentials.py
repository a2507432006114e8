"""Authenticates a request by its password, personal access token or access token."""

import base64
import binascii
import hmac
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

import msgspec

from hythe.database import Database
from hythe.hub.access.access_context import credential_problem
from hythe.hub.accounts.namespaces import could_be_name
from hythe.hub.actor import ANONYMOUS, ROBOT_MARK, SECOND_SITE, HubActor
from hythe.hub.errors import AccountBlocked, Invalid, SecondFactorNeeded, SignInNeeded
from hythe.hub.sign_in.account_throttle import AccountThrottle
from hythe.hub.sign_in.client_network import client_network
from hythe.hub.sign_in.failure_report import reporting
from hythe.hub.sign_in.login_throttle import LoginThrottle
from hythe.hub.sign_in.passwords import Passwords
from hythe.hub.sql import former_names as former_store
from hythe.hub.sql import sessions as session_store
from hythe.hub.sql import tokens as token_store
from hythe.hub.sql import users as user_store
from hythe.hub.sql.access_context import access_context
from hythe.hub.sql.identities import IdentityHolder
from hythe.hub.sql.tokens import TokenHolder
from hythe.hub.sql.users import Account, StoredCredentials
from hythe.hub.tokens.access_token import actor_of, expiry_of
from hythe.hub.tokens.keys import BadToken, SigningKeys
from hythe.hub.tokens.personal_token import PREFIX, TokenKind, could_be_secret, digest_of
from hythe.telemetry.request_record import note_user
from hythe.telemetry.sign_in_failures import WRONG, sign_in_failures

WRONG_PASSWORD = "incorrect username or password"  # noqa: S105 (a message)

DIRECTORY_PASSWORD = "LDAP password"  # noqa: S105 (what the audit log calls it)

_CACHE_SIZE = 4096
_USE_PRECISION = timedelta(hours=1)
"""Record the last use of a session or personal access token at most this often."""

_ADDRESS_PRECISION = timedelta(minutes=1)
"""Record the use of a personal access token from another address at most this often."""


class PasswordDirectory(Protocol):
    """Checks passwords of names that have none here; see DirectorySignIn."""

    async def sign_in(self, name: str, password: str, address: str) -> IdentityHolder | None:
        """Return the account of the user with this name and password; None if no such user exists."""
        ...


class FirstFactor(msgspec.Struct, frozen=True):
    """The user who gave a right password or token; ``second_needed``: the account has a second factor, too.

    ``in_directory``: the name and password are those of the LDAP directory, where the user can have another name.
    """

    actor: HubActor
    second_needed: bool = False
    in_directory: bool = False


class CredentialService:
    """Checks credentials. Verified access tokens are cached until they expire."""

    def __init__(
        self,
        database: Database,
        passwords: Passwords,
        attempts: LoginThrottle,
        guesses: AccountThrottle,
        keys: SigningKeys,
        clock: Callable[[], datetime],
        public_url: str = "",
        directory: PasswordDirectory | None = None,
    ) -> None:
        """``directory`` checks the passwords of names that have none here."""
        self._database = database
        self._passwords = passwords
        self._attempts = attempts
        self._guesses = guesses
        self._keys = keys
        self._clock = clock
        self._public_url = public_url.rstrip("/")
        self._directory = directory
        self.second_site = ""
        """The password of second sites; empty: there are none."""
        self._verified: dict[str, tuple[float, HubActor]] = {}

    async def by_header(self, authorization: str | None, address: str = "", *, deferred: bool = False) -> HubActor:
        """Return the actor that an Authorization header identifies.

        With ``deferred``, the caller checks in its own query whether the account of an access token is as it was.
        Raises SignInNeeded, AccountBlocked, TooManyAttempts.
        """
        if authorization is None:
            return ANONYMOUS
        scheme, _, rest = authorization.partition(" ")
        match scheme.lower():
            case "basic":
                name, password = _basic(rest)
                if name == SECOND_SITE:
                    return self._second_site(password, address)
                return await self.by_password(name, password, address)
            case "bearer" | "jwt":
                actor = await self.by_token(rest.strip(), address)
                if not deferred:
                    await self.require_current(actor)
                return actor
        raise SignInNeeded("unsupported Authorization scheme", "use Basic or Bearer")

    def _second_site(self, password: str, address: str) -> HubActor:
        """Return the actor who has the installation's key. Raises SignInNeeded."""
        if not self.second_site or not hmac.compare_digest(password.encode(), self.second_site.encode()):
            raise SignInNeeded(WRONG_PASSWORD)
        return HubActor(SECOND_SITE, second_site=True, address=address, credential="installation key")

    async def by_password(self, name: str, password: str, address: str = "") -> HubActor:
        """Return the user for a name with a password or personal access token, which no second factor follows.

        Raises SignInNeeded, SecondFactorNeeded, AccountBlocked, TooManyAttempts.
        """
        first = await self.by_first_factor(name, password, address)
        if first.second_needed:
            with reporting("password", name, address):
                raise SecondFactorNeeded(self._public_url)
        note_user(first.actor.name)
        by_token = first.actor.personal_token_id is not None
        return first.actor if by_token else msgspec.structs.replace(first.actor, password_given=True)

    async def by_first_factor(self, name: str, password: str, address: str = "") -> FirstFactor:
        """Return the user for a name with a password, which may be only the first factor, or a personal access token.

        Raises SignInNeeded, AccountBlocked, TooManyAttempts.
        """
        network = client_network(address)
        with reporting("token" if password.startswith(PREFIX) else "password", name, address):
            first = await self._attempts.attempt(
                name, network, lambda: self._with_password(name, password, network, address)
            )
            if first is None:
                raise SignInNeeded(WRONG_PASSWORD)
        present = first.actor.name
        if present != name and first.actor.personal_token_id is None and not first.in_directory:
            raise SignInNeeded(
                f"the account {name} is now {present}: log in with the new name: docker login -u {present}"
            )
        return first

    async def _with_password(self, name: str, password: str, network: str, address: str) -> FirstFactor | None:
        if password.startswith(PREFIX):
            token_holder = await self._by_personal_token(password, address)
            if token_holder is None or not await self._is_name(name, token_holder.name):
                return None
            return FirstFactor(token_holder)
        found = await self._stored(name, network)
        known = found is not None and found.known_network
        if found is not None and known and self._passwords.remembers(name, password, found.password_hash):
            return FirstFactor(_by_password(found.account, "password", address), found.second_factor)
        if not known:
            await self._guesses.admit(name)
        in_directory = self._directory is not None and not (found and found.password_hash)
        if self._directory is not None and in_directory:
            holder: StoredCredentials | IdentityHolder | None = await self._directory.sign_in(name, password, address)
        else:
            right = await self._passwords.matches(name, password, found.password_hash if found else None)
            holder = found if right else None
        if holder is None:
            return None
        if not known:
            await self._guesses.succeeded(name, holder.account.id, network, known=not holder.second_factor)
        credential = DIRECTORY_PASSWORD if in_directory else "password"
        return FirstFactor(_by_password(holder.account, credential, address), holder.second_factor, in_directory)

    async def _stored(self, name: str, network: str) -> StoredCredentials | None:
        if not could_be_name(name):
            return None
        async with self._database.reading() as session:
            found = await user_store.credentials(session, name, network)
            present = await former_store.account(session, name) if found is None else None
            return found if present is None else await user_store.credentials(session, present, network)

    async def _is_name(self, name: str, present: str) -> bool:
        """Return whether the holder of a token has or had this name, also as the name before a robot's."""
        account, mark, rest = name.partition(ROBOT_MARK)
        if name == present or not could_be_name(account):
            return name == present
        async with self._database.reading() as session:
            return f"{await former_store.account(session, account)}{mark}{rest}" == present

    async def require_password(self, actor: HubActor, password: str) -> None:
        """Check the password of a signed-in user again, throttled so that a stolen session cannot guess it.

        Raises Invalid, TooManyAttempts.
        """
        name = actor.name
        found = await self._stored(name, "")

        async def check() -> bool | None:
            if self._directory is not None and not (found and found.password_hash):
                holder = await self._directory.sign_in(name, password, actor.address)
                return (holder is not None and holder.account.id == actor.user_id) or None
            return await self._passwords.matches(name, password, found.password_hash if found else None) or None

        with reporting("password", name, actor.address):
            right = await self._attempts.attempt(name, f"password of {name}", check)
        if not right:
            sign_in_failures.report(name, actor.address, "password", WRONG)
            raise Invalid({"current": "is not your password"})

    async def by_token(self, token: str, address: str = "") -> HubActor:
        """Return the holder of this token: personal, access or refresh token, or session, as it was when issued.

        Raises SignInNeeded, AccountBlocked.
        """
        if token.startswith(PREFIX):
            with reporting("token", "", address):
                actor = await self._by_personal_token(token, address)
                if actor is None:
                    raise _invalid_token()
        elif "." not in token:
            actor = await self.by_session(token, address)
            if actor is None:
                # The identity token of a login, with which `hythe org` and others use the API.
                actor = msgspec.structs.replace(await self.by_refresh_token(token, address), address=address)
        else:
            # Not reported: it cannot be guessed, and clients send one until it is refused because it has expired.
            actor = await self._by_access_token(token)
            if actor is None:
                raise _invalid_token()
            actor = msgspec.structs.replace(actor, address=address)
        note_user(actor.name)
        return actor

    async def _by_personal_token(self, token: str, address: str) -> HubActor | None:
        if not could_be_secret(token):
            return None
        now = self._clock()
        async with self._database.reading() as session:
            holder = await token_store.personal_holder(session, digest_of(token), now)
        if holder is None:
            return None
        if holder.personal_token_id and _use_is_news(holder, now, address):
            async with self._database.writing(durable=False) as session:
                await token_store.mark_used(session, holder.personal_token_id, now, address)
        return msgspec.structs.replace(holder_actor(holder), address=address)

    async def by_session(self, token: str, address: str = "") -> HubActor | None:
        """Return the user of this session, for a client at ``address``; None if it ended or does not exist.

        Raises AccountBlocked.
        """
        now, digest = self._clock(), digest_of(token)
        async with self._database.reading() as session:
            holder = await session_store.holder(session, digest, now)
        if holder is None:
            return None
        public_id = holder.public_id or secrets.token_hex(8)
        if holder.public_id is None or holder.used_at is None or now - holder.used_at > _USE_PRECISION:
            network = client_network(address) if address else holder.network or ""
            async with self._database.writing(durable=False) as session:
                await session_store.mark_used(session, digest, public_id, now, network)
        actor = actor_of_account(holder.account)
        note_user(actor.name)
        return msgspec.structs.replace(actor, session_id=public_id, credential="session", address=address)

    async def by_refresh_token(self, token: str, address: str = "") -> HubActor:
        """Return the holder of this refresh token. Raises SignInNeeded, AccountBlocked."""
        async with self._database.reading() as session:
            holder = await token_store.refresh_holder(session, digest_of(token), self._clock())
        with reporting("login", "", address):
            if holder is None:
                raise SignInNeeded("this login has expired", "log in again")
            return msgspec.structs.replace(holder_actor(holder), credential="login")

    async def require_current(self, actor: HubActor) -> None:
        """Check that nothing ended the actor's access token early. Raises SignInNeeded, AccountBlocked."""
        if actor.granted is None or actor.user_id is None:
            return
        async with self._database.reading() as session:
            context = await access_context(session, actor, "", "")
        problem = credential_problem(actor, context, self._clock())
        if problem is not None:
            raise problem

    async def _by_access_token(self, token: str) -> HubActor | None:
        now = self._clock().timestamp()
        if known := self._verified.get(token):
            if known[0] > now:
                return known[1]
            del self._verified[token]
        try:
            claims = await self._keys.verify(token)
            expiry, actor = expiry_of(claims), actor_of(claims)
        except BadToken:
            return None
        if expiry <= now:
            return None
        if len(self._verified) >= _CACHE_SIZE:
            del self._verified[next(iter(self._verified))]
        self._verified[token] = (expiry, actor)
        return actor


def _invalid_token() -> SignInNeeded:
    return SignInNeeded("this token is invalid or expired", "get a new one")


def _use_is_news(holder: TokenHolder, now: datetime, address: str) -> bool:
    """Return whether to record a use: each hour, and sooner from another address."""
    if holder.used_at is None or now - holder.used_at > _USE_PRECISION:
        return True
    return address not in ("", holder.used_from) and now - holder.used_at > _ADDRESS_PRECISION


def holder_actor(holder: TokenHolder) -> HubActor:
    """Return the account or robot that holds a token, limited as the token is. Raises AccountBlocked."""
    actor = msgspec.structs.replace(
        actor_of_account(holder.account),
        rights=holder.rights,
        repositories=holder.repositories,
        personal_token_id=holder.personal_token_id,
        personal_token_digest=holder.personal_token_digest,
    )
    match holder.kind:
        case TokenKind.PERSONAL:
            return msgspec.structs.replace(actor, credential=f"personal token {holder.name}")
        case TokenKind.ROBOT | TokenKind.CI:
            name = f"{actor.name}{ROBOT_MARK}{holder.name}"
            is_robot = holder.kind is TokenKind.ROBOT
            credential = "robot token" if is_robot else f"trust rule {holder.name} ({holder.subject})"
            return msgspec.structs.replace(actor, name=name, admin=False, credential=credential)
    return actor


def _by_password(account: Account, credential: str, address: str) -> HubActor:
    return msgspec.structs.replace(actor_of_account(account), credential=credential, address=address)


def actor_of_account(account: Account) -> HubActor:
    """Return the user of an account. Raises AccountBlocked."""
    if account.blocked:
        raise AccountBlocked(account.name)
    return HubActor(
        account.name,
        user_id=account.id,
        admin=account.admin,
        credential_generation=account.credential_generation,
    )


def _basic(encoded: str) -> tuple[str, str]:
    """Parse Basic credentials (RFC 7617). The password may contain colons."""
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise SignInNeeded("invalid Basic Authorization header") from error
    name, colon, password = text.partition(":")
    if not colon:
        raise SignInNeeded("the Basic Authorization header has no password")
    return name, password
