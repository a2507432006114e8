"""What all JSON documents of images have in common: a bound on the work of parsing them, and how they write nothing.

Any user may have written a document, and most are written by programs in Go, whose empty lists, maps and pointers
become ``null`` and whose parser takes ``null`` for any field as if the field were missing.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import TYPE_CHECKING, Annotated, Any, Optional, TypeVar

import msgspec

T = TypeVar("T")

if TYPE_CHECKING:
    OrNull = Annotated[T, "null"]
else:
    OrNull = Optional[T]  # noqa: UP045 (a generic alias)
"""The type of a field that may be ``null`` in JSON; the parsed value is never None."""

MAX_TEXTS = 50_000
"""Names and text values in a document. Parsing that many takes about 10 ms; an image has a few hundred."""


def has_too_many_texts(content: bytes) -> bool:
    """Return whether a JSON document may have more than ``MAX_TEXTS`` names and text values.

    It counts quotation marks, those inside of texts included, because that takes no time.
    """
    return len(content) > 2 * MAX_TEXTS and content.count(b'"') > 2 * MAX_TEXTS


class Nullable(msgspec.Struct, frozen=True):
    """A struct whose ``OrNull`` fields have their defaults where a document says ``null``."""

    def __post_init__(self) -> None:
        """Replace ``null``. Structs of which a document has thousands check it themselves, which is faster."""
        self._replace_nulls()

    def _replace_nulls(self) -> None:
        for name, default in _defaults(type(self)):
            if getattr(self, name) is None:
                msgspec.structs.force_setattr(self, name, default())


@cache
def _defaults(struct: type[Nullable]) -> tuple[tuple[str, Callable[[], Any]], ...]:
    """Return the names of the fields that have a default for ``null``, each with a function that returns it."""
    return tuple(
        (
            field.name,
            partial(_same, field.default) if field.default_factory is msgspec.NODEFAULT else field.default_factory,
        )
        for field in msgspec.structs.fields(struct)
        if not field.required and field.default not in (None, msgspec.UNSET)
    )


def _same(default: Any) -> Any:
    return default
