"""The streams of a verb: what is printed to a terminal passes through here, so that no verb can forget to escape it.

Output to a file or pipe stays as it is.
"""

import sys
from typing import Any, TextIO, cast

from hythe.control_characters import escape_controls


class EscapingStream:
    """A text stream to a terminal that shows control characters instead of sending them."""

    def __init__(self, unfiltered: TextIO) -> None:
        self.unfiltered = unfiltered

    def write(self, text: str) -> int:
        """Write ``text`` with control characters escaped; returns its length."""
        self.unfiltered.write(escape_controls(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.unfiltered, name)


def protect_terminal() -> None:
    """Escape what this process prints to a terminal from now on; a second call changes nothing."""
    sys.stdout = _protected(sys.stdout)
    sys.stderr = _protected(sys.stderr)


def unfiltered(stream: TextIO) -> TextIO:
    """Return the stream behind an ``EscapingStream``: for our own sequences, and the output of containers."""
    return stream.unfiltered if isinstance(stream, EscapingStream) else stream


def _protected(stream: TextIO) -> TextIO:
    if isinstance(stream, EscapingStream) or not stream.isatty():
        return stream
    return cast(TextIO, EscapingStream(stream))
