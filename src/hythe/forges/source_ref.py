"""Branches and tags of source repositories, and the kinds of forges that host them."""

from enum import Enum
from typing import TypeAlias

import msgspec

MAX_REF_NAME_LENGTH = 250

ForgeKind: TypeAlias = str
"""A kind of forge, such as ``github``: a key of ``adapters.ADAPTERS``, or GIT."""
GIT: ForgeKind = "git"
"""A plain git URL without a forge's API."""


class SourceType(Enum):
    """Branch or tag, as the JSON API spells them."""

    BRANCH = "branch"
    TAG = "tag"


class SourceRef(msgspec.Struct, frozen=True):
    """A branch or tag and the commit it points to (empty: unknown, or the ref was deleted)."""

    type: SourceType
    name: str
    commit: str = ""


_PREFIXES = {"refs/heads/": SourceType.BRANCH, "refs/tags/": SourceType.TAG}


def parse_ref(ref: str, commit: str) -> SourceRef | None:
    """Return ``refs/heads/..`` or ``refs/tags/..`` as a value, or None for any other ref.

    An invalid or all-zero ``commit`` means that the ref was deleted.
    """
    for prefix, source_type in _PREFIXES.items():
        name = ref.removeprefix(prefix)
        if name and name != ref and len(name) <= MAX_REF_NAME_LENGTH:
            return SourceRef(source_type, name, valid_commit(commit))
    return None


def valid_commit(commit: str) -> str:
    """Return the commit id, or "" if it is all zeros (forges write "no commit" so) or not a commit id."""
    hexadecimal = 40 <= len(commit) <= 64 and not set(commit) - set("0123456789abcdef")
    return commit if hexadecimal and commit.strip("0") else ""
