"""Manifests, indexes and descriptors (image specification 1.1; Docker image manifest version 2, schema 2).

A manifest's bytes never change: ``Manifest.parse`` extracts what registry and client need, and keeps the bytes with
unknown fields.
"""

import re
from codecs import BOM_UTF8
from enum import Enum

import msgspec

from hythe.oci.digest import Digest
from hythe.oci.document import MAX_TEXTS, Nullable, OrNull, has_too_many_texts
from hythe.oci.errors import InvalidDigest, InvalidManifest

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_ARTIFACT = "application/vnd.oci.artifact.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"
DOCKER_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+json"

MANIFEST_MEDIA_TYPES = (OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST, OCI_ARTIFACT)
"""All supported media types of manifests, which clients should accept."""

INDEX_MEDIA_TYPES = frozenset({OCI_INDEX, DOCKER_LIST})
"""The media types of indexes, which list the manifests of other images."""

MAX_DESCRIPTORS = 5000
"""Layers and manifests that one manifest can list; an image has a few dozen."""

MAX_INDEX_DEPTH = 8
"""Indexes on the way from an image's root to a manifest, with the root; real images have one, or two in a layout."""


class Platform(Nullable, frozen=True, omit_defaults=True, gc=False):
    """The platform of an image, in Go's terms."""

    architecture: OrNull[str] = ""
    os: OrNull[str] = ""
    os_version: OrNull[str] = msgspec.field(name="os.version", default="")
    os_features: OrNull[tuple[str, ...]] = msgspec.field(name="os.features", default=())
    variant: OrNull[str] = ""

    def __post_init__(self) -> None:
        if None in (self.architecture, self.os, self.os_version, self.os_features, self.variant):
            self._replace_nulls()

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))


class Descriptor(Nullable, frozen=True, omit_defaults=True, rename="camel", gc=False):
    """Refers to content by media type, digest and size in bytes (image specification, "Content Descriptors")."""

    media_type: str
    digest: str
    size: int
    urls: OrNull[tuple[str, ...]] = ()
    annotations: OrNull[dict[str, str]] = msgspec.field(default_factory=dict)
    data: OrNull[str] = ""
    platform: Platform | None = None
    artifact_type: OrNull[str] = ""

    def __post_init__(self) -> None:
        if None in (self.urls, self.annotations, self.data, self.artifact_type):
            self._replace_nulls()

    @property
    def parsed_digest(self) -> Digest:
        """The digest as a value. Raises InvalidDigest."""
        return Digest.parse(self.digest)

    @property
    def is_nondistributable(self) -> bool:
        """Whether the content may be elsewhere, so that a registry need not store it."""
        return bool(self.urls) or ".nondistributable." in self.media_type or ".foreign." in self.media_type


class ManifestKind(Enum):
    """The kind of a manifest."""

    IMAGE = "image"
    INDEX = "index"
    ARTIFACT = "artifact"


_KINDS = {
    OCI_MANIFEST: ManifestKind.IMAGE,
    DOCKER_MANIFEST: ManifestKind.IMAGE,
    OCI_INDEX: ManifestKind.INDEX,
    DOCKER_LIST: ManifestKind.INDEX,
    OCI_ARTIFACT: ManifestKind.ARTIFACT,
}


class _Fields(Nullable, frozen=True, rename="camel"):
    """The fields of all kinds of manifests. Of the lists that some kinds must have, ``null`` is an empty one."""

    schema_version: int | None = None
    media_type: OrNull[str] = ""
    artifact_type: OrNull[str] = ""
    config: Descriptor | None = None
    layers: tuple[Descriptor, ...] | msgspec.UnsetType | None = msgspec.UNSET
    manifests: tuple[Descriptor, ...] | msgspec.UnsetType | None = msgspec.UNSET
    blobs: OrNull[tuple[Descriptor, ...]] = ()
    subject: Descriptor | None = None
    annotations: OrNull[dict[str, str]] = msgspec.field(default_factory=dict)
    fs_layers: msgspec.Raw | None = None


_GENERIC_MEDIA_TYPES = (
    "",
    "application/json",
    "application/octet-stream",
    "binary/octet-stream",
    "text/plain",
)
"""Content types of servers and tools that do not know what they send."""

_DECODER = msgspec.json.Decoder(_Fields)
_SHA256 = re.compile("sha256:[0-9a-f]{64}")


