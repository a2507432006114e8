"""Sign-in with other systems in the browser, and the identities that are linked to an account.

What a sign-in that is under way needs is sealed in a cookie of the browser that began it, so nothing is stored for
those who never come back, and no other browser can complete it.
"""

import hmac
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TypeVar

import msgspec

from hythe.database import Database
from hythe.hub.access.actions import HubAction
from hythe.hub.access.decision import HubAccess
from hythe.hub.accounts.email_addresses import EmailAddresses
from hythe.hub.actor import HubActor
from hythe.hub.errors import Invalid, NotFound, ProviderDown, Refused, SecondFactorNeeded, Taken
from hythe.hub.logs import audit
from hythe.hub.secret_box import SecretBox, SecretLost
from hythe.hub.sign_in.confirmations import ConfirmationService
from hythe.hub.sign_in.credentials import actor_of_account
from hythe.hub.sign_in.failure_report import reporting
from hythe.hub.sign_in.identity_accounts import MAX_IDENTITIES, IdentityAccounts, NewAccount, suggested_name
from hythe.hub.sign_in.sign_in_states import SignInStates, pending_state
from hythe.hub.sql import identities as store
from hythe.hub.sql.identities import IdentityHolder
from hythe.identity_providers.configured import IdentityProviders
from hythe.identity_providers.errors import IdentityRejected, ProviderUnavailable
from hythe.identity_providers.external_identity import ExternalIdentity
from hythe.identity_providers.ldap.directory import ISSUER as LDAP
from hythe.identity_providers.port import SECRET_SIZE, AuthorizationRequest, IdentityProvider

LIFETIME = timedelta(minutes=15)
"""How long a user can take at the provider, and to choose a name."""

MAX_TARGET_LENGTH = 500
MAX_COOKIE_LENGTH = 3900

_STARTED = "identity: sign-in under way"
_UNNAMED = "identity: account without a name"


class ProviderOffer(msgspec.Struct, frozen=True):
    """A provider that users can sign in with."""

    name: str
    title: str


class LinkedIdentity(msgspec.Struct, frozen=True):
    """An identity of an account; ``provider`` is what users call it."""

    id: int
    provider: str
    email: str
    created_at: datetime
    signed_in_at: datetime | None


class Redirection(msgspec.Struct, frozen=True):
    """Where to send the browser, with the cookie to set."""

    url: str
    cookie: str


class ConfirmationMeans(msgspec.Struct, frozen=True):
    """What users can confirm with that it is them, besides their second factors."""

    password: bool
    providers: tuple[ProviderOffer, ...]


