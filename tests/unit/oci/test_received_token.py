"""Responses of token servers: each of these comes from a server in use, or is a slip that Go's decoder forgives."""

from __future__ import annotations

import pytest

from hythe.oci.received_token import InvalidTokenReply, ReceivedToken


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"token": "t", "expires_in": 300, "issued_at": "2026-11-27T04:00:00Z"}', ReceivedToken("t", 300)),
        (b'{"access_token": "t", "token_type": "Bearer", "scope": "x"}', ReceivedToken("t", 60)),
        (b'{"token": null, "access_token": "t", "expires_in": null, "refresh_token": null}', ReceivedToken("t", 60)),
        (b'{"token": "", "access_token": "t", "expires_in": 0}', ReceivedToken("t", 60)),
        (b'{"token": "t", "expires_in": "300"}', ReceivedToken("t", 300)),
        (b'{"token": "t", "expires_in": 299.5}', ReceivedToken("t", 299.5)),
        (b'{"token": "t", "expires_in": -5}', ReceivedToken("t", 60)),
        (b'{"token": "t", "expires_in": "soon"}', ReceivedToken("t", 60)),
        (b'{"token": "t", "expires_in": [1]}', ReceivedToken("t", 60)),
        (b'{"token": "t", "expires_in": 1e300}', ReceivedToken("t", 86400)),
        (b'{"token": "t", "expires_in": 123456789012345678901234567890}', ReceivedToken("t", 86400)),
        (b'{"token": "t\\n", "refresh_token": "r", "issued_at": 5, "more": {}}', ReceivedToken("t", 60, "r")),
    ],
)
def test_tokens_are_read(content: bytes, expected: ReceivedToken) -> None:
    """Either name, any form of the lifetime, additional fields."""
    assert ReceivedToken.parse(content) == expected


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>", b"[]", b"null", b'{"token": 5}', b'{"token": ""}', b"\xff", b'{"token": "a\\u000ab"}', b'"t"'],
)
def test_a_response_without_a_token_is_refused(content: bytes) -> None:
    """It says what is missing."""
    with pytest.raises(InvalidTokenReply):
        ReceivedToken.parse(content)
