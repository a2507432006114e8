"""What the hub asks of an identity provider that users are redirected to."""

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

import msgspec

from hythe.identity_providers.account_rules import AccountRules
from hythe.identity_providers.external_identity import ExternalIdentity

SECRET_SIZE = 32
"""Bytes of randomness in state, nonce and code verifier."""


class AuthorizationRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The secrets of one sign-in, which bind the response to the browser that began it.

    ``began_at``: when a user who is signed in began to confirm that it is still them, which an earlier sign-in at the
    provider does not show; None: that is enough.
    """

    state: str
    nonce: str
    verifier: str
    redirect_uri: str
    began_at: datetime | None = None


class IdentityProvider(Protocol):
    """A system that users sign in with in their browser.

    Methods raise ProviderUnavailable and IdentityRejected.
    """

    name: str
    """The name in the setting, which is part of addresses."""
    title: str
    """The name that users see."""
    issuer: str
    """Identifies the provider: subjects are unique within it."""
    rules: AccountRules
    proves_sign_in: bool
    """Whether it asks the user to sign in again, and proves that they did, for requests with ``began_at``."""

    async def authorization_url(self, authorization: AuthorizationRequest) -> str:
        """Return the address at the provider to redirect the browser to."""
        ...

    async def identify(
        self, response: Mapping[str, str], authorization: AuthorizationRequest, now: datetime
    ) -> ExternalIdentity:
        """Return the user, from the query of the address that the provider redirected the browser to.

        The caller has compared ``state``.
        """
        ...
