"""Scopes of the token protocol: ``repository:NAME:pull,push`` (distribution, "Token Scope Documentation")."""

import re
from collections.abc import Iterable

import msgspec

from hythe.oci.errors import OCIError

_GRAMMAR = re.compile(r"(?P<type>[a-z0-9]+)(?:\((?P<kind>[a-z0-9]+)\))?:(?P<name>.+):(?P<actions>[a-z*]*(?:,[a-z*]+)*)")

PULL = "pull"
PUSH = "push"
DELETE = "delete"


class InvalidScope(OCIError):
    """The scope is invalid."""


class Scope(msgspec.Struct, frozen=True):
    """Requested or allowed actions on a resource."""

    type: str
    name: str
    actions: frozenset[str]

    @classmethod
    def parse(cls, text: str) -> "Scope":
        """Parse a scope. Raises InvalidScope."""
        match = _GRAMMAR.fullmatch(text)
        if match is None:
            raise InvalidScope(f"{text[:300]!r} is not a scope: write type:name:action[,action]")
        return cls(match["type"], match["name"], frozenset(filter(None, match["actions"].split(","))))

    @classmethod
    def repository(cls, name: str, *actions: str) -> "Scope":
        """Return the scope for ``actions`` on the repository ``name``."""
        return cls("repository", name, frozenset(actions))

    def __str__(self) -> str:
        ordered = sorted(self.actions, key=lambda action: (action != PULL, action != PUSH, action))
        return f"{self.type}:{self.name}:{','.join(ordered)}"


CATALOG = Scope("registry", "catalog", frozenset("*"))
"""The scope that the catalog requires."""


def parse_scopes(texts: Iterable[str]) -> tuple[Scope, ...]:
    """Return the scopes of ``texts``, which each contain one or more, separated by spaces. Raises InvalidScope.

    Merges scopes of the same resource.
    """
    united: dict[tuple[str, str], Scope] = {}
    for text in texts:
        for word in text.split():
            scope = Scope.parse(word)
            key = (scope.type, scope.name)
            earlier = united.get(key)
            united[key] = Scope(*key, scope.actions | earlier.actions) if earlier else scope
    return tuple(united.values())


def add_scopes(scopes: Iterable[Scope], more: str) -> tuple[str, ...]:
    """Return ``scopes`` with those in the text ``more``, which a server's challenge named, as the texts to request.

    Actions on a resource of ``scopes`` are merged. Any other word of the server is passed on unchanged: some use
    scopes of their own (``aws``).
    """
    united = {(scope.type, scope.name): scope for scope in scopes}
    opaque: dict[str, None] = {}
    for word in more.split():
        match = _GRAMMAR.fullmatch(word)
        scope = Scope.parse(word) if match and not match["kind"] else None
        earlier = united.get((scope.type, scope.name)) if scope else None
        if scope and earlier:
            united[scope.type, scope.name] = Scope(scope.type, scope.name, scope.actions | earlier.actions)
        else:
            opaque[word] = None
    return tuple(dict.fromkeys((*map(str, united.values()), *opaque)))
