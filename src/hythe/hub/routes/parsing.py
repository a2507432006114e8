"""Parses requests into values; an error names every invalid field."""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request

from hythe.hub.errors import Invalid
from hythe.hub.routes.problem_details import BadRequest
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


def parse_body(content: bytes, wanted: type[T]) -> T:
    """Parse a JSON object as ``wanted``. Raises BadRequest, or Invalid with the problem of each field.

    An empty body counts as ``{}`` if all fields are optional.
    """
    if not content and may_be_empty(wanted):
        content = b"{}"
    try:
        value = msgspec.json.decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"the request body is not valid JSON: {error}", "send a JSON object") from error
    if not isinstance(value, dict):
        raise BadRequest("the request body is not a JSON object", "send an object with the documented fields")
    return parse_fields(value, wanted, strict=True)


def may_be_empty(wanted: type[msgspec.Struct]) -> bool:
    """Return whether all fields are optional."""
    return not any(field.required for field in msgspec.structs.fields(wanted))


def parse_fields(values: Mapping[str, Any], wanted: type[T], *, strict: bool) -> T:
    """Return named values as the struct ``wanted``. Raises Invalid. ``strict`` False: all values were sent as text."""
    problems: dict[str, str] = {}
    built: dict[str, Any] = {}
    for field in msgspec.structs.fields(wanted):
        if field.encode_name not in values:
            if field.required:
                problems[field.encode_name] = "is required"
            continue
        if not _is_plain(values[field.encode_name]):
            problems[field.encode_name] = "must be plain text without NUL characters"
            continue
        try:
            built[field.name] = msgspec.convert(values[field.encode_name], field.type, strict=strict)
        except msgspec.ValidationError as error:
            problems[field.encode_name] = _worded(str(error))
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
