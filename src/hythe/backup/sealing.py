"""Encryption of backups: AES-256-GCM in pieces, with a key that a passphrase opens.

The file ``key`` of a place has a random key, sealed with a key that scrypt derives from the passphrase. Each file
begins with 16 random bytes, from which and from its name its own key is derived (HKDF), so that no two files share a
key and none can take the place of another. Pieces of 1 MiB follow, each with its number and whether it is the last one
as nonce: pieces cannot be exchanged, repeated or cut off. (This is the STREAM construction, as age uses it.)
"""

import hmac
import secrets
from collections.abc import AsyncIterator

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from hythe.backup.errors import BackupDamaged, WrongPassphrase
from hythe.backup.place import batched

SALT_SIZE = 16
TAG_SIZE = 16
KEY_SIZE = 32
NONCE_SIZE = 12
PIECE_SIZE = 1 << 20

SCRYPT_COST = 1 << 17
"""128 MiB of memory and half a second for each guess at the passphrase."""

MAX_SCRYPT_COST = 1 << 20
"""A place that asks for more was changed to exhaust the memory of who opens it."""


class SealedKey(msgspec.Struct, frozen=True):
    """The key of all files in a place, sealed with a passphrase; binary values are base64 in JSON."""

    salt: bytes
    cost: int
    nonce: bytes
    sealed: bytes


class Sealing:
    """Seals and opens files."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    @classmethod
    def create(cls, passphrase: bytes) -> tuple["Sealing", SealedKey]:
        """Return a new key, and the same sealed with the passphrase."""
        key, salt, nonce = (secrets.token_bytes(size) for size in (KEY_SIZE, SALT_SIZE, NONCE_SIZE))
        sealed = AESGCM(_derived(passphrase, salt, SCRYPT_COST)).encrypt(nonce, key, None)
        return cls(key), SealedKey(salt, SCRYPT_COST, nonce, sealed)

    @classmethod
    def open(cls, sealed: SealedKey, passphrase: bytes) -> "Sealing":
        """Return the key. Raises WrongPassphrase, and BackupDamaged if no passphrase can open it."""
        if sealed.cost > MAX_SCRYPT_COST:
            raise BackupDamaged("the file 'vault' is damaged: its key would take too much memory to open")
        try:
            key = AESGCM(_derived(passphrase, sealed.salt, sealed.cost)).decrypt(sealed.nonce, sealed.sealed, None)
        except InvalidTag as error:
            raise WrongPassphrase(
                "the passphrase does not open these backups", "use the passphrase of the first backup in this place"
            ) from error
        except ValueError as error:
            raise BackupDamaged("the file 'vault' is damaged: its key cannot be opened") from error
        return cls(key)

    def hidden(self, text: str) -> str:
        """Return a name for ``text`` that tells nothing about it without the key."""
        return hmac.digest(self._key, f"name {text}".encode(), "sha256").hex()

    def sealed_size(self, size: int) -> int:
        """Return the size of a sealed file whose content has ``size`` bytes."""
        return SALT_SIZE + size + TAG_SIZE * max(1, -(-size // PIECE_SIZE))

    async def sealed(self, name: str, content: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Yield the sealed file."""
        salt = secrets.token_bytes(SALT_SIZE)
        cipher = self._cipher(salt, name)
        yield salt
        pieces, number = batched(content, PIECE_SIZE), 0
        piece = await anext(pieces, b"")
        while (following := await anext(pieces, None)) is not None:
            yield cipher.encrypt(_nonce(number, last=False), piece, None)
            piece, number = following, number + 1
        yield cipher.encrypt(_nonce(number, last=True), piece, None)

    async def opened(self, name: str, stored: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Yield the content of a sealed file. Raises BackupDamaged."""
        pieces, number = batched(_after_salt(stored, salt := bytearray()), PIECE_SIZE + TAG_SIZE), 0
        piece = await anext(pieces, b"")
        cipher = self._cipher(bytes(salt), name)
        try:
            while (following := await anext(pieces, None)) is not None:
                yield cipher.decrypt(_nonce(number, last=False), piece, None)
                piece, number = following, number + 1
            yield cipher.decrypt(_nonce(number, last=True), piece, None)
        except InvalidTag as error:
            raise BackupDamaged(f"{name} is damaged: it cannot be decrypted") from error

    def _cipher(self, salt: bytes, name: str) -> AESGCM:
        return AESGCM(HKDF(SHA256(), KEY_SIZE, salt, f"file {name}".encode()).derive(self._key))


async def _after_salt(stored: AsyncIterator[bytes], salt: bytearray) -> AsyncIterator[bytes]:
    async for piece in stored:
        missing = SALT_SIZE - len(salt)
        salt += piece[:missing]
        yield piece[missing:] if missing else piece


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(NONCE_SIZE - 1, "big") + bytes([last])


def _derived(passphrase: bytes, salt: bytes, cost: int) -> bytes:
    return Scrypt(salt, KEY_SIZE, cost, 8, 1).derive(passphrase)
