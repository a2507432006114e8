"""A database and a blob store that belong together; anything else is refused before it can do harm."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from tests.parts.database import Run
from tests.parts.hub import HytheServer
from tests.parts.postgresql import PostgresqlServer
from tests.security.registry_client import PASSWORD, RegistryClient, basic, bearer
from tests.unit.registry.depot import GRACE, Clock

from hythe.database import UnavailableError, sqlite_file
from hythe.oci.digest import Digest
from hythe.registry.anonymous import AnonymousAccess
from hythe.registry.installation import Kind, WrongInstallation, report_missing_blobs
from hythe.registry.policy import Policy
from hythe.registry.service import RegistryServices
from hythe.registry.storage import open_blob_store
from hythe.server.installation import Stores, adopt_blobs, open_stores
from hythe.settings import Settings

Work = Callable[[Stores], Awaitable[Any]]


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    """A new data folder, and a database with a schema and no rows, once on each engine."""
    return Settings(data=str(tmp_path), database_url=database_url)


async def nothing(_stores: Stores) -> None:
    """Only open and close."""


async def start(settings: Settings, kind: Kind = Kind.REGISTRY, work: Work = nothing) -> None:
    """Open the stores as a server does."""
    async with open_stores(settings, kind) as stores:
        await work(stores)


async def push(stores: Stores, content: bytes = b"layer") -> None:
    """Store and record a blob."""
    digest = Digest.of(content)
    await stores.blobs.put(digest, pieces(content))
    async with stores.database.writing() as session:
        statement = text("INSERT INTO blobs (digest, size, stored_at) VALUES (:digest, 5, '2026-01-01 00:00:00')")
        await session.run(statement, {"digest": str(digest)})


async def pieces(content: bytes) -> AsyncIterator[bytes]:
    """A body."""
    yield content


async def change(stores: Stores, statement: str) -> None:
    """Change the database by hand."""
    async with stores.database.writing() as session:
        await session.run(text(statement))


def refused(run: Run[Any], settings: Settings, words: str, kind: Kind = Kind.REGISTRY) -> None:
    """A start fails with these words, twice, and its hint names a way out."""
    for _ in range(2):
        with pytest.raises(WrongInstallation, match=words) as raised:
            run(start(settings, kind))
        assert raised.value.hint


def test_the_first_start_records_what_later_starts_find(run: Run[Any], settings: Settings) -> None:
    """The marker is next to the blobs, so a backup of them has it; only this user can read it."""
    run(start(settings, work=push))
    marker = settings.data_folder / "blobs/installation"
    written = marker.read_text()

    run(start(settings))

    assert marker.read_text() == written
    assert marker.stat().st_mode & 0o777 == 0o600


def test_another_blob_store_is_refused(run: Run[Any], settings: Settings) -> None:
    """A mistyped setting or an unmounted disk is an empty store, or that of another installation."""
    blobs = settings.data_folder / "blobs"
    run(start(settings, work=push))
    blobs.rename(settings.data_folder / "away")
    refused(run, settings, "the blob store has 0 of 1 blobs")
    (blobs / "installation").write_text("1234/5678\n")
    refused(run, settings, "belongs to another installation")

    run(adopt_blobs(settings, Kind.REGISTRY))
    run(start(settings))


def test_another_blob_store_is_refused_before_the_first_push(run: Run[Any], settings: Settings) -> None:
    """Two servers that each have an own folder would both accept the first push."""
    run(start(settings))
    (settings.data_folder / "blobs").rename(settings.data_folder / "away")

    refused(run, settings, "it has no marker")


def test_restored_blobs_without_a_marker_are_accepted(run: Run[Any], settings: Settings) -> None:
    """A backup that an older version's blobs are in, or one without the marker."""
    run(start(settings, work=push))
    (settings.data_folder / "blobs/installation").unlink()

    run(start(settings))

    assert (settings.data_folder / "blobs/installation").exists()


@pytest.mark.parametrize("stored", [True, False])
def test_an_older_version_is_upgraded_if_its_blobs_are_there(run: Run[Any], settings: Settings, stored: bool) -> None:
    """Its database has no marker, and its blob store neither."""

    async def as_before(stores: Stores) -> None:
        await push(stores)
        await change(stores, "UPDATE installation SET kind = NULL, blob_store = NULL")
        (settings.data_folder / "blobs/installation").unlink()
        if not stored:
            await stores.blobs.delete([Digest.of(b"layer")])

    run(start(settings, work=as_before))

    if stored:
        run(start(settings))
        run(start(settings))
        refused(run, settings, "the database of a private registry, not of a hub", Kind.HUB)
    else:
        refused(run, settings, "the blob store has 0 of 1 blobs")


