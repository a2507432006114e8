"""Pushing and pulling images of an organization with the real docker, podman and skopeo, by roles of every origin."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.parts.base_images import Layout
from tests.parts.engines import ContainersTool, Docker, Dockerd
from tests.parts.hub import HUB, HytheServer, server_factory

pytestmark = pytest.mark.clients

PASSWORD = "correct horse"
ALLOWED = (("ann", "web-app"), ("max", "web-app"), ("max", "web-new"), ("cole", "app"))
"""The owner; a member by a pattern of their team, also for a new repository; a collaborator on one repository."""
REFUSED = (
    ("max", "app", "you may not push to acme/app: ask an owner of acme for the role 'write'"),
    ("max", "api", "only owners of acme may create repositories in it: ask one of them"),
    ("cole", "web-app", "you are not a member of acme: ask one of its owners to invite you"),
    ("ben", "app", "you are not a member of acme: ask one of its owners to invite you"),
)
"""Who may not push what, and what the engine prints."""


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HytheServer]:
    """A hub with acme, which Ann owns and Max is a member of; Cole is a collaborator on acme/app, Ben a stranger."""
    with server_factory(tmp_path_factory.mktemp("organizations"), HUB) as start:
        started: HytheServer = start()
        for name in ("ann", "max", "cole", "ben"):
            started.create_user(name, PASSWORD)
        _found_acme(started)
        yield started


def _found_acme(hub: HytheServer) -> None:
    acme = "/api/v1/organizations/acme"
    _call(hub, "ann", "POST", "/api/v1/organizations", {"name": "acme"})
    _call(hub, "ann", "PATCH", acme, {"member_role": "none", "members_create": False})
    for name in ("web-app", "app"):
        new = {"namespace": "acme", "name": name, "visibility": "private"}
        _call(hub, "ann", "POST", "/api/v1/repositories", new)
    _call(hub, "ann", "POST", f"{acme}/invitations", {"username": "max"})
    _call(hub, "ann", "POST", "/api/v1/repositories/acme/app/collaborators", {"username": "cole", "role": "write"})
    for name in ("max", "cole"):
        (invitation,) = _call(hub, name, "GET", "/api/v1/invitations")["items"]
        _call(hub, name, "POST", f"/api/v1/invitations/{invitation['id']}/accept")
    _call(hub, "ann", "POST", f"{acme}/teams", {"name": "web"})
    _call(hub, "ann", "PUT", f"{acme}/teams/web/members/max")
    _call(hub, "ann", "PUT", f"{acme}/teams/web/grants", {"repositories": "web-*", "role": "write"})


def _call(hub: HytheServer, user: str, method: str, path: str, body: object = None) -> Any:
    reply = httpx2.request(method, f"{hub.url}{path}", json=body, auth=(user, PASSWORD))
    assert reply.status_code < 300, reply.text
    return reply.json() if reply.content else None


def test_docker(hub: HytheServer, dockerd: Dockerd, docker: Docker, busybox_tar: Path, tmp_path: Path) -> None:
    """Those with a role push and pull; docker prints why others may not, and hides the repository from them."""
    docker.import_image(busybox_tar, "box")
    people = {name: dockerd.client(tmp_path / name) for name in ("ann", "max", "cole", "ben")}
    for name, client in people.items():
        assert client.login(hub.host, name, PASSWORD).returncode == 0

    for name, repository in ALLOWED:
        image = f"{hub.host}/acme/{repository}:{name}"
        people[name].ok("tag", "box", image)
        people[name].ok("push", image)
        people[name].ok("rmi", image)
        people[name].ok("pull", image)
    for name, repository, why in REFUSED:
        image = f"{hub.host}/acme/{repository}"
        people[name].ok("tag", "box", image)
        refused = people[name].run("push", image)
        assert refused.returncode == 1
        assert f"denied: {why}" in refused.stderr
    hidden = people["ben"].run("pull", f"{hub.host}/acme/app:cole")

    assert hidden.returncode == 1
    assert "repository does not exist or may require 'docker login'" in hidden.stderr


def test_podman(hub: HytheServer, podman: ContainersTool, busybox_layout: Layout) -> None:
    """The same with podman."""
    podman.allow_http(hub.host)
    podman.ok("pull", busybox_layout.source())
    box = podman.ok("images", "--quiet", "--no-trunc").split()[0]

    for name, repository in ALLOWED:
        assert podman.login(hub.host, name, PASSWORD).returncode == 0
        image = f"{hub.host}/acme/{repository}:podman-{name}"
        podman.ok("push", box, image)
        podman.ok("pull", image)
    for name, repository, why in REFUSED:
        assert podman.login(hub.host, name, PASSWORD).returncode == 0
        refused = podman.run("push", box, f"{hub.host}/acme/{repository}")
        assert refused.returncode != 0
        assert why in refused.stderr


def test_skopeo(hub: HytheServer, skopeo: ContainersTool, busybox_layout: Layout, tmp_path: Path) -> None:
    """The same with skopeo."""
    skopeo.allow_http(hub.host)

    for name, repository in ALLOWED:
        assert skopeo.login(hub.host, name, PASSWORD).returncode == 0
        image = f"docker://{hub.host}/acme/{repository}:skopeo-{name}"
        skopeo.ok("copy", busybox_layout.source(), image)
        skopeo.ok("copy", image, f"oci:{tmp_path / name}:latest")
    for name, repository, why in REFUSED:
        assert skopeo.login(hub.host, name, PASSWORD).returncode == 0
        refused = skopeo.run("copy", busybox_layout.source(), f"docker://{hub.host}/acme/{repository}")
        assert refused.returncode == 1
        assert why in refused.stderr
