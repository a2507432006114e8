"""What a command of a build sees of the host's files: nothing, whatever an earlier command of the build left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hythe.worker.isolation.sandbox import Sandbox
from hythe.worker.isolation.selection import TRIAL, choose_isolation

pytestmark = pytest.mark.clients


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox whose commands run one after the other, as hooks and builders do."""
    folder = tmp_path_factory.mktemp("worker")
    made = choose_isolation(folder, 1_500_000_000, weaker=False).sandbox("view", 7, TRIAL, folder / "view.img")
    yield made
    made.close(keep=False)


def run(sandbox: Sandbox, script: str) -> list[str]:
    """Run a shell script; return its output."""
    lines: list[str] = []
    result = sandbox.run(["sh", "-c", script], lines.append)
    assert result.code == 0, lines
    return lines


@pytest.mark.parametrize("folder", ["/etc", "/proc", "/tmp", "/run", "/var/lib"])
def test_a_link_instead_of_its_folder_leads_nowhere(sandbox: Sandbox, folder: str) -> None:
    """A command that replaces its folder for temporary files gives the next one no folder of the host."""
    run(sandbox, f"rm -rf /work/tmp; ln -s {folder} /work/tmp")

    found = run(sandbox, "stat -L -c %d:%i /tmp /var/tmp; readlink /work/tmp; rm /work/tmp")

    there = Path(folder).stat()
    assert found.pop() == folder
    assert f"{there.st_dev}:{there.st_ino}" not in found


def test_a_link_instead_of_its_settings_leads_nowhere(sandbox: Sandbox) -> None:
    """The settings that the builder reads are copied from no file of the host."""
    assert Path("/etc/hostname").is_file()
    run(sandbox, "ln -s /etc/hostname /work/home/registries.conf")

    assert run(sandbox, "ls /etc/containers; rm /work/home/registries.conf") == ["policy.json"]
