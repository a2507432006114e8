"""Names of repositories in paths of the JSON API and of Docker Hub's API.

    /api/v1/repositories/ann/team/app/tags        the tags of ann/team/app
    /api/v1/repositories/ann/app/tags             the tags of ann/app
    /api/v1/repositories/ann/app%2Ftags           the repository ann/app/tags

A name may contain words that are also addresses below a repository. A slash written as ``%2F`` is always part of a
name, so every repository has an address that nothing else has. With plain slashes, the shortest name counts.
"""

import re
from collections.abc import Iterable
from typing import TypeVar
from urllib.parse import quote, unquote

from hythe.hub.errors import NotFound
from hythe.oci.errors import InvalidReference
from hythe.oci.reference import parse_name

T = TypeVar("T")

_SLASH = "%2F"
_WHOLE_NAME = re.compile(f"(/repositories/[^/%]+){_SLASH}")
_NAME = "{name:path}"


def kept_slashes(raw_path: bytes) -> str:
    """Return the path with its characters decoded, except for the encoded slashes of names.

    A name may be encoded as a whole, with the slash after its namespace.
    """
    text = raw_path.decode("latin-1").replace("%2f", _SLASH)
    return unquote(_WHOLE_NAME.sub(r"\1/", text).replace(_SLASH, quote(_SLASH)))


def name_in_path(namespace: str, name: str) -> str:
    """Return the canonical name in a path. Raises NotFound if it is not a valid name."""
    try:
        return parse_name(f"{namespace}/{name.replace(_SLASH, '/')}")
    except InvalidReference as error:
        raise NotFound("repository does not exist") from error


def shortest_names_first(paths: Iterable[tuple[str, T]]) -> list[T]:
    """Sort what belongs to paths with names, so that the first match has the shortest name."""
    return [value for _, value in sorted(paths, key=lambda each: -_segments_after_name(each[0]))]


def _segments_after_name(path: str) -> int:
    _, name, after = path.partition(_NAME)
    return after.rstrip("/").count("/") if name else 0
