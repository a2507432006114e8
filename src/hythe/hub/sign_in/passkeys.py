"""Passkeys: credentials of WebAuthn, whose private key never leaves the user's devices.

Each ceremony begins with options for the browser, which contain a challenge, and ends with the browser's response. The
challenge is a signed state (``sign_in_states``), so a response works once, and only for what the challenge was for.
"""

import asyncio
import base64
import binascii
import secrets
from collections.abc import Callable, Collection
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from hythe.database import Session
from hythe.hub.errors import Invalid, SignInNeeded
from hythe.hub.sign_in.passkey import Passkey
from hythe.hub.sign_in.sign_in_states import SignInState, SignInStates, StatePurpose, challenge_of, state_in
from hythe.hub.sql import passkeys as store
from hythe.hub.sql.passkeys import StoredPasskey

if TYPE_CHECKING:
    from webauthn.authentication.verify_authentication_response import VerifiedAuthentication
    from webauthn.registration.verify_registration_response import VerifiedRegistration

MAX_RESPONSE_LENGTH = 16 * 1024
"""Characters of the longest response; one without attestation has about 1,000."""

_TIMEOUT = 5 * 60 * 1000
_ALGORITHMS = (-8, -7, -257)  # EdDSA, ES256, RS256: what authenticators in use have
_TRANSPORTS = frozenset({"usb", "nfc", "ble", "smart-card", "hybrid", "internal"})


class PasskeyRejected(SignInNeeded):
    """The response of a passkey is invalid, or the passkey is unknown."""

    def __init__(self, problem: str = "") -> None:
        super().__init__(f"this passkey was not accepted{': ' if problem else ''}{problem}", "try again")


class RelyingParty(msgspec.Struct, frozen=True):
    """The hub for authenticators: ``origin`` is the scheme, host and port of its pages."""

    origin: str

    @property
    def id(self) -> str:
        """The host without its port, to which passkeys are bound."""
        return urlsplit(self.origin).hostname or ""

    @classmethod
    def of_url(cls, url: str) -> "RelyingParty":
        """Return the relying party whose pages have this URL."""
        parts = urlsplit(url)
        return cls(f"{parts.scheme}://{parts.netloc}".lower())


class _Entity(msgspec.Struct, frozen=True, rename="camel"):
    id: str
    name: str
    display_name: str | msgspec.UnsetType = msgspec.UNSET


class _Algorithm(msgspec.Struct, frozen=True):
    alg: int
    type: str = "public-key"


class _Credential(msgspec.Struct, frozen=True):
    id: str
    transports: tuple[str, ...]
    type: str = "public-key"


class _Selection(msgspec.Struct, frozen=True, rename="camel"):
    resident_key: str = "preferred"
    user_verification: str = "preferred"


class CreationOptions(msgspec.Struct, frozen=True, rename="camel"):
    """``PublicKeyCredentialCreationOptionsJSON`` of WebAuthn level 3: what a browser creates a passkey with."""

    rp: _Entity
    user: _Entity
    challenge: str
    pub_key_cred_params: tuple[_Algorithm, ...]
    exclude_credentials: tuple[_Credential, ...]
    authenticator_selection: _Selection = _Selection()
    timeout: int = _TIMEOUT
    attestation: str = "none"


class RequestOptions(msgspec.Struct, frozen=True, rename="camel"):
    """``PublicKeyCredentialRequestOptionsJSON`` of WebAuthn level 3: what a browser signs in with."""

    rp_id: str
    challenge: str
    allow_credentials: tuple[_Credential, ...]
    user_verification: str
    timeout: int = _TIMEOUT


class _Response(msgspec.Struct, frozen=True, rename="camel"):
    client_data_json: str = msgspec.field(name="clientDataJSON")
    user_handle: str | None = None
    transports: tuple[str, ...] = ()


class _Received(msgspec.Struct, frozen=True):
    """The parts of a response that we read before it is verified."""

    id: str
    response: _Response


class _ClientData(msgspec.Struct, frozen=True):
    challenge: str


class Ceremony(Enum):
    """The uses of a passkey of an account, each with the purpose of its challenge."""

    SIGN_IN = StatePurpose.PASSKEY_SIGN_IN
    SECOND_FACTOR = StatePurpose.PASSKEY_FACTOR
    CONFIRMATION = StatePurpose.PASSKEY_CONFIRMATION


class NewPasskey(msgspec.Struct, frozen=True):
    """A verified new passkey, with the state of its challenge."""

    state_text: str
    state: SignInState
    credential_id: str
    user_handle: str
    public_key: str
    sign_count: int
    transports: tuple[str, ...]
    backed_up: bool


class PasskeyResponse(msgspec.Struct, frozen=True):
    """A response that was not verified yet, with the state of its challenge."""

    ceremony: Ceremony
    text: str
    state_text: str
    state: SignInState
    credential_id: str
    user_handle: str | None


class UsedPasskey(msgspec.Struct, frozen=True):
    """A passkey whose response was verified."""

    received: PasskeyResponse
    stored: StoredPasskey
    sign_count: int
    backed_up: bool


