"""Personal access tokens: credentials for programs, with fewer rights than a password and an expiry."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated

import msgspec
from msgspec import Meta

from hythe.database import Database
from hythe.hub.access import HubAccess
from hythe.hub.actor import HubActor, Right
from hythe.hub.errors import Invalid, NotFound
from hythe.hub.personal_token import PREFIX, PersonalToken, digest_of, new_secret
from hythe.hub.sql import tokens as store


class NewPersonalToken(msgspec.Struct, frozen=True):
    """A token to create; ``expires_in_days`` None: it does not expire."""

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    rights: tuple[Right, ...]
    expires_in_days: Annotated[int, Meta(ge=1, le=3650)] | None = None


class PersonalTokenService:
    """The personal access tokens of the accounts."""

    def __init__(self, database: Database, access: HubAccess, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._access = access
        self._clock = clock

    async def create(self, actor: HubActor, new: NewPersonalToken) -> tuple[str, PersonalToken]:
        """Create a token for the actor; return its secret, which is never shown again, and the token. Raises Refused,
        Invalid.
        """
        user_id = self._access.require_account(actor)
        rights = frozenset(new.rights)
        if not rights:
            raise Invalid({"rights": f"must contain some of {', '.join(right.value for right in Right)}"})
        if not new.name.strip():
            raise Invalid({"name": "must describe what the token is for"})
        secret = new_secret(PREFIX)
        now = self._clock()
        expires_at = now + timedelta(days=new.expires_in_days) if new.expires_in_days else None
        async with self._database.writing() as session:
            token = await store.add_personal(
                session, user_id, new.name.strip(), digest_of(secret), rights, now, expires_at
            )
        return secret, token

    async def list(self, actor: HubActor) -> tuple[PersonalToken, ...]:
        """Return the actor's tokens without their secrets. Raises SignInNeeded, Refused."""
        user_id = self._access.require_account(actor)
        async with self._database.reading() as session:
            return await store.personal_of_user(session, user_id)

    async def delete(self, actor: HubActor, token_id: int) -> None:
        """Revoke one of the actor's tokens immediately. Raises NotFound."""
        user_id = self._access.require_account(actor)
        async with self._database.writing() as session:
            if not await store.remove_personal(session, user_id, token_id):
                raise NotFound(f"you have no token with id {token_id}")
