"""Accounts that store without end: what real clients are told, and that nothing grows beyond the plan."""

from __future__ import annotations

import base64
import contextlib
import http.client
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
from tests.parts.engines import ContainersTool, Docker
from tests.parts.hub import HytheServer
from tests.web.browser import Raw

from hythe.oci.digest import Digest

MIB = 1024 * 1024
PASSWORD = "correct horse"
BASIC = {"Authorization": "Basic " + base64.b64encode(f"ann:{PASSWORD}".encode()).decode()}


@pytest.fixture
def hub(start_hub: Callable[..., HytheServer]) -> HytheServer:
    """A hub with the account ``ann``, who may store 12 MiB. The tests of the services run on both databases."""
    started = start_hub()
    started.create_user("ann", PASSWORD)
    started.admin("set-plan", "ann", "--storage", "12MiB")
    return started


@pytest.fixture
def ann(hub: HytheServer) -> Iterator[httpx2.Client]:
    """The account's requests to its repository ``ann/app``."""
    scope = {"scope": "repository:ann/app:pull,push,delete"}
    token = httpx2.get(f"{hub.url}/token", params=scope, auth=("ann", PASSWORD)).json()["token"]
    with httpx2.Client(base_url=hub.url, headers={"Authorization": f"Bearer {token}"}, timeout=60) as client:
        yield client


def layer(folder: Path, docker: Docker, name: str, mib: int) -> None:
    """Make an image with one layer of random bytes."""
    file = folder / "content"
    file.write_bytes(os.urandom(mib * MIB))
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY content /\n")
    docker.ok("build", "--tag", name, str(folder))


def stored_bytes(hub: HytheServer) -> int:
    """Return how many bytes of blobs and uploads are on disk."""
    folders = (hub.data / "blobs", hub.data / "uploads")
    return sum(path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file())


def test_docker_is_told_and_can_go_on(docker: Docker, hub: HytheServer, tmp_path: Path) -> None:
    """A push beyond the plan says why and keeps nothing; after a deletion the next push succeeds."""
    docker.login(hub.host, "ann", PASSWORD)
    for name, mib in (("small", 5), ("big", 30), ("medium", 10)):
        layer(tmp_path, docker, f"{hub.host}/ann/{name}", mib)
    docker.ok("push", f"{hub.host}/ann/small")

    big = docker.run("push", f"{hub.host}/ann/big")
    after_big = stored_bytes(hub)
    medium = docker.run("push", f"{hub.host}/ann/medium")
    docker.ok("tag", f"{hub.host}/ann/small", f"{hub.host}/ann/copy")
    copy = docker.ok("push", f"{hub.host}/ann/copy")
    for name in ("small", "copy"):
        httpx2.delete(f"{hub.url}/api/v1/repositories/ann/{name}", auth=("ann", PASSWORD))
    docker.ok("push", f"{hub.host}/ann/medium")

    for refused in (big, medium):
        assert refused.returncode == 1
        assert "denied: ann stores 5 MiB of 12 MiB" in refused.stderr
        assert "delete images or ask an administrator for more" in refused.stderr
    assert after_big < 6 * MIB
    assert "Mounted from ann/small" in copy
    assert "stores" not in hub.run_maintenance("verify").stdout


def test_podman_and_skopeo_are_told(
    podman: ContainersTool, skopeo: ContainersTool, docker: Docker, hub: HytheServer, tmp_path: Path
) -> None:
    """They ask for the connection to be closed, which must not lose the reason."""
    layer(tmp_path, docker, "big", 30)
    docker.ok("save", "--output", str(tmp_path / "big.tar"), "big")
    podman.ok("load", "--input", str(tmp_path / "big.tar"))
    credentials = f"ann:{PASSWORD}"

    target = f"docker://{hub.host}/ann/big"
    pushed = podman.run("push", "--tls-verify=false", "--creds", credentials, "big", target)
    source = f"docker-archive:{tmp_path / 'big.tar'}"
    copied = skopeo.run("copy", "--dest-tls-verify=false", "--dest-creds", credentials, source, target)

    for refused in (pushed, copied):
        assert refused.returncode != 0
        assert "denied: ann stores 0 bytes of 12 MiB, this upload does not fit" in refused.stderr


