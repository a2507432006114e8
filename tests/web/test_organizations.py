"""Organizations on the pages: invite, accept, form a team, and push what it allows; convert an account."""

from __future__ import annotations

from collections.abc import Callable

import httpx2
import pytest
from playwright.sync_api import Page, expect
from tests.parts.chromium import PHONE
from tests.web.browser import Raw, begin_session
from tests.web.content import PASSWORD, Content

pytestmark = pytest.mark.browser


def api(content: Content, method: str, path: str, user: str, **json: object) -> httpx2.Response:
    """Send a request to the JSON API as this user."""
    return httpx2.request(method, f"{content.url}/api/v1{path}", auth=(user, PASSWORD), json=json or None)


def may_push(content: Content, name: str, repository: str) -> bool:
    """Whether the registry lets this user begin an upload."""
    answer = httpx2.post(f"{content.url}/v2/{repository}/blobs/uploads/", auth=(name, PASSWORD))
    return answer.status_code == 202


def test_from_an_invitation_to_a_push(open_page: Callable[..., Page], content: Content) -> None:
    """An owner on a desktop invites a user, who accepts on a phone without scripts; a team lets them push."""
    owner, member = content.account("owner"), content.account("member")
    name = f"acme-{next(content.numbers)}"
    page, phone = open_page(), open_page(viewport=PHONE, is_mobile=True, java_script_enabled=False)
    begin_session(page, content.url, owner)
    page.goto(f"{content.url}/organizations/new")
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Create organization").click()
    page.get_by_role("link", name="Invite").click()
    page.get_by_label("User").fill("no-such-user")
    page.get_by_role("button", name="Send invitation").click()
    expect(page.locator("#invited-error")).to_contain_text("is not the name of a user")
    page.get_by_label("User").fill(member)
    page.get_by_role("button", name="Send invitation").click()
    expect(page.get_by_role("status")).to_have_text("Invitation sent.")
    page.get_by_role("link", name="Settings").click()
    page.get_by_label("Members may create repositories").uncheck()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_label("Members may create repositories")).not_to_be_checked()

    begin_session(phone, content.url, member)
    phone.goto(f"{content.url}/account/invitations")
    phone.get_by_role("button", name=f"Accept the invitation to {name}").click()
    expect(phone.get_by_role("heading", level=1)).to_have_text(name)
    expect(phone.get_by_role("link", name="Settings")).to_have_count(0)
    assert not may_push(content, member, f"{name}/web-app")

    page.goto(f"{content.url}/{name}/-/teams")
    page.get_by_label("Name").fill("web")
    page.get_by_role("button", name="Create team").click()
    page.get_by_label("Member", exact=True).fill(member)
    page.get_by_role("button", name="Add to team").click()
    page.get_by_role("textbox", name="Repositories").fill("web-*")
    page.get_by_role("button", name="Give role").click()
    expect(page.get_by_role("region", name="Roles on repositories")).to_contain_text(f"{name}/web-* write")
    assert may_push(content, member, f"{name}/web-app")
    assert not may_push(content, member, f"{name}/app")

    page.goto(f"{content.url}/{name}/-/people")
    page.get_by_role("button", name=f"Save the role of {owner}").scroll_into_view_if_needed()
    page.get_by_label(f"Role of {owner}", exact=True).select_option("member")
    page.get_by_role("button", name=f"Save the role of {owner}").click()
    expect(page.get_by_role("alert")).to_contain_text("is the last owner")
    page.get_by_role("button", name=f"Remove {member}").click()
    expect(page.get_by_role("status")).to_have_text("Member removed.")
    assert not may_push(content, member, f"{name}/web-app")


