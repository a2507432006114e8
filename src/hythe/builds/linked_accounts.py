"""Linked accounts: a user's tokens of forges, sealed; what they reach is listed, and nobody else uses them."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import msgspec

from hythe.builds.configuration import Forge
from hythe.builds.secret_box import SecretBox, SecretBoxError
from hythe.builds.sql import linked_accounts as rows
from hythe.builds.sql.linked_accounts import LinkedAccount
from hythe.database import Database
from hythe.forges.errors import ForgeError, TokenRefused
from hythe.forges.known import KnownForges
from hythe.forges.oauth import OAuth, Token, authorization_url
from hythe.forges.port import ForgeClient, ForgeRepository, RepositoryPage, Source
from hythe.forges.source_ref import SourceRef
from hythe.hub.access import HubAccess
from hythe.hub.actor import HubActor
from hythe.hub.errors import Invalid, NotFound, Refused
from hythe.registry.clock import Clock

TOKEN = "forge token"  # noqa: S105 (the name of a purpose)
STATE = "forge authorization"
STATE_LIFETIME = timedelta(minutes=15)
CALLBACK = "/account/linked-accounts/authorized"
"""Where forges send browsers back to, below the hub's address: what is registered there as redirect URI."""
LONGEST_TOKEN = 1000


class ForgeOffer(msgspec.Struct, frozen=True, kw_only=True):
    """A forge that accounts can be linked with, and what linking asks for."""

    kind: Forge
    url: str
    title: str
    oauth: bool
    public_rights: str
    private_rights: str
    scopes: tuple[str, ...]
    """What a pasted token must hold to reach private code, too."""
    public_scopes: tuple[str, ...]
    token_page: str


class _State(msgspec.Struct, frozen=True):
    """What a browser carries to the forge and back, sealed: who began, where, and the PKCE verifier."""

    user_id: int
    url: str
    verifier: str
    until: datetime


