"""Names of repositories, tags and images, with the grammar of distribution/reference.

Names are parsed once, on input; all other code uses these values.

    [HOST[:PORT]/]COMPONENT[/COMPONENT..][:TAG][@ALGORITHM:HEX]
"""

import re

import msgspec

from hythe.oci.digest import Digest
from hythe.oci.errors import InvalidDigest, InvalidReference

DEFAULT_HOST = "docker.io"
DEFAULT_NAMESPACE = "library"
DEFAULT_TAG = "latest"
NAME_LENGTH = 255
"""Maximum characters of a repository name."""

_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|[-]+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_HOST = re.compile(
    r"(?:(?:[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9-]*[A-Za-z0-9])(?:\.(?:[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9-]*[A-Za-z0-9]))*"
    r"|\[[0-9A-Fa-f:]+\])(?::[0-9]+)?"
)
_BARE_ID = re.compile(r"[0-9a-f]{64}")


def parse_name(text: str) -> str:
    """Return ``text`` if it is a repository name without host. Raises InvalidReference."""
    if len(text) > NAME_LENGTH:
        raise InvalidReference(f"a repository name has at most {NAME_LENGTH} characters")
    if not _NAME.fullmatch(text):
        raise InvalidReference(
            f"{text!r} is not a repository name: use lowercase letters and digits, with '.', '_', '__' or '-' "
            "between them, and '/' between components"
        )
    return text


def is_name(text: str) -> bool:
    """Return whether ``text`` is a repository name without host."""
    return len(text) <= NAME_LENGTH and _NAME.fullmatch(text) is not None


def parse_tag(text: str) -> str:
    """Return ``text`` if it is a tag. Raises InvalidReference."""
    if not _TAG.fullmatch(text):
        raise InvalidReference(
            f"{text[:200]!r} is not a tag: use at most 128 letters, digits, '_', '.' and '-'; the first not '.' or '-'"
        )
    return text


def parse_tag_or_digest(text: str) -> "str | Digest":
    """Return the tag or digest of a manifest. Raises InvalidReference or InvalidDigest."""
    return Digest.parse(text) if ":" in text else parse_tag(text)


class Reference(msgspec.Struct, frozen=True):
    """An image's full name: registry host, repository, and optionally a tag or digest or both."""

    host: str
    repository: str
    tag: str | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str, default_host: str = DEFAULT_HOST) -> "Reference":
        """Parse a reference that a user typed. Raises InvalidReference or InvalidDigest.

        A short name is on ``default_host``. On docker.io a name of one component is in ``library/``. No tag is added:
        see
        ``with_default_tag``.
        """
        if _BARE_ID.fullmatch(text):
            raise InvalidReference(f"{text!r} is an image ID, not a name: write NAME[:TAG] or NAME@DIGEST")
        host, rest = split_host(text)
        rest, _, digest_text = rest.partition("@")
        name, colon, tag = rest.rpartition(":")
        if not colon:
            name, tag = rest, ""
        host = host or default_host
        if host == DEFAULT_HOST and name and "/" not in name:
            name = f"{DEFAULT_NAMESPACE}/{name}"
        if colon and not tag:
            raise InvalidReference(f"{text!r} ends in ':' without a tag")
        if "@" in text and not digest_text:
            raise InvalidDigest(f"{text!r} ends in '@' without a digest")
        return cls(
            host,
            parse_name(name),
            parse_tag(tag) if tag else None,
            Digest.parse(digest_text) if digest_text else None,
        )

    @property
    def target(self) -> str:
        """The manifest to request: the digest, else the tag, else ``latest``."""
        return str(self.digest) if self.digest else self.tag or DEFAULT_TAG

    @property
    def familiar_name(self) -> str:
        """The repository as docker shows it: without ``docker.io/`` and ``library/`` where they are the default."""
        full = f"{self.host}/{self.repository}"
        if self.host != DEFAULT_HOST:
            return full
        namespace, _, name = self.repository.partition("/")
        if namespace == DEFAULT_NAMESPACE and "/" not in name:
            return name
        return full if _begins_like_host(self.repository) or namespace == DEFAULT_NAMESPACE else self.repository

    def with_default_tag(self) -> "Reference":
        """Return this reference, with ``latest`` if it has neither tag nor digest."""
        if self.tag or self.digest:
            return self
        return msgspec.structs.replace(self, tag=DEFAULT_TAG)

    def with_tag(self, tag: str) -> "Reference":
        """Return a reference to ``tag`` in the same repository. Raises InvalidReference."""
        return msgspec.structs.replace(self, tag=parse_tag(tag), digest=None)

    def with_digest(self, digest: Digest) -> "Reference":
        """Return the same reference with ``digest``."""
        return msgspec.structs.replace(self, digest=digest)

    def familiar(self) -> str:
        """The whole reference as docker shows it."""
        return self.familiar_name + self._suffix()

    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def __str__(self) -> str:
        return f"{self.host}/{self.repository}{self._suffix()}"


def is_host(text: str) -> bool:
    """Return whether ``text`` can be the ``HOST[:PORT]`` of a reference."""
    return _HOST.fullmatch(text) is not None


def split_host(text: str) -> tuple[str, str]:
    """Split a typed name into its host ("" if none) and the rest. Raises InvalidReference.

    The first component is a host if it contains ``.`` or ``:``, is ``localhost``, or has an uppercase letter.
    ``index.docker.io`` is ``docker.io``.
    """
    first, _, rest = text.partition("/")
    if not _begins_like_host(text):
        return "", text
    if not is_host(first):
        raise InvalidReference(f"{first!r} is not a host: write NAME[:PORT]")
    return (DEFAULT_HOST if first == "index.docker.io" else first), rest


def _begins_like_host(text: str) -> bool:
    first, slash, _ = text.partition("/")
    return bool(slash) and (bool(set(first) & set(".:")) or first == "localhost" or first != first.lower())
