"""Where a copy comes from and goes to, as people type it.

NAME[:TAG|@DIGEST]              a registry (also docker://NAME)
store:NAME                      the local store
oci:FOLDER[:TAG]                an image layout
docker-archive:FILE[:NAME]      a file as 'docker save' writes it
"""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from hythe.client.client import Client
from hythe.client.docker_archive import ArchivedImage, read_archive, save_archive
from hythe.client.endpoints import LayoutEndpoint, RegistryEndpoint, StoreEndpoint, TransferDestination, TransferSource
from hythe.client.errors import ClientError, RemoteNotFound
from hythe.client.layout import ImageLayout
from hythe.client.store import NAME_KEY
from hythe.oci.manifest import Descriptor
from hythe.oci.reference import DEFAULT_TAG, Reference

KINDS = ("store", "oci", "docker-archive", "docker")
UNSUPPORTED_KINDS = ("oci-archive", "docker-daemon", "containers-storage")
"""What skopeo knows besides; nobody means an image of such a name."""


class ImageLocation(msgspec.Struct, frozen=True):
    """One end of a copy: its kind, the name or path, and for paths the name of the image in them."""

    kind: str
    path: str
    name: str = ""

    @classmethod
    def parse(cls, text: str) -> "ImageLocation":
        """Return what ``text`` means; raises ClientError."""
        kind, colon, rest = text.partition(":")
        if kind in UNSUPPORTED_KINDS:
            raise ClientError(
                f"{kind}: is no kind of place that hythe knows", "there are: NAME, store:, oci:, docker-archive:"
            )
        if not colon or kind not in KINDS:
            return cls("docker", text)
        if kind == "docker" and not rest.startswith("//"):
            return cls("docker", text)  # an image whose name is docker
        if kind in ("docker", "store"):
            return cls(kind, rest.removeprefix("//"))
        place, _, name = rest.partition(":")
        if not place:
            raise ClientError(f"{text!r} names no path", f"write {kind}:PATH[:NAME]")
        return cls(kind, place, name)


@contextlib.contextmanager
def open_source(client: Client, text: str) -> Iterator[TransferSource]:
    """Yield the place that ``text`` names to read from; raises ClientError, RemoteNotFound."""
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
            with tempfile.TemporaryDirectory(prefix="hythe-") as folder:
                layout = ImageLayout(Path(folder))
                with Path(location.path).open("rb") as file:
                    archived = read_archive(file, layout)
                yield LayoutEndpoint(layout, _choose(archived, location))
        case _:
            reference = client.reference(location.path).with_default_tag()
            yield RegistryEndpoint(client.repository(reference), reference.target)


@contextlib.contextmanager
def open_destination(client: Client, text: str, source: str) -> Iterator[TransferDestination]:
    """Yield the place that ``text`` names to write to; an archive's file is written when the block ends well."""
    location = ImageLocation.parse(text)
    match location.kind:
        case "store":
            with client.store.writing():
                yield StoreEndpoint(
                    client.store, client.reference(location.path).with_default_tag(), policy=client.policy
                )
        case "oci":
            layout = ImageLayout(Path(location.path))
            yield LayoutEndpoint(layout, tag=location.name or DEFAULT_TAG, policy=client.policy)
            layout.tidy()
        case "docker-archive":
            with tempfile.TemporaryDirectory(prefix="hythe-") as folder:
                place = LayoutEndpoint(ImageLayout(Path(folder)), policy=client.policy)
                yield place
                _write(client, place, location)
        case _:
            yield _registry_destination(client, client.reference(location.path), ImageLocation.parse(source))


def _registry_destination(client: Client, reference: Reference, source: ImageLocation) -> RegistryEndpoint:
    """Return a repository to push to; blobs of another repository of the same registry are mounted."""
    target = reference.with_default_tag()
    if source.kind == "docker":
        origin = client.reference(source.path)
        if origin.host == reference.host and origin.repository != reference.repository:
            repository = client.repository(reference, push=True, mounted_from=[origin.repository])
            return RegistryEndpoint(repository, target.target, lambda digest: origin.repository)  # noqa: ARG005
    return RegistryEndpoint(client.repository(reference, push=True), target.target)


def _find(layout: ImageLayout, name: str) -> Descriptor:
    if not (layout.folder / "index.json").exists():
        raise RemoteNotFound(f"{layout.folder} is no image layout", "it should hold index.json, oci-layout and blobs")
    descriptors = layout.read_index().manifests
    named = [d for d in descriptors if d.annotations.get(NAME_KEY) == name] if name else list(descriptors)
    if len(named) != 1:
        tags = ", ".join(sorted(d.annotations.get(NAME_KEY, d.digest) for d in descriptors)) or "nothing"
        what = f"{name!r} is not in {layout.folder}" if name else f"{layout.folder} holds not exactly one image"
        raise RemoteNotFound(what, f"it holds: {tags}")
    return named[0]


def _choose(archived: list[ArchivedImage], location: ImageLocation) -> Descriptor:
    names = [str(name) for image in archived for name in image.names]
    wanted = str(Reference.parse(location.name).with_default_tag()) if location.name else ""
    chosen = [image for image in archived if not wanted or wanted in map(str, image.names)]
    if len(chosen) != 1:
        raise RemoteNotFound(
            f"{location.path} holds not exactly one such image", f"it holds: {', '.join(names) or 'nothing'}"
        )
    return chosen[0].descriptor


def _write(client: Client, endpoint: LayoutEndpoint, location: ImageLocation) -> None:
    names = (client.reference(location.name).with_default_tag(),) if location.name else ()
    if endpoint.stored is not None:
        save_archive(Path(location.path), endpoint.layout, [ArchivedImage(endpoint.stored, names)])
