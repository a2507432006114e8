"""Backups that someone changed who can write to their place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.parts.database import Run

from hythe.backup import dump
from hythe.backup.dump import DumpHeader, DumpReader, Frames, frame
from hythe.backup.errors import BackupDamaged
from hythe.backup.place import FolderPlace, one_piece
from hythe.backup.rows import TableShape
from hythe.backup.sealing import SealedKey, Sealing
from hythe.backup.vault import BackupManifest, manifest_name, manifests_in

MANIFEST = {
    "name": "2026-11-28-1200",
    "started_at": "2026-11-28T12:00:00Z",
    "finished_at": "2026-11-28T12:01:00Z",
    "version": "1.0",
    "kind": "hub",
    "installation": "one",
    "blob_store": None,
    "revision": "0037",
    "engine": "sqlite",
    "rows": 0,
    "database_size": 0,
    "database_digest": "",
    "blobs": 0,
    "blob_size": 0,
}


@pytest.mark.parametrize(
    "table",
    [
        TableShape('users" CASCADE; DROP TABLE blobs; --', ("id",), ("plain",)),
        TableShape("users", ('id" FROM users; DROP TABLE blobs; --',), ("plain",)),
    ],
)
def test_names_that_contain_sql_are_refused(run: Run[Any], table: TableShape) -> None:
    """They are refused before the first statement."""
    reader = DumpReader(one_piece(frame(DumpHeader(revision="0037", tables=(table,)))))
    with pytest.raises(BackupDamaged, match="invalid name"):
        run(reader.header())


def test_a_frame_that_grows_too_large_is_refused(run: Run[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A few bytes must not fill the memory."""
    monkeypatch.setattr(dump, "MAX_FRAME", 10_000)
    assert run(Frames(one_piece(frame(b"0" * 9_000))).next()) is not None
    with pytest.raises(BackupDamaged, match="too large"):
        run(Frames(one_piece(frame(b"0" * 20_000))).next())


@pytest.mark.parametrize("name", ["../../other", "2026-11-28-1300"])
def test_a_manifest_with_the_name_of_another_is_refused(run: Run[Any], tmp_path: Path, name: str) -> None:
    """Pruning would delete files elsewhere, and a restore read them."""

    async def check() -> None:
        place = FolderPlace(tmp_path)
        manifest = msgspec.convert(MANIFEST, BackupManifest)
        path = manifest_name(manifest.name)
        await place.write(path, one_piece(msgspec.json.encode(manifest)))
        assert await manifests_in(place) == [manifest]
        await place.write(path, one_piece(msgspec.json.encode({**MANIFEST, "name": name})))
        try:
            with pytest.raises(BackupDamaged, match="another backup"):
                await manifests_in(place)
        finally:
            await place.close()

    run(check())


@pytest.mark.parametrize("cost", [1 << 40, 3, 0])
def test_a_key_that_cannot_be_opened_is_damaged(cost: int) -> None:
    """A cost that no one chose must not take all memory, nor end in a traceback."""
    with pytest.raises(BackupDamaged, match="'vault' is damaged"):
        Sealing.open(SealedKey(b"0" * 16, cost, b"0" * 12, b"0" * 48), b"passphrase")
