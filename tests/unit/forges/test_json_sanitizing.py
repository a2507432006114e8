"""Sanitizing removes NUL characters from JSON, and nothing else."""

import json

import pytest

from hythe.forges.json_sanitizing import without_nul


@pytest.mark.parametrize(
    ("value", "sanitized"),
    [
        ("a\0b", "a\ufffdb"),
        ("\0\0", "\ufffd\ufffd"),
        ("\\\0", "\\\ufffd"),
        ("\\u0000", "\\u0000"),
        ("\\\\u0000", "\\\\u0000"),
        ("\u0001\\", "\u0001\\"),
        ({"\0": ["\0"]}, {"\ufffd": ["\ufffd"]}),
        ("plain", "plain"),
    ],
    ids=ascii,
)
def test_nul_characters_are_replaced(value: object, sanitized: object) -> None:
    """Each becomes a replacement character; an escaped backslash starts no escape sequence."""
    assert json.loads(without_nul(json.dumps(value).encode())) == sanitized
