"""Links in e-mail that prove that their user receives mail at an address. Each works once, and only for a time."""

from collections.abc import Callable
from datetime import datetime, timedelta
from enum import Enum

import msgspec

from hythe.database import Session
from hythe.hub.errors import NotFound, TooManyAttempts
from hythe.hub.sql import mail_links as store
from hythe.hub.tokens.personal_token import digest_of, new_secret

MIN_INTERVAL = timedelta(minutes=1)
"""Time between two links of one purpose for an account."""

MAX_LINKS = 5
"""Links of one purpose that an account can have until the first of them expires."""


class LinkPurpose(Enum):
    """What opening a link does."""

    CONFIRM = "confirm"
    CHANGE = "change"
    UNDO = "undo"
    RESET = "reset"


LIFETIMES = {
    LinkPurpose.CONFIRM: timedelta(hours=24),
    LinkPurpose.CHANGE: timedelta(hours=24),
    LinkPurpose.UNDO: timedelta(days=7),
    LinkPurpose.RESET: timedelta(hours=1),
}

_PATHS = {
    LinkPurpose.CONFIRM: "/confirm-email",
    LinkPurpose.CHANGE: "/confirm-email",
    LinkPurpose.UNDO: "/confirm-email/undo",
    LinkPurpose.RESET: "/reset-password",
}


class MailLink(msgspec.Struct, frozen=True):
    """A link without its secret; ``email`` is the address that it confirms or restores."""

    user_id: int
    purpose: LinkPurpose
    email: str
    created_at: datetime
    expires_at: datetime


class MailLinks:
    """Creates and checks the links."""

    def __init__(self, hub_url: str, clock: Callable[[], datetime]) -> None:
        self._hub_url = hub_url.rstrip("/")
        self._clock = clock

    @property
    def host(self) -> str:
        """The hub's name in messages: HOST[:PORT]."""
        return self._hub_url.partition("://")[2]

    async def create(
        self, session: Session, user_id: int, purpose: LinkPurpose, email: str, *, throttled: bool = True
    ) -> str:
        """Return the URL of a new link. Raises TooManyAttempts if the account has had too many, if ``throttled``."""
        now = self._clock()
        await store.remove_expired(session, now)
        if throttled:
            self._require_time(await store.newest(session, user_id, purpose.value, MAX_LINKS), now)
        secret = new_secret()
        await store.add(session, digest_of(secret), user_id, purpose.value, email, now, now + LIFETIMES[purpose])
        return f"{self._hub_url}{_PATHS[purpose]}?token={secret}"

    def _require_time(self, previous: list[store.StoredLink], now: datetime) -> None:
        if not previous:
            return
        free_at = previous[0].created_at + MIN_INTERVAL
        if len(previous) >= MAX_LINKS:
            free_at = max(free_at, previous[-1].expires_at)
        if free_at > now:
            seconds = max(1, round((free_at - now).total_seconds()))
            raise TooManyAttempts(seconds, "an e-mail was sent a moment ago")

    async def find(self, session: Session, secret: str, *purposes: LinkPurpose) -> MailLink:
        """Return the link with this secret. Raises NotFound."""
        found = await store.by_digest(session, digest_of(secret), self._clock())
        if found is None or LinkPurpose(found.purpose) not in purposes:
            raise NotFound("this link is invalid, expired or was used before", "request a new one")
        return MailLink(found.user_id, LinkPurpose(found.purpose), found.email, found.created_at, found.expires_at)

    async def take(self, session: Session, secret: str, *purposes: LinkPurpose) -> MailLink:
        """Return the link with this secret and delete it with the account's others of its purpose. Raises NotFound."""
        link = await self.find(session, secret, *purposes)
        if not await store.remove(session, digest_of(secret)):
            raise NotFound("this link was used before", "request a new one")
        await self.remove(session, link.user_id, link.purpose)
        return link

    async def remove(self, session: Session, user_id: int, *purposes: LinkPurpose) -> None:
        """Delete the links of an account with these purposes."""
        for purpose in purposes:
            await store.remove_of_user(session, user_id, purpose.value)

    async def pending(self, session: Session, user_id: int) -> str:
        """Return the address that an account will have once it is confirmed; empty: no change waits."""
        found = await store.newest(session, user_id, LinkPurpose.CHANGE.value, 1)
        return found[0].email if found and found[0].expires_at > self._clock() else ""

    async def is_reserved(self, session: Session, email: str, user_id: int | None) -> bool:
        """Return whether another account can still get this address back, which it had a few days ago."""
        return await store.belongs_to_other(session, email, LinkPurpose.UNDO.value, user_id or 0, self._clock())
