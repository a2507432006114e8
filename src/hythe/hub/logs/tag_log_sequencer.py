"""Appends queued moves of tags to the tag log, in the order of their commits, and signs a checkpoint.

Database triggers queue what happens in its own transaction (migration 0023), so a push pays for one small row. Every
server looks for queued entries once a second; one at a time appends, because it locks the row of the log. Each step is
a short transaction that moves entries from the queue into the log, changes the growing tiles, and signs the checkpoint:
after a crash, either all of it was done or nothing.

If the installation's key was lost and given up, the log's private key is lost, too. The first look after the start then
replaces it: the entries and their tree stay, and a new key signs the same checkpoint and those that follow.
"""

import base64
import logging
import secrets
from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hythe.database import Database, Session
from hythe.database.pacing import StepSize, paced
from hythe.hub.secret_box import SecretBox, SecretLost
from hythe.hub.sql import tag_log as store
from hythe.hub.sql.tag_log import LoggedRepository, LogRow, NewEntry, QueuedEntry
from hythe.periodic import repeat
from hythe.registry.sql import installation as installation_store
from hythe.transparency import tiles
from hythe.transparency.checkpoint import Checkpoint, open_checkpoint
from hythe.transparency.entry import DELETED, SALT_SIZE, VERSION, Entry, utc_text
from hythe.transparency.note import VerifierKey
from hythe.transparency.tree import EMPTY_ROOT, leaf_hash

INTERVAL = 1.0
"""Seconds between two looks into the queue."""

MAX_STEP = 400
"""Entries to append in one transaction: as many as take about STEP_SECONDS."""

LOG_KEY = "tag log key"
"""The purpose for which the private key is sealed."""

PATH = "/api/v1/tag-log"
"""Where the log is served."""

_log = logging.getLogger(__name__)


