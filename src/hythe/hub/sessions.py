"""Web sessions: signing in to the pages gives a random token for a cookie, of which only the hash is kept."""

from collections.abc import Callable
from datetime import datetime, timedelta

import msgspec

from hythe.database import Database
from hythe.hub.actor import ANONYMOUS, HubActor
from hythe.hub.credentials import CredentialService
from hythe.hub.errors import SignInNeeded
from hythe.hub.personal_token import digest_of, new_secret
from hythe.hub.sql import sessions as store

LIFETIME = timedelta(days=14)


class NewSession(msgspec.Struct, frozen=True):
    """A session that was just begun; ``token`` is for the cookie and is never seen again."""

    token: str
    actor: HubActor
    expires_at: datetime


class SessionService:
    """The sessions of the pages."""

    def __init__(self, database: Database, credentials: CredentialService, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._credentials = credentials
        self._clock = clock

    async def sign_in(self, name: str, password: str, address: str) -> NewSession:
        """Begin a session from ``address`` (the client's). Raises SignInNeeded, TooManyAttempts."""
        actor = await self._credentials.by_password(name, password, address)
        if actor.user_id is None or actor.personal_token_id is not None:
            raise SignInNeeded("personal tokens are for programs", "sign in with your password")
        now = self._clock()
        started = NewSession(new_secret(), actor, now + LIFETIME)
        async with self._database.writing() as session:
            await store.add(session, digest_of(started.token), actor.user_id, now, started.expires_at)
        return started

    async def bearer(self, name: str, password: str, address: str) -> str:
        """Return what a program may send as Bearer: a personal token itself, or a new session's token.

        Raises SignInNeeded, TooManyAttempts.
        """
        actor = await self._credentials.by_password(name, password, address)
        if actor.personal_token_id is not None:
            return password
        return (await self.sign_in(name, password, address)).token

    async def actor(self, token: str) -> HubActor:
        """Return whose session this is; ANONYMOUS when it ended or never was."""
        return await self._credentials.by_session(token) or ANONYMOUS

    async def sign_out(self, token: str) -> None:
        """End a session."""
        async with self._database.writing() as session:
            await store.remove(session, digest_of(token))
