"""hythe behind a proxy that cuts, stalls, corrupts and rejects: each pull succeeds, or fails with a clear error."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.parts.base_images import Layout
from tests.parts.docker_registry import DockerRegistry
from tests.parts.faulty_proxy import Fault, FaultyProxy
from tests.parts.hub import HytheServer
from tests.parts.hythe_client import HytheClient
from tests.parts.small_disk import small_disk

from hythe.client.client import Client
from hythe.client.credential_files import CredentialFiles
from hythe.client.errors import ClientError, ContentMismatch, RegistryError, Unreachable
from hythe.client.image_locations import open_destination, open_source
from hythe.client.layout import ImageLayout
from hythe.client.retry import RetryPolicy
from hythe.client.transfer import TransferResult, transfer

pytestmark = pytest.mark.clients

FAST = RetryPolicy(attempts=4, first_delay=0.01, max_delay=0.05, max_retry_after=5, read_timeout=1)
LAYER = 6 << 20


@pytest.fixture(scope="module")
def large_layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """An image whose two layers do not compress: 6 MiB each."""
    layout = Layout(tmp_path_factory.mktemp("large"))
    noise = [b"".join(hashlib.sha256(f"{seed}{n}".encode()).digest() for n in range(LAYER // 32)) for seed in "ab"]
    layout.tag(layout.add_image(noise), "latest")
    return layout


@pytest.fixture
def proxy(docker_registry: DockerRegistry, start_faulty_proxy: Callable[[str], FaultyProxy]) -> FaultyProxy:
    """A proxy in front of an empty docker-registry."""
    return start_faulty_proxy(docker_registry.url)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    """A client that retries without delay."""
    client = Client(credentials=CredentialFiles({"HOME": str(tmp_path)}), store=tmp_path / "store", policy=FAST)
    yield client
    client.close()


def copy(client: Client, source: str, destination: str) -> TransferResult:
    with open_source(client, source) as origin, open_destination(client, destination, source) as target:
        return transfer(origin, target)


def is_whole(layout: ImageLayout, result: TransferResult) -> bool:
    """Whether every blob exists and matches its digest."""
    blobs = [blob.parsed_digest for blob in result.manifest.blobs]
    return all(digest.matches(layout.blob_path(digest).read_bytes()) for digest in blobs)


BLOBS = "GET /v2/.*/blobs/"
MANIFESTS = "GET /v2/.*/manifests/"
PASSING = {
    "a cut in a layer": Fault(BLOBS, times=3, cut_at=1 << 20),
    "a cut before the first byte": Fault(BLOBS, times=3, cut_at=0),
    "a stall in a layer": Fault(BLOBS, times=1, stall_at=1 << 20),
    "a changed byte": Fault(BLOBS, times=1, corrupt_at=300_000),
    "429 with Retry-After": Fault(BLOBS, times=2, status=429, headers={"Retry-After": "0"}),
    "500": Fault(BLOBS, times=2, status=500),
    "503 at the manifest": Fault(MANIFESTS, times=2, status=503),
    "a cut in the manifest": Fault(MANIFESTS, times=2, cut_at=20),
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_a_pull_survives_transient_faults(
    client: Client, docker_registry: DockerRegistry, proxy: FaultyProxy, large_layout: Layout, fault: Fault
) -> None:
    """After faults that end, the local image is complete and has its name."""
    copy(client, f"oci:{large_layout.folder}", f"{docker_registry.host}/box")
    proxy.faults = [Fault(**{name: getattr(fault, name) for name in Fault.__slots__})]
    result = copy(client, f"{proxy.host}/box", f"store:{proxy.host}/box")

    assert proxy.faults[0].times == 0
    assert is_whole(client.store, result)
    assert client.store.resolve(f"{proxy.host}/box").manifest.content == result.manifest.content


LASTING: dict[str, tuple[Fault, type[ClientError]]] = {
    "always changed": (Fault(BLOBS, times=999, corrupt_at=300_000), ContentMismatch),
    "always cut at once": (Fault(BLOBS, times=999, cut_at=0), Unreachable),
    "always stalled": (Fault(BLOBS, times=999, stall_at=0), Unreachable),
    "always 503": (Fault(BLOBS, times=999, status=503), RegistryError),
    "always 429": (Fault(BLOBS, times=999, status=429, headers={"Retry-After": "900"}), RegistryError),
    "a changed manifest": (Fault(MANIFESTS, times=999, corrupt_at=30), ContentMismatch),
}


@pytest.mark.parametrize(("fault", "error"), LASTING.values(), ids=LASTING)
def test_a_failed_pull_prints_the_reason_and_leaves_no_image(
    client: Client,
    docker_registry: DockerRegistry,
    proxy: FaultyProxy,
    large_layout: Layout,
    fault: Fault,
    error: type[ClientError],
) -> None:
    """A failed pull leaves no image, and the same pull succeeds after the fault ends."""
    copy(client, f"oci:{large_layout.folder}", f"{docker_registry.host}/box")
    proxy.faults = [Fault(**{name: getattr(fault, name) for name in Fault.__slots__})]
    with pytest.raises(error):
        copy(client, f"{proxy.host}/box", f"store:{proxy.host}/box")
    assert client.store.entries() == ()
    proxy.faults = []

    assert is_whole(client.store, copy(client, f"{proxy.host}/box", f"store:{proxy.host}/box"))


def test_a_truncated_layer_is_resumed(
    client: Client, docker_registry: DockerRegistry, proxy: FaultyProxy, large_layout: Layout
) -> None:
    """A retry does not request received bytes again."""
    layer = copy(client, f"oci:{large_layout.folder}", f"{docker_registry.host}/box").manifest.layers[0]
    proxy.faults = [Fault(f"GET /v2/box/blobs/{layer.digest}", times=1, cut_at=4 << 20)]
    copy(client, f"{proxy.host}/box", f"store:{proxy.host}/box")

    assert proxy.ranges == [f"bytes={4 << 20}-"]


UPLOADS = {
    "a cut in a chunk": Fault("PATCH /v2/", times=2, cut_upload_at=2 << 20),
    "a cut at the end": Fault("PUT /v2/.*/uploads/", times=2, cut_upload_at=0),
    "a lost response": Fault("PUT /v2/.*/uploads/", times=1, cut_at=0),
    "500 at the start": Fault("POST /v2/", times=2, status=500),
    "429": Fault("PATCH|PUT", times=2, status=429, headers={"Retry-After": "0"}),
    "502 in between": Fault("PATCH|PUT", times=2, status=502),
}


@pytest.mark.parametrize("fault", UPLOADS.values(), ids=UPLOADS)
def test_a_push_survives_transient_faults(
    client: Client,
    docker_registry: DockerRegistry,
    proxy: FaultyProxy,
    large_layout: Layout,
    fault: Fault,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After faults that end, the image on the registry is complete."""
    monkeypatch.setattr("hythe.client.upload.MONOLITHIC_LIMIT", 1 << 20)
    monkeypatch.setattr("hythe.client.upload.UPLOAD_CHUNK_SIZE", 4 << 20)
    proxy.faults = [Fault(**{name: getattr(fault, name) for name in Fault.__slots__})]
    copy(client, f"oci:{large_layout.folder}", f"{proxy.host}/box")
    result = copy(client, f"{docker_registry.host}/box", "store:check")

    assert proxy.faults[0].times == 0
    assert is_whole(client.store, result)


