"""What ``sql`` modules run: their statements, their calls of sessions, and arguments for their functions.

Arguments are made for the types and names of parameters. They refer to rows of ``large_database``, or to none. A
parameter with several kinds of values (optional, boolean, an enumeration; a time before or after that of all rows)
takes each of them.
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import itertools
import types
import typing
from collections import OrderedDict
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

import msgspec
from sqlalchemy import CompoundSelect, Delete, Executable, Insert, Select, TextClause, Update
from tests.parts.large_database import DIGEST, KEY, TEXT, TIME

import hythe
from hythe.database import Session
from hythe.oci.digest import Digest
from hythe.oci.manifest import Manifest

SOURCE = Path(hythe.__file__).parent

MAX_CALLS = 24
"""Calls of one function with different combinations of values."""

_DIGEST_NAMES = ("digest", "blob", "child", "subject", "known", "previous", "marked_to", "claimed")

_TIMES = (TIME + timedelta(days=1), TIME - timedelta(days=1))

_MANIFEST = b'{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []}'


class CallSite(NamedTuple):
    """A call of ``session.rows``, ``row`` or ``run`` with a statement that a function builds."""

    module: str
    first_line: int
    last_line: int


@functools.cache
def modules() -> list[types.ModuleType]:
    """Return all ``sql`` modules."""
    found = sorted(path for path in SOURCE.glob("**/sql/*.py") if path.stem != "__init__")
    names = (".".join(path.relative_to(SOURCE).with_suffix("").parts) for path in found)
    return [importlib.import_module(f"hythe.{name}") for name in names]


@functools.cache
def statements(module: types.ModuleType) -> dict[str, Executable]:
    """Return the statements in variables that functions use, also those in collections and in attributes of objects.

    Other variables are parts of statements.
    """
    prefix = module.__name__.removeprefix("hythe.")
    used = _names_in_functions(module)
    found: dict[str, Executable] = {}
    for name, value in vars(module).items():
        if name in used or not name.startswith("_"):
            found.update(_statements_in(f"{prefix}.{name}", value, 2))
    return found


def _names_in_functions(module: types.ModuleType) -> set[str]:
    tree = ast.parse(Path(module.__file__ or "").read_text())
    bodies = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {node.id for body in bodies for node in ast.walk(body) if isinstance(node, ast.Name)}


def _statements_in(name: str, value: Any, depth: int) -> dict[str, Executable]:
    if isinstance(value, Select | CompoundSelect | Insert | Update | Delete | TextClause):
        return {name: value}
    if depth == 0 or inspect.ismodule(value) or inspect.isclass(value) or inspect.isroutine(value):
        return {}
    inside: Mapping[Any, Any] = {}
    if isinstance(value, dict):
        inside = value
    elif isinstance(value, tuple | list):
        inside = dict(enumerate(value))
    elif type(value).__module__.startswith("hythe.") and hasattr(value, "__dict__"):
        inside = vars(value)
    return {
        inner: statement
        for key, each in inside.items()
        for inner, statement in _statements_in(f"{name}.{key}", each, depth - 1).items()
    }


def call_sites(module: types.ModuleType) -> list[CallSite]:
    """Return where the module runs statements that its functions build; not those that only insert given values."""
    tree = ast.parse(Path(module.__file__ or "").read_text())
    return [
        CallSite(module.__name__, node.lineno, node.end_lineno or node.lineno)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("rows", "row", "run")
        and isinstance(node.func.value, ast.Name)
        and "session" in node.func.value.id
        and _is_built(node.args[0])
    ]


def _is_built(statement: ast.expr) -> bool:
    if isinstance(statement, ast.IfExp):
        return _is_built(statement.body) or _is_built(statement.orelse)
    if isinstance(statement, ast.Name):
        return not statement.id.lstrip("_").isupper()
    if isinstance(statement, ast.Attribute) and isinstance(statement.value, ast.Name):
        return statement.value.id != "self"
    names = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
    return not names & {"insert", "upsert"}


def functions(module: types.ModuleType) -> Iterator[Callable[..., Coroutine[Any, Any, Any]]]:
    """Yield the module's public functions whose first parameter is a session.

    Others call those with ``*arguments``: the callers know what is needed.
    """
    for name, function in vars(module).items():
        if not inspect.isfunction(function) or function.__module__ != module.__name__ or name.startswith("_"):
            continue
        parameters = list(inspect.signature(function).parameters.values())
        of_session = parameters and typing.get_type_hints(function)[parameters[0].name] is Session
        if of_session and all(each.kind is not inspect.Parameter.VAR_POSITIONAL for each in parameters):
            yield function


def path_of(function: Callable[..., Any]) -> str:
    """Return the name of a function with that of its module."""
    return f"{function.__module__.removeprefix('hythe.')}.{function.__name__}"


def argument_lists(function: Callable[..., Any], given: Mapping[Any, list[Any]]) -> Iterator[inspect.BoundArguments]:
    """Yield the arguments after the session; ``given`` has the values of some types and of some parameters.

    Raises TypeError for a type that neither ``given`` nor this module knows.
    """
    hints = typing.get_type_hints(function)
    parameters = [
        each
        for each in list(inspect.signature(function).parameters.values())[1:]
        if each.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    for row in (PRESENT, ABSENT):
        world = World(*row, given)
        choices = [
            given.get(f"{path_of(function)}.{each.name}") or world.of(hints[each.name], each.name)
            for each in parameters
        ]
        for values in itertools.islice(itertools.product(*choices), MAX_CALLS):
            named = dict(zip([each.name for each in parameters], values, strict=True))
            yield inspect.BoundArguments(inspect.Signature(parameters), OrderedDict(named))


class World(NamedTuple):
    """Makes values: of one row in every table, or of rows that do not exist."""

    number: int
    text: str
    digest: str
    given: Mapping[Any, list[Any]]

    def of(self, hint: Any, name: str) -> list[Any]:
        """Return values of this type for a parameter or field of this name."""
        origin, parts = get_origin(hint), get_args(hint)
        if (origin or hint) in self.given:
            return self.given[origin or hint]
        if origin in (Union, types.UnionType):
            return [value for part in parts for value in self.of(part, name)]
        if origin is Literal:
            return list(parts)
        if origin in (Mapping, dict):
            return [dict(zip(self.of(parts[0], name), self.of(parts[1], name), strict=False))]
        if origin is tuple and parts[-1] is not Ellipsis:
            return [tuple(self.of(part, name)[0] for part in parts)]
        if origin in _COLLECTIONS:
            return [_COLLECTIONS[origin](self.of(parts[0], name)[:1])]
        return self._plain(hint, name)

    def _plain(self, hint: Any, name: str) -> list[Any]:
        known: dict[Any, list[Any]] = {
            type(None): [None],
            bool: [True, False],
            int: [self.number],
            float: [1.0],
            str: [self.digest if any(part in name for part in _DIGEST_NAMES) else self.text],
            bytes: [b"{}"],
            datetime: list(_TIMES),
            date: [TIME.date()],
            timedelta: [timedelta(days=1)],
            Digest: [Digest.parse(self.digest)],
            Manifest: [Manifest.parse(_MANIFEST)],
            object: [self.text],
            Any: [self.text],
        }
        if hint in known:
            return known[hint]
        if isinstance(hint, type) and issubclass(hint, Enum):
            return list(hint)
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            hints = typing.get_type_hints(hint)
            fields = msgspec.structs.fields(hint)
            return [hint(**{each.name: self.of(hints[each.name], each.name)[0] for each in fields})]
        if isinstance(hint, type) and issubclass(hint, tuple):
            return [hint(*(self.of(each, field)[0] for field, each in typing.get_type_hints(hint).items()))]
        raise TypeError(f"no value of the type {hint}: add one to tests/parts/store_calls.py")


PRESENT = (KEY, TEXT, DIGEST)
ABSENT = (10**9, "absent", f"sha256:{'f' * 64}")

_COLLECTIONS: dict[Any, Callable[[list[Any]], Any]] = {
    **dict.fromkeys((Iterable, Collection, Sequence, list), list),
    tuple: tuple,
    frozenset: frozenset,
    set: set,
}
