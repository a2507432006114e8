"""The local image store: an image layout with image names, IDs and garbage collection.

Other tools can read it: ``skopeo copy oci:STORE:docker.io/library/busybox:latest ..``. A full name is stored in the
annotation ``org.opencontainers.image.ref.name``; an image with several names has several descriptors in the index, an
image without a name has one without that annotation.

Several processes can use it: a writer holds ``use.lock`` shared (``writing()``) until the index refers to the new
content; the garbage collector takes it exclusively. ``pins`` keep the images of containers.
"""

import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import msgspec

from hythe.client.disk_space import STORE_HINT
from hythe.client.errors import ClientError, RemoteConflict, RemoteNotFound
from hythe.client.file_lock import locked, locked_if_free, write_atomically
from hythe.client.image_tree import choose_in_tree
from hythe.client.layout import ImageLayout
from hythe.client.platforms import choose_image, choose_representative
from hythe.oci.config import ImageConfig
from hythe.oci.digest import Digest
from hythe.oci.errors import InvalidDigest, InvalidReference, OCIError
from hythe.oci.manifest import Descriptor, Manifest, Platform
from hythe.oci.reference import DEFAULT_HOST, Reference

NAME_KEY = "org.opencontainers.image.ref.name"
DIGESTS_KEY = "org.hythe.repository-digests"
"""Annotation: the image's digests in registries, as ``HOST/REPOSITORY@DIGEST``, separated by spaces."""
GC_GRACE_PERIOD = 24 * 3600
"""Seconds that unreferenced content is kept, so that an interrupted pull can resume."""
_ID = re.compile(r"(?:sha256:)?([0-9a-f]{1,64})")


class StoreEntry(msgspec.Struct, frozen=True):
    """An image in the index: its descriptor, full names, and digests in repositories."""

    descriptor: Descriptor
    names: tuple[str, ...] = ()
    repository_digests: tuple[str, ...] = ()

    @property
    def references(self) -> tuple[Reference, ...]:
        """The names, parsed."""
        return tuple(Reference.parse(name) for name in self.names)


class StoredImage(msgspec.Struct, frozen=True):
    """An image in the store: its entry, and its manifest for one platform."""

    entry: StoreEntry
    manifest: Manifest

    @property
    def id(self) -> Digest:
        """The image ID: the digest of its configuration, or of the manifest if it has none."""
        config = self.manifest.config
        return config.parsed_digest if config else self.manifest.digest()

    @property
    def digest(self) -> Digest:
        """The digest of the manifest or index that the names refer to."""
        return self.entry.descriptor.parsed_digest

    @property
    def size(self) -> int:
        """The size of the compressed layers in bytes."""
        return sum(layer.size for layer in self.manifest.layers)


def default_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of the store: ``$HYTHE_STORE``, else ``hythe/store`` in the user's data folder."""
    if chosen := environment.get("HYTHE_STORE"):
        return Path(chosen)
    data = environment.get("XDG_DATA_HOME") or Path(environment.get("HOME", "/root")) / ".local" / "share"
    return Path(data) / "hythe" / "store"


