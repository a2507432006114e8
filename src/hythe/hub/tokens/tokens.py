"""The token server: short-lived access tokens for the registry, and refresh tokens that replace the password.

Distribution, "Token Authentication Specification", "OAuth2 Token Authentication" and "Token Scope Documentation".
"""

from collections.abc import Callable
from datetime import datetime, timedelta

import msgspec

from hythe.database import Database
from hythe.hub.access.decision import HubAccess
from hythe.hub.actor import HubActor
from hythe.hub.errors import SignInNeeded
from hythe.hub.sign_in.credentials import CredentialService
from hythe.hub.sql import tokens as store
from hythe.hub.tokens.access_token import claims_for
from hythe.hub.tokens.keys import SigningKeys
from hythe.hub.tokens.personal_token import digest_of, new_secret
from hythe.oci.scope import Scope
from hythe.telemetry.metrics import TOKENS_ISSUED

REFRESH_LIFETIME = timedelta(days=180)

MAX_SCOPES = 100
"""Maximum number of resources in one token."""


class TokenRequest(msgspec.Struct, frozen=True):
    """A client's request for a token; ``offline`` asks for a refresh token, too."""

    service: str = ""
    scopes: tuple[Scope, ...] = ()
    client: str = ""
    offline: bool = False


class TokenReply(msgspec.Struct, frozen=True, omit_defaults=True):
    """The token under both of its names; ``expires_in`` is in seconds."""

    token: str
    access_token: str
    expires_in: int
    issued_at: str
    scope: str
    refresh_token: str = ""


class TokenService:
    """Issues access tokens and refresh tokens."""

    def __init__(
        self,
        database: Database,
        access: HubAccess,
        credentials: CredentialService,
        keys: SigningKeys,
        clock: Callable[[], datetime],
        lifetime: int,
    ) -> None:
        self._database = database
        self._access = access
        self._credentials = credentials
        self._keys = keys
        self._clock = clock
        self._lifetime = lifetime

    def apply(self, lifetime: int) -> None:
        """Take over a changed lifetime, in seconds."""
        self._lifetime = lifetime

    async def issue(self, actor: HubActor, request: TokenRequest) -> TokenReply:
        """Return a token for the requested scopes, limited to what the actor may do.

        Raises SignInNeeded if the credential is an access token, which must not renew itself.
        """
        if actor.granted is not None:
            raise SignInNeeded("an access token cannot be used to get another token", "log in again")
        scopes = request.scopes[:MAX_SCOPES]
        granted = tuple([await self._access.granted(actor, scope) for scope in scopes])
        now = self._clock()
        # Omit denied scopes, so the caller cannot inflate the token.
        opened = tuple(each for each in granted if each.actions)
        token = self._keys.sign(claims_for(actor, request.service, opened, now, self._lifetime))
        TOKENS_ISSUED.add("account" if actor.signed_in else "anonymous")
        refresh = await self._new_refresh_token(actor, request.client) if request.offline else ""
        issued_at = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        scope = " ".join(map(str, opened))
        return TokenReply(token, token, self._lifetime, issued_at, scope, refresh)

    async def renew(self, refresh_token: str, request: TokenRequest, address: str = "") -> TokenReply:
        """Return a token for the holder of a refresh token, a client at ``address``. Raises SignInNeeded."""
        actor = await self._credentials.by_refresh_token(refresh_token, address)
        reply = await self.issue(actor, msgspec.structs.replace(request, offline=False))
        return msgspec.structs.replace(reply, refresh_token=refresh_token)

    async def _new_refresh_token(self, actor: HubActor, client: str) -> str:
        """Return a refresh token; only users get one."""
        if actor.user_id is None:
            return ""
        token = new_secret()
        now = self._clock()
        async with self._database.writing() as session:
            await store.add_refresh(
                session, digest_of(token), actor, client.replace("\0", "")[:100], now, now + REFRESH_LIFETIME
            )
        return token
