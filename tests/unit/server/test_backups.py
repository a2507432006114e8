"""Backups, restores and moves of a private registry on each engine: complete, compared, and refused where they harm."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.parts.database import Run
from tests.unit.registry.depot import ANN, image, pieces

from hythe.backup.errors import BackupError, WrongPassphrase
from hythe.backup.rows import RowsDigest, TableContent, table_shapes
from hythe.backup.sql.postgresql import postgresql_snapshot
from hythe.backup.sql.sqlite import sqlite_snapshot
from hythe.database.sqlite import SQLITE_FILE
from hythe.oci.digest import Digest
from hythe.oci.manifest import OCI_MANIFEST
from hythe.registry.anonymous import AnonymousAccess
from hythe.registry.installation import Kind, WrongInstallation
from hythe.registry.mirror.upstreams import Upstreams
from hythe.registry.service import RegistryServices
from hythe.server.backups import (
    BackupPlan,
    Installation,
    RestorePlan,
    back_up,
    backups_in,
    copy_blobs,
    migrate,
    restore,
)
from hythe.server.private_registry import open_registry
from hythe.settings import Settings

LAYERS = (b"first layer", b"second layer" * 50_000)
ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For what does not depend on the engine."""

Hook = Callable[[], None]


class Progress:
    """Runs a function when a phase begins, and raises KeyboardInterrupt after some bytes of the phase "blobs"."""

    def __init__(self, hooks: dict[str, Hook] | None = None, interrupt_after: int | None = None) -> None:
        self._hooks = hooks or {}
        self._left = interrupt_after
        self.phases: list[str] = []
        self.bytes = 0

    def begin(self, phase: str, total: int | None = None, unit: str = "B") -> None:
        """See TaskProgress."""
        self.phases.append(phase)
        self._hooks.get(phase, lambda: None)()

    def advance(self, count: int) -> None:
        """See TaskProgress."""
        if self.phases[-1] != "blobs":
            return
        self.bytes += count
        if self._left is not None and self.bytes > self._left:
            raise InterruptedError("as if the process had ended")


@pytest.fixture
def place(tmp_path: Path) -> str:
    """Where backups go."""
    return str(tmp_path / "vault")


@pytest.fixture
def source(tmp_path: Path, database_url: str) -> Installation:
    """A registry that does not exist yet, once on each engine; nothing keeps deleted images."""
    (tmp_path / "data").mkdir()
    if not database_url:
        (tmp_path / SQLITE_FILE).rename(tmp_path / "data" / SQLITE_FILE)
    return registry(tmp_path / "data", database_url)


@pytest.fixture
def target(request: pytest.FixtureRequest, tmp_path: Path, source: Installation) -> Installation:
    """An empty registry on the other engine."""
    url = "" if source.settings.database_url else request.getfixturevalue("empty_postgresql_url")
    return registry(tmp_path / "restored", url)


def registry(data: Path, database_url: str = "") -> Installation:
    """A private registry."""
    return Installation(Settings(data=str(data), database_url=database_url, grace_period=0), Kind.REGISTRY)


@asynccontextmanager
async def opened(installation: Installation) -> AsyncIterator[RegistryServices]:
    """Open the registry as a server does."""
    async with open_registry(installation.settings, AnonymousAccess(), Upstreams("")) as services:
        yield services


async def push(installation: Installation, name: str, *layers: bytes) -> None:
    """Push an image with the tag latest."""
    content = json.dumps(image(*layers)).encode()
    async with opened(installation) as services:
        for blob in (b"{}", *layers):
            await services.uploads.put(ANN, name, Digest.of(blob), pieces(blob))
        await services.manifests.put(ANN, name, Digest.of(content), ("latest",), content, OCI_MANIFEST)


async def delete(installation: Installation, name: str, *layers: bytes) -> None:
    """Delete the image, and everything that nothing needs then."""
    async with opened(installation) as services:
        await services.manifests.delete(ANN, name, Digest.of(json.dumps(image(*layers)).encode()))
        await services.garbage.collect()


async def is_complete(installation: Installation, name: str, *layers: bytes) -> bool:
    """Whether the image can be pulled, byte for byte, also after garbage collection."""
    async with opened(installation) as services:
        await services.garbage.collect()
        manifest = await services.manifests.get(ANN, name, "latest")
        found = [manifest.content == json.dumps(image(*layers)).encode()]
        for layer in layers:
            blob = await services.blobs.get(ANN, name, Digest.of(layer))
            found.append(b"".join([piece async for piece in services.blobs.read(blob, 0, blob.size)]) == layer)
        return all(found)


