"""Digests: ``algorithm:hex`` (image specification, descriptor, "Digests")."""

import hashlib
import re
from typing import Protocol

import msgspec

from hythe.oci.errors import InvalidDigest

HEX_LENGTHS = {"sha256": 64, "sha512": 128}
"""The registered algorithms and their numbers of lower-case hex digits."""

_HEX = re.compile("[0-9a-f]+")
_GRAMMAR = re.compile(r"[a-z0-9]+(?:[+._-][a-z0-9]+)*:[A-Za-z0-9=_-]+")


class Digest(msgspec.Struct, frozen=True, order=True):
    """A content digest of a supported algorithm (sha256 or sha512)."""

    algorithm: str
    hex: str

    @classmethod
    def parse(cls, text: str) -> "Digest":
        """Parse a digest. Raises InvalidDigest."""
        if not _GRAMMAR.fullmatch(text):
            raise InvalidDigest(f"{text[:200]!r} is not a digest: write algorithm:hex, such as sha256:4f53…")
        algorithm, _, encoded = text.partition(":")
        length = HEX_LENGTHS.get(algorithm)
        if length is None:
            raise InvalidDigest(f"digest algorithm {algorithm!r} is not supported: use sha256 or sha512")
        if len(encoded) != length or not _HEX.fullmatch(encoded):
            raise InvalidDigest(f"a {algorithm} digest has {length} lower-case hex digits")
        return cls(algorithm, encoded)

    @classmethod
    def of(cls, content: bytes, algorithm: str = "sha256") -> "Digest":
        """Return the digest of ``content``."""
        return cls(algorithm, hashlib.new(algorithm, content).hexdigest())

    @property
    def short(self) -> str:
        """The first twelve hex digits, as docker shows image IDs."""
        return self.hex[:12]

    def hasher(self) -> "Hasher":
        """Return a new hasher of this digest's algorithm."""
        return new_hasher(self.algorithm)

    def matches(self, content: bytes) -> bool:
        """Return whether this is the digest of ``content``."""
        return Digest.of(content, self.algorithm) == self

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"


class Hasher(Protocol):
    """The part of hashlib's hash objects that we use."""

    @property
    def name(self) -> str:
        """The algorithm."""

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        """Add ``data`` to the hash."""

    def hexdigest(self) -> str:
        """Return the hex digits of all data so far."""


def new_hasher(algorithm: str = "sha256") -> Hasher:
    """Return a new hasher. Raises InvalidDigest for an unknown algorithm."""
    if algorithm not in HEX_LENGTHS:
        raise InvalidDigest(f"digest algorithm {algorithm!r} is not supported: use sha256 or sha512")
    return hashlib.new(algorithm)
