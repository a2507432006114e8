"""Verification of ID tokens (OpenID Connect Core 1.0, section 3.1.3.7): of sign-ins, and of CI jobs."""

import hashlib
import hmac
import json
from base64 import urlsafe_b64decode
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import msgspec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jws import JWSRegistry

from hythe.identity_providers.discovery import Issuer, IssuerKey, OpenHTTP
from hythe.identity_providers.errors import IdTokenRejected
from hythe.identity_providers.external_identity import MAX_SUBJECT_LENGTH

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
"""Signatures by public keys. With ``none`` or HMAC, anyone who knows the public key could make tokens."""

CLOCK_SKEW = timedelta(seconds=60)
"""How much the clocks of issuer and hub may differ."""

MAX_AGE = timedelta(hours=6)
"""How old an ID token may be. GitLab issues it when the job starts."""

MAX_SIZE = 64 * 1024
"""Maximum characters of an ID token: providers list groups in it."""

MAX_KEYS_TRIED = 5

_REGISTRY = JWSRegistry(algorithms=list(ALGORITHMS), strict_check_header=False)

AudienceRule: TypeAlias = Callable[[Mapping[str, Any]], None]
"""Checks the audience of a token with these claims. Raises IdTokenRejected."""


class IdToken(msgspec.Struct, frozen=True):
    """A parsed ID token. Its claims are only as good as its signature: see ``verify_id_token``.

    ``digest`` identifies the token, and from ``ends_at`` on it is refused.
    """

    text: str
    issuer: str
    subject: str
    algorithm: str
    key_id: str | None
    claims: Mapping[str, Any]
    valid_from: datetime
    expires_at: datetime
    digest: str
    ends_at: datetime


def parse_id_token(text: str, max_size: int = MAX_SIZE) -> IdToken:
    """Parse an ID token without verifying it. Raises IdTokenRejected."""
    if len(text) > max_size:
        raise IdTokenRejected(f"the ID token has more than {max_size} characters")
    signed, _, _ = text.rpartition(".")
    try:
        header, claims = (json.loads(_decoded(part)) for part in signed.split("."))
        if not isinstance(header, dict) or not isinstance(claims, dict) or "crit" in header:
            raise TypeError("not objects")
        issuer, subject, algorithm = claims["iss"], claims["sub"], header["alg"]
        token_id, key_id = claims.get("jti"), header.get("kid")
        if not all(isinstance(each, str) for each in (issuer, subject, algorithm, token_id or "", key_id or "")):
            raise TypeError("not texts")
        expires_at, issued_at = _time(claims["exp"]), _time(claims["iat"])
        valid_from = max(issued_at, _time(claims.get("nbf", 0)))
        unique = f"{issuer}\0{token_id}" if token_id else signed
        digest = hashlib.sha256(unique.encode()).hexdigest()
        ends_at = min(expires_at, issued_at + MAX_AGE) + CLOCK_SKEW
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        message = "this is not an ID token: it must be a signed JWT with iss, sub, aud, exp and iat"
        raise IdTokenRejected(message) from error
    if not 0 < len(subject) <= MAX_SUBJECT_LENGTH or not subject.isprintable():
        raise IdTokenRejected("the ID token has no valid subject")
    return IdToken(text, issuer, subject, algorithm, key_id, claims, valid_from, expires_at, digest, ends_at)


async def verify_id_token(
    token: IdToken, issuer: Issuer, open_http: OpenHTTP, require_audience: AudienceRule, now: datetime
) -> None:
    """Check that ``issuer`` signed a token for the hub, and that it is valid now.

    Raises IdTokenRejected, ProviderUnavailable.
    """
    require_audience(token.claims)
    _require_time(token, now)
    if token.algorithm not in ALGORITHMS:
        raise IdTokenRejected(
            f"the ID token is signed with {token.algorithm[:20]!r}, which is not allowed", "use RS256 or ES256"
        )
    if token.issuer != (await issuer.metadata(open_http)).issuer:
        raise IdTokenRejected("the ID token is from another issuer")
    keys = [key for key in await issuer.keys(token.key_id, open_http) if _fits(token, key)]
    if not any(_is_signed(token, key) for key in keys[:MAX_KEYS_TRIED]):
        raise IdTokenRejected("the ID token is not signed by a key of its issuer")


