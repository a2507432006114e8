"""Second factors of one's own account in the JSON API: authenticator app, recovery codes, passkeys; and their reset."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from hythe.hub.access.actions import HubAction
from hythe.hub.errors import Invalid, NotFound, SecondFactorNeeded, SignInNeeded
from hythe.hub.routes.endpoint import ApiRequest, Endpoint, Nothing
from hythe.hub.service import HubServices
from hythe.hub.sign_in.passkey import Passkey
from hythe.hub.sign_in.passkeys import CreationOptions, RelyingParty, RequestOptions

_ROOT = "/api/v1/users/me/second-factors"


class PasskeyReply(msgspec.Struct, frozen=True):
    """A passkey; ``backed_up``: its provider copies it to other devices of the user."""

    id: int
    name: str
    backed_up: bool
    created_at: datetime
    used_at: datetime | None


class SecondFactorsReply(msgspec.Struct, frozen=True):
    """The second factors of your account.

    ``app_since``: since when an authenticator app is set up; null: none is. ``recovery_codes``: how many are left.
    ``required_by``: your organizations that require a second factor.
    """

    active: bool
    app_since: datetime | None
    recovery_codes: int
    passkeys: tuple[PasskeyReply, ...]
    required_by: tuple[str, ...]


class NewAppReply(msgspec.Struct, frozen=True):
    """A secret for an authenticator app, as text and as an address for a QR code; send ``state`` back with a code."""

    secret: str
    uri: str
    state: str


class AppActivation(msgspec.Struct, frozen=True):
    """The state of a new app, and a code that it shows."""

    state: Annotated[str, Meta(max_length=2000)]
    code: Annotated[str, Meta(max_length=64)]


class RecoveryCodesReply(msgspec.Struct, frozen=True):
    """Recovery codes, each for one sign-in, which are never shown again; empty if you have codes already."""

    recovery_codes: tuple[str, ...]


class NewPasskeyBody(msgspec.Struct, frozen=True):
    """A name, and the JSON form of the result of ``navigator.credentials.create()``."""

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    credential: dict[str, Any]


class NewPasskeyReply(msgspec.Struct, frozen=True):
    """The new passkey, and recovery codes if you had none."""

    passkey: PasskeyReply
    recovery_codes: tuple[str, ...]


class PasskeyName(msgspec.Struct, frozen=True):
    """A new name of a passkey."""

    name: Annotated[str, Meta(min_length=1, max_length=100)]


class Confirmation(msgspec.Struct, frozen=True):
    """One of: your password, a code of your app or recovery code, or the JSON form of a passkey's response."""

    password: Annotated[str, Meta(max_length=256)] = ""
    otp: Annotated[str, Meta(max_length=64)] = ""
    credential: dict[str, Any] | None = None


class ConfirmationOptions(msgspec.Struct, frozen=True):
    """The options for ``navigator.credentials.get()``; null if you have no passkey."""

    passkey: RequestOptions | None


class SignIn(msgspec.Struct, frozen=True):
    """A user name and password; with a second factor, ``otp`` is a code of its app or a recovery code."""

    username: Annotated[str, Meta(max_length=100)]
    password: Annotated[str, Meta(max_length=256)]
    otp: Annotated[str, Meta(max_length=64)] = ""


class SessionReply(msgspec.Struct, frozen=True):
    """A session; send ``token`` as ``Authorization: Bearer``."""

    token: str
    expires_at: datetime


def _shown(passkey: Passkey) -> PasskeyReply:
    return PasskeyReply(passkey.id, passkey.name, passkey.backed_up, passkey.created_at, passkey.used_at)


def _party(call: ApiRequest[Any, Any]) -> RelyingParty:
    return RelyingParty.of_url(call.url)


def _text(credential: dict[str, Any]) -> str:
    return msgspec.json.encode(credential).decode()


async def _sign_in(hub: HubServices, call: ApiRequest[SignIn, Nothing]) -> SessionReply:
    body = call.body
    try:
        actor = await hub.sessions.check_password(body.username, body.password, call.address)
    except SecondFactorNeeded as error:
        if not body.otp:
            hint = "send a code of its authenticator app, or a recovery code, as otp"
            raise SignInNeeded("this account has two-factor authentication", hint) from error
        actor = await hub.pending_sign_ins.by_code(error.state, body.otp, call.address)
    started = await hub.sessions.start(actor, call.address, call.user_agent)
    return SessionReply(started.token, started.expires_at)


