"""Common steps in a browser, and a client that submits forms without one."""

from __future__ import annotations

import re

import httpx2
from playwright.sync_api import Page
from tests.web.content import PASSWORD

from hythe.web.routes.site import SESSION_COOKIE


def sign_in(page: Page, url: str, name: str, password: str = PASSWORD) -> None:
    """Sign in with the form and wait for the account menu."""
    page.goto(f"{url}/sign-in")
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("main").get_by_role("button", name="Sign in", exact=True).click()
    page.locator(".menu").wait_for()


def begin_session(page: Page, url: str, name: str, password: str = PASSWORD) -> None:
    """Sign in without the form, for tests of other pages: the next page that is opened shows the session."""
    visitor = Raw(url)
    visitor.sign_in(name, password)
    assert visitor.session, f"{name} cannot sign in"
    page.context.add_cookies(
        [{"name": SESSION_COOKIE, "value": visitor.session, "url": url, "httpOnly": True, "sameSite": "Lax"}]
    )
    visitor.client.close()


def sign_out(page: Page) -> None:
    """Sign out with the account menu."""
    page.locator(".menu > summary").click()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("navigation", name="Account").get_by_role("link", name="Sign in").wait_for()


class Raw:
    """The pages without a browser: one cookie jar, and forms sent with any headers."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.client = httpx2.Client(base_url=url, timeout=60, verify=False)

    def get(self, path: str) -> httpx2.Response:
        """Get a page without following redirects."""
        return self.client.get(path)

    def token(self, path: str) -> str:
        """The CSRF token in the first form of a page."""
        match = re.search(r'name="form_token" value="(\w+)"', self.get(path).text)
        assert match is not None
        return match[1]

    def post(self, path: str, *, headers: dict[str, str] | None = None, **fields: str) -> httpx2.Response:
        """Submit a form with exactly these fields."""
        return self.client.post(path, data=fields, headers=headers)

    def send(self, path: str, **fields: str) -> httpx2.Response:
        """Submit the form of this page as a browser would, with its token."""
        origin = {"Origin": self.url, "Sec-Fetch-Site": "same-origin"}
        return self.post(path, headers=origin, form_token=self.token(path), **fields)

    def sign_in(self, name: str, password: str = PASSWORD, target: str = "/") -> httpx2.Response:
        """Sign in with the form."""
        return self.send("/sign-in", username=name, password=password, next=target)

    @property
    def session(self) -> str:
        """The session cookie; empty if there is none."""
        return self.client.cookies.get(SESSION_COOKIE, "")

    @property
    def signed_in(self) -> bool:
        """Whether the session is valid."""
        return self.get("/account").status_code == 200
