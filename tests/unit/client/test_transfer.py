"""Transfers between layouts, and their parts: platforms, locations, threads."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from tests.unit.client.sample_images import add_image, add_index, layer_archive

from hythe.client.client import Client
from hythe.client.configuration import Configuration
from hythe.client.credential_files import CredentialFiles
from hythe.client.docker_archive import read_archive
from hythe.client.endpoints import LayoutEndpoint
from hythe.client.errors import ClientError, ContentMismatch, RemoteNotFound
from hythe.client.image_locations import ImageLocation, open_destination, open_source
from hythe.client.layout import ImageLayout, parse_index
from hythe.client.parallel import run_parallel
from hythe.client.platforms import choose_image, is_compatible, parse_platform
from hythe.client.progress import Reporter, TransferState
from hythe.client.transfer import TransferOptions, transfer
from hythe.oci.config import ImageConfig, RootFS
from hythe.oci.digest import Digest
from hythe.oci.manifest import OCI_CONFIG, OCI_MANIFEST, Descriptor, ManifestKind, Platform


@pytest.fixture
def source(tmp_path: Path) -> ImageLayout:
    return ImageLayout(tmp_path / "source")


@pytest.fixture
def target(tmp_path: Path) -> ImageLayout:
    return ImageLayout(tmp_path / "target")


class Notes(Reporter):
    """Records the progress reports."""

    def __init__(self) -> None:
        self.states: list[tuple[str, TransferState]] = []
        self.moved = 0

    def state(self, content: Descriptor, state: TransferState, detail: str = "") -> None:
        self.states.append((content.digest, state))

    def advance(self, content: Descriptor, count: int) -> None:
        self.moved += count


@pytest.mark.parametrize("empty", ["null", "[]"])
def test_an_image_without_layers_is_copied_as_it_is(source: ImageLayout, target: ImageLayout, empty: str) -> None:
    """What Go programs write for an empty list, in manifest, configuration and index alike."""
    config = f'{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":{empty}}}}}'.encode()
    digest, size = str(source.add_document(config)), len(config)
    manifest = f"""{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","annotations":null,"layers":{empty},
        "config":{{"mediaType":"{OCI_CONFIG}","digest":"{digest}","size":{size},"urls":null}}}}""".encode()
    image = Descriptor(OCI_MANIFEST, str(source.add_document(manifest)), len(manifest))
    listed = f"""{{"schemaVersion":2,"annotations":null,"manifests":[{{"platform":null,"annotations":null,
        "mediaType":"{OCI_MANIFEST}","digest":"{image.digest}","size":{image.size}}}]}}""".encode()

    copied = transfer(LayoutEndpoint(source, parse_index(listed).manifests[0]), LayoutEndpoint(target))

    assert copied.manifest.content == manifest
    assert target.read_document(Digest.parse(digest)) == config
    assert ImageConfig.parse(config).rootfs == RootFS()


@pytest.mark.parametrize("empty", [None, []])
def test_an_archived_image_without_layers(target: ImageLayout, empty: list[str] | None) -> None:
    """The `manifest.json` of `docker save` has Go's empty lists, too."""
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": empty}}
    rows = [{"Config": "a.json", "RepoTags": empty, "Layers": empty}]
    files = {"a.json": json.dumps(config).encode(), "manifest.json": json.dumps(rows).encode()}

    (image,) = read_archive(io.BytesIO(layer_archive(files)), target)

    assert target.read_manifest(image.descriptor).layers == ()
    assert image.names == ()


@pytest.mark.parametrize("nothing", ['"manifests":null', '"manifests":null,"mediaType":null', '"manifests":[]'])
def test_an_empty_layout_is_empty(nothing: str) -> None:
    """An index that lists nothing, as Go programs write it."""
    assert parse_index(f'{{"schemaVersion":2,{nothing}}}'.encode()).manifests == ()


def test_every_byte_is_reported_and_copied_once(source: ImageLayout, target: ImageLayout) -> None:
    """A second transfer finds everything at the destination."""
    image = add_image(source, {"a": b"1" * 5000}, {"b": b"2"})
    notes, again = Notes(), Notes()
    first = transfer(LayoutEndpoint(source, image), LayoutEndpoint(target), reporter=notes)
    second = transfer(LayoutEndpoint(source, image), LayoutEndpoint(target), reporter=again)

    assert notes.moved == sum(blob.size for blob in first.manifest.blobs)
    assert [state for _, state in notes.states].count(TransferState.DONE) == 3
    assert (first.already_existed, second.already_existed) == (False, True)
    assert again.states == []