def test_an_invitation_by_e_mail_leads_through_the_sign_up(page_without_javascript: Page, content: Content) -> None:
    """The link shows who invites to what, and comes back after the sign-up; it works once."""
    visitor, owner, newcomer = page_without_javascript, content.account("owner"), f"invited-{next(content.numbers)}"
    curator = f"curator-{next(content.numbers)}"
    content.server.create_user(curator, PASSWORD, admin=True)
    name = f"acme-{next(content.numbers)}"
    assert api(content, "POST", "/organizations", owner, name=name).status_code == 201
    email = f"{newcomer}@example.com"
    assert api(content, "POST", f"/organizations/{name}/invitations", owner, email=email).status_code == 201
    waiting = api(content, "GET", "/admin/mail", curator).json()["items"]
    (secret,) = (each["text"].split("?token=")[1].split()[0] for each in waiting if each["recipient"] == email)
    link = f"{content.url}/invitations/link?token={secret}"

    visitor.goto(link)
    expect(visitor.get_by_role("region", name="Invitation")).to_contain_text(
        f"{owner} invites you to the organization {name}"
    )
    visitor.get_by_role("main").get_by_role("link", name="Sign up").click()
    visitor.get_by_label("Username").fill(newcomer)
    visitor.get_by_label("E-mail").fill(email)
    visitor.get_by_label("Password").fill(PASSWORD)
    visitor.get_by_role("button", name="Create account").click()
    visitor.get_by_role("button", name="Accept").click()

    expect(visitor).to_have_url(f"{content.url}/{name}")
    expect(visitor.get_by_role("link", name="People")).to_be_visible()
    visitor.goto(link)
    expect(visitor.get_by_role("heading", level=1)).to_have_text("No such invitation")
    assert api(content, "POST", "/invitations/link", newcomer, token=secret).status_code == 404
    assert api(content, "POST", "/invitations/link", newcomer, token="").status_code == 422


def test_collaborators_and_internal_repositories(page: Page, content: Content) -> None:
    """The owner of a repository shares it with one user; all others who are signed in see it once it is internal."""
    owner, friend = content.account("owner"), content.account("friend")
    name = content.repository(owner, "shared", "private")
    begin_session(page, content.url, owner)
    page.goto(f"{content.url}/{name}/-/settings")
    page.get_by_label("Internal").check()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("h1 .mark-private")).to_have_text("Internal")
    page.get_by_role("link", name="Collaborators").click()
    page.get_by_label("User").fill(friend)
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("region", name="Pending invitations")).to_contain_text(friend)
    (invitation,) = api(content, "GET", "/invitations", friend).json()["items"]
    assert api(content, "POST", f"/invitations/{invitation['id']}/accept", friend).status_code == 200
    page.reload()
    page.get_by_label(f"Role of {friend}", exact=True).select_option("read")
    page.get_by_role("button", name=f"Save the role of {friend}").click()
    expect(page.get_by_label(f"Role of {friend}", exact=True)).to_have_value("read")
    page.get_by_role("button", name=f"Remove {friend}").click()
    expect(page.get_by_text("No collaborators.")).to_be_visible()


def test_organizations_without_a_browser(raw: Raw, content: Content) -> None:
    """Convert an account with its name and password; others see no people, teams, settings or how to change them."""
    owner, shared, stranger = content.account("owner"), content.account("shared"), content.account("stranger")
    content.repository(shared, "app")
    raw.sign_in(shared)
    sent = {"owner": owner, "confirm": shared}
    assert "must be" in raw.send("/account/conversion", **sent | {"confirm": "other"}).text
    assert raw.send("/account/conversion", **sent).headers["location"] == f"/{shared}"
    assert not raw.signed_in

    raw.sign_in(stranger)
    paths = ("people", "teams", "teams/web", "settings", "invitations")
    assert {raw.get(f"/{shared}/-/{path}").status_code for path in paths} == {403}
    assert {raw.get(f"/absent-{owner}/-/{path}").status_code for path in paths} == {404}
    refused = raw.post(f"/{shared}/-/settings/delete", form_token=raw.token("/account"), confirm=shared)
    assert refused.status_code == 403
    raw.client.cookies.clear()
    raw.sign_in(owner)
    assert f'<option value="{shared}" selected>' in raw.get(f"/new?namespace={shared}").text
    made = raw.send("/new", namespace=shared, name="second", visibility="internal")
    assert made.headers["location"] == f"/{shared}/second"
    assert raw.post(f"/{shared}/-/settings/delete", form_token=raw.token("/account"), confirm="x").status_code == 422
    deleted = raw.post(f"/{shared}/-/settings/delete", form_token=raw.token("/account"), confirm=shared)
    assert deleted.headers["location"] == "/account/organizations"
    assert raw.get(f"/{shared}").status_code == 404
