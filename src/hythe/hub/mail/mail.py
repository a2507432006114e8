"""E-mail to users: queued in the transaction of the change that it is about, and delivered by any of the servers.

Without a mail server, messages wait, and administrators can read them and pass them on.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

import msgspec
import structlog

from hythe.database import Database, Session
from hythe.hub.access.actions import HubAction
from hythe.hub.access.decision import HubAccess
from hythe.hub.actor import HubActor
from hythe.hub.mail.mail_message import MailMessage, NewMail
from hythe.hub.mail.mailer import Mailer, MailFailed
from hythe.hub.page import Page, Paging
from hythe.hub.sign_in.confirmations import ConfirmationService
from hythe.hub.sql import mail as store
from hythe.periodic import repeat

POLL_INTERVAL = 2.0
BATCH_SIZE = 20
CLAIMED_FOR = timedelta(minutes=2)

RETRY_DELAYS = (10, 60, 300, 1800, 7200)
"""Seconds after each failed attempt; after the last one the message is given up."""

KEPT_FOR = timedelta(days=14)
"""Messages are deleted after this time, delivered or not."""

CLEAN_UP_INTERVAL = timedelta(hours=1)

_LOG = structlog.get_logger()


class MailQueue:
    """Queues messages and delivers them. Several servers can run it: each message is claimed by one of them."""

    def __init__(self, database: Database, mailer: Mailer, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._mailer = mailer
        self._clock = clock
        self._clean_up_at = clock()

    async def add(self, session: Session, new: NewMail) -> None:
        """Queue a message; it is sent after the transaction."""
        now = self._clock()
        values = msgspec.structs.asdict(new) | {"purpose": new.purpose.value}
        lifetime: timedelta = values.pop("lifetime")
        await store.add(session, values, now, now + lifetime)

    async def run(self) -> None:
        """Deliver messages until cancelled."""
        await repeat(self.deliver, POLL_INTERVAL, "e-mail")

    async def deliver(self) -> None:
        """Send what is due, and delete old messages."""
        now = self._clock()
        if now >= self._clean_up_at:
            self._clean_up_at = now + CLEAN_UP_INTERVAL
            await self._clean_up(now)
        if not self._mailer.configured:
            return
        async with self._database.reading() as session:
            due = await store.due(session, now, BATCH_SIZE)
        await asyncio.gather(*(self._send(message) for message in due))

    async def _send(self, message: MailMessage) -> None:
        now = self._clock()
        async with self._database.writing() as session:
            if not await store.claim(session, message.id, message.due_at, now + CLAIMED_FOR):
                return
        problem, retry = "", False
        if message.expires_at <= now:
            problem = "expired before it could be delivered"
        else:
            try:
                await self._mailer.send(message.recipient, message.subject, message.text)
            except MailFailed as error:
                problem = str(error)
                retry = not error.permanent and message.attempts < len(RETRY_DELAYS)
        now = self._clock()
        async with self._database.writing() as session:
            if retry:
                due_at = now + timedelta(seconds=RETRY_DELAYS[message.attempts])
                await store.retry_later(session, message.id, due_at, problem[:500])
                return
            await store.end(session, message.id, problem[:500] or "sent", None if problem else now)
        if problem:
            _LOG.warning("an e-mail was not delivered", purpose=message.purpose, reason=problem)

    async def _clean_up(self, now: datetime) -> None:
        deleted = store.DELETED_AT_ONCE
        while deleted == store.DELETED_AT_ONCE:
            async with self._database.writing(durable=False) as session:
                deleted = await store.delete_some(session, now - KEPT_FOR)


class MailService:
    """The queue as administrators see it."""

    def __init__(
        self, database: Database, access: HubAccess, confirmations: ConfirmationService, mailer: Mailer
    ) -> None:
        self._database = database
        self._access = access
        self._confirmations = confirmations
        self._mailer = mailer

    @property
    def configured(self) -> bool:
        """Whether there is a mail server."""
        return self._mailer.configured

    async def list(self, actor: HubActor, paging: Paging) -> Page[MailMessage]:
        """Return the messages of the last days, newest first; for administrators.

        With a mail server, links that belong to users are left out. Without one, they are there to be passed on; as
        they set passwords, that needs a confirmation. Raises SignInNeeded, Refused, ConfirmationNeeded.
        """
        if self._mailer.configured:
            await self._access.require_hub(actor, HubAction.VIEW_MAIL)
        else:
            await self._confirmations.require_on_hub(actor, HubAction.VIEW_MAIL)
        async with self._database.reading() as session:
            page = await store.listed(session, paging)
        if not self._mailer.configured:
            return page
        return msgspec.structs.replace(page, items=tuple(map(_without_secret, page.items)))


def _without_secret(message: MailMessage) -> MailMessage:
    return msgspec.structs.replace(message, text="") if message.secret else message