def test_thousands_of_sessions(ann: httpx2.Client, hub: HytheServer) -> None:
    """The hundred and first open session is refused; another account and the same one's pulls are not concerned."""
    statuses = [ann.post("/v2/ann/app/blobs/uploads/").status_code for _ in range(110)]
    refused = ann.post("/v2/ann/app/blobs/uploads/")

    assert (statuses.count(202), statuses.count(429)) == (100, 10)
    assert refused.json()["errors"][0]["code"] == "TOOMANYREQUESTS"
    assert "ann has 100 unfinished uploads" in refused.json()["errors"][0]["message"]
    assert int(refused.headers["Retry-After"]) > 0
    assert ann.get("/v2/ann/app/tags/list").status_code == 404
    hub.create_user("ben", PASSWORD)
    scope = {"scope": "repository:ben/app:pull,push"}
    token = httpx2.get(f"{hub.url}/token", params=scope, auth=("ben", PASSWORD)).json()["token"]
    headers = {"Authorization": f"Bearer {token}"}
    assert httpx2.post(f"{hub.url}/v2/ben/app/blobs/uploads/", headers=headers).status_code == 202


def body(mib: int) -> Iterator[bytes]:
    """Yield a body without a length."""
    for _ in range(mib * 16):
        yield bytes(65536)


@pytest.mark.parametrize("announced", [True, False])
def test_sessions_cannot_fill_the_disk(ann: httpx2.Client, hub: HytheServer, announced: bool) -> None:
    """Thirty unfinished sessions of 8 MiB each do not hold 240 MiB, with or without a length."""
    for _ in range(30):
        opened = ann.post("/v2/ann/app/blobs/uploads/")
        if opened.status_code != 202:
            break
        content = bytes(8 * MIB) if announced else body(8)
        ann.patch(opened.headers["Location"], content=content)

    assert stored_bytes(hub) <= 14 * MIB


@pytest.mark.parametrize("announced", [MIB, 11 * MIB, 100 * MIB])
def test_false_lengths(ann: httpx2.Client, hub: HytheServer, announced: int) -> None:
    """A Content-Length below or above what comes stores nothing, and holds no space after the session ended."""
    content = os.urandom(2 * MIB)
    opened = ann.post("/v2/ann/app/blobs/uploads/").headers["Location"]
    connection = http.client.HTTPConnection("127.0.0.1", hub.port, timeout=60)
    connection.putrequest("PUT", f"{opened}?digest={Digest.of(content)}")
    for name, value in {"Content-Length": str(announced), "Authorization": ann.headers["Authorization"]}.items():
        connection.putheader(name, value)
    connection.endheaders()
    with contextlib.suppress(OSError):
        connection.send(content)
    connection.close()
    ann.delete(opened)

    assert ann.head(f"/v2/ann/app/blobs/{Digest.of(content)}").status_code == 404
    larger = os.urandom(11 * MIB)
    assert ann.post(f"/v2/ann/app/blobs/uploads/?digest={Digest.of(larger)}", content=larger).status_code == 201


def test_repositories_on_every_path(hub: HytheServer, ann: httpx2.Client) -> None:
    """The API, the page and a first push are refused alike."""
    hub.admin("set-plan", "ann", "--repositories", "0")
    browser = Raw(hub.url)
    browser.sign_in("ann", PASSWORD)

    api = ann.post("/api/v1/repositories", json={"namespace": "ann", "name": "app"}, headers=BASIC)
    page = browser.send("/new", namespace="ann", name="app", visibility="public")
    push = ann.post(f"/v2/ann/app/blobs/uploads/?digest={Digest.of(b'{}')}", content=b"{}")

    assert [api.status_code, page.status_code, push.status_code] == [403, 403, 403]
    for refused in (api, page, push):
        assert "our plan allows no repositories" in refused.text
    assert "0/0" in hub.admin("list-users")


def test_usage_is_shown(hub: HytheServer, ann: httpx2.Client) -> None:
    """The account's page, the API and the command line show what is used and the limit."""
    content = os.urandom(3 * MIB)
    ann.post(f"/v2/ann/app/blobs/uploads/?digest={Digest.of(content)}", content=content)
    browser = Raw(hub.url)
    browser.sign_in("ann", PASSWORD)

    page = browser.get("/account").text
    own = httpx2.get(f"{hub.url}/api/v1/users/me", auth=("ann", PASSWORD)).json()
    others = httpx2.get(f"{hub.url}/api/v1/users/ann").json()

    assert "3 MiB of 12 MiB" in page
    assert (own["storage_used"], own["storage_limit"], own["repository_count"]) == (3 * MIB, 12 * MIB, 1)
    assert "storage_used" not in others
    assert "3MiB/12MiB" in hub.admin("list-users")
