"""Open the blob store that the settings name."""

from pathlib import Path

from hythe.registry.storage.local import LocalBlobStore
from hythe.registry.storage.port import BlobStore


def open_blob_store(data: Path, url: str = "", *, redirect: bool = True) -> BlobStore:
    """Open the store in the data folder, or in the bucket that ``url`` names (``s3://``, ``gs://``, ``az://``).

    ``redirect``: a bucket's blobs are fetched by the clients themselves. A bucket is not asked for anything yet.
    Raises StorageUnavailable, and SettingsError for a URL that names no bucket.
    """
    if not url:
        return LocalBlobStore(data)
    # Only here: it takes 25 ms to import, and most need it not.
    from hythe.registry.storage.bucket import Bucket
    from hythe.registry.storage.object import ObjectBlobStore

    return ObjectBlobStore(Bucket(url), redirect=redirect)
