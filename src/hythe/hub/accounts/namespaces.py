"""Namespaces, the first component of a repository's name, and the rules for account names."""

import re
from enum import Enum

import msgspec

from hythe.oci.errors import InvalidReference
from hythe.oci.reference import DEFAULT_NAMESPACE, parse_name

NAME_RULE = "2 to 39 lowercase letters, digits and '-', with no '-' at either end and no two in a row"

_RESERVED_WORDS = """
about abuse account accounts admin administrator all anonymous api assets auth badge builds catalog contact
confirm-email dashboard docs events everyone explore favicon forgot-password healthz help hooks hostmaster hythe
internal invitations legal livez login
logout me metrics moderator namespaces new new-build no-reply nobody none noreply null oauth oauth2 official
operator organizations orgs ping plans policy postmaster pricing privacy public readyz register registry
repositories repository reset-password root scratch search security session sessions settings setup sign-in sign-out
sign-up
signin signout signup staff star stars static status superuser support sysadmin system team teams terms token
tokens undefined user users v1 v2 v3 verify webhooks webmaster well-known www
"""

RESERVED = frozenset(_RESERVED_WORDS.split()) | {DEFAULT_NAMESPACE}
"""Names that no account can have: paths of the hub, now or later, and names that suggest authority."""

HIDDEN_NAMES = frozenset({"auth", "repositories", "search", "users"})
"""Names that no new top-level repository can have: with them, paths of the registry are those of Docker Hub's API."""

_USER_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")


class NamespaceKind(Enum):
    """Who may push to a namespace: its user, the members of its organization, the curators, or no one because it
    mirrors another registry.

    The database calls the namespaces of organizations ``user``, too: the kind of the owner's account tells them apart.
    """

    USER = "user"
    ORGANIZATION = "organization"
    CURATED = "curated"
    MIRROR = "mirror"


class AccountKind(Enum):
    """What a row of ``users`` is. An organization cannot sign in."""

    USER = "user"
    ORGANIZATION = "organization"


class Namespace(msgspec.Struct, frozen=True):
    """A namespace; ``user_id`` is the id of its account, a user or an organization, if it has one."""

    id: int
    name: str
    kind: NamespaceKind
    user_id: int | None


def could_be_name(text: str) -> bool:
    """Return whether ``text`` has the form of a user or namespace name; input may be anything."""
    return len(text) <= 39 and _USER_NAME.fullmatch(text) is not None


def namespace_problem(text: str) -> str | None:
    """Explain why ``text`` cannot be the name of an existing namespace; None if it can."""
    return None if could_be_name(text) else "must be your user name or the name of an organization"


def user_name_problem(text: str) -> str | None:
    """Explain why ``text`` cannot be the name of a new account; None if it can."""
    if len(text) < 2 or not could_be_name(text):
        return f"must be {NAME_RULE}"
    if text in RESERVED:
        return "is reserved; choose another name"
    return None


def canonical_name(repository: str) -> str:
    """Return the canonical spelling of a repository's name: ``library/centos`` for ``centos``."""
    return repository if "/" in repository else f"{DEFAULT_NAMESPACE}/{repository}"


def namespace_of(repository: str) -> str:
    """Return the namespace of a repository with this canonical name."""
    return repository.partition("/")[0]


def short_name(repository: str) -> str:
    """Return the short spelling of a repository's name: ``centos`` for ``library/centos``."""
    return repository.removeprefix(f"{DEFAULT_NAMESPACE}/")


def repository_name_problem(name: str) -> str | None:
    """Explain why ``name`` cannot be a repository's name within its namespace; None if it can."""
    try:
        parse_name(name)
    except InvalidReference as error:
        return str(error)
    return None if len(name) <= 200 else "must have at most 200 characters"