@pytest.mark.parametrize("leave", ["nothing", "0 bytes", "a marker"])
def test_blobs_without_a_database_are_refused(run: Run[Any], tmp_path: Path, leave: str) -> None:
    """A lost hythe.db, or one of 0 bytes, is no empty hub; nothing is written that a restore would meet."""
    settings = Settings(data=str(tmp_path))
    run(start(settings, work=push))
    database = tmp_path / "hythe.db"
    for path in tmp_path.glob("hythe.db*"):
        path.unlink()
    if leave == "0 bytes":
        database.touch()
    elif leave == "a marker":
        (path for path in tmp_path.glob("blobs/sha256/*/*")).__next__().unlink()

    refused(run, settings, "has no database, or an empty one, but there are blobs in")

    assert [path.stat().st_size for path in tmp_path.glob("hythe.db*")] == ([0] if leave == "0 bytes" else [])
    (tmp_path / "blobs").rename(tmp_path / "away")
    run(start(settings))


def test_an_empty_postgresql_is_refused(
    run: Run[Any], tmp_path: Path, postgresql: PostgresqlServer, postgresql_template: str
) -> None:
    """Next to blobs of another database, or to a SQLite database in use."""
    database_url = postgresql.create(template=postgresql_template)
    sqlite = Settings(data=str(tmp_path))
    run(start(sqlite))
    both = Settings(data=str(tmp_path), database_url=database_url)
    refused(run, both, "the database at database_url is empty, but .* has a SQLite database in use")

    for path in tmp_path.glob("hythe.db*"):
        path.rename(tmp_path / "away")
    refused(run, both, "the database is empty, but the blob store has blobs")
    run(adopt_blobs(both, Kind.REGISTRY))
    run(start(both))


@pytest.mark.parametrize(("kind", "other"), [(Kind.HUB, Kind.REGISTRY), (Kind.REGISTRY, Kind.HUB)])
def test_a_hub_is_no_private_registry(run: Run[Any], settings: Settings, kind: Kind, other: Kind) -> None:
    """The error names the command that opens this folder."""
    run(start(settings, kind))

    refused(run, settings, f"this is the database of a {kind.title}, not of a {other.title}", other)
    with pytest.raises(WrongInstallation):
        run(adopt_blobs(settings, other))


def test_a_verb_without_blobs_starts_an_installation(run: Run[Any], settings: Settings) -> None:
    """``hythe admin create-user`` may come first, and knows no blob store."""

    async def without_blobs() -> None:
        async with open_stores(settings, Kind.HUB, use_blobs=False):
            pass

    run(without_blobs())
    assert not (settings.data_folder / "blobs/installation").exists()
    run(start(settings, Kind.HUB))
    (settings.data_folder / "blobs/installation").write_text("1234/5678\n")
    run(without_blobs())
    refused(run, settings, "belongs to another installation", Kind.HUB)


def test_servers_that_start_at_once_agree(
    run: Run[Any], tmp_path: Path, postgresql: PostgresqlServer, postgresql_template: str
) -> None:
    """Of several first starts all that share a blob store succeed; one with another blob store is refused."""

    async def start_all(*folders: str) -> list[str]:
        url = postgresql.create(template=postgresql_template)
        many = [start(Settings(data=str(tmp_path / folder), database_url=url)) for folder in folders]
        return sorted(type(result).__name__ for result in await asyncio.gather(*many, return_exceptions=True))

    assert run(start_all("one", "one", "one")) == ["NoneType"] * 3
    assert run(start_all("two", "three")) == ["NoneType", "WrongInstallation"]


def test_garbage_collection_stops_if_the_blob_store_changes(run: Run[Any], settings: Settings) -> None:
    """A disk that was replaced while the server runs has bytes that this database does not know."""

    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            stores = await stack.enter_async_context(open_stores(settings, Kind.REGISTRY))
            clock = Clock()
            registry = RegistryServices(
                stores.database, stores.blobs, AnonymousAccess(), (), Policy(grace=GRACE), clock
            )
            await stores.blobs.put(Digest.of(b"theirs"), pieces(b"theirs"))
            await stores.blobs.set_marker("1234/5678", replace=True)
            clock.now = clock.now.replace(year=clock.now.year + 10)
            for work in (registry.garbage.collect(), anext(registry.verification.strays())):
                with pytest.raises(WrongInstallation, match="belongs to another installation"):
                    await work
            with pytest.raises(WrongInstallation):
                await anext(registry.verification.blobs())
            assert await stores.blobs.stat(Digest.of(b"theirs")) is not None

    run(scenario())


