"""``ADD`` of a git repository: the forms of its address (Dockerfile reference, "Adding files from a Git repo")."""

import hashlib
import re
from urllib.parse import urlsplit

import msgspec

_SCP = re.compile(r"[\w.-]+@[\w.-]+:(?!//)[^\s#]+")
_SCHEMES = ("http", "https", "ssh", "git")


class GitSource(msgspec.Struct, frozen=True):
    """A git repository, and what of it to add. Without ``ref``, the default branch; without ``folder``, all of it."""

    url: str
    ref: str = ""
    folder: str = ""

    @property
    def without_folder(self) -> "GitSource":
        """The whole repository at this ref."""
        return GitSource(self.url, self.ref)

    def __str__(self) -> str:
        return f"{self.url}#{self.ref}" if self.ref else self.url

    @property
    def key(self) -> str:
        """A name for the checkout of this repository and ref."""
        return hashlib.sha256(f"{self.url}\n{self.ref}".encode()).hexdigest()[:16]


def parse_git_source(text: str) -> GitSource | None:
    """Return the repository that a source of ``ADD`` names; None if it is a file or an ordinary URL.

    ``https://host/x.git``, ``git://``, ``ssh://`` and ``git@host:x.git``, each with ``#REF:FOLDER`` after it.
    """
    url, _, fragment = text.partition("#")
    ref, _, folder = fragment.partition(":")
    if not _is_repository(url):
        return None
    return GitSource(url, ref, folder.strip("/"))


def clone_url(url: str) -> str:
    """Return the URL with a scheme: ``git@host:path`` becomes ``ssh://git@host/path``."""
    if "://" in url:
        return url
    host, _, path = url.partition(":")
    return f"ssh://{host}/{path.lstrip('/')}"


def _is_repository(url: str) -> bool:
    if _SCP.fullmatch(url):
        return True
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    if parts.scheme not in _SCHEMES or not parts.hostname:
        return False
    return parts.scheme in ("ssh", "git") or parts.path.endswith(".git")
