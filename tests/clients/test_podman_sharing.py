"""Sharing images through the hub with the real podman, buildah and skopeo."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from tests.parts.base_images import Layout
from tests.parts.engines import ContainersTool
from tests.parts.hub import HUB, HytheServer, server_factory

pytestmark = pytest.mark.clients

PASSWORD = "correct horse"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HytheServer]:
    """A hub with Ann, Ben and an administrator for these tests, which use different repository names."""
    with server_factory(tmp_path_factory.mktemp("sharing"), HUB) as start:
        started: HytheServer = start()
        started.create_user("root-user", PASSWORD, admin=True)
        for name in ("ann", "ben", "centuser"):
            sign_up = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
            assert httpx2.post(f"{started.url}/api/v1/users", json=sign_up).status_code == 201
        yield started


def log_in(tool: ContainersTool, hub: HytheServer, name: str) -> None:
    """Let a tool use plain HTTP for the hub, and log in."""
    tool.allow_http(hub.host)
    done = tool.login(hub.host, name, PASSWORD)
    assert done.returncode == 0, done.stderr


def make(hub: HytheServer, user: str, name: str, visibility: str = "public", description: str = "") -> None:
    """Create a repository with the API."""
    new = {"namespace": user, "name": name, "visibility": visibility, "description": description}
    reply = httpx2.post(f"{hub.url}/api/v1/repositories", json=new, auth=(user, PASSWORD))
    assert reply.status_code == 201, reply.text


def test_login(hub: HytheServer, podman: ContainersTool, skopeo: ContainersTool) -> None:
    """The right password is accepted, a wrong one refused."""
    for tool in (podman, skopeo):
        tool.allow_http(hub.host)
        right, wrong = tool.login(hub.host, "ann", PASSWORD), tool.login(hub.host, "ann", "wrong")

        assert right.returncode == 0, right.stderr
        assert "Login Succeeded" in right.stdout
        assert wrong.returncode != 0
        assert "invalid username/password" in wrong.stderr


def test_commit_push_pull_run(hub: HytheServer, podman: ContainersTool, busybox_layout: Layout) -> None:
    """A container committed by podman is pulled with the same ID and output."""
    log_in(podman, hub, "ann")
    name = f"{hub.host}/ann/podman-app:v1"
    podman.ok("pull", busybox_layout.source())
    image = podman.ok("images", "--quiet", "--no-trunc").split()[0]
    container = podman.ok("run", "--detach", "--network=none", image, "sh", "-c", "echo kick > /srv-app")
    podman.ok("wait", container)
    podman.ok("commit", "--quiet", "--change", 'CMD ["cat", "/srv-app"]', container, name)
    committed = podman.ok("image", "inspect", "--format", "{{.Id}}", name)

    podman.ok("push", name)
    podman.ok("rmi", name)
    podman.ok("pull", name)

    assert podman.ok("image", "inspect", "--format", "{{.Id}}", name) == committed
    assert podman.ok("run", "--rm", "--network=none", name) == "kick"


def test_multi_platform(
    hub: HytheServer, skopeo: ContainersTool, multi_platform_layout: Layout, tmp_path: Path
) -> None:
    """An index with all its images is pushed and pulled byte for byte."""
    log_in(skopeo, hub, "ann")
    name = f"docker://{hub.host}/ann/everywhere"

    skopeo.ok("copy", "--all", "--preserve-digests", multi_platform_layout.source(), name)
    skopeo.ok("copy", "--all", name, f"oci:{tmp_path / 'back'}:latest")

    sent = json.loads((multi_platform_layout.folder / "index.json").read_text())["manifests"][0]
    raw = skopeo.ok("inspect", "--raw", name)
    assert f"sha256:{hashlib.sha256(raw.encode()).hexdigest()}" == sent["digest"]
    api = httpx2.get(f"{hub.url}/api/v1/repositories/ann/everywhere/tags/latest").json()
    assert len(api["images"]) >= 2
    assert all(image["platform"].startswith("linux/") for image in api["images"])


def test_buildah_pushes_an_index(hub: HytheServer, buildah: ContainersTool, multi_platform_layout: Layout) -> None:
    """A manifest list created by buildah is pushed with all its images."""
    log_in(buildah, hub, "ann")
    buildah.ok("manifest", "create", "everywhere")
    buildah.ok("manifest", "add", "--all", "everywhere", multi_platform_layout.source())

    buildah.ok("manifest", "push", "--all", "everywhere", f"docker://{hub.host}/ann/built-everywhere:v1")

    tag = httpx2.get(f"{hub.url}/api/v1/repositories/ann/built-everywhere/tags/v1").json()
    assert len(tag["images"]) >= 2


def test_anonymous_pull(hub: HytheServer, skopeo: ContainersTool, busybox_layout: Layout) -> None:
    """Public images need no login; a top-level image has a short and a long name."""
    log_in(skopeo, hub, "root-user")
    skopeo.ok("copy", busybox_layout.source(), f"docker://{hub.host}/busybox")
    skopeo.ok("logout", hub.host)

    short = skopeo.inspect("inspect", f"docker://{hub.host}/busybox")
    long = skopeo.inspect("inspect", f"docker://{hub.host}/library/busybox")

    assert short["Digest"] == long["Digest"]


def test_refusals_say_why(hub: HytheServer, skopeo: ContainersTool, busybox_layout: Layout) -> None:
    """Users cannot push to other users' namespaces or to the top level."""
    log_in(skopeo, hub, "ben")

    other = skopeo.run("copy", busybox_layout.source(), f"docker://{hub.host}/ann/intruder")
    top = skopeo.run("copy", busybox_layout.source(), f"docker://{hub.host}/intruder")

    assert other.returncode == top.returncode == 1
    assert "only ann and collaborators may push to ann/.." in other.stderr
    assert "only curators may push to it" in top.stderr


