"""The tags that keep the layers of builds for later ones, in their own repository.

A tag only keeps its index from being deleted: which index a build uses is what the hub recorded (``BuildCache``).

They have the form of cosign's tags, so tag lists do not show them.
"""

import re
from collections.abc import Mapping

from hythe.oci.digest import Digest

_FORM = re.compile(r"sha256-[0-9a-f]{64}\.layers")


def layer_tag(
    branch: str, context: str, dockerfile: str, target: str, arguments: Mapping[str, str], platform: str
) -> str:
    """Return the tag for such builds of a branch: rules that differ only in Docker tags share one."""
    pairs = (f"{name}={value}" for name, value in sorted(arguments.items()))
    key = "\n".join((branch, context.strip("/"), dockerfile, target, platform, *pairs))
    return f"sha256-{Digest.of(key.encode()).hex}.layers"


def is_layer_tag(tag: str) -> bool:
    """Return whether a tag is of this kind."""
    return _FORM.fullmatch(tag) is not None
