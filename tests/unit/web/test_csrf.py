"""CSRF tokens, and the headers that mark a cross-site request."""

from __future__ import annotations

import pytest

from hythe.web.csrf import form_token, is_cross_site, token_matches

OURS = frozenset({"hub.example", "127.0.0.1:5000"})


def test_a_token_matches_only_its_cookie() -> None:
    """A token made for one cookie is refused for another, and without a cookie."""
    token = form_token("one")

    assert token_matches("one", token)
    assert not token_matches("two", token)
    assert not token_matches("", form_token(""))


@pytest.mark.parametrize("token", ["", "x", "\ud800", "é" * 64])
def test_invalid_tokens_are_refused(token: str) -> None:
    """A malformed token is refused like a wrong one."""
    assert not token_matches("one", token)


@pytest.mark.parametrize(
    ("origin", "fetch_site", "cross_site"),
    [
        (None, None, False),
        ("https://hub.example", "same-origin", False),
        ("http://127.0.0.1:5000", None, False),
        (None, "none", False),
        ("http://127.0.0.1:5001", None, True),
        ("https://hub.example.evil.example", None, True),
        ("https://evil.example/hub.example", None, True),
        ("null", None, True),
        ("http://[", None, True),
        ("", None, True),
        (None, "cross-site", True),
        ("https://hub.example", "same-site", True),
    ],
)
def test_cross_site_requests_are_recognized(origin: str | None, fetch_site: str | None, cross_site: bool) -> None:
    """Another origin is cross-site; without either header the token alone decides."""
    assert is_cross_site(origin, fetch_site, OURS) is cross_site
