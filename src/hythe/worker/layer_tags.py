"""The tags under which builds share layers with other workers, in their own repository.

They have the form of cosign's tags, so tag lists do not show them.
"""

import re
from collections.abc import Mapping

from hythe.oci.digest import Digest

_FORM = re.compile(r"sha256-[0-9a-f]{64}\.layers")


def layer_tag(context: str, dockerfile: str, target: str, arguments: Mapping[str, str], platform: str) -> str:
    """Return the tag for such builds: rules that differ only in branch or Docker tags share one."""
    pairs = (f"{name}={value}" for name, value in sorted(arguments.items()))
    key = "\n".join((context.strip("/"), dockerfile, target, platform, *pairs))
    return f"sha256-{Digest.of(key.encode()).hex}.layers"


def is_layer_tag(tag: str) -> bool:
    """Return whether a tag is of this kind."""
    return _FORM.fullmatch(tag) is not None
