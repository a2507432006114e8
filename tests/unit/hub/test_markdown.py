"""Descriptions: what Markdown becomes, and what of HTML is left."""

from __future__ import annotations

import re

import pytest
from markupsafe import escape

from hythe.hub.repositories.markdown import render

HARMFUL = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<a href='javascript:alert(1)'>x</a>",
    "[x](javascript:alert(1))",
    "[x](data:text/html,<script>alert(1)</script>)",
    "<svg><script>alert(1)</script></svg>",
    "<math><mtext></p><img src=x onerror=alert(1)></mtext></math>",
    "<p style='position:fixed' class='notice' id='main'>x</p>",
    "<form action='//evil.example'><button formaction='//evil.example'>x</button></form>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<h1><img src=x onerror=alert(1)></h1>",
    "`</code><script>alert(1)</script>`",
]


def boxes(html: str) -> list[set[str]]:
    """The attributes of each input, whose order says nothing."""
    return [set(tag.split()) for tag in re.findall("<input ([^>]*)>", html)]


def test_headings_leave_the_first_level_to_the_page() -> None:
    """Each heading goes one level down, the lowest stays."""
    assert render("# a\n\n##### b\n\n###### c") == "<h2>a</h2>\n<h6>b</h6>\n<h6>c</h6>\n"


def test_a_heading_in_code_stays_as_it_was_written() -> None:
    """Only tags move, never text that looks like one."""
    assert "&lt;h1&gt;" in render("`<h1>`")


@pytest.mark.parametrize("text", HARMFUL)
def test_nothing_harmful_is_left(text: str) -> None:
    """No script, handler, style, form, frame or foreign scheme, whichever way it was hidden."""
    html = render(text).lower()

    for bad in (
        "<script",
        " onerror=",
        'href="javascript',
        'href="data',
        "style=",
        "class=",
        "id=",
        "<form",
        "<iframe",
    ):
        assert bad not in html


def test_tables_task_lists_and_links_are_known() -> None:
    """What READMEs are made of works: tables, boxes that cannot be ticked, bare addresses."""
    html = render("|a|\n|---|\n|b|\n\n- [x] done\n\nhttps://example.org")

    assert "<td>b</td>" in html
    assert boxes(html) == [{'type="checkbox"', 'checked=""', 'disabled=""'}]
    assert '<a href="https://example.org" rel="nofollow noopener noreferrer ugc">' in html


def test_an_input_becomes_a_box_to_look_at() -> None:
    """A description cannot contain a password field."""
    assert boxes(render('<input type="password" name="password">')) == [{'type="checkbox"', 'disabled=""'}]


@pytest.mark.parametrize("nest", [">", "> ", "<blockquote>", "<UL>", "<dl><dt>", "<ol><li>"])
def test_what_has_no_bottom_is_shown_as_it_is(nest: str) -> None:
    """Sanitizing thousands of nested quotes takes seconds, which would block the hub."""
    text = nest * (24_000 // len(nest))
    shown = render(text)

    assert shown == f"<pre>{escape(text)}</pre>"
    assert render("> > > a").count("<blockquote>") == 3
    assert "<pre>" not in render("> a\n\nb\n\n" * 500)
