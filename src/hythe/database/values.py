"""Values that PostgreSQL rejects are rejected for SQLite, too, so that both behave alike."""

from collections.abc import Iterable

from hythe.database.port import InvalidValueError

_INTEGERS = range(-(2**63), 2**63)


def check_values(values: Iterable[object]) -> None:
    """Raise InvalidValueError for a NUL character, a lone surrogate, or an integer beyond 64 bits."""
    for value in values:
        if type(value) is str:
            if "\0" in value or not (value.isascii() or _encodes(value)):
                raise InvalidValueError("the database rejected a value: a text contains invalid characters")
        elif type(value) is int and value not in _INTEGERS:
            raise InvalidValueError("the database rejected a value: a number has more than 64 bits")


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
