"""The cache of unpacked layers: verified, unpacked once, never partial."""

import hashlib
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from isal import igzip
from tests.parts.base_images import layer_tar

from hythe.client.errors import RemoteNotFound
from hythe.client.layout import ImageLayout
from hythe.containers.errors import ContainerError
from hythe.containers.layers import LayerCache
from hythe.oci.digest import Digest
from hythe.oci.layer import InvalidLayer, LayerWriter, Opaque

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to other owners")

TAR = layer_tar({"etc/a": "1\n"})
DIFF_ID = Digest.of(TAR)


@pytest.fixture
def layout(tmp_path: Path) -> ImageLayout:
    return ImageLayout(tmp_path / "store")


@pytest.fixture
def cache(tmp_path: Path) -> LayerCache:
    return LayerCache(tmp_path / "layers")


def add(layout: ImageLayout, content: bytes) -> Digest:
    return layout.add_blob(io.BytesIO(content))[0]


@pytest.mark.parametrize("compress", [bytes, igzip.compress, zstd.compress], ids=["plain", "gzip", "zstd"])
def test_layers_are_unpacked_whatever_their_compression(
    layout: ImageLayout, cache: LayerCache, compress: Callable[[bytes], bytes]
) -> None:
    """The compression is detected by the first bytes."""
    cache.ensure(layout, [(add(layout, compress(TAR)), DIFF_ID)])

    [lower] = cache.lowers([DIFF_ID])
    assert (lower / "etc/a").read_text() == "1\n"


def test_a_layer_is_unpacked_once(layout: ImageLayout, cache: LayerCache) -> None:
    """An unpacked layer is used even if its blob was deleted."""
    blob = add(layout, TAR)
    cache.ensure(layout, [(blob, DIFF_ID)])
    before = (cache.path(DIFF_ID) / "fs").stat()
    layout.blob_path(blob).unlink()
    cache.ensure(layout, [(blob, DIFF_ID)])

    assert (cache.path(DIFF_ID) / "fs").stat() == before


@pytest.mark.parametrize(
    ("content", "error"),
    [(igzip.compress(layer_tar({"etc/a": "2\n"})), InvalidLayer), (TAR[:700], InvalidLayer), (b"no tar", InvalidLayer)],
)
def test_a_wrong_layer_leaves_nothing(
    layout: ImageLayout, cache: LayerCache, content: bytes, error: type[Exception]
) -> None:
    """Content that does not match the diff ID is refused, and nothing of it is kept."""
    with pytest.raises(error):
        cache.ensure(layout, [(add(layout, content), DIFF_ID)])

    assert not cache.path(DIFF_ID).exists()
    assert list((cache.folder / "incoming").iterdir()) == []


def test_a_truncated_gzip_is_an_invalid_layer(layout: ImageLayout, cache: LayerCache) -> None:
    """A gzip stream that ends early raises InvalidLayer."""
    noise = layer_tar({"etc/a": hashlib.sha512(b"x").hexdigest() * 999})
    with pytest.raises(InvalidLayer):
        cache.ensure(layout, [(add(layout, igzip.compress(noise)[:-40]), Digest.of(noise))])


def test_a_missing_blob_is_reported(layout: ImageLayout, cache: LayerCache) -> None:
    """The hint says to pull again."""
    layout.create()
    with pytest.raises(RemoteNotFound):
        cache.ensure(layout, [(DIFF_ID, DIFF_ID)])


def test_an_opaque_root_hides_the_rest(layout: ImageLayout, cache: LayerCache) -> None:
    """Layers below one with an opaque root are not mounted."""
    stream = io.BytesIO()
    writer = LayerWriter(stream)
    writer.add(Opaque(""))
    writer.close()
    opaque = stream.getvalue()
    cache.ensure(layout, [(add(layout, TAR), DIFF_ID), (add(layout, opaque), Digest.of(opaque))])

    assert cache.lowers([DIFF_ID, Digest.of(opaque)]) == [cache.path(Digest.of(opaque)) / "fs"]


def test_pruning_keeps_what_is_needed(layout: ImageLayout, cache: LayerCache) -> None:
    """Unused layers and leftovers are removed, but nothing while layers are being added."""
    other = layer_tar({"b": "2\n"})
    cache.ensure(layout, [(add(layout, TAR), DIFF_ID), (add(layout, other), Digest.of(other))])
    (cache.folder / "incoming/1-half/fs").mkdir(parents=True)
    with cache.using():
        cache.prune(list)
        assert len(cache.lowers([DIFF_ID, Digest.of(other)])) == 2
    cache.prune(lambda: [DIFF_ID])

    assert cache.path(DIFF_ID).is_dir()
    assert list((cache.folder / "incoming").iterdir()) == []
    with pytest.raises(ContainerError, match=r"unpacked layer .* is missing"):
        cache.lowers([Digest.of(other)])


def test_several_processes_unpack_the_same_layer(layout: ImageLayout, cache: LayerCache) -> None:
    """All get it, and never see a partial one."""
    blob = add(layout, igzip.compress(layer_tar({f"f{number}": "x" * 1000 for number in range(300)})))
    diff_id = Digest.of(layer_tar({f"f{number}": "x" * 1000 for number in range(300)}))
    script = """
import sys
from pathlib import Path
from hythe.client.layout import ImageLayout
from hythe.containers.layers import LayerCache
from hythe.oci.digest import Digest
store, folder, blob, diff_id = sys.argv[1:]
cache = LayerCache(Path(folder))
cache.ensure(ImageLayout(Path(store)), [(Digest.parse(blob), Digest.parse(diff_id))])
[lower] = cache.lowers([Digest.parse(diff_id)])
print(len(list(lower.iterdir())))
"""
    words = [sys.executable, "-c", script, str(layout.folder), str(cache.folder), str(blob), str(diff_id)]
    processes = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(4)]

    assert [process.communicate()[0] for process in processes] == ["300\n"] * 4
