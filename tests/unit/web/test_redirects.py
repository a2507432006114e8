"""Safe redirects after signing in."""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hythe.web.redirects import local_target


@pytest.mark.parametrize(
    "text", ["/", "/alice", "/alice/app:1.0", "/search?q=a&page=2", "/a%20b", "/alice/app/-/settings"]
)
def test_paths_of_this_hub_are_kept(text: str) -> None:
    """A path with its query is kept."""
    assert local_target(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "alice",
        "//evil.example",
        "https://evil.example",
        "/\\evil.example",
        "/\tx",
        "/\n/x",
        "/ä",
        "javascript:1",
    ],
)
def test_anything_else_redirects_to_the_start_page(text: str) -> None:
    """Anything that a browser could treat as another site is dropped."""
    assert local_target(text) == "/"


@given(st.text(alphabet="/\\:.@?#[]%\t\n\rahtps", max_size=12))
def test_no_text_redirects_to_another_site(text: str) -> None:
    """Joined to our address, any result stays on our host, also with backslashes read as slashes."""
    target = local_target(text)

    for read in (target, target.replace("\\", "/")):
        assert urlsplit(urljoin("https://hub.example/sign-in", read)).netloc == "hub.example"
