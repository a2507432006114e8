"""Where the registry keeps the bytes of blobs; ``open_blob_store`` opens the store of the settings."""

from pathlib import Path

from hythe.registry.storage.local import LocalBlobStore
from hythe.registry.storage.port import BlobStore


def open_blob_store(data: Path, url: str = "", *, redirect: bool = True, entry_lifetime: float = 0.0) -> BlobStore:
    """Open the store in the data folder, or in the bucket ``url`` (``s3://``, ``gs://``, ``az://``).

    ``redirect``: clients fetch a bucket's blobs directly. ``entry_lifetime``: see ObjectBlobStore. Sends no
    request to the bucket. Raises StorageUnavailable, and SettingsError for a URL without a bucket.
    """
    if not url:
        return LocalBlobStore(data)
    # Import here: it takes 25 ms, and most registries do not need it.
    from hythe.registry.storage.bucket import Bucket
    from hythe.registry.storage.object import ObjectBlobStore

    return ObjectBlobStore(Bucket(url), redirect=redirect, entry_lifetime=entry_lifetime)
