"""CSRF tokens."""

from __future__ import annotations

import pytest

from hythe.web.csrf import form_token, token_matches


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
