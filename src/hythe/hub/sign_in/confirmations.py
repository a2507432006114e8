"""Confirmation that it is still the user who uses a session, before it changes how the account signs in.

A stolen session alone cannot add a passkey, turn off two-factor authentication or convert the account. Nor can it, if
it is an administrator's, give roles, change how others sign in, see links that do, or get at repositories and
organizations of others: the user has to have signed in, or given their password, a second factor or a linked identity
again, within ``CONFIRMED_FOR``.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from hythe.database import Database, Session
from hythe.hub.access.actions import HubAction
from hythe.hub.access.decision import HubAccess
from hythe.hub.access.refusals import with_small_letter
from hythe.hub.access.table import TABLE
from hythe.hub.actor import HubActor
from hythe.hub.errors import ConfirmationNeeded, Invalid, NotFound, Refused
from hythe.hub.logs import audit
from hythe.hub.sign_in.client_network import client_network
from hythe.hub.sign_in.credentials import CredentialService
from hythe.hub.sign_in.factor_checks import FactorChecks
from hythe.hub.sign_in.failure_report import reporting
from hythe.hub.sign_in.passkeys import Ceremony, PasskeyRejected, Passkeys, RelyingParty, RequestOptions
from hythe.hub.sql import confirmations as store
from hythe.hub.sql import passkeys as passkey_store
from hythe.hub.sql import users as user_store
from hythe.hub.sql.users import Account, StoredCredentials
from hythe.telemetry.sign_in_failures import WRONG, sign_in_failures

CONFIRMED_FOR = timedelta(minutes=10)


class ConfirmationService:
    """Confirms sessions."""

    def __init__(
        self,
        database: Database,
        access: HubAccess,
        credentials: CredentialService,
        checks: FactorChecks,
        passkeys: Passkeys,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._access = access
        self._credentials = credentials
        self._checks = checks
        self._passkeys = passkeys
        self._clock = clock

    async def require(self, actor: HubActor) -> int:
        """Return the id of the actor's account if they confirmed who they are recently.

        A password that was sent with the request is a confirmation; a token never is. Raises SignInNeeded, Refused,
        ConfirmationNeeded.
        """
        user_id = self._access.require_account(actor, HubAction.ADD_SECOND_FACTOR)
        await self._require_recent(actor, user_id, "change how accounts sign in")
        return user_id

    async def require_on_hub(self, actor: HubActor, action: HubAction, session: Session | None = None) -> None:
        """Check that the actor may do this on the hub, and confirmed who they are recently; ``hythe admin`` need not.

        Raises SignInNeeded, Refused, ConfirmationNeeded.
        """
        await self._access.require_hub(actor, action, session)
        if not actor.operating:
            user_id = self._access.require_account(actor, action)
            await self._require_recent(actor, user_id, with_small_letter(TABLE[action].meaning), session)

    async def _require_recent(self, actor: HubActor, user_id: int, change: str, session: Session | None = None) -> None:
        if actor.password_given:
            return
        if not actor.session_id:
            raise Refused(f"a token may not {change}", "sign in with your password")
        if session is not None:
            at = await store.confirmed_at(session, user_id, actor.session_id)
        else:
            async with self._database.reading() as reading:
                at = await store.confirmed_at(reading, user_id, actor.session_id)
        if at is None or self._clock() - at > CONFIRMED_FOR:
            raise ConfirmationNeeded

    async def by_password(self, actor: HubActor, password: str) -> None:
        """Confirm the actor's session by the account's password. Raises Invalid, TooManyAttempts, Refused."""
        stored = await self._stored(actor)
        try:
            await self._credentials.require_password(actor, password)
        except Invalid as error:
            raise Invalid({"password": "is not your password"}) from error
        async with self._database.writing() as session:
            await self._confirm(session, actor, stored.account.id)

    async def by_code(self, actor: HubActor, code: str, address: str) -> None:
        """Confirm the actor's session by a code of their app or a recovery code. Raises Invalid, TooManyAttempts."""
        stored = await self._stored(actor)

        async def confirm(session: Session) -> None:
            await self._confirm(session, actor, stored.account.id)

        with reporting("code", actor.name, address):
            right = await self._checks.code(stored.account, code, client_network(address), confirm)
        if not right:
            sign_in_failures.report(actor.name, address, "code", WRONG)
            raise Invalid({"otp": "is wrong, or was used before"})

    async def passkey_options(self, actor: HubActor, party: RelyingParty) -> RequestOptions | None:
        """Return the options for ``by_passkey``; None if the account has no passkey. Raises Refused."""
        stored = await self._stored(actor)
        async with self._database.reading() as session:
            passkeys = await passkey_store.of_user(session, stored.account.id)
        if not passkeys:
            return None
        return self._passkeys.request_options(party, Ceremony.CONFIRMATION, actor.session_id, passkeys)

    async def by_passkey(self, actor: HubActor, party: RelyingParty, response: str) -> None:
        """Confirm the actor's session by one of their passkeys. Raises Invalid, Refused."""
        stored = await self._stored(actor)

        async def confirm(session: Session, account: Account) -> None:
            if account.id != stored.account.id:
                raise PasskeyRejected("it belongs to another account")
            await self._confirm(session, actor, stored.account.id)

        with reporting("passkey", actor.name, actor.address):
            await self._checks.passkey(party, Ceremony.CONFIRMATION, actor.session_id, response, confirm)

    async def by_identity(self, actor: HubActor, holder_id: int | None) -> None:
        """Confirm the actor's session by an identity, which belongs to the account ``holder_id``. Raises Refused."""
        stored = await self._stored(actor)
        if holder_id != stored.account.id:
            raise Refused("this identity is not linked to your account", "sign in there as the user that you linked")
        async with self._database.writing() as session:
            await self._confirm(session, actor, stored.account.id)

    async def _confirm(self, session: Session, actor: HubActor, user_id: int) -> None:
        await store.confirm(session, user_id, actor.session_id, self._clock())
        await audit.record(
            session, actor, HubAction.CONFIRM_SESSION, actor.name, namespace=actor.name, at=self._clock()
        )

    async def _stored(self, actor: HubActor) -> StoredCredentials:
        """Return the account of the actor's session. Raises SignInNeeded, Refused."""
        self._access.require_account(actor, HubAction.CONFIRM_SESSION)
        if not actor.session_id:
            raise Refused("only a session can be confirmed", "sign in with POST /api/v1/sessions")
        async with self._database.reading() as session:
            found = await user_store.credentials(session, actor.name)
        if found is None or found.account.id != actor.user_id:
            raise NotFound("this account was deleted")
        return found
