"""The second factors of an account: its authenticator app, passkeys and recovery codes.

With the first factor, the password alone stops working everywhere, sessions in other browsers and logins by password
end, and the user gets recovery codes. Every change needs a confirmed session (``confirmations``).
"""

import asyncio
from collections.abc import Callable
from datetime import datetime

import msgspec
from sqlalchemy.exc import IntegrityError

from hythe.database import Database, Session
from hythe.hub.access.actions import HubAction
from hythe.hub.access.decision import HubAccess
from hythe.hub.accounts.namespaces import could_be_name
from hythe.hub.actor import HubActor
from hythe.hub.errors import Invalid, NotFound, Refused
from hythe.hub.logs import audit
from hythe.hub.secret_box import SecretBox
from hythe.hub.sign_in import totp
from hythe.hub.sign_in.confirmations import ConfirmationService
from hythe.hub.sign_in.factor_checks import RECOVERY_PURPOSE, TOTP_PURPOSE
from hythe.hub.sign_in.passkey import Passkey
from hythe.hub.sign_in.passkeys import CreationOptions, Passkeys, RelyingParty, new_user_handle
from hythe.hub.sign_in.sign_in_states import SignInStates, StatePurpose
from hythe.hub.sql import passkeys as passkey_store
from hythe.hub.sql import second_factors as store
from hythe.hub.sql import totp as totp_store
from hythe.hub.sql import users as user_store

MAX_PASSKEYS = 25
"""Passkeys of one account."""

_NAME_LENGTH = 100


class SecondFactors(msgspec.Struct, frozen=True):
    """What an account signs in with besides its password.

    ``app_since`` None: no authenticator app. ``required_by`` has organizations that require a second factor.
    """

    app_since: datetime | None
    recovery_codes: int
    passkeys: tuple[Passkey, ...]
    required_by: tuple[str, ...]

    @property
    def active(self) -> bool:
        """Whether the password alone does not sign in."""
        return self.app_since is not None or bool(self.passkeys)

    @property
    def last(self) -> bool:
        """Whether only one factor is left."""
        return len(self.passkeys) + (self.app_since is not None) == 1


class NewApp(msgspec.Struct, frozen=True):
    """A secret for an authenticator app. It becomes active when ``state`` comes back with a code of the app."""

    secret: str
    uri: str
    state: str


