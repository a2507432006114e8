"""Where the local store keeps what, drawn once.

    DATA/
      blobs/sha256/ab/ab34…        a blob: whole, checked, synced, never written to again
      blobs/sha512/cd/cd56…
      uploads/ID                   the bytes of an upload session so far
      uploads/put-RANDOM           a blob on its way in without a session
      quarantine/sha256-ab34…      a blob whose bytes rotted, put aside

``blobs`` and ``uploads`` lie on one file system: an upload becomes a blob by a rename.
"""

import re
from pathlib import Path

import msgspec

from hythe.oci.digest import Digest

_UPLOAD_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")


class Layout(msgspec.Struct, frozen=True):
    """The paths below one data folder."""

    data: Path

    @property
    def blobs(self) -> Path:
        """The folder of all blobs."""
        return self.data / "blobs"

    @property
    def uploads(self) -> Path:
        """The folder of everything that is not a blob yet."""
        return self.data / "uploads"

    @property
    def quarantine(self) -> Path:
        """The folder of rotten blobs."""
        return self.data / "quarantine"

    def blob(self, digest: Digest) -> Path:
        """Return where the blob is, or would be."""
        return self.data.joinpath("blobs", digest.algorithm, digest.hex[:2], digest.hex)

    def upload(self, upload_id: str) -> Path:
        """Return where the bytes of the session are; raises ValueError for an id that could leave the folder."""
        if not _UPLOAD_ID.fullmatch(upload_id):
            raise ValueError(f"{upload_id!r} cannot name an upload")
        return self.data.joinpath("uploads", upload_id)

    def quarantined(self, digest: Digest) -> Path:
        """Return where a rotten blob is put."""
        return self.quarantine / f"{digest.algorithm}-{digest.hex}"
