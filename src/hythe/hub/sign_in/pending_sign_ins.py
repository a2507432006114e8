"""Sign-ins that wait for a second factor, and sign-ins by passkey alone.

After a right password the client gets a signed state, which is good for nothing but ``by_code`` and ``by_passkey``.
These return the actor whose session ``SessionService.start`` then begins.
"""

from collections.abc import Callable
from datetime import datetime

import msgspec

from hythe.database import Database, Session
from hythe.hub.actor import HubActor
from hythe.hub.errors import SignInNeeded
from hythe.hub.sign_in.client_network import client_network
from hythe.hub.sign_in.credentials import actor_of_account
from hythe.hub.sign_in.factor_checks import FactorChecks
from hythe.hub.sign_in.failure_report import reporting
from hythe.hub.sign_in.passkeys import Ceremony, PasskeyRejected, Passkeys, RelyingParty, RequestOptions
from hythe.hub.sign_in.sign_in_states import SignInState, SignInStates, StateExpired, StatePurpose
from hythe.hub.sql import passkeys as passkey_store
from hythe.hub.sql import sign_in_failures as failure_store
from hythe.hub.sql import totp as totp_store
from hythe.hub.sql import users as user_store
from hythe.hub.sql.users import Account
from hythe.hub.tokens.personal_token import digest_of


class WrongCode(SignInNeeded):
    """The code is wrong, or it was used before."""

    def __init__(self) -> None:
        super().__init__("the code is wrong, or was used before", "enter the code that the app shows now")


class PendingSignIn(msgspec.Struct, frozen=True):
    """A sign-in that waits for a second factor, and the factors that its account has."""

    account: Account
    app: bool
    passkeys: RequestOptions | None


class PendingSignIns:
    """Finishes sign-ins by a second factor."""

    def __init__(
        self,
        database: Database,
        checks: FactorChecks,
        passkeys: Passkeys,
        states: SignInStates,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._checks = checks
        self._passkeys = passkeys
        self._states = states
        self._clock = clock

    async def get(self, state: str, party: RelyingParty) -> PendingSignIn:
        """Return the sign-in with this state. Raises StateExpired."""
        account, _ = await self._opened(state)
        async with self._database.reading() as session:
            app = await totp_store.of_user(session, account.id)
            passkeys = await passkey_store.of_user(session, account.id)
        options = self._passkeys.request_options(party, Ceremony.SECOND_FACTOR, digest_of(state), passkeys)
        return PendingSignIn(account, app is not None, options if passkeys else None)

    async def by_code(self, state: str, code: str, address: str) -> HubActor:
        """Return the user who gives a code of their app or a recovery code.

        Raises StateExpired, WrongCode, TooManyAttempts, AccountBlocked.
        """
        account, opened = await self._opened(state)

        async def spend(session: Session) -> None:
            await self._states.spend(session, state, opened)
            await self._remember(session, account, address)

        with reporting("code", account.name, address):
            if not await self._checks.code(account, code, client_network(address), spend):
                raise WrongCode
            return _signed_in(account, f"{_first_credential(opened)} and code", address)

    async def by_passkey(self, state: str, party: RelyingParty, response: str, address: str) -> HubActor:
        """Return the user who gives one of their passkeys. Raises StateExpired, PasskeyRejected, AccountBlocked."""
        account, opened = await self._opened(state)

        async def spend(session: Session, owner: Account) -> None:
            if owner.id != account.id:
                raise PasskeyRejected("it belongs to another account")
            await self._states.spend(session, state, opened)
            await self._remember(session, account, address)

        with reporting("passkey", account.name, address):
            await self._checks.passkey(party, Ceremony.SECOND_FACTOR, digest_of(state), response, spend)
            return _signed_in(account, f"{_first_credential(opened)} and passkey", address)

    def passkey_options(self, party: RelyingParty, browser: str) -> RequestOptions:
        """Return the options for ``by_passkey_alone``; ``browser`` is a secret that only this browser has."""
        return self._passkeys.request_options(party, Ceremony.SIGN_IN, digest_of(browser))

    async def by_passkey_alone(self, party: RelyingParty, browser: str, response: str, address: str) -> HubActor:
        """Return the user whose passkey this is; their device verified them, so it counts as two factors.

        Raises StateExpired, PasskeyRejected, AccountBlocked.
        """

        async def remember(session: Session, owner: Account) -> None:
            await self._remember(session, owner, address)

        with reporting("passkey", "", address):
            owner = await self._checks.passkey(party, Ceremony.SIGN_IN, digest_of(browser), response, remember)
            return _signed_in(owner, "passkey", address)

    async def _remember(self, session: Session, account: Account, address: str) -> None:
        """Guesses from elsewhere do not slow the account down at this network."""
        await failure_store.remember_network(session, account.id, client_network(address), self._clock())

    async def _opened(self, text: str) -> tuple[Account, SignInState]:
        """Return the account of a state. Raises StateExpired, also if its password changed."""
        state = self._states.read(StatePurpose.SIGN_IN, text)
        user_id, _, generation = state.holder.partition(".")
        async with self._database.reading() as session:
            account = await user_store.account(session, int(user_id))
        name = state.data.partition(" ")[0]
        if account is None or account.name != name or str(account.credential_generation) != generation:
            raise StateExpired
        return account, state


def _first_credential(state: SignInState) -> str:
    return state.data.partition(" ")[2]


def _signed_in(account: Account, credential: str, address: str) -> HubActor:
    return msgspec.structs.replace(actor_of_account(account), credential=credential, address=address)