def elsewhere(work: Callable[[], Awaitable[Any]]) -> None:
    """Do something as another process does, while this loop waits."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(work())  # type: ignore[arg-type]
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert failures == []


async def contents(installation: Installation) -> dict[str, TableContent]:
    """What each table has."""
    settings, found = installation.settings, {}
    path = settings.data_folder / SQLITE_FILE
    async with postgresql_snapshot(settings.database_url) if settings.database_url else sqlite_snapshot(path) as rows:
        for table in table_shapes():
            digest = RowsDigest()
            async for some in rows.rows(table):
                digest.add(some)
            found[table.name] = digest.content
    return found


def blob_files(place: str) -> list[Path]:
    """The blobs of a vault."""
    return sorted(path for path in (Path(place) / "blobs").rglob("*") if path.is_file())


def test_a_backup_has_what_is_deleted_while_it_is_made(
    run: Run[Any], source: Installation, target: Installation, place: str
) -> None:
    """Images that the snapshot has are complete, although their deletion is collected before their blobs are copied."""
    run(push(source, "a", *LAYERS))
    progress = Progress({"database": lambda: elsewhere(lambda: delete(source, "a", *LAYERS))})

    manifest, _ = run(back_up(source, BackupPlan(place), progress))
    run(restore(target, RestorePlan(place), Progress()))

    assert (manifest.blobs, manifest.missing) == (3, ())
    assert run(is_complete(target, "a", *LAYERS))
    run(push(source, "b", b"later"))
    run(delete(source, "b", b"later"))
    layer = source.settings.data_folder / "blobs/sha256" / Digest.of(LAYERS[0]).hex[:2] / Digest.of(LAYERS[0]).hex
    assert not layer.exists(), "garbage collection continues after the backup"


def test_an_interrupted_backup_is_none_and_is_continued(run: Run[Any], source: Installation, place: str) -> None:
    """Without a manifest it is not listed; the next one copies the rest, and releases what others hold."""
    run(push(source, "a", *LAYERS))
    with pytest.raises(InterruptedError):
        run(back_up(source, BackupPlan(place), Progress(interrupt_after=len(LAYERS[1]) - 1)))
    assert run(backups_in(place)) == []

    already = {path: path.stat().st_ino for path in blob_files(place)}
    manifest, _ = run(back_up(source, BackupPlan(place), Progress()))
    assert [each.name for each in run(backups_in(place))] == [manifest.name]
    assert len(blob_files(place)) == 3
    assert {path: path.stat().st_ino for path in already} == already


@ON_SQLITE
def test_damage_in_the_source_is_reported(run: Run[Any], source: Installation, place: str) -> None:
    """The backup has everything else, and says what it lacks."""
    run(push(source, "a", *LAYERS))
    digest = Digest.of(LAYERS[0])
    damaged = source.settings.data_folder / "blobs/sha256" / digest.hex[:2] / digest.hex
    damaged.write_bytes(b"x" * len(LAYERS[0]))

    manifest, _ = run(back_up(source, BackupPlan(place), Progress()))

    assert [(blob.digest, blob.problem) for blob in manifest.missing] == [
        (str(digest), "its content does not match its digest")
    ]
    assert manifest.blobs == 2


@ON_SQLITE
def test_damage_in_the_backup_is_found_and_mended(
    run: Run[Any], source: Installation, target: Installation, place: str
) -> None:
    """A restore says which blob is damaged and restores the rest; a backup with ``verify="full"`` copies it again."""
    run(push(source, "a", *LAYERS))
    run(back_up(source, BackupPlan(place), Progress()))
    digest = Digest.of(LAYERS[0])
    (Path(place) / "blobs/sha256" / digest.hex[:2] / digest.hex).write_bytes(b"x" * len(LAYERS[0]))

    _, missing = run(restore(target, RestorePlan(place), Progress()))
    assert [blob.digest for blob in missing] == [str(digest)]

    run(back_up(source, BackupPlan(place, verify="full"), Progress()))
    other = registry(target.settings.data_folder.with_name("other"))
    assert run(restore(other, RestorePlan(place), Progress()))[1] == []
    assert run(is_complete(other, "a", *LAYERS))


@ON_SQLITE
def test_old_backups_are_deleted_with_their_blobs(run: Run[Any], source: Installation, place: str) -> None:
    """What a remaining backup needs stays."""
    run(push(source, "a", LAYERS[0]))
    run(back_up(source, BackupPlan(place), Progress()))
    run(push(source, "b", LAYERS[1]))
    run(delete(source, "a", LAYERS[0]))

    newest, pruned = run(back_up(source, BackupPlan(place, keep=1), Progress()))

    assert pruned is not None
    assert (pruned.backups, pruned.blobs) == (1, 1)
    assert [each.name for each in run(backups_in(place))] == [newest.name]
    assert {path.name for path in blob_files(place)} == {Digest.of(LAYERS[1]).hex, Digest.of(b"{}").hex}


@ON_SQLITE
def test_an_encrypted_backup_shows_nothing(
    run: Run[Any], source: Installation, target: Installation, place: str
) -> None:
    """Neither names nor contents of blobs, nor rows; and only the passphrase restores it."""
    run(push(source, "secret-name", *LAYERS))
    run(back_up(source, BackupPlan(place, b"correct horse"), Progress()))
    names = {path.name for path in blob_files(place)}
    assert len(names) == 3
    assert names.isdisjoint(Digest.of(content).hex for content in (b"{}", *LAYERS))
    stored = b"".join(path.read_bytes() for path in Path(place).rglob("*") if path.is_file())
    assert LAYERS[0] not in stored

    for passphrase in (None, b"wrong horse"):
        with pytest.raises(WrongPassphrase):
            run(restore(target, RestorePlan(place, passphrase), Progress()))
    run(restore(target, RestorePlan(place, b"correct horse"), Progress()))
    assert run(is_complete(target, "secret-name", *LAYERS))


def test_a_restore_needs_an_empty_installation(
    run: Run[Any], source: Installation, target: Installation, place: str
) -> None:
    """What exists is never overwritten; an interrupted restore cannot be served, and is continued."""
    run(push(source, "a", *LAYERS))
    run(back_up(source, BackupPlan(place), Progress()))
    with pytest.raises(BackupError):
        run(restore(source, RestorePlan(place), Progress()))

    with pytest.raises(InterruptedError):
        run(restore(target, RestorePlan(place), Progress(interrupt_after=1)))
    if not target.settings.database_url:
        with pytest.raises(WrongInstallation):
            run(is_complete(target, "a"))
    run(restore(target, RestorePlan(place), Progress()))
    assert run(is_complete(target, "a", *LAYERS))
    with pytest.raises(BackupError):
        run(restore(target, RestorePlan(place), Progress()))


@ON_SQLITE
def test_only_the_database_is_lost(run: Run[Any], source: Installation, place: str, tmp_path: Path) -> None:
    """With the blobs of the installation, a restore adds what they lack; they belong to the restored database alone."""
    run(push(source, "a", *LAYERS))
    run(back_up(source, BackupPlan(place), Progress()))
    survivor = registry(tmp_path / "survivor")
    (tmp_path / "data/blobs").rename(tmp_path / "moved")
    survivor.settings.data_folder.mkdir()
    (tmp_path / "moved").rename(tmp_path / "survivor/blobs")
    with pytest.raises(BackupError):
        run(restore(survivor, RestorePlan(place), Progress()))
    progress = Progress()

    run(restore(survivor, RestorePlan(place, existing_blobs=True), progress))

    assert run(is_complete(survivor, "a", *LAYERS))
    (tmp_path / "data/blobs").symlink_to(tmp_path / "survivor/blobs")
    with pytest.raises(WrongInstallation):
        run(is_complete(source, "a", *LAYERS))


def test_a_database_moves_to_the_other_engine_and_back(
    run: Run[Any], source: Installation, target: Installation, tmp_path: Path
) -> None:
    """Every row arrives; the database before is refused from then on."""
    run(push(source, "a", *LAYERS))
    before = run(contents(source))
    url = target.settings.database_url or "sqlite"
    moved = registry(source.settings.data_folder, target.settings.database_url)

    async def try_while_open() -> None:
        async with opened(source):
            await migrate(source, url, Progress())

    with pytest.raises(BackupError):
        run(try_while_open())
    run(migrate(source, url, Progress()))

    after = run(contents(moved))
    assert {name for name in before if before[name] != after[name]} == set()
    assert run(is_complete(moved, "a", *LAYERS))
    run(push(moved, "b", b"after the move"))
    with pytest.raises(WrongInstallation, match="moved"):
        run(is_complete(source, "a", *LAYERS))
    with pytest.raises(BackupError):
        run(migrate(source, url, Progress()))


def test_blobs_move_while_pushes_continue(run: Run[Any], source: Installation, tmp_path: Path) -> None:
    """What is pushed after the last round is copied at the end; neither store can be mistaken for the other."""
    run(push(source, "a", *LAYERS))
    to = str(tmp_path / "elsewhere")
    moved = registry(Path(to), source.settings.database_url)
    run(copy_blobs(source, to, Progress(), finish=False))
    run(push(source, "b", b"pushed late"))

    if source.settings.database_url:
        with pytest.raises(WrongInstallation, match="copying"):
            run(is_complete(moved, "a", *LAYERS))
    done = run(copy_blobs(source, to, Progress(), finish=True))
    assert (done.left, done.missing) == (1, [])
    with pytest.raises(WrongInstallation, match="another blob store"):
        run(is_complete(source, "a", *LAYERS))
    if not source.settings.database_url:
        (source.settings.data_folder / SQLITE_FILE).rename(Path(to) / SQLITE_FILE)
    assert run(is_complete(moved, "a", *LAYERS))
    assert run(is_complete(moved, "b", b"pushed late"))


@ON_SQLITE
def test_a_missing_blob_keeps_the_switch_from_being_made(run: Run[Any], source: Installation, tmp_path: Path) -> None:
    """The new store is not usable without it; after the image was pushed again, the same command completes it."""
    run(push(source, "a", *LAYERS))
    digest = Digest.of(LAYERS[0])
    lost = source.settings.data_folder / "blobs/sha256" / digest.hex[:2] / digest.hex
    kept = lost.read_bytes()
    lost.unlink()
    to = str(tmp_path / "elsewhere")

    done = run(copy_blobs(source, to, Progress(), finish=True))
    assert [blob.digest for blob in done.missing] == [str(digest)]
    lost.write_bytes(kept)
    assert run(copy_blobs(source, to, Progress(), finish=True)).missing == []
