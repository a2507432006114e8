"""What users do on the pages: with scripts on a desktop, without scripts on a phone."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime

import httpx2
import pytest
from playwright.sync_api import Page, expect
from tests.web.browser import begin_session, sign_in, sign_out
from tests.web.content import PASSWORD, Content

from hythe.database.sqlite import SQLITE_FILE

pytestmark = pytest.mark.browser

NOT_FOUND = "Page not found"


def test_sign_up_out_and_in(visitor: Page, content: Content) -> None:
    """A new user signs up and is signed in at once; later the same name and password sign in."""
    name = f"newcomer-{next(content.numbers)}"
    visitor.goto(content.url)
    visitor.get_by_role("navigation", name="Account").get_by_role("link", name="Sign up").click()
    visitor.get_by_label("Username").fill(name)
    visitor.get_by_label("E-mail").fill(f"{name}@example.com")
    visitor.get_by_label("Password").fill(PASSWORD)
    visitor.get_by_role("button", name="Create account").click()

    expect(visitor.get_by_role("heading", level=1)).to_have_text(name)
    expect(visitor.get_by_role("status")).to_contain_text("Welcome")
    sign_out(visitor)
    sign_in(visitor, content.url, name)
    expect(visitor).to_have_url(f"{content.url}/{name}")


def test_sign_up_reports_an_error_per_field(visitor: Page, content: Content) -> None:
    """Each invalid field has an error at the field and in the summary; input is kept, except the password."""
    visitor.goto(f"{content.url}/sign-up")
    visitor.get_by_label("Username").fill("Not A Name")
    visitor.get_by_label("E-mail").fill("someone@example.com")
    visitor.get_by_label("Password").fill("short")
    visitor.get_by_role("button", name="Create account").click()

    expect(visitor.locator("#username-error")).to_contain_text("must be 2 to 39")
    expect(visitor.locator("#password-error")).to_contain_text("must have 8 to 256 characters")
    expect(visitor.locator("#errors li")).to_have_count(2)
    expect(visitor.get_by_label("Username")).to_have_value("Not A Name")
    expect(visitor.get_by_label("Password")).to_have_value("")


def test_a_taken_name_is_refused(page: Page, content: Content) -> None:
    """A username that is already in use is reported at the field."""
    taken = content.account()
    page.goto(f"{content.url}/sign-up")
    page.get_by_label("Username").fill(taken)
    page.get_by_label("E-mail").fill("other@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Create account").click()

    expect(page.locator("#username-error")).to_have_text("Username is taken")


def test_a_wrong_password_is_refused(visitor: Page, content: Content) -> None:
    """The page does not reveal whether the name or the password is wrong."""
    visitor.goto(f"{content.url}/sign-in")
    visitor.get_by_label("Username").fill(content.account())
    visitor.get_by_label("Password").fill("wrong")
    visitor.get_by_role("main").get_by_role("button", name="Sign in", exact=True).click()

    expect(visitor.get_by_role("alert")).to_contain_text("Incorrect username or password")
    expect(visitor.locator(".menu")).to_have_count(0)


def test_sign_in_redirects_back(visitor: Page, content: Content) -> None:
    """After signing in, the user is redirected to the page that required it."""
    owner = content.account()
    visitor.goto(f"{content.url}/new")
    visitor.get_by_label("Username").fill(owner)
    visitor.get_by_label("Password").fill(PASSWORD)
    visitor.get_by_role("main").get_by_role("button", name="Sign in", exact=True).click()

    expect(visitor.get_by_role("heading", level=1)).to_have_text("New repository")


def test_a_repository_is_created_made_private_described_and_deleted(
    visitor: Page, content: Content, open_page: Callable[..., Page]
) -> None:
    """The life cycle of a repository on the pages; while it is private, other users cannot see it."""
    owner, stranger = content.account(), open_page()
    address = f"{content.url}/{owner}/dinghy"
    sign_in(visitor, content.url, owner)
    visitor.get_by_role("link", name="New repository", exact=True).last.click()
    visitor.get_by_label("Name", exact=True).fill("dinghy")
    visitor.get_by_label("Short description").fill("A very small boat")
    visitor.get_by_role("button", name="Create repository").click()

    expect(visitor).to_have_url(address)
    expect(visitor.get_by_role("heading", level=1)).to_have_text(f"{owner}/dinghy")
    stranger.goto(address)
    expect(stranger.get_by_text("A very small boat")).to_be_visible()

    visitor.get_by_role("link", name="Settings").click()
    visitor.get_by_label("Full description").fill("# Dinghy\n\nRow it with **two** oars.")
    visitor.get_by_label("Private").check()
    visitor.get_by_role("button", name="Save", exact=True).click()
    visitor.get_by_role("link", name="Overview").click()

    expect(visitor.locator("h1 .mark-private")).to_have_text("Private")
    expect(visitor.locator(".prose strong")).to_have_text("two")
    stranger.goto(address)
    expect(stranger.get_by_role("heading", level=1)).to_have_text(NOT_FOUND)

    visitor.get_by_role("link", name="Settings").click()
    visitor.get_by_role("link", name="Delete").click()
    visitor.get_by_label("Name").fill("something else")
    visitor.get_by_role("button", name="Delete this repository").click()
    expect(visitor.locator("#confirm-error")).to_have_text(f"Name must be {owner}/dinghy")
    visitor.get_by_label("Name").fill(f"{owner}/dinghy")
    visitor.get_by_role("button", name="Delete this repository").click()

    expect(visitor.get_by_role("status")).to_contain_text("deleted")
    assert visitor.goto(address).status == 404


def test_a_pushed_image_is_shown(visitor: Page, content: Content) -> None:
    """A repository's page shows its tags with platforms and the pull command; a tag's page its digest and steps."""
    name = content.repository(content.account(), "sloop", description="One mast")
    digest = content.index(name, "latest", "amd64", "arm64")["digest"]
    content.image(name, "old", steps=("ADD hull", "ADD mast"))
    visitor.goto(f"{content.url}/{name}")

    host = content.server.host
    expect(visitor.locator(".command code").first).to_have_text(f"docker pull {host}/{name}")
    row = visitor.get_by_role("row").filter(has=visitor.get_by_role("link", name="latest"))
    expect(row.locator(".platform")).to_have_text(["linux/amd64", "linux/arm64"])
    visitor.get_by_role("link", name="latest").click()
    expect(visitor.get_by_text(digest, exact=True)).to_be_visible()
    visitor.goto(f"{content.url}/{name}:old")
    expect(visitor.locator(".layer code")).to_have_text(["ADD hull", "ADD mast"])


def test_a_tag_page_shows_where_the_tag_was(page: Page, content: Content) -> None:
    """The history of a tag links to the image that it pointed to before."""
    name = content.repository(content.account(), "ketch")
    before = content.image(name, "latest", steps=("ADD first",))["digest"]
    content.image(name, "latest", steps=("ADD second",))
    page.goto(f"{content.url}/{name}:latest")
    page.get_by_role("link", name=before[:19]).click()

    expect(page.locator(".layer code")).to_have_text("ADD first")
    expect(page).to_have_url(f"{content.url}/{name}@{before}")


def test_an_image_shows_its_configuration(visitor: Page, content: Content) -> None:
    """An image's page shows command, environment, ports and labels, and the steps as in the Dockerfile."""
    name = content.repository(content.account(), "yawl")
    container = {"Cmd": ["sail", "to the sea"], "Env": ["WIND=fair"], "ExposedPorts": {"80/tcp": {}}}
    steps = ("/bin/sh -c #(nop) ADD hull /", "|1 MAST=2 /bin/sh -c rig")
    content.image(name, "v1", steps=steps, Labels={"captain": "Ann"}, **container)
    visitor.goto(f"{content.url}/{name}:v1")

    expect(visitor.locator(".fact")).to_have_text(["sail 'to the sea'", "80/tcp", "WIND=fair"])
    expect(visitor.get_by_role("definition").filter(has_text="Ann")).to_be_visible()
    expect(visitor.locator(".layer code")).to_have_text(["ADD hull /", "RUN rig"])


