"""Who is it? Turns what a request shows (password, personal token, access token) into an actor."""

import base64
import binascii
from collections.abc import Callable
from datetime import datetime, timedelta

from hythe.database import Database
from hythe.hub.access_token import actor_of, expiry_of
from hythe.hub.actor import ANONYMOUS, HubActor
from hythe.hub.errors import SignInNeeded
from hythe.hub.keys import BadToken, SigningKeys
from hythe.hub.login_throttle import LoginThrottle
from hythe.hub.namespaces import could_be_name
from hythe.hub.passwords import Passwords
from hythe.hub.personal_token import PREFIX, digest_of
from hythe.hub.sql import sessions as session_store
from hythe.hub.sql import tokens as token_store
from hythe.hub.sql import users as user_store
from hythe.hub.sql.tokens import TokenHolder
from hythe.hub.sql.users import StoredCredentials

WRONG = "incorrect username or password"

_REMEMBERED = 4096
_NOTED_EVERY = timedelta(hours=1)
"""How exactly the last use of a personal token is kept."""


class CredentialService:
    """Checks credentials. An access token is verified once and remembered until it expires."""

    def __init__(
        self,
        database: Database,
        passwords: Passwords,
        attempts: LoginThrottle,
        keys: SigningKeys,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._attempts = attempts
        self._keys = keys
        self._clock = clock
        self._verified: dict[str, tuple[float, HubActor]] = {}

    async def by_header(self, authorization: str | None, address: str = "") -> HubActor:
        """Return who an Authorization header stands for. Raises SignInNeeded, TooManyAttempts."""
        if authorization is None:
            return ANONYMOUS
        scheme, _, rest = authorization.partition(" ")
        match scheme.lower():
            case "basic":
                return await self.by_password(*_basic(rest), address)
            case "bearer" | "jwt":
                return await self.by_token(rest.strip())
        raise SignInNeeded("this kind of Authorization is not known here", "use Basic or Bearer")

    async def by_password(self, name: str, password: str, address: str = "") -> HubActor:
        """Return who signs in, by password or personal token. Raises SignInNeeded, TooManyAttempts."""
        async with self._attempts.turn(address):
            self._attempts.check(name, address)
            actor = await self._with_password(name, password)
            if actor is None:
                self._attempts.failed(name, address)
                raise SignInNeeded(WRONG)
            self._attempts.succeeded(name, address)
            return actor

    async def _with_password(self, name: str, password: str) -> HubActor | None:
        if password.startswith(PREFIX):
            holder = await self._by_personal_token(password)
            return holder if holder is not None and holder.name == name else None
        found = await self._stored(name)
        if not await self._passwords.matches(name, password, found.password_hash if found else None) or found is None:
            return None
        return HubActor(found.name, user_id=found.user_id, admin=found.admin)

    async def _stored(self, name: str) -> StoredCredentials | None:
        if not could_be_name(name):
            return None
        async with self._database.reading() as session:
            return await user_store.credentials(session, name)

    async def by_token(self, token: str) -> HubActor:
        """Return who holds this personal token, access token or session. Raises SignInNeeded."""
        if token.startswith(PREFIX):
            actor = await self._by_personal_token(token)
        elif "." not in token:
            actor = await self.by_session(token)
        else:
            actor = await self._by_access_token(token)
        if actor is None:
            raise SignInNeeded("this token is not known, or worn out", "get a new one")
        return actor

    async def _by_personal_token(self, token: str) -> HubActor | None:
        now = self._clock()
        async with self._database.reading() as session:
            holder = await token_store.personal_holder(session, digest_of(token), now)
        if holder is None:
            return None
        if holder.personal_token_id and (holder.used_at is None or now - holder.used_at > _NOTED_EVERY):
            async with self._database.writing(durable=False) as session:
                await token_store.mark_used(session, holder.personal_token_id, now)
        return holder_actor(holder)

    async def by_session(self, token: str) -> HubActor | None:
        """Return whose session this is; None when it ended or never was."""
        async with self._database.reading() as session:
            row = await session_store.account(session, digest_of(token), self._clock())
        return HubActor(row.name, user_id=row.id, admin=row.admin) if row else None

    async def by_refresh_token(self, token: str) -> HubActor:
        """Return whose refresh token it is. Raises SignInNeeded."""
        async with self._database.reading() as session:
            holder = await token_store.refresh_holder(session, digest_of(token), self._clock())
        if holder is None:
            raise SignInNeeded("this sign-in is worn out", "log in again")
        return holder_actor(holder)

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
        if len(self._verified) >= _REMEMBERED:
            del self._verified[next(iter(self._verified))]
        self._verified[token] = (expiry, actor)
        return actor


def holder_actor(holder: TokenHolder) -> HubActor:
    """Return the account that holds a token, limited to the token's rights."""
    return HubActor(
        holder.name,
        user_id=holder.user_id,
        admin=holder.admin,
        rights=holder.rights,
        personal_token_id=holder.personal_token_id,
    )


def _basic(encoded: str) -> tuple[str, str]:
    """RFC 7617; the password may hold colons."""
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise SignInNeeded("this Basic Authorization cannot be read") from error
    name, colon, password = text.partition(":")
    if not colon:
        raise SignInNeeded("this Basic Authorization has no password")
    return name, password