class TagLogSequencer:
    """The writer of the tag log."""

    def __init__(self, database: Database, secret_box: SecretBox, public_url: str) -> None:
        self._database = database
        self._secret_box = secret_box
        self._public_url = public_url
        self._signing: tuple[str, Ed25519PrivateKey] | None = None
        self._opened = False

    async def run(self) -> None:
        """Append what is queued until cancelled; log failures and retry."""
        await repeat(self.append_queued, INTERVAL, "tag log")

    async def append_queued(self) -> int:
        """Append everything that is queued; return the number of entries. The first call creates the log."""
        if not self._opened:
            await self._open()
        database, size = paced(self._database), StepSize(MAX_STEP)
        after = count = 0
        # An entry behind ``after`` that was committed late is appended by the next call.
        while await self._is_queued(after):
            with size.measured(size.rows):
                entries = await self._step(database, after, size.rows)
            if not entries:
                break
            after, count = entries[-1].id, count + len(entries)
        return count

    async def _is_queued(self, after: int) -> bool:
        async with self._database.reading() as session:
            return bool(await store.waiting(session, after, 1))

    async def _open(self) -> None:
        """Create the log unless it exists; replace its key if that was sealed with a lost one. Raises SecretLost."""
        async with self._database.reading() as session:
            log = await store.log(session)
        if log is None:
            await self._create()
        elif not self._has_key(log):
            await self._replace_key()
        self._opened = True

    async def _create(self) -> None:
        """Create the log with a new key. Its name never changes, even if ``public_url`` does."""
        host = self._public_url.partition("://")[2].rstrip("/") or f"hythe-{secrets.token_hex(8)}"
        origin = f"{host}{PATH}"
        key, public, sealed = self._new_key(origin)
        checkpoint = Checkpoint(origin, 0, EMPTY_ROOT).signed(key)
        async with self._database.writing() as session:
            await store.create(session, LogRow(origin, str(public), sealed, 0, checkpoint))

    def _new_key(self, origin: str) -> tuple[Ed25519PrivateKey, VerifierKey, str]:
        """Return a new private key, its public key, and the private one sealed."""
        key = Ed25519PrivateKey.generate()
        sealed = self._secret_box.seal(LOG_KEY, base64.b64encode(key.private_bytes_raw()).decode())
        return key, VerifierKey(origin, key.public_key().public_bytes_raw()), sealed

    def _has_key(self, log: LogRow) -> bool:
        try:
            self._key(log)
        except SecretLost:
            return False
        return True

    async def _replace_key(self) -> None:
        """Sign the log with a new key from now on; raise SecretLost if this is not the key of the installation."""
        async with self._database.writing() as session:
            installation = await installation_store.find(session)
            if installation is None or installation.key_fingerprint != self._secret_box.fingerprint:
                raise SecretLost
            log = await store.locked_log(session)
            if log is None or self._has_key(log):
                return  # another server is replacing it, or has
            # What the lost key signed is still what the tree has: tiles and checkpoints change together.
            checkpoint = open_checkpoint(log.checkpoint, VerifierKey.parse(log.public_key))
            key, public, sealed = self._new_key(log.origin)
            await store.set_key(session, str(public), sealed, checkpoint.signed(key))
        _log.warning(
            "the key that signs the tag log was lost with secret.key; tell users that the new one is %s "
            "(docs/tag-log.md)",
            public,
        )

    async def _step(self, database: Database, after: int, limit: int) -> Sequence[QueuedEntry]:
        """Append some entries in one transaction and return them; none if another server is appending."""
        async with database.writing() as session:
            log = await store.locked_log(session)
            queued = await store.waiting(session, after, limit) if log is not None else ()
            if log is None or not queued:
                return ()
            entries = await self._entries(session, log.size, queued)
            await store.add_entries(session, entries)
            await store.remove_waiting(session, [each.id for each in queued])
            await self._grow(session, log, [leaf_hash(entry.content) for entry in entries])
            return queued

    async def _entries(self, session: Session, size: int, queued: Sequence[QueuedEntry]) -> list[NewEntry]:
        """Return the leaves for queued entries; keep the keys of the repositories' HMACs."""
        known = await store.repositories(session, {each.repository_id for each in queued})
        present = dict(known)
        entries = []
        for number, each in enumerate(queued, size):
            found = present.get(each.repository_id) or LoggedRepository(
                each.repository_id, secrets.token_hex(SALT_SIZE), each.public
            )
            entries.append(_entry(number, each, found))
            if each.kind == DELETED:
                present.pop(each.repository_id, None)
            else:
                present[each.repository_id] = LoggedRepository(found.repository_id, found.salt, each.public)
        changed = {key for key in known.keys() | present.keys() if known.get(key) != present.get(key)}
        added = [present[key] for key in sorted(changed & present.keys())]
        await store.replace_repositories(session, changed & known.keys(), added)
        return entries

    async def _grow(self, session: Session, log: LogRow, hashes: Sequence[bytes]) -> None:
        """Append leaf hashes to the tiles, and sign the new checkpoint."""
        size = log.size + len(hashes)
        growing = await store.tiles(session, tiles.growing_tiles(log.size))
        changed = tiles.appended(log.size, hashes, growing)
        await store.set_tiles(session, changed)
        known = {**growing, **changed}
        wanted = [tile for tile in tiles.tiles_for(lambda read: tiles.root(size, read)) if tile not in known]
        known |= await store.tiles(session, wanted)
        root = tiles.root(size, tiles.reader(known))
        await store.set_checkpoint(session, size, Checkpoint(log.origin, size, root).signed(self._key(log)))

    def _key(self, log: LogRow) -> Ed25519PrivateKey:
        """Return the private key. Raises SecretLost."""
        if self._signing is None or self._signing[0] != log.private_key:
            seed = base64.b64decode(self._secret_box.unseal(LOG_KEY, log.private_key))
            self._signing = log.private_key, Ed25519PrivateKey.from_private_bytes(seed)
        return self._signing[1]


def _entry(number: int, queued: QueuedEntry, repository: LoggedRepository) -> NewEntry:
    """Return the entry as it is stored; concealed unless the repository is, or at its deletion last was, public."""
    plain = Entry(
        at=utc_text(queued.at),
        digest=queued.digest,
        kind=queued.kind,  # type: ignore[arg-type] # the triggers write the kinds of EntryKind
        previous=queued.previous,
        repository=queued.repository,
        tag=queued.tag,
        to=queued.new_name,
        version=VERSION,
    )
    public = repository.public if queued.kind == DELETED else queued.public
    tag = queued.tag or ""
    if public:
        return NewEntry(number, queued.repository_id, tag, plain.encoded(), None)
    leaf = plain.conceal(bytes.fromhex(repository.salt))
    return NewEntry(number, queued.repository_id, tag, leaf.encoded(), plain.encoded())
