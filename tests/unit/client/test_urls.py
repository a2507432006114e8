"""URLs that servers send: where they lead, and where credentials follow."""

from __future__ import annotations

import pytest

from hythe.client.errors import Unreachable
from hythe.client.urls import is_same_server, resolve_url

BASE = "https://registry.example.com/v2/ann/app/blobs/uploads/"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("/v2/x?a=b&c=d", "https://registry.example.com/v2/x?a=b&c=d"),
        ("5?state=x", f"{BASE}5?state=x"),
        ("?n=2", f"{BASE}?n=2"),
        ("https://cdn.example.com/x", "https://cdn.example.com/x"),
        ("//cdn.example.com/x", "https://cdn.example.com/x"),
        ("http://registry.example.com/x?y=z", "https://registry.example.com/x?y=z"),
    ],
)
def test_urls_of_a_server_are_resolved(text: str, url: str) -> None:
    """Relative to the request; a server behind a proxy that ends TLS does not know its own scheme."""
    assert resolve_url(BASE, text) == url


@pytest.mark.parametrize("text", ["http://other.example.com/", "ftp://x/", "https://h:port/", "https://[::1", "x:y"])
def test_unusable_urls_are_refused(text: str) -> None:
    """With an error of the client, not of a parser."""
    with pytest.raises(Unreachable):
        resolve_url(BASE, text)


@pytest.mark.parametrize(
    ("url", "base", "expected"),
    [
        ("https://h/x", "https://h/y", True),
        ("https://h:443/x", "https://h/y", True),
        ("https://H/x", "https://h/y", True),
        ("https://h:444/", "https://h/", False),
        ("https://h.evil/", "https://h/", False),
        ("https://h@evil/", "https://h/", False),
        ("http://h/", "https://h/", False),
        ("https://h/", "http://h/", True),
        ("https://h:5000/", "http://h:5000/", True),
        ("https://h:5001/", "http://h:5000/", False),
    ],
)
def test_credentials_stay_at_their_server(url: str, base: str, expected: bool) -> None:
    """TLS may be added, never dropped."""
    assert is_same_server(url, base) is expected