def test_a_tag_is_restored_and_deleted(visitor: Page, content: Content) -> None:
    """The owner restores a tag, deletes it, and restores it from its history; other users cannot."""
    owner = content.account()
    name = content.repository(owner, "ketch")
    before = content.image(name, "latest", steps=("ADD first",))["digest"]
    content.image(name, "latest", steps=("ADD second",))
    address = f"{content.url}/{name}:latest"
    visitor.goto(address)
    expect(visitor.get_by_role("button", name="Restore")).to_have_count(0)
    expect(visitor.get_by_role("link", name="Delete tag")).to_have_count(0)
    begin_session(visitor, content.url, owner)
    visitor.goto(address)
    visitor.get_by_role("button", name=f"Restore {before[:19]}").click()
    expect(visitor.locator(".layer code")).to_have_text("ADD first")

    visitor.get_by_role("link", name="Delete tag").click()
    visitor.get_by_role("button", name="Delete tag").click()
    expect(visitor.get_by_role("status")).to_have_text("Tag deleted.")
    assert httpx2.get(f"{content.url}/v2/{name}/manifests/latest").status_code == 404
    visitor.get_by_role("button", name=f"Restore {before[:19]}").first.click()
    expect(visitor.locator(".layer code")).to_have_text("ADD first")


def test_tags_are_made_immutable(visitor: Page, content: Content) -> None:
    """Patterns in the settings make tags immutable; an invalid pattern is reported at the field, and input is kept."""
    owner = content.account()
    name = content.repository(owner, "mooring")
    content.image(name, "1.0", steps=("ADD first",))
    begin_session(visitor, content.url, owner)
    visitor.goto(f"{content.url}/{name}/-/settings")
    box = visitor.get_by_label("Tag patterns")
    box.fill("no/slash")
    visitor.get_by_role("button", name="Save tag patterns").click()
    expect(visitor.locator("#patterns-error")).to_contain_text("must be at most 100 patterns")
    expect(box).to_have_value("no/slash")

    box.fill("1.*\nstable")
    visitor.get_by_role("button", name="Save tag patterns").click()
    expect(visitor.get_by_role("status")).to_be_visible()
    expect(box).to_have_value("1.*\nstable")
    visitor.goto(f"{content.url}/{name}/-/tags/1.0/delete")
    visitor.get_by_role("button", name="Delete tag").click()
    expect(visitor.get_by_text("is immutable in this repository")).to_be_visible()