class LinkedAccounts:
    """What can be done with linked accounts. Calls raise SignInNeeded, Refused, NotFound, and what forges raise."""

    def __init__(
        self, database: Database, access: HubAccess, secret_box: SecretBox, forges: KnownForges, clock: Clock
    ) -> None:
        self._database = database
        self._access = access
        self._secret_box = secret_box
        self._forges = forges
        self._clock = clock

    @property
    def offers(self) -> tuple[ForgeOffer, ...]:
        """The forges that accounts can be linked with."""
        return tuple(self._offer(source) for source in self._forges.all)

    def _offer(self, source: Source) -> ForgeOffer:
        return ForgeOffer(
            kind=source.kind,
            url=source.url,
            title=source.title,
            oauth=bool(self._forges.oauth_client(source).id),
            public_rights=source.public.meaning,
            private_rights=source.private.meaning,
            scopes=source.private.scopes,
            public_scopes=source.public.scopes,
            token_page=source.token_page,
        )

    def authorization(self, actor: HubActor, url: str, hub_url: str, *, private: bool) -> str:
        """Return where to send the user's browser so that the forge asks them. ``private``: private code, too."""
        user_id = self._access.require_account(actor)
        source = self._forges.get(url)
        client = self._forges.oauth_client(source)
        if not client.id:
            raise Refused(f"this hub is not registered at {source.title}", "paste a token instead")
        state = _State(user_id, source.url, secrets.token_urlsafe(48), self._clock() + STATE_LIFETIME)
        return authorization_url(
            source,
            client,
            source.private if private else source.public,
            redirect_uri=f"{hub_url}{CALLBACK}",
            state=self._secret_box.seal(STATE, msgspec.json.encode(state).decode()),
            verifier=state.verifier,
        )

    async def authorized(self, actor: HubActor, hub_url: str, state: str, code: str) -> LinkedAccount:
        """Link the account that a forge sent the browser back from. Raises Refused for another user's or an old one."""
        begun = self._begun(self._access.require_account(actor), state)
        source = self._forges.get(begun.url)
        oauth = OAuth(self._forges.session, source, self._forges.oauth_client(source))
        token = await oauth.exchange(
            code, redirect_uri=f"{hub_url}{CALLBACK}", verifier=begun.verifier, now=self._clock()
        )
        return await self._add(begun.user_id, source, token, oauth=True)

    def _begun(self, user_id: int, state: str) -> _State:
        try:
            begun = msgspec.json.decode(self._secret_box.unseal(STATE, state), type=_State)
        except (SecretBoxError, msgspec.MsgspecError) as error:
            raise Refused("this did not begin here", "link the account from your account's page") from error
        if begun.user_id != user_id or begun.until < self._clock():
            raise Refused("this was begun by somebody else, or too long ago", "link the account anew")
        return begun

    async def add_token(self, actor: HubActor, url: str, token: str) -> LinkedAccount:
        """Link an account by a token that its user made. Raises Invalid."""
        user_id = self._access.require_account(actor)
        source = self._forges.get(url)
        stripped = token.strip()
        if not stripped or len(stripped) > LONGEST_TOKEN or not stripped.isascii() or not stripped.isprintable():
            raise Invalid({"token": "is not a token: copy it anew from the forge"})
        try:
            return await self._add(user_id, source, Token(access=stripped), oauth=False)
        except TokenRefused as error:
            raise Invalid({"token": f"is not accepted: {error.message}"}) from error

    async def _add(self, user_id: int, source: Source, token: Token, *, oauth: bool) -> LinkedAccount:
        account = await source.client(token.access).account()
        link = LinkedAccount(
            id=0,
            user_id=user_id,
            kind=source.kind,
            url=source.url,
            account_id=account.id[:100],
            login=account.login[:250],
            scopes=account.scopes,
            oauth=oauth,
            problem="",
            created_at=self._clock(),
        )
        async with self._database.writing() as session:
            linked_account_id = await rows.put(session, link, self._seal(token))
        return msgspec.structs.replace(link, id=linked_account_id)

    async def listed(self, actor: HubActor) -> list[LinkedAccount]:
        """Return the actor's links."""
        user_id = self._access.require_account(actor)
        async with self._database.reading() as session:
            return await rows.of_user(session, user_id)

    async def get(self, actor: HubActor, linked_account_id: int) -> LinkedAccount:
        """Return one of the actor's links."""
        user_id = self._access.require_account(actor)
        async with self._database.reading() as session:
            link = await rows.get_own(session, linked_account_id, user_id)
        if link is None:
            raise NotFound("you have no such linked account")
        return link

    async def repositories(self, actor: HubActor, linked_account_id: int, query: str, page: int) -> RepositoryPage:
        """Return repositories that the link reaches."""
        link = await self.get(actor, linked_account_id)
        async with self.using(link.id) as client:
            return await client.repositories(query.strip()[:100], max(1, min(page, 1000)))

    async def repository(self, actor: HubActor, linked_account_id: int, name: str) -> ForgeRepository:
        """Return one repository that the link reaches."""
        link = await self.get(actor, linked_account_id)
        async with self.using(link.id) as client:
            return await client.repository(checked_name(name))

    async def refs(self, actor: HubActor, linked_account_id: int, name: str) -> tuple[SourceRef, ...]:
        """Return the branches and tags of a repository that the link reaches."""
        link = await self.get(actor, linked_account_id)
        async with self.using(link.id) as client:
            return await client.refs(checked_name(name))

    @asynccontextmanager
    async def using(self, linked_account_id: int) -> AsyncIterator[ForgeClient]:
        """Give the forge as the link sees it; whoever calls has seen to it that it may be used for this.

        A token that is not accepted is noted with the link. Raises NotFound, ForgeError.
        """
        try:
            source, token = await self._token(linked_account_id)
            yield source.client(token.access)
        except TokenRefused as error:
            async with self._database.writing() as session:
                await rows.set_problem(session, linked_account_id, error.message)
            raise

    async def _token(self, linked_account_id: int) -> tuple[Source, Token]:
        async with self._database.reading() as session:
            link = await rows.get(session, linked_account_id)
            sealed = await rows.sealed_token(session, linked_account_id)
        if link is None or sealed is None:
            raise NotFound("there is no such linked account any more")
        source = self._forges.get(link.url)
        token = msgspec.json.decode(self._secret_box.unseal(TOKEN, sealed), type=Token)
        return source, await self._renewed(linked_account_id, source, token) if token.ends_soon(
            self._clock()
        ) else token

    async def _renewed(self, linked_account_id: int, source: Source, token: Token) -> Token:
        oauth = OAuth(self._forges.session, source, self._forges.oauth_client(source))
        try:
            renewed = await oauth.renew(token, self._clock())
        except TokenRefused:
            # Another request may have renewed it at the same time: a refresh token is good once.
            async with self._database.reading() as session:
                sealed = await rows.sealed_token(session, linked_account_id)
            present = msgspec.json.decode(self._secret_box.unseal(TOKEN, sealed or ""), type=Token)
            if present.access == token.access:
                raise
            return present
        async with self._database.writing() as session:
            await rows.set_token(session, linked_account_id, self._seal(renewed))
        return renewed

    async def forget(self, link: LinkedAccount) -> str:
        """Give the link's token back and forget it; returns what its user must still do at the forge, or nothing.

        ``ForgeWebhooks.unlink`` is what users call: it removes webhooks and keys first.
        """
        left = await self._give_back(link)
        async with self._database.writing() as session:
            await rows.remove(session, link.id)
        return left

    async def _give_back(self, link: LinkedAccount) -> str:
        try:
            source, token = await self._token(link.id)
            if not link.oauth:
                return f"the token that you pasted: if nothing else uses it, delete it at {source.token_page}"
            return await OAuth(self._forges.session, source, self._forges.oauth_client(source)).revoke(token)
        except TokenRefused:
            return ""
        except (ForgeError, NotFound, SecretBoxError) as error:
            return f"the token: {error}"

    def _seal(self, token: Token) -> str:
        return self._secret_box.seal(TOKEN, msgspec.json.encode(token).decode())


def checked_name(name: str) -> str:
    """Return a repository's name at a forge (OWNER/NAME, at GitLab more parts). Raises Invalid."""
    parts = name.strip("/").split("/")
    fine = len(parts) >= 2 and all(part not in ("", ".", "..") for part in parts)
    if not fine or len(name) > 255 or not name.isprintable():
        raise Invalid({"repository": "is OWNER/NAME, as the forge spells it"})
    return name.strip("/")
