"""What error bodies of registries, proxies and token servers say."""

from __future__ import annotations

import pytest

from hythe.client.error_body import MAX_REASON_LENGTH, error_reason


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"errors":[{"code":"DENIED","message":"not for you"}]}', "denied: not for you"),
        (b'{"errors":[{"code":"NAME_UNKNOWN","message":"name unknown"}]}', "name unknown"),
        (b'{"errors":[{"code":"A","message":"x"},{"message":"y"}]}', "a: x; y"),
        (b'{"errors": null, "message": "try later"}', "try later"),
        (b'{"errors": null}', ""),
        (b'{"errors": {"message": "x"}}', "x"),
        (b'{"detail": "Not found."}', "Not found."),
        (b'{"details": "incorrect username or password"}', "incorrect username or password"),
        (b'{"message": "Forbidden"}', "Forbidden"),
        (b'{"error": "x"}', "x"),
        (b'{"error": "invalid_grant", "error_description": "expired"}', "expired"),
        (b'{"error": {"code": 403, "message": "no"}}', "no"),
        (b'{"type": "about:blank", "title": "Conflict", "status": 409}', "Conflict"),
        (b'"Username or email already exists"', "Username or email already exists"),
        (b"404 page not found\n", "404 page not found"),
        (b"  two\n lines ", "two lines"),
        (b"", ""),
        (b"<html><body>captive</body></html>", ""),
        (b"<?xml version='1.0'?><Error/>", ""),
        (b'{"message": 5}', ""),
        (b'{"errors', ""),
        (b"null", ""),
        (b"[[[[[]]]]]", ""),
        (b"\x00\x01", ""),
        (b'{"detail":' * 5000 + b"1" + b"}" * 5000, ""),
    ],
)
def test_the_servers_words_are_found(body: bytes, reason: str) -> None:
    """In any of the usual forms; a page for browsers says nothing."""
    assert error_reason(body) == reason


def test_the_length_is_bounded() -> None:
    """An error message quotes no whole document."""
    assert len(error_reason(b"x" * 100_000)) == MAX_REASON_LENGTH
