"""Parses requests into values; an error names every invalid field."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request

from hythe.hub.errors import Invalid
from hythe.hub.routes.problem_details import BadRequest
from hythe.hub.routes.unknown_fields import unknown_fields
from hythe.hub.validation import Checked

T = TypeVar("T", bound=msgspec.Struct)

MAX_BODY_SIZE = 256 * 1024
"""Maximum bytes of a request body."""


async def read_body(request: Request, largest: int = MAX_BODY_SIZE) -> bytes:
    """Return the body. Raises BadRequest if it is too large or incomplete."""
    chunks = []
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > largest:
                raise BadRequest(f"the request body has more than {largest} bytes", "send a smaller body")
            chunks.append(chunk)
    except ClientDisconnect as error:
        raise BadRequest("the request body is incomplete") from error
    return b"".join(chunks)


def parse_body(content: bytes, wanted: type[T], *, lenient: bool = False) -> T:
    """Parse a JSON object as ``wanted``. Raises BadRequest, or Invalid with the problem of each field.

    An empty body counts as ``{}`` if all fields are optional. ``lenient`` ignores unknown fields, for bodies that other
    products define.
    """
    if not content and may_be_empty(wanted):
        content = b"{}"
    try:
        # Only the wanted fields are parsed: half a million empty lists would block the event loop.
        values = msgspec.json.decode(content, type=dict[str, msgspec.Raw])
        return _built(values, wanted, _json_value, {} if lenient else unknown_fields(values, wanted))
    except msgspec.ValidationError as error:
        raise BadRequest(
            "the request body is not a JSON object", "send an object with the documented fields"
        ) from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"the request body is not valid JSON: {error}", "send a JSON object") from error


def may_be_empty(wanted: type[msgspec.Struct]) -> bool:
    """Return whether all fields are optional."""
    return not any(field.required for field in msgspec.structs.fields(wanted))


def parse_fields(values: Mapping[str, Any], wanted: type[T], *, strict: bool) -> T:
    """Return named values as the struct ``wanted``. Raises Invalid. ``strict`` False: all values were sent as text."""
    return _built(values, wanted, partial(msgspec.convert, strict=strict), {})


def _json_value(raw: msgspec.Raw, type: Any) -> Any:
    return msgspec.json.decode(raw, type=type)


def _built(values: Mapping[str, Any], wanted: type[T], convert: Callable[..., Any], unknown: Mapping[str, str]) -> T:
    problems: dict[str, str] = dict(unknown)
    built: dict[str, Any] = {}
    for field in msgspec.structs.fields(wanted):
        if field.encode_name not in values:
            if field.required:
                problems[field.encode_name] = "is required"
            continue
        try:
            built[field.name] = convert(values[field.encode_name], type=field.type)
        except msgspec.ValidationError as error:
            problems[field.encode_name] = _worded(str(error))
            continue
        if not _is_plain(msgspec.to_builtins(built[field.name])):
            del built[field.name]
            problems[field.encode_name] = "must be plain text without NUL characters"
    if issubclass(wanted, Checked):
        problems = wanted.problems(built) | problems
    if problems:
        raise Invalid(problems)
    return wanted(**built)


def _is_plain(value: Any) -> bool:
    """Return whether no text in the value contains a NUL character, which no database stores."""
    match value:
        case str():
            return "\0" not in value
        case Mapping():
            return all(_is_plain(key) and _is_plain(each) for key, each in value.items())
        case list() | tuple():
            return all(map(_is_plain, value))
    return True


def _worded(problem: str) -> str:
    return problem[:1].lower() + problem[1:].replace(" - at `$", " at `").replace(" at ``", "")
