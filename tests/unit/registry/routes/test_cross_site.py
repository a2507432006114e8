"""The headers that mark a cross-site request."""

from __future__ import annotations

import pytest

from hythe.registry.routes.cross_site import is_cross_site

OURS = frozenset({"hub.example", "127.0.0.1:5000"})


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
