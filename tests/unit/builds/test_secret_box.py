"""Secrets at rest."""

import stat
from pathlib import Path

import pytest

from hythe.builds.secret_box import SecretBox, SecretBoxError


def test_a_secret_opens_only_for_its_purpose(tmp_path: Path) -> None:
    """The key opens a secret after a restart; another purpose or another key does not open it."""
    sealed = SecretBox.open(tmp_path).seal("one", "hush")

    assert "hush" not in sealed
    assert SecretBox.open(tmp_path).unseal("one", sealed) == "hush"
    with pytest.raises(SecretBoxError):
        SecretBox.open(tmp_path).unseal("two", sealed)
    with pytest.raises(SecretBoxError):
        SecretBox(b"k" * 32).unseal("one", sealed)


def test_only_the_server_can_read_the_key(tmp_path: Path) -> None:
    """The key file is private."""
    SecretBox.open(tmp_path)

    assert stat.S_IMODE((tmp_path / "builds.key").stat().st_mode) == 0o600


def test_an_invalid_key_is_refused(tmp_path: Path) -> None:
    """The error says how to create a valid key."""
    with pytest.raises(SecretBoxError, match="openssl"):
        SecretBox.open(tmp_path, "c2hvcnQ=")
