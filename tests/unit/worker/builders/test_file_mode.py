"""Symbolic modes, compared with chmod(1)."""

import subprocess
from pathlib import Path

import pytest

from hythe.worker.builders.file_mode import changed_mode

MODES = ("u=rwX,go=rX", "+x", "a-w", "u+s,g+s", "o=", "g=u", "u=rw,+X", "+t", "go-rwx,u+x", "=r", "u-x+w")


@pytest.mark.parametrize("text", MODES)
@pytest.mark.parametrize("before", [0o640, 0o755, 0o400])
def test_modes(text: str, before: int, tmp_path: Path) -> None:
    """Files and folders get what chmod gives them."""
    file, folder = tmp_path / "file", tmp_path / "folder"
    file.touch()
    folder.mkdir()
    for path in (file, folder):
        path.chmod(before)
        subprocess.run(["chmod", text, str(path)], check=True)

    for path in (file, folder):
        # Without who, chmod follows the umask; docker does not.
        expected = path.stat().st_mode & 0o7777
        if text[0] in "ugoa":
            assert changed_mode(before, text, is_folder=path.is_dir()) == expected


def test_modes_without_who_are_for_all() -> None:
    """Independent of a umask."""
    assert changed_mode(0o600, "+x", is_folder=False) == 0o711
    assert changed_mode(0o600, "=r", is_folder=False) == 0o444


@pytest.mark.parametrize("text", ["", "x", "u=q", "u", "888", "u=r,,"])
def test_what_is_no_mode(text: str) -> None:
    """The error shows both forms."""
    with pytest.raises(ValueError, match="write a number such as 644, or one such as u=rwX,go=rX"):
        changed_mode(0o644, text, is_folder=False)
