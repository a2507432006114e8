"""Checkpoints (C2SP tlog-checkpoint): the size and the root of a log, signed."""

import base64
import binascii
import re

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hythe.transparency.note import InvalidNote, VerifierKey, open_note, sign
from hythe.transparency.tree import EMPTY_ROOT, HASH_SIZE

_TEXT = re.compile(
    r"(?P<origin>[^\n]+)\n(?P<size>0|[1-9]\d{0,18})\n(?P<root>[A-Za-z0-9+/]{43}=)\n(?P<more>(?:[^\n]+\n)*)",
    re.ASCII,
)


class Checkpoint(msgspec.Struct, frozen=True):
    """The head of a log: its name, the number of entries and the root of their tree."""

    origin: str
    size: int
    root: bytes

    def __str__(self) -> str:
        """Return the text that is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    def signed(self, key: Ed25519PrivateKey) -> str:
        """Return the signed note; the name of the key is the log's origin."""
        return sign(str(self), self.origin, key)


def parse_checkpoint(text: str) -> Checkpoint:
    """Return the checkpoint with this text. Raises InvalidNote."""
    match = _TEXT.fullmatch(text)
    if match is None:
        raise InvalidNote("this is not a checkpoint")
    try:
        root = base64.b64decode(match["root"], validate=True)
    except binascii.Error as error:
        raise InvalidNote(f"this is not a checkpoint: {error}") from error
    checkpoint = Checkpoint(match["origin"], int(match["size"]), root)
    if len(root) != HASH_SIZE or (checkpoint.size == 0 and root != EMPTY_ROOT):
        raise InvalidNote("the checkpoint has an impossible root")
    return checkpoint


def open_checkpoint(note: str, key: VerifierKey) -> Checkpoint:
    """Return the checkpoint that ``key`` signed. Raises InvalidNote."""
    checkpoint = parse_checkpoint(open_note(note, key))
    if checkpoint.origin != key.name:
        raise InvalidNote(f"it is the checkpoint of another log, {checkpoint.origin}")
    return checkpoint