def test_a_tag_is_found_among_many(visitor: Page, content: Content) -> None:
    """If there is more than one page of tags, a filter finds one; no match shows an empty state."""
    name = content.repository(content.account(), "fleet")
    content.image(name, *(f"1.{number}" for number in range(25)))
    visitor.goto(f"{content.url}/{name}/-/tags")
    visitor.get_by_label("Filter tags").fill("1.7")
    visitor.get_by_role("button", name="Filter").click()
    expect(visitor.locator(".table tbody th")).to_have_text(["1.7"])

    visitor.get_by_label("Filter tags").fill("absent")
    visitor.get_by_role("button", name="Filter").click()
    expect(visitor.get_by_text("No tags match")).to_be_visible()
    visitor.get_by_role("link", name="All tags").click()
    expect(visitor.locator(".table tbody tr")).to_have_count(24)


def test_docker_hub_addresses_redirect(page: Page, content: Content) -> None:
    """The address that a repository has on Docker Hub redirects to its page."""
    name = content.repository(content.account(), "beacon")
    page.goto(f"{content.url}/r/{name}")

    expect(page).to_have_url(f"{content.url}/{name}")


def test_search_finds_readable_repositories(visitor: Page, content: Content) -> None:
    """Everyone finds public repositories; only the owner finds private ones."""
    owner = content.account()
    word = f"schooner{next(content.numbers)}"
    content.repository(owner, f"{word}-open")
    content.repository(owner, f"{word}-hidden", "private")
    visitor.goto(content.url)
    visitor.get_by_role("searchbox").fill(word)
    visitor.get_by_role("button", name="Search").click()

    expect(visitor.locator(".repository-card h3 a")).to_have_text([f"{owner}/{word}-open"])
    begin_session(visitor, content.url, owner)
    visitor.goto(f"{content.url}/search?q={word}")
    expect(visitor.locator(".repository-card")).to_have_count(2)
    expect(visitor.locator(".repository-card .mark-private")).to_have_count(1)


