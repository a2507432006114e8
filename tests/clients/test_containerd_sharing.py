"""containerd's own client and the token server: it POSTs the password and reads the scope from the 401."""

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from tests.parts.base_images import Layout
from tests.parts.engines import ContainersTool, Tool, clean_environment
from tests.parts.hub import HytheServer
from tests.parts.process import own_folder, program, running

pytestmark = pytest.mark.clients

PASSWORD = "correct horse"


@pytest.fixture
def ctr() -> Iterator[Tool]:
    """ctr with a separate containerd."""
    with own_folder("containerd") as folder:
        socket = folder / "containerd.sock"
        (folder / "config.toml").write_text('version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n')
        command = [program("containerd", "containerd"), "--config", folder / "config.toml", "--address", socket]
        command += ["--root", folder / "root", "--state", folder / "state"]
        tool = Tool([program("ctr", "containerd"), "--address", str(socket)], clean_environment(folder))
        with running(command, folder / "log", lambda: tool.run("version").returncode == 0):
            yield tool


def test_pull_and_push(
    ctr: Tool, hub: HytheServer, skopeo: ContainersTool, busybox_layout: Layout, tmp_path: Path
) -> None:
    """The owner pushes and pulls with a password; other users cannot push; anyone pulls public images."""
    for name in ("ann", "ben"):
        hub.create_user(name, PASSWORD)
    archive = tmp_path / "box.tar"
    image = f"{hub.host}/ann/box:v1"
    skopeo.ok("copy", busybox_layout.source(), f"oci-archive:{archive}:latest")
    ctr.ok("images", "import", "--snapshotter", "native", "--base-name", "box", archive)
    ctr.ok("images", "tag", "box:latest", image)

    ann, ben = ("--user", f"ann:{PASSWORD}"), ("--user", f"ben:{PASSWORD}")
    refused = ctr.run("images", "push", "--plain-http", *ben, image)
    ctr.ok("images", "push", "--plain-http", *ann, image)
    ctr.ok("images", "rm", "--sync", image, "box:latest")
    ctr.ok("images", "pull", "--plain-http", "--snapshotter", "native", *ann, image)
    ctr.ok("images", "rm", "--sync", image)
    ctr.ok("images", "pull", "--plain-http", "--snapshotter", "native", image)

    assert refused.returncode != 0
    assert image in ctr.ok("images", "ls", "--quiet")


def test_pull_of_a_former_name(
    ctr: Tool, hub: HytheServer, skopeo: ContainersTool, busybox_layout: Layout, tmp_path: Path
) -> None:
    """containerd pulls by the name that a repository had; a push is refused, of which ctr prints the status alone."""
    hub.create_user("ann", PASSWORD)
    archive = tmp_path / "box.tar"
    image = f"{hub.host}/ann/box:v1"
    skopeo.ok("copy", busybox_layout.source(), f"oci-archive:{archive}:latest")
    ctr.ok("images", "import", "--snapshotter", "native", "--base-name", "box", archive)
    ctr.ok("images", "tag", "box:latest", image)
    ann = ("--user", f"ann:{PASSWORD}")
    ctr.ok("images", "push", "--plain-http", *ann, image)
    ctr.ok("images", "rm", "--sync", image, "box:latest")
    address = f"{hub.url}/api/v1/repositories/ann/box/rename"
    assert httpx2.post(address, json={"name": "crate"}, auth=("ann", PASSWORD)).status_code == 200

    ctr.ok("images", "pull", "--plain-http", "--snapshotter", "native", *ann, image)
    refused = ctr.run("images", "push", "--plain-http", *ann, f"{hub.host}/ann/box:v2", image)

    assert image in ctr.ok("images", "ls", "--quiet")
    assert refused.returncode != 0
    assert "unexpected status: 403 Forbidden" in refused.stderr
