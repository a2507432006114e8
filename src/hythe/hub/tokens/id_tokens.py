"""Checks ID tokens of other issuers (OpenID Connect Core, section 3.1.3.7), such as those of GitHub Actions."""

import hashlib
import json
from base64 import urlsafe_b64decode
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey
from joserfc.jws import JWSRegistry

from hythe.hub.errors import SignInNeeded
from hythe.hub.tokens.issuer_keys import IssuerKeys, JSONWebKey

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
"""Accepted algorithms: only those with a public key, so that no key of the issuer serves as a shared secret."""

MAX_SIZE = 16 * 1024
"""Maximum characters of an ID token."""

CLOCK_SKEW = timedelta(seconds=60)
"""How much the clocks of issuer and hub may differ."""

MAX_AGE = timedelta(hours=6)
"""How old an ID token may be. GitLab issues it when the job starts."""

_REGISTRY = JWSRegistry(algorithms=list(ALGORITHMS), strict_check_header=False)
_MAX_KEYS_TRIED = 5
_RSA_BITS = range(2048, 8192 + 1)


class IdToken(msgspec.Struct, frozen=True):
    """A parsed ID token. Its claims are only as good as its signature: see ``IdTokens.verify``.

    ``digest`` identifies the token, and ``ends_at`` is when it can no longer be exchanged.
    """

    text: str
    issuer: str
    subject: str
    algorithm: str
    key_id: str | None
    claims: Mapping[str, Any]
    digest: str
    ends_at: datetime


def parse_id_token(text: str) -> IdToken:
    """Parse an ID token without checking it. Raises SignInNeeded."""
    if len(text) > MAX_SIZE:
        raise SignInNeeded(f"the ID token has more than {MAX_SIZE} characters")
    signed, _, _ = text.rpartition(".")
    try:
        header, claims = (json.loads(_decoded(part)) for part in signed.split("."))
        if not isinstance(header, dict) or not isinstance(claims, dict) or "crit" in header:
            raise TypeError("not objects")
        issuer, subject = claims["iss"], claims["sub"]
        expires_at, issued_at = _time(claims["exp"]), _time(claims["iat"])
        if "nbf" in claims:
            _time(claims["nbf"])
        token_id, key_id = claims.get("jti"), header.get("kid")
        if not all(isinstance(each, str) for each in (issuer, subject, header.get("alg"))):
            raise TypeError("not texts")
        if not isinstance(token_id, str | None) or not isinstance(key_id, str | None):
            raise TypeError("not texts")
        unique = f"{issuer}\0{token_id}" if token_id else signed
        digest = hashlib.sha256(unique.encode()).hexdigest()
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        message = "this is not an ID token: it must be a signed JWT with iss, sub, aud, exp and iat"
        raise SignInNeeded(message) from error
    ends_at = min(expires_at, issued_at + MAX_AGE) + CLOCK_SKEW
    return IdToken(text, issuer, subject, header["alg"], key_id, claims, digest, ends_at)


class IdTokens:
    """Verifies ID tokens."""

    def __init__(self, keys: IssuerKeys, clock: Callable[[], datetime]) -> None:
        self._keys = keys
        self._clock = clock

    async def verify(self, token: IdToken, audiences: Collection[str], account_id: int) -> None:
        """Check audience, times and signature of a token whose issuer an account trusts.

        Raises SignInNeeded, IssuerUnavailable.
        """
        self._check_claims(token, audiences)
        if token.algorithm not in ALGORITHMS:
            raise SignInNeeded(f"the ID token is signed with {token.algorithm[:20]!r}", f"use {ALGORITHMS[0]} or ES256")
        candidates = await self._keys.candidates(token.issuer, token.key_id, account_id)
        if not any(_is_signed(token, key) for key in candidates[:_MAX_KEYS_TRIED]):
            raise SignInNeeded("the ID token is not signed by a key of its issuer")

    def _check_claims(self, token: IdToken, audiences: Collection[str]) -> None:
        claims, now = token.claims, self._clock()
        audience = claims.get("aud")
        if isinstance(audience, list) and len(audience) == 1:
            audience = audience[0]
        if not isinstance(audience, str) or audience not in audiences:
            raise SignInNeeded("the ID token is for another audience", f"request it for {min(audiences)}")
        if _time(claims["exp"]) + CLOCK_SKEW <= now:
            raise SignInNeeded("the ID token has expired", "request a new one right before the login")
        if max(_time(claims["iat"]), _time(claims.get("nbf", 0))) - CLOCK_SKEW > now:
            raise SignInNeeded("the ID token is not valid yet", "compare the clocks of the issuer and the hub")
        if token.ends_at <= now:
            hours = f"{MAX_AGE.total_seconds() / 3600:.0f} hours"
            raise SignInNeeded(f"the ID token is older than {hours}", "request a new one right before the login")


def _is_signed(token: IdToken, key: JSONWebKey) -> bool:
    if key.get("alg", token.algorithm) != token.algorithm:
        return False
    try:
        verifier = _rsa_key(key) if token.algorithm[0] in "RP" else ECKey.import_key(dict(key))
        jwt.decode(token.text, verifier, algorithms=[token.algorithm], registry=_REGISTRY)
    except (JoseError, ValueError, TypeError, KeyError, RecursionError):
        return False
    return True


def _rsa_key(key: JSONWebKey) -> RSAKey:
    """Return an RSA key of a usual size: verifying with a huge one takes long. Raises ValueError, KeyError."""
    if int.from_bytes(_decoded(key["n"])).bit_length() not in _RSA_BITS or len(key["e"]) > 6:
        raise ValueError("an unusual RSA key")
    return RSAKey.import_key(dict(key))


def _time(seconds: Any) -> datetime:
    """Return the time of a NumericDate (RFC 7519). Raises TypeError, ValueError, OverflowError."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError("not a time")
    return datetime.fromtimestamp(seconds, UTC)


def _decoded(part: str) -> bytes:
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))
