"""The endpoints of a transfer: a repository in a registry, an image layout, or the local store."""

import threading
from collections.abc import Callable
from typing import Protocol

import msgspec

from hythe.client.blob_stream import BlobSource, BlobStream, FileStream, ResponseStream
from hythe.client.download import BlobDownload
from hythe.client.errors import DiskFull, RemoteNotFound
from hythe.client.layout import ImageLayout
from hythe.client.progress import Reporter
from hythe.client.protocol import RemoteRepository
from hythe.client.retry import Retries, RetryPolicy
from hythe.client.store import NAME_KEY, LocalStore
from hythe.client.upload import BlobUpload
from hythe.oci.digest import Digest
from hythe.oci.manifest import Descriptor, Manifest
from hythe.oci.reference import Reference


class TransferSource(BlobSource, Protocol):
    """An endpoint to read an image from."""

    def root(self) -> Manifest:
        """Return the manifest or index of the source; raises RemoteNotFound."""

    def child(self, descriptor: Descriptor) -> Manifest:
        """Return a manifest of an index; raises RemoteNotFound."""

    def stop(self) -> None:
        """Abort all running operations."""


class TransferDestination(Protocol):
    """An endpoint to write an image to."""

    def has(self, manifest: Manifest) -> bool:
        """Whether the destination has the whole image already."""

    def copy_blob(self, content: Descriptor, source: BlobSource, reporter: Reporter) -> None:
        """Copy one blob to the destination."""

    def put(self, manifest: Manifest) -> None:
        """Store a manifest; its blobs and children must exist."""

    def tag(self, manifest: Manifest, origin: Digest) -> None:
        """Store a manifest under the destination's name; ``origin`` is its digest at the source."""

    def stop(self) -> None:
        """Abort all running operations."""


MountLookup = Callable[[str], str | None]
"""Returns another repository of the same registry that should have the blob with a digest."""


def _no_mount(digest: str) -> None:
    """Never mount."""


class RegistryEndpoint:
    """An image in a registry, by tag or digest."""

    def __init__(self, repository: RemoteRepository, target: str, mount: MountLookup = _no_mount) -> None:
        self.repository = repository
        self.target = target
        self._mount = mount

    def root(self) -> Manifest:
        """Return the manifest of the tag or digest."""
        return self.repository.get_manifest(self.target)

    def child(self, descriptor: Descriptor) -> Manifest:
        """Return a manifest by its digest."""
        return self.repository.get_manifest(descriptor.digest)

    def open_blob(self, descriptor: Descriptor, offset: int = 0) -> BlobStream:
        """Open a blob for reading."""
        return ResponseStream(self.repository.open_blob(descriptor, offset), offset)

    def has(self, manifest: Manifest) -> bool:
        """Whether the repository has the manifest; a registry keeps everything that a manifest refers to."""
        return self.repository.has_manifest(str(manifest.digest()))

    def copy_blob(self, content: Descriptor, source: BlobSource, reporter: Reporter) -> None:
        """Upload one blob."""
        BlobUpload(content, source, self.repository, reporter, self._mount(content.digest)).run()

    def put(self, manifest: Manifest) -> None:
        """Store a manifest under its digest."""
        self.repository.put_manifest(manifest, str(manifest.digest()))

    def tag(self, manifest: Manifest, origin: Digest) -> None:
        """Store the manifest under the tag or digest."""
        self.repository.put_manifest(manifest, self.target)

    def stop(self) -> None:
        """Close all connections and end all waits."""
        self.repository.session.stop()


class LayoutEndpoint:
    """An image layout on disk: an image to read (``source``), or a tag for the image that is written."""

    def __init__(
        self,
        layout: ImageLayout,
        source: Descriptor | None = None,
        tag: str = "",
        policy: RetryPolicy | None = None,
    ) -> None:
        self.layout = layout
        self.stored: Descriptor | None = None
        self._source = source
        self._tag = tag
        self._policy = policy or RetryPolicy()
        self._stopped = threading.Event()
        self._disk_full = threading.Event()
        layout.create()

    def root(self) -> Manifest:
        """Return the manifest of the source."""
        if self._source is None:
            raise RemoteNotFound(f"no image selected in {self.layout.folder}")
        return self.layout.read_manifest(self._source)

    def child(self, descriptor: Descriptor) -> Manifest:
        """Return a manifest by its digest."""
        return self.layout.read_manifest(descriptor)

    def open_blob(self, descriptor: Descriptor, offset: int = 0) -> BlobStream:
        """Open a blob's file."""
        return FileStream(self.layout.open_blob(descriptor.parsed_digest), offset)

    def has(self, manifest: Manifest) -> bool:
        """Whether the layout has the manifest and all its blobs."""
        here = self.layout.has(manifest.descriptor())
        return here and all(self.layout.has(blob) for blob in (*manifest.blobs, *manifest.manifests))

    def copy_blob(self, content: Descriptor, source: BlobSource, reporter: Reporter) -> None:
        """Download one blob. It can be resumed after an error, except on a full disk: then no part stays."""
        retries = Retries(self._policy, self._stopped)
        try:
            with self.layout.writing_to_disk(content.size):
                BlobDownload(content, source, self.layout, reporter, retries, self._stopped).run()
        except Exception as error:
            if isinstance(error, DiskFull):
                self._disk_full.set()
            if self._disk_full.is_set():  # also because of another blob
                self.layout.discard_partials()
            raise

    def put(self, manifest: Manifest) -> None:
        """Store a manifest."""
        self.layout.add_document(manifest.content)

    def tag(self, manifest: Manifest, origin: Digest) -> None:
        """Store the manifest and add it to the index, under the tag."""
        self.put(manifest)
        self.stored = manifest.descriptor()
        annotations = {NAME_KEY: self._tag} if self._tag else {}
        with self.layout.changing_index() as descriptors:
            descriptors[:] = [d for d in descriptors if not _is_replaced(d, self.stored, self._tag)]
            descriptors.append(msgspec.structs.replace(self.stored, annotations=annotations))

    def stop(self) -> None:
        """Abort all running operations."""
        self._stopped.set()


class StoreEndpoint(LayoutEndpoint):
    """An image in the local store, to read, or to write under a reference."""

    def __init__(
        self,
        store: LocalStore,
        reference: Reference | None,
        source: Descriptor | None = None,
        policy: RetryPolicy | None = None,
    ) -> None:
        super().__init__(store, source, policy=policy)
        self._store = store
        self._reference = reference

    def tag(self, manifest: Manifest, origin: Digest) -> None:
        """Store the manifest and give it the name."""
        self.put(manifest)
        self.stored = manifest.descriptor()
        self._store.put(self.stored, self._reference, origin)


def _is_replaced(entry: Descriptor, new: Descriptor, tag: str) -> bool:
    if tag:
        return entry.annotations.get(NAME_KEY) == tag
    return entry.digest == new.digest and NAME_KEY not in entry.annotations