def test_a_truncated_upload_is_resumed(
    client: Client,
    private_registry: HytheServer,
    start_faulty_proxy: Callable[[str], FaultyProxy],
    large_layout: Layout,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The client resumes the same upload: one POST per blob, and it queries the server's offset.

    hythe's own registry resumes. docker-registry refuses to resume a truncated chunk, and the client starts a new
    upload.
    """
    proxy = start_faulty_proxy(private_registry.url)
    monkeypatch.setattr("hythe.client.upload.MONOLITHIC_LIMIT", 1 << 20)
    proxy.faults = [Fault("PATCH /v2/", times=1, cut_upload_at=4 << 20)]
    copy(client, f"oci:{large_layout.folder}", f"{proxy.host}/box")
    started = [request for request in proxy.requests if request.startswith("POST")]
    queries = [request for request in proxy.requests if request.startswith("GET /v2/box/blobs/uploads/")]

    assert len(started) == 3
    assert len(queries) >= 1


def test_a_pull_resumes_after_ctrl_c(
    hythe: HytheClient, client: Client, docker_registry: DockerRegistry, proxy: FaultyProxy, large_layout: Layout
) -> None:
    """Interrupted within a layer: exit code 130 at once and no image. The next pull requests the rest by Range."""
    copy(client, f"oci:{large_layout.folder}", f"{docker_registry.host}/box")
    proxy.faults = [Fault(BLOBS, times=999, stall_at=3 << 20)]
    pull = subprocess.Popen(
        [*hythe.command, "pull", f"{proxy.host}/box"], env=hythe.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    partial = hythe.store.work / "partial"
    while not (partial.is_dir() and any(path.stat().st_size > 1 << 20 for path in partial.iterdir())):
        time.sleep(0.02)
    pull.send_signal(signal.SIGINT)
    _, stderr = pull.communicate(timeout=20)
    proxy.faults = []

    assert pull.returncode == 130
    assert b"error: interrupted\nhint:" in stderr
    assert b"Retrying" not in stderr
    assert hythe.json("images") == []
    hythe.ok("pull", f"{proxy.host}/box")
    assert any(int(requested.removeprefix("bytes=").rstrip("-")) > 1 << 20 for requested in proxy.ranges)


@pytest.fixture
def small_store(hythe: HytheClient) -> Iterator[ImageLayout]:
    """The client's store on a disk of 9 MiB."""
    with small_disk(hythe.store.folder, 9):
        yield hythe.store


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a disk")
def test_a_full_disk_does_not_keep_parts(
    hythe: HytheClient, client: Client, docker_registry: DockerRegistry, small_store: ImageLayout, large_layout: Layout
) -> None:
    """What arrived of an image that does not fit, and what an interrupted pull left, make room for a smaller image."""
    copy(client, f"oci:{large_layout.folder}", f"{docker_registry.host}/box")
    small = Layout(large_layout.folder.parent / "small")
    small.tag(small.add_image([b"small" * 300_000]), "latest")
    copy(client, f"oci:{small.folder}", f"{docker_registry.host}/small")
    small_store.create()
    left = small_store.work / "partial" / ("0" * 64)
    left.write_bytes(bytes(4 << 20))

    refused = hythe.run("pull", f"{docker_registry.host}/box")

    assert refused.returncode == 1
    assert "No space left on device" in refused.stderr
    assert list((small_store.work / "partial").iterdir()) == []
    hythe.ok("pull", f"{docker_registry.host}/small")


def test_two_pulls_download_an_image_once(
    hythe: HytheClient, client: Client, docker_registry: DockerRegistry, proxy: FaultyProxy, large_layout: Layout
) -> None:
    """Two concurrent processes share the work: no layer is downloaded twice, and both succeed."""
    copy(client, f"oci:{large_layout.folder}", f"{docker_registry.host}/box")
    proxy.faults = [Fault(BLOBS, times=999, bytes_per_second=8 << 20)]
    command = [*hythe.command, "pull", "-q", f"{proxy.host}/box"]
    pulls = [subprocess.Popen(command, env=hythe.env, stdout=subprocess.PIPE) for _ in range(2)]

    assert [pull.wait(60) for pull in pulls] == [0, 0]
    fetched = [request for request in proxy.requests if request.startswith("GET /v2/box/blobs/")]
    assert len(fetched) == len(set(fetched))
