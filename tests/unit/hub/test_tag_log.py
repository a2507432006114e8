"""The tag log on both databases: what is in it, what it shows to whom, and what verification notices."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from sqlalchemy import delete, text, update
from tests.unit.hub.services import Services

from hythe.database.tables.tag_log import tag_log, tag_log_entries, tag_log_queue
from hythe.hub.accounts.user import Visibility
from hythe.hub.actor import ANONYMOUS, HubActor
from hythe.hub.errors import Invalid, NotFound
from hythe.hub.logs.tag_log_sequencer import TagLogSequencer
from hythe.hub.repositories.repositories import NewRepository
from hythe.hub.secret_box import SecretBox, SecretLost
from hythe.registry.installation import Kind, join_installation
from hythe.registry.sql.installation import set_key_fingerprint
from hythe.transparency import tiles, verification
from hythe.transparency.checkpoint import Checkpoint, open_checkpoint
from hythe.transparency.entry import Entry, parse_bundle
from hythe.transparency.note import InvalidNote, VerifierKey
from hythe.transparency.tiles import TileSlice
from hythe.transparency.tree import leaf_hash, root_of
from hythe.transparency.verification import LogPage, TamperedLog, TargetNotLogged


@dataclass
class Log:
    """The log of a hub as a client sees it; ``change`` is what a dishonest hub does to pages."""

    services: Services
    actor: HubActor = ANONYMOUS
    repository: str = "ann/app"
    tag: str = "latest"
    change: Callable[[LogPage], LogPage] = field(default=lambda page: page)

    @property
    def key(self) -> VerifierKey:
        """The log's public key."""
        return VerifierKey.parse(self.services.run(self.services.hub.tag_log.key()))

    def append(self) -> Checkpoint:
        """Append what is queued, and return the checkpoint."""
        self.services.run(self.services.hub.tag_log_sequencer.append_queued())
        return open_checkpoint(self.services.run(self.services.hub.tag_log.checkpoint()), self.key)

    def consistency(self, old: int, new: int) -> list[bytes]:
        """See TagLogSource."""
        proof: list[bytes] = self.services.run(self.services.hub.tag_log.consistency(old, new))
        return proof

    def page(self, size: int, before: int) -> LogPage:
        """See TagLogSource; through JSON, as over HTTP."""
        found = self.services.run(self.services.hub.tag_log.of_tag(self.actor, self.repository, self.tag, size, before))
        return msgspec.json.decode(msgspec.json.encode(self.change(found)), type=LogPage)

    def bundle(self, number: int, width: int) -> bytes:
        """See TagLogSource."""
        content: bytes = self.services.run(self.services.hub.tag_log.bundle(self.actor, TileSlice(number, width)))
        return content

    def entries(self) -> list[Entry]:
        """All entries."""
        size = self.append().size
        return [Entry.parse(each) for each in parse_bundle(self.bundle(0, size))] if size else []

    def verify(self, target: str, repository: str = "") -> verification.VerifiedHistory:
        """Verify the tag, and that the hub listed all its moves."""
        checkpoint = self.append()
        name = repository or self.repository
        history = verification.verify_history(checkpoint, name, self.tag, target, self)
        verification.verify_complete(checkpoint, self.tag, history, self)
        return history

    def execute(self, statement: Any, values: Any = None) -> None:
        """Change the hub's database, as its dishonest operator could."""

        async def run() -> None:
            async with self.services.database.writing() as session:
                await session.run(statement, values)

        self.services.run(run())


def push_three(services: Services, ann: HubActor, repository: str = "ann/app") -> list[str]:
    """Move a tag three times, and others in between."""
    digests = []
    for number in range(3):
        digests.append(services.push(ann, repository, content=f'{{"os":"{number}"}}'.encode()))
        services.push(ann, "ann/other", f"v{number}")
    return digests


