"""The layout of the local store.

    DATA/
      blobs/sha256/ab/ab34…        a blob: complete, verified, synced, never modified
      blobs/sha512/cd/cd56…
      blobs/installation           the marker: to which installation the blobs belong
      uploads/ID                   the bytes of an upload session so far
      uploads/put-RANDOM           an upload without a session
      quarantine/sha256-ab34…      a damaged blob

``blobs`` and ``uploads`` are on one file system: a rename turns an upload into a blob.
"""

import re
from pathlib import Path

import msgspec

from hythe.oci.digest import Digest

_UPLOAD_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")


class Layout(msgspec.Struct, frozen=True):
    """The paths in one data folder."""

    data: Path

    @property
    def blobs(self) -> Path:
        """The folder of all blobs."""
        return self.data / "blobs"

    @property
    def uploads(self) -> Path:
        """The folder of all uploads."""
        return self.data / "uploads"

    @property
    def quarantine(self) -> Path:
        """The folder of damaged blobs."""
        return self.data / "quarantine"

    @property
    def marker(self) -> Path:
        """The file that says to which installation the blobs belong. A backup of the blobs contains it."""
        return self.blobs / "installation"

    def blob(self, digest: Digest) -> Path:
        """Return the path of a blob, whether or not it exists."""
        return self.data.joinpath("blobs", digest.algorithm, digest.hex[:2], digest.hex)

    def upload(self, upload_id: str) -> Path:
        """Return the path of a session's bytes. Raises ValueError for an id that could leave the folder."""
        if not _UPLOAD_ID.fullmatch(upload_id):
            raise ValueError(f"invalid upload id {upload_id!r}")
        return self.data.joinpath("uploads", upload_id)

    def quarantined(self, digest: Digest) -> Path:
        """Return the path of a quarantined blob."""
        return self.quarantine / f"{digest.algorithm}-{digest.hex}"
