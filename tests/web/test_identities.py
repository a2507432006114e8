"""Sign-in by an OpenID Connect provider, in Chromium: on a phone without scripts, with the provider's own pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import httpx2
import pytest
from playwright.sync_api import Page
from tests.parts.hub import HUB, HytheServer
from tests.parts.oidc_provider import CLIENT_ID, SECRET, OpenIDProvider
from tests.web.browser import begin_session
from tests.web.content import PASSWORD


@pytest.fixture(scope="module")
def company_hub(oidc_provider: OpenIDProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HytheServer]:
    """A hub where only users of the provider can sign up."""
    folder: Path = tmp_path_factory.mktemp("company")
    setting = (
        f"company=oidc+http://{CLIENT_ID}:{quote(SECRET, safe='')}@127.0.0.1:{oidc_provider.port}"
        "?sign_up=yes&title=The+Company gone=oidc+http://a:b@127.0.0.1:9"
    )
    flags = ("--identity-providers", setting, "--no-sign-up", "--builds-workers", "0")
    hub = HytheServer(HUB, folder / "data", folder, flags, port=oidc_provider.hub_port)
    hub.start()
    yield hub
    hub.discard()


@pytest.fixture
def phone_without_scripts(open_page: Callable[..., Page]) -> Page:
    """A small phone that runs no scripts."""
    return open_page(viewport={"width": 320, "height": 640}, java_script_enabled=False)


def _sign_in_at_provider(page: Page, sub: str) -> None:
    """Fill in the provider's pages: name and any password, then consent unless it was given before."""
    page.locator('input[name="login"]').fill(sub)
    page.locator('input[name="password"]').fill("any")
    page.locator('button[type="submit"]').click()
    if "/interaction/" in page.url:
        page.locator('button[type="submit"]').click()


def test_sign_in_with_a_provider(
    company_hub: HytheServer, oidc_provider: OpenIDProvider, phone_without_scripts: Page
) -> None:
    """A button leads to the provider and back to the page that was asked for; the name there is taken here."""
    page = phone_without_scripts
    company_hub.create_user("ann", PASSWORD)
    oidc_provider.put("17", preferred_username="ann", email="ann@company.example", email_verified=True)

    page.goto(f"{company_hub.url}/sign-in?next=/account/tokens")
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    page.get_by_role("link", name="Sign in with The Company").click()
    _sign_in_at_provider(page, "17")
    page.get_by_role("heading", name="Choose a name").wait_for()
    page.get_by_role("button", name="Create account").click()
    page.get_by_text("is taken").first.wait_for()
    page.get_by_label("Username").fill("ann-of-company")
    page.get_by_role("button", name="Create account").click()

    assert page.url == f"{company_hub.url}/account/tokens"
    page.goto(f"{company_hub.url}/account/identities")
    page.get_by_text("ann@company.example").wait_for()
    page.goto(f"{company_hub.url}/account/confirm?next=/account/conversion")
    assert page.get_by_label("Password").count() == 0
    page.get_by_role("button", name="Confirm with The Company").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    page.get_by_role("link", name="Continue to The Company").click()
    _sign_in_at_provider(page, "17")
    page.get_by_role("heading", name="Turn ann-of-company into an organization").wait_for()
    page.goto(f"{company_hub.url}/account/identities")
    page.get_by_role("button", name="Unlink The Company").click()
    page.get_by_text("the only way to sign in").wait_for()


def test_link_an_identity(company_hub: HytheServer, oidc_provider: OpenIDProvider, phone_without_scripts: Page) -> None:
    """A user with a password links an identity, and then signs in with it."""
    page = phone_without_scripts
    company_hub.create_user("ben", PASSWORD)
    oidc_provider.put("18", preferred_username="benjamin", email="ben@company.example", email_verified=True)

    begin_session(page, company_hub.url, "ben")
    page.goto(f"{company_hub.url}/account/identities")
    page.get_by_role("button", name="Link The Company").click()
    page.get_by_role("link", name="Continue to The Company").click()
    _sign_in_at_provider(page, "18")
    page.get_by_text("Identity linked").wait_for()
    page.context.clear_cookies(domain="127.0.0.1", name="hythe_session")
    page.goto(f"{company_hub.url}/sign-in")
    page.get_by_role("link", name="Sign in with The Company").click()

    page.wait_for_url(f"{company_hub.url}/ben")


def test_what_strangers_can_send(company_hub: HytheServer) -> None:
    """Responses that no one began, unknown providers, a provider that is down, and targets on other sites."""
    with httpx2.Client(base_url=company_hub.url, timeout=30) as client:
        stray = client.get("/sign-in/with/company/authorized?code=x&state=y")
        down = client.get("/sign-in/with/gone")
        begun = client.get("/sign-in/with/company?next=https://evil.example/")
        page = client.get("/sign-in?next=//evil.example/")
        unknown = client.get("/sign-in/with/nothing")
        unnamed = client.get("/sign-in/new-account")

    assert (stray.status_code, "was not begun in this browser" in stray.text) == (403, True)
    assert (down.status_code, "cannot connect to gone" in down.text.lower()) == (503, True)
    assert begun.status_code == 303
    assert begun.headers["location"].startswith("http://127.0.0.1")
    assert "evil.example" not in begun.headers["location"] + page.text
    assert (unknown.status_code, unnamed.status_code) == (404, 403)
