"""The page of a namespace's audit log: who sees it, its filters, and the download."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import Page, expect
from tests.web.browser import Raw, begin_session
from tests.web.content import Content

pytestmark = pytest.mark.browser


def test_owners_filter_and_download(visitor: Page, content: Content) -> None:
    """By action and repository; the download has what the page shows. The page is linked from the account pages."""
    owner = content.account()
    content.image(content.repository(owner, "one"), "latest", "stable")
    content.image(content.repository(owner, "two"), "latest")
    begin_session(visitor, content.url, owner)
    visitor.goto(f"{content.url}/account")
    visitor.get_by_role("link", name="Audit log").click()
    rows = visitor.get_by_role("rowheader")
    expect(rows.first).to_have_text(f"session.start {owner}")

    visitor.get_by_text("Filter", exact=True).first.click()
    visitor.get_by_label("Action").select_option("tag.move")
    visitor.get_by_label("Repository").fill("one")
    visitor.get_by_role("button", name="Filter").click()
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text(f"tag.move {owner}/one:stable")
    with visitor.expect_download() as download:
        visitor.get_by_role("link", name="Download as JSON lines").click()
    lines = download.value.path().read_text().splitlines()
    assert [json.loads(line)["target"] for line in lines] == [f"{owner}/one:stable", f"{owner}/one:latest"]
    visitor.get_by_role("link", name="Show all").click()
    expect(rows.first).to_have_text(f"session.start {owner}")


def test_others_see_nothing(raw: Raw, content: Content) -> None:
    """Not of a user, and not of an organization; the owners' own address works, too."""
    owner, other = content.account(), content.account()
    content.organization(owner, f"{owner}-org", "invited@example.com")
    raw.sign_in(other)
    for path in (f"/{owner}/-/audit", f"/{owner}/-/audit/export"):
        assert raw.client.get(path).status_code == 404
    for path in (f"/{owner}-org/-/audit", f"/{owner}-org/-/audit/export"):
        assert raw.client.get(path).status_code == 403

    raw.client.cookies.clear()
    raw.sign_in(owner)
    for name in (owner, f"{owner}-org"):
        page = raw.client.get(f"/{name}/-/audit?since=2026-02-30")
        assert (page.status_code, "From day</a> must be a day" in page.text) == (422, True)
        assert raw.client.get(f"/{name}/-/audit?actor=%00").status_code == 400
        assert raw.client.get(f"/{name}/-/audit?cursor=x").status_code == 422
        assert raw.client.get(f"/{name}/-/audit/export?since=x").status_code == 422
        assert raw.client.get(f"/{name}/-/audit?until=9999-12-31").status_code == 200
