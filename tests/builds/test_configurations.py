"""Build configurations: linked accounts, limits, and when credentials are kept."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from tests.builds.forge_hub import NO_WORKER, ForgeHub, forge_hub
from tests.builds.hand_worker import BY_HAND, HandWorker
from tests.builds.services import PASSWORD, Services
from tests.web.browser import Raw

__all__ = ["forge_hub"]

SSH = {"url": "git@git.example.com:team/app.git"}
DOCKER_HUB = {
    "provider": "github",
    "owner": "octo",
    "repository": "app",
    "build_settings": [{"source_type": "Branch", "source_name": "main", "tag": "latest"}],
}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def idle(request: pytest.FixtureRequest, start_services: Callable[..., Services]) -> Services:
    """A hub without workers, once on each database."""
    url = request.getfixturevalue("new_postgresql_url")() if request.param == "postgresql" else None
    return start_services(NO_WORKER, database_url=url)


def plain(services: Services, name: str, **more: Any) -> str:
    """Configure builds of alice/NAME from a public URL; returns the path of the configuration."""
    path = f"/api/v1/repositories/alice/{name}/build-configuration"
    services.call("POST", path, {"source": {"url": "https://git.example.com/team/app.git"}, **more})
    return path


def test_linked_accounts_of_others_do_not_exist(forge_hub: ForgeHub) -> None:
    """The response is the same for a linked account of another user and for one that does not exist."""
    forge_hub.services.hub.create_user("eve", PASSWORD)
    others, unknown = forge_hub.link("github")["id"], 999_999
    path = "/api/v1/repositories/eve/app/build-configuration"
    source = {"url": "https://git.example.com/team/app.git"}

    def responses(method: str, path: str, body: Callable[[int], object]) -> list[Any]:
        return [forge_hub.try_call(method, path, body(account), user="eve") for account in (others, unknown)]

    created = responses("POST", path, lambda account: {"source": {**source, "linked_account_id": account}})
    imported = responses("POST", f"{path}/docker-hub", lambda account: {**DOCKER_HUB, "linked_account_id": account})
    forge_hub.call("POST", path, {"source": source}, user="eve")
    changed = responses("PATCH", path, lambda account: {"source": {**source, "linked_account_id": account}})

    for of_others, of_unknown in (created, imported, changed):
        assert of_others == of_unknown
        assert of_others[0] == 422
        assert [error["field"] for error in of_others[1]["errors"]] == ["linked_account_id"]
    assert forge_hub.call("GET", path, user="eve")["source"]["linked_account_id"] is None


def test_the_linked_account_can_be_sent_back(forge_hub: ForgeHub) -> None:
    """A change can name the current linked account, as scripts send back what they read."""
    path = f"{forge_hub.connect('github', 'echoed').path}/build-configuration"

    source = forge_hub.call("GET", path)["source"]

    assert forge_hub.call("PATCH", path, {"source": source})["source"] == source


@pytest.mark.parametrize(
    ("url", "stay"),
    [
        ("https://git.example.com/team/other.git", True),
        ("https://elsewhere.example.com/team/app.git", False),
        ("http://git.example.com/team/app.git", False),
        ("https://git.example.com:8443/team/app.git", False),
    ],
)
def test_credentials_stay_with_their_host(idle: Services, url: str, stay: bool) -> None:
    """Moving the source to another host deletes the credentials, unless the change has new ones."""
    path = plain(idle, f"host-{len(url)}", credentials="user:secret")
    assert idle.call("GET", path)["has_credentials"] is True

    moved = idle.call("PATCH", path, {"source": {"url": url}})
    again = idle.call("PATCH", path, {"source": {"url": "https://third.example.com/a.git"}, "credentials": "u:p"})

    assert moved["has_credentials"] is stay
    assert again["has_credentials"] is True


def test_the_page_says_that_credentials_were_deleted(idle: Services) -> None:
    """After the source was saved."""
    plain(idle, "said", credentials="user:secret")
    page = Raw(idle.hub.url)
    page.sign_in("alice", PASSWORD)
    here = "/alice/said/-/build-configuration"

    page.send(here, action="source", source_url="https://git.example.com/team/other.git", credentials="")
    stayed = page.get(here).text
    page.send(here, action="source", source_url="https://elsewhere.example.com/team/other.git", credentials="")

    assert "credentials were for the previous host" not in stayed
    assert "credentials were for the previous host" in page.get(here).text


def test_a_deleted_deploy_key_is_replaced(idle: Services) -> None:
    """When the private key was deleted with the host, installing the webhook again generates another pair."""
    path = plain(idle, "keyed")
    idle.call("PATCH", path, {"source": SSH})
    first = idle.call("POST", f"{path}/forge-webhook", {"hub_url": idle.hub.url})["public_key"]
    assert idle.call("POST", f"{path}/forge-webhook", {"hub_url": idle.hub.url})["public_key"] == first

    moved = idle.call("PATCH", path, {"source": {"url": "git@elsewhere.example.com:team/app.git"}})
    second = idle.call("POST", f"{path}/forge-webhook", {"hub_url": idle.hub.url})["public_key"]

    assert moved["has_credentials"] is False
    assert second.startswith("ssh-ed25519 ")
    assert second != first
    assert idle.call("GET", path)["has_credentials"] is True


def test_duplicate_rule_ids_are_refused(idle: Services) -> None:
    """Duplicate ids are refused and change nothing; new rules have no id."""
    path = plain(idle, "rules", rules=[{"source": "main"}])
    [rule] = idle.call("GET", path)["rules"]

    status, answer = idle.try_call("PATCH", path, {"rules": [rule, {**rule, "source": "next"}]})

    assert (status, "duplicate rule id" in answer["detail"]) == (422, True)
    assert idle.call("GET", path)["rules"] == [rule]
    assert len(idle.call("PATCH", path, {"rules": [rule, {"source": "a"}, {"source": "b"}]})["rules"]) == 3


def test_too_long_values_are_refused(idle: Services) -> None:
    """Paths that exceed the database columns are refused by URL and by trigger, on either database."""
    path = plain(idle, "lengths", rules=[{"source": "/.*/"}])
    trigger = idle.call("GET", f"{path}/trigger")["path"]
    long = {"source": {"url": f"https://git.example.com/{'x' * 256}.git", "default_branch": "main"}}

    created, why = idle.try_call("POST", "/api/v1/repositories/alice/too-long/build-configuration", long)
    changed, _ = idle.try_call("PATCH", path, long)
    called, problem = idle.try_call("POST", trigger, {"source_name": "x" * 251}, user="")
    fits, _ = idle.try_call("POST", trigger, {"source_name": "x" * 250}, user="")

    assert (created, changed, called, fits) == (422, 422, 422, 202)
    assert "256 characters" in why["detail"]
    assert [error["field"] for error in problem["errors"]] == ["source_name"]


def test_a_build_can_be_started_without_a_body(idle: Services) -> None:
    """An empty request builds every rule."""
    plain(idle, "bodiless", rules=[{"source": "main"}])

    started = idle.call("POST", "/api/v1/repositories/alice/bodiless/builds")

    assert [build["ref"]["name"] for build in started["items"]] == ["main"]


def test_the_page_filters_builds(idle: Services) -> None:
    """By status and branch; invalid filters are ignored."""
    plain(idle, "narrowed", rules=[{"source": "/.*/"}])
    builds = "/api/v1/repositories/alice/narrowed/builds"
    for branch in ("main", "next"):
        idle.call("POST", builds, {"source_name": branch})
    idle.call("POST", f"{builds}/1/cancel")
    page = Raw(idle.hub.url)

    def shown(query: str) -> list[bool]:
        text = page.get(f"/alice/narrowed/-/builds{query}").text
        return [f'/alice/narrowed/-/builds/{number}"' in text for number in (1, 2)]

    assert shown("") == shown("?status=strange") == [True, True]
    assert shown("?status=cancelled") == shown("?source_name=main") == [True, False]
    assert shown("?status=queued&source_name=") == [False, True]
    assert shown("?status=queued&source_name=main") == [False, False]
    assert "No builds match" in page.get("/alice/narrowed/-/builds?source_name=%3Cnone%3E").text


def test_an_invalid_configuration_creates_no_repository(idle: Services) -> None:
    """Neither an invalid source nor an invalid rule leaves an empty repository behind."""
    good = {"url": "https://git.example.com/team/app.git"}

    for body in ({"source": {"url": "nonsense"}}, {"source": good, "rules": [{"source": "/(/"}]}):
        status, _ = idle.try_call("POST", "/api/v1/repositories/alice/refused/build-configuration", body)
        assert status == 422
        assert idle.try_call("GET", "/api/v1/repositories/alice/refused")[0] == 404


def test_secrets_that_another_key_sealed(start_services: Callable[..., Services]) -> None:
    """Of an older version, in which each server had its own key: errors say what to do, and builds fail at once."""
    services = start_services(BY_HAND)
    path = services.configure("sealed", services.source("sealed"), secrets={"TOKEN": "hush"})
    where = f"{path}/build-configuration/trigger"
    trigger = services.call("GET", where)["path"]

    def seal(table: str, column: str) -> None:
        with closing(sqlite3.connect(services.hub.data / "hythe.db", timeout=30)) as connection, connection:
            connection.execute(f"UPDATE {table} SET {column} = 'c2VhbGVkIGJ5IGFub3RoZXIga2V5'")

    seal("build_secrets", "sealed")
    [number] = services.call("POST", trigger, {}, user="")["builds"]
    assert HandWorker(services.hub.url).claim() is None
    build = services.call("GET", f"{path}/builds/{number}")
    assert build["status"] == "failed"
    assert build["reason"].startswith("a stored secret was sealed with another key than this hub's: enter it again")

    seal("build_configurations", "trigger_token")
    status, problem = services.try_call("GET", where)
    assert (status, problem["detail"]) == (409, "a stored secret was sealed with another key than this hub's")
    assert services.try_call("POST", trigger, {}, user="")[0] == 409
    assert services.call("POST", where)["path"] != trigger
