"""Indexes that list their child twice, nest without end or lie, as files and in a registry: every walk ends."""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import msgspec
import pytest
from tests.unit.client.sample_images import add_image

from hythe.cli.main import main
from hythe.client.docker_archive import InvalidArchive, read_archive
from hythe.client.endpoints import LayoutEndpoint
from hythe.client.errors import RemoteNotFound
from hythe.client.layout import ImageLayout
from hythe.client.mounts import mount_sources
from hythe.client.platforms import host_platform
from hythe.client.store import LocalStore
from hythe.client.transfer import TransferOptions, transfer
from hythe.oci.errors import InvalidManifest
from hythe.oci.manifest import MAX_INDEX_DEPTH, OCI_INDEX, OCI_MANIFEST, Descriptor, Index
from hythe.oci.reference import Reference

MANY = 300
"""Levels that double the work each, which no walk without memory would ever end; and more than Python's stack allows
if each takes several frames."""


def nest(layout: ImageLayout, child: Descriptor, levels: int, copies: int = 2) -> Descriptor:
    """Add indexes to ``layout``, each of which lists the one below ``copies`` times; return the top's descriptor."""
    for _ in range(levels):
        listed = msgspec.structs.replace(child, platform=host_platform())
        content = Index(2, OCI_INDEX, (listed,) * copies).encode()
        child = Descriptor(OCI_INDEX, str(layout.add_document(content)), len(content))
    return child


def archive_of(layout: ImageLayout, root: Descriptor) -> io.BytesIO:
    """Return an archive of all blobs of ``layout``, with ``root`` in its index, as an attacker would write it."""
    index = Index(2, OCI_INDEX, (root,)).encode()
    files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": index}
    blobs = (path for path in (layout.folder / "blobs").rglob("*") if path.is_file())
    files |= {str(path.relative_to(layout.folder)): path.read_bytes() for path in blobs}
    return tar_of(files)


def tar_of(files: dict[str, bytes]) -> io.BytesIO:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    written.seek(0)
    return written


@pytest.fixture
def layout(tmp_path: Path) -> ImageLayout:
    return ImageLayout(tmp_path / "made")


@pytest.fixture
def image(layout: ImageLayout) -> Descriptor:
    return add_image(layout, {"etc/first": b"1"})


@pytest.mark.parametrize("copies", [1, 2, 1000])
def test_indexes_as_deep_as_allowed_are_copied(
    layout: ImageLayout, image: Descriptor, tmp_path: Path, copies: int
) -> None:
    """An image that is listed many times on each level is stored once."""
    root = nest(layout, image, MAX_INDEX_DEPTH, copies)
    target = ImageLayout(tmp_path / "target")
    result = transfer(LayoutEndpoint(layout, root), LayoutEndpoint(target))

    assert str(result.origin) == root.digest
    assert target.has(root)
    assert target.has(image)
    assert [one.descriptor for one in read_archive(archive_of(layout, root), ImageLayout(tmp_path / "other"))] == [root]


@pytest.mark.parametrize("levels", [MAX_INDEX_DEPTH + 1, 22, 40, MANY, 3000])
@pytest.mark.parametrize("copies", [1, 2])
def test_deeper_ones_are_refused(
    layout: ImageLayout, image: Descriptor, tmp_path: Path, levels: int, copies: int
) -> None:
    """Copying, loading and choosing a platform all say so, and store no name for it."""
    root = nest(layout, image, levels, copies)
    store = LocalStore(tmp_path / "target")
    for options in (TransferOptions(), TransferOptions((host_platform(),))):
        with pytest.raises(InvalidManifest, match=f"deeper than {MAX_INDEX_DEPTH} levels"):
            transfer(LayoutEndpoint(layout, root), LayoutEndpoint(store), options)
    with pytest.raises(InvalidArchive, match=f"deeper than {MAX_INDEX_DEPTH} levels"):
        read_archive(archive_of(layout, root), store)

    assert store.entries() == ()


def test_a_platform_is_found_below_an_index_of_an_index(layout: ImageLayout, image: Descriptor, tmp_path: Path) -> None:
    """As builders write them who attach attestations to each platform."""
    root = nest(layout, image, 2, 1)
    result = transfer(
        LayoutEndpoint(layout, root),
        LayoutEndpoint(ImageLayout(tmp_path / "target")),
        TransferOptions((host_platform(),)),
    )

    assert str(result.manifest.digest()) == image.digest


