"""Two-factor authentication in Chromium: an authenticator app, and passkeys of a virtual authenticator."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import pyotp
import pytest
from playwright.sync_api import Page, expect
from tests.web.browser import Raw, sign_in, sign_out
from tests.web.content import PASSWORD, Content

ADDRESS = "/account/two-factor"


class VirtualAuthenticator:
    """Chromium's virtual authenticator, on by default for the user's consent."""

    def __init__(self, page: Page) -> None:
        self._devtools = page.context.new_cdp_session(page)
        self._devtools.send("WebAuthn.enable")
        options = {
            "protocol": "ctap2",
            "transport": "internal",
            "hasResidentKey": True,
            "hasUserVerification": True,
            "isUserVerified": True,
        }
        self._number = self._devtools.send("WebAuthn.addVirtualAuthenticator", {"options": options})["authenticatorId"]

    def credentials(self) -> list[dict[str, Any]]:
        """What it contains."""
        found = self._devtools.send("WebAuthn.getCredentials", {"authenticatorId": self._number})
        return list(found["credentials"])

    def verify(self, verified: bool) -> None:
        """Whether the user verifies themselves."""
        parameters = {"authenticatorId": self._number, "isUserVerified": verified}
        self._devtools.send("WebAuthn.setUserVerified", parameters)


@pytest.fixture
def url(content: Content) -> str:
    """The hub by a name: passkeys are for names, not for IP addresses."""
    return content.url.replace("127.0.0.1", "localhost")


def add_app(page: Page, url: str) -> tuple[pyotp.TOTP, str, str]:
    """Set up an app; return it with the code that confirmed it and a recovery code."""
    page.goto(f"{url}{ADDRESS}")
    page.get_by_role("link", name="Set up an app").click()
    expect(page.locator(".qr-code svg")).to_be_visible()
    app = pyotp.TOTP(page.locator(".command code").inner_text())
    page.get_by_label("Code", exact=True).fill("000000")
    page.get_by_role("button", name="Turn on").click()
    expect(page.get_by_role("alert")).to_contain_text("check the clock")
    used = app.now()
    page.get_by_label("Code", exact=True).fill(used)
    page.get_by_role("button", name="Turn on").click()
    expect(page.get_by_text("Two-factor authentication is on")).to_be_visible()
    return app, used, page.locator(".recovery-codes code").first.inner_text()


def enter_password(page: Page, url: str, name: str, target: str = "") -> None:
    """The first step of a sign-in."""
    page.goto(f"{url}/sign-in{target}")
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("main").get_by_role("button", name="Sign in", exact=True).click()


def test_an_app_without_scripts(content: Content, page_without_javascript: Page, url: str) -> None:
    """Everything but passkeys works without JavaScript, and the pages say so."""
    page, name = page_without_javascript, content.account()
    sign_in(page, url, name)
    app, used, recovery = add_app(page, url)
    sign_out(page)

    enter_password(page, url, name, "?next=/account/tokens")
    expect(page).to_have_url(re.compile("/sign-in/second-factor"))
    expect(page.locator(".menu")).to_have_count(0)
    page.get_by_label("Code").fill(used)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("used before")
    page.get_by_label("Code").fill(recovery)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page).to_have_url(f"{url}/account/tokens")
    sign_out(page)

    page.goto(f"{url}/sign-in")
    expect(page.get_by_text("Passkeys need JavaScript.")).to_be_visible()
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_role("alert")).to_contain_text("JavaScript")
    enter_password(page, url, name)
    page.get_by_label("Code").fill(app.at(int(time.time()) + 30))
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.goto(f"{url}{ADDRESS}")
    page.get_by_role("button", name="Remove the app").click()
    expect(page.get_by_text("Two-factor authentication is off")).to_be_visible()


def test_passkeys(content: Content, open_page: Callable[..., Page], url: str) -> None:
    """A passkey is added, signs in alone and as the second factor, is renamed and removed."""
    page, name = open_page(), content.account()
    keys = VirtualAuthenticator(page)
    sign_in(page, url, name)
    page.goto(f"{url}{ADDRESS}")
    page.get_by_role("link", name="Add a passkey").click()
    page.get_by_label("Name").fill("this laptop")
    page.get_by_role("button", name="Add passkey").click()
    expect(page.get_by_text("Copy your recovery codes now")).to_be_visible()
    assert len(keys.credentials()) == 1
    page.get_by_role("link", name="Add a passkey").click()
    page.get_by_label("Name").fill("again")
    page.get_by_role("button", name="Add passkey").click()
    expect(page.locator("[data-passkey-note]")).to_contain_text("already has a passkey")
    sign_out(page)

    page.goto(f"{url}/sign-in")
    keys.verify(False)
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.locator("[data-passkey-note]")).to_contain_text("cancelled")
    keys.verify(True)
    page.get_by_role("button", name="Sign in with a passkey").click()
    page.locator(".menu").wait_for()
    sign_out(page)
    enter_password(page, url, name)
    page.get_by_role("button", name="Use a passkey").click()
    page.locator(".menu").wait_for()

    page.goto(f"{url}{ADDRESS}")
    expect(page.get_by_text("last used")).to_be_visible()
    page.get_by_role("link", name="Rename this laptop").click()
    page.get_by_label("Name").fill("<b>old</b> laptop")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("button", name="Remove <b>old</b> laptop").click()
    expect(page.get_by_text("Two-factor authentication is off")).to_be_visible()


def test_the_second_step_cannot_be_skipped(content: Content, raw: Raw) -> None:
    """The cookie of a pending sign-in is no session, and the step needs it."""
    name = content.account()
    raw.sign_in(name)
    page = raw.get(f"{ADDRESS}/app").text
    secret = re.search(r'<div class="command command-bare"><code>(\w+)</code>', page)
    state = re.search(r'name="state" value="([\w-]+)"', page)
    assert secret is not None
    assert state is not None
    app = pyotp.TOTP(secret[1])
    assert raw.send(f"{ADDRESS}/app", state=state[1], code=app.now()).status_code == 200
    raw.client.cookies.delete("hythe_session")

    response = raw.sign_in(name, target="/account")
    assert response.headers["location"] == "/sign-in/second-factor?next=/account"
    assert not raw.signed_in
    pending = raw.client.cookies["hythe_pending"]
    raw.client.cookies.set("hythe_session", pending)
    assert not raw.signed_in
    raw.client.cookies.delete("hythe_session")
    assert raw.send("/sign-in/second-factor", code="000000").status_code == 401
    later = app.at(int(time.time()) + 30)
    raw.client.cookies.delete("hythe_pending")
    token = raw.token("/sign-in")
    assert raw.post("/sign-in/second-factor", form_token=token, code=later).headers["location"] == "/sign-in"
    raw.client.cookies.set("hythe_pending", pending)
    response = raw.send("/sign-in/second-factor", code=later, next="//evil.example")
    assert response.headers["location"] == f"/{name}"
    assert raw.signed_in
