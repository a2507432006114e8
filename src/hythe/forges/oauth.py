"""Being allowed in by OAuth 2.0: the code grant (RFC 6749) with PKCE (RFC 7636), renewal, and revocation (RFC 7009).

authlib makes the addresses and the code challenge; requests go the way of all others (``api.fetch``).
"""

import base64
from datetime import datetime, timedelta
from urllib.parse import urlencode

import aiohttp
import msgspec
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from yarl import URL

from hythe.builds.configuration import Forge
from hythe.forges.api import Answer, fetch
from hythe.forges.errors import ForgeError, TokenRefused
from hythe.forges.known import OAuthClient
from hythe.forges.port import Rights, Source

EARLY = timedelta(minutes=5)
"""How long before its end a token is renewed."""


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """What a forge gave us; ``refresh`` empty: it cannot be renewed; ``expires_at`` None: it does not end by itself."""

    access: str
    refresh: str = ""
    expires_at: datetime | None = None

    def ends_soon(self, now: datetime) -> bool:
        """Whether it must be renewed before it is used."""
        return bool(self.refresh) and self.expires_at is not None and self.expires_at - now < EARLY


class _Granted(msgspec.Struct, frozen=True):
    access_token: str = ""
    refresh_token: str = ""
    expires_in: int = 0
    error: str = ""
    error_description: str = ""


def authorization_url(
    source: Source, client: OAuthClient, rights: Rights, *, redirect_uri: str, state: str, verifier: str
) -> str:
    """Return where to send a browser so that its user may allow us in."""
    return str(
        prepare_grant_uri(
            source.oauth.authorize,
            client.id,
            "code",
            redirect_uri=redirect_uri,
            scope=" ".join(rights.scopes),
            state=state,
            code_challenge=create_s256_code_challenge(verifier),
            code_challenge_method="S256",
        )
    )


class OAuth:
    """The token address of one forge."""

    def __init__(self, session: aiohttp.ClientSession, source: Source, client: OAuthClient) -> None:
        self._session = session
        self._source = source
        self._client = client

    async def exchange(self, code: str, *, redirect_uri: str, verifier: str, now: datetime) -> Token:
        """Return the token that a code stands for. Raises ForgeAway, TokenRefused, ForgeError."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        return await self._granted(form, "", now)

    async def renew(self, token: Token, now: datetime) -> Token:
        """Return a token in the place of one that ends. Raises ForgeAway, TokenRefused, ForgeError."""
        form = {"grant_type": "refresh_token", "refresh_token": token.refresh}
        return await self._granted(form, token.refresh, now)

    async def revoke(self, token: Token) -> str:
        """Give the token back. Returns why that cannot be done here; empty: it is done. Raises ForgeAway, ForgeError.

        GitHub: "Delete an app token"; GitLab: RFC 7009; the others have no address for it.
        """
        if self._source.kind is Forge.GITHUB:
            answer = await self._revoke_at_github(token)
        elif self._source.oauth.revoke:
            answer = await self._post(self._source.oauth.revoke, {"token": token.access})
        else:
            return f"{self._source.title} takes no token back: remove the hub at {self._source.token_page}"
        if answer.status in (200, 204, 404):
            return ""
        return f"{self._source.title} did not take its token back ({answer.status}): see {self._source.token_page}"

    async def _revoke_at_github(self, token: Token) -> Answer:
        root = "https://api.github.com" if self._source.url == "https://github.com" else f"{self._source.url}/api/v3"
        url = URL(f"{root}/applications/{self._client.id}/token")
        headers = {"Authorization": self._basic, "Content-Type": "application/json"}
        content = msgspec.json.encode({"access_token": token.access})
        return await fetch(self._session, "DELETE", url, self._source.title, headers, content)

    async def _granted(self, form: dict[str, str], refresh: str, now: datetime) -> Token:
        answer = await self._post(self._source.oauth.token, form)
        # GitHub says what went wrong with status 200.
        granted = answer.parsed(_Granted) if answer.status < 500 else _Granted(error=f"status {answer.status}")
        if granted.error in ("invalid_grant", "bad_refresh_token", "bad_verification_code"):
            raise TokenRefused(f"{self._source.title} does not allow this any more", "link the account anew")
        if answer.status >= 300 or not granted.access_token:
            said = granted.error_description or granted.error or f"status {answer.status}"
            raise ForgeError(f"{self._source.title} gave no token: {said}", "try again, or paste a token")
        expires_at = now + timedelta(seconds=granted.expires_in) if granted.expires_in else None
        return Token(access=granted.access_token, refresh=granted.refresh_token or refresh, expires_at=expires_at)

    @property
    def _basic(self) -> str:
        return f"Basic {base64.b64encode(f'{self._client.id}:{self._client.secret}'.encode()).decode()}"

    async def _post(self, url: str, form: dict[str, str]) -> Answer:
        headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
        if self._source.kind is Forge.BITBUCKET:
            headers["Authorization"] = self._basic
        else:
            form = form | {"client_id": self._client.id, "client_secret": self._client.secret}
        return await fetch(self._session, "POST", URL(url), self._source.title, headers, urlencode(form).encode())
