"""Values from outside whose fields have rules beyond their types."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from hythe.hub.errors import Invalid


class Checked(msgspec.Struct, frozen=True):
    """A struct that can say what is wrong with each of its fields, also while others are missing."""

    @classmethod
    def problems(cls, values: Mapping[str, Any]) -> dict[str, str]:
        """Return what is wrong with those of the fields that are given, each under its name."""
        raise NotImplementedError

    def check(self) -> None:
        """Raise Invalid when a field is wrong."""
        if bad := self.problems(msgspec.structs.asdict(self)):
            raise Invalid(bad)


def problems_by(values: Mapping[str, Any], **rules: Callable[[str], str | None]) -> dict[str, str]:
    """Return what ``rules`` say of those of the values that are given as text."""
    given = {name: values[name] for name in rules if isinstance(values.get(name), str)}
    return {name: problem for name, value in given.items() if (problem := rules[name](value))}
