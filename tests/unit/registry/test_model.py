"""The registry against a model of the specification: anything in any order, garbage and restarts in between."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from tests.parts.postgresql import PostgresqlServer
from tests.unit.registry.depot import ANN, GRACE, Clock, Depot, image, index, pieces, subject

from hythe.database import open_database
from hythe.oci.digest import Digest
from hythe.oci.errors import ErrorCode, WireError
from hythe.oci.manifest import OCI_INDEX
from hythe.registry.anonymous import AnonymousAccess
from hythe.registry.policy import Policy
from hythe.registry.service import RegistryServices
from hythe.registry.storage import open_blob_store
from hythe.registry.uploads import Chunk
from hythe.registry.verification import Miscount

NAMES = ("a", "b/c", "b/d")
REPOSITORIES = st.sampled_from(NAMES)
CONTENTS = st.sampled_from([b"{}", b"", b"one", b"two", b"three"])
TAGS = st.sampled_from(["v1", "v2", "latest"])


MEMORY = "/dev/shm"
"""A folder in memory, where syncing takes no time; this test does not simulate power failures."""


class Shelf:
    """What the model knows of one repository."""

    def __init__(self) -> None:
        self.blobs: set[bytes] = set()
        self.manifests: dict[Digest, dict[str, Any]] = {}
        self.tags: dict[str, Digest] = {}
        self.loosened: set[Digest] = set()

    def children(self, digest: Digest) -> set[Digest]:
        """What an index contains."""
        return {Digest.parse(d["digest"]) for d in self.manifests[digest].get("manifests", ())}

    def referrers(self, digest: Digest) -> set[Digest]:
        """What refers to a manifest."""
        return {d for d, m in self.manifests.items() if m.get("subject", {}).get("digest") == str(digest)}

    def closure(self, roots: set[Digest]) -> set[Digest]:
        """These manifests, and all that is there for their sake."""
        reached: set[Digest] = set()
        level = roots & self.manifests.keys()
        while level:
            reached |= level
            level = {d for root in level for d in self.children(root) | self.referrers(root)} - reached
            level &= self.manifests.keys()
        return reached

    def kept(self) -> set[Digest]:
        """The manifests that no garbage collection may take."""
        return self.closure(set(self.tags.values()) | (self.manifests.keys() - self.loosened))

    def loosen(self, digest: Digest) -> None:
        """A tag or a manifest was deleted: what was there for its sake may go, unless something else needs it."""
        self.loosened |= self.closure({digest})


class RegistryMachine(RuleBasedStateMachine):
    """Rules do the same to the registry and to the model, and compare them."""

    prepare: Callable[[Path], str]
    """Prepares an empty database, for a data folder; returns its URL."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else None)
        self.url = type(self).prepare(Path(self.folder.name))
        self.runner = asyncio.Runner()
        self.clock = Clock()
        self.shelves = {name: Shelf() for name in NAMES}
        self.uploads: dict[str, tuple[str, bytes]] = {}
        self.depot = self.open()

    def open(self) -> Depot:
        """Open the registry on what is on disk."""
        data = Path(self.folder.name)
        database = self.runner.run(open_database(data, self.url))
        storage = open_blob_store(data / "blobs")
        policy = Policy(grace=GRACE, upload_lifetime=100 * GRACE)
        registry = RegistryServices(database, storage, AnonymousAccess(), (), policy, self.clock)
        return Depot(self.runner.run, database, storage, registry, self.clock)

    def close(self) -> None:
        """Close the registry."""
        self.runner.run(self.depot.storage.close())
        self.runner.run(self.depot.database.close())

    def teardown(self) -> None:
        """When all grace periods are over, what is stored is what is needed, and nothing is lost."""
        self.depot.collect_after_grace()
        self.depot.collect_after_grace()
        self.depot.collect_after_grace()
        self.compare()
        self.no_leaks()
        self.close()
        self.runner.close()
        self.folder.cleanup()

    def code(self, coroutine: Any) -> ErrorCode | None:
        """Run a call; return the code of its refusal."""
        try:
            self.runner.run(coroutine)
        except WireError as error:
            return error.code
        return None

    @rule(repository=REPOSITORIES, content=CONTENTS)
    def push_blob(self, repository: str, content: bytes) -> None:
        """A whole blob in one request."""
        self.depot.push_blob(repository, content)
        self.shelves[repository].blobs.add(content)

    @rule(repository=REPOSITORIES, content=CONTENTS)
    def push_wrong_blob(self, repository: str, content: bytes) -> None:
        """Bytes of another digest."""
        call = self.depot.registry.uploads.put(ANN, repository, Digest.of(b"not " + content), pieces(content))
        assert self.code(call) is ErrorCode.DIGEST_INVALID

    @rule(repository=REPOSITORIES, content=CONTENTS)
    def delete_blob(self, repository: str, content: bytes) -> None:
        """A blob goes at once; not one that a manifest here needs."""
        shelf = self.shelves[repository]
        digest = Digest.of(content)
        code = self.code(self.depot.registry.blobs.delete(ANN, repository, digest))
        if any(str(digest) in self.needed_blobs(shelf, manifest) for manifest in shelf.manifests):
            assert code is ErrorCode.DENIED
            return
        assert code is (None if content in shelf.blobs else ErrorCode.BLOB_UNKNOWN)
        shelf.blobs.discard(content)

    @rule(repository=REPOSITORIES)
    def start_upload(self, repository: str) -> None:
        """A session."""
        if len(self.uploads) < 3:
            upload = self.runner.run(self.depot.registry.uploads.start(ANN, repository))
            self.uploads[upload.id] = (repository, b"")

    @rule(data=st.data(), piece=st.sampled_from([b"o", b"ne", b"tw", b""]), start=st.sampled_from([None, 0, 1, 2, 3]))
    def append(self, data: st.DataObject, piece: bytes, start: int | None) -> None:
        """A chunk, in order or not."""
        if not self.uploads:
            return
        upload_id = data.draw(st.sampled_from(sorted(self.uploads)))
        repository, came = self.uploads[upload_id]
        code = self.code(self.depot.registry.uploads.append(ANN, repository, upload_id, Chunk(pieces(piece), start)))
        if start in (None, len(came)):
            assert code is None
            self.uploads[upload_id] = (repository, came + piece)
        else:
            assert code is ErrorCode.BLOB_UPLOAD_INVALID

    @rule(data=st.data(), right=st.booleans())
    def finish(self, data: st.DataObject, right: bool) -> None:
        """The end of a session, with the right digest or a wrong one."""
        if not self.uploads:
            return
        upload_id = data.draw(st.sampled_from(sorted(self.uploads)))
        repository, came = self.uploads.pop(upload_id)
        digest = Digest.of(came if right else came + b"!")
        code = self.code(self.depot.registry.uploads.finish(ANN, repository, upload_id, digest, Chunk(pieces())))
        if right:
            assert code is None
            self.shelves[repository].blobs.add(came)
        else:
            # Of a session without bytes, a crash of the database may have lost them.
            assert code is (ErrorCode.DIGEST_INVALID if came else ErrorCode.BLOB_UPLOAD_UNKNOWN)

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """A session is given up."""
        if self.uploads:
            upload_id = data.draw(st.sampled_from(sorted(self.uploads)))
            repository, _ = self.uploads.pop(upload_id)
            assert self.code(self.depot.registry.uploads.cancel(ANN, repository, upload_id)) is None

    @rule(source=st.sampled_from([*NAMES, None]), into=REPOSITORIES, content=CONTENTS)
    def mount(self, source: str | None, into: str, content: bytes) -> None:
        """A blob from another repository."""
        sources = self.shelves.values() if source is None else [self.shelves[source]]
        mounted = self.runner.run(self.depot.registry.blobs.mount(ANN, into, Digest.of(content), source))
        assert mounted == any(content in shelf.blobs for shelf in sources)
        if mounted:
            self.shelves[into].blobs.add(content)

    @rule(
        repository=REPOSITORIES,
        config=CONTENTS,
        layers=st.lists(CONTENTS, max_size=2),
        tags=st.lists(TAGS, max_size=2),
        blobs_first=st.sampled_from([True, True, False]),
        about=st.data(),
    )
    def push_image(
        self,
        repository: str,
        config: bytes,
        layers: list[bytes],
        tags: list[str],
        blobs_first: bool,
        about: st.DataObject,
    ) -> None:
        """An image, perhaps a referrer, perhaps with blobs that are missing."""
        shelf = self.shelves[repository]
        for content in (config, *layers) if blobs_first else ():
            self.push_blob(repository, content)
        subjects = [None, *sorted(shelf.manifests)]
        chosen = about.draw(st.sampled_from(subjects))
        fields = {"subject": subject(chosen)} if chosen else {}
        whole = {config, *layers} <= shelf.blobs
        self.push(repository, image(*layers, config=config, **fields), tags, whole=whole)

    @rule(repository=REPOSITORIES, tags=st.lists(TAGS, min_size=1, max_size=1), data=st.data())
    def push_index(self, repository: str, tags: list[str], data: st.DataObject) -> None:
        """An index of manifests that are there."""
        there = sorted(self.shelves[repository].manifests)
        children = data.draw(st.lists(st.sampled_from(there), min_size=1, max_size=2)) if there else []
        self.push(repository, index(*children), tags, whole=True)

    @rule(repository=REPOSITORIES, tag=TAGS)
    def push_broken_index(self, repository: str, tag: str) -> None:
        """An index of a manifest that is not there."""
        self.push(repository, index(Digest.of(b"absent")), [tag], whole=False)

    @rule(repository=REPOSITORIES, tag=TAGS)
    def push_wrong_manifest(self, repository: str, tag: str) -> None:
        """A manifest under the digest of another: nothing of it stays."""
        content = json.dumps(index()).encode()
        put = self.depot.registry.manifests.put
        code = self.code(put(ANN, repository, Digest.of(content + b" "), (tag,), content, OCI_INDEX))
        assert code is ErrorCode.DIGEST_INVALID

    def push(self, repository: str, manifest: dict[str, Any], tags: list[str], *, whole: bool) -> None:
        """Push a manifest, which must be refused unless it is whole."""
        content = json.dumps(manifest).encode()
        digest = Digest.of(content)
        media_type = manifest["mediaType"]
        put = self.depot.registry.manifests.put
        code = self.code(put(ANN, repository, digest, tuple(tags), content, media_type))
        assert code is (None if whole else ErrorCode.MANIFEST_BLOB_UNKNOWN)
        if whole:
            shelf = self.shelves[repository]
            shelf.manifests[digest] = manifest
            shelf.loosened -= {digest} | shelf.children(digest)
            shelf.tags.update(dict.fromkeys(tags, digest))

    @rule(repository=REPOSITORIES, tag=TAGS)
    def delete_tag(self, repository: str, tag: str) -> None:
        """A tag goes, and only the tag."""
        shelf = self.shelves[repository]
        code = self.code(self.depot.registry.tags.delete(ANN, repository, tag))
        assert code is (None if tag in shelf.tags else ErrorCode.MANIFEST_UNKNOWN)
        if tag in shelf.tags:
            shelf.loosen(shelf.tags.pop(tag))

    @rule(repository=REPOSITORIES, data=st.data())
    def delete_manifest(self, repository: str, data: st.DataObject) -> None:
        """A manifest goes with its tags; not one that an index here contains."""
        shelf = self.shelves[repository]
        contained = {child for digest in shelf.manifests for child in shelf.children(digest)}
        if not shelf.manifests:
            return
        digest = data.draw(st.sampled_from(sorted(shelf.manifests)))
        code = self.code(self.depot.registry.manifests.delete(ANN, repository, digest))
        if digest in contained:
            assert code is ErrorCode.DENIED
            return
        assert code is None
        shelf.loosen(digest)
        del shelf.manifests[digest]
        shelf.tags = {tag: target for tag, target in shelf.tags.items() if target != digest}

    @rule(repository=REPOSITORIES)
    def delete_repository(self, repository: str) -> None:
        """Everything of it goes."""
        self.code(self.depot.registry.repositories.delete(ANN, repository))
        self.shelves[repository] = Shelf()

    @rule(hours=st.sampled_from([1.1, 0.6, 0]))
    def collect(self, hours: float) -> None:
        """Grace periods go by. What must stay is compared at once; of the rest, the model learns what went."""
        self.clock.forward(timedelta(hours=hours))
        self.depot.collect_as_foreseen()
        self.compare()
        for name, shelf in self.shelves.items():
            shelf.blobs = {content for content in shelf.blobs if self.depot_has(name, content)}
            gone = {digest for digest in shelf.manifests if not self.depot.has_manifest(name, digest)}
            for digest in gone:
                shelf.loosen(digest)
            for digest in gone:
                del shelf.manifests[digest]

    @invariant()
    def usage_is_exact(self) -> None:
        """What the triggers count is what a new count finds, after every step."""

        async def wrong() -> list[Miscount]:
            return [each async for each in self.depot.registry.verification.usage()]

        assert self.runner.run(wrong()) == []

    @rule()
    def restart(self) -> None:
        """Everything is closed and opened again."""
        self.close()
        self.depot = self.open()
        self.compare()

    def compare(self) -> None:
        """Every tag points where it should, and what must stay is whole."""
        for name, shelf in self.shelves.items():
            for tag, digest in shelf.tags.items():
                found = self.runner.run(self.depot.registry.manifests.get(ANN, name, tag))
                assert found.digest == digest
            for digest in shelf.kept():
                content = self.runner.run(self.depot.registry.manifests.get(ANN, name, digest)).content
                assert Digest.of(content) == digest
                for blob in self.needed_blobs(shelf, digest):
                    assert self.bytes_of(name, blob) == Digest.parse(blob)
        for upload_id, (repository, came) in self.uploads.items():
            upload = self.runner.run(self.depot.registry.uploads.get(ANN, repository, upload_id))
            assert upload.offset == len(came)

    def needed_blobs(self, shelf: Shelf, digest: Digest) -> set[str]:
        """The digests of a manifest's blobs."""
        manifest = shelf.manifests[digest]
        return {d["digest"] for d in (manifest.get("config"), *manifest.get("layers", ())) if d}

    def bytes_of(self, repository: str, digest: str) -> Digest:
        """The digest of the bytes that are really served."""
        blob = self.runner.run(self.depot.registry.blobs.get(ANN, repository, Digest.parse(digest)))

        async def read() -> bytes:
            return b"".join([piece async for piece in self.depot.registry.blobs.read(blob, 0, blob.size)])

        return Digest.of(self.runner.run(read()))

    def depot_has(self, repository: str, content: bytes) -> bool:
        """Whether the blob is there, without asking in a way that keeps it for longer."""

        async def find() -> bool:
            from hythe.registry.sql import blobs

            async with self.depot.database.reading() as session:
                return await blobs.find(session, repository, str(Digest.of(content))) is not None

        return bool(self.runner.run(find()))

    def no_leaks(self) -> None:
        """Every stored byte belongs to a manifest that is there."""

        async def stored() -> set[str]:
            return {str(blob.digest) async for blob in self.depot.storage.walk()}

        needed = {
            blob
            for name, shelf in self.shelves.items()
            for digest in shelf.manifests
            if self.depot.has_manifest(name, digest)
            for blob in self.needed_blobs(shelf, digest)
        }
        assert self.runner.run(stored()) == needed


def _settings(examples: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=50,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


def test_sqlite_follows_the_model(rounds: Callable[[int, int], int], tmp_path: Path) -> None:
    """On SQLite; each example starts with a copy of one empty database instead of running all migrations."""
    asyncio.run(_make_database(tmp_path))

    class OnSQLite(RegistryMachine):
        @staticmethod
        def prepare(data: Path) -> str:
            shutil.copytree(tmp_path, data, dirs_exist_ok=True)
            return ""

    run_state_machine_as_test(OnSQLite, settings=_settings(rounds(30, 3000)))


def test_postgresql_follows_the_model(
    postgresql: PostgresqlServer, postgresql_template: str, rounds: Callable[[int, int], int]
) -> None:
    """On PostgreSQL."""

    class OnPostgreSQL(RegistryMachine):
        @staticmethod
        def prepare(data: Path) -> str:
            return postgresql.create(template=postgresql_template)

    run_state_machine_as_test(OnPostgreSQL, settings=_settings(rounds(4, 200)))


async def _make_database(data: Path) -> None:
    database = await open_database(data)
    await database.close()


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL")
