"""Answers as bytes: what goes over the wire, and what may not."""

from __future__ import annotations

import pytest

from hythe.server.response import announced_length, whole_response

HEADERS = [(b"content-type", b"text/plain"), (b"content-length", b"2")]


def test_an_answer_is_one_piece() -> None:
    """Status line, headers, an empty line, the body."""
    content = whole_response(200, HEADERS, b"ok")

    assert content == b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nok"


@pytest.mark.parametrize("value", [b"a\r\nset-cookie: b", b"a\nb", b"a\rb", b"a\0b", b"\r\n\r\nHTTP/1.1 200 OK"])
@pytest.mark.parametrize("place", ["name", "value"])
def test_no_header_brings_another(place: str, value: bytes) -> None:
    """A line break in a header name or value is refused: it would allow response splitting."""
    header = (value, b"x") if place == "name" else (b"x", value)

    assert whole_response(200, [*HEADERS, header], b"ok") is None


def test_an_unknown_status() -> None:
    """It is left to the server below."""
    assert whole_response(799, HEADERS, b"ok") is None


def test_the_announced_length() -> None:
    """The Content-Length among the headers, if there is one."""
    assert announced_length(HEADERS) == 2
    assert announced_length(HEADERS[:1]) is None
