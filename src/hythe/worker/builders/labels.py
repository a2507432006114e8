"""Labels about the origin of an image, added to its configuration after the build.

The builder does not set them, because labels change with every commit and would invalidate its cache. Fields that a
builder leaves out of the OCI configuration are added here, too.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from hythe.client.layout import ImageLayout
from hythe.client.platforms import parse_platform
from hythe.oci.manifest import Descriptor, Manifest
from hythe.worker.builders.port import BuildInput

_PARENT_COMMENT = re.compile("FROM [0-9a-f]{12,64}")


def apply_labels(
    layout: ImageLayout, image: Descriptor, build_input: BuildInput, extra: Mapping[str, Any] = MappingProxyType({})
) -> Descriptor:
    """Return the image with the build's labels added, for its platform, and with ``extra`` in its configuration.

    Raises ContentMismatch, InvalidManifest.
    """
    manifest = layout.read_manifest(image)
    if manifest.config is None:
        return msgspec.structs.replace(image, annotations={})
    config = msgspec.json.decode(layout.read_document(manifest.config.parsed_digest), type=dict[str, Any])
    settings = config.get("config") or {}
    config["config"] = settings | dict(extra) | {"Labels": (settings.get("Labels") or {}) | build_input.labels}
    config["history"] = [_without_parent(entry) for entry in config.get("history") or ()]
    if build_input.platform:
        # A layer cache returns the image of another platform if every step gave the same result.
        config |= msgspec.to_builtins(parse_platform(build_input.platform))
    content = msgspec.json.encode(config)
    fields = msgspec.json.decode(manifest.content, type=dict[str, Any])
    fields["config"] |= {"digest": str(layout.add_document(content)), "size": len(content)}
    changed = Manifest.parse(msgspec.json.encode(fields), manifest.media_type)
    layout.add_document(changed.content)
    return changed.descriptor()


def _without_parent(entry: dict[str, Any]) -> dict[str, Any]:
    """Leave out the ID of the step's parent image, which differs between builds of the same source."""
    if _PARENT_COMMENT.fullmatch(entry.get("comment") or ""):
        return {name: value for name, value in entry.items() if name != "comment"}
    return entry
