"""Import of Docker Hub's build settings with the documented command."""

from __future__ import annotations

import re
from pathlib import Path

from tests.builds.forge_hub import ForgeHub, forge_hub
from tests.builds.services import PASSWORD
from tests.parts.hythe_client import HytheClient
from tests.parts.process import ROOT

__all__ = ["forge_hub"]


def test_the_documented_file_becomes_a_build_configuration(
    forge_hub: ForgeHub, hythe: HytheClient, tmp_path: Path
) -> None:
    """`hythe builds configure --from` accepts the file of docs/trusted-builds.md."""
    page = (ROOT / "docs/trusted-builds.md").read_text()
    [example] = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    file = tmp_path / "docker-hub.json"
    file.write_text(example)
    host = forge_hub.services.hub.host
    hythe.login(host, "alice", PASSWORD)

    hythe.ok("builds", "configure", f"{host}/alice/imported", "--from", file)

    configuration = forge_hub.call("GET", "/api/v1/repositories/alice/imported/build-configuration")
    assert configuration["source"]["url"] == "https://github.com/nmstate/nmstate.git"
    assert [(rule["source"], rule["tags"]) for rule in configuration["rules"]] == [
        ("base", "latest"),
        ("/^v[0-9.]+$/", "{sourceref}"),
    ]
    assert configuration["options"]["base_link"] is True


def test_the_command_prints_what_to_paste(forge_hub: ForgeHub, hythe: HytheClient) -> None:
    """Without a linked account, `hythe builds webhook` prints the URL and the secret, each time the same."""
    git = forge_hub.services.git.create("src/pasted-by-command")
    git.commit({"Dockerfile": "FROM scratch\n"})
    forge_hub.services.configure("by-command", git)
    name = f"{forge_hub.services.hub.host}/alice/by-command"
    hythe.login(forge_hub.services.hub.host, "alice", PASSWORD)

    output = hythe.ok("builds", "webhook", name)
    webhook = hythe.json("builds", "webhook", name)

    assert webhook["url"].startswith(f"{forge_hub.services.hub.url}/hooks/")
    assert webhook["url"] in output
    assert webhook["secret"] in output