class LocalStore(ImageLayout):
    """The images of this user on this machine."""

    space_hint = STORE_HINT

    def __init__(self, folder: Path | None = None, default_host: str = DEFAULT_HOST) -> None:
        super().__init__(folder or default_folder())
        self.default_host = default_host

    def writing(self) -> AbstractContextManager[None]:
        """Lock out the garbage collector while content is added, until the index refers to it."""
        self.create()
        return locked(self.work / "use.lock", shared=True)

    # Reading

    def entries(self) -> tuple[StoreEntry, ...]:
        """Return the images in the index, in its order."""
        return _entries(self.read_index().manifests)

    def images(self, platform: Platform | None = None) -> Iterator[StoredImage]:
        """Yield the images whose manifests are in the store."""
        for entry in self.entries():
            try:
                yield self.load(entry, platform)
            except (RemoteNotFound, OCIError):
                continue

    def load(self, entry: StoreEntry, platform: Platform | None = None) -> StoredImage:
        """Return an entry's image; of an index, the one for ``platform``, by default the one that lists show.

        Raises RemoteNotFound if the index has no stored image for ``platform``.
        """
        manifest = self.read_manifest(entry.descriptor)

        def choose(index: Manifest) -> Descriptor:
            stored = [child for child in index.manifests if self.has(child)]
            return choose_image(stored, platform) if platform is not None else choose_representative(stored)

        return StoredImage(entry, choose_in_tree(manifest, choose, self.read_manifest))

    def read_config(self, image: StoredImage) -> ImageConfig:
        """Return an image's configuration; raises RemoteNotFound, InvalidManifest."""
        return ImageConfig.parse(self.read_document(image.id))

    def resolve(self, text: str, platform: Platform | None = None) -> StoredImage:
        """Find an image by name, digest or ID prefix, and load it; raises RemoteNotFound."""
        return self.load(self.find_entry(text), platform)

    def find_entry(self, text: str) -> StoreEntry:
        """Find an image by name, digest or ID prefix, which may be incomplete; raises RemoteNotFound."""
        entries = self.entries()
        entry = self._named(text, entries)
        if entry is None:
            twins = self.with_id(text, entries)
            entry = next((twin for twin in twins if twin.names), twins[0] if twins else None)
        if entry is None:
            raise RemoteNotFound(
                f"no such image: {text}", f"'hythe images' lists images; 'hythe pull {text}' downloads it"
            )
        return entry

    def _named(self, text: str, entries: Iterable[StoreEntry]) -> StoreEntry | None:
        try:
            reference = Reference.parse(text, self.default_host).with_default_tag()
        except (InvalidReference, InvalidDigest):
            return None
        if reference.digest is None:
            return next((entry for entry in entries if str(reference) in entry.names), None)
        pinned = f"{reference.host}/{reference.repository}@{reference.digest}"
        return next((entry for entry in entries if pinned in known_digests(entry)), None)

    def with_id(self, text: str, entries: Iterable[StoreEntry] | None = None) -> tuple[StoreEntry, ...]:
        """Find entries by the prefix of an ID or digest; raises ClientError if it matches several images.

        One image has several entries if its layers were stored with different compression, for example from a
        registry and from a file.
        """
        match = _ID.fullmatch(text)
        if match is None:
            return ()
        candidates = ((self._id(entry), entry) for entry in (self.entries() if entries is None else entries))
        matches = [
            (image_id, entry)
            for image_id, entry in candidates
            if any(hexadecimal.startswith(match[1]) for hexadecimal in (image_id, entry.descriptor.parsed_digest.hex))
        ]
        if len({image_id for image_id, _ in matches}) > 1:
            raise ClientError(f"ambiguous image ID {text}: several images match", "use a longer prefix")
        return tuple(entry for _, entry in matches)

    def _id(self, entry: StoreEntry) -> str:
        try:
            return self.load(entry).id.hex
        except (RemoteNotFound, OCIError):
            return ""

    # Changing

    def put(
        self, descriptor: Descriptor, reference: Reference | None = None, repository_digest: Digest | None = None
    ) -> StoreEntry:
        """Add the manifest of ``descriptor`` to the index as an image, optionally named ``reference``.

        Another image with the name loses it but stays in the store. ``repository_digest`` records the digest that the
        image has in ``reference``'s repository (of the index that it is part of, for example).
        """
        plain = msgspec.structs.replace(descriptor, annotations={})
        names = {str(reference.with_default_tag())} if reference and reference.digest is None else set()
        digests = _repository_digests(reference, repository_digest)
        with self._changing_entries() as entries:
            for digest, entry in entries.items():
                entries[digest] = _without(entry, names)
            earlier = entries.get(descriptor.digest, StoreEntry(plain))
            entries[descriptor.digest] = StoreEntry(
                earlier.descriptor,
                tuple(sorted({*earlier.names, *names})),
                tuple(sorted({*earlier.repository_digests, *digests})),
            )
            return entries[descriptor.digest]

    def untag(self, reference: Reference) -> StoreEntry:
        """Remove a name from its image and return the changed entry; raises RemoteNotFound."""
        name = str(reference.with_default_tag())
        with self._changing_entries() as entries:
            for digest, entry in entries.items():
                if name in entry.names:
                    entries[digest] = _without(entry, {name})
                    return entries[digest]
        raise RemoteNotFound(f"no such image: {reference.familiar()}", "'hythe images' lists images")

    def remove(self, entry: StoreEntry) -> tuple[Digest, ...]:
        """Remove an image with all its names and unshared content; returns the digests of the deleted blobs.

        Raises RemoteConflict if a container uses it.
        """
        users = [name for name, digest in self.pins().items() if str(digest) == entry.descriptor.digest]
        if users:
            raise RemoteConflict(
                f"image {entry.descriptor.parsed_digest.short} is used by container {users[0][:12]}",
                f"'hythe rm {users[0][:12]}' removes the container",
            )
        content = self._reachable([entry.descriptor])
        with self._changing_entries() as entries:
            entries.pop(entry.descriptor.digest, None)
        return self.collect_garbage(also=content)

    def discard(self, descriptors: Iterable[Descriptor]) -> None:
        """Delete the content of manifests that did not become images, as far as no image uses it."""
        self.collect_garbage(also=self._reachable(descriptors))

    @contextmanager
    def _changing_entries(self) -> Iterator[dict[str, StoreEntry]]:
        with self.changing_index() as descriptors:
            entries = {entry.descriptor.digest: entry for entry in _entries(descriptors)}
            yield entries
            descriptors[:] = [descriptor for entry in entries.values() for descriptor in _descriptors(entry)]

    # Containers

    def pin(self, name: str, digest: Digest) -> None:
        """Keep the image with ``digest`` until ``name`` (a container's ID) is unpinned."""
        with self.writing_to_disk():
            (self.work / "pins").mkdir(parents=True, exist_ok=True)
            write_atomically(self.work / "pins" / name, str(digest).encode())

    def unpin(self, name: str) -> None:
        """Stop keeping the image of ``name``."""
        (self.work / "pins" / name).unlink(missing_ok=True)

    def pins(self) -> dict[str, Digest]:
        """Return the digest of the image that each container keeps."""
        folder = self.work / "pins"
        paths = [path for path in folder.iterdir() if not path.name.startswith(".")] if folder.is_dir() else []
        return {path.name: Digest.parse(path.read_text()) for path in paths}

    # Garbage

    def collect_garbage(self, also: Iterable[Digest] = ()) -> tuple[Digest, ...]:
        """Delete unreferenced content: the blobs in ``also``, and everything older than a day. Returns their digests.

        Deletes nothing while another process adds content; a later call does.
        """
        self.create()
        with locked_if_free(self.work / "use.lock") as alone:
            return self._collect(set(also)) if alone else ()

    def _collect(self, candidates: set[Digest]) -> tuple[Digest, ...]:
        roots = [entry.descriptor for entry in self.entries()]
        pinned = [Descriptor("", str(digest), 0) for digest in self.pins().values()]
        needed = self._reachable([*roots, *pinned])
        before = time.time() - GC_GRACE_PERIOD
        for path in (self.work / "partial").iterdir():
            if path.stat().st_mtime < before:
                path.unlink()
        deleted = []
        for path in (self.folder / "blobs").glob("*/*"):
            digest = Digest(path.parent.name, path.name)
            if digest not in needed and (digest in candidates or path.stat().st_mtime < before):
                path.unlink()
                deleted.append(digest)
        return tuple(deleted)

    def _reachable(self, roots: Iterable[Descriptor]) -> set[Digest]:
        reachable: set[Digest] = set()
        waiting = list(roots)
        while waiting:
            descriptor = waiting.pop()
            digest = descriptor.parsed_digest
            if digest in reachable:
                continue
            reachable.add(digest)
            try:
                manifest = self.read_manifest(descriptor)
            except (RemoteNotFound, OCIError):
                continue
            waiting.extend(manifest.manifests)
            reachable.update(blob.parsed_digest for blob in (*manifest.layers, *manifest.blobs))
        return reachable


