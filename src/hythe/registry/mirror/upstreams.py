"""Upstream registries and the names of their repositories here.

NAME=URL    REPOSITORY of the upstream is NAME/REPOSITORY here, or REPOSITORY with ``?ns=NAME``
URL         REPOSITORY of the upstream is REPOSITORY here (only in a private registry, as docker's
            ``registry-mirrors`` and containerd require); its NAME is the URL's host
"""

import re
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

import msgspec

from hythe.oci.errors import InvalidReference
from hythe.oci.reference import parse_name

DOCKER_HUB = ("registry-1.docker.io", "index.docker.io")


class MirrorError(ValueError):
    """The setting ``mirrors`` is invalid; the message says how to correct it."""


class Upstream(msgspec.Struct, frozen=True):
    """An upstream registry; ``prefix`` ends in a slash, or is empty for the one that serves all names."""

    name: str
    prefix: str
    url: str
    user: str = ""
    password: str = ""


class Upstreams:
    """The upstream registries."""

    def __init__(self, text: str, *, allow_unnamed: bool = False) -> None:
        """Parse the setting ``mirrors``. Raises MirrorError.

        ``allow_unnamed``: the registry has no users, so a mirror may serve all names.
        """
        self._upstreams = tuple(_parse(text, allow_unnamed=allow_unnamed))
        names = [upstream.name for upstream in self._upstreams]
        if len(set(names)) < len(names) or [upstream.prefix for upstream in self._upstreams].count("") > 1:
            raise MirrorError("two mirrors have the same name or none: write NAME=URL for each")

    @property
    def names(self) -> frozenset[str]:
        """The namespaces of mirrored repositories."""
        return frozenset(upstream.name for upstream in self._upstreams if upstream.prefix)

    @property
    def hosts(self) -> frozenset[str]:
        """The hosts of the upstreams, without ports."""
        return frozenset(urlsplit(upstream.url).hostname or "" for upstream in self._upstreams)

    def of(self, repository: str) -> Upstream | None:
        """Return the upstream of a repository by its local name."""
        fallback = None
        for upstream in self._upstreams:
            if not upstream.prefix:
                fallback = upstream
            elif repository.startswith(upstream.prefix):
                return upstream
        return fallback

    def local_name(self, name: str, repository: str) -> str | None:
        """Return the local name of ``repository`` of the upstream ``name`` (``?ns=``); None if it is not mirrored."""
        for upstream in self._upstreams:
            if upstream.name == name:
                return f"{upstream.prefix}{repository}"
        return None

    def refusal(self, repository: str) -> str:
        """Explain why no one may push to a repository that is mirrored (a Refusal of ReadOnlyAccess)."""
        upstream = self.of(repository)
        return f"{repository} is mirrored from {upstream.name}: push it there" if upstream else ""

    def __bool__(self) -> bool:
        return bool(self._upstreams)


def _parse(text: str, *, allow_unnamed: bool) -> Iterator[Upstream]:
    for item in re.split(r"[\s,]+", text.strip()):
        if not item:
            continue
        name, equals, url = item.partition("=")
        if not equals or "://" in name:
            name, url = "", item
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise MirrorError(f"{url!r} is not the address of a registry: write https://HOST")
        if not name and not allow_unnamed:
            raise MirrorError(f"{item!r} has no name: write NAME={url}, such as docker.io={url}")
        if not allow_unnamed and "." not in name:
            raise MirrorError(f"{name!r} could be a user name: choose a name with a dot, such as {name}.mirror")
        yield Upstream(
            name=_checked_name(name) if name else _default_name(parts.netloc.rpartition("@")[2]),
            prefix=f"{name}/" if name else "",
            url=f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}",
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
        )


def _checked_name(name: str) -> str:
    try:
        parse_name(name)
    except InvalidReference as error:
        raise MirrorError(str(error)) from error
    if "/" in name:
        raise MirrorError(f"{name!r} cannot be a mirror's name: write one component, such as docker.io")
    return name


def _default_name(host: str) -> str:
    return "docker.io" if host in DOCKER_HUB else host
