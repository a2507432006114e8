"""hythe on full disks: each error names the path, what did not fit, and how to free space; nothing is half written."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.test_full_disk import fill
from tests.parts.base_images import Layout
from tests.parts.docker_registry import DockerRegistry
from tests.parts.hythe_client import HytheClient
from tests.parts.small_disk import small_disk

from hythe.client.credential_files import CredentialFiles
from hythe.client.credentials import Credential
from hythe.client.errors import DiskFull

pytestmark = pytest.mark.clients


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A disk with 128 KiB left, too little for any image."""
    with small_disk(tmp_path / "full", 1) as folder:
        (folder / "other").write_bytes(bytes(896 << 10))
        yield folder


def test_the_store_is_on_a_full_disk(
    hythe: HytheClient, full: Path, docker_registry: DockerRegistry, busybox_layout: Layout, tmp_path: Path
) -> None:
    """pull, copy and load name the store and what to remove."""
    name = f"{docker_registry.host}/box"
    hythe.ok("copy", "-q", f"oci:{busybox_layout.folder}", name)
    hythe.ok("copy", "-q", name, f"docker-archive:{tmp_path}/box.tar:box")
    hythe.env["HYTHE_STORE"] = str(full / "store")
    for arguments in (["pull", name], ["copy", name, "store:box"], ["load", f"{tmp_path}/box.tar"]):
        refused = hythe.run(*arguments)

        assert refused.returncode == 1
        assert f"error: {full}/store: No space left on device" in refused.stderr
        assert arguments[0] == "load" or " for a blob of " in refused.stderr
        assert "hint: free space: 'hythe rmi' removes images" in refused.stderr
        assert hythe.json("images") == []


def test_other_paths_on_a_full_disk(hythe: HytheClient, full: Path, busybox_layout: Layout) -> None:
    """The file to save to, the temporary folder, the containers, the output."""
    source = f"oci:{busybox_layout.folder}"
    hythe.ok("copy", "-q", source, "store:box")
    saved = hythe.run("save", "-o", full / "box.tar", "box")
    hythe.env["TMPDIR"] = str(full)
    archived = hythe.run("copy", source, f"docker-archive:{hythe.folder}/box.tar")
    hythe.env["HYTHE_STATE"] = str(full / "state")
    created = hythe.run("create", "box", "true")

    assert f"error: {full}/box.tar: No space left on device for an archive of " in saved.stderr
    assert list(full.glob("*.tar*")) == []
    assert f"error: {full}/hythe-" in archived.stderr
    assert "set TMPDIR" in archived.stderr
    assert f"error: {full}/state/layers: No space left on device for an unpacked layer" in created.stderr
    assert "hint: free space: 'hythe rm' removes containers" in created.stderr
    with Path("/dev/full").open("w") as output:
        listed = subprocess.run(
            [*hythe.command, "images"], env=hythe.env, stdout=output, stderr=subprocess.PIPE, text=True, check=False
        )
    assert listed.returncode == 1
    assert listed.stderr.startswith("error: cannot write the output: No space left on device\nhint: free space")


def test_credentials_on_a_full_disk(tmp_path: Path, full: Path) -> None:
    """The old file stays, also if it is written in place."""
    path = full / "config.json"
    path.write_text(json.dumps({"auths": {}, "padding": "x" * 5000}))
    before = path.read_text()
    fill(full / "filler")
    with pytest.raises(DiskFull, match=f"{path}: No space left on device"):
        CredentialFiles({"DOCKER_CONFIG": str(full)}).save("h", Credential("ann", "secret"))

    assert path.read_text() == before
    assert sorted(entry.name for entry in full.iterdir()) == ["config.json", "filler", "other"]
