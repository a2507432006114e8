"""Sealed files: opened as they were, and refused if anything in them, or around them, was changed."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.parts.database import Run

from hythe.backup.errors import BackupDamaged, WrongPassphrase
from hythe.backup.sealing import PIECE_SIZE, SALT_SIZE, TAG_SIZE, Sealing

SEALED_PIECE = PIECE_SIZE + TAG_SIZE


async def pieces(content: bytes, size: int = 70_000) -> AsyncIterator[bytes]:
    """The bytes in pieces, as a disk returns them."""
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def joined(content: AsyncIterator[bytes]) -> bytes:
    """All bytes."""
    return b"".join([piece async for piece in content])


@pytest.mark.parametrize("size", [0, 1, PIECE_SIZE - 1, PIECE_SIZE, PIECE_SIZE + 1, 3 * PIECE_SIZE])
def test_a_file_is_opened_as_it_was(run: Run[Any], size: int) -> None:
    """Also at the borders of pieces; the size is known before."""
    sealing, content = Sealing(os.urandom(32)), os.urandom(size)
    sealed = run(joined(sealing.sealed("blobs/a", pieces(content))))
    assert len(sealed) == sealing.sealed_size(size)
    assert run(joined(sealing.opened("blobs/a", pieces(sealed)))) == content


def test_a_changed_file_is_refused(run: Run[Any]) -> None:
    """A flipped bit, a piece that is missing, repeated or exchanged, another end, another name."""
    sealing, content = Sealing(os.urandom(32)), os.urandom(3 * PIECE_SIZE)
    sealed = run(joined(sealing.sealed("blobs/a", pieces(content))))
    salt, body = sealed[:SALT_SIZE], sealed[SALT_SIZE:]
    first, second, third = (body[start : start + SEALED_PIECE] for start in range(0, len(body), SEALED_PIECE))
    changed = (
        sealed[:-1] + bytes([sealed[-1] ^ 1]),
        bytes([salt[0] ^ 1]) + sealed[1:],
        salt + first + second,
        salt,
        b"",
        salt + second + first + third,
        salt + first + first + second + third,
        sealed + b"x",
    )
    for other in changed:
        with pytest.raises(BackupDamaged):
            run(joined(sealing.opened("blobs/a", pieces(other))))
    with pytest.raises(BackupDamaged):
        run(joined(sealing.opened("blobs/b", pieces(sealed))))


def test_only_the_passphrase_opens_the_key() -> None:
    """Names are hidden by the key, which another passphrase does not open."""
    sealing, sealed = Sealing.create(b"correct horse")
    assert Sealing.open(sealed, b"correct horse").hidden("sha256:1") == sealing.hidden("sha256:1")
    with pytest.raises(WrongPassphrase):
        Sealing.open(sealed, b"wrong horse")
