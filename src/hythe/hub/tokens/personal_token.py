"""Tokens as values, and how opaque secrets are generated, recognized and stored.

A secret is ``hythe_``, a letter for its kind, 40 random letters and digits, and six for the CRC-32 of all that. By it,
scanners and the hub know a secret, and a mistyped one, without a query. Older secrets have no checksum.
"""

import hashlib
import re
import secrets
import string
import zlib
from datetime import datetime
from enum import Enum

import msgspec

from hythe.hub.actor import Right

PREFIX = "hythe_"
"""Prefix of personal access tokens, which lets scanners find leaked ones."""

_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM_LENGTH = 40
_CHECKSUM_LENGTH = 6

_SECRET = re.compile(rf"{PREFIX}[prc][0-9A-Za-z]{{{_RANDOM_LENGTH + _CHECKSUM_LENGTH}}}")
_OLD_SECRET = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{43}}")


class TokenKind(Enum):
    """Whose a token is: a user's, a robot's (of a namespace), or what a trust rule gave to a CI job for minutes."""

    PERSONAL = "personal"
    ROBOT = "robot"
    CI = "ci"

    @property
    def letter(self) -> str:
        """The letter of the kind in a secret."""
        return self.value[0]


class PersonalToken(msgspec.Struct, frozen=True):
    """A token without its secret.

    ``expires_at`` None: it does not expire. ``repositories``: the only repositories that it is for, or patterns of
    them; None: all that its holder may use. ``used_from``: the address of the last use. ``previous_expires_at``: until
    when the secret before the last rotation works.
    """

    id: int
    name: str
    rights: tuple[Right, ...]
    created_at: datetime
    expires_at: datetime | None
    used_at: datetime | None
    repositories: tuple[str, ...] | None = None
    used_from: str = ""
    previous_expires_at: datetime | None = None


def new_secret(prefix: str = "") -> str:
    """Return a random token of 256 bits."""
    return prefix + secrets.token_urlsafe(32)


def new_token_secret(kind: TokenKind) -> str:
    """Return the secret of a new token: 238 random bits and a checksum."""
    start = f"{PREFIX}{kind.letter}{''.join(secrets.choice(_ALPHABET) for _ in range(_RANDOM_LENGTH))}"
    return start + _checksum(start)


def could_be_secret(text: str) -> bool:
    """Return whether ``text`` has the form of a token's secret, with a right checksum unless it is an old one."""
    if _SECRET.fullmatch(text):
        return _checksum(text[:-_CHECKSUM_LENGTH]) == text[-_CHECKSUM_LENGTH:]
    return _OLD_SECRET.fullmatch(text) is not None


def _checksum(text: str) -> str:
    """Return the CRC-32 of a text in base 62."""
    number = zlib.crc32(text.encode())
    digits = ""
    for _ in range(_CHECKSUM_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits


def digest_of(secret: str) -> str:
    """Return the stored form of a random token: its SHA-256 in hex."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
