"""Engines pull a private repository by the name that it had, and are told its new name when they push."""

from pathlib import Path

import httpx2
import pytest
from tests.parts.base_images import Layout
from tests.parts.engines import ContainersTool, Docker
from tests.parts.hub import HytheServer
from tests.parts.hythe_client import HytheClient

pytestmark = pytest.mark.clients

PASSWORD = "correct horse"


def test_engines_pull_former_names(
    hub: HytheServer,
    docker: Docker,
    podman: ContainersTool,
    skopeo: ContainersTool,
    hythe: HytheClient,
    multi_platform_layout: Layout,
    tmp_path: Path,
) -> None:
    """After a rename of the repository and of its account, with a personal token of the former account name."""
    hub.create_user("ann", PASSWORD)
    api = httpx2.Client(base_url=f"{hub.url}/api/v1", auth=("ann", PASSWORD))
    token = api.post("/tokens", json={"name": "ci", "rights": ["repo:read", "repo:write"]}).json()["token"]
    former = f"{hub.host}/ann/app:v1"
    for tool in (skopeo, podman):
        tool.allow_http(hub.host)
        assert tool.login(hub.host, "ann", token).returncode == 0
    assert docker.run("login", "-u", "ann", "-p", token, hub.host).returncode == 0
    hythe.ok("login", "-u", "ann", "--password", token, hub.host)
    skopeo.ok("copy", "--all", multi_platform_layout.source(), f"docker://{former}")
    assert api.patch("/repositories/ann/app", json={"visibility": "private"}).status_code == 200
    assert api.post("/repositories/ann/app/rename", json={"name": "web"}).status_code == 200
    assert api.post("/namespaces/ann/rename", json={"name": "anna"}).status_code == 200

    docker.ok("pull", former)
    podman.ok("pull", former)
    skopeo.ok("copy", f"docker://{former}", f"oci:{tmp_path}/app:v1")
    assert '"v1"' in skopeo.ok("list-tags", f"docker://{hub.host}/ann/app")
    hythe.ok("pull", former)

    pushes = {
        "docker": docker.run("push", former),
        "podman": podman.run("push", former),
        "skopeo": skopeo.run("copy", f"oci:{tmp_path}/app:v1", f"docker://{hub.host}/ann/app:v2"),
        "hythe": hythe.run("push", former),
    }
    for name, pushed in pushes.items():
        assert pushed.returncode != 0, name
        assert "ann/app is now anna/web: push to anna/web" in pushed.stdout + pushed.stderr, (name, pushed)
    refused = docker.run("login", "-u", "ann", "-p", PASSWORD, hub.host)
    assert "docker login -u anna" in refused.stdout + refused.stderr
    renamed = httpx2.get(f"{hub.url}/api/v1/repositories/ann/app", auth=("anna", PASSWORD))
    assert renamed.headers["Location"] == "/api/v1/repositories/anna/web"


def test_engines_pull_former_names_after_a_transfer(
    hub: HytheServer, skopeo: ContainersTool, busybox_layout: Layout, tmp_path: Path
) -> None:
    """Its new owner pulls the old name, and is told the new one at a push; its former owner sees nothing of it."""
    for name in ("ann", "ben"):
        hub.create_user(name, PASSWORD)
    ann, ben = (httpx2.Client(base_url=f"{hub.url}/api/v1", auth=(name, PASSWORD)) for name in ("ann", "ben"))
    former, source = f"docker://{hub.host}/ann/app:v1", busybox_layout.source()
    skopeo.allow_http(hub.host)
    assert skopeo.login(hub.host, "ann", PASSWORD).returncode == 0
    skopeo.ok("copy", source, former)
    assert ann.patch("/repositories/ann/app", json={"visibility": "private"}).is_success
    assert ann.post("/repositories/ann/app/transfer", json={"to": "ben"}).is_success
    [offer] = ben.get("/namespaces/ben/offers").json()["items"]
    assert ben.post(f"/namespaces/ben/offers/{offer['repository_id']}/accept").is_success
    stranger = skopeo.run("copy", former, f"oci:{tmp_path}/stranger:v1")
    assert stranger.returncode != 0
    assert "ben" not in stranger.stderr
    assert skopeo.login(hub.host, "ben", PASSWORD).returncode == 0

    skopeo.ok("copy", former, f"oci:{tmp_path}/app:v1")
    pushed = skopeo.run("copy", source, former)

    assert pushed.returncode != 0
    assert "ann/app is now ben/app: push to ben/app" in pushed.stdout + pushed.stderr
