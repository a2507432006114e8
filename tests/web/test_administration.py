"""The pages of administrators: reports and take-downs, accounts, repositories, what is blocked, and who sees them."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing

import httpx2
import pytest
from playwright.sync_api import Page, expect
from tests.builds.hand_worker import BY_HAND
from tests.parts.chromium import PHONE
from tests.parts.hub import HytheServer
from tests.web.browser import Raw, begin_session, sign_in
from tests.web.content import PASSWORD, Content

from hythe.hub.access.table import TABLE
from hythe.hub.roles import HubRole
from hythe.web.routes.application import PAGES

pytestmark = pytest.mark.browser

ADMINISTRATION = tuple(page for page in PAGES if page.path.startswith("/admin"))


@pytest.fixture(scope="module")
def boss(content: Content) -> str:
    """An administrator."""
    name = f"boss-{next(content.numbers)}"
    content.server.create_user(name, PASSWORD, admin=True)
    return name


@pytest.fixture
def administrator(raw: Raw, boss: str) -> Raw:
    """A client in which the administrator is signed in."""
    raw.sign_in(boss)
    return raw


def audited(content: Content, boss: str, **filters: str) -> list[tuple[str, str]]:
    """The action and target of the newest entries of the audit log."""
    found = httpx2.get(f"{content.url}/api/v1/audit", params=filters, auth=(boss, PASSWORD))
    return [(entry["action"], entry["target"]) for entry in found.json()["items"]]


def act(client: Raw, path: str, **fields: str) -> httpx2.Response:
    """Submit one of several forms of the pages of administrators, with the token of the session."""
    return client.post(path, headers=None, form_token=client.token("/admin/blocked"), **fields)


def test_from_a_report_to_a_take_down(open_page: Callable[..., Page], content: Content, boss: str) -> None:
    """A user on a phone without scripts reports; the administrator takes down, and restores; the owner sees why."""
    owner, user = content.account("owner"), content.account("user")
    name = content.repository(owner, "miner")
    content.image(name, "latest")
    phone, page = open_page(viewport=PHONE, is_mobile=True, java_script_enabled=False), open_page()
    begin_session(phone, content.url, user)
    phone.goto(f"{content.url}/{name}")
    phone.get_by_role("link", name="Report this repository").click()
    phone.get_by_label("What is wrong").fill("It mines coins.")
    phone.get_by_role("button", name="Send report").click()
    expect(phone.locator("#category-error")).to_be_visible()
    phone.get_by_label("Malware").check()
    phone.get_by_role("button", name="Send report").click()
    expect(phone.get_by_role("status")).to_contain_text("Thank you")

    sign_in(page, content.url, boss)
    page.locator(".menu > summary").click()
    page.get_by_role("link", name="Administration").click()
    page.get_by_role("main").get_by_role("link", name="Open reports").click()
    page.get_by_role("link", name=name).click()
    page.get_by_label("Dismissed").check()
    page.get_by_label("Reason of the take-down").fill("It mines coins for others.")
    page.get_by_role("button", name="Close report").click()
    expect(page.locator("#take_down-error")).to_contain_text("must be empty")
    page.get_by_label("Resolved").check()
    page.get_by_role("button", name="Close report").click()
    expect(page.get_by_role("status")).to_have_text("Report closed.")

    phone.goto(f"{content.url}/{name}")
    expect(phone.get_by_role("heading", level=1)).to_have_text("Page not found")
    phone.context.clear_cookies()
    begin_session(phone, content.url, owner)
    phone.goto(f"{content.url}/{name}")
    expect(phone.get_by_role("alert")).to_contain_text("took this repository down. It mines coins for others.")
    expect(phone.get_by_role("link", name="Settings")).to_have_count(0)

    page.goto(f"{content.url}/admin/repositories/{name}")
    page.get_by_role("button", name="Restore").click()
    expect(page.get_by_role("status")).to_have_text("Repository restored.")
    phone.reload()
    expect(phone.get_by_role("alert")).to_have_count(0)
    assert [each for each, _ in audited(content, boss, namespace=owner, actor=boss)] == [
        "repository.restore",
        "repository.take-down",
    ]


def test_others_find_no_page_of_administrators(raw: Raw, content: Content) -> None:
    """Neither users nor the anonymous: each looks like a page that does not exist, and its forms do nothing."""
    user = content.account("user")
    name = content.repository(user, "app")
    filled = [
        re.sub(r"\{(\w+)(?::\w+)?\}", lambda found: {"account": user, "repository": name}.get(found[1], "1"), page.path)
        for page in ADMINISTRATION
    ]
    assert all(
        TABLE[action].needs is HubRole.ADMINISTRATOR for page in ADMINISTRATION for action in page.submits.values()
    )
    for signed_in in (False, True):
        if signed_in:
            raw.sign_in(user)
        token = raw.token("/account" if signed_in else "/sign-in")
        found = {
            path: (raw.get(path).status_code, raw.post(path, form_token=token, confirm=user).status_code)
            for path in filled
        }
        assert {path: codes for path, codes in found.items() if set(codes) - {404, 405}} == {}
    assert 'href="/admin' not in raw.get(f"/{name}").text
    assert raw.signed_in


def test_accounts(administrator: Raw, content: Content, boss: str) -> None:
    """Find an account, set its limits and role, sign it out, block and unblock it, and delete it."""
    name, other = content.account("ann"), Raw(content.url)
    address = f"/admin/accounts/{name}"
    other.sign_in(name)
    for beginning in (name, f"{name}@"):
        assert address in administrator.client.get("/admin/accounts", params={"q": beginning}).text

    wrong = act(administrator, f"{address}/plan", storage_limit="much", repository_limit="-1")
    assert wrong.status_code == 422
    assert "must be a size such as 50GiB" in wrong.text
    assert act(administrator, f"{address}/plan", storage_limit="x", repository_limit="7").status_code == 422
    saved = act(administrator, f"{address}/plan", storage_limit="50 GiB", repository_limit="7", upload_limit="")
    assert saved.headers["location"] == address
    shown = administrator.get(address).text
    assert {'value="50 GiB"', 'value="7"'} <= set(re.findall(r'value="[^"]*"', shown))

    assert act(administrator, f"{address}/role", role="curator").status_code == 303
    assert 'value="curator" checked' in administrator.get(address).text
    assert "must be one of the choices" in act(administrator, f"{address}/role", role="captain").text
    refused = act(administrator, f"/admin/accounts/{boss}/role", role="user")
    assert refused.status_code == 403
    assert "cannot end your own role" in refused.text

    assert act(administrator, f"{address}/sign-out").status_code == 303
    assert not other.signed_in
    assert administrator.send(f"{address}/block", reason="r" * 501).status_code == 422
    assert administrator.send(f"{address}/block", reason="spam").status_code == 303
    assert other.sign_in(name).status_code == 403
    assert act(administrator, f"{address}/unblock").status_code == 303
    assert other.sign_in(name).status_code == 303
    assert administrator.send(f"{address}/reset-second-factors").status_code == 303
    assert administrator.send(f"/admin/accounts/{boss}/reset-second-factors").status_code == 403

    assert administrator.send(f"{address}/delete", confirm="no").status_code == 422
    assert administrator.send(f"{address}/delete", confirm=name).headers["location"] == "/admin/accounts"
    assert administrator.get(address).status_code == 404
    assert audited(content, boss, target=name, action="user.block") == [("user.block", name)]


def age_sessions(content: Content, user: str) -> None:
    """Let the user have confirmed who they are years ago."""
    with closing(sqlite3.connect(content.server.data / "hythe.db", timeout=30)) as connection, connection:
        of_user = "user_id = (SELECT id FROM users WHERE name = ?)"
        connection.execute(f"UPDATE sessions SET confirmed_at = '2020-01-01 00:00:00' WHERE {of_user}", (user,))


def test_a_stolen_session_gives_no_role(administrator: Raw, content: Content, boss: str) -> None:
    """A session of an hour ago leads to the confirmation, and from there back to the account."""
    name = content.account("ann")
    address = f"/admin/accounts/{name}"
    age_sessions(content, boss)

    for path in (f"{address}/role", f"{address}/reset-second-factors"):
        refused = act(administrator, path, role="administrator")
        assert refused.headers["location"] == f"/account/confirm?next={address}"
    assert 'value="administrator" checked' not in administrator.get(address).text
    confirmed = act(administrator, "/account/confirm", password=PASSWORD, next=address)
    assert confirmed.headers["location"] == address
    assert act(administrator, f"{address}/role", role="curator").status_code == 303


def test_a_stolen_session_gets_at_nothing_of_others(administrator: Raw, content: Content, boss: str) -> None:
    """Each form leads to the confirmation, and from there back to its page; so do the links in messages."""
    owner = content.account("owner")
    organization = f"org-{next(content.numbers)}"
    content.organization(owner, organization, f"{organization}@example.com")
    name = content.repository(owner, "secret", "private")
    account, repository = f"/admin/accounts/{organization}", f"/admin/repositories/{name}"
    form = f"{repository}/-/hand-over"
    gone = content.account("gone")
    assert httpx2.delete(f"{content.url}/api/v1/users/{gone}?confirm={gone}", auth=(boss, PASSWORD)).is_success
    age_sessions(content, boss)

    for path, back, fields in (
        ("/organizations/new", "/organizations/new", {"name": gone}),
        (f"{account}/owners", account, {"owner": boss}),
        (f"{repository}/-/open", repository, {"reason": "curious"}),
        (form, repository, {"to": boss}),
    ):
        assert act(administrator, path, **fields).headers["location"] == f"/account/confirm?next={back}"
    for path in (form, "/admin/mail"):
        assert administrator.get(path).headers["location"] == f"/account/confirm?next={path}"
    assert administrator.get(f"/{name}").status_code == 404
    assert f'href="/admin/accounts/{boss}"' not in administrator.get(account).text
    assert act(administrator, "/account/confirm", password=PASSWORD, next=form).headers["location"] == form
    moved = f"/admin/repositories/{boss}/secret"
    assert administrator.send(form, to=boss).headers["location"] == moved
    assert act(administrator, f"{account}/owners", owner=boss).headers["location"] == account


def test_an_organization_has_no_role(administrator: Raw, content: Content, boss: str) -> None:
    """Its page has limits, and can block it; there is nothing about roles and second factors."""
    owner = content.account("owner")
    name = f"org-{next(content.numbers)}"
    content.organization(owner, name, f"{name}@example.com")
    shown = administrator.get(f"/admin/accounts/{name}").text

    assert "Role on this hub" not in shown
    assert "Second factor" not in shown
    assert name in administrator.get("/admin/accounts?kind=organization").text
    assert owner not in administrator.get(f"/admin/accounts?kind=organization&q={owner}").text.partition("<h2")[2]
    assert f'href="/admin/accounts/{boss}"' in administrator.get(f"/admin/accounts?kind=administrator&q={boss}").text
    assert f'href="/admin/accounts/{boss}"' not in administrator.get(f"/admin/accounts?kind=curator&q={boss}").text
    assert act(administrator, f"/admin/accounts/{name}/plan", storage_limit="1GiB").status_code == 303


def test_an_organization_gets_an_owner(administrator: Raw, content: Content, boss: str) -> None:
    """Its page lists the members, and makes a user an owner; a name that no user has is an error at the field."""
    owner, heir = content.account("owner"), content.account("heir")
    name = f"org-{next(content.numbers)}"
    content.organization(owner, name, f"{name}@example.com")
    address = f"/admin/accounts/{name}"

    assert f'href="/admin/accounts/{owner}"' in administrator.get(address).text
    assert f'href="/admin/accounts/{heir}"' not in administrator.get(address).text
    refused = act(administrator, f"{address}/owners", owner=name)
    assert (refused.status_code, "is not the name of a user" in refused.text) == (422, True)
    assert act(administrator, f"{address}/owners", owner=heir).headers["location"] == address
    assert f'href="/admin/accounts/{heir}"' in administrator.get(address).text
    assert audited(content, boss, namespace=name)[0] == ("member.appoint-owner", f"{name}/{heir}")


def test_repositories(administrator: Raw, content: Content, boss: str) -> None:
    """Find a private repository, open it with a reason, mark it, hand it over, take it down, and delete it."""
    owner, heir = content.account("owner"), content.account("heir")
    name = content.repository(owner, "secret", "private")
    content.image(name, "latest")
    address = f"/admin/repositories/{name}"
    assert address in administrator.get(f"/admin/repositories?q={name[:-2]}").text
    assert administrator.get(f"/{name}").status_code == 404

    assert "the owners read it" in act(administrator, f"{address}/-/open", reason=" ").text
    assert act(administrator, f"{address}/-/open", reason="asked for help").headers["location"] == address
    assert administrator.get(f"/{name}").status_code == 200
    assert act(administrator, f"{address}/-/close").status_code == 303
    assert administrator.get(f"/{name}").status_code == 404

    official = f"/admin/repositories?show=official&q={name.partition('/')[2]}"
    assert address not in administrator.get(official).text
    assert act(administrator, f"{address}/-/official", official="yes").status_code == 303
    assert address in administrator.get(official).text
    assert "Remove the mark" in administrator.get(address).text
    assert "must be the name of a user" in administrator.send(f"{address}/-/hand-over", to="no-one-here").text
    moved = f"/admin/repositories/{heir}/treasure"
    assert administrator.send(f"{address}/-/hand-over", to=heir, name="treasure").headers["location"] == moved
    assert administrator.get(address).status_code == 404

    assert administrator.send(f"{moved}/-/take-down", reason=" ").status_code == 422
    assert administrator.send(f"{moved}/-/take-down", reason="a < b").status_code == 303
    assert "a &lt; b" in administrator.get("/admin/repositories/-/taken-down").text
    assert "already" in administrator.send(f"{moved}/-/take-down", reason="again").text
    assert "restore it first" in administrator.send(f"{moved}/-/hand-over", to=owner).text
    assert administrator.send(f"{moved}/-/delete", reason="malware", confirm="no").status_code == 422
    deleted = administrator.send(f"{moved}/-/delete", reason="malware", confirm=f"{heir}/treasure")
    assert deleted.headers["location"] == "/admin/repositories"
    assert administrator.get(moved).status_code == 404
    assert {each for each, _ in audited(content, boss, namespace=owner, actor=boss)} >= {
        "repository.open",
        "repository.hand-over",
        "repository.set-official",
    }


def test_blocked_names_and_digests(administrator: Raw, content: Content) -> None:
    """Block and unblock them; errors are at the fields."""
    pattern, digest = f"bad-{next(content.numbers)}-*", f"sha256:{next(content.numbers):064x}"
    assert 'id="pattern-error"' in administrator.send("/admin/blocked", pattern="*").text
    assert administrator.send("/admin/blocked", pattern=pattern, reason="phishing").status_code == 303
    assert 'id="digest-error"' in administrator.send("/admin/blocked/digests/new", digest="sha256:x").text
    assert administrator.send("/admin/blocked/digests/new", digest=digest).status_code == 303
    shown = administrator.get("/admin/blocked").text
    assert pattern in shown
    assert digest in shown

    assert act(administrator, "/admin/blocked/names/unblock", pattern=pattern).status_code == 303
    assert act(administrator, "/admin/blocked/digests/unblock", digest=digest).status_code == 303
    assert act(administrator, "/admin/blocked/digests/unblock", digest=digest).status_code == 404
    shown = administrator.get("/admin/blocked").text
    assert pattern not in shown
    assert digest not in shown


def test_what_only_shows(administrator: Raw, content: Content) -> None:
    """The overview, mail with its links, settings without secrets, storage with a collection, and the audit log."""
    name = content.account("newcomer")
    assert "Messages that wait" in administrator.get("/admin").text
    mail = administrator.get("/admin/mail").text
    assert "There is no mail server" in mail
    assert f"To {name}@example.com" in mail
    assert "/confirm-email?token=" in mail
    assert "mail_server" in administrator.get("/admin/settings").text
    assert act(administrator, "/admin/storage/collect-garbage").headers["location"] == "/admin/storage"
    exported = administrator.get("/admin/audit/export?action=garbage.collect").text.splitlines()
    assert json.loads(exported[0])["target"] == "garbage"
    assert name in administrator.get(f"/admin/audit?namespace={name}").text
    assert 'id="since-error"' in administrator.get("/admin/audit?since=today").text


def test_the_queue(start_hub: Callable[..., HytheServer]) -> None:
    """A build that waits is listed with the reason, also of a private repository, and cancelled once."""
    content = Content(start_hub(env=BY_HAND))
    content.server.create_user("boss", PASSWORD, admin=True)
    owner = content.account("owner")
    name = content.repository(owner, "built", "private")
    content.builds(name, "http://127.0.0.1:1/team/app.git")
    started = httpx2.post(
        f"{content.url}/api/v1/repositories/{name}/builds", auth=(owner, PASSWORD), json={"source_name": "main"}
    )
    assert started.is_success, started.text
    administrator = Raw(content.url)
    administrator.sign_in("boss")
    shown = administrator.get("/admin/builds").text
    assert f"/admin/repositories/{name}" in shown
    assert "No worker is connected." in shown
    (cancel,) = re.findall(r"/admin/builds/\d+/cancel", shown)

    assert act(administrator, cancel).headers["location"] == "/admin/builds"
    again = act(administrator, cancel)
    assert again.status_code == 409
    assert "already finished" in again.text
    assert act(administrator, "/admin/builds/workers/999/drain", draining="yes").status_code == 404


def test_a_replication_rule_is_changed_and_disabled(
    open_page: Callable[..., Page], content: Content, boss: str
) -> None:
    """The form shows the rule as it is; an empty password keeps the stored one, which no page shows."""
    rule = f"rule-{next(content.numbers)}"
    flags = ("--username", "ann", "--password-stdin", "--tag", "v*", "--no-events")
    content.server.admin("replicate", "add", rule, "push", "http://127.0.0.1:9", *flags, stdin="very secret")
    page = open_page(viewport=PHONE, is_mobile=True, java_script_enabled=False)
    begin_session(page, content.url, boss)
    page.goto(f"{content.url}/admin/replication/rules/{rule}")
    page.get_by_role("link", name="Change").click()
    expect(page.get_by_label("User name")).to_have_value("ann")
    expect(page.get_by_label("Password")).to_have_value("")
    page.get_by_label("User name").fill("ben")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#password-error")).to_contain_text("together with username")
    page.get_by_label("User name").fill("ann")
    page.get_by_label("Tags", exact=True).fill("v* latest")
    page.get_by_label("Enabled").uncheck()
    page.get_by_role("button", name="Save").click()

    expect(page.get_by_text("The rule is disabled")).to_be_visible()
    expect(page.get_by_text("the tags v*, latest of *")).to_be_visible()
    assert "very secret" not in page.content()
    assert ("replication.change", rule) in audited(content, boss)
