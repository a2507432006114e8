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
from hythe.settings import InvalidValue
from hythe.settings.addresses import parse_http_url

DOCKER_HUB = ("registry-1.docker.io", "index.docker.io")


class Upstream(msgspec.Struct, frozen=True):
    """An upstream registry; ``prefix`` ends in a slash, or is empty for the one that serves all names."""

    name: str
    prefix: str
    url: str
    user: str = ""
    password: str = ""

    @property
    def address(self) -> str:
        """The registry's HOST or HOST:PORT, for messages."""
        return urlsplit(self.url).netloc


class Upstreams:
    """The upstream registries."""

    def __init__(self, text: str, *, allow_unnamed: bool = False) -> None:
        """Parse the setting ``mirrors``. Raises InvalidValue.

        ``allow_unnamed``: the registry has no users, so a mirror may serve all names.
        """
        self._upstreams = tuple(_parse(text, allow_unnamed=allow_unnamed))
        for number, upstream in enumerate(self._upstreams):
            if any(upstream.name == other.name for other in self._upstreams[:number]):
                raise InvalidValue(upstream.name, "two mirrors have this name: use NAME=URL with another NAME")
            if any(upstream.prefix == other.prefix for other in self._upstreams[:number]):
                raise InvalidValue(upstream.url, "only one mirror can have no name: use NAME=URL")

    @property
    def names(self) -> frozenset[str]:
        """The namespaces of mirrored repositories."""
        return frozenset(upstream.name for upstream in self._upstreams if upstream.prefix)

    @property
    def hosts(self) -> frozenset[str]:
        """The hosts of the upstreams, without ports."""
        return frozenset(urlsplit(upstream.url).hostname or "" for upstream in self._upstreams)

    @property
    def places(self) -> tuple[tuple[str, str, str], ...]:
        """Name, prefix and URL of each upstream, without credentials."""
        return tuple((upstream.name, upstream.prefix, upstream.url) for upstream in self._upstreams)

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
        if item:
            # Part of a password with a space in it.
            is_secret = "@" in text and "@" not in item
            yield _parse_item(item, allow_unnamed=allow_unnamed, is_secret=is_secret)


def _parse_item(item: str, *, allow_unnamed: bool, is_secret: bool) -> Upstream:
    name, equals, url = item.partition("=")
    if not equals or "://" in name:
        name, url = "", item
    try:
        parts = parse_http_url(url, user_info=True, path=True)
    except InvalidValue as error:
        raise InvalidValue(item, f"{error.advice}, after NAME= if it has a name", secret=is_secret) from None
    if not name and not allow_unnamed:
        raise InvalidValue(item, "it has no name: use NAME=URL, such as docker.io=https://registry-1.docker.io")
    if not allow_unnamed and "." not in name:
        raise InvalidValue(item, f"{name} could be a user name: use a name with a dot, such as {name}.mirror")
    location = parts.netloc.rpartition("@")[2]
    return Upstream(
        name=_checked_name(name) if name else _default_name(location),
        prefix=f"{name}/" if name else "",
        url=f"{parts.scheme}://{location}{parts.path.rstrip('/')}",
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
    )


def _checked_name(name: str) -> str:
    try:
        parse_name(name)
    except InvalidReference as error:
        raise InvalidValue(name, f"use a valid name before =: {error}") from error
    if "/" in name:
        raise InvalidValue(name, "use a name of one component before =, such as docker.io")
    return name


def _default_name(host: str) -> str:
    return "docker.io" if host in DOCKER_HUB else host