def test_long_lists_have_pages(page: Page, content: Content) -> None:
    """A list of more than one page links to the next page and back."""
    owner = content.account()
    for number in range(25):
        content.repository(owner, f"boat-{number}")
    page.goto(f"{content.url}/{owner}")
    expect(page.locator(".repository-card")).to_have_count(24)
    page.get_by_role("link", name="Next").click()

    expect(page.locator(".repository-card")).to_have_count(1)
    page.get_by_role("link", name="Previous").click()
    expect(page.locator(".repository-card")).to_have_count(24)


def test_a_new_repository_is_among_the_newest(visitor: Page, content: Content) -> None:
    """The start page shows the newest public repositories and no private one."""
    owner = content.account()
    content.repository(owner, "just-launched")
    content.repository(owner, "kept-dark", "private")
    visitor.goto(content.url)

    expect(visitor.locator(".repository-card h3 a").first).to_have_text(f"{owner}/just-launched")
    expect(visitor.get_by_text("kept-dark")).to_have_count(0)


def test_a_top_level_repository_is_marked_official(page: Page, content: Content) -> None:
    """An administrator creates it, its short name redirects to it, and everyone sees the badge."""
    curator, name = f"curator-{next(content.numbers)}", f"base{next(content.numbers)}"
    content.server.create_user(curator, PASSWORD, admin=True)
    begin_session(page, content.url, curator)
    page.goto(f"{content.url}/new")
    page.get_by_label("Namespace").select_option("library")
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_role("button", name="Create repository").click()
    sign_out(page)
    page.goto(f"{content.url}/{name}")

    expect(page).to_have_url(f"{content.url}/library/{name}")
    expect(page.locator("h1")).to_contain_text("Official")


def test_the_account_is_changed(visitor: Page, content: Content) -> None:
    """The default visibility is saved, a new e-mail address waits for its confirmation, the new password signs in."""
    name = content.account()
    begin_session(visitor, content.url, name)
    visitor.goto(f"{content.url}/account")
    visitor.get_by_label("Private").check()
    visitor.get_by_role("button", name="Save", exact=True).click()
    expect(visitor.get_by_label("Private")).to_be_checked()

    visitor.goto(f"{content.url}/account/email")
    visitor.get_by_label("New address").fill(f"{name}@elsewhere.example")
    visitor.get_by_label("Current password").fill(PASSWORD)
    visitor.get_by_role("button", name="Change address").click()
    expect(visitor.get_by_text(f"{name}@elsewhere.example")).to_be_visible()

    visitor.get_by_role("link", name="Password").click()
    visitor.get_by_label("Current password").fill(PASSWORD)
    visitor.get_by_label("New password").fill("another fine password")
    visitor.get_by_role("button", name="Change password").click()
    expect(visitor.get_by_role("status")).to_contain_text("Password changed")
    sign_out(visitor)
    sign_in(visitor, content.url, name, "another fine password")


def test_the_account_shows_its_limit(visitor: Page, content: Content) -> None:
    """The account shows how many private repositories are in use; one too many is refused with a hint."""
    name = content.account()
    content.repository(name, "hold", "private")
    content.server.admin("set-plan", name, "--private-repositories", "1")
    begin_session(visitor, content.url, name)
    visitor.goto(f"{content.url}/account")
    private = visitor.locator("dt", has_text="Private repositories").locator("xpath=following-sibling::dd[1]")
    expect(private).to_have_text("1 of 1")

    visitor.goto(f"{content.url}/new")
    visitor.get_by_label("Name", exact=True).fill("bilge")
    visitor.get_by_label("Private").check()
    visitor.get_by_role("button", name="Create repository").click()
    expect(visitor.locator("#errors")).to_contain_text("ask an administrator for more")


