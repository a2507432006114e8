"""The local store: names, IDs, several processes, garbage collection."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.unit.client.sample_images import add_image, add_index

from hythe.client.errors import ClientError, ContentMismatch, RemoteConflict, RemoteNotFound
from hythe.client.platforms import parse_platform
from hythe.client.store import GC_GRACE_PERIOD, LocalStore, default_folder
from hythe.oci.digest import Digest
from hythe.oci.reference import Reference


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def ref(text: str) -> Reference:
    return Reference.parse(text)


def test_an_image_is_found_by_name_digest_and_id_prefix(store: LocalStore) -> None:
    """All ways in which docker's users refer to an image find the same one."""
    descriptor = add_image(store, {"a": b"1"})
    store.put(descriptor, ref("tiny:1"))
    image = store.resolve("tiny:1")

    for text in (
        "docker.io/library/tiny:1",
        f"tiny@{descriptor.digest}",
        image.id.hex,
        image.id.short,
        str(image.id),
        descriptor.digest[7:15],
    ):
        assert store.resolve(text) == image
    assert store.read_config(image).architecture == "amd64"


def test_an_unknown_name_is_not_found_with_a_hint(store: LocalStore) -> None:
    """The hint says how to get the image."""
    with pytest.raises(RemoteNotFound, match="no such image: nothing") as caught:
        store.resolve("nothing")

    assert "hythe pull nothing" in caught.value.hint


def test_an_ambiguous_id_is_refused(store: LocalStore) -> None:
    """A prefix of several IDs is an error."""
    seen: dict[str, int] = {}
    number = 0
    while not any(count > 1 for count in seen.values()):
        store.put(add_image(store, {"a": str(number).encode()}), ref(f"tiny:{number}"))
        seen = {}
        for image in store.images():
            seen[image.id.hex[0]] = seen.get(image.id.hex[0], 0) + 1
        number += 1
    twice = next(prefix for prefix, count in seen.items() if count > 1)

    with pytest.raises(ClientError, match="several"):
        store.resolve(twice)


def test_a_moved_name_leaves_the_old_image_without_name(store: LocalStore) -> None:
    """A tag refers to one image; the previous one is still found by its ID."""
    first = add_image(store, {"a": b"1"})
    second = add_image(store, {"a": b"2"})
    store.put(first, ref("tiny"))
    store.put(second, ref("tiny"))

    assert store.resolve("tiny").digest == Digest.parse(second.digest)
    assert store.resolve(first.digest).entry.names == ()


def test_names_share_one_image(store: LocalStore) -> None:
    """Two names of an image are one entry; removing one keeps the other."""
    descriptor = add_image(store, {"a": b"1"})
    store.put(descriptor, ref("tiny:1"))
    store.put(descriptor, ref("localhost:5000/ann/tiny:2"))
    left = store.untag(ref("tiny:1"))

    assert left.names == ("localhost:5000/ann/tiny:2",)
    assert len(store.entries()) == 1
    with pytest.raises(RemoteNotFound):
        store.untag(ref("tiny:1"))


def test_removing_keeps_what_another_image_needs(store: LocalStore) -> None:
    """Shared layers are kept, others are deleted, and the other image is complete."""
    first = store.put(add_image(store, {"shared": b"1"}, {"own": b"1"}), ref("one"))
    store.put(add_image(store, {"shared": b"1"}, {"own": b"2"}), ref("two"))
    gone = store.remove(first)
    kept = store.resolve("two")

    assert len(gone) == 3  # manifest, configuration, the layer of its own
    assert all(store.has(blob) for blob in kept.manifest.blobs)
    with pytest.raises(RemoteNotFound):
        store.resolve("one")


def test_an_image_that_a_container_uses_is_not_removed(store: LocalStore) -> None:
    """A pin prevents removal and keeps the content, until it is removed."""
    entry = store.put(add_image(store, {"a": b"1"}), ref("one"))
    store.pin("c0ffee", Digest.parse(entry.descriptor.digest))

    with pytest.raises(RemoteConflict, match="c0ffee"):
        store.remove(entry)
    store.unpin("c0ffee")
    assert len(store.remove(entry)) == 3


