"""Secrets at rest, sealed with AES-256-GCM and a key of the installation.

The key is in the data folder (``builds.key``, which only the server can read), or in the setting ``builds_key`` if
several servers share one database. A secret is sealed for a purpose, so that one kind cannot be used as another.
"""

import base64
import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_FILE = "builds.key"
KEY_SIZE = 32
_NONCE = 12


class SecretBoxError(Exception):
    """A secret cannot be opened, because it was sealed with another key."""


class SecretBox:
    """Seals and opens secrets."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    @classmethod
    def open(cls, data: Path, encoded: str = "") -> "SecretBox":
        """Return the installation's box; create its key on first use. Raises SecretBoxError, OSError."""
        return cls(_decoded(encoded) if encoded else _key_of(data / KEY_FILE))

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
                "cannot open a stored secret: it was sealed with another key; set builds_key to that key"
            ) from error


def _decoded(encoded: str) -> bytes:
    try:
        key = base64.b64decode(encoded, validate=True)
    except ValueError as error:
        raise SecretBoxError("builds_key is not base64: create one with 'openssl rand -base64 32'") from error
    if len(key) != KEY_SIZE:
        raise SecretBoxError("builds_key is not 32 bytes long: create one with 'openssl rand -base64 32'")
    return key


def _key_of(path: Path) -> bytes:
    """Read the key file, or create it; two servers that start at the same time end up with the same key."""
    if not path.exists():
        own = path.with_name(f"{path.name}.{os.getpid()}")
        descriptor = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.b64encode(secrets.token_bytes(KEY_SIZE)))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(own, path)
        except FileExistsError:
            pass
        finally:
            own.unlink()
    return _decoded(path.read_text().strip())
