"""Validation of request values whose rules go beyond their types."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from hythe.hub.errors import Invalid


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
