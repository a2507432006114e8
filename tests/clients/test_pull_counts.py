"""A pull of an image for several platforms counts once, whichever engine pulls it."""

import time
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
from tests.parts.base_images import Layout
from tests.parts.engines import ContainersTool, Docker
from tests.parts.hub import HytheServer
from tests.parts.hythe_client import HytheClient

pytestmark = pytest.mark.clients

PASSWORD = "correct horse"


def test_one_pull_counts_once(
    hub: HytheServer,
    skopeo: ContainersTool,
    podman: ContainersTool,
    docker: Docker,
    hythe: HytheClient,
    multi_platform_layout: Layout,
    tmp_path: Path,
) -> None:
    """By its tag with docker, podman, skopeo and hythe, for one platform or for all, and by its digest."""
    hub.create_user("ann", PASSWORD)
    for tool in (skopeo, podman):
        tool.allow_http(hub.host)
    assert skopeo.login(hub.host, "ann", PASSWORD).returncode == 0

    def copy(name: str, *flags: str) -> None:
        source = f"docker://{hub.host}/ann/{name}:v1"
        skopeo.ok("copy", "--src-no-creds", *flags, source, f"oci:{tmp_path}/{name}:v1")

    def pull_by_digest(name: str) -> None:
        reply = httpx2.head(f"{hub.url}/v2/ann/{name}/manifests/v1", headers=_token(hub, name))
        hythe.ok("pull", f"{hub.host}/ann/{name}@{reply.headers['docker-content-digest']}")

    pulls: dict[str, Callable[[str], object]] = {
        "skopeo": copy,
        "skopeo-all": lambda name: copy(name, "--all"),
        "podman": lambda name: podman.ok("pull", f"{hub.host}/ann/{name}:v1"),
        "docker": lambda name: docker.ok("pull", f"{hub.host}/ann/{name}:v1"),
        "hythe": lambda name: hythe.ok("pull", f"{hub.host}/ann/{name}:v1"),
        "digest": pull_by_digest,
    }
    for name in pulls:
        skopeo.ok("copy", "--all", multi_platform_layout.source(), f"docker://{hub.host}/ann/{name}:v1")
    pushed = _counts(hub)
    for name, pull in pulls.items():
        pull(name)

    deadline = time.monotonic() + 30
    while sum(_counts(hub).values()) < len(pulls) + sum(pushed.values()) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert {name: count - pushed[name] for name, count in _counts(hub).items()} == dict.fromkeys(pulls, 1)


def _token(hub: HytheServer, name: str) -> dict[str, str]:
    reply = httpx2.get(f"{hub.url}/token", params={"service": "x", "scope": f"repository:ann/{name}:pull"})
    return {"Authorization": f"Bearer {reply.json()['token']}"}


def _counts(hub: HytheServer) -> dict[str, int]:
    items = httpx2.get(f"{hub.url}/api/v1/repositories/ann").json()["items"]
    return {each["name"]: each["pulls"] for each in items}
