"""Revokes tokens that were found in public. Anyone who has the secret of a token can end it, such as a scanner."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from hythe.database import Database, Session
from hythe.hub.access.actions import HubAction
from hythe.hub.actor import HubActor
from hythe.hub.logs import audit
from hythe.hub.mail.mail import MailQueue
from hythe.hub.mail.mail_texts import token_leaked
from hythe.hub.sql import tokens as store
from hythe.hub.sql import users as user_store
from hythe.hub.sql.tokens import FoundToken
from hythe.hub.tokens.personal_token import TokenKind, could_be_secret, digest_of
from hythe.hub.tokens.robots import robot_name


class LeakedToken(msgspec.Struct, frozen=True):
    """A secret that was found, and where."""

    token: Annotated[str, Meta(min_length=1, max_length=255)]
    url: Annotated[str, Meta(max_length=1000)] = ""


class LeakReport(msgspec.Struct, frozen=True):
    """Secrets that were found in public."""

    tokens: Annotated[tuple[LeakedToken, ...], Meta(min_length=1, max_length=50)]


class LeakedTokenService:
    """Takes reports of leaked tokens."""

    def __init__(
        self, database: Database, mail: MailQueue, clock: Callable[[], datetime], public_url: str = ""
    ) -> None:
        self._database = database
        self._mail = mail
        self._clock = clock
        self._host = urlsplit(public_url).netloc or "this hub"

    async def report(self, actor: HubActor, report: LeakReport) -> tuple[bool, ...]:
        """Revoke the tokens that exist, tell the people behind them, and return which these were."""
        return tuple([await self._revoke(actor, leaked) for leaked in report.tokens])

    async def _revoke(self, actor: HubActor, leaked: LeakedToken) -> bool:
        if not could_be_secret(leaked.token):
            return False
        digest = digest_of(leaked.token)
        async with self._database.reading() as session:
            if await store.by_secret(session, digest) is None:
                return False
        async with self._database.writing() as session:
            found = await store.by_secret(session, digest)
            if found is None:
                return False
            await store.remove(session, found.user_id, found.kind, found.id)
            await self._tell(session, actor, found, leaked.url)
        return True

    async def _tell(self, session: Session, actor: HubActor, found: FoundToken, url: str) -> None:
        is_personal = found.kind is TokenKind.PERSONAL
        name = found.name if is_personal else robot_name(found.account, found.name)
        detail = {"found_at": url} if url else {}
        action = HubAction.REPORT_TOKEN
        await audit.record(session, actor, action, name, namespace=found.account, detail=detail, at=self._clock())
        for user_id in await store.people_behind(session, found.user_id):
            user = await user_store.by_id(session, user_id)
            if user is not None:
                await self._mail.add(session, token_leaked(user, name, url, self._host))
