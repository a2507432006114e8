"""Converts the claims of an access token (distribution, "Token Authentication Implementation") to values and back."""

from datetime import datetime
from typing import Any

import msgspec

from hythe.hub.accounts.namespaces import canonical_name
from hythe.hub.actor import BuildLease, HubActor
from hythe.hub.tokens.keys import BadToken
from hythe.hub.tokens.personal_token import new_secret
from hythe.oci.scope import Scope

ISSUER = "hythe"


class Grant(msgspec.Struct, frozen=True):
    """One entry of ``access``. Its actions are empty if none of the requested ones is allowed."""

    type: str
    name: str
    actions: tuple[str, ...]


class Claims(msgspec.Struct, frozen=True, omit_defaults=True):
    """The claims of an access token. ``uid`` is the account's id; None if no user is signed in.

    ``generation`` and ``personal_token``, a digest, are what the token depends on, and ``credential`` is what it was
    got with: see HubActor.
    """

    iss: str
    sub: str
    aud: str
    exp: int
    nbf: int
    iat: int
    jti: str
    access: tuple[Grant, ...]
    uid: int | None = None
    build: BuildLease | None = None
    generation: int = 0
    personal_token: str = ""
    credential: str = ""


def claims_for(
    actor: HubActor, service: str, granted: tuple[Scope, ...], at: datetime, lifetime: int
) -> dict[str, Any]:
    """Return the claims that let ``actor`` use ``granted`` for ``lifetime`` seconds."""
    now = int(at.timestamp())
    access = tuple(Grant(scope.type, scope.name, tuple(sorted(scope.actions))) for scope in granted)
    claims = Claims(
        ISSUER,
        actor.name,
        service,
        now + lifetime,
        now - 10,
        now,
        new_secret(),
        access,
        actor.user_id,
        actor.build,
        actor.credential_generation,
        actor.personal_token_digest,
        actor.credential,
    )
    built: dict[str, Any] = msgspec.to_builtins(claims)
    return built


def actor_of(claims: dict[str, Any]) -> HubActor:
    """Return the holder of a token with these verified claims. Raises BadToken."""
    try:
        known = msgspec.convert(claims, Claims)
    except msgspec.ValidationError as error:
        raise BadToken(str(error)) from error
    if known.iss != ISSUER:
        raise BadToken("another's token")
    granted = tuple(Scope(grant.type, _canonical(grant), frozenset(grant.actions)) for grant in known.access)
    return HubActor(
        known.sub,
        user_id=known.uid,
        granted=granted,
        build=known.build,
        personal_token_digest=known.personal_token,
        credential_generation=known.generation,
        credential=known.credential,
    )


def expiry_of(claims: dict[str, Any]) -> float:
    """Return when a token with these claims expires, as a Unix time. Raises BadToken."""
    expiry = claims.get("exp")
    if not isinstance(expiry, int | float):
        raise BadToken("exp is missing")
    return float(expiry)


def _canonical(grant: Grant) -> str:
    return canonical_name(grant.name) if grant.type == "repository" else grant.name