class Completed(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a sign-in at the provider: a user (``actor``), a name to choose (``cookie``), or neither.

    Without them, it was begun in a session, which has ``linked`` the identity, or which the identity has confirmed.
    """

    target: str
    actor: HubActor | None = None
    cookie: str = ""
    linked: bool = False


class UnnamedAccount(msgspec.Struct, frozen=True, kw_only=True):
    """A provider's user who has no account yet, and what the form suggests."""

    provider: str
    username: str
    email: str
    email_verified: bool


class _Started(msgspec.Struct, frozen=True, kw_only=True):
    """``user_id``: the account to link the identity to, or whose session it confirms; None: a sign-in.

    ``began_at``: when a confirmation began; None: it is none.
    """

    provider: str
    state: str
    nonce: str
    verifier: str
    redirect_uri: str
    target: str
    user_id: int | None
    began_at: datetime | None = None
    expires: int


class _Unnamed(msgspec.Struct, frozen=True, kw_only=True):
    provider: str
    identity: ExternalIdentity
    target: str
    expires: int


_Sealed = TypeVar("_Sealed", _Started, _Unnamed)


class IdentityService:
    """Signs in, links and unlinks."""

    def __init__(
        self,
        database: Database,
        access: HubAccess,
        confirmations: ConfirmationService,
        accounts: IdentityAccounts,
        emails: EmailAddresses,
        states: SignInStates,
        secret_box: SecretBox,
        providers: IdentityProviders,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._access = access
        self._confirmations = confirmations
        self.accounts = accounts
        self._emails = emails
        self._states = states
        self._secret_box = secret_box
        self._providers = providers
        self._clock = clock

    @property
    def offers(self) -> tuple[ProviderOffer, ...]:
        """The providers, in the order of the setting."""
        return tuple(ProviderOffer(each.name, each.title) for each in self._providers.all)

    def _provider(self, name: str) -> IdentityProvider:
        provider = self._providers.get(name)
        if provider is None:
            raise NotFound(f"this hub has no identity provider {name}")
        return provider

    async def begin_sign_in(self, name: str, hub_url: str, target: str) -> Redirection:
        """Return the provider's address; ``target`` is the path to show afterwards. Raises NotFound, ProviderDown."""
        return await self._begin(name, hub_url, target, None)

    async def begin_link(self, actor: HubActor, name: str, hub_url: str) -> Redirection:
        """Begin to link an identity to the actor's account, who must have signed in or confirmed it just now.

        Raises NotFound, ProviderDown, SignInNeeded, ConfirmationNeeded.
        """
        user_id = self._access.require_account(actor, HubAction.LINK_IDENTITY)
        await self._confirmations.require(actor)
        return await self._begin(name, hub_url, "/account/identities", user_id)

    async def begin_confirmation(self, actor: HubActor, name: str, hub_url: str, target: str) -> Redirection:
        """Begin to confirm the actor's session by an identity that is linked to their account.

        Raises NotFound, ProviderDown, SignInNeeded; Refused if the provider cannot prove that the user signed in again.
        """
        user_id = self._access.require_account(actor, HubAction.CONFIRM_SESSION)
        provider = self._provider(name)
        if not provider.proves_sign_in:
            raise Refused(f"{provider.title} cannot confirm that it is still you", "sign out, and sign in again")
        return await self._begin(name, hub_url, target, user_id, confirms=True)

    async def confirmation_means(self, actor: HubActor) -> ConfirmationMeans:
        """Return what the actor can confirm their session with. Raises SignInNeeded."""
        user_id = self._access.require_account(actor, HubAction.CONFIRM_SESSION)
        async with self._database.reading() as session:
            linked = {each.issuer for each in await store.of_user(session, user_id, MAX_IDENTITIES)}
            has_password = await store.has_password(session, user_id)
        proving = [each for each in self._providers.all if each.issuer in linked and each.proves_sign_in]
        offers = tuple(ProviderOffer(each.name, each.title) for each in proving)
        return ConfirmationMeans(has_password or LDAP in linked, offers)

    async def _begin(
        self, name: str, hub_url: str, target: str, user_id: int | None, *, confirms: bool = False
    ) -> Redirection:
        provider = self._provider(name)
        state, nonce, verifier = (secrets.token_urlsafe(SECRET_SIZE) for _ in range(3))
        redirect_uri, began_at = f"{hub_url}{callback_path(name)}", self._clock() if confirms else None
        authorization = AuthorizationRequest(
            state=state, nonce=nonce, verifier=verifier, redirect_uri=redirect_uri, began_at=began_at
        )
        with _hub_errors():
            url = await provider.authorization_url(authorization)
        started = _Started(
            provider=name,
            target=target if len(target) <= MAX_TARGET_LENGTH else "/",
            user_id=user_id,
            expires=self._expiry(),
            **msgspec.structs.asdict(authorization),
        )
        return Redirection(url, self._sealed(_STARTED, started))

    async def complete(self, name: str, response: Mapping[str, str], cookie: str, actor: HubActor) -> Completed:
        """Complete a sign-in with the query of the address that the provider redirected the browser to.

        ``actor`` is the user of the browser's session, if it has one, with the client's address. Raises NotFound,
        Refused, Taken, AccountBlocked, ProviderDown, and SecondFactorNeeded with the state of the sign-in.
        """
        with reporting("identity", "", actor.address):
            return await self._complete(self._provider(name), response, cookie, actor)

    async def _complete(
        self, provider: IdentityProvider, response: Mapping[str, str], cookie: str, actor: HubActor
    ) -> Completed:
        started = self._started(provider.name, response, cookie)
        authorization = AuthorizationRequest(
            state=started.state,
            nonce=started.nonce,
            verifier=started.verifier,
            redirect_uri=started.redirect_uri,
            began_at=started.began_at,
        )
        if started.user_id is not None and started.user_id != actor.user_id:
            raise Refused("you have signed in as another user since you began", "begin again")
        with _hub_errors():
            identity = await provider.identify(response, authorization, self._clock())
        if started.began_at is not None:
            await self._confirmations.by_identity(actor, await self._holder_id(identity))
            return Completed(target=started.target)
        if started.user_id is not None:
            await self.accounts.link(actor, started.user_id, identity, provider.rules)
            return Completed(target=started.target, linked=True)
        by = HubActor(identity.user_name, address=actor.address, credential=f"identity {provider.name}")
        found = await self.accounts.sign_in(identity, provider.rules, by)
        if found is None:
            found = await self._create(identity, provider, by)
        if found is None:
            unnamed = _Unnamed(
                provider=provider.name,
                identity=_kept(identity, provider),
                target=started.target,
                expires=self._expiry(),
            )
            return Completed(target=started.target, cookie=self._sealed(_UNNAMED, unnamed))
        return Completed(target=started.target, actor=self._signed_in(found, by))

    async def _holder_id(self, identity: ExternalIdentity) -> int | None:
        async with self._database.reading() as session:
            found = await store.holder(session, identity.issuer, identity.subject)
        return None if found is None else found.account.id

    async def _create(
        self, identity: ExternalIdentity, provider: IdentityProvider, by: HubActor
    ) -> IdentityHolder | None:
        """Make an account with the provider's name and address; None if the user has to choose another one."""
        new = NewAccount(identity.user_name.lower(), identity.email, identity.email_verified)
        try:
            return await self.accounts.create(identity, provider.rules, new, by, self._emails)
        except (Taken, Invalid):
            return None

    def _started(self, name: str, response: Mapping[str, str], cookie: str) -> _Started:
        started = self._unsealed(_STARTED, cookie, _Started)
        state = response.get("state", "").encode("utf-8", "replace")
        if started is None or started.provider != name or not hmac.compare_digest(started.state.encode(), state):
            raise Refused("this sign-in was not begun in this browser, or it took too long", "begin again")
        return started

    def unnamed_account(self, cookie: str) -> UnnamedAccount:
        """Return the user who has to choose a name. Raises Refused."""
        unnamed, provider = self._unnamed(cookie)
        identity = unnamed.identity
        return UnnamedAccount(
            provider=provider.title,
            username=suggested_name(identity),
            email=identity.email,
            email_verified=identity.email_verified,
        )

    def _unnamed(self, cookie: str) -> tuple[_Unnamed, IdentityProvider]:
        unnamed = self._unsealed(_UNNAMED, cookie, _Unnamed)
        if unnamed is None:
            raise Refused("this sign-in took too long, or it is complete", "sign in again")
        return unnamed, self._provider(unnamed.provider)

    async def create_account(self, cookie: str, username: str, email: str, address: str) -> Completed:
        """Make the account with the name and address that the user chose.

        Raises Refused, Invalid, Taken, TooManyAttempts, AccountBlocked.
        """
        unnamed, provider = self._unnamed(cookie)
        identity = unnamed.identity
        confirmed = identity.email_verified and email.lower() == identity.email.lower()
        by = HubActor(username, address=address, credential=f"identity {provider.name}")
        new = NewAccount(username, email, confirmed)
        found = await self.accounts.sign_in(identity, provider.rules, by)
        if found is None:
            found = await self.accounts.create(identity, provider.rules, new, by, self._emails)
        return Completed(target=unnamed.target, actor=self._signed_in(found, by))

    def _signed_in(self, found: IdentityHolder, by: HubActor) -> HubActor:
        """Return the user, with the credential of ``by``. Raises AccountBlocked, SecondFactorNeeded."""
        actor = msgspec.structs.replace(actor_of_account(found.account), credential=by.credential, address=by.address)
        if found.second_factor:
            raise SecondFactorNeeded(state=pending_state(self._states, actor))
        return actor

    async def list(self, actor: HubActor) -> tuple[LinkedIdentity, ...]:
        """Return the identities of the actor's account, oldest first. Raises SignInNeeded, Refused."""
        user_id = self._access.require_account(actor, HubAction.VIEW_IDENTITIES)
        async with self._database.reading() as session:
            found = await store.of_user(session, user_id, MAX_IDENTITIES)
        return tuple(
            LinkedIdentity(each.id, self._title(each.issuer), each.email, each.created_at, each.signed_in_at)
            for each in found
        )

    def _title(self, issuer: str) -> str:
        provider = self._providers.by_issuer(issuer)
        return provider.title if provider else "LDAP" if issuer == LDAP else issuer

    async def unlink(self, actor: HubActor, identity_id: int) -> None:
        """Unlink an identity from the actor's account, unless it is the only way to sign in.

        Raises SignInNeeded, ConfirmationNeeded, NotFound, Refused.
        """
        user_id = self._access.require_account(actor, HubAction.UNLINK_IDENTITY)
        await self._confirmations.require(actor)
        async with self._database.writing() as session:
            has_password = await store.has_password(session, user_id, lock=True)
            found = {each.id: each for each in await store.of_user(session, user_id, MAX_IDENTITIES)}
            if identity_id not in found:
                raise NotFound(f"you have no identity {identity_id}")
            others = [each for each in found.values() if each.id != identity_id and self._works(each.issuer)]
            if not (has_password or others or await store.has_passkey(session, user_id)):
                raise Refused("this is the only way to sign in to your account", "set a password first")
            await store.remove(session, user_id, identity_id)
            detail = {"issuer": found[identity_id].issuer}
            await audit.record(
                session,
                actor,
                HubAction.UNLINK_IDENTITY,
                actor.name,
                namespace=actor.name,
                detail=detail,
                at=self._clock(),
            )

    def _works(self, issuer: str) -> bool:
        return self._providers.by_issuer(issuer) is not None

    def _expiry(self) -> int:
        return int((self._clock() + LIFETIME).timestamp())

    def _sealed(self, purpose: str, value: _Started | _Unnamed) -> str:
        sealed = self._secret_box.seal(purpose, msgspec.json.encode(value).decode())
        return sealed.replace("+", "-").replace("/", "_").rstrip("=")

    def _unsealed(self, purpose: str, text: str, wanted: type[_Sealed]) -> _Sealed | None:
        """Return what a cookie contains; None if it is invalid or has expired."""
        if not text or len(text) > MAX_COOKIE_LENGTH or not text.isascii():
            return None
        sealed = text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4)
        try:
            value = msgspec.json.decode(self._secret_box.unseal(purpose, sealed), type=wanted)
        except (SecretLost, msgspec.MsgspecError):
            return None
        return value if value.expires > self._clock().timestamp() else None


@contextmanager
def _hub_errors() -> Iterator[None]:
    """Turn errors of providers into those of the hub."""
    try:
        yield
    except ProviderUnavailable as error:
        raise ProviderDown(error.message, error.hint) from error
    except IdentityRejected as error:
        raise Refused(error.message, error.hint) from error


def _kept(identity: ExternalIdentity, provider: IdentityProvider) -> ExternalIdentity:
    """Return an identity with only the groups that mean something, so that it fits into a cookie."""
    rules = provider.rules
    known = {rules.administrators, *(each.group for each in rules.teams)}
    return msgspec.structs.replace(identity, groups=identity.groups & known)


def callback_path(name: str) -> str:
    """Return the path that is registered at a provider: one for each, so that no provider can answer for another."""
    return f"/sign-in/with/{name}/authorized"
