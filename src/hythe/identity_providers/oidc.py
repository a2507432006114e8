"""OpenID Connect providers such as Keycloak, Google and Entra ID: the authorization code flow with PKCE."""

import base64
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import datetime
from typing import Any
from urllib.parse import quote

import msgspec
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from hythe.forges.port import OAuthClient
from hythe.identity_providers.account_rules import AccountRules
from hythe.identity_providers.discovery import Issuer, Metadata
from hythe.identity_providers.errors import IdentityRejected, ProviderUnavailable
from hythe.identity_providers.external_identity import ExternalIdentity, groups_of, text_of
from hythe.identity_providers.http import ProviderHTTP
from hythe.identity_providers.id_token import (
    for_client,
    parse_id_token,
    require_new_sign_in,
    require_nonce,
    verify_id_token,
)
from hythe.identity_providers.port import AuthorizationRequest

MAX_REASON_LENGTH = 200


class ClaimNames(msgspec.Struct, frozen=True):
    """The claims that name the user and their groups. A dot separates the names of nested claims."""

    user_name: str = "preferred_username"
    groups: str = "groups"


class TokenResponse(msgspec.Struct, frozen=True):
    """The response of a token endpoint, or its error."""

    access_token: str = ""
    id_token: str = ""
    error: str = ""
    error_description: str = ""


class OpenIDProvider:
    """One OpenID Connect provider; see IdentityProvider."""

    proves_sign_in = True

    def __init__(
        self,
        name: str,
        title: str,
        issuer: str,
        http: ProviderHTTP,
        client: OAuthClient,
        scopes: str,
        claims: ClaimNames,
        rules: AccountRules,
    ) -> None:
        self.name = name
        self.title = title
        self.issuer = issuer
        self.rules = rules
        self._http = http
        self._client = client
        self._scopes = scopes
        self._claims = claims
        self._issuer = Issuer(issuer, title)

    async def authorization_url(self, authorization: AuthorizationRequest) -> str:
        """See IdentityProvider."""
        metadata = await self._issuer.metadata(self._open_http)
        if not metadata.authorization_endpoint or not metadata.token_endpoint:
            raise ProviderUnavailable(f"{self.title} has no endpoints for signing in")
        again = {} if authorization.began_at is None else {"prompt": "login", "max_age": "0"}
        return authorization_uri(
            metadata.authorization_endpoint,
            self._client,
            self._scopes,
            authorization,
            nonce=authorization.nonce,
            **again,
        )

    async def identify(
        self, response: Mapping[str, str], authorization: AuthorizationRequest, now: datetime
    ) -> ExternalIdentity:
        """See IdentityProvider."""
        metadata = await self._issuer.metadata(self._open_http)
        self._require_own_response(response, metadata)
        code = code_of(response, self.title)
        token = await self._exchange(metadata, code, authorization)
        id_token = parse_id_token(token.id_token)
        await verify_id_token(id_token, self._issuer, self._open_http, for_client(self._client.id), now)
        claims = id_token.claims
        require_nonce(claims, authorization.nonce)
        if authorization.began_at is not None:
            require_new_sign_in(claims, authorization.began_at, now)
        if self._lacks_claims(claims) and metadata.userinfo_endpoint and token.access_token:
            more = await self._user_info(metadata, token.access_token, claims["sub"])
            if "email" in claims:
                more.pop("email_verified", None)  # of another address, perhaps
            claims = {**more, **claims}
        return ExternalIdentity(
            issuer=self.issuer,
            subject=claims["sub"],
            user_name=text_of(nested(claims, self._claims.user_name)),
            email=text_of(claims.get("email")),
            # Some providers send a text.
            email_verified=claims.get("email_verified") in (True, "true"),
            groups=groups_of(nested(claims, self._claims.groups)) if self.rules.use_groups else frozenset(),
        )

    def _require_own_response(self, response: Mapping[str, str], metadata: Metadata) -> None:
        """Check the issuer of the response (RFC 9207): another provider could have sent its own code here."""
        given = response.get("iss")
        if given is None and not metadata.authorization_response_iss_parameter_supported:
            return
        if given != metadata.issuer:
            raise IdentityRejected(f"this response is not from {self.title}")

    def _open_http(self) -> AbstractAsyncContextManager[ProviderHTTP]:
        return nullcontext(self._http)

    async def _exchange(self, metadata: Metadata, code: str, authorization: AuthorizationRequest) -> TokenResponse:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": authorization.redirect_uri,
            "code_verifier": authorization.verifier,
        }
        headers: dict[str, str] = {}
        if self._client.secret and "client_secret_basic" in metadata.token_endpoint_auth_methods_supported:
            headers["Authorization"] = _basic(self._client)
        else:
            form |= {"client_id": self._client.id}
            form |= {"client_secret": self._client.secret} if self._client.secret else {}
        response = await self._http.post_form(metadata.token_endpoint, form, headers)
        if response.status >= 500:
            raise ProviderUnavailable(f"{self.title} responded with status {response.status}")
        token = self._http.parse(response, TokenResponse)
        require_issued(token, self.title)
        if not token.id_token:
            raise ProviderUnavailable(f"{self.title} sent no ID token")
        return token

    def _lacks_claims(self, claims: Mapping[str, Any]) -> bool:
        wanted = [self._claims.user_name, "email", *([self._claims.groups] if self.rules.use_groups else [])]
        return any(nested(claims, name) is None for name in wanted)

    async def _user_info(self, metadata: Metadata, token: str, subject: str) -> dict[str, Any]:
        claims = await self._http.get(metadata.userinfo_endpoint, dict[str, Any], token)
        if claims.get("sub") != subject:
            raise IdentityRejected(f"{self.title} described another user")
        return claims


def authorization_uri(
    endpoint: str, client: OAuthClient, scopes: str, authorization: AuthorizationRequest, **more: str
) -> str:
    """Return the address of the provider's page, with ``more`` parameters."""
    uri: str = prepare_grant_uri(
        endpoint,
        client.id,
        "code",
        redirect_uri=authorization.redirect_uri,
        scope=scopes,
        state=authorization.state,
        code_challenge=create_s256_code_challenge(authorization.verifier),
        code_challenge_method="S256",
        **more,
    )
    return uri


def code_of(response: Mapping[str, str], title: str) -> str:
    """Return the authorization code of a response. Raises IdentityRejected if the provider sent an error."""
    if "error" in response or "code" not in response:
        reason = response.get("error_description") or response.get("error") or "no reason given"
        raise IdentityRejected(f"{title} refused the sign-in: {reason[:MAX_REASON_LENGTH]}")
    return response["code"]


def require_issued(token: TokenResponse, title: str) -> None:
    """Check that a token endpoint issued a token. Raises IdentityRejected, ProviderUnavailable."""
    reason = (token.error_description or token.error)[:MAX_REASON_LENGTH]
    if token.error in ("invalid_grant", "bad_verification_code"):
        raise IdentityRejected(f"{title} no longer accepts this sign-in: {reason}")
    if token.error:
        raise ProviderUnavailable(f"{title} issued no token: {reason}", "ask an administrator of this hub")


def nested(claims: Mapping[str, Any], name: str) -> Any:
    """Return a claim; dots in its name lead into other claims, as in ``realm_access.roles``."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _basic(client: OAuthClient) -> str:
    """Return Basic credentials of RFC 6749, section 2.3.1, which encodes both parts as in forms."""
    pair = f"{quote(client.id, safe='')}:{quote(client.secret, safe='')}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"
