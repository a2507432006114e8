"""`hythe registry import`: images stored by Debian's docker-registry can be pulled from hythe, byte for byte."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.parts.base_images import Layout
from tests.parts.docker_registry import DockerRegistry
from tests.parts.engines import ContainersTool
from tests.parts.hub import HYTHE, HytheServer

pytestmark = pytest.mark.clients


def import_folder(source: Path, data: Path) -> "subprocess.CompletedProcess[str]":
    command = [HYTHE, "registry", "import", source, "--data", data]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def full_registry(
    docker_registry: DockerRegistry, skopeo: ContainersTool, busybox_layout: Layout, multi_platform_layout: Layout
) -> DockerRegistry:
    """A docker-registry with a single-platform image under two tags, and an index for two platforms."""
    for layout, names in ((busybox_layout, ("one", "team/one:second")), (multi_platform_layout, ("team/multi",))):
        for name in names:
            source, target = f"oci:{layout.folder}:latest", f"docker://{docker_registry.host}/{name}"
            skopeo.ok("copy", "--all", "--dest-tls-verify=false", source, target)
    return docker_registry


def test_everything_is_imported(
    full_registry: DockerRegistry,
    start_private_registry: Callable[..., HytheServer],
    skopeo: ContainersTool,
    tmp_path: Path,
) -> None:
    """Repositories, tags, indexes with children, and layers; a second import changes nothing."""
    first = import_folder(full_registry.data, tmp_path / "data")
    second = import_folder(full_registry.data, tmp_path / "data")
    hythe = start_private_registry(data=tmp_path / "data")

    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    for name in ("one:latest", "team/one:second", "team/multi:latest"):
        for host in (full_registry.host, hythe.host):
            folder = tmp_path / host / name.replace("/", "-")
            folder.parent.mkdir(exist_ok=True)
            skopeo.ok("copy", "--all", "--src-tls-verify=false", f"docker://{host}/{name}", f"dir:{folder}")
        theirs, ours = (tmp_path / host / name.replace("/", "-") for host in (full_registry.host, hythe.host))
        files = sorted(path.name for path in theirs.iterdir())
        assert files == sorted(path.name for path in ours.iterdir())
        assert all((theirs / file).read_bytes() == (ours / file).read_bytes() for file in files)


def test_damaged_content_is_reported_and_skipped(full_registry: DockerRegistry, tmp_path: Path) -> None:
    """A damaged layer only affects the images that need it, which are listed."""
    layers = sorted(full_registry.data.rglob("blobs/sha256/*/*/data"), key=lambda path: path.stat().st_size)
    content = bytearray(layers[-1].read_bytes())
    content[100] ^= 255
    layers[-1].write_bytes(content)

    done = import_folder(full_registry.data, tmp_path / "data")

    assert done.returncode == 1
    assert f"the content of its blob sha256:{layers[-1].parent.name} does not match the digest" in done.stdout
    assert "manifests were not imported" in done.stderr


def test_empty_links_are_skipped(full_registry: DockerRegistry, tmp_path: Path) -> None:
    """A manifest with an empty link (after a power cut) is imported anyway; a tag with one is reported and skipped."""
    repositories = full_registry.data / "docker/registry/v2/repositories"
    for link in (repositories / "one/_manifests").rglob("link"):
        link.write_text("")

    done = import_folder(full_registry.data, tmp_path / "data")

    assert done.returncode == 1
    assert "one latest not imported: the tag refers to no manifest" in done.stdout.splitlines()
    assert re.search(r"^one@sha256:[0-9a-f]{64}$", done.stdout, re.MULTILINE)
    assert re.search(r"^team/multi@sha256:[0-9a-f]{64} latest$", done.stdout, re.MULTILINE)


def test_another_folder_is_refused(tmp_path: Path) -> None:
    """A folder that is not docker-registry's is refused."""
    done = import_folder(tmp_path, tmp_path / "data")

    assert done.returncode == 2
    assert "docker/registry/v2/repositories" in done.stderr
