"""E-mail addresses of accounts: confirmed by a link, changed with the password, and restored after a theft."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy.exc import IntegrityError

from hythe.database import Database, Session
from hythe.hub.access.actions import HubAction
from hythe.hub.access.decision import HubAccess
from hythe.hub.accounts.namespaces import could_be_name
from hythe.hub.accounts.user import User
from hythe.hub.actor import HubActor
from hythe.hub.errors import NotFound, Refused, Taken
from hythe.hub.logs import audit
from hythe.hub.mail import mail_texts
from hythe.hub.mail.mail import MailQueue
from hythe.hub.mail.mail_links import LinkPurpose, MailLink, MailLinks
from hythe.hub.sign_in.confirmations import ConfirmationService
from hythe.hub.sign_in.credentials import CredentialService
from hythe.hub.sign_in.sessions import sign_out_everywhere
from hythe.hub.sql import users as user_store
from hythe.hub.validation import Checked, problems_by

_LETTER = r"""[^@\s\x00-\x1f\x7f\ud800-\udfff<>()\[\]\\,;:"]"""
"""Excludes characters with a special meaning in mail headers, where they would change the address."""

_EMAIL = re.compile(f"{_LETTER}{{1,64}}@{_LETTER}{{1,189}}")


class EmailChange(Checked, frozen=True):
    """A new e-mail address together with the current password."""

    email: str
    current: str

    @classmethod
    def problems(cls, values: Mapping[str, Any]) -> dict[str, str]:
        """See Checked."""
        return problems_by(values, email=email_problem)


class EmailState(msgspec.Struct, frozen=True):
    """An account's address; ``pending``: the address that it will have once it is confirmed, or empty."""

    email: str
    confirmed: bool
    pending: str


class EmailAddresses:
    """The e-mail addresses of the accounts."""

    def __init__(
        self,
        database: Database,
        access: HubAccess,
        credentials: CredentialService,
        confirmations: ConfirmationService,
        mail: MailQueue,
        links: MailLinks,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._access = access
        self._credentials = credentials
        self._confirmations = confirmations
        self._mail = mail
        self._links = links
        self._clock = clock

    async def ask_for_confirmation(self, session: Session, user: User) -> None:
        """Queue the e-mail that asks a new account to confirm its address, in the transaction that creates it."""
        await self._ask(session, user, LinkPurpose.CONFIRM, user.email, throttled=False)

    async def _ask(
        self, session: Session, user: User, purpose: LinkPurpose, email: str, *, throttled: bool = True
    ) -> None:
        url = await self._links.create(session, user.id, purpose, email, throttled=throttled)
        await self._mail.add(session, mail_texts.confirm_email(user, email, self._links.host, url))

    async def is_taken(self, session: Session, email: str, user_id: int | None = None) -> bool:
        """Return whether an address (lower case) belongs to another account, or did until a change a few days ago."""
        return await user_store.email_in_use(session, email) or await self._links.is_reserved(session, email, user_id)

    async def state(self, actor: HubActor) -> EmailState:
        """Return the actor's address. Raises SignInNeeded, Refused."""
        user_id = self._access.require_account(actor, HubAction.VIEW_EMAIL)
        async with self._database.reading() as session:
            user = await active_user(session, user_id)
            return EmailState(user.email, user.email_confirmed, await self._links.pending(session, user_id))

    async def send_again(self, actor: HubActor) -> EmailState:
        """Send the e-mail again that asks to confirm a new or the present address.

        Raises SignInNeeded, TooManyAttempts; Refused if no address waits for confirmation.
        """
        user_id = self._access.require_account(actor, HubAction.REQUEST_CONFIRMATION)
        async with self._database.writing() as session:
            user = await active_user(session, user_id)
            pending = await self._links.pending(session, user_id)
            if user.email_confirmed and not pending:
                raise Refused("your e-mail address is confirmed already")
            purpose = LinkPurpose.CHANGE if pending else LinkPurpose.CONFIRM
            await self._ask(session, user, purpose, pending or user.email)
        return await self.state(actor)

    async def request_change(self, actor: HubActor, change: EmailChange) -> EmailState:
        """Ask for confirmation of a new address, which the account gets when its link is opened.

        Raises SignInNeeded, Refused, Invalid, Taken, TooManyAttempts.
        """
        user_id = self._access.require_account(actor, HubAction.REQUEST_EMAIL_CHANGE)
        change.check()
        await self._credentials.require_password(actor, change.current)
        email = change.email.lower()
        async with self._database.writing() as session:
            user = await active_user(session, user_id)
            if email == user.email:
                await self._links.remove(session, user_id, LinkPurpose.CHANGE)
            elif await self.is_taken(session, email, user_id):
                raise _taken()
            else:
                await self._ask(session, user, LinkPurpose.CHANGE, email)
            await audit.record(
                session, actor, HubAction.REQUEST_EMAIL_CHANGE, user.name, namespace=user.name, at=self._clock()
            )
        return await self.state(actor)

    async def password_changed(self, session: Session, user: User) -> None:
        """End the links that set a password, and tell the account, in the transaction that sets another one."""
        await self._links.remove(session, user.id, LinkPurpose.RESET)
        await self._mail.add(session, mail_texts.password_changed(user, self._links.host))

    async def find(self, secret: str, *purposes: LinkPurpose) -> MailLink:
        """Return what a link is for, and keep it. Raises NotFound."""
        async with self._database.reading() as session:
            return await self._links.find(session, secret, *purposes)

    async def confirm(self, secret: str, address: str) -> User:
        """Confirm the address that a link was sent to, for a client at ``address``; return the account.

        Raises NotFound, Taken.
        """
        try:
            async with self._database.writing() as session:
                link = await self._links.take(session, secret, LinkPurpose.CONFIRM, LinkPurpose.CHANGE)
                user = await active_user(session, link.user_id)
                if link.purpose is LinkPurpose.CHANGE:
                    await self._replace(session, user, link.email)
                elif link.email != user.email:
                    raise NotFound("the account has another e-mail address now")
                await self._set(session, user, link.email)
                await record_by_link(session, user, HubAction.CONFIRM_EMAIL, address, self._clock())
                return await active_user(session, user.id)
        except IntegrityError as error:
            raise _taken() from error

    async def _replace(self, session: Session, user: User, email: str) -> None:
        """Tell the old address, and end the links that were sent there."""
        if await self.is_taken(session, email, user.id):
            raise _taken()
        await self._links.remove(session, user.id, LinkPurpose.CONFIRM, LinkPurpose.RESET)
        undo_url = ""
        if user.email_confirmed:
            undo_url = await self._links.create(session, user.id, LinkPurpose.UNDO, user.email, throttled=False)
        await self._mail.add(session, mail_texts.email_changed(user, email, self._links.host, undo_url))

    async def _set(self, session: Session, user: User, email: str) -> None:
        await user_store.change(session, user.id, {"email": email, "email_confirmed_at": self._clock()})

    async def undo(self, secret: str, address: str) -> User:
        """Restore the address from before a change, end every session, and send a link for a new password there.

        Raises NotFound, Taken.
        """
        try:
            async with self._database.writing() as session:
                link = await self._links.take(session, secret, LinkPurpose.UNDO)
                user = await active_user(session, link.user_id)
                await self._set(session, user, link.email)
                await self._links.remove(session, user.id, *LinkPurpose)
                await sign_out_everywhere(session, user.id)
                url = await self._links.create(session, user.id, LinkPurpose.RESET, link.email)
                mail = mail_texts.reset_password(user, link.email, self._links.host, url, restored=True)
                await self._mail.add(session, mail)
                await record_by_link(session, user, HubAction.RESTORE_EMAIL, address, self._clock())
                return await active_user(session, user.id)
        except IntegrityError as error:
            raise _taken() from error

    async def set(self, actor: HubActor, name: str, email: str) -> User:
        """Give an account another address, or confirm its present one; for administrators, who know whose it is.

        Raises SignInNeeded, Refused, ConfirmationNeeded, NotFound, Invalid, Taken.
        """
        await self._confirmations.require_on_hub(actor, HubAction.SET_EMAIL)
        EmailChange(email, "").check()
        email = email.lower()
        try:
            async with self._database.writing() as session:
                user = await user_store.by_name(session, name) if could_be_name(name) else None
                if user is None:
                    raise NotFound(f"user {name!r} does not exist", "'hythe admin list-users' shows all accounts")
                if user.id == actor.user_id:
                    raise Refused("you cannot set your own e-mail address", "change it on the page of your account")
                if email != user.email:
                    await self._links.remove(session, user.id, *LinkPurpose)
                    await self._mail.add(session, mail_texts.email_changed(user, email, self._links.host, ""))
                await self._set(session, user, email)
                await audit.record(
                    session, actor, HubAction.SET_EMAIL, user.name, namespace=user.name, at=self._clock()
                )
                changed = await user_store.by_id(session, user.id)
                return changed or user
        except IntegrityError as error:
            raise _taken() from error


async def record_by_link(session: Session, user: User, action: HubAction, address: str, at: datetime) -> None:
    """Record what the holder of a link from an e-mail to ``user`` did, in its transaction."""
    actor = HubActor(user.name, user_id=user.id, credential="link from an e-mail", address=address)
    await audit.record(session, actor, action, user.name, at=at, namespace=user.name)


async def active_user(session: Session, user_id: int) -> User:
    """Return an account that is not blocked. Raises NotFound."""
    user = await user_store.by_id(session, user_id)
    if user is None or user.blocked:
        raise NotFound("this account was deleted or blocked")
    return user


def _taken() -> Taken:
    return Taken("that e-mail address is in use", {"email": "belongs to another account"})


def email_problem(email: str) -> str | None:
    """Explain why an e-mail address is invalid; None if it is valid."""
    return None if _EMAIL.fullmatch(email.lower()) else "must be an e-mail address"
