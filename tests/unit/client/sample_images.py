"""Small images, created in a layout."""

from __future__ import annotations

import gzip
import io
import tarfile

import msgspec

from hythe.client.layout import ImageLayout
from hythe.oci.config import ContainerConfig, History, ImageConfig, RootFS
from hythe.oci.digest import Digest
from hythe.oci.manifest import (
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER_GZIP,
    OCI_MANIFEST,
    Descriptor,
    ImageManifest,
    Index,
    Platform,
)


def layer_archive(files: dict[str, bytes]) -> bytes:
    """Return a tar file with ``files``."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            member.mode = 0o755
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def add_image(layout: ImageLayout, *layers: dict[str, bytes], architecture: str = "amd64") -> Descriptor:
    """Add an untagged image with these layers to ``layout``; returns its manifest's descriptor."""
    archives = [layer_archive(files) for files in layers]
    packed = [gzip.compress(archive, 6, mtime=0) for archive in archives]
    config = ImageConfig(
        architecture=architecture,
        os="linux",
        created="2026-11-23T10:00:00Z",
        config=ContainerConfig(cmd=("/bin/sh",), env=("PATH=/bin",), labels={"purpose": "test"}),
        rootfs=RootFS(diff_ids=tuple(str(Digest.of(archive)) for archive in archives)),
        history=tuple(
            History(created="2026-11-23T10:00:00Z", created_by=f"step {number}") for number in range(len(layers))
        ),
    ).encode()
    descriptors = tuple(Descriptor(OCI_LAYER_GZIP, str(layout.add_document(blob)), len(blob)) for blob in packed)
    config_descriptor = Descriptor(OCI_CONFIG, str(layout.add_document(config)), len(config))
    manifest = ImageManifest(2, OCI_MANIFEST, config_descriptor, descriptors).encode()
    return Descriptor(OCI_MANIFEST, str(layout.add_document(manifest)), len(manifest))


def add_index(layout: ImageLayout, **images: Descriptor) -> Descriptor:
    """Add an index of images, by architecture, to ``layout``; returns its descriptor."""
    children = tuple(
        msgspec.structs.replace(image, platform=Platform(architecture=architecture, os="linux"))
        for architecture, image in images.items()
    )
    content = Index(2, OCI_INDEX, children).encode()
    return Descriptor(OCI_INDEX, str(layout.add_document(content)), len(content))
