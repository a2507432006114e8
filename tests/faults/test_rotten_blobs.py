"""Bytes that rot on the disk of a running registry are never sent as a whole blob, whoever asks and however."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable

import httpx2
import pytest
from tests.parts.docker_registry import Certificate
from tests.parts.hub import HytheServer

from hythe.oci.digest import Digest

MIB = 1024 * 1024


@pytest.fixture(params=["http", "https"])
def registry(
    request: pytest.FixtureRequest, start_private_registry: Callable[..., HytheServer], certificate: Certificate
) -> HytheServer:
    """A private registry, whose files the kernel sends, or with TLS, where Python does."""
    if request.param == "http":
        return start_private_registry()
    return start_private_registry(["--tls-cert", str(certificate.cert), "--tls-key", str(certificate.key)])


@pytest.fixture
def asking(registry: HytheServer) -> httpx2.Client:
    """A client of it."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return httpx2.Client(base_url=registry.url, verify=context)


def pushed(asking: httpx2.Client, content: bytes) -> Digest:
    """Push a blob."""
    digest = Digest.of(content)
    answer = asking.post("/v2/a/blobs/uploads/", params={"digest": str(digest)}, content=content)
    assert answer.status_code == 201
    return digest


def spoil(registry: HytheServer, digest: Digest) -> None:
    """Flip a bit in the middle of a blob's file, whose size and time stay."""
    [path] = [path for path in (registry.data / "blobs").rglob(f"*{digest.hex}") if path.is_file()]
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("size", [1000, 5 * MIB])
@pytest.mark.parametrize("restarted", [False, True])
def test_no_pull_gets_rotten_bytes_as_whole(
    registry: HytheServer, asking: httpx2.Client, size: int, restarted: bool
) -> None:
    """A small one is refused in words, a large one is cut; it is put aside at once, and a push heals it."""
    content = os.urandom(size)
    digest = pushed(asking, content)
    address = f"/v2/a/blobs/{digest}"
    assert asking.get(address).content == content
    if restarted:
        registry.restart()
    spoil(registry, digest)

    if size < MIB:
        refused = asking.get(address)
        assert (refused.status_code, refused.json()["errors"][0]["code"]) == (404, "BLOB_UNKNOWN")
    else:
        with pytest.raises(httpx2.RemoteProtocolError):
            asking.get(address)

    afterwards = asking.get(address)
    assert afterwards.status_code == 404
    assert "damaged" in afterwards.json()["errors"][0]["message"]
    assert f"{digest} rotted on the disk" in registry.log
    pushed(asking, content)
    assert asking.get(address).content == content


def test_a_sound_blob_is_sent_after_a_restart(registry: HytheServer, asking: httpx2.Client) -> None:
    """What is read again because nobody remembers it is sent whole, to several at once and in parts."""
    content = os.urandom(5 * MIB)
    digest = pushed(asking, content)
    registry.restart()

    part = asking.get(f"/v2/a/blobs/{digest}", headers={"Range": "bytes=5-9"})
    whole = [asking.get(f"/v2/a/blobs/{digest}").content for _ in range(2)]

    assert part.content == content[5:10]
    assert whole == [content, content]
