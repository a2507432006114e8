"""Secrets at rest, sealed with AES-256-GCM and the installation's key.

The key is in the data folder (``secret.key``, which only the server can read), or in the setting ``secret_key`` if
several servers share one database. A secret is sealed for a purpose, so that one kind cannot be used as another.
"""

import base64
import contextlib
import hmac
import secrets
from http import HTTPStatus
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hythe.hub.errors import HubError
from hythe.registry.storage.disk import disk_errors, sync_folder, write_file
from hythe.settings import InvalidValue, SettingsError
from hythe.settings.validators import SECRET_KEY_SIZE, parse_secret_key

KEY_FILE = "secret.key"
OLD_KEY_FILE = "builds.key"
"""The name of the file in older versions, which sealed only what builds need."""
_NONCE = 12


class SecretBoxError(SettingsError):
    """The installation's key is missing or invalid, or it is another one than the key that sealed a secret."""


class SecretLost(HubError):
    """Another key sealed this secret: an older version of another server, or the installation had another key."""

    status = HTTPStatus.CONFLICT

    def __init__(self) -> None:
        super().__init__(
            "a stored secret was sealed with another key than this hub's",
            "enter it again, or link the account again; the operator may have the other key (docs/backup.md)",
        )


class SecretBox:
    """Seals and opens secrets."""

    def __init__(self, key: bytes, source: str = "secret_key", new_file: Path | None = None) -> None:
        """``source`` says where the key is; ``new_file`` is the file that was created for it."""
        self._key = key
        self._cipher = AESGCM(key)
        self.source = source
        self._new_file = new_file

    @classmethod
    def open(cls, data: Path, encoded: str = "", *, create: bool = True) -> "SecretBox":
        """Return the installation's box, from the setting ``secret_key`` or the key file.

        Without either, create the file, or raise SecretBoxError unless ``create``: then the database has secrets that
        another key sealed. Raises SecretBoxError, StorageUnavailable.
        """
        if encoded:
            return cls(_decoded(encoded, "secret_key"))
        path = data / KEY_FILE
        with disk_errors(path):
            created = _require_key_file(path, create=create)
            encoded = path.read_text(errors="replace").strip()
        return cls(_decoded(encoded, str(path)), str(path), path if created else None)

    @property
    def fingerprint(self) -> str:
        """A number that identifies the key and tells nothing about it."""
        return self.derive("fingerprint")

    def derive(self, purpose: str) -> str:
        """Return a secret that every server of the installation can compute, and only they."""
        return hmac.digest(self._key, f"hythe {purpose}".encode(), "sha256").hex()

    def discard_new_file(self) -> None:
        """Delete the key file if ``open`` created it: another server's key is the installation's."""
        if self._new_file is not None:
            self._new_file.unlink(missing_ok=True)

    def seal(self, purpose: str, secret: str) -> str:
        """Return ``secret`` as text that only this key opens, and only for this purpose."""
        nonce = secrets.token_bytes(_NONCE)
        sealed = self._cipher.encrypt(nonce, secret.encode(), purpose.encode())
        return base64.b64encode(nonce + sealed).decode()

    def unseal(self, purpose: str, sealed: str) -> str:
        """Return the secret. Raises SecretLost."""
        try:
            content = base64.b64decode(sealed, validate=True)
            return self._cipher.decrypt(content[:_NONCE], content[_NONCE:], purpose.encode()).decode()
        except (InvalidTag, ValueError) as error:
            raise SecretLost from error


def _decoded(encoded: str, name: str) -> bytes:
    """Return the key. ``name`` is the setting or file that has it. Raises SecretBoxError."""
    try:
        return parse_secret_key(encoded)
    except InvalidValue as error:
        raise SecretBoxError(f"{name}: {error}") from error


def _require_key_file(path: Path, *, create: bool) -> bool:
    """Return whether the key file was created; two servers that start at the same time end up with the same key."""
    _rename_old(path)
    if path.exists():
        return False
    if not create:
        raise SecretBoxError(
            f"{path} is missing, but the database has secrets that its key sealed: copy the file from another server, "
            "restore the file from a backup, or set secret_key to its content"
        )
    path.parent.mkdir(0o700, parents=True, exist_ok=True)
    return write_file(path, base64.b64encode(secrets.token_bytes(SECRET_KEY_SIZE)), replace=False)


def _rename_old(path: Path) -> None:
    old = path.with_name(OLD_KEY_FILE)
    if path.exists() or not old.exists():
        return
    # Another server that starts at the same time may have renamed it.
    with contextlib.suppress(FileNotFoundError):
        old.rename(path)
        sync_folder(path.parent)
