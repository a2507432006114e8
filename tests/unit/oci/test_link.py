"""The Link header of lists."""

from __future__ import annotations

import pytest

from hythe.oci.link import next_page


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ('</v2/a/tags/list?n=2&last=b>; rel="next"', "/v2/a/tags/list?n=2&last=b"),
        ("<https://h/x>; rel=next", "https://h/x"),
        ("<x>;REL='next'", "x"),
        ('<a>; rel="prev", <b>; title="x, y"; rel="next"', "b"),
        ('<a,b;c>; rel="prev next"', "a,b;c"),
        ('<b>; rel="next", <a>; rel="first"', "b"),
        ("/v2/x?n=1; rel=next", "/v2/x?n=1"),
        ("<a>", "a"),
        ('<a>; rel="prev"', ""),
        ('<a>; rel="nextish"', ""),
        ("<a>; rel", ""),
        ("", ""),
        ("<a", ""),
    ],
)
def test_the_next_page_is_found(link: str, target: str) -> None:
    """RFC 8288: several links and parameters, quoted or not."""
    assert next_page(link) == target
