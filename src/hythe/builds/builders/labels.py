"""Labels that say where an image comes from, written into the image's configuration after it was built.

Not by the builder: labels change with every commit, and each would cost it a step.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from hythe.client.layout import ImageLayout
from hythe.oci.manifest import Descriptor, Manifest


def labelled(layout: ImageLayout, image: Descriptor, labels: Mapping[str, str]) -> Descriptor:
    """Return the same image with these labels over its own. Raises ContentMismatch, InvalidManifest."""
    manifest = layout.read_manifest(image)
    if manifest.config is None:
        return msgspec.structs.replace(image, annotations={})
    config = msgspec.json.decode(layout.read_document(manifest.config.parsed_digest), type=dict[str, Any])
    settings = config.get("config") or {}
    config["config"] = settings | {"Labels": (settings.get("Labels") or {}) | dict(labels)}
    content = msgspec.json.encode(config)
    fields = msgspec.json.decode(manifest.content, type=dict[str, Any])
    fields["config"] |= {"digest": str(layout.add_document(content)), "size": len(content)}
    changed = Manifest.parse(msgspec.json.encode(fields), manifest.media_type)
    layout.add_document(changed.content)
    return changed.descriptor()
