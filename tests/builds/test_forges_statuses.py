"""Commit statuses: the hub reports the state of builds to the forges, also after a forge was unavailable."""

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
STATES = {
    "github": ("pending", "error", "target_url"),
    "gitea": ("pending", "error", "target_url"),
    "gitlab": ("pending", "canceled", "target_url"),
    "bitbucket": ("INPROGRESS", "STOPPED", "url"),
}


@pytest.mark.parametrize("kind", list(KINDS))
def test_queued_and_cancelled_builds_are_reported(forge_hub: ForgeHub, kind: str) -> None:
    """The status has a link to the page of the build; its context is the name of the image."""
    connected = forge_hub.connect(kind, f"reported-{kind}")
    queued, cancelled, link = STATES[kind]
    commit = connected.project.git.head("main")
    connected.forge.push(connected.project, MAIN, commit)
    eventually(lambda: connected.project.statuses)

    forge_hub.call("POST", f"{connected.path}/builds/1/cancel")
    eventually(lambda: len(connected.project.statuses) == 2)

    first, second = connected.project.statuses
    assert (first["state"], second["state"]) == (queued, cancelled)
    assert first["commit"] == second["commit"] == commit
    assert first["context"] == f"hythe/alice/reported-{kind}:latest"
    assert first[link] == f"{forge_hub.services.hub.url}/alice/reported-{kind}/-/builds/1"
    assert second["description"] == "cancelled by alice"


def test_minimal_scopes_suffice_for_public_code(forge_hub: ForgeHub) -> None:
    """The requested scopes of GitHub allow webhooks and commit statuses, but no access to code."""
    offer = next(each for each in forge_hub.call("GET", "/api/v1/forges")["items"] if each["kind"] == "github")
    connected = forge_hub.connect("github", "minimal-scopes", scopes=tuple(offer["public_scopes"]))

    connected.forge.push(connected.project, MAIN, connected.project.git.head("main"))
    eventually(lambda: connected.project.statuses)
    assert connected.webhook["installed"]
    assert connected.webhook["problem"] == ""
    forge_hub.call("DELETE", f"{connected.path}/build-configuration")

    eventually(lambda: not connected.project.webhooks)
    assert not {"repo", "public_repo"} & set(offer["public_scopes"])


def test_deactivation_leaves_no_pending_status(forge_hub: ForgeHub) -> None:
    """Queued builds are cancelled, and the forge is notified; a retry is refused."""
    connected = forge_hub.connect("github", "deactivated")
    connected.forge.push(connected.project, MAIN, connected.project.git.head("main"))
    eventually(lambda: connected.project.statuses)

    forge_hub.call("PATCH", f"{connected.path}/build-configuration", {"active": False})

    eventually(lambda: len(connected.project.statuses) == 2)
    assert [status["state"] for status in connected.project.statuses] == ["pending", "error"]
    assert forge_hub.try_call("POST", f"{connected.path}/builds/1/retry")[0] == 409


@pytest.mark.parametrize("by", ["api", "page"])
def test_deletion_leaves_no_pending_status(forge_hub: ForgeHub, by: str) -> None:
    """The cancellation is reported before the configuration, its builds and its webhook are deleted."""
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


def test_deletion_cancels_running_builds(start_services: Callable[..., Services]) -> None:
    """The cancellation is reported to the forge, and the worker loses its lease."""
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


def test_an_unavailable_forge_gets_the_status_later(forge_hub: ForgeHub) -> None:
    """The status is sent again; the push does not wait for it."""
    connected = forge_hub.connect("github", "unavailable")
    connected.forge.fail_next += [503]

    [sent] = connected.forge.push(connected.project, MAIN, connected.project.git.head("main"))
    eventually(lambda: connected.project.statuses, seconds=30)

    assert sent.status == 202
    assert [status["state"] for status in connected.project.statuses] == ["pending"]


def test_no_status_without_an_installed_webhook(forge_hub: ForgeHub) -> None:
    """Statuses use the linked account that installed the webhook, not the one in the source."""
    account = forge_hub.link("gitea")
    git = forge_hub.services.git.create("src/silent")
    head = git.commit({"Dockerfile": "FROM scratch\n"})
    project = forge_hub.forges["gitea"].add(git)
    source = {"url": git.url, "forge": "gitea", "forge_repository": project.name, "linked_account_id": account["id"]}
    path = "/api/v1/repositories/alice/silent"
    forge_hub.call("POST", f"{path}/build-configuration", {"source": source})
    other = forge_hub.connect("gitea", "with-webhook")

    start = {"source_name": "main", "commit": head}
    forge_hub.call("POST", f"{path}/builds", start)
    other.forge.push(other.project, MAIN, other.project.git.head("main"))
    eventually(lambda: other.project.statuses)

    assert project.statuses == []
