"""Making control characters visible in text that others wrote, before it reaches a terminal or a log.

A terminal obeys what it is sent: escape sequences move the cursor, write to the clipboard or change the window's title,
and bidirectional overrides reorder what is read. Escaped, they are shown as in Python: ``\\x1b`` and ``\\u202e``.
"""

import re

_BIDIRECTIONAL = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_BREAKS = "\u2028\u2029"
_UNSAFE = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f{_BIDIRECTIONAL}{_BREAKS}\ud800-\udfff]")
_UNSAFE_IN_LINE = re.compile(f"[\x00-\x1f\x7f-\x9f{_BIDIRECTIONAL}{_BREAKS}\ud800-\udfff]")
_COLOURS = re.compile("(\x1b\\[[0-9;:]{0,40}m)")
_RESET = "\x1b[0m"
_UNDECODED = range(0xDC80, 0xDD00)
"""How Python represents bytes that are not UTF-8 in a text."""
_NAMES = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}


def escape_controls(text: str) -> str:
    """Return a text of several lines with all control characters escaped, except for line breaks and tabs."""
    return _UNSAFE.sub(_escaped, text)


def escape_line(text: str) -> str:
    """Return a text for one line, such as a table's cell, with all control characters escaped."""
    return _UNSAFE_IN_LINE.sub(_escaped, text)


def escape_log(text: str) -> str:
    """Return a program's log with control characters escaped, except for colours, which end with the text.

    A lone carriage return, with which programs overwrite a line, starts a new one.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    parts = _COLOURS.split(lines)
    if len(parts) == 1:
        return escape_controls(lines)
    return "".join(part if number % 2 else escape_controls(part) for number, part in enumerate(parts)) + _RESET


def _escaped(match: re.Match[str]) -> str:
    character = match[0]
    number = ord(character)
    if number in _UNDECODED:
        return f"\\x{number - 0xDC00:02x}"
    if character in _NAMES:
        return _NAMES[character]
    return f"\\x{number:02x}" if number < 0x7F else f"\\u{number:04x}"  # as in JSON, which has its own for the first