def test_private_is_like_absent(hub: HytheServer, skopeo: ContainersTool, busybox_layout: Layout) -> None:
    """Only its owner can see it; for everyone else it does not exist."""
    make(hub, "ann", "hidden", "private")
    log_in(skopeo, hub, "ann")
    hidden, absent = f"docker://{hub.host}/ann/hidden", f"docker://{hub.host}/ann/absent"
    skopeo.ok("copy", busybox_layout.source(), hidden)
    skopeo.ok("inspect", hidden)

    def answers() -> tuple[str, str]:
        one, other = skopeo.run("inspect", hidden), skopeo.run("inspect", absent)
        assert one.returncode == other.returncode == 1
        return _timeless(one.stderr).replace("hidden", "absent"), _timeless(other.stderr)

    skopeo.ok("logout", hub.host)
    assert len(set(answers())) == 1
    log_in(skopeo, hub, "ben")
    assert len(set(answers())) == 1


def _timeless(log: str) -> str:
    return log.partition("msg=")[2]


def test_search(hub: HytheServer, podman: ContainersTool, skopeo: ContainersTool, busybox_layout: Layout) -> None:
    """`podman search` finds public repositories by name, user name and description, and marks official ones."""
    log_in(skopeo, hub, "root-user")
    skopeo.ok("copy", busybox_layout.source(), f"docker://{hub.host}/centos")
    make(hub, "centuser", "tool")
    make(hub, "ann", "base", description="Built on centos")
    make(hub, "ann", "cent-secret", "private")
    log_in(podman, hub, "ann")

    lines = podman.ok("search", "--format", "{{.Name}} {{.Official}}", f"{hub.host}/cent").splitlines()
    tags = podman.ok("search", "--list-tags", "--format", "{{.Tag}}", f"{hub.host}/centos")

    assert [line.strip() for line in lines] == [
        f"{hub.host}/centos [OK]",
        f"{hub.host}/centuser/tool",
        f"{hub.host}/ann/base",
    ]
    assert tags.split()[-1] == "latest"
