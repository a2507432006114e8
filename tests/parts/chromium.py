"""A real browser: Debian's Chromium without a window, controlled by playwright."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from tests.parts.process import SEARCHED, program

SHELL = "chromium-headless-shell"
"""Chromium built without windows: it renders pages alike, and needs half the CPU time."""

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}


@contextlib.contextmanager
def chromium(*flags: str) -> Iterator[Browser]:
    """A Chromium with these flags: while it runs, nothing else in this process can use asyncio."""
    executable = shutil.which(SHELL, path=os.pathsep.join(SEARCHED)) or program("chromium", SHELL)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=executable, args=[*FLAGS, *flags], headless=True)
        yield started
        started.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium for one test file: while it runs, nothing else in this process can use asyncio."""
    with chromium() as started:
        yield started


@contextlib.contextmanager
def profiles(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Factory `open_page(**playwright's context options)`: a new browser profile with one page.

    Raises an AssertionError at the end if scripts of the pages threw errors.
    """
    contexts, thrown = [], []

    def open_page(**options: Any) -> Page:
        context = browser.new_context(**{"viewport": DESKTOP, "locale": "en-GB"} | options)
        context.set_default_timeout(10_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: thrown.append(str(error)))
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert thrown == []


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Factory `open_page(**playwright's context options)`: a new browser profile with one page, for one test.

    Errors in the page's scripts fail the test.
    """
    with profiles(browser) as open_page:
        yield open_page


@pytest.fixture
def page(open_page: Callable[..., Page]) -> Page:
    """A page on a desktop."""
    return open_page()


@pytest.fixture
def phone(open_page: Callable[..., Page]) -> Page:
    """A page on a phone with 390 by 844 points."""
    return open_page(viewport=PHONE, is_mobile=True, has_touch=True, device_scale_factor=2)


@pytest.fixture
def page_without_javascript(open_page: Callable[..., Page]) -> Page:
    """A page on a desktop with JavaScript disabled."""
    return open_page(java_script_enabled=False)