def test_moves_are_logged_and_proven(services: Services, ann: HubActor) -> None:
    """Every move of a tag is an entry, in order; the log grows consistently, and an unchanged queue adds nothing."""
    log = Log(services)
    assert log.append().size == 0
    digests = push_three(services, ann)
    first = log.append()

    history = log.verify(digests[-1])

    assert [move.digest for move in history.moves] == digests[::-1]
    assert [move.previous for move in history.moves] == [*digests[1::-1], None]
    assert log.append() == first
    services.run(services.hub.tags.delete(ann, "ann/app", "latest"))
    last = log.append()
    verification.verify_growth(first, last, log)
    assert log.entries()[-1].digest is None
    assert log.entries()[-1].previous == digests[-1]
    with pytest.raises(TargetNotLogged, match="set it to nothing"):
        log.verify(digests[-1])


def test_checkpoints_of_every_size_are_consistent(services: Services, ann: HubActor) -> None:
    """However many entries are appended at once, proofs lead from each checkpoint to each later one."""
    log = Log(services)
    checkpoints = []
    for number in range(6):
        for tag in range(number):
            services.push(ann, "ann/app", f"v{number}.{tag}")
        checkpoints.append(log.append())

    for number, new in enumerate(checkpoints):
        for old in checkpoints[: number + 1]:
            verification.verify_growth(old, new, log)
    size = checkpoints[-1].size
    entries = log.entries()
    assert size == 15
    tile = services.run(services.hub.tag_log.tile(0, TileSlice(0, size)))
    assert tiles.hashes_in(tile) == [leaf_hash(entry.encoded()) for entry in entries]
    assert root_of(tiles.hashes_in(tile)) == checkpoints[-1].root
    with pytest.raises(NotFound):
        services.run(services.hub.tag_log.tile(0, TileSlice(0, size + 1)))
    with pytest.raises(NotFound):
        services.run(services.hub.tag_log.bundle(ANONYMOUS, TileSlice(1, 1)))
    with pytest.raises(Invalid):
        services.run(services.hub.tag_log.consistency(1, size + 1))
    with pytest.raises(Invalid):
        services.run(services.hub.tag_log.inclusion(size, size))


def test_private_names_are_concealed(services: Services, ann: HubActor, ben: HubActor) -> None:
    """The log shows no name, tag or digest of a private repository; its readers can verify its tags, others cannot."""
    new = NewRepository("ann", "secret", visibility=Visibility.PRIVATE)
    services.run(services.hub.repositories.create(ann, new))
    digest = services.push(ann, "ann/secret", "internal-name")
    log = Log(services, ann, "ann/secret", "internal-name")

    log.verify(digest)

    content = log.bundle(0, log.append().size)
    for text_ in (b"secret", b"internal-name", digest.encode(), digest[7:].encode()):
        assert text_ not in content
    for actor in (ben, ANONYMOUS):
        with pytest.raises(NotFound):
            Log(services, actor, "ann/secret", "internal-name").page(1, 1)
    log.change = lambda page: msgspec.structs.replace(page, salt="00" * 32)
    with pytest.raises(TamperedLog):
        log.verify(digest)


def test_changes_of_visibility_keep_the_history(services: Services, ann: HubActor) -> None:
    """Entries stay as they were written; readers verify a mix of plain and concealed ones."""
    digests = push_three(services, ann)
    repositories = services.hub.repositories
    log = Log(services, ann)
    for visibility in (Visibility.PRIVATE, Visibility.PUBLIC):
        log.append()
        services.run(_set_visibility(repositories, ann, visibility))
        digests.append(services.push(ann, "ann/app", content=visibility.value.encode()))

    log.verify(digests[-1])

    latest = [entry for entry in log.entries() if entry.tag in ("latest", None) or entry.concealed]
    assert [entry.concealed for entry in latest] == [False, False, False, True, False]


async def _set_visibility(repositories: Any, ann: HubActor, visibility: Visibility) -> None:
    from hythe.hub.repositories.repositories import RepositoryChange

    await repositories.edit(ann, "ann/app", RepositoryChange(visibility=visibility))


