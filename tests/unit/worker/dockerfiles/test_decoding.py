"""Dockerfiles as bytes."""

import pytest

from hythe.worker.dockerfiles.decoding import decode_dockerfile
from hythe.worker.dockerfiles.parsing import parse
from hythe.worker.errors import InvalidDockerfile


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfFROM a\nRUN b\n",
        b"FROM a\r\nRUN b\r\n",
        b"\xef\xbb\xbf# escape=`\r\nFROM a\r\nRUN `\r\n  b",
        b"# check=skip=all\n# a comment\n\n\tfrom a\n  run\tb\n",
        b"ARG X=a\n\nFROM $X\nRUN \\\n# inside\n\n  b\\\n",
        b"FROM a\nRUN b \\ \t\n",
    ],
    ids=["mark", "crlf", "mark, escape and crlf", "lower case", "comments inside", "ends in a backslash"],
)
def test_dockerfiles_are_read_as_docker_does(content: bytes) -> None:
    """A byte order mark, line ends, comments, tabs and lower case make no difference."""
    found = [each for each in parse(decode_dockerfile(content)) if each.keyword != "ARG"]

    assert [each.keyword for each in found] == ["FROM", "RUN"]
    assert found[0].rest in ("a", "$X")
    assert found[1].rest == "b"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("FROM a\n".encode("utf-16"), "the Dockerfile is in UTF-16: save it as UTF-8"),
        ("FROM a\n".encode("utf-32"), "the Dockerfile is in UTF-32: save it as UTF-8"),
        ("FROM a\n".encode("utf-16-le"), "the Dockerfile has a NUL byte in line 1"),
        (b"FROM a\nRUN echo \0\n", "the Dockerfile has a NUL byte in line 2"),
        (b"", "the Dockerfile is empty: begin it with FROM IMAGE"),
        (b"\xef\xbb\xbf \r\n", "the Dockerfile is empty"),
    ],
)
def test_what_is_no_dockerfile(content: bytes, reason: str) -> None:
    """The error says how to save it."""
    with pytest.raises(InvalidDockerfile, match=reason):
        decode_dockerfile(content)