def known_digests(entry: StoreEntry) -> set[str]:
    """Return ``HOST/REPOSITORY@DIGEST`` for every repository that the image is named in or was pulled from."""
    named = {f"{ref.host}/{ref.repository}@{entry.descriptor.digest}" for ref in entry.references}
    return named | set(entry.repository_digests)


def _repository_digests(reference: Reference | None, digest: Digest | None) -> set[str]:
    if reference is None:
        return set()
    digests = {d for d in (reference.digest, digest) if d is not None}
    return {f"{reference.host}/{reference.repository}@{d}" for d in digests}


def _entries(descriptors: Iterable[Descriptor]) -> tuple[StoreEntry, ...]:
    """Merge the descriptors of an image, each with one name, into one entry."""
    gathered: dict[str, StoreEntry] = {}
    for descriptor in descriptors:
        plain = msgspec.structs.replace(descriptor, annotations={})
        earlier = gathered.get(descriptor.digest, StoreEntry(plain))
        name = _full_name(descriptor.annotations.get(NAME_KEY, ""))
        digests = {*earlier.repository_digests, *descriptor.annotations.get(DIGESTS_KEY, "").split()}
        names = (*earlier.names, name) if name else earlier.names
        gathered[descriptor.digest] = StoreEntry(plain, names, tuple(sorted(digests)))
    return tuple(gathered.values())


def _full_name(name: str) -> str:
    """Return the full form of a name from the index; "" if another tool wrote something that is not a name."""
    try:
        return str(Reference.parse(name).with_default_tag()) if name else ""
    except (InvalidReference, InvalidDigest):
        return ""


def _descriptors(entry: StoreEntry) -> Iterator[Descriptor]:
    digests = {DIGESTS_KEY: " ".join(entry.repository_digests)} if entry.repository_digests else {}
    for name in entry.names or ("",):
        annotations = {NAME_KEY: name, **digests} if name else digests
        yield msgspec.structs.replace(entry.descriptor, annotations=annotations)


def _without(entry: StoreEntry, names: set[str]) -> StoreEntry:
    return msgspec.structs.replace(entry, names=tuple(name for name in entry.names if name not in names))
