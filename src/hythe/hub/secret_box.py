"""Secrets at rest, sealed with AES-256-GCM and the installation's key.

The key is in the data folder (``secret.key``, which only the server can read), or in the setting ``secret_key`` if
several servers share one database. A secret is sealed for a purpose, so that one kind cannot be used as another.
"""

import base64
import contextlib
import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hythe.registry.storage.disk import sync_folder
from hythe.settings import InvalidValue, SettingsError
from hythe.settings.validators import SECRET_KEY_SIZE, parse_secret_key

KEY_FILE = "secret.key"
OLD_KEY_FILE = "builds.key"
"""The name of the file in older versions, which sealed only what builds need."""
_NONCE = 12


class SecretBoxError(SettingsError):
    """The installation's key is missing or invalid, or it is another one than the key that sealed a secret."""


class SecretBox:
    """Seals and opens secrets."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    @classmethod
    def open(cls, data: Path, encoded: str = "", *, create: bool = True) -> "SecretBox":
        """Return the installation's box, from the setting ``secret_key`` or the key file.

        Without either, create the file, or raise SecretBoxError unless ``create``: then the database has secrets that
        another key sealed. Raises SecretBoxError, OSError.
        """
        return cls(_decoded(encoded, "secret_key") if encoded else _key_of(data / KEY_FILE, create=create))

    def seal(self, purpose: str, secret: str) -> str:
        """Return ``secret`` as text that only this key opens, and only for this purpose."""
        nonce = secrets.token_bytes(_NONCE)
        sealed = self._cipher.encrypt(nonce, secret.encode(), purpose.encode())
        return base64.b64encode(nonce + sealed).decode()

    def unseal(self, purpose: str, sealed: str) -> str:
        """Return the secret. Raises SecretBoxError."""
        try:
            content = base64.b64decode(sealed, validate=True)
            return self._cipher.decrypt(content[:_NONCE], content[_NONCE:], purpose.encode()).decode()
        except (InvalidTag, ValueError) as error:
            raise SecretBoxError(
                f"cannot open a stored secret: another key sealed it; set secret_key to that key, or restore "
                f"{KEY_FILE} in the data folder from a backup"
            ) from error


def _decoded(encoded: str, name: str) -> bytes:
    """Return the key. ``name`` is the setting or file that has it. Raises SecretBoxError."""
    try:
        return parse_secret_key(encoded)
    except InvalidValue as error:
        raise SecretBoxError(f"{name}: {error}") from error


def _key_of(path: Path, *, create: bool) -> bytes:
    """Read the key file, or create it; two servers that start at the same time end up with the same key."""
    _rename_old(path)
    if not path.exists():
        if not create:
            raise SecretBoxError(
                f"{path} is missing, but the database has secrets that its key sealed: "
                "restore the file from a backup, or set secret_key"
            )
        _create(path)
    return _decoded(path.read_text().strip(), str(path))


def _rename_old(path: Path) -> None:
    old = path.with_name(OLD_KEY_FILE)
    if path.exists() or not old.exists():
        return
    # Another server that starts at the same time may have renamed it.
    with contextlib.suppress(FileNotFoundError):
        old.rename(path)
        sync_folder(path.parent)


def _create(path: Path) -> None:
    own = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(base64.b64encode(secrets.token_bytes(SECRET_KEY_SIZE)))
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(own, path)
    except FileExistsError:
        pass
    finally:
        own.unlink()
    sync_folder(path.parent)
