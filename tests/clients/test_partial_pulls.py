"""Pulls of parts of a layer: the real podman with zstd:chunked, and the same requests to a mirror."""

import hashlib
import os
import tarfile
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.parts.engines import ContainersTool
from tests.parts.faulty_proxy import FaultyProxy
from tests.parts.hub import HytheServer

pytestmark = pytest.mark.clients

FILES = 40
FILE_SIZE = 50_000


def write_image(path: Path, contents: list[bytes]) -> None:
    """Write an archive of files, which podman imports as an image."""
    folder = path.with_suffix("")
    folder.mkdir()
    for number, content in enumerate(contents):
        (folder / f"file{number}").write_bytes(content)
    with tarfile.open(path, "w") as archive:
        archive.add(folder, "data")


def test_podman_pulls_only_what_changed(
    private_registry: HytheServer,
    start_faulty_proxy: Callable[[str], FaultyProxy],
    podman: ContainersTool,
    tmp_path: Path,
) -> None:
    """Of an image with some changed files, podman requests their chunks, in one request, and gets no others."""
    storage = podman.folder / "storage.conf"
    if 'driver = "overlay"' not in storage.read_text():
        pytest.skip("podman pulls parts only with the overlay driver")
    storage.write_text(storage.read_text() + '[storage.options]\npull_options = {enable_partial_images = "true"}\n')
    proxy = start_faulty_proxy(private_registry.url)
    podman.allow_http(proxy.host)
    contents = [os.urandom(FILE_SIZE) for _ in range(FILES)]
    changed = [os.urandom(FILE_SIZE) if number % 13 == 3 else each for number, each in enumerate(contents)]
    for tag, files in (("1", contents), ("2", changed)):
        write_image(tmp_path / f"{tag}.tar", files)
        podman.ok("import", "--quiet", tmp_path / f"{tag}.tar", f"{proxy.host}/app:{tag}")
        podman.ok("push", "--quiet", "--compression-format", "zstd:chunked", f"{proxy.host}/app:{tag}")
    podman.ok("rmi", "--all", "--force")

    podman.ok("pull", "--quiet", f"{proxy.host}/app:1")
    sent = proxy.sent
    podman.ok("pull", "--quiet", f"{proxy.host}/app:2")

    assert proxy.ranges[-1].count(",") == 2
    assert 3 * FILE_SIZE < proxy.sent - sent < 4 * FILE_SIZE
    mounted = Path(podman.ok("image", "mount", f"{proxy.host}/app:2")) / "data"
    assert [(mounted / f"file{number}").read_bytes() for number in range(FILES)] == changed
    podman.ok("image", "unmount", "--all")


def test_ranges_of_a_blob_that_is_not_cached_yet(
    private_registry: HytheServer, start_private_registry: Callable[..., HytheServer]
) -> None:
    """A mirror sends the parts while it downloads the blob, and again from its store."""
    content = os.urandom(3_000_000)
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    upload = f"{private_registry.url}/v2/app/blobs/uploads/?digest={digest}"
    urllib.request.urlopen(urllib.request.Request(upload, content, method="POST")).close()
    mirror = start_private_registry(["--mirror", private_registry.url])
    url = f"{mirror.url}/v2/app/blobs/{digest}"
    request = urllib.request.Request(url, headers={"Range": "bytes=2900000-,0-9,1000000-1099999"})

    for _ in range(2):
        with urllib.request.urlopen(request, timeout=60) as response:
            body = response.read()
            boundary = response.headers.get_param("boundary")
        parts = (b"\r\n" + body).split(f"\r\n--{boundary}".encode())[1:-1]
        assert response.status == 206
        assert [part.partition(b"\r\n\r\n")[2] for part in parts] == [
            content[2900000:],
            content[:10],
            content[1000000:1100000],
        ]