class Manifest(msgspec.Struct, frozen=True):
    """A parsed manifest of any kind; ``content`` has its original bytes."""

    kind: ManifestKind
    media_type: str
    content: bytes
    config: Descriptor | None = None
    layers: tuple[Descriptor, ...] = ()
    manifests: tuple[Descriptor, ...] = ()
    subject: Descriptor | None = None
    artifact_type: str = ""
    annotations: dict[str, str] = {}

    @classmethod
    def parse(cls, content: bytes, media_type: str = "") -> "Manifest":
        """Parse a manifest; ``media_type`` is its Content-Type header. Raises InvalidManifest.

        Header and ``mediaType`` field must agree if both name a kind of manifest; if neither does, the other fields
        determine the kind (image specification, "image manifest" and "image index", ``mediaType``).
        """
        if has_too_many_texts(content):
            raise InvalidManifest(f"the manifest has more than {MAX_TEXTS} names and texts: split it up")
        if content.startswith(BOM_UTF8):
            raise InvalidManifest("the manifest begins with a byte order mark, which no client reads: write it without")
        try:
            fields = _DECODER.decode(content)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidManifest(f"not a manifest: {error}") from error
        media_type = _agreed_media_type(fields, media_type)
        kind = _KINDS.get(media_type)
        if kind is None:
            raise InvalidManifest(
                f"manifests of type {media_type!r} are not supported: push an OCI or a Docker schema 2 manifest"
            )
        _check_shape(kind, fields)
        manifest = cls(
            kind=kind,
            media_type=media_type,
            content=content,
            config=fields.config if kind is ManifestKind.IMAGE else None,
            layers=(fields.layers if kind is ManifestKind.IMAGE else fields.blobs) or (),
            manifests=fields.manifests or (),
            subject=fields.subject,
            artifact_type=fields.artifact_type,
            annotations=fields.annotations,
        )
        _check_descriptors(manifest)
        return manifest

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """The blobs that must exist: configuration and layers, except nondistributable ones."""
        config = (self.config,) if self.config else ()
        return tuple(d for d in (*config, *self.layers) if not d.is_nondistributable)

    @property
    def effective_artifact_type(self) -> str:
        """``artifactType``, or the configuration's media type (distribution specification, "Listing Referrers")."""
        return self.artifact_type or (self.config.media_type if self.config else "")

    def digest(self, algorithm: str = "sha256") -> Digest:
        """Return the digest of the content."""
        return Digest.of(self.content, algorithm)

    def descriptor(self) -> Descriptor:
        """Return a descriptor of this manifest."""
        return Descriptor(self.media_type, str(self.digest()), len(self.content))


def _agreed_media_type(fields: _Fields, header: str) -> str:
    header, field = _plain_media_type(header), _plain_media_type(fields.media_type)
    if header in _GENERIC_MEDIA_TYPES:
        return field or _guessed_media_type(fields)
    if field and field != header:
        raise InvalidManifest(f"Content-Type {header!r} differs from the manifest's mediaType {fields.media_type!r}")
    return header


def _plain_media_type(text: str) -> str:
    """Return a media type in its usual spelling, without parameters (RFC 9110, section 8.3.1)."""
    return text.partition(";")[0].strip().lower()


def _guessed_media_type(fields: _Fields) -> str:
    if fields.fs_layers is not None:
        return DOCKER_SCHEMA1
    if fields.config is not None:
        return OCI_MANIFEST
    if fields.manifests is not msgspec.UNSET:
        return OCI_INDEX
    raise InvalidManifest("not a manifest: it has neither mediaType nor config nor manifests")


def _check_shape(kind: ManifestKind, fields: _Fields) -> None:
    if kind is not ManifestKind.ARTIFACT and fields.schema_version != 2:
        raise InvalidManifest("schemaVersion must be 2")
    if kind is ManifestKind.IMAGE and (fields.config is None or fields.layers is msgspec.UNSET):
        raise InvalidManifest("an image manifest needs config and layers")
    if kind is not ManifestKind.INDEX and _is_list(fields.manifests):
        raise InvalidManifest("only an index has manifests: it cannot be another kind of manifest, too")
    if kind is ManifestKind.INDEX and fields.manifests is msgspec.UNSET:
        raise InvalidManifest("an image index needs manifests")
    if kind is ManifestKind.INDEX and (_is_list(fields.layers) or fields.config is not None):
        raise InvalidManifest("an image index has no config or layers: it cannot be an image, too")


def _is_list(field: tuple[Descriptor, ...] | msgspec.UnsetType | None) -> bool:
    """Return whether the document has this list, which may be empty."""
    return isinstance(field, tuple)


def _check_descriptors(manifest: Manifest) -> None:
    subject = (manifest.subject,) if manifest.subject else ()
    config = (manifest.config,) if manifest.config else ()
    descriptors = (*config, *manifest.layers, *manifest.manifests, *subject)
    if len(descriptors) > MAX_DESCRIPTORS:
        raise InvalidManifest(
            f"the manifest lists {len(descriptors)} layers and manifests: list at most {MAX_DESCRIPTORS}"
        )
    for descriptor in descriptors:
        if descriptor.size < 0:
            raise InvalidManifest(f"the size of {descriptor.digest} is negative")
        if _SHA256.fullmatch(descriptor.digest):  # thrice as fast as parsing
            continue
        try:
            Digest.parse(descriptor.digest)
        except InvalidDigest as error:
            raise InvalidManifest(str(error)) from error


class Index(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """An image index to create (for referrers and multi-platform images)."""

    schema_version: int
    media_type: str
    manifests: tuple[Descriptor, ...]
    artifact_type: str = ""
    subject: Descriptor | None = None
    annotations: dict[str, str] = {}

    def encode(self) -> bytes:
        """Return the JSON bytes."""
        return msgspec.json.encode(self)


class ImageManifest(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """An image manifest to create (for commit and provenance)."""

    schema_version: int
    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    artifact_type: str = ""
    subject: Descriptor | None = None
    annotations: dict[str, str] = {}

    def encode(self) -> bytes:
        """Return the JSON bytes."""
        return msgspec.json.encode(self)
