"""The keys and small values of an object store's layout, which ``object`` describes."""

import msgspec

from hythe.oci.digest import Digest
from hythe.registry.storage.port import UploadSession

MARKER = "installation"
"""The key of the marker."""


class UploadPart(msgspec.Struct, frozen=True, array_like=True):
    """A data object of an upload: the offset of its bytes in the upload, and its token."""

    upload_id: str
    offset: int
    token: str

    @property
    def data(self) -> str:
        """The key of the bytes."""
        return data_key(self.token)

    @property
    def marker(self) -> str:
        """The key that marks the bytes as temporary."""
        return f"uploads/{self.upload_id}/{self.offset:015d}-{self.token}"

    @classmethod
    def of_marker(cls, key: str) -> "UploadPart":
        """Return the part that a marker's key refers to."""
        _, upload_id, name = key.rsplit("/", 2)
        offset, _, token = name.partition("-")
        return cls(upload_id, int(offset), token)


class StoredPart(msgspec.Struct, frozen=True, array_like=True):
    """A stored part of an upload, as kept in ``UploadSession.state``."""

    token: str
    size: int


class IndexEntry(msgspec.Struct, frozen=True):
    """The content of ``blobs/..``."""

    token: str
    size: int


def pieces_of(upload: UploadSession) -> list[StoredPart]:
    """Return the stored parts of a session, in order."""
    return msgspec.json.decode(upload.state, type=list[StoredPart]) if upload.state else []


def with_part(upload: UploadSession, piece: StoredPart) -> UploadSession:
    """Return the session with another part at its end."""
    state = msgspec.json.encode([*pieces_of(upload), piece]).decode()
    return UploadSession(upload.id, upload.offset + piece.size, state)


def data_key(token: str) -> str:
    """Return the key of the bytes with this token."""
    return f"data/{token}"


def blob_key(digest: Digest) -> str:
    """Return the key of a blob's entry."""
    return f"blobs/{digest.algorithm}/{digest.hex[:2]}/{digest.hex}"


def digest_of_key(key: str) -> Digest:
    """Return the digest of the blob whose entry has this key."""
    algorithm, _, encoded = key.split("/")[-3:]
    return Digest(algorithm, encoded)
