"""Parsing and opening the source and destination of a copy, as users type them.

NAME[:TAG|@DIGEST]              a registry (also docker://NAME)
store:NAME                      the local store
oci:FOLDER[:TAG]                an image layout
docker-archive:FILE[:NAME]      a file written by 'docker save'
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from hythe.client.client import Client
from hythe.client.disk_space import TEMPORARY_HINT, temporary_folder
from hythe.client.docker_archive import ArchivedImage, read_archive, save_archive
from hythe.client.endpoints import LayoutEndpoint, RegistryEndpoint, StoreEndpoint, TransferDestination, TransferSource
from hythe.client.errors import ClientError, RemoteNotFound
from hythe.client.layout import ImageLayout
from hythe.client.store import NAME_KEY
from hythe.oci.manifest import Descriptor
from hythe.oci.reference import DEFAULT_TAG, Reference

KINDS = ("store", "oci", "docker-archive", "docker")
UNSUPPORTED_KINDS = ("oci-archive", "docker-daemon", "containers-storage")
"""Other kinds that skopeo supports: not the name of an image."""


class _TemporaryLayout(ImageLayout):
    space_hint = TEMPORARY_HINT


class ImageLocation(msgspec.Struct, frozen=True):
    """A source or destination: its kind, path (or an image's name), and the name of the image in the path."""

    kind: str
    path: str
    name: str = ""

    @classmethod
    def parse(cls, text: str) -> "ImageLocation":
        """Parse a location; raises ClientError."""
        kind, colon, rest = text.partition(":")
        if kind in UNSUPPORTED_KINDS:
            raise ClientError(
                f"unsupported location {kind}:", "use NAME, store:NAME, oci:FOLDER or docker-archive:FILE"
            )
        if not colon or kind not in KINDS:
            return cls("docker", text)
        if kind == "docker" and not rest.startswith("//"):
            return cls("docker", text)  # an image whose name is docker
        if kind in ("docker", "store"):
            return cls(kind, rest.removeprefix("//"))
        path, _, name = rest.partition(":")
        if not path:
            raise ClientError(f"missing path in {text!r}", f"write {kind}:PATH[:NAME]")
        return cls(kind, path, name)


def is_store(text: str) -> bool:
    """Whether a location is in the local store; raises ClientError."""
    return ImageLocation.parse(text).kind == "store"


@contextlib.contextmanager
def open_source(client: Client, text: str) -> Iterator[TransferSource]:
    """Open the location ``text`` for reading; raises ClientError, RemoteNotFound."""
    location = ImageLocation.parse(text)
    match location.kind:
        case "store":
            with client.store.writing():
                image = client.store.resolve(location.path)
                yield StoreEndpoint(client.store, None, image.entry.descriptor)
        case "oci":
            layout = ImageLayout(Path(location.path))
            yield LayoutEndpoint(layout, _find(layout, location.name))
        case "docker-archive":
            with temporary_folder() as folder:
                layout = _TemporaryLayout(folder)
                with Path(location.path).open("rb") as file:
                    archived = read_archive(file, layout)
                yield LayoutEndpoint(layout, _choose(archived, location))
        case _:
            reference = client.reference(location.path).with_default_tag()
            yield RegistryEndpoint(client.repository(reference), reference.target)


@contextlib.contextmanager
def open_destination(client: Client, text: str, source: str) -> Iterator[TransferDestination]:
    """Open the location ``text`` for writing; an archive is written when the block ends without an exception."""
    location = ImageLocation.parse(text)
    match location.kind:
        case "store":
            name = client.reference(location.path).with_default_tag()
            if name.digest:
                raise ClientError("cannot copy to a digest reference in the store", "write store:NAME[:TAG]")
            with client.store.writing():
                yield StoreEndpoint(client.store, name, policy=client.policy)
        case "oci":
            layout = ImageLayout(Path(location.path))
            yield LayoutEndpoint(layout, tag=location.name or DEFAULT_TAG, policy=client.policy)
            layout.tidy()
        case "docker-archive":
            with temporary_folder() as folder:
                endpoint = LayoutEndpoint(_TemporaryLayout(folder), policy=client.policy)
                yield endpoint
                _write(client, endpoint, location)
        case _:
            yield _registry_destination(client, client.reference(location.path), ImageLocation.parse(source))


def _registry_destination(client: Client, reference: Reference, source: ImageLocation) -> RegistryEndpoint:
    """Return a repository to push to; blobs from another repository of the same registry are mounted."""
    target = reference.with_default_tag()
    if source.kind == "docker":
        origin = client.reference(source.path)
        if origin.host == reference.host and origin.repository != reference.repository:
            repository = client.repository(reference, push=True, mounted_from=[origin.repository])
            return RegistryEndpoint(repository, target.target, lambda digest: origin.repository)  # noqa: ARG005
    return RegistryEndpoint(client.repository(reference, push=True), target.target)


def _find(layout: ImageLayout, name: str) -> Descriptor:
    if not (layout.folder / "index.json").exists():
        raise RemoteNotFound(
            f"{layout.folder} is not an image layout", "it must contain index.json, oci-layout and blobs"
        )
    descriptors = layout.read_index().manifests
    named = [d for d in descriptors if d.annotations.get(NAME_KEY) == name] if name else list(descriptors)
    if len(named) != 1:
        tags = ", ".join(sorted(d.annotations.get(NAME_KEY, d.digest) for d in descriptors)) or "nothing"
        what = f"{name!r} is not in {layout.folder}" if name else f"{layout.folder} does not contain exactly one image"
        raise RemoteNotFound(what, f"it contains: {tags}")
    return named[0]


def _choose(archived: list[ArchivedImage], location: ImageLocation) -> Descriptor:
    names = [str(name) for image in archived for name in image.names]
    wanted = str(Reference.parse(location.name).with_default_tag()) if location.name else ""
    chosen = [image for image in archived if not wanted or wanted in map(str, image.names)]
    if len(chosen) != 1:
        raise RemoteNotFound(
            f"{location.path} does not contain exactly one such image", f"it contains: {', '.join(names) or 'nothing'}"
        )
    return chosen[0].descriptor


def _write(client: Client, endpoint: LayoutEndpoint, location: ImageLocation) -> None:
    names = (client.reference(location.name).with_default_tag(),) if location.name else ()
    if endpoint.stored is not None:
        save_archive(Path(location.path), endpoint.layout, [ArchivedImage(endpoint.stored, names)])
