"""Linked accounts in the JSON API and by OAuth: access, requested scopes, and isolation between users."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from tests.builds.forge_hub import ForgeHub, forge_hub
from tests.builds.services import PASSWORD
from tests.parts.forges import KINDS
from tests.web.browser import Raw

__all__ = ["forge_hub"]


@pytest.fixture
def browser(forge_hub: ForgeHub) -> Raw:
    """A browser without scripts, signed in as alice."""
    raw = Raw(forge_hub.services.hub.url)
    raw.sign_in("alice", PASSWORD)
    return raw


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_token_links_an_account(forge_hub: ForgeHub, kind: str) -> None:
    """Linking the same account again updates the linked account."""
    first = forge_hub.link(kind)
    again = forge_hub.link(kind)

    listed = forge_hub.call("GET", "/api/v1/linked-accounts")["items"]
    assert again["id"] == first["id"]
    assert [account["login"] for account in listed if account["kind"] == kind] == ["octo"]


def test_a_wrong_token_is_an_error_of_its_field(forge_hub: ForgeHub) -> None:
    """Nothing is linked, and the response names the field."""
    body = {"url": forge_hub.forges["github"].url, "token": "ghp_wrong"}

    status, answer = forge_hub.try_call("POST", "/api/v1/linked-accounts", body)

    assert status == 422
    assert answer["errors"][0]["field"] == "token"


def test_only_forges_of_the_setting_receive_requests(forge_hub: ForgeHub) -> None:
    """Users cannot make the hub send requests to other servers."""
    body = {"url": forge_hub.services.git.url, "token": "anything"}
    requests = len(forge_hub.services.git.requests)

    status, _ = forge_hub.try_call("POST", "/api/v1/linked-accounts", body)

    assert status == 404
    assert len(forge_hub.services.git.requests) == requests


@pytest.mark.parametrize("kind", list(KINDS))
def test_repositories_branches_and_tags_are_listed(forge_hub: ForgeHub, kind: str) -> None:
    """Repositories are found by part of their name; annotated tags have the ids of their commits."""
    git = forge_hub.services.git.create(f"src/listed-{kind}")
    commit = git.commit({"Dockerfile": "FROM scratch\n"})
    git.tag("v1")
    forge_hub.forges[kind].add(git)
    account = forge_hub.link(kind)

    found = forge_hub.call("GET", f"/api/v1/linked-accounts/{account['id']}/repositories?q=listed-{kind}")["items"]
    refs = forge_hub.call("GET", f"/api/v1/linked-accounts/{account['id']}/refs?repository=src/listed-{kind}")

    assert [each["name"] for each in found] == [f"src/listed-{kind}"]
    assert found[0]["clone_url"] == git.url
    assert refs["default_branch"] == "main"
    assert refs["refs"] == [
        {"type": "branch", "name": "main", "commit": commit},
        {"type": "tag", "name": "v1", "commit": commit},
    ]


def test_a_public_git_url_needs_no_account(forge_hub: ForgeHub) -> None:
    """Its branches, tags and default branch are listed; for a private URL the error says that it is private."""
    git = forge_hub.services.git.create("src/plain")
    commit = git.commit({"Dockerfile": "FROM scratch\n"})
    git.tag("v2")
    closed = forge_hub.services.git.create("src/closed", private=("a", "b"))

    seen = forge_hub.call("GET", f"/api/v1/git-refs?url={git.url}")
    status, answer = forge_hub.try_call("GET", f"/api/v1/git-refs?url={closed.url}")

    assert seen["default_branch"] == "main"
    assert [(ref["type"], ref["name"], ref["commit"]) for ref in seen["refs"]] == [
        ("branch", "main", commit),
        ("tag", "v2", commit),
    ]
    assert (status, "is private" in answer["detail"]) == (403, True)


def test_linked_accounts_belong_to_one_user(forge_hub: ForgeHub) -> None:
    """For other users the linked account does not exist, also in the source of their build configurations."""
    hub = forge_hub.services.hub
    account = forge_hub.link("github")
    hub.create_user("mallory", PASSWORD)
    git = forge_hub.services.git.create("src/mine")
    git.commit({"Dockerfile": "FROM scratch\n"})
    project = forge_hub.forges["github"].add(git)
    source = {"url": git.url, "forge": "github", "forge_repository": project.name, "linked_account_id": account["id"]}
    path = "/api/v1/repositories/mallory/mine/build-configuration"

    listed = forge_hub.call("GET", "/api/v1/linked-accounts", user="mallory")
    repositories, _ = forge_hub.try_call("GET", f"/api/v1/linked-accounts/{account['id']}/repositories", user="mallory")
    deleted, _ = forge_hub.try_call("DELETE", f"/api/v1/linked-accounts/{account['id']}", user="mallory")
    created, _ = forge_hub.try_call("POST", path, {"source": source}, user="mallory")
    webhook, _ = forge_hub.try_call("POST", f"{path}/forge-webhook", {"hub_url": hub.url}, user="mallory")

    assert listed == {"items": []}
    assert (repositories, deleted, created, webhook) == (404, 404, 422, 404)
    assert project.webhooks == {}


@pytest.mark.parametrize("kind", list(KINDS))
def test_oauth_requests_minimal_scopes(forge_hub: ForgeHub, browser: Raw, kind: str) -> None:
    """PKCE, a state of this user, and minimal scopes; the code links the account."""
    forge = forge_hub.forges[kind]
    started = browser.get(f"/account/linked-accounts/begin?url={forge.url}")
    url = started.headers["location"]
    query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}

    callback = forge.approve(url)
    completed = browser.get(callback.removeprefix(forge_hub.services.hub.url))

    minimal = {
        "github": "repo:status admin:repo_hook",
        "gitea": "read:user write:repository",
        "gitlab": "api",
        "bitbucket": "account repository repository:admin webhook",
    }
    assert query["scope"] == minimal[kind]
    assert query["redirect_uri"] == f"{forge_hub.services.hub.url}/account/linked-accounts/authorized"
    assert (completed.status_code, completed.headers["location"]) == (303, "/account/linked-accounts")
    accounts = forge_hub.call("GET", "/api/v1/linked-accounts")["items"]
    assert [account["oauth"] for account in accounts if account["url"] == forge.url] == [True]


def test_a_code_of_another_user_links_nothing(forge_hub: ForgeHub, browser: Raw) -> None:
    """A state of another user, or an invented one, is refused (login CSRF)."""
    forge = forge_hub.forges["gitea"]
    forge_hub.services.hub.create_user("victim", PASSWORD)
    victim = Raw(forge_hub.services.hub.url)
    victim.sign_in("victim", PASSWORD)
    callback = forge.approve(browser.get(f"/account/linked-accounts/begin?url={forge.url}").headers["location"])

    foreign = victim.get(callback.removeprefix(forge_hub.services.hub.url))
    invented = victim.get("/account/linked-accounts/authorized?state=AAAA&code=1")

    assert (foreign.status_code, invented.status_code) == (422, 422)
    assert "user started this authorization" in foreign.text
    assert forge_hub.call("GET", "/api/v1/linked-accounts", user="victim") == {"items": []}


def test_tokens_are_refreshed_before_they_expire(forge_hub: ForgeHub, browser: Raw) -> None:
    """A token that expires in a minute is refreshed when it is used."""
    forge = forge_hub.forges["gitlab"]
    forge.lifetime = 60
    callback = forge.approve(browser.get(f"/account/linked-accounts/begin?url={forge.url}").headers["location"])
    browser.get(callback.removeprefix(forge_hub.services.hub.url))
    [account] = [each for each in forge_hub.call("GET", "/api/v1/linked-accounts")["items"] if each["url"] == forge.url]
    forge.lifetime = 7200
    before = set(forge.tokens)

    forge_hub.call("GET", f"/api/v1/linked-accounts/{account['id']}/repositories")
    forge_hub.call("GET", f"/api/v1/linked-accounts/{account['id']}/repositories")

    assert len(set(forge.tokens) - before) == 1


def test_a_revoked_token_is_a_problem_of_the_linked_account(forge_hub: ForgeHub) -> None:
    """The account stays linked, and says that it must be relinked."""
    account = forge_hub.link("gitea")
    forge_hub.forges["gitea"].tokens.clear()

    status, answer = forge_hub.try_call("GET", f"/api/v1/linked-accounts/{account['id']}/repositories")

    assert status == 409
    assert "relink the account" in answer["hint"]
    [shown] = [
        each for each in forge_hub.call("GET", "/api/v1/linked-accounts")["items"] if each["id"] == account["id"]
    ]
    assert "does not accept this token" in shown["problem"]


def test_tokens_are_encrypted_at_rest(forge_hub: ForgeHub) -> None:
    """No file of the hub contains a token in plain text."""
    forge = forge_hub.forges["github"]
    token = forge.token()
    forge_hub.call("POST", "/api/v1/linked-accounts", {"url": forge.url, "token": token})

    stored = b"".join(path.read_bytes() for path in forge_hub.services.hub.data.rglob("*") if path.is_file())
    assert token.encode() not in stored