def test_platforms_are_chosen(source: ImageLayout, target: ImageLayout) -> None:
    """One is copied as an image, two as an index of two, all as they are."""
    names = ("amd64", "arm64", "s390x")
    images = {name: add_image(source, {"a": name.encode()}, architecture=name) for name in names}
    index = add_index(source, **images)
    place = LayoutEndpoint(source, index)
    one = transfer(place, LayoutEndpoint(target), TransferOptions((parse_platform("arm64"),))).manifest
    two = transfer(
        place, LayoutEndpoint(target), TransferOptions((parse_platform("arm64"), parse_platform("amd64")))
    ).manifest
    every = transfer(place, LayoutEndpoint(target)).manifest

    assert str(one.digest()) == images["arm64"].digest
    assert (two.kind, [m.digest for m in two.manifests]) == (
        ManifestKind.INDEX,
        [images["arm64"].digest, images["amd64"].digest],
    )
    assert str(every.digest()) == index.digest
    with pytest.raises(RemoteNotFound, match="riscv64"):
        transfer(place, LayoutEndpoint(target), TransferOptions((parse_platform("riscv64"),)))


def test_an_incomplete_index_is_refused(source: ImageLayout, target: ImageLayout) -> None:
    """The error names the missing image, and nothing is tagged at the destination."""
    here = add_image(source, {"a": b"1"})
    gone = Descriptor(here.media_type, str(Digest.of(b"gone")), 4)
    index = add_index(source, amd64=here, arm64=gone)

    with pytest.raises(RemoteNotFound, match="linux/arm64"):
        transfer(LayoutEndpoint(source, index), LayoutEndpoint(target, tag="x"))
    assert target.read_index().manifests == ()


def test_damaged_content_is_not_copied(source: ImageLayout, target: ImageLayout) -> None:
    """A blob that changed on disk fails the transfer."""
    image = add_image(source, {"a": b"1" * 5000})
    layer = source.read_manifest(image).layers[0]
    path = source.blob_path(layer.parsed_digest)
    path.write_bytes(b"x" + path.read_bytes()[1:])

    with pytest.raises(ContentMismatch):
        transfer(LayoutEndpoint(source, image), LayoutEndpoint(target))


def test_a_partial_download_is_completed(source: ImageLayout, target: ImageLayout) -> None:
    """Valid bytes of an earlier download are reused; wrong ones do not damage the result."""
    image = add_image(source, {"a": bytes(range(256)) * 40})
    layer = source.read_manifest(image).layers[0]
    content = source.blob_path(layer.parsed_digest).read_bytes()
    for beginning in (content[:50], b"rubbish", content + b"too much"):
        target.create()
        target.partial_path(layer.parsed_digest).write_bytes(beginning)
        transfer(LayoutEndpoint(source, image), LayoutEndpoint(target))

        assert target.blob_path(layer.parsed_digest).read_bytes() == content
        target.blob_path(layer.parsed_digest).unlink()


def platform(text: str) -> Platform:
    return parse_platform(text)


@pytest.mark.parametrize(
    ("wanted", "offered", "fits"),
    [
        ("linux/amd64", "linux/amd64", True),
        ("linux/amd64", "windows/amd64", False),
        ("linux/arm64", "linux/arm64/v8", True),
        ("linux/arm64/v8", "linux/arm64", True),
        ("linux/arm/v7", "linux/arm/v6", True),
        ("linux/arm/v6", "linux/arm/v7", False),
        ("linux/arm", "linux/arm/v7", True),
        ("linux/amd64", "linux/amd64/v3", False),
    ],
)
def test_which_image_runs_where(wanted: str, offered: str, fits: bool) -> None:
    """With Go's names; newer arm machines run older variants."""
    assert is_compatible(platform(wanted), platform(offered)) is fits


def test_the_best_variant_is_chosen() -> None:
    """The newest of those that run."""
    offered = [
        Descriptor("m", str(Digest.of(text.encode())), 1, platform=platform(text))
        for text in ("linux/arm/v5", "linux/arm/v7", "linux/arm/v6")
    ]

    assert choose_image(offered, platform("linux/arm/v7")).platform == platform("linux/arm/v7")
    assert choose_image(offered, platform("linux/arm/v6")).platform == platform("linux/arm/v6")


@pytest.mark.parametrize("text", ["", "a//b", "linux/", "linux/arm/v7/x"])
def test_an_invalid_platform(text: str) -> None:
    """An error with an example."""
    with pytest.raises(ClientError, match="invalid platform"):
        parse_platform(text)