def test_a_database_that_is_deleted_while_a_hub_runs(start_hub: Callable[..., HytheServer]) -> None:
    """The hub accepts no push that would be lost, says why, and neither it nor a command begins an empty database."""
    hub = start_hub(["--builds-workers", "0"])
    hub.create_user("alice", PASSWORD)
    client = RegistryClient(hub.url)
    header = bearer(client.access_token(basic("alice"), "repository:alice/app:pull,push")["token"])
    assert client.push("alice/app", header) == 201
    (blob,) = (path for path in hub.data.glob("blobs/sha256/*/*") if path.is_file())
    content = blob.read_bytes()
    kept = hub.data / "kept"
    kept.mkdir()
    for path in hub.data.glob("hythe.db*"):
        path.rename(kept / path.name)

    pushed = client.send("POST", "/v2/alice/app/blobs/uploads/", header)
    assert (pushed.status_code, "its file was deleted" in pushed.text) == (503, True)
    while (readiness := client.send("GET", "/readyz")).status_code == 200:
        time.sleep(0.1)
    check = readiness.json()["checks"]["database"]
    assert check["problem"] == "the database cannot be used: its file was deleted"
    for credential in ({}, header, bearer("no.valid.token"), basic("alice")):
        assert client.status("GET", "/v2/", credential) == 503
    collected = hub.run_maintenance("gc")
    assert collected.returncode == 1
    assert f"error: there is no hub in {hub.data}" in collected.stderr
    assert not list(hub.data.glob("hythe.db*"))
    assert blob.read_bytes() == content

    assert hub.stop() == 0
    for path in kept.iterdir():
        path.rename(hub.data / path.name)
    hub.start()
    assert client.status("GET", "/v2/alice/app/manifests/latest", header) == 200


def test_garbage_collection_stops_if_the_database_is_deleted(
    run: Run[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The blobs are still there for a restore."""
    monkeypatch.setattr(sqlite_file, "LOOK_INTERVAL", 0.0)

    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            stores = await stack.enter_async_context(open_stores(Settings(data=str(tmp_path)), Kind.REGISTRY))
            await push(stores)
            clock = Clock()
            registry = RegistryServices(
                stores.database, stores.blobs, AnonymousAccess(), (), Policy(grace=GRACE), clock
            )
            clock.now = clock.now.replace(year=clock.now.year + 10)
            for path in tmp_path.glob("hythe.db*"):
                path.unlink()
            with pytest.raises(UnavailableError, match="was deleted while this server used it"):
                await registry.garbage.collect()
            assert await stores.blobs.stat(Digest.of(b"layer")) is not None

    run(scenario())
    assert not list(tmp_path.glob("hythe.db*"))


def test_a_restore_that_lacks_blobs_is_reported(
    run: Run[Any], settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A copy of both starts; if the blobs are older than the database, the log says so and what to do."""

    async def look(stores: Stores) -> None:
        await report_missing_blobs(stores.database, stores.blobs)

    async def push_three(stores: Stores) -> None:
        for content in (b"1", b"2", b"3"):
            await push(stores, content)

    run(start(settings, work=push_three))
    copy = Settings(data=str(tmp_path / "restored"), database_url=settings.database_url)
    shutil.copytree(settings.data_folder / "blobs", copy.data_folder / "blobs")
    if not settings.database_url:
        shutil.copy(settings.data_folder / "hythe.db", copy.data_folder)
    run(start(copy, work=look))
    assert caplog.records == []

    next(copy.data_folder.glob("blobs/sha256/*/*")).unlink()
    run(start(copy, work=look))

    (record,) = caplog.records
    assert record.message.startswith("1 of 3 blobs that were looked up are missing in the blob store: restore them")


def test_a_damaged_database_is_no_new_one(run: Run[Any], tmp_path: Path) -> None:
    """It counts as in use, so the error is that of the database."""
    run(start(Settings(data=str(tmp_path))))
    with closing(sqlite3.connect(tmp_path / "hythe.db")) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    (tmp_path / "hythe.db").write_bytes(b"not a database" * 1000)

    with pytest.raises(Exception, match="file is not a database"):
        run(start(Settings(data=str(tmp_path))))


def test_a_store_in_another_folder_stays_untouched(run: Run[Any], tmp_path: Path) -> None:
    """The marker of one store says nothing about another."""
    run(start(Settings(data=str(tmp_path / "one"))))
    other = open_blob_store(tmp_path / "two")

    assert run(other.marker()) is None
    run(other.close())
