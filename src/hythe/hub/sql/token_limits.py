"""The limits of tokens in the database: rights, and repositories.

The column ``rights`` is for servers of older versions, which know neither limits nor robots: it has only what they may
allow. The column ``permissions`` has the rights; where it is NULL, an older version made the token, whose right to push
included settings and builds.
"""

from collections.abc import Collection
from typing import Any

from sqlalchemy import Row

from hythe.database.tables.hub import personal_tokens
from hythe.hub.actor import EVERY_RIGHT, Right

_ONCE_WRITE = frozenset({Right.WRITE, Right.BUILDS, Right.ADMIN})
"""What ``repo:write`` meant before builds and settings had words of their own."""

_OLD_WORDS = (Right.READ, Right.WRITE, Right.DELETE, Right.ACCOUNT)

LIMIT_COLUMNS = (
    personal_tokens.c.rights.label("token_rights"),
    personal_tokens.c.permissions.label("token_permissions"),
    personal_tokens.c.limits.label("token_limits"),
)
"""What becomes the rights and repositories of a token."""


def limits_of(row: Row[Any]) -> tuple[frozenset[Right], tuple[str, ...] | None]:
    """Return the rights and repositories of a row with LIMIT_COLUMNS."""
    limits = row.token_limits
    return stored_rights(row.token_rights, row.token_permissions), None if limits is None else tuple(limits.split())


def words_of(rights: Collection[Right]) -> str:
    """Return rights as they are stored."""
    return " ".join(right.value for right in Right if right in rights)


def rights_of(stored: str) -> frozenset[Right]:
    """Return stored rights. Words of a newer version grant nothing here."""
    words = frozenset(stored.split())
    return frozenset(right for right in EVERY_RIGHT if words.issuperset({right.value}))


def stored_rights(old: str, permissions: str | None) -> frozenset[Right]:
    """Return the rights of the columns ``rights`` and ``permissions``."""
    if permissions is not None:
        return rights_of(permissions)
    found = rights_of(old)
    return found | _ONCE_WRITE if Right.WRITE in found else found


def old_words(rights: Collection[Right]) -> str:
    """Return rights for servers of older versions, on which pushing includes settings and builds."""
    push = _ONCE_WRITE.issubset(rights)
    return words_of([right for right in _OLD_WORDS if right in rights and (push or right is not Right.WRITE)])
