"""Linked accounts over the JSON API and by OAuth: what they reach, what is asked for, and that nobody else has them."""

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
    """Alice in a browser without scripts."""
    raw = Raw(forge_hub.services.hub.url)
    raw.sign_in("alice", PASSWORD)
    return raw


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_token_links_an_account(forge_hub: ForgeHub, kind: str) -> None:
    """Several accounts at several forges; the same one again renews its link."""
    first = forge_hub.link(kind)
    again = forge_hub.link(kind)

    listed = forge_hub.call("GET", "/api/v1/linked-accounts")["items"]
    assert again["id"] == first["id"]
    assert [link["login"] for link in listed if link["kind"] == kind] == ["octo"]


def test_a_wrong_token_is_refused_by_its_field(forge_hub: ForgeHub) -> None:
    """Nothing is linked, and the answer says which field is wrong."""
    body = {"url": forge_hub.forges["github"].url, "token": "ghp_wrong"}

    status, answer = forge_hub.try_call("POST", "/api/v1/linked-accounts", body)

    assert status == 422
    assert answer["errors"][0]["field"] == "token"


def test_only_forges_of_the_setting_are_asked(forge_hub: ForgeHub) -> None:
    """A user cannot make the hub send requests anywhere else."""
    body = {"url": forge_hub.services.git.url, "token": "anything"}
    asked = len(forge_hub.services.git.requests)

    status, _ = forge_hub.try_call("POST", "/api/v1/linked-accounts", body)

    assert status == 404
    assert len(forge_hub.services.git.requests) == asked


@pytest.mark.parametrize("kind", list(KINDS))
def test_repositories_branches_and_tags_are_listed(forge_hub: ForgeHub, kind: str) -> None:
    """By part of the name; annotated tags stand for their commits."""
    git = forge_hub.services.git.create(f"src/listed-{kind}")
    commit = git.commit({"Dockerfile": "FROM scratch\n"})
    git.tag("v1")
    forge_hub.forges[kind].add(git)
    link = forge_hub.link(kind)

    found = forge_hub.call("GET", f"/api/v1/linked-accounts/{link['id']}/repositories?q=listed-{kind}")["items"]
    refs = forge_hub.call("GET", f"/api/v1/linked-accounts/{link['id']}/refs?repository=src/listed-{kind}")

    assert [each["name"] for each in found] == [f"src/listed-{kind}"]
    assert found[0]["clone_url"] == git.url
    assert refs["default_branch"] == "main"
    assert refs["refs"] == [
        {"type": "branch", "name": "main", "commit": commit},
        {"type": "tag", "name": "v1", "commit": commit},
    ]


def test_a_git_address_is_looked_at_without_an_account(forge_hub: ForgeHub) -> None:
    """Branches, tags and the default branch of any public address; a private one says so."""
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


def test_links_belong_to_one_user(forge_hub: ForgeHub) -> None:
    """For everybody else a link does not exist, also as the source of a set-up of theirs."""
    hub = forge_hub.services.hub
    link = forge_hub.link("github")
    hub.create_user("mallory", PASSWORD)
    git = forge_hub.services.git.create("src/mine")
    git.commit({"Dockerfile": "FROM scratch\n"})
    project = forge_hub.forges["github"].add(git)
    source = {"url": git.url, "forge": "github", "forge_repository": project.name, "linked_account_id": link["id"]}
    path = "/api/v1/repositories/mallory/mine/build-configuration"

    listed = forge_hub.call("GET", "/api/v1/linked-accounts", user="mallory")
    reached, _ = forge_hub.try_call("GET", f"/api/v1/linked-accounts/{link['id']}/repositories", user="mallory")
    removed, _ = forge_hub.try_call("DELETE", f"/api/v1/linked-accounts/{link['id']}", user="mallory")
    made, _ = forge_hub.try_call("POST", path, {"source": source}, user="mallory")
    hooked, _ = forge_hub.try_call("POST", f"{path}/forge-webhook", {"hub_url": hub.url}, user="mallory")

    assert listed == {"items": []}
    assert (reached, removed, made, hooked) == (404, 404, 422, 404)
    assert project.webhooks == {}


