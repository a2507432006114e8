"""The commands ``hythe builds`` and ``hythe worker``."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from tests.builds.forge_hub import ForgeHub, forge_hub
from tests.builds.services import PASSWORD
from tests.parts.hub import HYTHE
from tests.parts.hythe_client import HytheClient

__all__ = ["forge_hub"]


@pytest.fixture
def name(forge_hub: ForgeHub, hythe: HytheClient) -> str:
    """The namespace of alice on the hub, with alice logged in."""
    hythe.login(forge_hub.services.hub.host, "alice", PASSWORD)
    return f"{forge_hub.services.hub.host}/alice"


def test_a_repository_of_a_linked_account(forge_hub: ForgeHub, hythe: HytheClient, name: str) -> None:
    """OWNER/NAME of the forge selects the repository: its default branch is built, and the webhook is installed."""
    forge = forge_hub.forges["github"]
    git = forge_hub.services.git.create("src/from-the-shell")
    git.commit({"Dockerfile": "FROM scratch\n"}, "First")
    project = forge.add(git)
    link = forge_hub.link("github")

    listed = hythe.ok("builds", "accounts", forge_hub.services.hub.host)
    said = hythe.ok("builds", "configure", f"{name}/linked", "--account", link["login"], "--source", project.name)

    assert link["login"] in listed
    assert f"The webhook of {project.name} is installed." in said
    assert len(project.webhooks) == 1
    configuration = forge_hub.call("GET", "/api/v1/repositories/alice/linked/build-configuration")
    assert configuration["source"]["forge_repository"] == project.name
    assert [rule["source"] for rule in configuration["rules"]] == ["main"]


def test_a_token_from_stdin_instead_of_a_login(forge_hub: ForgeHub, hythe: HytheClient) -> None:
    """Scripts need no login: the token decides what they may do, and an error says what is wrong with it."""
    host = forge_hub.services.hub.host
    git = forge_hub.services.git.create("src/by-token")
    git.commit({"Dockerfile": "FROM scratch\n"}, "First")
    link = forge_hub.link("github")
    rights = {"pulls": ["repo:read"], "all": ["account", "repo:read", "repo:write", "repo:admin", "builds"]}
    tokens = {
        name: forge_hub.call("POST", "/api/v1/tokens", {"name": name, "rights": given})["token"]
        for name, given in rights.items()
    }
    configure = ("builds", "configure", f"{host}/alice/by-token", "--source", git.url, "--token-stdin")

    refused = hythe.run(*configure, stdin=tokens["pulls"])
    wrong = hythe.run("builds", "accounts", host, "--token-stdin", stdin="hythe_p0\n")
    missing = hythe.run("builds", "accounts", host, "--token-stdin", stdin="")
    hythe.ok(*configure, stdin=tokens["all"])
    listed = hythe.ok("builds", "accounts", host, "--token-stdin", stdin=tokens["all"])
    anonymous = hythe.run("builds", "accounts", host)

    assert refused.returncode == 4
    assert "hint: use a token with the right" in refused.stderr
    assert wrong.returncode == 4
    assert "error: this token is invalid or expired" in wrong.stderr
    assert missing.returncode == 2
    assert "error: stdin has no token" in missing.stderr
    assert link["login"] in listed
    assert anonymous.returncode == 4
    assert f"hint: log in: hythe login {host}" in anonymous.stderr


def test_a_robot_starts_builds(forge_hub: ForgeHub, hythe: HytheClient) -> None:
    """The login of a robot with the right ``builds``, as of a CI job, can start builds and read them."""
    git = forge_hub.services.git.create("src/by-robot")
    git.commit({"Dockerfile": "FROM scratch\n"}, "First")
    forge_hub.services.configure("by-robot", git, {"source": "main"})
    robot = {"name": "ci", "rights": ["repo:read", "builds"]}
    secret = forge_hub.call("POST", "/api/v1/namespaces/alice/robots", robot)["token"]
    host = forge_hub.services.hub.host
    hythe.login(host, "alice+ci", secret)

    assert hythe.ok("builds", "start", f"{host}/alice/by-robot", "--branch", "main") == "1"
    assert [build["started_by"] for build in hythe.json("builds", "list", f"{host}/alice/by-robot")] == ["alice+ci"]


def test_unknown_linked_accounts_and_repositories(forge_hub: ForgeHub, hythe: HytheClient, name: str) -> None:
    """The error names the account that is not linked, or the repository that it cannot read."""
    link = forge_hub.link("github")

    for account, code, what in (
        ("nobody", 1, "no linked account is named nobody"),
        (link["login"], 3, "cannot access the repository"),
    ):
        done = hythe.run("builds", "configure", f"{name}/unlinked", "--account", account, "--source", "src/none")
        assert done.returncode == code
        assert what in done.stderr


def test_the_default_branch_is_read_from_the_source(forge_hub: ForgeHub, hythe: HytheClient, name: str) -> None:
    """Without a branch, the source's default branch is used, also by rules without a source."""
    git = forge_hub.services.git.create("src/trunked")
    git.commit({"Dockerfile": "FROM scratch\n"}, "First", branch="trunk")
    git.git("--git-dir", str(git.bare), "symbolic-ref", "HEAD", "refs/heads/trunk")

    hythe.ok("builds", "configure", f"{name}/trunked", "--source", git.url, "--tags", "edge")

    configuration = forge_hub.call("GET", "/api/v1/repositories/alice/trunked/build-configuration")
    assert configuration["source"]["default_branch"] == "trunk"
    assert [(rule["source"], rule["tags"]) for rule in configuration["rules"]] == [("trunk", "edge")]


def test_disabling_and_enabling_builds(forge_hub: ForgeHub, hythe: HytheClient, name: str) -> None:
    """``deactivate`` keeps the builds and starts no more; ``activate`` enables them; ``list`` filters."""
    git = forge_hub.services.git.create("src/switched")
    git.commit({"Dockerfile": "FROM scratch\n"}, "First")
    repository = f"{name}/switched"
    hythe.ok("builds", "configure", repository, "--source", git.url)
    hythe.ok("builds", "start", repository)

    hythe.ok("builds", "deactivate", repository)
    refused = hythe.run("builds", "start", repository)
    hythe.ok("builds", "activate", repository)
    hythe.ok("builds", "start", repository)

    assert "disabled" in refused.stderr
    assert [build["number"] for build in hythe.json("builds", "list", repository)] == [2, 1]
    assert [build["number"] for build in hythe.json("builds", "list", repository, "--status", "cancelled")] == [1]
    assert len(hythe.json("builds", "list", repository, "--limit", "1")) == 1
    assert [build["number"] for build in hythe.json("builds", "list", repository, "--limit", "0")] == [2, 1]


def test_a_worker_accepts_its_token_by_either_flag(forge_hub: ForgeHub, tmp_path: Path) -> None:
    """``--token`` is short for ``--worker-token``."""
    words = [
        "worker",
        "--url",
        forge_hub.services.hub.url,
        "--token",
        "secret",
        "--builds-folder",
        str(tmp_path),
        "--check",
    ]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HYTHE_")}

    done = subprocess.run([HYTHE, *words], capture_output=True, text=True, env=environment, timeout=60, check=False)

    assert done.returncode == 0, done.stderr
    assert "isolation: " in done.stderr
