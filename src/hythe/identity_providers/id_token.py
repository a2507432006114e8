"""Verification of ID tokens (OpenID Connect Core 1.0, section 3.1.3.7)."""

import binascii
import hmac
import json
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jws import JWSRegistry

from hythe.identity_providers.discovery import Issuer
from hythe.identity_providers.errors import IdentityRejected
from hythe.identity_providers.external_identity import MAX_SUBJECT_LENGTH

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
"""Signatures by public keys. With ``none`` or HMAC, anyone who knows the public key could make tokens."""

CLOCK_SKEW = timedelta(seconds=60)
MAX_SIZE = 64 * 1024

_TIMES = (("exp", None), ("iat", None), ("nbf", 0))
"""The claims that are times, and what a missing one counts as."""

_REGISTRY = JWSRegistry(algorithms=list(ALGORITHMS), strict_check_header=False)


async def verified_claims(token: str, issuer: Issuer, audience: str, now: datetime) -> Mapping[str, Any]:
    """Return the claims of a token that ``issuer`` signed for ``audience`` and that is valid now.

    Raises IdentityRejected, ProviderUnavailable.
    """
    header = _header(token)
    if header.get("alg") not in ALGORITHMS:
        raise IdentityRejected(f"the ID token is signed with {str(header.get('alg'))[:20]}, which is not allowed")
    key_id = header.get("kid")
    claims = await _signed_claims(token, issuer, key_id if isinstance(key_id, str) else None)
    metadata = await issuer.metadata()
    if claims.get("iss") != metadata.issuer:
        raise IdentityRejected("the ID token is from another issuer")
    _require_audience(claims, audience)
    _require_time(claims, now)
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT_LENGTH or "\0" in subject:
        raise IdentityRejected("the ID token has no valid subject")
    return claims


def require_nonce(claims: Mapping[str, Any], nonce: str) -> None:
    """Check that the token is for the sign-in that this browser began. Raises IdentityRejected."""
    given = claims.get("nonce")
    if not isinstance(given, str) or not hmac.compare_digest(given.encode("utf-8", "replace"), nonce.encode()):
        raise IdentityRejected("the ID token is for another sign-in")


def _header(token: str) -> Mapping[str, Any]:
    if len(token) > MAX_SIZE:
        raise IdentityRejected("the ID token is too large")
    part = token.partition(".")[0]
    try:
        header = json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, binascii.Error, RecursionError) as error:
        raise IdentityRejected("the ID token is no JSON web token") from error
    if not isinstance(header, dict):
        raise IdentityRejected("the ID token is no JSON web token")
    return header


async def _signed_claims(token: str, issuer: Issuer, key_id: str | None) -> Mapping[str, Any]:
    for key in await issuer.keys(key_id):
        try:
            return jwt.decode(token, key, algorithms=list(ALGORITHMS), registry=_REGISTRY).claims
        except (JoseError, ValueError, TypeError, RecursionError):
            continue
    raise IdentityRejected("no key of the provider has signed the ID token")


def _require_audience(claims: Mapping[str, Any], audience: str) -> None:
    given = claims.get("aud")
    audiences = given if isinstance(given, list) else [given]
    party = claims.get("azp")
    if audience not in audiences or (len(audiences) > 1 and party is None) or party not in (None, audience):
        raise IdentityRejected("the ID token is for another application")


def _require_time(claims: Mapping[str, Any], now: datetime) -> None:
    at, skew = now.timestamp(), CLOCK_SKEW.total_seconds()
    expiry, issued, valid_from = (_time(claims.get(name, default)) for name, default in _TIMES)
    if expiry <= at - skew:
        raise IdentityRejected("the ID token has expired", "sign in again; if it happens again, compare the clocks")
    if max(issued, valid_from) > at + skew:
        raise IdentityRejected(
            "the ID token is from the future", "an administrator can compare the clocks of hub and provider"
        )


def _time(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise IdentityRejected("the ID token has no valid times")
    return value
