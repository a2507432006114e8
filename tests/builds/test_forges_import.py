"""Docker Hub's build settings, carried over by the command as the documentation shows it."""

from __future__ import annotations

import re
from pathlib import Path

from tests.builds.forge_house import ForgeHouse, forged
from tests.builds.services import PASSWORD
from tests.parts.hythe_client import HytheClient
from tests.parts.process import ROOT

__all__ = ["forged"]


def test_the_documented_file_becomes_a_set_up(forged: ForgeHouse, hythe: HytheClient, tmp_path: Path) -> None:
    """`hythe builds configure --from` takes the file of docs/trusted-builds.md."""
    page = (ROOT / "docs/trusted-builds.md").read_text()
    [example] = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    file = tmp_path / "docker-hub.json"
    file.write_text(example)
    host = forged.services.hub.host
    hythe.login(host, "alice", PASSWORD)

    hythe.ok("builds", "configure", f"{host}/alice/moved", "--from", file)

    configuration = forged.services.call("GET", "/api/v1/repositories/alice/moved/build-configuration")
    assert configuration["source"]["url"] == "https://github.com/nmstate/nmstate.git"
    assert [(rule["source"], rule["tags"]) for rule in configuration["rules"]] == [
        ("base", "latest"),
        ("/^v[0-9.]+$/", "{sourceref}"),
    ]
    assert configuration["options"]["base_link"] is True


def test_the_command_prints_what_to_paste(forged: ForgeHouse, hythe: HytheClient) -> None:
    """Without a linked account `hythe builds webhook` says address and secret, and the same ones again."""
    git = forged.services.git.create("src/pasted-by-command")
    git.commit({"Dockerfile": "FROM scratch\n"})
    forged.services.configure("by-command", git)
    name = f"{forged.services.hub.host}/alice/by-command"
    hythe.login(forged.services.hub.host, "alice", PASSWORD)

    said = hythe.ok("builds", "webhook", name)
    hook = hythe.json("builds", "webhook", name)

    assert hook["url"].startswith(f"{forged.services.hub.url}/hooks/")
    assert hook["url"] in said
    assert hook["secret"] in said
