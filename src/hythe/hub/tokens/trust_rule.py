"""Trust rules as values: which ID tokens of which issuer are exchanged for which rights."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import msgspec

from hythe.hub.actor import Right
from hythe.hub.organizations.name_patterns import MAX_LENGTH, matches, pattern_problem

MAX_CLAIMS = 10
"""Maximum number of claims that a rule names."""

_OWNED: Mapping[str, tuple[str, frozenset[str]]] = {
    "https://token.actions.githubusercontent.com": (
        "repo:",
        frozenset({"repository", "repository_id", "repository_owner", "repository_owner_id"}),
    ),
    "https://gitlab.com": (
        "project_path:",
        frozenset({"project_path", "project_id", "namespace_path", "namespace_id"}),
    ),
}
"""Issuers that everyone can use: how their subjects begin before the owner's name, and claims that say the owner."""


class TrustTerms(msgspec.Struct, frozen=True):
    """What a rule says. ``subject`` and the values of ``claims`` are patterns; ``repositories`` too."""

    name: str
    issuer: str
    subject: str
    claims: dict[str, str]
    rights: tuple[Right, ...]
    repositories: tuple[str, ...]
    lifetime_minutes: int


class TrustRule(TrustTerms, frozen=True):
    """A rule of a namespace.

    ``used_at``: when it last gave a token; ``used_from``: to which address; empty: never, or before that was recorded.
    """

    id: int
    created_at: datetime
    used_at: datetime | None
    used_from: str

    def trusts(self, claims: Mapping[str, Any]) -> bool:
        """Return whether the rule trusts an ID token of its issuer with these verified claims."""
        wanted = {"sub": self.subject, **self.claims}
        return all(_has(claims.get(name), pattern) for name, pattern in wanted.items())


def _has(value: object, pattern: str) -> bool:
    """Return whether the value of a claim, or one in its list, matches a pattern."""
    match value:
        case bool():
            return matches(pattern, str(value).lower())
        case str() | int():
            return matches(pattern, str(value))
        case list():
            return any(isinstance(each, str) and matches(pattern, each) for each in value)
    return False


def issuer_problem(issuer: str) -> str | None:
    """Explain why a text cannot be the URL of an issuer; None if it can."""
    try:
        parts = urlsplit(issuer)
        port = parts.port
    except ValueError:
        return "must be a URL"
    plain = issuer.isascii() and issuer.isprintable() and " " not in issuer
    if len(issuer) > MAX_LENGTH or not plain or parts.scheme != "https" or not parts.hostname or port == 0:
        return "must be the https URL that is the claim iss of its ID tokens"
    if "@" in parts.netloc or "?" in issuer or "#" in issuer:
        return "must have neither a user name nor a query"
    return None


def subject_problem(subject: str, issuer: str, claims: Mapping[str, str]) -> str | None:
    """Explain why a subject cannot be trusted, such as one that every user of a public issuer has; None if it can."""
    if problem := pattern_problem(subject):
        return problem
    start = subject.partition("*")[0]
    prefix, owner_claims = _OWNED.get(issuer, ("", frozenset[str]()))
    if prefix:
        # The owner's name must be complete: repo:acme* would also trust acme-evil.
        is_owned = start.startswith(prefix) and "/" in start.removeprefix(prefix)[1:]
        if not is_owned and not any("*" not in claims.get(name, "*") for name in owner_claims):
            return f"must begin with {prefix}OWNER/, or a claim such as {min(owner_claims)} must name the owner"
    elif not subject.strip("*") and not claims:
        return "must not match every subject, unless claims say more"
    return None


def claims_problem(claims: Mapping[str, str]) -> str | None:
    """Explain why these cannot be the claims of a rule; None if they can."""
    if len(claims) > MAX_CLAIMS:
        return f"must have at most {MAX_CLAIMS} entries"
    for name, pattern in claims.items():
        if not 1 <= len(name) <= 100 or not name.isprintable():
            return "must have names of 1 to 100 characters"
        if problem := pattern_problem(pattern):
            return f"{name}: {problem}"
    return None