def test_deletion_keeps_entries_and_ends_the_history(services: Services, ann: HubActor) -> None:
    """Moves that were not logged yet survive the deletion of their repository, which is an entry of its own."""
    log = Log(services)
    old = push_three(services, ann)
    services.run(services.hub.repositories.delete(ann, "ann/app"))
    new = services.push(ann, "ann/app", content=b"{}")

    history = log.verify(new)

    assert [move.digest for move in history.moves] == [new]
    mine = [entry for entry in log.entries() if entry.repository == "ann/app"]
    assert [entry.kind for entry in mine] == ["tag-moved"] * 3 + ["repository-deleted", "tag-moved"]
    assert [entry.digest for entry in mine[:3]] == old


def test_renames_are_part_of_the_history(services: Services, ann: HubActor) -> None:
    """A tag's moves under an earlier name of its repository are verified through the entry of the rename."""
    log = Log(services)
    digests = push_three(services, ann)
    other = services.push(ann, "ann/wrong")
    log.execute(text("UPDATE repositories SET name = 'ann/new' WHERE name = 'ann/app'"))
    log.execute(text("UPDATE hub_repositories SET name = 'new' WHERE name = 'app'"))
    log.repository = "ann/new"
    history = log.verify(digests[-1])

    assert [move.repository for move in history.moves] == ["ann/app"] * 3
    assert [name for _, name in history.names] == ["ann/new", "ann/app"]
    log.change = lambda page: msgspec.structs.replace(
        page, items=tuple(item for item in page.items if item.entry.kind == "tag-moved")
    )
    with pytest.raises(TamperedLog, match="about another tag"):
        log.verify(digests[-1])
    assert other


def test_moves_of_two_servers_are_logged_once(services: Services, ann: HubActor) -> None:
    """Servers that append at the same time share the work, and several start with one key."""
    push_three(services, ann)
    sequencer = services.hub.tag_log_sequencer
    others = [
        type(sequencer)(services.database, services.foundation.secret_box, f"https://{name}.example")
        for name in ("one", "two", "three")
    ]

    async def append() -> None:
        await asyncio.gather(*(each.append_queued() for each in others))

    services.run(append())

    entries = Log(services).entries()
    assert len(entries) == 6
    assert len({entry.encoded() for entry in entries}) == 6


def test_a_lost_key_is_replaced(services: Services, ann: HubActor) -> None:
    """With a new secret.key the log continues: a new key signs the same entries, under the same name."""
    log = Log(services)
    services.run(join_installation(services.database, services.registry.verification._storage, Kind.HUB))
    push_three(services, ann)
    before, old_key = log.append(), log.key
    digests = push_three(services, ann)
    box = SecretBox(b"n" * 32)
    sequencer = TagLogSequencer(services.database, box, "https://moved.example")

    async def give_up_lost_key() -> None:
        async with services.database.writing() as session:
            await set_key_fingerprint(session, box.fingerprint)

    with pytest.raises(SecretLost):
        services.run(sequencer.append_queued())  # a server with another key than that of the installation
    assert log.key == old_key
    services.run(give_up_lost_key())
    assert services.run(sequencer.append_queued()) == len(digests)

    after = log.append()
    assert (log.key.name, after.origin) == (old_key.name, before.origin)
    assert log.key != old_key
    verification.verify_growth(before, after, log)
    log.verify(digests[-1])
    restarted = TagLogSequencer(services.database, box, "https://moved.example")
    key = log.key
    assert services.run(restarted.append_queued()) == 0
    assert log.key == key


def _changed_leaf(log: Log) -> None:
    entry = msgspec.structs.replace(log.entries()[0], digest="sha256:" + "0" * 64)
    log.execute(update(tag_log_entries).where(tag_log_entries.c.number == 0).values(content=entry.encoded()))


def _dropped_leaf(log: Log) -> None:
    log.execute(delete(tag_log_entries).where(tag_log_entries.c.number == 0))


def _hidden_target(log: Log) -> None:
    log.execute(text("UPDATE tags SET digest = (SELECT min(digest) FROM manifests WHERE digest <> tags.digest)"))