class Passkeys:
    """Makes options and verifies responses. A transaction of the caller is open where a session is taken."""

    def __init__(self, states: SignInStates, clock: Callable[[], datetime]) -> None:
        self._states = states
        self._clock = clock

    def creation_options(
        self, party: RelyingParty, holder: str, account: str, user_handle: str, existing: Collection[Passkey]
    ) -> CreationOptions:
        """Return the options for a new passkey; ``holder`` is who may send the response."""
        return CreationOptions(
            _Entity(party.id, party.id),
            _Entity(user_handle, account, account),
            challenge_of(self._states.issue(StatePurpose.NEW_PASSKEY, holder, user_handle)),
            tuple(_Algorithm(each) for each in _ALGORITHMS),
            _credentials(existing),
        )

    def request_options(
        self, party: RelyingParty, ceremony: Ceremony, holder: str, allowed: Collection[Passkey] = ()
    ) -> RequestOptions:
        """Return the options for one of the ``allowed`` passkeys; without any, the browser offers what it has."""
        challenge = challenge_of(self._states.issue(ceremony.value, holder))
        verification = "required" if ceremony is Ceremony.SIGN_IN else "preferred"
        return RequestOptions(party.id, challenge, _credentials(allowed), verification)

    async def verify_new(self, party: RelyingParty, holder: str, response: str) -> NewPasskey:
        """Verify the response to ``creation_options``. Raises StateExpired, Invalid."""
        try:
            received, text, state = self._received(StatePurpose.NEW_PASSKEY, holder, response)
            verified = await asyncio.to_thread(_verify_new, party, response, challenge_of(text))
        except PasskeyRejected as error:
            raise Invalid({"credential": "is no valid response of an authenticator"}) from error
        return NewPasskey(
            text,
            state,
            credential_id=_encoded(verified.credential_id),
            user_handle=state.data,
            public_key=_encoded(verified.credential_public_key),
            sign_count=verified.sign_count,
            transports=tuple(each for each in received.response.transports if each in _TRANSPORTS),
            backed_up=verified.credential_backed_up,
        )

    def read(self, ceremony: Ceremony, holder: str, response: str) -> PasskeyResponse:
        """Read a response to ``request_options``, for ``verify``. Raises StateExpired, PasskeyRejected."""
        received, text, state = self._received(ceremony.value, holder, response)
        return PasskeyResponse(ceremony, response, text, state, received.id[:1400], received.response.user_handle)

    async def verify(self, party: RelyingParty, received: PasskeyResponse, stored: StoredPasskey) -> UsedPasskey:
        """Verify the signature of a passkey. Raises PasskeyRejected."""
        alone = received.ceremony is Ceremony.SIGN_IN
        if received.user_handle != stored.user_handle and (alone or received.user_handle):
            raise PasskeyRejected
        verified = await asyncio.to_thread(
            _verify, party, received.text, challenge_of(received.state_text), stored, alone
        )
        return UsedPasskey(received, stored, verified.new_sign_count, verified.credential_backed_up)

    async def use(self, session: Session, used: UsedPasskey) -> None:
        """Spend the challenge and record the use. Raises StateExpired, PasskeyRejected."""
        await self._states.spend(session, used.received.state_text, used.received.state)
        stored = used.stored
        recorded = await store.use(
            session, stored.id, stored.sign_count, used.sign_count, self._clock(), backed_up=used.backed_up
        )
        if not recorded:
            raise PasskeyRejected("it was used somewhere else at the same time, or deleted")

    async def spend_new(self, session: Session, new: NewPasskey) -> None:
        """Spend the challenge of a new passkey. Raises StateExpired."""
        await self._states.spend(session, new.state_text, new.state)

    def _received(self, purpose: StatePurpose, holder: str, response: str) -> tuple[_Received, str, SignInState]:
        """Return the parts of a response, and the state in its challenge. Raises StateExpired, PasskeyRejected."""
        if len(response) > MAX_RESPONSE_LENGTH:
            raise PasskeyRejected("its response is too long")
        try:
            received = msgspec.json.decode(response, type=_Received)
            client_data = msgspec.json.decode(_decoded(received.response.client_data_json), type=_ClientData)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise PasskeyRejected from error
        text = state_in(client_data.challenge)
        return received, text, self._states.read(purpose, text, holder)


def new_user_handle() -> str:
    """Return a random name by which authenticators know an account: it contains nothing about the user."""
    return _encoded(secrets.token_bytes(32))


def _verify_new(party: RelyingParty, response: str, challenge: str) -> "VerifiedRegistration":
    """Runs in a thread: the first call takes 0.3 s to load the library. Raises PasskeyRejected."""
    from webauthn import verify_registration_response
    from webauthn.helpers.cose import COSEAlgorithmIdentifier

    try:
        return verify_registration_response(
            credential=response,
            expected_challenge=_decoded(challenge),
            expected_rp_id=party.id,
            expected_origin=party.origin,
            supported_pub_key_algs=[COSEAlgorithmIdentifier(each) for each in _ALGORITHMS],
        )
    # The library parses what a client sent, and lets errors of its parsers through.
    except Exception as error:
        raise PasskeyRejected from error


def _verify(
    party: RelyingParty, response: str, challenge: str, stored: StoredPasskey, alone: bool
) -> "VerifiedAuthentication":
    """Runs in a thread, like ``_verify_new``. Raises PasskeyRejected."""
    from webauthn import verify_authentication_response

    try:
        return verify_authentication_response(
            credential=response,
            expected_challenge=_decoded(challenge),
            expected_rp_id=party.id,
            expected_origin=party.origin,
            credential_public_key=_decoded(stored.public_key),
            credential_current_sign_count=stored.sign_count,
            require_user_verification=alone,
        )
    except Exception as error:
        raise PasskeyRejected from error


def _credentials(passkeys: Collection[Passkey]) -> tuple[_Credential, ...]:
    return tuple(_Credential(each.credential_id, each.transports) for each in passkeys)


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    """Decode base64url. Raises ValueError."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from error
