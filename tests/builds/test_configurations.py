"""What a set-up's source may be: whose link, how long a path, and where its credentials stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.builds.forge_house import NO_WORKER, ForgeHouse, forged
from tests.builds.services import PASSWORD, Services
from tests.parts.postgresql import PostgresqlServer
from tests.web.browser import Raw

__all__ = ["forged"]

SSH = {"url": "git@git.example.com:team/app.git"}
DOCKER_HUB = {
    "provider": "github",
    "owner": "octo",
    "repository": "app",
    "build_settings": [{"source_type": "Branch", "source_name": "main", "tag": "latest"}],
}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def quiet(request: pytest.FixtureRequest, start_services: Callable[..., Services]) -> Services:
    """A hub without workers, once on each database."""
    server: PostgresqlServer | None = request.getfixturevalue("postgresql") if request.param == "postgresql" else None
    return start_services(NO_WORKER, database_url=server.create() if server else None)


def plain(services: Services, name: str, **more: Any) -> str:
    """Set up alice/NAME from an address; returns the path of the set-up."""
    path = f"/api/v1/repositories/alice/{name}/build-configuration"
    services.call("POST", path, {"source": {"url": "https://git.example.com/team/app.git"}, **more})
    return path


def test_links_of_others_are_like_none(forged: ForgeHouse) -> None:
    """Whether there is a linked account of that number is not said, by none of the ways to name one."""
    forged.services.hub.create_user("eve", PASSWORD)
    foreign, unknown = forged.link("github")["id"], 999_999
    path = "/api/v1/repositories/eve/app/build-configuration"
    source = {"url": "https://git.example.com/team/app.git"}

    def tried(method: str, path: str, body: object) -> list[Any]:
        return [forged.services.try_call(method, path, body(link), user="eve") for link in (foreign, unknown)]  # type: ignore[operator]

    made = tried("POST", path, lambda link: {"source": {**source, "linked_account_id": link}})
    carried = tried("POST", f"{path}/docker-hub", lambda link: {**DOCKER_HUB, "linked_account_id": link})
    forged.services.call("POST", path, {"source": source}, user="eve")
    changed = tried("PATCH", path, lambda link: {"source": {**source, "linked_account_id": link}})

    for like_none in (made, carried, changed):
        assert like_none[0] == like_none[1]
        assert like_none[0][0] == 422
        assert [error["field"] for error in like_none[0][1]["errors"]] == ["linked_account_id"]
    assert forged.services.call("GET", path, user="eve")["source"]["linked_account_id"] is None


def test_a_link_that_is_there_stays(forged: ForgeHouse) -> None:
    """A change that names the present link again is taken, as scripts send back what they read."""
    path = f"{forged.connect('github', 'echoed').path}/build-configuration"

    source = forged.services.call("GET", path)["source"]

    assert forged.services.call("PATCH", path, {"source": source})["source"] == source


@pytest.mark.parametrize(
    ("url", "stay"),
    [
        ("https://git.example.com/team/other.git", True),
        ("https://elsewhere.example.com/team/app.git", False),
        ("http://git.example.com/team/app.git", False),
        ("https://git.example.com:8443/team/app.git", False),
    ],
)
def test_credentials_stay_with_their_host(quiet: Services, url: str, stay: bool) -> None:
    """Another host is not shown what the first one was; what comes along is kept."""
    path = plain(quiet, f"host-{len(url)}", credentials="user:secret")
    assert quiet.call("GET", path)["has_credentials"] is True

    moved = quiet.call("PATCH", path, {"source": {"url": url}})
    again = quiet.call("PATCH", path, {"source": {"url": "https://third.example.com/a.git"}, "credentials": "u:p"})

    assert moved["has_credentials"] is stay
    assert again["has_credentials"] is True


def test_the_page_says_that_credentials_are_forgotten(quiet: Services) -> None:
    """In words, after the source was saved."""
    plain(quiet, "said", credentials="user:secret")
    page = Raw(quiet.hub.url)
    page.sign_in("alice", PASSWORD)
    here = "/alice/said/-/build-configuration"

    page.send(here, action="source", source_url="https://git.example.com/team/other.git", credentials="")
    stayed = page.get(here).text
    page.send(here, action="source", source_url="https://elsewhere.example.com/team/other.git", credentials="")

    assert "credentials were for the other host" not in stayed
    assert "credentials were for the other host" in page.get(here).text


def test_a_key_that_was_forgotten_is_made_anew(quiet: Services) -> None:
    """The public half of a key whose private one is gone opens nothing: the webhook made again comes with another."""
    path = plain(quiet, "keyed")
    quiet.call("PATCH", path, {"source": SSH})
    first = quiet.call("POST", f"{path}/forge-webhook", {"hub_url": quiet.hub.url})["public_key"]
    assert quiet.call("POST", f"{path}/forge-webhook", {"hub_url": quiet.hub.url})["public_key"] == first

    moved = quiet.call("PATCH", path, {"source": {"url": "git@elsewhere.example.com:team/app.git"}})
    second = quiet.call("POST", f"{path}/forge-webhook", {"hub_url": quiet.hub.url})["public_key"]

    assert moved["has_credentials"] is False
    assert second.startswith("ssh-ed25519 ")
    assert second != first
    assert quiet.call("GET", path)["has_credentials"] is True


def test_a_rule_is_there_once(quiet: Services) -> None:
    """The same id twice is refused, and nothing changes; new rules have none."""
    path = plain(quiet, "rules", rules=[{"source": "main"}])
    [rule] = quiet.call("GET", path)["rules"]

    status, answer = quiet.try_call("PATCH", path, {"rules": [rule, {**rule, "source": "next"}]})

    assert (status, "is there twice" in answer["detail"]) == (422, True)
    assert quiet.call("GET", path)["rules"] == [rule]
    assert len(quiet.call("PATCH", path, {"rules": [rule, {"source": "a"}, {"source": "b"}]})["rules"]) == 3


def test_what_is_too_long_is_named(quiet: Services) -> None:
    """A path beyond what is kept, by an address or by a trigger, on either database."""
    path = plain(quiet, "lengths", rules=[{"source": "/.*/"}])
    trigger = quiet.call("GET", f"{path}/trigger")["path"]
    long = {"source": {"url": f"https://git.example.com/{'x' * 256}.git", "default_branch": "main"}}

    made, why = quiet.try_call("POST", "/api/v1/repositories/alice/too-long/build-configuration", long)
    changed, _ = quiet.try_call("PATCH", path, long)
    called, problem = quiet.try_call("POST", trigger, {"source_name": "x" * 251}, user="")
    fits, _ = quiet.try_call("POST", trigger, {"source_name": "x" * 250}, user="")

    assert (made, changed, called, fits) == (422, 422, 422, 202)
    assert "256 characters" in why["detail"]
    assert [error["field"] for error in problem["errors"]] == ["source_name"]


def test_nothing_is_sent_where_nothing_need_be(quiet: Services) -> None:
    """A build by hand without a body is that of every rule."""
    plain(quiet, "bodiless", rules=[{"source": "main"}])

    started = quiet.call("POST", "/api/v1/repositories/alice/bodiless/builds")

    assert [build["ref"]["name"] for build in started["items"]] == ["main"]


def test_the_page_shows_some_builds_alone(quiet: Services) -> None:
    """Those of a status, of a branch; without a match it says so, and bad values narrow nothing."""
    plain(quiet, "narrowed", rules=[{"source": "/.*/"}])
    builds = "/api/v1/repositories/alice/narrowed/builds"
    for branch in ("main", "next"):
        quiet.call("POST", builds, {"source_name": branch})
    quiet.call("POST", f"{builds}/1/cancel")
    page = Raw(quiet.hub.url)

    def shown(query: str) -> list[bool]:
        text = page.get(f"/alice/narrowed/-/builds{query}").text
        return [f'/alice/narrowed/-/builds/{number}"' in text for number in (1, 2)]

    assert shown("") == shown("?status=strange") == [True, True]
    assert shown("?status=cancelled") == shown("?source_name=main") == [True, False]
    assert shown("?status=queued&source_name=") == [False, True]
    assert shown("?status=queued&source_name=main") == [False, False]
    assert "No such builds" in page.get("/alice/narrowed/-/builds?source_name=%3Cnone%3E").text


def test_nothing_stays_of_a_set_up_that_is_refused(quiet: Services) -> None:
    """Neither a wrong source nor a wrong rule leaves an empty repository of the name behind."""
    good = {"url": "https://git.example.com/team/app.git"}

    for body in ({"source": {"url": "nonsense"}}, {"source": good, "rules": [{"source": "/(/"}]}):
        status, _ = quiet.try_call("POST", "/api/v1/repositories/alice/refused/build-configuration", body)
        assert status == 422
        assert quiet.try_call("GET", "/api/v1/repositories/alice/refused")[0] == 404
