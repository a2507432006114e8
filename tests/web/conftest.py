"""Shared fixtures: a hub with content, and browsers with and without scripts."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page
from tests.parts.chromium import PHONE
from tests.parts.hub import HytheServer
from tests.web.browser import Raw
from tests.web.content import Content


@pytest.fixture(scope="module")
def content(shared_hub: HytheServer) -> Content:
    """The hub that a file's tests share, to be filled with content."""
    return Content(shared_hub)


@pytest.fixture(params=["desktop", "phone without scripts"])
def visitor(request: pytest.FixtureRequest, open_page: Callable[..., Page]) -> Page:
    """A browser: on a desktop, and on a phone that runs no scripts."""
    if request.param == "desktop":
        return open_page()
    return open_page(viewport=PHONE, is_mobile=True, has_touch=True, java_script_enabled=False)


@pytest.fixture
def raw(content: Content) -> Iterator[Raw]:
    """A client without a browser that sends arbitrary requests."""
    visitor = Raw(content.url)
    yield visitor
    visitor.client.close()
