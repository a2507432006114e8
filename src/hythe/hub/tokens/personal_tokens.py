"""Personal access tokens: credentials for programs, with fewer rights than a password, limits and an expiry."""

from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from hythe.database import Database, Session
from hythe.hub.access.actions import HubAction
from hythe.hub.access.decision import HubAccess
from hythe.hub.actor import HubActor, Right
from hythe.hub.errors import Invalid, NotFound, Refused
from hythe.hub.logs import audit
from hythe.hub.sql import tokens as store
from hythe.hub.sql.tokens import NewTokenRow
from hythe.hub.tokens.personal_token import PersonalToken, TokenKind, digest_of, new_token_secret
from hythe.hub.tokens.token_terms import (
    MAX_TOKENS,
    Days,
    LimitsChange,
    Patterns,
    Rotation,
    TokenTerms,
    checked_repositories,
    checked_rights,
)

Name = Annotated[str, Meta(min_length=1, max_length=100)]


class NewPersonalToken(msgspec.Struct, frozen=True):
    """A token to create; ``expires_in_days`` None: it does not expire.

    ``repositories``: the only repositories that it is for, or patterns such as ``acme/web-*``; None: all of its user.
    """

    name: Name
    rights: tuple[Right, ...]
    expires_in_days: Days | None = None
    repositories: Patterns | None = None


class PersonalTokenChange(LimitsChange, frozen=True):
    """What to change of a token; its secret stays, and access tokens that came from it are limited at once."""

    name: Name | UnsetType = UNSET


class PersonalTokenService:
    """The personal access tokens of the accounts."""

    def __init__(
        self, database: Database, access: HubAccess, clock: Callable[[], datetime], terms: TokenTerms | None = None
    ) -> None:
        self._database = database
        self._access = access
        self._clock = clock
        self.terms = terms or TokenTerms(clock)

    async def create(self, actor: HubActor, new: NewPersonalToken) -> tuple[str, PersonalToken]:
        """Create a token for the actor; return its secret, which is never shown again, and the token. Raises Refused,
        Invalid.
        """
        user_id = self._access.require_account(actor, HubAction.CREATE_TOKEN)
        secret = new_token_secret(TokenKind.PERSONAL)
        row = NewTokenRow(
            user_id,
            TokenKind.PERSONAL,
            _checked_name(new.name),
            digest_of(secret),
            *_checked_limits(new.rights, new.repositories),
            self.terms.expiry(new.expires_in_days),
        )
        async with self._database.writing() as session:
            if await store.count(session, user_id, TokenKind.PERSONAL, MAX_TOKENS) >= MAX_TOKENS:
                raise Refused(f"an account can have {MAX_TOKENS} tokens", "revoke those that nothing uses")
            token = await store.add(session, row, self._clock())
            await self._record(session, actor, HubAction.CREATE_TOKEN, token)
        return secret, token

    async def list(self, actor: HubActor) -> tuple[PersonalToken, ...]:
        """Return the actor's tokens without their secrets. Raises SignInNeeded, Refused."""
        user_id = self._access.require_account(actor, HubAction.VIEW_TOKENS)
        async with self._database.reading() as session:
            return await store.listed(session, user_id, TokenKind.PERSONAL)

    async def get(self, actor: HubActor, token_id: int) -> PersonalToken:
        """Return one of the actor's tokens. Raises NotFound."""
        user_id = self._access.require_account(actor, HubAction.VIEW_TOKENS)
        async with self._database.reading() as session:
            return await _found(session, user_id, token_id)

    async def change(self, actor: HubActor, token_id: int, change: PersonalTokenChange) -> PersonalToken:
        """Change the name or the limits of one of the actor's tokens. Raises NotFound, Invalid."""
        user_id = self._access.require_account(actor, HubAction.CHANGE_TOKEN)
        async with self._database.writing() as session:
            token = await _found(session, user_id, token_id)
            name = token.name if change.name is UNSET else _checked_name(change.name)
            rights, repositories = _checked_limits(
                token.rights if change.rights is UNSET else change.rights,
                token.repositories if change.repositories is UNSET else change.repositories,
            )
            await store.change(session, token.id, TokenKind.PERSONAL, name, rights, repositories)
            changed = await _found(session, user_id, token_id)
            await self._record(session, actor, HubAction.CHANGE_TOKEN, changed)
            return changed

    async def rotate(self, actor: HubActor, token_id: int, rotation: Rotation) -> tuple[str, PersonalToken]:
        """Give one of the actor's tokens a new secret, and return it with the token. Raises NotFound, Invalid."""
        user_id = self._access.require_account(actor, HubAction.ROTATE_TOKEN)
        async with self._database.writing() as session:
            token = await _found(session, user_id, token_id)
            secret = await rotate(session, token, TokenKind.PERSONAL, rotation, self.terms, self._clock())
            await self._record(session, actor, HubAction.ROTATE_TOKEN, token)
            return secret, await _found(session, user_id, token_id)

    async def delete(self, actor: HubActor, token_id: int) -> None:
        """Revoke one of the actor's tokens immediately. Raises NotFound."""
        user_id = self._access.require_account(actor, HubAction.REVOKE_TOKEN)
        async with self._database.writing() as session:
            token = await _found(session, user_id, token_id)
            await store.remove(session, user_id, TokenKind.PERSONAL, token_id)
            await self._record(session, actor, HubAction.REVOKE_TOKEN, token)

    async def _record(self, session: Session, actor: HubActor, action: HubAction, token: PersonalToken) -> None:
        detail = token_detail(token)
        await audit.record(session, actor, action, token.name, at=self._clock(), namespace=actor.account, detail=detail)


async def rotate(
    session: Session, token: PersonalToken, kind: TokenKind, rotation: Rotation, terms: TokenTerms, now: datetime
) -> str:
    """Give a token a new secret and return it. Raises Invalid."""
    expires_at = token.expires_at if rotation.expires_in_days is None else terms.expiry(rotation.expires_in_days)
    secret = new_token_secret(kind)
    ends_at = now + timedelta(hours=rotation.overlap_hours)
    await store.rotate(session, token.id, digest_of(secret), ends_at, expires_at)
    return secret


async def _found(session: Session, user_id: int, token_id: int) -> PersonalToken:
    token = await store.by_id(session, user_id, TokenKind.PERSONAL, token_id)
    if token is None:
        raise NotFound(f"you have no token with id {token_id}")
    return token


def _checked_name(name: str) -> str:
    if not name.strip():
        raise Invalid({"name": "must describe what the token is for"})
    return name.strip()


def _checked_limits(
    rights: Collection[Right], repositories: Collection[str] | None
) -> tuple[frozenset[Right], tuple[str, ...] | None]:
    """Return the rights and repositories of a token. Raises Invalid."""
    if repositories is None:
        return checked_rights(rights), None
    if Right.ACCOUNT in rights:
        # With it, the token could create another one without limits.
        raise Invalid({"rights": f"must not contain {Right.ACCOUNT.value!r} if the token is limited to repositories"})
    return checked_rights(rights), checked_repositories(repositories)


def token_detail(token: PersonalToken) -> dict[str, object]:
    """Return what the audit log says about a token."""
    return {
        "rights": " ".join(right.value for right in token.rights),
        "repositories": "all" if token.repositories is None else " ".join(token.repositories),
        "expires_at": token.expires_at or "never",
    }
