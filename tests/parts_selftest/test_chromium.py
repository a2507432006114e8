"""The browser opens pages on a desktop, on a phone and without JavaScript."""

import pytest
from playwright.sync_api import Page

pytestmark = pytest.mark.browser

DOCUMENT = "data:text/html,<title>plain</title><script>document.title = innerWidth</script>"


def test_a_desktop_and_a_phone_differ_in_width(page: Page, phone: Page) -> None:
    """Each page has the width of its device."""
    page.goto(DOCUMENT)
    phone.goto(DOCUMENT.replace("<title>", "<meta name=viewport content=width=device-width><title>"))

    assert (page.title(), phone.title()) == ("1280", "390")


def test_scripts_can_be_off(page_without_javascript: Page) -> None:
    """The page without JavaScript shows what the server sent."""
    page_without_javascript.goto(DOCUMENT)

    assert page_without_javascript.title() == "plain"
