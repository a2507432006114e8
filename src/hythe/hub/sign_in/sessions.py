"""Web sessions. Signing in sets a cookie with a random token; only its hash is stored."""

import secrets
from collections.abc import Callable
from datetime import datetime, timedelta

import msgspec

from hythe.database import Database, Session
from hythe.hub.access.actions import HubAction
from hythe.hub.access.decision import HubAccess
from hythe.hub.actor import ANONYMOUS, HubActor
from hythe.hub.errors import AccountBlocked, NotFound, SecondFactorNeeded, SignInNeeded
from hythe.hub.logs import audit
from hythe.hub.page import Page, Paging
from hythe.hub.sign_in.client_network import client_network
from hythe.hub.sign_in.credentials import CredentialService
from hythe.hub.sign_in.session import WebSession
from hythe.hub.sign_in.sign_in_states import SignInStates, pending_state
from hythe.hub.sql import sessions as store
from hythe.hub.sql import tokens as token_store
from hythe.hub.sql import users as user_store
from hythe.hub.sql.sessions import NewSessionRow
from hythe.hub.tokens.personal_token import digest_of, new_secret

MAX_USER_AGENT = 300
"""Characters of a browser's description that are stored."""


class NewSession(msgspec.Struct, frozen=True):
    """A new session; ``token`` is the cookie's value and is never shown again. ``lifetime`` is in seconds."""

    token: str
    actor: HubActor
    expires_at: datetime
    lifetime: int


class SessionService:
    """The sessions of the pages."""

    def __init__(
        self,
        database: Database,
        access: HubAccess,
        credentials: CredentialService,
        states: SignInStates,
        clock: Callable[[], datetime],
        lifetime: int,
    ) -> None:
        """``lifetime``: seconds from sign-in to the end of a session."""
        self._database = database
        self._access = access
        self._credentials = credentials
        self._states = states
        self._clock = clock
        self._lifetime = lifetime

    def apply(self, lifetime: int) -> None:
        """Take over a changed lifetime of new sessions."""
        self._lifetime = lifetime

    async def check_password(self, name: str, password: str, address: str) -> HubActor:
        """Return the user with this name and password, the first factor of a sign-in, for a client at ``address``.

        Raises SignInNeeded, AccountBlocked, TooManyAttempts, and SecondFactorNeeded with the state of the sign-in.
        """
        actor = await self._first_factor(name, password, address)
        if actor.user_id is None or actor.personal_token_id is not None:
            raise SignInNeeded("personal access tokens are for programs", "sign in with your password")
        return actor

    async def _first_factor(self, name: str, password: str, address: str) -> HubActor:
        first = await self._credentials.by_first_factor(name, password, address)
        if first.second_needed:
            raise SecondFactorNeeded(state=pending_state(self._states, first.actor))
        return first.actor

    async def start(self, actor: HubActor, address: str, user_agent: str = "") -> NewSession:
        """Start a session of a user who gave every factor that their account requires.

        The audit log says with which credential the actor signed in. Raises SignInNeeded.
        """
        if actor.user_id is None:
            raise SignInNeeded("sign in first")
        now = self._clock()
        token, public_id = new_secret(), secrets.token_hex(8)
        row = NewSessionRow(
            digest=digest_of(token),
            public_id=public_id,
            user_id=actor.user_id,
            created_at=now,
            expires_at=now + timedelta(seconds=self._lifetime),
            network=client_network(address),
            user_agent=user_agent.replace("\0", "")[:MAX_USER_AGENT],
        )
        own = msgspec.structs.replace(actor, session_id=public_id, address=address)
        started = NewSession(token, own, row.expires_at, self._lifetime)
        async with self._database.writing() as session:
            await store.add(session, row)
            await audit.record(
                session, started.actor, HubAction.SIGN_IN, actor.name, namespace=actor.name, at=self._clock()
            )
        return started

    async def sign_in(self, name: str, password: str, address: str, user_agent: str = "") -> NewSession:
        """Check the password and start a session. Raises SignInNeeded, AccountBlocked, TooManyAttempts."""
        return await self.start(await self.check_password(name, password, address), address, user_agent)

    async def bearer(self, name: str, password: str, address: str, user_agent: str = "") -> str:
        """Return a Bearer token for a program: the given personal access token, or a new session's token.

        Raises SignInNeeded, AccountBlocked, TooManyAttempts, SecondFactorNeeded.
        """
        actor = await self._first_factor(name, password, address)
        if actor.personal_token_id is not None:
            return password
        return (await self.sign_in(name, password, address, user_agent)).token

    async def actor(self, token: str, address: str = "") -> HubActor:
        """Return the user of this session; ANONYMOUS if it ended or does not exist, or the account is blocked."""
        try:
            return await self._credentials.by_session(token, address) or ANONYMOUS
        except AccountBlocked:
            return ANONYMOUS

    async def sign_out(self, token: str, address: str) -> None:
        """End a session, for a client at ``address``."""
        actor = await self.actor(token, address)
        async with self._database.writing() as session:
            await store.remove(session, digest_of(token))
            if actor.signed_in:
                await audit.record(
                    session, actor, HubAction.SIGN_OUT, actor.name, namespace=actor.name, at=self._clock()
                )

    async def list(self, actor: HubActor, paging: Paging) -> Page[WebSession]:
        """Return the actor's sessions, newest first. Raises SignInNeeded, Refused."""
        user_id = self._access.require_account(actor, HubAction.VIEW_SESSIONS)
        async with self._database.reading() as session:
            return await store.listed(session, user_id, paging, self._clock(), actor.session_id)

    async def revoke(self, actor: HubActor, session_id: str) -> None:
        """End one of the actor's sessions immediately. Raises SignInNeeded, Refused, NotFound."""
        user_id = self._access.require_account(actor, HubAction.SIGN_OUT)
        async with self._database.writing() as session:
            if not await store.remove_one(session, user_id, session_id):
                raise NotFound("you have no such session", "it may have ended already")
            await audit.record(session, actor, HubAction.SIGN_OUT, actor.name, namespace=actor.name, at=self._clock())

    async def revoke_others(self, actor: HubActor) -> int:
        """End all sessions of the actor but the one of this request; return how many. Raises SignInNeeded, Refused."""
        user_id = self._access.require_account(actor, HubAction.SIGN_OUT)
        async with self._database.writing() as session:
            ended = await store.remove_others(session, user_id, actor.session_id)
            await audit.record(
                session,
                actor,
                HubAction.SIGN_OUT,
                actor.name,
                namespace=actor.name,
                detail={"sessions": ended},
                at=self._clock(),
            )
            return ended


async def sign_out_everywhere(session: Session, user_id: int) -> None:
    """End all sessions, refresh tokens and access tokens of an account. Personal tokens remain."""
    await store.remove_of_user(session, user_id)
    await token_store.remove_refresh_of_user(session, user_id)
    await user_store.end_access_tokens(session, user_id)