@pytest.mark.parametrize("kind", list(KINDS))
def test_oauth_asks_for_little_and_links(forge_hub: ForgeHub, browser: Raw, kind: str) -> None:
    """PKCE, a state of this user's, the least scopes; the code becomes a link."""
    forge = forge_hub.forges[kind]
    begun = browser.get(f"/account/linked-accounts/begin?url={forge.url}")
    where = begun.headers["location"]
    asked = {name: values[0] for name, values in parse_qs(urlsplit(where).query).items()}

    back = forge.approve(where)
    ended = browser.get(back.removeprefix(forge_hub.services.hub.url))

    least = {
        "github": "repo:status admin:repo_hook",
        "gitea": "read:user write:repository",
        "gitlab": "api",
        "bitbucket": "account repository repository:admin webhook",
    }
    assert asked["scope"] == least[kind]
    assert asked["redirect_uri"] == f"{forge_hub.services.hub.url}/account/linked-accounts/authorized"
    assert (ended.status_code, ended.headers["location"]) == (303, "/account/linked-accounts")
    links = forge_hub.call("GET", "/api/v1/linked-accounts")["items"]
    assert [link["oauth"] for link in links if link["url"] == forge.url] == [True]


def test_a_code_of_somebody_else_links_nothing(forge_hub: ForgeHub, browser: Raw) -> None:
    """A state that another user began with, or a made-up one, is refused (login CSRF)."""
    forge = forge_hub.forges["gitea"]
    forge_hub.services.hub.create_user("victim", PASSWORD)
    victim = Raw(forge_hub.services.hub.url)
    victim.sign_in("victim", PASSWORD)
    back = forge.approve(browser.get(f"/account/linked-accounts/begin?url={forge.url}").headers["location"])

    foreign = victim.get(back.removeprefix(forge_hub.services.hub.url))
    invented = victim.get("/account/linked-accounts/authorized?state=AAAA&code=1")

    assert (foreign.status_code, invented.status_code) == (422, 422)
    assert "user started this authorization" in foreign.text
    assert forge_hub.call("GET", "/api/v1/linked-accounts", user="victim") == {"items": []}


def test_tokens_are_renewed_before_they_end(forge_hub: ForgeHub, browser: Raw) -> None:
    """A token that ends in a minute is renewed by its refresh token when it is used."""
    forge = forge_hub.forges["gitlab"]
    forge.lifetime = 60
    back = forge.approve(browser.get(f"/account/linked-accounts/begin?url={forge.url}").headers["location"])
    browser.get(back.removeprefix(forge_hub.services.hub.url))
    [link] = [link for link in forge_hub.call("GET", "/api/v1/linked-accounts")["items"] if link["url"] == forge.url]
    forge.lifetime = 7200
    before = set(forge.tokens)

    forge_hub.call("GET", f"/api/v1/linked-accounts/{link['id']}/repositories")
    forge_hub.call("GET", f"/api/v1/linked-accounts/{link['id']}/repositories")

    assert len(set(forge.tokens) - before) == 1


def test_a_token_that_was_taken_back_is_said_with_the_link(forge_hub: ForgeHub) -> None:
    """The link stays, and says that it must be made anew."""
    link = forge_hub.link("gitea")
    forge_hub.forges["gitea"].tokens.clear()

    status, answer = forge_hub.try_call("GET", f"/api/v1/linked-accounts/{link['id']}/repositories")

    assert status == 409
    assert "relink the account" in answer["hint"]
    [shown] = [each for each in forge_hub.call("GET", "/api/v1/linked-accounts")["items"] if each["id"] == link["id"]]
    assert "does not accept this token" in shown["problem"]


def test_tokens_are_sealed_at_rest(forge_hub: ForgeHub) -> None:
    """No file of the hub holds a token or the client's secret as it is."""
    forge = forge_hub.forges["github"]
    token = forge.token()
    forge_hub.call("POST", "/api/v1/linked-accounts", {"url": forge.url, "token": token})

    kept = b"".join(path.read_bytes() for path in forge_hub.services.hub.data.rglob("*") if path.is_file())
    assert token.encode() not in kept
