"""Checks second factors: codes of authenticator apps, recovery codes, and passkeys. Guesses are throttled."""

from collections.abc import Awaitable, Callable
from datetime import datetime

from hythe.database import Database, Session
from hythe.hub.secret_box import SecretBox
from hythe.hub.sign_in import totp
from hythe.hub.sign_in.account_throttle import AccountThrottle
from hythe.hub.sign_in.login_throttle import LoginThrottle
from hythe.hub.sign_in.passkeys import Ceremony, PasskeyRejected, Passkeys, RelyingParty, UsedPasskey
from hythe.hub.sql import passkeys as passkey_store
from hythe.hub.sql import second_factors as store
from hythe.hub.sql import totp as totp_store
from hythe.hub.sql import users as user_store
from hythe.hub.sql.users import Account

TOTP_PURPOSE = "totp secret"
RECOVERY_PURPOSE = "recovery codes"

Also = Callable[[Session], Awaitable[None]]
"""What to do in the transaction that uses a code or passkey."""


class FactorChecks:
    """Checks and uses second factors."""

    def __init__(
        self,
        database: Database,
        attempts: LoginThrottle,
        guesses: AccountThrottle,
        secret_box: SecretBox,
        passkeys: Passkeys,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._attempts = attempts
        self._guesses = guesses
        self._secret_box = secret_box
        self._recovery_key = secret_box.derive(RECOVERY_PURPOSE)
        self._passkeys = passkeys
        self._clock = clock

    async def code(self, account: Account, code: str, network: str, also: Also) -> bool:
        """Use a code of the account's app or a recovery code; return False if it is wrong or was used.

        Guesses count like those at a password, for the account at this network and at unknown networks. Raises
        TooManyAttempts.
        """
        guessed = f"second factor of {account.name}"
        async with self._database.reading() as session:
            stored = await user_store.credentials(session, account.name, network)
        known = stored is not None and stored.known_network

        async def check() -> bool | None:
            if not known:
                await self._guesses.admit(guessed)
            if not await self._use_code(account.id, totp.normalized(code), also):
                return None
            if not known:
                await self._guesses.succeeded(guessed, account.id, network)
            return True

        return await self._attempts.attempt(account.name, f"second factor at {network}", check) or False

    async def _use_code(self, user_id: int, code: str, also: Also) -> bool:
        async with self._database.writing() as session:
            if totp.is_app_code(code):
                good = await self._use_app_code(session, user_id, code)
            else:
                digest = totp.recovery_digest(self._recovery_key, user_id, code)
                good = await store.use_recovery_code(session, user_id, digest)
            if good:
                await also(session)
            return good

    async def _use_app_code(self, session: Session, user_id: int, code: str) -> bool:
        stored = await totp_store.of_user(session, user_id)
        if stored is None:
            return False
        step = totp.matching_step(self._secret_box.unseal(TOTP_PURPOSE, stored.secret), code, self._clock())
        return step is not None and await totp_store.use(session, user_id, step)

    async def passkey(
        self,
        party: RelyingParty,
        ceremony: Ceremony,
        holder: str,
        response: str,
        also: Callable[[Session, Account], Awaitable[None]],
    ) -> Account:
        """Use a passkey and return its account. Signatures cannot be guessed, so they are not counted.

        Raises StateExpired, PasskeyRejected.
        """
        received = self._passkeys.read(ceremony, holder, response)
        async with self._database.reading() as session:
            stored = await passkey_store.by_credential(session, received.credential_id)
        if stored is None:
            raise PasskeyRejected("this hub does not know it")
        used: UsedPasskey = await self._passkeys.verify(party, received, stored)
        async with self._database.writing() as session:
            await self._passkeys.use(session, used)
            await also(session, stored.account)
        return stored.account