async def _get(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> SecondFactorsReply:
    found = await hub.second_factors.get(call.actor)
    passkeys = tuple(map(_shown, found.passkeys))
    return SecondFactorsReply(found.active, found.app_since, found.recovery_codes, passkeys, found.required_by)


async def _new_app(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> NewAppReply:
    new = await hub.second_factors.new_app(call.actor, urlsplit(call.url).netloc)
    return NewAppReply(new.secret, new.uri, new.state)


async def _activate_app(hub: HubServices, call: ApiRequest[AppActivation, Nothing]) -> RecoveryCodesReply:
    return RecoveryCodesReply(await hub.second_factors.activate_app(call.actor, call.body.state, call.body.code))


async def _remove_app(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> None:
    await hub.second_factors.remove_app(call.actor)


async def _new_codes(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> RecoveryCodesReply:
    return RecoveryCodesReply(await hub.second_factors.new_recovery_codes(call.actor))


async def _passkey_options(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> CreationOptions:
    return await hub.second_factors.passkey_options(call.actor, _party(call))


async def _add_passkey(hub: HubServices, call: ApiRequest[NewPasskeyBody, Nothing]) -> NewPasskeyReply:
    body = call.body
    added, codes = await hub.second_factors.add_passkey(call.actor, _party(call), body.name, _text(body.credential))
    return NewPasskeyReply(_shown(added), codes)


async def _rename_passkey(hub: HubServices, call: ApiRequest[PasskeyName, Nothing]) -> None:
    await hub.second_factors.rename_passkey(call.actor, _passkey_id(call), call.body.name)


async def _remove_passkey(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> None:
    await hub.second_factors.remove_passkey(call.actor, _passkey_id(call))


def _passkey_id(call: ApiRequest[Any, Nothing]) -> int:
    number = call.path["id"]
    if not (number.isascii() and number.isdigit() and len(number) < 19):
        raise NotFound("no such passkey")
    return int(number)


async def _confirmation_options(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> ConfirmationOptions:
    return ConfirmationOptions(await hub.confirmations.passkey_options(call.actor, _party(call)))


async def _confirm(hub: HubServices, call: ApiRequest[Confirmation, Nothing]) -> None:
    body = call.body
    if body.credential is not None:
        await hub.confirmations.by_passkey(call.actor, _party(call), _text(body.credential))
    elif body.otp:
        await hub.confirmations.by_code(call.actor, body.otp, call.address)
    elif body.password:
        await hub.confirmations.by_password(call.actor, body.password)
    else:
        raise Invalid({"password": "is required, or otp, or credential"})


async def _reset(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> None:
    await hub.second_factors.reset(call.actor, call.path["username"])


ENDPOINTS = (
    Endpoint(
        "POST",
        "/api/v1/sessions",
        "Sign in: get a session's token",
        _sign_in,
        body=SignIn,
        reply=SessionReply,
        status=HTTPStatus.CREATED,
        action=HubAction.SIGN_IN,
    ),
    Endpoint(
        "GET", _ROOT, "Get your second factors", _get, action=HubAction.VIEW_SECOND_FACTORS, reply=SecondFactorsReply
    ),
    Endpoint(
        "POST",
        f"{_ROOT}/app/new",
        "Get a secret for a new authenticator app",
        _new_app,
        action=HubAction.ADD_SECOND_FACTOR,
        reply=NewAppReply,
    ),
    Endpoint(
        "PUT",
        f"{_ROOT}/app",
        "Activate an authenticator app by a code that it shows",
        _activate_app,
        action=HubAction.ADD_SECOND_FACTOR,
        body=AppActivation,
        reply=RecoveryCodesReply,
    ),
    Endpoint(
        "DELETE",
        f"{_ROOT}/app",
        "Remove your authenticator app",
        _remove_app,
        action=HubAction.REMOVE_SECOND_FACTOR,
        status=HTTPStatus.NO_CONTENT,
    ),
    Endpoint(
        "POST",
        f"{_ROOT}/recovery-codes",
        "Replace your recovery codes",
        _new_codes,
        action=HubAction.REPLACE_RECOVERY_CODES,
        reply=RecoveryCodesReply,
    ),
    Endpoint(
        "POST",
        f"{_ROOT}/passkeys/options",
        "Begin to add a passkey",
        _passkey_options,
        action=HubAction.ADD_SECOND_FACTOR,
        reply=CreationOptions,
    ),
    Endpoint(
        "POST",
        f"{_ROOT}/passkeys",
        "Add a passkey",
        _add_passkey,
        action=HubAction.ADD_SECOND_FACTOR,
        body=NewPasskeyBody,
        reply=NewPasskeyReply,
        status=HTTPStatus.CREATED,
    ),
    Endpoint(
        "PATCH",
        f"{_ROOT}/passkeys/{{id}}",
        "Rename a passkey",
        _rename_passkey,
        action=HubAction.RENAME_SECOND_FACTOR,
        body=PasskeyName,
        status=HTTPStatus.NO_CONTENT,
    ),
    Endpoint(
        "DELETE",
        f"{_ROOT}/passkeys/{{id}}",
        "Remove a passkey",
        _remove_passkey,
        action=HubAction.REMOVE_SECOND_FACTOR,
        status=HTTPStatus.NO_CONTENT,
    ),
    Endpoint(
        "POST",
        "/api/v1/users/me/confirmation/options",
        "Begin to confirm your session with a passkey",
        _confirmation_options,
        action=HubAction.CONFIRM_SESSION,
        reply=ConfirmationOptions,
    ),
    Endpoint(
        "POST",
        "/api/v1/users/me/confirmation",
        "Confirm your session by password, code or passkey, for 10 minutes",
        _confirm,
        action=HubAction.CONFIRM_SESSION,
        body=Confirmation,
        status=HTTPStatus.NO_CONTENT,
    ),
    Endpoint(
        "POST",
        "/api/v1/users/{username}/reset-second-factors",
        "Remove all second factors of an account (administrators only)",
        _reset,
        action=HubAction.RESET_SECOND_FACTORS,
        status=HTTPStatus.NO_CONTENT,
    ),
)
