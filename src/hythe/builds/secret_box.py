"""Secrets at rest: sealed by AES-256-GCM with a key of the installation.

The key is in the data folder (``builds.key``, readable by the server alone), or in the setting ``builds_key`` where
several servers share one database. Sealed text says what it is for, so that one secret cannot stand in for another.
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
    """A secret that cannot be opened: the key is another than the one it was sealed with."""


class SecretBox:
    """Seals and opens secrets."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    @classmethod
    def open(cls, data: Path, encoded: str = "") -> "SecretBox":
        """Return the installation's vault, making its key at first use. Raises SecretBoxError, OSError."""
        return cls(_decoded(encoded) if encoded else _key_of(data / KEY_FILE))

    def seal(self, purpose: str, secret: str) -> str:
        """Return ``secret`` as text that only this key opens, for this purpose alone."""
        nonce = secrets.token_bytes(_NONCE)
        sealed = self._cipher.encrypt(nonce, secret.encode(), purpose.encode())
        return base64.b64encode(nonce + sealed).decode()

    def unseal(self, purpose: str, sealed: str) -> str:
        """Return the secret; raises SecretBoxError."""
        try:
            content = base64.b64decode(sealed, validate=True)
            return self._cipher.decrypt(content[:_NONCE], content[_NONCE:], purpose.encode()).decode()
        except (InvalidTag, ValueError) as error:
            raise SecretBoxError(
                "a stored secret cannot be opened with this key: give the server the builds_key that it was sealed with"
            ) from error


def _decoded(encoded: str) -> bytes:
    try:
        key = base64.b64decode(encoded, validate=True)
    except ValueError as error:
        raise SecretBoxError("builds_key is not base64: make one with 'openssl rand -base64 32'") from error
    if len(key) != KEY_SIZE:
        raise SecretBoxError("builds_key is not 32 bytes long: make one with 'openssl rand -base64 32'")
    return key


def _key_of(path: Path) -> bytes:
    """Read the key file, or make it so that two servers starting at once end up with the same key."""
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
