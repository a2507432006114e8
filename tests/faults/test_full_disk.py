"""A full disk: the registry returns the protocol's error, loses nothing and still serves pulls."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.contracts.distribution import Client, digest_of, fresh_name, with_digest
from tests.parts.hub import HytheServer
from tests.parts.small_disk import small_disk

MIB = 1024 * 1024


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 24 MiB."""
    with small_disk(tmp_path / "disk", 24) as folder:
        yield folder


@pytest.fixture
def registry(disk: Path, start_private_registry: Callable[..., HytheServer]) -> HytheServer:
    """A registry on the small disk."""
    return start_private_registry(data=disk / "data")


def test_a_full_disk_refuses_pushes_and_serves_pulls(disk: Path, registry: HytheServer) -> None:
    """Pushes get 503 with an error body, pulls work, and pushes work again once there is space."""
    client, name = Client(registry.port), fresh_name()
    kept = os.urandom(4 * MIB)
    digest = client.push_blob(name, kept)
    image = client.push_image(name)
    filler = disk / "filler"
    fill(filler)

    large = os.urandom(4 * MIB)
    refused = [push(registry, name, large), push(registry, name, os.urandom(1000))]

    for status, body in refused:
        assert status == 503
        assert json.loads(body)["errors"][0]["code"] == "UNAVAILABLE"
    assert client("GET", f"/v2/{name}/blobs/{digest}").body == kept
    assert client("GET", f"/v2/{name}/manifests/{image}").status == 200
    filler.unlink()
    assert push(registry, name, large)[0] == 201
    assert client("GET", f"/v2/{name}/blobs/{digest_of(large)}").body == large
    client.close()


def fill(path: Path) -> None:
    """Write until the disk is full."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(65536)):
            pass


def push(server: HytheServer, name: str, content: bytes) -> tuple[int, bytes]:
    """Push a blob; return the first failed response, or the last one."""
    client = Client(server.port)
    try:
        start = client("POST", f"/v2/{name}/blobs/uploads/")
        if start.status != 202:
            return start.status, start.body
        end = client("PUT", with_digest(start.location, digest_of(content)), content)
        return end.status, end.body
    finally:
        client.close()
