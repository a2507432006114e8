"""Tokens against forgery, and what browsers say of where a request came from."""

from __future__ import annotations

import pytest

from hythe.web.csrf import is_cross_site, form_token, token_matches

OURS = frozenset({"hub.example", "127.0.0.1:5000"})


def test_a_token_fits_its_cookie_alone() -> None:
    """A token made under one cookie is refused under another, and under none."""
    token = form_token("one")

    assert token_matches("one", token)
    assert not token_matches("two", token)
    assert not token_matches("", form_token(""))


@pytest.mark.parametrize("token", ["", "x", "\ud800", "é" * 64])
def test_nonsense_is_no_token(token: str) -> None:
    """What cannot be a token is refused like a wrong one."""
    assert not token_matches("one", token)


@pytest.mark.parametrize(
    ("origin", "fetch_site", "elsewhere"),
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
def test_the_browser_says_where_a_form_came_from(origin: str | None, fetch_site: str | None, elsewhere: bool) -> None:
    """Another origin is refused; a browser that says nothing is believed by its token alone."""
    assert is_cross_site(origin, fetch_site, OURS) is elsewhere
