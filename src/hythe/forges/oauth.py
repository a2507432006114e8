"""OAuth 2.0 with forges: the code grant (RFC 6749) with PKCE (RFC 7636), token refresh, and revocation (RFC 7009).

authlib builds the authorization URL and the code challenge; requests are sent by ``api.fetch`` like all others.
"""

import base64
from datetime import datetime, timedelta
from urllib.parse import urlencode

import aiohttp
import msgspec
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from yarl import URL

from hythe.forges.api import ApiResponse, fetch
from hythe.forges.errors import ForgeError, TokenRefused
from hythe.forges.port import Forge, OAuthClient, Permissions, Revocation

REFRESH_BEFORE_EXPIRY = timedelta(minutes=5)


class ForgeToken(msgspec.Struct, frozen=True, kw_only=True):
    """A forge's access token; empty ``refresh``: it cannot be refreshed; ``expires_at`` None: it does not expire."""

    access: str
    refresh: str = ""
    expires_at: datetime | None = None

    def needs_refresh(self, now: datetime) -> bool:
        """Whether to refresh the token before it is used."""
        return bool(self.refresh) and self.expires_at is not None and self.expires_at - now < REFRESH_BEFORE_EXPIRY


class _TokenResponse(msgspec.Struct, frozen=True):
    access_token: str = ""
    refresh_token: str = ""
    expires_in: int = 0
    error: str = ""
    error_description: str = ""


def authorization_url(
    forge: Forge, client: OAuthClient, permissions: Permissions, *, redirect_uri: str, state: str, verifier: str
) -> str:
    """Return the URL at the forge where the user authorizes the hub."""
    return str(
        prepare_grant_uri(
            forge.oauth.authorize,
            client.id,
            "code",
            redirect_uri=redirect_uri,
            scope=" ".join(permissions.scopes),
            state=state,
            code_challenge=create_s256_code_challenge(verifier),
            code_challenge_method="S256",
        )
    )


class OAuth:
    """The token and revocation URLs of one forge."""

    def __init__(self, session: aiohttp.ClientSession, forge: Forge, client: OAuthClient) -> None:
        self._session = session
        self._forge = forge
        self._client = client

    async def exchange(self, code: str, *, redirect_uri: str, verifier: str, now: datetime) -> ForgeToken:
        """Exchange an authorization code for a token. Raises ForgeUnavailable, TokenRefused, ForgeError."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        return await self._request_token(form, "", now)

    async def refresh(self, token: ForgeToken, now: datetime) -> ForgeToken:
        """Return a new token for one that expires. Raises ForgeUnavailable, TokenRefused, ForgeError."""
        form = {"grant_type": "refresh_token", "refresh_token": token.refresh}
        return await self._request_token(form, token.refresh, now)

    async def revoke(self, token: ForgeToken) -> str:
        """Revoke the token. Return what the user must do instead, or "" on success.

        Raises ForgeUnavailable, ForgeError.
        """
        title, page = self._forge.title, self._forge.token_page
        if request := self._forge.revocation(self._client, token.access):
            response = await self._send_revocation(request)
        elif self._forge.oauth.revoke:
            response = await self._post_form(self._forge.oauth.revoke, {"token": token.access})
        else:
            return f"{title} cannot revoke tokens by its API: revoke the hub's access at {page}"
        if response.status in (200, 204, 404):
            return ""
        return f"{title} did not revoke the token ({response.status}): revoke it at {page}"

    async def _send_revocation(self, request: Revocation) -> ApiResponse:
        headers = {"Authorization": self._basic_auth, "Content-Type": "application/json"}
        content = msgspec.json.encode(request.body)
        return await fetch(self._session, request.method, URL(request.url), self._forge.title, headers, content)

    async def _request_token(self, form: dict[str, str], refresh: str, now: datetime) -> ForgeToken:
        response = await self._post_form(self._forge.oauth.token, form)
        # GitHub reports errors with status 200.
        failed = _TokenResponse(error=f"status {response.status}")
        token = response.parse(_TokenResponse) if response.status < 500 else failed
        if token.error in ("invalid_grant", "bad_refresh_token", "bad_verification_code"):
            raise TokenRefused(f"{self._forge.title} no longer accepts this authorization", "relink the account")
        if response.status >= 300 or not token.access_token:
            reason = token.error_description or token.error or f"status {response.status}"
            raise ForgeError(f"{self._forge.title} issued no token: {reason}", "try again, or paste a token")
        expires_at = now + timedelta(seconds=token.expires_in) if token.expires_in else None
        return ForgeToken(access=token.access_token, refresh=token.refresh_token or refresh, expires_at=expires_at)

    @property
    def _basic_auth(self) -> str:
        return f"Basic {base64.b64encode(f'{self._client.id}:{self._client.secret}'.encode()).decode()}"

    async def _post_form(self, url: str, form: dict[str, str]) -> ApiResponse:
        headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
        if self._forge.oauth.basic_auth:
            headers["Authorization"] = self._basic_auth
        else:
            form = form | {"client_id": self._client.id, "client_secret": self._client.secret}
        return await fetch(self._session, "POST", URL(url), self._forge.title, headers, urlencode(form).encode())
