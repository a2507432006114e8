"""Parses paths below ``/v2/``. Repository names contain slashes, so the last keyword of a path counts.

/v2/                                   BASE
/v2/_catalog                           CATALOG
/v2/NAME/tags/list                     TAGS
/v2/NAME/manifests/REFERENCE           MANIFEST
/v2/NAME/blobs/DIGEST                  BLOB
/v2/NAME/blobs/uploads/                UPLOADS
/v2/NAME/blobs/uploads/ID              UPLOAD
/v2/NAME/referrers/DIGEST              REFERRERS
"""

from enum import Enum
from typing import NamedTuple

PREFIX = "/v2/"


class RegistryRoute(Enum):
    """The endpoints of the protocol."""

    BASE = "base"
    CATALOG = "catalog"
    TAGS = "tags"
    MANIFEST = "manifest"
    BLOB = "blob"
    UPLOADS = "uploads"
    UPLOAD = "upload"
    REFERRERS = "referrers"


class Target(NamedTuple):
    """A parsed path: ``name`` as the client spelled it, ``rest`` is the reference, digest or upload id."""

    endpoint: RegistryRoute
    name: str = ""
    rest: str = ""


_BASE = Target(RegistryRoute.BASE)
_CATALOG = Target(RegistryRoute.CATALOG)
_BY_KEYWORD = {"manifests": RegistryRoute.MANIFEST, "blobs": RegistryRoute.BLOB, "referrers": RegistryRoute.REFERRERS}


def parse_target(path: str) -> Target | None:
    """Return the parsed path; None if it is no endpoint. Does not validate names and references."""
    pieces = path[len(PREFIX) :].rsplit("/", 2)
    if len(pieces) < 3:
        if path in (PREFIX, "/v2"):
            return _BASE
        return _CATALOG if path == "/v2/_catalog" else None
    name, keyword, rest = pieces
    if keyword == "uploads" and name.endswith("/blobs"):
        name = name.removesuffix("/blobs")
        return Target(RegistryRoute.UPLOAD, name, rest) if rest else Target(RegistryRoute.UPLOADS, name)
    if keyword == "blobs" and rest == "uploads":
        return Target(RegistryRoute.UPLOADS, name)
    if keyword == "tags" and rest == "list":
        return Target(RegistryRoute.TAGS, name)
    endpoint = _BY_KEYWORD.get(keyword)
    return Target(endpoint, name, rest) if endpoint is not None else None