@pytest.mark.parametrize("levels", [22, MANY])
def test_a_store_that_holds_such_an_image_can_be_used(
    tmp_path: Path, levels: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every verb that walks the store ends: images, inspect, history, save, mounting for a push, and removal."""
    monkeypatch.setenv("HYTHE_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("HYTHE_STATE", str(tmp_path / "state"))
    store = LocalStore(tmp_path / "store")
    good = add_image(store, {"etc/first": b"1"})
    deep = nest(store, add_image(store, {"etc/second": b"2"}), levels)
    store.put(good, Reference.parse("good"))
    store.put(deep, Reference.parse("hub.example/other/deep"))

    assert main(["images"]) == 0
    assert main(["save", "-o", str(tmp_path / "good.tar"), "good"]) == 0
    for words in (["inspect", "hub.example/other/deep"], ["history", "hub.example/other/deep"]):
        assert main(words) == 6
    assert main(["save", "-o", str(tmp_path / "deep.tar"), "hub.example/other/deep"]) == 6
    assert mount_sources(store, deep, Reference.parse("hub.example/ann/app:1")) == {}
    assert f"deeper than {MAX_INDEX_DEPTH} levels" in capsys.readouterr().err
    assert main(["rmi", "hub.example/other/deep"]) == 0
    assert not store.has(deep)


def test_a_missing_child_and_one_of_another_type_are_named(
    layout: ImageLayout, image: Descriptor, tmp_path: Path
) -> None:
    """A child that does not exist, and one that is an image although its index says that it is an index."""
    missing = Descriptor(OCI_MANIFEST, f"sha256:{'1' * 64}", 10)
    with pytest.raises(RemoteNotFound, match="of the index does not exist"):
        transfer(LayoutEndpoint(layout, nest(layout, missing, 1)), LayoutEndpoint(ImageLayout(tmp_path / "target")))
    lying = msgspec.structs.replace(image, media_type=OCI_INDEX)
    with pytest.raises(InvalidManifest, match="differs from"):
        transfer(LayoutEndpoint(layout, nest(layout, lying, 1)), LayoutEndpoint(ImageLayout(tmp_path / "target")))


def test_manifests_have_a_bound_together(
    layout: ImageLayout, image: Descriptor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many different manifests do not fill the memory, whatever sizes the index claims for them."""
    monkeypatch.setattr("hythe.client.image_tree.MAX_TREE_BYTES", 100_000)
    children = []
    for number in range(200):
        content = Index(2, OCI_INDEX, (), annotations={"padding": f"{number:01000}"}).encode()
        children.append(Descriptor(OCI_INDEX, str(layout.add_document(content)), 1))
    content = Index(2, OCI_INDEX, tuple(children)).encode()
    root = Descriptor(OCI_INDEX, str(layout.add_document(content)), len(content))
    with pytest.raises(InvalidManifest, match="the manifests of the image have more than"):
        transfer(LayoutEndpoint(layout, root), LayoutEndpoint(ImageLayout(tmp_path / "target")))


_ROW = {"Config": "c.json", "RepoTags": ["box:1"], "Layers": ["l.tar"]}


@pytest.mark.parametrize(
    "files",
    [
        {"manifest.json": b"[" * 200_000},
        {"index.json": b'{"manifests":' + b"[" * 200_000},
        {"manifest.json": json.dumps([{**_ROW, "RepoTags": [5]}]).encode(), "c.json": b"{}", "l.tar": b""},
        {"manifest.json": b"[[]]"},
        {"manifest.json": b" " * (17 << 20)},
        {"index.json": b"\xff\xfe", "manifest.json": b"[]"},
    ],
    ids=["deep-json", "deep-index", "number-as-name", "list-as-row", "large", "not-text"],
)
def test_documents_that_are_none_are_refused(tmp_path: Path, files: dict[str, bytes]) -> None:
    """Deeply nested JSON, values of other types and documents over the limit are one clear error each."""
    with pytest.raises(InvalidArchive):
        read_archive(tar_of(files), ImageLayout(tmp_path / "target"))


def test_headers_and_names_of_an_archive_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A header of gigabytes, compressed to nothing, is refused before it is read; so are endless names."""
    header = tarfile.TarInfo("long")
    header.type, header.size = tarfile.XHDTYPE, 2 << 20
    packed = io.BytesIO(gzip.compress(header.tobuf() + bytes(2 << 20)))
    with pytest.raises(InvalidArchive, match="too large"):
        read_archive(packed, ImageLayout(tmp_path / "target"))
    monkeypatch.setattr("hythe.client.docker_archive.MAX_MEMBERS", 10)
    with pytest.raises(InvalidArchive, match="more than 10 files"):
        read_archive(tar_of({str(number): b"" for number in range(11)}), ImageLayout(tmp_path / "target"))


@dataclass
class HostileRegistry:
    """Serves manifests by digest; keeps what was asked for."""

    host: str
    manifests: dict[str, bytes]
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def registry(layout: ImageLayout, image: Descriptor) -> Iterator[HostileRegistry]:
    found = HostileRegistry("", {})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the standard library's name
            name = self.path.rpartition("/")[2]
            found.asked.append(name)
            content = found.manifests.get(name, b"{}" if self.path == "/v2/" else b"")
            kind = OCI_MANIFEST if b'"layers"' in content else OCI_INDEX
            self.send_response(200 if content else 404)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *words: Any) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    found.host = f"127.0.0.1:{server.server_address[1]}"
    root = nest(layout, image, 40)
    for path in (layout.folder / "blobs/sha256").iterdir():
        content = path.read_bytes()
        found.manifests[f"sha256:{hashlib.sha256(content).hexdigest()}"] = content
    found.manifests["deep"] = layout.read_document(root.parsed_digest)
    yield found
    server.shutdown()
    server.server_close()


def test_pulling_all_platforms_of_a_deep_index_ends(
    registry: HostileRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`pull --all-platforms` asks for each level once, and says what is wrong with the image."""
    monkeypatch.setenv("HYTHE_STORE", str(tmp_path / "store"))

    assert main(["pull", "--all-platforms", f"{registry.host}/ann/deep:deep"]) == 6
    assert f"deeper than {MAX_INDEX_DEPTH} levels" in capsys.readouterr().err
    assert len(registry.asked) <= MAX_INDEX_DEPTH + 3
