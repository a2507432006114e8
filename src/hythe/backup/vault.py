"""A vault: the backups of one installation in one place, which share their blobs.

vault                           what it is, JSON; with the sealed key if it is encrypted
blobs/sha256/ab/NAME            a blob; NAME is its digest, or hides it if the vault is encrypted
backups/NAME/database           the dump
backups/NAME/blobs              the digests and sizes of the blobs that the backup needs, sorted
backups/NAME/manifest.json      written last: without it there is no backup
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime

import msgspec

from hythe.backup.errors import BackupDamaged, BackupError, WrongPassphrase
from hythe.backup.place import Missing, Place, one_piece, read_whole
from hythe.backup.sealing import SealedKey, Sealing
from hythe.oci.digest import Digest

VAULT_FILE = "vault"
FORMAT = 1
MANIFEST = "manifest.json"


class VaultInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The content of the file ``vault``; ``key`` is None if the vault is not encrypted."""

    format: int = FORMAT
    installation: str
    key: SealedKey | None = None


class MissingBlob(msgspec.Struct, frozen=True):
    """A blob that the backup should have and has not, with the reason."""

    digest: str
    problem: str


class BackupManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup contains; times in UTC, sizes in bytes before encryption.

    ``blob_store`` is the marker of the blob store at that time, ``key_fingerprint`` that of the key that seals secrets.
    ``secret_key`` says whether that key is in the backup, which is only done in an encrypted vault.
    """

    format: int = FORMAT
    name: str
    started_at: datetime
    finished_at: datetime
    version: str
    kind: str
    installation: str
    blob_store: str | None
    key_fingerprint: str | None = None
    revision: str
    engine: str
    rows: int
    database_size: int
    database_digest: str
    blobs: int
    blob_size: int
    missing: tuple[MissingBlob, ...] = ()
    secret_key: bool = False


class Vault:
    """An open vault."""

    def __init__(self, place: Place, info: VaultInfo, sealing: Sealing | None) -> None:
        self.place = place
        self.info = info
        self._sealing = sealing

    @property
    def encrypted(self) -> bool:
        """Whether files are encrypted."""
        return self._sealing is not None

    def blob_name(self, digest: Digest) -> str:
        """Return the name of a blob. Its folder depends on the digest's first byte, also if the rest is hidden."""
        name = digest.hex if self._sealing is None else self._sealing.hidden(str(digest))
        return f"{self.blob_folder(digest)}/{name}"

    def blob_folder(self, digest: Digest) -> str:
        """Return the folder of a blob."""
        return f"blobs/{digest.algorithm}/{digest.hex[:2]}"

    def stored_size(self, size: int) -> int:
        """Return how many bytes a file takes whose content has ``size``."""
        return size if self._sealing is None else self._sealing.sealed_size(size)

    async def write(self, name: str, content: AsyncIterator[bytes]) -> None:
        """Store a file; nothing is stored if ``content`` raises."""
        await self.place.write(name, content if self._sealing is None else self._sealing.sealed(name, content))

    def read(self, name: str) -> AsyncIterator[bytes]:
        """Yield the content of a file. Raises Missing and BackupDamaged."""
        stored = self.place.read(name)
        return stored if self._sealing is None else self._sealing.opened(name, stored)

    async def add_manifest(self, manifest: BackupManifest) -> None:
        """Write the manifest, with which the backup exists."""
        content = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
        await self.place.write(manifest_name(manifest.name), one_piece(content))

    async def manifests(self) -> list[BackupManifest]:
        """Return all backups, oldest first."""
        return await manifests_in(self.place)


async def open_vault(place: Place, passphrase: bytes | None) -> Vault:
    """Open the vault in a place. Raises BackupError and WrongPassphrase."""
    info = await _info(place)
    if info is None:
        raise BackupError(f"there are no backups in {place.title}", "correct the folder or URL")
    if info.key is None:
        if passphrase is not None:
            raise WrongPassphrase(
                f"the backups in {place.title} are not encrypted", "leave out --passphrase-file, or use another place"
            )
        return Vault(place, info, None)
    if passphrase is None:
        raise WrongPassphrase(f"the backups in {place.title} are encrypted", "use --passphrase-file FILE")
    return Vault(place, info, await asyncio.to_thread(Sealing.open, info.key, passphrase))


async def make_vault(place: Place, installation: str, passphrase: bytes | None) -> Vault:
    """Open the vault in a place, or create it in an empty one: encrypted if there is a passphrase.

    Raises BackupError if it belongs to another installation, and the errors of ``open_vault``.
    """
    info = await _info(place)
    if info is None:
        async for entry in place.entries("backups"):
            raise BackupError(f"{place.title} has {entry.name}, but no file 'vault'", "use an empty folder or prefix")
        sealing, key = (None, None) if passphrase is None else await asyncio.to_thread(Sealing.create, passphrase)
        info = VaultInfo(installation=installation, key=key)
        await place.write(VAULT_FILE, one_piece(msgspec.json.encode(info)))
        return Vault(place, info, sealing)
    if info.installation != installation:
        raise BackupError(
            f"{place.title} has the backups of another installation",
            "use another folder or prefix for each installation",
        )
    return await open_vault(place, passphrase)


async def manifests_in(place: Place) -> list[BackupManifest]:
    """Return all backups in a place, oldest first; needs no passphrase. Raises BackupError."""
    names = [entry.name async for entry in place.entries("backups") if entry.name.endswith(f"/{MANIFEST}")]
    found = [await _manifest(place, name) for name in names]
    return sorted(found, key=lambda manifest: manifest.started_at)


async def _manifest(place: Place, name: str) -> BackupManifest:
    try:
        manifest = msgspec.json.decode(await read_whole(place.read(name)), type=BackupManifest)
    except msgspec.MsgspecError as error:
        raise BackupDamaged(f"{name} cannot be read: {error}") from error
    if manifest_name(manifest.name) != name:
        # Its other files are found by this name, and pruning deletes them: it must not lead anywhere else.
        raise BackupDamaged(f"{name} is that of another backup: {manifest.name[:100]!r}")
    return manifest


async def _info(place: Place) -> VaultInfo | None:
    try:
        content = await read_whole(place.read(VAULT_FILE))
        return msgspec.json.decode(content, type=VaultInfo)
    except Missing:
        return None
    except msgspec.MsgspecError as error:
        raise BackupDamaged(f"the file 'vault' in {place.title} cannot be read: {error}") from error


def manifest_name(backup: str) -> str:
    """Return the name of a backup's manifest."""
    return f"backups/{backup}/{MANIFEST}"


def database_name(backup: str) -> str:
    """Return the name of a backup's dump."""
    return f"backups/{backup}/database"


def blob_list_name(backup: str) -> str:
    """Return the name of a backup's list of blobs."""
    return f"backups/{backup}/blobs"


def secret_key_name(backup: str) -> str:
    """Return the name of the key that seals secrets; only encrypted vaults have it."""
    return f"backups/{backup}/secret.key"


def chosen(manifests: Sequence[BackupManifest], name: str | None) -> BackupManifest:
    """Return the backup with this name, or the newest one. Raises BackupError."""
    if not manifests:
        raise BackupError("there is no finished backup in this place", "run 'backup' to its end")
    if name is None:
        return manifests[-1]
    for manifest in manifests:
        if manifest.name == name:
            return manifest
    raise BackupError(f"there is no backup {name}", "'backups' lists them")
