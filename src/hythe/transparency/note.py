"""Signed notes (C2SP signed-note) with Ed25519 keys: a text, an empty line, and signatures with their keys' names."""

import base64
import binascii
import hashlib
import re
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

MAX_SIZE = 100_000
"""Bytes of a note. Witnesses add signatures, so it can have more than one."""

_ED25519 = b"\x01"
_SIGNATURE = re.compile(r"\u2014 (?P<name>[^ \n+]+) (?P<signature>[A-Za-z0-9+/]+={0,2})")
_KEY = re.compile(r"(?P<name>[^\s+]+)\+(?P<id>[0-9a-f]{8})\+(?P<key>[A-Za-z0-9+/]+={0,2})")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")


class InvalidNote(ValueError):
    """The note or the key is malformed, or the key did not sign the note."""


class VerifierKey(NamedTuple):
    """A public key with the name that it signs under; as text, ``NAME+ID+KEY``."""

    name: str
    public: bytes

    @property
    def id(self) -> bytes:
        """The four bytes that a signature begins with."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(_ED25519 + self.public).decode()}"

    @classmethod
    def parse(cls, text: str) -> "VerifierKey":
        """Return the key that the text describes. Raises InvalidNote."""
        match = _KEY.fullmatch(text.strip())
        content = _decoded(match["key"]) if match else b""
        if match is None or len(content) != 33 or content[:1] != _ED25519:
            raise InvalidNote("this is not an Ed25519 key of signed notes")
        key = cls(match["name"], content[1:])
        if key.id.hex() != match["id"]:
            raise InvalidNote("the key does not match its id")
        return key


def sign(text: str, name: str, key: Ed25519PrivateKey) -> str:
    """Return the note with this text, which ends with a line break."""
    verifier = VerifierKey(name, key.public_key().public_bytes_raw())
    return f"{text}\n{signature_line(verifier, key.sign(text.encode()))}"


def signature_line(key: VerifierKey, signature: bytes) -> str:
    """Return a signature as a line of a note."""
    return f"\u2014 {key.name} {base64.b64encode(key.id + signature).decode()}\n"


def open_note(note: str, key: VerifierKey) -> str:
    """Return the text of a note that ``key`` signed; signatures of other keys do not count. Raises InvalidNote."""
    text, separator, signatures = note.rpartition("\n\n")
    if len(note) > MAX_SIZE or not separator or not signatures.endswith("\n") or _CONTROL.search(note):
        raise InvalidNote("this is not a signed note")
    text += "\n"
    found = False
    for line in signatures[:-1].split("\n"):
        match = _SIGNATURE.fullmatch(line)
        if match is None:
            raise InvalidNote("a line of the note's signatures is malformed")
        content = _decoded(match["signature"])
        if match["name"] == key.name and content[:4] == key.id:
            try:
                Ed25519PublicKey.from_public_bytes(key.public).verify(content[4:], text.encode())
            except InvalidSignature as error:
                raise InvalidNote(f"the signature of {key.name} is wrong") from error
            found = True
    if not found:
        raise InvalidNote(f"it is not signed by {key}")
    return text


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise InvalidNote(f"invalid base64: {error}") from error
