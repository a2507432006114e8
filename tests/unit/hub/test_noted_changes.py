"""Every change of what cached answers are made of is noted, on both engines: they are always the same as fresh ones."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from sqlalchemy import Column, ColumnElement, Table, and_, delete, insert, select, text, update
from sqlalchemy.dialects.sqlite import dialect as sqlite_dialect
from tests.unit.hub.services import Services

from hythe.database import Session
from hythe.database.tables.administration import administrator_access
from hythe.database.tables.builds import build_configurations
from hythe.database.tables.hub import hub_repositories, namespaces, personal_tokens, users
from hythe.database.tables.names import former_namespaces, former_repositories
from hythe.database.tables.organizations import (
    collaborators,
    organization_members,
    team_grants,
    team_members,
    team_repositories,
    teams,
)
from hythe.database.tables.registry import blobs, manifests, repositories, repository_blobs, tags
from hythe.hub.accounts.user import Visibility
from hythe.hub.actor import ANONYMOUS
from hythe.hub.organizations.organizations import NewOrganization
from hythe.hub.repositories.repositories import NewRepository
from hythe.hub.sql import access_context, former_names
from hythe.oci.digest import Digest
from hythe.registry.sql import blobs as blob_store
from hythe.registry.sql import manifests as manifest_store

SOURCE = Path(access_context.__file__).parents[2]

CACHED = (
    access_context._CONTEXT,
    former_names._SUCCESSOR,
    manifest_store._BY_TAG,
    manifest_store._BY_DIGEST,
    blob_store._FIND,
)
"""The statements whose results read caches keep."""

CACHE_USERS = {
    "hub/access/contexts.py",
    "hub/access/former_names.py",
    "registry/manifests.py",
    "registry/blobs.py",
}
"""The modules that run them."""

INSERTS = {"namespaces", "hub_repositories", "organization_members", "collaborators", "team_members"} | {
    *("team_repositories", "team_grants", "build_configurations", "administrator_access"),
    *("former_namespaces", "former_repositories"),
}
"""Tables whose new rows are noted. No cache keeps that another row does not exist, except where one of these does."""

NO_DELETES = {"blobs"}
"""Tables whose rows can be deleted only after others, which note it."""

KEYS = (users, namespaces, repositories, hub_repositories, teams)
"""Tables whose keys others refer to, so that these cannot change."""

NOW, LATER = datetime(2026, 11, 23, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC)

LOOSE = f"sha256:{'1' * 64}"


class Read(NamedTuple):
    """A table and a column."""

    table: str
    column: str


def read_columns(statement: Any) -> set[Read]:
    """Return the columns that a statement reads, from its text."""
    words = str(statement.compile(dialect=sqlite_dialect()))
    aliases = {alias: table for table, alias in re.findall(r"(\w+) AS (owners|now|named)\b", words)}
    pairs = re.findall(r"\b([a-z_]+)\.([a-z_]+)\b", words)
    return {Read(aliases.get(table, table), column) for table, column in pairs if table not in ("one", "anon_1")}


READ = set[Read]().union(*map(read_columns, CACHED))


def uid(name: str) -> Any:
    """The id of an account."""
    return select(users.c.id).where(users.c.name == name).scalar_subquery()


def nid(name: str) -> Any:
    """The id of a namespace."""
    return select(namespaces.c.id).where(namespaces.c.name == name).scalar_subquery()


def rid(name: str) -> Any:
    """The id of a repository."""
    return select(repositories.c.id).where(repositories.c.name == name).scalar_subquery()


def tid(name: str) -> Any:
    """The id of a team."""
    return select(teams.c.id).where(teams.c.name == name).scalar_subquery()


def digest_of(tag: str) -> Any:
    """The digest of a tag of acme/app."""
    return select(tags.c.digest).where(tags.c.repository_id == rid("acme/app"), tags.c.name == tag).scalar_subquery()


def some_blob(repository: str) -> Any:
    """The digest of a blob that only this one of two repositories contains."""
    others = select(repository_blobs.c.digest).where(repository_blobs.c.repository_id != rid(repository))
    own = select(repository_blobs.c.digest).where(
        repository_blobs.c.repository_id == rid(repository), repository_blobs.c.digest.not_in(others)
    )
    return own.limit(1).scalar_subquery()


APP = {table: table.c.repository_id == rid("acme/app") for table in (hub_repositories, tags, manifests)}
OF_BEN = {table: table.c.user_id == uid("ben") for table in (organization_members, team_members, personal_tokens)}
COLLABORATOR = collaborators.c.user_id == uid("cat")
TEAM = team_repositories.c.team_id == tid("dev")
GRANT = team_grants.c.team_id == tid("dev")
TAG = and_(APP[tags], tags.c.name == "latest")
MANIFEST = and_(APP[manifests], manifests.c.digest == digest_of("latest"))
UNTAGGED = and_(APP[manifests], manifests.c.digest == LOOSE)
BLOB = and_(repository_blobs.c.repository_id == rid("acme/app"), repository_blobs.c.digest == some_blob("acme/app"))
TOKEN, OLD_TOKEN = (and_(OF_BEN[personal_tokens], personal_tokens.c.name == name) for name in ("new", "old"))
BUILT = build_configurations.c.repository_id == rid("ann/web")

UPDATES: list[tuple[Column[Any], ColumnElement[bool], Any]] = [
    (repositories.c.name, repositories.c.name == "acme/app", "acme/moved"),
    (repositories.c.created_at, repositories.c.name == "acme/app", LATER),
    (tags.c.name, TAG, "renamed"),
    (tags.c.digest, TAG, digest_of("second")),
    (tags.c.repository_id, and_(APP[tags], tags.c.name == "second"), rid("ann/web")),
    (manifests.c.media_type, MANIFEST, "application/other"),
    (manifests.c.content, MANIFEST, b"{}"),
    (manifests.c.free_after, MANIFEST, LATER),
    (manifests.c.digest, UNTAGGED, f"sha256:{'2' * 64}"),
    (manifests.c.repository_id, UNTAGGED, rid("ann/web")),
    (repository_blobs.c.free_after, BLOB, LATER),
    (repository_blobs.c.digest, BLOB, some_blob("ann/web")),
    (repository_blobs.c.repository_id, BLOB, rid("ann/web")),
    (blobs.c.size, blobs.c.digest == some_blob("acme/app"), 77),
    (blobs.c.quarantined_at, blobs.c.digest == some_blob("acme/app"), NOW),
    (namespaces.c.name, namespaces.c.name == "acme", "acme2"),
    (namespaces.c.kind, namespaces.c.name == "library", "user"),
    (namespaces.c.user_id, namespaces.c.name == "acme", uid("ben")),
    (hub_repositories.c.visibility, APP[hub_repositories], "private"),
    (hub_repositories.c.name, APP[hub_repositories], "other"),
    (hub_repositories.c.namespace_id, APP[hub_repositories], nid("ann")),
    (hub_repositories.c.taken_down_at, hub_repositories.c.name == "bad", None),
    (hub_repositories.c.taken_down_reason, hub_repositories.c.name == "bad", "malware"),
    (users.c.name, users.c.name == "ben", "benjamin"),
    (users.c.kind, users.c.name == "acme", "user"),
    (users.c.admin, users.c.name == "ben", True),
    (users.c.curator, users.c.name == "ben", True),
    (users.c.blocked_at, users.c.name == "ben", NOW),
    (users.c.blocked_at, users.c.name == "acme", NOW),
    (users.c.deleted_at, users.c.name == "acme", NOW),
    (users.c.credential_generation, users.c.name == "ben", 7),
    (users.c.email_confirmed_at, users.c.name == "ben", None),
    (users.c.second_factor, users.c.name == "cat", True),
    (users.c.require_second_factor, users.c.name == "acme", True),
    (users.c.member_role, users.c.name == "acme", 3),
    (users.c.members_create, users.c.name == "acme", False),
    (users.c.storage_limit, users.c.name == "acme", 1000),
    (users.c.upload_limit, users.c.name == "acme", 5),
    (personal_tokens.c.user_id, TOKEN, uid("cat")),
    (personal_tokens.c.digest, TOKEN, "other"),
    (personal_tokens.c.expires_at, TOKEN, NOW),
    (personal_tokens.c.previous_digest, TOKEN, "other"),
    (personal_tokens.c.previous_expires_at, TOKEN, NOW),
    (personal_tokens.c.permissions, TOKEN, "repo:read"),
    (personal_tokens.c.limits, TOKEN, "acme/*"),
    (personal_tokens.c.rights, OLD_TOKEN, "repo:write"),
    (organization_members.c.role, OF_BEN[organization_members], 2),
    (organization_members.c.user_id, OF_BEN[organization_members], uid("cat")),
    (organization_members.c.organization_id, OF_BEN[organization_members], uid("other")),
    (collaborators.c.role, COLLABORATOR, 3),
    (collaborators.c.user_id, COLLABORATOR, uid("ben")),
    (collaborators.c.repository_id, COLLABORATOR, rid("ann/web")),
    (team_members.c.user_id, OF_BEN[team_members], uid("cat")),
    (team_members.c.team_id, OF_BEN[team_members], tid("ops")),
    (team_repositories.c.role, TEAM, 3),
    (team_repositories.c.team_id, TEAM, tid("ops")),
    (team_repositories.c.repository_id, TEAM, rid("ann/web")),
    (team_grants.c.role, GRANT, 3),
    (team_grants.c.like_pattern, GRANT, "zz%"),
    (team_grants.c.team_id, GRANT, tid("ops")),
    (teams.c.organization_id, teams.c.name == "dev", uid("other")),
    (build_configurations.c.repository_id, BUILT, rid("acme/app")),
    (administrator_access.c.until, administrator_access.c.user_id == uid("adm"), NOW),
    (administrator_access.c.user_id, administrator_access.c.user_id == uid("adm"), uid("admin2")),
    (administrator_access.c.repository_id, administrator_access.c.user_id == uid("adm"), rid("ann/web")),
    (former_namespaces.c.name, former_namespaces.c.name == "oldacme", "olderacme"),
    (former_namespaces.c.namespace_id, former_namespaces.c.name == "oldacme", nid("ann")),
    (former_repositories.c.name, former_repositories.c.name == "old", "older"),
    (former_repositories.c.namespace_id, former_repositories.c.name == "old", nid("ann")),
    (former_repositories.c.repository_id, former_repositories.c.name == "old", rid("ann/web")),
]
"""Each changes a column of one row so that some answer changes."""

ASKED = {
    "": "acme/app acme/bad library/app",
    "ann": "acme/app",
    "ben": "acme/app acme/missing acme/other ann/web other/app",
    "cat": "acme/app ann/web acme/missing other/app",
    "adm": "acme/app ann/web",
    "admin2": "acme/app",
    "new": "acme/app",
    "previous": "acme/app",
    "old": "acme/app",
    "other": "acme/app",
}
"""Which accounts and tokens ask for which repositories."""

FORMER_NAMES = "acme/old acme/older ann/old oldacme/app olderacme/app acme/missing"

ROWS: list[tuple[Table, ColumnElement[bool]]] = [
    (tags, TAG),
    (manifests, UNTAGGED),
    (repository_blobs, BLOB),
    (personal_tokens, OLD_TOKEN),
    (organization_members, OF_BEN[organization_members]),
    (collaborators, COLLABORATOR),
    (team_members, OF_BEN[team_members]),
    (team_repositories, TEAM),
    (team_grants, GRANT),
    (build_configurations, BUILT),
    (administrator_access, administrator_access.c.user_id == uid("adm")),
    (former_repositories, former_repositories.c.name == "old"),
    (former_namespaces, former_namespaces.c.name == "oldacme"),
]
"""Rows that can be deleted and inserted again; some answer changes each time."""

LAST: list[tuple[Table, ColumnElement[bool]]] = [
    (teams, teams.c.name == "dev"),
    (hub_repositories, hub_repositories.c.name == "bad"),
    (repositories, repositories.c.name == "acme/app"),
    (namespaces, namespaces.c.name == "other"),
    (users, users.c.name == "cat"),
    (users, users.c.name == "acme"),
]
"""Rows that take others with them."""


class World:
    """A hub with something in each table, and all answers about it."""

    def __init__(self, services: Services) -> None:
        self.services = services
        ann, ben, cat = (services.user(name) for name in ("ann", "ben", "cat"))
        adm, admin2 = (services.user(name, admin=True) for name in ("adm", "admin2"))
        for name in ("acme", "other"):
            services.run(services.hub.organizations.create(ann, NewOrganization(name)))
        self.digests = [
            services.push(ann, "acme/app", "latest", b'{"os":"linux"}'),
            services.push(ann, "acme/app", "second", b'{"os": "linux"}'),
        ]
        for content, tag in ((b'{"os": "linux"}', "web"), (b'{"os":"plan9"}', "plan9")):
            services.push(ann, "ann/web", tag, content)
        services.run(services.hub.repositories.create(ann, NewRepository("acme", "bad", Visibility.PUBLIC)))
        services.run(self._fill())
        tokens = {
            digest: msgspec.structs.replace(ben, personal_token_digest=digest)
            for digest in ("new", "previous", "old", "other")
        }
        self.actors = {"": ANONYMOUS, "ann": ann, "ben": ben, "cat": cat, "adm": adm, "admin2": admin2, **tokens}
        self.blobs: list[str] = services.run(self._digests())

    async def _fill(self) -> None:
        async with self.services.database.writing() as session:
            await session.run(
                insert(former_namespaces).values(
                    name="oldacme", namespace_id=nid("acme"), since=NOW, renamed_by="", followed_at=NOW
                )
            )
            await session.run(
                insert(former_repositories).values(
                    namespace_id=nid("acme"), name="old", repository_id=rid("acme/app"), since=NOW, renamed_by=""
                )
            )
            await session.run(
                insert(organization_members).values(
                    organization_id=uid("acme"), user_id=uid("ben"), role=1, joined_at=NOW
                )
            )
            await session.run(
                insert(organization_members).values(
                    organization_id=uid("other"), user_id=uid("cat"), role=1, joined_at=NOW
                )
            )
            await session.run(update(users).where(users.c.name == "other").values(require_second_factor=True))
            await session.run(
                insert(collaborators).values(repository_id=rid("acme/app"), user_id=uid("cat"), role=1, added_at=NOW)
            )
            for team in ("dev", "ops"):
                await session.run(
                    insert(teams).values(organization_id=uid("acme"), name=team, description="", created_at=NOW)
                )
            await session.run(insert(team_grants).values(team_id=tid("dev"), pattern="*", like_pattern="%", role=2))
            await session.run(
                insert(team_repositories).values(team_id=tid("dev"), repository_id=rid("acme/app"), role=2)
            )
            await session.run(insert(team_members).values(team_id=tid("dev"), user_id=uid("ben"), added_at=NOW))
            await self._fill_more(session)

    async def _fill_more(self, session: Session) -> None:
        await session.run(
            insert(administrator_access).values(user_id=uid("adm"), repository_id=rid("acme/app"), until=LATER)
        )
        values = {"user_id": uid("ben"), "created_at": NOW}
        new = {"name": "new", "digest": "new", "previous_digest": "previous", "rights": "", "permissions": "repo:write"}
        for row in (new, {"name": "old", "digest": "old", "rights": "repo:read"}):
            await session.run(insert(personal_tokens).values(**values, **row))
        await session.run(
            update(hub_repositories)
            .where(hub_repositories.c.name == "bad")
            .values(taken_down_at=NOW, taken_down_reason="spam")
        )
        texts = dict.fromkeys(
            ("account", "source_url", "forge", "forge_repository", "default_branch", "trigger_token", "options"), ""
        )
        await session.run(
            insert(build_configurations).values(
                repository_id=rid("ann/web"), **texts, active=True, failing=False, created_at=NOW, created_by=""
            )
        )
        empty = dict.fromkeys(("kind", "media_type", "artifact_type", "pushed_by"), "")
        await session.run(
            insert(manifests).values(
                repository_id=rid("acme/app"),
                digest=LOOSE,
                **empty,
                annotations="{}",
                size=1,
                content=b"1",
                pushed_at=NOW,
            )
        )

    async def _digests(self) -> list[str]:
        async with self.services.database.reading() as session:
            return [row.digest for row in await session.rows(select(blobs.c.digest).order_by(blobs.c.digest))]

    async def answers(self, *, cached: bool) -> dict[Any, Any]:
        """Return all answers, through the caches or from the database."""
        services, found = self.services, dict[Any, Any]()
        access, registry = services.foundation.access, services.registry
        async with services.database.reading() as session:
            own = None if cached else session
            for actor, names in ASKED.items():
                for name in names.split():
                    found[actor, name] = await access.context(self.actors[actor], name, own)
            for name in FORMER_NAMES.split():
                context = await access.context(ANONYMOUS, name, own)
                found[name] = await access.former_names.successor(name, context, own)
            for repository in ("acme/app", "ann/web"):
                for reference in ("latest", "second", "renamed", *map(Digest.parse, (*self.digests, LOOSE))):
                    find = partial(manifest_store.find, repository=repository, reference=reference)
                    manifest_key = (repository, reference)
                    manifest = registry.manifests._cache.get(manifest_key, find) if cached else find(session)
                    found[manifest_key] = await manifest
                for digest in map(Digest.parse, self.blobs):
                    find_blob = partial(blob_store.find, repository=repository, digest=str(digest))
                    blob_key = (repository, digest)
                    blob = await (registry.blobs._cache.get(blob_key, find_blob) if cached else find_blob(session))
                    found["blob", *blob_key] = blob and (blob.size, blob.free_after, blob.quarantined)
        return found

    def fresh(self) -> dict[Any, Any]:
        """Return all answers, read without a cache."""
        return self.services.run(self.answers(cached=False))

    def stale(self, fresh: dict[Any, Any]) -> dict[Any, Any]:
        """Return the cached answers that differ from the fresh ones."""
        cached = self.services.run(self.answers(cached=True))
        return {key: (cached[key], fresh[key]) for key in fresh if cached[key] != fresh[key]}

    def commit(self, *statements: Any) -> None:
        """Run statements in one transaction."""

        async def work() -> None:
            async with self.services.database.writing() as session:
                for statement in statements:
                    await session.run(statement)

        self.services.run(work())

    def value(self, given: Any) -> Any:
        """Return a value, or the result of a query for one."""
        if not isinstance(given, ColumnElement):
            return given

        async def work() -> Any:
            async with self.services.database.reading() as session:
                return (await session.rows(select(given)))[0][0]

        return self.services.run(work())

    def row(self, table: Table, where: ColumnElement[bool]) -> dict[str, Any]:
        """Return the only row that fulfils a condition."""

        async def work() -> list[Any]:
            async with self.services.database.reading() as session:
                return list(await session.rows(select(table).where(where)))

        (found,) = self.services.run(work())
        return dict(found._mapping)


@pytest.fixture
def world(services: Services) -> World:
    """A hub with something in each table."""
    return World(services)


def of_key(table: Table, row: dict[str, Any]) -> ColumnElement[bool]:
    """Return the condition of the row with a key."""
    return and_(*(column == row[column.name] for column in table.primary_key.columns))


def test_a_changed_column_reaches_the_caches(world: World) -> None:
    """It changes an answer, which is the same with and without the caches; then it changes back."""
    before, ineffective = world.fresh(), list[str]()
    assert world.stale(before) == {}
    for column, where, given in UPDATES:
        table, value = column.table, world.value(given)
        row = world.row(table, where)
        world.commit(update(table).where(of_key(table, row)).values({column.name: value}))
        after = world.fresh()
        assert world.stale(after) == {}, column
        ineffective += [str(column)] if after == before else []
        changed = of_key(table, {**row, column.name: value})
        world.commit(update(table).where(changed).values({column.name: row[column.name]}))
        assert world.stale(before) == {}, column
    assert ineffective == []


def test_rows_that_come_and_go_reach_the_caches(world: World) -> None:
    """Each changes an answer, alone or with those that refer to it."""
    before = world.fresh()
    assert world.stale(before) == {}
    for table, where in ROWS:
        row = world.row(table, where)
        world.commit(delete(table).where(of_key(table, row)))
        after = world.fresh()
        assert after != before, table.name
        assert world.stale(after) == {}, table.name
        world.commit(insert(table).values(row))
        assert world.stale(before) == {}, table.name
    for table, where in LAST:
        world.commit(delete(table).where(of_key(table, world.row(table, where))))
        after = world.fresh()
        assert after != before, table.name
        assert world.stale(after) == {}, table.name
        before = after


def test_new_names_reach_the_caches(world: World) -> None:
    """A repository and an account that a cached answer called missing."""
    services, ann = world.services, world.actors["ann"]

    async def contexts() -> list[int | None]:
        access = services.foundation.access
        found = [await access.context(ann, name) for name in ("acme/missing", "dan/app")]
        return [found[0].repository_id, found[1].namespace_id]

    missing = services.run(contexts())
    services.push(ann, "acme/missing")
    services.user("dan")

    assert missing == [None, None]
    assert None not in services.run(contexts())


Noted = dict[str, set[Read]]
"""The columns whose updates, and the tables whose inserts and deletes, triggers note, by event."""


@pytest.fixture
def noted(services: Services) -> Noted:
    """What the triggers of the database note."""
    statement = {
        "sqlite": "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'note_%'",
        "postgresql": "SELECT tgname AS name, pg_get_triggerdef(oid) AS sql FROM pg_trigger WHERE tgname LIKE 'note_%'",
    }[services.database.dialect]

    async def definitions() -> list[str]:
        async with services.database.reading() as session:
            return [row.sql for row in await session.rows(text(statement))]

    found: Noted = {"INSERT": set(), "UPDATE": set(), "DELETE": set()}
    for definition in services.run(definitions()):
        events, table = re.findall(r"AFTER (.*?) ON (?:public\.)?(\w+)", definition)[0]
        for event in found:
            if event in events:
                columns = re.findall(r"\w+", events.partition("UPDATE OF ")[2]) if event == "UPDATE" else [""]
                found[event] |= {Read(table, column) for column in columns if column not in ("OR", "INSERT", "DELETE")}
    return found


def test_every_column_of_a_cached_answer_is_noted(noted: Noted) -> None:
    """A column that a cached statement reads needs a trigger, and an entry in UPDATES."""
    tables = {Read(read.table, "") for read in READ}

    assert READ - noted["UPDATE"] == set()
    assert tables - noted["DELETE"] == {Read(table, "") for table in NO_DELETES}
    assert noted["INSERT"] == {Read(table, "") for table in INSERTS}
    keys = {Read(table.name, column.name) for table in KEYS for column in table.primary_key.columns}
    assert READ - {Read(column.table.name, column.name) for column, _, _ in UPDATES} - keys == {Read("blobs", "digest")}


def test_every_user_of_a_read_cache_is_known() -> None:
    """Whoever caches the result of another statement must add it to CACHED."""
    users_of_caches = {
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("*.py")
        if "ReadCache(" in path.read_text() and path.name != "read_cache.py"
    }

    assert users_of_caches == CACHE_USERS
