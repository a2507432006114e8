"""Finds the fields of a JSON body that its type does not have, at any depth: ignored, they would seem to work."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import inspect

MAX_NAMED = 20
"""Maximum number of unknown fields that an error names."""

MAX_NAME_LENGTH = 100
"""Characters of an unknown field's name that an error shows."""


def unknown_fields(values: Mapping[str, msgspec.Raw], wanted: type[msgspec.Struct]) -> dict[str, str]:
    """Return the problem of each top-level field that ``wanted`` does not have, or that contains unknown fields.

    Fields whose values do not have the wanted type are left to their conversion.
    """
    problems: dict[str, str] = {}
    types = {field.encode_name: field.type for field in msgspec.structs.fields(wanted)}
    for name, raw in values.items():
        if len(problems) == MAX_NAMED:
            break
        if name not in types:
            problems[_shown(name)] = f"is unknown: this request takes {', '.join(sorted(types)) or 'no fields'}"
        elif inner := _inner_fields(raw, types[name]):
            problems[name] = f"contains the unknown field{'s' if len(inner) > 1 else ''} {', '.join(inner)}"
    return problems


def _inner_fields(raw: msgspec.Raw, wanted: Any) -> list[str]:
    kind = inspect.type_info(wanted)
    if not _has_structs(kind):
        return []
    try:
        # Within the wanted types first: they bound the number of values.
        msgspec.json.decode(raw, type=wanted)
    except msgspec.ValidationError:
        return []
    found = _walk(msgspec.json.decode(raw), kind, "")
    return [name for name, _ in zip(found, range(MAX_NAMED), strict=False)]


def _walk(value: Any, kind: inspect.Type, place: str) -> Iterator[str]:
    match kind, value:
        case inspect.Metadata(), _:
            yield from _walk(value, kind.type, place)
        case inspect.UnionType(), _:
            for each in kind.types:
                yield from _walk(value, each, place)
        case inspect.StructType(), dict():
            types = {field.encode_name: field.type for field in kind.fields}
            yield from _walk_object(value, types, place)
        case inspect.DictType(), dict():
            yield from _walk_object(value, dict.fromkeys(value, kind.value_type), place)
        case inspect.ListType() | inspect.VarTupleType(), list():
            for number, item in enumerate(value):
                yield from _walk(item, kind.item_type, f"{place}[{number}]")


def _walk_object(value: Mapping[str, Any], types: Mapping[str, inspect.Type], place: str) -> Iterator[str]:
    for name, inner in value.items():
        below = f"{place}.{_shown(name)}".removeprefix(".")
        if name in types:
            yield from _walk(inner, types[name], below)
        else:
            yield below


def _has_structs(kind: inspect.Type) -> bool:
    match kind:
        case inspect.StructType():
            return True
        case inspect.Metadata():
            return _has_structs(kind.type)
        case inspect.UnionType():
            return any(map(_has_structs, kind.types))
        case inspect.ListType() | inspect.VarTupleType():
            return _has_structs(kind.item_type)
        case inspect.DictType():
            return _has_structs(kind.value_type)
    return False


def _shown(name: str) -> str:
    return name[:MAX_NAME_LENGTH].replace("\0", "\N{REPLACEMENT CHARACTER}")
