"""Secrets at rest."""

import stat
from pathlib import Path

import pytest

from hythe.hub.secret_box import SecretBox, SecretBoxError, SecretLost


def test_a_secret_opens_only_for_its_purpose(tmp_path: Path) -> None:
    """The key opens a secret after a restart; another purpose or another key does not open it."""
    sealed = SecretBox.open(tmp_path).seal("one", "hush")

    assert "hush" not in sealed
    assert SecretBox.open(tmp_path).unseal("one", sealed) == "hush"
    with pytest.raises(SecretLost):
        SecretBox.open(tmp_path).unseal("two", sealed)
    with pytest.raises(SecretLost):
        SecretBox(b"k" * 32).unseal("one", sealed)


def test_only_the_server_can_read_the_key(tmp_path: Path) -> None:
    """The key file is private."""
    SecretBox.open(tmp_path)

    assert stat.S_IMODE((tmp_path / "secret.key").stat().st_mode) == 0o600


def test_an_invalid_key_is_refused(tmp_path: Path) -> None:
    """The error says how to create a valid key."""
    with pytest.raises(SecretBoxError, match="openssl"):
        SecretBox.open(tmp_path, "c2hvcnQ=")


def test_a_key_file_of_an_older_version_is_renamed(tmp_path: Path) -> None:
    """The file gets its present name and keeps its key; a newer file wins over one that an older version left."""
    sealed = SecretBox.open(tmp_path).seal("one", "hush")
    (tmp_path / "secret.key").rename(tmp_path / "builds.key")

    assert SecretBox.open(tmp_path).unseal("one", sealed) == "hush"
    assert [path.name for path in tmp_path.iterdir()] == ["secret.key"]
    (tmp_path / "builds.key").write_text("another")
    assert SecretBox.open(tmp_path).unseal("one", sealed) == "hush"


def test_a_missing_key_file_is_not_replaced(tmp_path: Path) -> None:
    """If the database has sealed secrets, a new key is no help: the error says what is missing."""
    with pytest.raises(SecretBoxError, match=r"secret.key is missing.*restore the file.*secret_key"):
        SecretBox.open(tmp_path, create=False)
    assert not list(tmp_path.iterdir())
    (tmp_path / "secret.key").write_text("damaged")
    with pytest.raises(SecretBoxError, match=r"secret.key: the value is invalid: use 32 bytes in base64"):
        SecretBox.open(tmp_path, create=False)
