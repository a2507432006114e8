"""The list of the blobs that a backup needs: frames of (digest, size), sorted by digest."""

from collections.abc import AsyncIterator, Sequence
from itertools import groupby
from typing import Any

import msgspec

from hythe.backup.dump import Frames, frame
from hythe.backup.errors import BackupDamaged
from hythe.backup.vault import Vault
from hythe.oci.digest import Digest


class ListedBlob(msgspec.Struct, frozen=True, array_like=True):
    """A blob that a backup needs."""

    digest: str
    size: int


async def framed(batches: AsyncIterator[Sequence[Any]]) -> AsyncIterator[bytes]:
    """Yield the list's bytes from rows of (digest, size)."""
    async for rows in batches:
        yield frame(rows)


async def listed_blobs(pieces: AsyncIterator[bytes]) -> AsyncIterator[list[ListedBlob]]:
    """Yield the blobs of a list in batches. Raises BackupDamaged."""
    frames = Frames(pieces)
    while (content := await frames.next()) is not None:
        try:
            yield msgspec.msgpack.decode(content, type=list[ListedBlob])
        except msgspec.MsgspecError as error:
            raise BackupDamaged(f"the backup's list of blobs cannot be read: {error}") from error


async def blobs_by_folder(vault: Vault, pieces: AsyncIterator[bytes]) -> AsyncIterator[tuple[str, list[ListedBlob]]]:
    """Yield the blobs of a list by their folder in the vault: in memory are those of one folder only."""
    folder, waiting = "", list[ListedBlob]()
    async for blobs in listed_blobs(pieces):
        for name, some in groupby(blobs, key=lambda blob: vault.blob_folder(Digest.parse(blob.digest))):
            if name != folder:
                if waiting:
                    yield folder, waiting
                folder, waiting = name, []
            waiting += some
    if waiting:
        yield folder, waiting
