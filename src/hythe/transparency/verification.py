"""What a client checks: that the log only grew, and that it has every move of a tag up to its present target.

A log that fails a check was rewritten, or the hub shows different logs to different clients; ``TamperedLog`` says
which. Nothing here trusts what the hub says about its log.
"""

from collections.abc import Iterable, Iterator
from typing import Protocol

import msgspec

from hythe.transparency.checkpoint import Checkpoint
from hythe.transparency.entry import DELETED, RENAMED, TAG_MOVED, Entry, InvalidEntry, conceal, parse_bundle
from hythe.transparency.tiles import WIDTH
from hythe.transparency.tree import InvalidProof, leaf_hash, node_hash, root_of, verify_consistency, verify_inclusion


class TamperedLog(Exception):
    """The log contradicts itself, an earlier checkpoint, or what the registry serves."""


class TargetNotLogged(TamperedLog):
    """The tag points to another digest than its newest move in the log says, which may be too new for the log."""


class LoggedEntry(msgspec.Struct, frozen=True):
    """A plain entry with its number in the log and its audit path (hex); ``concealed``: the leaf has HMACs instead."""

    number: int
    entry: Entry
    concealed: bool
    proof: tuple[str, ...]


class LogPage(msgspec.Struct, frozen=True):
    """Entries of a tag, newest first, with proofs for the tree of ``size`` entries.

    ``salt`` (hex) is the key of concealed entries; ``next``: older entries have smaller numbers, None: there are none.
    """

    repository: str
    tag: str
    size: int
    salt: str
    items: tuple[LoggedEntry, ...]
    next: int | None


class VerifiedMove(msgspec.Struct, frozen=True):
    """A move of the tag that is proven to be in the log."""

    number: int
    repository: str
    digest: str | None
    previous: str | None
    at: str


class VerifiedHistory(msgspec.Struct, frozen=True):
    """All moves of a tag, newest first.

    ``names``: the repository's names, the present one first, each with the number of the entry since which it has it.
    """

    moves: tuple[VerifiedMove, ...]
    names: tuple[tuple[int, str], ...]
    salt: bytes

    def name_at(self, number: int) -> str:
        """Return the repository's name before the entry with this number."""
        return next(name for since, name in self.names if since < number or since == 0)


class TagLogSource(Protocol):
    """Where a client gets the log from."""

    def consistency(self, old: int, new: int) -> list[bytes]:
        """Return the proof that the log of ``new`` entries begins with that of ``old``."""

    def page(self, size: int, before: int) -> LogPage:
        """Return entries of the tag with numbers below ``before``, newest first."""

    def bundle(self, number: int, width: int) -> bytes:
        """Return ``width`` entries of the bundle with this number."""


def verify_growth(old: Checkpoint, new: Checkpoint, source: TagLogSource) -> None:
    """Return if ``new``, which the hub shows now, continues a checkpoint that was seen before. Raises TamperedLog."""
    if old.origin != new.origin:
        raise TamperedLog(f"the checkpoints are of two logs: {old.origin} and {new.origin}")
    if old.size > new.size:
        raise TamperedLog(f"the log had {old.size} entries, and now has {new.size}: it was rolled back")
    try:
        proof = source.consistency(old.size, new.size) if 0 < old.size < new.size else []
        verify_consistency(old.size, new.size, old.root, new.root, proof)
    except InvalidProof as error:
        raise TamperedLog(str(error)) from error


def verify_history(
    checkpoint: Checkpoint, repository: str, tag: str, target: str, source: TagLogSource
) -> VerifiedHistory:
    """Return the moves of a tag, each proven to be in the log, in an unbroken chain up to ``target``.

    Raises TamperedLog; TargetNotLogged if the newest move has another target.
    """
    chain = _Chain(repository, tag)
    before = checkpoint.size
    salt = b""
    more: int | None = before
    while more is not None:
        page = source.page(checkpoint.size, before)
        salt = salt or _hex(page.salt)
        for item in page.items:
            if not 0 <= item.number < before:
                raise TamperedLog("the hub listed entries of the tag out of order")
            before = item.number
            _verify_item(item, salt, checkpoint)
            chain.add(item)
        more = page.next if page.items else None
    chain.finish(target)
    return VerifiedHistory(tuple(chain.moves), chain.names(), salt)


def _verify_item(item: LoggedEntry, salt: bytes, checkpoint: Checkpoint) -> None:
    if item.concealed and not salt:
        raise TamperedLog("the hub gave no key for the concealed entries")
    leaf = (item.entry.conceal(salt) if item.concealed else item.entry).encoded()
    try:
        proof = [_hex(each) for each in item.proof]
        verify_inclusion(item.number, checkpoint.size, leaf_hash(leaf), proof, checkpoint.root)
    except InvalidProof as error:
        raise TamperedLog(str(error)) from error


def _hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise TamperedLog("the hub sent a malformed proof") from error


