"""Credentials, and how specifically the key of a credential file matches a repository."""

import base64
import binascii

import msgspec

from hythe.oci.reference import DEFAULT_HOST

DOCKER_HUB_KEY = "https://index.docker.io/v1/"
"""The key of docker.io's credentials in Docker's files."""


_URL_ALPHABET = str.maketrans("-_", "+/")


class Credential(msgspec.Struct, frozen=True):
    """A user name and password, an identity token (refresh token), or a registry token."""

    username: str = ""
    password: str = ""
    identity_token: str = ""
    registry_token: str = ""
    email: str = ""

    def __bool__(self) -> bool:
        """Whether this is a complete credential."""
        return bool(self.identity_token or self.registry_token or (self.username and self.password))

    @property
    def encoded(self) -> str:
        """``base64(username:password)``, for credential files and Basic authentication."""
        return base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


ANONYMOUS = Credential()


def decode_pair(text: str) -> tuple[str, str]:
    """Decode the ``auth`` value of a credential file to user name and password; two empty strings if it is invalid.

    Accepts what people and tools write by hand: without padding, in the alphabet for URLs, with white space.
    """
    plain = "".join(text.split()).translate(_URL_ALPHABET).rstrip("=")
    try:
        decoded = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True).decode()
    except (binascii.Error, ValueError):
        return "", ""
    name, colon, password = decoded.rstrip("\0").partition(":")
    return (name, password) if colon else ("", "")


def server_key(host: str) -> str:
    """Return the key of ``host`` in docker's credential files."""
    return DOCKER_HUB_KEY if host == DEFAULT_HOST else host


def key_target(key: str) -> str:
    """Return what the key of a credential file refers to: a host, or ``HOST/NAMESPACE[/REPOSITORY]``.

    A key with a scheme refers to its host. Otherwise a path is a namespace, as podman writes it, unless it is
    ``v1`` or ``v2`` of the old protocol.
    """
    scheme, separator, rest = key.partition("://")
    target = rest if separator and scheme in ("http", "https") else key
    host, _, path = target.partition("/")
    if host in ("index.docker.io", "registry-1.docker.io"):
        host = DEFAULT_HOST
    path = path.rstrip("/")
    return host if separator or path in ("", "v1", "v2") else f"{host}/{path}"


def match_length(key: str, host: str, repository: str) -> int:
    """Return how many components of a repository a key matches: 0 for no match, 1 for the host alone."""
    wanted = f"{host}/{repository}".rstrip("/").split("/")
    parts = key_target(key).split("/")
    return len(parts) if wanted[: len(parts)] == parts else 0
