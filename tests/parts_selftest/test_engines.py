"""Each engine runs a container from a busybox image, without the host's storage and credentials."""

from pathlib import Path

import pytest
from tests.parts.base_images import Layout
from tests.parts.engines import ContainersTool, Docker

pytestmark = pytest.mark.clients


def test_docker_runs_and_commits(docker: Docker, busybox_tar: Path) -> None:
    """A committed container runs with the file that it created."""
    docker.import_image(busybox_tar, "base")
    docker.ok("run", "--name", "work", "--network", "none", "base", "sh", "-c", "echo hello > /greeting")
    docker.ok("commit", "work", "greeter")

    assert docker.ok("run", "--network", "none", "greeter", "cat", "/greeting") == "hello"


def test_docker_starts_without_images(docker: Docker) -> None:
    """Images of other tests have been removed from the daemon."""
    assert docker.ok("images", "--quiet") == ""


def test_podman_runs(podman: ContainersTool, busybox_tar: Path) -> None:
    """The detected runtime runs a container."""
    podman.ok("import", busybox_tar, "localhost/base")

    assert podman.ok("run", "--network", "none", "localhost/base", "echo", "hello") == "hello"


def test_buildah_builds(buildah: ContainersTool, busybox_layout: Layout, tmp_path: Path) -> None:
    """A Dockerfile with a RUN instruction builds on a local base image."""
    (tmp_path / "Dockerfile").write_text(f"FROM {busybox_layout.source()}\nRUN echo hello > /greeting\n")

    buildah.ok("build", "--tag", "localhost/greeter", tmp_path)

    assert "localhost/greeter" in buildah.ok("images")


def test_skopeo_lists_both_platforms(skopeo: ContainersTool, multi_platform_layout: Layout) -> None:
    """skopeo reads the index that the tests create."""
    index = skopeo.inspect("inspect", "--raw", multi_platform_layout.source())

    assert [entry["platform"]["architecture"] for entry in index["manifests"]] == ["amd64", "arm64"]
