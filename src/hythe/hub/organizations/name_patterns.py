"""Patterns in which ``*`` stands for any text, such as ``acme/web-*``, and lists of repositories made of them."""

import re
from collections.abc import Collection

from hythe.hub.accounts.namespaces import canonical_name, could_be_name

MAX_PATTERNS = 50
"""Maximum number of patterns in a list."""

MAX_LENGTH = 255
"""Maximum number of characters of a pattern."""

_MAX_STARS = 5

_NAME = re.compile(r"[a-z0-9*](?:[a-z0-9._/*-]*[a-z0-9*])?")


def matches(pattern: str, text: str) -> bool:
    """Return whether a pattern matches the whole text. Takes linear time for each ``*``, whatever users wrote."""
    first, *rest = pattern.split("*")
    if not rest:
        return pattern == text
    *middle, last = rest
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return False
    position, end = len(first), len(text) - len(last)
    for part in middle:
        found = text.find(part, position, end)
        if found < 0:
            return False
        position = found + len(part)
    return True


def pattern_problem(pattern: str) -> str | None:
    """Explain why a text cannot be a pattern; None if it can."""
    if not 1 <= len(pattern) <= MAX_LENGTH:
        return f"must have 1 to {MAX_LENGTH} characters"
    if pattern.count("*") > _MAX_STARS:
        return f"must have at most {_MAX_STARS} '*'"
    return None


def any_matches(patterns: Collection[str], repository: str) -> bool:
    """Return whether one of the patterns matches a repository with this canonical name."""
    return any(matches(pattern, repository) for pattern in patterns)


def parse_repository_patterns(patterns: Collection[str]) -> tuple[str, ...]:
    """Return the canonical spelling of repositories and patterns of them, each once."""
    return tuple(dict.fromkeys(canonical_name(pattern.strip()) for pattern in patterns))


def repository_patterns_problem(patterns: Collection[str], namespace: str = "") -> str | None:
    """Explain why canonical ``patterns`` cannot be a list of repositories; None if they can.

    With ``namespace``, each must be of repositories in it.
    """
    if not 1 <= len(patterns) <= MAX_PATTERNS:
        return f"must contain 1 to {MAX_PATTERNS} repositories or patterns, such as {namespace or 'acme'}/web-*"
    for pattern in patterns:
        if problem := _repository_pattern_problem(pattern, namespace):
            return f"{pattern[:MAX_LENGTH]!r} {problem}"
    return None


def _repository_pattern_problem(pattern: str, namespace: str) -> str | None:
    if problem := pattern_problem(pattern):
        return problem
    owner, _, name = pattern.partition("/")
    if namespace and owner != namespace:
        return f"must begin with {namespace}/"
    if not could_be_name(owner):
        return "must begin with a namespace without '*', such as acme/web-*"
    if not _NAME.fullmatch(name):
        return "must be a repository, or a pattern such as acme/web-*"
    return None