class SecondFactorService:
    """Adds, shows and removes second factors."""

    def __init__(
        self,
        database: Database,
        access: HubAccess,
        confirmations: ConfirmationService,
        passkeys: Passkeys,
        states: SignInStates,
        secret_box: SecretBox,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._access = access
        self._confirmations = confirmations
        self._passkeys = passkeys
        self._states = states
        self._secret_box = secret_box
        self._recovery_key = secret_box.derive(RECOVERY_PURPOSE)
        self._clock = clock

    async def get(self, actor: HubActor) -> SecondFactors:
        """Return the actor's second factors. Raises SignInNeeded, Refused."""
        user_id = self._access.require_account(actor, HubAction.VIEW_SECOND_FACTORS)
        async with self._database.reading() as session:
            app = await totp_store.of_user(session, user_id)
            return SecondFactors(
                app.created_at if app else None,
                await store.recovery_code_count(session, user_id),
                await passkey_store.of_user(session, user_id),
                await store.requiring(session, user_id),
            )

    async def new_app(self, actor: HubActor, host: str) -> NewApp:
        """Return a secret for an app, which shows the name of this ``host``. Raises Refused, ConfirmationNeeded."""
        user_id = await self._confirmations.require(actor)
        secret = totp.new_secret()
        return self._app(actor, secret, host, self._states.issue(StatePurpose.NEW_APP, str(user_id), secret))

    def same_app(self, actor: HubActor, state: str, host: str) -> NewApp:
        """Return what ``new_app`` returned, to show it again after a wrong code. Raises StateExpired."""
        opened = self._states.read(StatePurpose.NEW_APP, state, str(actor.user_id))
        return self._app(actor, opened.data, host, state)

    def _app(self, actor: HubActor, secret: str, host: str, state: str) -> NewApp:
        return NewApp(secret, totp.app_uri(secret, actor.name, host), state)

    async def activate_app(self, actor: HubActor, state: str, code: str) -> tuple[str, ...]:
        """Make a new app the account's, in place of an older one. Return recovery codes if the account had none.

        Raises Refused, ConfirmationNeeded, StateExpired, Invalid.
        """
        user_id = await self._confirmations.require(actor)
        opened = self._states.read(StatePurpose.NEW_APP, state, str(user_id))
        now = self._clock()
        step = totp.matching_step(opened.data, totp.normalized(code), now)
        if step is None:
            raise Invalid({"code": "is not what the app shows now: check the clock of your device"})
        sealed = self._secret_box.seal(TOTP_PURPOSE, opened.data)
        async with self._database.writing() as session:
            await self._states.spend(session, state, opened)
            await totp_store.replace(session, user_id, sealed, step, now)
            return await self._added(session, actor, user_id, "authenticator app")

    async def remove_app(self, actor: HubActor) -> None:
        """Remove the account's app. Raises Refused, ConfirmationNeeded, NotFound."""
        user_id = await self._confirmations.require(actor)
        async with self._database.writing() as session:
            if not await totp_store.remove(session, user_id):
                raise NotFound("you have no authenticator app")
            await self._removed(session, actor, user_id, "authenticator app")

    async def new_recovery_codes(self, actor: HubActor) -> tuple[str, ...]:
        """Replace the recovery codes and return the new ones. Raises Refused, ConfirmationNeeded."""
        user_id = await self._confirmations.require(actor)
        async with self._database.writing() as session:
            if not await store.has_second_factor(session, user_id):
                raise Refused("recovery codes need a second factor", "add an authenticator app or a passkey first")
            await audit.record(
                session, actor, HubAction.REPLACE_RECOVERY_CODES, actor.name, namespace=actor.name, at=self._clock()
            )
            return await self._replace_codes(session, user_id)

    async def passkey_options(self, actor: HubActor, party: RelyingParty) -> CreationOptions:
        """Return the options for a new passkey. Raises Refused, ConfirmationNeeded."""
        user_id = await self._confirmations.require(actor)
        async with self._database.reading() as session:
            existing = await passkey_store.of_user(session, user_id)
            handle = await passkey_store.user_handle(session, user_id)
        _require_room(existing)
        return self._passkeys.creation_options(party, _holder(actor), actor.name, handle or new_user_handle(), existing)

    async def add_passkey(
        self, actor: HubActor, party: RelyingParty, name: str, response: str
    ) -> tuple[Passkey, tuple[str, ...]]:
        """Add a passkey; return it, and recovery codes if the account had none.

        Raises Refused, ConfirmationNeeded, StateExpired, Invalid.
        """
        user_id = await self._confirmations.require(actor)
        name = _checked_name(name)
        new = await self._passkeys.verify_new(party, _holder(actor), response)
        now = self._clock()
        value = Passkey(0, new.credential_id, name, new.transports, new.backed_up, now)
        try:
            async with self._database.writing() as session:
                await self._passkeys.spend_new(session, new)
                _require_room(await passkey_store.of_user(session, user_id))
                added = await passkey_store.add(
                    session, user_id, value, new.user_handle, new.public_key, new.sign_count
                )
                return added, await self._added(session, actor, user_id, f"passkey {name}")
        except IntegrityError as error:
            raise Invalid({"credential": "is registered already"}) from error

    async def rename_passkey(self, actor: HubActor, passkey_id: int, name: str) -> None:
        """Rename one of the actor's passkeys. Raises NotFound, Invalid, Refused."""
        user_id = self._access.require_account(actor, HubAction.RENAME_SECOND_FACTOR)
        async with self._database.writing() as session:
            if not await passkey_store.rename(session, user_id, passkey_id, _checked_name(name)):
                raise NotFound(f"you have no passkey with id {passkey_id}")
            detail = {"id": passkey_id, "name": name}
            await audit.record(
                session,
                actor,
                HubAction.RENAME_SECOND_FACTOR,
                actor.name,
                namespace=actor.name,
                detail=detail,
                at=self._clock(),
            )

    async def remove_passkey(self, actor: HubActor, passkey_id: int) -> None:
        """Remove one of the actor's passkeys. Raises Refused, ConfirmationNeeded, NotFound."""
        user_id = await self._confirmations.require(actor)
        async with self._database.writing() as session:
            if not await passkey_store.remove(session, user_id, passkey_id):
                raise NotFound(f"you have no passkey with id {passkey_id}")
            await self._removed(session, actor, user_id, f"passkey {passkey_id}")

    async def reset(self, actor: HubActor, name: str) -> None:
        """Remove all second factors of another account, whose user lost them; for administrators.

        Its sessions and logins end, and the password alone signs in again.

        Raises NotFound, Refused, ConfirmationNeeded.
        """
        await self._confirmations.require_on_hub(actor, HubAction.RESET_SECOND_FACTORS)
        async with self._database.writing() as session:
            found = await user_store.by_name(session, name) if could_be_name(name) else None
            if found is None:
                raise NotFound(f"user {name!r} does not exist", "'hythe admin list-users' shows all accounts")
            if found.id == actor.user_id:
                raise Refused("you cannot reset your own second factors", "remove them on the page of your account")
            await totp_store.remove(session, found.id)
            await passkey_store.remove_of_user(session, found.id)
            await store.replace_recovery_codes(session, found.id, ())
            await store.mark(session, found.id)
            await store.end_logins(session, found.id)
            await audit.record(session, actor, HubAction.RESET_SECOND_FACTORS, name, namespace=name, at=self._clock())

    async def _added(self, session: Session, actor: HubActor, user_id: int, factor: str) -> tuple[str, ...]:
        """Turn two-factor authentication on; return recovery codes if the account has none."""
        await self._record(session, actor, HubAction.ADD_SECOND_FACTOR, factor)
        if not await store.has_second_factor(session, user_id):
            await store.mark(session, user_id)
            await store.end_logins(session, user_id, actor.session_id)
        if await store.recovery_code_count(session, user_id):
            return ()
        return await self._replace_codes(session, user_id)

    async def _removed(self, session: Session, actor: HubActor, user_id: int, factor: str) -> None:
        """Turn two-factor authentication off with the last factor. Raises Refused if an organization requires one."""
        await self._record(session, actor, HubAction.REMOVE_SECOND_FACTOR, factor)
        if await store.mark(session, user_id):
            return
        if required := await store.requiring(session, user_id):
            raise Refused(
                f"{', '.join(required)} requires a second factor of its members",
                "add another one before you remove the last one, or leave the organization",
            )
        await store.replace_recovery_codes(session, user_id, ())

    async def _replace_codes(self, session: Session, user_id: int) -> tuple[str, ...]:
        codes = totp.new_recovery_codes()
        digests = {totp.recovery_digest(self._recovery_key, user_id, code) for code in codes}
        await store.replace_recovery_codes(session, user_id, digests)
        return codes

    async def _record(self, session: Session, actor: HubActor, action: HubAction, factor: str) -> None:
        name, detail = actor.name, {"factor": factor}
        await audit.record(session, actor, action, name, at=self._clock(), namespace=name, detail=detail)


async def qr_code(app: NewApp) -> str:
    """Return the QR code of a new app as an SVG element."""
    return await asyncio.to_thread(totp.qr_code, app.uri)


def _holder(actor: HubActor) -> str:
    """Return who may send the response for a new passkey: this session, or this account by its password."""
    return f"{actor.user_id} {actor.session_id}"


def _checked_name(name: str) -> str:
    """Return the name of a passkey. Raises Invalid."""
    if not 1 <= len(name.strip()) <= _NAME_LENGTH:
        raise Invalid({"name": f"must have 1 to {_NAME_LENGTH} characters"})
    return name.strip()


def _require_room(existing: tuple[Passkey, ...]) -> None:
    if len(existing) >= MAX_PASSKEYS:
        raise Refused(f"an account can have {MAX_PASSKEYS} passkeys", "remove one that you do not use")
