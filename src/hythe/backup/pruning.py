"""Deletes old backups, what interrupted ones left, and blobs that no remaining backup needs."""

from hythe.backup.blob_list import listed_blobs
from hythe.backup.vault import BackupManifest, Vault, blob_list_name, manifest_name
from hythe.oci.digest import Digest

FILES_AT_ONCE = 500


class Pruned:
    """What was deleted."""

    def __init__(self) -> None:
        self.backups = self.blobs = self.bytes = 0


async def prune(vault: Vault, keep: int) -> Pruned:
    """Keep the newest ``keep`` backups.

    The caller holds off garbage collection, so that no other backup is made at the same time. A backup
    loses its manifest first, so that no incomplete one can be restored; blobs are deleted last.
    """
    manifests = await vault.manifests()
    kept, old = manifests[-keep:], manifests[:-keep]
    pruned = Pruned()
    for manifest in old:
        await vault.place.delete([manifest_name(manifest.name)])
        pruned.backups += 1
    names = {manifest.name for manifest in kept}
    leftovers = [entry.name async for entry in vault.place.entries("backups") if entry.name.split("/")[1] not in names]
    await vault.place.delete(leftovers)
    await _delete_unneeded(vault, await _needed(vault, kept), pruned)
    return pruned


async def _needed(vault: Vault, manifests: list[BackupManifest]) -> set[bytes]:
    """Return the last parts of the names of all blobs that the backups need, as bytes: there may be millions."""
    needed = set[bytes]()
    for manifest in manifests:
        async for blobs in listed_blobs(vault.read(blob_list_name(manifest.name))):
            needed.update(_key(vault.blob_name(Digest.parse(blob.digest))) for blob in blobs)
    return needed


async def _delete_unneeded(vault: Vault, needed: set[bytes], pruned: Pruned) -> None:
    doomed: list[str] = []
    async for entry in vault.place.entries("blobs"):
        if _key(entry.name) not in needed:
            doomed.append(entry.name)
            pruned.blobs += 1
            pruned.bytes += entry.size
        if len(doomed) == FILES_AT_ONCE:
            await vault.place.delete(doomed)
            doomed = []
    await vault.place.delete(doomed)


def _key(name: str) -> bytes:
    return bytes.fromhex(name.rpartition("/")[2])
