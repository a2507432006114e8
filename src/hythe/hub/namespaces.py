"""Namespaces: the first component of a repository's name, and the names that accounts may take."""

import re
from enum import Enum

import msgspec

from hythe.oci.errors import InvalidReference
from hythe.oci.reference import DEFAULT_NAMESPACE, parse_name

NAME_RULE = "2 to 39 lower-case letters, digits and '-', with no '-' at either end and no two in a row"

_RESERVED_WORDS = """
about abuse account accounts admin administrator all anonymous api assets auth badge builds catalog contact
dashboard docs events everyone explore favicon healthz help hooks hostmaster hythe internal legal livez login
logout me metrics moderator namespaces new new-build no-reply nobody none noreply null oauth oauth2 official
operator organizations orgs ping plans policy postmaster pricing privacy public readyz register registry
repositories repository root scratch search security session sessions settings setup sign-in sign-out sign-up
signin signout signup staff star stars static status superuser support sysadmin system team teams terms token
tokens undefined user users v1 v2 v3 verify webhooks webmaster well-known www
"""

RESERVED = frozenset(_RESERVED_WORDS.split()) | {DEFAULT_NAMESPACE}
"""Names that no account gets: they are, or may become, paths of the hub, or would pass for somebody in charge."""

_USER_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")


class NamespaceKind(Enum):
    """Who pushes to a namespace: its user, the administrators, or nobody, for another registry stands behind it."""

    USER = "user"
    CURATED = "curated"
    MIRROR = "mirror"


class Namespace(msgspec.Struct, frozen=True):
    """A namespace; ``user_id`` is its owner, where it has one."""

    id: int
    name: str
    kind: NamespaceKind
    user_id: int | None


def could_be_name(text: str) -> bool:
    """Whether there can be a user or namespace of this name at all: what comes in from outside may be anything."""
    return len(text) <= 39 and _USER_NAME.fullmatch(text) is not None


def namespace_trouble(text: str) -> str | None:
    """Say what is wrong with ``text`` as the name of an existing namespace; None when nothing is."""
    return None if could_be_name(text) else "must be your user name"


def user_name_trouble(text: str) -> str | None:
    """Say what is wrong with ``text`` as the name of a new account; None when nothing is."""
    if len(text) < 2 or not could_be_name(text):
        return f"must be {NAME_RULE}"
    if text in RESERVED:
        return "is reserved: choose another"
    return None


def canonical_name(repository: str) -> str:
    """Return the one spelling of a repository's name: ``centos`` is ``library/centos``."""
    return repository if "/" in repository else f"{DEFAULT_NAMESPACE}/{repository}"


def short_name(repository: str) -> str:
    """Return the name as people know it: ``library/centos`` is ``centos``."""
    return repository.removeprefix(f"{DEFAULT_NAMESPACE}/")


def repository_name_trouble(name: str) -> str | None:
    """Say what is wrong with ``name`` as a repository's name inside its namespace; None when nothing is."""
    try:
        parse_name(name)
    except InvalidReference as error:
        return str(error)
    return None if len(name) <= 200 else "must have at most 200 characters"