def for_client(client_id: str) -> AudienceRule:
    """Return the rule for sign-ins: the token is for this client; if it is for others, too, ``azp`` names it."""

    def require(claims: Mapping[str, Any]) -> None:
        given = claims.get("aud")
        audiences = given if isinstance(given, list) else [given]
        party = claims.get("azp")
        if client_id not in audiences or (len(audiences) > 1 and party is None) or party not in (None, client_id):
            raise IdTokenRejected("the ID token is for another audience")

    return require


def only_for(audiences: Collection[str]) -> AudienceRule:
    """Return the rule for CI jobs: the token is for one of these, which are the hub's names, and for no one else."""

    def require(claims: Mapping[str, Any]) -> None:
        given = claims.get("aud")
        if isinstance(given, list) and len(given) == 1:
            given = given[0]
        if not isinstance(given, str) or given not in audiences:
            raise IdTokenRejected("the ID token is for another audience", f"request it for {min(audiences)}")

    return require


def require_nonce(claims: Mapping[str, Any], nonce: str) -> None:
    """Check that the token is for the sign-in that this browser began. Raises IdTokenRejected."""
    given = claims.get("nonce")
    if not isinstance(given, str) or not hmac.compare_digest(given.encode("utf-8", "replace"), nonce.encode()):
        raise IdTokenRejected("the ID token is for another sign-in", "sign in again")


def require_new_sign_in(claims: Mapping[str, Any], began_at: datetime, now: datetime) -> None:
    """Check that the user signed in at the provider since ``began_at``. Raises IdTokenRejected.

    The token is for this request (see ``require_nonce``), so it was issued between ``began_at`` and ``now``. The two
    times in it are by the provider's clock, which may differ from that of the hub.
    """
    try:
        age = _time(claims.get("iat")) - _time(claims.get("auth_time"))
    except (ValueError, TypeError, OverflowError) as error:
        message = "the identity provider does not say when you signed in there"
        raise IdTokenRejected(message, "sign out of the hub, and sign in again") from error
    if age > now - began_at + CLOCK_SKEW:
        raise IdTokenRejected("you signed in at the identity provider before you began", "sign in there again")


def _require_time(token: IdToken, now: datetime) -> None:
    # The times of a token can be so extreme that nothing can be added to them.
    if token.expires_at <= now - CLOCK_SKEW:
        raise IdTokenRejected("the ID token has expired", "request a new one right before the login")
    if token.valid_from > now + CLOCK_SKEW:
        raise IdTokenRejected("the ID token is not valid yet", "compare the clocks of the issuer and the hub")
    if token.ends_at <= now:
        hours = f"{MAX_AGE.total_seconds() / 3600:.0f} hours"
        raise IdTokenRejected(f"the ID token is older than {hours}", "request a new one right before the login")


def _fits(token: IdToken, key: IssuerKey) -> bool:
    return key.algorithm in (None, token.algorithm) and key.type == ("EC" if token.algorithm[0] == "E" else "RSA")


def _is_signed(token: IdToken, key: IssuerKey) -> bool:
    try:
        jwt.decode(token.text, key.key, algorithms=[token.algorithm], registry=_REGISTRY)
    except (JoseError, ValueError, TypeError, RecursionError):
        return False
    return True


def _time(seconds: Any) -> datetime:
    """Return the time of a NumericDate (RFC 7519). Raises TypeError, ValueError, OverflowError."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError("not a time")
    return datetime.fromtimestamp(seconds, UTC)


def _decoded(part: str) -> bytes:
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))