@pytest.mark.parametrize(
    ("text", "location"),
    [
        ("busybox", ImageLocation("docker", "busybox")),
        ("host:5000/a/b:1", ImageLocation("docker", "host:5000/a/b:1")),
        ("docker://host/a", ImageLocation("docker", "host/a")),
        ("docker:24", ImageLocation("docker", "docker:24")),
        ("store:ann/app:1", ImageLocation("store", "ann/app:1")),
        ("oci:folder", ImageLocation("oci", "folder")),
        ("oci:/a/b:1.2", ImageLocation("oci", "/a/b", "1.2")),
        ("docker-archive:x.tar:ann/app:1", ImageLocation("docker-archive", "x.tar", "ann/app:1")),
    ],
)
def test_parsing_locations(text: str, location: ImageLocation) -> None:
    """A prefix selects the kind; without one it is an image in a registry, even if it is named docker."""
    assert ImageLocation.parse(text) == location


def test_invalid_locations(tmp_path: Path) -> None:
    """A kind that only skopeo supports, and a folder without images."""
    with pytest.raises(ClientError, match="unsupported location"):
        ImageLocation.parse("docker-daemon:ann/app:1")
    client = Client(Configuration(), CredentialFiles({"HOME": str(tmp_path)}), store=tmp_path / "store")
    with pytest.raises(RemoteNotFound, match="not an image layout"), open_source(client, f"oci:{tmp_path}/nothing"):
        pass
    assert not (tmp_path / "nothing").exists()


def test_copying_through_archive_and_folder(source: ImageLayout, tmp_path: Path) -> None:
    """Folder to archive to store to folder: the digest stays the same."""
    image = add_image(source, {"a": b"1"})
    transfer(LayoutEndpoint(source, image), LayoutEndpoint(source, tag="one"))
    client = Client(Configuration(), CredentialFiles({"HOME": str(tmp_path)}), store=tmp_path / "store")
    steps = (
        f"oci:{source.folder}:one",
        f"docker-archive:{tmp_path}/x.tar:ann/app:1",
        "store:again",
        f"oci:{tmp_path}/out:2",
    )
    digests = []
    for here, there in pairwise(steps):
        with open_source(client, here) as origin, open_destination(client, there, here) as destination:
            digests.append(str(transfer(origin, destination).manifest.digest()))

    assert digests == [image.digest] * 3
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["blobs", "index.json", "oci-layout"]


def test_a_folder_with_several_images_requires_a_tag(source: ImageLayout, tmp_path: Path) -> None:
    """The error lists them."""
    for tag in ("one", "two"):
        transfer(LayoutEndpoint(source, add_image(source, {"a": tag.encode()})), LayoutEndpoint(source, tag=tag))
    client = Client(Configuration(), CredentialFiles({"HOME": str(tmp_path)}), store=tmp_path / "store")

    with pytest.raises(RemoteNotFound) as caught, open_source(client, f"oci:{source.folder}"):
        pass
    assert "one, two" in caught.value.hint


def test_tasks_run_in_parallel_and_the_first_error_stops_all() -> None:
    """Waiting tasks are not started, and running ones are asked to stop."""
    together = threading.Barrier(2, timeout=30)
    stopped = threading.Event()
    done: list[int] = []

    def fail() -> None:
        together.wait()
        raise ClientError("broken")

    def wait() -> None:
        together.wait()
        stopped.wait(30)
        done.append(1)

    works: Sequence[object] = [fail, wait, lambda: done.append(2)]
    with pytest.raises(ClientError, match="broken"):
        run_parallel(works, 2, stopped.set)  # type: ignore[arg-type]

    assert done == [1]


@pytest.mark.parametrize("chosen", [(), ("linux/amd64",), ("linux/amd64", "linux/arm64")])
def test_a_platform_that_a_sparse_index_lacks_is_named(
    source: ImageLayout, target: ImageLayout, chosen: tuple[str, ...]
) -> None:
    """The index lists what its source does not have; what it has can be copied."""
    images = {architecture: add_image(source, architecture=architecture) for architecture in ("amd64", "arm64")}
    listed = add_index(source, **images)
    source.blob_path(images["amd64"].parsed_digest).unlink()

    options = TransferOptions(tuple(map(parse_platform, chosen)))
    with pytest.raises(RemoteNotFound) as missing:
        transfer(LayoutEndpoint(source, listed), LayoutEndpoint(target), options)
    copied = transfer(
        LayoutEndpoint(source, listed), LayoutEndpoint(target), TransferOptions((parse_platform("linux/arm64"),))
    )

    assert f"{images['amd64'].digest} (linux/amd64)" in str(missing.value)
    assert str(copied.manifest.digest()) == images["arm64"].digest
