"""Signed states of sign-ins that are under way, and challenges for passkeys. Nothing is stored before they are used.

A state is sealed with the installation's key for one purpose, so that one kind cannot be used as another. It expires,
it names what it was issued to (an account, a browser or a session), and it can be spent once.
"""

import base64
import binascii
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import Enum

import msgspec

from hythe.database import Session
from hythe.hub.actor import HubActor
from hythe.hub.errors import SignInNeeded
from hythe.hub.secret_box import SecretBox, SecretLost
from hythe.hub.sql import sign_in_states as store
from hythe.hub.tokens.personal_token import digest_of

LIFETIME = timedelta(minutes=15)

MAX_LENGTH = 2000
"""Characters of the longest state that is read."""


class StatePurpose(Enum):
    """What a state is for."""

    SIGN_IN = "sign-in: the password was right"
    NEW_APP = "new authenticator app"
    NEW_PASSKEY = "challenge: new passkey"
    PASSKEY_SIGN_IN = "challenge: sign-in by passkey"
    PASSKEY_FACTOR = "challenge: passkey as the second factor"
    PASSKEY_CONFIRMATION = "challenge: confirmation by passkey"


class SignInState(msgspec.Struct, frozen=True):
    """``holder`` is who it was issued to; ``data`` depends on the purpose; ``expires`` is a Unix time."""

    holder: str
    data: str
    expires: int


class StateExpired(SignInNeeded):
    """The state is invalid, expired or spent, or it was issued to another client."""

    def __init__(self) -> None:
        super().__init__("this step of the sign-in has expired", "start again")


class SignInStates:
    """Issues and reads states."""

    def __init__(self, secret_box: SecretBox, clock: Callable[[], datetime]) -> None:
        self._secret_box = secret_box
        self._clock = clock

    def issue(self, purpose: StatePurpose, holder: str, data: str = "") -> str:
        """Return a state as text of letters, digits, ``-`` and ``_``."""
        state = SignInState(holder, data, int((self._clock() + LIFETIME).timestamp()))
        sealed = self._secret_box.seal(purpose.value, msgspec.json.encode(state).decode())
        return sealed.replace("+", "-").replace("/", "_").rstrip("=")

    def read(self, purpose: StatePurpose, text: str, holder: str | None = None) -> SignInState:
        """Return a state that was issued for this purpose, and to this holder if one is given. Raises StateExpired."""
        if len(text) > MAX_LENGTH or not text.isascii():
            raise StateExpired
        sealed = text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4)
        try:
            state = msgspec.json.decode(self._secret_box.unseal(purpose.value, sealed), type=SignInState)
        except (SecretLost, msgspec.MsgspecError) as error:
            raise StateExpired from error
        if state.expires <= self._clock().timestamp() or (holder is not None and state.holder != holder):
            raise StateExpired
        return state

    async def spend(self, session: Session, text: str, state: SignInState) -> None:
        """Record that a state was used. Raises StateExpired if it was used before."""
        expires_at = datetime.fromtimestamp(state.expires, UTC)
        if not await store.spend(session, digest_of(text), self._clock(), expires_at):
            raise StateExpired


def pending_state(states: SignInStates, account: HubActor) -> str:
    """Return the state for a user who gave the right password, until that password changes.

    Its data has the name, and what the credential is called.
    """
    holder = f"{account.user_id}.{account.credential_generation}"
    return states.issue(StatePurpose.SIGN_IN, holder, f"{account.name} {account.credential}")


def challenge_of(text: str) -> str:
    """Return the challenge for a state: its text as authenticators get it, in base64url."""
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def state_in(challenge: str) -> str:
    """Return the state in a challenge. Raises StateExpired."""
    try:
        return base64.b64decode(challenge + "=" * (-len(challenge) % 4), altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError) as error:
        raise StateExpired from error
