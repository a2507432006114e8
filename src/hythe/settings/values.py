"""The kinds of values that settings have (amounts with units), and the errors of invalid ones."""

import re
from collections.abc import Mapping

from msgspec import Meta

_SECONDS = {"w": 7 * 86400, "d": 86400, "h": 3600, "m": 60, "s": 1}
_BYTES = {"TiB": 1 << 40, "GiB": 1 << 30, "MiB": 1 << 20, "KiB": 1 << 10} | {"TB": 10**12, "GB": 10**9, "MB": 10**6}
_BYTES |= {"kB": 1000, "B": 1} | {"t": 1 << 40, "g": 1 << 30, "m": 1 << 20, "k": 1 << 10}
_AMOUNT = re.compile(r"(\d{1,18})\s*([A-Za-z]+)")
_PASSWORD_PARAMETER = re.compile(r"(password=)[^&\s]*", re.IGNORECASE)
_MAX_SHOWN = 200
"""Characters of an invalid value in an error."""

_CENTURY = 100 * 365 * 86400
"""Seconds. A longer time is a mistake, and could lead to dates that do not exist."""

Seconds = Meta(extra={"units": _SECONDS})
Bytes = Meta(extra={"units": _BYTES})
Count = Meta(ge=0, le=2**31 - 1)
"""A number that fits into an integer column of the database."""
PositiveCount = Meta(ge=1, le=2**31 - 1)
ByteCount = Meta(ge=0, le=2**63 - 1)
"""A number of bytes that fits into a column of the database."""
PositiveByteCount = Meta(ge=1, le=2**63 - 1)
Duration = Meta(ge=0, le=_CENTURY)
PositiveDuration = Meta(ge=1, le=_CENTURY)


class SettingsError(ValueError):
    """A setting is invalid; the message names it, its source and the valid values."""


class InvalidValue(SettingsError):
    """A value, or one item of a list, is invalid; ``advice`` says what to use instead.

    The message masks passwords in URLs; ``secret`` hides the whole value.
    """

    def __init__(self, value: str, advice: str, *, secret: bool = False) -> None:
        super().__init__(f"{'the value' if secret else repr(_shown(value))} is invalid: {advice}")
        self.advice = advice


def _shown(value: str) -> str:
    """Return a value without what could belong to a password, even if it is no valid URL, and not too long."""
    head, at, tail = value.rpartition("@")
    if at and ":" in head:
        scheme, separator, _ = head.partition("://")
        value = f"{scheme + separator if separator else ''}***@{tail}"
    value = _PASSWORD_PARAMETER.sub(r"\1***", value)
    return value if len(value) <= _MAX_SHOWN else f"{value[:_MAX_SHOWN]}.."


def parse_bytes(text: str) -> int:
    """Return ``50GiB`` or ``1000`` as a number of bytes. Raises ValueError."""
    return int(without_unit(text, _BYTES))


def format_bytes(count: int) -> str:
    """Return a number of bytes in the largest binary unit: ``10 GiB``, ``1.25 MiB``, ``17 bytes``."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if count >= _BYTES[unit]:
            return f"{count / _BYTES[unit]:.2f}".rstrip("0").rstrip(".") + f" {unit}"
    return f"{count} byte" if count == 1 else f"{count} bytes"


def without_unit(text: str, units: Mapping[str, int]) -> str:
    """Return ``16MiB`` as a number of bytes; return other text unchanged."""
    amount = _AMOUNT.fullmatch(text.strip())
    if amount is None:
        return text
    by_spelling = {unit.lower(): worth for unit, worth in units.items()}
    worth = by_spelling.get(amount[2].lower())
    return text if worth is None else str(int(amount[1]) * worth)


def with_unit(value: int, units: Mapping[str, int]) -> str:
    """Return a number with the largest unit that divides it."""
    unit = next((unit for unit, worth in units.items() if value and value % worth == 0), "")
    return f"{value // units[unit]}{unit}" if unit else str(value)
