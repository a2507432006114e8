"""The registry asks Access before everything, tells its Listener inside the transaction, and recovers from faults."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from tests.parts.database import Run
from tests.unit.registry.depot import ANN, GRACE, Clock, Depot, image, pieces

from hythe.database import Database, Session
from hythe.database.tables.registry import catalog_entries
from hythe.oci.digest import Digest
from hythe.oci.errors import ErrorCode, WireError
from hythe.registry.access import UNLIMITED, Action, Actor, Limits, Listing
from hythe.registry.anonymous import AnonymousAccess
from hythe.registry.events import RegistryListener, RepositoryRef, TagMove
from hythe.registry.policy import Policy
from hythe.registry.service import RegistryServices
from hythe.registry.storage import open_blob_store
from hythe.registry.storage.port import StorageUnavailable
from hythe.registry.uploads import Chunk

BEN = Actor("ben")


class OwnersAccess(AnonymousAccess):
    """Each actor may do everything in ``NAME/..`` and pull from ``public/..``; the rest does not exist for them."""

    async def require(self, actor: Actor, repository: str, action: Action) -> Limits:
        """See Access."""
        if not self._may(actor, repository, action):
            raise WireError(ErrorCode.NAME_UNKNOWN if action is Action.PULL else ErrorCode.DENIED)
        return UNLIMITED

    async def visible(self, actor: Actor, repositories: Collection[str]) -> frozenset[str]:
        """See Access."""
        return frozenset(name for name in repositories if self._may(actor, name, Action.PULL))

    async def listing(self, actor: Actor, after: str, limit: int) -> Listing:
        """See Access. The tests set the first component of a name as its audience."""
        return Listing((actor.name, "public"))

    def _may(self, actor: Actor, repository: str, action: Action) -> bool:
        return repository.startswith(f"{actor.name}/") or (repository.startswith("public/") and action is Action.PULL)


class Witness(RegistryListener):
    """Writes down what it is told, and refuses repositories called so."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    async def repository_created(self, session: Session, repository: RepositoryRef, actor: Actor) -> None:
        """See RegistryListener."""
        if repository.name.endswith("/refused"):
            raise WireError(ErrorCode.DENIED, "one too many")
        self.heard.append(("created", repository.name, actor.name))

    async def tags_moved(
        self, session: Session, repository: RepositoryRef, moves: tuple[TagMove, ...], actor: Actor
    ) -> None:
        """See RegistryListener."""
        self.heard += [("moved", move.tag, move.digest, move.previous) for move in moves]

    async def manifest_pushed(
        self, session: Session, repository: RepositoryRef, digest: Digest, media_type: str, size: int, actor: Actor
    ) -> None:
        """See RegistryListener."""
        self.heard.append(("pushed", digest))

    async def repository_deleted(self, session: Session, repository: RepositoryRef, actor: Actor) -> None:
        """See RegistryListener."""
        self.heard.append(("deleted", repository.name))


@pytest.fixture
def witness() -> Witness:
    """A listener."""
    return Witness()


@pytest.fixture
def depot(run: Run[Any], database: Database, witness: Witness, tmp_path: Path) -> Depot:
    """A registry in which everybody has names of their own."""
    clock = Clock()
    storage = open_blob_store(tmp_path / "blobs")
    registry = RegistryServices(database, storage, OwnersAccess(), (witness,), Policy(grace=GRACE), clock)
    return Depot(run, database, storage, registry, clock)


def refused(call: Callable[[], Any]) -> ErrorCode:
    """The code with which a call is refused."""
    with pytest.raises(WireError) as error:
        call()
    return error.value.code


def test_nothing_happens_without_access(depot: Depot) -> None:
    """Every call asks: a stranger reads nothing and changes nothing, whatever the call is."""
    digest = depot.push_image("ann/x", "v1")
    blob = Digest.of(b"layer")
    upload = depot.run(depot.registry.uploads.start(ANN, "ann/x"))
    r = depot.registry
    reading = [
        r.repositories.get(BEN, "ann/x"),
        r.blobs.get(BEN, "ann/x", blob),
        r.manifests.get(BEN, "ann/x", "v1"),
        r.tags.names(BEN, "ann/x"),
        r.tags.history(BEN, "ann/x", "v1"),
        r.tags.immutable_patterns(BEN, "ann/x"),
        r.referrers.of(BEN, "ann/x", digest),
    ]
    changing = [
        r.repositories.delete(BEN, "ann/x"),
        r.blobs.delete(BEN, "ann/x", blob),
        r.blobs.mount(BEN, "ann/x", blob, None),
        r.uploads.start(BEN, "ann/x"),
        r.uploads.put(BEN, "ann/x", blob, pieces(b"layer")),
        r.uploads.get(BEN, "ann/x", upload.id),
        r.uploads.append(BEN, "ann/x", upload.id, Chunk(pieces(b"x"))),
        r.uploads.finish(BEN, "ann/x", upload.id, blob, Chunk(pieces(b"layer"))),
        r.uploads.cancel(BEN, "ann/x", upload.id),
        r.manifests.put(BEN, "ann/x", digest, (), b"{}", ""),
        r.manifests.delete(BEN, "ann/x", digest),
        r.tags.delete(BEN, "ann/x", "v1"),
        r.tags.restore(BEN, "ann/x", "v1", digest),
        r.tags.set_immutable_patterns(BEN, "ann/x", ["*"]),
    ]

    assert {refused(lambda call=call: depot.run(call)) for call in reading} == {ErrorCode.NAME_UNKNOWN}
    assert {refused(lambda call=call: depot.run(call)) for call in changing} == {ErrorCode.DENIED}
    assert depot.tags("ann/x") == ("v1",)


