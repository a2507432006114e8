"""Forgotten passwords: a link by e-mail, with which the user chooses a new one.

A request only stores what the client typed. Whether there is such an account is found out later, by ``run``, so neither
the response nor its time tells.
"""

from collections.abc import Callable
from datetime import datetime

from hythe.database import Database, Session
from hythe.hub.access.actions import HubAction
from hythe.hub.accounts.email_addresses import active_user, email_problem, record_by_link
from hythe.hub.accounts.namespaces import could_be_name
from hythe.hub.accounts.user import User
from hythe.hub.actor import HubActor
from hythe.hub.errors import Invalid, NotFound, Refused, TooManyAttempts
from hythe.hub.logs import audit
from hythe.hub.mail import mail_texts
from hythe.hub.mail.mail import MailQueue
from hythe.hub.mail.mail_links import LinkPurpose, MailLinks
from hythe.hub.sign_in.client_network import client_network
from hythe.hub.sign_in.confirmations import ConfirmationService
from hythe.hub.sign_in.login_throttle import LoginThrottle
from hythe.hub.sign_in.passwords import Passwords, password_problem
from hythe.hub.sign_in.sessions import sign_out_everywhere
from hythe.hub.sql import password_resets as store
from hythe.hub.sql import users as user_store
from hythe.periodic import repeat

POLL_INTERVAL = 1.0
BATCH_SIZE = 20


class PasswordResets:
    """Requests for a new password, and the links that set one."""

    def __init__(
        self,
        database: Database,
        confirmations: ConfirmationService,
        passwords: Passwords,
        attempts: LoginThrottle,
        mail: MailQueue,
        links: MailLinks,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._confirmations = confirmations
        self._passwords = passwords
        self._attempts = attempts
        self._mail = mail
        self._links = links
        self._clock = clock

    async def request(self, account: str, address: str) -> None:
        """Ask for a link for the account with this user name or e-mail address, for a client at ``address``.

        Returns also if the account does not exist. Raises Invalid, and TooManyAttempts after many requests from one
        network; requests for one account are limited without an error.
        """
        name = account.strip().lower()
        if not could_be_name(name) and email_problem(name):
            raise Invalid({"account": "must be a user name or an e-mail address"})
        await self._throttle(client_network(address))
        async with self._database.writing() as session:
            await store.add(session, name, self._clock())

    async def _throttle(self, network: str) -> None:
        """Count each request of a network as a failed attempt. Raises TooManyAttempts."""

        async def count() -> None:
            return None

        try:
            await self._attempts.attempt("password reset", f"password reset {network}", count)
        except TooManyAttempts as error:
            raise TooManyAttempts(error.retry_after, "too many requests for a new password") from error

    async def run(self) -> None:
        """Send the links until cancelled."""
        await repeat(self.send, POLL_INTERVAL, "password resets")

    async def send(self) -> None:
        """Queue the e-mail for each request whose account exists, unless it had too many."""
        async with self._database.reading() as session:
            requests = await store.oldest(session, BATCH_SIZE)
        for request_id, name in requests:
            try:
                async with self._database.writing() as session:
                    if await store.remove(session, request_id):
                        await self._send(session, name)
            except TooManyAttempts:
                async with self._database.writing() as session:
                    await store.remove(session, request_id)

    async def _send(self, session: Session, name: str) -> None:
        find = user_store.by_email if "@" in name else user_store.by_name
        user = await find(session, name)
        if user is not None and not user.blocked and email_problem(user.email) is None:
            url = await self._links.create(session, user.id, LinkPurpose.RESET, user.email)
            await self._mail.add(session, mail_texts.reset_password(user, user.email, self._links.host, url))

    async def link(self, actor: HubActor, name: str) -> str:
        """Return the URL with which a user can set a new password; for administrators, who pass it on.

        Raises SignInNeeded, Refused, ConfirmationNeeded, NotFound.
        """
        await self._confirmations.require_on_hub(actor, HubAction.RESET_PASSWORD)
        async with self._database.writing() as session:
            user = await user_store.by_name(session, name) if could_be_name(name) else None
            if user is None or email_problem(user.email):
                raise NotFound(f"user {name!r} does not exist", "'hythe admin list-users' shows all accounts")
            if user.id == actor.user_id:
                raise Refused("you cannot reset your own password", "change it on the page of your account")
            await audit.record(
                session, actor, HubAction.RESET_PASSWORD, user.name, namespace=user.name, at=self._clock()
            )
            return await self._links.create(session, user.id, LinkPurpose.RESET, "", throttled=False)

    async def user(self, secret: str) -> User:
        """Return the account whose password a link sets. Raises NotFound."""
        async with self._database.reading() as session:
            link = await self._links.find(session, secret, LinkPurpose.RESET)
            return await active_user(session, link.user_id)

    async def reset(self, secret: str, password: str, address: str) -> User:
        """Set the password of a link's account, end all its sessions, refresh and access tokens, and tell it by e-mail.

        The user then signs in, with a second factor if they have one. Raises NotFound, Invalid.
        """
        user = await self.user(secret)
        problem = password_problem(password) or await self._passwords.weakness(password, user.name, user.email)
        if problem:
            raise Invalid({"password": problem})
        password_hash = await self._passwords.hash(password)
        async with self._database.writing() as session:
            link = await self._links.take(session, secret, LinkPurpose.RESET)
            user = await active_user(session, link.user_id)
            changes: dict[str, object] = {"password_hash": password_hash}
            if link.email == user.email and not user.email_confirmed:
                changes["email_confirmed_at"] = self._clock()
            await user_store.change(session, user.id, changes)
            await sign_out_everywhere(session, user.id)
            await self._mail.add(session, mail_texts.password_changed(user, self._links.host))
            await record_by_link(session, user, HubAction.RESET_FORGOTTEN_PASSWORD, address, self._clock())
        return user
