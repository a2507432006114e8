"""Web sessions. Signing in sets a cookie with a random token; only its hash is stored."""

from collections.abc import Callable
from datetime import datetime, timedelta

import msgspec

from hythe.database import Database
from hythe.hub.actor import ANONYMOUS, HubActor
from hythe.hub.credentials import CredentialService
from hythe.hub.errors import AccountBlocked, SignInNeeded
from hythe.hub.personal_token import digest_of, new_secret
from hythe.hub.sql import sessions as store

LIFETIME = timedelta(days=14)


class NewSession(msgspec.Struct, frozen=True):
    """A new session; ``token`` is the cookie's value and is never shown again."""

    token: str
    actor: HubActor
    expires_at: datetime


class SessionService:
    """The sessions of the pages."""

    def __init__(self, database: Database, credentials: CredentialService, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._credentials = credentials
        self._clock = clock

    async def check_password(self, name: str, password: str, address: str) -> HubActor:
        """Return the user with this name and password, the first factor of a sign-in, for a client at ``address``.

        Raises SignInNeeded, AccountBlocked, TooManyAttempts.
        """
        actor = await self._credentials.by_password(name, password, address)
        if actor.user_id is None or actor.personal_token_id is not None:
            raise SignInNeeded("personal access tokens are for programs", "sign in with your password")
        return actor

    async def start(self, actor: HubActor, address: str, user_agent: str = "") -> NewSession:
        """Start a session of a user who gave every factor that their account requires. Raises SignInNeeded."""
        if actor.user_id is None:
            raise SignInNeeded("sign in first")
        now = self._clock()
        started = NewSession(new_secret(), actor, now + LIFETIME)
        async with self._database.writing() as session:
            await store.add(session, digest_of(started.token), actor.user_id, now, started.expires_at)
        return started

    async def sign_in(self, name: str, password: str, address: str, user_agent: str = "") -> NewSession:
        """Check the password and start a session. Raises SignInNeeded, AccountBlocked, TooManyAttempts."""
        return await self.start(await self.check_password(name, password, address), address, user_agent)

    async def bearer(self, name: str, password: str, address: str) -> str:
        """Return a Bearer token for a program: the given personal access token, or a new session's token.

        Raises SignInNeeded, AccountBlocked, TooManyAttempts.
        """
        actor = await self._credentials.by_password(name, password, address)
        if actor.personal_token_id is not None:
            return password
        return (await self.sign_in(name, password, address)).token

    async def actor(self, token: str) -> HubActor:
        """Return the user of this session; ANONYMOUS if it ended or does not exist, or the account is blocked."""
        try:
            return await self._credentials.by_session(token) or ANONYMOUS
        except AccountBlocked:
            return ANONYMOUS

    async def sign_out(self, token: str) -> None:
        """End a session."""
        async with self._database.writing() as session:
            await store.remove(session, digest_of(token))
