"""Validation of request values whose rules go beyond their types."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import msgspec

from hythe.database import Session
from hythe.hub.errors import Invalid

Precondition: TypeAlias = Callable[[Session], Awaitable[None]]
"""Raises an error if what is about to change is no longer what the client has read.

A service calls it in its transaction with the row locked, so that no one, on any server, changes it in between.
"""


class Checked(msgspec.Struct, frozen=True):
    """A struct that can validate each of its fields, even if others are missing."""

    @classmethod
    def problems(cls, values: Mapping[str, Any]) -> dict[str, str]:
        """Return the problems of the given fields, by field name."""
        raise NotImplementedError

    def check(self) -> None:
        """Raise Invalid if a field is invalid."""
        if bad := self.problems(msgspec.structs.asdict(self)):
            raise Invalid(bad)


def problems_by(values: Mapping[str, Any], **rules: Callable[[str], str | None]) -> dict[str, str]:
    """Return the problems that ``rules`` find in the given values that are text."""
    given = {name: values[name] for name in rules if isinstance(values.get(name), str)}
    return {name: problem for name, value in given.items() if (problem := rules[name](value))}
