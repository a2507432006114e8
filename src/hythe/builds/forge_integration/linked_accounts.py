"""Linked accounts: users' accounts at forges, with sealed tokens that only their owners can use."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import msgspec

from hythe.builds.forge_integration.errors import ForgeRequestFailed, hub_errors
from hythe.builds.sql import linked_accounts as rows
from hythe.builds.sql.linked_accounts import LinkedAccount
from hythe.database import Database, Session
from hythe.forges.configured import ConfiguredForges
from hythe.forges.errors import ForgeError, TokenRefused
from hythe.forges.oauth import ForgeToken, OAuth, authorization_url
from hythe.forges.port import Forge, ForgeClient, ForgeRepository, RepositoryPage
from hythe.forges.source_ref import ForgeKind, SourceRef
from hythe.hub.access.actions import HubAction
from hythe.hub.access.decision import HubAccess
from hythe.hub.actor import HubActor
from hythe.hub.errors import Invalid, NotFound, Refused
from hythe.hub.logs import audit
from hythe.hub.secret_box import SecretBox, SecretLost
from hythe.registry.clock import Clock

TOKEN_PURPOSE = "forge token"  # noqa: S105 (the name of a purpose)
STATE_PURPOSE = "forge authorization"
STATE_LIFETIME = timedelta(minutes=15)
CALLBACK_PATH = "/account/linked-accounts/authorized"
"""Path of the redirect URI that is registered at forges."""
MAX_TOKEN_LENGTH = 1000
MAX_NAME_LENGTH = 255


class ForgeOffer(msgspec.Struct, frozen=True, kw_only=True):
    """A forge that users can link accounts of, and the permissions that linking needs."""

    kind: ForgeKind
    url: str
    title: str
    oauth: bool
    public_rights: str
    private_rights: str
    scopes: tuple[str, ...]
    """The scopes that a pasted token needs, including access to private code."""
    public_scopes: tuple[str, ...]
    token_page: str
    token_hint: str


class _State(msgspec.Struct, frozen=True):
    """The sealed OAuth state: the user who started, the forge, and the PKCE verifier."""

    user_id: int
    url: str
    verifier: str
    until: datetime


class LinkedAccountService:
    """Links, lists and uses accounts. Methods raise SignInNeeded, Refused, NotFound, ForgeRequestFailed."""

    def __init__(
        self, database: Database, access: HubAccess, secret_box: SecretBox, forges: ConfiguredForges, clock: Clock
    ) -> None:
        self._database = database
        self._access = access
        self._secret_box = secret_box
        self._forges = forges
        self._clock = clock

    @property
    def offers(self) -> tuple[ForgeOffer, ...]:
        """The forges that users can link accounts of."""
        return tuple(self._offer(forge) for forge in self._forges.all)

    def _offer(self, forge: Forge) -> ForgeOffer:
        return ForgeOffer(
            kind=forge.kind,
            url=forge.url,
            title=forge.title,
            oauth=bool(self._forges.oauth_client(forge).id),
            public_rights=forge.public.purpose,
            private_rights=forge.private.purpose,
            scopes=forge.private.scopes,
            public_scopes=forge.public.scopes,
            token_page=forge.token_page,
            token_hint=forge.token_hint,
        )

    def authorization_url(self, actor: HubActor, url: str, hub_url: str, *, private: bool) -> str:
        """Return the URL at the forge where the user authorizes the hub. ``private``: including private code."""
        user_id = self._access.require_account(actor, HubAction.LINK_ACCOUNT)
        forge = self._forge(url)
        client = self._forges.oauth_client(forge)
        if not client.id:
            raise Refused(f"this hub is not registered at {forge.title}", "paste a token instead")
        state = _State(user_id, forge.url, secrets.token_urlsafe(48), self._clock() + STATE_LIFETIME)
        return authorization_url(
            forge,
            client,
            forge.private if private else forge.public,
            redirect_uri=f"{hub_url}{CALLBACK_PATH}",
            state=self._secret_box.seal(STATE_PURPOSE, msgspec.json.encode(state).decode()),
            verifier=state.verifier,
        )

    async def complete_authorization(self, actor: HubActor, hub_url: str, state: str, code: str) -> LinkedAccount:
        """Link the account after the forge has redirected the browser back.

        Raises Refused if another user started the authorization, or if it expired.
        """
        started = self._unsealed_state(self._access.require_account(actor, HubAction.LINK_ACCOUNT), state)
        forge = self._forge(started.url)
        with hub_errors():
            token = await self._oauth(forge).exchange(
                code, redirect_uri=f"{hub_url}{CALLBACK_PATH}", verifier=started.verifier, now=self._clock()
            )
            return await self._add(actor, started.user_id, forge, token, oauth=True)

    def _unsealed_state(self, user_id: int, state: str) -> _State:
        try:
            started = msgspec.json.decode(self._secret_box.unseal(STATE_PURPOSE, state), type=_State)
        except (SecretLost, msgspec.MsgspecError) as error:
            raise Refused("invalid authorization state", "link the account from your account page") from error
        if started.user_id != user_id or started.until < self._clock():
            raise Refused("another user started this authorization, or it expired", "link the account again")
        return started

    async def add_token(self, actor: HubActor, url: str, token: str) -> LinkedAccount:
        """Link an account with an access token that the user created. Raises Invalid."""
        user_id = self._access.require_account(actor, HubAction.LINK_ACCOUNT)
        forge = self._forge(url)
        stripped = token.strip()
        if not stripped or len(stripped) > MAX_TOKEN_LENGTH or not stripped.isascii() or not stripped.isprintable():
            raise Invalid({"token": "is not an access token: copy it from the forge again"})
        try:
            with hub_errors():
                return await self._add(actor, user_id, forge, ForgeToken(access=stripped), oauth=False)
        except ForgeRequestFailed as error:
            if isinstance(error.cause, TokenRefused):
                raise Invalid({"token": f"was refused: {error.message}"}) from error
            raise

    async def _add(
        self, actor: HubActor, user_id: int, forge: Forge, token: ForgeToken, *, oauth: bool
    ) -> LinkedAccount:
        remote = await forge.client(token.access).account()
        account = LinkedAccount(
            id=0,
            user_id=user_id,
            kind=forge.kind,
            url=forge.url,
            account_id=remote.id[:100],
            login=remote.login[:250],
            scopes=remote.scopes,
            oauth=oauth,
            problem="",
            created_at=self._clock(),
        )
        async with self._database.writing() as session:
            linked_account_id = await rows.put(session, account, self._seal(token))
            await self._record(session, actor, HubAction.LINK_ACCOUNT, account)
        return msgspec.structs.replace(account, id=linked_account_id)

    async def list_own(self, actor: HubActor) -> list[LinkedAccount]:
        """Return the actor's linked accounts."""
        user_id = self._access.require_account(actor, HubAction.VIEW_LINKED_ACCOUNTS)
        async with self._database.reading() as session:
            return await rows.of_user(session, user_id)

    async def get(self, actor: HubActor, linked_account_id: int) -> LinkedAccount:
        """Return one of the actor's linked accounts."""
        user_id = self._access.require_account(actor, HubAction.VIEW_LINKED_ACCOUNTS)
        async with self._database.reading() as session:
            account = await rows.get_own(session, linked_account_id, user_id)
        if account is None:
            raise NotFound(f"you have no linked account {linked_account_id}")
        return account

    async def repositories(self, actor: HubActor, linked_account_id: int, query: str, page: int) -> RepositoryPage:
        """Return repositories that the account can access."""
        account = await self.get(actor, linked_account_id)
        async with self.client_of(account.id) as client:
            return await client.repositories(query.strip()[:100], max(1, min(page, 1000)))

    async def repository(self, actor: HubActor, linked_account_id: int, name: str) -> ForgeRepository:
        """Return one repository that the account can access."""
        account = await self.get(actor, linked_account_id)
        async with self.client_of(account.id) as client:
            return await client.repository(validated_name(name))

    async def refs(self, actor: HubActor, linked_account_id: int, name: str) -> tuple[SourceRef, ...]:
        """Return the branches and tags of a repository that the account can access."""
        account = await self.get(actor, linked_account_id)
        async with self.client_of(account.id) as client:
            return await client.refs(validated_name(name))

    async def refs_of_url(self, actor: HubActor, url: str) -> tuple[str, tuple[SourceRef, ...]]:
        """Return the default branch and the refs of a public git URL.

        Requires an account, because the hub sends a request to another server.
        """
        self._access.require_account(actor, HubAction.VIEW_LINKED_ACCOUNTS)
        with hub_errors():
            return await self._forges.list_refs(url)

    @asynccontextmanager
    async def client_of(self, linked_account_id: int) -> AsyncIterator[ForgeClient]:
        """Provide the forge's API with the account's token. The caller must have checked that it can be used.

        Records a refused token with the account. Raises NotFound; ForgeErrors leave the block as ForgeRequestFailed.
        """
        try:
            with hub_errors():
                forge, token = await self._forge_and_token(linked_account_id)
                yield forge.client(token.access)
        except ForgeRequestFailed as error:
            if isinstance(error.cause, TokenRefused):
                async with self._database.writing() as session:
                    await rows.set_problem(session, linked_account_id, error.message)
            raise

    async def _forge_and_token(self, linked_account_id: int) -> tuple[Forge, ForgeToken]:
        async with self._database.reading() as session:
            account = await rows.get(session, linked_account_id)
            sealed = await rows.sealed_token(session, linked_account_id)
        if account is None or sealed is None:
            raise NotFound("this linked account no longer exists", "link an account in the build configuration")
        forge = self._forge(account.url)
        token = self._unseal(sealed)
        return forge, await self._refreshed(account.id, forge, token) if token.needs_refresh(self._clock()) else token

    async def _refreshed(self, linked_account_id: int, forge: Forge, token: ForgeToken) -> ForgeToken:
        try:
            refreshed = await self._oauth(forge).refresh(token, self._clock())
        except TokenRefused:
            # A concurrent request may have refreshed it: a refresh token is valid once.
            async with self._database.reading() as session:
                sealed = await rows.sealed_token(session, linked_account_id)
            current = self._unseal(sealed or "")
            if current.access == token.access:
                raise
            return current
        async with self._database.writing() as session:
            await rows.set_token(session, linked_account_id, self._seal(refreshed))
        return refreshed

    async def delete(self, account: LinkedAccount, actor: HubActor) -> str:
        """Revoke the account's token and delete the account. Return what the user must do at the forge, or "".

        Users call ``ForgeWebhookService.unlink``, which removes webhooks and deploy keys first.
        """
        remaining = await self._revoke(account)
        async with self._database.writing() as session:
            await rows.remove(session, account.id)
            await self._record(session, actor, HubAction.UNLINK_ACCOUNT, account)
        return remaining

    async def _revoke(self, account: LinkedAccount) -> str:
        try:
            forge, token = await self._forge_and_token(account.id)
            if not account.oauth:
                return f"the token that you pasted: if nothing else uses it, delete it at {forge.token_page}"
            return await self._oauth(forge).revoke(token)
        except TokenRefused:
            return ""
        except (ForgeError, ForgeRequestFailed, NotFound, SecretLost) as error:
            return f"the token: {error}"

    def _forge(self, url: str) -> Forge:
        with hub_errors():
            return self._forges.get(url)

    def _oauth(self, forge: Forge) -> OAuth:
        return OAuth(self._forges.session, forge, self._forges.oauth_client(forge))

    def _seal(self, token: ForgeToken) -> str:
        return self._secret_box.seal(TOKEN_PURPOSE, msgspec.json.encode(token).decode())

    def _unseal(self, sealed: str) -> ForgeToken:
        return msgspec.json.decode(self._secret_box.unseal(TOKEN_PURPOSE, sealed), type=ForgeToken)

    async def _record(self, session: Session, actor: HubActor, action: HubAction, account: LinkedAccount) -> None:
        detail = {"forge": account.url, "login": account.login}
        await audit.record(session, actor, action, actor.name, at=self._clock(), namespace=actor.name, detail=detail)


def validated_name(name: str) -> str:
    """Return a repository's name at a forge (OWNER/NAME, with more parts at GitLab). Raises Invalid."""
    parts = name.strip("/").split("/")
    valid = len(parts) >= 2 and all(part not in ("", ".", "..") for part in parts)
    if not valid or len(name) > MAX_NAME_LENGTH or not name.isprintable():
        raise Invalid({"repository": "must be OWNER/NAME, as the forge spells it"})
    return name.strip("/")
