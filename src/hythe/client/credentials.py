"""Credentials, and which of those that a user has fits a repository best."""

import base64
import binascii

import msgspec

from hythe.oci.reference import DEFAULT_HOST

DOCKER_HUB_KEY = "https://index.docker.io/v1/"
"""Under which Docker keeps the credentials of docker.io."""


class Credential(msgspec.Struct, frozen=True):
    """Who we are at a registry: name and password, or an identity token (a refresh token), or a registry token."""

    username: str = ""
    password: str = ""
    identity_token: str = ""
    registry_token: str = ""
    email: str = ""

    def __bool__(self) -> bool:
        """Whether this is anybody at all."""
        return bool(self.identity_token or self.registry_token or (self.username and self.password))

    @property
    def encoded(self) -> str:
        """``base64(username:password)``, as credential files and Basic authentication write it."""
        return base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


ANONYMOUS = Credential()


def decode_pair(text: str) -> tuple[str, str]:
    """Return the name and password that ``auth`` of a credential file spells; two empty strings when it spells none."""
    try:
        name, colon, password = base64.b64decode(text, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return (name, password.rstrip("\0")) if colon else ("", "")


def server_key(host: str) -> str:
    """Return the key under which docker keeps the credentials of ``host``."""
    return DOCKER_HUB_KEY if host == DEFAULT_HOST else host


def key_target(key: str) -> str:
    """Return what a credential file's key stands for: a host, or ``HOST/NAMESPACE[/REPOSITORY]``.

    Keys are as somebody typed them. One with a scheme means its host; without, a path is a namespace as podman
    writes it, unless it is the old protocol's ``v1`` or ``v2``.
    """
    scheme, separator, rest = key.partition("://")
    target = rest if separator and scheme in ("http", "https") else key
    host, _, path = target.partition("/")
    if host in ("index.docker.io", "registry-1.docker.io"):
        host = DEFAULT_HOST
    path = path.rstrip("/")
    return host if separator or path in ("", "v1", "v2") else f"{host}/{path}"


def key_fits(key: str, host: str, repository: str) -> int:
    """Return how specifically a key fits a repository: 0 not at all, 1 the host, 1 more for each component after it."""
    wanted = f"{host}/{repository}".rstrip("/").split("/")
    parts = key_target(key).split("/")
    return len(parts) if wanted[: len(parts)] == parts else 0
