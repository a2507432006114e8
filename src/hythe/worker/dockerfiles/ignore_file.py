"""Which files an ignore file or ``--exclude`` leaves out: the patterns of ``.dockerignore``.

Docker's "Build context", section ".dockerignore files": Go's ``filepath.Match`` with ``**``, and ``!`` for exceptions.
The last pattern that matches a path or one of its parents decides.
"""

import functools
import posixpath
import re
from collections.abc import Iterable

from hythe.worker.dockerfiles.decoding import decode_text


class PathPatterns:
    """Patterns for paths relative to one folder."""

    def __init__(self, patterns: Iterable[str]) -> None:
        cleaned = [_cleaned(pattern) for pattern in patterns if pattern.strip()]
        self._patterns = [(_expression(text), is_exception) for text, is_exception in cleaned if text]
        self.have_exceptions = any(is_exception for _, is_exception in self._patterns)
        """Whether a file below an excluded folder can be included."""

    def match(self, path: str) -> bool:
        """Return whether the patterns match a path or one of its parents, and no later exception does."""
        parents = path.split("/")
        paths = ["/".join(parents[: count + 1]) for count in range(len(parents))]
        matched = False
        for expression, is_exception in self._patterns:
            if is_exception == matched and any(expression.fullmatch(each) for each in paths):
                matched = not is_exception
        return matched


def ignore_lines(content: bytes) -> list[str]:
    """Return the patterns of an ignore file, in the form of docker. Raises InvalidDockerfile if it is no text."""
    lines = decode_text(content, ".dockerignore").split("\n")
    patterns = [line.strip() for line in lines if not line.startswith("#") and line.strip()]
    return [f"{'!' if is_exception else ''}{text}" for text, is_exception in map(_cleaned, patterns) if text]


@functools.lru_cache(maxsize=256)
def path_expression(pattern: str) -> re.Pattern[str]:
    """Return the expression for one pattern that matches whole paths, with ``**`` for any number of folders."""
    return _expression(pattern)


def _cleaned(pattern: str) -> tuple[str, bool]:
    """Return a pattern as a clean relative path, and whether it is an exception."""
    text = pattern.strip()
    is_exception = text.startswith("!")
    text = text.removeprefix("!").strip() if is_exception else text
    text = posixpath.normpath(text) if text else ""
    return text.lstrip("/"), is_exception


def _expression(pattern: str) -> re.Pattern[str]:
    parts: list[str] = []
    position = 0
    while position < len(pattern):
        char = pattern[position]
        position += 1
        if pattern.startswith("**", position - 1):
            position += 1
            is_folder = pattern.startswith("/", position)
            position += is_folder
            parts.append(".*" if position >= len(pattern) else "(?:.*/)?" if is_folder else ".*")
        elif char == "*":
            parts.append("[^/]*")
        elif char == "?":
            parts.append("[^/]")
        elif char == "\\" and position < len(pattern):
            parts.append(re.escape(pattern[position]))
            position += 1
        elif char == "[" and (found := re.match(r"\^?(?:\\.|[^\]\\])+\]", pattern[position:])):
            inner = found[0][:-1].replace("[", "\\[")
            parts.append(f"(?!/)[{inner}]")
            position += found.end()
        else:
            parts.append(re.escape(char))
    try:
        return re.compile("".join(parts), re.DOTALL)
    except re.error:
        return re.compile(re.escape(pattern))
