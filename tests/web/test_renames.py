"""Renames and transfers on the pages."""

from __future__ import annotations

from collections.abc import Callable

import httpx2
import pytest
from playwright.sync_api import Page, expect
from tests.web.browser import begin_session
from tests.web.content import PASSWORD, Content

pytestmark = pytest.mark.browser


def test_rename_and_transfer_a_repository(visitor: Page, content: Content) -> None:
    """The old address redirects; an offer is accepted on the receiver's page; a redirect is ended."""
    owner, receiver = content.account(), content.account()
    begin_session(visitor, content.url, owner)
    visitor.goto(f"{content.url}/new")
    visitor.get_by_label("Name", exact=True).fill("before")
    visitor.get_by_role("button", name="Create").click()
    visitor.goto(f"{content.url}/{owner}/before/-/settings")
    visitor.get_by_role("link", name="Rename").click()
    visitor.get_by_label("New name").fill("after")
    visitor.get_by_role("button", name="Rename").click()
    expect(visitor).to_have_url(f"{content.url}/{owner}/after")
    visitor.goto(f"{content.url}/{owner}/before/-/tags")
    expect(visitor).to_have_url(f"{content.url}/{owner}/after/-/tags")

    visitor.goto(f"{content.url}/{owner}/after/-/rename")
    visitor.get_by_label("New owner").fill(receiver)
    visitor.get_by_role("button", name="Transfer").click()
    expect(visitor.get_by_role("status")).to_contain_text("offered")
    visitor.goto(f"{content.url}/account/names")
    visitor.get_by_role("button", name=f"End the redirect of {owner}/before").click()
    expect(visitor.get_by_role("status")).to_contain_text("ended")

    visitor.context.clear_cookies()
    begin_session(visitor, content.url, receiver)
    visitor.goto(f"{content.url}/account/names")
    visitor.get_by_role("button", name=f"Accept {owner}/after").click()
    expect(visitor.get_by_role("status")).to_contain_text("transferred")
    visitor.goto(f"{content.url}/{owner}/after")
    expect(visitor).to_have_url(f"{content.url}/{receiver}/after")


def test_the_names_of_an_organization(visitor: Page, content: Content, open_page: Callable[..., Page]) -> None:
    """Owners rename it, answer an offer and end redirects; others see no such page."""
    owner, giver, name = content.account("owner"), content.account("giver"), f"before-{next(content.numbers)}"
    content.organization(owner, name, "invited@example.com")
    offered = content.repository(giver, "offered")
    answer = httpx2.post(
        f"{content.url}/api/v1/repositories/{offered}/transfer", auth=(giver, PASSWORD), json={"to": name}
    )
    assert answer.is_success, answer.text
    begin_session(visitor, content.url, owner)
    visitor.goto(f"{content.url}/{name}/-/settings")
    visitor.get_by_role("link", name="Names").click()

    visitor.get_by_role("button", name=f"Accept {offered}").click()
    expect(visitor.get_by_role("status")).to_contain_text("transferred")
    visitor.goto(f"{content.url}/{name}/-/names")
    visitor.get_by_label("New name").fill("-")
    visitor.get_by_role("button", name="Rename").click()
    expect(visitor.locator("#name-error")).to_be_visible()
    visitor.get_by_label("New name").fill(f"after-{name}")
    visitor.get_by_role("button", name="Rename").click()
    expect(visitor).to_have_url(f"{content.url}/after-{name}/-/names")
    visitor.goto(f"{content.url}/{name}/-/people")
    expect(visitor).to_have_url(f"{content.url}/after-{name}/-/people")

    stranger = open_page()
    begin_session(stranger, content.url, giver)
    refused = stranger.goto(f"{content.url}/after-{name}/-/names")
    assert refused is not None
    assert refused.status == 403