@pytest.mark.parametrize("source", ["ann/x", None])
def test_mount_takes_only_what_the_actor_may_read(depot: Depot, source: str | None) -> None:
    """Knowing a private blob's digest does not mount it; naming its repository does not help."""
    depot.push_blob("ann/x", b"secret")

    mounted = depot.run(depot.registry.blobs.mount(BEN, "ben/y", Digest.of(b"secret"), source))

    assert not mounted
    assert depot.run(depot.registry.catalog.names(BEN)).names == ()


async def _set_audiences(database: Database) -> None:
    async with database.writing() as session:
        for name in ("ann", "ben", "public"):
            own = catalog_entries.c.name.startswith(f"{name}/")
            await session.run(update(catalog_entries).where(own).values(audience=name))


def test_catalog_shows_what_may_be_pulled(depot: Depot) -> None:
    """Each sees the own and the public repositories, page by page."""
    public = Actor("public")
    for actor, name in ((ANN, "ann/x"), (BEN, "ben/y"), (public, "public/z")):
        for content in (b"{}", b"layer"):
            depot.run(depot.registry.uploads.put(actor, name, Digest.of(content), pieces(content)))
        depot.push(name, image(b"layer"), "v1", actor=actor)

    depot.run(_set_audiences(depot.database))

    assert depot.run(depot.registry.catalog.names(ANN)).names == ("ann/x", "public/z")
    page = depot.run(depot.registry.catalog.names(BEN, limit=1))
    assert (page.names, page.more) == (("ben/y",), True)


def test_listener_hears_what_happened(depot: Depot, witness: Witness) -> None:
    """In order, and once each."""
    digest = depot.push_image("ann/x", "v1", "v2")
    depot.run(depot.registry.manifests.delete(ANN, "ann/x", digest))
    depot.run(depot.registry.repositories.delete(ANN, "ann/x"))

    assert witness.heard == [
        ("created", "ann/x", "ann"),
        ("pushed", digest),
        ("moved", "v1", digest, None),
        ("moved", "v2", digest, None),
        ("moved", "v1", None, digest),
        ("moved", "v2", None, digest),
        ("deleted", "ann/x"),
    ]


def test_refused_repository_does_not_come_to_be(depot: Depot) -> None:
    """When the listener refuses, the push's transaction leaves nothing."""
    code = refused(lambda: depot.push_blob("ann/refused", b"layer"))

    assert code is ErrorCode.DENIED
    assert refused(lambda: depot.run(depot.registry.repositories.get(ANN, "ann/refused"))) is ErrorCode.NAME_UNKNOWN


def test_blob_is_stored_once(depot: Depot) -> None:
    """Two repositories share the bytes."""
    depot.push_blob("ann/x", b"shared")
    depot.push_blob("ann/y", b"shared")

    async def stored() -> list[str]:
        return [str(blob.digest) async for blob in depot.storage.walk()]

    assert depot.run(stored()) == [str(Digest.of(b"shared"))]


def test_full_disk_leaves_the_session_usable(depot: Depot, monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed for want of room succeeds later, in the same session."""

    async def full(*_: Any) -> int:
        raise StorageUnavailable("no room")

    upload = depot.run(depot.registry.uploads.start(ANN, "ann/x"))
    finish = depot.registry.uploads.finish
    with monkeypatch.context() as failing:
        failing.setattr(depot.storage, "put", full)
        with pytest.raises(StorageUnavailable):
            depot.run(finish(ANN, "ann/x", upload.id, Digest.of(b"layer"), Chunk(pieces(b"layer"))))

    depot.run(finish(ANN, "ann/x", upload.id, Digest.of(b"layer"), Chunk(pieces(b"layer"))))

    assert depot.has_blob("ann/x", b"layer")


def test_remembered_answers_die_with_a_change(depot: Depot) -> None:
    """A manifest or blob that was read before is gone at once for the next reader."""
    digest = depot.push_image("ann/x", "v1")
    before = (depot.has_manifest("ann/x", "v1"), depot.has_blob("ann/x", b"layer"))
    depot.run(depot.registry.manifests.delete(ANN, "ann/x", digest))
    depot.run(depot.registry.blobs.delete(ANN, "ann/x", Digest.of(b"layer")))

    after = (depot.has_manifest("ann/x", "v1"), depot.has_blob("ann/x", b"layer"))

    assert (before, after) == ((True, True), (False, False))
