"""The cache of unpacked layers, shared by all containers; each has a folder named after its diff ID.

FOLDER/sha256/HEX/fs          the layer with this diff ID, in overlay format
FOLDER/sha256/HEX/opaque      exists if the layer hides all lower ones
FOLDER/incoming/..            layers being unpacked; renamed once complete and synced
FOLDER/sha256/HEX.lock        held while unpacking, so that other processes wait
FOLDER/use.lock               held shared from unpacking until a container refers to the layers; exclusively to prune
"""

import gzip
import hashlib
import os
import secrets
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, cast

from isal import igzip_lib, igzip_threaded

from hythe.client.disk_space import CONTAINERS_HINT, writing
from hythe.client.file_lock import locked, locked_if_free
from hythe.client.layout import ImageLayout
from hythe.containers import linux
from hythe.containers.errors import ContainerError
from hythe.containers.root import image_umask, remove_tree
from hythe.containers.unpack import unpack_layer
from hythe.oci.digest import Digest
from hythe.oci.layer import InvalidLayer

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_DECOMPRESSION_ERRORS = (EOFError, gzip.BadGzipFile, igzip_lib.IsalError, zstd.ZstdError)
_CHUNK_SIZE = 1 << 20
_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


class LayerCache:
    """The unpacked layers in a folder, which several processes can use."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, diff_id: Digest) -> Path:
        """Return the folder of a layer, which need not be unpacked yet."""
        return self.folder / diff_id.algorithm / diff_id.hex

    def ensure(self, layout: ImageLayout, layers: Iterable[tuple[Digest, Digest]]) -> None:
        """Unpack missing layers, given as (blob digest, diff ID). Raises InvalidLayer, RemoteNotFound."""
        for blob, diff_id in layers:
            if not self.path(diff_id).is_dir():
                self._unpack(layout, blob, diff_id)

    def lowers(self, diff_ids: Sequence[Digest]) -> list[Path]:
        """Return the lower folders to mount, highest first, for layers given lowest first; stops at an opaque one."""
        folders = []
        for diff_id in reversed(diff_ids):
            path = self.path(diff_id)
            if not path.is_dir():
                raise ContainerError(f"unpacked layer {diff_id} is missing", "remove the container and create it again")
            folders.append(path / "fs")
            if (path / "opaque").exists():
                break
        return folders

    def using(self) -> AbstractContextManager[None]:
        """Prevent pruning from ``ensure`` until a container refers to the layers."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return locked(self.folder / "use.lock", shared=True)

    def prune(self, keep: Callable[[], Iterable[Digest]]) -> None:
        """Remove layers not in ``keep()`` and leftovers of crashes; does nothing while layers are added."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with locked_if_free(self.folder / "use.lock") as acquired:
            if not acquired:
                return
            kept = {self.path(diff_id) for diff_id in keep()}
            removed = [path for path in self.folder.glob("*/*") if path.is_dir() and path not in kept]
            for path in removed:
                # Rename first, so that an interrupted removal leaves no partial layer.
                remove_tree(path if path.parent.name == "incoming" else path.rename(self._incoming()))
                path.with_name(path.name + ".lock").unlink(missing_ok=True)

    def _unpack(self, layout: ImageLayout, blob: Digest, diff_id: Digest) -> None:
        target = self.path(diff_id)
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with locked(target.with_name(target.name + ".lock")):
            if target.is_dir():
                return
            incoming = self._incoming()
            try:
                with writing(self.folder, content="an unpacked layer", hint=CONTAINERS_HINT):
                    self._unpack_to(incoming, layout, blob, diff_id)
                    linux.sync_file_system(incoming)
                    incoming.rename(target)
            except BaseException:
                remove_tree(incoming)
                raise

    def _incoming(self) -> Path:
        folder = self.folder / "incoming"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder / f"{os.getpid()}-{secrets.token_hex(6)}"

    @staticmethod
    def _unpack_to(folder: Path, layout: ImageLayout, blob: Digest, diff_id: Digest) -> None:
        with image_umask():
            (folder / "fs").mkdir(parents=True)
        with layout.open_blob(blob) as file, uncompressed(file) as stream:
            content = _HashedReader(stream, diff_id)
            if unpack_layer(cast(BinaryIO, content), folder / "fs"):
                (folder / "opaque").touch()
            content.check()


class _HashedReader:
    """Hashes what is read, so that a layer is verified while it is unpacked."""

    def __init__(self, stream: BinaryIO, expected: Digest) -> None:
        self._stream = stream
        self._expected = expected
        self._hash = hashlib.new(expected.algorithm)

    def read(self, size: int = -1) -> bytes:
        try:
            data = self._stream.read(size)
        except _DECOMPRESSION_ERRORS as error:  # type: ignore[misc]  # isal's own description of its error is wrong
            raise InvalidLayer(f"layer {self._expected} cannot be decompressed: {error}") from error
        self._hash.update(data)
        return data

    def check(self) -> None:
        """Read the rest of the stream; raises InvalidLayer if the digest does not match."""
        while self.read(_CHUNK_SIZE):
            pass
        if self._hash.hexdigest() != self._expected.hex:
            raise InvalidLayer(f"the layer does not match its diff ID {self._expected}")


def uncompressed(file: BinaryIO) -> BinaryIO:
    """Return the decompressed content of ``file`` (gzip, zstd or uncompressed, detected by magic bytes)."""
    magic = file.read(4)
    file.seek(0)
    if magic.startswith(_GZIP_MAGIC):
        return cast(BinaryIO, igzip_threaded.open(file, "rb", threads=1))  # type: ignore[no-untyped-call]
    if magic == _ZSTD_MAGIC:
        return cast(BinaryIO, zstd.open(file, "rb"))
    return file
