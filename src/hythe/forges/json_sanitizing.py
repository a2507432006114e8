"""Sanitizes JSON with text from other programs: commit messages, Dockerfiles, tool output."""

import re

_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")


def without_nul(content: bytes) -> bytes:
    """Return JSON with U+FFFD in place of NUL characters, which PostgreSQL cannot store.

    User input with NUL is rejected instead; here the sender cannot fix it, and the message must not be lost.
    """
    return _NUL.sub(rb"\1\\ufffd", content) if b"\\u0000" in content else content