def test_garbage_waits_for_writers_and_for_a_day(store: LocalStore) -> None:
    """Unreferenced content is kept during writes, and for a day, so that an interrupted pull can resume."""
    digest, _ = store.add_blob(io.BytesIO(b"lost"))
    path = store.blob_path(digest)

    assert store.collect_garbage() == ()
    os.utime(path, (time.time() - GC_GRACE_PERIOD - 1,) * 2)
    with store.writing():
        assert store.collect_garbage() == ()
    assert store.collect_garbage() == (digest,)
    assert not path.exists()


def test_content_with_a_wrong_digest_is_refused(store: LocalStore) -> None:
    """It leaves nothing behind."""
    expected = Digest.of(b"right")

    with pytest.raises(ContentMismatch):
        store.add_blob(io.BytesIO(b"wrong"), expected)
    assert not store.blob_path(expected).exists()
    assert list((store.work / "partial").iterdir()) == []


def test_damaged_content_is_an_error(store: LocalStore) -> None:
    """A document that changed on disk is reported, not used."""
    descriptor = add_image(store, {"a": b"1"})
    store.put(descriptor, ref("tiny"))
    store.blob_path(Digest.parse(descriptor.digest)).write_bytes(b"{}")

    with pytest.raises(ContentMismatch):
        store.resolve("tiny")


def test_choosing_the_platform_of_an_index(store: LocalStore) -> None:
    """A missing platform is an error that names it."""
    amd = add_image(store, {"a": b"amd"})
    arm = add_image(store, {"a": b"arm"}, architecture="arm64")
    store.put(add_index(store, amd64=amd, arm64=arm), ref("multi"))

    assert store.resolve("multi", parse_platform("linux/arm64")).manifest.descriptor().digest == arm.digest
    assert store.resolve("multi", parse_platform("amd64")).manifest.descriptor().digest == amd.digest
    with pytest.raises(RemoteNotFound, match="s390x"):
        store.resolve("multi", parse_platform("linux/s390x"))


def test_several_processes_name_images_at_once(store: LocalStore) -> None:
    """No name is lost when many processes change the index at the same time."""
    descriptor = add_image(store, {"a": b"1"})
    program = """
import sys
from pathlib import Path
from hythe.client.store import LocalStore
from hythe.oci.manifest import Descriptor
from hythe.oci.reference import Reference
folder, worker, media_type, digest, size = sys.argv[1:]
store = LocalStore(Path(folder))
for number in range(10):
    with store.writing():
        store.put(Descriptor(media_type, digest, int(size)), Reference.parse(f"tiny:{worker}-{number}"))
"""
    common = [descriptor.media_type, descriptor.digest, str(descriptor.size)]
    workers = [
        subprocess.Popen([sys.executable, "-c", program, str(store.folder), str(worker), *common])
        for worker in range(4)
    ]

    assert [worker.wait(60) for worker in workers] == [0] * 4
    assert len(store.entries()[0].names) == 40


def test_skopeo_reads_the_store(store: LocalStore) -> None:
    """The store is a standard image layout, including its names."""
    store.put(add_image(store, {"a": b"1"}), ref("tiny:1"))
    output = subprocess.run(
        ["skopeo", "inspect", "--config", f"oci:{store.folder}:docker.io/library/tiny:1"],
        capture_output=True,
        check=True,
    )

    assert b'"architecture": "amd64"' in output.stdout


def test_a_name_that_another_tool_wrote_is_found(store: LocalStore) -> None:
    """Short names in the index mean the same as when typed."""
    store.put(add_image(store, {"a": b"1"}), ref("tiny:1"))
    subprocess.run(
        ["skopeo", "copy", "-q", f"oci:{store.folder}:docker.io/library/tiny:1", f"oci:{store.folder}:other:2"],
        check=True,
    )

    assert store.resolve("other:2").id == store.resolve("tiny:1").id


def test_the_folder_of_the_store() -> None:
    """HYTHE_STORE, else the XDG data folder, else its default."""
    assert default_folder({"HYTHE_STORE": "/s", "XDG_DATA_HOME": "/x"}) == Path("/s")
    assert default_folder({"XDG_DATA_HOME": "/x", "HOME": "/h"}) == Path("/x/hythe/store")
    assert default_folder({"HOME": "/h"}) == Path("/h/.local/share/hythe/store")
