"""Labels that say where an image comes from, written into the image's configuration after it was built.

Not by the builder: labels change with every commit, and each would cost it a step. What a builder leaves out of an OCI
configuration is added here, too.
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

_BEGAN_WITH = re.compile("FROM [0-9a-f]{12,64}")


def configured(
    layout: ImageLayout, image: Descriptor, order: BuildInput, more: Mapping[str, Any] = MappingProxyType({})
) -> Descriptor:
    """Return the same image with the order's labels over its own, for its platform, and with ``more`` in its settings.

    Raises ContentMismatch, InvalidManifest.
    """
    manifest = layout.read_manifest(image)
    if manifest.config is None:
        return msgspec.structs.replace(image, annotations={})
    config = msgspec.json.decode(layout.read_document(manifest.config.parsed_digest), type=dict[str, Any])
    settings = config.get("config") or {}
    config["config"] = settings | dict(more) | {"Labels": (settings.get("Labels") or {}) | order.labels}
    config["history"] = [_without_parent(entry) for entry in config.get("history") or ()]
    if order.platform:
        # A layer cache gives the image of another platform where every step came out the same.
        config |= msgspec.to_builtins(parse_platform(order.platform))
    content = msgspec.json.encode(config)
    fields = msgspec.json.decode(manifest.content, type=dict[str, Any])
    fields["config"] |= {"digest": str(layout.add_document(content)), "size": len(content)}
    changed = Manifest.parse(msgspec.json.encode(fields), manifest.media_type)
    layout.add_document(changed.content)
    return changed.descriptor()


def _without_parent(entry: dict[str, Any]) -> dict[str, Any]:
    """Leave out the ID of the image that a step began with: it is another one in every build of the same source."""
    if _BEGAN_WITH.fullmatch(entry.get("comment", "")):
        return {name: value for name, value in entry.items() if name != "comment"}
    return entry