class _Chain:
    """The moves of a tag, newest first, each continuing the one that follows it."""

    def __init__(self, repository: str, tag: str) -> None:
        self.moves: list[VerifiedMove] = []
        self._names = [repository]
        self._renames: list[int] = []
        self._tag = tag

    def names(self) -> tuple[tuple[int, str], ...]:
        """Return the names as in VerifiedHistory."""
        return tuple(zip([*self._renames, 0], self._names, strict=True))

    def add(self, item: LoggedEntry) -> None:
        """Add the next older entry. Raises TamperedLog."""
        entry, number = item.entry, item.number
        if entry.kind == RENAMED and entry.to == self._names[-1]:
            self._names.append(entry.repository)
            self._renames.append(number)
            return
        if entry.kind != TAG_MOVED or entry.repository != self._names[-1] or entry.tag != self._tag:
            raise TamperedLog(f"entry {number} is about another tag: {entry.repository}:{entry.tag or ''}")
        if self.moves and self.moves[-1].previous != entry.digest:
            newer = self.moves[-1]
            raise TamperedLog(
                f"moves are missing: entry {newer.number} moved the tag from {newer.previous or 'nothing'}, "
                f"but entry {number} had moved it to {entry.digest or 'nothing'}"
            )
        self.moves.append(VerifiedMove(number, entry.repository, entry.digest, entry.previous, entry.at))

    def finish(self, target: str) -> None:
        """Check both ends of the chain. Raises TamperedLog."""
        if not self.moves:
            raise TargetNotLogged(f"the log has no entry for {self._names[0]}:{self._tag}")
        newest, oldest = self.moves[0], self.moves[-1]
        if newest.digest != target:
            raise TargetNotLogged(
                f"the tag points to {target}, but the newest move in the log, entry {newest.number}, "
                f"set it to {newest.digest or 'nothing'}"
            )
        if oldest.previous is not None:
            raise TamperedLog(f"moves before entry {oldest.number} are missing: the tag pointed to {oldest.previous}")


def verify_complete(checkpoint: Checkpoint, tag: str, history: VerifiedHistory, source: TagLogSource) -> int | None:
    """Read the whole log and return if the hub listed every move of the tag. Raises TamperedLog.

    Returns the number of the entry that ended an earlier repository of this name, if there was one.
    """
    listed = {move.number for move in history.moves}
    renames = {since for since, _ in history.names}
    tags = _written_as("tag", tag, history.salt)
    names = {name: _written_as("repository", name, history.salt) for _, name in history.names}
    unlisted: list[int] = []
    ended = None
    for number, entry in enumerate(_checked_entries(checkpoint, source)):
        if entry.repository not in names[history.name_at(number)]:
            continue
        if entry.kind in (DELETED, RENAMED) and number not in renames:
            # Before it, the name was another repository's.
            ended, unlisted = number, []
        elif entry.tag in tags and number not in listed:
            unlisted.append(number)
    if unlisted:
        raise TamperedLog(f"the hub did not list {len(unlisted)} moves of the tag, such as entry {unlisted[0]}")
    return ended


def _written_as(field: str, value: str, salt: bytes) -> set[str]:
    """Return a value as it is in leaves: plain, and concealed."""
    return {value, conceal(salt, field, value)} if salt else {value}


def _checked_entries(checkpoint: Checkpoint, source: TagLogSource) -> Iterator[Entry]:
    """Yield all entries of the log. Raises TamperedLog if they are others than those of the checkpoint."""
    tree = _Peaks()
    for number in range(-(-checkpoint.size // WIDTH)):
        width = min(WIDTH, checkpoint.size - number * WIDTH)
        try:
            leaves = parse_bundle(source.bundle(number, width))
            if len(leaves) != width:
                raise TamperedLog(f"bundle {number} has {len(leaves)} entries, not {width}")
            tree.add(leaf_hash(leaf) for leaf in leaves)
            yield from map(Entry.parse, leaves)
        except InvalidEntry as error:
            raise TamperedLog(str(error)) from error
    if tree.root() != checkpoint.root:
        raise TamperedLog("the entries of the log are others than those of its checkpoint")


class _Peaks:
    """The roots of the complete subtrees of a growing tree, largest first: a few hashes for any size."""

    def __init__(self) -> None:
        self._peaks: list[tuple[int, bytes]] = []

    def add(self, hashes: Iterable[bytes]) -> None:
        """Append leaf hashes."""
        for hash_ in hashes:
            level = 0
            while self._peaks and self._peaks[-1][0] == level:
                hash_, level = node_hash(self._peaks.pop()[1], hash_), level + 1
            self._peaks.append((level, hash_))

    def root(self) -> bytes:
        """Return the root of the tree."""
        if not self._peaks:
            return root_of(())
        found = self._peaks[-1][1]
        for _, peak in reversed(self._peaks[:-1]):
            found = node_hash(peak, found)
        return found