ATTACKS = {"a changed leaf": _changed_leaf, "a dropped leaf": _dropped_leaf}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_rewritten_history_is_noticed(services: Services, ann: HubActor, attack: Callable[[Log], None]) -> None:
    """A leaf that was changed or removed after it was logged fails the verification of its tag."""
    digests = push_three(services, ann)
    log = Log(services)
    log.verify(digests[-1])
    attack(log)

    with pytest.raises(TamperedLog):
        verification.verify_history(log.append(), "ann/app", "latest", digests[-1], log)


def test_a_page_without_some_moves_is_noticed(services: Services, ann: HubActor) -> None:
    """A hub cannot leave out moves: the chain breaks, or, without the oldest ones, its beginning is missing."""
    digests = push_three(services, ann)
    log = Log(services)
    for left_out in ((1,), (2,), (1, 2)):

        def without(page: LogPage, left_out: tuple[int, ...] = left_out) -> LogPage:
            items = tuple(item for number, item in enumerate(page.items) if number not in left_out)
            return msgspec.structs.replace(page, items=items)

        log.change = without
        with pytest.raises(TamperedLog, match="missing"):
            log.verify(digests[-1])


def test_a_restarted_chain_is_noticed_in_the_whole_log(services: Services, ann: HubActor) -> None:
    """A hub that logs a move as the first one, to hide earlier ones, is noticed by reading the whole log."""
    digests = push_three(services, ann)
    log = Log(services)
    log.append()
    log.execute(update(tag_log_queue).values(previous=None))
    digests.append(services.push(ann, "ann/app", content=b"{}"))
    log.execute(update(tag_log_queue).values(previous=None))
    log.append()
    log.change = lambda page: msgspec.structs.replace(page, items=page.items[:1])

    checkpoint = log.append()
    history = verification.verify_history(checkpoint, "ann/app", "latest", digests[-1], log)
    with pytest.raises(TamperedLog, match="did not list 3 moves"):
        verification.verify_complete(checkpoint, "latest", history, log)


def test_a_target_outside_the_log_is_noticed(services: Services, ann: HubActor) -> None:
    """The registry serves what the log does not have: the database was changed behind it, or a move is not logged."""
    digests = push_three(services, ann)
    log = Log(services)
    log.append()

    with pytest.raises(TargetNotLogged, match="the newest move in the log"):
        log.verify(digests[0])
    with pytest.raises(TargetNotLogged, match="no entry"):
        Log(services, tag="unknown").verify(digests[0])


def test_a_split_view_and_a_rollback_are_noticed(services: Services, ann: HubActor) -> None:
    """A log that is not the continuation of a checkpoint that someone saw: another one, or an older one that grew."""
    digests = push_three(services, ann)
    log = Log(services)
    seen = log.append()
    log.execute(update(tag_log).values(size=0))
    for table in ("tag_log_entries", "tag_log_tiles"):
        log.execute(text(f"DELETE FROM {table}"))
    services.push(ann, "ann/app", content=b"{}")
    forked = log.append()
    with pytest.raises(TamperedLog, match="rolled back"):
        verification.verify_growth(seen, forked, log)
    for number in range(6):
        services.push(ann, "ann/app", f"v{number}")
    longer = log.append()
    assert longer.size > seen.size
    with pytest.raises(TamperedLog, match="does not begin"):
        verification.verify_growth(seen, longer, log)
    assert digests


def test_a_forged_checkpoint_is_refused(services: Services, ann: HubActor) -> None:
    """A checkpoint that another key signed, or that was changed, is not that of the log."""
    push_three(services, ann)
    log = Log(services)
    log.append()
    note: str = services.run(services.hub.tag_log.checkpoint())

    with pytest.raises(InvalidNote):
        open_checkpoint(note.replace("\n6\n", "\n5\n"), log.key)
    other = VerifierKey(log.key.name, bytes(32))
    with pytest.raises(InvalidNote):
        open_checkpoint(note, other)
