"""A hub of the version before organizations (revision 0016) is upgraded, and its user goes on working."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, MetaData, create_engine, insert
from sqlalchemy.ext.asyncio import create_async_engine
from tests.parts.database import migrate_to
from tests.parts.postgresql import PostgresqlServer
from tests.unit.hub.conftest import CHEAP_HASHER
from tests.unit.hub.services import PASSWORD, Services
from tests.unit.hub.test_tag_log import Log

from hythe.database.migration import upgrade
from hythe.database.sqlite import SQLITE_FILE
from hythe.hub.accounts.user import Visibility
from hythe.hub.actor import ANONYMOUS, Right
from hythe.oci.digest import Digest
from hythe.oci.errors import WireError
from hythe.oci.manifest import OCI_CONFIG, OCI_MANIFEST, Descriptor, ImageManifest
from hythe.registry.access import Action
from hythe.registry.storage import open_blob_store

OLD_REVISION = "0016"

CONTENT = b'{"os":"linux"}'
CONFIG = Digest.of(CONTENT)
MANIFEST = ImageManifest(2, OCI_MANIFEST, Descriptor(OCI_CONFIG, str(CONFIG), len(CONTENT)), ()).encode()
IMAGE = Digest.of(MANIFEST)
SECRET = "hythe_" + 43 * "x"
"""A personal token in the form of that version, which had no checksum."""

NOW = datetime(2026, 1, 1, tzinfo=UTC)

ROWS: tuple[tuple[str, dict[str, Any]], ...] = (
    (
        "users",
        {"id": 70, "name": "ann", "email": "ann@example.com", "password_hash": CHEAP_HASHER.hash(PASSWORD)}
        | {"admin": False, "default_visibility": "public", "created_at": NOW},
    ),
    ("namespaces", {"id": 70, "name": "ann", "kind": "user", "user_id": 70}),
    *(
        ("repositories", {"id": number, "name": f"ann/{name}", "created_at": NOW})
        for number, name in ((70, "app"), (71, "built"))
    ),
    *(
        (
            "hub_repositories",
            {"repository_id": number, "namespace_id": 70, "name": name, "visibility": "private", "official": False}
            | {"listed": True, "description": "", "full_description": "", "stars": 0, "pulls": 3}
            | {"created_at": NOW, "updated_at": NOW, "pushed_at": NOW},
        )
        for number, name in ((70, "app"), (71, "built"))
    ),
    (
        "personal_tokens",
        {"id": 70, "user_id": 70, "name": "ci", "digest": hashlib.sha256(SECRET.encode()).hexdigest()}
        | {"rights": "repo:read repo:write", "created_at": NOW},
    ),
    ("blobs", {"digest": str(CONFIG), "size": len(CONTENT), "stored_at": NOW}),
    ("repository_blobs", {"repository_id": 70, "digest": str(CONFIG), "linked_at": NOW}),
    (
        "manifests",
        {"repository_id": 70, "digest": str(IMAGE), "kind": "image", "media_type": OCI_MANIFEST}
        | {"artifact_type": "", "annotations": "{}", "size": len(MANIFEST), "content": MANIFEST}
        | {"pushed_at": NOW, "pushed_by": "ann"},
    ),
    ("manifest_blobs", {"repository_id": 70, "manifest": str(IMAGE), "blob": str(CONFIG)}),
    ("tags", {"repository_id": 70, "name": "latest", "digest": str(IMAGE), "moved_at": NOW, "moved_by": "ann"}),
    (
        "tag_moves",
        {"id": 70, "repository_id": 70, "tag": "latest", "digest": str(IMAGE), "moved_at": NOW, "moved_by": "ann"},
    ),
    (
        "build_configurations",
        {"id": 70, "repository_id": 71, "account": "ann", "source_url": "https://git.example/a", "forge": ""}
        | {"forge_repository": "", "default_branch": "main", "active": True, "trigger_token": "", "options": "{}"}
        | {"failing": False, "created_at": NOW, "created_by": "ann"},
    ),
)
"""A user with a token, a private repository with an image, and one that Trusted Builds push to."""


def _fill(connection: Connection) -> None:
    migrate_to(connection, OLD_REVISION)
    tables = MetaData()
    tables.reflect(connection)
    for name, row in ROWS:
        connection.execute(insert(tables.tables[name]).values(_of_engine(connection, row)))


def _of_engine(connection: Connection, row: dict[str, Any]) -> dict[str, Any]:
    """Return the row as the engine stores it: SQLite's times have no zone."""
    if connection.dialect.name != "sqlite":
        return row
    return {name: value.replace(tzinfo=None) if isinstance(value, datetime) else value for name, value in row.items()}


async def _filled(url: str) -> None:
    engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://"))
    async with engine.begin() as connection:
        await connection.run_sync(_fill)
    await engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The database of the old hub after the upgrade, once on each engine."""
    if request.param == "sqlite":
        with create_engine(f"sqlite:///{tmp_path / SQLITE_FILE}").begin() as connection:
            _fill(connection)
        asyncio.run(upgrade(tmp_path))
        yield ""
        return
    server: PostgresqlServer = request.getfixturevalue("postgresql")
    url = server.create()
    asyncio.run(_filled(url))
    asyncio.run(upgrade(tmp_path, url))
    yield url
    server.drop(url.rsplit("/", 1)[1])


def _basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"ann:{password}".encode()).decode()


async def _store_blob(data: Path) -> None:
    async def content() -> AsyncIterator[bytes]:
        yield CONTENT

    blobs = open_blob_store(data)
    await blobs.put(CONFIG, content())
    await blobs.close()


@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection:sqlalchemy.exc.SAWarning")
def test_its_user_goes_on_working(services: Services, tmp_path: Path) -> None:
    """The password and the token work; images are pulled, pushed and counted, and old tags are in the new tag log."""
    services.run(_store_blob(tmp_path))
    ann = services.run(services.hub.credentials.by_password("ann", PASSWORD))
    token = services.run(services.foundation.access.authenticate(_basic(SECRET), "192.0.2.7"))
    manifests, access = services.registry.manifests, services.foundation.access

    for actor in (ann, token):
        assert services.run(manifests.get(actor, "ann/app", "latest")).content == MANIFEST
        assert services.run(services.registry.blobs.get(actor, "ann/app", CONFIG)).size == len(CONTENT)
    with pytest.raises(WireError):
        services.run(manifests.get(ANONYMOUS, "ann/app", "latest"))
    with pytest.raises(WireError, match="Trusted Build"):
        services.run(access.require(token, "ann/built", Action.PUSH))
    newer = services.push(token, "ann/app", content=b'{"os":"new"}')
    services.push(ann, "ann/other")

    history = Log(services, ann).verify(newer)
    assert [move.digest for move in history.moves] == [newer, str(IMAGE)]
    shown = services.run(services.hub.repositories.get(ann, "ann/app"))
    assert (shown.visibility, shown.pulls) == (Visibility.PRIVATE, 3)
    [listed] = services.run(services.hub.personal_tokens.list(ann))
    assert set(listed.rights) == {Right.READ, Right.WRITE, Right.BUILDS, Right.ADMIN}  # what repo:write meant
    assert listed.used_from == "192.0.2.7"
    assert services.run(services.hub.users.me(ann)).usage.repository_count == 3
