"""The tags under which builds keep layers in their repository, for the builds after them on other workers.

They have the form of cosign's tags, so that no list of tags shows them.
"""

import re
from collections.abc import Mapping

from hythe.oci.digest import Digest

_FORM = re.compile(r"sha256-[0-9a-f]{64}\.layers")


def layer_tag(context: str, dockerfile: str, target: str, arguments: Mapping[str, str], platform: str) -> str:
    """Return the tag for what is built like this: rules that differ only in branch or Docker tags share theirs."""
    pairs = (f"{name}={value}" for name, value in sorted(arguments.items()))
    what = "\n".join((context.strip("/"), dockerfile, target, platform, *pairs))
    return f"sha256-{Digest.of(what.encode()).hex}.layers"


def is_layer_tag(tag: str) -> bool:
    """Whether a tag is of this kind."""
    return _FORM.fullmatch(tag) is not None
