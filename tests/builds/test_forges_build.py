"""From a push at a forge to `docker run`: linked account, webhook as the forge sends it, real git, buildah, docker."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from tests.builds.services import Services
from tests.parts.engines import Docker
from tests.parts.forges import KINDS, running_forge
from tests.parts.ssh_server import SSHServer

pytestmark = pytest.mark.clients

SUCCESS = {"github": "success", "gitea": "success", "gitlab": "success", "bitbucket": "SUCCESSFUL"}


@pytest.fixture(scope="module")
def forges() -> Iterator[dict[str, Any]]:
    """A fake forge of each kind."""
    with ExitStack() as stack:
        yield {kind: stack.enter_context(running_forge(kind)) for kind in KINDS}


@pytest.fixture(scope="module")
def services(start_services: Callable[..., Services], forges: dict[str, Any]) -> Services:
    """A hub that these forges are configured in."""
    return start_services({"HYTHE_FORGES": " ".join(forge.setting for forge in forges.values())})


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_push_at_a_forge_becomes_an_image(
    services: Services, forges: dict[str, Any], kind: str, docker: Docker
) -> None:
    """Link, select, configure, push: the image runs, and the forge gets the status of the commit."""
    forge = forges[kind]
    source = services.source(f"from-{kind}")
    project = forge.add(source)
    account = services.call("POST", "/api/v1/linked-accounts", {"url": forge.url, "token": forge.token()})
    [repository] = services.call("GET", f"/api/v1/linked-accounts/{account['id']}/repositories?q=from-{kind}")["items"]
    path = f"/api/v1/repositories/alice/from-{kind}"
    source_body = {
        "url": repository["clone_url"],
        "forge": kind,
        "forge_repository": repository["name"],
        "linked_account_id": account["id"],
    }
    services.call("POST", f"{path}/build-configuration", {"source": source_body})
    webhook = services.call("POST", f"{path}/build-configuration/forge-webhook", {"hub_url": services.hub.url})

    commit = source.commit({"new": "file"}, "Second")
    [sent] = forge.push(project, "refs/heads/main", commit)
    build = services.built(path, 1)

    assert webhook["installed"], webhook
    assert (sent.status, sent.reply["outcome"]) == (202, "accepted")
    assert build["ref"]["commit"] == commit
    assert (build["cause"], build["started_by"]) == ("push", "octo")
    assert (
        docker.ok("run", "--rm", "--network", "none", f"{services.hub.host}/alice/from-{kind}") == "hello from a step"
    )
    assert last_status(project, SUCCESS[kind])["commit"] == commit
    assert forge.violations == []


def test_private_code_is_cloned_with_its_deploy_key(
    services: Services, forges: dict[str, Any], ssh_server: SSHServer
) -> None:
    """With the deploy key of the forge, a build clones the source over real SSH; without it, the build fails."""
    forge = forges["gitea"]
    source = services.source("closed-source", None, private=("nobody", "knows"))
    project = forge.add(source, private=True)
    project.ssh = ssh_server.url(source.bare)
    account = services.call("POST", "/api/v1/linked-accounts", {"url": forge.url, "token": forge.token()})
    path = "/api/v1/repositories/alice/closed-source"
    source_body = {
        "url": source.url,
        "forge": "gitea",
        "forge_repository": project.name,
        "linked_account_id": account["id"],
    }
    services.call("POST", f"{path}/build-configuration", {"source": source_body})
    services.call("POST", f"{path}/build-configuration/forge-webhook", {"hub_url": services.hub.url})
    forge.push(project, "refs/heads/main", source.head("main"))
    refused = services.wait(path, 1)

    ssh_server.authorize(key["key"] for key in project.deploy_keys.values())
    forge.push(project, "refs/heads/main", source.commit({"new": "file"}, "Second"))
    build = services.built(path, 2)

    assert refused["status"] == "failed"
    assert "PRIVATE KEY" not in build["log"]
    assert build["ref"]["commit"] == source.head("main")


def last_status(project: Any, state: str) -> dict[str, Any]:
    """Wait until the last status of a project is `state`; return it."""
    end = time.monotonic() + 10
    while not project.statuses or project.statuses[-1]["state"] != state:
        assert time.monotonic() < end, project.statuses
        time.sleep(0.1)
    return dict(project.statuses[-1])
