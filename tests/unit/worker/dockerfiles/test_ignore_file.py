"""Patterns of ignore files, as moby's patternmatcher reads them."""

import pytest

from hythe.worker.dockerfiles.ignore_file import PathPatterns, ignore_lines
from hythe.worker.errors import InvalidDockerfile


@pytest.mark.parametrize(
    ("patterns", "path", "expected"),
    [
        (["*.txt"], "a.txt", True),
        (["*.txt"], "d/a.txt", False),
        (["**/*.txt"], "a.txt", True),
        (["**/*.txt"], "d/e/a.txt", True),
        (["d"], "d/e/a.txt", True),
        (["d/**"], "d/e", True),
        (["d/*"], "d", False),
        (["d/*/x"], "d/e/x/deep", True),
        (["a?c"], "abc", True),
        (["a?c"], "a/c", False),
        (["[a-c].md"], "b.md", True),
        (["[^a-c].md"], "b.md", False),
        (["*", "!d"], "d/a", False),
        (["*", "!d", "d/a"], "d/a", True),
        (["!d", "*"], "d", True),
        (["a\\*"], "a*", True),
        (["a\\*"], "ab", False),
        (["/d/"], "d/a", True),
        (["./d/../e"], "e", True),
        (["a.b(c)+"], "a.b(c)+", True),
        (["[", "x"], "x", True),
        (["**"], "any/thing", True),
        (["x**y"], "x/a/y", True),
    ],
)
def test_patterns(patterns: list[str], path: str, expected: bool) -> None:
    """The last pattern that matches a path or one of its parents decides."""
    assert PathPatterns(patterns).match(path) is expected


def test_an_ignore_file_with_a_byte_order_mark() -> None:
    """Mark, line ends, comments and spaces are not part of the patterns."""
    content = b"\xef\xbb\xbf# a comment\r\n  *.txt \r\n\r\n! a.txt\r\n/d/\r\n"

    assert ignore_lines(content) == ["*.txt", "!a.txt", "d"]


def test_an_ignore_file_in_another_encoding() -> None:
    """The error names the file."""
    with pytest.raises(InvalidDockerfile, match=r"\.dockerignore is in UTF-16"):
        ignore_lines("x".encode("utf-16"))
