"""What pages show of manifests and image configurations, with a bound on every part.

Anyone may push a document that takes long to parse, so large ones are parsed in a process of their own.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from itertools import islice
from typing import Any, ParamSpec, TypeVar

import msgspec

from hythe.hub.repositories.image import HistoryStep, PlatformImage
from hythe.oci.config import ContainerConfig, History, ImageConfig
from hythe.oci.errors import InvalidManifest
from hythe.oci.manifest import Descriptor, Manifest, ManifestKind, Platform
from hythe.offload import INLINE_SIZE, OffloadLimitExceeded, OffloadPool

P = ParamSpec("P")
T = TypeVar("T")

MAX_IMAGES = 50
"""Maximum number of images of one index that are shown."""

MAX_TEXT = 1000
"""Characters of a command, a label or another value that are shown."""

MAX_NAME = 200
"""Characters of a platform, a media type or another name that are shown."""

_UNNOTICED_SIZE = 10_000
"""Bytes of a document; after parsing a larger one it is the turn of other tasks."""

_ATTESTATION = "vnd.docker.reference.type"
"""Marks manifests in an index that describe an image (BuildKit's attestations)."""


class ListedImage(msgspec.Struct, frozen=True):
    """An image of an index: its digest, its platform and the size of its manifest."""

    digest: str
    platform: str
    size: int


class ManifestSummary(msgspec.Struct, frozen=True):
    """What pages show of a manifest. ``size``: bytes of configuration and layers. ``images``: those of an index."""

    kind: ManifestKind
    media_type: str
    artifact_type: str
    annotations: dict[str, str]
    size: int
    config: Descriptor | None
    images: tuple[ListedImage, ...]


async def bounded(
    offload: OffloadPool, owner: str, size: int, function: Callable[P, T], *arguments: P.args, **named: P.kwargs
) -> T:
    """Return what ``function`` returns for documents of ``size`` bytes. Raises InvalidManifest."""
    if size <= INLINE_SIZE:
        if size > _UNNOTICED_SIZE:
            await asyncio.sleep(0)
        return function(*arguments, **named)
    try:
        return await offload.run(owner, function, *arguments, **named)
    except OffloadLimitExceeded as error:
        raise InvalidManifest(f"the document is too large to show: {error}") from error


def summarize(content: bytes, media_type: str) -> ManifestSummary:
    """Return the summary of a manifest. Raises InvalidManifest."""
    manifest = Manifest.parse(content, media_type)
    images = (each for each in manifest.manifests if _ATTESTATION not in each.annotations)
    return ManifestSummary(
        manifest.kind,
        manifest.media_type,
        manifest.artifact_type[:MAX_NAME],
        _some(manifest.annotations, 100),
        _size(manifest),
        _plain(manifest.config),
        tuple(ListedImage(each.digest, _name(each.platform), each.size) for each in islice(images, MAX_IMAGES)),
    )


def platform_of(config: bytes) -> str:
    """Return the platform in an image configuration. Raises InvalidManifest."""
    return _name(_platform(ImageConfig.parse(config)))


def describe(content: bytes, media_type: str, config: bytes | None, platform: str, rows: int) -> PlatformImage:
    """Return an image for the page that shows it, with at most ``rows`` steps, labels, and so on.

    ``config`` None: it has none that can be shown. ``platform``: the one in the index, or empty.
    Raises InvalidManifest.
    """
    manifest = Manifest.parse(content, media_type)
    parsed = _config(config)
    steps = _steps(parsed, manifest.layers)
    return PlatformImage(
        digest=str(manifest.digest()),
        platform=platform or (_name(_platform(parsed)) if parsed else ""),
        size=_size(manifest),
        steps=tuple(islice(steps, rows)),
        more_steps=max(0, len(steps) - rows),
        made_at=_creation_time(parsed.created) if parsed else None,
        container=_container(parsed.config, rows) if parsed and parsed.config else None,
    )


def _config(content: bytes | None) -> ImageConfig | None:
    try:
        return ImageConfig.parse(content) if content is not None else None
    except InvalidManifest:
        return None


def _platform(config: ImageConfig) -> Platform:
    return Platform(config.architecture, config.os, variant=config.variant)


def _name(platform: Platform | None) -> str:
    return str(platform)[:MAX_NAME] if platform else ""


def _plain(descriptor: Descriptor | None) -> Descriptor | None:
    return descriptor and Descriptor(descriptor.media_type[:MAX_NAME], descriptor.digest, descriptor.size)


def _size(manifest: Manifest) -> int:
    return sum(each.size for each in (*filter(None, (manifest.config,)), *manifest.layers))


def _creation_time(text: str) -> datetime | None:
    """Return the creation time in a configuration; None if it is missing, invalid or has no time zone."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo and moment.year > 1 else None


def _steps(config: ImageConfig | None, layers: tuple[Descriptor, ...]) -> list[HistoryStep]:
    """Return the history with its layers; the layers alone if the history does not match them."""
    history = config.history if config else ()
    if sum(not entry.empty_layer for entry in history) != len(layers):
        return [HistoryStep("", layer.digest, layer.size) for layer in layers]
    left = iter(layers)
    return [_step(entry, None if entry.empty_layer else next(left)) for entry in history]


def _step(entry: History, layer: Descriptor | None) -> HistoryStep:
    text = (entry.created_by or entry.comment)[:MAX_TEXT]
    return HistoryStep(text, layer.digest, layer.size) if layer else HistoryStep(text, "", None)


def _container(config: ContainerConfig, rows: int) -> ContainerConfig:
    """Return the part of a container configuration that pages show."""
    check = config.healthcheck
    return ContainerConfig(
        user=config.user[:MAX_NAME],
        exposed_ports=_some(config.exposed_ports, rows),
        env=_words(config.env, rows),
        entrypoint=_words(config.entrypoint, rows),
        cmd=_words(config.cmd, rows),
        healthcheck=check and msgspec.structs.replace(check, test=_words(check.test, rows) or ()),
        volumes=_some(config.volumes, rows),
        working_dir=config.working_dir[:MAX_TEXT],
        labels=_some(config.labels, rows),
        stop_signal=config.stop_signal[:MAX_NAME],
    )


def _words(words: Iterable[str] | None, rows: int) -> tuple[str, ...] | None:
    return None if words is None else tuple(word[:MAX_TEXT] for word in islice(words, rows))


def _some(values: Mapping[str, Any] | None, rows: int) -> dict[str, Any]:
    """Return the first ``rows`` names with their values; whatever is not text has an empty one."""
    some = islice((values or {}).items(), rows)
    return {name[:MAX_TEXT]: value[:MAX_TEXT] if isinstance(value, str) else "" for name, value in some}
