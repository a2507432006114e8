"""Blobs that are corrupted on the disk of a running registry are never sent as complete."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator

import httpx2
import pytest
from tests.parts.docker_registry import Certificate
from tests.parts.hub import REGISTRY, HytheServer, server_factory

from hythe.oci.digest import Digest

MIB = 1024 * 1024


@pytest.fixture(scope="module", params=["http", "https"])
def registry(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, certificate: Certificate
) -> Iterator[HytheServer]:
    """A private registry for this module: over HTTP files are sent by the kernel, over TLS by Python."""
    tls = ["--tls-cert", str(certificate.cert), "--tls-key", str(certificate.key)]
    with server_factory(tmp_path_factory.mktemp("registry"), REGISTRY) as start:
        yield start(tls if request.param == "https" else [])


@pytest.fixture
def client(registry: HytheServer) -> Iterator[httpx2.Client]:
    """A client of the registry."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with httpx2.Client(base_url=registry.url, timeout=60, verify=context) as client:
        yield client


def push(client: httpx2.Client, content: bytes) -> Digest:
    """Push a blob."""
    digest = Digest.of(content)
    response = client.post("/v2/a/blobs/uploads/", params={"digest": str(digest)}, content=content)
    assert response.status_code == 201
    return digest


def corrupt(registry: HytheServer, digest: Digest) -> None:
    """Flip a bit in the middle of a blob's file; its size and modification time stay the same."""
    [path] = [path for path in (registry.data / "blobs").rglob(f"*{digest.hex}") if path.is_file()]
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("size", [1000, 5 * MIB])
@pytest.mark.parametrize("restarted", [False, True])
def test_no_pull_gets_corrupt_bytes_as_complete(
    registry: HytheServer, client: httpx2.Client, size: int, restarted: bool
) -> None:
    """A small blob is refused, a large one truncated; it is quarantined at once, and a push repairs it."""
    content = os.urandom(size)
    digest = push(client, content)
    address = f"/v2/a/blobs/{digest}"
    assert client.get(address).content == content
    if restarted:
        registry.restart()
    corrupt(registry, digest)

    if size < MIB:
        refused = client.get(address)
        assert (refused.status_code, refused.json()["errors"][0]["code"]) == (404, "BLOB_UNKNOWN")
    else:
        with pytest.raises(httpx2.RemoteProtocolError):
            client.get(address)

    afterwards = client.get(address)
    assert afterwards.status_code == 404
    assert "damaged" in afterwards.json()["errors"][0]["message"]
    assert f"{digest} is damaged on disk" in registry.log
    push(client, content)
    assert client.get(address).content == content


def test_an_intact_blob_is_sent_after_a_restart(registry: HytheServer, client: httpx2.Client) -> None:
    """An intact blob that must be verified again is sent, to several clients at once and in ranges."""
    content = os.urandom(5 * MIB)
    digest = push(client, content)
    registry.restart()

    part = client.get(f"/v2/a/blobs/{digest}", headers={"Range": "bytes=5-9"})
    whole = [client.get(f"/v2/a/blobs/{digest}").content for _ in range(2)]

    assert part.content == content[5:10]
    assert whole == [content, content]
