"""The private registry with the real docker, podman, skopeo and buildah: any name, no accounts."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.contracts.distribution import Client
from tests.parts.base_images import Layout
from tests.parts.engines import ContainersTool, Docker, Dockerd
from tests.parts.hub import HytheServer
from tests.parts.process import program

pytestmark = pytest.mark.clients


def test_docker_shares_an_image(docker: Docker, private_registry: HytheServer, busybox_tar: Path) -> None:
    """Commit, push, remove, pull, run: the same image ID and the same output."""
    name = f"{private_registry.host}/repo_name"
    docker.import_image(busybox_tar, "busybox")
    docker.ok("run", "--network=none", "--name=work", "busybox", "sh", "-c", "echo hello > /greeting")
    docker.ok("commit", "work", name)
    before = docker.image_id(name)
    pushed = docker.ok("push", name)
    docker.ok("rm", "work")
    docker.ok("rmi", name)
    pulled = docker.ok("pull", name)

    assert "latest: digest: sha256:" in pushed
    assert "Downloaded newer image" in pulled
    assert docker.image_id(name) == before
    assert docker.ok("run", "--rm", "--network=none", name, "cat", "/greeting") == "hello"


def test_docker_sends_no_layer_twice(docker: Docker, private_registry: HytheServer, busybox_tar: Path) -> None:
    """Layers in the repository are not sent again; layers of another one are mounted."""
    docker.import_image(busybox_tar, f"{private_registry.host}/first:1")
    docker.ok("push", f"{private_registry.host}/first:1")
    for name in ("first:2", "second:1"):
        docker.ok("tag", f"{private_registry.host}/first:1", f"{private_registry.host}/{name}")

    again = docker.ok("push", f"{private_registry.host}/first:2")
    mounted = docker.ok("push", f"{private_registry.host}/second:1")

    assert "Layer already exists" in again
    assert "Mounted from first" in mounted


def test_docker_pulls_by_digest(docker: Docker, private_registry: HytheServer, busybox_tar: Path) -> None:
    """Pull by digest, and docker's message for a missing image."""
    name = f"{private_registry.host}/a/b/c"
    docker.import_image(busybox_tar, f"{name}:1")
    digest = docker.ok("push", f"{name}:1").split("digest: ")[1].split()[0]
    docker.ok("rmi", f"{name}:1")

    docker.ok("pull", f"{name}@{digest}")
    absent = docker.run("pull", f"{name}:absent")

    assert absent.returncode != 0
    assert "manifest unknown" in absent.stderr


def test_docker_logs_in(
    docker: Docker, start_private_registry: Callable[..., HytheServer], busybox_tar: Path, tmp_path: Path
) -> None:
    """With an htpasswd file, the right password is accepted, a wrong one refused, and anonymous pushes too."""
    file = tmp_path / "htpasswd"
    subprocess.run([program("htpasswd", "apache2-utils"), "-cBb", str(file), "ann", "secret"], check=True)
    registry = start_private_registry(["--htpasswd", str(file)])
    name = f"{registry.host}/x"
    docker.import_image(busybox_tar, name)

    stranger = docker.run("push", name)
    wrong = docker.login(registry.host, "ann", "wrong")
    right = docker.login(registry.host, "ann", "secret")
    docker.ok("push", name)

    assert (stranger.returncode, "no basic auth credentials" in stranger.stderr) == (1, True)
    assert (wrong.returncode, "401 Unauthorized" in wrong.stderr) == (1, True)
    assert "Login Succeeded" in right.stdout


def test_read_only(
    docker: Docker, start_private_registry: Callable[..., HytheServer], busybox_tar: Path, tmp_path: Path
) -> None:
    """A read-only registry serves pulls and refuses pushes with a reason."""
    writable = start_private_registry(data=tmp_path / "data")
    docker.import_image(busybox_tar, f"{writable.host}/x")
    docker.ok("push", f"{writable.host}/x")
    writable.stop()
    registry = start_private_registry(["--read-only"], data=tmp_path / "data")
    docker.ok("tag", f"{writable.host}/x", f"{registry.host}/y")

    docker.ok("pull", f"{registry.host}/x")
    refused = docker.run("push", f"{registry.host}/y")

    assert refused.returncode == 1
    assert "read-only" in refused.stderr


def test_name_of_the_2014_page(
    start_dockerd: Callable[..., Dockerd], private_registry: HytheServer, busybox_tar: Path, tmp_path: Path
) -> None:
    """Push and pull with `localhost.localdomain:5000/repo_name`, as in Docker's documentation of 2014."""
    host = f"localhost.localdomain:{private_registry.port}"
    daemon = start_dockerd(extra=[f"--insecure-registry={host}"], hosts={"localhost.localdomain": "127.0.0.1"})
    docker = daemon.client(tmp_path / "config")
    docker.import_image(busybox_tar, f"{host}/repo_name")
    before = docker.image_id(f"{host}/repo_name")

    docker.ok("push", f"{host}/repo_name")
    docker.ok("rmi", f"{host}/repo_name")
    docker.ok("pull", f"{host}/repo_name")

    assert docker.image_id(f"{host}/repo_name") == before


