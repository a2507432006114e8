"""Where the local store keeps what."""

from __future__ import annotations

from pathlib import Path

import pytest

from hythe.oci.digest import Digest
from hythe.registry.storage.paths import Layout

LAYOUT = Layout(Path("/data"))


def test_a_blob_lies_by_its_digest() -> None:
    """A blob's path is spread by the first two digits, apart for each algorithm."""
    assert LAYOUT.blob(Digest("sha256", "ab" * 32)) == Path("/data/blobs/sha256/ab") / ("ab" * 32)
    assert LAYOUT.blob(Digest("sha512", "cd" * 64)) == Path("/data/blobs/sha512/cd") / ("cd" * 64)
    assert LAYOUT.quarantined(Digest("sha256", "ab" * 32)) == Path("/data/quarantine") / f"sha256-{'ab' * 32}"


@pytest.mark.parametrize("upload_id", ["", ".", "..", "../blobs", "a/b", "a\0b", "-flag", "x" * 200, "a\n"])
def test_an_upload_stays_in_its_folder(upload_id: str) -> None:
    """An id that could lead out of the folder of uploads is refused."""
    with pytest.raises(ValueError, match="invalid upload id"):
        LAYOUT.upload(upload_id)
