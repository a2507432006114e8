"""The vault: secrets at rest."""

import stat
from pathlib import Path

import pytest

from hythe.builds.secret_box import SecretBox, SecretBoxError


def test_a_secret_opens_for_its_purpose_alone(tmp_path: Path) -> None:
    """The same key opens it after a restart; another purpose or another key does not."""
    sealed = SecretBox.open(tmp_path).seal("one", "hush")

    assert "hush" not in sealed
    assert SecretBox.open(tmp_path).unseal("one", sealed) == "hush"
    with pytest.raises(SecretBoxError):
        SecretBox.open(tmp_path).unseal("two", sealed)
    with pytest.raises(SecretBoxError):
        SecretBox(b"k" * 32).unseal("one", sealed)


def test_the_key_is_for_the_server_alone(tmp_path: Path) -> None:
    """Nobody else may read the key file."""
    SecretBox.open(tmp_path)

    assert stat.S_IMODE((tmp_path / "builds.key").stat().st_mode) == 0o600


def test_a_bad_key_is_named(tmp_path: Path) -> None:
    """A key of the wrong length is refused with how to make one."""
    with pytest.raises(SecretBoxError, match="openssl"):
        SecretBox.open(tmp_path, "c2hvcnQ=")
