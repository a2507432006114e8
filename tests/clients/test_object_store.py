"""Registries that share one PostgreSQL and one S3 (radosgw): uploads move between them, pulls use the bucket."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.contracts.distribution import Client, digest_of
from tests.parts.azurite import AzureAccount
from tests.parts.base_images import Layout
from tests.parts.engines import ContainersTool, Docker
from tests.parts.faulty_proxy import Fault, FaultyProxy
from tests.parts.hub import HYTHE, HytheServer
from tests.parts.s3 import S3Server

pytestmark = [pytest.mark.clients, pytest.mark.object_store, pytest.mark.postgresql]

MIB = 1024 * 1024


@pytest.fixture
def start_registry(
    start_private_registry: Callable[..., HytheServer], s3: S3Server, s3_bucket: str, postgresql_url: str
) -> Callable[..., HytheServer]:
    """Factory `start_registry("--flag", endpoint=..)`: all share one database and one bucket."""

    def start(*arguments: str, endpoint: str = s3.endpoint) -> HytheServer:
        env = s3.env | {"AWS_ENDPOINT_URL": endpoint}
        store = ("--blob-store", f"s3://{s3_bucket}/blobs")
        return start_private_registry([*store, *arguments], database_url=postgresql_url, env=env)

    return start


def send(
    server: HytheServer, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    """Send a request without following redirects."""
    connection = http.client.HTTPConnection(server.host, timeout=120)
    connection.request(method, path, body, {"Content-Type": "application/octet-stream", **headers})
    answer = connection.getresponse()
    return answer, answer.read()


def path_of(answer: http.client.HTTPResponse) -> str:
    """Return the path of the next request of an upload session, on any server."""
    return "/v2/" + answer.headers["Location"].split("/v2/")[1]


def test_an_upload_moves_between_servers(start_registry: Callable[..., HytheServer]) -> None:
    """One upload uses two servers; nothing is stored on their disks."""
    first, second = start_registry(), start_registry("--no-redirect-blobs")
    blob = os.urandom(20 * MIB)
    digest = f"sha256:{hashlib.sha256(blob).hexdigest()}"

    opened, _ = send(first, "POST", "/v2/moving/image/blobs/uploads/")
    one, _ = send(second, "PATCH", path_of(opened), blob[: 9 * MIB])
    two, _ = send(first, "PATCH", path_of(one), blob[9 * MIB :])
    mark = "&" if "?" in path_of(two) else "?"
    done, _ = send(second, "PUT", f"{path_of(two)}{mark}digest={digest}")
    redirected, _ = send(first, "GET", f"/v2/moving/image/blobs/{digest}")
    proxied, content = send(second, "GET", f"/v2/moving/image/blobs/{digest}")
    several, parts = send(first, "GET", f"/v2/moving/image/blobs/{digest}", Range="bytes=100-109,15000000-15999999")

    assert [answer.status for answer in (opened, one, two, done)] == [202, 202, 202, 201]
    assert (redirected.status, proxied.status) == (307, 200)
    assert content == blob
    assert several.status == 206  # the bucket would send all
    assert blob[100:110] in parts
    assert blob[15_000_000:16_000_000] in parts
    assert len(parts) < 1_001_000
    assert sum(file.stat().st_size for server in (first, second) for file in server.data.rglob("*")) < MIB


def test_skopeo_pulls_from_the_bucket_and_through_the_server(
    start_registry: Callable[..., HytheServer], skopeo: ContainersTool, busybox_layout: Layout, tmp_path: Path
) -> None:
    """skopeo pulls the same bytes from both servers, with and without redirects."""
    redirecting, proxying = start_registry(), start_registry("--no-redirect-blobs")

    skopeo.ok("copy", "--dest-tls-verify=false", busybox_layout.source(), f"docker://{redirecting.host}/team/busybox:1")
    for server in (redirecting, proxying):
        source = f"docker://{server.host}/team/busybox:1"
        skopeo.ok("copy", "--src-tls-verify=false", source, f"oci:{tmp_path / str(server.port)}:1")

    pulled = [blobs_in(tmp_path / str(server.port)) for server in (redirecting, proxying)]
    assert pulled[0] == pulled[1]
    assert pulled[0].items() <= blobs_in(busybox_layout.folder).items()
    assert len(pulled[0]) >= 3


def blobs_in(layout: Path) -> dict[str, bytes]:
    """Return the blobs of an OCI layout by digest."""
    return {path.name: path.read_bytes() for path in (layout / "blobs/sha256").iterdir()}


@pytest.mark.parametrize("store", ["s3", "az"])
def test_docker_pulls_by_presigned_urls(
    store: str,
    s3: S3Server,
    s3_bucket: str,
    azurite: AzureAccount,
    azure_container: str,
    start_private_registry: Callable[..., HytheServer],
    docker: Docker,
    busybox_tar: Path,
) -> None:
    """docker follows the redirects; no layer data is stored on the server."""
    env, bucket = {"s3": (s3.env, s3_bucket), "az": (azurite.env, azure_container)}[store]
    registry = start_private_registry(["--blob-store", f"{store}://{bucket}/hub"], env=env)
    name = f"{registry.host}/app"
    docker.import_image(busybox_tar, name)
    docker.ok("push", name)
    before = docker.image_id(name)
    docker.ok("rmi", name)

    docker.ok("pull", name)

    assert docker.image_id(name) == before
    manifest = json.loads(send(registry, "GET", "/v2/app/manifests/latest")[1])
    assert send(registry, "GET", f"/v2/app/blobs/{manifest['layers'][0]['digest']}")[0].status == 307
    assert not (registry.data / "blobs").exists()


@pytest.mark.parametrize(
    ("bucket", "secret", "said"),
    [("no-such-bucket", None, "the bucket does not exist"), (None, "wrong", "access was denied")],
)
def test_an_unusable_bucket_fails_the_start(
    s3: S3Server, s3_bucket: str, tmp_path: Path, bucket: str | None, secret: str | None, said: str
) -> None:
    """The server checks the bucket before it serves requests."""
    words = ["registry", "serve", "--listen", "127.0.0.1:0", "--data", str(tmp_path)]
    env = os.environ | s3.env | {"AWS_SECRET_ACCESS_KEY": secret or s3.secret_key}

    done = subprocess.run(
        [HYTHE, *words, "--blob-store", f"s3://{bucket or s3_bucket}"],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stdout) == (5, "")
    assert said in done.stderr


def test_an_empty_database_next_to_a_full_bucket_is_refused(
    start_registry: Callable[..., HytheServer], s3_bucket: str, new_postgresql_url: Callable[[], str]
) -> None:
    """A mistyped ``database_url`` is no new registry: garbage collection would delete every blob."""
    registry, blob = start_registry(), b"a layer"
    path = "/v2/app/blobs"
    assert send(registry, "POST", f"{path}/uploads/?digest={digest_of(blob)}", blob)[0].status == 201
    registry.stop()
    own, registry.database_url = registry.database_url, new_postgresql_url()

    flags = ("--blob-store", f"s3://{s3_bucket}/blobs")
    refused = registry._try("registry", "serve", "--listen", "127.0.0.1:0", *flags)
    collected = registry._try("registry", "gc", *flags)

    for done in (refused, collected):
        assert done.returncode == 2
        assert "error: the database is empty, but the blob store has blobs" in done.stderr
        assert "hint: correct --data, --database-url or blob_store, or restore the database" in done.stderr
    registry.database_url = own
    registry.start()
    assert send(registry, "HEAD", f"{path}/{digest_of(blob)}")[0].status in (200, 307)


def test_a_failing_bucket_is_a_503_with_its_reason_in_the_log(
    start_registry: Callable[..., HytheServer], start_faulty_proxy: Callable[[str], FaultyProxy], s3: S3Server
) -> None:
    """If the bucket refuses, so does the registry; the log has the reason, and a later push works."""
    proxy = start_faulty_proxy(s3.endpoint)
    server = start_registry(endpoint=proxy.url)
    blob = b"patience"
    push = f"/v2/team/image/blobs/uploads/?digest=sha256:{hashlib.sha256(blob).hexdigest()}"

    proxy.faults.append(Fault("", times=10**6, status=403))
    refused, sentence = send(server, "POST", push, blob)
    proxy.faults.clear()
    accepted, _ = send(server, "POST", push, blob)

    assert (refused.status, accepted.status) == (503, 201)
    assert json.loads(sentence)["errors"][0]["detail"]["number"] in server.log
    assert "access was denied: check the credentials in the environment" in server.log


def test_a_silent_bucket_delays_only_what_needs_it(
    start_registry: Callable[..., HytheServer], start_faulty_proxy: Callable[[str], FaultyProxy], s3: S3Server
) -> None:
    """While the bucket keeps pushes waiting, manifests and lists are served; then the pushes succeed."""
    proxy = start_faulty_proxy(s3.endpoint)
    server = start_registry(endpoint=proxy.url)
    client = Client(server.port)
    client.push_image("team/image", "latest")
    blobs = [f"waits {number}".encode() for number in range(16)]

    proxy.faults.append(Fault("", times=10**6, is_silent=True, stall_seconds=3))
    with ThreadPoolExecutor(len(blobs)) as pool:
        push = "/v2/team/image/blobs/uploads/?digest="
        pushes = [pool.submit(send, server, "POST", f"{push}{digest_of(blob)}", blob) for blob in blobs]
        for _ in range(100):
            assert client("GET", "/v2/team/image/manifests/latest").status == 200
            assert client("GET", "/v2/team/image/tags/list").json()["tags"] == ["latest"]
        served = not any(each.done() for each in pushes)
        proxy.faults.clear()
        statuses = [each.result()[0].status for each in pushes]
    client.close()

    assert served
    assert statuses == [201] * len(blobs)