def test_a_personal_token_is_shown_once_and_deleted(visitor: Page, content: Content) -> None:
    """The secret works instead of the password until the token is deleted, and is never shown again."""
    name = content.account()
    begin_session(visitor, content.url, name)
    visitor.goto(f"{content.url}/account/tokens")
    visitor.get_by_label("Name", exact=True).fill("laptop")
    visitor.get_by_role("button", name="Create token").click()
    secret = visitor.locator(".alert .command code").inner_text()

    assert httpx2.get(f"{content.url}/token", auth=(name, secret)).status_code == 200
    visitor.goto(f"{content.url}/account/tokens")
    expect(visitor.get_by_text("laptop", exact=True)).to_be_visible()
    assert secret not in visitor.content()
    visitor.get_by_role("button", name="Delete laptop").click()
    expect(visitor.get_by_role("status")).to_contain_text("Token deleted")
    assert httpx2.get(f"{content.url}/token", auth=(name, secret)).status_code == 401


def test_robots_and_trust_rules(visitor: Page, content: Content) -> None:
    """A robot is created, rotated and deleted; a trust rule is created, with its errors beside the fields."""
    name = content.account()
    begin_session(visitor, content.url, name)
    visitor.goto(f"{content.url}/account/robots")
    visitor.get_by_label("Name", exact=True).fill("ci")
    visitor.get_by_role("textbox", name="Repositories").fill(f"{name}/web-*")
    visitor.get_by_role("button", name="Create robot").click()
    secret = visitor.locator(".alert .command code").inner_text()
    assert httpx2.get(f"{content.url}/token", auth=(f"{name}+ci", secret)).status_code == 200
    expect(visitor.get_by_text(f"repo:read, repo:write on {name}/web-*")).to_be_visible()
    visitor.get_by_text("Rotate", exact=True).click()
    visitor.get_by_role("button", name="Rotate ci").click()
    assert visitor.locator(".alert .command code").inner_text() != secret
    expect(visitor.get_by_role("searchbox").first).to_have_value("")
    assert httpx2.get(f"{content.url}/token", auth=(f"{name}+ci", secret)).status_code == 401
    visitor.get_by_role("button", name="Delete ci").click()
    expect(visitor.get_by_role("status")).to_contain_text("Robot deleted")

    visitor.goto(f"{content.url}/account/trust-rules")
    visitor.get_by_label("Name", exact=True).fill("deploy")
    visitor.get_by_label("Subject").fill("repo:acme*")
    visitor.get_by_role("button", name="Create trust rule").click()
    expect(visitor.locator("#errors")).to_contain_text("must begin with repo:OWNER/")
    visitor.get_by_label("Subject").fill("repo:acme/web:*")
    visitor.get_by_role("button", name="Create trust rule").click()
    expect(visitor.get_by_role("status")).to_contain_text("Trust rule created")
    expect(visitor.get_by_text("Never used")).to_be_visible()
    with closing(sqlite3.connect(content.server.data / SQLITE_FILE)) as connection, connection:
        used = "UPDATE trust_rules SET used_at = ?, used_from = ? WHERE subject = 'repo:acme/web:*'"
        address = "2001:db8:1234:5678:9abc:def0:1234:5678"
        connection.execute(used, [f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f}", address])
    visitor.reload()
    expect(visitor.get_by_text(f"Last used just now from {address}")).to_be_visible()
    visitor.set_viewport_size({"width": 320, "height": 640})
    assert visitor.evaluate("document.documentElement.scrollWidth") <= 320
    visitor.get_by_role("button", name="Delete deploy").click()
    expect(visitor.get_by_role("status")).to_contain_text("Trust rule deleted")
