"""Entries of the log: one move of a tag, or the renaming or deletion of a repository, as canonical JSON.

Names of repositories that are not public are concealed: the leaf has HMACs of the repository, the tag and the digests,
with a key that only those who may read the repository get. They can compute the same leaf from the plain entry; others
learn that something moved, and when.
"""

import hashlib
import hmac
from datetime import UTC, datetime
from typing import Literal, TypeAlias

import msgspec

EntryKind: TypeAlias = Literal["tag-moved", "repository-renamed", "repository-deleted"]

TAG_MOVED: EntryKind = "tag-moved"
RENAMED: EntryKind = "repository-renamed"
DELETED: EntryKind = "repository-deleted"

VERSION = 1
SALT_SIZE = 32
MAX_SIZE = 65_535
"""Bytes of an entry, which a bundle counts with 16 bits."""


class InvalidEntry(ValueError):
    """The entry is not in the canonical form, or of a later version."""


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """An entry. The order of the fields is that of the canonical form.

    ``digest`` None: the tag was deleted; ``previous`` None: it did not exist before. ``to`` is the new name of a
    renamed repository.
    """

    at: str
    concealed: bool = False
    digest: str | None = None
    kind: EntryKind
    previous: str | None = None
    repository: str
    tag: str | None = None
    to: str | None = None
    version: int

    def encoded(self) -> bytes:
        """Return the canonical form, which is the leaf."""
        return msgspec.json.encode(self)

    @classmethod
    def parse(cls, content: bytes) -> "Entry":
        """Return the entry in a leaf. Raises InvalidEntry."""
        try:
            entry = msgspec.json.decode(content, type=cls)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidEntry(f"an entry of the log is invalid: {error}") from error
        if entry.version != VERSION:
            raise InvalidEntry(f"the log has an entry of version {entry.version}, which this program does not know")
        if entry.encoded() != content:
            raise InvalidEntry("an entry of the log is not in the canonical form")
        return entry

    def conceal(self, salt: bytes) -> "Entry":
        """Return the entry with HMACs in place of names and digests."""

        def hidden(field: str, value: str | None) -> str | None:
            return None if value is None else conceal(salt, field, value)

        return msgspec.structs.replace(
            self,
            concealed=True,
            repository=conceal(salt, "repository", self.repository),
            tag=hidden("tag", self.tag),
            digest=hidden("digest", self.digest),
            previous=hidden("digest", self.previous),
            to=hidden("repository", self.to),
        )


def conceal(salt: bytes, field: str, value: str) -> str:
    """Return the HMAC-SHA256 of a value; ``field`` separates kinds of values."""
    return f"hmac-sha256:{hmac.digest(salt, f'{field}:{value}'.encode(), hashlib.sha256).hex()}"


def utc_text(at: datetime) -> str:
    """Return a time in the form of entries: UTC with microseconds."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def bundle(entries: list[bytes]) -> bytes:
    """Return leaves as an entry bundle: each after its length in two bytes."""
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def parse_bundle(content: bytes) -> list[bytes]:
    """Return the leaves in an entry bundle. Raises InvalidEntry."""
    entries = []
    at = 0
    while at < len(content):
        end = at + 2 + int.from_bytes(content[at : at + 2], "big")
        if end > len(content):
            raise InvalidEntry("an entry bundle ends in the middle of an entry")
        entries.append(content[at + 2 : end])
        at = end
    return entries
