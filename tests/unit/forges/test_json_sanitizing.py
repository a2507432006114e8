"""JSON of programs: NUL characters go, and nothing else."""

import json

import pytest

from hythe.forges.json_sanitizing import without_nul


@pytest.mark.parametrize(
    ("value", "kept"),
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
def test_nul_characters_go(value: object, kept: object) -> None:
    """Each becomes a replacement character; a backslash that is a character of the text begins no escape."""
    assert json.loads(without_nul(json.dumps(value).encode())) == kept
