"""Forms as browsers send them: a few short fields, read once into a value."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self, TypeVar
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import ClientDisconnect, Request

from hythe.hub.routes.parsing import parse_fields

T = TypeVar("T", bound=msgspec.Struct)

LARGEST = 512 * 1024
"""Most bytes of a form; the longest field, a description of 25,000 characters, may take nine bytes a character."""

FIELDS = 50

MEDIA_TYPE = "application/x-www-form-urlencoded"


class BadForm(Exception):
    """What was sent is no form of ours; the text says why."""


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of a form, and what is wrong with them, if anything."""

    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> str:
        """Return the first value of a field; empty when there is none."""
        return next(iter(self.fields.get(name, ())), "")

    def all(self, name: str) -> tuple[str, ...]:
        """Return every value of a field."""
        return self.fields.get(name, ())

    def error(self, name: str) -> str:
        """Return what is wrong with a field; empty when nothing is."""
        return self.errors.get(name, "")

    def wrong(self, errors: Mapping[str, str]) -> Self:
        """Return the same form with what is wrong with it."""
        return replace(self, errors=errors)


def filled(**values: str) -> Form:
    """Return a form that shows what is so at present."""
    return Form({name: (value,) for name, value in values.items()})


def parsed(form: Form, wanted: type[T], *fields: str) -> T:
    """Return the value that these fields of a form spell. Raises Invalid, naming every bad one."""
    return converted({name: form[name] for name in fields}, wanted)


def converted(values: Mapping[str, object], wanted: type[T]) -> T:
    """Return the value that these texts spell. Raises Invalid, naming every bad one."""
    return parse_fields(values, wanted, strict=False)


async def read_form(request: Request) -> Form:
    """Read the body. Line ends become those that everything else uses. Raises BadForm."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != MEDIA_TYPE:
        raise BadForm("this page takes what its form sends, and nothing else")
    body = await _body(request)
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=FIELDS, errors="strict")
    except ValueError as error:
        raise BadForm("the form was damaged on its way: go back and send it again") from error
    if any("\0" in name or "\0" in value for name, value in pairs):
        raise BadForm("the form holds a NUL character, which is no text")
    fields: dict[str, tuple[str, ...]] = {}
    for name, value in pairs:
        fields[name] = (*fields.get(name, ()), value.replace("\r\n", "\n"))
    return Form(fields)


async def _body(request: Request) -> bytes:
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > LARGEST:
                raise BadForm("that is more than this form can hold: shorten the text")
    except ClientDisconnect as error:
        raise BadForm("the form was cut off on its way") from error
    return bytes(body)
