"""Submitted forms: parsed from the body, then converted to a value."""

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field, replace
from typing import Self, TypeVar
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import ClientDisconnect, Request

from hythe.hub.errors import ConfirmationNeeded, HubError, Invalid, Moved, NotFound, SignInNeeded, Taken
from hythe.hub.routes.parsing import parse_fields

T = TypeVar("T", bound=msgspec.Struct)
R = TypeVar("R")

MAX_FORM_SIZE = 512 * 1024
"""Bytes; the longest field, a description of 25,000 characters, can take nine bytes per character."""

INLINE_FORM_SIZE = 32 * 1024
"""Bytes of a form that takes at most 10 ms to decode."""

MAX_FIELDS = 50

MEDIA_TYPE = "application/x-www-form-urlencoded"


class BadForm(Exception):
    """The body is not a valid form; the text says why."""


class FormRejected(Exception):
    """A service refused what a form asks for. ``form`` has the errors, and ``status`` is that of the page."""

    def __init__(self, form: "Form", status: int) -> None:
        self.form = form
        self.status = status
        super().__init__()


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of a form, and their errors if there are any."""

    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> str:
        """Return the first value of a field; empty if there is none."""
        return next(iter(self.fields.get(name, ())), "")

    def all(self, name: str) -> tuple[str, ...]:
        """Return every value of a field."""
        return self.fields.get(name, ())

    def error(self, name: str) -> str:
        """Return the error of a field; empty if there is none."""
        return self.errors.get(name, "")

    def with_errors(self, errors: Mapping[str, str]) -> Self:
        """Return the same form with these errors."""
        return replace(self, errors=errors)


def prefilled(**values: str) -> Form:
    """Return a form that shows these values."""
    return Form({name: (value,) for name, value in values.items()})


def parse_form(form: Form, wanted: type[T], *fields: str) -> T:
    """Convert these fields of a form to a value. Raises Invalid with an error per bad field."""
    return parse_values({name: form[name] for name in fields}, wanted)


def parse_values(values: Mapping[str, object], wanted: type[T]) -> T:
    """Convert texts to a value. Raises Invalid with an error per bad field."""
    return parse_fields(values, wanted, strict=False)


async def submitted(form: Form, work: Awaitable[R]) -> R:
    """Await the change that a form asks for. Raises FormRejected, and what is no error of the form's values."""
    try:
        return await work
    except (Invalid, Taken) as error:
        raise FormRejected(form.with_errors(error.fields), error.status) from error
    except (ConfirmationNeeded, Moved, NotFound, SignInNeeded):
        raise
    except HubError as error:
        raise FormRejected(form.with_errors({"": str(error)}), error.status) from error


def row_id(text: str) -> int | None:
    """Return the row ID in a text, None if it is not one."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


async def read_form(request: Request) -> Form:
    """Read the body and normalize its line endings. Raises BadForm."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != MEDIA_TYPE:
        raise BadForm(f"expected a form (Content-Type: {MEDIA_TYPE})")
    body = await _body(request)
    try:
        # Decoding takes up to 100 ms, but in Python code, which lets the event loop's thread run.
        pairs = _pairs(body) if len(body) < INLINE_FORM_SIZE else await asyncio.to_thread(_pairs, body)
    except ValueError as error:
        raise BadForm("the form could not be parsed: go back and submit it again") from error
    if any("\0" in name or "\0" in value for name, value in pairs):
        raise BadForm("the form contains a NUL character")
    fields: dict[str, tuple[str, ...]] = {}
    for name, value in pairs:
        fields[name] = (*fields.get(name, ()), value.replace("\r\n", "\n"))
    return Form(fields)


def _pairs(body: bytes) -> list[tuple[str, str]]:
    return parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")


async def _body(request: Request) -> bytes:
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_FORM_SIZE:
                raise BadForm("the form is too large: shorten the text")
    except ClientDisconnect as error:
        raise BadForm("the connection closed before the form was complete") from error
    return bytes(body)
