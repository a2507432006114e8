"""Access for a private registry with an htpasswd file: its users may do everything, other clients nothing.

The file has the format of ``htpasswd -B``: lines ``NAME:$2y$..``. It is read again after it changes.
"""

import asyncio
import base64
import binascii
import hashlib
import logging
import re
from collections import OrderedDict
from collections.abc import Collection, Mapping
from pathlib import Path

import bcrypt

from hythe.oci.challenge import Challenge
from hythe.oci.errors import ErrorCode, WireError
from hythe.registry.access import EVERYTHING_LISTED, UNLIMITED, Action, Actor, Limits, Listing
from hythe.telemetry.sign_in_failures import WRONG, sign_in_failures

MAX_CACHED_PASSWORDS = 1000
"""Maximum number of cached passwords (by SHA-256): bcrypt takes 50 ms or more each time."""

_BCRYPT = re.compile(r"\$2[aby]\$(?:0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{53}")
_DUMMY_HASH = bcrypt.hashpw(b"", bcrypt.gensalt(5))

log = logging.getLogger(__name__)


class HtpasswdError(ValueError):
    """The htpasswd file is invalid; the message names the line and the fix."""


class HtpasswdAccess:
    """See Access."""

    def __init__(self, path: Path, realm: str = "hythe registry") -> None:
        """Read the file at ``path``. Raises HtpasswdError."""
        self._path = path
        self._realm = realm
        self._file_version = _file_version(path)
        self._hashes = read_htpasswd(path)
        self._verified: OrderedDict[bytes, str] = OrderedDict()

    async def authenticate(self, authorization: str | None, address: str = "") -> Actor:
        """See Access.authenticate."""
        if authorization is None:
            raise WireError(ErrorCode.UNAUTHORIZED)
        self._refresh()
        key = hashlib.sha256(authorization.encode()).digest()
        name = self._verified.get(key)
        if name is None:
            name, password = _parse_basic(authorization)
            hashes = self._hashes
            if not await _matches(hashes, name, password):
                sign_in_failures.report(name, address, "password", WRONG)
                raise WireError(ErrorCode.UNAUTHORIZED, "incorrect user name or password")
            if hashes is not self._hashes:
                return Actor(name)  # the file has just changed: check the next request against its new content
            self._verified[key] = name
            if len(self._verified) > MAX_CACHED_PASSWORDS:
                self._verified.popitem(last=False)
        return Actor(name)

    def canonical(self, repository: str) -> str:
        """See Access.canonical. Every name is canonical."""
        return repository

    async def enter(self, actor: Actor) -> None:
        """See Access.enter. ``authenticate`` accepts only users of the file."""

    async def require(self, actor: Actor, repository: str, action: Action) -> Limits:
        """See Access.require."""
        return UNLIMITED

    async def visible(self, actor: Actor, repositories: Collection[str]) -> frozenset[str]:
        """See Access.visible."""
        return frozenset(repositories)

    async def listing(self, actor: Actor, after: str, limit: int) -> Listing:
        """See Access.listing."""
        return EVERYTHING_LISTED

    def challenge(self, repository: str | None, actions: Collection[Action], error: str = "") -> Challenge | None:
        """See Access.challenge."""
        return Challenge("basic", {"realm": self._realm})

    def _refresh(self) -> None:
        version = _file_version(self._path)
        if version == self._file_version:
            return
        self._file_version = version
        try:
            self._hashes = read_htpasswd(self._path)
        except HtpasswdError as error:
            log.error("cannot use the changed htpasswd file, keeping its previous content: %s", error)
            return
        self._verified.clear()


async def _matches(hashes: Mapping[str, bytes], name: str, password: bytes) -> bool:
    known = hashes.get(name)
    # Unknown names take as long as wrong passwords, so timing reveals nothing.
    matches = await asyncio.to_thread(bcrypt.checkpw, password, known or _DUMMY_HASH)
    return matches and known is not None


def read_htpasswd(path: Path) -> dict[str, bytes]:
    """Return the bcrypt hash of each name. Raises HtpasswdError."""
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise HtpasswdError(f"cannot read the htpasswd file {path}: {error}") from error
    hashes = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, hashed = line.strip().partition(":")
        if not name or not _BCRYPT.fullmatch(hashed):
            raise HtpasswdError(f"{path}, line {number}: not a bcrypt hash; create the line with 'htpasswd -nB NAME'")
        hashes[name] = hashed.encode()
    return hashes


def _parse_basic(authorization: str) -> tuple[str, bytes]:
    scheme, _, encoded = authorization.partition(" ")
    try:
        name, colon, password = base64.b64decode(encoded, validate=True).partition(b":")
        if scheme.lower() == "basic" and colon:
            return name.decode(), password[:72]  # bcrypt ignores further bytes
    except (binascii.Error, UnicodeDecodeError):
        pass
    raise WireError(ErrorCode.UNAUTHORIZED, "sign in with a user name and password (Basic)")


def _file_version(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_mtime_ns, found.st_size, found.st_ino)
