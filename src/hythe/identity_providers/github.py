"""GitHub and GitHub Enterprise, which speak OAuth but not OpenID Connect: the user comes from the REST API."""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from hythe.forges.github import GitHubUser
from hythe.forges.port import OAuthClient
from hythe.identity_providers.account_rules import AccountRules
from hythe.identity_providers.errors import ProviderUnavailable
from hythe.identity_providers.external_identity import ExternalIdentity, groups_of, text_of
from hythe.identity_providers.http import ProviderHTTP
from hythe.identity_providers.oidc import TokenResponse, authorization_uri, code_of, require_issued
from hythe.identity_providers.port import AuthorizationRequest

PUBLIC = "https://github.com"


class _Email(msgspec.Struct, frozen=True):
    email: str
    primary: bool = False
    verified: bool = False


class _Organization(msgspec.Struct, frozen=True):
    login: str


class _Team(msgspec.Struct, frozen=True):
    slug: str
    organization: _Organization


class GitHubProvider:
    """GitHub as an identity provider; see IdentityProvider. Groups are ``ORGANIZATION`` and ``ORGANIZATION/TEAM``."""

    proves_sign_in = False

    def __init__(
        self, name: str, title: str, url: str, http: ProviderHTTP, client: OAuthClient, rules: AccountRules
    ) -> None:
        self.name = name
        self.title = title
        self.issuer = url
        self.rules = rules
        self._http = http
        self._client = client
        self._api = "https://api.github.com" if url == PUBLIC else f"{url}/api/v3"

    async def authorization_url(self, authorization: AuthorizationRequest) -> str:
        """See IdentityProvider."""
        scopes = "read:user user:email read:org" if self.rules.use_groups else "read:user user:email"
        return authorization_uri(f"{self.issuer}/login/oauth/authorize", self._client, scopes, authorization)

    async def identify(
        self, response: Mapping[str, str], authorization: AuthorizationRequest, now: datetime
    ) -> ExternalIdentity:
        """See IdentityProvider."""
        token = await self._exchange(code_of(response, self.title), authorization)
        user = await self._http.get(f"{self._api}/user", GitHubUser, token)
        emails = await self._http.get(f"{self._api}/user/emails", list[_Email], token)
        primary = next((each for each in emails if each.primary), _Email(""))
        return ExternalIdentity(
            issuer=self.issuer,
            subject=str(user.id),  # the name can change
            user_name=text_of(user.login).lower(),
            email=text_of(primary.email),
            email_verified=primary.verified,
            groups=await self._groups(token) if self.rules.use_groups else frozenset(),
        )

    async def _exchange(self, code: str, authorization: AuthorizationRequest) -> str:
        form = {
            "client_id": self._client.id,
            "client_secret": self._client.secret,
            "code": code,
            "redirect_uri": authorization.redirect_uri,
            "code_verifier": authorization.verifier,
        }
        response = await self._http.post_form(f"{self.issuer}/login/oauth/access_token", form, {})
        token = self._http.parse(response, TokenResponse)  # errors have status 200
        require_issued(token, self.title)
        if not token.access_token:
            raise ProviderUnavailable(f"{self.title} sent no token")
        return token.access_token

    async def _groups(self, token: str) -> frozenset[str]:
        """Return the user's organizations and teams, up to 100 of each."""
        organizations = await self._http.get(f"{self._api}/user/orgs?per_page=100", list[_Organization], token)
        teams = await self._http.get(f"{self._api}/user/teams?per_page=100", list[_Team], token)
        return groups_of(
            [each.login for each in organizations] + [f"{each.organization.login}/{each.slug}" for each in teams]
        )