def test_podman_shares_an_image(podman: ContainersTool, private_registry: HytheServer, busybox_tar: Path) -> None:
    """Push, remove, pull, run."""
    podman.allow_http(private_registry.host)
    name = f"{private_registry.host}/deep/er/name:v1"
    podman.ok("import", "--quiet", busybox_tar, name)
    before = podman.ok("image", "inspect", "--format", "{{.Id}}", name)

    podman.ok("push", name)
    podman.ok("rmi", name)
    podman.ok("pull", name)

    assert podman.ok("image", "inspect", "--format", "{{.Id}}", name) == before
    assert podman.ok("run", "--rm", "--network=none", name, "echo", "hello") == "hello"


def test_skopeo_copies_all_platforms(
    skopeo: ContainersTool, private_registry: HytheServer, multi_platform_layout: Layout, tmp_path: Path
) -> None:
    """An index with its children is pushed, listed, pulled byte for byte, and deleted."""
    skopeo.allow_http(private_registry.host)
    name = f"docker://{private_registry.host}/multi"
    skopeo.ok("copy", "--all", multi_platform_layout.source(), f"{name}:1")
    skopeo.ok("copy", "--all", f"{name}:1", f"oci:{tmp_path / 'back'}:1")
    sent = json.loads((multi_platform_layout.folder / "index.json").read_text())
    came = json.loads((tmp_path / "back" / "index.json").read_text())

    assert came["manifests"][0]["digest"] == sent["manifests"][0]["digest"]
    assert skopeo.inspect("list-tags", name)["Tags"] == ["1"]
    skopeo.ok("delete", f"{name}:1")
    assert skopeo.run("inspect", f"{name}:1").returncode != 0


def test_skopeo_copies_between_repositories(
    skopeo: ContainersTool, private_registry: HytheServer, busybox_layout: Layout
) -> None:
    """A copy inside the registry mounts the blobs, whether one or forty layers."""
    skopeo.allow_http(private_registry.host)
    skopeo.ok("copy", busybox_layout.source(), f"docker://{private_registry.host}/a:1")

    skopeo.ok("copy", f"docker://{private_registry.host}/a:1", f"docker://{private_registry.host}/b/c:2")

    a, b = (skopeo.inspect("inspect", f"docker://{private_registry.host}/{name}") for name in ("a:1", "b/c:2"))
    assert a["Digest"] == b["Digest"]


def test_buildah_pushes_a_manifest_list(
    buildah: ContainersTool, private_registry: HytheServer, multi_platform_layout: Layout
) -> None:
    """A manifest list for two platforms, created by buildah."""
    buildah.allow_http(private_registry.host)
    buildah.ok("manifest", "create", "list")
    buildah.ok("manifest", "add", "--all", "list", multi_platform_layout.source())

    buildah.ok("manifest", "push", "--all", "list", f"docker://{private_registry.host}/list:1")

    answer = Client(private_registry.port)("GET", "/v2/list/manifests/1")
    assert {m["platform"]["architecture"] for m in answer.json()["manifests"]} == {"amd64", "arm64"}


def test_a_damaged_layer_fails_the_pull_until_it_is_pushed_again(
    skopeo: ContainersTool, private_registry: HytheServer, busybox_layout: Layout, tmp_path: Path
) -> None:
    """`hythe registry verify` reports and quarantines a damaged blob; pulls fail until the image is pushed again."""
    skopeo.allow_http(private_registry.host)
    name = f"docker://{private_registry.host}/x:1"
    skopeo.ok("copy", busybox_layout.source(), name)
    layer = skopeo.inspect("inspect", name)["Layers"][0]
    file = next(p for p in private_registry.data.rglob(f"*{layer.removeprefix('sha256:')}") if p.is_file())
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    file.write_bytes(content)

    verified = private_registry.run_maintenance("verify")
    pull = skopeo.run("copy", name, f"oci:{tmp_path / 'back'}:1")
    skopeo.ok("copy", busybox_layout.source(), name)
    skopeo.ok("copy", name, f"oci:{tmp_path / 'again'}:1")

    assert verified.returncode != 0
    assert layer in verified.stdout + verified.stderr
    assert pull.returncode != 0
    assert private_registry.run_maintenance("verify").returncode == 0
    assert not list(private_registry.data.glob("*.key")), "it became a hub"


def test_deleted_image_frees_its_space_while_the_registry_serves(
    skopeo: ContainersTool, start_private_registry: Callable[..., HytheServer], busybox_layout: Layout
) -> None:
    """`hythe registry gc --dry-run` lists, and `hythe registry gc` removes unused blobs of a running server."""
    registry = start_private_registry(env={"HYTHE_GRACE_PERIOD": "0", "HYTHE_GARBAGE_INTERVAL": "3600"})
    skopeo.allow_http(registry.host)
    for name in ("kept:1", "gone:1"):
        skopeo.ok("copy", busybox_layout.source(), f"docker://{registry.host}/{name}")
    layer = skopeo.inspect("inspect", f"docker://{registry.host}/kept:1")["Layers"][0]
    shared = skopeo.run("delete", f"docker://{registry.host}/gone:1").returncode, registry.run_maintenance("gc").stdout
    still_there = [path for path in registry.data.rglob("*") if path.name.endswith(layer.removeprefix("sha256:"))]
    skopeo.ok("delete", f"docker://{registry.host}/kept:1")

    foreseen = registry.run_maintenance("gc", "--dry-run").stdout
    taken = registry.run_maintenance("gc").stdout

    assert shared[0] == 0
    assert still_there
    assert layer.removeprefix("sha256:")[:12] in foreseen
    assert layer.removeprefix("sha256:")[:12] in taken
    assert not [path for path in registry.data.rglob("*") if path.name.endswith(layer.removeprefix("sha256:"))]
