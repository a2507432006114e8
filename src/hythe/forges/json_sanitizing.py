"""JSON that programs made of foreign text: commit messages, Dockerfiles, what tools printed."""

import re

_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")


def without_nul(content: bytes) -> bytes:
    """Return JSON with U+FFFD in the place of NUL characters, which no database keeps.

    People are told of theirs; a program cannot mend what others wrote, and its message must not be lost for it.
    """
    return _NUL.sub(rb"\1\\ufffd", content) if b"\\u0000" in content else content
