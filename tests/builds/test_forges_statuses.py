"""Commit statuses: the forge learns how a commit's build stands, in its own words, also when it was away."""

from __future__ import annotations

import urllib.error
from collections.abc import Callable

import pytest
from tests.builds.forge_hub import ForgeHub, eventually, forge_hub
from tests.builds.hand_worker import BY_HAND, HandWorker
from tests.builds.services import PASSWORD, Services
from tests.parts.forges import KINDS, running_forge
from tests.web.browser import Raw

__all__ = ["forge_hub"]

MAIN = "refs/heads/main"
WORDS = {
    "github": ("pending", "error", "target_url"),
    "gitea": ("pending", "error", "target_url"),
    "gitlab": ("pending", "canceled", "target_url"),
    "bitbucket": ("INPROGRESS", "STOPPED", "url"),
}


@pytest.mark.parametrize("kind", list(KINDS))
def test_waiting_and_cancelled_builds_are_told(forge_hub: ForgeHub, kind: str) -> None:
    """With a link to the build's page and a context of the image's name."""
    connected = forge_hub.connect(kind, f"told-{kind}")
    waiting, cancelled, link = WORDS[kind]
    commit = connected.project.git.head("main")
    connected.forge.push(connected.project, MAIN, commit)
    eventually(lambda: connected.project.statuses)

    forge_hub.call("POST", f"{connected.path}/builds/1/cancel")
    eventually(lambda: len(connected.project.statuses) == 2)

    first, second = connected.project.statuses
    assert (first["state"], second["state"]) == (waiting, cancelled)
    assert first["commit"] == second["commit"] == commit
    assert first["context"] == f"hythe/alice/told-{kind}:latest"
    assert first[link] == f"{forge_hub.services.hub.url}/alice/told-{kind}/-/builds/1"
    assert second["description"] == "cancelled by alice"


def test_the_least_rights_do_for_public_code(forge_hub: ForgeHub) -> None:
    """What GitHub is asked for installs the webhook, tells statuses and removes the webhook; none of it writes code."""
    offer = next(each for each in forge_hub.call("GET", "/api/v1/forges")["items"] if each["kind"] == "github")
    connected = forge_hub.connect("github", "least-rights", scopes=tuple(offer["public_scopes"]))

    connected.forge.push(connected.project, MAIN, connected.project.git.head("main"))
    eventually(lambda: connected.project.statuses)
    assert connected.webhook["installed"]
    assert connected.webhook["problem"] == ""
    forge_hub.call("DELETE", f"{connected.path}/build-configuration")

    eventually(lambda: not connected.project.webhooks)
    assert not {"repo", "public_repo"} & set(offer["public_scopes"])


def test_switching_off_leaves_no_commit_waiting(forge_hub: ForgeHub) -> None:
    """What waited is cancelled, and the forge learns of it; a retry is refused then."""
    connected = forge_hub.connect("github", "switched-off")
    connected.forge.push(connected.project, MAIN, connected.project.git.head("main"))
    eventually(lambda: connected.project.statuses)

    forge_hub.call("PATCH", f"{connected.path}/build-configuration", {"active": False})

    eventually(lambda: len(connected.project.statuses) == 2)
    assert [status["state"] for status in connected.project.statuses] == ["pending", "error"]
    assert forge_hub.try_call("POST", f"{connected.path}/builds/1/retry")[0] == 409


@pytest.mark.parametrize("by", ["api", "page"])
def test_deleting_leaves_no_commit_waiting(forge_hub: ForgeHub, by: str) -> None:
    """The forge hears that what waited is cancelled, before the set-up goes with its builds and webhook."""
    connected = forge_hub.connect("github", f"deleted-by-{by}")
    connected.forge.push(connected.project, MAIN, connected.project.git.head("main"))
    eventually(lambda: connected.project.statuses)

    if by == "api":
        forge_hub.call("DELETE", f"{connected.path}/build-configuration")
    else:
        page = Raw(forge_hub.services.hub.url)
        page.sign_in("alice", PASSWORD)
        assert "webhook of" in page.send(f"/alice/deleted-by-{by}/-/build-configuration/delete").text

    eventually(lambda: not connected.project.webhooks)
    assert [status["state"] for status in connected.project.statuses] == ["pending", "error"]
    assert forge_hub.try_call("GET", f"{connected.path}/build-configuration")[0] == 404


def test_deleting_ends_what_runs(start_services: Callable[..., Services]) -> None:
    """Its commit is told as cancelled, too, and its worker finds its lease lost."""
    with running_forge("gitea") as forge:
        services = start_services({**BY_HAND, "HYTHE_FORGES": forge.setting})
        connected = ForgeHub(services, {"gitea": forge}).connect("gitea", "stopped")
        forge.push(connected.project, MAIN, connected.project.git.head("main"))
        eventually(lambda: connected.project.statuses)
        worker = HandWorker(services.hub.url)
        job = worker.claim(wait=10)
        assert job is not None
        eventually(lambda: len(connected.project.statuses) == 2)

        services.call("DELETE", f"{connected.path}/build-configuration")

        assert connected.project.statuses[-1]["state"] == "error"
        with pytest.raises(urllib.error.HTTPError) as lost:
            worker.finish(job)
        assert lost.value.code == 409


def test_a_forge_that_is_away_is_told_later(forge_hub: ForgeHub) -> None:
    """The status is sent again; nothing waits for it."""
    connected = forge_hub.connect("github", "away")
    connected.forge.fail_next += [503]

    [sent] = connected.forge.push(connected.project, MAIN, connected.project.git.head("main"))
    eventually(lambda: connected.project.statuses, seconds=30)

    assert sent.status == 202
    assert [status["state"] for status in connected.project.statuses] == ["pending"]


def test_no_status_without_a_link(forge_hub: ForgeHub) -> None:
    """Somebody else's link in a set-up tells nobody anything: only the link that installed the webhook is used."""
    link = forge_hub.link("gitea")
    git = forge_hub.services.git.create("src/silent")
    head = git.commit({"Dockerfile": "FROM scratch\n"})
    project = forge_hub.forges["gitea"].add(git)
    source = {"url": git.url, "forge": "gitea", "forge_repository": project.name, "linked_account_id": link["id"]}
    path = "/api/v1/repositories/alice/silent"
    forge_hub.call("POST", f"{path}/build-configuration", {"source": source})
    told = forge_hub.connect("gitea", "told-after")

    start = {"source_name": "main", "commit": head}
    forge_hub.call("POST", f"{path}/builds", start)
    told.forge.push(told.project, MAIN, told.project.git.head("main"))
    eventually(lambda: told.project.statuses)

    assert project.statuses == []
